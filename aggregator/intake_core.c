#include "aggregator/intake_core.h"

#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/mutant.h"
#include "common/base/table.h"

#include <assert.h>
#include <stdio.h>

enum { LANE_KEY_BYTES = 28 };

struct lane_key {
    uint8_t bytes[LANE_KEY_BYTES];
};

struct lane_state {
    struct agg_mark mark; /* committed */
    struct agg_mark tip;  /* with what waits for the running write */
};

/** An acknowledgement that the running write will release. */
struct waiting {
    uint32_t peer;
    uint32_t epoch;
    struct agg_lane lane;
    uint64_t seq;
    enum agg_fate fate;
};

/*
 * Lanes live in two generations: a lane that is used moves to the young one; when that is full, the old one is
 * forgotten and the young one becomes old. That is a least-recently-used rule without a list.
 */
struct agg_intake {
    struct weir_table young;
    struct weir_table old;
    size_t young_most;
    struct agg_held held[WEIR_SHARDS];
    uint32_t life[WEIR_SHARDS]; /* changes with the role: marks of another life are forgotten */
    bool auto_loss;
    bool busy;
    uint32_t busy_retry_ms;
    uint32_t waiting_count;
    struct waiting waiting[AGG_INTAKE_ACTIONS_MOST];
    uint64_t received;
    uint64_t fates[AGG_FATES_COUNT];
};

static const char *const fate_names[AGG_FATES_COUNT] = {
#define AGG_FATE_NAME(name, help) #name,
    AGG_FATES(AGG_FATE_NAME)
#undef AGG_FATE_NAME
};

const char *agg_fate_name(enum agg_fate fate)
{
    return fate_names[fate];
}

static struct lane_key key_of(const struct agg_intake *intake, const struct agg_lane *lane)
{
    struct lane_key key;
    memcpy(key.bytes, lane->agent, 16);
    weir_store_u64le(key.bytes + 16, lane->inc);
    weir_store_u32le(key.bytes + 24, intake->life[lane->shard] << 8 | lane->shard);
    return key;
}

static uint64_t hash_of(const struct lane_key *key)
{
    return weir_hash64(key->bytes, sizeof key->bytes, 0);
}

int agg_intake_create(const struct agg_intake_conf *conf, struct agg_intake **ret)
{
    assert(conf->lanes_most >= AGG_INTAKE_LANES_LEAST);
    struct agg_intake *intake = weir_calloc(1, sizeof *intake);
    if (intake == NULL) return WEIR_ENOMEM;

    weir_table_init(&intake->young, LANE_KEY_BYTES, sizeof(struct lane_state));
    weir_table_init(&intake->old, LANE_KEY_BYTES, sizeof(struct lane_state));
    intake->young_most = conf->lanes_most / 2;
    memcpy(intake->held, conf->held, sizeof intake->held);
    intake->auto_loss = conf->auto_loss;
    intake->busy_retry_ms = conf->busy_retry_ms;
    *ret = intake;
    return 0;
}

void agg_intake_destroy(struct agg_intake *intake)
{
    if (intake == NULL) return;
    weir_table_fini(&intake->young);
    weir_table_fini(&intake->old);
    weir_free(intake);
}

uint32_t agg_intake_waiting(const struct agg_intake *intake)
{
    return intake->waiting_count;
}

const uint64_t *agg_intake_fates(const struct agg_intake *intake)
{
    return intake->fates;
}

uint64_t agg_intake_received(const struct agg_intake *intake)
{
    return intake->received;
}

/** Make the young generation the old one; lanes with a batch on its way are carried over. WEIR_ENOMEM changes nothing. */
static int age_lanes(struct agg_intake *intake)
{
    struct weir_table fresh;
    weir_table_init(&fresh, LANE_KEY_BYTES, sizeof(struct lane_state));
    const struct lane_key *key;
    void *value;
    size_t at = 0;
    while ((key = weir_table_next(&intake->old, &at, &value)) != NULL) {
        const struct lane_state *state = value;
        if (state->tip.seq == state->mark.seq) continue;
        struct lane_state *kept = weir_table_add(&fresh, key, hash_of(key), NULL);
        if (kept == NULL) {
            weir_table_fini(&fresh);
            return WEIR_ENOMEM;
        }
        *kept = *state;
    }
    weir_table_fini(&intake->old);
    intake->old = intake->young;
    intake->young = fresh;
    return 0;
}

/** The state of a lane, or NULL when it is not in memory. Valid until the next call. */
static struct lane_state *find_lane(struct agg_intake *intake, const struct agg_lane *lane)
{
    struct lane_key key = key_of(intake, lane);
    uint64_t hash = hash_of(&key);
    struct lane_state *state = weir_table_find(&intake->young, &key, hash);
    if (state != NULL) return state;

