/**
 * Calendar dates and clock times, and the zone between them and milliseconds since 1970 UTC. Pure: what a zone's
 * offset is at some instant is asked of the caller's function, so that tests can bring their own summer time.
 */
#ifndef WEIR_COMMON_FLOW_CIVIL_H
#define WEIR_COMMON_FLOW_CIVIL_H

#include <stdbool.h>
#include <stdint.h>

/** Seconds east of UTC that clocks in the zone show at the instant @utc_s (seconds since 1970 UTC). */
typedef int32_t weir_zone_offset_fn(void *ctx, int64_t utc_s);

struct weir_zone {
    weir_zone_offset_fn *offset;
    void *ctx;
};

/** The zone whose offset is always 0. */
extern const struct weir_zone weir_zone_utc;

/** A date and time as a calendar and a clock show it. */
struct weir_civil {
    int year; /* 1970..9999 */
    int month;
    int day;
    int hour;
    int minute;
    int second;
    int ms;
    int weekday; /* 0 Monday .. 6 Sunday; an output only */
};

/** What to do with a clock time that occurs twice, in the hour after summer time ends. */
enum weir_fold { WEIR_FOLD_FIRST, WEIR_FOLD_SECOND };

enum {
    WEIR_TIME_TEXT = 32 /* room for every text below, with its NUL */
};

/** Does the date exist (29 February only in leap years) and is the time within its day (second 60 is a leap second)? */
bool weir_civil_valid(const struct weir_civil *civil);

/** What clocks in @zone show at @ms (0 or later). */
struct weir_civil weir_civil_of(int64_t ms, const struct weir_zone *zone);

/**
 * The instant at which clocks in @zone show @civil, which must be valid. A time that occurs twice is the one that
 * @fold says; a time that is skipped (summer time begins) is as far after the jump as it claims to be.
 */
int64_t weir_civil_to_ms(const struct weir_civil *civil, const struct weir_zone *zone, enum weir_fold fold);

/** Turn the calendar @days on (back when negative); the clock time stays, whether it exists on that day or not. */
void weir_civil_add_days(struct weir_civil *civil, int64_t days);

/** The instant of an NTP timestamp: seconds since 1900, or since 2036 where that is before 1970 (RFC 7011 6.1.9, RFC 5905 6). */
static inline int64_t weir_ntp_ms(uint32_t seconds, uint32_t fraction)
{
    const int64_t era_seconds = 1ll << 32;
    const int64_t from_1900_to_1970 = 2208988800;
    int64_t since_1970 = (int64_t)seconds - from_1900_to_1970;
    if (since_1970 < 0) since_1970 += era_seconds;
    return since_1970 * 1000 + (int64_t)((uint64_t)fraction * 1000 >> 32);
}

/** "2026-03-04T15:00:02.118Z" (RFC 3339, UTC, always with milliseconds): the form of JSON and CSV. Returns @out. */
const char *weir_time_rfc3339(int64_t ms, char out[WEIR_TIME_TEXT]);

/** "2026-03-04 16:00:02" as clocks in @zone show it: the form of tables. Returns @out. */
const char *weir_time_local(int64_t ms, const struct weir_zone *zone, char out[WEIR_TIME_TEXT]);

#endif
