/**
 * Receiving from brokers: the thread around intake_core. Drains what waits, writes it as one synced group, acknowledges,
 * and hands the decoded batches on to be rolled up.
 */
#ifndef WEIR_AGGREGATOR_INTAKE_H
#define WEIR_AGGREGATOR_INTAKE_H

#include "aggregator/commit.h"
#include "aggregator/heard.h"
#include "common/net/zap.h"

struct agg_receiver_conf {
    struct weir_net *net;
    const char *endpoint; /* tcp://ADDRESS:PORT */
    const struct weir_keys *keys;
    size_t max_bytes; /* largest frame */
    const char *node; /* our name, in every reply */
    struct weir_allow *allow;
    struct agg_intake_conf core;
    struct agg_store *store;
    struct agg_roller *roller;
    struct agg_heard *heard;
    struct weir_metrics *metrics;

    /**
     * A write failed in a way that leaves open what is on the disk: the process must end, so that its next start reads
     * what is really there. On the receiver's thread; nothing more is written after it.
     */
    void (*broken)(void *ctx, const struct weir_why *why);

    /** A broker knows a newer shard map than we: read it. On the receiver's thread, again and again until it is read. */
    void (*map_is_older)(void *ctx);
    void *ctx;
};

struct agg_receiver;

/** Bind and start the thread. What weir_server_create says; WEIR_ENOMEM. */
int agg_receiver_create(const struct agg_receiver_conf *conf, struct agg_receiver **ret, struct weir_why *why);

/** Write and acknowledge what is in hand, and stop. NULL is allowed. */
void agg_receiver_destroy(struct agg_receiver *receiver);

/** Where it is bound. */
const char *agg_receiver_endpoint(const struct agg_receiver *receiver);

/** Refuse new batches as busy, or take them again. Any thread. */
void agg_receiver_set_busy(struct agg_receiver *receiver, bool busy);

/** Use another allow-list from the next message on; takes a share of it. Any thread. */
void agg_receiver_swap_allow(struct agg_receiver *receiver, struct weir_allow *allow);

/** What the store says of each shard now: it must be written already. Any thread. */
void agg_receiver_set_held(struct agg_receiver *receiver, const struct agg_held held[WEIR_SHARDS]);

#endif
