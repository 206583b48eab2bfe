#include "agent/parcel.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <pthread.h>

/** What one thread needs while it packs. */
struct bench {
    struct bench *next;
    struct weir_batch_encoder *encoder;
    struct weir_buf header;
    struct weir_buf body;
};

struct agent_packer {
    char *tenant;
    enum weir_codec codec;
    pthread_mutex_t lock;
    struct bench *idle;
};

struct agent_queue {
    pthread_mutex_t lock;
    size_t bytes_most;
    size_t bytes;
    uint64_t flows;
    struct agent_parcel *first;
    struct agent_parcel *last;
};

void agent_parcel_destroy(struct agent_parcel *parcel)
{
    if (parcel == NULL) return;
    weir_frames_clear(&parcel->frames);
    weir_free(parcel);
}

/* ---- packing ---- */

static void destroy_bench(struct bench *bench)
{
    if (bench == NULL) return;
    weir_batch_encoder_destroy(bench->encoder);
    weir_buf_fini(&bench->header);
    weir_buf_fini(&bench->body);
    weir_free(bench);
}

int agent_packer_create(const char *tenant, enum weir_codec codec, struct agent_packer **ret)
{
    struct agent_packer *packer = weir_calloc(1, sizeof *packer);
    if (packer == NULL) return WEIR_ENOMEM;
    packer->tenant = weir_strdup(tenant);
    if (packer->tenant == NULL) {
        weir_free(packer);
        return WEIR_ENOMEM;
    }
    packer->codec = codec;
    pthread_mutex_init(&packer->lock, NULL);
    *ret = packer;
    return 0;
}

void agent_packer_destroy(struct agent_packer *packer)
{
    if (packer == NULL) return;
    while (packer->idle != NULL) {
        struct bench *bench = packer->idle;
        packer->idle = bench->next;
        destroy_bench(bench);
    }
    pthread_mutex_destroy(&packer->lock);
    weir_free(packer->tenant);
    weir_free(packer);
}

static struct bench *take_bench(struct agent_packer *packer)
{
    pthread_mutex_lock(&packer->lock);
    struct bench *bench = packer->idle;
    if (bench != NULL) packer->idle = bench->next;
    pthread_mutex_unlock(&packer->lock);
    if (bench != NULL) return bench;

    bench = weir_calloc(1, sizeof *bench);
    if (bench == NULL) return NULL;
    if (weir_batch_encoder_create(packer->codec, &bench->encoder) < 0) {
        destroy_bench(bench);
        return NULL;
    }
    return bench;
}

static void give_bench(struct agent_packer *packer, struct bench *bench)
{
    pthread_mutex_lock(&packer->lock);
    bench->next = packer->idle;
    packer->idle = bench;
    pthread_mutex_unlock(&packer->lock);
}

/** A frame with a copy of its own size: what is encoded into has room for the worst case. */
static int add_frame(struct weir_frames *frames, struct weir_view view)
{
    void *memory = weir_malloc(view.size + 1);
    if (memory == NULL) return WEIR_ENOMEM;
    if (view.size > 0) memcpy(memory, view.data, view.size);
    int rc = weir_frames_give(frames, &memory, view.size);
    if (rc < 0) weir_free(memory);
    return rc;
}

static int pack(struct bench *bench, const struct weir_batch *batch, struct agent_parcel *parcel)
{
    weir_buf_clear(&bench->header);
    weir_buf_clear(&bench->body);
    int rc = weir_batch_encode(bench->encoder, batch, &parcel->header, &bench->body);
    if (rc == 0) rc = weir_batch_header_encode(&parcel->header, &bench->header);
    if (rc < 0) return rc;

    struct weir_view header = weir_buf_view(&bench->header);
    struct weir_view body = weir_buf_view(&bench->body);
    parcel->crc = weir_batch_crc(header, body);
    parcel->bytes = sizeof *parcel + header.size + body.size;
    rc = add_frame(&parcel->frames, header);
    return rc < 0 ? rc : add_frame(&parcel->frames, body);
}

int agent_packer_pack(struct agent_packer *packer, const struct weir_batch *batch, struct agent_parcel **ret)
{
    struct agent_parcel *parcel = weir_calloc(1, sizeof *parcel);
    if (parcel == NULL) return WEIR_ENOMEM;
    struct bench *bench = take_bench(packer);
    if (bench == NULL) {
        weir_free(parcel);
        return WEIR_ENOMEM;
    }
    parcel->frames = WEIR_FRAMES_INIT;
    parcel->shard = weir_shard_of(packer->tenant, &batch->source);
    int rc = pack(bench, batch, parcel);
    give_bench(packer, bench);
    if (rc < 0) {
        agent_parcel_destroy(parcel);
        return rc;
    }
    *ret = parcel;
    return 0;
}

/* ---- queue ---- */

int agent_queue_create(size_t bytes_most, struct agent_queue **ret)
{
    struct agent_queue *queue = weir_calloc(1, sizeof *queue);
    if (queue == NULL) return WEIR_ENOMEM;
    queue->bytes_most = bytes_most;
    pthread_mutex_init(&queue->lock, NULL);
    *ret = queue;
    return 0;
}

void agent_queue_destroy(struct agent_queue *queue)
{
    if (queue == NULL) return;
    struct agent_parcel *parcel = agent_queue_take_all(queue);
    while (parcel != NULL) {
        struct agent_parcel *next = parcel->next;
        agent_parcel_destroy(parcel);
        parcel = next;
    }
    pthread_mutex_destroy(&queue->lock);
    weir_free(queue);
}

bool agent_queue_is_full(struct agent_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    bool full = queue->bytes >= queue->bytes_most;
    pthread_mutex_unlock(&queue->lock);
    return full;
}

bool agent_queue_put(struct agent_queue *queue, struct agent_parcel **parcel_p)
{
    struct agent_parcel *parcel = *parcel_p;
    *parcel_p = NULL;
    parcel->next = NULL;
    pthread_mutex_lock(&queue->lock);
    bool was_empty = queue->first == NULL;
    if (was_empty)
        queue->first = parcel;
    else
        queue->last->next = parcel;
    queue->last = parcel;
    queue->bytes += parcel->bytes;
    queue->flows += parcel->header.totals.flows;
    pthread_mutex_unlock(&queue->lock);
    return was_empty;
}

struct agent_parcel *agent_queue_take_all(struct agent_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    struct agent_parcel *first = queue->first;
    queue->first = NULL;
    queue->last = NULL;
    queue->bytes = 0;
    queue->flows = 0;
    pthread_mutex_unlock(&queue->lock);
    return first;
}

struct agent_queue_stats agent_queue_stats(struct agent_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    const struct agent_queue_stats stats = {.flows = queue->flows, .bytes = queue->bytes};
    pthread_mutex_unlock(&queue->lock);
    return stats;
}
