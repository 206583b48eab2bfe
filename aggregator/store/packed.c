#include "aggregator/store/packed.h"

#include "common/wire/bits.h"

#include <assert.h>
#include <stdbool.h>

enum {
    HEADER_BYTES = 5,
    SAMPLE = 256,    /* numbers that the width is guessed from */
    BYTES_ROWS = 64, /* a column of fewer is short */
    BITS = 64,
    HALF = WEIR_BITS_MOST
};

size_t agg_packed_most(uint32_t count)
{
    enum { SLACK = 8 }; /* numbers are written eight bytes at a time */
    return HEADER_BYTES + 8 + 2 * weir_bits_bytes(count, HALF) + (size_t)count * (2 + 8) + SLACK;
}

static inline uint32_t bits_of(uint64_t value)
{
    return value == 0 ? 0 : BITS - (uint32_t)__builtin_clzll(value);
}

static inline uint32_t bytes_of(uint64_t value)
{
    return (bits_of(value) + 7) / 8;
}

/** What is above the lower @width bits, 0 to 64. */
static inline uint64_t above(uint64_t value, uint32_t width)
{
    return width == BITS ? 0 : value >> width;
}

static inline bool is_short(uint32_t count)
{
    return count < BYTES_ROWS;
}

/** Bytes of the numbers themselves. */
static size_t numbers_bytes(uint32_t count, uint32_t width)
{
    if (is_short(count)) return (size_t)count * (width / 8);
    return weir_bits_bytes(count, width < HALF ? width : HALF) +
           weir_bits_bytes(count, width < HALF ? 0 : width - HALF);
}

/* --- packing --- */

static inline uint64_t value_at(const void *values, size_t width, uint32_t i)
{
    switch (width) {
    case 1: return ((const uint8_t *)values)[i];
    case 2: return ((const uint16_t *)values)[i];
    case 4: return ((const uint32_t *)values)[i];
    default: return ((const uint64_t *)values)[i];
    }
}

/** The width that makes the column least, as far as every so many a number tells. */
static inline uint32_t best_width(const void *values, size_t value_width, uint32_t count, uint64_t least)
{
    uint32_t of_bits[BITS + 1] = {0}, seen = 0, stride = count < 2 * SAMPLE ? 1 : count / SAMPLE;
    for (uint32_t i = 0; i < count; i += stride, seen++)
        of_bits[bits_of(value_at(values, value_width, i) - least)]++;
    uint32_t widest = BITS, exceptions = 0;
    while (widest > 0 && of_bits[widest] == 0)
        widest--;
    uint32_t best = widest, best_cost = seen * widest;
    for (uint32_t width = widest; width-- > 0;) {
        exceptions += of_bits[width + 1];
        uint32_t of_one = 16 + (widest - width + 7) / 8 * 8, cost = seen * width + exceptions * of_one;
        if (cost > best_cost) continue;
        best = width;
        best_cost = cost;
    }
    return is_short(count) ? (best + 7) / 8 * 8 : best;
}

static inline uint8_t *store_number(uint8_t *at, uint64_t value, uint32_t bytes)
{
    weir_store_u64le(at, value);
    return at + bytes;
}

/** The numbers less @least: their lower halves. Returns what is above @width bits of all of them together. */
static inline uint64_t lower(const void *values, size_t value_width, uint32_t count, uint64_t least, uint32_t width,
                             uint32_t *ret)
{
    uint64_t upper_bits = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = value_at(values, value_width, i) - least;
        ret[i] = (uint32_t)value;
        upper_bits |= value;
    }
    return above(upper_bits, width);
}

static inline uint8_t *put_numbers(uint8_t *at, const void *values, size_t value_width, uint32_t count, uint64_t least,
                                   uint32_t width, uint32_t *number)
{
    if (is_short(count)) {
        for (uint32_t i = 0; i < count; i++)
            at = store_number(at, value_at(values, value_width, i) - least, width / 8);
        return at;
    }
    memset(number + count, 0, (weir_bits_room(count) - count) * sizeof *number);
    weir_bits_pack(number, count, width < HALF ? width : HALF, at);
    at += weir_bits_bytes(count, width < HALF ? width : HALF);
    if (value_width < sizeof(uint64_t) || width <= HALF) return at;
    for (uint32_t i = 0; i < count; i++)
        number[i] = (uint32_t)((value_at(values, value_width, i) - least) >> HALF);
    weir_bits_pack(number, count, width - HALF, at);
    return at + weir_bits_bytes(count, width - HALF);
}

/** The rows of numbers that have bits above @width, found without a branch for each. */
static inline uint32_t find_exceptions(const void *values, size_t value_width, uint32_t count, uint64_t least,
                                       uint32_t width, uint16_t *row)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        row[found] = (uint16_t)i;
        found += above(value_at(values, value_width, i) - least, width) != 0;
    }
    return found;
}

