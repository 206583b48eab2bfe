/**
 * The endpoint that consoles ask: a thread with the socket, and a small pool that answers, so that a slow question holds
 * up neither quick ones nor the intake. Bounded: questions past the limit are refused at once.
 */
#ifndef WEIR_AGGREGATOR_ASKER_H
#define WEIR_AGGREGATOR_ASKER_H

#include "aggregator/answer.h"
#include "common/net/zap.h"

enum { AGG_QUESTIONS_MOST = 40 }; /* waiting, being answered, being sent */

struct agg_asker_conf {
    struct weir_net *net;
    const char *endpoint;
    const struct weir_keys *keys;
    uint32_t threads;
    struct weir_allow *allow;
    const struct agg_answerer *answerer; /* lives longer than the asker */
    struct weir_metrics *metrics;
};

struct agg_asker;

/** Bind and start the threads. What weir_server_create says; WEIR_ENOMEM. */
int agg_asker_create(const struct agg_asker_conf *conf, struct agg_asker **ret, struct weir_why *why);

/** Cancel what runs, and stop. NULL is allowed. */
void agg_asker_destroy(struct agg_asker *asker);

/** Where it is bound. */
const char *agg_asker_endpoint(const struct agg_asker *asker);

/** Use another allow-list from the next message on; takes a share of it. Any thread. */
void agg_asker_swap_allow(struct agg_asker *asker, struct weir_allow *allow);

#endif
