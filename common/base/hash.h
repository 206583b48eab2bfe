/**
 * Hashes and checksums. xxHash (this file's .c is its only reader) for tables and sharding, CRC32C for bytes at
 * rest and on the wire.
 */
#ifndef WEIR_COMMON_BASE_HASH_H
#define WEIR_COMMON_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/** XXH3, 64 bits. Stable for ever: shard numbers depend on it. */
uint64_t weir_hash64(const void *data, size_t size, uint64_t seed);

/** XXH3, 128 bits, canonical (big-endian) bytes. */
void weir_hash128(const void *data, size_t size, uint8_t out[16]);

/** CRC32C (Castagnoli, RFC 3720 12.1), continuing from @crc; begin with 0. Uses SSE4.2 where the machine has it. */
uint32_t weir_crc32c(uint32_t crc, const void *data, size_t size);

/** The same without SSE4.2. */
uint32_t weir_crc32c_by_table(uint32_t crc, const void *data, size_t size);

#endif
