#include "common/base/hash.h"
#include "common/base/mutant.h"
#include "tests/support/river/parts.h"

#include <inttypes.h>

static struct river_lane *lane_of(struct river_agent *agent, uint32_t shard)
{
    for (uint32_t i = 0; i < agent->lane_count; i++) {
        if (agent->lanes[i].shard == shard) return &agent->lanes[i];
    }
    return NULL;
}

static const struct river_record *record_of(const struct river_lane *lane, uint64_t seq)
{
    for (uint32_t i = lane->count; i > 0; i--) {
        const struct river_record *record = &lane->records[i - 1];
        if (record->first <= seq && seq <= record->last) return record;
    }
    return NULL;
}

static uint64_t last_synced(const struct river_lane *lane)
{
    return lane->synced == 0 ? 0 : lane->records[lane->synced - 1].last;
}

static struct ship_span span(void *ctx, uint32_t shard, uint64_t seq)
{
    const struct river_agent *agent = ctx;
    const struct river_record *record = record_of(lane_of(ctx, shard), seq);
    if (record == NULL) {
        river_complain(agent->river, "%s has no %" PRIu64 " in shard %u", agent->name, seq, shard);
        return (struct ship_span){.first = seq, .last = seq};
    }
    return (struct ship_span){.first = record->first, .last = record->last};
}

/** What is released must be durable with every owner that lost nothing, and there must be one. */
static void check_released(struct river *river, const struct river_lane *lane, uint64_t upto)
{
    for (uint32_t i = 0; i < lane->count; i++) {
        const struct river_record *record = &lane->records[i];
        if (record->last <= lane->acked || record->first > upto || record->batch == 0) continue;
        bool is_kept = false;
        for (uint32_t node = 0; node < RIVER_NODES; node++) {
            if (!river_replica_is_good(river, node, lane->shard)) continue;
            is_kept = true;
            if (river->nodes[node].stored[record->batch] == 0)
                river_complain(river, "batch %u was released, but aggregator %u does not have it", record->batch, node);
        }
        if (!is_kept) river_complain(river, "batch %u was released, and nobody has it", record->batch);
    }
}

static void release(struct river *river, struct river_agent *agent, uint32_t shard, uint64_t seq)
{
    struct river_lane *lane = lane_of(agent, shard);
    check_released(river, lane, seq);
    lane->acked = seq;
    if (river_below(river, 4) == 0) lane->acked_durable = seq;
}

static void fill_data(struct river_agent *agent, const struct ship_action *action, struct river_parcel *parcel)
{
    struct river_lane *lane = lane_of(agent, action->shard);
    const struct river_record *record = record_of(lane, action->seq);
    if (record == NULL) return;
    bool is_loss = record->batch == 0;
    if (record->last > lane->sent) lane->sent = record->last;
    parcel->batch = record->batch;
    parcel->header = (struct weir_batch_header){
        .kind = is_loss ? WEIR_RECORD_LOSS : WEIR_RECORD_DATA,
        .schema = WEIR_SCHEMA,
        .source = agent->sources[record->source],
        .totals = {.flows = record->sums.flows, .packets = record->sums.packets, .bytes = record->sums.bytes},
        .lost_to_seq = is_loss ? record->last : 0};
    parcel->msg.cum = record->cum;
    parcel->msg.crc = (uint32_t)weir_hash64(&record->batch, sizeof record->batch, record->last);
}

static void send(struct river *river, uint32_t index, const struct ship_action *action)
{
    struct river_agent *agent = &river->agents[index];
    static struct river_parcel parcel;
    parcel = (struct river_parcel){.to = RIVER_TO_BROKER,
                                   .index = agent->broker,
                                   .from = index,
                                   .connection = agent->connection,
                                   .process = river->brokers[agent->broker].processes};
    ship_core_msg(agent->core, action, &parcel.msg);
    if (action->msg == WEIR_MSG_DATA) fill_data(agent, action, &parcel);
    river_post(river, &parcel);
    if (action->msg == WEIR_MSG_DATA && MUTANT(released_when_sent))
        release(river, agent, action->shard, record_of(lane_of(agent, action->shard), action->seq)->last);
}

