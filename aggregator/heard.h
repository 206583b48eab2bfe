/**
 * Who was heard: agents through their batches, brokers through their messages. For people, metrics and the age of
 * answers; delivery does not depend on it. Bounded: past the limit the one silent longest is forgotten.
 *
 * Any thread.
 */
#ifndef WEIR_AGGREGATOR_HEARD_H
#define WEIR_AGGREGATOR_HEARD_H

#include "common/cluster/msg.h"

enum { AGG_HEARD_MOST = 4096, AGG_HEARD_LIVE_MS = 5 * 60 * 1000 };

enum agg_heard_role { AGG_HEARD_AGENT, AGG_HEARD_BROKER };

struct agg_heard_peer {
    enum agg_heard_role role;
    char name[WEIR_NAME_BYTES];
    char site[WEIR_NAME_BYTES];
    char tenant[WEIR_NAME_BYTES];
    int64_t last_heard_ms; /* our clock */
    /* of agents */
    int64_t last_received_ms; /* the agent's clock, of its newest stored batch */
    uint64_t batches;
    uint64_t flows;
    uint64_t spool_bytes;
    int64_t spool_oldest_ms;
};

struct agg_heard;

/** WEIR_ENOMEM. */
int agg_heard_create(struct agg_heard **ret);
void agg_heard_destroy(struct agg_heard *heard);

/** A batch of an agent was stored. */
void agg_heard_batch(struct agg_heard *heard, const struct weir_msg *msg, const struct weir_batch_header *header,
                     int64_t now_ms);

/** A broker said something. */
void agg_heard_broker(struct agg_heard *heard, const char *name, int64_t now_ms);

/** Copy up to @most of them to @out; returns how many. */
size_t agg_heard_copy(struct agg_heard *heard, struct agg_heard_peer *out, size_t most);

/**
 * What every live agent received before this moment is stored, as far as we know of them: the earliest of their newest
 * batches. 0 when none was heard in the last five minutes. *live (may be NULL) counts them.
 */
int64_t agg_heard_asof_ms(struct agg_heard *heard, int64_t now_ms, uint64_t *live);

#endif
