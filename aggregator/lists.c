#include "aggregator/lists.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <assert.h>
#include <string.h>

enum { BLOCK_BYTES = 1 << 20, BLOCK_SEGMENTS = BLOCK_BYTES / AGG_SEGMENT_BYTES };

static int add_block(struct agg_pool *pool)
{
    if (pool->block_count == pool->block_room) {
        size_t room = pool->block_room == 0 ? 16 : pool->block_room * 2;
        void **blocks = weir_realloc(pool->blocks, room * sizeof *blocks);
        if (blocks == NULL) return WEIR_ENOMEM;
        pool->blocks = blocks;
        pool->block_room = room;
    }
    struct agg_segment *segments = weir_aligned_alloc(64, BLOCK_BYTES);
    if (segments == NULL) return WEIR_ENOMEM;
    pool->blocks[pool->block_count++] = segments;
    for (size_t i = BLOCK_SEGMENTS; i-- > 0;) {
        segments[i].next = pool->free;
        pool->free = &segments[i];
    }
    pool->free_count += BLOCK_SEGMENTS;
    pool->count += BLOCK_SEGMENTS;
    return 0;
}

int agg_pool_reserve(struct agg_pool *pool, size_t count)
{
    int rc = 0;
    while (rc == 0 && pool->free_count < count)
        rc = add_block(pool);
    return rc;
}

void agg_pool_trim(struct agg_pool *pool, size_t keep_bytes)
{
    if (pool->free_count == pool->count && pool->count * AGG_SEGMENT_BYTES > keep_bytes) agg_pool_fini(pool);
}

void agg_pool_fini(struct agg_pool *pool)
{
    for (size_t i = 0; i < pool->block_count; i++)
        weir_free(pool->blocks[i]);
    weir_free(pool->blocks);
    *pool = (struct agg_pool){0};
}

void agg_list_grow(struct agg_list *list, struct agg_pool *pool)
{
    struct agg_segment *segment = pool->free;
    assert(segment != NULL);
    pool->free = segment->next;
    pool->free_count--;
    segment->next = NULL;
    segment->bytes = 0;
    if (list->last == NULL)
        list->first = segment;
    else
        list->last->next = segment;
    list->last = segment;
    list->segments++;
}

void agg_list_clear(struct agg_list *list, struct agg_pool *pool)
{
    while (list->first != NULL) {
        struct agg_segment *segment = list->first;
        list->first = segment->next;
        segment->next = pool->free;
        pool->free = segment;
        pool->free_count++;
    }
    *list = (struct agg_list){0};
}

void agg_list_move(struct agg_list *from, struct agg_list *to, struct agg_pool *pool, size_t size)
{
    if (from->count == 0) return;
    if (to->first == NULL) {
        *to = *from;
        *from = (struct agg_list){0};
        return;
    }
    if (from->segments == 1) {
        for (size_t at = 0; at < from->first->bytes; at += size)
            memcpy(agg_list_append(to, pool, size), from->first->data + at, size);
        agg_list_clear(from, pool);
        return;
    }
    to->last->next = from->first;
    to->last = from->last;
    to->count += from->count;
    to->segments += from->segments;
    to->sorted = false;
    *from = (struct agg_list){0};
}
