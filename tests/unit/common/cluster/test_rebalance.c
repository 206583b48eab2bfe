/** What is read from a store and put into it, against a store in memory. */
#include "common/base/mem.h"
#include "common/cluster/entry.h"
#include "common/cluster/mapstore_static.h"
#include "common/cluster/rebalance.h"

#include <stdio.h>

#include "tests/support/cmocka.h"

enum { KEYS = 2 * WEIR_SHARDS + 8 };

struct key {
    char name[32];
    char value[WEIR_ENTRY_BYTES_MOST];
    int64_t revision;
};

/** A store in memory. */
struct memory {
    struct weir_mapstore store;
    struct key keys[KEYS];
    uint32_t count;
    int64_t revision;
    uint32_t writes;
    int64_t race_after; /* somebody else comes first at this write; 0: nobody does */
    bool no_quorum;
};

static int memory_get(struct weir_mapstore *store, const char *prefix, bool stale, weir_mapstore_item_fn *fn, void *ctx,
                      int64_t *ret_revision, struct weir_why *why)
{
    struct memory *memory = (struct memory *)store;
    if (memory->no_quorum && !stale) return weir_why_set(why, WEIR_ETIMEOUT, "no quorum");
    for (uint32_t i = 0; i < memory->count; i++) {
        const struct key *key = &memory->keys[i];
        if (strncmp(key->name, prefix, strlen(prefix)) != 0) continue;
        fn(ctx, &(struct weir_mapstore_item){
                    .key = key->name, .value = weir_view_text(key->value), .revision = key->revision});
    }
    *ret_revision = memory->revision;
    return 0;
}

static struct key *memory_put(struct memory *memory, const char *name, const char *value)
{
    struct key *key = NULL;
    for (uint32_t i = 0; i < memory->count; i++) {
        if (strcmp(memory->keys[i].name, name) == 0) key = &memory->keys[i];
    }
    if (key == NULL) {
        assert_true(memory->count < KEYS);
        key = &memory->keys[memory->count++];
    }
    snprintf(key->name, sizeof key->name, "%s", name);
    snprintf(key->value, sizeof key->value, "%s", value);
    key->revision = ++memory->revision;
    return key;
}

static int memory_cas(struct weir_mapstore *store, const char *name, int64_t revision, struct weir_view value,
                      int64_t lease, struct weir_why *why)
{
    struct memory *memory = (struct memory *)store;
    char text[WEIR_ENTRY_BYTES_MOST + 1];
    int64_t now = 0;
    (void)lease;
    if (++memory->writes == memory->race_after) memory_put(memory, name, "epoch=99 members=agg-1");
    for (uint32_t i = 0; i < memory->count; i++) {
        if (strcmp(memory->keys[i].name, name) == 0) now = memory->keys[i].revision;
    }
    if (now != revision) return weir_why_set(why, WEIR_EEXIST, "%s was changed", name);
    snprintf(text, sizeof text, "%.*s", (int)value.size, (const char *)value.data);
    memory_put(memory, name, text);
    return 0;
}

static const struct weir_mapstore_ops memory_ops = {.name = "memory", .get = memory_get, .cas = memory_cas};

struct bench {
    struct memory memory;
    struct weir_map file;
    struct weir_cluster_view view;
    struct weir_rebalanced done;
    struct weir_why why;
};

static struct bench *bench_make(uint32_t nodes)
{
    struct bench *b = weir_calloc(1, sizeof *b);
    assert_non_null(b);
    b->memory.store.ops = &memory_ops;
    weir_map_init(&b->file);
    b->file.epoch = 5;
    b->file.replication = 2;
    for (uint32_t i = 1; i <= nodes; i++) {
        struct weir_node node = {.weight = WEIR_WEIGHT_DEFAULT};
        snprintf(node.name, sizeof node.name, "agg-%u", i);
        assert_int_equal(weir_map_add_aggregator(&b->file, &node), 0);
    }
    weir_map_place(&b->file);
    return b;
}

static void read_view(struct bench *b)
{
    assert_int_equal(weir_cluster_view_read(&b->memory.store, &b->file, false, &b->view, &b->why), 0);
}

static int rebalance(struct bench *b, bool dry)
{
    read_view(b);
    return weir_cluster_rebalance(&b->memory.store, &b->view, dry, &b->done, &b->why);
}

static void a_new_cluster_gets_what_the_file_gives_it_and_is_left_alone_after_that(void **state)
{
    (void)state;
    struct bench *b = bench_make(3);
    assert_int_equal(rebalance(b, true), 0);
    assert_int_equal(b->done.made, WEIR_SHARDS);
    assert_int_equal(b->memory.writes, 0);
    assert_int_equal(rebalance(b, false), 0);
    assert_int_equal(b->done.made, WEIR_SHARDS);
    assert_int_equal(b->done.put, WEIR_SHARDS);
    read_view(b);
    assert_memory_equal(b->view.map.shards, b->file.shards, sizeof b->file.shards); /* epoch 5 too */
    uint32_t writes = b->memory.writes;
    assert_int_equal(rebalance(b, false), 0);
    assert_int_equal(b->done.made + b->done.put, 0);
    assert_int_equal(b->memory.writes, writes);
    weir_free(b);
}

