#include "agent/ship.h"

#include "agent/counters.h"
#include "agent/parcel.h"
#include "agent/recent.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"
#include "common/daemon/loop.h"
#include "common/net/socket.h"
#include "common/wire/message.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>

enum {
    TICK_MOST_MS = 50,
    CHECKPOINT_MS = 1000,
    REPORT_MS = 200,
    MESSAGES_IN_A_ROW = 64,
    OUTBOX = 256,
    TROUBLE_MOST = SHIP_ACTIONS_MOST,
    FULL_LINES_PER_SECOND = 1
};

/** What went wrong with an action, to be told to the core after all of them. */
struct trouble {
    enum ship_event_kind kind; /* UNSENT or UNFIT */
    uint32_t shard;
    uint64_t seq;
};

/** Whom to ship to. */
struct brokers {
    uint32_t count;
    struct weir_node at[WEIR_NODES_MOST];
};

struct agent_ship {
    struct agent_ship_conf conf;
    struct weir_keys keys;
    struct weir_metrics *metrics;
    struct agent_packer *packer;
    struct agent_queue *queue;
    struct agent_pool *pool;
    struct agent_spool *spool;
    struct agent_recent *recent;
    struct ship_core *core;
    struct weir_net *net;
    struct weir_loop *loop;
    pthread_t thread;
    bool running;

    /* The thread's own. */
    struct weir_socket *socket;
    int socket_fd;
    struct weir_frames outbox[OUTBOX];
    uint32_t outbox_first;
    uint32_t outbox_count;
    struct ship_actions actions;
    struct trouble trouble[TROUBLE_MOST];
    uint32_t trouble_count;
    struct weir_msg msg;
    struct weir_frames frames;
    struct weir_buf encoded;
    char refusal[WEIR_REASON_BYTES]; /* the last one's text */
    bool unsynced;
    int64_t synced_mono_ms;
    uint64_t backlog_bytes; /* as of the last report */
    int64_t backlog_oldest_ms;
    enum ship_phase phase; /* as of the last look, for the log */
    struct weir_log_limit full_lines;
    struct weir_log_limit error_lines;
    struct weir_log_limit alarm_lines;
    uint64_t found_mark;
    uint64_t put_mark; /* the highest that went to the spool */

    struct brokers *brokers;
    uint32_t broker; /* index of the one that we have a socket to */

    _Atomic uint64_t synced_mark;
    atomic_bool hurry; /* sync without waiting for the tick */
    atomic_bool draining;
    atomic_bool drained;

    pthread_mutex_t lock;  /* guards what follows, for other threads */
    struct brokers *fresh; /* to be used from now on, or NULL */
    char broker_name[WEIR_NAME_BYTES];
    bool streaming;
};

static uint64_t random_number(void)
{
    uint64_t number = 0;
    while (number == 0 && getrandom(&number, sizeof number, 0) != (ssize_t)sizeof number)
        continue;
    return number == 0 ? 1 : number;
}

static int copy_brokers(const struct weir_map *map, struct brokers **ret)
{
    if (map->broker_count == 0) return WEIR_EPARAM;
    struct brokers *brokers = weir_calloc(1, sizeof *brokers);
    if (brokers == NULL) return WEIR_ENOMEM;
    brokers->count = map->broker_count;
    memcpy(brokers->at, map->brokers, map->broker_count * sizeof *map->brokers);
    *ret = brokers;
    return 0;
}

/** The broker that we have a socket to, or had last. */
static const struct weir_node *our_broker(const struct agent_ship *ship)
{
    return &ship->brokers->at[ship->broker];
}

/* ---- actions ---- */

static void note_trouble(struct agent_ship *ship, enum ship_event_kind kind, uint32_t shard, uint64_t seq)
{
    if (ship->trouble_count < TROUBLE_MOST)
        ship->trouble[ship->trouble_count++] = (struct trouble){.kind = kind, .shard = shard, .seq = seq};
}

static void clear_outbox(struct agent_ship *ship)
{
    for (uint32_t i = 0; i < ship->outbox_count; i++)
        weir_frames_clear(&ship->outbox[(ship->outbox_first + i) % OUTBOX]);
    ship->outbox_count = 0;
}

static void flush_outbox(struct agent_ship *ship)
{
    while (ship->outbox_count > 0) {
        struct weir_frames *first = &ship->outbox[ship->outbox_first];
        if (weir_socket_send(ship->socket, 0, first) == WEIR_EAGAIN) return;
        weir_frames_clear(first); /* sent, or what can never be sent: the core hears of it by silence */
        ship->outbox_first = (ship->outbox_first + 1) % OUTBOX;
        ship->outbox_count--;
    }
}

