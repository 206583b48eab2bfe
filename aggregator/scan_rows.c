#include "aggregator/scan.h"

#include "common/base/clock.h"
#include "common/flow/orient.h"

#include <string.h>

enum { CHECK_EVERY = 4096 };

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

/** The values that a row has, by dimension. */
static void read_values(const struct agg_row_key *key, struct weir_answer *answer, struct weir_row_key *row)
{
    union weir_value *value = row->value;
    switch (key->table) {
    case AGG_TABLE_SOURCE:
        value[WEIR_DIM_exporter].ip = key->source.exporter;
        value[WEIR_DIM_domain].number = key->source.domain;
        value[WEIR_DIM_protocol].number = key->protocol;
        value[WEIR_DIM_site].number = (uint64_t)weir_answer_name(answer, key->site);
        row->site = key->site;
        break;
    case AGG_TABLE_SERVICE:
        value[WEIR_DIM_server_ip].ip = key->ip[0];
        value[WEIR_DIM_proto].number = key->proto;
        value[WEIR_DIM_server_port].number = key->port;
        value[WEIR_DIM_service].number = weir_service_of(key->proto, key->port);
        break;
    case AGG_TABLE_PAIR:
        value[WEIR_DIM_src_ip].ip = key->ip[0];
        value[WEIR_DIM_dst_ip].ip = key->ip[1];
        break;
    case AGG_TABLE_SRC: value[WEIR_DIM_src_ip].ip = value[WEIR_DIM_ip].ip = key->ip[0]; break;
    case AGG_TABLE_DST: value[WEIR_DIM_dst_ip].ip = value[WEIR_DIM_ip].ip = key->ip[0]; break;
    default: value[WEIR_DIM_ip].ip = key->ip[0]; break;
    }
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

static int add_row(struct agg_scan *scan, const struct weir_row_key *row, const struct agg_row_key *key,
                   int64_t time_ms, const struct weir_counts *counts)
{
    const struct weir_question *question = scan->question;
    union weir_value values[WEIR_QUESTION_DIMS_MOST] = {{{{0}}}};
    int either = -1;
    for (uint32_t d = 0; d < question->dim_count; d++) {
        values[d] = row->value[question->dims[d]];
        if (question->dims[d] == WEIR_DIM_ip && key->table == AGG_TABLE_PAIR) either = (int)d;
    }
    if (either < 0) return weir_answer_add(scan->answer, values, time_ms, counts);

    values[either].ip = key->ip[0];
    int rc = weir_answer_add(scan->answer, values, time_ms, counts);
    if (rc < 0 || weir_ip_equal(&key->ip[0], &key->ip[1])) return rc;
    values[either].ip = key->ip[1];
    return weir_answer_add(scan->answer, values, time_ms, counts);
}

typedef int row_fn(struct agg_scan *scan, void *ctx, const struct agg_row_key *key, const struct agg_row *row);

/** Walk the rows of one table in the windows of [@from_ms, @to_ms), in all shards that are asked for. */
static int walk_rows(struct agg_scan *scan, enum agg_tier tier, enum agg_table table, int64_t from_ms, int64_t to_ms,
                     row_fn *fn, void *ctx)
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
        for (; rc == 0 && agg_iter_valid(iter); agg_iter_next(iter)) {
            struct agg_row_key key;
            struct agg_row row = {0};
            rc = agg_row_key_decode(agg_iter_key(iter), &key);
            if (rc == 0 && agg_row_decode_add(agg_iter_value(iter), &row) < 0) rc = WEIR_ECORRUPT;
            if (rc == 0) rc = fn(scan, ctx, &key, &row);
            if (rc == 0 && ++scan->scanned % CHECK_EVERY == 0) rc = agg_scan_check(scan);
        }
        if (rc == 0) rc = agg_iter_error(iter, NULL);
        agg_iter_destroy(iter);
        if (rc == 0) rc = agg_scan_check(scan);
    }
    return rc;
}

struct adding {
    struct weir_row_key row;
    int64_t width_ms;
    bool any;
    bool subtract;
    bool total;
};

static int add_one(struct agg_scan *scan, void *ctx, const struct agg_row_key *key, const struct agg_row *row)
{
    struct adding *adding = ctx;
    read_values(key, scan->answer, &adding->row);
    if (!adding->any && !weir_filter_row(scan->filter, &adding->row)) return 0;
    const struct weir_counts *counts = &row->counts;
    if (counts->flows == 0 && counts->packets == 0 && counts->bytes == 0) return 0;
    if (counts->scaled_bytes != counts->bytes || counts->scaled_packets != counts->packets)
        scan->answer->coverage.sampled = true;
    struct weir_counts less = negative(counts);
    int64_t time_ms = agg_scan_step(scan->question, key->window * adding->width_ms);
    int rc = add_row(scan, &adding->row, key, time_ms, adding->subtract ? &less : counts);
    if (rc == 0 && adding->total) weir_counts_add(&scan->answer->total, counts);
    return rc;
}

int agg_scan_rows(struct agg_scan *scan, const struct agg_row_plan *plan, enum agg_tier tier, int64_t from_ms,
                  int64_t to_ms)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < plan->count; i++) {
        struct adding adding = {.row = {.have = plan->have, .site = ""},
                                .width_ms = agg_tier_ms(tier),
                                .any = weir_filter_is_any(scan->filter),
                                .subtract = plan->parts[i].subtract,
                                .total = plan->parts[i].total};
        rc = walk_rows(scan, tier, plan->parts[i].table, from_ms, to_ms, add_one, &adding);
    }
    return rc;
}

static int add_source(struct agg_scan *scan, void *ctx, const struct agg_row_key *key, const struct agg_row *row)
{
    const bool *coverage_only = ctx;
    struct weir_answer *answer = scan->answer;
    struct weir_where where = {.source = key->source, .protocol = key->protocol, .site = key->site};
    if (weir_filter_excludes(scan->filter, &where)) return 0;
    struct weir_lost *lost = &answer->coverage.lost;
    lost->sequence += row->lost.sequence;
    lost->templates += row->lost.templates;
    lost->undecodable += row->lost.undecodable;
    lost->socket_drops += row->lost.socket_drops;
    lost->spool += row->lost.spool;
    if (row->batches > 0 && row->sampling_one_in == 0 && row->last_heard_ms != 0)
        answer->coverage.sampling_unknown = true;
    if (*coverage_only) return 0;

    int64_t site = weir_answer_name(answer, key->site), agent = weir_answer_name(answer, key->agent);
    if (site < 0 || agent < 0) return (int)(site < 0 ? site : agent);
    struct weir_answer_exporter exporter = {.source = key->source,
                                            .protocol = key->protocol,
                                            .site = (uint32_t)site,
                                            .agent = (uint32_t)agent,
                                            .batches = row->batches,
                                            .flows = row->counts.flows,
                                            .packets = row->counts.packets,
                                            .bytes = row->counts.bytes,
                                            .lost = row->lost,
                                            .sampling_one_in = row->sampling_one_in,
                                            .sampling_origin = row->sampling_origin,
                                            .first_heard_ms = row->first_heard_ms,
                                            .last_heard_ms = row->last_heard_ms,
                                            .last_export_ms = row->last_export_ms};
    return weir_answer_add_exporter(answer, &exporter);
}

int agg_scan_sources(struct agg_scan *scan, enum agg_tier tier, int64_t from_ms, int64_t to_ms, bool coverage_only)
{
    return walk_rows(scan, tier, AGG_TABLE_SOURCE, from_ms, to_ms, add_source, &coverage_only);
}