static void a_newcomer_is_wanted_for_its_share_and_owners_stay_as_they_are(void **state)
{
    (void)state;
    struct bench *b = bench_make(3);
    assert_int_equal(rebalance(b, false), 0);
    struct weir_node node = {.weight = WEIR_WEIGHT_DEFAULT, .name = "agg-4"};
    assert_int_equal(weir_map_add_aggregator(&b->file, &node), 0);
    assert_int_equal(rebalance(b, false), 0);
    assert_int_equal(b->done.made, 0);
    uint32_t wanted = 0, owned = 0;
    read_view(b);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        assert_int_equal(b->view.desired[shard].member_count, 2);
        for (uint32_t i = 0; i < 2; i++) {
            wanted += b->view.desired[shard].members[i] == 3;
            owned += b->view.map.shards[shard].members[i] == 3;
        }
    }
    assert_int_equal(wanted, 64); /* 2 * 128 / 4 */
    assert_int_equal(owned, 0);
    assert_int_equal(b->done.moves, 64);
    weir_free(b);
}

static void who_comes_second_is_told_and_writes_over_nobody(void **state)
{
    (void)state;
    struct bench *b = bench_make(3);
    b->memory.race_after = 10;
    assert_int_equal(rebalance(b, false), WEIR_EEXIST);
    read_view(b);
    assert_int_equal(b->view.map.shards[9].epoch, 99);
    assert_int_equal(rebalance(b, false), 0); /* and the next one goes on from there */
    assert_int_equal(b->done.made, WEIR_SHARDS - 10);
    read_view(b);
    assert_int_equal(b->view.map.shards[9].epoch, 99);
    weir_free(b);
}

static void an_entry_that_cannot_be_read_is_not_written_over(void **state)
{
    (void)state;
    static const char *const texts[] = {"epoch=1 members=agg-1 leaving=agg-2", "epoch=1 members=agg-1,agg-9"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct bench *b = bench_make(3);
        assert_int_equal(rebalance(b, false), 0);
        memory_put(&b->memory, "map/17", texts[i]);
        uint32_t writes = b->memory.writes;
        assert_int_equal(rebalance(b, false), WEIR_EPARAM);
        assert_int_equal(b->view.refused, 1);
        assert_non_null(strstr(b->why.text, "map/17"));
        assert_int_equal(b->memory.writes, writes);
        weir_free(b);
    }
}

static void who_lives_is_seen_and_without_a_quorum_the_view_says_that_it_may_be_old(void **state)
{
    (void)state;
    struct bench *b = bench_make(3);
    memory_put(&b->memory, "live/agg-2", "0.1.0");
    memory_put(&b->memory, "live/somebody", "0.1.0");
    memory_put(&b->memory, "map/128", "not ours");
    memory_put(&b->memory, "map/017", "not ours");
    read_view(b);
    assert_false(b->view.live[0]);
    assert_true(b->view.live[1]);
    assert_false(b->view.stale);
    assert_int_equal(b->view.refused, 0);
    b->memory.no_quorum = true;
    assert_int_equal(weir_cluster_view_read(&b->memory.store, &b->file, false, &b->view, &b->why), WEIR_ETIMEOUT);
    assert_int_equal(weir_cluster_view_read(&b->memory.store, &b->file, true, &b->view, &b->why), 0);
    assert_true(b->view.stale);
    assert_true(b->view.live[1]);
    weir_free(b);
}

static void a_file_is_shown_and_cannot_be_changed(void **state)
{
    (void)state;
    struct bench *b = bench_make(3);
    struct weir_mapstore *store = NULL;
    assert_int_equal(weir_mapstore_static_create(&b->file, &store), 0);
    assert_int_equal(weir_cluster_view_read(store, &b->file, false, &b->view, &b->why), 0);
    assert_memory_equal(b->view.map.shards, b->file.shards, sizeof b->file.shards);
    assert_int_equal(weir_cluster_rebalance(store, &b->view, false, &b->done, &b->why), WEIR_EUNSUPPORTED);
    weir_mapstore_destroy(store);
    weir_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_cluster_gets_what_the_file_gives_it_and_is_left_alone_after_that),
        cmocka_unit_test(a_newcomer_is_wanted_for_its_share_and_owners_stay_as_they_are),
        cmocka_unit_test(who_comes_second_is_told_and_writes_over_nobody),
        cmocka_unit_test(an_entry_that_cannot_be_read_is_not_written_over),
        cmocka_unit_test(who_lives_is_seen_and_without_a_quorum_the_view_says_that_it_may_be_old),
        cmocka_unit_test(a_file_is_shown_and_cannot_be_changed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