    struct lane_state *old = weir_table_find(&intake->old, &key, hash);
    if (old == NULL || intake->young.count >= intake->young_most) return old;
    state = weir_table_add(&intake->young, &key, hash, NULL);
    if (state == NULL) return old;
    *state = *old;
    old->tip = old->mark; /* the young entry is the one that counts */
    return state;
}

static void set_mark(struct agg_intake *intake, const struct agg_lane *lane, const struct agg_mark *mark)
{
    if (find_lane(intake, lane) != NULL) return;
    if (intake->young.count >= intake->young_most && age_lanes(intake) < 0) return;
    struct lane_key key = key_of(intake, lane);
    struct lane_state *state = weir_table_add(&intake->young, &key, hash_of(&key), NULL);
    if (state != NULL) *state = (struct lane_state){.mark = *mark, .tip = *mark};
}

static struct agg_action *add_action(struct agg_actions *out, enum agg_action_kind kind, const struct agg_lane *lane)
{
    assert(out->count < AGG_INTAKE_ACTIONS_MOST);
    struct agg_action *action = &out->action[out->count++];
    *action = (struct agg_action){.kind = kind, .lane = *lane};
    return action;
}

static void send_reply(struct agg_actions *out, uint32_t peer, const struct agg_reply *reply)
{
    struct agg_action *action = add_action(out, AGG_ACTION_SEND, &reply->lane);
    action->peer = peer;
    action->reply = *reply;
}

/** What a refused batch is told, by fate. */
static const struct {
    enum weir_code code;
    const char *text;
} refusals[AGG_FATES_COUNT] = {
    [AGG_FATE_gap] = {WEIR_CODE_GAP, ""},
    [AGG_FATE_epoch] = {WEIR_CODE_EPOCH, ""},
    [AGG_FATE_ahead] = {WEIR_CODE_BUSY, "the aggregator's shard map is older than the broker's"},
    [AGG_FATE_notowner] = {WEIR_CODE_NOTOWNER, ""},
    [AGG_FATE_joining] = {WEIR_CODE_BUSY, "the aggregator fetches the shard from another one"},
    [AGG_FATE_busy] = {WEIR_CODE_BUSY, "the aggregator's disk is low or its store is stalled"},
    [AGG_FATE_failed] = {WEIR_CODE_BUSY, "the write failed"},
    [AGG_FATE_poison] = {WEIR_CODE_POISON, "the batch cannot be decoded"},
    [AGG_FATE_checksum] = {WEIR_CODE_CHECKSUM, ""},
    [AGG_FATE_schema] = {WEIR_CODE_SCHEMA, "the batch is encoded by a newer version"},
    [AGG_FATE_misplaced] = {WEIR_CODE_REJECT, "the source does not belong to this shard"},
    [AGG_FATE_history] = {WEIR_CODE_REJECT, "the spool holds another batch under a committed number"},
};

static void refuse(struct agg_intake *intake, const struct agg_event *event, enum agg_fate fate, uint64_t expected,
                   struct agg_actions *out)
{
    const struct weir_msg *msg = event->msg;
    struct agg_reply reply = {
        .kind = WEIR_MSG_SNACK,
        .code = refusals[fate].code,
        .lane = {.inc = msg->inc, .shard = msg->shard},
        .seq = msg->seq,
        .expected = expected,
        .epoch = msg->shard < WEIR_SHARDS ? intake->held[msg->shard].epoch : 0,
        .text = refusals[fate].text,
    };
    memcpy(reply.lane.agent, msg->agent, sizeof reply.lane.agent);
    if (reply.code == WEIR_CODE_BUSY) reply.retry_ms = intake->busy_retry_ms;
    send_reply(out, event->peer, &reply);
    intake->fates[fate]++;
}

static void acknowledge(struct agg_actions *out, uint32_t peer, const struct agg_lane *lane, uint64_t seq,
                        uint64_t expected, uint32_t epoch)
{
    struct agg_reply reply = {
        .kind = WEIR_MSG_SACK, .lane = *lane, .seq = seq, .expected = expected, .epoch = epoch, .text = ""};
    send_reply(out, peer, &reply);
}

static void wait_for_commit(struct agg_intake *intake, const struct agg_event *event, const struct agg_lane *lane,
                            enum agg_fate fate)
{
    intake->waiting[intake->waiting_count++] = (struct waiting){
        .peer = event->peer, .epoch = event->msg->epoch, .lane = *lane, .seq = event->msg->seq, .fate = fate};
}

