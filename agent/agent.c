#include "agent/agent.h"

#include "agent/conf.h"
#include "agent/counters.h"
#include "agent/decode/element.h"
#include "agent/feeds.h"
#include "agent/inbox.h"
#include "agent/keep.h"
#include "agent/listen.h"
#include "agent/push.h"
#include "agent/ship.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/daemon/cluster_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SEGMENTS_LEAST = 8, SEGMENT_LEAST_BYTES = 2 << 20, FREE_PERCENT = 5, FOLDER_MODE = 0750 };

struct agent {
    const struct agent_conf *conf;
    struct weir_metrics *metrics;
    struct weir_map *map;
    struct weir_keys keys;
    struct weir_prefix *allow;
    struct agent_sampling_rule *sampling;
    struct weir_extra extras[WEIR_EXTRAS_MOST];
    char *spool_dir;
    struct agent_ship *ship;
    struct agent_ring *ring; /* NULL: none */
    struct agent_keep *keep;
    struct agent_feed_conf *feed_confs; /* copied: a reload replaces the configuration */
    size_t feed_count;
    const char **pushed; /* names of the feeds without a folder */
    size_t pushed_count;
    struct agent_inbox *inbox; /* NULL: there are none */
    struct agent_feeds *feeds; /* NULL: none */
    struct agent_push *push;   /* NULL: nobody may */
    struct agent_listener *listener;
};

static const char *const default_listen[] = {"0.0.0.0:2055", "0.0.0.0:4739", "0.0.0.0:6343", "tcp://0.0.0.0:4739"};

/* ---- from options to what the parts want ---- */

static int read_exporters(struct agent *agent)
{
    const struct agent_conf *conf = agent->conf;
    agent->allow = weir_calloc(conf->exporters_count + 1, sizeof *agent->allow);
    agent->sampling = weir_calloc(conf->sampling_count + 1, sizeof *agent->sampling);
    if (agent->allow == NULL || agent->sampling == NULL) return WEIR_ENOMEM;
    for (size_t i = 0; i < conf->exporters_count; i++) {
        int rc = weir_prefix_parse(conf->exporters[i], &agent->allow[i]);
        if (rc < 0) return rc;
    }
    enum { WHEN_SILENT, WHEN_ALWAYS };
    for (size_t i = 0; i < conf->sampling_count; i++) {
        agent->sampling[i].one_in = (uint32_t)conf->sampling[i].one_in;
        agent->sampling[i].overrides = conf->sampling[i].when == WHEN_ALWAYS;
        int rc = weir_prefix_parse(conf->sampling[i].exporters, &agent->sampling[i].exporters);
        if (rc < 0) return rc;
    }
    return 0;
}

static void read_extras(struct agent *agent)
{
    const struct agent_conf *conf = agent->conf;
    for (size_t i = 0; i < conf->extra_count; i++) {
        const struct agent_extra_conf *from = &conf->extra[i];
        struct weir_extra *extra = &agent->extras[i];
        memcpy(extra->name, from->name, strnlen(from->name, sizeof extra->name - 1));
        extra->enterprise = (uint32_t)from->pen;
        extra->element = (uint16_t)from->id;
        extra->type = (uint8_t)(from->type == 0 ? agent_element_extra_type(extra->enterprise, extra->element)
                                                : (enum weir_extra_type)(from->type - 1)); /* the words behind "auto" */
    }
}

static int make_state(struct agent *agent, struct weir_why *why)
{
    const char *state = agent->conf->state;
    if (mkdir(state, FOLDER_MODE) < 0 && errno != EEXIST)
        return weir_why_set(why, WEIR_EIO, "state: cannot make the folder %s: %s", state, strerror(errno));
    size_t size = strlen(state) + sizeof "/spool";
    agent->spool_dir = weir_malloc(size);
    if (agent->spool_dir == NULL) return WEIR_ENOMEM;
    snprintf(agent->spool_dir, size, "%s/spool", state);
    return 0;
}

static uint64_t segment_bytes(const struct agent_conf *conf)
{
    uint64_t most = conf->spool_bytes / SEGMENTS_LEAST;
    if (most < SEGMENT_LEAST_BYTES) most = SEGMENT_LEAST_BYTES;
    return conf->spool_segment_bytes < most ? conf->spool_segment_bytes : most;
}

