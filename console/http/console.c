#include "console/http/console.h"

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/daemon/cluster_file.h"
#include "common/daemon/cluster_follow.h"
#include "console/http/api.h"
#include "console/http/conf.h"
#include "console/http/scatter.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <unistd.h>

enum { BODY_MOST = 256 * 1024, TOKEN_FILE_MOST = 4096 * 512, HTTP_TIMEOUT_S = 120 };

struct console {
    struct weir_metrics *metrics;
    struct weir_follow *follow;
    struct weir_map *map; /* of the start: its nodes hold for the life of the console */
    struct console_scatter *scatter;
    struct console_api *api;
    struct weir_http *http;
    _Atomic uint64_t answer_most;
};

/* ---- the token file ---- */

static int read_file(const char *path, struct weir_buf *out, struct weir_why *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return weir_why_set(why, errno == ENOENT ? WEIR_ENOTFOUND : WEIR_EIO,
                            "tokens: %s: %s (`weir keys token` makes a line of it)", path, strerror(errno));
    }
    ssize_t got = 1;
    while (got > 0 && out->size <= TOKEN_FILE_MOST) {
        uint8_t *at = weir_buf_reserve(out, 4096);
        got = at == NULL ? 0 : read(fd, at, 4096);
        if (got > 0) weir_buf_commit(out, (size_t)got);
    }
    int error = errno;
    close(fd);
    if (out->failed) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    if (got < 0) return weir_why_set(why, WEIR_EIO, "tokens: %s: %s", path, strerror(error));
    if (out->size > TOKEN_FILE_MOST) return weir_why_set(why, WEIR_ELIMIT, "tokens: %s is too large", path);
    return 0;
}

static int read_tokens(const char *path, struct console_tokens **ret, struct weir_why *why)
{
    struct weir_buf text = WEIR_BUF_INIT;
    int rc = read_file(path, &text, why);
    if (rc == 0) rc = console_tokens_parse(weir_buf_cstr(&text), path, ret, why);
    weir_buf_fini(&text);
    return rc;
}

static int read_settings(const struct console_conf *conf, struct console_api_settings *ret, struct weir_why *why)
{
    *ret = (struct console_api_settings){.query_timeout_ms = conf->query_timeout_ms,
                                         .query_timeout_most_ms = conf->query_timeout_most_ms};
    return read_tokens(conf->tokens, &ret->tokens, why);
}

/* ---- life ---- */

static bool is_ready(void *ctx, struct weir_buf *reason)
{
    struct console *console = ctx;
    if (console_scatter_connected(console->scatter) > 0) return true;
    weir_buf_text(reason, "no aggregator is connected");
    return false;
}

static void console_destroy(void *self)
{
    struct console *console = self;
    if (console == NULL) return;
    weir_follow_destroy(console->follow);
    if (console->scatter != NULL) console_scatter_close(console->scatter); /* lets handlers end */
    weir_http_destroy(console->http);
    console_api_destroy(console->api);
    console_scatter_destroy(console->scatter);
    weir_map_free(console->map);
    weir_free(console);
}

static int start_scatter(const struct weir_daemon *daemon, const struct console_conf *conf, struct console *console,
                         struct weir_why *why)
{
    struct weir_keys keys;
    int rc = weir_keys_load(conf->key, &keys, why);
    if (rc < 0) return weir_why_prefix(why, rc, "key");
    struct console_scatter_conf scatter = {.loop = daemon->loop,
                                           .map = console->map,
                                           .keys = &keys,
                                           .metrics = daemon->metrics,
                                           .answer_most = &console->answer_most};
    rc = console_scatter_create(&scatter, &console->scatter, why);
    weir_keys_wipe(&keys);
    return rc;
}

static int start_api(const struct weir_daemon *daemon, const struct console_conf *conf, struct console *console,
                     struct weir_why *why)
{
    struct console_api_settings settings;
    int rc = read_settings(conf, &settings, why);
    if (rc < 0) return rc;
    struct console_api_conf api = {.name = conf->name,
                                   .asker = {.ask = console_scatter_ask, .ctx = console->scatter},
                                   .map = console->map,
                                   .cluster = conf->cluster,
                                   .metrics = daemon->metrics,
                                   .ready = is_ready,
                                   .ready_ctx = console};
    rc = console_api_create(&api, &settings, &console->api);
    if (rc < 0) {
        console_tokens_destroy(settings.tokens);
        return weir_why_set(why, rc, "out of memory");
    }
    struct weir_http_conf http = {.address = conf->listen,
                                  .tls_cert = conf->tls_cert,
                                  .tls_key = conf->tls_key,
                                  .workers = (unsigned)conf->workers,
                                  .connections = (unsigned)conf->connections,
                                  .connections_per_address = (unsigned)conf->connections_per_address,
                                  .timeout_s = HTTP_TIMEOUT_S,
                                  .body_most = BODY_MOST};
    rc = weir_http_create(&http, console_api_handle, console->api, &console->http, why);
    if (rc < 0) return weir_why_prefix(why, rc, "listen");
    weir_log(WEIR_LOG_INFO, "http.listening", "address=%s tls=%d tokens=%zu", weir_http_address(console->http),
             conf->tls_cert[0] != '\0', console_tokens_count(settings.tokens));
    return 0;
}

