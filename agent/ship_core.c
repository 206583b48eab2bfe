#include "agent/ship_core.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/mutant.h"

#include <assert.h>
#include <stdio.h>

/* Left free for what a step must say after it has sent all that it could. */
enum { ACTIONS_RESERVED = WEIR_SHARDS + 8, REFUSALS_MOST = 6 };

struct lane {
    bool used;
    bool stopped;    /* until the next session */
    bool set_back;   /* the owners have more than we: what was written since waits for the new incarnation */
    uint64_t acked;  /* stored up to here */
    uint64_t send;   /* the next to send */
    uint64_t next;   /* one past the youngest that is synced */
    uint64_t found;  /* youngest that was in the spool when we started */
    uint64_t high;   /* youngest that the owners can know of: sent by us, or found */
    uint64_t sent;   /* youngest that was sent by us */
    uint64_t gap_at; /* the last gap that was acted upon */
    int64_t gap_ms;
    int64_t progress_ms; /* last progress while something is in flight */
    int64_t paused_until_ms;
    uint32_t refusals; /* in a row */
    uint32_t in_flight;
    struct ship_span flight[SHIP_WINDOW]; /* oldest first */
};

struct ship_core {
    char name[WEIR_NAME_BYTES];
    uint8_t agent[16];
    uint64_t instance;
    uint64_t inc;
    uint64_t random;
    uint32_t brokers;
    ship_span_fn *span;
    void *span_ctx;

    struct ship_state state;
    bool set_back; /* a lane is: nothing is sent but what the owners can know of */
    bool renewing; /* nothing is sent until the spool has its new incarnation */
    uint32_t attempts;
    uint32_t turn; /* the lane that may send first */
    int64_t connect_at_ms;
    int64_t welcome_by_ms; /* HELLO_SENT */
    int64_t welcomed_ms;
    int64_t hello_at_ms;
    int64_t heard_ms;
    int64_t ping_at_ms;
    int64_t renew_at_ms;
    int64_t unsent_until_ms;
    struct lane lane[WEIR_SHARDS];
};

const char *ship_alarm_name(enum ship_alarm alarm)
{
    static const char *const names[SHIP_ALARMS] = {"none", "rejected", "schema", "regressed", "rolled_back"};
    return alarm < SHIP_ALARMS ? names[alarm] : "unknown";
}

/** Agents spread over the brokers of a list. */
static uint32_t first_broker(const struct ship_core *core)
{
    return core->agent[0] % core->brokers;
}

int ship_core_create(const struct ship_conf *conf, uint64_t inc, struct ship_core **ret)
{
    assert(conf->brokers > 0 && conf->span != NULL);
    struct ship_core *core = weir_calloc(1, sizeof *core);
    if (core == NULL) return WEIR_ENOMEM;

    snprintf(core->name, sizeof core->name, "%s", conf->name);
    weir_agent_id(core->name, core->agent);
    core->instance = conf->instance;
    core->inc = inc;
    core->random = conf->seed | 1;
    core->brokers = conf->brokers;
    core->span = conf->span;
    core->span_ctx = conf->span_ctx;
    core->state.phase = SHIP_WAITING;
    core->state.broker = first_broker(core);
    core->connect_at_ms = INT64_MIN;
    *ret = core;
    return 0;
}

void ship_core_destroy(struct ship_core *core)
{
    weir_free(core);
}

const struct ship_state *ship_core_state(const struct ship_core *core)
{
    return &core->state;
}

static struct ship_action *add_action(struct ship_actions *out, enum ship_action_kind kind)
{
    assert(out->count < SHIP_ACTIONS_MOST);
    struct ship_action *action = &out->at[out->count++];
    *action = (struct ship_action){.kind = kind};
    return action;
}

static void send_control(struct ship_actions *out, enum weir_msg_kind kind)
{
    add_action(out, SHIP_SEND)->msg = kind;
}

static void raise_alarm(struct ship_core *core, enum ship_alarm alarm, enum weir_code code, uint32_t shard,
                        uint64_t seq, struct ship_actions *out)
{
    struct ship_action *action = add_action(out, SHIP_ALARM);
    action->alarm = alarm;
    action->code = code;
    action->shard = shard;
    action->seq = seq;
    core->state.alarms[alarm]++;
}