/** Made once for each width of values. */
static inline __attribute__((always_inline)) uint8_t *pack(uint8_t *at, const void *values, size_t value_width,
                                                           uint32_t count)
{
    uint64_t least = value_at(values, value_width, 0);
    for (uint32_t i = 1; i < count; i++) {
        uint64_t value = value_at(values, value_width, i);
        if (value < least) least = value;
    }
    uint32_t width = best_width(values, value_width, count, least), number[AGG_PACKED_ROWS];
    uint64_t upper_bits = lower(values, value_width, count, least, width, number);

    uint8_t *header = at;
    header[0] = (uint8_t)width;
    header[1] = (uint8_t)bytes_of(least);
    header[2] = (uint8_t)bytes_of(upper_bits);
    weir_store_u16le(header + 3, 0);
    at = store_number(at + HEADER_BYTES, least, header[1]);
    at = put_numbers(at, values, value_width, count, least, width, number);
    if (upper_bits == 0) return at;

    uint16_t row[AGG_PACKED_ROWS];
    uint32_t exceptions = find_exceptions(values, value_width, count, least, width, row);
    weir_store_u16le(header + 3, (uint16_t)exceptions);
    memcpy(at, row, exceptions * sizeof *row);
    at += exceptions * sizeof *row;
    for (uint32_t i = 0; i < exceptions; i++)
        at = store_number(at, above(value_at(values, value_width, row[i]) - least, width), header[2]);
    return at;
}

/** Numbers of eight bytes as numbers of four, if they are small enough: packing those is half the work. */
static bool narrow(const uint64_t *values, uint32_t count, uint32_t *ret)
{
    uint64_t any = 0;
    for (uint32_t i = 0; i < count; i++) {
        any |= values[i];
        ret[i] = (uint32_t)values[i];
    }
    return any <= UINT32_MAX;
}

static uint8_t *pack_eights(uint8_t *at, const uint64_t *values, uint32_t count)
{
    uint32_t narrowed[AGG_PACKED_ROWS];
    return narrow(values, count, narrowed) ? pack(at, narrowed, sizeof *narrowed, count)
                                           : pack(at, values, sizeof *values, count);
}

uint8_t *agg_pack(uint8_t *at, const void *values, size_t width, uint32_t count)
{
    assert(count > 0 && count <= AGG_PACKED_ROWS);
    switch (width) {
    case 1: return pack(at, values, 1, count);
    case 2: return pack(at, values, 2, count);
    case 4: return pack(at, values, 4, count);
    default: return pack_eights(at, values, count);
    }
}

/* --- unpacking --- */

/** Up to 8 bytes. */
static inline uint64_t load_number(const uint8_t *at, uint32_t bytes)
{
    uint8_t eight[8] = {0};
    memcpy(eight, at, bytes);
    return weir_load_u64le(eight);
}

static void unpack_numbers(const uint8_t *at, uint32_t count, uint64_t least, uint32_t width, uint64_t *ret)
{
    if (is_short(count)) {
        for (uint32_t i = 0; i < count; i++)
            ret[i] = least + load_number(at + i * (width / 8), width / 8);
        return;
    }
    uint32_t number[AGG_PACKED_ROWS];
    weir_bits_unpack(at, count, width < HALF ? width : HALF, number);
    for (uint32_t i = 0; i < count; i++)
        ret[i] = least + number[i];
    if (width <= HALF) return;
    weir_bits_unpack(at + weir_bits_bytes(count, HALF), count, width - HALF, number);
    for (uint32_t i = 0; i < count; i++)
        ret[i] += (uint64_t)number[i] << HALF;
}

const uint8_t *agg_unpack(const uint8_t *at, const uint8_t *end, uint32_t count, uint64_t *ret)
{
    assert(count <= AGG_PACKED_ROWS);
    if (end - at < HEADER_BYTES) return NULL;
    uint32_t width = at[0], least_bytes = at[1], upper_bytes = at[2], exceptions = weir_load_u16le(at + 3);
    at += HEADER_BYTES;
    if (width > BITS || least_bytes > 8 || upper_bytes > 8 || exceptions > count) return NULL;
    if (is_short(count) && width % 8 != 0) return NULL;
    size_t numbers = numbers_bytes(count, width);
    if ((size_t)(end - at) < least_bytes + numbers + (size_t)exceptions * (2 + upper_bytes)) return NULL;
    unpack_numbers(at + least_bytes, count, load_number(at, least_bytes), width, ret);

    at += least_bytes + numbers;
    const uint8_t *upper = at + (size_t)exceptions * 2;
    for (uint32_t e = 0; e < exceptions; e++, upper += upper_bytes) {
        uint32_t row = weir_load_u16le(at + (size_t)e * 2);
        bool grows = e == 0 || row > weir_load_u16le(at + (size_t)e * 2 - 2);
        uint64_t more = load_number(upper, upper_bytes);
        if (row >= count || !grows || more == 0 || bits_of(more) + width > BITS) return NULL;
        ret[row] += more << width;
    }
    return upper;
}
