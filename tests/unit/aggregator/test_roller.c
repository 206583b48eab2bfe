#include "common/base/clock.h"
#include "tests/support/agg_bench.h"
#include "tests/support/agg_rows.h"
#include "tests/support/random_flows.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

static const int64_t now_ms = INT64_C(1790000000000);

static uint64_t random_state;

/** Commit one batch of @flows flows (0: a LOSS record). */
static void commit_batch(struct agg_bench *b, uint32_t flows, bool hand_over)
{
    struct weir_batch_header header;
    struct weir_source source = random_source(random_below(&random_state, 5));
    struct weir_batch *batch = random_batch(&random_state, &source, flows, now_ms, &header);
    struct agg_bench_batch of = {.batch = batch,
                                 .shard = source.domain * 25,
                                 .commit_ms = now_ms,
                                 .site = "fra1",
                                 .agent = "edge-1",
                                 .hand_over = hand_over};
    agg_bench_commit(b, &of);
    weir_batch_destroy(batch);
}

/** Stored rows are what the stored blocks add up to. Returns how many blocks there are. */
static uint64_t assert_rows_match_blocks(struct agg_bench *b)
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

static void rows_hold_what_was_committed_before_the_question(void **state)
{
    (void)state;
    struct agg_bench b = {0};
    random_state = 1;
    agg_bench_open(&b, 600000, 64 << 20);
    for (int i = 0; i < 12; i++)
        commit_batch(&b, i % 4 == 3 ? 0 : 100, true);
    agg_bench_catch_up(&b);
    assert_int_equal(assert_rows_match_blocks(&b), 12);
    for (int i = 0; i < 60; i++)
        commit_batch(&b, 20, true); /* more than are taken in at a time: some are read back */
    agg_bench_catch_up(&b);
    assert_int_equal(assert_rows_match_blocks(&b), 72);
    agg_bench_close(&b);

    agg_bench_open(&b, 600000, 64 << 20);
    assert_int_equal(assert_rows_match_blocks(&b), 72);
    agg_bench_catch_up(&b);
    assert_int_equal(assert_rows_match_blocks(&b), 72);
    assert_int_equal(weir_metrics_get(&b.metrics, AGG_COUNT_blocks_reread), 0);
    agg_bench_close(&b);
    remove_folder(b.folder);
}

static void many_rows_are_written_as_a_file_and_add_up_with_few(void **state)
{
    (void)state;
    struct agg_bench b = {0};
    random_state = 2;
    agg_bench_open(&b, 600000, 64 << 20);
    for (int i = 0; i < 8; i++)
        commit_batch(&b, 700, true);
    agg_bench_catch_up(&b);
    assert_true(weir_metrics_get(&b.metrics, AGG_COUNT_rollup_rows) > 4096);
    commit_batch(&b, 50, true);
    agg_bench_catch_up(&b);
    assert_int_equal(assert_rows_match_blocks(&b), 9);
    agg_bench_close(&b);
    remove_folder(b.folder);
}

static void little_memory_writes_early_and_changes_nothing(void **state)
{
    (void)state;
    struct agg_bench b = {0};
    random_state = 3;
    agg_bench_open(&b, 600000, 300000);
    for (int i = 0; i < 30; i++)
        commit_batch(&b, 60, true);
    agg_bench_catch_up(&b);
    assert_true(weir_metrics_get(&b.metrics, AGG_COUNT_rollup_flushes) > 4);
    assert_rows_match_blocks(&b);
    agg_bench_close(&b);
    remove_folder(b.folder);
}

static void a_block_that_was_never_handed_over_is_read_back(void **state)
{
    (void)state;
    struct agg_bench b = {0};
    random_state = 4;
    agg_bench_open(&b, 600000, 64 << 20);
    for (int i = 0; i < 10; i++)
        commit_batch(&b, 40, i % 2 == 1);
    agg_bench_close(&b);
    agg_bench_open(&b, 600000, 64 << 20);
    agg_bench_catch_up(&b);
    assert_int_equal(assert_rows_match_blocks(&b), 10);
    assert_true(weir_metrics_get(&b.metrics, AGG_COUNT_blocks_reread) > 0);
    agg_bench_close(&b);
    remove_folder(b.folder);
}

/** In a process of its own: commit, write rows now and then, and tell through @pipe after each synced batch. */
static void work_until_killed(struct agg_bench *b, int pipe)
{
    agg_bench_open(b, 5, random_state % 2 == 0 ? 200000 : 64 << 20);
    for (int i = 0; i < 1000; i++) {
        commit_batch(b, random_below(&random_state, 10) == 0 ? 300 : random_below(&random_state, 40), true);
        if (write(pipe, "b", 1) != 1) return;
        if (random_below(&random_state, 5) == 0)
            (void)agg_roller_catch_up(b->roller, AGG_TIER_1M, weir_mono_ms() + 10000);
    }
}

static void a_kill_at_any_moment_neither_loses_nor_doubles(void **state)
{
    (void)state;
    enum { ROUNDS = 6 };
    struct agg_bench b = {0};
    make_folder(b.folder);
    random_state = 5;
    uint64_t acknowledged = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint64_t random = random_next(&random_state);
        int pipes[2];
        assert_int_equal(pipe(pipes), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            random_state = random;
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
    agg_bench_open(&b, 600000, 64 << 20);
    agg_bench_catch_up(&b);
    uint64_t blocks = assert_rows_match_blocks(&b);
    assert_true(acknowledged > 20);
    assert_true(blocks >= acknowledged &&
                blocks <= acknowledged + ROUNDS); /* killed between the sync and the word of it */
    agg_bench_close(&b);
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
