#include "aggregator/aggregator.h"

#include "aggregator/asker.h"
#include "aggregator/conf.h"
#include "aggregator/disk.h"
#include "aggregator/intake.h"
#include "aggregator/intake_held.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/daemon/cluster_file.h"
#include "common/daemon/cluster_follow.h"
#include "common/wire/batch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DISK_MS = 250,
    REREAD_MS = 1000,
    RETAIN_MS = 60 * 1000,
    SELF_TEST_MS = 5000,
    BUSY_RETRY_MS = 1000,
    LOG_BYTES = 64 << 20,    /* most of the write-ahead log */
    BUFFER_MOST = 256 << 20, /* of writes: more makes no fewer files */
    SITES_MOST = 1000
};

struct aggregator {
    const struct aggregator_conf *conf;
    struct weir_loop *loop;
    struct weir_metrics *metrics;
    char name[WEIR_NAME_BYTES]; /* stays when the configuration is replaced */
    int64_t started_ms;
    struct weir_follow *follow;
    struct weir_map *map;
    struct weir_allow *allow;
    struct weir_keys keys;
    struct weir_net *net;
    struct weir_zap *zap;
    struct agg_disk disk;
    struct agg_store *store;
    struct agg_roller *roller;
    struct agg_heard *heard;
    struct agg_retain *retain;
    struct agg_receiver *receiver;
    struct agg_asker *asker;
    struct agg_answerer answerer;
    struct agg_held held[WEIR_SHARDS];          /* as in the store */
    _Atomic uint64_t members[WEIR_SHARDS / 64]; /* bits of the shards of which we are one, for those who answer */
    _Atomic bool disk_low;
    _Atomic bool map_is_older; /* than a broker's: read it again */
};

/* --- the map --- */

static int find_self(const struct aggregator *aggregator, const struct weir_map *map, struct weir_why *why)
{
    const struct aggregator_conf *conf = aggregator->conf;
    int index = weir_map_find_aggregator(map, conf->name);
    if (index < 0) return weir_why_set(why, WEIR_EPARAM, "%s: no aggregator is named %s", conf->cluster, conf->name);
    if (strcmp(map->aggregators[index].key, aggregator->keys.public_key) != 0)
        return weir_why_set(why, WEIR_EPARAM, "%s: the key of aggregator %s is not the public half of %s",
                            conf->cluster, conf->name, conf->key);
    return index;
}

/** Take the epochs of a map over into the store. What the store knows newer epochs of stays as it is. */
static int hold_shards(struct aggregator *aggregator, const struct weir_map *map, uint32_t index, struct weir_why *why)
{
    struct agg_held held[WEIR_SHARDS];
    memcpy(held, aggregator->held, sizeof held);
    uint32_t newer = agg_held_follow(held, map, index);
    int rc = agg_held_write(aggregator->store, held, why);
    if (rc < 0) return weir_why_prefix(why, rc, "store");
    memcpy(aggregator->held, held, sizeof held);
    for (uint32_t word = 0; word < WEIR_SHARDS / 64; word++) {
        uint64_t bits = 0;
        for (uint32_t bit = 0; bit < 64; bit++)
            bits |= (uint64_t)(held[word * 64 + bit].role == AGG_ROLE_MEMBER) << bit;
        atomic_store(&aggregator->members[word], bits);
    }
    weir_metrics_set(aggregator->metrics, AGG_COUNT_maps_older, newer);
    if (newer > 0) {
        weir_log(WEIR_LOG_ERROR, "map.older", "epoch=%u shards=%u action=\"raise the epoch in %s\"", map->epoch, newer,
                 aggregator->conf->cluster);
    }
    return 0;
}

/* --- what it says of itself and others --- */

static int64_t name_of(struct weir_answer *answer, const char *text)
{
    int64_t index = weir_answer_name(answer, text);
    return index < 0 ? 0 : index;
}

