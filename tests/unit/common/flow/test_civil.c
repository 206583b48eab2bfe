#include "common/flow/civil.h"

#include "tests/support/cmocka.h"

#include <time.h>

/* Berlin in 2026: summer time from 29 March 01:00 UTC to 25 October 01:00 UTC. */
static int32_t berlin(void *ctx, int64_t utc_s)
{
    (void)ctx;
    return utc_s >= 1774746000 && utc_s < 1792890000 ? 7200 : 3600;
}

static const struct weir_zone berlin_zone = {.offset = berlin};

/* Samoa moved over the date line: it had no 30 December 2011. */
static int32_t apia(void *ctx, int64_t utc_s)
{
    (void)ctx;
    return utc_s < 1325239200 ? -36000 : 50400;
}

static void dates_agree_with_the_c_library_over_400_years(void **state)
{
    (void)state;
    for (int64_t s = 86399; s < INT64_C(400) * 366 * 86400; s += 86400 * 3 + 3607) {
        time_t t = (time_t)s;
        struct tm tm;
        assert_non_null(gmtime_r(&t, &tm));
        struct weir_civil civil = weir_civil_of(s * 1000 + 7, &weir_zone_utc);
        assert_int_equal(civil.year, tm.tm_year + 1900);
        assert_int_equal(civil.month, tm.tm_mon + 1);
        assert_int_equal(civil.day, tm.tm_mday);
        assert_int_equal(civil.hour, tm.tm_hour);
        assert_int_equal(civil.minute, tm.tm_min);
        assert_int_equal(civil.second, tm.tm_sec);
        assert_int_equal(civil.ms, 7);
        assert_int_equal(civil.weekday, (tm.tm_wday + 6) % 7);
        assert_true(weir_civil_valid(&civil));
        assert_int_equal(weir_civil_to_ms(&civil, &weir_zone_utc, WEIR_FOLD_FIRST), s * 1000 + 7);
    }
}

static void a_date_that_does_not_exist_is_not_valid(void **state)
{
    (void)state;
    static const struct {
        struct weir_civil civil;
        bool valid;
    } rows[] = {
        {{2024, 2, 29}, true},           {{2026, 2, 29}, false},
        {{2100, 2, 29}, false},          {{2000, 2, 29}, true},
        {{2026, 4, 31}, false},          {{2026, 13, 1}, false},
        {{2026, 0, 1}, false},           {{2026, 1, 0}, false},
        {{1969, 12, 31}, false},         {{2026, 1, 1, 24}, false},
        {{2026, 1, 1, 23, 60}, false},   {{2026, 1, 1, 23, 59, 60}, true},
        {{2026, 1, 1, 0, 0, 61}, false}, {{9999, 12, 31, 23, 59, 59, 999}, true},
        {{10000, 1, 1}, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(weir_civil_valid(&rows[i].civil), rows[i].valid);
}

static void a_skipped_time_is_as_far_after_the_jump_as_it_claims(void **state)
{
    (void)state;
    struct weir_civil gap = {2026, 3, 29, 2, 30};
    char text[WEIR_TIME_TEXT];
    int64_t ms = weir_civil_to_ms(&gap, &berlin_zone, WEIR_FOLD_FIRST);
    assert_string_equal(weir_time_local(ms, &berlin_zone, text), "2026-03-29 03:30:00");
    assert_int_equal(weir_civil_to_ms(&gap, &berlin_zone, WEIR_FOLD_SECOND), ms);
    assert_string_equal(weir_time_rfc3339(ms, text), "2026-03-29T01:30:00.000Z");
}

static void a_time_that_occurs_twice_is_the_one_asked_for(void **state)
{
    (void)state;
    struct weir_civil fold = {2026, 10, 25, 2, 30};
    char text[WEIR_TIME_TEXT];
    int64_t first = weir_civil_to_ms(&fold, &berlin_zone, WEIR_FOLD_FIRST);
    int64_t second = weir_civil_to_ms(&fold, &berlin_zone, WEIR_FOLD_SECOND);
    assert_string_equal(weir_time_rfc3339(first, text), "2026-10-25T00:30:00.000Z");
    assert_string_equal(weir_time_rfc3339(second, text), "2026-10-25T01:30:00.000Z");
    assert_string_equal(weir_time_local(second, &berlin_zone, text), "2026-10-25 02:30:00");
}

static void all_other_times_have_one_instant_whichever_is_asked_for(void **state)
{
    (void)state;
    for (int64_t ms = 1774569600000; ms < 1774915200000; ms += 900000) { /* three days around the jump */
        struct weir_civil civil = weir_civil_of(ms, &berlin_zone);
        assert_int_equal(weir_civil_to_ms(&civil, &berlin_zone, WEIR_FOLD_FIRST), ms);
        assert_int_equal(weir_civil_to_ms(&civil, &berlin_zone, WEIR_FOLD_SECOND), ms);
    }
}

static void a_day_that_a_zone_never_had_is_the_next(void **state)
{
    (void)state;
    const struct weir_zone zone = {.offset = apia};
    char text[WEIR_TIME_TEXT];
    struct weir_civil last = {2011, 12, 29, 23, 59, 59};
    struct weir_civil never = {2011, 12, 30, 10};
    struct weir_civil first = {2011, 12, 31};
    int64_t last_ms = weir_civil_to_ms(&last, &zone, WEIR_FOLD_FIRST);
    assert_int_equal(weir_civil_to_ms(&first, &zone, WEIR_FOLD_FIRST), last_ms + 1000);
    assert_string_equal(weir_time_local(weir_civil_to_ms(&never, &zone, WEIR_FOLD_FIRST), &zone, text),
                        "2011-12-31 10:00:00");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_agree_with_the_c_library_over_400_years),
        cmocka_unit_test(a_date_that_does_not_exist_is_not_valid),
        cmocka_unit_test(a_skipped_time_is_as_far_after_the_jump_as_it_claims),
        cmocka_unit_test(a_time_that_occurs_twice_is_the_one_asked_for),
        cmocka_unit_test(all_other_times_have_one_instant_whichever_is_asked_for),
        cmocka_unit_test(a_day_that_a_zone_never_had_is_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
