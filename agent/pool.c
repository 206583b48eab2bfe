#include "agent/pool.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <assert.h>
#include <pthread.h>

/* Blocks are 1, 2, 4 .. 64 units large; a whole one holds a full batch and begins at a page. */
enum { UNIT_ROWS = 64, ORDERS = 7, WHOLE = ORDERS - 1, WHOLE_UNITS = 1 << WHOLE, NOWHERE = UINT32_MAX };
_Static_assert(UNIT_ROWS << WHOLE == WEIR_BATCH_MOST, "a full batch takes a whole block");

/** What is known of a unit. */
struct place {
    bool is_free; /* a free block begins here */
    uint8_t order;
    uint32_t next; /* free blocks of this order */
    uint32_t before;
};

/** What is known of a whole block. */
struct whole {
    bool resident;              /* or a part of it */
    int64_t idle_since_mono_ms; /* 0: it is not known to be idle */
};

struct agent_pool {
    pthread_mutex_t lock;
    size_t unit_bytes;
    uint32_t units; /* a multiple of WHOLE_UNITS */
    uint32_t taken; /* units */
    uint8_t *region;
    struct weir_batch *batches; /* the one whose block begins at each unit; resident only where it was used */
    struct place *places;
    struct whole *wholes;
    uint32_t first[ORDERS]; /* free blocks; the one that came back last is the first */
};

static uint32_t order_of(uint32_t rows)
{
    uint32_t order = 0;
    while ((uint32_t)UNIT_ROWS << order < rows)
        order++;
    return order;
}

static size_t per_unit_bytes(void)
{
    return weir_batch_block_bytes(UNIT_ROWS) + sizeof(struct weir_batch);
}

size_t agent_pool_batch_bytes(uint32_t rows)
{
    return per_unit_bytes() << order_of(rows);
}

/* ---- free blocks ---- */

static void push(struct agent_pool *pool, uint32_t unit, uint32_t order)
{
    struct place *place = &pool->places[unit];
    *place = (struct place){true, (uint8_t)order, pool->first[order], NOWHERE};
    if (place->next != NOWHERE) pool->places[place->next].before = unit;
    pool->first[order] = unit;
}

static void pull(struct agent_pool *pool, uint32_t unit)
{
    struct place *place = &pool->places[unit];
    place->is_free = false;
    *(place->before == NOWHERE ? &pool->first[place->order] : &pool->places[place->before].next) = place->next;
    if (place->next != NOWHERE) pool->places[place->next].before = place->before;
}

/** The first unit of a block of 2^@order units, of the smallest free one that holds it; NOWHERE. */
static uint32_t take_block(struct agent_pool *pool, uint32_t order)
{
    uint32_t from = order;
    while (from < ORDERS && pool->first[from] == NOWHERE)
        from++;
    if (from == ORDERS) return NOWHERE;
    uint32_t unit = pool->first[from];
    pull(pool, unit);
    while (from > order) {
        from--;
        push(pool, unit + (1u << from), from);
    }
    pool->wholes[unit / WHOLE_UNITS] = (struct whole){.resident = true};
    pool->taken += 1u << order;
    return unit;
}

static void give_block(struct agent_pool *pool, uint32_t unit, uint32_t order)
{
    pool->taken -= 1u << order;
    for (; order < WHOLE; order++) {
        uint32_t buddy = unit ^ 1u << order;
        if (!pool->places[buddy].is_free || pool->places[buddy].order != order) break;
        pull(pool, buddy);
        unit &= buddy;
    }
    push(pool, unit, order);
}

/* ---- life ---- */

int agent_pool_create(size_t most_bytes, struct agent_pool **ret)
{
    struct agent_pool *pool = weir_calloc(1, sizeof *pool);
    if (pool == NULL) return WEIR_ENOMEM;
    pthread_mutex_init(&pool->lock, NULL);
    size_t wholes = most_bytes / (per_unit_bytes() * WHOLE_UNITS);
    if (wholes == 0) wholes = 1;
    pool->unit_bytes = weir_batch_block_bytes(UNIT_ROWS);
    pool->units = (uint32_t)wholes * WHOLE_UNITS;
    pool->wholes = weir_calloc(wholes, sizeof *pool->wholes);
    pool->places = weir_calloc(pool->units, sizeof *pool->places);
    pool->region = weir_pages_map(pool->units * pool->unit_bytes);
    pool->batches = weir_pages_map(pool->units * sizeof *pool->batches);
    if (pool->wholes == NULL || pool->places == NULL || pool->region == NULL || pool->batches == NULL) {
        agent_pool_destroy(pool);
        return WEIR_ENOMEM;
    }
    for (uint32_t order = 0; order < ORDERS; order++)
        pool->first[order] = NOWHERE;
    for (uint32_t unit = pool->units; unit > 0; unit -= WHOLE_UNITS)
        push(pool, unit - WHOLE_UNITS, WHOLE);
    weir_mem_hide(pool->region, pool->units * pool->unit_bytes);
    *ret = pool;
    return 0;
}

