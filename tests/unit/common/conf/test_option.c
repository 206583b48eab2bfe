#include "common/base/mem.h"
#include "common/conf/option.h"

#include <stdlib.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

struct sample_listener {
#define WEIR_OPTIONS "tests/unit/common/conf/sample_listen.def"
#include "common/conf/option_fields.h"
};
#define WEIR_OPTIONS        "tests/unit/common/conf/sample_listen.def"
#define WEIR_OPTIONS_STRUCT sample_listener
extern const struct weir_schema sample_listener_schema;
#include "common/conf/option_rows.h"

struct sample {
#define WEIR_OPTIONS "tests/unit/common/conf/sample.def"
#include "common/conf/option_fields.h"
};
#define WEIR_OPTIONS        "tests/unit/common/conf/sample.def"
#define WEIR_OPTIONS_STRUCT sample
extern const struct weir_schema sample_schema;
#include "common/conf/option_rows.h"

static const char whole[] = "name = \"a \\\"b\\\"\"; threads = 8; strict = false; spool = \"64MiB\"; linger = \"1s\";\n"
                            "codec = \"zstd\"; exporters = (\"10.0.0.0/8\", \"::1\");\n"
                            "listen = ( { port = 4739; }, { address = \"127.0.0.1\"; } );";

static void what_is_not_set_has_its_default(void **state)
{
    (void)state;
    struct sample conf = {0};
    struct weir_why why;
    assert_int_equal(weir_conf_load_text("name = \"x\";", "f", &sample_schema, &conf, &why), 0);
    assert_string_equal(conf.dir, "/var/lib");
    assert_int_equal(conf.threads, 2);
    assert_true(conf.strict);
    assert_int_equal(conf.spool_bytes, 1ull << 30);
    assert_int_equal(conf.linger_ms, 200);
    assert_int_equal(conf.codec, 1);
    assert_int_equal(conf.exporters_count, 0);
    assert_int_equal(conf.listen_count, 0);
    weir_conf_free(&sample_schema, &conf);
}

static void what_is_printed_loads_to_the_same_options(void **state)
{
    (void)state;
    struct sample first = {0};
    struct sample again = {0};
    struct weir_why why;
    struct weir_buf text = WEIR_BUF_INIT;
    struct weir_buf reprinted = WEIR_BUF_INIT;
    assert_int_equal(weir_conf_load_text(whole, "f", &sample_schema, &first, &why), 0);
    assert_int_equal(first.listen[0].port, 4739);
    assert_string_equal(first.listen[0].address, "::");
    assert_string_equal(first.listen[1].address, "127.0.0.1");
    weir_conf_print(&sample_schema, &first, true, &text);
    if (weir_conf_load_text(weir_buf_cstr(&text), "again", &sample_schema, &again, &why) != 0) fail_msg("%s", why.text);
    weir_conf_print(&sample_schema, &again, true, &reprinted);
    assert_true(weir_view_equal(weir_buf_view(&text), weir_buf_view(&reprinted)));
    assert_null(weir_conf_fixed_change(&sample_schema, &first, &again));
    weir_buf_fini(&text);
    weir_buf_fini(&reprinted);
    weir_conf_free(&sample_schema, &first);
    weir_conf_free(&sample_schema, &again);
}

static void a_mistake_is_named_with_file_line_option_and_what_is_allowed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        const char *why;
    } cases[] = {
        {"dir = \"d\";", WEIR_EPARAM, "f: name: must be set: A name."},
        {"name = \"x\";\nthread = 1;", WEIR_EPARAM, "f:2: thread: unknown option; did you mean \"threads\"?"},
        {"name = \"x\";\nzzzzzz = 1;", WEIR_EPARAM, "f:2: zzzzzz: unknown option"},
        {"name = \"x\"; threads = 65;", WEIR_EPARAM, "f:1: threads: 65 is not in 1..64"},
        {"name = \"x\"; threads = \"2\";", WEIR_EPARAM, "f:1: threads: write a whole number"},
        {"name = \"x\"; strict = 1;", WEIR_EPARAM, "f:1: strict: write true or false"},
        {"name = \"x\"; spool = 86400;", WEIR_EPARAM, "f:1: spool: write a string in quotes, with a unit"},
        {"/* 9999999999 */ name = \"9999999999\";\n# 9999999999\nthreads = 4294967297;", WEIR_EPARAM,
         "f:3: threads: 4294967297 is too large for a plain number: write sizes and durations as strings with a "
         "unit, \"64MiB\", other numbers with an L behind"},
        {"name = \"x\"; threads = 0x100000001;", WEIR_EPARAM,
         "f:1: threads: 0x100000001 is too large for a plain number: write sizes and durations as strings with a "
         "unit, \"64MiB\", other numbers with an L behind"},
        {"name = \"x\"; threads = 4294967297L;", WEIR_EPARAM, "f:1: threads: 4294967297 is not in 1..64"},
        {"name = \"\\\"@include\";\n@include \"g\"", WEIR_EPARAM, "f:2: @include is not supported"},
        {"name = \"x\"; spool = \"1\";", WEIR_EPARAM,
         "f:1: spool: \"1\" is not a size: write a number with B, KiB, MiB, GiB, TiB, kB, MB, GB or TB"},
        {"name = \"x\"; spool = \"1KiB\";", WEIR_EPARAM, "f:1: spool: \"1KiB\" is not in 1MiB..1TiB"},
        {"name = \"x\"; linger = \"2h\";", WEIR_EPARAM, "f:1: linger: \"2h\" is not in 1ms..1m"},
        {"name = \"x\"; codec = \"gzip\";", WEIR_EPARAM, "f:1: codec: \"gzip\" is not one of none|lz4|zstd"},
        {"name = \"x\"; exporters = (\"a\", 5);", WEIR_EPARAM, "f:1: exporters: entry 2 is not a string"},
        {"name = \"x\"; exporters = (\"a\",\"b\",\"c\",\"d\");", WEIR_EPARAM,
         "f:1: exporters: has 4 entries, at most 3 are allowed"},
        {"name = \"x\";\nlisten = (\n{ prt = 1; });", WEIR_EPARAM, "f:3: prt: unknown option; did you mean \"port\"?"},
        {"name = \"x\"; listen = ( 5 );", WEIR_EPARAM, "f:1: listen: entry 1 is not a group: { name = value; ... }"},
        {"name = \"x\"\nthreads =;", WEIR_EFORMAT, "f:2: syntax error"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sample conf = {0};
        struct weir_why why = {""};
        assert_int_equal(weir_conf_load_text(cases[i].text, "f", &sample_schema, &conf, &why), cases[i].rc);
        assert_string_equal(why.text, cases[i].why);
        assert_null(conf.name);
    }
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    struct sample conf = {0};
    struct weir_why why;
    assert_int_equal(weir_conf_load("/nonexistent/weir.conf", &sample_schema, &conf, &why), WEIR_EIO);
    assert_string_equal(why.text, "/nonexistent/weir.conf: No such file or directory");
}

