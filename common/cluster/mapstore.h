/**
 * Where the map of a cluster is kept: a few small keys with revisions, that are read, changed when nobody else was
 * first, watched, and kept alive by a lease.
 *
 * Two of them: mapstore_static, of a map that is a file, and etcd's (common/etcd). All calls block for at most the time
 * that the store was made with, on one thread; only weir_mapstore_wake may be called from others. Keys are under the
 * store's own prefix, which callers do not see: "map/17", "desired/17", "live/agg-1".
 */
#ifndef WEIR_COMMON_CLUSTER_MAPSTORE_H
#define WEIR_COMMON_CLUSTER_MAPSTORE_H

#include "common/base/bytes.h"
#include "common/base/err.h"

enum {
    WEIR_MAPSTORE_KEY_MOST = 128,    /* bytes of a key */
    WEIR_MAPSTORE_VALUE_MOST = 4096, /* bytes of a value; what is longer is not given out, and counted as an error */
    WEIR_MAPSTORE_KEYS_MOST = 4096   /* that one get gives out */
};

struct weir_mapstore;

/** A key as it is, or was last. Everything is borrowed for the call. */
struct weir_mapstore_item {
    const char *key;
    struct weir_view value; /* empty when gone */
    int64_t revision;       /* of the store, at the last change of this key */
    bool gone;              /* the key was deleted, or its lease ended; only watches tell */
};

typedef void weir_mapstore_item_fn(void *ctx, const struct weir_mapstore_item *item);

struct weir_mapstore_ops {
    const char *name; /* "static", "etcd" */
    bool says_who_lives;
    int (*get)(struct weir_mapstore *store, const char *prefix, bool stale, weir_mapstore_item_fn *fn, void *ctx,
               int64_t *ret_revision, struct weir_why *why);
    int (*cas)(struct weir_mapstore *store, const char *key, int64_t revision, struct weir_view value, int64_t lease,
               struct weir_why *why);
    int (*watch)(struct weir_mapstore *store, const char *prefix, int64_t from, int64_t wait_ms,
                 weir_mapstore_item_fn *fn, void *ctx, struct weir_why *why);
    int (*lease)(struct weir_mapstore *store, int64_t ttl_s, int64_t *lease_io, struct weir_why *why);
    void (*wake)(struct weir_mapstore *store);
    void (*destroy)(struct weir_mapstore *store);
};

/** A store begins with this. */
struct weir_mapstore {
    const struct weir_mapstore_ops *ops;
};

/**
 * Give all keys that begin with @prefix to @fn, and the revision of the store at which they were so to @ret_revision.
 * @stale: an answer that may be old will do, where the store cannot give one that is not (etcd without a quorum).
 *
 *   WEIR_EUNREACHABLE, WEIR_ETIMEOUT   no member of the store answers, or none that may
 *   WEIR_EDENIED                       user, password or role; @why says which
 *   WEIR_EFORMAT, WEIR_ELIMIT          an answer that is none, or is too large; @fn may have had some of it
 *   WEIR_ENOMEM
 */
static inline int weir_mapstore_get(struct weir_mapstore *store, const char *prefix, bool stale,
                                    weir_mapstore_item_fn *fn, void *ctx, int64_t *ret_revision, struct weir_why *why)
{
    return store->ops->get(store, prefix, stale, fn, ctx, ret_revision, why);
}

/**
 * Set @key to @value if its last change was at @revision (0: if there is no such key), for as long as @lease lives (0:
 * for ever). Errors as above, and
 *
 *   WEIR_EEXIST         somebody else was first: nothing was changed. After a time-out, or where a member of the store
 *                       went away in the middle, that somebody may be this call: read again.
 *   WEIR_EUNSUPPORTED   the map is a file: an operator changes it
 */
static inline int weir_mapstore_cas(struct weir_mapstore *store, const char *key, int64_t revision,
                                    struct weir_view value, int64_t lease, struct weir_why *why)
{
    return store->ops->cas(store, key, revision, value, lease, why);
}

/**
 * Give what changes below @prefix from revision @from on to @fn, in the order in which it happened. Returns how many
 * when there were some, or 0 after @wait_ms or a wake. The next call goes on where this one ended, as long as prefix and
 * @from are the same; otherwise watching begins anew.
 *
 *   WEIR_ENOTFOUND      the store has forgotten revision @from: get again, and watch from there
 *   WEIR_EUNREACHABLE   and the others: the watch has ended; get again and watch from there
 */
static inline int weir_mapstore_watch(struct weir_mapstore *store, const char *prefix, int64_t from, int64_t wait_ms,
                                      weir_mapstore_item_fn *fn, void *ctx, struct weir_why *why)
{
    return store->ops->watch(store, prefix, from, wait_ms, fn, ctx, why);
}

/**
 * Make a lease (*@lease_io is 0) or keep it alive. A lease is a hint and nothing else: it may outlive whoever holds it
 * by far (a new leader of etcd gives it all its time again), and it may end while its holder lives.
 * WEIR_ENOTFOUND: it has ended; make another, and set its keys again. WEIR_EUNSUPPORTED: the map is a file.
 */
static inline int weir_mapstore_lease(struct weir_mapstore *store, int64_t ttl_s, int64_t *lease_io,
                                      struct weir_why *why)
{
    return store->ops->lease(store, ttl_s, lease_io, why);
}

/** Let the watch that waits, or the next one, return at once. Any thread. */
static inline void weir_mapstore_wake(struct weir_mapstore *store)
{
    store->ops->wake(store);
}

/** NULL is allowed. */
static inline void weir_mapstore_destroy(struct weir_mapstore *store)
{
    if (store != NULL) store->ops->destroy(store);
}

#endif
