#include "common/cluster/mapstore_static.h"

#include "common/base/mem.h"
#include "common/cluster/entry.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct fixed {
    struct weir_mapstore store;
    struct weir_map *map;
    int stir; /* ends a watch */
};

static int fixed_get(struct weir_mapstore *store, const char *prefix, bool stale, weir_mapstore_item_fn *fn, void *ctx,
                     int64_t *ret_revision, struct weir_why *why)
{
    const struct fixed *fixed = (const struct fixed *)store;
    struct weir_buf value = WEIR_BUF_INIT;
    (void)stale;
    for (uint32_t shard = 0; shard < WEIR_SHARDS && !value.failed; shard++) {
        struct weir_entry entry;
        char key[32];
        snprintf(key, sizeof key, "map/%u", shard);
        if (strncmp(key, prefix, strlen(prefix)) != 0) continue;
        weir_buf_clear(&value);
        weir_entry_of(fixed->map, &fixed->map->shards[shard], &entry);
        weir_entry_print(&entry, &value);
        if (value.failed) break;
        fn(ctx,
           &(struct weir_mapstore_item){.key = key, .value = weir_buf_view(&value), .revision = fixed->map->epoch});
    }
    bool failed = value.failed;
    weir_buf_fini(&value);
    *ret_revision = fixed->map->epoch;
    return failed ? weir_why_set(why, WEIR_ENOMEM, "out of memory") : 0;
}

static int is_fixed(struct weir_why *why)
{
    return weir_why_set(why, WEIR_EUNSUPPORTED,
                        "the map is a file (map = \"static\" in cluster.conf): change the file, with a higher epoch");
}

static int fixed_cas(struct weir_mapstore *store, const char *key, int64_t revision, struct weir_view value,
                     int64_t lease, struct weir_why *why)
{
    (void)store, (void)key, (void)revision, (void)value, (void)lease;
    return is_fixed(why);
}

static int fixed_lease(struct weir_mapstore *store, int64_t ttl_s, int64_t *lease_io, struct weir_why *why)
{
    (void)store, (void)ttl_s, (void)lease_io;
    return is_fixed(why);
}

static int fixed_watch(struct weir_mapstore *store, const char *prefix, int64_t from, int64_t wait_ms,
                       weir_mapstore_item_fn *fn, void *ctx, struct weir_why *why)
{
    const struct fixed *fixed = (const struct fixed *)store;
    struct pollfd stir = {.fd = fixed->stir, .events = POLLIN};
    uint64_t count = 0;
    (void)prefix, (void)from, (void)fn, (void)ctx;
    if (poll(&stir, 1, (int)wait_ms) < 0 && errno != EINTR)
        return weir_why_set(why, WEIR_EIO, "poll: %s", strerror(errno));
    if (read(fixed->stir, &count, sizeof count) < 0 && errno != EAGAIN) return WEIR_EIO;
    return 0;
}

static void fixed_wake(struct weir_mapstore *store)
{
    uint64_t one = 1;
    ssize_t put = write(((struct fixed *)store)->stir, &one, sizeof one);
    (void)put; /* full: it is awake */
}

static void fixed_destroy(struct weir_mapstore *store)
{
    struct fixed *fixed = (struct fixed *)store;
    if (fixed->stir >= 0) close(fixed->stir);
    weir_free(fixed->map);
    weir_free(fixed);
}

static const struct weir_mapstore_ops fixed_ops = {
    .name = "static",
    .get = fixed_get,
    .cas = fixed_cas,
    .watch = fixed_watch,
    .lease = fixed_lease,
    .wake = fixed_wake,
    .destroy = fixed_destroy,
};

int weir_mapstore_static_create(const struct weir_map *map, struct weir_mapstore **ret)
{
    struct fixed *fixed = weir_calloc(1, sizeof *fixed);
    if (fixed == NULL) return WEIR_ENOMEM;
    fixed->store.ops = &fixed_ops;
    fixed->stir = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fixed->map = weir_malloc(sizeof *fixed->map);
    if (fixed->map == NULL || fixed->stir < 0) {
        fixed_destroy(&fixed->store);
        return WEIR_ENOMEM;
    }
    *fixed->map = *map;
    *ret = &fixed->store;
    return 0;
}
