/**
 * Rolling up: batches in, sorted rows of minutes and hours out. Pure: what it holds is derived from batches and is
 * written with the mark that it covers (roller.h).
 *
 * Inside, a flow is appended to lists (lists.h) by small keys (addresses.h); lists are sorted and added up when they are
 * written (roll_sort.h, roll_emit.c).
 *
 * Minutes are summed from flows, hours from minutes. Event time decides the window, within what the commit time makes
 * believable; bytes and packets of a long flow are spread over the minutes it spans (window.h).
 *
 * One thread.
 */
#ifndef WEIR_AGGREGATOR_ROLL_H
#define WEIR_AGGREGATOR_ROLL_H

#include "aggregator/store/row.h"

enum agg_tier { AGG_TIER_1M, AGG_TIER_1H, AGG_TIERS };

/** Milliseconds of a window. */
int64_t agg_tier_ms(enum agg_tier tier);

/** The columns of a batch that are read (bit per enum weir_field). */
extern const uint64_t agg_roll_columns;

struct agg_roll_batch {
    uint32_t shard;
    int64_t commit_ms;
    const char *site;
    const char *agent;
    const struct weir_batch_header *header;
    const struct weir_batch *batch; /* NULL when there is no body; flows, drops, or both */
};

/** What happened to flows since creation. */
struct agg_roll_counts {
    uint64_t flows;
    uint64_t clamped; /* times that were not believed: counted at the nearest that is */
    uint64_t late;    /* ended more than AGG_LATE_MS before their commit */
    uint64_t spread;  /* over more than one minute */
};

struct agg_roll;

/**
 * @seed: of the hashes, so that nobody can choose addresses that collide. @keep_bytes: memory without rows that is kept
 * for the next ones. WEIR_ENOMEM.
 */
int agg_roll_create(uint64_t seed, size_t keep_bytes, struct agg_roll **ret);
void agg_roll_destroy(struct agg_roll *roll);

/** Add a batch to the minutes. WEIR_ENOMEM: nothing of it was added. */
int agg_roll_add(struct agg_roll *roll, const struct agg_roll_batch *batch);

/** Have the memory that folding takes. WEIR_ENOMEM. */
int agg_roll_prepare_fold(struct agg_roll *roll);

/** Move the minutes into the hours: none are left. After agg_roll_prepare_fold of the same ones. */
void agg_roll_fold(struct agg_roll *roll);

/** Sort a tier by its first addresses and add up what has one key: it may take less memory then. WEIR_ENOMEM: not all. */
int agg_roll_compact(struct agg_roll *roll, enum agg_tier tier);

/** Sums held by a tier: none when there is nothing to write. The rows they make may be twice as many. */
size_t agg_roll_rows(const struct agg_roll *roll, enum agg_tier tier);

/** About the bytes that the rows of a tier take, emitting included. */
size_t agg_roll_bytes(const struct agg_roll *roll, enum agg_tier tier);

/** Where rows go. A function that returns a negative number stops. */
struct agg_roll_sink {
    void *ctx;
    /** The rows of a shard follow. *upto: number of the last block that they hold; chunks are told apart by it. */
    int (*shard)(void *ctx, uint32_t shard, uint64_t *upto);
    /** A row of the table of sources, to be merged into the one that is there (row.h). */
    int (*source)(void *ctx, struct weir_view key, struct weir_view value);
    /** A chunk of rows of another table (chunk.h). */
    int (*chunk)(void *ctx, struct weir_view key, struct weir_view value, uint32_t rows);
};

/** Give all rows of a tier in the order of their keys. They stay. WEIR_ENOMEM, or what the sink returned. */
int agg_roll_emit(struct agg_roll *roll, enum agg_tier tier, const struct agg_roll_sink *sink);

/** Forget the rows of a tier, keep the memory. */
void agg_roll_clear(struct agg_roll *roll, enum agg_tier tier);

const struct agg_roll_counts *agg_roll_counts(const struct agg_roll *roll);

#endif
