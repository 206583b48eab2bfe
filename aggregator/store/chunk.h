/**
 * Rows of one table and window, packed: what rollups of addresses, pairs and services are stored as. Up to
 * AGG_CHUNK_ROWS rows, ordered by their first address, column by column. Rows of several chunks with the same
 * dimensions add up, as rows of a table do.
 *
 *     version 2 | family 1 (4, 6) | kind 1 (1: with what sampling adds) | 0 | rows 4
 *     then each column, packed (packed.h)
 *
 * Columns: the addresses (IPv4: one number each, IPv6: two halves; the first as a difference to the row before),
 * protocol and port of a service, flows, packets, bytes, and with sampling: what scaling adds to packets and to bytes,
 * the two variances (the bits of IEEE 754 doubles).
 */
#ifndef WEIR_AGGREGATOR_STORE_CHUNK_H
#define WEIR_AGGREGATOR_STORE_CHUNK_H

#include "aggregator/store/row.h"
#include "common/base/buf.h"

enum { AGG_CHUNK_ROWS = 2000 }; /* no power of two: columns that begin alike fight for the same lines of a cache */

/** Rows as columns. Large: not for the stack. */
struct agg_chunk {
    enum agg_table table; /* none of sources */
    bool v4;              /* all addresses are IPv4; else they are stored in full */
    bool sampled;         /* the last four columns are there */
    uint32_t count;
    union {
        struct weir_ip ip[2][AGG_CHUNK_ROWS]; /* the second of pairs */
        uint32_t v4_ip[2][AGG_CHUNK_ROWS];    /* as numbers, if all are IPv4 */
    };
    uint8_t proto[AGG_CHUNK_ROWS]; /* of services, and the port */
    uint16_t port[AGG_CHUNK_ROWS];
    uint64_t flows[AGG_CHUNK_ROWS];
    uint64_t packets[AGG_CHUNK_ROWS];
    uint64_t bytes[AGG_CHUNK_ROWS];
    uint64_t more_packets[AGG_CHUNK_ROWS];
    uint64_t more_bytes[AGG_CHUNK_ROWS];
    double packets_variance[AGG_CHUNK_ROWS];
    double bytes_variance[AGG_CHUNK_ROWS];
};

/** Append a chunk of at least one row to @out. WEIR_ENOMEM (and @out has failed). */
int agg_chunk_encode(const struct agg_chunk *chunk, struct weir_buf *out);

/** The rows of @bytes, of @table. WEIR_ECORRUPT: it is no chunk; WEIR_EVERSION: a newer one. @ret is undefined then. */
int agg_chunk_decode(struct weir_view bytes, enum agg_table table, struct agg_chunk *ret);

static inline struct weir_ip agg_chunk_ip(const struct agg_chunk *chunk, int which, uint32_t row)
{
    if (!chunk->v4) return chunk->ip[which][row];
    uint8_t four[4];
    weir_store_u32be(four, chunk->v4_ip[which][row]);
    return weir_ip_from_v4(four);
}

static inline struct weir_counts agg_chunk_counts(const struct agg_chunk *chunk, uint32_t row)
{
    struct weir_counts counts = {.flows = chunk->flows[row],
                                 .packets = chunk->packets[row],
                                 .bytes = chunk->bytes[row],
                                 .scaled_packets = chunk->packets[row],
                                 .scaled_bytes = chunk->bytes[row]};
    if (!chunk->sampled) return counts;
    counts.scaled_packets += chunk->more_packets[row];
    counts.scaled_bytes += chunk->more_bytes[row];
    counts.packets_variance = chunk->packets_variance[row];
    counts.bytes_variance = chunk->bytes_variance[row];
    return counts;
}

#endif
