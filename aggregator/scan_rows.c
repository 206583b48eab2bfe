#include "aggregator/scan.h"

#include "aggregator/store/chunk.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/flow/orient.h"

#include <string.h>

int agg_scan_check(const struct agg_scan *scan)
{
    if (scan->cancelled != NULL && atomic_load_explicit(scan->cancelled, memory_order_relaxed)) return WEIR_ECANCELLED;
    return weir_mono_ms() >= scan->deadline_mono_ms ? WEIR_ETIMEOUT : 0;
}

#define BIT(dim) WEIR_DIM_BIT(WEIR_DIM_##dim)

/** The dimensions of a table's rows. */
static uint64_t dims_of(enum agg_table table)
{
    switch (table) {
    case AGG_TABLE_SOURCE: return BIT(exporter) | BIT(domain) | BIT(site) | BIT(protocol);
    case AGG_TABLE_SRC: return BIT(src_ip);
    case AGG_TABLE_DST: return BIT(dst_ip);
    case AGG_TABLE_SERVICE: return BIT(server_ip) | BIT(proto) | BIT(server_port);
    case AGG_TABLE_PAIR: return BIT(src_ip) | BIT(dst_ip);
    default: return 0;
    }
}

int agg_scan_plan_rows(uint64_t dims, const struct weir_filter *filter, struct agg_row_plan *ret)
{
    static const enum agg_table cheapest_first[] = {AGG_TABLE_SOURCE, AGG_TABLE_SRC, AGG_TABLE_DST, AGG_TABLE_SERVICE,
                                                    AGG_TABLE_PAIR};
    if (dims == BIT(ip) && weir_filter_is_any(filter)) {
        *ret = (struct agg_row_plan){.parts = {{.table = AGG_TABLE_SRC, .total = true},
                                               {.table = AGG_TABLE_DST},
                                               {.table = AGG_TABLE_SELF, .subtract = true}},
                                     .count = 3};
        return 0;
    }
    for (size_t i = 0; i < sizeof cheapest_first / sizeof cheapest_first[0]; i++) {
        enum agg_table table = cheapest_first[i];
        uint64_t have = dims_of(table), offers = weir_dims_close(have);
        if (table == AGG_TABLE_PAIR) offers |= BIT(ip);
        if ((dims & ~offers) != 0 || !weir_filter_fits(filter, have)) continue;
        *ret = (struct agg_row_plan){.have = have, .parts = {{.table = table, .total = true}}, .count = 1};
        return 0;
    }
    return WEIR_ENOTFOUND;
}

/** The values of a chunk's row, by dimension. */
static void read_values(const struct agg_chunk *chunk, uint32_t at, struct weir_row_key *row)
{
    union weir_value *value = row->value;
    switch (chunk->table) {
    case AGG_TABLE_SERVICE:
        value[WEIR_DIM_server_ip].ip = agg_chunk_ip(chunk, 0, at);
        value[WEIR_DIM_proto].number = chunk->proto[at];
        value[WEIR_DIM_server_port].number = chunk->port[at];
        value[WEIR_DIM_service].number = weir_service_of(chunk->proto[at], chunk->port[at]);
        break;
    case AGG_TABLE_PAIR:
        value[WEIR_DIM_src_ip].ip = agg_chunk_ip(chunk, 0, at);
        value[WEIR_DIM_dst_ip].ip = agg_chunk_ip(chunk, 1, at);
        break;
    case AGG_TABLE_SRC: value[WEIR_DIM_src_ip].ip = value[WEIR_DIM_ip].ip = agg_chunk_ip(chunk, 0, at); break;
    case AGG_TABLE_DST: value[WEIR_DIM_dst_ip].ip = value[WEIR_DIM_ip].ip = agg_chunk_ip(chunk, 0, at); break;
    default: value[WEIR_DIM_ip].ip = agg_chunk_ip(chunk, 0, at); break;
    }
}

