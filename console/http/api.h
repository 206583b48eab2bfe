/**
 * The HTTP API (docs/API.md): a handler for common/http, over a function that asks the aggregators. Any thread.
 */
#ifndef WEIR_CONSOLE_HTTP_API_H
#define WEIR_CONSOLE_HTTP_API_H

#include "common/cluster/map.h"
#include "common/http/server.h"
#include "console/http/ask.h"
#include "console/http/counters.h"
#include "console/token/token.h"

struct console_api;

struct console_api_conf {
    const char *name;           /* of this console; copied */
    struct console_asker asker; /* asks the aggregators */
    const struct weir_map *map; /* borrowed for the life of the api */
    const char *cluster;        /* cluster.conf; copied */
    struct weir_metrics *metrics;
    /** Is there anybody to ask? Writes the reason when not. */
    bool (*ready)(void *ctx, struct weir_buf *reason);
    void *ready_ctx;
};

/** What a reload changes. */
struct console_api_settings {
    int64_t query_timeout_ms;
    int64_t query_timeout_most_ms;
    struct console_tokens *tokens; /* taken */
};

/** WEIR_ENOMEM. @settings->tokens is taken on success. */
int console_api_create(const struct console_api_conf *conf, const struct console_api_settings *settings,
                       struct console_api **ret);

/** Use other settings from the next request on; takes the tokens. Any thread. */
void console_api_set(struct console_api *api, const struct console_api_settings *settings);

/** Other owners of the shards, by the indices of the map. Any thread. */
void console_api_set_shards(struct console_api *api, const struct weir_shard shards[WEIR_SHARDS]);

/** A weir_http_fn; @ctx is the api. */
void console_api_handle(void *ctx, const struct weir_http_request *request, struct weir_http_reply *reply);

/** The samples of `each` rows, from an answer that is at most five seconds old. A weir_metric_each_fn. */
void console_api_each(void *ctx, size_t row, struct weir_buf *out);

void console_api_destroy(struct console_api *api);

#endif