/** WEIR_EAGAIN when socket and outbox are full. */
static int send_frames(struct agent_ship *ship, struct weir_frames *frames)
{
    if (ship->socket == NULL) return WEIR_ECLOSED;
    flush_outbox(ship);
    if (ship->outbox_count == 0) {
        int rc = weir_socket_send(ship->socket, 0, frames);
        if (rc != WEIR_EAGAIN) return rc;
    }
    if (ship->outbox_count == OUTBOX) return WEIR_EAGAIN;
    weir_frames_move(&ship->outbox[(ship->outbox_first + ship->outbox_count) % OUTBOX], frames);
    ship->outbox_count++;
    return 0;
}

static int put_message(struct agent_ship *ship, const struct weir_msg *msg, struct weir_frames *frames)
{
    weir_buf_clear(&ship->encoded);
    int rc = weir_msg_encode(msg, &ship->encoded);
    return rc < 0 ? rc : weir_frames_add(frames, weir_buf_view(&ship->encoded));
}

static void disconnect(struct agent_ship *ship)
{
    clear_outbox(ship);
    if (ship->socket == NULL) return;
    weir_loop_remove_fd(ship->loop, ship->socket_fd);
    weir_socket_destroy(ship->socket);
    ship->socket = NULL;
}

static void pump(void *ctx);

static void connect_broker(struct agent_ship *ship, uint32_t index)
{
    ship->broker = index;
    const struct weir_node *broker = our_broker(ship);
    const struct weir_client_conf conf = {
        .endpoint = broker->endpoint, .server_key = broker->key, .keys = &ship->keys, .max_bytes = WEIR_MSG_BYTES_MOST};
    struct weir_why why = {""};
    char quoted[600];
    disconnect(ship);
    int rc = weir_client_create(ship->net, &conf, &ship->socket, &why);
    if (rc == 0) {
        ship->socket_fd = weir_socket_fd(ship->socket);
        rc = weir_loop_add_fd(ship->loop, ship->socket_fd, pump, ship);
        if (rc < 0) {
            weir_socket_destroy(ship->socket);
            ship->socket = NULL;
        }
    }
    if (rc < 0) {
        weir_log(WEIR_LOG_ERROR, "broker.no_socket", "broker=%s endpoint=%s reason=%s", broker->name, broker->endpoint,
                 weir_log_quote(why.text[0] == '\0' ? weir_err_text(rc) : why.text, quoted, sizeof quoted));
    }
}

/** Why a broker that did not serve us did not, as far as the socket knows. */
static const char *reason_of_silence(struct agent_ship *ship)
{
    if (ship->socket == NULL) return "no socket could be made";
    const struct weir_socket_stats *stats = weir_socket_stats(ship->socket);
    if (stats->refused > 0) return "our key is not in its allow-list as an agent's";
    if (stats->handshake_failed > 0) return "its key is not the one in cluster.conf, or it is no broker";
    return stats->connected > 0 ? "it does not answer" : "it cannot be reached";
}

static void close_session(struct agent_ship *ship, enum weir_code code)
{
    char quoted[400];
    const struct weir_node *broker = our_broker(ship);
    if (code == WEIR_CODE_NONE) {
        weir_log(WEIR_LOG_WARN, "broker.silent", "broker=%s endpoint=%s reason=%s", broker->name, broker->endpoint,
                 weir_log_quote(reason_of_silence(ship), quoted, sizeof quoted));
    }
    disconnect(ship);
}

static void send_control(struct agent_ship *ship, const struct ship_action *action)
{
    struct weir_msg msg;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    ship_core_msg(ship->core, action, &msg);
    if (put_message(ship, &msg, &frames) == 0) (void)send_frames(ship, &frames); /* lost: the core says it again */
    weir_frames_clear(&frames);
}

/** Header and body of a record behind the message: shared with what is in memory, or read back. */
static int add_record(struct agent_ship *ship, const struct ship_action *action, struct weir_msg *msg,
                      struct weir_frames *frames)
{
    uint64_t first;
    uint64_t last;
    bool data = agent_spool_span(ship->spool, action->shard, action->seq, &first, &last) == WEIR_RECORD_DATA;
    const struct agent_recent_record *kept = data ? agent_recent_find(ship->recent, action->shard, action->seq) : NULL;
    if (kept != NULL) {
        msg->crc = kept->crc;
        msg->cum = kept->cum;
        int rc = put_message(ship, msg, frames);
        if (rc == 0) rc = weir_frames_share(frames, &kept->frames, 0);
        return rc < 0 ? rc : weir_frames_share(frames, &kept->frames, 1);
    }
    struct agent_spool_record record;
    int rc = agent_spool_read(ship->spool, action->shard, action->seq, &record);
    if (rc < 0) return rc;
    weir_metrics_add(ship->metrics, AGENT_COUNT_spool_reads, 1);
    msg->crc = record.crc;
    msg->cum = record.cum;
    rc = put_message(ship, msg, frames);
    if (rc == 0) rc = weir_frames_add(frames, record.header);
    return rc < 0 ? rc : weir_frames_add(frames, record.body);
}

