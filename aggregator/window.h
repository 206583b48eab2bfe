/**
 * When a flow was, and how its bytes and packets are shared out over time: the one rule that roll-up and scans share,
 * so that both give the same sums.
 *
 * A flow's amount grows evenly from its start to its end. What falls into [a, b) is the difference of two roundings of
 * that line, so the parts of any division of time add up to the whole, exactly. The flow itself is counted where it
 * starts.
 */
#ifndef WEIR_AGGREGATOR_WINDOW_H
#define WEIR_AGGREGATOR_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

enum {
    AGG_MINUTE_MS = 60 * 1000,
    AGG_HOUR_MS = 60 * 60 * 1000,
    AGG_WINDOWS_MOST = 60, /* that a flow is spread over in one tier; a longer one takes wider strides */
    AGG_LATE_MS = 5 * 60 * 1000,
};

/** How far from its commit a flow's time is believed. */
#define AGG_PAST_MOST_MS   (INT64_C(7) * 24 * AGG_HOUR_MS)
#define AGG_FUTURE_MOST_MS (INT64_C(5) * AGG_MINUTE_MS)

/** A flow's time as we take it: start <= end, both near the commit. */
struct agg_span {
    int64_t start_ms;
    int64_t end_ms;
    bool clamped; /* the exporter's times were not believed */
};

static inline int64_t agg_clamp_ms(int64_t ms, int64_t commit_ms)
{
    if (ms < commit_ms - AGG_PAST_MOST_MS) return commit_ms - AGG_PAST_MOST_MS;
    if (ms > commit_ms + AGG_FUTURE_MOST_MS) return commit_ms + AGG_FUTURE_MOST_MS;
    return ms;
}

/** @start_ms, @end_ms: as exported, 0 when not sent; then @received_ms stands for them. */
static inline struct agg_span agg_span_of(int64_t start_ms, int64_t end_ms, int64_t received_ms, int64_t commit_ms)
{
    if (start_ms == 0) start_ms = end_ms != 0 ? end_ms : received_ms;
    if (end_ms < start_ms) end_ms = start_ms;
    struct agg_span span = {.start_ms = agg_clamp_ms(start_ms, commit_ms), .end_ms = agg_clamp_ms(end_ms, commit_ms)};
    span.clamped = span.start_ms != start_ms || span.end_ms != end_ms;
    return span;
}

/** What of @total lies before @at_ms. */
static inline uint64_t agg_part_before(uint64_t total, const struct agg_span *span, int64_t at_ms)
{
    if (at_ms <= span->start_ms) return 0;
    if (at_ms >= span->end_ms) return total;
    uint64_t part = (uint64_t)(at_ms - span->start_ms), whole = (uint64_t)(span->end_ms - span->start_ms);
    uint64_t product;
    if (!__builtin_mul_overflow(total, part, &product)) return product / whole;
    return (uint64_t)((unsigned __int128)total * part / whole);
}

/** What of @total lies in [@from_ms, @to_ms). */
static inline uint64_t agg_part_within(uint64_t total, const struct agg_span *span, int64_t from_ms, int64_t to_ms)
{
    /* All that is not spread lies in the moment of its start. */
    if (span->start_ms == span->end_ms) return span->start_ms >= from_ms && span->start_ms < to_ms ? total : 0;
    return agg_part_before(total, span, to_ms) - agg_part_before(total, span, from_ms);
}

/** The first and last window of @width_ms that a flow touches; no flow of ours is before 1970. */
static inline int64_t agg_first_window(const struct agg_span *span, int64_t width_ms)
{
    return span->start_ms / width_ms;
}

static inline int64_t agg_last_window(const struct agg_span *span, int64_t width_ms)
{
    return (span->end_ms > span->start_ms ? span->end_ms - 1 : span->start_ms) / width_ms;
}

#endif
