/**
 * The memory of open batches: one region, as large as it may become, of which only what was used is resident. Blocks of
 * it are halved and put together again (buddies), so nothing that lives longer can stand between them, as it does where
 * batches come from malloc: with 1,000 exporters that doubled them. A block that comes back is the first to be taken
 * again: a fresh 4,096-flow batch costs about 200 page faults, which is more than decoding its flows.
 *
 * Any thread may take and give; there is a lock, held for a few instructions once per batch.
 */
#ifndef WEIR_AGENT_POOL_H
#define WEIR_AGENT_POOL_H

#include "common/flow/batch.h"

enum { AGENT_POOL_IDLE_MS = 10000 };

struct agent_pool;

/** All in bytes. */
struct agent_pool_stats {
    size_t most; /* taken + idle <= most, always */
    size_t taken;
    size_t idle; /* given back and still resident, at most */
};

/** A pool of at most @most_bytes, though room for one batch of 4,096 flows at least. WEIR_ENOMEM. */
int agent_pool_create(size_t most_bytes, struct agent_pool **ret);

/** All batches must have been given back. */
void agent_pool_destroy(struct agent_pool *pool);

/**
 * An empty batch with room for at least @rows flows (1..4096), which cannot grow by itself: weir_batch_reserve says
 * WEIR_EFULL. WEIR_EFULL when there is no room for it.
 */
int agent_pool_take(struct agent_pool *pool, uint32_t rows, struct weir_batch **ret);

/** Put *batch_p, with all that is in it, into a batch for @rows flows. WEIR_EFULL: it stays as it was. */
int agent_pool_grow(struct agent_pool *pool, struct weir_batch **batch_p, uint32_t rows);

/**
 * Give a batch back, with whatever is in it; *batch_p is NULL after, and may be NULL before. One that was made by
 * weir_batch_create is destroyed.
 */
void agent_pool_give(struct agent_pool *pool, struct weir_batch **batch_p);

/** Return to the system what was idle for AGENT_POOL_IDLE_MS; call it every second or so. */
void agent_pool_tidy(struct agent_pool *pool, int64_t now_mono_ms);

struct agent_pool_stats agent_pool_stats(struct agent_pool *pool);

/** Bytes that a batch for @rows flows (1..4096) occupies when it comes from a pool. */
size_t agent_pool_batch_bytes(uint32_t rows);

#endif
