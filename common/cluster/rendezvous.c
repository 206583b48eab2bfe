#include "common/cluster/rendezvous.h"

#include "common/base/bytes.h"
#include "common/base/hash.h"

/** -log2((hash + 1) / 2^64) in 1/2^24, in integers so that every machine agrees to the last bit. */
static uint64_t minus_log2(uint64_t hash)
{
    if (hash == UINT64_MAX) return 1; /* the logarithm of 1 is 0, and nothing can be divided by it */
    uint64_t value = hash + 1;
    uint64_t whole = (uint64_t)__builtin_clzll(value);
    uint64_t mantissa = value << whole >> 32; /* [1, 2) with 31 bits behind the point */
    uint64_t fraction = 0;
    for (int bit = 0; bit < 24; bit++) {
        mantissa = mantissa * mantissa >> 31;
        fraction <<= 1;
        if (mantissa >> 32 != 0) {
            fraction |= 1;
            mantissa >>= 1;
        }
    }
    uint64_t result = (whole + 1) * (1u << 24) - fraction;
    return result == 0 ? 1 : result;
}

uint64_t weir_rendezvous(const char *node, uint32_t shard)
{
    uint8_t key[4];
    weir_store_u32be(key, shard);
    return minus_log2(weir_hash64(key, sizeof key, weir_hash64(node, strlen(node), 0)));
}
