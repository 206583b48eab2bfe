#include "tests/support/river/river.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "tests/support/river/parts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void river_complain(struct river *river, const char *format, ...)
{
    struct river_report *report = river->report;
    if (!report->sound) return;
    report->sound = false;
    va_list args;
    va_start(args, format);
    int size = vsnprintf(report->complaint, sizeof report->complaint, format, args);
    va_end(args);
    if (size > 0 && (size_t)size < sizeof report->complaint) {
        snprintf(report->complaint + size, sizeof report->complaint - (size_t)size, " (at %" PRId64 " ms)",
                 river->now_ms);
    }
}

void river_trace(struct river *river, uint64_t what, uint64_t a, uint64_t b)
{
    const uint64_t words[] = {what, a, b, (uint64_t)river->now_ms};
    river->report->trace = weir_hash64(words, sizeof words, river->report->trace);
}

uint32_t river_below(struct river *river, uint32_t limit)
{
    river->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    uint64_t z = river->random;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ z >> 31) >> 32) % limit;
}

bool river_mishap(struct river *river, uint32_t per_mille)
{
    return river->stormy && river_below(river, 1000) < per_mille;
}

static void free_parcel(struct river_parcel *parcel)
{
    weir_free(parcel->cargo);
    weir_free(parcel);
}

static void post_once(struct river *river, const struct river_parcel *parcel, int64_t held_until_ms)
{
    if (river->parcel_count == RIVER_PARCELS_MOST) {
        river->report->parcels_lost++;
        return;
    }
    struct river_parcel *copy = weir_malloc(sizeof *copy);
    if (copy == NULL) abort();
    *copy = *parcel;
    if (parcel->cargo != NULL) {
        copy->cargo = weir_malloc(sizeof *copy->cargo);
        if (copy->cargo == NULL) abort();
        *copy->cargo = *parcel->cargo;
    }
    copy->order = river->report->parcels;
    copy->due_ms = river->now_ms + 10 + (river->stormy ? river_below(river, 30) : 0);
    if (river_mishap(river, river->weather.late)) copy->due_ms += river_below(river, 5000);
    if (copy->due_ms < held_until_ms) copy->due_ms = held_until_ms;
    river->parcels[river->parcel_count++] = copy;
    river->report->parcels++;
}

/** Until when the link of a parcel is cut; NULL for what goes over no link. */
static int64_t *cut_on_the_way(struct river *river, const struct river_parcel *parcel)
{
    if (parcel->news != ROUTE_EVENT_TICK) return NULL;
    uint32_t from = parcel->from, to = parcel->index;
    switch (parcel->to) {
    case RIVER_TO_AGENT: return &river->agent_cut_until_ms[to][from];
    case RIVER_TO_NODE:
        return parcel->from_node ? &river->peer_cut_until_ms[from][to] : &river->node_cut_until_ms[from][to];
    case RIVER_TO_BROKER: break;
    }
    return parcel->from_node ? &river->node_cut_until_ms[to][from] : &river->agent_cut_until_ms[from][to];
}

void river_post(struct river *river, const struct river_parcel *parcel)
{
    int64_t *cut = cut_on_the_way(river, parcel);
    bool is_cut = cut != NULL && *cut > river->now_ms;
    /* Half of what meets a cut is kept by the senders' sockets until it is over. */
    if (river_mishap(river, is_cut ? 500 : river->weather.loss)) {
        river->report->parcels_lost++;
        return;
    }
    post_once(river, parcel, is_cut ? *cut : 0);
    if (!river_mishap(river, river->weather.repeat)) return;
    river->report->parcels_repeated++;
    post_once(river, parcel, is_cut ? *cut : 0);
}

void river_forget(struct river *river, const char *agent_name)
{
    uint8_t agent[16];
    weir_agent_id(agent_name, agent);
    for (uint32_t i = river->parcel_count; i > 0; i--) {
        struct river_parcel *parcel = river->parcels[i - 1];
        if (memcmp(parcel->msg.agent, agent, sizeof agent) != 0) continue;
        river->report->parcels_lost++;
        river->parcels[i - 1] = river->parcels[--river->parcel_count];
        free_parcel(parcel);
    }
}

