/**
 * Flow logs by HTTP: POST /feeds/NAME puts a body into the inbox (agent/inbox.h) and answers 200 when it is durable there.
 * A body is a log as its maker writes it, or gzip of one; or a delivery of Amazon Data Firehose, which is known by the
 * head X-Amz-Firehose-Request-Id and answered in its form.
 *
 * The key is looked at before the body is taken: `Authorization: Bearer KEY` or `X-Amz-Firehose-Access-Key: KEY`. A request
 * that comes again with its X-Amz-Firehose-Request-Id or its Idempotency-Key is answered 200 and not taken again.
 */
#ifndef WEIR_AGENT_PUSH_H
#define WEIR_AGENT_PUSH_H

#include "agent/conf.h"
#include "agent/inbox.h"
#include "common/base/metric.h"

struct agent_push;

struct agent_push_conf {
    const char *listen; /* as the options push_listen, push_tls_cert, push_tls_key and push_keys */
    const char *tls_cert;
    const char *tls_key;
    const char *keys;
    size_t body_most;
    const struct agent_feed_conf *feeds; /* must outlive it, as the inbox must */
    size_t feed_count;
    struct agent_inbox *inbox; /* has the feeds without a path, in their order */
};

/**
 * Listen. @metrics (rows of agent/counters.def) must outlive it. WEIR_EPARAM, WEIR_EIO, WEIR_EDENIED, WEIR_ENOMEM; @why
 * says more.
 */
int agent_push_create(const struct agent_push_conf *conf, struct weir_metrics *metrics, struct agent_push **ret,
                      struct weir_why *why);

/** Read the keys again, from @keys; when that fails they stay. Any thread. WEIR_EPARAM, WEIR_EIO, WEIR_EDENIED. */
int agent_push_reload(struct agent_push *push, const char *keys, struct weir_why *why);

/** Take nothing new: answer 503. Any thread. */
void agent_push_stop(struct agent_push *push);

/** Set what is counted elsewhere than where it happens. Any thread. */
void agent_push_refresh(struct agent_push *push);

/** "127.0.0.1:41234", as it was bound. Borrowed. */
const char *agent_push_address(const struct agent_push *push);

/** Stop: waits for a request that is being answered. NULL is allowed. */
void agent_push_destroy(struct agent_push *push);

#endif
