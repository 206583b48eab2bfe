/**
 * The map store of a cluster whose map is a file: it can be read, and that is all. Nobody changes it but an operator, so
 * there is no automatic failover: while an aggregator is down, batches for its shards wait in the spools of the agents.
 */
#ifndef WEIR_COMMON_CLUSTER_MAPSTORE_STATIC_H
#define WEIR_COMMON_CLUSTER_MAPSTORE_STATIC_H

#include "common/cluster/map.h"
#include "common/cluster/mapstore.h"

/** Of a placed map, which is copied. Its revision is its epoch. WEIR_ENOMEM. */
int weir_mapstore_static_create(const struct weir_map *map, struct weir_mapstore **ret);

#endif
