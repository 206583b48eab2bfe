#include "broker/broker.h"

#include "broker/conf.h"
#include "broker/counters.h"
#include "broker/link.h"
#include "broker/report.h"
#include "broker/route_core.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/daemon/cluster_file.h"
#include "common/daemon/cluster_follow.h"
#include "common/net/zap.h"
#include "common/wire/batch.h"
#include "common/wire/message.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    TICK_MS = 50,
    REPORT_MS = 200,
    REREAD_MS = 1000,
    SELF_TEST_MS = 5000,
    MESSAGES_IN_A_ROW = 64, /* from one socket, before the others have their turn */
    ROUNDS_IN_A_ROW = 16,   /* before timers have theirs */
    NOTES_PER_SECOND = 20,
    DATA_FRAMES = 3
};

/** What could not be sent while actions were carried out, to be told to the core after them. */
struct failure {
    enum route_event_kind kind; /* GONE or UNSENT */
    uint32_t peer;
    uint32_t node;
    uint8_t agent[16];
    uint32_t shard;
    uint64_t seq;
};

enum { FAILURES_MOST = 64 }; /* more at a time are found again: the peer is as gone next time, the batch expires */

struct broker {
    const struct broker_conf *conf;
    struct weir_loop *loop;
    struct weir_metrics *metrics;
    struct weir_keys keys;
    struct weir_follow *follow;
    struct weir_map *map;
    struct weir_allow *allow;
    struct weir_net *net;
    struct weir_zap *zap;
    struct weir_socket *server;
    int server_fd;
    struct broker_link *links[WEIR_NODES_MOST]; /* by index of the map */
    struct route_core *core;
    struct route_actions actions;
    struct broker_report *report;
    struct weir_msg msg;       /* of the event at hand; turned into its STORE */
    struct weir_frames frames; /* of the event at hand */
    struct weir_buf encoded;
    struct failure failures[FAILURES_MOST];
    uint32_t failure_count;
    struct weir_log_limit notes;
    struct weir_log_limit invalid;
    bool map_is_doubted; /* an aggregator has another one: read it again when there is time */
    int64_t reread_mono_ms;
    bool draining;
};

/* ------------------------------------------------------------------------------------------------------- actions */

/** The encoded message as the first frame of @frames. WEIR_ENOMEM. */
static int put_message(struct broker *broker, const struct weir_msg *msg, struct weir_frames *frames)
{
    weir_buf_clear(&broker->encoded);
    int rc = weir_msg_encode(msg, &broker->encoded);
    return rc < 0 ? rc : weir_frames_add(frames, weir_buf_view(&broker->encoded));
}

static void failed(struct broker *broker, const struct failure *failure)
{
    weir_metrics_add(broker->metrics, BROKER_COUNT_sends_failed, 1);
    if (broker->failure_count < FAILURES_MOST) broker->failures[broker->failure_count++] = *failure;
}

static void send_agent(struct broker *broker, const struct route_action *action)
{
    struct weir_frames frames = WEIR_FRAMES_INIT;
    struct weir_msg msg;
    route_core_msg(broker->core, action, &msg);
    int rc = put_message(broker, &msg, &frames);
    if (rc == 0) rc = weir_socket_send(broker->server, action->peer, &frames);
    weir_frames_clear(&frames);
    if (rc == WEIR_EUNREACHABLE)
        failed(broker, &(struct failure){.kind = ROUTE_EVENT_GONE, .peer = action->peer});
    else if (rc < 0)
        weir_metrics_add(broker->metrics, BROKER_COUNT_sends_failed, 1);
}

static void send_node(struct broker *broker, const struct route_action *action)
{
    struct weir_frames frames = WEIR_FRAMES_INIT;
    struct weir_msg msg;
    route_core_msg(broker->core, action, &msg);
    int rc = put_message(broker, &msg, &frames);
    if (rc == 0) rc = broker_link_send(broker->links[action->node], &frames);
    weir_frames_clear(&frames);
    if (rc < 0) weir_metrics_add(broker->metrics, BROKER_COUNT_sends_failed, 1);
}

