#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/cluster/map.h"
#include "tests/support/cluster_map.h"

#include "tests/support/cmocka.h"

static void every_shard_has_its_owners_and_no_aggregator_has_much_more_than_its_share(void **state)
{
    (void)state;
    for (uint32_t count = 2; count <= 20; count++) {
        struct weir_map *map = cluster_map_of(count, 0, 2);
        weir_map_place(map);
        uint32_t most = 0, least = WEIR_SHARDS;
        for (uint32_t i = 0; i < count; i++) {
            uint32_t load = weir_map_load(map, i);
            if (load > most) most = load;
            if (load < least) least = load;
        }
        uint32_t cap = (2 * WEIR_SHARDS + count - 1) / count;
        if (most > cap) fail_msg("%u aggregators: %u shards on one, at most %u", count, most, cap);
        assert_true(most * count <= 2 * WEIR_SHARDS * 107 / 100);
        assert_true(least * count >= 2 * WEIR_SHARDS * 60 / 100);
        for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
            assert_int_equal(map->shards[shard].member_count, 2);
            assert_int_equal(map->shards[shard].joining_count, 0);
            assert_int_equal(map->shards[shard].epoch, map->epoch);
            assert_int_not_equal(map->shards[shard].members[0], map->shards[shard].members[1]);
        }
        weir_free(map);
    }
}

static uint32_t replicas_that_differ(const struct weir_map *before, const struct weir_map *after)
{
    uint32_t moved = 0;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        for (uint32_t i = 0; i < after->shards[shard].member_count; i++)
            moved += !weir_map_owns(before, after->shards[shard].members[i], shard);
    }
    return moved;
}

static void adding_an_aggregator_moves_little_more_than_its_share(void **state)
{
    (void)state;
    for (uint32_t count = 3; count <= 10; count++) {
        struct weir_map *before = cluster_map_of(count, 0, 2);
        struct weir_map *after = cluster_map_of(count + 1, 0, 2);
        weir_map_place(before);
        weir_map_place(after);
        uint32_t share = 2 * WEIR_SHARDS / (count + 1);
        uint32_t moved = replicas_that_differ(before, after);
        assert_true(weir_map_load(after, count) * 100 >= share * 75);
        if (moved > share * 5 / 3) fail_msg("%u aggregators: %u replicas moved, share %u", count, moved, share);
        weir_free(before);
        weir_free(after);
    }
}

static void owners_lie_in_different_zones(void **state)
{
    (void)state;
    struct weir_map *map = cluster_map_of(6, 2, 2);
    weir_map_place(map);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        const char *first = map->aggregators[map->shards[shard].members[0]].zone;
        const char *second = map->aggregators[map->shards[shard].members[1]].zone;
        assert_string_not_equal(first, second);
    }
    weir_free(map);
}

static void shards_follow_weights_and_weight_0_owns_none(void **state)
{
    (void)state;
    struct weir_map *map = cluster_map_of(4, 0, 1);
    map->aggregators[0].weight = 0;
    map->aggregators[1].weight = 100;
    map->aggregators[2].weight = 100;
    map->aggregators[3].weight = 200;
    weir_map_place(map);
    assert_int_equal(weir_map_load(map, 0), 0);
    assert_in_range(weir_map_load(map, 1), 26, 32);
    assert_in_range(weir_map_load(map, 2), 26, 32);
    assert_in_range(weir_map_load(map, 3), 60, 64);
    weir_free(map);
}

static void three_replicas_on_three_aggregators_are_one_on_each(void **state)
{
    (void)state;
    struct weir_map *map = cluster_map_of(3, 1, 3);
    weir_map_place(map);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(weir_map_load(map, i), WEIR_SHARDS);
    weir_free(map);
}

/** Every process of a cluster, of any version, must compute the same owners: this value never changes. */
static void the_placement_is_the_same_for_ever(void **state)
{
    (void)state;
    struct weir_map *map = cluster_map_of(5, 3, 2);
    weir_map_place(map);
    uint8_t members[WEIR_SHARDS][WEIR_OWNERS_MOST];
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        memcpy(members[shard], map->shards[shard].members, sizeof members[shard]);
    uint64_t hash = weir_hash64(members, sizeof members, 0);
    assert_int_equal(hash, 0x9d05943c0b1bb8f4);
    weir_free(map);
}

static void the_order_of_the_aggregators_in_the_file_does_not_matter(void **state)
{
    (void)state;
    struct weir_map *map = cluster_map_of(5, 0, 2);
    struct weir_map *turned = cluster_map_of(5, 0, 2);
    for (uint32_t i = 0; i < 5; i++)
        turned->aggregators[i] = map->aggregators[4 - i];
    weir_map_place(map);
    weir_map_place(turned);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        for (uint32_t i = 0; i < 2; i++)
            assert_int_equal(map->shards[shard].members[i], 4 - turned->shards[shard].members[i]);
    }
    weir_free(map);
    weir_free(turned);
}

