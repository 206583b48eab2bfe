/**
 * An open-addressing hash table of fixed-size keys and values, for aggregation: find or add, walk, clear. No removal.
 *
 * Keys and values lie together in one slot, so that a hit costs one cache line for small entries. Grows by doubling
 * at 7/8 full. Pointers into it are valid until the next weir_table_add.
 */
#ifndef WEIR_COMMON_BASE_TABLE_H
#define WEIR_COMMON_BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_table {
    uint8_t *slots;
    uint8_t *tags; /* 0: free; else 0x80 | seven bits of the hash */
    size_t key_size;
    size_t value_size;
    size_t slot_size;
    size_t value_at;
    size_t count;
    size_t capacity; /* a power of two, or 0 before the first entry */
};

/** An empty table; allocates nothing yet. Values are aligned to 8 bytes. */
void weir_table_init(struct weir_table *table, size_t key_size, size_t value_size);
void weir_table_fini(struct weir_table *table);

/** Forget all entries, keep the memory. */
void weir_table_clear(struct weir_table *table);

/** Have room for @count entries without growing. WEIR_ENOMEM. */
int weir_table_reserve(struct weir_table *table, size_t count);

/** The value of @key, zero-filled when new (*added, may be NULL, says so); NULL when memory runs out. */
void *weir_table_add(struct weir_table *table, const void *key, uint64_t hash, bool *added);

/** The value of @key, or NULL. @hash is weir_hash64 of the key or any other, as long as it is always the same. */
void *weir_table_find(const struct weir_table *table, const void *key, uint64_t hash);

/** Ask for the slot of @hash to be fetched into the cache, some entries before it is used. */
static inline void weir_table_prefetch(const struct weir_table *table, uint64_t hash)
{
    if (table->capacity == 0) return;
    size_t slot = hash & (table->capacity - 1);
    __builtin_prefetch(table->tags + slot);
    __builtin_prefetch(table->slots + slot * table->slot_size, 1);
}

/** Walk: set *at to 0, then call until it returns NULL; yields each key once and its value through @value. */
const void *weir_table_next(const struct weir_table *table, size_t *at, void **value);

/** Bytes of memory held. */
size_t weir_table_bytes(const struct weir_table *table);

#endif
