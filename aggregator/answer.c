#include "aggregator/answer.h"

#include "aggregator/scan.h"
#include "aggregator/window.h"
#include "common/base/clock.h"

#include <stdio.h>
#include <string.h>

enum {
    HOURS_LEAST = 2,                  /* whole hours in the range: fewer are answered from minutes alone */
    PRECISE_MOST_MS = 10 * 60 * 1000, /* a shorter range that does not lie on minutes is answered from flows */
    SEGMENTS_MOST = 3
};

/** A stretch of time that one tier answers. */
struct segment {
    enum agg_tier tier;
    int64_t from_ms;
    int64_t to_ms;
};

struct plan {
    bool raw;
    struct agg_row_plan rows;
    uint32_t count;
    struct segment segments[SEGMENTS_MOST];
};

static int64_t floor_to(int64_t ms, int64_t width_ms)
{
    return ms / width_ms * width_ms;
}

static int64_t ceil_to(int64_t ms, int64_t width_ms)
{
    return (ms + width_ms - 1) / width_ms * width_ms;
}

static void add_segment(struct plan *plan, enum agg_tier tier, int64_t from_ms, int64_t to_ms)
{
    if (from_ms < to_ms) plan->segments[plan->count++] = (struct segment){tier, from_ms, to_ms};
}

/**
 * Which tier answers which part: whole hours from hours, the edges from minutes. Both hold the same sums. Where minutes
 * are no longer kept, hours answer the edge too, and the range widens to them.
 */
static void cut_time(const struct agg_answerer *by, const struct weir_question *question, struct plan *plan)
{
    int64_t from_ms = question->from_ms, to_ms = question->to_ms;
    bool hours_only = question->tier == WEIR_TIER_1H || question->tier == WEIR_TIER_1D;
    if (hours_only) {
        add_segment(plan, AGG_TIER_1H, floor_to(from_ms, AGG_HOUR_MS), ceil_to(to_ms, AGG_HOUR_MS));
        return;
    }
    from_ms = floor_to(from_ms, AGG_MINUTE_MS);
    to_ms = ceil_to(to_ms, AGG_MINUTE_MS);
    int64_t first_ms = ceil_to(from_ms, AGG_HOUR_MS), last_ms = floor_to(to_ms, AGG_HOUR_MS);
    int64_t kept_ms = by->retain == NULL ? 0 : agg_retain_cutoff_ms(by->retain, AGG_TIER_1M);
    if (from_ms < kept_ms && question->tier == WEIR_TIER_AUTO) from_ms = first_ms = floor_to(from_ms, AGG_HOUR_MS);
    bool whole_steps = question->shape != WEIR_SHAPE_SERIES || question->step_ms % AGG_HOUR_MS == 0;
    bool use_hours = question->tier == WEIR_TIER_AUTO && whole_steps &&
                     (last_ms - first_ms >= HOURS_LEAST * AGG_HOUR_MS || from_ms < kept_ms);
    if (!use_hours) {
        add_segment(plan, AGG_TIER_1M, from_ms, to_ms);
        return;
    }
    if (last_ms < first_ms + AGG_HOUR_MS) last_ms = first_ms + AGG_HOUR_MS;
    add_segment(plan, AGG_TIER_1M, from_ms, first_ms);
    add_segment(plan, AGG_TIER_1H, first_ms, last_ms);
    add_segment(plan, AGG_TIER_1M, last_ms, to_ms);
}

/** Why rows cannot answer, in a word; NULL when they can. */
static const char *misfit_of(const struct weir_question *question, const struct weir_filter *filter,
                             struct agg_row_plan *rows)
{
    if (question->shape == WEIR_SHAPE_FLOWS) return "single flows";
    int64_t least_step_ms =
        question->tier == WEIR_TIER_1H || question->tier == WEIR_TIER_1D ? AGG_HOUR_MS : AGG_MINUTE_MS;
    if (question->shape == WEIR_SHAPE_SERIES && question->step_ms % least_step_ms != 0) return "the step";
    if (agg_scan_plan_rows(weir_question_dims(question), filter, rows) == 0) return NULL;
    return "the dimensions asked for";
}

