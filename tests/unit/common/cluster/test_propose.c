/** Properties of the placement, over clusters of all sizes; shares and moves are checked against sums made by hand. */
#include "common/base/mem.h"
#include "common/cluster/propose.h"
#include "tests/support/cluster_map.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/support/cmocka.h"

/** What weir_map_propose says becomes the map. Returns how many replicas that moved. */
static uint32_t propose(struct weir_map *map)
{
    struct weir_shard desired[WEIR_SHARDS];
    assert_int_equal(weir_map_propose(map, desired), 0);
    uint32_t moves = weir_map_moves(map, desired);
    memcpy(map->shards, desired, sizeof map->shards);
    return moves;
}

static void check_members_differ(const struct weir_map *map)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        const struct weir_shard *of = &map->shards[shard];
        assert_int_equal(of->member_count, map->replication);
        for (uint32_t i = 0; i < of->member_count; i++) {
            assert_true(map->aggregators[of->members[i]].weight > 0);
            for (uint32_t j = 0; j < i; j++)
                assert_int_not_equal(of->members[i], of->members[j]);
        }
    }
}

/** Of equal weights: each has R * V / N, rounded down or up. */
static void check_balance(const struct weir_map *map)
{
    uint32_t owning = 0;
    for (uint32_t i = 0; i < map->aggregator_count; i++)
        owning += map->aggregators[i].weight > 0;
    uint32_t places = map->replication * WEIR_SHARDS;
    for (uint32_t i = 0; i < map->aggregator_count; i++) {
        uint32_t load = weir_map_load(map, i);
        if (map->aggregators[i].weight == 0)
            assert_int_equal(load, 0);
        else
            assert_in_range(load, places / owning, (places + owning - 1) / owning);
    }
}

static void check_zones_differ(const struct weir_map *map)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        const struct weir_shard *of = &map->shards[shard];
        for (uint32_t i = 1; i < of->member_count; i++)
            assert_string_not_equal(map->aggregators[of->members[i]].zone, map->aggregators[of->members[0]].zone);
    }
}

static void nobody_has_more_than_its_share_rounded_up_nor_less_than_rounded_down(void **state)
{
    (void)state;
    for (uint32_t replication = 1; replication <= 3; replication++) {
        for (uint32_t count = replication; count <= 20; count++) {
            struct weir_map *map = cluster_map_of(count, 0, replication);
            assert_int_equal(propose(map), replication * WEIR_SHARDS);
            check_members_differ(map);
            check_balance(map);
            weir_free(map);
        }
    }
}

/** A share is in whole shards, so no less than this can move: what the new one must have. */
static void an_aggregator_that_comes_gets_its_share_and_nothing_else_moves(void **state)
{
    (void)state;
    for (uint32_t count = 2; count <= 19; count++) {
        struct weir_map *map = cluster_map_of(count, 0, 2);
        propose(map);
        struct weir_node node = {.weight = WEIR_WEIGHT_DEFAULT, .name = "newcomer"};
        assert_int_equal(weir_map_add_aggregator(map, &node), 0);
        uint32_t moved = propose(map);
        check_members_differ(map);
        check_balance(map);
        uint32_t share = 2 * WEIR_SHARDS / (count + 1);
        assert_int_equal(moved, weir_map_load(map, count));
        assert_in_range(moved, share, share + 1);
        weir_free(map);
    }
}

static void of_an_aggregator_that_goes_only_its_own_replicas_move(void **state)
{
    (void)state;
    for (uint32_t count = 3; count <= 20; count++) {
        struct weir_map *map = cluster_map_of(count, 0, 2);
        propose(map);
        uint32_t gone = count / 2, had = weir_map_load(map, gone);
        map->aggregators[gone].weight = 0;
        assert_int_equal(propose(map), had);
        check_members_differ(map);
        check_balance(map);
        weir_free(map);
    }
}

