#include "common/daemon/cluster_follow.h"

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/cluster/entry.h"
#include "common/cluster/rebalance.h"
#include "common/daemon/cluster_file.h"
#include "common/daemon/program.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    LEASE_S = 10,
    TURN_MS = 3000,       /* the lease is kept alive, and what the thread is asked to do is seen */
    AGAIN_MS = 30 * 1000, /* all entries are read again, whatever the watch says */
    RETRY_LEAST_MS = 250,
    RETRY_MOST_MS = 5000,
    NOTES_PER_SECOND = 5,
    CACHE_MOST = 256 * 1024
};

static const char entries_prefix[] = "map/";
static const char wanted_prefix[] = "desired/";

/** A change that this node wants. */
enum swap_state { SWAP_NONE, SWAP_ASKED, SWAP_DONE, SWAP_LOST };
struct swap {
    enum swap_state state;
    struct weir_entry entry;
};

struct weir_follow {
    struct weir_loop *loop;
    struct weir_metrics *metrics;
    char *file;
    char *cache;
    char live_key[WEIR_NAME_BYTES + 8]; /* "": not said */
    weir_follow_fn *changed;
    weir_follow_swapped_fn *swapped;
    void (*on_wanted)(void *ctx);
    void *ctx;

    int news;                    /* an eventfd: there is something for the loop; -1: nothing is followed */
    struct weir_mapstore *store; /* the thread's; NULL: the map is the file's */
    pthread_t thread;
    bool has_thread;
    int64_t lease;
    int64_t read_mono_ms;
    bool is_lost;
    bool cache_due;    /* what is taken is not in the cache yet */
    bool cache_failed; /* ... and that has been said */
    unsigned jitter;
    struct weir_log_limit notes;
    int64_t revisions[WEIR_SHARDS]; /* of the store, of each entry */
    int64_t wanted_revisions[WEIR_SHARDS];
    struct weir_entries *taken; /* as the thread knows them */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t stir;
    struct weir_entries *known; /* as the loop shall know them */
    struct weir_entries *wanted;
    struct swap *swaps; /* of WEIR_SHARDS */
    bool is_new;
    bool has_swaps; /* for the thread to carry out */
    bool has_wanted;
    bool has_swapped;
    bool doubted; /* read them all again */
    bool stopping;

    struct weir_map *base; /* the loop's: the file, placed */
    struct weir_map *last; /* ... and the map as it was given out last */
};

/* ---- the file of the last map ---- */

static void read_cache(struct weir_follow *follow)
{
    struct weir_buf text = WEIR_BUF_INIT;
    struct weir_why why = {""};
    char quoted[600];
    int rc = weir_file_load(follow->cache, CACHE_MOST, &text);
    if (rc == WEIR_ENOTFOUND) return;
    if (rc < 0)
        weir_why_set(&why, rc, "%s", weir_err_text(rc));
    else
        rc = weir_entries_parse(weir_buf_view(&text), follow->taken, &why);
    weir_buf_fini(&text);
    if (rc == 0) {
        weir_log(WEIR_LOG_WARN, "map.from_cache", "file=%s", follow->cache);
        return;
    }
    memset(follow->taken, 0, sizeof *follow->taken);
    weir_log(WEIR_LOG_WARN, "map.cache_unreadable", "file=%s reason=%s", follow->cache,
             weir_log_quote(why.text, quoted, sizeof quoted));
}

/** Put the map into its file, whole or not at all. */
static int replace_cache(const struct weir_follow *follow)
{
    char folder[WEIR_PATH_BYTES];
    struct weir_buf text = WEIR_BUF_INIT;
    const char *slash = strrchr(follow->cache, '/');
    if (slash == NULL)
        snprintf(folder, sizeof folder, ".");
    else
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - follow->cache) + 1, follow->cache);
    weir_entries_print(follow->taken, &text);
    const struct weir_view part = weir_buf_view(&text);
    int rc = text.failed ? WEIR_ENOMEM : weir_file_replace(folder, follow->cache, &part, 1, true);
    weir_buf_fini(&text);
    return rc;
}

static void write_cache(struct weir_follow *follow)
{
    int rc = replace_cache(follow);
    follow->cache_due = rc < 0;
    if (rc == 0) {
        follow->cache_failed = false;
        return;
    }
    weir_metrics_add(follow->metrics, WEIR_DAEMON_COUNT_map_cache_errors, 1);
    if (!follow->cache_failed)
        weir_log(WEIR_LOG_WARN, "map.cache_unwritten", "file=%s reason=\"%s\" action=\"try again\"", follow->cache,
                 weir_err_text(rc));
    follow->cache_failed = true;
}