static int add_self(const struct aggregator *aggregator, struct weir_answer *answer)
{
    struct agg_store_stats stats;
    agg_store_stats(aggregator->store, &stats);
    struct weir_metrics *metrics = aggregator->metrics;
    bool low = atomic_load(&aggregator->disk_low);
    struct weir_answer_node node = {
        .name = (uint32_t)name_of(answer, aggregator->name),
        .role = (uint32_t)name_of(answer, "aggregator"),
        .version = (uint32_t)name_of(answer, WEIR_VERSION),
        .state = (uint32_t)name_of(answer, low ? "disk low: batches are refused" : "ok"),
        .up = true,
        .started_ms = aggregator->started_ms,
        .last_heard_ms = weir_wall_ms(),
        .shards = agg_held_count(aggregator->held),
        .batches = weir_metrics_get(metrics, AGG_COUNT_batches_stored),
        .flows = weir_metrics_get(metrics, AGG_COUNT_flows_rolled),
        .duplicates = weir_metrics_get(metrics, AGG_COUNT_batches_duplicate),
        .disk_free_bytes = weir_metrics_get(metrics, AGG_COUNT_disk_free_bytes),
        .lag_ms = weir_metrics_get(metrics, AGG_COUNT_lag_ms),
    };
    for (int refused = AGG_COUNT_refused_gap; refused <= AGG_COUNT_refused_history; refused++)
        node.refused += weir_metrics_get(metrics, (size_t)refused);
    for (int family = 0; family < AGG_FAMILIES; family++)
        node.stored_bytes += stats.family_bytes[family];
    return weir_answer_add_node(answer, &node);
}

static int add_peer(struct weir_answer *answer, const struct agg_heard_peer *peer, int64_t now_ms)
{
    bool agent = peer->role == AGG_HEARD_AGENT;
    int64_t silent_ms = now_ms - peer->last_heard_ms;
    char state[64] = "ok";
    if (silent_ms > AGG_HEARD_LIVE_MS) snprintf(state, sizeof state, "silent for %" PRId64 " s", silent_ms / 1000);
    struct weir_answer_node node = {
        .name = (uint32_t)name_of(answer, peer->name),
        .role = (uint32_t)name_of(answer, agent ? "agent" : "broker"),
        .site = (uint32_t)name_of(answer, peer->site),
        .state = (uint32_t)name_of(answer, state),
        .up = silent_ms <= AGG_HEARD_LIVE_MS,
        .last_heard_ms = peer->last_heard_ms,
        .batches = peer->batches,
        .flows = peer->flows,
        .lag_ms = agent && peer->last_heard_ms > peer->last_received_ms
                      ? (uint64_t)(peer->last_heard_ms - peer->last_received_ms)
                      : 0,
        .spool_bytes = peer->spool_bytes,
        .spool_oldest_ms = peer->spool_oldest_ms,
    };
    return weir_answer_add_node(answer, &node);
}

static int add_nodes(void *ctx, struct weir_answer *answer)
{
    const struct aggregator *aggregator = ctx;
    struct agg_heard_peer *peers = weir_calloc(AGG_HEARD_MOST, sizeof *peers);
    if (peers == NULL) return WEIR_ENOMEM;
    int rc = add_self(aggregator, answer);
    size_t count = agg_heard_copy(aggregator->heard, peers, AGG_HEARD_MOST);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = add_peer(answer, &peers[i], weir_wall_ms());
    weir_free(peers);
    return rc;
}

static void print_flows_by_site(const struct aggregator *aggregator, const struct weir_metric_row *row,
                                struct weir_buf *out)
{
    struct agg_heard_peer *peers = weir_calloc(AGG_HEARD_MOST, sizeof *peers);
    if (peers == NULL) return;
    size_t count = agg_heard_copy(aggregator->heard, peers, AGG_HEARD_MOST), sites = 0;
    for (size_t i = 0; i < count && sites < SITES_MOST; i++) {
        if (peers[i].role != AGG_HEARD_AGENT || peers[i].flows == UINT64_MAX) continue;
        uint64_t flows = 0;
        for (size_t j = i; j < count; j++) {
            if (peers[j].role != AGG_HEARD_AGENT || peers[j].flows == UINT64_MAX) continue;
            if (strcmp(peers[j].site, peers[i].site) != 0) continue;
            flows += peers[j].flows;
            if (j > i) peers[j].flows = UINT64_MAX; /* counted */
        }
        weir_metric_sample(row, peers[i].site, (double)flows, out);
        sites++;
    }
    weir_free(peers);
}

