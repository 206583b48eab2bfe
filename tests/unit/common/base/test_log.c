#include "common/base/err.h"
#include "common/base/log.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

/** What one log line looks like on stderr. */
static void line_of(char *out, size_t size, enum weir_log_level level, const char *text)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int kept = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    weir_log(level, "listen.bound", "port=%d text=%s", 2055, text);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    ssize_t got = read(ends[0], out, size - 1);
    out[got < 0 ? 0 : got] = '\0';
    close(ends[0]);
}

static void a_line_has_a_time_a_level_the_event_and_its_values(void **state)
{
    (void)state;
    char line[256];
    unsetenv("JOURNAL_STREAM");
    line_of(line, sizeof line, WEIR_LOG_WARN, "x\ny");
    assert_int_equal(strlen("2026-11-24T10:00:00.000Z"), strcspn(line, " "));
    assert_string_equal(line + 24, " warn  listen.bound port=2055 text=x y\n");
}

static void the_journal_gets_a_priority_and_no_time(void **state)
{
    (void)state;
    char line[256];
    setenv("JOURNAL_STREAM", "8:1", 1);
    line_of(line, sizeof line, WEIR_LOG_ERROR, "x");
    unsetenv("JOURNAL_STREAM");
    assert_string_equal(line, "<3>listen.bound port=2055 text=x\n");
}

static void what_is_less_severe_than_the_level_is_not_written(void **state)
{
    (void)state;
    char line[256];
    weir_log_set_level(WEIR_LOG_WARN);
    line_of(line, sizeof line, WEIR_LOG_INFO, "x");
    weir_log_set_level(WEIR_LOG_INFO);
    assert_string_equal(line, "");
    assert_int_equal(weir_log_level_of("debug"), WEIR_LOG_DEBUG);
    assert_int_equal(weir_log_level_of("verbose"), WEIR_EPARAM);
}

static void a_limiter_lets_some_through_each_second_and_says_how_many_it_held_back(void **state)
{
    (void)state;
    struct weir_log_limit limit = {0};
    uint64_t held = 99;
    assert_true(weir_log_allowed(&limit, 5000, 2, &held));
    assert_int_equal(held, 0);
    assert_true(weir_log_allowed(&limit, 5100, 2, NULL));
    for (int i = 0; i < 7; i++)
        assert_false(weir_log_allowed(&limit, 5200, 2, &held));
    assert_true(weir_log_allowed(&limit, 6000, 2, &held));
    assert_int_equal(held, 7);
}

static void a_quoted_value_is_one_word(void **state)
{
    (void)state;
    char out[16];
    assert_string_equal(weir_log_quote("a \"b\"\n", out, sizeof out), "\"a \\\"b\\\"?\"");
    assert_string_equal(weir_log_quote("longer than it may be", out, 8), "\"long\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_a_time_a_level_the_event_and_its_values),
        cmocka_unit_test(the_journal_gets_a_priority_and_no_time),
        cmocka_unit_test(what_is_less_severe_than_the_level_is_not_written),
        cmocka_unit_test(a_limiter_lets_some_through_each_second_and_says_how_many_it_held_back),
        cmocka_unit_test(a_quoted_value_is_one_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
