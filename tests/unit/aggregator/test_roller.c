#include "aggregator/commit.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/wire/batch.h"
#include "tests/support/agg_rows.h"
#include "tests/support/folder.h"
#include "tests/support/random_flows.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

static const int64_t now_ms = INT64_C(1790000000000);

/** A store with what writes to it. */
struct bench {
    char folder[FOLDER_BYTES];
    struct weir_metrics metrics;
    struct agg_store *store;
    struct agg_roller *roller;
    struct agg_commit *commit;
    struct weir_batch_encoder *encoder;
    uint64_t random;
    uint64_t seq;
    struct weir_cum cum;
};

static void open_bench(struct bench *b, int64_t minutes_ms, size_t memory_bytes)
{
    struct weir_why why = {0};
    struct agg_store_conf conf = {
        .path = b->folder, .cache_bytes = 4 << 20, .buffer_bytes = 1 << 20, .log_bytes = 4 << 20, .background = 2};
    assert_int_equal(weir_metrics_init(&b->metrics, agg_counter_rows, AGG_COUNTERS), 0);
    assert_int_equal(agg_store_open(&conf, &b->store, &why), 0);
    struct agg_roller_conf roller = {.store = b->store,
                                     .metrics = &b->metrics,
                                     .seed = 1,
                                     .memory_bytes = memory_bytes,
                                     .minutes_ms = minutes_ms,
                                     .hours_ms = minutes_ms * 3,
                                     .pause_ms = 1};
    assert_int_equal(agg_roller_create(&roller, &b->roller, &why), 0);
    struct agg_place heads[WEIR_SHARDS];
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        heads[shard] = agg_roller_head(b->roller, shard);
    assert_int_equal(agg_commit_create(b->store, heads, &b->commit), 0);
    assert_int_equal(weir_batch_encoder_create(WEIR_CODEC_LZ4, &b->encoder), 0);
}

static void close_bench(struct bench *b)
{
    agg_roller_destroy(b->roller);
    agg_commit_destroy(b->commit);
    agg_store_close(b->store);
    weir_batch_encoder_destroy(b->encoder);
    weir_metrics_fini(&b->metrics);
}

/** Commit one batch of @flows flows (0: a LOSS record), and hand it over as the intake does. */
static void commit_batch(struct bench *b, uint32_t flows, bool hand_over)
{
    struct weir_batch_header header;
    struct weir_source source = random_source(random_below(&b->random, 5));
    struct weir_batch *batch = random_batch(&b->random, &source, flows, now_ms, &header);
    struct weir_buf header_bytes = WEIR_BUF_INIT, body = WEIR_BUF_INIT;
    assert_int_equal(weir_batch_encode(b->encoder, batch, &header, &body), 0);
    if (flows == 0) {
        header.kind = WEIR_RECORD_LOSS;
        header.totals.flows = 3;
        header.lost_to_seq = b->seq + 1;
        weir_buf_clear(&body);
    }
    assert_int_equal(weir_batch_header_encode(&header, &header_bytes), 0);
    struct weir_msg msg = {.kind = WEIR_MSG_STORE, .inc = 1, .shard = source.domain * 25, .seq = ++b->seq};
    strcpy(msg.site, "fra1");
    strcpy(msg.name, "edge-1");
    struct agg_action action = {.lane = {.inc = 1, .shard = msg.shard}, .mark = {.seq = msg.seq}};
    struct agg_arrival arrival = {
        .msg = &msg, .header = &header, .header_bytes = weir_buf_view(&header_bytes), .body = weir_buf_view(&body)};
    struct weir_why why = {0};
    int rc;
    do {
        agg_commit_clear(b->commit);
        assert_int_equal(agg_commit_add(b->commit, &action, &arrival, now_ms), 0);
        rc = agg_commit_write(b->commit, &why);
    } while (rc == WEIR_EAGAIN); /* so small a store stalls now and then */
    if (rc < 0) fail_msg("%s", why.text);
    const struct agg_committed *committed = agg_commit_at(b->commit, 0);
    if (hand_over) agg_roller_offer(b->roller, &committed->of, committed->body_bytes > 0 ? &batch : NULL);
    agg_commit_clear(b->commit);
    weir_batch_destroy(batch);
    weir_buf_fini(&body);
    weir_buf_fini(&header_bytes);
}

/** Stored rows are what the stored blocks add up to. Returns how many blocks there are. */
static uint64_t assert_rows_match_blocks(struct bench *b)
{
    uint64_t blocks = 0;
    for (int tier = 0; tier < AGG_TIERS; tier++) {
        struct agg_rows got, want;
        agg_rows_init(&got);
        agg_rows_init(&want);
        agg_rows_read(&got, tier, b->store);
        blocks = agg_rows_of_blocks(&want, tier, b->store);
        agg_rows_assert_same(&got, &want);
        agg_rows_fini(&got);
        agg_rows_fini(&want);
    }
    return blocks;
}

static void catch_up(struct bench *b)
{
    for (int tier = 0; tier < AGG_TIERS; tier++)
        assert_int_equal(agg_roller_catch_up(b->roller, tier, weir_mono_ms() + 60000), 0);
}

