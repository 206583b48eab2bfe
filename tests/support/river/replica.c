#include "common/base/mem.h"
#include "tests/support/river/parts.h"

#include <stdlib.h>

static uint64_t bit(uint32_t node)
{
    return 1ull << node;
}

static bool is_member(const struct river *river, uint32_t node, uint32_t shard)
{
    return weir_map_owns(river->map, node, shard);
}

bool river_replica_is_good(const struct river *river, uint32_t node, uint32_t shard)
{
    const struct river_node *of = &river->nodes[node];
    return is_member(river, node, shard) && of->held[shard].role == AGG_ROLE_MEMBER && !of->broken[shard];
}

/* ---- what it has ---- */

static void wipe(struct river *river, struct river_node *node, uint32_t shard)
{
    uint32_t kept = 0;
    for (uint32_t batch = 1; batch <= river->batches_made; batch++) {
        if (river->batches[batch].shard != shard) continue;
        node->stored[batch] = 0;
        node->by_source[river->batches[batch].source] = (struct weir_cum){0};
    }
    for (uint32_t i = 0; i < node->mark_count; i++) {
        if (node->marks[i].lane.shard != shard) node->marks[kept++] = node->marks[i];
    }
    node->mark_count = kept;
    node->broken[shard] = false;
}

static void wipe_journal(struct river_node *node, uint32_t shard)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < node->journal_count; i++) {
        if (node->journal[i].lane.shard != shard) node->journal[kept++] = node->journal[i];
    }
    node->journal_count = kept;
    kept = 0;
    for (uint32_t i = 0; i < node->journal_mark_count; i++) {
        if (node->journal_marks[i].lane.shard != shard) node->journal_marks[kept++] = node->journal_marks[i];
    }
    node->journal_mark_count = kept;
    kept = 0;
    for (uint32_t i = 0; i < node->asked_mark_count; i++) {
        if (node->asked_marks[i].lane.shard != shard) node->asked_marks[kept++] = node->asked_marks[i];
    }
    node->asked_mark_count = kept;
}

/** The marks of the shard, and all that is stored of it. */
static struct river_cargo *cargo_of(const struct river *river, const struct river_node *node, uint32_t shard)
{
    struct river_cargo *cargo = weir_calloc(1, sizeof *cargo);
    if (cargo == NULL) abort();
    for (uint32_t i = 0; i < node->mark_count; i++) {
        if (node->marks[i].lane.shard == shard) cargo->marks[cargo->mark_count++] = node->marks[i];
    }
    for (uint32_t batch = 1; batch <= river->batches_made; batch++) {
        if (river->batches[batch].shard == shard) cargo->stored[batch] = node->stored[batch];
    }
    return cargo;
}

static const struct river_mark *find(const struct river_mark *marks, uint32_t count, const struct agg_lane *lane)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct agg_lane *of = &marks[i].lane;
        if (of->inc == lane->inc && of->shard == lane->shard && memcmp(of->agent, lane->agent, 16) == 0)
            return &marks[i];
    }
    return NULL;
}

/** Is none of @marks behind those of @than in the shard? */
static bool covers(const struct river_mark *marks, uint32_t count, const struct river_mark *than, uint32_t than_count,
                   uint32_t shard)
{
    for (uint32_t i = 0; i < than_count; i++) {
        if (than[i].lane.shard != shard) continue;
        const struct river_mark *mark = find(marks, count, &than[i].lane);
        if (mark == NULL || mark->mark.seq < than[i].mark.seq) return false;
    }
    return true;
}

/** Put a write of the journal after what is there, if it is what comes next; of a loss, what is not there yet. */
static void replay(struct river *river, struct river_node *node, struct river_write write)
{
    const struct river_mark *mark = river_node_mark(node, &write.lane);
    const struct agg_mark none = {0};
    const struct agg_mark *at = mark == NULL ? &none : &mark->mark;
    write.journal = false;
    if (write.mark.seq <= at->seq || write.first_seq > at->seq + 1) return;
    if (write.batch == 0) {
        write.first_seq = at->seq + 1;
        write.lost = (struct weir_cum){.flows = write.mark.cum.flows - at->cum.flows,
                                       .packets = write.mark.cum.packets - at->cum.packets,
                                       .bytes = write.mark.cum.bytes - at->cum.bytes};
    }
    if (write.first_seq == at->seq + 1) river_node_apply(river, node, &write, true);
}

