#include "common/wire/bits.h"

#include <assert.h>

/** Four lanes; a row of numbers, and a row of words, is two of them. */
typedef uint32_t quad __attribute__((vector_size(16)));

enum { QUAD = sizeof(quad), ROW = WEIR_BITS_LANES };

_Static_assert(2 * QUAD == ROW * sizeof(uint32_t), "a row is two quads");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are stored as they are in memory");

void weir_bits_pack(const uint32_t *number, uint32_t count, uint32_t bits, uint8_t *out)
{
    assert(bits <= WEIR_BITS_MOST);
    if (bits == WEIR_BITS_MOST) {
        memcpy(out, number, weir_bits_bytes(count, bits));
        return;
    }
    const uint32_t mask = (1u << bits) - 1;
    quad low = {0};
    quad high = {0};
    uint32_t filled = 0;
    for (uint32_t i = 0; i < count; i += ROW) {
        quad a;
        quad b;
        memcpy(&a, number + i, QUAD);
        memcpy(&b, number + i + QUAD / sizeof *number, QUAD);
        a &= mask;
        b &= mask;
        low |= a << filled;
        high |= b << filled;
        filled += bits;
        if (filled < 32) continue;

        memcpy(out, &low, QUAD);
        memcpy(out + QUAD, &high, QUAD);
        out += 2 * QUAD;
        filled -= 32;
        low = a >> (bits - filled); /* what did not fit; nothing, when all of it did */
        high = b >> (bits - filled);
    }
    if (filled == 0) return;
    memcpy(out, &low, QUAD);
    memcpy(out + QUAD, &high, QUAD);
}

void weir_bits_unpack(const uint8_t *in, uint32_t count, uint32_t bits, uint32_t *number)
{
    assert(bits <= WEIR_BITS_MOST);
    if (bits == 0) { /* then there may be no @in */
        memset(number, 0, weir_bits_room(count) * sizeof *number);
        return;
    }
    const uint8_t *end = in + weir_bits_bytes(count, bits);
    if (bits == WEIR_BITS_MOST) {
        memcpy(number, in, (size_t)(end - in));
        return;
    }
    const uint32_t mask = (1u << bits) - 1;
    quad low = {0};
    quad high = {0};
    uint32_t left = 0; /* bits of the words at hand that were not taken */
    for (uint32_t i = 0; i < count; i += ROW) {
        quad a = low;
        quad b = high;
        if (left < bits) {
            memcpy(&low, in, QUAD);
            memcpy(&high, in + QUAD, QUAD);
            in += 2 * QUAD;
            a |= low << left;
            b |= high << left;
            low >>= bits - left;
            high >>= bits - left;
            left += 32 - bits;
        } else {
            low >>= bits;
            high >>= bits;
            left -= bits;
        }
        a &= mask;
        b &= mask;
        memcpy(number + i, &a, QUAD);
        memcpy(number + i + QUAD / sizeof *number, &b, QUAD);
    }
    assert(in <= end);
}
