/** Lists in records of IPFIX: the encodings of RFC 6313 4.5, and its example of a multicast flow (8.1). */
#include "tests/support/decoder_test.h"

#include "tests/support/cmocka.h"

enum { NOW = 1700000000, VARIABLE = 0xffff, BASIC = 291, SUB = 292, MULTI = 293 };

static void assert_ip(const struct weir_ip *ip, const char *text)
{
    char got[WEIR_IP_TEXT];
    assert_string_equal(weir_ip_format(ip, got), text);
}

static void begin(void)
{
    message_ipfix(&m, NOW, 0, 7);
}

static void take(void)
{
    assert_int_equal(input_take(&input, message_end(&m), NOW * 1000ll), AGENT_REFUSAL_NONE);
}

/** The templates of the lists below: ports; flags and a source port; a name (no column) and a destination port. */
static void sub_templates(void)
{
    message_template(&m, 300, (const uint16_t[]){7, 2, 11, 2}, 2);
    message_template(&m, 301, (const uint16_t[]){6, 2, 7, 2}, 2);
    message_template(&m, 302, (const uint16_t[]){82, VARIABLE, 11, 2}, 2);
}

static void hex(const char *bytes)
{
    struct weir_view view = input_hex(&buf, bytes);
    for (size_t i = 0; i < view.size; i++)
        message_u8(&m, view.data[i]);
}

static void the_multicast_flow_of_the_rfc_has_the_first_of_its_egress_interfaces(void **state)
{
    (void)state;
    begin();
    message_template(&m, 256, (const uint16_t[]){10, 4, 8, 4, 12, 4, 195, 1, BASIC, VARIABLE, 1, 4}, 6);
    message_set(&m, 256);
    hex("00000009 c00002c9 e9fc0001 2e ff0011 03 000e 0004 00000001 00000004 00000008 000003e8");
    hex("00000009 c00002c9 e9fc0002 2e ff0009 03 000e 0004 00000007 000003e9");
    take();
    assert_int_equal(input_flush(&input), 2);
    struct weir_flow flow = input_flow(&input, 0);
    assert_int_equal(flow.if_in, 9);
    assert_int_equal(flow.if_out, 1);
    assert_ip(&flow.src_ip, "192.0.2.201");
    assert_ip(&flow.dst_ip, "233.252.0.1");
    assert_int_equal(flow.bytes, 1000);
    flow = input_flow(&input, 1);
    assert_int_equal(flow.if_out, 7);
    assert_ip(&flow.dst_ip, "233.252.0.2");
    assert_int_equal(flow.bytes, 1001);
    assert_int_equal(INPUT_COUNT(&input, elements_unknown), 2 + 2); /* ipDiffServCodePoint, and interfaces 4 and 8 */
    assert_int_equal(INPUT_COUNT(&input, lists_unread), 0);
}

static void the_first_record_of_a_sub_template_list_fills_columns_that_the_record_has_not(void **state)
{
    (void)state;
    begin();
    sub_templates();
    message_template(&m, 256, (const uint16_t[]){1, 4, 11, 2, SUB, VARIABLE}, 3);
    message_set(&m, 256);
    hex("000003e8 01bb 0b 03 012c 1388 1389 2388 2389"); /* ports 5000 and 5001, 9096 and 9097 */
    take();
    struct weir_flow flow = input_flow(&input, 0);
    assert_int_equal(flow.src_port, 5000);
    assert_int_equal(flow.dst_port, 443); /* the record's own */
    assert_int_equal(flow.bytes, 1000);
    assert_int_equal(INPUT_COUNT(&input, elements_unknown), 3);
}

static void records_of_variable_length_are_stepped_over(void **state)
{
    (void)state;
    begin();
    sub_templates();
    message_template(&m, 256, (const uint16_t[]){1, 4, SUB, VARIABLE, 2, 4}, 3);
    message_set(&m, 256);
    hex("000003e8 0d 03 012e 03 616263 1389 01 7a 138a 00000005");
    take();
    struct weir_flow flow = input_flow(&input, 0);
    assert_int_equal(flow.dst_port, 5001);
    assert_int_equal(flow.packets, 5);
    assert_int_equal(INPUT_COUNT(&input, elements_unknown), 3);
}

static void a_multi_list_gives_each_column_its_first_value(void **state)
{
    (void)state;
    begin();
    sub_templates();
    message_template(&m, 256, (const uint16_t[]){1, 4, MULTI, VARIABLE}, 2);
    message_set(&m, 256);
    hex("000003e8 15 03 012d 000c 0012 1388 0010 1389 012c 0008 2388 2389");
    take();
    struct weir_flow flow = input_flow(&input, 0);
    assert_int_equal(flow.tcp_flags, 0x12);
    assert_int_equal(flow.src_port, 5000);
    assert_int_equal(flow.dst_port, 9097);
    assert_int_equal(INPUT_COUNT(&input, elements_unknown), 3);
}