void agent_pool_destroy(struct agent_pool *pool)
{
    if (pool == NULL) return;
    assert(pool->taken == 0);
    weir_pages_unmap(pool->region, pool->units * pool->unit_bytes);
    weir_pages_unmap(pool->batches, pool->units * sizeof *pool->batches);
    pthread_mutex_destroy(&pool->lock);
    weir_free(pool->wholes);
    weir_free(pool->places);
    weir_free(pool);
}

/* ---- batches ---- */

int agent_pool_take(struct agent_pool *pool, uint32_t rows, struct weir_batch **ret)
{
    uint32_t order = order_of(rows);
    pthread_mutex_lock(&pool->lock);
    uint32_t unit = take_block(pool, order);
    pthread_mutex_unlock(&pool->lock);
    if (unit == NOWHERE) return WEIR_EFULL;

    struct weir_batch *batch = &pool->batches[unit];
    uint8_t *block = pool->region + unit * pool->unit_bytes;
    weir_mem_show(block, pool->unit_bytes << order);
    weir_batch_lend(batch, block, (uint32_t)UNIT_ROWS << order);
    *ret = batch;
    return 0;
}

int agent_pool_grow(struct agent_pool *pool, struct weir_batch **batch_p, uint32_t rows)
{
    struct weir_batch *grown = NULL;
    int rc = agent_pool_take(pool, rows, &grown);
    if (rc < 0) return rc;
    weir_batch_take_over(grown, *batch_p);
    agent_pool_give(pool, batch_p);
    *batch_p = grown;
    return 0;
}

void agent_pool_give(struct agent_pool *pool, struct weir_batch **batch_p)
{
    struct weir_batch *batch = *batch_p;
    *batch_p = NULL;
    if (batch == NULL) return;
    if (!batch->lent) {
        weir_batch_destroy(batch);
        return;
    }
    weir_batch_clear(batch);
    uint32_t order = order_of(batch->capacity);
    weir_mem_hide(batch->block, pool->unit_bytes << order);
    pthread_mutex_lock(&pool->lock);
    give_block(pool, (uint32_t)(batch - pool->batches), order);
    pthread_mutex_unlock(&pool->lock);
}

/* ---- idleness ---- */

static void release(struct agent_pool *pool, size_t index)
{
    size_t unit = index * WHOLE_UNITS;
    weir_pages_release(pool->region + unit * pool->unit_bytes, WHOLE_UNITS * pool->unit_bytes);
    weir_pages_release(pool->batches + unit, WHOLE_UNITS * sizeof *pool->batches);
    pool->wholes[index] = (struct whole){0};
}

void agent_pool_tidy(struct agent_pool *pool, int64_t now_mono_ms)
{
    pthread_mutex_lock(&pool->lock);
    for (size_t i = 0; i < pool->units / WHOLE_UNITS; i++) {
        const struct place *place = &pool->places[i * WHOLE_UNITS];
        struct whole *whole = &pool->wholes[i];
        if (!whole->resident || !place->is_free || place->order < WHOLE) continue;
        if (whole->idle_since_mono_ms == 0)
            whole->idle_since_mono_ms = now_mono_ms;
        else if (now_mono_ms - whole->idle_since_mono_ms >= AGENT_POOL_IDLE_MS)
            release(pool, i);
    }
    pthread_mutex_unlock(&pool->lock);
}

struct agent_pool_stats agent_pool_stats(struct agent_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    size_t resident = 0;
    for (size_t i = 0; i < pool->units / WHOLE_UNITS; i++)
        resident += pool->wholes[i].resident;
    const struct agent_pool_stats stats = {.most = pool->units * per_unit_bytes(),
                                           .taken = pool->taken * per_unit_bytes(),
                                           .idle = (resident * WHOLE_UNITS - pool->taken) * per_unit_bytes()};
    pthread_mutex_unlock(&pool->lock);
    return stats;
}