static void aggregator_each(void *self, size_t row, struct weir_buf *out)
{
    const struct aggregator *aggregator = self;
    const struct weir_metric_row *of = &agg_counter_rows[row];
    if (row == AGG_COUNT_flows_stored) print_flows_by_site(aggregator, of, out);
    if (row != AGG_COUNT_db_bytes) return;
    struct agg_store_stats stats;
    agg_store_stats(aggregator->store, &stats);
    for (int family = 0; family < AGG_FAMILIES; family++)
        weir_metric_sample(of, agg_family_name(family), (double)stats.family_bytes[family], out);
}

static void aggregator_refresh(void *self)
{
    struct aggregator *aggregator = self;
    struct agg_store_stats stats;
    agg_store_stats(aggregator->store, &stats);
    uint64_t live = 0;
    (void)agg_heard_asof_ms(aggregator->heard, weir_wall_ms(), &live);
    weir_metrics_set(aggregator->metrics, AGG_COUNT_db_buffer_bytes, stats.buffer_bytes);
    weir_metrics_set(aggregator->metrics, AGG_COUNT_db_cache_bytes, stats.cache_bytes);
    weir_metrics_set(aggregator->metrics, AGG_COUNT_db_pending_bytes, stats.compaction_pending_bytes);
    weir_metrics_set(aggregator->metrics, AGG_COUNT_lanes, live);
}

static bool aggregator_ready(void *self, struct weir_buf *reason)
{
    struct aggregator *aggregator = self;
    if (!atomic_load(&aggregator->disk_low)) return true;
    weir_buf_text(reason, "the disk is low: batches are refused");
    return false;
}

static void aggregator_line(void *self, struct weir_buf *out)
{
    const struct aggregator *aggregator = self;
    weir_buf_printf(out, "%" PRIu64 " batches stored, %" PRIu64 " flows rolled up, lag %" PRIu64 " ms",
                    weir_metrics_get(aggregator->metrics, AGG_COUNT_batches_stored),
                    weir_metrics_get(aggregator->metrics, AGG_COUNT_flows_rolled),
                    weir_metrics_get(aggregator->metrics, AGG_COUNT_lag_ms));
}

/* --- time --- */

static void look_at_disk(void *ctx)
{
    struct aggregator *aggregator = ctx;
    bool changed = agg_disk_look(&aggregator->disk);
    weir_metrics_set(aggregator->metrics, AGG_COUNT_disk_free_bytes, aggregator->disk.free_bytes);
    weir_metrics_set(aggregator->metrics, AGG_COUNT_disk_low, aggregator->disk.low);
    atomic_store(&aggregator->disk_low, aggregator->disk.low);
    if (changed) agg_receiver_set_busy(aggregator->receiver, aggregator->disk.low);
}

static void retain(void *ctx)
{
    struct aggregator *aggregator = ctx;
    struct weir_why why = {0};
    int rc = agg_retain_step(aggregator->retain, weir_wall_ms(), weir_mono_ms(), &why);
    if (rc < 0) {
        weir_log(WEIR_LOG_ERROR, "retention.failed", "reason=\"%s\"", why.text);
        return;
    }
    weir_metrics_add(aggregator->metrics, AGG_COUNT_retained_drops, (uint64_t)rc);
    if (rc > 0) weir_log(WEIR_LOG_INFO, "retention.dropped", "ranges=%d", rc);
}

/** What is on the disk is not known: the next start reads it. */
static void leave_broken(void *ctx, const struct weir_why *why)
{
    (void)ctx;
    weir_log(WEIR_LOG_ERROR, "store.broken",
             "reason=\"%s\" action=\"leave, and read what is stored at the next start\"", why->text);
    _exit(EXIT_FAILURE);
}

/** On the receiver's thread. */
static void doubt_map(void *ctx)
{
    struct aggregator *aggregator = ctx;
    atomic_store(&aggregator->map_is_older, true);
}

/** Take another map over; @map is taken on success. */
static int use_map(struct aggregator *aggregator, struct weir_map *map, struct weir_why *why)
{
    int index = find_self(aggregator, map, why);
    int rc = index < 0 ? index : hold_shards(aggregator, map, (uint32_t)index, why);
    if (rc < 0) return rc;
    agg_receiver_set_held(aggregator->receiver, aggregator->held);
    weir_map_free(aggregator->map);
    aggregator->map = map;
    return 0;
}

