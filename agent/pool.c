#include "agent/pool.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <pthread.h>

/* Batches grow in these steps, so a kept batch always fits a later one exactly. */
static const uint32_t class_rows[] = {64, 256, 1024, WEIR_BATCH_MOST};
enum { CLASSES = sizeof class_rows / sizeof *class_rows, MOST_KEPT = 256 };

struct shelf {
    struct weir_batch *batch[MOST_KEPT];
    size_t count;
};

struct agent_pool {
    pthread_mutex_t lock;
    size_t most_bytes;
    size_t bytes;
    struct shelf shelf[CLASSES];
};

static int class_of(uint32_t rows)
{
    int class = 0;
    while (class_rows[class] < rows)
        class ++;
    return class;
}

size_t agent_pool_batch_bytes(uint32_t rows)
{
    size_t row_bytes = 0;
    for (int f = 0; f < WEIR_FIELD_COUNT; f++)
        row_bytes += weir_fields[f].width;
    return sizeof(struct weir_batch) + row_bytes * class_rows[class_of(rows)];
}

int agent_pool_create(size_t most_bytes, struct agent_pool **ret)
{
    struct agent_pool *pool = weir_calloc(1, sizeof *pool);
    if (pool == NULL) return WEIR_ENOMEM;
    pthread_mutex_init(&pool->lock, NULL);
    pool->most_bytes = most_bytes;
    *ret = pool;
    return 0;
}

void agent_pool_destroy(struct agent_pool *pool)
{
    if (pool == NULL) return;
    for (int class = 0; class < CLASSES; class ++) {
        for (size_t i = 0; i < pool->shelf[class].count; i++)
            weir_batch_destroy(pool->shelf[class].batch[i]);
    }
    pthread_mutex_destroy(&pool->lock);
    weir_free(pool);
}

int agent_pool_take(struct agent_pool *pool, uint32_t rows, struct weir_batch **ret)
{
    int class = class_of(rows);
    struct shelf *shelf = &pool->shelf[class];
    struct weir_batch *batch = NULL;
    pthread_mutex_lock(&pool->lock);
    if (shelf->count > 0) {
        batch = shelf->batch[--shelf->count];
        pool->bytes -= agent_pool_batch_bytes(batch->capacity);
    }
    pthread_mutex_unlock(&pool->lock);
    if (batch == NULL) return weir_batch_create(class_rows[class], ret);

    *ret = batch;
    return 0;
}

void agent_pool_give(struct agent_pool *pool, struct weir_batch **batch_p)
{
    struct weir_batch *batch = *batch_p;
    *batch_p = NULL;
    if (batch == NULL) return;

    weir_batch_clear(batch);
    struct shelf *shelf = &pool->shelf[class_of(batch->capacity)];
    size_t bytes = agent_pool_batch_bytes(batch->capacity);
    pthread_mutex_lock(&pool->lock);
    if (shelf->count < MOST_KEPT && pool->bytes + bytes <= pool->most_bytes) {
        shelf->batch[shelf->count++] = batch;
        pool->bytes += bytes;
        batch = NULL;
    }
    pthread_mutex_unlock(&pool->lock);
    weir_batch_destroy(batch);
}

size_t agent_pool_bytes(struct agent_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    size_t bytes = pool->bytes;
    pthread_mutex_unlock(&pool->lock);
    return bytes;
}
