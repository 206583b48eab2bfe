#include "aggregator/replica_past.h"

#include "aggregator/intake_held.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/support/agg_bench.h"
#include "tests/support/agg_rows.h"
#include "tests/support/random_flows.h"

#include "tests/support/cmocka.h"

enum { SHARD = 9, PORTION_BYTES = 5000 };

static const struct agg_held whole = {.epoch = 7, .role = AGG_ROLE_WHOLE};

static void fill(struct agg_bench *b, uint32_t shard, uint64_t random, int batches, bool hand_over)
{
    int64_t now_ms = weir_wall_ms();
    for (int i = 0; i < batches; i++) {
        struct weir_batch_header header;
        struct weir_source source = random_source((uint32_t)i % 3);
        struct weir_batch *batch = random_batch(&random, &source, 40, now_ms - i * 1000, &header);
        struct agg_bench_batch of = {.batch = batch,
                                     .shard = shard,
                                     .commit_ms = now_ms,
                                     .site = "fra1",
                                     .agent = "edge-1",
                                     .hand_over = hand_over};
        agg_bench_commit(b, &of);
        weir_batch_destroy(batch);
    }
}

static struct agg_store *open_store(const char *folder)
{
    struct weir_why why = {0};
    struct agg_store_conf conf = {
        .path = folder, .cache_bytes = 4 << 20, .buffer_bytes = 1 << 20, .log_bytes = 4 << 20, .background = 2};
    struct agg_store *store = NULL;
    if (agg_store_open(&conf, &store, &why) < 0) fail_msg("%s", why.text);
    return store;
}

/** Give the shard to another store, portion by portion. Returns how many there were. */
static int ship(struct agg_store *from, struct agg_store *to)
{
    struct weir_why why = {0};
    struct agg_past *past = NULL;
    struct agg_install *install = NULL;
    struct weir_buf portion = WEIR_BUF_INIT;
    int portions = 0, more = 1;
    assert_int_equal(agg_past_create(from, SHARD, &past), 0);
    if (agg_install_create(to, SHARD, &install, &why) < 0) fail_msg("%s", why.text);
    while (more == 1) {
        weir_buf_clear(&portion);
        more = agg_past_next(past, PORTION_BYTES, &portion);
        assert_true(more >= 0);
        if (agg_install_take(install, weir_buf_view(&portion), &why) < 0) fail_msg("%s", why.text);
        portions++;
    }
    if (agg_install_commit(install, &whole, &why) < 0) fail_msg("%s", why.text);
    agg_install_destroy(install);
    agg_past_destroy(past);
    weir_buf_fini(&portion);
    return portions;
}

static void assert_same_rows(struct agg_bench *got, struct agg_bench *want)
{
    for (int tier = 0; tier < AGG_TIERS; tier++) {
        struct agg_rows a, b, blocks;
        agg_rows_init(&a);
        agg_rows_init(&b);
        agg_rows_init(&blocks);
        agg_rows_read(&a, tier, got->store);
        agg_rows_read(&b, tier, want->store);
        assert_int_equal(agg_rows_of_blocks(&blocks, tier, got->store), 40);
        agg_rows_assert_same(&a, &b);
        agg_rows_assert_same(&a, &blocks);
        agg_rows_fini(&a);
        agg_rows_fini(&b);
        agg_rows_fini(&blocks);
    }
}

static uint64_t mark_of(struct agg_store *store, uint32_t shard)
{
    struct agg_lane lane = {.inc = 1, .shard = shard};
    struct agg_mark mark;
    assert_int_equal(agg_mark_read(store, &lane, &mark), 0);
    return mark.seq;
}

static void a_shard_that_was_given_has_the_rows_blocks_and_marks_of_the_one_it_came_from(void **state)
{
    (void)state;
    struct agg_bench from = {0}, to = {0};
    agg_bench_open(&from, 3600000, 64 << 20);
    fill(&from, SHARD, 1, 30, true);
    agg_bench_catch_up(&from);
    fill(&from, SHARD, 2, 10, false); /* past what is rolled up */

    agg_bench_open(&to, 3600000, 64 << 20);
    fill(&to, SHARD, 3, 5, true); /* what it has is replaced */
    agg_bench_catch_up(&to);
    agg_bench_close(&to);
    struct agg_store *store = open_store(to.folder);
    assert_true(ship(from.store, store) > 10);
    assert_int_equal(mark_of(store, SHARD), 40);
    struct agg_held held[WEIR_SHARDS];
    assert_int_equal(agg_held_read(store, held), 0);
    assert_int_equal(held[SHARD].role, AGG_ROLE_WHOLE);
    assert_int_equal(held[SHARD].epoch, 7);
    agg_store_close(store);

    agg_bench_close(&from); /* the rest is rolled up at the start */
    agg_bench_open(&from, 3600000, 64 << 20);
    agg_bench_open(&to, 3600000, 64 << 20);
    agg_bench_catch_up(&from);
    agg_bench_catch_up(&to);
    assert_same_rows(&to, &from);
    assert_int_equal(agg_roller_head(to.roller, SHARD).number, 40);
    agg_bench_close(&from);
    agg_bench_close(&to);
    remove_folder(from.folder);
    remove_folder(to.folder);
}

