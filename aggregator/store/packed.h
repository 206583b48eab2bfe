/**
 * A column of numbers packed: less the least of them, in as many bits as most of them take. What takes more has its
 * upper bits behind.
 *
 *     width 1 (bits, 0 to 64) | bytes of the least 1 | bytes of upper bits 1 | exceptions 2
 *     the least | the numbers' lower 32 bits, or as many as the width is | what the width has beyond 32
 *     exceptions: rows 2 each, growing | upper bits, each as wide as said
 *
 * All little-endian. Bits are as in common/wire/bits.h; of a short column, whole bytes of each number after the other.
 * The width is guessed from a part of a long column: a bad guess costs room, never a value.
 */
#ifndef WEIR_AGGREGATOR_STORE_PACKED_H
#define WEIR_AGGREGATOR_STORE_PACKED_H

#include <stddef.h>
#include <stdint.h>

enum { AGG_PACKED_ROWS = 2048 }; /* at most, in a column */

/** Bytes that packing @count numbers may write. */
size_t agg_packed_most(uint32_t count);

/** Pack @count numbers of @width bytes each (1, 2, 4, 8), at least one. Returns the end of what was written to @at. */
uint8_t *agg_pack(uint8_t *at, const void *values, size_t width, uint32_t count);

/** The @count numbers packed at @at, which may reach up to @end. Returns where they end, or NULL: they are broken. */
const uint8_t *agg_unpack(const uint8_t *at, const uint8_t *end, uint32_t count, uint64_t *ret);

#endif