/** The batch of the event at hand to its owners: one encoding, no copy of header and body. */
static void forward(struct broker *broker, const struct route_action *action)
{
    struct failure failure = {.kind = ROUTE_EVENT_UNSENT, .shard = action->shard, .seq = action->seq};
    memcpy(failure.agent, broker->msg.agent, sizeof failure.agent);
    route_core_store(broker->core, action, &broker->msg);
    weir_buf_clear(&broker->encoded);
    int encoded = weir_msg_encode(&broker->msg, &broker->encoded);
    for (uint32_t i = 0; i < action->owner_count; i++) {
        struct weir_frames frames = WEIR_FRAMES_INIT;
        int rc = encoded < 0 ? encoded : weir_frames_add(&frames, weir_buf_view(&broker->encoded));
        if (rc == 0) rc = weir_frames_share(&frames, &broker->frames, 1);
        if (rc == 0) rc = weir_frames_share(&frames, &broker->frames, 2);
        if (rc == 0) rc = broker_link_send(broker->links[action->owners[i]], &frames);
        weir_frames_clear(&frames);
        failure.node = action->owners[i];
        if (rc < 0) failed(broker, &failure);
    }
}

static void reconnect(struct broker *broker, uint32_t node)
{
    const char *name = broker->map->aggregators[node].name;
    struct weir_why why = {""};
    char quoted[600];
    if (broker_link_is_refused(broker->links[node])) {
        weir_log(WEIR_LOG_ERROR, "aggregator.refused_us", "aggregator=%s reason=\"our key is not in its allow-list\"",
                 name);
    }
    if (broker_link_reconnect(broker->links[node], &why) < 0) {
        weir_log(WEIR_LOG_ERROR, "aggregator.no_socket", "aggregator=%s reason=%s", name,
                 weir_log_quote(why.text, quoted, sizeof quoted));
    }
}

static enum weir_log_level level_of(enum route_note note)
{
    switch (note) {
    case ROUTE_NOTE_AGENT_CAME:
    case ROUTE_NOTE_AGENT_WENT:
    case ROUTE_NOTE_NODE_UP: return WEIR_LOG_INFO;
    case ROUTE_NOTE_DISAGREE: return WEIR_LOG_ERROR;
    default: return WEIR_LOG_WARN;
    }
}

static void log_note(struct broker *broker, const struct route_action *action)
{
    uint64_t held_back = 0;
    if (!weir_log_allowed(&broker->notes, weir_mono_ms(), NOTES_PER_SECOND, &held_back)) return;
    weir_log(level_of(action->note), route_note_name(action->note), "name=%s held_back=%" PRIu64, action->name,
             held_back);
}

static void carry_out(struct broker *broker)
{
    for (size_t i = 0; i < broker->actions.count; i++) {
        const struct route_action *action = &broker->actions.at[i];
        switch (action->kind) {
        case ROUTE_SEND_AGENT: send_agent(broker, action); break;
        case ROUTE_SEND_NODE: send_node(broker, action); break;
        case ROUTE_FORWARD: forward(broker, action); break;
        case ROUTE_RECONNECT: reconnect(broker, action->node); break;
        case ROUTE_REREAD_MAP: broker->map_is_doubted = true; break;
        case ROUTE_NOTE: log_note(broker, action); break;
        }
    }
}

static void step_once(struct broker *broker, const struct route_event *event)
{
    route_core_step(broker->core, event, weir_mono_ms(), &broker->actions);
    carry_out(broker);
}

/** One event, and then what failed because of it; that may fail in turn, and ends because each failure ends something. */
static void step(struct broker *broker, const struct route_event *event)
{
    step_once(broker, event);
    while (broker->failure_count > 0) {
        const struct failure failure = broker->failures[--broker->failure_count];
        step_once(broker, &(struct route_event){.kind = failure.kind,
                                                .peer = {.id = failure.peer},
                                                .node = failure.node,
                                                .agent = failure.agent,
                                                .shard = failure.shard,
                                                .seq = failure.seq});
    }
}