static struct weir_cum cum_after(const struct weir_cum *before, const struct weir_batch_totals *totals)
{
    return (struct weir_cum){.flows = before->flows + totals->flows,
                             .packets = before->packets + totals->packets,
                             .bytes = before->bytes + totals->bytes};
}

static bool cum_equal(const struct weir_cum *a, const struct weir_cum *b)
{
    return a->flows == b->flows && a->packets == b->packets && a->bytes == b->bytes;
}

static struct weir_cum cum_between(const struct weir_cum *from, const struct weir_cum *to)
{
    return (struct weir_cum){
        .flows = to->flows - from->flows, .packets = to->packets - from->packets, .bytes = to->bytes - from->bytes};
}

static void alarm_of(struct agg_actions *out, enum agg_alarm alarm, const struct agg_lane *lane,
                     const struct agg_mark *mark, uint64_t seq)
{
    struct agg_action *action = add_action(out, AGG_ACTION_ALARM, lane);
    action->alarm = alarm;
    action->mark = *mark;
    action->last_seq = seq;
}

/**
 * The agent no longer has batches that we never committed. With @auto_loss the oldest that it has is taken, and the gap
 * is recorded with what the sums say was in it; else the lane waits for an operator.
 */
static bool bridge_lost_history(struct agg_intake *intake, const struct agg_event *event, const struct agg_lane *lane,
                                struct lane_state *state, struct agg_actions *out)
{
    const struct weir_msg *msg = event->msg;
    alarm_of(out, AGG_ALARM_LOST_HISTORY, lane, &state->tip, msg->first_avail - 1);
    if (!intake->auto_loss) {
        refuse(intake, event, AGG_FATE_gap, state->tip.seq + 1, out);
        return false;
    }
    if (msg->seq != msg->first_avail) {
        refuse(intake, event, AGG_FATE_gap, msg->first_avail, out);
        return false;
    }
    struct weir_cum before = {.flows = msg->cum.flows - event->header->totals.flows,
                              .packets = msg->cum.packets - event->header->totals.packets,
                              .bytes = msg->cum.bytes - event->header->totals.bytes};
    struct agg_action *action = add_action(out, AGG_ACTION_LOSS, lane);
    action->first_seq = state->tip.seq + 1;
    action->last_seq = msg->first_avail - 1;
    action->lost = cum_between(&state->tip.cum, &before);
    state->tip = (struct agg_mark){.seq = msg->first_avail - 1, .cum = before};
    action->mark = state->tip;
    return true;
}

/** Why the bytes of the next batch of a lane cannot be taken, or AGG_FATE_stored when they can. */
static enum agg_fate judge_bytes(const struct agg_intake *intake, const struct agg_event *event)
{
    const struct weir_msg *msg = event->msg;
    const struct weir_batch_header *header = event->header;
    if (intake->busy || intake->waiting_count == AGG_INTAKE_ACTIONS_MOST) return AGG_FATE_busy;
    if (event->crc != msg->crc && !MUTANT(checksum_ignored)) return AGG_FATE_checksum;
    if (event->decoded == WEIR_EVERSION || event->decoded == WEIR_EUNSUPPORTED) return AGG_FATE_schema;
    if (header == NULL || event->decoded < 0) return AGG_FATE_poison;
    if (header->kind == WEIR_RECORD_LOSS && header->lost_to_seq < msg->seq) return AGG_FATE_poison;
    if (header->kind == WEIR_RECORD_DATA && weir_shard_of(msg->tenant, &header->source) != msg->shard)
        return AGG_FATE_misplaced;
    return AGG_FATE_stored;
}

static struct weir_cum cum_lost(const struct weir_cum *from, const struct weir_cum *to)
{
    if (to->flows < from->flows || to->packets < from->packets || to->bytes < from->bytes) return (struct weir_cum){0};
    return cum_between(from, to);
}