/* ---- entries ---- */

static void refuse_entry(struct weir_follow *follow, const char *key, const char *reason)
{
    char quoted[600];
    uint64_t held_back = 0;
    weir_metrics_add(follow->metrics, WEIR_DAEMON_COUNT_map_refused, 1);
    if (!weir_log_allowed(&follow->notes, weir_mono_ms(), NOTES_PER_SECOND, &held_back)) return;
    weir_log(WEIR_LOG_ERROR, "map.entry_refused", "key=%s reason=%s held_back=%" PRIu64, key,
             weir_log_quote(reason, quoted, sizeof quoted), held_back);
}

/** What the store says that a shard shall become: the newest word counts. */
static void take_wanted(struct weir_follow *follow, const struct weir_mapstore_item *item, uint32_t shard,
                        const char *key)
{
    struct weir_entry entry = {0};
    struct weir_why why = {""};
    if (item->revision <= follow->wanted_revisions[shard]) return;
    follow->wanted_revisions[shard] = item->revision;
    if (!item->gone && weir_entry_parse(item->value, &entry, &why) < 0) {
        refuse_entry(follow, key, why.text);
        return;
    }
    pthread_mutex_lock(&follow->lock);
    follow->wanted->at[shard] = entry;
    follow->has_wanted = true;
    pthread_mutex_unlock(&follow->lock);
}

/** What the store says of a shard becomes what we know, if it is newer. */
static void take_shard(struct weir_follow *follow, const struct weir_mapstore_item *item, uint32_t shard,
                       const char *key)
{
    struct weir_entry entry;
    struct weir_why why = {""};
    if (item->revision <= follow->revisions[shard]) return; /* read, or watched, twice */
    follow->revisions[shard] = item->revision;
    struct weir_entry *known = &follow->taken->at[shard];
    if (item->gone) {
        refuse_entry(follow, key, "the entry is gone; what was known goes on");
    } else if (weir_entry_parse(item->value, &entry, &why) < 0) {
        refuse_entry(follow, key, why.text);
    } else if (entry.epoch < known->epoch) {
        refuse_entry(follow, key, "its epoch is older than one that was in force: was the store set back?");
    } else if (entry.epoch == known->epoch && !weir_entry_equal(&entry, known)) {
        refuse_entry(follow, key, "other owners under the same epoch: was the store set back?");
    } else if (entry.epoch > known->epoch) {
        *known = entry;
        follow->cache_due = true;
        pthread_mutex_lock(&follow->lock);
        follow->known->at[shard] = entry;
        follow->is_new = true;
        pthread_mutex_unlock(&follow->lock);
    }
}

static void take_item(void *ctx, const struct weir_mapstore_item *item)
{
    struct weir_follow *follow = ctx;
    char key[WEIR_MAPSTORE_KEY_MOST * 2 + 3];
    int shard = weir_mapstore_shard(item->key, entries_prefix);
    int wanted = weir_mapstore_shard(item->key, wanted_prefix);
    weir_log_quote(item->key, key, sizeof key);
    if (shard >= 0) {
        take_shard(follow, item, (uint32_t)shard, key);
    } else if (wanted >= 0) {
        take_wanted(follow, item, (uint32_t)wanted, key);
    } else if (strncmp(item->key, entries_prefix, sizeof entries_prefix - 1) == 0) {
        refuse_entry(follow, key, "not the key of a shard");
    }
}

/** Keep and hand over what is new, if there is something. */
static void publish(struct weir_follow *follow)
{
    if (follow->cache_due) write_cache(follow);
    pthread_mutex_lock(&follow->lock);
    bool is_new = follow->is_new || follow->has_wanted || follow->has_swapped;
    pthread_mutex_unlock(&follow->lock);
    uint64_t one = 1;
    if (is_new && follow->has_thread && write(follow->news, &one, sizeof one) < 0) {
        weir_log(WEIR_LOG_DEBUG, "map.told_already", "reason=\"%s\"",
                 strerror(errno)); /* the loop has not looked yet */
    }
}

/* ---- the thread ---- */

