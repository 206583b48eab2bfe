/** The map as a program follows it, over a store in memory that a test can break. */
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/cluster/entry.h"
#include "common/daemon/cluster_file.h"
#include "common/daemon/cluster_follow.h"
#include "common/daemon/program.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

enum { KEYS = 2 * WEIR_SHARDS + 8, LOOK_MS = 5, PATIENCE = 10000 / LOOK_MS };

struct key {
    char name[32];
    char value[WEIR_ENTRY_BYTES_MOST + 1];
    int64_t revision;
};

/** A store in memory: the test's thread puts, the follow's thread does the rest. */
struct memory {
    struct weir_mapstore store;
    pthread_mutex_t lock;
    pthread_cond_t stir;
    struct key keys[KEYS];
    uint32_t count;
    int64_t revision;
    bool awake;
    bool gone;           /* nothing is answered */
    bool answer_is_lost; /* of the next swap, which happens all the same; then the store is gone */
};

static struct key *find_key(struct memory *memory, const char *name)
{
    for (uint32_t i = 0; i < memory->count; i++) {
        if (strcmp(memory->keys[i].name, name) == 0) return &memory->keys[i];
    }
    return NULL;
}

static void put_locked(struct memory *memory, const char *name, const char *value)
{
    struct key *key = find_key(memory, name);
    if (key == NULL) key = &memory->keys[memory->count++];
    snprintf(key->name, sizeof key->name, "%s", name);
    snprintf(key->value, sizeof key->value, "%s", value);
    key->revision = ++memory->revision;
    pthread_cond_broadcast(&memory->stir);
}

static void put(struct memory *memory, const char *name, const char *value)
{
    pthread_mutex_lock(&memory->lock);
    put_locked(memory, name, value);
    pthread_mutex_unlock(&memory->lock);
}

static void set_gone(struct memory *memory, bool gone)
{
    pthread_mutex_lock(&memory->lock);
    memory->gone = gone;
    pthread_cond_broadcast(&memory->stir);
    pthread_mutex_unlock(&memory->lock);
}

static void lose_answer(struct memory *memory)
{
    pthread_mutex_lock(&memory->lock);
    memory->answer_is_lost = true;
    pthread_mutex_unlock(&memory->lock);
}

/** It is there again, without anything of what it had. */
static void come_back_empty(struct memory *memory)
{
    pthread_mutex_lock(&memory->lock);
    memory->count = 0;
    memory->gone = false;
    pthread_mutex_unlock(&memory->lock);
}

static int give(struct memory *memory, const char *prefix, int64_t from, weir_mapstore_item_fn *fn, void *ctx)
{
    int given = 0;
    for (uint32_t i = 0; i < memory->count; i++) {
        const struct key *key = &memory->keys[i];
        if (key->revision < from || strncmp(key->name, prefix, strlen(prefix)) != 0) continue;
        fn(ctx, &(struct weir_mapstore_item){
                    .key = key->name, .value = weir_view_text(key->value), .revision = key->revision});
        given++;
    }
    return given;
}

static int memory_get(struct weir_mapstore *store, const char *prefix, bool stale, weir_mapstore_item_fn *fn, void *ctx,
                      int64_t *ret_revision, struct weir_why *why)
{
    struct memory *memory = (struct memory *)store;
    (void)stale;
    pthread_mutex_lock(&memory->lock);
    int rc = memory->gone ? weir_why_set(why, WEIR_EUNREACHABLE, "gone") : 0;
    if (rc == 0) give(memory, prefix, 0, fn, ctx);
    *ret_revision = memory->revision;
    pthread_mutex_unlock(&memory->lock);
    return rc;
}

static int memory_cas(struct weir_mapstore *store, const char *name, int64_t revision, struct weir_view value,
                      int64_t lease, struct weir_why *why)
{
    struct memory *memory = (struct memory *)store;
    char text[WEIR_ENTRY_BYTES_MOST + 1];
    (void)lease;
    snprintf(text, sizeof text, "%.*s", (int)value.size, (const char *)value.data);
    pthread_mutex_lock(&memory->lock);
    const struct key *key = find_key(memory, name);
    int rc = memory->gone ? weir_why_set(why, WEIR_EUNREACHABLE, "gone") : 0;
    if (rc == 0 && (key == NULL ? 0 : key->revision) != revision) rc = WEIR_EEXIST;
    if (rc == 0) put_locked(memory, name, text);
    if (rc == 0 && memory->answer_is_lost) {
        memory->gone = true;
        memory->answer_is_lost = false;
        rc = weir_why_set(why, WEIR_ETIMEOUT, "no answer");
    }
    pthread_mutex_unlock(&memory->lock);
    return rc;
}

