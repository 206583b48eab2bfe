/**
 * What a shard map should become: who should be a member of each shard when aggregators have come, gone, or changed
 * their weights, with as few replicas moved as there can be.
 *
 * Pure. Where weir_map_place makes owners of a file from nothing, the same in every process, this starts from the
 * members that there are; one process computes it and stores what it found.
 */
#ifndef WEIR_COMMON_CLUSTER_PROPOSE_H
#define WEIR_COMMON_CLUSTER_PROPOSE_H

#include "common/cluster/map.h"

/**
 * Members of every shard as they should be, in @desired[shard]: those that stay in the order they have, then new ones;
 * nobody joining, the shard's epoch as it is. Let a node's share be R * V * weight / weights, bounded by V, and by what
 * its zone may hold. Then
 *
 * - each shard has R members; of them at most ceil(R / Z) in one zone, Z the zones that have a weight (a node whose zone
 *   is not known is one by itself), at most R of them counted;
 * - each aggregator has its share, rounded down or up: with equal weights nobody has more than ceil(R * V / N);
 * - there is no way to have both with fewer replicas moved; among those with as few, rendezvous hashing decides.
 *
 * Call weir_map_check first. WEIR_ENOMEM; WEIR_EPARAM fewer aggregators with a weight than replicas. Takes up to some
 * hundred milliseconds with the most nodes that there may be.
 */
int weir_map_propose(const struct weir_map *map, struct weir_shard desired[WEIR_SHARDS]);

/** How many members @desired has that the map does not. */
uint32_t weir_map_moves(const struct weir_map *map, const struct weir_shard desired[WEIR_SHARDS]);

#endif