/* ------------------------------------------------------------------------------------------------------ receiving */

static void count_invalid(struct broker *broker, const char *from)
{
    uint64_t held_back = 0;
    weir_metrics_add(broker->metrics, BROKER_COUNT_messages_invalid, 1);
    if (!weir_log_allowed(&broker->invalid, weir_mono_ms(), NOTES_PER_SECOND, &held_back)) return;
    weir_log(WEIR_LOG_WARN, "message.invalid", "from=%s held_back=%" PRIu64, from, held_back);
}

static void on_agent_message(struct broker *broker, const struct weir_peer *peer)
{
    const struct weir_frames *frames = &broker->frames;
    bool sound = weir_msg_decode(weir_frames_view(frames, 0), &broker->msg) == 0;
    bool is_data = sound && broker->msg.kind == WEIR_MSG_DATA;
    if (!sound || frames->count != (is_data ? DATA_FRAMES : 1)) {
        count_invalid(broker, peer->name);
        return;
    }
    struct weir_batch_header header;
    struct route_event event = {
        .kind = ROUTE_EVENT_AGENT, .peer = {.id = peer->id, .name = peer->name, .key = peer->key}, .msg = &broker->msg};
    if (is_data) {
        struct weir_view bytes = weir_frames_view(frames, 1);
        int rc = weir_batch_header_decode(bytes, &header);
        event.header = rc == 0 ? &header : NULL;
        event.newer_schema = rc == WEIR_EVERSION;
        event.bytes = bytes.size + weir_frames_view(frames, 2).size;
    }
    step(broker, &event);
}

/** Whether it may have left something. */
static bool receive_from_agents(struct broker *broker)
{
    struct weir_peer peer;
    for (int i = 0; i < MESSAGES_IN_A_ROW; i++) {
        if (weir_socket_recv(broker->server, &broker->frames, &peer) < 0) return false;
        on_agent_message(broker, &peer);
    }
    return true;
}

static bool receive_from_node(struct broker *broker, uint32_t node)
{
    for (int i = 0; i < MESSAGES_IN_A_ROW; i++) {
        if (broker_link_recv(broker->links[node], &broker->frames) < 0) return false;
        bool sound =
            broker->frames.count == 1 && weir_msg_decode(weir_frames_view(&broker->frames, 0), &broker->msg) == 0;
        if (sound)
            step(broker, &(struct route_event){.kind = ROUTE_EVENT_NODE, .node = node, .msg = &broker->msg});
        else
            count_invalid(broker, broker->map->aggregators[node].name);
    }
    return true;
}

static bool pump_once(struct broker *broker)
{
    bool more = !broker->draining && receive_from_agents(broker);
    for (uint32_t node = 0; node < broker->map->aggregator_count; node++) {
        if (broker->links[node] == NULL) continue;
        more |= receive_from_node(broker, node);
        broker_link_flush(broker->links[node]);
    }
    if (more) return true;
    /* Sending ate the edges of the descriptors: ask, or sleep on what has come meanwhile. */
    more = !broker->draining && weir_socket_pending(broker->server);
    for (uint32_t node = 0; node < broker->map->aggregator_count; node++)
        more |= broker->links[node] != NULL && broker_link_pending(broker->links[node]);
    return more;
}

static void pump(void *ctx)
{
    struct broker *broker = ctx;
    bool more = true;
    for (int round = 0; round < ROUNDS_IN_A_ROW && more; round++)
        more = pump_once(broker);
    weir_frames_clear(&broker->frames);
    if (more) weir_loop_wake(broker->loop);
}

/* ------------------------------------------------------------------------------------------- map, allow-list, keys */