static int create_ship(struct agent *agent, struct weir_metrics *metrics, struct weir_why *why)
{
    const struct agent_conf *conf = agent->conf;
    const struct agent_ship_conf ship = {
        .name = conf->name,
        .tenant = conf->tenant[0] != '\0' ? conf->tenant : agent->map->tenant,
        .map = agent->map,
        .keys = &agent->keys,
        .spool = {.dir = agent->spool_dir,
                  .bytes_most = conf->spool_bytes,
                  .segment_bytes = segment_bytes(conf),
                  .free_bytes_least = conf->spool_free_bytes,
                  .free_percent_least = FREE_PERCENT,
                  .on_full = (enum agent_spool_full)conf->spool_full},
        .sync = (enum agent_sync)conf->sync,
        .sync_interval_ms = conf->sync_interval_ms,
        .codec = (enum weir_codec)conf->codec,
        .queue_bytes = conf->queue_bytes,
        .cache_bytes = conf->cache_bytes,
    };
    return agent_ship_create(&ship, metrics, &agent->ship, why);
}

_Static_assert(AGENT_SPOOL_DROP_OLD == 0 && AGENT_SPOOL_DROP_NEW == 1, "the words of the option spool_full");
_Static_assert(AGENT_SYNC_TICK == 0 && AGENT_SYNC_BATCH == 1 && AGENT_SYNC_OFF == 2, "the words of the option sync");
_Static_assert(WEIR_CODEC_NONE == 0 && WEIR_CODEC_LZ4 == 1 && WEIR_CODEC_ZSTD == 2, "the words of the option codec");

_Static_assert(WEIR_EXTRA_OCTETS == 0 && WEIR_EXTRA_STRING == 7 && WEIR_EXTRA_NTP == 10, "the words of extra: type");
_Static_assert(AGENT_TUNNELS_OUTER == 0 && AGENT_TUNNELS_INNER == 1, "the words of the option tunnels");

static int create_listener(struct agent *agent, struct weir_metrics *metrics, struct weir_why *why)
{
    enum { EXPORTER_AGENT, EXPORTER_SENDER };
    const struct agent_conf *conf = agent->conf;
    struct agent_listen_conf listen = AGENT_LISTEN_DEFAULTS;
    listen.endpoints = default_listen;
    listen.endpoint_count = sizeof default_listen / sizeof *default_listen;
    if (conf->listen_count > 0) {
        listen.endpoints = (const char *const *)conf->listen;
        listen.endpoint_count = conf->listen_count;
    }
    listen.threads = (uint32_t)conf->threads;
    listen.receive_buffer_bytes = conf->receive_buffer_bytes;
    listen.tcp.most_connections = (uint32_t)conf->tcp_connections;
    listen.tcp.idle_ms = (uint32_t)conf->tcp_idle_ms;
    listen.ring = agent->ring;
    listen.keep = agent->keep;
    listen.decoder.template_expiry_ms = (uint32_t)conf->template_expiry_ms;
    listen.allow = agent->allow;
    listen.allow_count = conf->exporters_count;
    listen.pool_bytes = conf->batches_bytes;
    listen.gather.linger_ms = (uint32_t)conf->linger_ms;
    listen.decoder.tunnels = (enum agent_tunnels)conf->tunnels;
    listen.decoder.sflow_by_sender = conf->sflow_exporter == EXPORTER_SENDER;
    listen.decoder.sampling = agent->sampling;
    listen.decoder.sampling_count = conf->sampling_count;
    listen.decoder.extras = (struct agent_extras){.extra = agent->extras, .count = conf->extra_count};
    int rc = agent_listener_create(&listen, agent_ship_sink(agent->ship), metrics, AGENT_COUNTERS_INPUT,
                                   &agent->listener, why);
    if (rc < 0) return rc;
    agent_ship_set_pool(agent->ship, agent_listener_pool(agent->listener));
    return 0;
}

static int copy_feeds(struct agent *agent)
{
    const struct agent_conf *conf = agent->conf;
    agent->feed_confs = weir_calloc(conf->feeds_count, sizeof *agent->feed_confs);
    agent->pushed = weir_calloc(conf->feeds_count, sizeof *agent->pushed);
    if (agent->feed_confs == NULL || agent->pushed == NULL) return WEIR_ENOMEM;
    for (; agent->feed_count < conf->feeds_count; agent->feed_count++) {
        const struct agent_feed_conf *from = &conf->feeds[agent->feed_count];
        struct agent_feed_conf *to = &agent->feed_confs[agent->feed_count];
        *to = (struct agent_feed_conf){.name = weir_strdup(from->name),
                                       .format = from->format,
                                       .path = weir_strdup(from->path),
                                       .fields = weir_strdup(from->fields),
                                       .keep = weir_strdup(from->keep),
                                       .exporter = weir_strdup(from->exporter)};
        if (to->name == NULL || to->path == NULL || to->fields == NULL || to->keep == NULL || to->exporter == NULL) {
            weir_conf_free(&agent_feed_conf_schema, to);
            return WEIR_ENOMEM;
        }
        if (to->path[0] == '\0') agent->pushed[agent->pushed_count++] = to->name;
    }
    return 0;
}

