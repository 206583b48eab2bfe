#include "aggregator/intake.h"

#include "aggregator/peer.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"
#include "common/wire/batch.h"
#include "common/wire/message.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { TICK_MS = 100, LOG_PER_SECOND = 2, ENTRIES_MOST = 2 * AGG_GROUP_MOST };

/** What other threads want changed; taken over between messages. */
struct wish {
    bool busy;
    bool has_held;
    struct agg_held held[WEIR_SHARDS];
    struct weir_allow *allow; /* a share, or NULL */
};

struct agg_receiver {
    struct agg_receiver_conf conf;
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex;
    pthread_cond_t bound;
    bool is_bound;
    int bind_rc;
    struct weir_why bind_why;
    struct wish wish;
    char *endpoint;
    _Atomic bool stopping;
    int wake_fd;

    /* the thread's own */
    struct weir_socket *socket;
    struct weir_allow *allow;
    struct agg_intake *core;
    struct agg_commit *commit;
    struct weir_batch_decoder *decoder;
    struct weir_batch *batches[AGG_GROUP_MOST]; /* decoded, of the group */
    uint32_t batch_count;
    int batch_of[ENTRIES_MOST]; /* of an entry of the group; -1 none */
    struct agg_actions *actions;
    struct weir_buf out;
    bool busy;
    bool broken;
    uint64_t fates[AGG_FATES_COUNT]; /* already in the metrics */
    uint64_t received;
    struct weir_log_limit log_limit;
};

static bool may_log(struct agg_receiver *receiver)
{
    return weir_log_allowed(&receiver->log_limit, weir_mono_ms(), LOG_PER_SECOND, NULL);
}

static void count(struct agg_receiver *receiver, enum agg_counter counter, uint64_t n)
{
    weir_metrics_add(receiver->conf.metrics, counter, n);
}

/** Bring the core's counts into the metrics. */
static void count_fates(struct agg_receiver *receiver)
{
    static const enum agg_counter counters[AGG_FATES_COUNT] = {
        [AGG_FATE_stored] = AGG_COUNT_batches_stored,
        [AGG_FATE_duplicate] = AGG_COUNT_batches_duplicate,
        [AGG_FATE_gap] = AGG_COUNT_refused_gap,
        [AGG_FATE_epoch] = AGG_COUNT_refused_epoch,
        [AGG_FATE_ahead] = AGG_COUNT_refused_ahead,
        [AGG_FATE_notowner] = AGG_COUNT_refused_notowner,
        [AGG_FATE_joining] = AGG_COUNT_refused_joining,
        [AGG_FATE_busy] = AGG_COUNT_refused_busy,
        [AGG_FATE_failed] = AGG_COUNT_refused_failed,
        [AGG_FATE_poison] = AGG_COUNT_refused_poison,
        [AGG_FATE_checksum] = AGG_COUNT_refused_checksum,
        [AGG_FATE_schema] = AGG_COUNT_refused_schema,
        [AGG_FATE_misplaced] = AGG_COUNT_refused_misplaced,
        [AGG_FATE_history] = AGG_COUNT_refused_history,
    };
    const uint64_t *now = agg_intake_fates(receiver->core);
    for (int fate = 0; fate < AGG_FATES_COUNT; fate++) {
        if (now[fate] == receiver->fates[fate]) continue;
        count(receiver, counters[fate], now[fate] - receiver->fates[fate]);
        receiver->fates[fate] = now[fate];
    }
    uint64_t received = agg_intake_received(receiver->core);
    count(receiver, AGG_COUNT_batches_received, received - receiver->received);
    receiver->received = received;
}

/* --- carrying out actions --- */

static void send_reply(struct agg_receiver *receiver, const struct agg_action *action)
{
    struct weir_msg msg;
    agg_reply_message(&action->reply, receiver->conf.node, &msg);
    weir_buf_clear(&receiver->out);
    struct weir_frames frames = WEIR_FRAMES_INIT;
    int rc = weir_msg_encode(&msg, &receiver->out);
    if (rc == 0) rc = weir_frames_add(&frames, weir_buf_view(&receiver->out));
    if (rc == 0) rc = weir_socket_send(receiver->socket, action->peer, &frames);
    weir_frames_clear(&frames);
    if (rc < 0) count(receiver, AGG_COUNT_replies_dropped, 1);
}