static int memory_watch(struct weir_mapstore *store, const char *prefix, int64_t from, int64_t wait_ms,
                        weir_mapstore_item_fn *fn, void *ctx, struct weir_why *why)
{
    static _Thread_local int64_t told; /* the one thread that watches */
    struct memory *memory = (struct memory *)store;
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += wait_ms / 1000;
    pthread_mutex_lock(&memory->lock);
    if (told < from - 1) told = from - 1;
    while (!memory->gone && !memory->awake && memory->revision == told) {
        if (pthread_cond_timedwait(&memory->stir, &memory->lock, &until) == ETIMEDOUT) break;
    }
    memory->awake = false;
    int rc = memory->gone ? weir_why_set(why, WEIR_EUNREACHABLE, "gone") : give(memory, prefix, told + 1, fn, ctx);
    if (rc >= 0) told = memory->revision;
    pthread_mutex_unlock(&memory->lock);
    return rc;
}

static int memory_lease(struct weir_mapstore *store, int64_t ttl_s, int64_t *lease_io, struct weir_why *why)
{
    (void)store, (void)ttl_s, (void)why;
    *lease_io = 1;
    return 0;
}

static void memory_wake(struct weir_mapstore *store)
{
    struct memory *memory = (struct memory *)store;
    pthread_mutex_lock(&memory->lock);
    memory->awake = true;
    pthread_cond_broadcast(&memory->stir);
    pthread_mutex_unlock(&memory->lock);
}

static void memory_destroy(struct weir_mapstore *store)
{
    (void)store; /* it is the fixture's */
}

static const struct weir_mapstore_ops memory_ops = {.name = "memory",
                                                    .get = memory_get,
                                                    .cas = memory_cas,
                                                    .watch = memory_watch,
                                                    .lease = memory_lease,
                                                    .wake = memory_wake,
                                                    .destroy = memory_destroy};

struct fixture {
    char folder[64];
    char file[96];
    char cache[96];
    struct weir_loop *loop;
    struct weir_metrics metrics;
    struct memory memory;
    struct weir_follow *follow;
    struct weir_map *map; /* as it was given out last */
    uint32_t changes, wanted, swapped;
    bool done;                /* what `swapped` said last */
    uint32_t changes_at_swap; /* how many changes there had been by then */
    bool (*until)(const struct fixture *f);
    int looks;
};

static void on_changed(void *ctx, struct weir_map *map)
{
    struct fixture *f = ctx;
    weir_map_free(f->map);
    f->map = map;
    f->changes++;
}

static void on_swapped(void *ctx, uint32_t shard, bool done)
{
    struct fixture *f = ctx;
    assert_int_equal(shard, 0);
    f->swapped++;
    f->done = done;
    f->changes_at_swap = f->changes;
}

static void on_wanted(void *ctx)
{
    ((struct fixture *)ctx)->wanted++;
}

static void look(void *ctx)
{
    struct fixture *f = ctx;
    if (f->until == NULL) return;
    if (f->until(f) || ++f->looks > PATIENCE) weir_loop_stop(f->loop);
}

