#include "tests/support/river/river.h"

#include "common/base/hash.h"
#include "common/base/mem.h"
#include "tests/support/river/parts.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char *river_mutant_name(enum river_mutant mutant)
{
    static const char *const names[RIVER_MUTANTS] = {"sound",
                                                     "ack_before_commit",
                                                     "mark_apart",
                                                     "gap_accepted",
                                                     "first_owner_suffices",
                                                     "sent_before_sync",
                                                     "released_when_sent"};
    return names[mutant];
}

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

static void post_once(struct river *river, const struct river_parcel *parcel)
{
    if (river->parcel_count == RIVER_PARCELS_MOST) {
        river->report->parcels_lost++;
        return;
    }
    struct river_parcel *copy = weir_malloc(sizeof *copy);
    if (copy == NULL) abort();
    *copy = *parcel;
    copy->order = river->report->parcels;
    copy->due_ms = river->now_ms + 10 + (river->stormy ? river_below(river, 30) : 0);
    if (river_mishap(river, 20)) copy->due_ms += river_below(river, 5000);
    river->parcels[river->parcel_count++] = copy;
    river->report->parcels++;
}

void river_post(struct river *river, const struct river_parcel *parcel)
{
    if (river_mishap(river, 40)) {
        river->report->parcels_lost++;
        return;
    }
    post_once(river, parcel);
    if (!river_mishap(river, 40)) return;
    river->report->parcels_repeated++;
    post_once(river, parcel);
}

static void deliver(struct river *river, const struct river_parcel *parcel)
{
    river_trace(river, parcel->to, parcel->msg.kind, parcel->msg.seq);
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

static void deliver_due(struct river *river)
{
    for (int i = next_due(river); i >= 0 && river->report->sound; i = next_due(river)) {
        struct river_parcel *parcel = river->parcels[i];
        river->parcels[i] = river->parcels[--river->parcel_count];
        deliver(river, parcel);
        weir_free(parcel);
    }
}

static void crash_or_start(struct river *river, bool is_up, uint32_t index, void (*crash)(struct river *, uint32_t),
                           void (*start)(struct river *, uint32_t))
{
    bool must_start = !is_up && (!river->stormy || river_below(river, 100) == 0);
    if (must_start) start(river, index);
    if (!is_up || !river_mishap(river, 1)) return;
    river->report->crashes++;
    crash(river, index);
}

static void weather(struct river *river)
{
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
        if (river->agents[i].core == NULL) continue;
        if (tick) river_agent_tick(river, i);
        if (river->stormy) river_agent_live(river, i);
    }
    for (uint32_t i = 0; i < RIVER_BROKERS; i++) {
        if (tick && river->brokers[i].core != NULL) river_broker_tick(river, i);
    }
    for (uint32_t i = 0; i < RIVER_NODES; i++) {
        struct river_node *node = &river->nodes[i];
        if (node->core == NULL) continue;
        if (river_mishap(river, 1)) {
            struct agg_event event = {.kind = AGG_EVENT_PRESSURE, .busy = river_below(river, 2) == 0};
            agg_intake_step(node->core, &event, &river->agg_actions);
        }
        if (river_below(river, 3) == 0) river_node_commit(river, i);
    }
}

static bool is_drained(const struct river *river)
{
    for (uint32_t i = 0; i < RIVER_AGENTS; i++) {
        if (!river_agent_is_drained(river, i)) return false;
    }
    return true;
}

/** The sky clears: nothing is lost, late or repeated any more, and nobody is under pressure. */
static void clear_up(struct river *river)
{
    river->stormy = false;
    weather(river);
    for (uint32_t i = 0; i < RIVER_AGENTS; i++)
        river_agent_sync(river, i);
    for (uint32_t i = 0; i < RIVER_NODES; i++) {
        struct agg_event event = {.kind = AGG_EVENT_PRESSURE};
        agg_intake_step(river->nodes[i].core, &event, &river->agg_actions);
    }
}