static void deliver(struct river *river, const struct river_parcel *parcel)
{
    river_trace(river, (uint64_t)parcel->to << 8 | parcel->index, parcel->msg.kind, parcel->msg.seq);
    switch (parcel->to) {
    case RIVER_TO_AGENT: river_agent_receive(river, parcel); break;
    case RIVER_TO_BROKER: river_broker_receive(river, parcel); break;
    case RIVER_TO_NODE: river_node_receive(river, parcel); break;
    }
}

/** The one that has been due longest, or WEIR_EAGAIN. Without a storm that is the order of sending. */
static int next_due(const struct river *river)
{
    int next = WEIR_EAGAIN;
    for (uint32_t i = 0; i < river->parcel_count; i++) {
        const struct river_parcel *parcel = river->parcels[i];
        if (parcel->due_ms > river->now_ms) continue;
        const struct river_parcel *best = next < 0 ? NULL : river->parcels[next];
        bool is_earlier = best == NULL || parcel->due_ms < best->due_ms ||
                          (parcel->due_ms == best->due_ms && parcel->order < best->order);
        if (is_earlier) next = (int)i;
    }
    return next;
}

static int64_t *asleep_until(struct river *river, enum river_place place, uint32_t index)
{
    switch (place) {
    case RIVER_TO_AGENT: return &river->agents[index].asleep_until_ms;
    case RIVER_TO_BROKER: return &river->brokers[index].asleep_until_ms;
    case RIVER_TO_NODE: break;
    }
    return &river->nodes[index].asleep_until_ms;
}

static void deliver_due(struct river *river)
{
    for (int i = next_due(river); i >= 0 && river->report->sound; i = next_due(river)) {
        struct river_parcel *parcel = river->parcels[i];
        int64_t awake_ms = *asleep_until(river, parcel->to, parcel->index);
        if (awake_ms > river->now_ms) {
            parcel->due_ms = awake_ms;
            continue;
        }
        river->parcels[i] = river->parcels[--river->parcel_count];
        deliver(river, parcel);
        free_parcel(parcel);
    }
}

static void crash_or_start(struct river *river, bool is_up, uint32_t index, void (*crash)(struct river *, uint32_t),
                           void (*start)(struct river *, uint32_t))
{
    bool must_start = !is_up && (!river->stormy || river_below(river, 100) == 0);
    if (must_start) start(river, index);
    if (!is_up || !river_mishap(river, river->weather.crash)) return;
    if (crash == river_agent_crash && river_agent_is_unsure(river, index)) return;
    river->report->crashes++;
    crash(river, index);
}

/** Somebody stops for a while, as under SIGSTOP, or a link does. */
static void pause_somebody(struct river *river)
{
    enum { SLEEP_MOST_MS = 7000, CUT_MOST_MS = 9000 };
    static const uint32_t counts[] = {RIVER_AGENTS, RIVER_BROKERS, RIVER_NODES};
    if (river_mishap(river, river->weather.sleep)) {
        uint32_t place = river_below(river, 3);
        int64_t *until = asleep_until(river, (enum river_place)place, river_below(river, counts[place]));
        *until = river->now_ms + river_below(river, SLEEP_MOST_MS);
        river->report->pauses++;
    }
    if (river_mishap(river, river->weather.cut)) {
        uint32_t broker = river_below(river, RIVER_BROKERS);
        int64_t until = river->now_ms + river_below(river, CUT_MOST_MS);
        uint32_t node = river_below(river, RIVER_NODES);
        switch (river_below(river, 3)) {
        case 0: river->agent_cut_until_ms[river_below(river, RIVER_AGENTS)][broker] = until; break;
        case 1: river->node_cut_until_ms[broker][node] = until; break;
        default: river->peer_cut_until_ms[node][river_below(river, RIVER_NODES)] = until; break;
        }
        river->report->cuts++;
    }
}

static void weather(struct river *river)
{
    pause_somebody(river);
    for (uint32_t i = 0; i < RIVER_AGENTS; i++) {
        crash_or_start(river, river->agents[i].core != NULL, i, river_agent_crash, river_agent_start);
        if (river_mishap(river, 1)) river_agent_reset(river, i);
    }
    for (uint32_t i = 0; i < RIVER_BROKERS; i++)
        crash_or_start(river, river->brokers[i].core != NULL, i, river_broker_crash, river_broker_start);
    for (uint32_t i = 0; i < RIVER_NODES; i++)
        crash_or_start(river, river->nodes[i].core != NULL, i, river_node_crash, river_node_start);
}

