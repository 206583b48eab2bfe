/**
 * Batches that were shipped, kept for their memory: a fresh 4,096-flow batch costs about 130 page faults, which is
 * more than decoding its flows.
 *
 * Any thread may take and give; there is a lock, held for a few instructions once per batch.
 */
#ifndef WEIR_AGENT_POOL_H
#define WEIR_AGENT_POOL_H

#include "common/flow/batch.h"

struct agent_pool;

/** A pool that keeps at most @most_bytes of idle batches. WEIR_ENOMEM. */
int agent_pool_create(size_t most_bytes, struct agent_pool **ret);

/** Frees the idle batches. Batches that were taken are not the pool's and stay valid. */
void agent_pool_destroy(struct agent_pool *pool);

/** An empty batch with room for at least @rows flows (1..4096), a kept one or a new one. WEIR_ENOMEM. */
int agent_pool_take(struct agent_pool *pool, uint32_t rows, struct weir_batch **ret);

/** Give a batch back, with whatever is in it; *batch_p is NULL after, and may be NULL before. */
void agent_pool_give(struct agent_pool *pool, struct weir_batch **batch_p);

/** Bytes of the idle batches. */
size_t agent_pool_bytes(struct agent_pool *pool);

/** Bytes that a batch for @rows flows (1..4096) occupies when it comes from a pool. */
size_t agent_pool_batch_bytes(uint32_t rows);

#endif
