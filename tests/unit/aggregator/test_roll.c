#include "aggregator/roll.h"

#include "aggregator/window.h"
#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/flow/orient.h"
#include "tests/support/random_flows.h"

#include "tests/support/cmocka.h"

static const int64_t now_ms = INT64_C(1790000000000);

struct stored_key {
    uint8_t size;
    uint8_t bytes[AGG_ROW_KEY_MOST];
};

/** Rows by key, as a store would hold them. */
struct rows {
    struct weir_table table;
    uint32_t shards_begun;
    size_t given;
    struct stored_key last;
};

static void rows_init(struct rows *rows)
{
    *rows = (struct rows){0};
    weir_table_init(&rows->table, sizeof(struct stored_key), sizeof(struct agg_row));
}

static struct agg_row *row_at(struct rows *rows, struct weir_view key)
{
    struct stored_key stored = {.size = (uint8_t)key.size};
    memcpy(stored.bytes, key.data, key.size);
    struct agg_row *row = weir_table_add(&rows->table, &stored, weir_hash64(&stored, sizeof stored, 0), NULL);
    assert_non_null(row);
    return row;
}

static int take_row(void *ctx, struct weir_view key, struct weir_view value)
{
    struct rows *rows = ctx;
    size_t shorter = key.size < rows->last.size ? key.size : rows->last.size;
    int order = memcmp(rows->last.bytes, key.data, shorter);
    assert_true(rows->given == 0 || order < 0 || (order == 0 && rows->last.size < key.size));
    rows->given++;
    rows->last.size = (uint8_t)key.size;
    memcpy(rows->last.bytes, key.data, key.size);
    assert_int_equal(agg_row_decode_add(value, row_at(rows, key)), 0);
    return 0;
}

static int begin_shard(void *ctx, uint32_t shard)
{
    (void)shard;
    ((struct rows *)ctx)->shards_begun++;
    return 0;
}

static void emit(struct agg_roll *roll, enum agg_tier tier, struct rows *rows)
{
    rows->given = 0;
    struct agg_roll_sink sink = {.ctx = rows, .row = take_row, .shard = begin_shard};
    assert_int_equal(agg_roll_emit(roll, tier, &sink), 0);
}

static void add_naively(struct rows *rows, struct agg_row_key key, const struct weir_counts *counts)
{
    uint8_t bytes[AGG_ROW_KEY_MOST];
    size_t size = agg_row_key_encode(&key, bytes);
    weir_counts_add(&row_at(rows, weir_view_of(bytes, size))->counts, counts);
}

/** One flow into every table of one tier, without any of the tricks. */
static void roll_naively(struct rows *rows, const struct agg_roll_batch *of, const struct weir_flow *flow,
                         enum agg_tier tier)
{
    struct agg_span span = agg_span_of(flow->start_ms, flow->end_ms, of->header->last_received_ms, of->commit_ms);
    int64_t first = agg_first_window(&span, AGG_MINUTE_MS), last = agg_last_window(&span, AGG_MINUTE_MS);
    int64_t stride = (last - first + 1 + AGG_WINDOWS_MOST - 1) / AGG_WINDOWS_MOST;
    for (int64_t minute = first; minute <= last; minute += stride) {
        int64_t from_ms = minute * AGG_MINUTE_MS, to_ms = (minute + stride) * AGG_MINUTE_MS;
        struct weir_counts counts =
            weir_counts_of(minute == first, agg_part_within(flow->packets, &span, from_ms, to_ms),
                           agg_part_within(flow->bytes, &span, from_ms, to_ms), flow->sampling_one_in);
        struct agg_row_key key = {.shard = of->shard,
                                  .window = (uint32_t)(tier == AGG_TIER_1M ? minute : minute / 60),
                                  .source = of->header->source,
                                  .protocol = of->header->protocol};
        strcpy(key.site, of->site);
        strcpy(key.agent, of->agent);
        key.table = AGG_TABLE_SOURCE;
        add_naively(rows, key, &counts);
        key.ip[0] = flow->src_ip;
        key.table = AGG_TABLE_SRC;
        add_naively(rows, key, &counts);
        if (weir_ip_equal(&flow->src_ip, &flow->dst_ip)) {
            key.table = AGG_TABLE_SELF;
            add_naively(rows, key, &counts);
        }
        key.ip[1] = flow->dst_ip;
        key.table = AGG_TABLE_PAIR;
        add_naively(rows, key, &counts);
        key.ip[0] = flow->dst_ip;
        key.table = AGG_TABLE_DST;
        add_naively(rows, key, &counts);
        struct weir_oriented oriented = weir_orient_flow(flow);
        key.ip[0] = oriented.src_is_server ? flow->src_ip : flow->dst_ip;
        key.proto = flow->proto;
        key.port = weir_server_port(oriented, flow->proto, flow->src_port, flow->dst_port);
        key.table = AGG_TABLE_SERVICE;
        add_naively(rows, key, &counts);
    }
}

