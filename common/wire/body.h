/**
 * The body of a batch before compression: protobuf `FlowBatch`, written and read by hand because it is the hot path.
 * The columns are blobs; what protobuf costs beside them are some 12 bytes a column. Internal to common/wire.
 */
#ifndef WEIR_COMMON_WIRE_BODY_H
#define WEIR_COMMON_WIRE_BODY_H

#include "common/flow/batch.h"

/** Numbers of proto/weir/v1/batch.proto. */
enum {
    BODY_COUNT = 1,
    BODY_COLUMNS = 2,
    BODY_DROPS = 3,
    BODY_EXTRAS = 4,
    COLUMN_IE = 1,
    COLUMN_PEN = 2,
    COLUMN_ENCODING = 3,
    COLUMN_WIDTH = 4,
    COLUMN_OFFSET = 5,
    COLUMN_DATA = 6,
    COLUMN_DICTIONARY = 7,
    COLUMN_ENTRY_WIDTH = 8,
    COLUMN_EXCEPTIONS = 9,
    DROP_REASON = 1,
    DROP_COUNT = 2,
    DROP_FIRST = 3,
    DROP_LAST = 4,
    DROP_EXAMPLE = 5,
    DROP_BYTES = 6,
    DROP_BEGIN = 7,
    EXTRA_NAME = 1,
    EXTRA_PEN = 2,
    EXTRA_IE = 3,
    EXTRA_TYPE = 4,
    EXTRA_VALUES = 5
};

enum column_encoding {
    ENCODING_CONSTANT = 0,
    ENCODING_NARROW = 1,
    ENCODING_DICTIONARY = 2,
    ENCODING_DURATION = 3,
    ENCODING_BITS = 4,
    ENCODING_DICTIONARY_BITS = 5,
    ENCODING_DURATION_BITS = 6,
    ENCODING_PREFIX_BITS = 7
};

enum { V4_BYTES = 4, V6_BYTES = 16 };

enum { PREFIX_LOW_BITS = 16 }; /* of an IPv4 address, behind the prefix that has a code */

enum { WEIR_BODY_CODES = 1 << 16 };

/** What encoding needs beside the batch: 212 KiB. Zeros to begin with. */
struct weir_body_scratch {
    uint32_t number[WEIR_BATCH_MOST]; /* a column, as distances from its offset */
    uint64_t wide[WEIR_BATCH_MOST];   /* the same, where 32 bits do not do */
    uint32_t index[WEIR_BATCH_MOST];
    uint16_t code[WEIR_BODY_CODES]; /* of a number, from 1; all zeros between columns */
    uint16_t coded[WEIR_BATCH_MOST];
};

/** Bytes that weir_body_encode may need at most for @batch. */
size_t weir_body_bound(const struct weir_batch *batch);

/** Write the body of @batch, which has flows or drops, to @out (weir_body_bound bytes); returns its size. */
size_t weir_body_encode(struct weir_body_scratch *scratch, const struct weir_batch *batch, uint8_t *out);

/**
 * Read the columns of @wanted (extra columns are WEIR_COLUMNS_EXTRA) into the empty @out, which gets @count flows;
 * columns that are not wanted are skipped.
 * WEIR_EFORMAT, WEIR_EUNSUPPORTED (an encoding of a wanted column that this build does not know), WEIR_ENOMEM: @out
 * may hold half of the columns, but no flows.
 */
int weir_body_decode(struct weir_view body, uint32_t count, uint64_t wanted, struct weir_batch *out);

#endif