static int link_to(struct broker *broker, const struct weir_node *node, struct broker_link **ret, struct weir_why *why)
{
    struct broker_link_conf conf = {.net = broker->net,
                                    .loop = broker->loop,
                                    .on_readable = pump,
                                    .ctx = broker,
                                    .endpoint = node->endpoint,
                                    .server_key = node->key,
                                    .keys = &broker->keys,
                                    .max_bytes = WEIR_MSG_BYTES_MOST};
    int rc = broker_link_create(&conf, ret, why);
    return rc < 0 ? weir_why_prefix(why, rc, "aggregator %s", node->name) : 0;
}

static void unlink_all(struct broker_link *links[WEIR_NODES_MOST])
{
    for (uint32_t i = 0; i < WEIR_NODES_MOST; i++) {
        broker_link_destroy(links[i]);
        links[i] = NULL;
    }
}

static int link_all(struct broker *broker, const struct weir_map *map, struct broker_link *links[WEIR_NODES_MOST],
                    struct weir_why *why)
{
    for (uint32_t i = 0; i < map->aggregator_count; i++) {
        int rc = link_to(broker, &map->aggregators[i], &links[i], why);
        if (rc < 0) {
            unlink_all(links);
            return rc;
        }
    }
    return 0;
}

/** Take the map over, with new links where the aggregators are others; on failure the old one holds on. */
static int use_map(struct broker *broker, struct weir_map *map, struct weir_why *why)
{
    struct weir_map *before = broker->map;
    if (!route_nodes_are_same(before, map)) {
        struct broker_link *links[WEIR_NODES_MOST] = {NULL};
        int rc = link_all(broker, map, links, why);
        if (rc < 0) return rc;
        unlink_all(broker->links);
        memcpy(broker->links, links, sizeof links);
    }
    broker->map = map;
    step(broker, &(struct route_event){.kind = ROUTE_EVENT_MAP, .map = map});
    weir_map_free(before);
    weir_log(WEIR_LOG_INFO, "map.used", "epoch=%u replication=%u aggregators=%u", map->epoch, map->replication,
             map->aggregator_count);
    return 0;
}

/** If the file says that we are reached under another key than ours, no agent would ever get through. */
static int check_own_key(const struct broker *broker, const struct weir_map *map, struct weir_why *why)
{
    int index = weir_map_find_broker(map, broker->conf->name);
    if (index < 0) {
        return weir_why_set(why, WEIR_EPARAM, "%s: no broker is named %s", broker->conf->cluster, broker->conf->name);
    }
    if (strcmp(map->brokers[index].key, broker->keys.public_key) == 0) return 0;
    return weir_why_set(why, WEIR_EPARAM, "%s: the key of broker %s is not the public half of %s",
                        broker->conf->cluster, broker->conf->name, broker->conf->key);
}

/** Take @map over if it is another one. It is taken from the caller whatever comes of it. */
static int take_map(struct broker *broker, struct weir_map *map, struct weir_why *why)
{
    int rc = check_own_key(broker, map, why);
    bool is_new = broker->map == NULL || !weir_map_equal(map, broker->map);
    if (rc == 0 && is_new) {
        rc = use_map(broker, map, why);
        if (rc == 0) return 0;
    }
    weir_map_free(map);
    return rc;
}

static int reread_map(struct broker *broker, struct weir_why *why)
{
    struct weir_map *map = NULL;
    int rc = weir_follow_read(broker->follow, &map, why);
    return rc < 0 ? rc : take_map(broker, map, why);
}

static void map_changed(void *ctx, struct weir_map *map)
{
    struct weir_why why = {""};
    char quoted[600];
    if (take_map(ctx, map, &why) < 0)
        weir_log(WEIR_LOG_ERROR, "map.unusable", "reason=%s", weir_log_quote(why.text, quoted, sizeof quoted));
}

static int follow_map(struct broker *broker, const struct weir_daemon *daemon, struct weir_why *why)
{
    struct weir_follow_conf conf = {.loop = daemon->loop,
                                    .metrics = daemon->common,
                                    .file = broker->conf->cluster,
                                    .cache = broker->conf->map_cache,
                                    .self = broker->conf->name,
                                    .changed = map_changed,
                                    .ctx = broker};
    int rc = weir_follow_create(&conf, &broker->follow, why);
    return rc < 0 ? rc : reread_map(broker, why);
}

