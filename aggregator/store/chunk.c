#include "aggregator/store/chunk.h"

#include "common/base/err.h"

enum {
    VERSION = 1,
    HEADER_BYTES = 8,
    SLACK = 8 /* values are written eight bytes at a time */
};

static size_t control_bytes(uint32_t count)
{
    return (count + 3) / 4;
}

/* --- encoding --- */

/** Room for one column of @count values, its length in front. */
static size_t column_most(uint32_t count)
{
    return 4 + control_bytes(count) + (size_t)count * 8 + SLACK;
}

struct column_out {
    uint8_t *begin;
    uint8_t *control;
    uint8_t *at;
    uint32_t codes; /* of the rows since the last byte of widths, after a one that moves up with each */
};

static inline struct column_out column_begin(uint8_t *at, uint32_t count)
{
    return (struct column_out){.begin = at, .control = at + 4, .at = at + 4 + control_bytes(count), .codes = 1u << 8};
}

static inline void column_put(struct column_out *out, uint64_t value)
{
    uint32_t code = (uint32_t)(value > UINT8_MAX) + (value > UINT16_MAX) + (value > UINT32_MAX);
    weir_store_u64le(out->at, value);
    out->at += 1u << code;
    out->codes = out->codes >> 2 | code << 14;
    if ((out->codes & 1) == 0) return;
    *out->control++ = (uint8_t)(out->codes >> 8);
    out->codes = 1u << 8;
}

static inline uint8_t *column_end(struct column_out *out)
{
    /* widths of less than four rows: what is missing is 0 */
    if (out->codes != 1u << 8) {
        while ((out->codes & 1) == 0)
            out->codes >>= 2;
        *out->control = (uint8_t)(out->codes >> 8);
    }
    weir_store_u32le(out->begin, (uint32_t)(out->at - out->begin - 4));
    return out->at;
}

static inline uint64_t v4_of(const struct weir_ip *ip)
{
    return weir_load_u32be(ip->bytes + 12);
}

static inline uint64_t half_of(const struct weir_ip *ip, int half)
{
    return weir_load_u64be(ip->bytes + 8 * half);
}

static uint8_t *put_ips(uint8_t *at, const struct weir_ip *ips, uint32_t count, bool v4, bool ordered)
{
    uint64_t before = 0;
    struct column_out out = column_begin(at, count);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = v4 ? v4_of(&ips[i]) : half_of(&ips[i], 0);
        column_put(&out, value - before);
        if (ordered) before = value;
    }
    at = column_end(&out);
    if (v4) return at;
    out = column_begin(at, count);
    for (uint32_t i = 0; i < count; i++)
        column_put(&out, half_of(&ips[i], 1));
    return column_end(&out);
}

#define PUT_COLUMN(at, values, count)                       \
    do {                                                    \
        struct column_out column = column_begin(at, count); \
        for (uint32_t row = 0; row < (count); row++)        \
            column_put(&column, (values)[row]);             \
        (at) = column_end(&column);                         \
    } while (0)

static uint8_t *put_doubles(uint8_t *at, const double *values, uint32_t count)
{
    struct column_out out = column_begin(at, count);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        column_put(&out, bits);
    }
    return column_end(&out);
}

int agg_chunk_encode(const struct agg_chunk *chunk, struct weir_buf *out)
{
    uint32_t count = chunk->count;
    uint8_t *begin = weir_buf_reserve(out, HEADER_BYTES + 13 * column_most(count));
    if (begin == NULL) return WEIR_ENOMEM;
    begin[0] = VERSION;
    begin[1] = chunk->v4 ? 4 : 6;
    begin[2] = chunk->sampled;
    begin[3] = 0;
    weir_store_u32le(begin + 4, count);
    uint8_t *at = put_ips(begin + HEADER_BYTES, chunk->ip[0], count, chunk->v4, true);
    if (chunk->table == AGG_TABLE_PAIR) at = put_ips(at, chunk->ip[1], count, chunk->v4, false);
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
        at = put_doubles(at, chunk->packets_variance, count);
        at = put_doubles(at, chunk->bytes_variance, count);
    }
    weir_buf_commit(out, (size_t)(at - begin));
    return 0;
}

/* --- decoding --- */