static void several_lists_of_one_record_take_turns_and_an_empty_one_says_nothing(void **state)
{
    (void)state;
    begin();
    message_template(&m, 256, (const uint16_t[]){1, 4, BASIC, VARIABLE, BASIC, 7}, 3);
    message_set(&m, 256);
    hex("00000001 07 03 0007 0002 0015" /* source port 21 */ "03 0007 0002 0016");
    hex("00000002 00" /* no list at all */ "03 0007 0002 0017");
    hex("00000003 05 ff 0007 0002" /* none of them */ "03 000b 0002 0018");
    hex("00000004 0b 03 8007 0002 00000009 0019" /* of a vendor */ "03 0007 0004 001a");
    take();
    assert_int_equal(input_flush(&input), 4);
    static const uint16_t ports[][2] = {{21, 0}, {23, 0}, {0, 24}, {0, 0}};
    for (size_t i = 0; i < 4; i++) {
        struct weir_flow flow = input_flow(&input, i);
        assert_int_equal(flow.bytes, i + 1);
        assert_int_equal(flow.src_port, ports[i][0]);
        assert_int_equal(flow.dst_port, ports[i][1]);
    }
    assert_int_equal(INPUT_COUNT(&input, lists_unread), 1); /* the last is cut: 4 bytes do not fit in 2 */
    assert_int_equal(INPUT_COUNT(&input, elements_unknown), 2);
}

static void values_of_variable_length_in_a_list_have_each_their_own(void **state)
{
    (void)state;
    begin();
    message_template(&m, 256, (const uint16_t[]){1, 4, BASIC, VARIABLE}, 2);
    message_set(&m, 256);
    hex("00000001 0b 03 0007 ffff 02 0050 ff0002 0051 00"); /* a source port, an address would not fit */
    take();
    struct weir_flow flow = input_flow(&input, 0);
    assert_int_equal(flow.src_port, 80);
}

static void times_are_taken_together_where_the_record_has_none(void **state)
{
    (void)state;
    begin();
    message_template(&m, 300, (const uint16_t[]){150, 4, 151, 4}, 2);
    message_template(&m, 256, (const uint16_t[]){1, 4, SUB, VARIABLE}, 2);
    message_template(&m, 257, (const uint16_t[]){151, 4, SUB, VARIABLE}, 2);
    message_template(&m, 258, (const uint16_t[]){1, 4, BASIC, VARIABLE}, 2);
    message_set(&m, 256);
    hex("00000001 0b 03 012c 6553f000 6553f010");
    hex("00000002 00");
    message_set(&m, 257);
    hex("6553f020 0b 03 012c 6553f000 6553f010");
    message_set(&m, 258);
    hex("00000003 09 03 0096 0004 6553f000");
    take();
    static const int64_t expected[][2] = {
        {0x6553f000, 0x6553f010}, {NOW, NOW}, {0x6553f020, 0x6553f020}, {0x6553f000, 0x6553f000}};
    assert_int_equal(input_flush(&input), 4);
    for (size_t i = 0; i < 4; i++) {
        struct weir_flow flow = input_flow(&input, i);
        assert_int_equal(flow.start_ms, expected[i][0] * 1000);
        assert_int_equal(flow.end_ms, expected[i][1] * 1000);
    }
}

static void a_list_that_breaks_its_format_costs_only_itself(void **state)
{
    static const struct {
        uint16_t element;
        const char *list;
    } broken[] = {
        {BASIC, "01 03"},                             /* no head */
        {BASIC, "05 03 0007 0000"},                   /* values of 0 bytes would have no end */
        {BASIC, "06 03 0007 0002 00"},                /* half a value */
        {BASIC, "08 03 0007 ffff 05 0000"},           /* longer than the list */
        {BASIC, "07 03 8007 0002 0000"},              /* half a vendor */
        {SUB, "02 03 01"},                            /* no template */
        {SUB, "05 03 03e7 0000"},                     /* one that is not known */
        {SUB, "05 03 0131 0000"},                     /* one of options */
        {SUB, "07 03 012e ff ffff 00"},               /* a record longer than the list */
        {MULTI, "09 03 012c 0003 00000000"},          /* shorter than its head */
        {MULTI, "09 03 012c 0009 00000000"},          /* longer than the list */
        {MULTI, "09 03 03e7 0008 00000000"},          /* of a template that is not known */
        {MULTI, "0c 03 012e 000b ff ffff 00 000000"}, /* a record longer than its part */
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        begin();
        sub_templates();
        message_options(&m, 305, (const uint16_t[]){149, 4, 41, 4}, 2, 1);
        message_template(&m, 256, (const uint16_t[]){1, 4, broken[i].element, VARIABLE, 2, 4}, 3);
        message_set(&m, 256);
        hex("000003e8");
        hex(broken[i].list);
        hex("00000005");
        take();
        assert_int_equal(input_flush(&input), 1);
        struct weir_flow flow = input_flow(&input, 0);
        assert_int_equal(flow.bytes, 1000);
        assert_int_equal(flow.packets, 5);
        assert_int_equal(INPUT_COUNT(&input, lists_unread), 1);
        tear_down(state);
        set_up(state);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_multicast_flow_of_the_rfc_has_the_first_of_its_egress_interfaces),
        TEST(the_first_record_of_a_sub_template_list_fills_columns_that_the_record_has_not),
        TEST(records_of_variable_length_are_stepped_over),
        TEST(a_multi_list_gives_each_column_its_first_value),
        TEST(several_lists_of_one_record_take_turns_and_an_empty_one_says_nothing),
        TEST(values_of_variable_length_in_a_list_have_each_their_own),
        TEST(times_are_taken_together_where_the_record_has_none),
        TEST(a_list_that_breaks_its_format_costs_only_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