/** Take @map over if it is another one. It is taken from the caller whatever comes of it. */
static int take_map(struct aggregator *aggregator, struct weir_map *map, struct weir_why *why)
{
    int rc = 0;
    if (!weir_map_equal(map, aggregator->map)) {
        rc = use_map(aggregator, map, why);
        if (rc == 0) {
            weir_log(WEIR_LOG_INFO, "map.used", "epoch=%u shards=%u", map->epoch, agg_held_count(aggregator->held));
            return 0;
        }
    }
    weir_map_free(map);
    return rc;
}

static void map_changed(void *ctx, struct weir_map *map)
{
    struct weir_why why = {0};
    if (take_map(ctx, map, &why) < 0) weir_log(WEIR_LOG_ERROR, "map.unusable", "reason=\"%s\"", why.text);
}

static int follow_map(struct aggregator *aggregator, const struct weir_daemon *daemon, struct weir_why *why)
{
    struct weir_follow_conf conf = {.loop = daemon->loop,
                                    .metrics = daemon->common,
                                    .file = aggregator->conf->cluster,
                                    .cache = aggregator->conf->map_cache,
                                    .self = aggregator->conf->name,
                                    .changed = map_changed,
                                    .ctx = aggregator};
    int rc = weir_follow_create(&conf, &aggregator->follow, why);
    return rc < 0 ? rc : weir_follow_read(aggregator->follow, &aggregator->map, why);
}

static void reread_map(void *ctx)
{
    struct aggregator *aggregator = ctx;
    struct weir_map *map = NULL;
    struct weir_why why = {0};
    if (!atomic_exchange(&aggregator->map_is_older, false)) return;
    int rc = weir_follow_read(aggregator->follow, &map, &why);
    if (rc == 0) rc = take_map(aggregator, map, &why);
    if (rc < 0) weir_log(WEIR_LOG_ERROR, "map.unreadable", "reason=\"%s\"", why.text);
}

/* --- making it --- */

/** The folder, and those above it that are missing. */
static int make_folders(const char *path, struct weir_why *why)
{
    char part[4096];
    snprintf(part, sizeof part, "%s", path);
    for (char *at = part + 1;; at++) {
        if (*at != '/' && *at != '\0') continue;
        char end = *at;
        *at = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return weir_why_set(why, errno == EACCES ? WEIR_EDENIED : WEIR_EIO, "%s: %s", part, strerror(errno));
        if (end == '\0') return 0;
        *at = end;
    }
}

static void set_disk(struct aggregator *aggregator, const struct aggregator_conf *conf)
{
    uint64_t of_log = 4ull * LOG_BYTES;
    aggregator->disk.least_bytes = conf->disk_free_least_bytes > of_log ? conf->disk_free_least_bytes : of_log;
    aggregator->disk.ballast_bytes = conf->ballast_bytes;
    snprintf(aggregator->disk.path, sizeof aggregator->disk.path, "%s", conf->state);
}

static struct agg_retain_conf retain_conf(const struct aggregator_conf *conf)
{
    return (struct agg_retain_conf){.flows_keep_ms = conf->flows_keep_ms,
                                    .keep_ms = {conf->rollup_1m_keep_ms, conf->rollup_1h_keep_ms}};
}

static int open_store(struct aggregator *aggregator, struct weir_why *why)
{
    const struct aggregator_conf *conf = aggregator->conf;
    int rc = make_folders(conf->state, why);
    if (rc < 0) return rc;
    set_disk(aggregator, conf);
    agg_disk_prepare(&aggregator->disk);

    char path[4096];
    snprintf(path, sizeof path, "%s/db", conf->state);
    uint64_t buffer = conf->memory_bytes / 4;
    struct agg_store_conf store = {.path = path,
                                   .cache_bytes = conf->memory_bytes / 4,
                                   .buffer_bytes = buffer < BUFFER_MOST ? buffer : BUFFER_MOST,
                                   .log_bytes = LOG_BYTES,
                                   .background = (uint32_t)conf->store_threads};
    rc = agg_store_open(&store, &aggregator->store, why);
    if (rc < 0) return weir_why_prefix(why, rc, "store");

    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) seed = (uint64_t)weir_mono_us();
    struct agg_roller_conf roller = {.store = aggregator->store,
                                     .metrics = aggregator->metrics,
                                     .seed = seed,
                                     .memory_bytes = conf->memory_bytes / 2,
                                     .minutes_ms = conf->rollup_flush_ms,
                                     .hours_ms = conf->rollup_hour_flush_ms,
                                     .pause_ms = conf->rollup_pause_ms};
    rc = agg_roller_create(&roller, &aggregator->roller, why);
    if (rc == 0) rc = agg_heard_create(&aggregator->heard);
    struct agg_retain_conf keep = retain_conf(conf);
    if (rc == 0) rc = agg_retain_create(aggregator->store, &keep, weir_wall_ms(), weir_mono_ms(), &aggregator->retain);
    return rc;
}