static void install(struct river *river, struct river_node *node, uint32_t shard, const struct river_cargo *cargo)
{
    wipe(river, node, shard);
    for (uint32_t batch = 1; batch <= river->batches_made; batch++) {
        if (river->batches[batch].shard != shard || cargo->stored[batch] == 0) continue;
        node->stored[batch] = cargo->stored[batch];
        river_sum(&node->by_source[river->batches[batch].source], &river->batches[batch].sums);
    }
    for (uint32_t i = 0; i < cargo->mark_count; i++)
        node->marks[node->mark_count++] = cargo->marks[i];
    for (uint32_t i = 0; i < node->journal_count; i++) {
        if (node->journal[i].lane.shard == shard) replay(river, node, node->journal[i]);
    }
    wipe_journal(node, shard);
    river->report->joins++;
}

/** The journal begins after these marks. */
static void begin_journal(struct river_node *node, uint32_t shard, const struct river_cargo *cargo)
{
    wipe_journal(node, shard);
    for (uint32_t i = 0; i < cargo->mark_count; i++) {
        node->journal_marks[node->journal_mark_count++] = cargo->marks[i];
        node->asked_marks[node->asked_mark_count++] = cargo->marks[i];
    }
}

/* ---- its core ---- */

static void step(struct river *river, uint32_t index, const struct agg_replica_event *event,
                 const struct river_cargo *cargo);

/** What was taken under the old epoch is committed and acknowledged, then the new one holds. */
static void hold(struct river *river, uint32_t index, const struct agg_replica_action *action,
                 const struct river_cargo *cargo)
{
    struct river_node *node = &river->nodes[index];
    uint32_t shard = action->shard;
    river_node_commit(river, index);
    if (node->core == NULL) return;
    bool same_role = node->held[shard].role == action->held.role;
    if (!same_role) node->tail_count = 0; /* older than what a bad disk loses */
    if (action->wipe) {
        wipe(river, node, shard);
        wipe_journal(node, shard);
    }
    if (action->kind == AGG_REPLICA_JOURNAL) begin_journal(node, shard, cargo);
    if (action->kind == AGG_REPLICA_INSTALL) install(river, node, shard, cargo);
    node->held[shard] = action->held;
    struct agg_event event = {.kind = AGG_EVENT_HELD, .shard = shard, .held = action->held};
    agg_intake_step(node->core, &event, &river->agg_actions);
}

static void send(struct river *river, uint32_t index, const struct agg_replica_action *action)
{
    static struct river_parcel parcel;
    parcel = (struct river_parcel){.to = RIVER_TO_NODE, .index = action->node, .from = index, .from_node = true};
    parcel.said = action->msg;
    bool gives = action->msg.kind == AGG_REPLICA_MARKS || action->msg.kind == AGG_REPLICA_PAST;
    if (gives) parcel.cargo = cargo_of(river, &river->nodes[index], action->shard);
    river_post(river, &parcel);
    weir_free(parcel.cargo);
}

/** The map store; its answer may get lost, and the asker may die before it writes down what it hears. */
static void swap(struct river *river, uint32_t index, const struct agg_replica_action *action)
{
    struct weir_shard *entry = &river->map->shards[action->shard];
    bool done = entry->epoch + 1 == action->entry.epoch;
    if (done) {
        *entry = action->entry;
        river->report->swaps++;
        river_trace(river, 0x500, action->shard, entry->epoch);
    }
    if (river_mishap(river, river->weather.crash * 10)) {
        river_node_crash(river, index);
        river->report->crashes++;
        return;
    }
    if (river_mishap(river, 50)) return;
    const struct weir_shard answer = *entry;
    step(river, index,
         &(struct agg_replica_event){
             .kind = AGG_REPLICA_SWAPPED, .shard = action->shard, .done = done, .entry = &answer},
         NULL);
}

/** When it knows that it lacks nothing, it must lack nothing. */
static void settle_broken(struct river *river, uint32_t index, uint32_t shard)
{
    struct river_node *node = &river->nodes[index];
    if (node->broken[shard] && agg_replica_is_verified(node->replica, shard)) node->broken[shard] = false;
}