static void send_data(struct agent_ship *ship, const struct ship_action *action)
{
    struct weir_msg msg;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    ship_core_msg(ship->core, action, &msg);
    msg.spool_bytes = ship->backlog_bytes;
    msg.spool_oldest_ms = ship->backlog_oldest_ms;
    int rc = add_record(ship, action, &msg, &frames);
    if (rc == 0) {
        size_t bytes = weir_frames_view(&frames, 1).size + weir_frames_view(&frames, 2).size;
        uint32_t most = ship_core_state(ship->core)->max_bytes;
        if (most != 0 && bytes > most) rc = WEIR_ELIMIT;
    }
    if (rc == 0) {
        agent_spool_sent(ship->spool, action->shard, action->seq);
        rc = send_frames(ship, &frames);
    }
    weir_frames_clear(&frames);
    if (rc == WEIR_ECORRUPT || rc == WEIR_ELIMIT)
        note_trouble(ship, SHIP_EVENT_UNFIT, action->shard, action->seq);
    else if (rc < 0)
        note_trouble(ship, SHIP_EVENT_UNSENT, action->shard, action->seq);
}

static void release(struct agent_ship *ship, const struct ship_action *action)
{
    agent_spool_ack(ship->spool, action->shard, action->seq);
    agent_recent_release(ship->recent, action->shard, action->seq);
}

static void poison(struct agent_ship *ship, const struct ship_action *action)
{
    char quoted[400];
    int rc = agent_spool_poison(ship->spool, action->shard, action->seq);
    agent_recent_forget(ship->recent, action->shard, action->seq);
    weir_log(WEIR_LOG_ERROR, "spool.quarantined", "shard=%u seq=%" PRIu64 " code=%s result=%s reason=%s", action->shard,
             action->seq, weir_code_name(action->code), weir_err_name(rc),
             weir_log_quote(action->code == WEIR_CODE_NONE ? "damaged on disk or too large" : ship->refusal, quoted,
                            sizeof quoted));
    if (rc < 0 && rc != WEIR_ENOTFOUND) note_trouble(ship, SHIP_EVENT_UNSENT, action->shard, action->seq);
}

static void step(struct agent_ship *ship, const struct ship_event *event);

static void tell_lanes(struct agent_ship *ship)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        struct agent_spool_lane lane = agent_spool_lane(ship->spool, shard);
        if (lane.next == 0) continue;
        struct ship_actions none;
        const struct ship_event event = {
            .kind = SHIP_EVENT_LANE, .shard = shard, .first_avail = lane.first_avail, .next = lane.next};
        ship_core_step(ship->core, &event, weir_mono_ms(), &none);
        assert(none.count == 0);
    }
}

static void renew(struct agent_ship *ship)
{
    uint64_t fresh = random_number();
    int rc = agent_spool_renew(ship->spool, fresh);
    if (rc < 0) {
        weir_log(WEIR_LOG_ERROR, "spool.not_renewed", "reason=%s", weir_err_name(rc));
        return; /* the core asks again */
    }
    weir_log(WEIR_LOG_WARN, "spool.renewed", "incarnation=%016" PRIx64, fresh);
    agent_recent_clear(ship->recent);
    clear_outbox(ship);
    struct ship_actions none;
    const struct ship_event event = {.kind = SHIP_EVENT_RENEWED, .inc = fresh};
    ship_core_step(ship->core, &event, weir_mono_ms(), &none);
    tell_lanes(ship);
}

static void raise_alarm(struct agent_ship *ship, const struct ship_action *action)
{
    char quoted[400];
    uint64_t held_back;
    if (!weir_log_allowed(&ship->alarm_lines, weir_mono_ms(), 5, &held_back)) return;
    const char *broker = our_broker(ship)->name;
    if (action->alarm == SHIP_ALARM_REJECTED) {
        weir_log(WEIR_LOG_ERROR, "ship.refused", "broker=%s shard=%u seq=%" PRIu64 " reason=%s held_back=%" PRIu64,
                 broker, action->shard, action->seq, weir_log_quote(ship->refusal, quoted, sizeof quoted), held_back);
    } else {
        weir_log(WEIR_LOG_ERROR, "ship.alarm", "alarm=%s broker=%s shard=%u expected=%" PRIu64 " held_back=%" PRIu64,
                 ship_alarm_name(action->alarm), broker, action->shard, action->seq, held_back);
    }
}