static int open_doors(struct aggregator *aggregator, uint32_t index, struct weir_why *why)
{
    static const struct weir_zap_rule rules[] = {{"store", WEIR_ROLE_BROKER}, {"ask", WEIR_ROLE_CONSOLE}};
    const struct aggregator_conf *conf = aggregator->conf;
    const struct weir_node *self = &aggregator->map->aggregators[index];
    int rc = weir_zap_start(aggregator->net, rules, 2, aggregator->allow, &aggregator->zap, why);
    if (rc < 0) return rc;
    rc = weir_zap_self_test(aggregator->zap, SELF_TEST_MS, why);
    if (rc < 0) return rc;

    struct agg_receiver_conf receiver = {.net = aggregator->net,
                                         .endpoint = conf->listen[0] != '\0' ? conf->listen : self->endpoint,
                                         .keys = &aggregator->keys,
                                         .max_bytes = WEIR_BODY_BYTES_MOST,
                                         .node = aggregator->name,
                                         .allow = aggregator->allow,
                                         .core = {.held = aggregator->held,
                                                  .lanes_most = (size_t)conf->agents_most,
                                                  .auto_loss = conf->auto_loss,
                                                  .busy_retry_ms = BUSY_RETRY_MS},
                                         .store = aggregator->store,
                                         .roller = aggregator->roller,
                                         .heard = aggregator->heard,
                                         .metrics = aggregator->metrics,
                                         .broken = leave_broken,
                                         .map_is_older = doubt_map,
                                         .ctx = aggregator};
    rc = agg_receiver_create(&receiver, &aggregator->receiver, why);
    if (rc < 0) return weir_why_prefix(why, rc, "listen");

    aggregator->answerer = (struct agg_answerer){.store = aggregator->store,
                                                 .roller = aggregator->roller,
                                                 .heard = aggregator->heard,
                                                 .retain = aggregator->retain,
                                                 .node = aggregator->name,
                                                 .members = aggregator->members,
                                                 .nodes = add_nodes,
                                                 .ctx = aggregator};
    struct agg_asker_conf asker = {.net = aggregator->net,
                                   .endpoint = conf->ask[0] != '\0' ? conf->ask : self->ask_endpoint,
                                   .keys = &aggregator->keys,
                                   .threads = (uint32_t)conf->answer_threads,
                                   .allow = aggregator->allow,
                                   .answerer = &aggregator->answerer,
                                   .metrics = aggregator->metrics};
    rc = agg_asker_create(&asker, &aggregator->asker, why);
    return rc < 0 ? weir_why_prefix(why, rc, "ask") : 0;
}

static void aggregator_destroy(void *self)
{
    struct aggregator *aggregator = self;
    if (aggregator == NULL) return;
    weir_follow_destroy(aggregator->follow);
    agg_asker_destroy(aggregator->asker);
    agg_receiver_destroy(aggregator->receiver);
    weir_zap_stop(aggregator->zap);
    weir_net_destroy(aggregator->net);
    agg_roller_destroy(aggregator->roller);
    agg_retain_destroy(aggregator->retain);
    agg_heard_destroy(aggregator->heard);
    agg_store_close(aggregator->store);
    weir_allow_destroy(aggregator->allow);
    weir_map_free(aggregator->map);
    weir_keys_wipe(&aggregator->keys);
    weir_free(aggregator);
}

static int aggregator_create(const struct weir_daemon *daemon, const void *conf_of_program, void **ret,
                             struct weir_why *why)
{
    const struct aggregator_conf *conf = conf_of_program;
    int rc = WEIR_ENOMEM;
    struct aggregator *aggregator = weir_calloc(1, sizeof *aggregator);
    if (aggregator == NULL) goto fail;
    aggregator->conf = conf;
    aggregator->loop = daemon->loop;
    aggregator->metrics = daemon->metrics;
    aggregator->started_ms = weir_wall_ms();
    snprintf(aggregator->name, sizeof aggregator->name, "%s", conf->name);

