/**
 * Rollup rows the slow way, to compare with: flow by flow and window by window into a table by stored key; and what the
 * store really holds, rows and blocks.
 */
#ifndef WEIR_TESTS_SUPPORT_AGG_ROWS_H
#define WEIR_TESTS_SUPPORT_AGG_ROWS_H

#include "aggregator/roll.h"
#include "aggregator/store/store.h"
#include "common/base/table.h"

/** Rows by key. */
struct agg_rows {
    struct weir_table table;
    size_t given;    /* entries, by the sink */
    uint32_t shards; /* the sink was told of */
    struct agg_key_copy {
        uint8_t size;
        uint8_t bytes[AGG_ROW_KEY_MOST];
    } last;
};

void agg_rows_init(struct agg_rows *rows);
void agg_rows_fini(struct agg_rows *rows);

/** The row under @key, made when new. */
struct agg_row *agg_rows_at(struct agg_rows *rows, struct weir_view key);

/** A sink for agg_roll_emit; fails a test where keys do not grow. */
struct agg_roll_sink agg_rows_sink(struct agg_rows *rows);

/** Add one flow to every table of @tier; and what a batch without its flows adds. */
void agg_rows_add_flow(struct agg_rows *rows, enum agg_tier tier, const struct agg_roll_batch *of,
                       const struct weir_flow *flow);
void agg_rows_add_heard(struct agg_rows *rows, enum agg_tier tier, const struct agg_roll_batch *of);

/** Add a whole batch, as the two above. */
void agg_rows_add_batch(struct agg_rows *rows, enum agg_tier tier, const struct agg_roll_batch *of);

/** Add what is stored of a tier. */
void agg_rows_read(struct agg_rows *rows, enum agg_tier tier, struct agg_store *store);

/** Roll up every stored block the slow way; returns how many there are. */
uint64_t agg_rows_of_blocks(struct agg_rows *rows, enum agg_tier tier, struct agg_store *store);

/** Fails a test where they differ. */
void agg_rows_assert_same(struct agg_rows *got, struct agg_rows *want);

#endif
