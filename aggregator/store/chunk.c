#include "aggregator/store/chunk.h"

#include "aggregator/store/packed.h"
#include "common/base/err.h"

enum { VERSION = 2, HEADER_BYTES = 8, COLUMNS_MOST = 13 };

/* --- encoding --- */

static inline uint64_t half_of(const struct weir_ip *ip, int half)
{
    return weir_load_u64be(ip->bytes + 8 * half);
}

static uint8_t *put_v4(uint8_t *at, const uint32_t *ips, uint32_t count, bool ordered)
{
    if (!ordered) return agg_pack(at, ips, sizeof *ips, count);
    uint32_t steps[AGG_CHUNK_ROWS], before = 0;
    steps[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        steps[i] = ips[i] - before;
        before = ips[i];
    }
    return agg_pack(at, steps, sizeof *steps, count);
}

static uint8_t *put_v6(uint8_t *at, const struct weir_ip *ips, uint32_t count, bool ordered)
{
    uint64_t values[AGG_CHUNK_ROWS], before = 0;
    values[0] = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = half_of(&ips[i], 0);
        values[i] = value - before;
        if (ordered) before = value;
    }
    at = agg_pack(at, values, sizeof *values, count);
    for (uint32_t i = 0; i < count; i++)
        values[i] = half_of(&ips[i], 1);
    return agg_pack(at, values, sizeof *values, count);
}

static uint8_t *put_ips(uint8_t *at, const struct agg_chunk *chunk, int which)
{
    bool ordered = which == 0;
    return chunk->v4 ? put_v4(at, chunk->v4_ip[which], chunk->count, ordered)
                     : put_v6(at, chunk->ip[which], chunk->count, ordered);
}

#define PUT_COLUMN(at, values, count) (at) = agg_pack((at), (values), sizeof(values)[0], (count))

int agg_chunk_encode(const struct agg_chunk *chunk, struct weir_buf *out)
{
    uint32_t count = chunk->count;
    uint8_t *begin = weir_buf_reserve(out, HEADER_BYTES + COLUMNS_MOST * agg_packed_most(count));
    if (begin == NULL) return WEIR_ENOMEM;
    begin[0] = VERSION;
    begin[1] = chunk->v4 ? 4 : 6;
    begin[2] = chunk->sampled;
    begin[3] = 0;
    weir_store_u32le(begin + 4, count);
    uint8_t *at = put_ips(begin + HEADER_BYTES, chunk, 0);
    if (chunk->table == AGG_TABLE_PAIR) at = put_ips(at, chunk, 1);
    if (chunk->table == AGG_TABLE_SERVICE) {
        PUT_COLUMN(at, chunk->proto, count);
        PUT_COLUMN(at, chunk->port, count);
    }
    PUT_COLUMN(at, chunk->flows, count);
    PUT_COLUMN(at, chunk->packets, count);
    PUT_COLUMN(at, chunk->bytes, count);
    if (chunk->sampled) {
        PUT_COLUMN(at, chunk->more_packets, count);
        PUT_COLUMN(at, chunk->more_bytes, count);
        PUT_COLUMN(at, chunk->packets_variance, count);
        PUT_COLUMN(at, chunk->bytes_variance, count);
    }
    weir_buf_commit(out, (size_t)(at - begin));
    return 0;
}

/* --- decoding --- */

/** A reader of columns; a broken one is remembered. */
struct columns_in {
    const uint8_t *at; /* NULL: broken */
    const uint8_t *end;
    uint32_t count;
    uint64_t values[AGG_CHUNK_ROWS]; /* of the column at hand */
};

/** The next column into in->values; zeros if it is broken. */
static void take(struct columns_in *in)
{
    if (in->at != NULL) in->at = agg_unpack(in->at, in->end, in->count, in->values);
    if (in->at == NULL) memset(in->values, 0, sizeof in->values);
}

/** The next column, of values up to @most. */
#define TAKE_COLUMN(in, column, most)                                   \
    do {                                                                \
        uint64_t any = 0;                                               \
        take(in);                                                       \
        for (uint32_t row = 0; row < (in)->count; row++) {              \
            any |= (in)->values[row];                                   \
            (column)[row] = (__typeof__((column)[0]))(in)->values[row]; \
        }                                                               \
        if (any > (most)) (in)->at = NULL;                              \
    } while (0)

static void take_doubles(struct columns_in *in, double *values)
{
    take(in);
    memcpy(values, in->values, in->count * sizeof *values);
}

static void take_v4(struct columns_in *in, uint32_t *ips, bool ordered)
{
    TAKE_COLUMN(in, ips, UINT32_MAX);
    for (uint32_t row = 1; ordered && row < in->count; row++)
        ips[row] += ips[row - 1];
}

static void take_v6(struct columns_in *in, struct weir_ip *ips, bool ordered)
{
    take(in);
    uint64_t before = 0;
    for (uint32_t row = 0; row < in->count; row++) {
        uint64_t value = before + in->values[row];
        if (ordered) before = value;
        weir_store_u64be(ips[row].bytes, value);
    }
    take(in);
    for (uint32_t row = 0; row < in->count; row++)
        weir_store_u64be(ips[row].bytes + 8, in->values[row]);
}

static void take_ips(struct columns_in *in, struct agg_chunk *ret, int which)
{
    bool ordered = which == 0;
    if (ret->v4)
        take_v4(in, ret->v4_ip[which], ordered);
    else
        take_v6(in, ret->ip[which], ordered);
}

int agg_chunk_decode(struct weir_view bytes, enum agg_table table, struct agg_chunk *ret)
{
    if (bytes.size < HEADER_BYTES) return WEIR_ECORRUPT;
    const uint8_t *at = bytes.data;
    if (at[0] != VERSION) return at[0] > VERSION ? WEIR_EVERSION : WEIR_ECORRUPT;
    ret->table = table;
    ret->v4 = at[1] == 4;
    ret->sampled = at[2] == 1;
    ret->count = weir_load_u32le(at + 4);
    if ((at[1] != 4 && at[1] != 6) || at[2] > 1 || at[3] != 0 || ret->count == 0 || ret->count > AGG_CHUNK_ROWS)
        return WEIR_ECORRUPT;

    struct columns_in in = {.at = at + HEADER_BYTES, .end = at + bytes.size, .count = ret->count};
    take_ips(&in, ret, 0);
    if (table == AGG_TABLE_PAIR) take_ips(&in, ret, 1);
    if (table == AGG_TABLE_SERVICE) {
        TAKE_COLUMN(&in, ret->proto, UINT8_MAX);
        TAKE_COLUMN(&in, ret->port, UINT16_MAX);
    }
    TAKE_COLUMN(&in, ret->flows, UINT64_MAX);
    TAKE_COLUMN(&in, ret->packets, UINT64_MAX);
    TAKE_COLUMN(&in, ret->bytes, UINT64_MAX);
    if (ret->sampled) {
        TAKE_COLUMN(&in, ret->more_packets, UINT64_MAX);
        TAKE_COLUMN(&in, ret->more_bytes, UINT64_MAX);
        take_doubles(&in, ret->packets_variance);
        take_doubles(&in, ret->bytes_variance);
    }
    return in.at != in.end ? WEIR_ECORRUPT : 0;
}
