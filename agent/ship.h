/**
 * Shipping: the thread that owns the spool, the core of delivery (ship_core.h) and the socket to a broker. Listener
 * threads pack batches and queue them; this thread writes them to the spool, syncs in groups, sends, and forgets what was
 * acknowledged.
 */
#ifndef WEIR_AGENT_SHIP_H
#define WEIR_AGENT_SHIP_H

#include "agent/gather.h"
#include "agent/ship_core.h"
#include "agent/spool.h"
#include "common/base/metric.h"
#include "common/cluster/map.h"
#include "common/net/keys.h"

enum agent_sync { AGENT_SYNC_TICK, AGENT_SYNC_BATCH, AGENT_SYNC_OFF };

struct agent_ship_conf {
    const char *name;              /* the agent's enrolled name */
    const char *tenant;            /* decides the shards, together with the sources */
    const struct weir_map *map;    /* whose brokers to use; copied */
    const struct weir_keys *keys;  /* copied */
    struct agent_spool_conf spool; /* @durable is set from @sync */
    enum agent_sync sync;
    int64_t sync_interval_ms; /* AGENT_SYNC_TICK */
    enum weir_codec codec;
    size_t queue_bytes; /* parcels on their way from the listeners */
    size_t cache_bytes; /* records that are kept in memory until they are acknowledged */
};

struct agent_ship;

/**
 * Open and recover the spool; nothing is sent before agent_ship_start. @metrics must outlive the ship; it has the rows of
 * agent/counters.def. WEIR_EDENIED, WEIR_EIO, WEIR_ENOSPACE, WEIR_ENOMEM ...; @why says more.
 */
int agent_ship_create(const struct agent_ship_conf *conf, struct weir_metrics *metrics, struct agent_ship **ret,
                      struct weir_why *why);

/** Start the thread. WEIR_EIO. */
int agent_ship_start(struct agent_ship *ship, struct weir_why *why);

/** Where closed batches go: packs them at once, and gives them back to @pool, which must outlive the listeners. */
struct agent_sink agent_ship_sink(struct agent_ship *ship);
void agent_ship_set_pool(struct agent_ship *ship, struct agent_pool *pool);

/**
 * Take a batch that was made from something that is read again after a crash: see agent_spool_append for @mark. The
 * batch stays the caller's. WEIR_EFULL: the queue or half of the spool is full; wait and come back. WEIR_ENOMEM.
 * One thread, or in turns, with marks that go up.
 */
int agent_ship_put(struct agent_ship *ship, const struct weir_batch *batch, uint64_t mark);

/** The mark of those given to agent_ship_put up to which everything is in the spool, and synced. Any thread. */
uint64_t agent_ship_mark(struct agent_ship *ship);

/** Sync what was put so far, rather than at the next tick: somebody waits for its mark. Any thread. */
void agent_ship_hurry(struct agent_ship *ship);

/** The highest mark that was in the spool when it was opened. */
uint64_t agent_ship_mark_found(const struct agent_ship *ship);

/** Use the brokers of another map from now on (copied). A session with a broker that is in both goes on. Any thread.
 *  WEIR_ENOMEM, WEIR_EPARAM (it has none). */
int agent_ship_set_brokers(struct agent_ship *ship, const struct weir_map *map);

/** Begin to leave: spool and sync what is queued. The listeners must have stopped. Any thread. */
void agent_ship_drain(struct agent_ship *ship);

/** Is all that was queued synced? Any thread. */
bool agent_ship_is_drained(struct agent_ship *ship);

/** Join the thread, sync and close the spool. NULL is allowed. */
void agent_ship_destroy(struct agent_ship *ship);

/** One line for people: broker, backlog. Any thread. */
void agent_ship_line(struct agent_ship *ship, struct weir_buf *out);

#endif