static void step(struct river *river, uint32_t index, const struct agg_replica_event *event,
                 const struct river_cargo *cargo)
{
    struct river_node *node = &river->nodes[index];
    agg_replica_step(node->replica, event, river->now_ms, &river->replica_actions);
    const struct agg_replica_actions actions = river->replica_actions; /* what they cause makes others */
    for (uint32_t i = 0; i < actions.count && node->core != NULL; i++) {
        const struct agg_replica_action *action = &actions.action[i];
        river_trace(river, 0x600u + action->kind, action->shard, action->held.epoch << 4 | action->held.role);
        switch (action->kind) {
        case AGG_REPLICA_READ: river_replica_read(river, index, action->shard); break;
        case AGG_REPLICA_SWAP: swap(river, index, action); break;
        case AGG_REPLICA_SEND: send(river, index, action); break;
        case AGG_REPLICA_HOLD:
        case AGG_REPLICA_JOURNAL:
        case AGG_REPLICA_INSTALL: hold(river, index, action, cargo); break;
        }
    }
    if (node->core != NULL)
        settle_broken(river, index, event->kind == AGG_REPLICA_MESSAGE ? event->msg.shard : event->shard);
}

void river_replica_read(struct river *river, uint32_t index, uint32_t shard)
{
    if (river->nodes[index].core == NULL || river_mishap(river, 100)) return; /* it cannot be reached */
    const struct weir_shard entry = river->map->shards[shard];
    step(river, index, &(struct agg_replica_event){.kind = AGG_REPLICA_SHARD, .shard = shard, .entry = &entry}, NULL);
}

void river_replica_receive(struct river *river, const struct river_parcel *parcel)
{
    struct river_node *node = &river->nodes[parcel->index];
    if (node->core == NULL) return;
    uint32_t shard = parcel->said.shard;
    const struct river_cargo *cargo = parcel->cargo;
    struct agg_replica_event event = {.kind = AGG_REPLICA_MESSAGE, .node = parcel->from, .msg = parcel->said};
    if (parcel->said.kind == AGG_REPLICA_MARKS)
        event.covers = covers(node->marks, node->mark_count, cargo->marks, cargo->mark_count, shard);
    if (parcel->said.kind == AGG_REPLICA_PAST)
        event.covers = covers(cargo->marks, cargo->mark_count, node->asked_marks, node->asked_mark_count, shard);
    step(river, parcel->index, &event, cargo);
}

void river_replica_regressed(struct river *river, uint32_t index)
{
    struct river_node *node = &river->nodes[index];
    for (uint32_t i = 0; i < river->shard_count && node->core != NULL; i++) {
        uint32_t shard = river->shards[i];
        if (!node->regressed[shard]) continue;
        node->regressed[shard] = false;
        step(river, index, &(struct agg_replica_event){.kind = AGG_REPLICA_REGRESSED, .shard = shard}, NULL);
    }
}

/** Whom does @index take for dead? In a storm somebody alive, now and then; of those that are, it learns after a while. */
static uint64_t suspects(struct river *river, uint32_t index)
{
    uint64_t nodes = 0;
    for (uint32_t i = 0; i < RIVER_NODES; i++) {
        bool silent = river->nodes[i].core == NULL || river->nodes[i].asleep_until_ms > river->now_ms;
        bool wrongly = river_mishap(river, river->weather.suspect);
        if (i != index && (wrongly || (silent && river_below(river, 20) == 0))) nodes |= bit(i);
    }
    return nodes;
}

void river_replica_tick(struct river *river, uint32_t index)
{
    struct river_node *node = &river->nodes[index];
    step(river, index, &(struct agg_replica_event){.kind = AGG_REPLICA_SUSPECT, .nodes = suspects(river, index)}, NULL);
    for (uint32_t i = 0; i < river->shard_count && node->core != NULL; i++) {
        uint32_t shard = river->shards[i];
        if (river_below(river, 20) == 0) river_replica_read(river, index, shard);
        if (node->core == NULL) return;
        step(river, index,
             &(struct agg_replica_event){.kind = AGG_REPLICA_WANTED, .shard = shard, .nodes = river->wanted[shard]},
             NULL);
        step(river, index, &(struct agg_replica_event){.kind = AGG_REPLICA_TICK, .shard = shard}, NULL);
    }
}

