/** Maps for tests. */
#ifndef WEIR_TESTS_SUPPORT_CLUSTER_MAP_H
#define WEIR_TESTS_SUPPORT_CLUSTER_MAP_H

#include "common/cluster/map.h"

/** The public key of every node of these maps. */
extern const char cluster_map_key[WEIR_KEY_TEXT];

/**
 * A sound map of @count aggregators of the same weight, named agg-1, agg-2, ..., in @zones zones (0: not known), without
 * owners. The caller's: weir_map_free.
 */
struct weir_map *cluster_map_of(uint32_t count, uint32_t zones, uint32_t replication);

#endif