static void set_lost(struct weir_follow *follow, bool lost, const char *reason)
{
    char quoted[600];
    weir_metrics_set(follow->metrics, WEIR_DAEMON_COUNT_map_store_lost, lost);
    if (lost) weir_metrics_add(follow->metrics, WEIR_DAEMON_COUNT_map_store_errors, 1);
    if (lost == follow->is_lost) return;
    follow->is_lost = lost;
    if (lost) {
        weir_log(WEIR_LOG_WARN, "map.store_lost", "reason=%s action=\"go on with the map that is known\"",
                 weir_log_quote(reason, quoted, sizeof quoted));
    } else {
        weir_log(WEIR_LOG_INFO, "map.store_back", "store=%s", follow->store->ops->name);
    }
}

static int read_all(struct weir_follow *follow, bool stale, int64_t *revision, struct weir_why *why)
{
    int rc = weir_mapstore_get(follow->store, "", stale, take_item, follow, revision, why);
    if (rc == 0) follow->read_mono_ms = weir_mono_ms();
    return rc;
}

/** Say that this node lives. A hint to people and to other nodes, so failing to say it is no more than a failed request. */
static int keep_alive(struct weir_follow *follow, struct weir_why *why)
{
    if (follow->live_key[0] == '\0') return 0;
    bool is_new = follow->lease == 0;
    int rc = weir_mapstore_lease(follow->store, LEASE_S, &follow->lease, why);
    if (rc == WEIR_ENOTFOUND) {
        is_new = true;
        follow->lease = 0;
        rc = weir_mapstore_lease(follow->store, LEASE_S, &follow->lease, why);
    }
    if (rc < 0 || !is_new) return rc;
    rc = weir_mapstore_cas(follow->store, follow->live_key, 0, weir_view_text(WEIR_VERSION), follow->lease, why);
    if (rc != WEIR_EEXIST) return rc;
    follow->lease = 0; /* that of our last life is still there: ours takes its place when it has ended */
    return 0;
}

/** One swap: is it settled, and how? What the store says afterwards decides, since an answer may get lost on its way. */
static int swap_one(struct weir_follow *follow, uint32_t shard, const struct weir_entry *next, enum swap_state *ret,
                    struct weir_why *why)
{
    char key[32];
    int64_t revision = 0;
    const struct weir_entry *known = &follow->taken->at[shard];
    struct weir_buf text = WEIR_BUF_INIT;
    snprintf(key, sizeof key, "%s%u", entries_prefix, shard);
    weir_entry_print(next, &text);
    int rc = text.failed ? WEIR_ENOMEM : 0;
    if (rc == 0 && known->epoch + 1 == next->epoch) {
        rc = weir_mapstore_cas(follow->store, key, follow->revisions[shard], weir_buf_view(&text), 0, why);
        if (rc == WEIR_EEXIST) rc = 0;
        if (rc == 0) rc = weir_mapstore_get(follow->store, key, false, take_item, follow, &revision, why);
    }
    weir_buf_fini(&text);
    if (rc < 0) return rc;
    *ret = weir_entry_equal(known, next) ? SWAP_DONE : SWAP_LOST;
    return 0;
}

/** All swaps that are asked for. What the store does not settle now stays asked for. */
static int carry_out_swaps(struct weir_follow *follow, struct weir_why *why)
{
    int rc = 0;
    pthread_mutex_lock(&follow->lock);
    bool any = follow->has_swaps;
    follow->has_swaps = false;
    for (uint32_t shard = 0; any && rc == 0 && shard < WEIR_SHARDS; shard++) {
        struct swap *swap = &follow->swaps[shard];
        if (swap->state != SWAP_ASKED) continue;
        struct weir_entry next = swap->entry; /* the loop leaves it alone while it is asked for */
        enum swap_state state = SWAP_ASKED;
        pthread_mutex_unlock(&follow->lock);
        rc = swap_one(follow, shard, &next, &state, why);
        pthread_mutex_lock(&follow->lock);
        swap->state = state;
        follow->has_swapped |= rc == 0;
        follow->has_swaps |= rc < 0;
    }
    pthread_mutex_unlock(&follow->lock);
    return rc;
}

static bool must_stop(struct weir_follow *follow)
{
    pthread_mutex_lock(&follow->lock);
    bool stopping = follow->stopping;
    pthread_mutex_unlock(&follow->lock);
    return stopping;
}

static bool take_doubt(struct weir_follow *follow)
{
    pthread_mutex_lock(&follow->lock);
    bool doubted = follow->doubted;
    follow->doubted = false;
    pthread_mutex_unlock(&follow->lock);
    return doubted || weir_mono_ms() - follow->read_mono_ms >= AGAIN_MS;
}