static void live(struct river *river)
{
    bool tick = river->now_ms % RIVER_TICK_MS == 0;
    for (uint32_t i = 0; i < RIVER_AGENTS; i++) {
        if (river->agents[i].core == NULL || river->agents[i].asleep_until_ms > river->now_ms) continue;
        if (tick) river_agent_tick(river, i);
        if (river->stormy) river_agent_live(river, i);
    }
    for (uint32_t i = 0; i < RIVER_BROKERS; i++) {
        const struct river_broker *broker = &river->brokers[i];
        if (tick && broker->core != NULL && broker->asleep_until_ms <= river->now_ms) river_broker_tick(river, i);
    }
    for (uint32_t i = 0; i < RIVER_NODES; i++) {
        const struct river_node *node = &river->nodes[i];
        if (node->core == NULL || node->asleep_until_ms > river->now_ms) continue;
        if (river_mishap(river, 1)) river_node_press(river, i, river_below(river, 2) == 0);
        if (river_below(river, 3) == 0) river_node_commit(river, i);
        if (tick && node->core != NULL) river_replica_tick(river, i);
    }
}

static bool is_drained(const struct river *river)
{
    for (uint32_t i = 0; i < RIVER_AGENTS; i++) {
        if (!river_agent_is_drained(river, i)) return false;
    }
    return true;
}

static void complain_of_standstill(struct river *river)
{
    for (uint32_t i = 0; i < RIVER_AGENTS; i++) {
        const struct river_agent *agent = &river->agents[i];
        for (uint32_t k = 0; k < agent->lane_count; k++) {
            const struct river_lane *lane = &agent->lanes[k];
            if (lane->count == 0 || lane->acked == lane->records[lane->count - 1].last) continue;
            const struct ship_state *state = ship_core_state(agent->core);
            river_complain(river, "shard %u of %s stands at %" PRIu64 " of %" PRIu64 ", phase %d, %u in flight of %u",
                           lane->shard, agent->name, lane->acked, lane->records[lane->count - 1].last,
                           (int)state->phase, state->in_flight, state->credit);
        }
    }
}

/** The sky clears: nothing is lost, late or repeated any more, nobody sleeps, and nobody is under pressure. */
static void clear_up(struct river *river)
{
    river->stormy = false;
    for (uint32_t i = 0; i < RIVER_AGENTS; i++)
        river->agents[i].asleep_until_ms = 0;
    for (uint32_t i = 0; i < RIVER_BROKERS; i++)
        river->brokers[i].asleep_until_ms = 0;
    for (uint32_t i = 0; i < RIVER_NODES; i++)
        river->nodes[i].asleep_until_ms = 0;
    memset(river->agent_cut_until_ms, 0, sizeof river->agent_cut_until_ms);
    memset(river->node_cut_until_ms, 0, sizeof river->node_cut_until_ms);
    memset(river->peer_cut_until_ms, 0, sizeof river->peer_cut_until_ms);
    weather(river);
    for (uint32_t i = 0; i < RIVER_AGENTS; i++)
        river_agent_sync(river, i);
    for (uint32_t i = 0; i < RIVER_NODES; i++)
        river_node_press(river, i, false);
}

static void flow(struct river *river)
{
    river->stormy = true;
    while (river->report->sound) {
        river->now_ms += RIVER_STEP_MS;
        if (river->now_ms == RIVER_STORM_MS) clear_up(river);
        weather(river);
        river_map_live(river);
        deliver_due(river);
        live(river);
        if (river->stormy) continue;
        bool drained = is_drained(river);
        if (drained && river_replica_is_settled(river)) return;
        if (river->now_ms <= RIVER_STORM_MS + RIVER_CALM_MS) continue;
        complain_of_standstill(river);
        if (drained) river_complain(river, "a shard is not owned as it shall be");
    }
}