static int create_feeds(struct agent *agent, struct weir_why *why)
{
    const struct agent_conf *conf = agent->conf;
    const bool durable = conf->sync != AGENT_SYNC_OFF;
    if (conf->feeds_count == 0) return 0;
    int rc = copy_feeds(agent);
    if (rc == 0 && agent->pushed_count > 0)
        rc = agent_inbox_create(conf->state, agent->pushed, agent->pushed_count, conf->push_spool_bytes, durable,
                                &agent->inbox, why);
    if (rc < 0) return rc;
    return agent_feeds_create(agent->feed_confs, agent->feed_count, conf->state, durable, agent->ship, agent->inbox,
                              agent->metrics, &agent->feeds, why);
}

static int create_push(struct agent *agent, struct weir_why *why)
{
    const struct agent_conf *conf = agent->conf;
    if (conf->push_listen[0] == '\0') return 0;
    const struct agent_push_conf push = {.listen = conf->push_listen,
                                         .tls_cert = conf->push_tls_cert,
                                         .tls_key = conf->push_tls_key,
                                         .keys = conf->push_keys,
                                         .body_most = conf->push_body_bytes,
                                         .feeds = agent->feed_confs,
                                         .feed_count = agent->feed_count,
                                         .inbox = agent->inbox};
    return agent_push_create(&push, agent->metrics, &agent->push, why);
}

/* ---- the program ---- */

static void agent_destroy(void *self)
{
    struct agent *agent = self;
    if (agent == NULL) return;
    if (agent->listener != NULL) agent_listener_stop(agent->listener);
    agent_push_destroy(agent->push);
    agent_feeds_destroy(agent->feeds);
    agent_inbox_destroy(agent->inbox);
    agent_ship_destroy(agent->ship);
    agent_listener_destroy(agent->listener);
    agent_ring_destroy(agent->ring);
    agent_keep_destroy(agent->keep);
    weir_map_free(agent->map);
    weir_keys_wipe(&agent->keys);
    for (size_t i = 0; i < agent->feed_count; i++)
        weir_conf_free(&agent_feed_conf_schema, &agent->feed_confs[i]);
    weir_free(agent->feed_confs);
    weir_free(agent->pushed);
    weir_free(agent->allow);
    weir_free(agent->sampling);
    weir_free(agent->spool_dir);
    weir_free(agent);
}

static int agent_create(const struct weir_daemon *daemon, const void *conf, void **ret, struct weir_why *why)
{
    int rc = WEIR_ENOMEM;
    struct agent *agent = weir_calloc(1, sizeof *agent);
    if (agent == NULL) goto fail;

    agent->conf = conf;
    agent->metrics = daemon->metrics;
    rc = weir_cluster_file_read(agent->conf->cluster, &agent->map, why);
    if (rc < 0) goto fail;
    if (agent->map->broker_count == 0) {
        rc = weir_why_set(why, WEIR_EPARAM, "%s: there is no broker to ship to", agent->conf->cluster);
        goto fail;
    }

    rc = weir_keys_load(agent->conf->key, &agent->keys, why);
    if (rc < 0) goto fail;

    rc = read_exporters(agent);
    if (rc < 0) goto fail;

    read_extras(agent);
    rc = make_state(agent, why);
    if (rc < 0) goto fail;

    rc = create_ship(agent, daemon->metrics, why);
    if (rc < 0) goto fail;

    if (agent->conf->undecodable_bytes > 0) {
        rc = agent_ring_create(agent->conf->state, agent->conf->undecodable_bytes, &agent->ring, why);
        if (rc < 0) goto fail;
    }

    rc = agent_keep_create(agent->conf->state, (uint32_t)agent->conf->threads, weir_wall_ms(), daemon->metrics,
                           &agent->keep, why);
    if (rc < 0) goto fail;

    rc = create_listener(agent, daemon->metrics, why);
    if (rc < 0) goto fail;

    rc = create_feeds(agent, why);
    if (rc < 0) goto fail;

    rc = agent_ship_start(agent->ship, why);
    if (rc < 0) goto fail;

    rc = agent_listener_start(agent->listener, why);
    if (rc < 0) goto fail;

    if (agent->feeds != NULL) rc = agent_feeds_start(agent->feeds, why);
    if (rc < 0) goto fail;

    rc = create_push(agent, why);
    if (rc < 0) goto fail;

    *ret = agent;
    return 0;

fail:
    agent_destroy(agent);
    return rc;
}