/** Read all, then follow until something fails or the thread shall end. Returns why it ended. */
static int follow_store(struct weir_follow *follow, struct weir_why *why)
{
    int64_t revision = 0;
    int rc = read_all(follow, false, &revision, why);
    if (rc < 0) return rc;
    set_lost(follow, false, "");
    publish(follow);
    int64_t from = revision + 1;
    int64_t alive_mono_ms = weir_mono_ms() - TURN_MS;
    while (!must_stop(follow)) {
        if (weir_mono_ms() - alive_mono_ms >= TURN_MS) {
            rc = keep_alive(follow, why);
            if (rc < 0) return rc;
            alive_mono_ms = weir_mono_ms();
        }
        if (take_doubt(follow)) rc = read_all(follow, false, &revision, why);
        if (rc == 0) rc = carry_out_swaps(follow, why);
        publish(follow);
        if (rc == 0) rc = weir_mapstore_watch(follow->store, "", from, TURN_MS, take_item, follow, why);
        publish(follow);
        if (rc < 0) return rc;
        rc = 0;
    }
    return 0;
}

/** Between @least and twice that, so that many nodes do not come back at the same moment. */
static void rest(struct weir_follow *follow, int64_t least_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + (least_ms + rand_r(&follow->jitter) % least_ms) * 1000000;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&follow->lock);
    while (!follow->stopping && !follow->doubted) {
        if (pthread_cond_timedwait(&follow->stir, &follow->lock, &until) == ETIMEDOUT) break;
    }
    pthread_mutex_unlock(&follow->lock);
}

static void *run(void *ctx)
{
    struct weir_follow *follow = ctx;
    int64_t retry_ms = RETRY_LEAST_MS;
    while (!must_stop(follow)) {
        struct weir_why why = {""};
        int64_t began_mono_ms = weir_mono_ms();
        int rc = follow_store(follow, &why);
        if (rc == 0) continue;
        if (weir_mono_ms() - began_mono_ms > AGAIN_MS) retry_ms = RETRY_LEAST_MS;
        if (rc != WEIR_ENOTFOUND) set_lost(follow, true, why.text);
        rest(follow, retry_ms);
        retry_ms = retry_ms * 2 > RETRY_MOST_MS ? RETRY_MOST_MS : retry_ms * 2;
    }
    return NULL;
}

/* ---- the loop ---- */

/** The file's map with the entries in it. A name that the file does not have leaves the shard as it was given out last. */
static struct weir_map *overlay(struct weir_follow *follow)
{
    struct weir_map *map = weir_malloc(sizeof *map);
    if (map == NULL) return NULL;
    *map = *follow->base;
    map->epoch = 1;
    pthread_mutex_lock(&follow->lock);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        const struct weir_entry *entry = &follow->known->at[shard];
        struct weir_why why = {""};
        char key[32];
        map->shards[shard] = (struct weir_shard){0};
        if (entry->epoch > 0 && weir_entry_resolve(entry, map, &map->shards[shard], &why) < 0) {
            snprintf(key, sizeof key, "%s%u", entries_prefix, shard);
            weir_metrics_add(follow->metrics, WEIR_DAEMON_COUNT_map_refused, 1);
            weir_log(WEIR_LOG_ERROR, "map.unknown_node", "key=%s file=%s reason=\"%s\"", key, follow->file, why.text);
            if (follow->last != NULL) {
                struct weir_entry before;
                weir_entry_of(follow->last, &follow->last->shards[shard], &before);
                if (weir_entry_resolve(&before, map, &map->shards[shard], NULL) < 0)
                    map->shards[shard] = (struct weir_shard){0};
            }
        }
        map->epoch += map->shards[shard].epoch;
    }
    pthread_mutex_unlock(&follow->lock);
    return map;
}

/** A copy of what is given out now, for the next time. */
static void remember(struct weir_follow *follow, const struct weir_map *map)
{
    if (follow->last == NULL) follow->last = weir_malloc(sizeof *follow->last);
    if (follow->last != NULL) *follow->last = *map;
}

static void give_out(struct weir_follow *follow)
{
    struct weir_map *map = overlay(follow);
    if (map == NULL) {
        weir_log(WEIR_LOG_ERROR, "map.no_memory", "action=\"the map before goes on\"");
        return;
    }
    weir_metrics_add(follow->metrics, WEIR_DAEMON_COUNT_map_changes, 1);
    remember(follow, map);
    follow->changed(follow->ctx, map);
}