static void raise_alarm(struct agg_receiver *receiver, const struct agg_action *action, const char *agent)
{
    static const struct {
        const char *event;
        enum agg_counter counter;
    } alarms[] = {
        [AGG_ALARM_LOST_HISTORY] = {"intake.acknowledged_data_lost", AGG_COUNT_histories_lost},
        [AGG_ALARM_CUM] = {"intake.sums_differ", AGG_COUNT_cum_mismatches},
        [AGG_ALARM_FORKED] = {"intake.spool_was_restored", AGG_COUNT_histories_forked},
    };
    count(receiver, alarms[action->alarm].counter, 1);
    if (!may_log(receiver)) return;
    weir_log(WEIR_LOG_ERROR, alarms[action->alarm].event,
             "agent=%s shard=%u mark=%llu seq=%llu expected_flows=%llu got_flows=%llu auto_loss=%d", agent,
             action->lane.shard, (unsigned long long)action->mark.seq, (unsigned long long)action->last_seq,
             (unsigned long long)action->expected_cum.flows, (unsigned long long)action->got_cum.flows,
             receiver->conf.core.auto_loss);
}

/** Carry out the actions of a batch. Memory that runs out drops the whole group: the core hears that it failed. */
static int act_on_batch(struct agg_receiver *receiver, const struct agg_arrival *arrival, bool has_batch)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < receiver->actions->count; i++) {
        const struct agg_action *action = &receiver->actions->action[i];
        uint32_t entry = agg_commit_count(receiver->commit);
        switch (action->kind) {
        case AGG_ACTION_SEND: send_reply(receiver, action); break;
        case AGG_ACTION_ALARM: raise_alarm(receiver, action, arrival->msg->name); break;
        case AGG_ACTION_READ_MAP: receiver->conf.map_is_older(receiver->conf.ctx); break;
        case AGG_ACTION_REGRESSED: assert(!"no shard of a static map repairs itself"); break;
        case AGG_ACTION_LOSS:
            receiver->batch_of[entry] = -1;
            rc = agg_commit_add_loss(receiver->commit, action, arrival, weir_wall_ms());
            break;
        case AGG_ACTION_WRITE:
            receiver->batch_of[entry] = has_batch ? (int)receiver->batch_count++ : -1;
            rc = agg_commit_add(receiver->commit, action, arrival, weir_wall_ms());
            if (rc == 0) agg_heard_batch(receiver->conf.heard, arrival->msg, arrival->header, weir_wall_ms());
            break;
        case AGG_ACTION_LOAD:
        case AGG_ACTION_OPEN: assert(!"answered before"); break;
        }
    }
    return rc;
}

/* --- the group --- */

static void tell_written(struct agg_receiver *receiver, enum agg_event_kind kind)
{
    struct agg_event event = {.kind = kind};
    agg_intake_step(receiver->core, &event, receiver->actions);
    for (uint32_t i = 0; i < receiver->actions->count; i++)
        send_reply(receiver, &receiver->actions->action[i]);
}

static void forget_group(struct agg_receiver *receiver)
{
    agg_commit_clear(receiver->commit);
    receiver->batch_count = 0;
}

/** Count what was stored, and hand it on. */
static void hand_on(struct agg_receiver *receiver)
{
    int64_t now_ms = weir_wall_ms();
    for (uint32_t i = 0; i < agg_commit_count(receiver->commit); i++) {
        const struct agg_committed *committed = agg_commit_at(receiver->commit, i);
        const struct weir_batch_header *header = &committed->of.header;
        count(receiver, AGG_COUNT_bytes_stored, committed->body_bytes);
        if (header->kind == WEIR_RECORD_LOSS)
            count(receiver, AGG_COUNT_flows_lost, header->totals.flows);
        else if (header->last_received_ms != 0 && now_ms > header->last_received_ms)
            weir_metrics_set(receiver->conf.metrics, AGG_COUNT_lag_ms, (uint64_t)(now_ms - header->last_received_ms));
        int batch = receiver->batch_of[i];
        agg_roller_offer(receiver->conf.roller, &committed->of, batch < 0 ? NULL : &receiver->batches[batch]);
    }
}

static void write_group(struct agg_receiver *receiver)
{
    if (agg_intake_waiting(receiver->core) == 0) return;
    struct weir_why why = {0};
    int64_t begin_us = weir_mono_us();
    int rc = agg_commit_count(receiver->commit) > 0 ? agg_commit_write(receiver->commit, &why) : 0;
    count(receiver, AGG_COUNT_commit_micros, (uint64_t)(weir_mono_us() - begin_us));
    if (rc == 0) {
        count(receiver, AGG_COUNT_commits, 1);
        hand_on(receiver);
        tell_written(receiver, AGG_EVENT_COMMITTED);
    } else {
        count(receiver, AGG_COUNT_commit_errors, 1);
        if (may_log(receiver)) weir_log(WEIR_LOG_ERROR, "intake.write_failed", "reason=\"%s\"", why.text);
        receiver->broken = rc != WEIR_EAGAIN && rc != WEIR_ENOSPACE;
        if (!receiver->broken) tell_written(receiver, AGG_EVENT_FAILED);
    }
    forget_group(receiver);
    if (receiver->broken) receiver->conf.broken(receiver->conf.ctx, &why);
}