static void carry_out(struct agent_ship *ship, const struct ship_action *action)
{
    switch (action->kind) {
    case SHIP_CONNECT: connect_broker(ship, action->broker); break;
    case SHIP_CLOSE: close_session(ship, action->code); break;
    case SHIP_SEND:
        if (action->msg == WEIR_MSG_DATA)
            send_data(ship, action);
        else
            send_control(ship, action);
        break;
    case SHIP_RELEASE: release(ship, action); break;
    case SHIP_POISON: poison(ship, action); break;
    case SHIP_RENEW: renew(ship); break;
    case SHIP_ALARM: raise_alarm(ship, action); break;
    }
}

static void step_once(struct agent_ship *ship, const struct ship_event *event)
{
    ship_core_step(ship->core, event, weir_mono_ms(), &ship->actions);
    bool stuck = false; /* behind a record that was not sent, the rest of its lane would only be refused */
    for (uint32_t i = 0; i < ship->actions.count; i++) {
        const struct ship_action *action = &ship->actions.at[i];
        if (stuck && action->kind == SHIP_SEND && action->msg == WEIR_MSG_DATA)
            note_trouble(ship, SHIP_EVENT_UNSENT, action->shard, action->seq);
        else
            carry_out(ship, action);
        stuck |= ship->trouble_count > 0;
    }
}

/** One event, what went wrong because of it, and whatever more there is to send. */
static void step(struct agent_ship *ship, const struct ship_event *event)
{
    static const struct ship_event tick = {.kind = SHIP_EVENT_TICK};
    step_once(ship, event);
    for (;;) {
        if (ship->trouble_count > 0) {
            const struct trouble trouble = ship->trouble[--ship->trouble_count];
            step_once(ship, &(struct ship_event){.kind = trouble.kind, .shard = trouble.shard, .seq = trouble.seq});
        } else if (ship->actions.more) {
            step_once(ship, &tick);
        } else {
            break;
        }
    }
    enum ship_phase phase = ship_core_state(ship->core)->phase;
    if (phase == ship->phase) return;
    if (phase == SHIP_STREAMING) {
        const struct weir_node *broker = our_broker(ship);
        weir_log(WEIR_LOG_INFO, "broker.welcome", "broker=%s endpoint=%s credit=%u", broker->name, broker->endpoint,
                 ship_core_state(ship->core)->credit);
    }
    ship->phase = phase;
    pthread_mutex_lock(&ship->lock);
    ship->streaming = phase == SHIP_STREAMING;
    snprintf(ship->broker_name, sizeof ship->broker_name, "%s", our_broker(ship)->name);
    pthread_mutex_unlock(&ship->lock);
}

/* ---- the spool's end ---- */

static void note_dropped(struct agent_ship *ship, int rc)
{
    uint64_t held_back;
    bool full = rc == WEIR_EFULL || rc == WEIR_ENOSPACE;
    struct weir_log_limit *limit = full ? &ship->full_lines : &ship->error_lines;
    if (!weir_log_allowed(limit, weir_mono_ms(), FULL_LINES_PER_SECOND, &held_back)) return;
    if (full)
        weir_log(WEIR_LOG_WARN, "spool.full", "reason=%s dropped=new held_back=%" PRIu64, weir_err_name(rc), held_back);
    else
        weir_log(WEIR_LOG_ERROR, "spool.error", "reason=%s held_back=%" PRIu64, weir_err_name(rc), held_back);
}

static void spool_parcel(struct agent_ship *ship, struct agent_parcel *parcel)
{
    struct agent_spool_place place;
    uint64_t lost_before = agent_spool_counted(ship->spool)->lost_full.flows;
    int rc = agent_spool_append(ship->spool, parcel->shard, &parcel->header, weir_frames_view(&parcel->frames, 0),
                                weir_frames_view(&parcel->frames, 1), parcel->crc, parcel->mark, &place);
    if (parcel->mark != 0) {
        ship->put_mark = parcel->mark;
        ship->unsynced = true;
    }
    if (rc == WEIR_EEXIST) {
        weir_metrics_add(ship->metrics, AGENT_COUNT_feed_flows_again, parcel->header.totals.flows);
        return;
    }
    if (rc < 0) {
        note_dropped(ship, rc);
        return;
    }
    uint64_t held_back;
    if (agent_spool_counted(ship->spool)->lost_full.flows != lost_before &&
        weir_log_allowed(&ship->full_lines, weir_mono_ms(), FULL_LINES_PER_SECOND, &held_back))
        weir_log(WEIR_LOG_WARN, "spool.full", "reason=EFULL dropped=old held_back=%" PRIu64, held_back);

    ship->unsynced = true;
    struct agent_recent_record record = {.seq = place.seq, .crc = parcel->crc, .cum = place.cum};
    weir_frames_move(&record.frames, &parcel->frames);
    agent_recent_put(ship->recent, parcel->shard, &record);
    weir_frames_clear(&record.frames);
}