/** Who owns what, from the next question on. */
static void map_changed(void *ctx, struct weir_map *map)
{
    struct console *console = ctx;
    console_scatter_set_shards(console->scatter, map->shards);
    console_api_set_shards(console->api, map->shards);
    weir_log(WEIR_LOG_INFO, "map.used", "epoch=%u", map->epoch);
    weir_map_free(map);
}

static int follow_map(const struct weir_daemon *daemon, const struct console_conf *conf, struct console *console,
                      struct weir_why *why)
{
    struct weir_follow_conf follow = {.loop = daemon->loop,
                                      .metrics = daemon->common,
                                      .file = conf->cluster,
                                      .cache = conf->map_cache,
                                      .changed = map_changed,
                                      .ctx = console};
    int rc = weir_follow_create(&follow, &console->follow, why);
    return rc < 0 ? rc : weir_follow_read(console->follow, &console->map, why);
}

static int console_create(const struct weir_daemon *daemon, const void *given, void **ret, struct weir_why *why)
{
    const struct console_conf *conf = given;
    if (sodium_init() < 0) return weir_why_set(why, WEIR_EUNSUPPORTED, "libsodium cannot be used");
    struct console *console = weir_calloc(1, sizeof *console);
    if (console == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    console->metrics = daemon->metrics;
    console->answer_most = conf->answer_most_bytes;

    int rc = follow_map(daemon, conf, console, why);
    if (rc < 0) goto fail;
    rc = start_scatter(daemon, conf, console, why);
    if (rc < 0) goto fail;
    rc = start_api(daemon, conf, console, why);
    if (rc < 0) goto fail;
    *ret = console;
    return 0;

fail:
    console_destroy(console);
    return rc;
}

static int console_reload(void *self, const void *given, struct weir_why *why)
{
    struct console *console = self;
    const struct console_conf *conf = given;
    struct console_api_settings settings;
    int rc = read_settings(conf, &settings, why);
    if (rc < 0) return rc;
    size_t tokens = console_tokens_count(settings.tokens);
    console_api_set(console->api, &settings);
    console->answer_most = conf->answer_most_bytes;
    weir_log(WEIR_LOG_INFO, "tokens.read", "file=%s count=%zu", conf->tokens, tokens);
    return 0;
}

static void console_drain(void *self)
{
    struct console *console = self;
    console_scatter_drain(console->scatter);
}

static bool console_drained(void *self)
{
    struct console *console = self;
    return console_scatter_active(console->scatter) == 0;
}

static void console_refresh(void *self)
{
    struct console *console = self;
    struct weir_http_counts counts;
    weir_http_counts(console->http, &counts);
    for (size_t i = 0; i < 4; i++)
        weir_metrics_set(console->metrics, CONSOLE_http_2xx + i, counts.by_class[i]);
    weir_metrics_set(console->metrics, CONSOLE_http_too_large, counts.too_large);
    weir_metrics_set(console->metrics, CONSOLE_http_no_room, counts.no_room);
    weir_metrics_set(console->metrics, CONSOLE_http_hung_up, counts.hung_up);
}

static void console_each(void *self, size_t row, struct weir_buf *out)
{
    struct console *console = self;
    console_api_each(console->api, row, out);
}

static void console_line(void *self, struct weir_buf *out)
{
    struct console *console = self;
    weir_buf_printf(out, "%u of %u aggregators connected, %u questions under way",
                    console_scatter_connected(console->scatter), console->map->aggregator_count,
                    console_scatter_active(console->scatter));
}

static int console_check(const void *conf, struct weir_why *why)
{
    return console_conf_check(conf, why);
}

const struct weir_program console_program = {
    .name = "weir-console",
    .summary = "asks all aggregators and serves the HTTP API",
    .schema = &console_conf_schema,
    .metric_rows = console_metric_rows,
    .metric_count = CONSOLE_COUNTERS,
    .check = console_check,
    .create = console_create,
    .reload = console_reload,
    .drain = console_drain,
    .drained = console_drained,
    .ready = is_ready,
    .refresh = console_refresh,
    .each = console_each,
    .line = console_line,
    .destroy = console_destroy,
};
