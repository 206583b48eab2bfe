#include "tests/support/river/river.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/cmocka.h"

enum { SEEDS = 2000, SEEDS_OF_LONG = 20000, SEEDS_MOST = 100000 };

static uint64_t traces[SEEDS_MOST];

static uint64_t setting(const char *name, uint64_t preset)
{
    const char *text = getenv(name);
    return text == NULL ? preset : strtoull(text, NULL, 10);
}

/** The first seed, and how many: WEIR_RIVER_SEED=17 WEIR_RIVER_SEEDS=1 repeats one run. */
static uint64_t first_seed(void)
{
    return setting("WEIR_RIVER_SEED", 1);
}

static uint64_t seed_count(void)
{
    uint64_t count = setting("WEIR_RIVER_SEEDS", getenv("WEIR_TESTS_LONG") == NULL ? SEEDS : SEEDS_OF_LONG);
    return count < SEEDS_MOST ? count : SEEDS_MOST;
}

static void every_accepted_batch_is_stored_exactly_once_whatever_crashes_or_gets_lost(void **state)
{
    (void)state;
    struct river_report sum = {0}, report;
    uint64_t first = first_seed(), count = seed_count();
    for (uint64_t seed = first; seed < first + count; seed++) {
        river_run(seed, &report);
        if (!report.sound) fail_msg("seed %" PRIu64 ": %s", seed, report.complaint);
        traces[seed - first] = report.trace;
        sum.accepted += report.accepted;
        sum.dropped += report.dropped;
        sum.parcels += report.parcels;
        sum.parcels_lost += report.parcels_lost;
        sum.parcels_repeated += report.parcels_repeated;
        sum.crashes += report.crashes;
        sum.set_back += report.set_back;
        sum.pauses += report.pauses;
        sum.cuts += report.cuts;
        sum.moves += report.moves;
        sum.swaps += report.swaps;
        sum.joins += report.joins;
        sum.wipes += report.wipes;
        sum.tails += report.tails;
        sum.commits += report.commits;
        sum.repeats += report.repeats;
        sum.resent += report.resent;
        sum.lasted_ms = report.lasted_ms > sum.lasted_ms ? report.lasted_ms : sum.lasted_ms;
    }
    print_message("%" PRIu64 " seeds: %" PRIu64 " batches accepted and %" PRIu64 " dropped, %" PRIu64
                  " crashes, %" PRIu64 " spools set back, %" PRIu64 " pauses, %" PRIu64 " cuts, %" PRIu64
                  " moves of a shard, %" PRIu64 " changes of the map, %" PRIu64 " joins, %" PRIu64
                  " disks lost, %" PRIu64 " acknowledged writes lost, %" PRIu64 " messages, %" PRIu64 " lost, %" PRIu64
                  " repeated, %" PRIu64 " commits, %" PRIu64 " batches known already; longest %" PRId64 " s\n",
                  count, sum.accepted, sum.dropped, sum.crashes, sum.set_back, sum.pauses, sum.cuts, sum.moves,
                  sum.swaps, sum.joins, sum.wipes, sum.tails, sum.parcels, sum.parcels_lost, sum.parcels_repeated,
                  sum.commits, sum.repeats, sum.lasted_ms / 1000);
    if (count < SEEDS) return;
    assert_true(sum.accepted > count * 20);
    assert_true(sum.dropped > count && sum.crashes > count && sum.repeats > count);
    assert_true(sum.set_back > count / 20 && sum.pauses > count / 2 && sum.cuts > count / 2 && sum.moves > count / 2);
    assert_true(sum.joins > count && sum.wipes > count / 20 && sum.tails > count / 4);
}

static void each_seed_runs_the_same_way_twice_and_no_other_as_it(void **state)
{
    (void)state;
    struct river_report report;
    uint64_t first = first_seed(), count = seed_count();
    for (uint64_t seed = first; seed < first + count; seed++) {
        river_run(seed, &report);
        if (report.trace != traces[seed - first]) fail_msg("seed %" PRIu64 " runs otherwise the second time", seed);
        if (seed > first) assert_int_not_equal(report.trace, traces[seed - first - 1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_accepted_batch_is_stored_exactly_once_whatever_crashes_or_gets_lost),
        cmocka_unit_test(each_seed_runs_the_same_way_twice_and_no_other_as_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