static int make_plan(const struct agg_answerer *by, const struct weir_question *question,
                     const struct weir_filter *filter, struct plan *plan, struct weir_why *why)
{
    *plan = (struct plan){0};
    if (question->shape == WEIR_SHAPE_EXPORTERS || question->shape == WEIR_SHAPE_DROPS) {
        cut_time(by, question, plan);
        return 0;
    }
    const char *misfit = misfit_of(question, filter, &plan->rows);
    bool demanded = question->tier != WEIR_TIER_AUTO && question->tier != WEIR_TIER_RAW;
    if (misfit != NULL && demanded)
        return weir_why_set(why, WEIR_EUNSUPPORTED, "%s cannot be answered from the %s rollup: raw flows are needed",
                            misfit, weir_tier_name(question->tier));
    bool on_minutes = question->from_ms % AGG_MINUTE_MS == 0 && question->to_ms % AGG_MINUTE_MS == 0;
    bool precise = !demanded && !on_minutes && question->to_ms - question->from_ms < PRECISE_MOST_MS;
    plan->raw = misfit != NULL || question->tier == WEIR_TIER_RAW || precise;
    if (!plan->raw) cut_time(by, question, plan);
    return 0;
}

/** Rows must hold what was committed before the question; when that takes too long, what they hold is answered, and said to be behind. */
static bool catch_up(const struct agg_answerer *by, const struct plan *plan, int64_t deadline_mono_ms)
{
    bool hours = false;
    for (uint32_t i = 0; i < plan->count; i++)
        hours |= plan->segments[i].tier == AGG_TIER_1H;
    int64_t now_ms = weir_mono_ms();
    int64_t until_ms = now_ms + (deadline_mono_ms - now_ms) / 2; /* half the time is for the scan */
    return agg_roller_catch_up(by->roller, hours ? AGG_TIER_1H : AGG_TIER_1M, until_ms) == 0;
}

static void note_range(struct weir_coverage *coverage, enum weir_tier tier, int64_t from_ms, int64_t to_ms)
{
    if (tier > coverage->tier) coverage->tier = tier;
    if (coverage->from_ms == 0 || from_ms < coverage->from_ms) coverage->from_ms = from_ms;
    if (to_ms > coverage->to_ms) coverage->to_ms = to_ms;
}

/** What was lost of the sources in the range of a raw scan, from minutes: good enough for a coverage. */
static int scan_lost(struct agg_scan *scan)
{
    struct plan plan = {0};
    struct weir_question any = {.from_ms = scan->question->from_ms, .to_ms = scan->question->to_ms};
    cut_time(scan->by, &any, &plan);
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < plan.count; i++)
        rc = agg_scan_sources(scan, plan.segments[i].tier, plan.segments[i].from_ms, plan.segments[i].to_ms, true);
    return rc;
}

static int run_plan(struct agg_scan *scan, const struct plan *plan)
{
    const struct weir_question *question = scan->question;
    struct weir_coverage *coverage = &scan->answer->coverage;
    if (plan->raw) {
        note_range(coverage, WEIR_TIER_RAW, question->from_ms, question->to_ms);
        int rc = agg_scan_raw(scan);
        return rc == 0 ? scan_lost(scan) : rc;
    }
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < plan->count; i++) {
        const struct segment *segment = &plan->segments[i];
        bool exporters = question->shape == WEIR_SHAPE_EXPORTERS || question->shape == WEIR_SHAPE_DROPS;
        note_range(coverage, segment->tier == AGG_TIER_1M ? WEIR_TIER_1M : WEIR_TIER_1H, segment->from_ms,
                   segment->to_ms);
        if (!exporters) rc = agg_scan_rows(scan, &plan->rows, segment->tier, segment->from_ms, segment->to_ms);
        if (rc == 0) rc = agg_scan_sources(scan, segment->tier, segment->from_ms, segment->to_ms, !exporters);
    }
    return rc;
}

