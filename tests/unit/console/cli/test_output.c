#include "console/cli/output.h"

#include "tests/support/cmocka.h"

static const char sample[] =
    "{\"meta\":{},\"columns\":[{\"name\":\"dst_ip\",\"type\":\"ip\"},{\"name\":\"dst_port\",\"type\":\"integer\"},"
    "{\"name\":\"flows\",\"type\":\"integer\",\"unit\":\"flows\"},{\"name\":\"bytes\",\"type\":\"integer\",\"unit\":"
    "\"bytes\"},"
    "{\"name\":\"t_first\",\"type\":\"time\"},{\"name\":\"note\",\"type\":\"text\"},{\"name\":\"share\",\"type\":"
    "\"share\"}],"
    "\"rows\":[{\"dst_ip\":\"10.2.0.11\",\"dst_port\":445,\"flows\":91214,\"bytes\":48110233891,"
    "\"t_first\":\"2026-03-04T15:00:02.118Z\",\"note\":\"a,\\\"b\\\"\",\"share\":0.5},"
    "{\"dst_ip\":\"2001:db8::1\",\"dst_port\":53,\"flows\":7,\"bytes\":812,\"note\":\"ü\",\"share\":0.0125}]}";

static void check(struct cli_output output, const char *expected)
{
    struct weir_buf out = WEIR_BUF_INIT;
    struct weir_why why = {""};
    json_t *answer = json_loads(sample, 0, NULL);
    output.zone = weir_zone_utc;
    if (cli_output_rows(&output, answer, &out, &why) < 0) fail_msg("%s", why.text);
    assert_string_equal(weir_buf_cstr(&out), expected);
    weir_buf_fini(&out);
    json_decref(answer);
}

static void a_table_is_aligned_and_has_human_units(void **state)
{
    (void)state;
    check((struct cli_output){.format = CLI_TABLE},
          "DST_IP       DST_PORT  FLOWS    BYTES  T_FIRST              NOTE   SHARE\n"
          "10.2.0.11         445  91.2k  48.1 GB  2026-03-04 15:00:02  a,\"b\"  █████       50.0 %\n"
          "2001:db8::1        53      7    812 B  -                    ü      ▏            1.2 %\n");
}

static void plain_numbers_and_no_header_when_asked(void **state)
{
    (void)state;
    check((struct cli_output){.format = CLI_TABLE, .plain = true, .quiet = true, .fields = "bytes,dst_ip"},
          "48110233891  10.2.0.11\n"
          "        812  2001:db8::1\n");
}

static void csv_quotes_what_needs_it_and_tsv_has_no_tabs_in_cells(void **state)
{
    (void)state;
    check((struct cli_output){.format = CLI_CSV, .fields = "dst_ip,bytes,t_first,note"},
          "dst_ip,bytes,t_first,note\n"
          "10.2.0.11,48110233891,2026-03-04T15:00:02.118Z,\"a,\"\"b\"\"\"\n"
          "2001:db8::1,812,,ü\n");
    check((struct cli_output){.format = CLI_TSV, .fields = "dst_ip,flows"},
          "dst_ip\tflows\n10.2.0.11\t91214\n2001:db8::1\t7\n");
}

static void ndjson_is_one_object_a_line_with_the_chosen_fields(void **state)
{
    (void)state;
    check((struct cli_output){.format = CLI_NDJSON, .fields = "dst_ip,bytes"},
          "{\"dst_ip\":\"10.2.0.11\",\"bytes\":48110233891}\n{\"dst_ip\":\"2001:db8::1\",\"bytes\":812}\n");
}

static void a_field_that_is_not_there_is_named_with_those_that_are(void **state)
{
    (void)state;
    struct weir_buf out = WEIR_BUF_INIT;
    struct weir_why why = {""};
    json_t *answer = json_loads(sample, 0, NULL);
    struct cli_output output = {.format = CLI_CSV, .fields = "dst_ip,nonsense"};
    assert_int_equal(cli_output_rows(&output, answer, &out, &why), WEIR_EPARAM);
    assert_string_equal(
        why.text, "--fields: no column \"nonsense\"; there are dst_ip, dst_port, flows, bytes, t_first, note, share");
    weir_buf_fini(&out);
    json_decref(answer);
}

static void counts_keep_three_digits_that_mean_something(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *unit;
        const char *text;
    } cases[] = {{0, "flows", "0"},
                 {999, "flows", "999"},
                 {1000, "flows", "1.00k"},
                 {91214, "flows", "91.2k"},
                 {402118, "flows", "402k"},
                 {999499, "flows", "999k"},
                 {999999, "flows", "1.00M"},
                 {812, "bytes", "812 B"},
                 {1184, "bytes", "1.18 kB"},
                 {116600000000, "bytes", "117 GB"},
                 {UINT64_MAX, "bytes", "18.4 EB"}};
    struct weir_buf out = WEIR_BUF_INIT;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        weir_buf_clear(&out);
        cli_human(cases[i].value, cases[i].unit, &out);
        assert_string_equal(weir_buf_cstr(&out), cases[i].text);
    }
    weir_buf_fini(&out);
}

static void a_sparkline_has_a_character_a_step(void **state)
{
    (void)state;
    struct weir_buf out = WEIR_BUF_INIT;
    uint64_t values[] = {0, 1, 4, 8};
    cli_sparkline(values, 4, &out);
    assert_string_equal(weir_buf_cstr(&out), " ▁▄█");
    assert_int_equal(cli_width(weir_buf_cstr(&out)), 4);
    weir_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_is_aligned_and_has_human_units),
        cmocka_unit_test(plain_numbers_and_no_header_when_asked),
        cmocka_unit_test(csv_quotes_what_needs_it_and_tsv_has_no_tabs_in_cells),
        cmocka_unit_test(ndjson_is_one_object_a_line_with_the_chosen_fields),
        cmocka_unit_test(a_field_that_is_not_there_is_named_with_those_that_are),
        cmocka_unit_test(counts_keep_three_digits_that_mean_something),
        cmocka_unit_test(a_sparkline_has_a_character_a_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