/** 0..@most milliseconds. */
static int64_t jitter(struct ship_core *core, int64_t most)
{
    core->random ^= core->random << 13;
    core->random ^= core->random >> 7;
    core->random ^= core->random << 17;
    return (int64_t)(core->random % (uint64_t)(most + 1));
}

static int64_t back_off(uint32_t attempts)
{
    int64_t most = SHIP_BACKOFF_LEAST_MS;
    for (uint32_t i = 0; i < attempts && most < SHIP_BACKOFF_MOST_MS; i++)
        most *= 2;
    return most < SHIP_BACKOFF_MOST_MS ? most : SHIP_BACKOFF_MOST_MS;
}

/** Take what is in flight from @from on back: it will be sent again. */
static void rewind_lane(struct ship_core *core, struct lane *lane, uint64_t from)
{
    if (from <= lane->acked) from = lane->acked + 1;
    while (lane->in_flight > 0 && lane->flight[lane->in_flight - 1].last >= from) {
        lane->in_flight--;
        core->state.in_flight--;
        from = lane->flight[lane->in_flight].first < from ? lane->flight[lane->in_flight].first : from;
    }
    if (from < lane->send) lane->send = from;
}

static void pause_lane(struct lane *lane, int64_t now, int64_t pause_ms)
{
    if (pause_ms <= 0) pause_ms = SHIP_PAUSE_MS;
    if (pause_ms > SHIP_PAUSE_MOST_MS) pause_ms = SHIP_PAUSE_MOST_MS;
    lane->paused_until_ms = now + pause_ms;
}

static void end_session(struct ship_core *core)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        struct lane *lane = &core->lane[shard];
        rewind_lane(core, lane, 0);
        lane->stopped = false;
        lane->paused_until_ms = 0;
        lane->gap_at = 0;
    }
    assert(core->state.in_flight == 0);
    core->state.credit = 0;
    core->unsent_until_ms = 0;
}

/** Give this broker up: the socket goes, the next broker's turn comes after the back-off. */
static void fail_over(struct ship_core *core, enum weir_code code, int64_t now, struct ship_actions *out)
{
    add_action(out, SHIP_CLOSE)->code = code;
    end_session(core);
    core->state.phase = SHIP_WAITING;
    core->state.broker = (core->state.broker + 1) % core->brokers;
    core->state.failovers++;
    core->connect_at_ms = now + jitter(core, back_off(core->attempts));
    core->attempts++;
}

static void say_hello(struct ship_core *core, int64_t now, struct ship_actions *out)
{
    send_control(out, WEIR_MSG_HELLO);
    core->hello_at_ms = now + SHIP_HELLO_RETRY_MS;
}

static void begin_hello(struct ship_core *core, int64_t now, struct ship_actions *out)
{
    core->state.phase = SHIP_HELLO_SENT;
    core->welcome_by_ms = now + SHIP_WELCOME_TIMEOUT_MS;
    say_hello(core, now, out);
}

static void connect_broker(struct ship_core *core, int64_t now, struct ship_actions *out)
{
    add_action(out, SHIP_CONNECT)->broker = core->state.broker;
    core->heard_ms = now;
    core->ping_at_ms = now + SHIP_PING_MS;
    begin_hello(core, now, out);
}

static void release(struct lane *lane, uint32_t shard, uint64_t seq, struct ship_actions *out)
{
    lane->acked = seq;
    if (lane->send <= seq) lane->send = seq + 1;
    struct ship_action *action = add_action(out, SHIP_RELEASE);
    action->shard = shard;
    action->seq = seq;
}

/* ---- a spool that is older than what the owners have ---- */

static void ask_renewal(struct ship_core *core, int64_t now, struct ship_actions *out)
{
    add_action(out, SHIP_RENEW);
    core->renew_at_ms = now + SHIP_PROGRESS_MS;
}

/** Is everything that the owners can know of acknowledged, or known to be theirs? */
static bool is_settled(const struct lane *lane)
{
    return !lane->used || lane->set_back || lane->acked >= lane->high || MUTANT(renewed_unsettled);
}

static void renew_when_settled(struct ship_core *core, int64_t now, struct ship_actions *out)
{
    if (!core->set_back || core->renewing) return;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        if (!is_settled(&core->lane[shard])) return;
    }
    core->renewing = true;
    ask_renewal(core, now, out);
}