/** The members of the cluster and the keys of senders may change; every other option needs a restart, and the program says so. */
static int agent_reload(void *self, const void *conf, struct weir_why *why)
{
    struct agent *agent = self;
    struct weir_map *map = NULL;
    int rc = weir_cluster_file_read(agent->conf->cluster, &map, why);
    if (rc < 0) return rc;
    if (agent->push != NULL) rc = agent_push_reload(agent->push, ((const struct agent_conf *)conf)->push_keys, why);
    if (rc == 0) {
        rc = agent_ship_set_brokers(agent->ship, map);
        if (rc < 0) weir_why_set(why, rc, "%s: there is no broker to ship to", agent->conf->cluster);
    }
    weir_map_free(map);
    if (rc < 0) return rc;
    agent->conf = conf;
    return 0;
}

/** Take nothing new; what was received is decoded, spooled and synced. It is shipped at the next start. */
static void agent_drain(void *self)
{
    struct agent *agent = self;
    if (agent->push != NULL) agent_push_stop(agent->push);
    if (agent->feeds != NULL) agent_feeds_stop(agent->feeds);
    agent_listener_stop(agent->listener);
    agent_ship_drain(agent->ship);
}

static bool agent_drained(void *self)
{
    return agent_ship_is_drained(((struct agent *)self)->ship);
}

static void agent_refresh(void *self)
{
    const struct agent *agent = self;
    const struct agent_pool_stats pool = agent_pool_stats(agent_listener_pool(agent->listener));
    weir_metrics_set(agent->metrics, AGENT_COUNT_batches_taken, pool.taken);
    weir_metrics_set(agent->metrics, AGENT_COUNT_batches_idle, pool.idle);
    weir_metrics_set(agent->metrics, AGENT_COUNT_resident, weir_mem_resident());
    if (agent->push != NULL) agent_push_refresh(agent->push);
    if (agent->inbox != NULL)
        weir_metrics_set(agent->metrics, AGENT_COUNT_push_waiting, agent_inbox_bytes(agent->inbox));
}

static void agent_each(void *self, size_t row, struct weir_buf *out)
{
    agent_listener_each(((struct agent *)self)->listener, row - AGENT_COUNTERS_INPUT, &agent_counter_rows[row], out);
}

static bool agent_page(void *self, const char *path, struct weir_buf *out)
{
    if (strcmp(path, "/exporters") != 0) return false;
    agent_listener_page(((struct agent *)self)->listener, out);
    return true;
}

static void agent_line(void *self, struct weir_buf *out)
{
    agent_ship_line(((struct agent *)self)->ship, out);
}

/** --feed NAME: what comes on standard input is a log of that feed. For another process than the one that takes it. */
static int agent_feed(const void *conf_of_program, const char *name, struct weir_why *why)
{
    const struct agent_conf *conf = conf_of_program;
    uint64_t bytes = 0;
    size_t i = 0;
    while (i < conf->feeds_count && strcmp(conf->feeds[i].name, name) != 0)
        i++;
    if (i == conf->feeds_count) return weir_why_set(why, WEIR_ENOTFOUND, "feeds: there is no feed \"%s\"", name);
    if (conf->feeds[i].path[0] != '\0')
        return weir_why_set(why, WEIR_EPARAM, "feeds: \"%s\" takes its logs from %s", name, conf->feeds[i].path);
    int rc = agent_inbox_put_stream(conf->state, name, conf->push_spool_bytes, STDIN_FILENO, &bytes, why);
    if (rc == 0) printf("%" PRIu64 " bytes for the feed %s\n", bytes, name);
    return rc;
}

static const struct weir_program_word agent_feed_word = {
    .name = "feed",
    .value = "NAME",
    .help = "hand what comes on standard input to the agent, as a log of this feed, and leave",
    .run = agent_feed};

uint16_t agent_port(const void *agent, size_t index)
{
    return agent_listener_port(((const struct agent *)agent)->listener, index);
}

const struct weir_program agent_program = {
    .name = "weir-agent",
    .summary = "receives NetFlow, IPFIX and sFlow, spools flows and ships them to brokers",
    .word = &agent_feed_word,
    .schema = &agent_conf_schema,
    .metric_rows = agent_counter_rows,
    .metric_count = AGENT_COUNTERS,
    .check = agent_conf_check,
    .create = agent_create,
    .reload = agent_reload,
    .drain = agent_drain,
    .drained = agent_drained,
    .refresh = agent_refresh,
    .each = agent_each,
    .page = agent_page,
    .line = agent_line,
    .destroy = agent_destroy,
};