void river_replica_start(struct river *river, uint32_t index)
{
    struct river_node *node = &river->nodes[index];
    struct agg_replica_conf conf = {.self = index,
                                    .held = node->held,
                                    .unclean = river->now_ms > 0,
                                    .ask_ms = 100,
                                    .verify_ms = 3000,
                                    .join_ms = 2000};
    if (agg_replica_create(&conf, &node->replica) < 0) river_complain(river, "no memory");
}

/* ---- bad disks ---- */

/** May @index lose something of the shard? Another one must have all, and nobody be on its way out on our word. */
static bool is_dispensable(const struct river *river, uint32_t index, uint32_t shard)
{
    bool other = false;
    for (uint32_t i = 0; i < RIVER_NODES; i++) {
        if (i == index || !is_member(river, i, shard)) continue;
        const struct river_node *node = &river->nodes[i];
        if (node->core != NULL && agg_replica_is_leaving(node->replica, shard)) return false;
        other |= river_replica_is_good(river, i, shard);
    }
    return other;
}

/** Has an agent's disk come back older, and it does not know yet? With both, nobody can tell whose number is whose. */
static bool is_asked_about(const struct river *river, uint32_t shard)
{
    for (uint32_t i = 0; i < RIVER_AGENTS; i++) {
        for (uint32_t k = 0; k < river->agents[i].lane_count; k++) {
            const struct river_lane *lane = &river->agents[i].lanes[k];
            if (lane->shard == shard && lane->unsure) return true;
        }
    }
    return false;
}

bool river_replica_any_broken(const struct river *river)
{
    for (uint32_t i = 0; i < RIVER_NODES; i++) {
        for (uint32_t k = 0; k < river->shard_count; k++) {
            if (river->nodes[i].broken[river->shards[k]]) return true;
        }
    }
    return false;
}

/** The last writes are gone, though they were synced. */
static void lose_tail(struct river *river, uint32_t index)
{
    struct river_node *node = &river->nodes[index];
    uint32_t most = 1 + river_below(river, 4);
    for (uint32_t lost = 0; node->tail_count > 0 && lost < most; lost++) {
        const struct river_done *done = &node->tail[node->tail_count - 1];
        uint32_t shard = done->write.lane.shard;
        if (!river_replica_is_good(river, index, shard) && !node->broken[shard]) return;
        if (!is_dispensable(river, index, shard) || is_asked_about(river, shard)) return;
        struct river_mark *mark = river_node_mark(node, &done->write.lane);
        if (mark == NULL) return;
        *mark = done->before;
        if (done->write.batch != 0) {
            struct weir_cum *sum = &node->by_source[done->write.source];
            node->stored[done->write.batch]--;
            sum->flows -= done->write.sums.flows;
            sum->packets -= done->write.sums.packets;
            sum->bytes -= done->write.sums.bytes;
        }
        node->broken[shard] = true;
        node->tail_count--;
        river->report->tails++;
        river_trace(river, 0x401, index, shard);
    }
}

static void lose_all(struct river *river, uint32_t index)
{
    struct river_node *node = &river->nodes[index];
    for (uint32_t i = 0; i < river->shard_count; i++) {
        uint32_t shard = river->shards[i];
        if (is_member(river, index, shard) && !is_dispensable(river, index, shard)) return;
    }
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        node->held[shard] = (struct agg_held){0};
    for (uint32_t i = 0; i < river->shard_count; i++) {
        wipe(river, node, river->shards[i]);
        wipe_journal(node, river->shards[i]);
    }
    river->report->wipes++;
    river_trace(river, 0x402, index, 0);
}

void river_replica_spoil(struct river *river, uint32_t index)
{
    if (river_mishap(river, river->weather.tail)) lose_tail(river, index);
    river->nodes[index].tail_count = 0;
    if (river_mishap(river, river->weather.wipe)) lose_all(river, index);
}

bool river_replica_is_settled(const struct river *river)
{
    for (uint32_t i = 0; i < river->shard_count; i++) {
        uint32_t shard = river->shards[i];
        const struct weir_shard *entry = &river->map->shards[shard];
        if (entry->joining_count > 0) return false;
        for (uint32_t node = 0; node < RIVER_NODES; node++) {
            bool wanted = (river->wanted[shard] & bit(node)) != 0;
            if (wanted != is_member(river, node, shard)) return false;
            if (river->nodes[node].held[shard].epoch != entry->epoch) return false;
            if (wanted && !agg_replica_is_verified(river->nodes[node].replica, shard)) return false;
        }
    }
    return true;
}
