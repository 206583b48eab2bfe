#include "aggregator/heard.h"

#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

#include <pthread.h>

/* Slots by hash with linear probing over a few; a crowded place evicts its most silent. */
enum { SLOTS = 2 * AGG_HEARD_MOST, PROBES = 16 };

struct agg_heard {
    pthread_mutex_t mutex;
    struct agg_heard_peer *slots;
};

int agg_heard_create(struct agg_heard **ret)
{
    struct agg_heard *heard = weir_calloc(1, sizeof *heard);
    if (heard == NULL) return WEIR_ENOMEM;
    pthread_mutex_init(&heard->mutex, NULL);
    heard->slots = weir_calloc(SLOTS, sizeof *heard->slots);
    if (heard->slots == NULL) {
        agg_heard_destroy(heard);
        return WEIR_ENOMEM;
    }
    *ret = heard;
    return 0;
}

void agg_heard_destroy(struct agg_heard *heard)
{
    if (heard == NULL) return;
    pthread_mutex_destroy(&heard->mutex);
    weir_free(heard->slots);
    weir_free(heard);
}

/** The slot of a peer, emptied when it is a new one. Under the mutex. */
static struct agg_heard_peer *slot_of(struct agg_heard *heard, enum agg_heard_role role, const char *name)
{
    uint64_t hash = weir_hash64(name, strlen(name), role);
    struct agg_heard_peer *silent = NULL;
    for (size_t i = 0; i < PROBES; i++) {
        struct agg_heard_peer *slot = &heard->slots[(hash + i) % SLOTS];
        if (slot->last_heard_ms != 0 && slot->role == role && strcmp(slot->name, name) == 0) return slot;
        if (silent == NULL || slot->last_heard_ms < silent->last_heard_ms) silent = slot;
    }
    *silent = (struct agg_heard_peer){.role = role};
    strncpy(silent->name, name, sizeof silent->name - 1);
    return silent;
}

void agg_heard_batch(struct agg_heard *heard, const struct weir_msg *msg, const struct weir_batch_header *header,
                     int64_t now_ms)
{
    pthread_mutex_lock(&heard->mutex);
    struct agg_heard_peer *agent = slot_of(heard, AGG_HEARD_AGENT, msg->name);
    memcpy(agent->site, msg->site, sizeof agent->site);
    memcpy(agent->tenant, msg->tenant, sizeof agent->tenant);
    agent->last_heard_ms = now_ms;
    if (header->last_received_ms > agent->last_received_ms) agent->last_received_ms = header->last_received_ms;
    agent->batches++;
    if (header->kind == WEIR_RECORD_DATA) agent->flows += header->totals.flows;
    agent->spool_bytes = msg->spool_bytes;
    agent->spool_oldest_ms = msg->spool_oldest_ms;
    pthread_mutex_unlock(&heard->mutex);
}

void agg_heard_broker(struct agg_heard *heard, const char *name, int64_t now_ms)
{
    pthread_mutex_lock(&heard->mutex);
    slot_of(heard, AGG_HEARD_BROKER, name)->last_heard_ms = now_ms;
    pthread_mutex_unlock(&heard->mutex);
}

size_t agg_heard_copy(struct agg_heard *heard, struct agg_heard_peer *out, size_t most)
{
    size_t count = 0;
    pthread_mutex_lock(&heard->mutex);
    for (size_t i = 0; i < SLOTS && count < most; i++) {
        if (heard->slots[i].last_heard_ms != 0) out[count++] = heard->slots[i];
    }
    pthread_mutex_unlock(&heard->mutex);
    return count;
}

int64_t agg_heard_asof_ms(struct agg_heard *heard, int64_t now_ms, uint64_t *live)
{
    int64_t asof_ms = 0;
    uint64_t count = 0;
    pthread_mutex_lock(&heard->mutex);
    for (size_t i = 0; i < SLOTS; i++) {
        const struct agg_heard_peer *peer = &heard->slots[i];
        if (peer->role != AGG_HEARD_AGENT || peer->last_heard_ms < now_ms - AGG_HEARD_LIVE_MS) continue;
        if (peer->last_heard_ms == 0) continue;
        count++;
        if (asof_ms == 0 || peer->last_received_ms < asof_ms) asof_ms = peer->last_received_ms;
    }
    pthread_mutex_unlock(&heard->mutex);
    if (live != NULL) *live = count;
    return asof_ms;
}
