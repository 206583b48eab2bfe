/**
 * A batch: up to 4,096 flows of one source, in columns. The unit of decoding, transport, acknowledgement,
 * deduplication and storage (docs/FLOW.md).
 *
 * Each field of fields.def is one column, an array of its C type. A column that no flow has is absent: reading it is
 * not allowed (weir_batch_has), and a row read through weir_batch_get has 0 there. Decoders take a column with
 * weir_batch_touch and write rows count..count+n-1 directly, then weir_batch_commit the n rows.
 *
 * Beside them stand extra columns (extra.h), of which most batches have none: byte strings, in order of the rows.
 *
 * One thread at a time owns a batch; it is handed over whole.
 */
#ifndef WEIR_COMMON_FLOW_BATCH_H
#define WEIR_COMMON_FLOW_BATCH_H

#include "common/flow/drop.h"
#include "common/flow/extra.h"

enum { WEIR_BATCH_MOST = 4096 };

/** What was lost of a source since its batch before; travels with the batch, so it is counted exactly once. */
struct weir_loss {
    uint64_t sequence_lost;    /* records missing by the exporter's sequence numbers; AWS: intervals that it skipped */
    uint64_t template_missing; /* data sets or records that came before their template and could not wait */
    uint64_t undecodable;      /* datagrams or records refused by the decoder */
    uint64_t socket_drops;     /* datagrams dropped by our kernel, shared out to the sources of the socket */
};

static inline void weir_loss_add(struct weir_loss *to, const struct weir_loss *more)
{
    to->sequence_lost += more->sequence_lost;
    to->template_missing += more->template_missing;
    to->undecodable += more->undecodable;
    to->socket_drops += more->socket_drops;
}

static inline bool weir_loss_any(const struct weir_loss *loss)
{
    return (loss->sequence_lost | loss->template_missing | loss->undecodable | loss->socket_drops) != 0;
}

/** What an agent knew of a source when it closed the batch: for people, nothing is counted by it. */
struct weir_health {
    uint32_t templates; /* known now */
    uint32_t waiting;   /* data sets that wait for their template now */
    int64_t skew_ms;    /* the exporter's clock, less the agent's */
    bool has_skew;
};

/** An extra column: for each flow a byte of length and so many bytes. */
struct weir_extra_column {
    struct weir_extra extra;
    bool present;
    uint32_t rows; /* written */
    struct weir_buf values;
    uint32_t *starts; /* where each row's value begins in @values; only of batches that were decoded */
};

struct weir_batch {
    struct weir_source source;
    enum weir_protocol protocol; /* of the last datagram */
    uint32_t count;              /* flows */
    uint32_t capacity;           /* flows that fit before the columns grow */
    uint64_t present;            /* bit f: column f is there */
    int64_t first_received_ms;   /* wall clock at the agent; 0 while empty */
    int64_t last_received_ms;
    int64_t last_export_ms; /* the exporter's own clock in its last datagram; 0 unknown */
    struct weir_loss loss;
    struct weir_health health;
    void *column[WEIR_FIELD_COUNT]; /* into @block */
    uint8_t *block;
    bool lent;                        /* @block is somebody else's */
    struct weir_drops drops;          /* explain what of @loss has a reason */
    struct weir_extra_column *extras; /* WEIR_EXTRAS_MOST; NULL: none is present */
};

/** Beside the bits of fields, where columns are asked for: extra columns. */
#define WEIR_COLUMNS_EXTRA (1ull << 63)

/** Sums and bounds over the flows of a batch: what its header says, and what the ledger adds up. */
struct weir_batch_totals {
    uint64_t flows;
    uint64_t packets;
    uint64_t bytes;
    int64_t min_start_ms;
    int64_t max_end_ms;
};

_Static_assert(WEIR_FIELD_COUNT < 64, "the mask of columns is 64 bits, and one of them is WEIR_COLUMNS_EXTRA");

/** An empty batch with room for @rows flows (1..4096). WEIR_ENOMEM. */
int weir_batch_create(uint32_t rows, struct weir_batch **ret);
void weir_batch_destroy(struct weir_batch *batch);

/** Forget the flows, the source and the losses; keep the memory. */
void weir_batch_clear(struct weir_batch *batch);

/** Bytes of the block of columns for @rows flows. */
size_t weir_batch_block_bytes(uint32_t rows);

/**
 * Let @batch, zeroed or cleared and without a block of its own, have its columns in @block: weir_batch_block_bytes(@rows)
 * at a multiple of 64, the caller's for as long as there is the batch, which cannot grow beyond it.
 */
void weir_batch_lend(struct weir_batch *batch, uint8_t *block, uint32_t rows);

/** Move all that is in @from into @to, an empty one with room for it; @from is empty then. */
void weir_batch_take_over(struct weir_batch *to, struct weir_batch *from);

/**
 * Make room for @rows flows in all. WEIR_ELIMIT above 4096, WEIR_EFULL (its block is lent), WEIR_ENOMEM; the flows stay.
 * Moves the columns.
 */
int weir_batch_reserve(struct weir_batch *batch, uint32_t rows);

static inline bool weir_batch_has(const struct weir_batch *batch, enum weir_field field)
{
    return batch->present >> field & 1;
}

/** Column @field, made present (rows so far are 0). Valid until the batch grows. */
void *weir_batch_touch(struct weir_batch *batch, enum weir_field field);

/**
 * Count @rows more flows as written, in the columns that @written has a bit for; other present columns get 0 there.
 * The room must have been reserved.
 */
void weir_batch_commit(struct weir_batch *batch, uint32_t rows, uint64_t written);

/** Append one flow; fields that are 0 do not make a column present. Grows. WEIR_EFULL at 4096, WEIR_ENOMEM. */
int weir_batch_append(struct weir_batch *batch, const struct weir_flow *flow);

/** Copy row @row out. Absent columns read 0. */
void weir_batch_get(const struct weir_batch *batch, uint32_t row, struct weir_flow *out);

/**
 * Extra column @at (below WEIR_EXTRAS_MOST), made present as @extra (rows so far are empty). NULL without memory. A
 * column that runs out of memory later (values.failed) is left out when the batch is encoded.
 */
struct weir_extra_column *weir_batch_extra(struct weir_batch *batch, uint32_t at, const struct weir_extra *extra);

/** Append the value of the next row, cut to WEIR_EXTRA_VALUE_MOST; commit the rows afterwards. */
void weir_extra_append(struct weir_extra_column *column, struct weir_view value);

/** Append what extra columns have for row @row to @out, in the form of weir_extra_put. Of batches that were decoded. */
void weir_batch_extra_row(const struct weir_batch *batch, uint32_t row, struct weir_buf *out);

/** Append rows @from..@from+@rows-1 of @other, without extra columns. Grows. WEIR_EFULL when they do not all fit (none is taken), WEIR_ENOMEM. */
int weir_batch_append_rows(struct weir_batch *batch, const struct weir_batch *other, uint32_t from, uint32_t rows);

/** Add up the flows. An empty batch has zeros everywhere. */
struct weir_batch_totals weir_batch_sum(const struct weir_batch *batch);

/** The least of @count (> 0) times. */
int64_t weir_least(const int64_t *time, uint32_t count);

/** Does the batch keep its own promises (counts, columns inside the block)? For tests and assertions. */
bool weir_batch_check(const struct weir_batch *batch);

#endif
