/**
 * The thread that rolls up: takes committed batches, keeps the tables of roll.h, and writes their rows together with
 * the place in the stream of blocks that they cover. What it has not written when it dies it reads back from the store,
 * from the marks on; the same when it falls behind. So a block is rolled up once, whatever happens.
 */
#ifndef WEIR_AGGREGATOR_ROLLER_H
#define WEIR_AGGREGATOR_ROLLER_H

#include "aggregator/counters.h"
#include "aggregator/roll.h"
#include "aggregator/store/block.h"
#include "aggregator/store/store.h"

struct agg_roller_conf {
    struct agg_store *store;
    struct weir_metrics *metrics; /* of agg_counter_rows */
    uint64_t seed;                /* random, for the hashes */
    size_t memory_bytes;          /* of tables: more makes them be written early */
    int64_t minutes_ms;           /* rows of minutes are written at least this often */
    int64_t hours_ms;             /* likewise, of hours */
    int64_t pause_ms;             /* between two writings that questions ask for */
};

/** A committed batch, as far as rolling up needs it. */
struct agg_rolled_batch {
    struct agg_place place;
    int64_t commit_ms;
    char site[WEIR_NAME_BYTES];
    char agent[WEIR_NAME_BYTES];
    struct weir_batch_header header;
};

struct agg_roller;

/** Start, beginning with what the store has past its marks. WEIR_ENOMEM, WEIR_ECORRUPT, WEIR_EIO. */
int agg_roller_create(const struct agg_roller_conf *conf, struct agg_roller **ret, struct weir_why *why);

/** Write what there is, and stop. NULL is allowed. Offer nothing from the call on. */
void agg_roller_destroy(struct agg_roller *roller);

/**
 * A batch was committed; blocks of a shard are told in their order. When there is room, @batch_p (NULL: no body), with at least
 * agg_roll_columns decoded, is exchanged for another batch whose content is of no use; else it stays, and the block is
 * read back from the store later. One thread.
 */
void agg_roller_offer(struct agg_roller *roller, const struct agg_rolled_batch *of, struct weir_batch **batch_p);

/**
 * Wait until the rows of @tier in the store hold every batch that was offered before this call.
 * WEIR_ETIMEOUT at @deadline_mono_ms; or why writing failed. Any thread.
 */
int agg_roller_catch_up(struct agg_roller *roller, enum agg_tier tier, int64_t deadline_mono_ms);

/** The last block of @shard that was offered or found in the store; number 0 when there is none. Any thread. */
struct agg_place agg_roller_head(struct agg_roller *roller, uint32_t shard);

#endif
