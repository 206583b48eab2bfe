/**
 * The keys of the store: big-endian and order-preserving, so that a range of keys is the whole read path. Each begins
 * with the shard; what is dropped by time has the time next.
 *
 *     flows, block   shard 2 | commit hour 4 | block number 8
 *     rollups        shard 2 | table 1 | window 4 | of sources: the row's dimensions (row.h), else of a chunk (chunk.h):
 *                    last block 8 | index 2; table 0 holds the rolled mark
 *     meta           kind 1 | ...
 */
#ifndef WEIR_AGGREGATOR_STORE_KEY_H
#define WEIR_AGGREGATOR_STORE_KEY_H

#include "common/base/err.h"
#include "common/cluster/msg.h"

enum { AGG_BLOCK_KEY_BYTES = 14, AGG_ROW_PREFIX_BYTES = 7, AGG_META_KEY_MOST = 40 };

/** Where a stored batch is. Numbers of a shard grow without gaps; its hours never go back. */
struct agg_place {
    uint32_t shard;
    uint32_t hour; /* of the commit, since 1970 */
    uint64_t number;
};

struct agg_key {
    uint8_t size;
    uint8_t bytes[AGG_META_KEY_MOST];
};

static inline struct weir_view agg_key_view(const struct agg_key *key)
{
    return weir_view_of(key->bytes, key->size);
}

static inline void agg_key_u8(struct agg_key *key, uint8_t value)
{
    key->bytes[key->size++] = value;
}

static inline void agg_key_u16(struct agg_key *key, uint16_t value)
{
    weir_store_u16be(key->bytes + key->size, value);
    key->size += 2;
}

static inline void agg_key_u32(struct agg_key *key, uint32_t value)
{
    weir_store_u32be(key->bytes + key->size, value);
    key->size += 4;
}

static inline void agg_key_u64(struct agg_key *key, uint64_t value)
{
    weir_store_u64be(key->bytes + key->size, value);
    key->size += 8;
}

static inline struct agg_key agg_key_block(const struct agg_place *place)
{
    struct agg_key key = {0};
    agg_key_u16(&key, (uint16_t)place->shard);
    agg_key_u32(&key, place->hour);
    agg_key_u64(&key, place->number);
    return key;
}

/** The first key of a shard's hour in flows and block; the end of a range is the begin of the next. */
static inline struct agg_key agg_key_hour(uint32_t shard, uint32_t hour)
{
    struct agg_key key = {0};
    agg_key_u16(&key, (uint16_t)shard);
    agg_key_u32(&key, hour);
    return key;
}

static inline struct agg_key agg_key_shard(uint32_t shard)
{
    struct agg_key key = {0};
    agg_key_u16(&key, (uint16_t)shard);
    return key;
}

/** WEIR_ECORRUPT when it is none. */
static inline int agg_key_read_block(struct weir_view key, struct agg_place *ret)
{
    if (key.size != AGG_BLOCK_KEY_BYTES) return WEIR_ECORRUPT;
    *ret = (struct agg_place){.shard = weir_load_u16be(key.data),
                              .hour = weir_load_u32be(key.data + 2),
                              .number = weir_load_u64be(key.data + 6)};
    return 0;
}

/** A place as a value: the rolled mark. */
enum { AGG_ROLLED_BYTES = 12 };

static inline void agg_rolled_encode(const struct agg_place *place, uint8_t out[AGG_ROLLED_BYTES])
{
    weir_store_u32be(out, place->hour);
    weir_store_u64be(out + 4, place->number);
}

/** WEIR_ECORRUPT when it is none. */
static inline int agg_rolled_decode(struct weir_view value, uint32_t shard, struct agg_place *ret)
{
    if (value.size != AGG_ROLLED_BYTES) return WEIR_ECORRUPT;
    *ret = (struct agg_place){
        .shard = shard, .hour = weir_load_u32be(value.data), .number = weir_load_u64be(value.data + 4)};
    return 0;
}

/** The first key of a table's window; the end of a range is the begin of a later window. */
static inline struct agg_key agg_key_window(uint32_t shard, uint8_t table, uint32_t window)
{
    struct agg_key key = {0};
    agg_key_u16(&key, (uint16_t)shard);
    agg_key_u8(&key, table);
    agg_key_u32(&key, window);
    return key;
}

/** WEIR_ECORRUPT when it is no key of a rollup's row or chunk. */
static inline int agg_key_read_window(struct weir_view key, uint32_t *ret)
{
    if (key.size < AGG_ROW_PREFIX_BYTES) return WEIR_ECORRUPT;
    *ret = weir_load_u32be(key.data + 3);
    return 0;
}

/** A chunk of rows of a table's window. @upto: number of the last block that they hold, @index: chunks of one writing. */
static inline struct agg_key agg_key_chunk(uint32_t shard, uint8_t table, uint32_t window, uint64_t upto,
                                           uint16_t index)
{
    struct agg_key key = agg_key_window(shard, table, window);
    agg_key_u64(&key, upto);
    agg_key_u16(&key, index);
    return key;
}

/* Kinds of meta keys. */
enum {
    AGG_META_SCHEMA = 'v', /* version of what is stored */
    AGG_META_MARK = 'm',   /* lane -> mark */
    AGG_META_HELD = 'h',   /* shard -> what we are to it, and under which epoch */
    AGG_META_CUTOFF = 'c'  /* retention's clock */
};

static inline struct agg_key agg_key_mark(const uint8_t agent[16], uint64_t inc, uint32_t shard)
{
    struct agg_key key = {0};
    agg_key_u8(&key, AGG_META_MARK);
    memcpy(key.bytes + key.size, agent, 16);
    key.size += 16;
    agg_key_u64(&key, inc);
    agg_key_u16(&key, (uint16_t)shard);
    return key;
}

/** Beside the rows of a tier, before those of its tables: shard -> place of the last block that they hold. */
static inline struct agg_key agg_key_rolled(uint32_t shard)
{
    struct agg_key key = {0};
    agg_key_u16(&key, (uint16_t)shard);
    agg_key_u8(&key, 0);
    return key;
}

static inline struct agg_key agg_key_meta(uint8_t kind)
{
    struct agg_key key = {0};
    agg_key_u8(&key, kind);
    return key;
}

#endif
