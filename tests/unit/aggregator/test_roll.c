#include "aggregator/roll.h"

#include "aggregator/window.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "tests/support/agg_rows.h"
#include "tests/support/random_flows.h"

#include "tests/support/cmocka.h"

static const int64_t now_ms = INT64_C(1790000000000);

static void emit(struct agg_roll *roll, enum agg_tier tier, struct agg_rows *rows)
{
    struct agg_roll_sink sink = agg_rows_sink(rows);
    assert_int_equal(agg_roll_emit(roll, tier, &sink), 0);
}

static void rows_are_what_adding_flow_by_flow_gives(void **state)
{
    (void)state;
    struct agg_roll *roll = NULL;
    assert_int_equal(agg_roll_create(42, 16 << 20, &roll), 0);
    struct agg_rows got[AGG_TIERS], want[AGG_TIERS];
    for (int t = 0; t < AGG_TIERS; t++) {
        agg_rows_init(&got[t]);
        agg_rows_init(&want[t]);
    }
    uint64_t random = 7;
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
            for (int t = 0; t < AGG_TIERS; t++)
                agg_rows_add_batch(&want[t], t, &of);
            weir_batch_destroy(batch);
        }
        emit(roll, AGG_TIER_1M, &got[AGG_TIER_1M]);
        assert_int_equal(agg_roll_prepare_fold(roll), 0);
        agg_roll_fold(roll);
        assert_int_equal(agg_roll_rows(roll, AGG_TIER_1M), 0);
    }
    emit(roll, AGG_TIER_1H, &got[AGG_TIER_1H]);
    assert_int_equal(got[AGG_TIER_1H].shards, 2);
    for (int t = 0; t < AGG_TIERS; t++) {
        agg_rows_assert_same(&got[t], &want[t]);
        agg_rows_fini(&got[t]);
        agg_rows_fini(&want[t]);
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

static void sums_that_outgrow_a_narrow_one_stay_exact(void **state)
{
    (void)state;
    struct agg_roll *roll = NULL;
    struct weir_batch *batch = NULL;
    assert_int_equal(agg_roll_create(3, 0, &roll), 0);
    assert_int_equal(weir_batch_create(16, &batch), 0);
    struct agg_rows got, want;
    agg_rows_init(&got);
    agg_rows_init(&want);
    struct weir_batch_header header = {.source = random_source(1), .last_received_ms = now_ms};
    struct agg_roll_batch of = {.commit_ms = now_ms, .site = "s", .agent = "a", .header = &header, .batch = batch};
    for (int round = 0; round < 3; round++) {
        weir_batch_clear(batch);
        for (uint64_t i = 0; i < 9; i++) {
            struct weir_flow flow = {.start_ms = now_ms,
                                     .end_ms = now_ms,
                                     .src_ip = weir_ip_from_v4((const uint8_t[]){10, 0, 0, 1}),
                                     .dst_ip = weir_ip_from_v4((const uint8_t[]){10, 0, 0, 2}),
                                     .packets = UINT32_MAX - 1 + i % 3,
                                     .bytes = UINT64_MAX / 100};
            assert_int_equal(weir_batch_append(batch, &flow), 0);
        }
        assert_int_equal(agg_roll_add(roll, &of), 0);
        agg_rows_add_batch(&want, AGG_TIER_1M, &of);
        assert_int_equal(agg_roll_compact(roll, AGG_TIER_1M), 0);
    }
    emit(roll, AGG_TIER_1M, &got);
    agg_rows_assert_same(&got, &want);
    agg_rows_fini(&got);
    agg_rows_fini(&want);
    weir_batch_destroy(batch);
    agg_roll_destroy(roll);
}

static void adding_up_shortens_what_has_few_keys(void **state)
{
    (void)state;
    struct agg_roll *roll = NULL;
    uint64_t random = 9;
    assert_int_equal(agg_roll_create(3, 0, &roll), 0);
    struct weir_source source = random_source(0);
    struct weir_batch_header header;
    struct weir_batch *batch = random_batch(&random, &source, 500, now_ms, &header);
    struct agg_roll_batch of = {.commit_ms = now_ms, .site = "s", .agent = "a", .header = &header, .batch = batch};
    for (int i = 0; i < 40; i++)
        assert_int_equal(agg_roll_add(roll, &of), 0);
    size_t rows = agg_roll_rows(roll, AGG_TIER_1M), bytes = agg_roll_bytes(roll, AGG_TIER_1M);
    assert_int_equal(agg_roll_compact(roll, AGG_TIER_1M), 0);
    assert_true(agg_roll_rows(roll, AGG_TIER_1M) * 20 < rows);
    assert_true(agg_roll_bytes(roll, AGG_TIER_1M) < bytes);
    weir_batch_destroy(batch);
    agg_roll_destroy(roll);
}

static void sorting_that_finds_no_memory_loses_nothing(void **state)
{
    (void)state;
    uint64_t random = 11;
    struct agg_roll *roll = NULL;
    assert_int_equal(agg_roll_create(3, 0, &roll), 0);
    struct agg_rows got, want;
    agg_rows_init(&got);
    agg_rows_init(&want);
    bool failed = true;
    for (int64_t successes = 0; failed; successes++) {
        struct weir_source source = random_source((uint32_t)successes % 5);
        struct weir_batch_header header;
        struct weir_batch *batch = random_batch(&random, &source, 2000, now_ms, &header);
        struct agg_roll_batch of = {.commit_ms = now_ms, .site = "s", .agent = "a", .header = &header, .batch = batch};
        assert_int_equal(agg_roll_add(roll, &of), 0);
        agg_rows_add_batch(&want, AGG_TIER_1M, &of);
        weir_mem_fail_after(successes);
        int rc = agg_roll_compact(roll, AGG_TIER_1M);
        failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        weir_batch_destroy(batch);
    }
    emit(roll, AGG_TIER_1M, &got);
    agg_rows_assert_same(&got, &want);
    agg_rows_fini(&got);
    agg_rows_fini(&want);
    agg_roll_destroy(roll);
}

static void a_loss_record_is_a_row_of_its_source(void **state)
{
    (void)state;
    struct agg_roll *roll = NULL;
    assert_int_equal(agg_roll_create(1, 16 << 20, &roll), 0);
    struct weir_batch_header header = {.kind = WEIR_RECORD_LOSS,
                                       .source = random_source(1),
                                       .last_received_ms = now_ms,
                                       .totals = {.flows = 10, .packets = 20, .bytes = 30}};
    struct agg_roll_batch of = {.commit_ms = now_ms, .site = "", .agent = "a", .header = &header};
    assert_int_equal(agg_roll_add(roll, &of), 0);
    struct agg_rows rows;
    agg_rows_init(&rows);
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
    agg_rows_fini(&rows);
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
        assert_int_equal(agg_roll_create(1, 16 << 20, &roll), 0);
        weir_mem_fail_after(successes);
        int rc = agg_roll_add(roll, &of);
        if (rc == 0)
            rc = agg_roll_prepare_fold(roll);
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
        cmocka_unit_test(sums_that_outgrow_a_narrow_one_stay_exact),
        cmocka_unit_test(adding_up_shortens_what_has_few_keys),
        cmocka_unit_test(sorting_that_finds_no_memory_loses_nothing),
        cmocka_unit_test(a_loss_record_is_a_row_of_its_source),
        cmocka_unit_test(a_batch_that_finds_no_memory_leaves_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
