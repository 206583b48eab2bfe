/**
 * Lists of sums that only grow: what roll-up adds to for every flow. Appending is a copy to the end; what has one key
 * is added up when the list is sorted (roll_sort.h). The memory is in segments of one size that come from a pool and go
 * back to it.
 *
 * One thread.
 */
#ifndef WEIR_AGGREGATOR_LISTS_H
#define WEIR_AGGREGATOR_LISTS_H

#include "common/flow/answer.h"

enum { AGG_ADDRESS_BITS = 24, AGG_PACKETS_BITS = 16, AGG_PACKETS_MOST = (1 << AGG_PACKETS_BITS) - 1 };

/**
 * Of flows that are not sampled: nothing to scale, no variance. What does not fit is a wide sum, or several. A key is
 * the id of an address 24 | another one's id, or protocol 8 and port 16.
 */
struct agg_sum {
    uint64_t key_packets; /* key 48 | packets 16 */
    uint32_t bytes;
    uint32_t flows;
};

struct agg_wide_sum {
    uint64_t key; /* 48 | 0 16 */
    struct weir_counts counts;
};

static inline size_t agg_sum_size(bool wide)
{
    return wide ? sizeof(struct agg_wide_sum) : sizeof(struct agg_sum);
}

/** The key of a sum of either kind. */
static inline uint64_t agg_key_of(const void *sum)
{
    uint64_t first;
    memcpy(&first, sum, sizeof first);
    return first >> AGG_PACKETS_BITS;
}

static inline uint32_t agg_key_upper(uint64_t key)
{
    return (uint32_t)(key >> AGG_ADDRESS_BITS);
}

static inline uint32_t agg_key_lower(uint64_t key)
{
    return key & ((1u << AGG_ADDRESS_BITS) - 1);
}

enum { AGG_SEGMENT_BYTES = 8192, AGG_SEGMENT_ROOM = AGG_SEGMENT_BYTES - 64 };

struct agg_segment {
    struct agg_segment *next;
    size_t bytes; /* in use */
    _Alignas(64) uint8_t data[AGG_SEGMENT_ROOM];
};

_Static_assert(sizeof(struct agg_segment) == AGG_SEGMENT_BYTES, "segments fill their blocks");

/** Zero-filled: empty. */
struct agg_pool {
    struct agg_segment *free;
    size_t free_count;
    size_t count; /* free or not */
    void **blocks;
    size_t block_count;
    size_t block_room;
};

/** Have @count segments free. WEIR_ENOMEM. */
int agg_pool_reserve(struct agg_pool *pool, size_t count);

/** Give the memory back if all of it is free and it is more than @keep_bytes. */
void agg_pool_trim(struct agg_pool *pool, size_t keep_bytes);

void agg_pool_fini(struct agg_pool *pool);

/** Zero-filled: empty. Holds struct agg_sum or struct agg_wide_sum, one of them. */
struct agg_list {
    struct agg_segment *first;
    struct agg_segment *last;
    size_t count; /* of sums */
    size_t segments;
    bool sorted; /* by the first address, and added up (roll_sort.h) */
};

/** Sums of @size bytes that fit into a segment. */
static inline size_t agg_segment_sums(size_t size)
{
    return AGG_SEGMENT_ROOM / size;
}

/** Segments that the list will take for @more sums of @size bytes. */
static inline size_t agg_list_needs(const struct agg_list *list, size_t more, size_t size)
{
    size_t left = list->last == NULL ? 0 : (AGG_SEGMENT_ROOM - list->last->bytes) / size;
    return more <= left ? 0 : (more - left + agg_segment_sums(size) - 1) / agg_segment_sums(size);
}

/** Add a segment, of which there must be one free. */
void agg_list_grow(struct agg_list *list, struct agg_pool *pool);

/** Give all segments back. */
void agg_list_clear(struct agg_list *list, struct agg_pool *pool);

/**
 * Append all sums of @from to @to, which takes its segments over, or copies what fills less than one. At most
 * one segment must be free.
 */
void agg_list_move(struct agg_list *from, struct agg_list *to, struct agg_pool *pool, size_t size);

/** Room for one sum of @size bytes at the end. There must be a segment free if the last one is full. */
static inline void *agg_list_append(struct agg_list *list, struct agg_pool *pool, size_t size)
{
    if (__builtin_expect(list->last == NULL || list->last->bytes + size > AGG_SEGMENT_ROOM, 0))
        agg_list_grow(list, pool);
    void *at = list->last->data + list->last->bytes;
    list->last->bytes += size;
    list->count++;
    list->sorted = false;
    return at;
}

#endif
