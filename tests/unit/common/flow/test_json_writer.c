#include "common/flow/json_writer.h"

#include "tests/support/cmocka.h"

#include <jansson.h>

static void values_and_commas_are_where_they_belong(void **state)
{
    (void)state;
    struct weir_buf out = WEIR_BUF_INIT;
    struct json_writer json = json_writer_of(&out);
    jsonw_begin_object(&json);
    jsonw_key_text(&json, "a", "x");
    jsonw_key(&json, "list");
    jsonw_begin_array(&json);
    jsonw_u64(&json, UINT64_MAX);
    jsonw_i64(&json, INT64_MIN);
    jsonw_begin_object(&json);
    jsonw_end_object(&json);
    jsonw_null(&json);
    jsonw_bool(&json, true);
    jsonw_end_array(&json);
    jsonw_key_time(&json, "t", 1772600000123);
    jsonw_key(&json, "r");
    jsonw_ratio(&json, 1, 3);
    jsonw_key(&json, "big");
    jsonw_ratio(&json, UINT64_MAX, UINT64_MAX);
    jsonw_end_object(&json);
    assert_string_equal(weir_buf_cstr(&out),
                        "{\"a\":\"x\",\"list\":[18446744073709551615,-9223372036854775808,{},null,true],"
                        "\"t\":\"2026-03-04T04:53:20.123Z\",\"r\":0.3333,\"big\":1.0000}");
    weir_buf_fini(&out);
}

static void whatever_the_bytes_are_what_is_written_parses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *json;
    } cases[] = {
        {"a\"b\\c\n\r\t\x01\x7f", "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u007f\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xff", "\"\xef\xbf\xbd\""},
        {"\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* longer than needed */
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""}, /* a surrogate */
        {"\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""},                 /* cut off */
        {"\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_buf out = WEIR_BUF_INIT;
        struct json_writer json = json_writer_of(&out);
        jsonw_text(&json, cases[i].text);
        assert_string_equal(weir_buf_cstr(&out), cases[i].json);
        weir_buf_fini(&out);
    }
    for (int a = 0; a < 256; a++) { /* every pair of bytes, against a reader that is not ours */
        for (int b = 0; b < 256; b++) {
            char text[2] = {(char)a, (char)b};
            struct weir_buf out = WEIR_BUF_INIT;
            struct json_writer json = json_writer_of(&out);
            jsonw_text_of_size(&json, text, 2);
            json_t *read = json_loadb((const char *)out.data, out.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
            assert_non_null(read);
            json_decref(read);
            weir_buf_fini(&out);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_commas_are_where_they_belong),
        cmocka_unit_test(whatever_the_bytes_are_what_is_written_parses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
