/**
 * Retention: what is older than its table keeps is dropped, whole ranges of time at once.
 *
 * The trap is the clock: one that jumps a year ahead must not delete a year of data. So the cut-off is kept in the store
 * and follows the wall clock no faster than the monotonic clock runs, one hour ahead at most after a start.
 */
#ifndef WEIR_AGGREGATOR_RETAIN_H
#define WEIR_AGGREGATOR_RETAIN_H

#include "aggregator/roll.h"
#include "aggregator/store/store.h"

struct agg_retain_conf {
    int64_t flows_keep_ms; /* stored batches */
    int64_t keep_ms[AGG_TIERS];
};

struct agg_retain;

/** Read how far it has come. WEIR_ENOMEM, WEIR_ECORRUPT, WEIR_EIO. */
int agg_retain_create(struct agg_store *store, const struct agg_retain_conf *conf, int64_t now_ms, int64_t now_mono_ms,
                      struct agg_retain **ret);
void agg_retain_destroy(struct agg_retain *retain);

/** Other limits from now on. */
void agg_retain_set(struct agg_retain *retain, const struct agg_retain_conf *conf);

/**
 * Drop what is over now. Returns how many ranges were dropped, or WEIR_ENOSPACE, WEIR_ECORRUPT, WEIR_EIO. One thread.
 */
int agg_retain_step(struct agg_retain *retain, int64_t now_ms, int64_t now_mono_ms, struct weir_why *why);

/** Rows of @tier before this moment may be gone. Any thread. */
int64_t agg_retain_cutoff_ms(const struct agg_retain *retain, enum agg_tier tier);

/** Stored batches that were committed before this moment may be gone. Any thread. */
int64_t agg_retain_flows_cutoff_ms(const struct agg_retain *retain);

#endif
