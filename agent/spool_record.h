/**
 * One record of the spool's segment files, as bytes: a header of fixed size, the encoded BatchHeader, the body, and
 * zeros up to a multiple of 8. All numbers are little-endian. Pure.
 *
 *     0 magic  4 crc (of the bytes 8..111)  8 crc of the payload  12 version  14 kind  16 bytes of the BatchHeader
 *     20 bytes of the body  24 shard (2)  26 feed mark (6)  32 first number  40 last number  48 first_ms  56 last_ms
 *     64 flows, packets, bytes of this record  88 the same, summed up over the lane
 */
#ifndef WEIR_AGENT_SPOOL_RECORD_H
#define WEIR_AGENT_SPOOL_RECORD_H

#include "common/cluster/msg.h"
#include "common/wire/batch.h"

enum {
    SPOOL_HEAD_BYTES = 112,
    SPOOL_ALIGN = 8,
    SPOOL_PAYLOAD_MOST = WEIR_HEADER_BYTES_MOST + WEIR_BODY_BYTES_MOST,
    SPOOL_RECORD_MOST = SPOOL_HEAD_BYTES + SPOOL_PAYLOAD_MOST + SPOOL_ALIGN
};

struct spool_record {
    enum weir_record_kind kind;
    uint32_t shard;
    uint64_t first; /* numbers that it stands for; first == last for data */
    uint64_t last;
    int64_t first_ms; /* when its flows were received */
    int64_t last_ms;
    struct weir_cum sums; /* of this record */
    struct weir_cum cum;  /* of the lane up to and including it */
    uint32_t header_bytes;
    uint32_t body_bytes;
    uint32_t payload_crc; /* weir_batch_crc of header and body */
    uint64_t mark;        /* the highest feed mark in the lane, up to and including it; 48 bits */
};

/** Bytes of the record in a file. */
uint64_t spool_record_size(const struct spool_record *record);

void spool_record_encode(const struct spool_record *record, uint8_t out[SPOOL_HEAD_BYTES]);

/**
 * Returns 0, or
 *   WEIR_EFORMAT    no record begins here, or one with numbers that cannot be
 *   WEIR_ECHECKSUM  damaged
 *   WEIR_EVERSION   written by a newer version
 */
int spool_record_decode(const uint8_t in[SPOOL_HEAD_BYTES], struct spool_record *out);

enum { SPOOL_ACK_BYTES = 64, SPOOL_ACK_APART = 2048 };

/** A slot of the file that says up to where a lane is acknowledged; of two valid slots the higher generation counts. */
struct spool_ack {
    uint64_t generation; /* from 1 */
    uint64_t acked;
    struct weir_cum cum; /* of the lane up to there */
    uint64_t mark;       /* as of the record there */
};

void spool_ack_encode(const struct spool_ack *ack, uint8_t out[SPOOL_ACK_BYTES]);

/** False when the slot is empty or damaged. */
bool spool_ack_decode(const uint8_t in[SPOOL_ACK_BYTES], struct spool_ack *out);

struct weir_cum spool_cum_add(struct weir_cum a, struct weir_cum b);
struct weir_cum spool_cum_subtract(struct weir_cum a, struct weir_cum b);

#endif