static void flow(struct river *river)
{
    river->stormy = true;
    while (river->report->sound) {
        river->now_ms += RIVER_STEP_MS;
        if (river->now_ms == RIVER_STORM_MS) clear_up(river);
        weather(river);
        deliver_due(river);
        live(river);
        if (river->stormy) continue;
        if (is_drained(river)) return;
        if (river->now_ms > RIVER_STORM_MS + RIVER_CALM_MS) {
            for (int i = 0; i < RIVER_AGENTS; i++) {
                struct river_agent *a = &river->agents[i];
                const struct ship_state *st = ship_core_state(a->core);
                printf("agent %d phase %d broker %u conn %u credit %u inflight %u failovers %lu sent %lu resent %lu "
                       "timeouts %lu nacks:",
                       i, st->phase, st->broker, a->connection, st->credit, st->in_flight, st->failovers, st->sent,
                       st->resent, st->timeouts);
                for (int c = 0; c < WEIR_CODES; c++)
                    printf(" %s=%lu", weir_code_name(c), st->nacks[c]);
                printf("\n");
                for (uint32_t l = 0; l < a->lane_count; l++) {
                    struct river_lane *L = &a->lanes[l];
                    printf("  lane %u acked %lu durable %lu last %lu synced %u count %u owners %u %u:", L->shard,
                           L->acked, L->acked_durable, L->count ? L->records[L->count - 1].last : 0, L->synced,
                           L->count, river->map->owners[L->shard][0], river->map->owners[L->shard][1]);
                    struct agg_lane al = {.inc = 1, .shard = L->shard};
                    weir_agent_id(a->name, al.agent);
                    for (int n = 0; n < RIVER_NODES; n++) {
                        const struct river_mark *m = river_node_mark(&river->nodes[n], &al);
                        if (m) printf(" n%d mark %lu", n, m->mark.seq);
                    }
                    printf("\n");
                }
            }
            for (int b = 0; b < RIVER_BROKERS; b++) {
                const struct route_state *r = route_core_state(river->brokers[b].core);
                printf("broker %d sessions %u inflight %u rec %lu acc %lu rep %lu unexp %lu :", b, r->sessions,
                       r->in_flight, r->received, r->accepted, r->repeated, r->unexpected);
                for (int k = 0; k < ROUTE_REFUSALS_COUNT; k++)
                    printf(" %s=%lu", route_refusal_name(k), r->refused[k]);
                for (int k = 0; k < ROUTE_ENDS_COUNT; k++)
                    printf(" %s=%lu", route_end_name(k), r->ended[k]);
                for (int n = 0; n < RIVER_NODES; n++)
                    printf(" node%d up%d stuck%d ref %lu", n, route_core_node(river->brokers[b].core, n)->up,
                           route_core_node(river->brokers[b].core, n)->stuck,
                           route_core_node(river->brokers[b].core, n)->refused);
                printf("\n");
            }
            for (int n = 0; n < RIVER_NODES; n++) {
                const uint64_t *f = agg_intake_fates(river->nodes[n].core);
                printf("node %d", n);
                for (int k = 0; k < AGG_FATES_COUNT; k++)
                    printf(" %s=%lu", agg_fate_name(k), f[k]);
                printf("\n");
            }
            river_complain(river, "the spools do not drain");
        }
    }
}

/** Every accepted batch once in each owner, no other anywhere, and the sums of every lane even. */
static void check_stores(struct river *river)
{
    for (uint32_t i = 0; i < RIVER_NODES; i++) {
        const struct river_node *node = &river->nodes[i];
        for (uint32_t batch = 1; batch <= river->batches; batch++) {
            bool must = river->accepted[batch] && node->owned[river->shard_of_batch[batch]];
            bool may = node->owned[river->shard_of_batch[batch]]; /* dropped by its agent, and stored before that */
            if (node->stored[batch] > may || node->stored[batch] < must)
                river_complain(river, "aggregator %u has batch %u %u times", i, batch, node->stored[batch]);
        }
        for (uint32_t k = 0; k < node->mark_count; k++) {
            const struct river_mark *mark = &node->marks[k];
            if (mark->flows + mark->lost != mark->mark.cum.flows) {
                river_complain(river, "aggregator %u: %" PRIu64 " stored + %" PRIu64 " lost is not %" PRIu64, i,
                               mark->flows, mark->lost, mark->mark.cum.flows);
            }
        }
    }
}

static void build_map(struct river *river)
{
    river->map = weir_malloc(sizeof *river->map);
    if (river->map == NULL) abort();
    weir_map_init(river->map);
    river->map->replication = 2;
    for (uint32_t i = 0; i < RIVER_NODES; i++) {
        struct weir_node node = {.weight = WEIR_WEIGHT_DEFAULT};
        snprintf(node.name, sizeof node.name, "agg-%u", i);
        if (weir_map_add_aggregator(river->map, &node) < 0) abort();
    }
    weir_map_place(river->map);
    for (uint32_t i = 0; i < RIVER_NODES; i++) {
        for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
            river->nodes[i].owned[shard] = weir_map_owns(river->map, i, shard);
    }
}

static void build_agent(struct river *river, uint32_t index)
{
    struct river_agent *agent = &river->agents[index];
    struct weir_allow_entry entry = {.role = WEIR_ROLE_AGENT, .site = "site", .tenant = "acme"};
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

static void build(struct river *river)
{
    build_map(river);
    if (weir_allow_create(&river->allow) < 0) abort();
    for (uint32_t i = 0; i < RIVER_AGENTS; i++)
        build_agent(river, i);
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
        weir_free(river->parcels[--river->parcel_count]);
    route_actions_fini(&river->route_actions);
    weir_allow_destroy(river->allow);
    weir_free(river->map);
}

void river_run(uint64_t seed, enum river_mutant mutant, struct river_report *out)
{
    struct river *river = weir_calloc(1, sizeof *river);
    if (river == NULL) abort();
    *out = (struct river_report){.sound = true};
    river->mutant = mutant;
    river->random = seed;
    river->report = out;
    build(river);
    flow(river);
    if (out->sound) check_stores(river);
    out->lasted_ms = river->now_ms;
    take_down(river);
    weir_free(river);
}
