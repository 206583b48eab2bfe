#include "common/base/hash.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

uint64_t weir_hash64(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

void weir_hash128(const void *data, size_t size, uint8_t out[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, size));
    memcpy(out, canonical.digest, sizeof canonical.digest);
}

uint32_t weir_crc32c_by_table(uint32_t crc, const void *data, size_t size)
{
    const uint8_t *at = data;
    /* One nibble at a time: 16 entries need no initialisation race and no 1 KiB of cache. */
    static const uint32_t nibble[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
        0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= at[i];
        crc = crc >> 4 ^ nibble[crc & 15];
        crc = crc >> 4 ^ nibble[crc & 15];
    }
    return ~crc;
}

#if defined(__x86_64__)

/* The instruction takes three cycles, but starts every cycle: three thirds of a piece at a time, put together by what
 * x^(8 * THIRD - 33), and that of two thirds, are modulo the polynomial (Gopal et al., "Fast CRC Computation for iSCSI
 * Polynomial Using CRC32 Instruction", Intel 2011). */
enum { THIRD = 1024 };

#define BY_THIRD      UINT64_C(0x170076fa)
#define BY_TWO_THIRDS UINT64_C(0xa51b6135)

#define WITH_CRC __attribute__((target("sse4.2,pclmul")))

WITH_CRC static inline uint64_t crc_word(uint64_t crc, const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return _mm_crc32_u64(crc, word);
}

WITH_CRC static inline uint64_t crc_times(uint64_t crc, uint64_t by)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi64_si128((long long)by), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

WITH_CRC static uint32_t crc32c_by_sse42(uint32_t crc, const uint8_t *at, size_t size)
{
    uint64_t wide = crc;
    for (; size >= 3 * THIRD; at += 3 * THIRD, size -= 3 * THIRD) {
        uint64_t second = 0;
        uint64_t third = 0;
        for (size_t i = 0; i < THIRD; i += sizeof wide) {
            wide = crc_word(wide, at + i);
            second = crc_word(second, at + THIRD + i);
            third = crc_word(third, at + 2 * THIRD + i);
        }
        wide = third ^ _mm_crc32_u64(0, crc_times(wide, BY_TWO_THIRDS) ^ crc_times(second, BY_THIRD));
    }
    for (; size >= sizeof wide; at += sizeof wide, size -= sizeof wide)
        wide = crc_word(wide, at);
    crc = (uint32_t)wide;
    for (; size > 0; at++, size--)
        crc = _mm_crc32_u8(crc, *at);
    return crc;
}
#endif

uint32_t weir_crc32c(uint32_t crc, const void *data, size_t size)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) return ~crc32c_by_sse42(~crc, data, size);
#endif
    return weir_crc32c_by_table(crc, data, size);
}