/** Run the loop until it is so. */
static void run_until(struct fixture *f, bool (*until)(const struct fixture *f))
{
    f->until = until;
    f->looks = 0;
    while (!until(f) && f->looks <= PATIENCE)
        assert_int_equal(weir_loop_run(f->loop), 0);
    assert_true(until(f));
    f->until = NULL;
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static const char members[] =
    "map = \"etcd\"; etcd = (\"http://127.0.0.1:1\"); epoch = 3;\n"
    "aggregators = ({ name = \"agg-1\"; endpoint = \"tcp://192.0.2.1:7002\";\n"
    "  ask_endpoint = \"tcp://192.0.2.1:7003\"; key = \"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\"; },\n"
    "  { name = \"agg-2\"; endpoint = \"tcp://192.0.2.2:7002\";\n"
    "  ask_endpoint = \"tcp://192.0.2.2:7003\"; key = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\"; });\n";

static void start(struct fixture *f)
{
    struct weir_why why = {""};
    struct weir_follow_conf conf = {.loop = f->loop,
                                    .metrics = &f->metrics,
                                    .file = f->file,
                                    .cache = f->cache,
                                    .self = "agg-1",
                                    .store = &f->memory.store,
                                    .changed = on_changed,
                                    .swapped = on_swapped,
                                    .wanted = on_wanted,
                                    .ctx = f};
    int rc = weir_follow_create(&conf, &f->follow, &why);
    if (rc < 0) fail_msg("%s", why.text);
    weir_map_free(f->map);
    f->map = NULL;
    assert_int_equal(weir_follow_read(f->follow, &f->map, &why), 0);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    weir_log_set_level(WEIR_LOG_ERROR);
    strcpy(f->folder, "/tmp/weir-test-follow-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->file, sizeof f->file, "%s/cluster.conf", f->folder);
    snprintf(f->cache, sizeof f->cache, "%s/map", f->folder);
    write_file(f->file, members);
    assert_int_equal(weir_loop_create(&f->loop), 0);
    assert_int_equal(weir_loop_every(f->loop, LOOK_MS, look, f), 0);
    assert_int_equal(weir_metrics_init(&f->metrics, weir_daemon_counter_rows, WEIR_DAEMON_COUNTERS), 0);
    f->memory.store.ops = &memory_ops;
    pthread_mutex_init(&f->memory.lock, NULL);
    pthread_cond_init(&f->memory.stir, NULL);
    put(&f->memory, "map/0", "epoch=3 members=agg-1");
    put(&f->memory, "map/1", "epoch=3 members=agg-2");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    weir_follow_destroy(f->follow);
    weir_map_free(f->map);
    weir_loop_destroy(f->loop);
    weir_metrics_fini(&f->metrics);
    pthread_mutex_destroy(&f->memory.lock);
    pthread_cond_destroy(&f->memory.stir);
    unlink(f->file);
    unlink(f->cache);
    assert_int_equal(rmdir(f->folder), 0);
    free(f);
    return 0;
}

static bool has_swapped(const struct fixture *f)
{
    return f->swapped > 0;
}

static bool has_changed(const struct fixture *f)
{
    return f->changes > 0;
}

static bool has_wanted(const struct fixture *f)
{
    return f->wanted > 0;
}

static bool is_lost(const struct fixture *f)
{
    return weir_metrics_get(&f->metrics, WEIR_DAEMON_COUNT_map_store_lost) == 1;
}

static bool has_refused_three(const struct fixture *f)
{
    return weir_metrics_get(&f->metrics, WEIR_DAEMON_COUNT_map_refused) >= 3;
}

static struct weir_shard joining(void)
{
    return (struct weir_shard){.epoch = 4, .member_count = 1, .members = {0}, .joining_count = 1, .joining = {1}};
}

static void the_map_is_that_of_the_store_and_changes_when_it_does(void **state)
{
    struct fixture *f = *state;
    start(f);
    assert_int_equal(f->map->shards[0].epoch, 3);
    assert_int_equal(f->map->shards[1].members[0], 1);
    assert_int_equal(f->map->shards[2].member_count, 0); /* nobody said whose it is */
    put(&f->memory, "map/2", "epoch=1 members=agg-2");
    run_until(f, has_changed);
    assert_int_equal(f->map->shards[2].members[0], 1);
    assert_int_equal(f->map->shards[0].epoch, 3);
}

static void a_swap_is_told_after_the_map_that_holds_it(void **state)
{
    struct fixture *f = *state;
    struct weir_shard next = joining();
    start(f);
    assert_true(weir_follow_can_swap(f->follow));
    assert_int_equal(weir_follow_swap(f->follow, 0, &next), 0);
    assert_int_equal(weir_follow_swap(f->follow, 0, &next), WEIR_EAGAIN);
    run_until(f, has_swapped);
    assert_true(f->done);
    assert_int_equal(f->changes_at_swap, 1);
    assert_int_equal(f->map->shards[0].epoch, 4);
    assert_int_equal(f->map->shards[0].joining[0], 1);
}

static void a_swap_of_who_comes_second_is_lost_and_what_came_first_is_in_the_map(void **state)
{
    struct fixture *f = *state;
    struct weir_shard next = joining();
    start(f);
    put(&f->memory, "map/0", "epoch=4 members=agg-1,agg-2");
    assert_int_equal(weir_follow_swap(f->follow, 0, &next), 0);
    run_until(f, has_swapped);
    assert_false(f->done);
    assert_int_equal(f->changes_at_swap, 1);
    assert_int_equal(f->map->shards[0].member_count, 2);
}

static void a_swap_whose_answer_was_lost_is_told_as_the_store_has_it(void **state)
{
    struct fixture *f = *state;
    struct weir_shard next = joining();
    start(f);
    lose_answer(&f->memory);
    assert_int_equal(weir_follow_swap(f->follow, 0, &next), 0);
    run_until(f, is_lost);
    assert_int_equal(f->swapped, 0); /* nobody knows yet */
    set_gone(&f->memory, false);
    run_until(f, has_swapped);
    assert_true(f->done);
    assert_int_equal(f->map->shards[0].epoch, 4);
}

static void who_is_wanted_is_told_and_a_name_that_nobody_has_is_not(void **state)
{
    struct fixture *f = *state;
    put(&f->memory, "desired/1", "epoch=3 members=agg-1,agg-2");
    start(f);
    assert_int_equal(weir_follow_wanted(f->follow, 0), 0);
    assert_int_equal(weir_follow_wanted(f->follow, 1), 3);
    put(&f->memory, "desired/0", "epoch=3 members=agg-2");
    put(&f->memory, "desired/2", "epoch=3 members=agg-9");
    run_until(f, has_wanted);
    assert_int_equal(weir_follow_wanted(f->follow, 0), 2);
    assert_int_equal(weir_follow_wanted(f->follow, 2), 0);
    assert_int_equal(f->changes, 0);
}

static void what_is_older_or_nonsense_is_counted_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    start(f);
    put(&f->memory, "map/0", "epoch=2 members=agg-2");
    put(&f->memory, "map/1", "epoch=3 members=agg-1");
    put(&f->memory, "map/2", "nonsense");
    run_until(f, has_refused_three);
    assert_int_equal(f->changes, 0);
    put(&f->memory, "map/3", "epoch=1 members=agg-1");
    run_until(f, has_changed);
    assert_int_equal(f->map->shards[0].members[0], 0);
    assert_int_equal(f->map->shards[1].members[0], 1);
    assert_int_equal(f->map->shards[2].member_count, 0);
}

static void without_the_store_the_last_map_is_used_and_an_emptied_one_does_not_undo_it(void **state)
{
    struct fixture *f = *state;
    start(f);
    weir_follow_destroy(f->follow);
    f->follow = NULL;
    set_gone(&f->memory, true);
    start(f);
    assert_int_equal(f->map->shards[0].epoch, 3);
    assert_int_equal(f->map->shards[1].members[0], 1);
    come_back_empty(&f->memory);
    put(&f->memory, "map/2", "epoch=1 members=agg-2");
    run_until(f, has_changed);
    assert_int_equal(f->map->shards[0].epoch, 3);
    assert_int_equal(f->map->shards[2].members[0], 1);
}

static void a_damaged_cache_is_not_used(void **state)
{
    struct fixture *f = *state;
    write_file(f->cache, "weir map 1\nshard 0 epoch=9 members=agg-2\ncrc32c 00000000\n");
    set_gone(&f->memory, true);
    start(f);
    assert_int_equal(f->map->shards[0].member_count, 0);
}

static void a_lack_of_memory_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    struct weir_why why;
    struct weir_follow_conf conf = {
        .metrics = &f->metrics, .file = f->file, .cache = f->cache, .store = &f->memory.store, .ctx = f};
    set_gone(&f->memory, true);
    for (int64_t successes = 0;; successes++) {
        weir_mem_fail_after(successes);
        int rc = weir_follow_create(&conf, &f->follow, &why);
        bool failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        if (rc == 0 && !failed) break;
        if (rc == 0) weir_follow_destroy(f->follow); /* it can do without, say, the words of a log line */
        f->follow = NULL;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(the_map_is_that_of_the_store_and_changes_when_it_does),
        TEST(a_swap_is_told_after_the_map_that_holds_it),
        TEST(a_swap_of_who_comes_second_is_lost_and_what_came_first_is_in_the_map),
        TEST(a_swap_whose_answer_was_lost_is_told_as_the_store_has_it),
        TEST(who_is_wanted_is_told_and_a_name_that_nobody_has_is_not),
        TEST(what_is_older_or_nonsense_is_counted_and_changes_nothing),
        TEST(without_the_store_the_last_map_is_used_and_an_emptied_one_does_not_undo_it),
        TEST(a_damaged_cache_is_not_used),
        TEST(a_lack_of_memory_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