/** What a sync made durable: kept until it is over, because the core's actions call the spool again. */
struct news {
    uint64_t next[WEIR_SHARDS]; /* 0: none */
};

static void on_synced(void *ctx, uint32_t shard, uint64_t next)
{
    struct news *news = ctx;
    news->next[shard] = next;
}

static void sync_spool(struct agent_ship *ship)
{
    int64_t now = weir_mono_ms();
    bool due = ship->conf.sync != AGENT_SYNC_TICK || now - ship->synced_mono_ms >= ship->conf.sync_interval_ms ||
               atomic_load(&ship->draining);
    due |= atomic_exchange(&ship->hurry, false);
    if (!ship->unsynced || !due) return;
    ship->unsynced = false;
    ship->synced_mono_ms = now;
    struct news news = {{0}};
    int rc = agent_spool_sync(ship->spool, on_synced, &news);
    if (rc < 0) note_dropped(ship, WEIR_EIO);
    atomic_store(&ship->synced_mark, ship->put_mark);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        if (news.next[shard] == 0) continue;
        const struct ship_event event = {.kind = SHIP_EVENT_SYNCED, .shard = shard, .next = news.next[shard]};
        step(ship, &event);
    }
}

static void take_parcels(struct agent_ship *ship)
{
    struct agent_parcel *parcel = agent_queue_take_all(ship->queue);
    while (parcel != NULL) {
        struct agent_parcel *next = parcel->next;
        spool_parcel(ship, parcel);
        agent_parcel_destroy(parcel);
        parcel = next;
    }
}

/* ---- the socket's end ---- */

static void on_message(struct agent_ship *ship)
{
    if (ship->frames.count != 1 || weir_msg_decode(weir_frames_view(&ship->frames, 0), &ship->msg) < 0) {
        weir_metrics_add(ship->metrics, AGENT_COUNT_messages_invalid, 1);
        return;
    }
    if (ship->msg.kind == WEIR_MSG_NACK) memcpy(ship->refusal, ship->msg.text, sizeof ship->refusal);
    const struct ship_event event = {.kind = SHIP_EVENT_MSG, .msg = &ship->msg};
    step(ship, &event);
}

/** Whether it may have left something. */
static bool receive(struct agent_ship *ship)
{
    for (int i = 0; i < MESSAGES_IN_A_ROW; i++) {
        if (ship->socket == NULL || weir_socket_recv(ship->socket, &ship->frames, NULL) < 0) return false;
        on_message(ship);
    }
    return true;
}

static bool is_same_broker(const struct weir_node *a, const struct weir_node *b)
{
    return strcmp(a->endpoint, b->endpoint) == 0 && strcmp(a->key, b->key) == 0;
}

/** Go over to another list of brokers, if there is one. */
static void take_brokers(struct agent_ship *ship)
{
    pthread_mutex_lock(&ship->lock);
    struct brokers *fresh = ship->fresh;
    ship->fresh = NULL;
    pthread_mutex_unlock(&ship->lock);
    if (fresh == NULL) return;

    uint32_t ours = 0;
    while (ours < fresh->count && !is_same_broker(our_broker(ship), &fresh->at[ours]))
        ours++;
    if (ours == fresh->count) ours = SHIP_NO_BROKER;
    const struct ship_event event = {.kind = SHIP_EVENT_BROKERS, .brokers = fresh->count, .broker = ours};
    weir_log(WEIR_LOG_INFO, "brokers.used", "brokers=%u ours_is_gone=%s", fresh->count,
             ours == SHIP_NO_BROKER ? "yes" : "no");
    step(ship, &event); /* may close the socket to the old one */
    weir_free(ship->brokers);
    ship->brokers = fresh;
    ship->broker = ours == SHIP_NO_BROKER ? 0 : ours;
}