/** A reader of columns; a broken one is remembered and yields zeros. */
struct columns_in {
    const uint8_t *at;
    const uint8_t *end;
    uint32_t count;
    bool broken;
};

struct column_in {
    const uint8_t *control;
    const uint8_t *at;
    const uint8_t *end;
    bool ran_out;
};

static struct column_in column_open(struct columns_in *in)
{
    size_t left = (size_t)(in->end - in->at), control = control_bytes(in->count);
    if (in->broken || left < 4 || weir_load_u32le(in->at) > left - 4 || weir_load_u32le(in->at) < control) {
        in->broken = true;
        return (struct column_in){.ran_out = true};
    }
    const uint8_t *begin = in->at + 4;
    in->at = begin + weir_load_u32le(in->at);
    return (struct column_in){.control = begin, .at = begin + control, .end = in->at};
}

static inline uint64_t column_take(struct column_in *in, uint32_t row)
{
    static const uint64_t masks[] = {UINT8_MAX, UINT16_MAX, UINT32_MAX, UINT64_MAX};
    if (__builtin_expect(in->ran_out, 0)) return 0;
    uint32_t code = in->control[row / 4] >> row % 4 * 2 & 3;
    ptrdiff_t left = in->end - in->at;
    if (__builtin_expect(left >= 8, 1)) {
        uint64_t value = weir_load_u64le(in->at) & masks[code];
        in->at += 1u << code;
        return value;
    }
    uint8_t last[8] = {0};
    if (left < 1 << code) {
        in->ran_out = true;
        return 0;
    }
    memcpy(last, in->at, (size_t)1 << code);
    in->at += 1u << code;
    return weir_load_u64le(last);
}

static void column_close(struct columns_in *in, const struct column_in *column)
{
    if (column->ran_out || column->at != column->end) in->broken = true;
}

/** Values up to @most. */
#define TAKE_COLUMN(in, values, most)                       \
    do {                                                    \
        struct column_in column = column_open(in);          \
        uint64_t over = 0;                                  \
        for (uint32_t row = 0; row < (in)->count; row++) {  \
            uint64_t value = column_take(&column, row);     \
            over |= value & ~(uint64_t)(most);              \
            (values)[row] = (__typeof__((values)[0]))value; \
        }                                                   \
        column_close(in, &column);                          \
        if (over != 0) (in)->broken = true;                 \
    } while (0)

static void take_doubles(struct columns_in *in, double *values)
{
    struct column_in column = column_open(in);
    for (uint32_t row = 0; row < in->count; row++) {
        uint64_t bits = column_take(&column, row);
        memcpy(&values[row], &bits, sizeof bits);
    }
    column_close(in, &column);
}

static void take_v4(struct columns_in *in, struct weir_ip *ips, bool ordered)
{
    struct column_in column = column_open(in);
    uint64_t before = 0, over = 0;
    for (uint32_t row = 0; row < in->count; row++) {
        uint64_t value = before + column_take(&column, row);
        if (ordered) before = value;
        over |= value >> 32;
        uint8_t four[4];
        weir_store_u32be(four, (uint32_t)value);
        ips[row] = weir_ip_from_v4(four);
    }
    column_close(in, &column);
    if (over != 0) in->broken = true;
}

static void take_v6(struct columns_in *in, struct weir_ip *ips, bool ordered)
{
    struct column_in column = column_open(in);
    uint64_t before = 0;
    for (uint32_t row = 0; row < in->count; row++) {
        uint64_t value = before + column_take(&column, row);
        if (ordered) before = value;
        weir_store_u64be(ips[row].bytes, value);
    }
    column_close(in, &column);
    column = column_open(in);
    for (uint32_t row = 0; row < in->count; row++)
        weir_store_u64be(ips[row].bytes + 8, column_take(&column, row));
    column_close(in, &column);
}

static void take_ips(struct columns_in *in, struct weir_ip *ips, bool v4, bool ordered)
{
    if (v4)
        take_v4(in, ips, ordered);
    else
        take_v6(in, ips, ordered);
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
    take_ips(&in, ret->ip[0], ret->v4, true);
    if (table == AGG_TABLE_PAIR) take_ips(&in, ret->ip[1], ret->v4, false);
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
    return in.broken || in.at != in.end ? WEIR_ECORRUPT : 0;
}
