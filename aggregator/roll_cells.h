/**
 * What roll-up holds in memory, shared by adding (roll.c) and writing out (roll_emit.c): for each shard and window a
 * cell with lists of what its pairs and services add up from. The rows of single addresses are sums of pairs, made when
 * rows are written.
 */
#ifndef WEIR_AGGREGATOR_ROLL_CELLS_H
#define WEIR_AGGREGATOR_ROLL_CELLS_H

#include "aggregator/addresses.h"
#include "aggregator/lists.h"
#include "aggregator/roll.h"
#include "aggregator/roll_sort.h"
#include "aggregator/store/chunk.h"
#include "common/base/table.h"

/** What the sums of a cell are by. */
enum agg_kind {
    AGG_KIND_PAIR,    /* ids of source and destination */
    AGG_KIND_SERVICE, /* id of the server, protocol and port */
    AGG_KINDS
};

/** Lists of a kind: of struct agg_sum, and of struct agg_wide_sum. */
enum { AGG_PLAIN, AGG_WIDE, AGG_WIDTHS };

/** Of one shard and window. */
struct agg_cell {
    uint32_t shard;
    uint32_t window;
    struct agg_list list[AGG_KINDS][AGG_WIDTHS];

    /* of the step that touched it last: a batch added, or a fold */
    uint64_t step;
    size_t coming[AGG_KINDS][AGG_WIDTHS];
    struct weir_counts sum; /* of the batch */
};

/** In memory; a stored key of a source is made when rows are written. */
struct agg_source_key {
    uint32_t window;
    uint32_t shard;
    struct weir_ip exporter;
    uint32_t domain;
    uint32_t protocol;
    char site[WEIR_NAME_BYTES];
    char agent[WEIR_NAME_BYTES];
    uint32_t reason; /* enum weir_drop_reason */
};

_Static_assert(sizeof(struct agg_source_key) == 164, "keys are compared as bytes");

struct agg_roll_tier {
    struct weir_table sources; /* agg_source_key -> agg_row */
    struct weir_table index;   /* window 32 | shard 32 -> uint32_t: which cell */
    struct agg_cell *cells;
    uint32_t cell_count;
    uint32_t cell_room;
};

/** What of a flow falls into one window. */
struct agg_piece {
    uint32_t cell;
    uint16_t row;
    uint16_t flows;
    uint32_t sampling_one_in;
    uint64_t packets;
    uint64_t bytes;
};

static inline int agg_piece_width(const struct agg_piece *piece)
{
    bool fits = piece->packets <= AGG_PACKETS_MOST && piece->bytes <= UINT32_MAX;
    return piece->sampling_one_in <= 1 && fits ? AGG_PLAIN : AGG_WIDE;
}

struct agg_roll_emitter;

struct agg_roll {
    struct agg_addresses addresses; /* of both tiers */
    struct agg_pool pool;
    struct agg_sorter sorter;
    size_t keep_bytes;
    size_t hour_segments;      /* of the pool; the rest in use is the minutes' */
    size_t longest[AGG_TIERS]; /* list so far, in sums */
    struct agg_roll_tier tier[AGG_TIERS];
    struct agg_roll_counts counts;

    /* of the batch at hand */
    struct agg_piece *pieces;
    uint32_t piece_count;
    uint32_t piece_room;
    uint32_t *touched; /* cells */
    uint32_t touched_count;
    uint64_t step;
    uint64_t key[AGG_KINDS][WEIR_BATCH_MOST];

    struct agg_roll_emitter *emitter; /* roll_emit.c; made when it is needed */
};

void agg_roll_emitter_destroy(struct agg_roll_emitter *emitter);

#endif
