/**
 * The rows of rollups as bytes: which tables there are, their keys, and the counters. Rows of sources are stored one by
 * one like this; those of the other tables are packed (chunk.h). Counters add, times take the earlier or later one, what
 * was known of the source last stays: merging is commutative and associative, so rows can be written in any pieces.
 */
#ifndef WEIR_AGGREGATOR_STORE_ROW_H
#define WEIR_AGGREGATOR_STORE_ROW_H

#include "aggregator/store/key.h"
#include "common/flow/answer.h"

/** Tables of a tier, as they stand in keys. */
enum agg_table {
    AGG_TABLE_SOURCE = 1,  /* exporter, domain, site, protocol, agent; what was lost is here */
    AGG_TABLE_SRC = 2,     /* src_ip */
    AGG_TABLE_DST = 3,     /* dst_ip */
    AGG_TABLE_SELF = 4,    /* the address of flows whose two addresses are one: what SRC and DST count twice */
    AGG_TABLE_PAIR = 5,    /* src_ip, dst_ip */
    AGG_TABLE_SERVICE = 6, /* server_ip, proto, server_port */
    AGG_TABLES
};

/** A row; what a table does not have is 0. */
struct agg_row {
    struct weir_counts counts;
    /* of AGG_TABLE_SOURCE */
    uint64_t batches;
    struct weir_lost lost;
    uint64_t lost_packets; /* with lost.spool: sums of what a full spool dropped */
    uint64_t lost_bytes;
    int64_t first_heard_ms; /* received; 0 none */
    int64_t last_heard_ms;
    int64_t last_flows_ms; /* received, of the last batch that had flows */
    int64_t last_export_ms;
    uint32_t sampling_one_in; /* as of last_flows_ms */
    uint8_t sampling_origin;
    struct weir_health health; /* as of last_heard_ms */
    /* of a source and reason, which have nothing else; the reason is in the key */
    struct weir_drop drop;
};

enum { AGG_ROW_BYTES_MOST = 384, AGG_ROW_KEY_MOST = 192 };

/** Merge @from into @into. */
void agg_row_add(const struct agg_row *from, struct agg_row *into);

/** Write a row; returns its size. A field that is 0 costs nothing. */
size_t agg_row_encode(const struct agg_row *row, uint8_t out[AGG_ROW_BYTES_MOST]);

/** Add an encoded row to @into. WEIR_EFORMAT: it is none, @into is undefined. Fields of newer versions are refused. */
int agg_row_decode_add(struct weir_view value, struct agg_row *into);

/** The dimensions of a row of AGG_TABLE_SOURCE, or of what was dropped of the source for a reason. Texts are copies. */
struct agg_row_key {
    uint32_t shard;
    uint32_t window;
    struct weir_source source;
    enum weir_protocol protocol;
    char site[WEIR_NAME_BYTES];
    char agent[WEIR_NAME_BYTES];
    enum weir_drop_reason reason; /* NONE: the source itself */
};

/** Write a key; returns its size. */
size_t agg_row_key_encode(const struct agg_row_key *key, uint8_t out[AGG_ROW_KEY_MOST]);

/** WEIR_ECORRUPT when it is no key of a source's row. */
int agg_row_key_decode(struct weir_view bytes, struct agg_row_key *ret);

#endif