/**
 * The owners have more than we ever sent: our spool was set back (a disk restored from a copy, or writes that were never
 * synced). What we found in it is theirs already. What we wrote since bears numbers that they know for something else:
 * it goes out under a new incarnation, which begins when the other lanes are settled: what they have in flight may be
 * stored, and would be so twice.
 */
static void roll_back(struct ship_core *core, uint32_t shard, uint64_t expected, int64_t now, struct ship_actions *out)
{
    struct lane *lane = &core->lane[shard];
    rewind_lane(core, lane, 0);
    if (lane->found > lane->acked) release(lane, shard, lane->found, out);
    if (lane->set_back) return;

    raise_alarm(core, SHIP_ALARM_ROLLED_BACK, WEIR_CODE_NONE, shard, expected, out);
    lane->set_back = true;
    core->set_back = true;
    renew_when_settled(core, now, out);
}

static bool is_ahead_of_us(const struct lane *lane, uint64_t expected)
{
    return expected > lane->high + 1;
}

/* ---- answers ---- */

static void on_welcome(struct ship_core *core, const struct weir_msg *msg, int64_t now, struct ship_actions *out)
{
    core->state.credit = msg->credit;
    core->state.max_bytes = msg->max_bytes;
    if (core->state.phase == SHIP_HELLO_SENT) {
        core->state.phase = SHIP_STREAMING;
        core->state.welcomes++;
        core->welcomed_ms = now;
    }
    bool set_back = false;
    for (uint32_t i = 0; i < msg->lane_count; i++) {
        const struct lane *lane = &core->lane[msg->lanes[i].shard];
        set_back |= lane->used && is_ahead_of_us(lane, msg->lanes[i].expected);
    }
    if (!set_back) return;

    /* With a new incarnation the marks are gone: what the owners have must leave the spool now. */
    for (uint32_t i = 0; i < msg->lane_count; i++) {
        uint32_t shard = msg->lanes[i].shard;
        uint64_t expected = msg->lanes[i].expected;
        struct lane *lane = &core->lane[shard];
        if (!lane->used || expected == 0) continue;
        if (is_ahead_of_us(lane, expected))
            roll_back(core, shard, expected, now, out);
        else if (expected > lane->acked + 1)
            release(lane, shard, expected - 1, out);
    }
}

static void on_ack(struct ship_core *core, const struct weir_msg *msg, int64_t now, struct ship_actions *out)
{
    struct lane *lane = &core->lane[msg->shard];
    if (!lane->used || lane->set_back) return;
    if (is_ahead_of_us(lane, msg->expected)) {
        roll_back(core, msg->shard, msg->expected, now, out);
        return;
    }
    if (msg->seq <= lane->acked || msg->seq > lane->high) return;

    /* A loss that was sent is stored as a whole, whichever of its numbers the answer names. */
    uint64_t upto = 0;
    uint32_t done = 0;
    while (done < lane->in_flight && lane->flight[done].first <= msg->seq)
        upto = lane->flight[done++].last;
    if (upto < msg->seq) upto = core->span(core->span_ctx, msg->shard, msg->seq).last; /* taken back since */
    lane->in_flight -= done;
    core->state.in_flight -= done;
    memmove(lane->flight, lane->flight + done, lane->in_flight * sizeof *lane->flight);
    lane->progress_ms = now;
    lane->refusals = 0;
    core->attempts = 0;
    release(lane, msg->shard, upto, out);
    renew_when_settled(core, now, out);
}

static void poison(struct ship_core *core, uint32_t shard, uint64_t seq, enum weir_code code, struct ship_actions *out)
{
    struct ship_action *action = add_action(out, SHIP_POISON);
    action->shard = shard;
    action->seq = seq;
    action->code = code;
    rewind_lane(core, &core->lane[shard], seq);
}

