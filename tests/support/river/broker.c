#include "tests/support/river/parts.h"

/** News that the shell would tell the core a moment later. */
static void tell_later(struct river *river, uint32_t index, const struct river_parcel *about)
{
    static struct river_parcel parcel;
    parcel = *about;
    parcel.to = RIVER_TO_BROKER;
    parcel.index = index;
    parcel.process = river->brokers[index].processes;
    river_post(river, &parcel);
}

static void send_agent(struct river *river, uint32_t index, const struct route_action *action)
{
    static struct river_parcel parcel;
    parcel = (struct river_parcel){.to = RIVER_TO_AGENT, .from = index, .connection = action->peer};
    route_core_msg(river->brokers[index].core, action, &parcel.msg);
    for (uint32_t i = 0; i < RIVER_AGENTS; i++) {
        if (river->agents[i].connection != action->peer) continue;
        parcel.index = i;
        river_post(river, &parcel);
        return;
    }
    tell_later(river, index, &(struct river_parcel){.news = ROUTE_EVENT_GONE, .connection = action->peer});
}

static void send_node(struct river *river, uint32_t index, uint32_t node, struct river_parcel *parcel)
{
    parcel->to = RIVER_TO_NODE;
    parcel->index = node;
    parcel->from = index;
    parcel->process = river->brokers[index].processes;
    parcel->link = river->brokers[index].links[node];
    parcel->damaged = river_mishap(river, river->weather.damage);
    if (parcel->damaged) parcel->header.totals.packets++;
    river_post(river, parcel);
}

static void forward(struct river *river, uint32_t index, const struct route_action *action,
                    const struct river_parcel *data)
{
    static struct river_parcel parcel;
    for (uint32_t i = 0; i < action->owner_count; i++) {
        parcel = *data;
        if (river_mishap(river, 5)) { /* the queue is full */
            parcel.news = ROUTE_EVENT_UNSENT;
            parcel.from = action->owners[i];
            tell_later(river, index, &parcel);
            continue;
        }
        route_core_store(river->brokers[index].core, action, &parcel.msg);
        send_node(river, index, action->owners[i], &parcel);
    }
}

/** The tables are sound, memory is bounded, and the ledger is even. */
static void check(struct river *river, uint32_t index)
{
    const struct route_core *core = river->brokers[index].core;
    const struct route_state *state = route_core_state(core);
    uint64_t passed = state->accepted + state->repeated, ended = state->in_flight;
    for (int i = 0; i < ROUTE_REFUSALS_COUNT; i++)
        passed += state->refused[i];
    for (int i = 0; i < ROUTE_ENDS_COUNT; i++)
        ended += state->ended[i];
    if (!route_core_check(core)) river_complain(river, "the tables of broker %u are not sound", index);
    if (state->in_flight_bytes > (size_t)river->credit * RIVER_BATCH_BYTES)
        river_complain(river, "broker %u holds %zu bytes", index, state->in_flight_bytes);
    if (state->received != passed || state->accepted != ended)
        river_complain(river, "the ledger of broker %u is not even", index);
}

static void step(struct river *river, uint32_t index, const struct route_event *event, const struct river_parcel *data)
{
    struct river_broker *broker = &river->brokers[index];
    struct route_actions *actions = &river->route_actions;
    static struct river_parcel parcel;
    bool reread = false;
    route_core_step(broker->core, event, river->now_ms, actions);
    check(river, index);
    for (size_t i = 0; i < actions->count; i++) {
        const struct route_action *action = &actions->at[i];
        river_trace(river, 0x200u + action->kind, action->shard, action->seq);
        switch (action->kind) {
        case ROUTE_SEND_AGENT: send_agent(river, index, action); break;
        case ROUTE_SEND_NODE:
            parcel = (struct river_parcel){0};
            route_core_msg(broker->core, action, &parcel.msg);
            send_node(river, index, action->node, &parcel);
            break;
        case ROUTE_FORWARD: forward(river, index, action, data); break;
        case ROUTE_RECONNECT: broker->links[action->node]++; break;
        case ROUTE_REREAD_MAP: reread = true; break;
        case ROUTE_NOTE: break;
        }
    }
    if (reread && river_below(river, 2) == 0) river_broker_reload(river, index); /* or it has not come yet */
}

