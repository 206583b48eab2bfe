/**
 * Asking all aggregators of the map: each shard's question goes to one of its owners, the answers are merged.
 *
 * The sockets live on the main loop's thread; asking is for the workers of the HTTP server, which wait for it. An
 * aggregator that is not connected, refuses, or does not answer in time is a source of the answer that is not ok.
 */
#ifndef WEIR_CONSOLE_HTTP_SCATTER_H
#define WEIR_CONSOLE_HTTP_SCATTER_H

#include "common/cluster/map.h"
#include "common/daemon/loop.h"
#include "common/net/keys.h"
#include "console/http/ask.h"
#include "console/http/counters.h"

struct console_scatter;

struct console_scatter_conf {
    struct weir_loop *loop;
    const struct weir_map *map;   /* borrowed for the life of the scatter; its shards are copied */
    const struct weir_keys *keys; /* copied */
    struct weir_metrics *metrics;
    _Atomic uint64_t *answer_most; /* largest answer of one aggregator, in bytes; read at each chunk */
};

/** Connect to every aggregator, in the background. On the loop's thread. WEIR_EPARAM, WEIR_EIO, WEIR_ENOMEM. */
int console_scatter_create(const struct console_scatter_conf *conf, struct console_scatter **ret, struct weir_why *why);

/** Other owners from the next question on; indices are those of the map. On the loop's thread. */
void console_scatter_set_shards(struct console_scatter *scatter, const struct weir_shard shards[WEIR_SHARDS]);

/** A console_ask_fn; @ctx is the scatter. Any thread but the loop's. */
int console_scatter_ask(void *ctx, const struct weir_question *question, struct weir_answer *answer);

/** How many aggregators have a connection now. Any thread. */
uint32_t console_scatter_connected(const struct console_scatter *scatter);

/** Questions under way. Any thread. */
uint32_t console_scatter_active(struct console_scatter *scatter);

/**
 * Refuse new questions (WEIR_ECLOSED) and end those about the fleet, which the status listener may be waiting for; the
 * others go on. On the loop's thread.
 */
void console_scatter_drain(struct console_scatter *scatter);

/** End all questions under way too. The loop need not run any more. On its thread. */
void console_scatter_close(struct console_scatter *scatter);

/** After close, when nobody asks any more. NULL is allowed. On the loop's thread. */
void console_scatter_destroy(struct console_scatter *scatter);

#endif
