/**
 * All that is stored of a shard, as one aggregator gives it to another: read from a snapshot in portions, and taken in as
 * files that become part of the store. What is taken counts for nothing until the last step writes the marks.
 *
 * A portion is a row of entries, big-endian: family 1 | bytes of key 2 | bytes of value 4 | key | value. Families come in
 * the order of their numbers, but marks last; keys grow within a family.
 */
#ifndef WEIR_AGGREGATOR_REPLICA_PAST_H
#define WEIR_AGGREGATOR_REPLICA_PAST_H

#include "aggregator/intake_core.h"
#include "aggregator/store/store.h"

/* ---- giving ---- */

struct agg_past;

/** Everything of @shard as it is now. Rows that are not written yet are made from the blocks by who takes them. WEIR_ENOMEM. */
int agg_past_create(struct agg_store *store, uint32_t shard, struct agg_past **ret);
void agg_past_destroy(struct agg_past *past);

/**
 * Append the next entries to @out, until it has @least bytes or nothing is left. Returns 1 when there may be more, 0 at the
 * end. WEIR_ECORRUPT, WEIR_EIO, WEIR_ENOMEM.
 */
int agg_past_next(struct agg_past *past, size_t least, struct weir_buf *out);

/* ---- what is in a portion ---- */

struct agg_portion {
    struct weir_view rest;
    enum agg_family family;
    struct weir_view key; /* borrowed from the portion */
    struct weir_view value;
};

/** To the next entry of a portion about @shard: 1, or 0 at its end. WEIR_EFORMAT when it is none, or of another shard. */
int agg_portion_next(struct agg_portion *portion, uint32_t shard);

/* ---- taking ---- */

struct agg_install;

/** Forget what is here of @shard, and begin. The caller's role in the shard must say so already. Errors of the store. */
int agg_install_create(struct agg_store *store, uint32_t shard, struct agg_install **ret, struct weir_why *why);

/** The next portion. WEIR_EFORMAT when it is none, or does not follow the last one; WEIR_ENOSPACE, WEIR_EIO, WEIR_ENOMEM. */
int agg_install_take(struct agg_install *install, struct weir_view portion, struct weir_why *why);

/** That was all: write the marks, and what we are to the shard now, in one synced write. Errors of the store. */
int agg_install_commit(struct agg_install *install, const struct agg_held *held, struct weir_why *why);

/** NULL is allowed. What was taken and not committed stays, and counts for nothing: agg_past_drop. */
void agg_install_destroy(struct agg_install *install);

/** Forget all that is stored of @shard, its marks first. Errors of the store. */
int agg_past_drop(struct agg_store *store, uint32_t shard, struct weir_why *why);

#endif