static void on_gap(struct ship_core *core, const struct weir_msg *msg, int64_t now, struct ship_actions *out)
{
    struct lane *lane = &core->lane[msg->shard];
    uint64_t expected = msg->expected;
    if (is_ahead_of_us(lane, expected)) {
        roll_back(core, msg->shard, expected, now, out);
        return;
    }
    if (expected == lane->gap_at && now - lane->gap_ms < SHIP_GAP_QUIET_MS) return; /* one gap refuses a whole window */

    lane->gap_at = expected;
    lane->gap_ms = now;
    rewind_lane(core, lane, expected);
    if (expected != 0 && expected <= lane->acked) {
        raise_alarm(core, SHIP_ALARM_REGRESSED, WEIR_CODE_GAP, msg->shard, expected, out);
        pause_lane(lane, now, SHIP_PROGRESS_MS);
    }
}

/** A refusal of the source or of its history: an operator must act; try again ever more rarely. */
static void on_lane_rejected(struct ship_core *core, const struct weir_msg *msg, int64_t now, struct ship_actions *out)
{
    struct lane *lane = &core->lane[msg->shard];
    if (msg->expected > msg->seq) { /* the number is taken, by another history of ours */
        roll_back(core, msg->shard, msg->expected, now, out);
        return;
    }
    if (lane->paused_until_ms > now) return; /* the rest of its window */
    rewind_lane(core, lane, 0);
    if (lane->refusals < REFUSALS_MOST) lane->refusals++;
    pause_lane(lane, now, 1000ll << lane->refusals);
    raise_alarm(core, SHIP_ALARM_REJECTED, WEIR_CODE_REJECT, msg->shard, msg->seq, out);
}

static void on_lane_nack(struct ship_core *core, const struct weir_msg *msg, int64_t now, struct ship_actions *out)
{
    struct lane *lane = &core->lane[msg->shard];
    if (!lane->used || lane->set_back) return;
    switch (msg->code) {
    case WEIR_CODE_GAP: on_gap(core, msg, now, out); break;
    case WEIR_CODE_REJECT: on_lane_rejected(core, msg, now, out); break;
    case WEIR_CODE_SCHEMA:
        rewind_lane(core, lane, 0);
        if (!lane->stopped) raise_alarm(core, SHIP_ALARM_SCHEMA, msg->code, msg->shard, msg->seq, out);
        lane->stopped = true;
        break;
    case WEIR_CODE_POISON:
    case WEIR_CODE_TOOBIG:
        if (msg->seq > lane->high || msg->seq <= lane->acked) break;
        if (msg->seq == lane->acked + 1) {
            poison(core, msg->shard, msg->seq, msg->code, out);
        } else { /* those before it are stored, but we were not told: ask once more */
            rewind_lane(core, lane, 0);
            pause_lane(lane, now, SHIP_PAUSE_MS);
        }
        break;
    default: /* BUSY, EPOCH, NOTOWNER, CHECKSUM: the same again, later */
        rewind_lane(core, lane, msg->seq);
        pause_lane(lane, now, msg->retry_ms);
    }
}

static void on_nack(struct ship_core *core, const struct weir_msg *msg, int64_t now, struct ship_actions *out)
{
    core->state.nacks[msg->code]++;
    if (msg->code == WEIR_CODE_RESET) {
        if (core->state.phase != SHIP_STREAMING) return;
        end_session(core);
        begin_hello(core, now, out);
        return;
    }
    if (msg->code == WEIR_CODE_REJECT && msg->seq == 0) {
        raise_alarm(core, SHIP_ALARM_REJECTED, msg->code, 0, 0, out);
        fail_over(core, msg->code, now, out);
        return;
    }
    if (core->state.phase == SHIP_STREAMING) on_lane_nack(core, msg, now, out);
}

static void on_msg(struct ship_core *core, const struct weir_msg *msg, int64_t now, struct ship_actions *out)
{
    if (core->state.phase == SHIP_WAITING) return; /* from a socket that is gone */
    core->heard_ms = now;
    switch (msg->kind) {
    case WEIR_MSG_WELCOME: on_welcome(core, msg, now, out); break;
    case WEIR_MSG_ACK:
        if (core->state.phase == SHIP_STREAMING) on_ack(core, msg, now, out);
        break;
    case WEIR_MSG_NACK: on_nack(core, msg, now, out); break;
    case WEIR_MSG_CREDIT: core->state.credit = msg->credit; break;
    case WEIR_MSG_PING: send_control(out, WEIR_MSG_PONG); break;
    default: break; /* PONG has said enough by coming */
    }
}

/* ---- time ---- */

