#include "common/base/err.h"
#include "common/flow/timerange.h"

#include "tests/support/cmocka.h"

#include <stdio.h>
#include <string.h>

/* Berlin in 2026: summer time from 29 March 01:00 UTC to 25 October 01:00 UTC. */
static int32_t berlin(void *ctx, int64_t utc_s)
{
    (void)ctx;
    return utc_s >= 1774746000 && utc_s < 1792890000 ? 7200 : 3600;
}

/* As in Sao Paulo until 2019: summer time begins at midnight, which that day does not have. Here on 1 November 2026. */
static int32_t no_midnight(void *ctx, int64_t utc_s)
{
    (void)ctx;
    return utc_s >= 1793502000 ? -7200 : -10800;
}

static const struct weir_zone zone_berlin = {.offset = berlin};
static const struct weir_zone zone_no_midnight = {.offset = no_midnight};

static int64_t ms_of(const char *utc)
{
    int64_t ms;
    assert_int_equal(weir_timepoint_parse(utc, 0, &weir_zone_utc, &ms, NULL), 0);
    return ms;
}

struct good {
    const char *text;
    const char *from;
    const char *to;
};

static void check_good(const struct good *rows, size_t count, const char *now, const struct weir_zone *zone)
{
    for (size_t i = 0; i < count; i++) {
        struct weir_timerange range;
        struct weir_time_error error = {0};
        int rc = weir_timerange_parse(rows[i].text, ms_of(now), zone, &range, &error);
        if (rc != 0) fail_msg("%s: %s: column %zu: %s", rows[i].text, weir_err_name(rc), error.column, error.message);
        char got[80];
        char from[WEIR_TIME_TEXT];
        char to[WEIR_TIME_TEXT];
        char expected[80];
        snprintf(got, sizeof got, "%s %s", weir_time_rfc3339(range.from_ms, from), weir_time_rfc3339(range.to_ms, to));
        snprintf(expected, sizeof expected, "%s %s", rows[i].from, rows[i].to);
        if (strcmp(got, expected) != 0) fail_msg("%s:\n  got      %s\n  expected %s", rows[i].text, got, expected);
    }
}

#define CHECK_GOOD(rows, now, zone) check_good(rows, sizeof(rows) / sizeof *(rows), now, zone)

/* Wednesday. */
#define NOW    "2026-03-04T15:20:30.456Z"
#define NOW_MS "2026-03-04T15:20:30.456Z"