/** Nothing goes out beyond what the session has credit for. */
static void check_credit(struct river *river, const struct river_agent *agent)
{
    const struct ship_state *state = ship_core_state(agent->core);
    if (state->in_flight > state->credit)
        river_complain(river, "%s has %u batches in flight with a credit of %u", agent->name, state->in_flight,
                       state->credit);
}

/** An answer that comes late and out of its order says what was true once. Without a storm, it says what is true. */
static bool is_expected(const struct river *river, const struct river_agent *agent, enum ship_alarm alarm)
{
    if (alarm == SHIP_ALARM_ROLLED_BACK) return agent->was_set_back;
    enum { LATEST_MS = 10000 };
    if (alarm == SHIP_ALARM_REJECTED) return true; /* the name is taken while the old connection lingers */
    return alarm == SHIP_ALARM_REGRESSED && river->now_ms < RIVER_STORM_MS + LATEST_MS;
}

static void tell_lanes(struct river *river, struct river_agent *agent)
{
    struct ship_actions none;
    for (uint32_t i = 0; i < agent->lane_count; i++) {
        const struct river_lane *lane = &agent->lanes[i];
        if (lane->synced == 0) continue;
        const struct ship_event event = {.kind = SHIP_EVENT_LANE,
                                         .shard = lane->shard,
                                         .first_avail = lane->acked + 1,
                                         .next = last_synced(lane) + 1};
        ship_core_step(agent->core, &event, river->now_ms, &none);
    }
}

/** What is in the lane is numbered from 1 again. */
static void renumber(struct river_lane *lane)
{
    const uint64_t base = lane->acked;
    struct weir_cum sums = {0};
    uint32_t gone = 0;
    while (gone < lane->synced && lane->records[gone].last <= base)
        gone++;
    lane->count -= gone;
    lane->synced -= gone;
    memmove(lane->records, lane->records + gone, lane->count * sizeof *lane->records);
    for (uint32_t i = 0; i < lane->count; i++) {
        struct river_record *record = &lane->records[i];
        record->first -= base;
        record->last -= base;
        river_sum(&sums, &record->sums);
        record->cum = sums;
    }
    lane->acked = lane->acked_durable = lane->sent = 0;
    lane->unsure = false;
}

static void renew(struct river *river, uint32_t index)
{
    struct river_agent *agent = &river->agents[index];
    struct ship_actions none;
    if (!agent->was_set_back) river_complain(river, "%s begins a new incarnation", agent->name);
    agent->inc++;
    for (uint32_t i = 0; i < agent->lane_count; i++)
        renumber(&agent->lanes[i]);
    /* TCP keeps the answers of a connection in order, and the river does not: a late one must not pass for a new one. */
    if (agent->connection != 0) agent->connection = ++river->connections;
    const struct ship_event event = {.kind = SHIP_EVENT_RENEWED, .inc = agent->inc};
    ship_core_step(agent->core, &event, river->now_ms, &none);
    tell_lanes(river, agent);
}

static void step(struct river *river, uint32_t index, const struct ship_event *event)
{
    struct river_agent *agent = &river->agents[index];
    struct ship_actions *actions = &river->ship_actions;
    struct ship_event again = *event;
    do {
        ship_core_step(agent->core, &again, river->now_ms, actions);
        again = (struct ship_event){.kind = SHIP_EVENT_TICK};
        for (uint32_t i = 0; i < actions->count; i++) {
            const struct ship_action *action = &actions->at[i];
            river_trace(river, 0x100u + action->kind, action->shard, action->seq);
            switch (action->kind) {
            case SHIP_CONNECT:
                agent->broker = action->broker;
                agent->connection = ++river->connections;
                break;
            case SHIP_CLOSE: agent->connection = 0; break;
            case SHIP_SEND:
                send(river, index, action);
                if (action->msg == WEIR_MSG_DATA) check_credit(river, agent);
                break;
            case SHIP_RELEASE: release(river, agent, action->shard, action->seq); break;
            case SHIP_POISON: river_complain(river, "%s calls a batch poison", agent->name); break;
            case SHIP_RENEW: renew(river, index); break;
            case SHIP_ALARM:
                if (!is_expected(river, agent, action->alarm))
                    river_complain(river, "%s raises the alarm %s", agent->name, ship_alarm_name(action->alarm));
                break;
            }
        }
    } while (actions->more);
}