static void rows_hold_what_was_committed_before_the_question(void **state)
{
    (void)state;
    struct bench b = {.random = 1};
    make_folder(b.folder);
    open_bench(&b, 600000, 64 << 20);
    for (int i = 0; i < 12; i++)
        commit_batch(&b, i % 4 == 3 ? 0 : 100, true);
    catch_up(&b);
    assert_int_equal(assert_rows_match_blocks(&b), 12);
    for (int i = 0; i < 60; i++)
        commit_batch(&b, 20, true); /* more than are taken in at a time: some are read back */
    catch_up(&b);
    assert_int_equal(assert_rows_match_blocks(&b), 72);
    close_bench(&b);

    open_bench(&b, 600000, 64 << 20);
    assert_int_equal(assert_rows_match_blocks(&b), 72);
    catch_up(&b);
    assert_int_equal(assert_rows_match_blocks(&b), 72);
    assert_int_equal(weir_metrics_get(&b.metrics, AGG_COUNT_blocks_reread), 0);
    close_bench(&b);
    remove_folder(b.folder);
}

static void many_rows_are_written_as_a_file_and_add_up_with_few(void **state)
{
    (void)state;
    struct bench b = {.random = 2};
    make_folder(b.folder);
    open_bench(&b, 600000, 64 << 20);
    for (int i = 0; i < 8; i++)
        commit_batch(&b, 700, true);
    catch_up(&b);
    assert_true(weir_metrics_get(&b.metrics, AGG_COUNT_rollup_rows) > 4096);
    commit_batch(&b, 50, true);
    catch_up(&b);
    assert_int_equal(assert_rows_match_blocks(&b), 9);
    close_bench(&b);
    remove_folder(b.folder);
}

static void little_memory_writes_early_and_changes_nothing(void **state)
{
    (void)state;
    struct bench b = {.random = 3};
    make_folder(b.folder);
    open_bench(&b, 600000, 300000);
    for (int i = 0; i < 30; i++)
        commit_batch(&b, 60, true);
    catch_up(&b);
    assert_true(weir_metrics_get(&b.metrics, AGG_COUNT_rollup_flushes) > 4);
    assert_rows_match_blocks(&b);
    close_bench(&b);
    remove_folder(b.folder);
}

static void a_block_that_was_never_handed_over_is_read_back(void **state)
{
    (void)state;
    struct bench b = {.random = 4};
    make_folder(b.folder);
    open_bench(&b, 600000, 64 << 20);
    for (int i = 0; i < 10; i++)
        commit_batch(&b, 40, i % 2 == 1);
    close_bench(&b);
    open_bench(&b, 600000, 64 << 20);
    catch_up(&b);
    assert_int_equal(assert_rows_match_blocks(&b), 10);
    assert_true(weir_metrics_get(&b.metrics, AGG_COUNT_blocks_reread) > 0);
    close_bench(&b);
    remove_folder(b.folder);
}

/** In a process of its own: commit, write rows now and then, and tell through @pipe after each synced batch. */
static void work_until_killed(struct bench *b, int pipe)
{
    open_bench(b, 5, b->random % 2 == 0 ? 200000 : 64 << 20);
    for (int i = 0; i < 1000; i++) {
        commit_batch(b, random_below(&b->random, 10) == 0 ? 300 : random_below(&b->random, 40), true);
        if (write(pipe, "b", 1) != 1) return;
        if (random_below(&b->random, 5) == 0) (void)agg_roller_catch_up(b->roller, AGG_TIER_1M, weir_mono_ms() + 10000);
    }
}

static void a_kill_at_any_moment_neither_loses_nor_doubles(void **state)
{
    (void)state;
    enum { ROUNDS = 8 };
    struct bench b = {.random = 5};
    make_folder(b.folder);
    uint64_t acknowledged = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint64_t random = random_next(&b.random);
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            b.random = random;
            b.seq = 1000 * round;
            work_until_killed(&b, pipes[1]);
            _exit(0);
        }
        close(pipes[1]);
        char byte;
        uint64_t kill_after = acknowledged + 1 + random % 23;
        while (read(pipes[0], &byte, 1) == 1) {
            if (++acknowledged == kill_after) kill(pid, SIGKILL);
        }
        close(pipes[0]);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    open_bench(&b, 600000, 64 << 20);
    catch_up(&b);
    uint64_t blocks = assert_rows_match_blocks(&b);
    assert_true(acknowledged > 30);
    assert_true(blocks >= acknowledged &&
                blocks <= acknowledged + ROUNDS); /* killed between the sync and the word of it */
    close_bench(&b);
    remove_folder(b.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: it forks, and RocksDB's threads, once there, would be missing in the child. */
        cmocka_unit_test(a_kill_at_any_moment_neither_loses_nor_doubles),
        cmocka_unit_test(rows_hold_what_was_committed_before_the_question),
        cmocka_unit_test(many_rows_are_written_as_a_file_and_add_up_with_few),
        cmocka_unit_test(little_memory_writes_early_and_changes_nothing),
        cmocka_unit_test(a_block_that_was_never_handed_over_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
