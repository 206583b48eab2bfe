#include "common/base/mem.h"
#include "common/cluster/entry.h"
#include "common/cluster/mapstore_static.h"
#include "tests/support/cluster_map.h"

#include <stdio.h>

#include "tests/support/cmocka.h"

static struct weir_map *two_nodes(void)
{
    struct weir_map *map = cluster_map_of(2, 0, 2);
    map->epoch = 5;
    weir_map_place(map);
    return map;
}

struct reading {
    const struct weir_map *map;
    uint32_t count;
};

static void compare(void *ctx, const struct weir_mapstore_item *item)
{
    struct reading *reading = ctx;
    struct weir_entry entry;
    struct weir_shard shard;
    unsigned number = 0;
    assert_int_equal(sscanf(item->key, "map/%u", &number), 1);
    assert_int_equal(item->revision, 5);
    assert_int_equal(weir_entry_parse(item->value, &entry, NULL), 0);
    assert_int_equal(weir_entry_resolve(&entry, reading->map, &shard, NULL), 0);
    assert_memory_equal(shard.members, reading->map->shards[number].members, 2);
    assert_int_equal(shard.epoch, 5);
    reading->count++;
}

static void a_file_is_read_as_entries_and_cannot_be_changed_or_watched(void **state)
{
    (void)state;
    struct weir_map *map = two_nodes();
    struct weir_mapstore *store = NULL;
    struct weir_why why = {""};
    struct reading reading = {.map = map};
    int64_t revision = 0, lease = 0;
    assert_int_equal(weir_mapstore_static_create(map, &store), 0);
    assert_int_equal(weir_mapstore_get(store, "map/", false, compare, &reading, &revision, &why), 0);
    assert_int_equal(reading.count, WEIR_SHARDS);
    assert_int_equal(revision, 5);
    assert_int_equal(weir_mapstore_get(store, "desired/", false, compare, &reading, &revision, &why), 0);
    assert_int_equal(reading.count, WEIR_SHARDS);
    assert_int_equal(weir_mapstore_cas(store, "map/1", 5, weir_view_text("x"), 0, &why), WEIR_EUNSUPPORTED);
    assert_non_null(strstr(why.text, "static"));
    assert_int_equal(weir_mapstore_lease(store, 10, &lease, &why), WEIR_EUNSUPPORTED);
    weir_mapstore_wake(store); /* else the next line would wait a minute */
    assert_int_equal(weir_mapstore_watch(store, "map/", 6, 60000, compare, &reading, &why), 0);
    assert_int_equal(reading.count, WEIR_SHARDS);
    weir_mapstore_destroy(store);
    weir_free(map);
}

static void a_lack_of_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    struct weir_map *map = two_nodes();
    struct weir_mapstore *store = NULL;
    for (int64_t successes = 0;; successes++) {
        weir_mem_fail_after(successes);
        int rc = weir_mapstore_static_create(map, &store);
        bool failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        if (!failed) break;
    }
    weir_mapstore_destroy(store);
    weir_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_as_entries_and_cannot_be_changed_or_watched),
        cmocka_unit_test(a_lack_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