    rc = weir_keys_load(conf->key, &aggregator->keys, why);
    if (rc < 0) goto fail;

    rc = weir_allow_file_read(conf->allow, &aggregator->allow, why);
    if (rc < 0) goto fail;

    rc = follow_map(aggregator, daemon, why);
    if (rc < 0) goto fail;

    int index = rc = find_self(aggregator, aggregator->map, why);
    if (rc < 0) goto fail;

    rc = weir_net_create((uint32_t)conf->io_threads, &aggregator->net);
    if (rc < 0) goto fail;

    rc = open_store(aggregator, why);
    if (rc < 0) goto fail;

    rc = agg_held_read(aggregator->store, aggregator->held);
    if (rc < 0) {
        weir_why_set(why, rc, "store: what it is to each shard: %s", weir_err_text(rc));
        goto fail;
    }
    rc = hold_shards(aggregator, aggregator->map, (uint32_t)index, why);
    if (rc < 0) goto fail;

    rc = open_doors(aggregator, (uint32_t)index, why);
    if (rc < 0) goto fail;

    look_at_disk(aggregator);
    rc = weir_loop_every(aggregator->loop, DISK_MS, look_at_disk, aggregator);
    if (rc == 0) rc = weir_loop_every(aggregator->loop, RETAIN_MS, retain, aggregator);
    if (rc == 0) rc = weir_loop_every(aggregator->loop, REREAD_MS, reread_map, aggregator);
    if (rc < 0) goto fail;

    weir_log(WEIR_LOG_INFO, "aggregator.listening", "name=%s endpoint=%s ask=%s epoch=%u shards=%u", conf->name,
             aggregator_endpoint(aggregator), aggregator_ask_endpoint(aggregator), aggregator->map->epoch,
             agg_held_count(aggregator->held));
    *ret = aggregator;
    return 0;

fail:
    aggregator_destroy(aggregator);
    return rc;
}

static int aggregator_reload(void *self, const void *conf_of_program, struct weir_why *why)
{
    struct aggregator *aggregator = self;
    const struct aggregator_conf *conf = conf_of_program;
    struct weir_allow *allow = NULL;
    struct weir_map *map = NULL;
    int rc = weir_allow_file_read(conf->allow, &allow, why);
    if (rc == 0) rc = weir_follow_read(aggregator->follow, &map, why);
    if (rc == 0) rc = use_map(aggregator, map, why);
    if (rc < 0) {
        weir_allow_destroy(allow);
        weir_map_free(map);
        return rc;
    }

    weir_zap_swap(aggregator->zap, allow);
    agg_receiver_swap_allow(aggregator->receiver, allow);
    agg_asker_swap_allow(aggregator->asker, allow);
    weir_allow_destroy(aggregator->allow);
    aggregator->allow = allow;

    struct agg_retain_conf keep = retain_conf(conf);
    agg_retain_set(aggregator->retain, &keep);
    set_disk(aggregator, conf);
    aggregator->conf = conf;
    weir_log(WEIR_LOG_INFO, "aggregator.reloaded", "epoch=%u shards=%u allowed=%zu", map->epoch,
             agg_held_count(aggregator->held), weir_allow_count(allow));
    return 0;
}

const char *aggregator_endpoint(const void *aggregator)
{
    return agg_receiver_endpoint(((const struct aggregator *)aggregator)->receiver);
}

const char *aggregator_ask_endpoint(const void *aggregator)
{
    return agg_asker_endpoint(((const struct aggregator *)aggregator)->asker);
}

const struct weir_program aggregator_program = {
    .name = "weir-aggregator",
    .summary = "stores flows, rolls them up and answers questions about them",
    .schema = &aggregator_conf_schema,
    .metric_rows = agg_counter_rows,
    .metric_count = AGG_COUNTERS,
    .create = aggregator_create,
    .reload = aggregator_reload,
    .ready = aggregator_ready,
    .each = aggregator_each,
    .refresh = aggregator_refresh,
    .line = aggregator_line,
    .destroy = aggregator_destroy,
};