static void use_allow(struct broker *broker, struct weir_allow *allow)
{
    struct weir_allow *before = broker->allow;
    broker->allow = allow;
    weir_zap_swap(broker->zap, allow);
    step(broker, &(struct route_event){.kind = ROUTE_EVENT_ALLOW, .allow = allow});
    weir_allow_destroy(before);
    weir_log(WEIR_LOG_INFO, "allow.used", "entries=%zu", weir_allow_count(allow));
}

/* ----------------------------------------------------------------------------------------------------------- time */

static void reread_doubted_map(struct broker *broker)
{
    int64_t now = weir_mono_ms();
    struct weir_why why = {""};
    char quoted[600];
    if (!broker->map_is_doubted || now - broker->reread_mono_ms < REREAD_MS) return;
    broker->map_is_doubted = false;
    broker->reread_mono_ms = now;
    if (reread_map(broker, &why) < 0) {
        weir_log(WEIR_LOG_ERROR, "map.unreadable", "reason=%s", weir_log_quote(why.text, quoted, sizeof quoted));
    }
}

static void tick(void *ctx)
{
    struct broker *broker = ctx;
    reread_doubted_map(broker);
    step(broker, &(struct route_event){.kind = ROUTE_EVENT_TICK});
    pump(broker);
}

static void report(void *ctx)
{
    struct broker *broker = ctx;
    broker_report_update(broker->report, broker->metrics, broker->core, broker->map, broker->server, broker->zap);
}

/* -------------------------------------------------------------------------------------------------------- program */

static int listen_for_agents(struct broker *broker, struct weir_why *why)
{
    static const struct weir_zap_rule rules[] = {{"agents", WEIR_ROLE_AGENT}};
    int rc = weir_zap_start(broker->net, rules, 1, broker->allow, &broker->zap, why);
    if (rc < 0) return rc;
    rc = weir_zap_self_test(broker->zap, SELF_TEST_MS, why);
    if (rc < 0) return rc;
    struct weir_server_conf conf = {.endpoint = broker->conf->listen,
                                    .domain = rules[0].domain,
                                    .keys = &broker->keys,
                                    .max_bytes = WEIR_BODY_BYTES_MOST};
    rc = weir_server_create(broker->net, &conf, &broker->server, why);
    if (rc < 0) return weir_why_prefix(why, rc, "listen");
    broker->server_fd = weir_socket_fd(broker->server);
    return 0;
}

static int join_loop(struct broker *broker)
{
    int rc = weir_loop_add_fd(broker->loop, broker->server_fd, pump, broker);
    if (rc == 0) rc = weir_loop_on_wake(broker->loop, pump, broker);
    if (rc == 0) rc = weir_loop_every(broker->loop, TICK_MS, tick, broker);
    if (rc == 0) rc = weir_loop_every(broker->loop, REPORT_MS, report, broker);
    return rc;
}

static void broker_destroy(void *self)
{
    struct broker *broker = self;
    if (broker == NULL) return;
    weir_follow_destroy(broker->follow);
    unlink_all(broker->links);
    if (broker->server != NULL) weir_loop_remove_fd(broker->loop, broker->server_fd);
    weir_frames_clear(&broker->frames);
    weir_socket_destroy(broker->server);
    weir_zap_stop(broker->zap);
    route_core_destroy(broker->core);
    route_actions_fini(&broker->actions);
    weir_net_destroy(broker->net);
    weir_buf_fini(&broker->encoded);
    broker_report_destroy(broker->report);
    weir_allow_destroy(broker->allow);
    weir_map_free(broker->map);
    weir_keys_wipe(&broker->keys);
    weir_free(broker);
}