static void assert_same_counts(const struct weir_counts *a, const struct weir_counts *b)
{
    assert_int_equal(a->flows, b->flows);
    assert_int_equal(a->packets, b->packets);
    assert_int_equal(a->bytes, b->bytes);
    assert_int_equal(a->scaled_packets, b->scaled_packets);
    assert_int_equal(a->scaled_bytes, b->scaled_bytes);
    assert_true(a->packets_variance >= b->packets_variance * 0.999999 &&
                a->packets_variance <= b->packets_variance * 1.000001);
    assert_true(a->bytes_variance >= b->bytes_variance * 0.999999 && a->bytes_variance <= b->bytes_variance * 1.000001);
}

static void assert_same_rows(struct rows *got, struct rows *want)
{
    assert_int_equal(got->table.count, want->table.count);
    size_t at = 0;
    void *value;
    const void *key;
    while ((key = weir_table_next(&want->table, &at, &value)) != NULL) {
        const struct agg_row *row = weir_table_find(&got->table, key, weir_hash64(key, sizeof(struct stored_key), 0));
        assert_non_null(row);
        assert_same_counts(&row->counts, &((struct agg_row *)value)->counts);
    }
}

static void rows_are_what_adding_flow_by_flow_gives(void **state)
{
    (void)state;
    struct agg_roll *roll = NULL;
    assert_int_equal(agg_roll_create(42, &roll), 0);
    struct rows got[AGG_TIERS], want[AGG_TIERS];
    for (int t = 0; t < AGG_TIERS; t++) {
        rows_init(&got[t]);
        rows_init(&want[t]);
    }
    uint64_t random = 7;
    uint64_t batches = 0, sequence_lost = 0;
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 6; i++) {
            struct weir_batch_header header;
            struct weir_source source = random_source(i);
            struct weir_batch *batch = random_batch(&random, &source, 700 * (i % 2) + 20, now_ms, &header);
            struct agg_roll_batch of = {.shard = i % 2 * 127,
                                        .commit_ms = now_ms + 1500,
                                        .site = "fra1",
                                        .agent = "edge-1",
                                        .header = &header,
                                        .batch = batch};
            assert_int_equal(agg_roll_add(roll, &of), 0);
            batches++;
            sequence_lost += header.loss.sequence_lost;
            for (uint32_t row = 0; row < batch->count; row++) {
                struct weir_flow flow;
                weir_batch_get(batch, row, &flow);
                for (int t = 0; t < AGG_TIERS; t++)
                    roll_naively(&want[t], &of, &flow, t);
            }
            /* Where it was heard there is a row even when no flow fell into that minute. */
            for (int t = 0; t < AGG_TIERS; t++) {
                struct agg_row_key key = {.shard = of.shard,
                                          .table = AGG_TABLE_SOURCE,
                                          .window = (uint32_t)(now_ms / agg_tier_ms(t)),
                                          .source = source,
                                          .protocol = header.protocol,
                                          .site = "fra1",
                                          .agent = "edge-1"};
                static const struct weir_counts nothing;
                add_naively(&want[t], key, &nothing);
            }
            weir_batch_destroy(batch);
        }
        assert_int_equal(agg_roll_fold(roll), 0);
        emit(roll, AGG_TIER_1M, &got[AGG_TIER_1M]);
        agg_roll_clear(roll, AGG_TIER_1M);
        assert_int_equal(agg_roll_rows(roll, AGG_TIER_1M), 0);
    }
    emit(roll, AGG_TIER_1H, &got[AGG_TIER_1H]);
    assert_int_equal(got[AGG_TIER_1H].shards_begun, 2);
    for (int t = 0; t < AGG_TIERS; t++) {
        assert_same_rows(&got[t], &want[t]);
        uint64_t got_batches = 0, got_lost = 0;
        size_t at = 0;
        void *value;
        while (weir_table_next(&got[t].table, &at, &value) != NULL) {
            got_batches += ((struct agg_row *)value)->batches;
            got_lost += ((struct agg_row *)value)->lost.sequence;
        }
        assert_int_equal(got_batches, batches);
        assert_int_equal(got_lost, sequence_lost);
        weir_table_fini(&got[t].table);
        weir_table_fini(&want[t].table);
    }
    assert_true(agg_roll_counts(roll)->clamped > 0);
    assert_true(agg_roll_counts(roll)->spread > 0);
    agg_roll_destroy(roll);
}

