#include "aggregator/scan.h"

#include "aggregator/window.h"
#include "common/base/mem.h"
#include "common/wire/batch.h"

#include <string.h>

/* How much later than its last packet a flow may claim to have begun before a block's header misleads us. */
#define BACKWARDS_MOST_MS (INT64_C(60) * AGG_MINUTE_MS)

struct raw {
    struct agg_scan *scan;
    struct weir_batch_decoder *decoder;
    struct weir_batch *batch;
    uint64_t columns;
    struct weir_buf extras; /* of one flow */
    uint64_t selected[WEIR_FILTER_WORDS];
    union weir_value *values[WEIR_QUESTION_DIMS_MOST]; /* WEIR_BATCH_MOST of each dimension */
    union weir_value *others;                          /* the second value of an EITHER dimension */
    int either;                                        /* index of that dimension, or -1 */
    struct weir_where where;
    struct weir_batch_header header;
    struct agg_place place;
    int64_t commit_ms;
};

#define COLUMN(id) (1ull << WEIR_FIELD_##id)

/** The two roles of an EITHER dimension. */
static void roles_of(enum weir_dim dim, enum weir_dim roles[2])
{
    bool ip = dim == WEIR_DIM_ip;
    roles[0] = ip ? WEIR_DIM_src_ip : WEIR_DIM_src_port;
    roles[1] = ip ? WEIR_DIM_dst_ip : WEIR_DIM_dst_port;
}

static void read_dims(struct raw *raw)
{
    const struct weir_question *question = raw->scan->question;
    uint32_t rows = raw->batch->count;
    for (uint32_t d = 0; d < question->dim_count; d++) {
        if ((int)d != raw->either) {
            weir_dim_of_rows(question->dims[d], raw->batch, &raw->where, 0, rows, raw->values[d]);
            continue;
        }
        enum weir_dim roles[2];
        roles_of(question->dims[d], roles);
        weir_dim_of_rows(roles[0], raw->batch, &raw->where, 0, rows, raw->values[d]);
        weir_dim_of_rows(roles[1], raw->batch, &raw->where, 0, rows, raw->others);
    }
}

/** The column of a number that flows carry, or zeros. */
static uint64_t number_at(const struct weir_batch *batch, enum weir_field field, uint32_t row)
{
    if (!weir_batch_has(batch, field)) return 0;
    return field == WEIR_FIELD_sampling_one_in ? ((const uint32_t *)batch->column[field])[row]
                                               : ((const uint64_t *)batch->column[field])[row];
}

static struct agg_span span_at(const struct raw *raw, uint32_t row)
{
    const struct weir_batch *batch = raw->batch;
    const int64_t *start = weir_batch_has(batch, WEIR_FIELD_start_ms) ? batch->column[WEIR_FIELD_start_ms] : NULL;
    const int64_t *end = weir_batch_has(batch, WEIR_FIELD_end_ms) ? batch->column[WEIR_FIELD_end_ms] : NULL;
    return agg_span_of(start == NULL ? 0 : start[row], end == NULL ? 0 : end[row], raw->header.last_received_ms,
                       raw->commit_ms);
}

static int add_counts(struct raw *raw, uint32_t row, int64_t time_ms, const struct weir_counts *counts)
{
    struct agg_scan *scan = raw->scan;
    union weir_value key[WEIR_QUESTION_DIMS_MOST] = {{{{0}}}};
    for (uint32_t d = 0; d < scan->question->dim_count; d++)
        key[d] = raw->values[d][row];
    int rc = weir_answer_count(scan->answer, key, time_ms, counts);
    if (rc < 0 || raw->either < 0) return rc;
    if (memcmp(&key[raw->either], &raw->others[row], sizeof key[0]) == 0) return 0;
    key[raw->either] = raw->others[row];
    return weir_answer_add(scan->answer, key, time_ms, counts);
}