void river_agent_start(struct river *river, uint32_t index)
{
    struct river_agent *agent = &river->agents[index];
    agent->river = river;
    struct ship_conf conf = {.name = agent->name,
                             .instance = ++agent->processes,
                             .seed = river_below(river, UINT32_MAX),
                             .brokers = RIVER_BROKERS,
                             .span = span,
                             .span_ctx = agent};
    if (ship_core_create(&conf, agent->inc, &agent->core) < 0) {
        river_complain(river, "no memory");
        return;
    }
    tell_lanes(river, agent);
}

/** A copy of the lane from before some of its acknowledged records were written takes its place. */
static void set_back(struct river *river, struct river_lane *lane)
{
    uint32_t known = 0; /* records that every owner has */
    while (known < lane->synced && lane->records[known].last <= lane->acked)
        known++;
    if (known == 0) return;
    uint32_t count = known - 1 - river_below(river, known < 10 ? known : 10);
    uint32_t acked = count - river_below(river, count < 4 ? count + 1 : 4);
    const struct river_record *last = &lane->records[known - 1];
    if (count == known - 1 && last->batch == 0 && last->first == last->last) return; /* docs/decisions/0022 */
    for (uint32_t i = known; i < lane->synced; i++) {                                /* gone, or stored by some owner */
        if (lane->records[i].batch == 0) continue;
        river->batches[lane->records[i].batch].accepted = false;
        river->report->accepted--;
    }
    lane->synced = count;
    lane->acked_durable = acked == 0 ? 0 : lane->records[acked - 1].last;
    lane->unsure = true;
}

bool river_agent_is_unsure(const struct river *river, uint32_t index)
{
    const struct river_agent *agent = &river->agents[index];
    for (uint32_t i = 0; i < agent->lane_count; i++) {
        if (agent->lanes[i].unsure) return true;
    }
    return false;
}

void river_agent_crash(struct river *river, uint32_t index)
{
    struct river_agent *agent = &river->agents[index];
    ship_core_destroy(agent->core);
    agent->core = NULL;
    agent->connection = 0;
    agent->asleep_until_ms = 0;
    bool is_set_back =
        !agent->was_set_back && !river_replica_any_broken(river) && river_mishap(river, river->weather.set_back);
    agent->was_set_back |= is_set_back;
    river->report->set_back += is_set_back;
    if (is_set_back) river_forget(river, agent->name); /* restoring a disk takes longer than a message lives */
    for (uint32_t i = 0; i < agent->lane_count; i++) {
        struct river_lane *lane = &agent->lanes[i];
        if (is_set_back) set_back(river, lane);
        lane->count = lane->synced;
        lane->acked = lane->acked_durable;
        lane->sent = lane->acked;
    }
}

void river_agent_reset(struct river *river, uint32_t index)
{
    struct river_agent *agent = &river->agents[index];
    if (agent->connection != 0) agent->connection = ++river->connections;
}

void river_agent_tick(struct river *river, uint32_t index)
{
    step(river, index, &(struct ship_event){.kind = SHIP_EVENT_TICK});
}

void river_agent_receive(struct river *river, const struct river_parcel *parcel)
{
    const struct river_agent *agent = &river->agents[parcel->index];
    if (agent->core == NULL || agent->connection != parcel->connection) return;
    step(river, parcel->index, &(struct ship_event){.kind = SHIP_EVENT_MSG, .msg = &parcel->msg});
}

/** A number for a source of @agent among all of the river. */
static uint32_t global_source(const struct river *river, const struct river_agent *agent, uint32_t source)
{
    return (uint32_t)(agent - river->agents) * RIVER_SOURCES + source;
}

