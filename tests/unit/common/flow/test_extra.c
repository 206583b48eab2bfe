#include "common/flow/extra.h"

#include "common/base/err.h"

#include "tests/support/cmocka.h"

/** RFC 7011 6.1 says what the bytes of each type mean; what they do not say is shown in hexadecimal. */
static void values_are_shown_as_their_type_says(void **state)
{
    (void)state;
    static const struct {
        uint8_t type;
        size_t size;
        const char *bytes;
        const char *json;
    } cases[] = {
        {WEIR_EXTRA_OCTETS, 3, "\x00\xab\x10", "\"00ab10\""},
        {WEIR_EXTRA_UNSIGNED, 3, "\x01\x00\x00", "65536"},
        {WEIR_EXTRA_UNSIGNED, 8, "\xff\xff\xff\xff\xff\xff\xff\xff", "\"18446744073709551615\""},
        {WEIR_EXTRA_UNSIGNED, 9, "\1\2\3\4\5\6\7\10\11", "\"010203040506070809\""},
        {WEIR_EXTRA_SIGNED, 2, "\xff\xfe", "-2"},
        {WEIR_EXTRA_SIGNED, 8, "\x80\0\0\0\0\0\0\0", "-9223372036854775808"},
        {WEIR_EXTRA_FLOAT, 8, "\x3f\xe0\0\0\0\0\0\0", "0.5"},
        {WEIR_EXTRA_FLOAT, 4, "\xc0\x20\0\0", "-2.5"},
        {WEIR_EXTRA_FLOAT, 4, "\x7f\x80\0\0", "\"7f800000\""},
        {WEIR_EXTRA_BOOLEAN, 1, "\x01", "true"},
        {WEIR_EXTRA_BOOLEAN, 1, "\x02", "false"},
        {WEIR_EXTRA_BOOLEAN, 1, "\x00", "\"00\""},
        {WEIR_EXTRA_ADDRESS, 4, "\xc0\x00\x02\x01", "\"192.0.2.1\""},
        {WEIR_EXTRA_ADDRESS, 16, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", "\"2001:db8::1\""},
        {WEIR_EXTRA_ADDRESS, 5, "\1\2\3\4\5", "\"0102030405\""},
        {WEIR_EXTRA_MAC, 6, "\x02\x00\x5e\x10\x20\x30", "\"02:00:5e:10:20:30\""},
        {WEIR_EXTRA_STRING, 8, "blue\0\0\0\0", "\"blue\""},
        {WEIR_EXTRA_STRING, 3, "a\xff\"", "\"a\xef\xbf\xbd\\\"\""},
        {WEIR_EXTRA_SECONDS, 4, "\x65\x53\xf1\x00", "\"2023-11-14T22:13:20.000Z\""},
        {WEIR_EXTRA_MILLISECONDS, 8, "\0\0\x01\x8b\xcf\xe5\x68\x01", "\"2023-11-14T22:13:20.001Z\""},
        {WEIR_EXTRA_MILLISECONDS, 8, "\xff\xff\xff\xff\xff\xff\xff\xff", "\"ffffffffffffffff\""},
        {WEIR_EXTRA_NTP, 8, "\xe8\xfe\x6f\x80\x80\0\0\0", "\"2023-11-14T22:13:20.500Z\""},
        {WEIR_EXTRA_SECONDS, 8, "\0\0\0\0\x65\x53\xf1\x00", "\"000000006553f100\""},
        {WEIR_EXTRA_STRING, 0, "", "null"},
        {200, 1, "\x07", "\"07\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_buf out = WEIR_BUF_INIT;
        struct json_writer json = json_writer_of(&out);
        struct weir_extra_value value = {.type = cases[i].type, .bytes = weir_view_of(cases[i].bytes, cases[i].size)};
        weir_extra_json(&value, &json);
        assert_string_equal(weir_buf_cstr(&out), cases[i].json);
        weir_buf_fini(&out);
    }
}

static void names_are_short_and_fit_into_lists(void **state)
{
    (void)state;
    assert_true(weir_extra_name_is_valid(weir_view_text("vni_2")));
    assert_true(weir_extra_name_is_valid(weir_view_text("a_name_of_as_many_bytes_as_goes")));
    static const char *const wrong[] = {"", "a,b", "Upper", "a.b", "a b", "a_name_of_one_byte_more_than_can_"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(weir_extra_name_is_valid(weir_view_text(wrong[i])));
}

static void the_extra_columns_of_a_flow_are_read_to_the_end_or_refused(void **state)
{
    (void)state;
    struct weir_buf row = WEIR_BUF_INIT;
    weir_extra_put(&row, &(struct weir_extra){"one", 9, 1, WEIR_EXTRA_STRING}, weir_view_text("x"));
    weir_extra_put(&row, &(struct weir_extra){"two", 9, 2, WEIR_EXTRA_UNSIGNED}, weir_view_of("\1\2", 2));
    for (size_t cut = 0; cut <= row.size; cut++) {
        struct weir_cursor c = weir_cursor_of(weir_view_of(row.data, cut));
        struct weir_extra_value value;
        int rc = 1;
        int count = 0;
        while ((rc = weir_extra_next(&c, &value)) > 0)
            count++;
        bool whole = cut == 0 || cut == 7 || cut == row.size;
        assert_int_equal(rc, whole ? 0 : WEIR_EFORMAT);
        if (cut == row.size) assert_int_equal(count, 2);
    }
    weir_buf_fini(&row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_shown_as_their_type_says),
        cmocka_unit_test(names_are_short_and_fit_into_lists),
        cmocka_unit_test(the_extra_columns_of_a_flow_are_read_to_the_end_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