/** The values of a source's row. */
static void read_source(const struct agg_row_key *key, struct weir_answer *answer, struct weir_row_key *row)
{
    union weir_value *value = row->value;
    value[WEIR_DIM_exporter].ip = key->source.exporter;
    value[WEIR_DIM_domain].number = key->source.domain;
    value[WEIR_DIM_protocol].number = key->protocol;
    value[WEIR_DIM_site].number = (uint64_t)weir_answer_name(answer, key->site);
    row->site = key->site;
}

static struct weir_counts negative(const struct weir_counts *counts)
{
    return (struct weir_counts){.flows = 0 - counts->flows,
                                .packets = 0 - counts->packets,
                                .bytes = 0 - counts->bytes,
                                .scaled_packets = 0 - counts->scaled_packets,
                                .scaled_bytes = 0 - counts->scaled_bytes,
                                .packets_variance = -counts->packets_variance,
                                .bytes_variance = -counts->bytes_variance};
}

typedef int entry_fn(struct agg_scan *scan, void *ctx, struct weir_view key, struct weir_view value);

/** Walk the entries of one table in the windows of [@from_ms, @to_ms), in all shards that are asked for. */
static int walk(struct agg_scan *scan, enum agg_tier tier, enum agg_table table, int64_t from_ms, int64_t to_ms,
                entry_fn *fn, void *ctx)
{
    int64_t width_ms = agg_tier_ms(tier);
    uint32_t from = (uint32_t)(from_ms / width_ms), to = (uint32_t)((to_ms + width_ms - 1) / width_ms);
    int rc = 0;
    for (uint32_t shard = 0; rc == 0 && shard < WEIR_SHARDS; shard++) {
        if (!agg_scan_wants_shard(scan, shard)) continue;
        struct agg_key lower = agg_key_window(shard, (uint8_t)table, from);
        struct agg_key upper = agg_key_window(shard, (uint8_t)table, to);
        struct agg_iter *iter = NULL;
        rc = agg_iter_create(scan->by->store, scan->snapshot,
                             tier == AGG_TIER_1M ? AGG_FAMILY_ROLLUP_1M : AGG_FAMILY_ROLLUP_1H, agg_key_view(&lower),
                             agg_key_view(&upper), AGG_ITER_SCAN, &iter);
        for (; rc == 0 && agg_iter_valid(iter); agg_iter_next(iter))
            rc = fn(scan, ctx, agg_iter_key(iter), agg_iter_value(iter));
        if (rc == 0) rc = agg_iter_error(iter, NULL);
        agg_iter_destroy(iter);
        if (rc == 0) rc = agg_scan_check(scan);
    }
    return rc;
}

struct adding {
    struct weir_row_key row;
    struct agg_chunk *chunk; /* scratch */
    enum agg_table table;
    int64_t width_ms;
    bool any;
    bool subtract;
    bool total;
};

/** Add a row whose values are in adding->row to the answer. */
static int add_row(struct agg_scan *scan, struct adding *adding, int64_t time_ms, const struct weir_counts *counts)
{
    const struct weir_question *question = scan->question;
    const union weir_value *have = adding->row.value;
    if (!adding->any && !weir_filter_row(scan->filter, &adding->row)) return 0;
    if (counts->flows == 0 && counts->packets == 0 && counts->bytes == 0) return 0;
    if (counts->scaled_bytes != counts->bytes || counts->scaled_packets != counts->packets)
        scan->answer->coverage.sampled = true;
    if (adding->total) weir_counts_add(&scan->answer->total, counts);

    struct weir_counts less = negative(counts);
    if (adding->subtract) counts = &less;
    union weir_value values[WEIR_QUESTION_DIMS_MOST] = {{{{0}}}};
    int either = -1;
    for (uint32_t d = 0; d < question->dim_count; d++) {
        values[d] = have[question->dims[d]];
        if (question->dims[d] == WEIR_DIM_ip && adding->table == AGG_TABLE_PAIR) either = (int)d;
    }
    if (either < 0) return weir_answer_add(scan->answer, values, time_ms, counts);

    values[either].ip = have[WEIR_DIM_src_ip].ip;
    int rc = weir_answer_add(scan->answer, values, time_ms, counts);
    if (rc < 0 || weir_ip_equal(&have[WEIR_DIM_src_ip].ip, &have[WEIR_DIM_dst_ip].ip)) return rc;
    values[either].ip = have[WEIR_DIM_dst_ip].ip;
    return weir_answer_add(scan->answer, values, time_ms, counts);
}