/** Take the next batch of a lane, or a loss that begins at or before it and reaches further. */
static void take_batch(struct agg_intake *intake, const struct agg_event *event, const struct agg_lane *lane,
                       struct lane_state *state, struct agg_actions *out)
{
    const struct weir_msg *msg = event->msg;
    const struct weir_batch_header *header = event->header;
    bool loss = header->kind == WEIR_RECORD_LOSS;
    bool overlaps = msg->seq <= state->tip.seq; /* the agent dropped what we committed before it heard of that */
    struct weir_cum cum = cum_after(&state->tip.cum, &header->totals);
    struct weir_cum lost = cum_lost(&state->tip.cum, &msg->cum);
    bool as_it_comes = MUTANT(joined_without_marks) && intake->held[lane->shard].role == AGG_ROLE_JOURNALING;
    if (!overlaps && !cum_equal(&cum, &msg->cum) && !as_it_comes) {
        alarm_of(out, AGG_ALARM_CUM, lane, &state->tip, msg->seq);
        out->action[out->count - 1].expected_cum = cum;
        out->action[out->count - 1].got_cum = msg->cum;
    }
    uint64_t first_seq = state->tip.seq + 1;
    state->tip = (struct agg_mark){.seq = loss && !MUTANT(loss_taken_for_one) ? header->lost_to_seq : msg->seq,
                                   .cum = msg->cum,
                                   .crc = loss ? 0 : msg->crc};
    struct agg_action *action = add_action(out, overlaps ? AGG_ACTION_LOSS : AGG_ACTION_WRITE, lane);
    action->journal = intake->held[lane->shard].role == AGG_ROLE_JOURNALING;
    action->mark = state->tip;
    action->lost = MUTANT(loss_not_counted) ? (struct weir_cum){0} : lost;
    action->first_seq = first_seq;
    action->last_seq = state->tip.seq;
    wait_for_commit(intake, event, lane, AGG_FATE_stored);
    if (MUTANT(ack_before_sync)) acknowledge(out, event->peer, lane, msg->seq, state->tip.seq + 1, msg->epoch);
}

/** Does a loss begin among what is stored or on its way, and reach past it? */
static bool is_overlapping_loss(const struct agg_event *event, const struct lane_state *state)
{
    const struct weir_batch_header *header = event->header;
    return header != NULL && header->kind == WEIR_RECORD_LOSS && event->msg->seq <= state->tip.seq &&
           header->lost_to_seq > state->tip.seq && !MUTANT(loss_overlap_ignored);
}

/** Why nothing of the shard can be taken now, or AGG_FATE_stored when it can. */
static enum agg_fate judge_shard(const struct agg_intake *intake, const struct weir_msg *msg)
{
    if (msg->shard >= WEIR_SHARDS) return AGG_FATE_misplaced;
    const struct agg_held *held = &intake->held[msg->shard];
    if (msg->epoch < held->epoch && !MUTANT(no_epoch_check)) return AGG_FATE_epoch;
    if (msg->epoch > held->epoch) return AGG_FATE_ahead;
    if (held->role == AGG_ROLE_NONE) return AGG_FATE_notowner;
    return held->role == AGG_ROLE_JOINING ? AGG_FATE_joining : AGG_FATE_stored;
}

static void on_store(struct agg_intake *intake, const struct agg_event *event, struct agg_actions *out)
{
    const struct weir_msg *msg = event->msg;
    struct agg_lane lane = {.inc = msg->inc, .shard = msg->shard};
    memcpy(lane.agent, msg->agent, sizeof lane.agent);

    enum agg_fate fate = judge_shard(intake, msg);
    if (fate != AGG_FATE_stored) {
        intake->received++;
        refuse(intake, event, fate, 0, out);
        if (fate == AGG_FATE_ahead) add_action(out, AGG_ACTION_READ_MAP, &lane);
        return;
    }
    const struct agg_held *held = &intake->held[msg->shard];
    struct lane_state *state = find_lane(intake, &lane);
    if (state == NULL) {
        add_action(out, AGG_ACTION_LOAD, &lane)->journal = held->role == AGG_ROLE_JOURNALING;
        return;
    }
    intake->received++;

    bool repeated = !is_overlapping_loss(event, state) && !MUTANT(no_dedup);
    uint64_t known = MUTANT(repeat_acked_early) ? state->tip.seq : state->mark.seq;
    if (repeated && msg->seq <= known) {
        bool is_loss = event->header != NULL && event->header->kind == WEIR_RECORD_LOSS; /* dropped after it was sent */
        if (msg->seq == state->mark.seq && msg->crc != state->mark.crc && state->mark.crc != 0 && !is_loss) {
            alarm_of(out, AGG_ALARM_FORKED, &lane, &state->mark, msg->seq);
            refuse(intake, event, AGG_FATE_history, state->tip.seq + 1, out);
            return;
        }
        acknowledge(out, event->peer, &lane, msg->seq, known + 1, msg->epoch);
        intake->fates[AGG_FATE_duplicate]++;
        return;
    }
    if (repeated && msg->seq <= state->tip.seq) {
        if (intake->waiting_count == AGG_INTAKE_ACTIONS_MOST)
            refuse(intake, event, AGG_FATE_busy, 0, out);
        else
            wait_for_commit(intake, event, &lane, AGG_FATE_duplicate);
        return;
    }

    bool lost_history = state->tip.seq + 1 < msg->first_avail && msg->first_avail <= msg->seq;
    bool taken_as_it_comes = MUTANT(joined_without_marks) && held->role == AGG_ROLE_JOURNALING;
    if (taken_as_it_comes) lost_history = false;
    if (lost_history && held->repairs && !MUTANT(no_regress_check)) {
        refuse(intake, event, AGG_FATE_joining, 0, out);
        add_action(out, AGG_ACTION_REGRESSED, &lane);
        return;
    }
    if (msg->seq > state->tip.seq + 1 && !lost_history && !MUTANT(gap_accepted) && !taken_as_it_comes) {
        refuse(intake, event, AGG_FATE_gap, state->tip.seq + 1, out);
        return;
    }
    if (!event->opened && !intake->busy) {
        intake->received--;
        add_action(out, AGG_ACTION_OPEN, &lane);
        return;
    }
    fate = judge_bytes(intake, event);
    if (fate != AGG_FATE_stored) {
        refuse(intake, event, fate, fate == AGG_FATE_busy ? 0 : state->tip.seq + 1, out);
        return;
    }
    if (lost_history && !bridge_lost_history(intake, event, &lane, state, out)) return;
    take_batch(intake, event, &lane, state, out);
}