static void a_file_with_a_zero_byte_is_refused_not_cut_short(void **state)
{
    (void)state;
    char path[] = "/tmp/weir-conf-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "name = \"x\";\0threads = 65;", 25), 25);
    close(fd);
    struct sample conf = {0};
    struct weir_why why;
    assert_int_equal(weir_conf_load(path, &sample_schema, &conf, &why), WEIR_EFORMAT);
    assert_non_null(strstr(why.text, ": has a zero byte, so it is not a text"));
    unlink(path);
}

static void a_change_that_needs_a_restart_is_found(void **state)
{
    (void)state;
    struct sample a = {0};
    struct sample b = {0};
    struct weir_why why;
    assert_int_equal(weir_conf_load_text("name = \"x\"; linger = \"1s\";", "f", &sample_schema, &a, &why), 0);
    assert_int_equal(weir_conf_load_text("name = \"x\"; listen = ({port = 1;});", "f", &sample_schema, &b, &why), 0);
    assert_string_equal(weir_conf_fixed_change(&sample_schema, &a, &b)->name, "listen");
    weir_conf_free(&sample_schema, &a);
    weir_conf_free(&sample_schema, &b);
}

static void loading_without_memory_cleans_up_behind_itself(void **state)
{
    (void)state;
    for (int64_t successes = 0;; successes++) {
        struct sample conf = {0};
        struct weir_why why;
        weir_mem_fail_after(successes);
        int rc = weir_conf_load_text(whole, "f", &sample_schema, &conf, &why);
        bool failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        weir_conf_free(&sample_schema, &conf);
        if (!failed) break;
    }
}

static void sizes_and_durations_are_read_and_printed_with_their_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
        const char *printed;
    } durations[] = {{"0", 0, "0ms"},           {"200ms", 200, "200ms"}, {"90s", 90000, "90s"},
                     {"1h30m", 5400000, "90m"}, {"7d", 604800000, "1w"}, {"1s5ms", 1005, "1005ms"}};
    struct weir_buf out = WEIR_BUF_INIT;
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        int64_t ms = -1;
        assert_int_equal(weir_conf_duration_parse(durations[i].text, &ms), 0);
        assert_int_equal(ms, durations[i].ms);
        weir_buf_clear(&out);
        weir_conf_duration_print(ms, &out);
        assert_string_equal(weir_buf_cstr(&out), durations[i].printed);
    }
    uint64_t bytes = 0;
    assert_int_equal(weir_conf_size_parse("5GB", &bytes), 0);
    assert_int_equal(bytes, 5000000000);
    weir_buf_clear(&out);
    weir_conf_size_print(bytes, &out);
    assert_string_equal(weir_buf_cstr(&out), "5GB");
    weir_buf_fini(&out);

    static const char *const bad[] = {
        "", "5", "-1s", "s", "1.5s", "1 s", "1x", "1s ", "99999999999999999999s", "9223372036854775807s"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ms;
        assert_true(weir_conf_duration_parse(bad[i], &ms) < 0);
    }
    assert_int_equal(weir_conf_size_parse("1MiB1KiB", &bytes), WEIR_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_set_has_its_default),
        cmocka_unit_test(what_is_printed_loads_to_the_same_options),
        cmocka_unit_test(a_mistake_is_named_with_file_line_option_and_what_is_allowed),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(a_file_with_a_zero_byte_is_refused_not_cut_short),
        cmocka_unit_test(a_change_that_needs_a_restart_is_found),
        cmocka_unit_test(loading_without_memory_cleans_up_behind_itself),
        cmocka_unit_test(sizes_and_durations_are_read_and_printed_with_their_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