static void check_session(struct ship_core *core, int64_t now, struct ship_actions *out)
{
    if (core->state.phase == SHIP_WAITING) {
        if (now >= core->connect_at_ms) connect_broker(core, now, out);
        return;
    }
    bool unwelcome = core->state.phase == SHIP_HELLO_SENT && now >= core->welcome_by_ms;
    bool silent = core->state.phase == SHIP_STREAMING && now - core->heard_ms >= SHIP_SILENCE_MS;
    if (unwelcome || silent) {
        fail_over(core, WEIR_CODE_NONE, now, out);
        return;
    }
    if (core->state.phase == SHIP_HELLO_SENT && now >= core->hello_at_ms) say_hello(core, now, out);
    if (core->state.phase == SHIP_STREAMING && now - core->welcomed_ms >= SHIP_STABLE_MS) core->attempts = 0;
    if (core->state.phase == SHIP_STREAMING && now >= core->ping_at_ms) {
        send_control(out, WEIR_MSG_PING);
        core->ping_at_ms = now + SHIP_PING_MS;
    }
}

static void check_progress(struct ship_core *core, int64_t now)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS && !MUTANT(resend_forgotten); shard++) {
        struct lane *lane = &core->lane[shard];
        if (lane->in_flight == 0 || now - lane->progress_ms < SHIP_PROGRESS_MS) continue;
        rewind_lane(core, lane, 0);
        lane->progress_ms = now;
        core->state.timeouts++;
    }
}

/**
 * What was written since the start waits until all that was found is acknowledged, and the first of it goes alone. Were
 * the spool set back, these answers show it: the owners expect more than we sent, or know that number for something
 * else. With more on its way, an acknowledgement of what they have instead would pass for one of ours.
 */
static bool is_too_early(const struct lane *lane)
{
    uint64_t unsure = lane->acked < lane->found ? lane->found : lane->found + 1;
    return lane->send > unsure && lane->acked < unsure && !MUTANT(first_not_alone);
}

static bool may_send(const struct ship_core *core, const struct lane *lane, int64_t now)
{
    if (is_too_early(lane) || (core->set_back && (lane->set_back || lane->send > lane->high))) return false;
    uint32_t window = core->state.credit < SHIP_WINDOW ? core->state.credit : SHIP_WINDOW;
    return lane->used && !lane->stopped && lane->send < lane->next && lane->in_flight < window &&
           now >= lane->paused_until_ms;
}

static void send_record(struct ship_core *core, uint32_t shard, int64_t now, struct ship_actions *out)
{
    struct lane *lane = &core->lane[shard];
    struct ship_span span = core->span(core->span_ctx, shard, lane->send);
    assert(span.first <= lane->send && span.last >= lane->send && span.last < lane->next);

    struct ship_action *action = add_action(out, SHIP_SEND);
    action->msg = WEIR_MSG_DATA;
    action->shard = shard;
    action->seq = span.first;
    action->first_avail = MUTANT(claims_older_gone) ? span.first : lane->acked + 1;
    if (lane->in_flight == 0) lane->progress_ms = now;
    lane->flight[lane->in_flight++] = span;
    core->state.in_flight++;
    core->state.sent++;
    if (span.last <= lane->sent) core->state.resent++;
    if (span.last > lane->sent) lane->sent = span.last;
    if (span.last > lane->high) lane->high = span.last;
    lane->send = span.last + 1;
}

/** Send what windows and credit allow, one record of a lane at a time. */
static void send_records(struct ship_core *core, int64_t now, struct ship_actions *out)
{
    if (core->state.phase != SHIP_STREAMING || core->renewing || now < core->unsent_until_ms) return;

    uint32_t idle = 0;
    while (idle < WEIR_SHARDS && (core->state.in_flight < core->state.credit || MUTANT(credit_ignored))) {
        uint32_t shard = core->turn;
        if (!may_send(core, &core->lane[shard], now)) {
            idle++;
        } else if (out->count >= SHIP_ACTIONS_MOST - ACTIONS_RESERVED) {
            out->more = true;
            return;
        } else {
            send_record(core, shard, now, out);
            idle = 0;
        }
        core->turn = (core->turn + 1) % WEIR_SHARDS;
    }
}

/* ---- events about the spool ---- */