/* --- messages --- */

/** Check and decode the bytes of a batch, into the next free batch of the group. */
static void open_batch(struct agg_receiver *receiver, struct agg_event *event, const struct agg_arrival *arrival,
                       bool *has_batch)
{
    event->opened = true;
    event->crc = weir_batch_crc(arrival->header_bytes, arrival->body);
    if (event->decoded < 0 || event->crc != event->msg->crc) return;
    const struct weir_batch_header *header = arrival->header;
    if (header->kind == WEIR_RECORD_LOSS || (arrival->body.size == 0 && header->totals.flows == 0)) {
        if (arrival->body.size > 0) event->decoded = WEIR_EFORMAT;
        return;
    }
    struct weir_batch *batch = receiver->batches[receiver->batch_count];
    event->decoded = weir_batch_decode(receiver->decoder, header, arrival->body, agg_roll_columns, batch);
    if (event->decoded < 0) return;
    *has_batch = true;
    struct weir_batch_totals sum = weir_batch_sum(batch);
    if (sum.packets == header->totals.packets && sum.bytes == header->totals.bytes) return;
    count(receiver, AGG_COUNT_totals_mismatches, 1);
    if (may_log(receiver))
        weir_log(WEIR_LOG_ERROR, "intake.header_differs", "agent=%s shard=%u seq=%llu header_bytes=%llu bytes=%llu",
                 event->msg->name, event->msg->shard, (unsigned long long)event->msg->seq,
                 (unsigned long long)header->totals.bytes, (unsigned long long)sum.bytes);
}

/** The core wants to know a mark. While it cannot be read the batch is refused as the network would: by silence. */
static bool load_mark(struct agg_receiver *receiver, const struct agg_lane *lane)
{
    struct agg_event event = {.kind = AGG_EVENT_MARK, .lane = *lane};
    int rc = agg_mark_read(receiver->conf.store, lane, &event.mark);
    if (rc < 0) {
        if (may_log(receiver))
            weir_log(WEIR_LOG_ERROR, "intake.mark_unreadable", "shard=%u reason=\"%s\"", lane->shard,
                     weir_err_text(rc));
        return false;
    }
    agg_intake_step(receiver->core, &event, receiver->actions);
    return true;
}

static void take_store(struct agg_receiver *receiver, uint32_t peer, const struct weir_msg *msg,
                       const struct weir_frames *frames)
{
    struct weir_batch_header header;
    struct agg_arrival arrival = {.msg = msg,
                                  .header = &header,
                                  .header_bytes = weir_frames_view(frames, 1),
                                  .body = weir_frames_view(frames, 2)};
    struct agg_event event = {.kind = AGG_EVENT_MESSAGE, .peer = peer, .msg = msg};
    event.decoded = weir_batch_header_decode(arrival.header_bytes, &header);
    if (event.decoded == 0) event.header = &header;
    bool has_batch = false;
    for (int questions = 0; questions < 3; questions++) {
        agg_intake_step(receiver->core, &event, receiver->actions);
        if (receiver->actions->count == 0) break;
        const struct agg_action *action = &receiver->actions->action[0];
        if (action->kind == AGG_ACTION_OPEN)
            open_batch(receiver, &event, &arrival, &has_batch);
        else if (action->kind != AGG_ACTION_LOAD)
            break;
        else if (!load_mark(receiver, &action->lane))
            return;
    }
    if (act_on_batch(receiver, &arrival, has_batch) == 0) return;
    weir_log(WEIR_LOG_ERROR, "intake.no_memory", "batches=%u", agg_commit_count(receiver->commit));
    tell_written(receiver, AGG_EVENT_FAILED);
    forget_group(receiver);
}

