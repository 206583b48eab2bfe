/**
 * The map of a cluster as it is now: who there is, out of cluster.conf; who owns what, out of that file too (`map =
 * "static"`) or out of etcd (`map = "etcd"`), followed as it changes.
 *
 * With etcd a thread of its own reads and watches the entries of the shards and keeps them in a file beside the
 * program's state, so that a program that starts while etcd is gone uses the map it knew last. A map that is known is
 * never given up: neither an etcd that is gone, nor one that has forgotten, changes who owns what. Of a shard, only an
 * entry with a higher epoch counts.
 */
#ifndef WEIR_COMMON_DAEMON_CLUSTER_FOLLOW_H
#define WEIR_COMMON_DAEMON_CLUSTER_FOLLOW_H

#include "common/base/metric.h"
#include "common/cluster/map.h"
#include "common/cluster/mapstore.h"
#include "common/daemon/loop.h"

struct weir_follow;

/** Another map, given to the callee: weir_map_free. On the loop's thread. */
typedef void weir_follow_fn(void *ctx, struct weir_map *map);

/** What came of a swap of @shard: @done, or somebody else was first. The map that holds it was given out before. */
typedef void weir_follow_swapped_fn(void *ctx, uint32_t shard, bool done);

struct weir_follow_conf {
    struct weir_loop *loop;       /* must outlive the follow; NULL: nothing is followed, maps are read when asked for */
    struct weir_metrics *metrics; /* rows of common/daemon/counters.def */
    const char *file;             /* cluster.conf */
    const char *cache;            /* where the map is kept; its folder must exist */
    const char *self;             /* the name under which this node is said to live, as a hint; NULL: it is not said */
    struct weir_mapstore *store;  /* taken, whatever comes of it; NULL: the one that cluster.conf names */
    weir_follow_fn *changed;
    weir_follow_swapped_fn *swapped; /* NULL: nothing is ever swapped */
    void (*wanted)(void *ctx);       /* other aggregators than before are wanted: ask weir_follow_wanted; may be NULL */
    void *ctx;
};

/**
 * Begin. With etcd this waits for a first answer, or for all endpoints to fail; then the file of the last map counts,
 * then what an etcd without a quorum says. If there is none of these, shards have no members yet: that is logged, and
 * changes when etcd answers. Errors are those of cluster.conf: WEIR_EIO, WEIR_EFORMAT, WEIR_EPARAM, and of the password:
 * WEIR_ENOTFOUND, WEIR_EDENIED; WEIR_ENOMEM.
 */
int weir_follow_create(const struct weir_follow_conf *conf, struct weir_follow **ret, struct weir_why *why);
void weir_follow_destroy(struct weir_follow *follow);

/**
 * Read cluster.conf again and put what is known of the shards into it; with etcd, ask it soon. @ret is given to the
 * caller. On the loop's thread. Errors as above; WEIR_EPARAM too when the kind of store has changed, which needs a
 * restart.
 */
int weir_follow_read(struct weir_follow *follow, struct weir_map **ret, struct weir_why *why);

/** May owners be changed here? Not where the map is a file. */
bool weir_follow_can_swap(const struct weir_follow *follow);

/**
 * Put @next, by the indices of the map given out last, in the place of the entry with the epoch before it. `swapped` says
 * what came of it, after a store that is gone has come back if need be; until then there is no other swap of this shard.
 * On the loop's thread. WEIR_EAGAIN there is one under way; WEIR_EUNSUPPORTED; WEIR_ENOMEM.
 */
int weir_follow_swap(struct weir_follow *follow, uint32_t shard, const struct weir_shard *next);

/**
 * The aggregators that shall own @shard (`weir cluster rebalance`), as bits by the indices of the map given out last; 0:
 * nobody said. On the loop's thread.
 */
uint64_t weir_follow_wanted(struct weir_follow *follow, uint32_t shard);

#endif