static void build_agent(struct river *river, uint32_t index)
{
    struct river_agent *agent = &river->agents[index];
    struct weir_allow_entry entry = {.role = WEIR_ROLE_AGENT, .site = "site", .tenant = "acme"};
    agent->inc = 1;
    snprintf(agent->name, sizeof agent->name, "agent-%u", index);
    snprintf(agent->key, sizeof agent->key, "%040u", index);
    memcpy(entry.name, agent->name, sizeof entry.name);
    memcpy(entry.key, agent->key, sizeof entry.key);
    if (weir_allow_add(river->allow, &entry, NULL) < 0) abort();
    for (uint32_t source = 0; source < RIVER_SOURCES; source++) {
        agent->sources[source].domain = river_below(river, 1000);
        uint32_t shard = weir_shard_of(entry.tenant, &agent->sources[source]);
        uint32_t lane = 0;
        while (lane < agent->lane_count && agent->lanes[lane].shard != shard)
            lane++;
        if (lane == agent->lane_count) agent->lanes[agent->lane_count++].shard = shard;
        agent->lane_of_source[source] = lane;
    }
}

/** Mild in some ways and wild in others, and each of them not at all in some runs. */
static void draw_weather(struct river *river)
{
    struct river_weather *weather = &river->weather;
    const struct {
        uint32_t *of;
        uint32_t most;
    } kinds[] = {{&weather->loss, 80},  {&weather->repeat, 80},    {&weather->late, 120},
                 {&weather->damage, 6}, {&weather->crash, 3},      {&weather->sleep, 4},
                 {&weather->cut, 4},    {&weather->move, 8},       {&weather->failed_write, 40},
                 {&weather->drop, 6},   {&weather->set_back, 300}, {&weather->suspect, 20},
                 {&weather->tail, 900}, {&weather->wipe, 300}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        *kinds[i].of = river_below(river, 4) == 0 ? 0 : 1 + river_below(river, kinds[i].most);
    river->credit = 2u << river_below(river, 6);
}

/** The shards that the agents send to, each once. */
static void list_shards(struct river *river)
{
    for (uint32_t i = 0; i < RIVER_AGENTS; i++) {
        for (uint32_t k = 0; k < river->agents[i].lane_count; k++) {
            uint32_t shard = river->agents[i].lanes[k].shard, at = 0;
            while (at < river->shard_count && river->shards[at] != shard)
                at++;
            if (at == river->shard_count) river->shards[river->shard_count++] = shard;
        }
    }
}

static void build(struct river *river)
{
    draw_weather(river);
    river_map_begin(river);
    if (weir_allow_create(&river->allow) < 0) abort();
    for (uint32_t i = 0; i < RIVER_AGENTS; i++)
        build_agent(river, i);
    list_shards(river);
    for (uint32_t i = 0; i < RIVER_NODES; i++)
        river_node_start(river, i);
    for (uint32_t i = 0; i < RIVER_BROKERS; i++)
        river_broker_start(river, i);
    for (uint32_t i = 0; i < RIVER_AGENTS; i++)
        river_agent_start(river, i);
}

static void take_down(struct river *river)
{
    for (uint32_t i = 0; i < RIVER_AGENTS; i++) {
        if (river->agents[i].core != NULL) river->report->resent += ship_core_state(river->agents[i].core)->resent;
        ship_core_destroy(river->agents[i].core);
    }
    for (uint32_t i = 0; i < RIVER_BROKERS; i++)
        route_core_destroy(river->brokers[i].core);
    for (uint32_t i = 0; i < RIVER_NODES; i++) {
        if (river->nodes[i].core != NULL) river_node_crash(river, i);
    }
    while (river->parcel_count > 0)
        free_parcel(river->parcels[--river->parcel_count]);
    route_actions_fini(&river->route_actions);
    weir_allow_destroy(river->allow);
    weir_free(river->map);
}

void river_run(uint64_t seed, struct river_report *out)
{
    struct river *river = weir_calloc(1, sizeof *river);
    if (river == NULL) abort();
    *out = (struct river_report){.sound = true};
    river->random = seed;
    river->report = out;
    build(river);
    flow(river);
    if (out->sound) river_check(river);
    out->lasted_ms = river->now_ms;
    take_down(river);
    weir_free(river);
}