static void other_shards_are_neither_given_nor_dropped(void **state)
{
    (void)state;
    struct agg_bench b = {0};
    agg_bench_open(&b, 3600000, 64 << 20);
    fill(&b, SHARD, 1, 3, true);
    fill(&b, SHARD + 1, 2, 4, true);
    agg_bench_catch_up(&b);
    struct agg_past *past = NULL;
    struct weir_buf all = WEIR_BUF_INIT;
    assert_int_equal(agg_past_create(b.store, SHARD, &past), 0);
    assert_int_equal(agg_past_next(past, SIZE_MAX, &all), 0);
    struct agg_portion entry = {.rest = weir_buf_view(&all)};
    int entries[AGG_FAMILIES] = {0}, rc;
    while ((rc = agg_portion_next(&entry, SHARD)) == 1)
        entries[entry.family]++;
    assert_int_equal(rc, 0);
    assert_int_equal(entries[AGG_FAMILY_BLOCK], 3);
    assert_int_equal(entries[AGG_FAMILY_FLOWS], 3);
    assert_int_equal(entries[AGG_FAMILY_META], 1);
    assert_true(entries[AGG_FAMILY_ROLLUP_1M] > 0 && entries[AGG_FAMILY_ROLLUP_1H] > 0);
    agg_past_destroy(past);
    weir_buf_fini(&all);

    assert_int_equal(agg_past_drop(b.store, SHARD, NULL), 0);
    assert_int_equal(mark_of(b.store, SHARD), 0);
    assert_int_equal(mark_of(b.store, SHARD + 1), 7);
    struct agg_rows rows;
    agg_rows_init(&rows);
    assert_int_equal(agg_rows_of_blocks(&rows, AGG_TIER_1H, b.store), 4);
    agg_rows_fini(&rows);
    agg_bench_close(&b);
    remove_folder(b.folder);
}

static void put_entry(struct weir_buf *out, uint8_t family, const char *key, size_t key_size)
{
    uint8_t head[7] = {family, 0, (uint8_t)key_size, 0, 0, 0, 1};
    weir_buf_append(out, head, sizeof head);
    weir_buf_append(out, key, key_size);
    weir_buf_append(out, "v", 1);
}

static void a_portion_that_is_none_of_another_shard_or_out_of_order_is_refused(void **state)
{
    (void)state;
    static const struct {
        struct {
            uint8_t family;
            const char *key;
            size_t size;
        } entries[2];
    } cases[] = {
        {{{AGG_FAMILY_BLOCK, "\0\x0a", 2}}},                                    /* another shard's */
        {{{AGG_FAMILY_BLOCK, "\0", 1}}},                                        /* no shard's */
        {{{AGG_FAMILIES, "\0\x09", 2}}},                                        /* no family */
        {{{AGG_FAMILY_META, "v", 1}}},                                          /* the version of the store */
        {{{AGG_FAMILY_META, "h\0\x09", 3}}},                                    /* what it is to the shard */
        {{{AGG_FAMILY_FLOWS, "\0\x09z", 3}, {AGG_FAMILY_FLOWS, "\0\x09y", 3}}}, /* keys go back */
        {{{AGG_FAMILY_FLOWS, "\0\x09z", 3}, {AGG_FAMILY_FLOWS, "\0\x09z", 3}}}, /* the same key */
        {{{AGG_FAMILY_BLOCK, "\0\x09y", 3}, {AGG_FAMILY_FLOWS, "\0\x09z", 3}}}, /* families go back */
    };
    char folder[FOLDER_BYTES];
    make_folder(folder);
    struct agg_store *store = open_store(folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_buf portion = WEIR_BUF_INIT;
        struct agg_install *install = NULL;
        struct weir_why why = {0};
        for (int k = 0; k < 2 && cases[i].entries[k].key != NULL; k++)
            put_entry(&portion, cases[i].entries[k].family, cases[i].entries[k].key, cases[i].entries[k].size);
        assert_int_equal(agg_install_create(store, SHARD, &install, &why), 0);
        assert_int_equal(agg_install_take(install, weir_buf_view(&portion), &why), WEIR_EFORMAT);
        assert_true(why.text[0] != '\0');
        agg_install_destroy(install);
        weir_buf_fini(&portion);
    }
    struct agg_portion cut = {.rest = weir_view_of((const uint8_t *)"\x02\0\x02\0\0\0\x01\0\x09", 9)};
    assert_int_equal(agg_portion_next(&cut, SHARD), WEIR_EFORMAT);
    agg_store_close(store);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_shard_that_was_given_has_the_rows_blocks_and_marks_of_the_one_it_came_from),
        cmocka_unit_test(other_shards_are_neither_given_nor_dropped),
        cmocka_unit_test(a_portion_that_is_none_of_another_shard_or_out_of_order_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
