/**
 * Numbers of as many bits as they need, one after the other: what most columns of a body are (docs/PROTOCOL.md).
 *
 * The layout lets a machine of 1999 pack and unpack eight numbers at a time: number i is in lane i % 8, and each lane is
 * a stream of bits, lowest first, in 32-bit words; word 0 of the eight lanes, then word 1 of each, and so on, all
 * little-endian. A lane's last word is filled up with zeros.
 */
#ifndef WEIR_COMMON_WIRE_BITS_H
#define WEIR_COMMON_WIRE_BITS_H

#include "common/base/bytes.h"

enum { WEIR_BITS_LANES = 8, WEIR_BITS_MOST = 32 };

/** Bytes that @count numbers of @bits (0..32) take. */
static inline size_t weir_bits_bytes(uint32_t count, uint32_t bits)
{
    size_t rows = ((size_t)count + WEIR_BITS_LANES - 1) / WEIR_BITS_LANES;
    return (rows * bits + 31) / 32 * WEIR_BITS_LANES * sizeof(uint32_t);
}

/** Room for @count numbers that can be packed and unpacked: whole rows of lanes. */
static inline uint32_t weir_bits_room(uint32_t count)
{
    return (count + WEIR_BITS_LANES - 1) / WEIR_BITS_LANES * WEIR_BITS_LANES;
}

/** Pack the low @bits of each of weir_bits_room(@count) numbers into @out, which has weir_bits_bytes. */
void weir_bits_pack(const uint32_t *number, uint32_t count, uint32_t bits, uint8_t *out);

/** Unpack weir_bits_room(@count) numbers from the weir_bits_bytes of @in. */
void weir_bits_unpack(const uint8_t *in, uint32_t count, uint32_t bits, uint32_t *number);

#endif
