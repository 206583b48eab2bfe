/** The resources /api/v1/cluster and /api/v1/cluster/rebalance: who owns which shard, as the map store has it. */
#ifndef WEIR_CONSOLE_HTTP_CLUSTER_H
#define WEIR_CONSOLE_HTTP_CLUSTER_H

#include "common/base/buf.h"
#include "common/cluster/map.h"
#include "console/http/problem.h"

/**
 * Append the reply about the cluster of @file (cluster.conf): a row for each aggregator, and the shards. Where the store
 * does not answer, what this console goes by is told instead: the nodes of @known with @shards, and why. False: @fault
 * says why not even that. Blocks as the store does. Any thread.
 */
bool console_cluster_status(const char *file, const struct weir_map *known, const struct weir_shard shards[WEIR_SHARDS],
                            struct weir_buf *out, struct console_fault *fault);

/**
 * The same after working out where shards should be, and writing that to the store; with @dry nothing is written. @line
 * is what the audit says of it.
 */
bool console_cluster_rebalance(const char *file, bool dry, struct weir_buf *out, char line[128],
                               struct console_fault *fault);

#endif