static void take_message(struct agg_receiver *receiver, const struct weir_peer *peer, const struct weir_frames *frames)
{
    if (!agg_peer_is_allowed(receiver->allow, peer, WEIR_ROLE_BROKER)) {
        count(receiver, AGG_COUNT_messages_denied, 1);
        if (may_log(receiver)) weir_log(WEIR_LOG_WARN, "intake.denied", "peer=%s", peer->name);
        return;
    }
    struct weir_msg msg;
    int rc = frames->count == 0 ? WEIR_EFORMAT : weir_msg_decode(weir_frames_view(frames, 0), &msg);
    bool is_store = rc == 0 && msg.kind == WEIR_MSG_STORE;
    if (rc < 0 || frames->count != (is_store ? 3u : 1u) ||
        (!is_store && msg.kind != WEIR_MSG_PING && msg.kind != WEIR_MSG_PONG)) {
        count(receiver, AGG_COUNT_messages_invalid, 1);
        if (may_log(receiver))
            weir_log(WEIR_LOG_WARN, "intake.invalid", "peer=%s frames=%u reason=\"%s\"", peer->name, frames->count,
                     weir_err_text(rc));
        return;
    }
    agg_heard_broker(receiver->conf.heard, peer->name, weir_wall_ms());
    if (is_store) {
        take_store(receiver, peer->id, &msg, frames);
        return;
    }
    struct agg_event event = {.kind = AGG_EVENT_MESSAGE, .peer = peer->id, .msg = &msg};
    agg_intake_step(receiver->core, &event, receiver->actions);
    for (uint32_t i = 0; i < receiver->actions->count; i++)
        send_reply(receiver, &receiver->actions->action[i]);
}

/** Take what waits until the group is full; true when there may be more. */
static bool drain(struct agg_receiver *receiver)
{
    struct weir_frames frames = WEIR_FRAMES_INIT;
    struct weir_peer peer;
    bool more = true;
    while (more && !agg_commit_is_full(receiver->commit) &&
           agg_intake_waiting(receiver->core) < AGG_INTAKE_ACTIONS_MOST / 2) {
        more = weir_socket_recv(receiver->socket, &frames, &peer) == 0;
        if (more) take_message(receiver, &peer, &frames);
    }
    weir_frames_clear(&frames);
    return more;
}

/* --- the thread --- */

static void take_wishes(struct agg_receiver *receiver)
{
    pthread_mutex_lock(&receiver->mutex);
    struct wish wish = receiver->wish;
    receiver->wish.has_held = false;
    receiver->wish.allow = NULL;
    pthread_mutex_unlock(&receiver->mutex);
    if (wish.allow != NULL) {
        weir_allow_destroy(receiver->allow);
        receiver->allow = wish.allow;
    }
    if (wish.busy != receiver->busy) {
        receiver->busy = wish.busy;
        struct agg_event event = {.kind = AGG_EVENT_PRESSURE, .busy = wish.busy};
        agg_intake_step(receiver->core, &event, receiver->actions);
    }
    for (uint32_t shard = 0; wish.has_held && shard < WEIR_SHARDS; shard++) {
        struct agg_event event = {.kind = AGG_EVENT_HELD, .shard = shard, .held = wish.held[shard]};
        agg_intake_step(receiver->core, &event, receiver->actions);
    }
}

static void tell_bound(struct agg_receiver *receiver, int rc)
{
    pthread_mutex_lock(&receiver->mutex);
    receiver->bind_rc = rc;
    receiver->is_bound = true;
    pthread_cond_signal(&receiver->bound);
    pthread_mutex_unlock(&receiver->mutex);
}

static int bind_socket(struct agg_receiver *receiver)
{
    struct weir_server_conf conf = {.endpoint = receiver->conf.endpoint,
                                    .domain = "store",
                                    .keys = receiver->conf.keys,
                                    .max_bytes = receiver->conf.max_bytes};
    int rc = weir_server_create(receiver->conf.net, &conf, &receiver->socket, &receiver->bind_why);
    if (rc < 0) return rc;
    receiver->endpoint = weir_strdup(weir_socket_endpoint(receiver->socket));
    return receiver->endpoint == NULL ? WEIR_ENOMEM : 0;
}

static void wait_for_news(struct agg_receiver *receiver)
{
    if (weir_socket_pending(receiver->socket)) return;
    struct pollfd fds[] = {{.fd = weir_socket_fd(receiver->socket), .events = POLLIN},
                           {.fd = receiver->wake_fd, .events = POLLIN}};
    if (poll(fds, 2, TICK_MS) > 0 && fds[1].revents != 0) {
        uint64_t wakes;
        (void)!read(receiver->wake_fd, &wakes, sizeof wakes);
    }
}

static void *run(void *ctx)
{
    struct agg_receiver *receiver = ctx;
    int rc = bind_socket(receiver);
    tell_bound(receiver, rc);
    while (rc == 0 && !receiver->broken) {
        bool stopping = atomic_load(&receiver->stopping);
        take_wishes(receiver);
        bool more = !stopping && drain(receiver);
        write_group(receiver);
        count_fates(receiver);
        if (stopping) break;
        if (!more) wait_for_news(receiver);
    }
    weir_socket_destroy(receiver->socket);
    return NULL;
}

