#include "common/base/table.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <string.h>

enum { FIRST_CAPACITY = 64 };

static inline uint8_t tag_of(uint64_t hash)
{
    return (uint8_t)(0x80 | hash >> 57);
}

static inline uint8_t *slot_at(const struct weir_table *table, size_t slot)
{
    return table->slots + slot * table->slot_size;
}

void weir_table_init(struct weir_table *table, size_t key_size, size_t value_size)
{
    *table = (struct weir_table){.key_size = key_size, .value_size = value_size};
    table->value_at = (key_size + 7) & ~(size_t)7;
    table->slot_size = ((table->value_at + value_size + 7) & ~(size_t)7) + sizeof(uint64_t); /* its hash, last */
}

void weir_table_fini(struct weir_table *table)
{
    weir_free(table->slots);
    weir_free(table->tags);
    weir_table_init(table, table->key_size, table->value_size);
}

void weir_table_clear(struct weir_table *table)
{
    if (table->count > 0) memset(table->tags, 0, table->capacity);
    table->count = 0;
}

/** The slot that holds @key, or the free slot where it belongs. There is always a free one. */
static size_t probe(const struct weir_table *table, const void *key, uint64_t hash)
{
    size_t mask = table->capacity - 1;
    uint8_t tag = tag_of(hash);
    for (size_t slot = hash & mask;; slot = (slot + 1) & mask) {
        if (table->tags[slot] == 0) return slot;
        if (table->tags[slot] == tag && memcmp(slot_at(table, slot), key, table->key_size) == 0) return slot;
    }
}

/* Growing needs each entry's hash again; it is kept at the end of the slot, so that any hash function will do. */
static int grow(struct weir_table *table, size_t capacity)
{
    struct weir_table bigger = *table;
    bigger.capacity = capacity;
    bigger.slots = weir_aligned_alloc(64, capacity * table->slot_size);
    bigger.tags = weir_calloc(capacity, 1);
    if (bigger.slots == NULL || bigger.tags == NULL) {
        weir_free(bigger.slots);
        weir_free(bigger.tags);
        return WEIR_ENOMEM;
    }
    size_t mask = capacity - 1;
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->tags[i] == 0) continue;
        const uint8_t *from = slot_at(table, i);
        uint64_t hash;
        memcpy(&hash, from + table->slot_size - sizeof hash, sizeof hash);
        size_t slot = hash & mask;
        while (bigger.tags[slot] != 0)
            slot = (slot + 1) & mask;
        bigger.tags[slot] = table->tags[i];
        memcpy(slot_at(&bigger, slot), from, table->slot_size);
    }
    weir_free(table->slots);
    weir_free(table->tags);
    *table = bigger;
    return 0;
}

int weir_table_reserve(struct weir_table *table, size_t count)
{
    size_t capacity = table->capacity == 0 ? FIRST_CAPACITY : table->capacity;
    while (capacity / 8 * 7 < count)
        capacity *= 2;
    return capacity == table->capacity ? 0 : grow(table, capacity);
}

void *weir_table_add(struct weir_table *table, const void *key, uint64_t hash, bool *added)
{
    if (table->count >= table->capacity / 8 * 7 && weir_table_reserve(table, table->count + 1) < 0) return NULL;

    size_t slot = probe(table, key, hash);
    uint8_t *at = slot_at(table, slot);
    bool is_new = table->tags[slot] == 0;
    if (is_new) {
        table->tags[slot] = tag_of(hash);
        memcpy(at, key, table->key_size);
        memset(at + table->value_at, 0, table->value_size);
        memcpy(at + table->slot_size - sizeof hash, &hash, sizeof hash);
        table->count++;
    }
    if (added != NULL) *added = is_new;
    return at + table->value_at;
}

void *weir_table_find(const struct weir_table *table, const void *key, uint64_t hash)
{
    if (table->count == 0) return NULL;
    size_t slot = probe(table, key, hash);
    return table->tags[slot] == 0 ? NULL : slot_at(table, slot) + table->value_at;
}

const void *weir_table_next(const struct weir_table *table, size_t *at, void **value)
{
    for (; *at < table->capacity; (*at)++) {
        if (table->tags[*at] == 0) continue;
        uint8_t *slot = slot_at(table, (*at)++);
        if (value != NULL) *value = slot + table->value_at;
        return slot;
    }
    return NULL;
}

size_t weir_table_bytes(const struct weir_table *table)
{
    return table->capacity * (table->slot_size + 1);
}