static void what_is_as_it_should_be_stays(void **state)
{
    (void)state;
    for (uint32_t zones = 0; zones <= 4; zones += 2) {
        struct weir_map *map = cluster_map_of(9, zones, 2);
        propose(map);
        struct weir_shard before[WEIR_SHARDS];
        memcpy(before, map->shards, sizeof before);
        assert_int_equal(propose(map), 0);
        assert_memory_equal(before, map->shards, sizeof before);
        weir_free(map);
    }
}

static void a_node_that_joins_already_is_not_sent_away_again(void **state)
{
    (void)state;
    struct weir_map *map = cluster_map_of(3, 0, 2);
    propose(map);
    struct weir_node node = {.weight = WEIR_WEIGHT_DEFAULT, .name = "newcomer"};
    assert_int_equal(weir_map_add_aggregator(map, &node), 0);
    struct weir_shard desired[WEIR_SHARDS];
    assert_int_equal(weir_map_propose(map, desired), 0);
    struct weir_shard wanted[WEIR_SHARDS];
    memcpy(wanted, desired, sizeof wanted);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard += 2) { /* half of the joins have begun */
        for (uint32_t i = 0; i < desired[shard].member_count; i++) {
            if (desired[shard].members[i] != 3) continue;
            map->shards[shard].joining[0] = 3;
            map->shards[shard].joining_count = 1;
        }
    }
    assert_int_equal(weir_map_propose(map, desired), 0);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        if (map->shards[shard].joining_count == 0) continue;
        bool is_wanted = false;
        for (uint32_t i = 0; i < desired[shard].member_count; i++)
            is_wanted |= desired[shard].members[i] == 3;
        assert_true(is_wanted);
    }
    assert_int_equal(weir_map_moves(map, desired), weir_map_moves(map, wanted));
    weir_free(map);
}

static void the_second_member_is_in_another_zone_however_the_zones_are_filled(void **state)
{
    (void)state;
    for (uint32_t zones = 2; zones <= 5; zones++) {
        for (uint32_t count = zones; count <= 12; count++) {
            struct weir_map *map = cluster_map_of(count, zones, 2);
            propose(map);
            check_members_differ(map);
            check_zones_differ(map);
            if (count % zones == 0) check_balance(map);
            weir_free(map);
        }
    }
    struct weir_map *map = cluster_map_of(6, 0, 2); /* one alone in its zone: it must have one of each */
    for (uint32_t i = 0; i < 6; i++)
        snprintf(map->aggregators[i].zone, WEIR_NAME_BYTES, "%s", i == 2 ? "far" : "near");
    propose(map);
    check_zones_differ(map);
    assert_int_equal(weir_map_load(map, 2), WEIR_SHARDS);
    for (uint32_t i = 0; i < 6; i++) {
        if (i != 2) assert_in_range(weir_map_load(map, i), WEIR_SHARDS / 5, WEIR_SHARDS / 5 + 1);
    }
    weir_free(map);
}

static void three_members_in_two_zones_are_two_and_one(void **state)
{
    (void)state;
    struct weir_map *map = cluster_map_of(6, 2, 3);
    propose(map);
    check_members_differ(map);
    check_balance(map);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        const uint8_t *members = map->shards[shard].members;
        bool same = strcmp(map->aggregators[members[0]].zone, map->aggregators[members[1]].zone) == 0 &&
                    strcmp(map->aggregators[members[0]].zone, map->aggregators[members[2]].zone) == 0;
        assert_false(same);
    }
    weir_free(map);
}

static void a_placement_of_one_zone_is_spread_when_there_is_another(void **state)
{
    (void)state;
    struct weir_map *map = cluster_map_of(4, 1, 2);
    propose(map);
    for (uint32_t i = 2; i < 4; i++)
        snprintf(map->aggregators[i].zone, WEIR_NAME_BYTES, "other");
    uint32_t must_move = 0;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        const uint8_t *members = map->shards[shard].members;
        must_move += (members[0] < 2) == (members[1] < 2);
    }
    assert_true(must_move > 0);
    assert_int_equal(propose(map), must_move);
    check_zones_differ(map);
    check_balance(map);
    weir_free(map);
}