static void each_form_of_a_range_is_understood(void **state)
{
    (void)state;
    static const struct good rows[] = {
        {"15m", "2026-03-04T15:05:30.456Z", NOW_MS},
        {"24h", "2026-03-03T15:20:30.456Z", NOW_MS},
        {"7d", "2026-02-25T15:20:30.456Z", NOW_MS},
        {"1h30m", "2026-03-04T13:50:30.456Z", NOW_MS},
        {"1w2d3h4m5s", "2026-02-23T12:16:25.456Z", NOW_MS},
        {"  90s ", "2026-03-04T15:19:00.456Z", NOW_MS},
        {"80w", "2024-08-21T15:20:30.456Z", NOW_MS},

        {"09:00..10:30", "2026-03-04T09:00:00.000Z", "2026-03-04T10:30:00.000Z"},
        {"09:00:15.25..", "2026-03-04T09:00:15.250Z", NOW_MS},
        {"09:00 .. 10:30", "2026-03-04T09:00:00.000Z", "2026-03-04T10:30:00.000Z"},
        {"2026-03-04T09:00Z+2h", "2026-03-04T09:00:00.000Z", "2026-03-04T11:00:00.000Z"},
        {"2026-03-01 + 1d12h", "2026-03-01T00:00:00.000Z", "2026-03-02T12:00:00.000Z"},

        {"today", "2026-03-04T00:00:00.000Z", NOW_MS},
        {"yesterday", "2026-03-03T00:00:00.000Z", "2026-03-04T00:00:00.000Z"},
        {"this-week", "2026-03-02T00:00:00.000Z", NOW_MS},
        {"last-week", "2026-02-23T00:00:00.000Z", "2026-03-02T00:00:00.000Z"},
        {"Yesterday..TODAY", "2026-03-03T00:00:00.000Z", "2026-03-04T00:00:00.000Z"},
        {"yesterday+6h", "2026-03-03T00:00:00.000Z", "2026-03-03T06:00:00.000Z"},
        {"last-week..", "2026-02-23T00:00:00.000Z", NOW_MS},

        {"now-1d/d..now/d", "2026-03-03T00:00:00.000Z", "2026-03-04T00:00:00.000Z"},
        {"now-2h..now-1h30m", "2026-03-04T13:20:30.456Z", "2026-03-04T13:50:30.456Z"},
        {"now/h..now", "2026-03-04T15:00:00.000Z", NOW_MS},
        {"now-1h/m..now/s", "2026-03-04T14:20:00.000Z", "2026-03-04T15:20:30.000Z"},
        {"now/w+2d", "2026-03-02T00:00:00.000Z", "2026-03-04T00:00:00.000Z"},
        {"now-1w/w..now-1w", "2026-02-23T00:00:00.000Z", "2026-02-25T15:20:30.456Z"},

        {"2026-03-01", "2026-03-01T00:00:00.000Z", "2026-03-02T00:00:00.000Z"},
        {"2026-03-04", "2026-03-04T00:00:00.000Z", NOW_MS},
        {"2026-03-01..2026-03-03", "2026-03-01T00:00:00.000Z", "2026-03-03T00:00:00.000Z"},
        {"2026-03-01 09:00..10:30", "2026-03-01T09:00:00.000Z", "2026-03-01T10:30:00.000Z"},
        {"2026-03-01T09:00:01.5..2026-03-01T09:00:01.750", "2026-03-01T09:00:01.500Z", "2026-03-01T09:00:01.750Z"},
        {"2026-03-01T09:00:00+02:00..2026-03-01T09:00:00-01:30", "2026-03-01T07:00:00.000Z",
         "2026-03-01T10:30:00.000Z"},
        {"2026-03-01T09:00:00.123456789z..", "2026-03-01T09:00:00.123Z", NOW_MS},
        {"2026-03-01t09:00+02:00+2h", "2026-03-01T07:00:00.000Z", "2026-03-01T09:00:00.000Z"},
        {"2026-03-01T23:59:60Z..", "2026-03-02T00:00:00.000Z", NOW_MS},

        {"@1772600000..@1772600060.5", "2026-03-04T04:53:20.000Z", "2026-03-04T04:54:20.500Z"},
        {"@0+1d", "1970-01-01T00:00:00.000Z", "1970-01-02T00:00:00.000Z"},

        {"2026/03/04.09:00:00-2026/03/04.10:30:00", "2026-03-04T09:00:00.000Z", "2026-03-04T10:30:00.000Z"},
        {"2026/03/01-2026/03/03", "2026-03-01T00:00:00.000Z", "2026-03-03T00:00:00.000Z"},
        {"2026/03/01", "2026-03-01T00:00:00.000Z", "2026-03-02T00:00:00.000Z"},
        {"2026/03/01..2026-03-02", "2026-03-01T00:00:00.000Z", "2026-03-02T00:00:00.000Z"},
        {"2026/03/01.09:00+1h", "2026-03-01T09:00:00.000Z", "2026-03-01T10:00:00.000Z"},
    };
    CHECK_GOOD(rows, NOW, &weir_zone_utc);
}

static void clock_times_are_those_of_the_zone(void **state)
{
    (void)state;
    static const struct good rows[] = {
        {"09:00..10:30", "2026-03-04T08:00:00.000Z", "2026-03-04T09:30:00.000Z"},
        {"today", "2026-03-03T23:00:00.000Z", NOW_MS},
        {"now/d..", "2026-03-03T23:00:00.000Z", NOW_MS},
        {"2026-03-01", "2026-02-28T23:00:00.000Z", "2026-03-01T23:00:00.000Z"},
        {"2026-03-01T12:00Z..2026-03-01T14:00", "2026-03-01T12:00:00.000Z", "2026-03-01T13:00:00.000Z"},
        {"2026-02-28T23:30Z..02:00", "2026-02-28T23:30:00.000Z", "2026-03-01T01:00:00.000Z"},
    };
    CHECK_GOOD(rows, NOW, &zone_berlin);
}

