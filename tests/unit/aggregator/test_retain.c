#include "aggregator/retain.h"

#include "aggregator/window.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "tests/support/agg_bench.h"
#include "tests/support/agg_rows.h"
#include "tests/support/random_flows.h"

#include "tests/support/cmocka.h"

static const int64_t now_ms = INT64_C(497222) * AGG_HOUR_MS; /* begin of an hour */

static const struct agg_retain_conf keep = {.flows_keep_ms = 10 * AGG_HOUR_MS,
                                            .keep_ms = {4 * AGG_HOUR_MS, 20 * AGG_HOUR_MS}};

/** A batch in the middle of each of the @hours before now. */
static void fill(struct agg_bench *b, int hours)
{
    uint64_t random = 1;
    for (int hour = hours; hour > 0; hour--) {
        struct weir_batch_header header;
        struct weir_source source = random_source(2);
        int64_t received_ms = now_ms - hour * AGG_HOUR_MS + 30 * AGG_MINUTE_MS;
        struct weir_batch *batch = random_batch(&random, &source, 20, received_ms, &header);
        struct agg_bench_batch of = {
            .batch = batch, .shard = 9, .commit_ms = received_ms, .site = "fra1", .agent = "edge-1", .hand_over = true};
        agg_bench_commit(b, &of);
        weir_batch_destroy(batch);
    }
    agg_bench_catch_up(b);
}

static uint64_t blocks_stored(struct agg_bench *b)
{
    struct agg_rows rows;
    agg_rows_init(&rows);
    uint64_t blocks = agg_rows_of_blocks(&rows, AGG_TIER_1H, b->store);
    agg_rows_fini(&rows);
    return blocks;
}

/** The earliest window of a tier that has rows, as a time; 0 when there is none. */
static int64_t first_row_ms(struct agg_bench *b, enum agg_tier tier)
{
    struct agg_rows rows;
    agg_rows_init(&rows);
    agg_rows_read(&rows, tier, b->store);
    int64_t first_ms = 0;
    size_t at = 0;
    const struct agg_key_copy *key;
    while ((key = weir_table_next(&rows.table, &at, NULL)) != NULL) {
        int64_t ms = weir_load_u32be(key->bytes + 3) * agg_tier_ms(tier);
        if (first_ms == 0 || ms < first_ms) first_ms = ms;
    }
    agg_rows_fini(&rows);
    return first_ms;
}

static struct agg_retain *begin(struct agg_bench *b, int64_t at_ms, int64_t mono_ms)
{
    struct agg_retain *retain = NULL;
    assert_int_equal(agg_retain_create(b->store, &keep, at_ms, mono_ms, &retain), 0);
    return retain;
}

static void each_table_keeps_its_time_and_no_more(void **state)
{
    (void)state;
    struct agg_bench b = {0};
    agg_bench_open(&b, 3600000, 64 << 20);
    fill(&b, 30);
    struct agg_retain *retain = begin(&b, now_ms, 1000);
    assert_true(agg_retain_step(retain, now_ms, 1000, NULL) > 0);
    assert_int_equal(blocks_stored(&b), 10);
    assert_true(first_row_ms(&b, AGG_TIER_1M) >= now_ms - 4 * AGG_HOUR_MS);
    assert_true(first_row_ms(&b, AGG_TIER_1H) == now_ms - 20 * AGG_HOUR_MS);
    assert_int_equal(agg_retain_cutoff_ms(retain, AGG_TIER_1M), now_ms - 4 * AGG_HOUR_MS);
    assert_int_equal(agg_retain_flows_cutoff_ms(retain), now_ms - 10 * AGG_HOUR_MS);
    assert_int_equal(agg_retain_step(retain, now_ms + 1000, 2000, NULL), 0);
    agg_retain_destroy(retain);
    agg_bench_close(&b);

    /* Numbers of blocks go on where they were, although the marks outlive the blocks. */
    agg_bench_open(&b, 3600000, 64 << 20);
    assert_int_equal(agg_roller_head(b.roller, 9).number, 30);
    agg_bench_close(&b);
    remove_folder(b.folder);
}

static void a_clock_that_jumps_deletes_nothing(void **state)
{
    (void)state;
    struct agg_bench b = {0};
    agg_bench_open(&b, 3600000, 64 << 20);
    fill(&b, 8);
    struct agg_retain *retain = begin(&b, now_ms, 1000);
    int64_t year_ms = INT64_C(365) * 24 * AGG_HOUR_MS;
    (void)agg_retain_step(retain, now_ms, 1000, NULL);
    assert_int_equal(blocks_stored(&b), 8);
    assert_int_equal(agg_retain_step(retain, now_ms + year_ms, 61000, NULL), 0);
    assert_int_equal(blocks_stored(&b), 8);
    agg_retain_destroy(retain);

    /* A start believes one hour more, not a year. */
    retain = begin(&b, now_ms + year_ms, 0);
    (void)agg_retain_step(retain, now_ms + year_ms, 0, NULL);
    assert_int_equal(blocks_stored(&b), 8);
    assert_int_equal(agg_retain_cutoff_ms(retain, AGG_TIER_1M), now_ms - 3 * AGG_HOUR_MS);

    /* As time really passes, it goes on. */
    (void)agg_retain_step(retain, now_ms + year_ms, 5 * AGG_HOUR_MS, NULL);
    assert_int_equal(blocks_stored(&b), 4);
    agg_retain_destroy(retain);
    agg_bench_close(&b);
    remove_folder(b.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_table_keeps_its_time_and_no_more),
        cmocka_unit_test(a_clock_that_jumps_deletes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