/* --- from other threads --- */

int agg_receiver_create(const struct agg_receiver_conf *conf, struct agg_receiver **ret, struct weir_why *why)
{
    struct agg_receiver *receiver = weir_calloc(1, sizeof *receiver);
    if (receiver == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    receiver->conf = *conf;
    pthread_mutex_init(&receiver->mutex, NULL);
    pthread_cond_init(&receiver->bound, NULL);
    receiver->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    receiver->allow = weir_allow_share(conf->allow);
    struct agg_place heads[WEIR_SHARDS];
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        heads[shard] = agg_roller_head(conf->roller, shard);

    int rc = receiver->wake_fd < 0 ? WEIR_EIO : agg_intake_create(&conf->core, &receiver->core);
    if (rc == 0) rc = agg_commit_create(conf->store, heads, &receiver->commit);
    if (rc == 0) rc = weir_batch_decoder_create(&receiver->decoder);
    for (int i = 0; rc == 0 && i < AGG_GROUP_MOST; i++)
        rc = weir_batch_create(1, &receiver->batches[i]);
    receiver->actions = rc == 0 ? weir_calloc(1, sizeof *receiver->actions) : NULL;
    if (rc == 0 && receiver->actions == NULL) rc = WEIR_ENOMEM;
    if (rc < 0) {
        weir_why_set(why, rc, "the receiver: %s", weir_err_text(rc));
        goto fail;
    }
    if (weir_thread_start(&receiver->thread, "intake", run, receiver) != 0) {
        rc = weir_why_set(why, WEIR_ENOMEM, "no thread for receiving");
        goto fail;
    }
    receiver->started = true;
    pthread_mutex_lock(&receiver->mutex);
    while (!receiver->is_bound)
        pthread_cond_wait(&receiver->bound, &receiver->mutex);
    rc = receiver->bind_rc;
    pthread_mutex_unlock(&receiver->mutex);
    if (rc < 0) {
        weir_why_set(why, rc, "%s", receiver->bind_why.text);
        goto fail;
    }
    *ret = receiver;
    return 0;

fail:
    agg_receiver_destroy(receiver);
    return rc;
}

static void wake(struct agg_receiver *receiver)
{
    uint64_t one = 1;
    (void)!write(receiver->wake_fd, &one, sizeof one);
}

void agg_receiver_destroy(struct agg_receiver *receiver)
{
    if (receiver == NULL) return;
    if (receiver->started) {
        atomic_store(&receiver->stopping, true);
        wake(receiver);
        pthread_join(receiver->thread, NULL);
    }
    weir_allow_destroy(receiver->allow);
    weir_allow_destroy(receiver->wish.allow);
    for (int i = 0; i < AGG_GROUP_MOST; i++)
        weir_batch_destroy(receiver->batches[i]);
    weir_batch_decoder_destroy(receiver->decoder);
    agg_commit_destroy(receiver->commit);
    agg_intake_destroy(receiver->core);
    weir_free(receiver->actions);
    weir_buf_fini(&receiver->out);
    weir_free(receiver->endpoint);
    if (receiver->wake_fd >= 0) close(receiver->wake_fd);
    pthread_cond_destroy(&receiver->bound);
    pthread_mutex_destroy(&receiver->mutex);
    weir_free(receiver);
}

const char *agg_receiver_endpoint(const struct agg_receiver *receiver)
{
    return receiver->endpoint;
}

void agg_receiver_set_busy(struct agg_receiver *receiver, bool busy)
{
    pthread_mutex_lock(&receiver->mutex);
    receiver->wish.busy = busy;
    pthread_mutex_unlock(&receiver->mutex);
    wake(receiver);
}

void agg_receiver_swap_allow(struct agg_receiver *receiver, struct weir_allow *allow)
{
    pthread_mutex_lock(&receiver->mutex);
    weir_allow_destroy(receiver->wish.allow);
    receiver->wish.allow = weir_allow_share(allow);
    pthread_mutex_unlock(&receiver->mutex);
    wake(receiver);
}

void agg_receiver_set_held(struct agg_receiver *receiver, const struct agg_held held[WEIR_SHARDS])
{
    pthread_mutex_lock(&receiver->mutex);
    receiver->wish.has_held = true;
    memcpy(receiver->wish.held, held, sizeof receiver->wish.held);
    pthread_mutex_unlock(&receiver->mutex);
    wake(receiver);
}