static void the_day_that_summer_time_begins_has_23_hours(void **state)
{
    (void)state;
    static const struct good rows[] = {
        {"yesterday", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z"},
        {"2026-03-29", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z"},
        {"2026-03-29+1d", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z"},
        {"2026-03-29+4h", "2026-03-28T23:00:00.000Z", "2026-03-29T03:00:00.000Z"},
        /* 00:30 on Monday: a day ago is Sunday 00:30, though 24 hours ago it was Saturday */
        {"now-1d/d..now/d", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z"},
        {"1d", "2026-03-28T23:30:00.000Z", "2026-03-29T22:30:00.000Z"},
        {"24h", "2026-03-28T22:30:00.000Z", "2026-03-29T22:30:00.000Z"},
        /* 02:30 is skipped: an hour later on the clock, which is the same distance from midnight */
        {"2026-03-29 02:30..03:45", "2026-03-29T01:30:00.000Z", "2026-03-29T01:45:00.000Z"},
    };
    CHECK_GOOD(rows, "2026-03-29T22:30:00Z", &zone_berlin);
}

static void what_occurs_twice_is_counted_whole(void **state)
{
    (void)state;
    static const struct good rows[] = {
        {"2026-10-25 02:00..02:59", "2026-10-25T00:00:00.000Z", "2026-10-25T01:59:00.000Z"},
        {"2026-10-25 02:30..02:30", "2026-10-25T00:30:00.000Z", "2026-10-25T01:30:00.000Z"},
        {"2026-10-25", "2026-10-24T22:00:00.000Z", "2026-10-25T23:00:00.000Z"},
        {"2026-10-25T02:30+02:00..2026-10-25T02:30+01:00", "2026-10-25T00:30:00.000Z", "2026-10-25T01:30:00.000Z"},
    };
    CHECK_GOOD(rows, "2026-10-26T12:00:00Z", &zone_berlin);
}

static void a_day_without_midnight_begins_an_hour_later_and_the_next_does_not(void **state)
{
    (void)state;
    static const struct good rows[] = {
        {"yesterday", "2026-11-01T03:00:00.000Z", "2026-11-02T02:00:00.000Z"},
        {"now-1d/d..now/d", "2026-11-01T03:00:00.000Z", "2026-11-02T02:00:00.000Z"},
        {"2026-11-01", "2026-11-01T03:00:00.000Z", "2026-11-02T02:00:00.000Z"},
        {"last-week", "2026-10-26T03:00:00.000Z", "2026-11-02T02:00:00.000Z"},
    };
    CHECK_GOOD(rows, "2026-11-02T12:00:00Z", &zone_no_midnight);
}

static void what_is_not_a_range_is_refused_with_the_place_and_the_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        size_t column;
        size_t length;
        const char *says;
    } rows[] = {
        {"", WEIR_EFORMAT, 1, 1, "it ends where a time"},
        {"15", WEIR_EFORMAT, 3, 1, "it ends where a unit"},
        {"15x", WEIR_EFORMAT, 3, 1, "a unit (s, m, h, d or w)"},
        {"15min", WEIR_EFORMAT, 3, 3, "a unit (s, m, h, d or w)"},
        {"1h30", WEIR_EFORMAT, 5, 1, "a unit"},
        {"1h 30m", WEIR_EFORMAT, 4, 3, "nothing more"},
        {"101w 1d", WEIR_EFORMAT, 6, 2, "nothing more"},
        {"99999999999999999999h", WEIR_EPARAM, 1, 21, "100 years"},
        {"36526d", WEIR_EPARAM, 1, 6, "100 years"},
        {"lunch", WEIR_EFORMAT, 1, 5, "a time (now-1h"},
        {"today lunch", WEIR_EFORMAT, 6, 1, "\"..\" and an end"},
        {"todays", WEIR_EFORMAT, 1, 6, "a time"},
        {"now", WEIR_EFORMAT, 4, 1, "it ends where \"..\" and an end"},
        {"09:00", WEIR_EFORMAT, 6, 1, "it ends where \"..\""},
        {"09:00.10:00", WEIR_EFORMAT, 6, 6, "\"..\" and an end"},
        {"09:00-10:00", WEIR_EFORMAT, 6, 6, "\"..\" and an end"},
        {"9:00..", WEIR_EFORMAT, 1, 6, "a time such as 09:30"},
        {"09:0..", WEIR_EFORMAT, 4, 3, "two digits of minutes"},
        {"09:00:1..", WEIR_EFORMAT, 7, 3, "two digits of seconds"},
        {"09:00..10:00..", WEIR_EFORMAT, 13, 2, "nothing more"},
        {"25:00..", WEIR_EPARAM, 1, 5, "no such date or time"},
        {"now-..", WEIR_EFORMAT, 5, 2, "a duration"},
        {"now/y..", WEIR_EFORMAT, 5, 3, "a unit to round down to"},
        {"now/..", WEIR_EFORMAT, 5, 2, "a unit to round down to"},
        {"now-100w..lunch", WEIR_EFORMAT, 11, 5, "a time"},
        {"now-60000d..", WEIR_EPARAM, 5, 6, "100 years"},
        {"now-99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w99w..",
         WEIR_EPARAM, 1, 94, "1970"},
        {"2026-02-30..", WEIR_EPARAM, 1, 10, "no such date or time"},
        {"2026-2-3..", WEIR_EFORMAT, 6, 5, "the rest of a date"},
        {"2026-03/04..", WEIR_EFORMAT, 8, 5, "the rest of a date"},
        {"2026-03-04T..", WEIR_EFORMAT, 12, 2, "a time such as"},
        {"2026-03-04T09:00+25:00..", WEIR_EPARAM, 17, 6, "a zone is"},
        {"20260304..", WEIR_EFORMAT, 1, 10, "a date such as"},
        {"@..", WEIR_EFORMAT, 2, 2, "seconds since 1970"},
        {"@1772600000000..", WEIR_EPARAM, 1, 14, "after @ come seconds"},
        {"2026/03/01-2026-03-02", WEIR_EFORMAT, 11, 1, "\"..\" is expected"},
        {"2026/03/01-09:00", WEIR_EFORMAT, 11, 1, "\"..\" is expected"},
        {"..now", WEIR_EFORMAT, 1, 5, "a time"},
        {"16:00+1h", WEIR_EPARAM, 1, 8,
         "2026-03-04 16:00:00 .. 2026-03-04 17:00:00 ends in the future, it is 2026-03-04 15:20:30"},
        {"10:30..09:00", WEIR_EPARAM, 1, 12, "2026-03-04 10:30:00 .. 2026-03-04 09:00:00 ends before it begins"},
        {"yesterday..yesterday", WEIR_EPARAM, 1, 20, "ends before it begins"},
        {"0s", WEIR_EPARAM, 1, 2, "ends before it begins"},
        {"2027-01-01", WEIR_EPARAM, 1, 10, "ends before it begins"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct weir_timerange range = {-7, -7};
        struct weir_time_error error = {0};
        int rc = weir_timerange_parse(rows[i].text, ms_of(NOW), &weir_zone_utc, &range, &error);
        if (rc != rows[i].rc || error.column != rows[i].column || error.length != rows[i].length ||
            strstr(error.message, rows[i].says) == NULL) {
            fail_msg("%s: %s column %zu length %zu: %s", rows[i].text, weir_err_name(rc), error.column, error.length,
                     error.message);
        }
        assert_int_equal(range.from_ms, -7);
        assert_int_equal(weir_timerange_parse(rows[i].text, ms_of(NOW), &weir_zone_utc, &range, NULL), rc);
    }
}

static void the_last_duration_reaches_back_to_1970_at_most(void **state)
{
    (void)state;
    struct weir_timerange range;
    assert_int_equal(weir_timerange_parse("36525d", ms_of(NOW), &weir_zone_utc, &range, NULL), 0);
    assert_int_equal(range.from_ms, 0);
}

static void a_point_may_be_in_the_future(void **state)
{
    (void)state;
    char text[WEIR_TIME_TEXT];
    int64_t ms;
    assert_int_equal(weir_timepoint_parse("now+1d/d", ms_of(NOW), &weir_zone_utc, &ms, NULL), 0);
    assert_string_equal(weir_time_rfc3339(ms, text), "2026-03-05T00:00:00.000Z");
    assert_int_equal(weir_timepoint_parse(" 23:59 ", ms_of(NOW), &weir_zone_utc, &ms, NULL), 0);
    assert_string_equal(weir_time_rfc3339(ms, text), "2026-03-04T23:59:00.000Z");
    assert_int_equal(weir_timepoint_parse("2026-03-04..", ms_of(NOW), &weir_zone_utc, &ms, NULL), WEIR_EFORMAT);
}

static void a_duration_is_in_milliseconds(void **state)
{
    (void)state;
    int64_t ms;
    struct weir_time_error error;
    assert_int_equal(weir_duration_parse("1d1h1m1s", &ms, NULL), 0);
    assert_int_equal(ms, 86400000 + 3600000 + 60000 + 1000);
    assert_int_equal(weir_duration_parse("0s", &ms, NULL), 0);
    assert_int_equal(ms, 0);
    assert_int_equal(weir_duration_parse("1h-", &ms, &error), WEIR_EFORMAT);
    assert_int_equal(error.column, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_form_of_a_range_is_understood),
        cmocka_unit_test(clock_times_are_those_of_the_zone),
        cmocka_unit_test(the_day_that_summer_time_begins_has_23_hours),
        cmocka_unit_test(what_occurs_twice_is_counted_whole),
        cmocka_unit_test(a_day_without_midnight_begins_an_hour_later_and_the_next_does_not),
        cmocka_unit_test(what_is_not_a_range_is_refused_with_the_place_and_the_reason),
        cmocka_unit_test(the_last_duration_reaches_back_to_1970_at_most),
        cmocka_unit_test(a_point_may_be_in_the_future),
        cmocka_unit_test(a_duration_is_in_milliseconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