static void on_written(struct agg_intake *intake, bool committed, struct agg_actions *out)
{
    for (uint32_t i = 0; i < intake->waiting_count; i++) {
        const struct waiting *waiting = &intake->waiting[i];
        struct lane_state *state = find_lane(intake, &waiting->lane);
        assert(state != NULL); /* lanes on their way are never forgotten */
        if (committed) {
            state->mark = state->tip;
            acknowledge(out, waiting->peer, &waiting->lane, waiting->seq, state->mark.seq + 1, waiting->epoch);
            intake->fates[waiting->fate]++;
            continue;
        }
        if (!MUTANT(failed_write_kept)) state->tip = state->mark;
        struct agg_reply reply = {.kind = WEIR_MSG_SNACK,
                                  .code = WEIR_CODE_BUSY,
                                  .lane = waiting->lane,
                                  .seq = waiting->seq,
                                  .epoch = waiting->epoch,
                                  .retry_ms = intake->busy_retry_ms,
                                  .text = refusals[AGG_FATE_failed].text};
        send_reply(out, waiting->peer, &reply);
        intake->fates[AGG_FATE_failed]++;
    }
    intake->waiting_count = 0;
}

static void on_ping(uint32_t peer, struct agg_actions *out)
{
    struct agg_reply reply = {.kind = WEIR_MSG_PONG, .text = ""};
    send_reply(out, peer, &reply);
}

/** Acknowledgements of one epoch must have left before the next begins, so that what follows it knows of their batches. */
static void on_held(struct agg_intake *intake, uint32_t shard, const struct agg_held *held)
{
    assert(intake->waiting_count == 0);
    if (intake->held[shard].role != held->role) intake->life[shard]++;
    intake->held[shard] = *held;
}

void agg_intake_step(struct agg_intake *intake, const struct agg_event *event, struct agg_actions *out)
{
    out->count = 0;
    switch (event->kind) {
    case AGG_EVENT_MESSAGE:
        if (event->msg->kind == WEIR_MSG_STORE) on_store(intake, event, out);
        if (event->msg->kind == WEIR_MSG_PING) on_ping(event->peer, out);
        break;
    case AGG_EVENT_MARK: set_mark(intake, &event->lane, &event->mark); break;
    case AGG_EVENT_COMMITTED: on_written(intake, true, out); break;
    case AGG_EVENT_FAILED: on_written(intake, false, out); break;
    case AGG_EVENT_PRESSURE: intake->busy = event->busy; break;
    case AGG_EVENT_HELD: on_held(intake, event->shard, &event->held); break;
    }
}

void agg_reply_message(const struct agg_reply *reply, const char *node, struct weir_msg *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->kind = reply->kind;
    ret->code = reply->code;
    memcpy(ret->agent, reply->lane.agent, sizeof ret->agent);
    ret->inc = reply->lane.inc;
    ret->shard = reply->lane.shard;
    ret->seq = reply->seq;
    ret->expected = reply->expected;
    ret->epoch = reply->epoch;
    ret->retry_ms = reply->retry_ms;
    snprintf(ret->node, sizeof ret->node, "%s", node);
    snprintf(ret->text, sizeof ret->text, "%s", reply->text);
}
