/**
 * Time ranges as people write them. Pure: the caller says what time it is and which zone clocks are in.
 *
 *     RANGE := DUR                      the last DUR                          15m  24h  7d  1h30m
 *            | POINT ".." [POINT]       from, to; without an end, until now   09:00..10:30  yesterday..
 *            | POINT "+" DUR            from, for                             2026-03-04T09:00Z+2h
 *            | "today" | "yesterday" | "this-week" | "last-week" | DATE       that day or week, at most until now
 *     POINT := "now" [("-"|"+") DUR] ["/" UNIT]    now-1d/d is last midnight but one
 *            | "today" | "yesterday" | "this-week" | "last-week"    where it begins
 *            | DATE [("T"|" ") CLOCK [ZONE]] | CLOCK | "@" SECONDS["."FRACTION]
 *            | YYYY/MM/DD["."CLOCK]     as nfdump; "-" between two of these is ".."
 *     DATE  := YYYY-MM-DD     CLOCK := HH:MM[:SS["."FRACTION]]     ZONE := "Z" | ("+"|"-") HH:MM     (RFC 3339)
 *     DUR   := INT UNIT {INT UNIT}     UNIT := s m h d w
 *
 * A clock time alone is today; as an end it is on the day of the beginning, if that has a date. d and w are days of
 * the calendar: now-1d is the same clock time yesterday, be it 23 or 25 hours ago. Weeks begin on Monday. Of a clock
 * time that occurs twice a beginning is the first and an end the second. Words may be in upper or lower case.
 */
#ifndef WEIR_COMMON_FLOW_TIMERANGE_H
#define WEIR_COMMON_FLOW_TIMERANGE_H

#include "common/flow/civil.h"

#include <stddef.h>

/** From @from_ms up to but not including @to_ms, since 1970 UTC. */
struct weir_timerange {
    int64_t from_ms;
    int64_t to_ms;
};

/** Where a text stopped making sense, and what would have. */
struct weir_time_error {
    size_t column; /* of the first byte that is wrong, from 1; one past the end when something is missing */
    size_t length; /* in bytes, at least 1 */
    char message[256];
};

/**
 * Understand a range. @error may be NULL; it is filled on failure.
 *   WEIR_EFORMAT  not in the grammar
 *   WEIR_EPARAM   a date that does not exist, a range that ends in the future or not after it begins
 */
int weir_timerange_parse(const char *text, int64_t now_ms, const struct weir_zone *zone, struct weir_timerange *ret,
                         struct weir_time_error *error);

/** Understand one POINT, in the past or the future; a clock time is today. As above. */
int weir_timepoint_parse(const char *text, int64_t now_ms, const struct weir_zone *zone, int64_t *ret_ms,
                         struct weir_time_error *error);

/** Understand one DUR, in which a day is 24 hours. More than 100 years is WEIR_EPARAM. As above. */
int weir_duration_parse(const char *text, int64_t *ret_ms, struct weir_time_error *error);

#endif
