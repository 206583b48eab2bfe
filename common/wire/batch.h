/**
 * A batch as bytes (proto/weir/v1/batch.proto): its header, and its body, which is what the spool, the wire and the
 * store carry. Each column of the body is a blob in the encoding that fits its values (constant, bits, dictionary,
 * duration), the whole is compressed once, where that pays.
 *
 * Decoding is safe for whatever a stranger sends. A column that this build does not know is skipped, and survives as
 * long as the body is passed on as it came.
 */
#ifndef WEIR_COMMON_WIRE_BATCH_H
#define WEIR_COMMON_WIRE_BATCH_H

#include "common/base/buf.h"
#include "common/cluster/msg.h"

enum {
    WEIR_HEADER_BYTES_MOST = 4096, /* of an encoded header; ours take about 150 */
    WEIR_BODY_RAW_MOST =
        1 << 20, /* of a body before compression; 4,096 flows with all columns take 790 KiB, extra columns 160 KiB */
    WEIR_BODY_BYTES_MOST = 1 << 20, /* of a body as it travels: what does not shrink is not compressed */
};

/** The name of a codec ("none", "lz4", "zstd"), and the codec of a name or WEIR_EPARAM. */
const char *weir_codec_name(enum weir_codec codec);
int weir_codec_of(const char *name);

/** Append the encoded header to @out. WEIR_ENOMEM (and @out has failed). */
int weir_batch_header_encode(const struct weir_batch_header *header, struct weir_buf *out);

/**
 * Decode a header. Allocates nothing; @out is written only on success.
 *
 * Returns 0, or
 *   WEIR_EFORMAT   not a BatchHeader, or a field is out of its range
 *   WEIR_EVERSION  a newer schema than WEIR_SCHEMA
 *   WEIR_ELIMIT    larger than WEIR_HEADER_BYTES_MOST, or more columns than a header of ours can have
 */
int weir_batch_header_decode(struct weir_view bytes, struct weir_batch_header *out);

/** The memory of one thread that encodes (raw body, state of the compressor). */
struct weir_batch_encoder;

/**
 * WEIR_ENOMEM. Bodies that @codec does not make smaller by a sixteenth are left uncompressed, and their header says so;
 * so are the next 15 of their source, untried.
 */
int weir_batch_encoder_create(enum weir_codec codec, struct weir_batch_encoder **ret);
void weir_batch_encoder_destroy(struct weir_batch_encoder *encoder);

/**
 * Encode @batch: fill @header from it (kind DATA) and append the body to @body. WEIR_ENOMEM (and @body has failed).
 * A batch without flows and drops has an empty body; its losses are in the header.
 */
int weir_batch_encode(struct weir_batch_encoder *encoder, const struct weir_batch *batch,
                      struct weir_batch_header *header, struct weir_buf *body);

/** The memory of one thread that decodes. */
struct weir_batch_decoder;

/** WEIR_ENOMEM. */
int weir_batch_decoder_create(struct weir_batch_decoder **ret);
void weir_batch_decoder_destroy(struct weir_batch_decoder *decoder);

/**
 * Decode the columns of @wanted (bit f: field f; WEIR_COLUMNS_ALL for all, WEIR_COLUMNS_EXTRA for extra columns) and
 * the drops of a body into @out, which is cleared first and takes source, times and losses from @header. Columns that
 * are not wanted are stepped over. Whether the sums over the flows agree with the header's totals is the caller's
 * question (weir_batch_sum), where it matters.
 *
 * Returns 0, or, with @out left empty,
 *   WEIR_EFORMAT       the body breaks its format or does not agree with the header about the number of flows
 *   WEIR_ECORRUPT      the compressor's stream is damaged, or does not yield header->raw_bytes
 *   WEIR_EUNSUPPORTED  a codec, or an encoding of a wanted column, that this build does not know
 *   WEIR_ENOMEM
 */
int weir_batch_decode(struct weir_batch_decoder *decoder, const struct weir_batch_header *header, struct weir_view body,
                      uint64_t wanted, struct weir_batch *out);

#define WEIR_COLUMNS_ALL ((1ull << WEIR_FIELD_COUNT) - 1)

/** What a message's `crc` covers: header, then body. */
uint32_t weir_batch_crc(struct weir_view header, struct weir_view body);

#endif