/** Add what of a flow lies in the question's range, by step for a series. */
static int add_flow(struct raw *raw, uint32_t row)
{
    struct agg_scan *scan = raw->scan;
    const struct weir_question *question = scan->question;
    struct agg_span span = span_at(raw, row);
    int64_t last_ms = span.end_ms > span.start_ms ? span.end_ms - 1 : span.start_ms;
    if (span.start_ms >= question->to_ms || last_ms < question->from_ms) return 0;

    uint64_t packets = number_at(raw->batch, WEIR_FIELD_packets, row);
    uint64_t bytes = number_at(raw->batch, WEIR_FIELD_bytes, row);
    uint32_t sampling = (uint32_t)number_at(raw->batch, WEIR_FIELD_sampling_one_in, row);
    if (sampling > 1) scan->answer->coverage.sampled = true;
    if (sampling == 0) scan->answer->coverage.sampling_unknown = true;
    int64_t at_ms = span.start_ms > question->from_ms ? span.start_ms : question->from_ms;
    while (at_ms <= last_ms && at_ms < question->to_ms) {
        int64_t step_ms = agg_scan_step(question, at_ms);
        int64_t to_ms = question->shape == WEIR_SHAPE_SERIES ? step_ms + question->step_ms : question->to_ms;
        if (to_ms > question->to_ms) to_ms = question->to_ms;
        struct weir_counts counts = weir_counts_of(span.start_ms >= at_ms && span.start_ms < to_ms,
                                                   agg_part_within(packets, &span, at_ms, to_ms),
                                                   agg_part_within(bytes, &span, at_ms, to_ms), sampling);
        bool nothing = counts.flows == 0 && counts.packets == 0 && counts.bytes == 0;
        int rc = nothing ? 0 : add_counts(raw, row, step_ms, &counts);
        if (rc < 0) return rc;
        at_ms = to_ms;
    }
    return 0;
}

static int take_flow(struct raw *raw, uint32_t row)
{
    struct agg_scan *scan = raw->scan;
    const struct weir_question *question = scan->question;
    struct agg_span span = span_at(raw, row);
    if (span.start_ms < question->from_ms || span.start_ms >= question->to_ms) return 0;
    struct weir_answer_flow flow = {
        .place = {.time_ms = span.start_ms, .shard = raw->place.shard, .block = raw->place.number, .row = row},
        .source = raw->where.source,
        .protocol = raw->where.protocol,
        .site = raw->where.site_number};
    if (question->has_cursor) {
        int order = weir_place_compare(&flow.place, &question->cursor);
        if (question->ascending ? order <= 0 : order >= 0) return 0;
    }
    weir_batch_get(raw->batch, row, &flow.flow);
    struct weir_counts counts = weir_counts_of(1, flow.flow.packets, flow.flow.bytes, flow.flow.sampling_one_in);
    if (flow.flow.sampling_one_in > 1) scan->answer->coverage.sampled = true;
    if (flow.flow.sampling_one_in == 0) scan->answer->coverage.sampling_unknown = true;
    weir_counts_add(&scan->answer->total, &counts);
    if (!weir_answer_wants_flow(scan->answer, &flow.place)) {
        scan->answer->more = true;
        return 0;
    }
    weir_buf_clear(&raw->extras);
    weir_batch_extra_row(raw->batch, row, &raw->extras);
    if (raw->extras.failed) return WEIR_ENOMEM;
    flow.extras = weir_buf_view(&raw->extras);
    return weir_answer_add_flow(scan->answer, &flow);
}

/** Open a block and add its flows. */
static int scan_block(struct raw *raw)
{
    struct agg_scan *scan = raw->scan;
    struct agg_key key = agg_key_block(&raw->place);
    struct agg_lease body;
    int rc = agg_store_lend(scan->by->store, scan->snapshot, AGG_FAMILY_FLOWS, agg_key_view(&key), &body);
    if (rc == WEIR_ENOTFOUND) return 0; /* retention dropped it under way */
    if (rc < 0) return rc;
    rc = weir_batch_decode(raw->decoder, &raw->header, body.value, raw->columns, raw->batch);
    agg_lease_return(&body);
    if (rc < 0) return rc == WEIR_ENOMEM ? rc : WEIR_ECORRUPT;

    uint32_t rows = raw->batch->count;
    scan->scanned += rows;
    if (weir_filter_batch(scan->filter, raw->batch, &raw->where, raw->selected) == 0) return 0;
    bool single = scan->question->shape == WEIR_SHAPE_FLOWS;
    if (!single) read_dims(raw);
    for (uint32_t word = 0; rc == 0 && word < (rows + 63) / 64; word++) {
        for (uint64_t left = raw->selected[word]; rc == 0 && left != 0; left &= left - 1) {
            uint32_t row = word * 64 + (uint32_t)__builtin_ctzll(left);
            rc = single ? take_flow(raw, row) : add_flow(raw, row);
        }
    }
    return rc;
}

/** Can flows of this block lie in the range, going by its header? */
static bool is_in_range(const struct raw *raw)
{
    const struct weir_question *question = raw->scan->question;
    const struct weir_batch_totals *totals = &raw->header.totals;
    if (totals->flows == 0) return false;
    if (totals->min_start_ms == 0) return true; /* some times are not sent */
    int64_t first_ms = agg_clamp_ms(totals->min_start_ms, raw->commit_ms);
    int64_t last_ms = totals->max_end_ms;
    if (raw->header.last_received_ms > last_ms) last_ms = raw->header.last_received_ms;
    last_ms = agg_clamp_ms(last_ms + BACKWARDS_MOST_MS, raw->commit_ms);
    return first_ms < question->to_ms && last_ms >= question->from_ms;
}