static void append(struct river *river, struct river_agent *agent)
{
    uint32_t source = river_below(river, RIVER_SOURCES);
    struct river_lane *lane = &agent->lanes[agent->lane_of_source[source]];
    if (river->batches_made + 1 >= RIVER_BATCHES_MOST) return;
    const struct river_record *before = lane->count == 0 ? NULL : &lane->records[lane->count - 1];
    uint64_t seq = before == NULL ? 1 : before->last + 1;
    struct weir_cum sums = {.flows = 1 + river_below(river, 4096)};
    sums.packets = sums.flows + river_below(river, 100000);
    sums.bytes = sums.packets * 64 + river_below(river, 10000000);
    struct river_record *record = &lane->records[lane->count++];
    *record = (struct river_record){
        .first = seq, .last = seq, .sums = sums, .cum = sums, .batch = ++river->batches_made, .source = source};
    if (before != NULL) river_sum(&record->cum, &before->cum);
    river->batches[record->batch] =
        (struct river_batch){.shard = lane->shard, .source = global_source(river, agent, source), .sums = sums};
}

static void sync_lane(struct river *river, uint32_t index, struct river_lane *lane)
{
    uint32_t before = lane->synced;
    lane->synced = lane->count;
    for (uint32_t i = before; i < lane->synced; i++) {
        river->batches[lane->records[i].batch].accepted = true;
        river->report->accepted++;
    }
    if (lane->synced == before) return;
    uint64_t next = last_synced(lane) + 1;
    step(river, index, &(struct ship_event){.kind = SHIP_EVENT_SYNCED, .shard = lane->shard, .next = next});
}

/** Say that a record is synced which is not. */
static void pretend_to_sync(struct river *river, uint32_t index, const struct river_lane *lane)
{
    if (lane->count == lane->synced) return;
    uint64_t next = lane->records[lane->count - 1].last + 1;
    step(river, index, &(struct ship_event){.kind = SHIP_EVENT_SYNCED, .shard = lane->shard, .next = next});
}

/** A full spool turns some synced records that were not sent into one loss. */
static void drop_some(struct river *river, struct river_lane *lane)
{
    uint64_t kept = lane->sent > lane->acked ? lane->sent : lane->acked;
    uint32_t first = 0;
    while (first < lane->synced && lane->records[first].first <= kept)
        first++;
    if (first == lane->synced) return;
    uint32_t count = 1 + river_below(river, lane->synced - first);
    struct river_record loss = lane->records[first];
    loss.sums = (struct weir_cum){0};
    for (uint32_t i = first; i < first + count; i++) {
        const struct river_record *record = &lane->records[i];
        river_sum(&loss.sums, &record->sums);
        loss.last = record->last;
        loss.cum = record->cum;
        if (record->batch != 0) {
            river->batches[record->batch].accepted = false;
            river->report->accepted--;
            river->report->dropped++;
        }
    }
    loss.batch = 0;
    lane->records[first] = loss;
    memmove(&lane->records[first + 1], &lane->records[first + count],
            (lane->count - first - count) * sizeof *lane->records);
    lane->count -= count - 1;
    lane->synced -= count - 1;
}

void river_agent_live(struct river *river, uint32_t index)
{
    struct river_agent *agent = &river->agents[index];
    if (river_below(river, 10) == 0) append(river, agent);
    for (uint32_t i = 0; i < agent->lane_count; i++) {
        if (river_below(river, 20) == 0) sync_lane(river, index, &agent->lanes[i]);
        if (MUTANT(sent_before_sync)) pretend_to_sync(river, index, &agent->lanes[i]);
        if (!agent->lanes[i].unsure && river_mishap(river, river->weather.drop)) drop_some(river, &agent->lanes[i]);
    }
}

void river_agent_sync(struct river *river, uint32_t index)
{
    for (uint32_t i = 0; i < river->agents[index].lane_count; i++)
        sync_lane(river, index, &river->agents[index].lanes[i]);
}

bool river_agent_is_drained(const struct river *river, uint32_t index)
{
    const struct river_agent *agent = &river->agents[index];
    for (uint32_t i = 0; i < agent->lane_count; i++) {
        const struct river_lane *lane = &agent->lanes[i];
        if (lane->count > 0 && lane->acked < lane->records[lane->count - 1].last) return false;
    }
    return true;
}
