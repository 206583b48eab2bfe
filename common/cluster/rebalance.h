/**
 * What a map store says of a cluster, and what it should say: for `weir cluster status` and `weir cluster rebalance`.
 * Works on any store; blocks as the store does.
 *
 * "desired/SHARD" holds the members that a shard should come to have, as an entry with the epoch of the shard that it was
 * made for. Aggregators follow it: who is wanted joins, and when it is a member, who is not wanted leaves.
 */
#ifndef WEIR_COMMON_CLUSTER_REBALANCE_H
#define WEIR_COMMON_CLUSTER_REBALANCE_H

#include "common/cluster/map.h"
#include "common/cluster/mapstore.h"

struct weir_cluster_view {
    struct weir_map map; /* of the file, with the shards of the store; epoch 0: it has none of this shard */
    struct weir_shard desired[WEIR_SHARDS]; /* likewise */
    int64_t revisions[WEIR_SHARDS];
    int64_t desired_revisions[WEIR_SHARDS];
    bool live[WEIR_NODES_MOST]; /* aggregators that say so; a hint */
    uint32_t refused;           /* entries that are none, or name an aggregator that the file does not have */
    bool stale;                 /* the store has no quorum: this may be old */
    struct weir_why first_refused;
};

/**
 * Read all of it. @file is the placed map of cluster.conf. With @stale_will_do an answer that may be old is taken where
 * there is no other. Errors of weir_mapstore_get. About 130 KiB: keep @ret on the heap.
 */
int weir_cluster_view_read(struct weir_mapstore *store, const struct weir_map *file, bool stale_will_do,
                           struct weir_cluster_view *ret, struct weir_why *why);

struct weir_rebalanced {
    uint32_t made;  /* shards that had no entry and have one now: a new cluster, or one that was static until now */
    uint32_t moves; /* replicas that are to move */
    uint32_t put;   /* shards whose desired members were changed */
};

/**
 * Work out what the members should be (weir_map_propose) and put it under "desired/". Shards without an entry get one:
 * the members that the file gives them, under the file's epoch, so that a cluster that was static goes on as it is. When
 * @dry nothing is written. @view comes from weir_cluster_view_read, not stale, and has what was done afterwards.
 *
 *   WEIR_EEXIST    somebody else changed the store meanwhile: what was written until then is sound; read again
 *   WEIR_EPARAM    an entry could not be read: doing this would lose it
 *   WEIR_EUNSUPPORTED   the map is a file
 *   and the errors of weir_mapstore_cas and weir_map_propose
 */
int weir_cluster_rebalance(struct weir_mapstore *store, struct weir_cluster_view *view, bool dry,
                           struct weir_rebalanced *ret, struct weir_why *why);

/** The shard of a key such as "map/17" below @prefix "map/", or WEIR_ENOTFOUND. */
int weir_mapstore_shard(const char *key, const char *prefix);

#endif
