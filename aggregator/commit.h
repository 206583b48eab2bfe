/**
 * Groups of batches on their way into the store: each batch with its entry, its body and the mark of its lane, all in
 * one synced write. Gives out the numbers of blocks.
 *
 * One thread.
 */
#ifndef WEIR_AGGREGATOR_COMMIT_H
#define WEIR_AGGREGATOR_COMMIT_H

#include "aggregator/roller.h"

enum { AGG_GROUP_MOST = 32, AGG_GROUP_BYTES = 4 << 20 };

struct agg_commit;

/** Continue after @heads, the last block of each shard. WEIR_ENOMEM. */
int agg_commit_create(struct agg_store *store, const struct agg_place heads[WEIR_SHARDS], struct agg_commit **ret);
void agg_commit_destroy(struct agg_commit *commit);

/** A batch as it arrived. All borrowed. */
struct agg_arrival {
    const struct weir_msg *msg;
    const struct weir_batch_header *header;
    struct weir_view header_bytes;
    struct weir_view body;
};

/** Carry out AGG_ACTION_WRITE: add the batch and its mark. WEIR_ENOMEM: the group must be dropped. */
int agg_commit_add(struct agg_commit *commit, const struct agg_action *action, const struct agg_arrival *arrival,
                   int64_t now_ms);

/** Carry out AGG_ACTION_LOSS, caused by @arrival: add a LOSS record of its source, and the mark. WEIR_ENOMEM likewise. */
int agg_commit_add_loss(struct agg_commit *commit, const struct agg_action *action, const struct agg_arrival *arrival,
                        int64_t now_ms);

/** Is the group large enough to be written now? */
bool agg_commit_is_full(const struct agg_commit *commit);

/** What is in the group, oldest first; borrowed until it is dropped. A batch without a body has body_bytes 0. */
struct agg_committed {
    struct agg_rolled_batch of;
    uint64_t body_bytes;
};
uint32_t agg_commit_count(const struct agg_commit *commit);
const struct agg_committed *agg_commit_at(const struct agg_commit *commit, uint32_t index);

/** Write the group and sync. On failure nothing of it is stored: WEIR_EAGAIN, WEIR_ENOSPACE, WEIR_ECORRUPT, WEIR_EIO. */
int agg_commit_write(struct agg_commit *commit, struct weir_why *why);

/** Begin the next group. */
void agg_commit_clear(struct agg_commit *commit);

/** Read the mark of a lane; zeros when it has none. WEIR_ECORRUPT, WEIR_EIO, WEIR_ENOMEM. */
int agg_mark_read(struct agg_store *store, const struct agg_lane *lane, struct agg_mark *ret);

#endif