static void tell_swapped(struct weir_follow *follow)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        pthread_mutex_lock(&follow->lock);
        enum swap_state state = follow->swaps[shard].state;
        bool settled = state == SWAP_DONE || state == SWAP_LOST;
        if (settled) follow->swaps[shard].state = SWAP_NONE;
        pthread_mutex_unlock(&follow->lock);
        if (settled) follow->swapped(follow->ctx, shard, state == SWAP_DONE);
    }
}

static void on_news(void *ctx)
{
    struct weir_follow *follow = ctx;
    uint64_t count = 0;
    if (read(follow->news, &count, sizeof count) < 0) return;
    pthread_mutex_lock(&follow->lock);
    bool is_new = follow->is_new, has_wanted = follow->has_wanted, has_swapped = follow->has_swapped;
    follow->is_new = false;
    follow->has_wanted = false;
    follow->has_swapped = false;
    pthread_mutex_unlock(&follow->lock);
    if (is_new) give_out(follow);
    if (has_swapped) tell_swapped(follow);
    if (has_wanted && follow->on_wanted != NULL) follow->on_wanted(follow->ctx);
}

bool weir_follow_can_swap(const struct weir_follow *follow)
{
    return follow->store != NULL && follow->swapped != NULL;
}

int weir_follow_swap(struct weir_follow *follow, uint32_t shard, const struct weir_shard *next)
{
    if (!weir_follow_can_swap(follow)) return WEIR_EUNSUPPORTED;
    pthread_mutex_lock(&follow->lock);
    struct swap *swap = &follow->swaps[shard];
    bool is_free = swap->state == SWAP_NONE;
    if (is_free) {
        weir_entry_of(follow->base, next, &swap->entry);
        swap->state = SWAP_ASKED;
        follow->has_swaps = true;
    }
    pthread_mutex_unlock(&follow->lock);
    if (is_free) weir_mapstore_wake(follow->store);
    return is_free ? 0 : WEIR_EAGAIN;
}

uint64_t weir_follow_wanted(struct weir_follow *follow, uint32_t shard)
{
    struct weir_shard wanted = {0};
    uint64_t nodes = 0;
    if (follow->store == NULL) return 0;
    pthread_mutex_lock(&follow->lock);
    const struct weir_entry *entry = &follow->wanted->at[shard];
    if (entry->epoch > 0 && weir_entry_resolve(entry, follow->base, &wanted, NULL) < 0) wanted.member_count = 0;
    pthread_mutex_unlock(&follow->lock);
    for (uint32_t i = 0; i < wanted.member_count; i++)
        nodes |= 1ull << wanted.members[i];
    return nodes;
}

int weir_follow_read(struct weir_follow *follow, struct weir_map **ret, struct weir_why *why)
{
    struct weir_map *base = NULL;
    enum weir_map_kind kind;
    int rc = weir_cluster_file_read_kind(follow->file, &base, &kind, why);
    if (rc < 0) return rc;
    if ((kind == WEIR_MAP_ETCD) != (follow->store != NULL)) {
        weir_map_free(base);
        return weir_why_set(why, WEIR_EPARAM, "%s: another kind of `map` needs a restart", follow->file);
    }
    if (follow->store == NULL) {
        *ret = base;
        return 0;
    }
    weir_map_free(follow->base);
    follow->base = base;
    struct weir_map *map = overlay(follow);
    if (map == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    remember(follow, map);
    pthread_mutex_lock(&follow->lock);
    follow->doubted = true;
    pthread_cond_signal(&follow->stir);
    pthread_mutex_unlock(&follow->lock);
    weir_mapstore_wake(follow->store);
    *ret = map;
    return 0;
}

/* ---- life ---- */

static bool knows_something(const struct weir_follow *follow)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        if (follow->taken->at[shard].epoch > 0) return true;
    }
    return false;
}

