/**
 * From batches to parcels: a batch, encoded and compressed, as the spool and the wire want it. Listener threads make
 * parcels while the batch's columns are in their caches, and put them into the queue of the ship thread.
 *
 * Any thread may call these functions; locks are held for a few instructions once per batch.
 */
#ifndef WEIR_AGENT_PARCEL_H
#define WEIR_AGENT_PARCEL_H

#include "common/net/frames.h"
#include "common/wire/batch.h"

struct agent_parcel {
    struct agent_parcel *next; /* in the queue */
    uint32_t shard;
    uint32_t crc; /* weir_batch_crc */
    struct weir_batch_header header;
    struct weir_frames frames; /* the encoded header, the body */
    size_t bytes;
    uint64_t mark; /* of what may come again (agent_spool_append); 0: none */
};

/** NULL is allowed. */
void agent_parcel_destroy(struct agent_parcel *parcel);

/** Encoders for as many threads as call at a time. */
struct agent_packer;

/** @tenant, copied, decides the shard together with the batch's source. WEIR_ENOMEM. */
int agent_packer_create(const char *tenant, enum weir_codec codec, struct agent_packer **ret);
void agent_packer_destroy(struct agent_packer *packer);

/** WEIR_ENOMEM. The batch stays the caller's. */
int agent_packer_pack(struct agent_packer *packer, const struct weir_batch *batch, struct agent_parcel **ret);

/** Parcels on their way to the ship thread. */
struct agent_queue;

/** A queue that holds at most @bytes_most of parcels. WEIR_ENOMEM. */
int agent_queue_create(size_t bytes_most, struct agent_queue **ret);

/** With what is in it; NULL is allowed. */
void agent_queue_destroy(struct agent_queue *queue);

/** Is there no room? Ask before packing; a few threads may find the same room, so it is overrun by a parcel each. */
bool agent_queue_is_full(struct agent_queue *queue);

/** Takes the parcel. True when the queue was empty: wake the ship thread. */
bool agent_queue_put(struct agent_queue *queue, struct agent_parcel **parcel_p);

/** All parcels, linked in their order, or NULL. */
struct agent_parcel *agent_queue_take_all(struct agent_queue *queue);

/** Of the parcels in it. */
struct agent_queue_stats {
    uint64_t flows;
    size_t bytes;
};
struct agent_queue_stats agent_queue_stats(struct agent_queue *queue);

#endif