static void a_map_that_cannot_work_is_refused_with_a_reason(void **state)
{
    (void)state;
    struct weir_why why;
    struct weir_map *map = cluster_map_of(3, 2, 2);
    assert_int_equal(weir_map_check(map, &why), 0);

    struct weir_map good = *map;
    struct weir_node *node = &map->aggregators[1];
#define REFUSED(change, words)                                    \
    do {                                                          \
        change;                                                   \
        assert_int_equal(weir_map_check(map, &why), WEIR_EPARAM); \
        assert_non_null(strstr(why.text, words));                 \
        *map = good;                                              \
    } while (0)
    REFUSED(map->epoch = 0, "epoch");
    REFUSED(map->replication = 0, "replication");
    REFUSED(map->replication = 4, "replication");
    REFUSED(node->weight = map->aggregators[2].weight = 0, "only 1 aggregators");
    REFUSED(strcpy(node->name, "agg-1"), "agg-1 is there twice");
    REFUSED(strcpy(node->name, "a b"), "no proper name");
    REFUSED(strcpy(node->key, "short"), "key of aggregator agg-2");
    REFUSED(node->key[39] = '~', "key of aggregator agg-2");
    REFUSED(strcpy(node->endpoint, "192.0.2.1:7002"), "tcp://host:port");
    REFUSED(strcpy(node->endpoint, "tcp://192.0.2.1"), "tcp://host:port");
    REFUSED(strcpy(node->endpoint, "tcp://:7002"), "tcp://host:port");
    REFUSED(strcpy(node->endpoint, "tcp://192.0.2.1:0"), "tcp://host:port");
    REFUSED(strcpy(node->endpoint, "tcp://192.0.2.1:70000"), "tcp://host:port");
    REFUSED(strcpy(node->ask_endpoint, ""), "tcp://host:port");
    REFUSED(strcpy(node->zone, "a/b"), "zone");
    REFUSED(node->weight = WEIR_WEIGHT_MOST + 1, "weight");
#undef REFUSED
    weir_free(map);
}

static void maps_are_equal_when_they_say_the_same(void **state)
{
    (void)state;
    struct weir_map *a = cluster_map_of(3, 2, 2), *b = cluster_map_of(3, 2, 2);
    weir_map_place(a);
    assert_false(weir_map_equal(a, b));
    weir_map_place(b);
    assert_true(weir_map_equal(a, b));
    b->aggregators[2].weight++;
    assert_false(weir_map_equal(a, b));
    b->aggregators[2].weight--;
    b->epoch++;
    assert_false(weir_map_equal(a, b));
    b->epoch--;
    b->shards[WEIR_SHARDS - 1].epoch++;
    assert_false(weir_map_equal(a, b));
    b->shards[WEIR_SHARDS - 1].epoch--;
    b->shards[WEIR_SHARDS - 1].joining_count = 1;
    assert_false(weir_map_equal(a, b));
    weir_free(a);
    weir_free(b);
}

static void nodes_are_found_by_name_and_their_number_is_bounded(void **state)
{
    (void)state;
    struct weir_map *map = cluster_map_of(WEIR_NODES_MOST, 0, 1);
    assert_int_equal(weir_map_find_aggregator(map, "agg-64"), 63);
    assert_int_equal(weir_map_find_aggregator(map, "agg-65"), WEIR_ENOTFOUND);
    assert_int_equal(weir_map_find_broker(map, "agg-1"), WEIR_ENOTFOUND);
    struct weir_node node = {.name = "broker-1"};
    assert_int_equal(weir_map_add_aggregator(map, &node), WEIR_EFULL);
    assert_int_equal(weir_map_add_broker(map, &node), 0);
    assert_int_equal(weir_map_find_broker(map, "broker-1"), 0);
    weir_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shard_has_its_owners_and_no_aggregator_has_much_more_than_its_share),
        cmocka_unit_test(adding_an_aggregator_moves_little_more_than_its_share),
        cmocka_unit_test(owners_lie_in_different_zones),
        cmocka_unit_test(shards_follow_weights_and_weight_0_owns_none),
        cmocka_unit_test(three_replicas_on_three_aggregators_are_one_on_each),
        cmocka_unit_test(the_placement_is_the_same_for_ever),
        cmocka_unit_test(the_order_of_the_aggregators_in_the_file_does_not_matter),
        cmocka_unit_test(a_map_that_cannot_work_is_refused_with_a_reason),
        cmocka_unit_test(maps_are_equal_when_they_say_the_same),
        cmocka_unit_test(nodes_are_found_by_name_and_their_number_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