/** What is known before the store answers, and what it says first. */
static void begin(struct weir_follow *follow)
{
    struct weir_why why = {""};
    int64_t revision = 0;
    read_cache(follow);
    *follow->known = *follow->taken;
    int rc = read_all(follow, false, &revision, &why);
    if (rc < 0) {
        struct weir_why second = {""};
        set_lost(follow, true, why.text);
        if (!knows_something(follow)) (void)read_all(follow, true, &revision, &second);
        if (!knows_something(follow))
            weir_log(WEIR_LOG_ERROR, "map.unknown", "action=\"no shard has members until the store answers\"");
    } else if (!knows_something(follow)) {
        weir_log(WEIR_LOG_ERROR, "map.empty",
                 "action=\"no shard has members until `weir cluster rebalance` makes them\"");
    }
    publish(follow);
}

static void init_lock(struct weir_follow *follow)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&follow->lock, NULL);
    pthread_cond_init(&follow->stir, &attributes);
    pthread_condattr_destroy(&attributes);
}

static int start_thread(struct weir_follow *follow)
{
    begin(follow);
    follow->is_new = false;
    follow->has_wanted = false;
    if (follow->loop == NULL) return 0;
    follow->news = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (follow->news < 0) return WEIR_ENOMEM;
    int rc = weir_loop_add_fd(follow->loop, follow->news, on_news, follow);
    if (rc < 0) return rc;
    if (pthread_create(&follow->thread, NULL, run, follow) != 0) return WEIR_ENOMEM;
    follow->has_thread = true;
    return 0;
}

int weir_follow_create(const struct weir_follow_conf *conf, struct weir_follow **ret, struct weir_why *why)
{
    enum weir_map_kind kind;
    int rc = WEIR_ENOMEM;
    struct weir_follow *follow = weir_calloc(1, sizeof *follow);
    if (follow == NULL) {
        weir_mapstore_destroy(conf->store);
        return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    }
    init_lock(follow);
    follow->news = -1;
    follow->store = conf->store;
    follow->loop = conf->loop;
    follow->metrics = conf->metrics;
    follow->changed = conf->changed;
    follow->swapped = conf->swapped;
    follow->on_wanted = conf->wanted;
    follow->ctx = conf->ctx;
    follow->jitter = (unsigned)weir_mono_us();
    if (conf->self != NULL) snprintf(follow->live_key, sizeof follow->live_key, "live/%s", conf->self);
    follow->file = weir_strdup(conf->file);
    follow->cache = weir_strdup(conf->cache);
    follow->taken = weir_calloc(1, sizeof *follow->taken);
    follow->known = weir_calloc(1, sizeof *follow->known);
    follow->wanted = weir_calloc(1, sizeof *follow->wanted);
    follow->swaps = weir_calloc(WEIR_SHARDS, sizeof *follow->swaps);
    bool whole = follow->file != NULL && follow->cache != NULL && follow->taken != NULL && follow->known != NULL &&
                 follow->wanted != NULL && follow->swaps != NULL;
    if (!whole) goto fail;

    rc = weir_cluster_file_read_kind(conf->file, &follow->base, &kind, why);
    if (rc < 0) goto fail;
    if (kind == WEIR_MAP_ETCD) {
        if (follow->store == NULL) rc = weir_cluster_store_open(conf->file, &follow->store, why);
        if (rc == 0) rc = start_thread(follow);
        if (rc < 0) goto fail;
    } else {
        weir_log(WEIR_LOG_INFO, "map.static",
                 "file=%s epoch=%u note=\"no automatic failover: an operator changes the file\"", conf->file,
                 follow->base->epoch);
    }
    *ret = follow;
    return 0;

fail:
    weir_follow_destroy(follow);
    return rc == WEIR_ENOMEM ? weir_why_set(why, rc, "out of memory") : rc;
}

void weir_follow_destroy(struct weir_follow *follow)
{
    if (follow == NULL) return;
    if (follow->has_thread) {
        pthread_mutex_lock(&follow->lock);
        follow->stopping = true;
        pthread_cond_signal(&follow->stir);
        pthread_mutex_unlock(&follow->lock);
        weir_mapstore_wake(follow->store);
        pthread_join(follow->thread, NULL);
    }
    if (follow->news >= 0) {
        weir_loop_remove_fd(follow->loop, follow->news);
        close(follow->news);
    }
    pthread_mutex_destroy(&follow->lock);
    pthread_cond_destroy(&follow->stir);
    weir_mapstore_destroy(follow->store);
    weir_map_free(follow->base);
    weir_map_free(follow->last);
    weir_free(follow->file);
    weir_free(follow->cache);
    weir_free(follow->taken);
    weir_free(follow->known);
    weir_free(follow->wanted);
    weir_free(follow->swaps);
    weir_free(follow);
}