/** Everything that there is to do now. */
static void pump(void *ctx)
{
    struct agent_ship *ship = ctx;
    take_brokers(ship);
    bool draining = atomic_load(&ship->draining); /* then nothing is queued any more but what is taken now */
    bool more = receive(ship);
    take_parcels(ship);
    sync_spool(ship);
    if (ship->socket != NULL) {
        flush_outbox(ship);
        more |= weir_socket_pending(ship->socket); /* sending ate the edge */
    }
    if (more) weir_loop_wake(ship->loop);
    if (draining && !ship->unsynced) atomic_store(&ship->drained, true);
}

/* ---- time ---- */

static void on_tick(void *ctx)
{
    static const struct ship_event tick = {.kind = SHIP_EVENT_TICK};
    struct agent_ship *ship = ctx;
    step(ship, &tick);
    pump(ship);
}

static void on_checkpoint(void *ctx)
{
    struct agent_ship *ship = ctx;
    agent_spool_checkpoint(ship->spool);
    ship->unsynced = true; /* it may have written losses */
}

static void set(struct agent_ship *ship, enum agent_counter counter, uint64_t value)
{
    weir_metrics_set(ship->metrics, counter, value);
}

static void report_spool(struct agent_ship *ship)
{
    const struct agent_spool_stats *s = agent_spool_stats(ship->spool);
    int64_t now = weir_wall_ms();
    ship->backlog_bytes = s->bytes;
    ship->backlog_oldest_ms = s->oldest_ms;
    set(ship, AGENT_COUNT_flows_spooled, s->taken.flows);
    set(ship, AGENT_COUNT_flows_found, s->found.flows);
    set(ship, AGENT_COUNT_flows_acked, s->acked.flows);
    set(ship, AGENT_COUNT_lost_full, s->lost_full.flows);
    set(ship, AGENT_COUNT_lost_error, s->lost_error.flows);
    set(ship, AGENT_COUNT_lost_damaged, s->lost_damaged.flows);
    set(ship, AGENT_COUNT_lost_refused, s->lost_poison.flows);
    set(ship, AGENT_COUNT_batches_spooled, s->batches_taken);
    set(ship, AGENT_COUNT_batches_acked, s->batches_acked);
    set(ship, AGENT_COUNT_spool_flows, s->waiting.flows);
    set(ship, AGENT_COUNT_spool_batches, s->batches);
    set(ship, AGENT_COUNT_spool_bytes, s->bytes);
    set(ship, AGENT_COUNT_spool_disk_bytes, s->disk_bytes);
    set(ship, AGENT_COUNT_spool_oldest,
        s->oldest_ms == 0 || now < s->oldest_ms ? 0 : (uint64_t)(now - s->oldest_ms) / 1000);
    set(ship, AGENT_COUNT_spool_syncs, s->syncs);
    set(ship, AGENT_COUNT_spool_torn, s->torn_tails);
    set(ship, AGENT_COUNT_spool_quarantined, s->quarantined);
    set(ship, AGENT_COUNT_spool_errors, s->io_errors);
    struct agent_queue_stats queued = agent_queue_stats(ship->queue);
    set(ship, AGENT_COUNT_queue_flows, queued.flows);
    set(ship, AGENT_COUNT_queue_bytes, queued.bytes);
    set(ship, AGENT_COUNT_cache_bytes, agent_recent_bytes(ship->recent));
}

static void report_core(struct agent_ship *ship)
{
    static const struct {
        enum agent_counter counter;
        enum weir_code code;
    } refusals[] = {
#define REFUSAL(id, name) {AGENT_COUNT_nack_##id, WEIR_CODE_##name}
        REFUSAL(gap, GAP),     REFUSAL(busy, BUSY),         REFUSAL(poison, POISON), REFUSAL(reject, REJECT),
        REFUSAL(reset, RESET), REFUSAL(toobig, TOOBIG),     REFUSAL(schema, SCHEMA), REFUSAL(checksum, CHECKSUM),
        REFUSAL(epoch, EPOCH), REFUSAL(notowner, NOTOWNER),
#undef REFUSAL
    };
    const struct ship_state *s = ship_core_state(ship->core);
    set(ship, AGENT_COUNT_connected, s->phase == SHIP_STREAMING);
    set(ship, AGENT_COUNT_credit, s->credit);
    set(ship, AGENT_COUNT_in_flight, s->in_flight);
    set(ship, AGENT_COUNT_sessions, s->welcomes);
    set(ship, AGENT_COUNT_failovers, s->failovers);
    set(ship, AGENT_COUNT_sent, s->sent);
    set(ship, AGENT_COUNT_resent, s->resent);
    set(ship, AGENT_COUNT_timeouts, s->timeouts);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
        set(ship, refusals[i].counter, s->nacks[refusals[i].code]);
    set(ship, AGENT_COUNT_alarm_rejected, s->alarms[SHIP_ALARM_REJECTED]);
    set(ship, AGENT_COUNT_alarm_schema, s->alarms[SHIP_ALARM_SCHEMA]);
    set(ship, AGENT_COUNT_alarm_regressed, s->alarms[SHIP_ALARM_REGRESSED]);
    set(ship, AGENT_COUNT_alarm_rolled_back, s->alarms[SHIP_ALARM_ROLLED_BACK]);
}

