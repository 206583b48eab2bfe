#include "aggregator/store/packed.h"

#include "common/base/bytes.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

enum {
    HEADER_BYTES = 5,
    SAMPLE = 512, /* numbers that the width is guessed from */
    BITS = 64
};

size_t agg_packed_most(uint32_t count)
{
    enum { SLACK = 8 }; /* numbers are written eight bytes at a time */
    return HEADER_BYTES + 8 + (size_t)count * (8 + 2 + 8) + SLACK;
}

/** A number below this bit fits: 1 << @width, which may be 64. */
static inline uint64_t mask_of(uint32_t width)
{
    return width == BITS ? UINT64_MAX : (1ull << width) - 1;
}

static inline uint32_t bits_of(uint64_t value)
{
    return value == 0 ? 0 : BITS - (uint32_t)__builtin_clzll(value);
}

static inline uint32_t bytes_of(uint64_t value)
{
    return (bits_of(value) + 7) / 8;
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

/** The width that makes the column least, as far as every @stride-th number tells. */
static inline uint32_t best_width(const void *values, size_t value_width, uint32_t count, uint64_t least)
{
    uint32_t of_bits[BITS + 1] = {0}, seen = 0, stride = count < 2 * SAMPLE ? 1 : count / SAMPLE;
    for (uint32_t i = 0; i < count; i += stride, seen++)
        of_bits[bits_of(value_at(values, value_width, i) - least)]++;
    uint32_t widest = BITS, exceptions = 0;
    while (widest > 0 && of_bits[widest] == 0)
        widest--;
    uint32_t best = widest;
    uint64_t best_cost = (uint64_t)seen * widest;
    for (uint32_t width = widest; width-- > 0;) {
        exceptions += of_bits[width + 1];
        uint32_t of_one = 16 + (widest - width + 7) / 8 * 8;
        uint64_t cost = (uint64_t)seen * width + (uint64_t)exceptions * of_one;
        if (cost > best_cost) continue;
        best = width;
        best_cost = cost;
    }
    return best;
}

static inline uint8_t *store_number(uint8_t *at, uint64_t value, uint32_t bytes)
{
    weir_store_u64le(at, value);
    return at + bytes;
}

static inline __attribute__((always_inline)) uint8_t *pack(uint8_t *at, const void *values, size_t value_width,
                                                           uint32_t count)
{
    uint64_t least = value_at(values, value_width, 0);
    for (uint32_t i = 1; i < count; i++) {
        uint64_t value = value_at(values, value_width, i);
        if (value < least) least = value;
    }
    uint32_t width = best_width(values, value_width, count, least);
    uint8_t *header = at;
    at = store_number(at + HEADER_BYTES, least, bytes_of(least));

    uint64_t mask = mask_of(width), word = 0, upper_bits = 0;
    uint32_t filled = 0, exceptions = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = value_at(values, value_width, i) - least, lower = value & mask;
        if (__builtin_expect(value != lower, 0)) {
            exceptions++;
            upper_bits |= value >> width;
        }
        word |= lower << filled; /* filled < 64 */
        filled += width;
        if (filled < BITS) continue;
        weir_store_u64le(at, word);
        at += 8;
        filled -= BITS;
        word = filled == 0 ? 0 : lower >> (width - filled);
    }
    at = store_number(at, word, (filled + 7) / 8);

    header[0] = (uint8_t)width;
    header[1] = (uint8_t)bytes_of(least);
    header[2] = (uint8_t)bytes_of(upper_bits);
    weir_store_u16le(header + 3, (uint16_t)exceptions);
    if (exceptions == 0) return at;
    uint8_t *upper = at + (size_t)exceptions * 2;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = value_at(values, value_width, i) - least;
        if ((value & mask) == value) continue;
        weir_store_u16le(at, (uint16_t)i);
        at += 2;
        upper = store_number(upper, value >> width, header[2]);
    }
    return upper;
}

uint8_t *agg_pack(uint8_t *at, const void *values, size_t width, uint32_t count)
{
    assert(count > 0 && count <= AGG_PACKED_ROWS);
    switch (width) {
    case 1: return pack(at, values, 1, count);
    case 2: return pack(at, values, 2, count);
    case 4: return pack(at, values, 4, count);
    default: return pack(at, values, 8, count);
    }
}

/* --- unpacking --- */

/** Up to 8 bytes that are there. */
static inline uint64_t load_number(const uint8_t *at, uint32_t bytes)
{
    uint8_t eight[8] = {0};
    memcpy(eight, at, bytes);
    return weir_load_u64le(eight);
}

/** The number of @width bits from bit @bit on, near the end of the column. */
static uint64_t number_near(const uint8_t *bytes, const uint8_t *end, uint64_t bit, uint32_t width)
{
    const uint8_t *at = bytes + bit / 8;
    uint32_t shift = bit % 8, left = (uint32_t)(end - at);
    if (width == 0) return 0;
    uint64_t value = load_number(at, left < 8 ? left : 8) >> shift;
    if (shift + width > BITS) value |= (uint64_t)at[8] << (BITS - shift);
    return value & mask_of(width);
}

const uint8_t *agg_unpack(const uint8_t *at, const uint8_t *end, uint32_t count, uint64_t *ret)
{
    if (end - at < HEADER_BYTES) return NULL;
    uint32_t width = at[0], least_bytes = at[1], upper_bytes = at[2], exceptions = weir_load_u16le(at + 3);
    at += HEADER_BYTES;
    size_t packed = ((size_t)count * width + 7) / 8;
    if (width > BITS || least_bytes > 8 || upper_bytes > 8 || exceptions > count) return NULL;
    if ((size_t)(end - at) < least_bytes + packed + (size_t)exceptions * (2 + upper_bytes)) return NULL;
    uint64_t least = load_number(at, least_bytes);
    at += least_bytes;

    const uint8_t *packed_end = at + packed;
    uint64_t mask = mask_of(width), bit = 0;
    uint32_t i = 0;
    /* eight bytes are there, and hold all of it */
    uint32_t easy = width == 0 || width > BITS - 7 || packed < 8 ? 0 : (uint32_t)((packed - 8) * 8 / width);
    for (; i < count && i < easy; i++, bit += width)
        ret[i] = least + (weir_load_u64le(at + bit / 8) >> bit % 8 & mask);
    for (; i < count; i++, bit += width)
        ret[i] = least + number_near(at, packed_end, bit, width);

    at = packed_end;
    const uint8_t *upper = at + (size_t)exceptions * 2;
    for (uint32_t e = 0; e < exceptions; e++, upper += upper_bytes) {
        uint32_t row = weir_load_u16le(at + (size_t)e * 2);
        bool grows = e == 0 || row > weir_load_u16le(at + (size_t)e * 2 - 2);
        uint64_t more = load_number(upper, upper_bytes);
        if (row >= count || !grows || more == 0 || width == BITS || bits_of(more) + width > BITS) return NULL;
        ret[row] += more << width;
    }
    return upper;
}