static int scan_entry(struct raw *raw, struct weir_view key, struct weir_view value)
{
    struct agg_block block;
    int rc = agg_key_read_block(key, &raw->place);
    if (rc == 0) rc = agg_block_decode(value, &block);
    if (rc < 0) return rc;
    if (block.body_bytes == 0) return 0;
    if (weir_batch_header_decode(block.header, &raw->header) < 0) return WEIR_ECORRUPT;
    raw->commit_ms = block.commit_ms;
    if (!is_in_range(raw)) return 0;

    char site[WEIR_NAME_BYTES] = "";
    memcpy(site, block.site.data, block.site.size);
    raw->where = (struct weir_where){.source = raw->header.source, .protocol = raw->header.protocol, .site = site};
    if (weir_filter_excludes(raw->scan->filter, &raw->where)) return 0;
    int64_t number = weir_answer_name(raw->scan->answer, site);
    if (number < 0) return (int)number;
    raw->where.site_number = (uint32_t)number;
    rc = scan_block(raw);
    return rc == 0 ? agg_scan_check(raw->scan) : rc;
}

static int scan_shard(struct raw *raw, uint32_t shard)
{
    const struct weir_question *question = raw->scan->question;
    /* A flow is committed no earlier than AGG_FUTURE_MOST_MS before its time, and no later than AGG_PAST_MOST_MS after. */
    int64_t first_ms = question->from_ms - AGG_FUTURE_MOST_MS, last_ms = question->to_ms + AGG_PAST_MOST_MS;
    uint64_t last_hour = (uint64_t)(last_ms / AGG_HOUR_MS) + 1;
    struct agg_key lower = agg_key_hour(shard, first_ms < 0 ? 0 : (uint32_t)(first_ms / AGG_HOUR_MS));
    struct agg_key upper = last_hour > UINT32_MAX ? agg_key_shard(shard + 1) : agg_key_hour(shard, (uint32_t)last_hour);
    struct agg_iter *iter = NULL;
    int rc = agg_iter_create(raw->scan->by->store, raw->scan->snapshot, AGG_FAMILY_BLOCK, agg_key_view(&lower),
                             agg_key_view(&upper), AGG_ITER_SCAN, &iter);
    for (; rc == 0 && agg_iter_valid(iter); agg_iter_next(iter))
        rc = scan_entry(raw, agg_iter_key(iter), agg_iter_value(iter));
    if (rc == 0) rc = agg_iter_error(iter, NULL);
    agg_iter_destroy(iter);
    return rc;
}

int agg_scan_raw(struct agg_scan *scan)
{
    const struct weir_question *question = scan->question;
    struct raw raw = {.scan = scan, .either = -1};
    raw.columns = weir_filter_fields(scan->filter) | weir_dims_fields(weir_question_dims(question)) | COLUMN(start_ms) |
                  COLUMN(end_ms) | COLUMN(bytes) | COLUMN(packets) | COLUMN(sampling_one_in);
    if (question->shape == WEIR_SHAPE_FLOWS) raw.columns = WEIR_COLUMNS_ALL | WEIR_COLUMNS_EXTRA;
    int rc = weir_batch_decoder_create(&raw.decoder);
    if (rc == 0) rc = weir_batch_create(1, &raw.batch);
    for (uint32_t d = 0; rc == 0 && d < question->dim_count; d++) {
        if (weir_dims[question->dims[d]].origin == WEIR_DIM_EITHER) raw.either = (int)d;
        raw.values[d] = weir_calloc(WEIR_BATCH_MOST, sizeof *raw.values[d]);
        if (raw.values[d] == NULL) rc = WEIR_ENOMEM;
    }
    raw.others = weir_calloc(raw.either < 0 ? 1 : WEIR_BATCH_MOST, sizeof *raw.others);
    if (raw.others == NULL) rc = WEIR_ENOMEM;
    for (uint32_t shard = 0; rc == 0 && shard < WEIR_SHARDS; shard++) {
        if (agg_scan_wants_shard(scan, shard)) rc = scan_shard(&raw, shard);
    }
    for (uint32_t d = 0; d < question->dim_count; d++)
        weir_free(raw.values[d]);
    weir_free(raw.others);
    weir_buf_fini(&raw.extras);
    weir_batch_destroy(raw.batch);
    weir_batch_decoder_destroy(raw.decoder);
    return rc;
}