static void on_lane(struct ship_core *core, const struct ship_event *event)
{
    core->lane[event->shard] = (struct lane){.used = true,
                                             .acked = event->first_avail - 1,
                                             .send = event->first_avail,
                                             .next = event->next,
                                             .found = event->next - 1,
                                             .high = MUTANT(found_forgotten) ? 0 : event->next - 1};
}

static void on_synced(struct ship_core *core, const struct ship_event *event)
{
    struct lane *lane = &core->lane[event->shard];
    if (!lane->used) *lane = (struct lane){.used = true, .send = 1};
    if (event->next > lane->next) lane->next = event->next;
}

static void on_unsent(struct ship_core *core, const struct ship_event *event, int64_t now)
{
    struct lane *lane = &core->lane[event->shard];
    rewind_lane(core, lane, event->seq);
    if (lane->sent >= event->seq) lane->sent = event->seq - 1;
    core->unsent_until_ms = now + SHIP_UNSENT_PAUSE_MS;
}

/** The list of brokers is another one. A session with one that is still in it goes on. */
static void on_brokers(struct ship_core *core, const struct ship_event *event, int64_t now, struct ship_actions *out)
{
    assert(event->brokers > 0);
    core->brokers = event->brokers;
    if (event->broker != SHIP_NO_BROKER) {
        core->state.broker = event->broker;
        return;
    }
    if (core->state.phase != SHIP_WAITING) fail_over(core, WEIR_CODE_RESET, now, out);
    core->state.broker = first_broker(core);
    core->connect_at_ms = now;
}

static void on_renewed(struct ship_core *core, const struct ship_event *event, int64_t now)
{
    end_session(core);
    memset(core->lane, 0, sizeof core->lane);
    core->inc = event->inc;
    core->set_back = false;
    core->renewing = false;
    if (core->state.phase == SHIP_WAITING) return;
    core->state.phase = SHIP_HELLO_SENT;
    core->welcome_by_ms = now + SHIP_WELCOME_TIMEOUT_MS;
    core->hello_at_ms = now; /* at the next tick, when the lanes are known */
}

void ship_core_step(struct ship_core *core, const struct ship_event *event, int64_t now_mono_ms,
                    struct ship_actions *out)
{
    assert(event->shard < WEIR_SHARDS);
    out->count = 0;
    out->more = false;
    switch (event->kind) {
    case SHIP_EVENT_TICK:
        check_session(core, now_mono_ms, out);
        check_progress(core, now_mono_ms);
        if (core->renewing && now_mono_ms >= core->renew_at_ms) ask_renewal(core, now_mono_ms, out);
        break;
    case SHIP_EVENT_MSG: on_msg(core, event->msg, now_mono_ms, out); break;
    case SHIP_EVENT_LANE: on_lane(core, event); return; /* more of them follow */
    case SHIP_EVENT_SYNCED: on_synced(core, event); break;
    case SHIP_EVENT_UNSENT: on_unsent(core, event, now_mono_ms); break;
    case SHIP_EVENT_UNFIT: poison(core, event->shard, event->seq, WEIR_CODE_NONE, out); break;
    case SHIP_EVENT_BROKERS: on_brokers(core, event, now_mono_ms, out); break;
    case SHIP_EVENT_RENEWED: on_renewed(core, event, now_mono_ms); return;
    }
    send_records(core, now_mono_ms, out);
}

void ship_core_msg(const struct ship_core *core, const struct ship_action *action, struct weir_msg *out)
{
    assert(action->kind == SHIP_SEND);
    memset(out, 0, sizeof *out);
    out->kind = action->msg;
    out->inc = core->inc;
    out->instance = core->instance;
    memcpy(out->agent, core->agent, sizeof out->agent);
    switch (action->msg) {
    case WEIR_MSG_HELLO:
        out->schema = WEIR_SCHEMA;
        memcpy(out->name, core->name, sizeof out->name);
        for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
            const struct lane *lane = &core->lane[shard];
            if (!lane->used) continue;
            out->lanes[out->lane_count++] =
                (struct weir_lane){.shard = shard, .next = lane->next, .first_avail = lane->acked + 1};
        }
        break;
    case WEIR_MSG_DATA:
        out->schema = WEIR_SCHEMA;
        out->shard = action->shard;
        out->seq = action->seq;
        out->first_avail = action->first_avail;
        break;
    default: break;
    }
}
