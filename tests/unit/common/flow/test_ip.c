#include "common/base/err.h"
#include "common/flow/ip.h"

#include "tests/support/cmocka.h"

static void addresses_read_and_write_as_people_do(void **state)
{
    (void)state;
    static const char *const texts[] = {"192.0.2.1", "0.0.0.0", "2001:db8::1", "::", "fe80::1:0:0:1"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct weir_ip ip;
        char out[WEIR_IP_TEXT];
        assert_int_equal(weir_ip_parse(texts[i], &ip), 0);
        assert_string_equal(weir_ip_format(&ip, out), texts[i]);
    }
    static const char *const bad[] = {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "2001:db8::1::2", "host", "1.2.3.4/8"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct weir_ip ip;
        assert_int_equal(weir_ip_parse(bad[i], &ip), WEIR_EFORMAT);
    }
}

static void a_prefix_contains_its_addresses_and_no_others(void **state)
{
    (void)state;
    static const struct {
        const char *prefix;
        const char *ip;
        bool inside;
    } cases[] = {
        {"10.0.0.0/8", "10.255.255.255", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"0.0.0.0/0", "255.255.255.255", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"2001:db8::/32", "2001:db8:ffff::", true},
        {"2001:db8::/32", "2001:db9::", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "10.0.0.1", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_prefix prefix;
        struct weir_ip ip;
        assert_int_equal(weir_prefix_parse(cases[i].prefix, &prefix), 0);
        assert_int_equal(weir_ip_parse(cases[i].ip, &ip), 0);
        assert_int_equal(weir_prefix_contains(&prefix, &ip), cases[i].inside);
    }
}

static void prefixes_write_with_their_own_length_and_refuse_host_bits(void **state)
{
    (void)state;
    struct weir_prefix prefix;
    char out[WEIR_PREFIX_TEXT];
    assert_int_equal(weir_prefix_parse("192.0.2.0/24", &prefix), 0);
    assert_string_equal(weir_prefix_format(&prefix, out), "192.0.2.0/24");
    assert_int_equal(weir_prefix_parse("2001:db8::/32", &prefix), 0);
    assert_string_equal(weir_prefix_format(&prefix, out), "2001:db8::/32");
    assert_int_equal(weir_prefix_parse("192.0.2.1/24", &prefix), WEIR_EPARAM);
    assert_int_equal(weir_prefix_parse("192.0.2.0/33", &prefix), WEIR_EPARAM);
    assert_int_equal(weir_prefix_parse("192.0.2.0/", &prefix), WEIR_EFORMAT);
    assert_int_equal(weir_prefix_parse("192.0.2.0/x", &prefix), WEIR_EFORMAT);
    assert_int_equal(weir_prefix_parse("192.0.2.0/99999999999", &prefix), WEIR_EPARAM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_read_and_write_as_people_do),
        cmocka_unit_test(a_prefix_contains_its_addresses_and_no_others),
        cmocka_unit_test(prefixes_write_with_their_own_length_and_refuse_host_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