static int add_chunk(struct agg_scan *scan, void *ctx, struct weir_view key, struct weir_view value)
{
    struct adding *adding = ctx;
    struct agg_chunk *chunk = adding->chunk;
    uint32_t window;
    int rc = agg_key_read_window(key, &window);
    if (rc == 0) rc = agg_chunk_decode(value, adding->table, chunk);
    if (rc < 0) return rc;
    int64_t time_ms = agg_scan_step(scan->question, window * adding->width_ms);
    for (uint32_t at = 0; rc == 0 && at < chunk->count; at++) {
        struct weir_counts counts = agg_chunk_counts(chunk, at);
        read_values(chunk, at, &adding->row);
        rc = add_row(scan, adding, time_ms, &counts);
    }
    scan->scanned += chunk->count;
    return rc == 0 ? agg_scan_check(scan) : rc;
}

/** A source's row as it is stored. WEIR_ECORRUPT. */
static int decode_source(struct weir_view key, struct weir_view value, struct agg_row_key *ret_key,
                         struct agg_row *ret_row)
{
    *ret_row = (struct agg_row){0};
    int rc = agg_row_key_decode(key, ret_key);
    return rc == 0 && agg_row_decode_add(value, ret_row) < 0 ? WEIR_ECORRUPT : rc;
}

static int add_source_row(struct agg_scan *scan, void *ctx, struct weir_view key_bytes, struct weir_view value)
{
    struct adding *adding = ctx;
    struct agg_row_key key;
    struct agg_row row;
    int rc = decode_source(key_bytes, value, &key, &row);
    if (rc < 0) return rc;
    scan->scanned++;
    read_source(&key, scan->answer, &adding->row);
    return add_row(scan, adding, agg_scan_step(scan->question, key.window * adding->width_ms), &row.counts);
}

int agg_scan_rows(struct agg_scan *scan, const struct agg_row_plan *plan, enum agg_tier tier, int64_t from_ms,
                  int64_t to_ms)
{
    struct agg_chunk *chunk = weir_malloc(sizeof *chunk);
    int rc = chunk == NULL ? WEIR_ENOMEM : 0;
    for (uint32_t i = 0; rc == 0 && i < plan->count; i++) {
        struct adding adding = {.row = {.have = plan->have, .site = ""},
                                .chunk = chunk,
                                .table = plan->parts[i].table,
                                .width_ms = agg_tier_ms(tier),
                                .any = weir_filter_is_any(scan->filter),
                                .subtract = plan->parts[i].subtract,
                                .total = plan->parts[i].total};
        rc = walk(scan, tier, adding.table, from_ms, to_ms,
                  adding.table == AGG_TABLE_SOURCE ? add_source_row : add_chunk, &adding);
    }
    weir_free(chunk);
    return rc;
}

/** What the walk over the rows of sources is for. */
struct source_scan {
    int64_t width_ms; /* of the rows */
    bool coverage_only;
};

/** The names of a row in the answer. */
struct row_names {
    uint32_t site;
    uint32_t agent;
};

static int name_row(struct weir_answer *answer, const struct agg_row_key *key, struct row_names *ret)
{
    int64_t site = weir_answer_name(answer, key->site), agent = weir_answer_name(answer, key->agent);
    if (site < 0 || agent < 0) return (int)(site < 0 ? site : agent);
    *ret = (struct row_names){(uint32_t)site, (uint32_t)agent};
    return 0;
}

