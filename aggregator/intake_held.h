/**
 * What this aggregator is to each shard, and under which epoch: in its own store, so that neither an older map nor a disk
 * that was lost makes it acknowledge what it should not.
 */
#ifndef WEIR_AGGREGATOR_INTAKE_HELD_H
#define WEIR_AGGREGATOR_INTAKE_HELD_H

#include "aggregator/intake_core.h"
#include "aggregator/store/store.h"
#include "common/cluster/map.h"

/** Read what the store says of every shard; epoch 0 and AGG_ROLE_NONE where it says nothing. WEIR_ECORRUPT, WEIR_EIO. */
int agg_held_read(struct agg_store *store, struct agg_held held[WEIR_SHARDS]);

/** Add what we are to one shard to @write. */
void agg_held_put(struct agg_write *write, const struct agg_store *store, uint32_t shard, const struct agg_held *held);

/** Write it, synced. As agg_store_write; WEIR_ENOMEM. */
int agg_held_write(struct agg_store *store, const struct agg_held held[WEIR_SHARDS], struct weir_why *why);

/**
 * Follow a map that only operators change: aggregator @index is a member of what the map says. Shards of which @held
 * knows a newer epoch stay as they are; returns how many. Write @held before anything is taken under it.
 */
uint32_t agg_held_follow(struct agg_held held[WEIR_SHARDS], const struct weir_map *map, uint32_t index);

/** How many shards we are a member of. */
uint32_t agg_held_count(const struct agg_held held[WEIR_SHARDS]);

#endif