static int broker_create(const struct weir_daemon *daemon, const void *conf_of_program, void **ret,
                         struct weir_why *why)
{
    enum { BATCH_BYTES = 256 * 1024, KEPT_BYTES = 4 << 20 };
    weir_mem_keep(KEPT_BYTES);
    const struct broker_conf *conf = conf_of_program;
    int rc = WEIR_ENOMEM;
    struct broker *broker = weir_calloc(1, sizeof *broker);
    if (broker == NULL) goto fail;
    broker->conf = conf;
    broker->loop = daemon->loop;
    broker->metrics = daemon->metrics;
    const struct route_conf core_conf = {.budget_bytes = conf->memory_bytes,
                                         .batch_bytes = BATCH_BYTES,
                                         .max_bytes = WEIR_HEADER_BYTES_MOST + WEIR_BODY_BYTES_MOST,
                                         .sessions_most = (uint32_t)conf->agents_most,
                                         .copies_least = (uint32_t)conf->copies_least};
    rc = route_core_create(&core_conf, &broker->core);
    if (rc < 0) goto fail;

    rc = broker_report_create(&broker->report);
    if (rc < 0) goto fail;

    rc = weir_net_create((uint32_t)conf->io_threads, &broker->net);
    if (rc < 0) goto fail;

    rc = weir_keys_load(conf->key, &broker->keys, why);
    if (rc < 0) goto fail;

    rc = weir_allow_file_read(conf->allow, &broker->allow, why);
    if (rc < 0) goto fail;

    rc = listen_for_agents(broker, why);
    if (rc < 0) goto fail;

    step(broker, &(struct route_event){.kind = ROUTE_EVENT_ALLOW, .allow = broker->allow});
    rc = follow_map(broker, daemon, why);
    if (rc < 0) goto fail;

    rc = join_loop(broker);
    if (rc < 0) goto fail;

    report(broker);
    weir_log(WEIR_LOG_INFO, "broker.listening", "name=%s endpoint=%s agents_allowed=%zu", conf->name,
             broker_endpoint(broker), weir_allow_count(broker->allow));
    *ret = broker;
    return 0;

fail:
    broker_destroy(broker);
    return rc;
}

static int broker_reload(void *self, const void *conf, struct weir_why *why)
{
    struct broker *broker = self;
    struct weir_allow *allow = NULL;
    int rc = weir_allow_file_read(broker->conf->allow, &allow, why);
    if (rc < 0) return rc;
    rc = reread_map(broker, why);
    if (rc < 0) {
        weir_allow_destroy(allow);
        return rc;
    }
    use_allow(broker, allow);
    broker->conf = conf;
    return 0;
}

/** Take nothing new; what is in flight is answered, or the agents send it to another broker. */
static void broker_drain(void *self)
{
    struct broker *broker = self;
    broker->draining = true;
    weir_loop_remove_fd(broker->loop, broker->server_fd);
}

static bool broker_drained(void *self)
{
    const struct broker *broker = self;
    return route_core_state(broker->core)->in_flight == 0;
}

static bool broker_ready(void *self, struct weir_buf *reason)
{
    return broker_report_ready(((struct broker *)self)->report, reason);
}

static void broker_each(void *self, size_t row, struct weir_buf *out)
{
    broker_report_each(((struct broker *)self)->report, row, out);
}

static void broker_line(void *self, struct weir_buf *out)
{
    const struct broker *broker = self;
    const struct route_state *state = route_core_state(broker->core);
    weir_buf_printf(out, "%u agents, %u batches in flight, %" PRIu64 " accepted", state->sessions, state->in_flight,
                    state->accepted);
}

const char *broker_endpoint(const void *broker)
{
    return weir_socket_endpoint(((const struct broker *)broker)->server);
}

const struct weir_program broker_program = {
    .name = "weir-broker",
    .summary = "routes batches of flows from agents to aggregators",
    .schema = &broker_conf_schema,
    .metric_rows = broker_counter_rows,
    .metric_count = BROKER_COUNTERS,
    .create = broker_create,
    .reload = broker_reload,
    .drain = broker_drain,
    .drained = broker_drained,
    .ready = broker_ready,
    .each = broker_each,
    .line = broker_line,
    .destroy = broker_destroy,
};