static void shares_follow_weights_as_far_as_one_can_hold_them(void **state)
{
    (void)state;
    struct weir_map *map = cluster_map_of(4, 0, 1);
    map->aggregators[0].weight = 0;
    map->aggregators[3].weight = 200;
    propose(map);
    assert_int_equal(weir_map_load(map, 0), 0);
    assert_int_equal(weir_map_load(map, 1), 32);
    assert_int_equal(weir_map_load(map, 2), 32);
    assert_int_equal(weir_map_load(map, 3), 64);
    map->replication = 2;
    map->aggregators[3].weight = 10000; /* a node has a shard once, whatever its weight */
    propose(map);
    check_members_differ(map);
    assert_int_equal(weir_map_load(map, 3), WEIR_SHARDS);
    assert_int_equal(weir_map_load(map, 1), WEIR_SHARDS / 2);
    weir_free(map);
}

static void random_histories_keep_every_property(void **state)
{
    (void)state;
    unsigned seed = 7;
    struct weir_map *map = cluster_map_of(12, 3, 2);
    for (int step = 0; step < 60; step++) {
        uint32_t node = (uint32_t)rand_r(&seed) % 12;
        map->aggregators[node].weight = map->aggregators[node].weight == 0 ? WEIR_WEIGHT_DEFAULT : 0;
        uint32_t zones[3] = {0}, owning = 0;
        for (uint32_t i = 0; i < 12; i++) {
            zones[(i + 1) % 3] += map->aggregators[i].weight > 0;
            owning += map->aggregators[i].weight > 0;
        }
        if (owning < 2) {
            map->aggregators[node].weight = WEIR_WEIGHT_DEFAULT;
            continue;
        }
        propose(map);
        check_members_differ(map);
        uint32_t used = (zones[0] > 0) + (zones[1] > 0) + (zones[2] > 0);
        if (used >= 2) check_zones_differ(map);
    }
    weir_free(map);
}

static void fewer_aggregators_than_replicas_and_a_lack_of_memory_are_said(void **state)
{
    (void)state;
    struct weir_shard desired[WEIR_SHARDS];
    struct weir_map *map = cluster_map_of(2, 0, 2);
    map->aggregators[1].weight = 0;
    assert_int_equal(weir_map_propose(map, desired), WEIR_EPARAM);
    map->aggregators[1].weight = 1;
    for (int64_t successes = 0;; successes++) {
        weir_mem_fail_after(successes);
        int rc = weir_map_propose(map, desired);
        bool failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        if (!failed) break;
    }
    weir_free(map);
}

static void the_most_nodes_there_may_be_are_placed(void **state)
{
    (void)state;
    struct weir_map *map = cluster_map_of(WEIR_NODES_MOST, 0, 3);
    propose(map);
    check_members_differ(map);
    check_balance(map);
    weir_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_has_more_than_its_share_rounded_up_nor_less_than_rounded_down),
        cmocka_unit_test(an_aggregator_that_comes_gets_its_share_and_nothing_else_moves),
        cmocka_unit_test(of_an_aggregator_that_goes_only_its_own_replicas_move),
        cmocka_unit_test(what_is_as_it_should_be_stays),
        cmocka_unit_test(a_node_that_joins_already_is_not_sent_away_again),
        cmocka_unit_test(the_second_member_is_in_another_zone_however_the_zones_are_filled),
        cmocka_unit_test(three_members_in_two_zones_are_two_and_one),
        cmocka_unit_test(a_placement_of_one_zone_is_spread_when_there_is_another),
        cmocka_unit_test(shares_follow_weights_as_far_as_one_can_hold_them),
        cmocka_unit_test(random_histories_keep_every_property),
        cmocka_unit_test(fewer_aggregators_than_replicas_and_a_lack_of_memory_are_said),
        cmocka_unit_test(the_most_nodes_there_may_be_are_placed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