static int add_drop(struct weir_answer *answer, const struct agg_row_key *key, enum weir_drop_reason reason,
                    const struct weir_drop *drop)
{
    struct row_names names;
    if (drop->count == 0) return 0;
    int rc = name_row(answer, key, &names);
    if (rc < 0) return rc;
    struct weir_answer_drop row = {
        .source = key->source, .protocol = key->protocol, .site = names.site, .agent = names.agent, .drop = *drop};
    row.drop.reason = reason;
    return weir_answer_add_drop(answer, &row);
}

/** What was lost for reasons that no batch gives: in the time that the source was heard in, or in the window. */
static int add_lost(struct weir_answer *answer, const struct agg_row_key *key, const struct agg_row *row,
                    int64_t window_ms)
{
    bool numbered = key->protocol != WEIR_PROTOCOL_AWS;
    const struct {
        enum weir_drop_reason reason;
        uint64_t count;
    } lost[] = {{numbered ? WEIR_DROP_sequence : WEIR_DROP_skipdata, row->lost.sequence},
                {WEIR_DROP_socket_drops, row->lost.socket_drops},
                {WEIR_DROP_spool, row->lost.spool}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof lost / sizeof *lost; i++) {
        struct weir_drop drop = {.count = lost[i].count,
                                 .first_ms = row->first_heard_ms != 0 ? row->first_heard_ms : window_ms,
                                 .last_ms = row->last_heard_ms != 0 ? row->last_heard_ms : window_ms};
        rc = add_drop(answer, key, lost[i].reason, &drop);
    }
    return rc;
}

static int add_source(struct agg_scan *scan, void *ctx, struct weir_view key_bytes, struct weir_view value)
{
    const struct source_scan *of = ctx;
    bool drops = scan->question->shape == WEIR_SHAPE_DROPS;
    struct weir_answer *answer = scan->answer;
    struct agg_row_key stored_key;
    struct agg_row stored_row;
    int rc = decode_source(key_bytes, value, &stored_key, &stored_row);
    if (rc < 0) return rc;
    scan->scanned++;
    const struct agg_row_key *key = &stored_key;
    const struct agg_row *row = &stored_row;
    struct weir_where where = {.source = key->source, .protocol = key->protocol, .site = key->site};
    if (weir_filter_excludes(scan->filter, &where)) return 0;
    if (key->reason != WEIR_DROP_NONE) return drops ? add_drop(answer, key, key->reason, &row->drop) : 0;
    struct weir_lost *lost = &answer->coverage.lost;
    lost->sequence += row->lost.sequence;
    lost->templates += row->lost.templates;
    lost->undecodable += row->lost.undecodable;
    lost->socket_drops += row->lost.socket_drops;
    lost->spool += row->lost.spool;
    if (row->last_flows_ms != 0 && row->sampling_one_in == 0) answer->coverage.sampling_unknown = true;
    if (drops) return add_lost(answer, key, row, key->window * of->width_ms);
    if (of->coverage_only) return 0;

    struct row_names names;
    rc = name_row(answer, key, &names);
    if (rc < 0) return rc;
    struct weir_answer_exporter exporter = {.source = key->source,
                                            .protocol = key->protocol,
                                            .site = names.site,
                                            .agent = names.agent,
                                            .batches = row->batches,
                                            .flows = row->counts.flows,
                                            .packets = row->counts.packets,
                                            .bytes = row->counts.bytes,
                                            .lost = row->lost,
                                            .sampling_one_in = row->sampling_one_in,
                                            .sampling_origin = row->sampling_origin,
                                            .first_heard_ms = row->first_heard_ms,
                                            .last_heard_ms = row->last_heard_ms,
                                            .last_flows_ms = row->last_flows_ms,
                                            .last_export_ms = row->last_export_ms,
                                            .health = row->health};
    return weir_answer_add_exporter(answer, &exporter);
}

int agg_scan_sources(struct agg_scan *scan, enum agg_tier tier, int64_t from_ms, int64_t to_ms, bool coverage_only)
{
    struct source_scan of = {.width_ms = agg_tier_ms(tier), .coverage_only = coverage_only};
    return walk(scan, tier, AGG_TABLE_SOURCE, from_ms, to_ms, add_source, &of);
}