static void use_map(struct river *river, uint32_t index)
{
    const struct river_broker *broker = &river->brokers[index];
    step(river, index, &(struct route_event){.kind = ROUTE_EVENT_MAP, .map = &broker->maps[broker->map]}, NULL);
}

void river_broker_start(struct river *river, uint32_t index)
{
    struct river_broker *broker = &river->brokers[index];
    struct route_conf conf = {.budget_bytes = (size_t)river->credit * RIVER_BATCH_BYTES,
                              .batch_bytes = RIVER_BATCH_BYTES,
                              .max_bytes = 10 * RIVER_BATCH_BYTES,
                              .sessions_most = RIVER_AGENTS};
    broker->processes++;
    for (uint32_t node = 0; node < RIVER_NODES; node++)
        broker->links[node]++;
    if (route_core_create(&conf, &broker->core) < 0) {
        river_complain(river, "no memory");
        return;
    }
    step(river, index, &(struct route_event){.kind = ROUTE_EVENT_ALLOW, .allow = river->allow}, NULL);
    use_map(river, index);
}

void river_broker_reload(struct river *river, uint32_t index)
{
    struct river_broker *broker = &river->brokers[index];
    const struct weir_map *old = &broker->maps[broker->map];
    if (memcmp(old->shards, river->map->shards, sizeof old->shards) == 0) return;
    broker->map = 1 - broker->map;
    memcpy(broker->maps[broker->map].shards, river->map->shards, sizeof old->shards);
    if (broker->core != NULL) use_map(river, index);
}

void river_broker_crash(struct river *river, uint32_t index)
{
    route_core_destroy(river->brokers[index].core);
    river->brokers[index].core = NULL;
    river->brokers[index].asleep_until_ms = 0;
    for (uint32_t i = 0; i < RIVER_AGENTS; i++) {
        if (river->agents[i].broker == index) river_agent_reset(river, i);
    }
}

void river_broker_tick(struct river *river, uint32_t index)
{
    step(river, index, &(struct route_event){.kind = ROUTE_EVENT_TICK}, NULL);
}

static void receive_from_agent(struct river *river, const struct river_parcel *parcel)
{
    const struct river_agent *agent = &river->agents[parcel->from];
    step(river, parcel->index,
         &(struct route_event){.kind = ROUTE_EVENT_AGENT,
                               .peer = {.id = parcel->connection, .name = agent->name, .key = agent->key},
                               .msg = &parcel->msg,
                               .header = &parcel->header,
                               .bytes = RIVER_BATCH_BYTES},
         parcel);
}

static void receive_from_node(struct river *river, const struct river_parcel *parcel)
{
    if (river->brokers[parcel->index].links[parcel->from] != parcel->link) return;
    struct route_event event = {.kind = ROUTE_EVENT_NODE, .node = parcel->from, .msg = &parcel->msg};
    step(river, parcel->index, &event, NULL);
}

void river_broker_receive(struct river *river, const struct river_parcel *parcel)
{
    const struct river_broker *broker = &river->brokers[parcel->index];
    if (broker->core == NULL || broker->processes != parcel->process) return;
    if (parcel->news != ROUTE_EVENT_TICK) {
        step(river, parcel->index,
             &(struct route_event){.kind = parcel->news,
                                   .peer = {.id = parcel->connection},
                                   .node = parcel->from,
                                   .agent = parcel->msg.agent,
                                   .shard = parcel->msg.shard,
                                   .seq = parcel->msg.seq},
             NULL);
    } else if (parcel->from_node) {
        receive_from_node(river, parcel);
    } else {
        receive_from_agent(river, parcel);
    }
}