static void on_report(void *ctx)
{
    report_spool(ctx);
    report_core(ctx);
}

static void *run(void *ctx)
{
    struct agent_ship *ship = ctx;
    int rc = weir_loop_run(ship->loop);
    if (rc < 0) weir_log(WEIR_LOG_ERROR, "ship.failed", "reason=%s", weir_err_text(rc));
    disconnect(ship);
    return NULL;
}

/* ---- from outside ---- */

static int put_batch(struct agent_ship *ship, const struct weir_batch *batch, uint64_t mark)
{
    struct agent_parcel *parcel = NULL;
    if (agent_queue_is_full(ship->queue)) return WEIR_EFULL;
    int rc = agent_packer_pack(ship->packer, batch, &parcel);
    if (rc < 0) return rc;
    parcel->mark = mark;
    weir_metrics_add(ship->metrics, AGENT_COUNT_raw_bytes, parcel->header.raw_bytes);
    weir_metrics_add(ship->metrics, AGENT_COUNT_packed_bytes, weir_frames_view(&parcel->frames, 1).size);
    if (agent_queue_put(ship->queue, &parcel)) weir_loop_wake(ship->loop);
    return 0;
}

static int take_batch(void *ctx, struct weir_batch **batch_p)
{
    struct agent_ship *ship = ctx;
    int rc = put_batch(ship, *batch_p, 0);
    if (rc == 0) agent_pool_give(ship->pool, batch_p);
    return rc;
}

int agent_ship_put(struct agent_ship *ship, const struct weir_batch *batch, uint64_t mark)
{
    uint64_t waiting = weir_metrics_get(ship->metrics, AGENT_COUNT_spool_bytes);
    if (waiting > ship->conf.spool.bytes_most / 2) return WEIR_EFULL;
    return put_batch(ship, batch, mark);
}

uint64_t agent_ship_mark(struct agent_ship *ship)
{
    return atomic_load(&ship->synced_mark);
}

void agent_ship_hurry(struct agent_ship *ship)
{
    atomic_store(&ship->hurry, true);
    weir_loop_wake(ship->loop);
}

uint64_t agent_ship_mark_found(const struct agent_ship *ship)
{
    return ship->found_mark;
}

struct agent_sink agent_ship_sink(struct agent_ship *ship)
{
    return (struct agent_sink){.take = take_batch, .ctx = ship};
}

void agent_ship_set_pool(struct agent_ship *ship, struct agent_pool *pool)
{
    ship->pool = pool;
}

int agent_ship_set_brokers(struct agent_ship *ship, const struct weir_map *map)
{
    struct brokers *fresh = NULL;
    int rc = copy_brokers(map, &fresh);
    if (rc < 0) return rc;
    pthread_mutex_lock(&ship->lock);
    struct brokers *before = ship->fresh;
    ship->fresh = fresh;
    pthread_mutex_unlock(&ship->lock);
    weir_free(before);
    weir_loop_wake(ship->loop);
    return 0;
}

void agent_ship_drain(struct agent_ship *ship)
{
    atomic_store(&ship->draining, true);
    weir_loop_wake(ship->loop);
}

bool agent_ship_is_drained(struct agent_ship *ship)
{
    return atomic_load(&ship->drained);
}

void agent_ship_line(struct agent_ship *ship, struct weir_buf *out)
{
    pthread_mutex_lock(&ship->lock);
    weir_buf_printf(out, "%s broker %s", ship->streaming ? "served by" : "without", ship->broker_name);
    pthread_mutex_unlock(&ship->lock);
    weir_buf_printf(out, ", %" PRIu64 " flows in the spool, %" PRIu64 " acknowledged",
                    weir_metrics_get(ship->metrics, AGENT_COUNT_spool_flows),
                    weir_metrics_get(ship->metrics, AGENT_COUNT_flows_acked));
}

static struct ship_span span_of(void *ctx, uint32_t shard, uint64_t seq)
{
    struct agent_ship *ship = ctx;
    struct ship_span span;
    (void)agent_spool_span(ship->spool, shard, seq, &span.first, &span.last);
    return span;
}

