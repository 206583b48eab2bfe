/**
 * Stored batches: the entry in `block` that a scan reads of each, the value in `flows` that holds its bytes, and the
 * marks of lanes.
 */
#ifndef WEIR_AGGREGATOR_STORE_BLOCK_H
#define WEIR_AGGREGATOR_STORE_BLOCK_H

#include "aggregator/intake_core.h"
#include "aggregator/store/key.h"
#include "aggregator/store/store.h"
#include "common/base/buf.h"

/** What is known of a stored batch without opening it. Texts and @header are borrowed from the entry's bytes. */
struct agg_block {
    uint8_t agent[16];
    uint64_t inc;
    uint64_t seq;
    uint32_t crc;
    uint32_t body_bytes; /* 0: a loss record, or a batch that only tells of losses; it has no value in `flows` */
    int64_t commit_ms;
    struct weir_view tenant;
    struct weir_view site;
    struct weir_view name;   /* the agent's */
    struct weir_view header; /* a BatchHeader */
};

/** Append the entry. */
void agg_block_encode(const struct agg_block *block, struct weir_buf *out);

/** WEIR_ECORRUPT when it is none. */
int agg_block_decode(struct weir_view entry, struct agg_block *ret);

/** The last block of a shard that ever was: number 0 when there was none. WEIR_ECORRUPT, WEIR_EIO, WEIR_ENOMEM. */
int agg_block_last(struct agg_store *store, uint32_t shard, struct agg_place *ret);

/** The rolled mark of a shard in one of the rollup families; number 0 when there is none. Errors as above. */
int agg_rolled_read(struct agg_store *store, enum agg_family family, uint32_t shard, struct agg_place *ret);

enum { AGG_MARK_BYTES = 36 };

void agg_mark_encode(const struct agg_mark *mark, uint8_t out[AGG_MARK_BYTES]);

/** WEIR_ECORRUPT when it is none. */
int agg_mark_decode(struct weir_view value, struct agg_mark *ret);

#endif