static void the_parts_of_a_flow_add_up_whatever_the_cut(void **state)
{
    (void)state;
    uint64_t random = 3;
    for (int i = 0; i < 2000; i++) {
        struct agg_span span = {.start_ms = now_ms - random_below(&random, 100000)};
        span.end_ms = span.start_ms + (i % 5 == 0 ? 0 : (int64_t)(random_next(&random) % 900000000));
        uint64_t total = i % 3 == 0 ? random_next(&random) : random_below(&random, 100000);
        uint64_t sum = 0;
        int64_t from = span.start_ms - 5000;
        while (from <= span.end_ms) {
            int64_t to = from + 1 + random_below(&random, 90000000);
            sum += agg_part_within(total, &span, from, to);
            from = to;
        }
        assert_int_equal(sum, total);
    }
}

static void times_that_are_not_sent_or_not_believed_are_replaced(void **state)
{
    (void)state;
    static const struct {
        int64_t start, end, want_start, want_end;
        bool clamped;
    } cases[] = {
        {0, 0, -1000, -1000, false},
        {0, -500, -500, -500, false},
        {-500, 0, -500, -500, false},
        {-500, -900, -500, -500, false},
        {-9000, -500, -9000, -500, false},
        {-9000, 900000000, -9000, AGG_FUTURE_MOST_MS, true},
        {-9 * 24 * INT64_C(3600000), -1, -AGG_PAST_MOST_MS, -1, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t start = cases[i].start == 0 ? 0 : now_ms + cases[i].start;
        int64_t end = cases[i].end == 0 ? 0 : now_ms + cases[i].end;
        struct agg_span span = agg_span_of(start, end, now_ms - 1000, now_ms);
        assert_int_equal(span.start_ms - now_ms, cases[i].want_start);
        assert_int_equal(span.end_ms - now_ms, cases[i].want_end);
        assert_int_equal(span.clamped, cases[i].clamped);
    }
}

static void a_loss_record_is_a_row_of_its_source(void **state)
{
    (void)state;
    struct agg_roll *roll = NULL;
    assert_int_equal(agg_roll_create(1, &roll), 0);
    struct weir_batch_header header = {.kind = WEIR_RECORD_LOSS,
                                       .source = random_source(1),
                                       .last_received_ms = now_ms,
                                       .totals = {.flows = 10, .packets = 20, .bytes = 30}};
    struct agg_roll_batch of = {.commit_ms = now_ms, .site = "", .agent = "a", .header = &header};
    assert_int_equal(agg_roll_add(roll, &of), 0);
    struct rows rows;
    rows_init(&rows);
    emit(roll, AGG_TIER_1M, &rows);
    assert_int_equal(rows.given, 1);
    size_t at = 0;
    void *value;
    weir_table_next(&rows.table, &at, &value);
    const struct agg_row *row = value;
    assert_int_equal(row->counts.flows, 0);
    assert_int_equal(row->lost.spool, 10);
    assert_int_equal(row->lost_packets, 20);
    assert_int_equal(row->lost_bytes, 30);
    weir_table_fini(&rows.table);
    agg_roll_destroy(roll);
}

static void a_batch_that_finds_no_memory_leaves_no_trace(void **state)
{
    (void)state;
    uint64_t random = 5;
    struct weir_batch_header header;
    struct weir_source source = random_source(1);
    struct weir_batch *batch = random_batch(&random, &source, 300, now_ms, &header);
    struct agg_roll_batch of = {.commit_ms = now_ms, .site = "s", .agent = "a", .header = &header, .batch = batch};
    int64_t successes = 0;
    for (;; successes++) {
        struct agg_roll *roll = NULL;
        assert_int_equal(agg_roll_create(1, &roll), 0);
        weir_mem_fail_after(successes);
        int rc = agg_roll_add(roll, &of);
        if (rc == 0)
            rc = agg_roll_fold(roll);
        else
            assert_int_equal(agg_roll_rows(roll, AGG_TIER_1M), 0);
        bool failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        if (rc < 0) assert_int_equal(agg_roll_rows(roll, AGG_TIER_1H), 0);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        agg_roll_destroy(roll);
        if (!failed) break;
    }
    assert_true(successes > 10);
    weir_batch_destroy(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_what_adding_flow_by_flow_gives),
        cmocka_unit_test(the_parts_of_a_flow_add_up_whatever_the_cut),
        cmocka_unit_test(times_that_are_not_sent_or_not_believed_are_replaced),
        cmocka_unit_test(a_loss_record_is_a_row_of_its_source),
        cmocka_unit_test(a_batch_that_finds_no_memory_leaves_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