static int open_spool(struct agent_ship *ship, struct weir_why *why)
{
    struct agent_spool_conf conf = ship->conf.spool;
    conf.durable = ship->conf.sync != AGENT_SYNC_OFF;
    int rc = agent_spool_open(&conf, random_number(), &ship->spool, why);
    if (rc < 0) return rc;
    ship->found_mark = agent_spool_mark(ship->spool);
    const struct agent_spool_stats *stats = agent_spool_stats(ship->spool);
    weir_log(stats->quarantined > 0 ? WEIR_LOG_WARN : WEIR_LOG_INFO, "spool.opened",
             "dir=%s incarnation=%016" PRIx64 " flows=%" PRIu64 " batches=%" PRIu64 " bytes=%" PRIu64
             " torn_tails=%" PRIu64 " quarantined=%" PRIu64 " flows_lost=%" PRIu64,
             conf.dir, agent_spool_inc(ship->spool), stats->waiting.flows, stats->batches, stats->bytes,
             stats->torn_tails, stats->quarantined, stats->lost_damaged.flows);
    return 0;
}

static int join_loop(struct agent_ship *ship)
{
    int64_t tick_ms = ship->conf.sync_interval_ms < TICK_MOST_MS ? ship->conf.sync_interval_ms : TICK_MOST_MS;
    int rc = weir_loop_create(&ship->loop);
    if (rc == 0) rc = weir_loop_on_wake(ship->loop, pump, ship);
    if (rc == 0) rc = weir_loop_every(ship->loop, tick_ms, on_tick, ship);
    if (rc == 0) rc = weir_loop_every(ship->loop, CHECKPOINT_MS, on_checkpoint, ship);
    if (rc == 0) rc = weir_loop_every(ship->loop, REPORT_MS, on_report, ship);
    return rc;
}

int agent_ship_create(const struct agent_ship_conf *conf, struct weir_metrics *metrics, struct agent_ship **ret,
                      struct weir_why *why)
{
    int rc = WEIR_ENOMEM;
    struct agent_ship *ship = weir_calloc(1, sizeof *ship);
    if (ship == NULL) goto fail;

    pthread_mutex_init(&ship->lock, NULL);
    ship->conf = *conf;
    ship->conf.map = NULL;
    ship->keys = *conf->keys;
    ship->metrics = metrics;
    rc = copy_brokers(conf->map, &ship->brokers);
    if (rc < 0) goto fail;

    rc = agent_packer_create(conf->tenant, conf->codec, &ship->packer);
    if (rc < 0) goto fail;

    rc = agent_queue_create(conf->queue_bytes, &ship->queue);
    if (rc < 0) goto fail;

    rc = agent_recent_create(conf->cache_bytes, &ship->recent);
    if (rc < 0) goto fail;

    rc = open_spool(ship, why);
    if (rc < 0) goto fail;

    const struct ship_conf core = {.name = conf->name,
                                   .instance = random_number(),
                                   .seed = random_number(),
                                   .brokers = ship->brokers->count,
                                   .span = span_of,
                                   .span_ctx = ship};
    rc = ship_core_create(&core, agent_spool_inc(ship->spool), &ship->core);
    if (rc < 0) goto fail;

    rc = weir_net_create(1, &ship->net);
    if (rc < 0) goto fail;

    rc = join_loop(ship);
    if (rc < 0) goto fail;

    tell_lanes(ship);
    on_report(ship);
    *ret = ship;
    return 0;

fail:
    if (why != NULL && why->text[0] == '\0') weir_why_set(why, rc, "shipping: %s", weir_err_text(rc));
    agent_ship_destroy(ship);
    return rc;
}

int agent_ship_start(struct agent_ship *ship, struct weir_why *why)
{
    int error = weir_thread_start(&ship->thread, "ship", run, ship);
    if (error != 0) return weir_why_set(why, WEIR_EIO, "shipping: cannot start a thread: %s", strerror(error));
    ship->running = true;
    return 0;
}

void agent_ship_destroy(struct agent_ship *ship)
{
    if (ship == NULL) return;
    if (ship->running) {
        weir_loop_stop(ship->loop);
        pthread_join(ship->thread, NULL);
    }
    agent_spool_close(ship->spool);
    weir_frames_clear(&ship->frames);
    agent_recent_destroy(ship->recent);
    agent_queue_destroy(ship->queue);
    agent_packer_destroy(ship->packer);
    ship_core_destroy(ship->core);
    weir_net_destroy(ship->net);
    weir_loop_destroy(ship->loop);
    weir_buf_fini(&ship->encoded);
    weir_keys_wipe(&ship->keys);
    weir_free(ship->brokers);
    weir_free(ship->fresh);
    pthread_mutex_destroy(&ship->lock);
    weir_free(ship);
}
