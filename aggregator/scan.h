/** What the scans of a question share; for aggregator/answer.c and aggregator/scan_*.c only. */
#ifndef WEIR_AGGREGATOR_SCAN_H
#define WEIR_AGGREGATOR_SCAN_H

#include "aggregator/answer.h"

/** One question being answered. */
struct agg_scan {
    const struct agg_answerer *by;
    const struct weir_question *question;
    const struct weir_filter *filter;
    const struct agg_snapshot *snapshot;
    struct weir_answer *answer;
    int64_t deadline_mono_ms;
    const _Atomic bool *cancelled;
    uint64_t scanned;
};

/** Is @shard asked for, and is there anything of it? */
static inline bool agg_scan_wants_shard(const struct agg_scan *scan, uint32_t shard)
{
    return weir_question_wants_shard(scan->question, shard) && agg_roller_head(scan->by->roller, shard).number > 0;
}

/** WEIR_ETIMEOUT or WEIR_ECANCELLED when it must end. Every few thousand rows. */
int agg_scan_check(const struct agg_scan *scan);

/** Begin of the step of a series that @ms falls into; 0 for other shapes. */
static inline int64_t agg_scan_step(const struct weir_question *question, int64_t ms)
{
    return question->shape == WEIR_SHAPE_SERIES ? ms / question->step_ms * question->step_ms : 0;
}

/** Which rows of a tier answer: tables whose rows are added, or subtracted where two others counted a flow twice. */
struct agg_row_plan {
    uint64_t have; /* dimensions of its rows, not closed */
    struct {
        enum agg_table table;
        bool subtract;
        bool total; /* its rows make up the total */
    } parts[3];
    uint32_t count;
};

/** The cheapest tables that hold @dims and decide @filter, or WEIR_ENOTFOUND. */
int agg_scan_plan_rows(uint64_t dims, const struct weir_filter *filter, struct agg_row_plan *ret);

/** Add the rows of the windows in [@from_ms, @to_ms) of the tables of @plan. */
int agg_scan_rows(struct agg_scan *scan, const struct agg_row_plan *plan, enum agg_tier tier, int64_t from_ms,
                  int64_t to_ms);

/** Add the exporters of a tier's windows, or (@coverage_only) only what was lost of them to the coverage. */
int agg_scan_sources(struct agg_scan *scan, enum agg_tier tier, int64_t from_ms, int64_t to_ms, bool coverage_only);

/** Add the flows of the question's range: groups, steps or single flows. */
int agg_scan_raw(struct agg_scan *scan);

#endif