/** @question about those of its shards that we are a member of; borrows its memory. */
static struct weir_question own_part(const struct agg_answerer *by, const struct weir_question *question)
{
    struct weir_question part = *question;
    for (uint32_t word = 0; by->members != NULL && word < WEIR_SHARDS / 64; word++)
        part.shards[word] &= atomic_load(&by->members[word]);
    return part;
}

static uint32_t count_shards(const struct weir_question *question)
{
    uint32_t count = 0;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        count += weir_question_wants_shard(question, shard);
    return count;
}

static int add_own_source(const struct agg_scan *scan, uint32_t asked, int64_t asof_ms, int64_t begin_mono_ms)
{
    int64_t name = weir_answer_name(scan->answer, scan->by->node);
    if (name < 0) return (int)name;
    struct weir_answer_source source = {.name = (uint32_t)name,
                                        .ok = true,
                                        .scanned = scan->scanned,
                                        .asof_ms = asof_ms,
                                        .shards_asked = asked,
                                        .shards_answered = count_shards(scan->question),
                                        .elapsed_ms = (uint32_t)(weir_mono_ms() - begin_mono_ms)};
    return weir_answer_add_source(scan->answer, &source);
}

static int parse_filter(const struct weir_question *question, struct weir_filter **ret, struct weir_why *why)
{
    const char *text = question->filter == NULL ? "" : question->filter;
    struct weir_filter_error error;
    int rc = weir_filter_parse(text, strlen(text), ret, &error);
    if (rc == WEIR_EFORMAT || rc == WEIR_ELIMIT)
        return weir_why_set(why, rc, "filter: %s at column %u", error.message, error.column);
    return rc < 0 ? weir_why_set(why, rc, "%s", weir_err_text(rc)) : 0;
}

/** What a reading error means to who asked. */
static int explain(int rc, struct weir_why *why)
{
    if (rc < 0 && why != NULL && why->text[0] == '\0') weir_why_set(why, rc, "%s", weir_err_text(rc));
    return rc;
}

static int scan_snapshot(struct agg_scan *scan, const struct plan *plan)
{
    struct agg_snapshot *snapshot = NULL;
    int rc = agg_snapshot_create(scan->by->store, &snapshot);
    if (rc < 0) return rc;
    scan->snapshot = snapshot;
    rc = run_plan(scan, plan);
    agg_snapshot_destroy(snapshot);
    return rc;
}

int agg_answer(const struct agg_answerer *by, const struct weir_question *question, int64_t deadline_mono_ms,
               const _Atomic bool *cancelled, struct weir_answer *ret, uint64_t *scanned, struct weir_why *why)
{
    int64_t begin_mono_ms = weir_mono_ms();
    struct weir_filter *filter = NULL;
    struct plan plan = {0};
    int rc = parse_filter(question, &filter, why);
    if (rc < 0) return rc;
    const struct weir_question part = own_part(by, question);
    bool nodes = question->shape == WEIR_SHAPE_NODES;
    if (!nodes) rc = make_plan(by, question, filter, &plan, why);
    if (rc == 0) rc = explain(weir_answer_init(ret, question), why);
    if (rc < 0) {
        weir_filter_destroy(filter);
        return rc;
    }
    struct agg_scan scan = {.by = by,
                            .question = &part,
                            .filter = filter,
                            .answer = ret,
                            .deadline_mono_ms = deadline_mono_ms,
                            .cancelled = cancelled};
    int64_t asof_ms = agg_heard_asof_ms(by->heard, weir_wall_ms(), NULL);
    if (nodes) {
        rc = by->nodes(by->ctx, ret);
    } else {
        if (!plan.raw && !catch_up(by, &plan, deadline_mono_ms)) {
            asof_ms = 0;
            ret->coverage.behind = true;
        }
        rc = scan_snapshot(&scan, &plan);
    }
    if (rc == 0) rc = add_own_source(&scan, count_shards(question), asof_ms, begin_mono_ms);
    if (rc == 0) rc = weir_answer_rank(ret, weir_question_partial_limit(question), true);
    if (scanned != NULL) *scanned = scan.scanned;
    weir_filter_destroy(filter);
    if (rc < 0) weir_answer_fini(ret);
    return rc < 0 ? explain(rc, why) : 0;
}
