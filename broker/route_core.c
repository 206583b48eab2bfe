#include "broker/route_core.h"

#include "broker/route_table.h"
#include "common/base/mem.h"
#include "common/base/mutant.h"

#include <assert.h>
#include <stdio.h>

enum { NODE_RETRY_MOST_MS = 16000, CREDIT_EVERY_MS = 1000 };

struct node {
    struct route_node_state state;
    int64_t heard_mono_ms;
    int64_t pinged_mono_ms;
    int64_t connected_mono_ms; /* when its socket was made */
    int64_t waiting_mono_ms;   /* since when it owes an answer; an answer begins it anew */
    int64_t stuck_until_mono_ms;
    uint32_t stuck_retry_ms;
};

struct route_core {
    struct route_conf conf;
    struct route_table table;
    const struct weir_map *map; /* NULL at first */
    const struct weir_allow *allow;
    struct node nodes[WEIR_NODES_MOST];
    uint32_t slots; /* of credit, all agents' */
    int64_t shared_mono_ms;
    struct route_state state;

    int64_t now_mono_ms; /* of the step that runs */
    struct route_actions *out;
    struct route_action unseen; /* written to where there was no memory for an action */
};

static const char *const refusal_names[ROUTE_REFUSALS_COUNT] = {
#define ROUTE_REFUSAL_NAME(name, help) #name,
    ROUTE_REFUSALS(ROUTE_REFUSAL_NAME)
#undef ROUTE_REFUSAL_NAME
};

static const char *const end_names[ROUTE_ENDS_COUNT] = {
#define ROUTE_END_NAME(name, help) #name,
    ROUTE_ENDS(ROUTE_END_NAME)
#undef ROUTE_END_NAME
};

static const char *const note_names[ROUTE_NOTES] = {
    [ROUTE_NOTE_NONE] = "none",
    [ROUTE_NOTE_AGENT_CAME] = "agent.came",
    [ROUTE_NOTE_AGENT_WENT] = "agent.went",
    [ROUTE_NOTE_SECOND_REFUSED] = "agent.second_refused",
    [ROUTE_NOTE_TAKEN_OVER] = "agent.taken_over",
    [ROUTE_NOTE_KEY_REFUSED] = "agent.key_refused",
    [ROUTE_NOTE_OVER_LIMIT] = "agent.over_limit",
    [ROUTE_NOTE_NODE_UP] = "aggregator.up",
    [ROUTE_NOTE_NODE_DOWN] = "aggregator.down",
    [ROUTE_NOTE_NODE_STUCK] = "aggregator.stuck",
    [ROUTE_NOTE_DISAGREE] = "aggregator.disagree",
};

/** What the agent is told of a refusal. */
static const struct {
    enum weir_code code;
    uint32_t retry_ms;
    const char *text;
} refusals[ROUTE_REFUSALS_COUNT] = {
    [ROUTE_REFUSED_no_session] = {WEIR_CODE_RESET, 0, "say HELLO first"},
    [ROUTE_REFUSED_key] = {WEIR_CODE_REJECT, 0, "the key is not in the allow-list as an agent's"},
    [ROUTE_REFUSED_agent] = {WEIR_CODE_REJECT, 0, "the message claims another agent than the one of the key"},
    [ROUTE_REFUSED_too_big] = {WEIR_CODE_TOOBIG, 0, "the batch is larger than the broker forwards"},
    [ROUTE_REFUSED_header] = {WEIR_CODE_POISON, 0, "the header of the batch cannot be decoded"},
    [ROUTE_REFUSED_schema] = {WEIR_CODE_SCHEMA, 0, "the header of the batch is of a newer version"},
    [ROUTE_REFUSED_shard] = {WEIR_CODE_REJECT, 0, "the source does not belong to this shard: is the tenant right?"},
    [ROUTE_REFUSED_over_credit] = {WEIR_CODE_BUSY, ROUTE_BUSY_RETRY_MS, "more batches in flight than credit"},
    [ROUTE_REFUSED_full] = {WEIR_CODE_BUSY, ROUTE_BUSY_RETRY_MS, "the broker's budget is used up"},
    [ROUTE_REFUSED_few_copies] = {WEIR_CODE_BUSY, ROUTE_NODE_RETRY_MS, "the shard has too few members"},
    [ROUTE_REFUSED_owner_down] = {WEIR_CODE_BUSY, ROUTE_NODE_RETRY_MS, "an owner of the shard does not answer"},
};

const char *route_refusal_name(enum route_refusal refusal)
{
    return refusal_names[refusal];
}

const char *route_end_name(enum route_end end)
{
    return end_names[end];
}

const char *route_note_name(enum route_note note)
{
    return note_names[note];
}

int route_core_create(const struct route_conf *conf, struct route_core **ret)
{
    assert(conf->sessions_most > 0 && conf->batch_bytes > 0 && conf->max_bytes > 0);
    struct route_core *core = weir_calloc(1, sizeof *core);
    if (core == NULL) return WEIR_ENOMEM;
    core->conf = *conf;
    size_t slots = conf->budget_bytes / conf->batch_bytes;
    core->slots = slots < 1 ? 1 : slots > UINT16_MAX ? UINT16_MAX : (uint32_t)slots;
    /* Small batches may be more than the slots, which reckon with large ones; so each agent can always have one. */
    if (route_table_init(&core->table, conf->sessions_most, core->slots + conf->sessions_most) < 0) {
        route_core_destroy(core);
        return WEIR_ENOMEM;
    }
    *ret = core;
    return 0;
}

void route_core_destroy(struct route_core *core)
{
    if (core == NULL) return;
    route_table_fini(&core->table);
    weir_free(core);
}

void route_actions_fini(struct route_actions *actions)
{
    weir_free(actions->at);
    *actions = (struct route_actions){0};
}

/* ---------------------------------------------------------------------------------------------------- actions */

/** A new action. Without memory for it, one that nobody will see: its loss is as a message's, and is repaired alike. */
static struct route_action *act(struct route_core *core, enum route_action_kind kind)
{
    struct route_actions *out = core->out;
    if (out->count == out->capacity) {
        size_t capacity = out->capacity == 0 ? 64 : out->capacity * 2;
        struct route_action *at = weir_realloc(out->at, capacity * sizeof *at);
        if (at == NULL) {
            out->lost++;
            return &core->unseen;
        }
        out->at = at;
        out->capacity = capacity;
    }
    struct route_action *action = &out->at[out->count++];
    *action = (struct route_action){.kind = kind, .text = ""};
    return action;
}

static struct route_action *tell_agent(struct route_core *core, uint32_t peer, enum weir_msg_kind msg)
{
    struct route_action *action = act(core, ROUTE_SEND_AGENT);
    action->peer = peer;
    action->msg = msg;
    return action;
}

static void tell_node(struct route_core *core, uint32_t node, enum weir_msg_kind msg)
{
    struct route_action *action = act(core, ROUTE_SEND_NODE);
    action->node = node;
    action->msg = msg;
}

static void note(struct route_core *core, enum route_note what, const char *name)
{
    struct route_action *action = act(core, ROUTE_NOTE);
    action->note = what;
    snprintf(action->name, sizeof action->name, "%s", name);
}

static void note_node(struct route_core *core, enum route_note what, uint32_t node)
{
    note(core, what, core->map->aggregators[node].name);
}

/** Refuse something that is not a batch in flight. */
static struct route_action *nack(struct route_core *core, uint32_t peer, enum weir_code code, uint32_t shard,
                                 uint64_t seq, const char *text)
{
    struct route_action *action = tell_agent(core, peer, WEIR_MSG_NACK);
    action->code = code;
    action->shard = shard;
    action->seq = seq;
    action->text = text;
    return action;
}

/* --------------------------------------------------------------------------------------------- batches in flight */

static bool owes(const struct route_entry *entry, uint32_t i)
{
    return ((entry->got | entry->poison) >> i & 1) == 0;
}

/** The node owes one answer more. */
static void await(struct route_core *core, uint32_t node)
{
    if (core->nodes[node].state.in_flight++ == 0) core->nodes[node].waiting_mono_ms = core->now_mono_ms;
}

static void settle(struct route_core *core, uint32_t node)
{
    assert(core->nodes[node].state.in_flight > 0);
    core->nodes[node].state.in_flight--;
}

/** A batch leaves the table. */
static void end_entry(struct route_core *core, struct route_entry *entry, enum route_end end)
{
    for (uint32_t i = 0; i < entry->owner_count; i++) {
        if (owes(entry, i)) settle(core, entry->owners[i]);
    }
    core->state.in_flight_bytes -= entry->bytes;
    core->state.ended[end]++;
    route_table_remove_entry(&core->table, entry);
}

/** End the batches of a lane from @from on. */
static void end_lane(struct route_core *core, struct route_session *session, uint32_t shard, uint64_t from,
                     enum route_end end)
{
    uint32_t *link = &session->lane[shard];
    while (*link != 0) {
        struct route_entry *entry = route_table_entry(&core->table, *link);
        if (entry->seq < from)
            link = &entry->next;
        else
            end_entry(core, entry, end);
    }
}

static void end_all(struct route_core *core, struct route_session *session)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS && session->in_flight > 0; shard++)
        end_lane(core, session, shard, 0, ROUTE_END_forgotten);
}

/** Refuse @entry, and the batches of its lane behind it, which no owner that refused it will take before it. */
static void nack_from(struct route_core *core, struct route_entry *entry, enum weir_code code, uint64_t expected,
                      uint32_t retry_ms, const char *text)
{
    struct route_session *session = core->table.sessions[entry->session];
    struct route_action *action = tell_agent(core, session->peer, WEIR_MSG_NACK);
    action->code = code;
    action->shard = entry->shard;
    action->seq = entry->seq;
    action->expected = expected;
    action->retry_ms = retry_ms;
    action->text = text;
    end_lane(core, session, entry->shard, entry->seq, ROUTE_END_nacked);
}

static int owner_index(const struct route_entry *entry, uint32_t node)
{
    for (int i = 0; i < entry->owner_count; i++) {
        if (entry->owners[i] == node) return i;
    }
    return WEIR_ENOTFOUND;
}

static uint8_t all_of(const struct route_entry *entry)
{
    return (uint8_t)((1u << entry->owner_count) - 1);
}

/** Give back to the agents what waits for a node that does not answer. */
static void release_node(struct route_core *core, uint32_t node, uint32_t retry_ms)
{
    for (uint32_t i = 0; i < core->table.entry_capacity && core->nodes[node].state.in_flight > 0; i++) {
        struct route_entry *entry = &core->table.entries[i];
        if (!entry->used) continue;
        int owner = owner_index(entry, node);
        if (owner < 0 || !owes(entry, (uint32_t)owner)) continue;
        nack_from(core, entry, WEIR_CODE_BUSY, 0, retry_ms, refusals[ROUTE_REFUSED_owner_down].text);
    }
}

/* ------------------------------------------------------------------------------------------------------- sessions */

static uint32_t share_of_credit(const struct route_core *core)
{
    uint32_t sessions = core->table.session_count < 1 ? 1 : core->table.session_count;
    uint32_t share = core->slots / sessions;
    return share < 1 ? 1 : share > ROUTE_CREDIT_MOST ? ROUTE_CREDIT_MOST : share;
}

static void end_session(struct route_core *core, struct route_session *session)
{
    end_all(core, session);
    route_table_remove(&core->table, session);
}

static void welcome(struct route_core *core, struct route_session *session)
{
    session->credit = share_of_credit(core);
    session->heard_mono_ms = core->now_mono_ms;
    session->challenger.peer = 0;
    tell_agent(core, session->peer, WEIR_MSG_WELCOME)->credit = session->credit;
}

/** The session begins anew: what was in flight, the agent sends again. */
static void restart_session(struct route_core *core, struct route_session *session, uint64_t inc, uint64_t instance)
{
    end_all(core, session);
    session->inc = inc;
    session->instance = instance;
    welcome(core, session);
}

/** The entry of a key that may speak as an agent, or NULL. */
static const struct weir_allow_entry *agent_of_key(const struct route_core *core, const char *key, const char *name)
{
    const struct weir_allow_entry *who = core->allow == NULL ? NULL : weir_allow_find_key(core->allow, key);
    bool allowed = who != NULL && who->role == WEIR_ROLE_AGENT && strcmp(who->name, name) == 0;
    return allowed ? who : NULL;
}

static void set_key(struct route_session *session, const char *key, const struct weir_allow_entry *who)
{
    snprintf(session->key, sizeof session->key, "%s", key);
    session->who = who;
}

static void begin_session(struct route_core *core, const struct route_peer *peer, const struct weir_msg *hello,
                          const struct weir_allow_entry *who)
{
    struct route_session *session = route_table_add(&core->table, peer->id, who->agent);
    if (session == NULL) {
        core->state.hellos_refused++;
        nack(core, peer->id, WEIR_CODE_BUSY, 0, 0, "the broker serves as many agents as it may");
        note(core, ROUTE_NOTE_OVER_LIMIT, who->name);
        return;
    }
    memcpy(session->name, who->name, sizeof session->name);
    set_key(session, peer->key, who);
    restart_session(core, session, hello->inc, hello->instance);
    note(core, ROUTE_NOTE_AGENT_CAME, session->name);
}

/** A connection belongs to one key, so to one agent; whatever else was known by its number is over. */
static void free_peer(struct route_core *core, uint32_t peer, const struct route_session *except)
{
    struct route_session *session = route_table_find_peer(&core->table, peer);
    if (session != NULL && session != except) end_session(core, session);
}

/** The session is spoken to through another connection, with a key of the same agent. */
static void move_session(struct route_core *core, struct route_session *session, uint32_t peer, const char *key,
                         const struct weir_allow_entry *who)
{
    free_peer(core, peer, session);
    route_table_set_peer(&core->table, session, peer);
    set_key(session, key, who);
}

/** The session goes over to its challenger. */
static void take_over(struct route_core *core, struct route_session *session)
{
    const struct route_challenger challenger = session->challenger;
    const struct weir_allow_entry *who = agent_of_key(core, challenger.key, session->name);
    session->challenger.peer = 0;
    if (who == NULL) return;
    note(core, ROUTE_NOTE_TAKEN_OVER, session->name);
    move_session(core, session, challenger.peer, challenger.key, who);
    restart_session(core, session, challenger.inc, challenger.instance);
}

/** Another process claims the name of a session: ask the holder whether it lives. */
static void challenge(struct route_core *core, struct route_session *session, const struct route_peer *peer,
                      const struct weir_msg *hello)
{
    struct route_challenger *challenger = &session->challenger;
    if (challenger->peer != 0) return; /* one at a time; this one says HELLO again */
    *challenger = (struct route_challenger){.peer = peer->id,
                                            .inc = hello->inc,
                                            .instance = hello->instance,
                                            .until_mono_ms = core->now_mono_ms + ROUTE_CHALLENGE_MS};
    snprintf(challenger->key, sizeof challenger->key, "%s", peer->key);
    session->pinged_mono_ms = core->now_mono_ms;
    tell_agent(core, session->peer, WEIR_MSG_PING);
}

/** The holder of a name spoke: it lives, and a newcomer is turned away. */
static void heard_from(struct route_core *core, struct route_session *session)
{
    session->heard_mono_ms = core->now_mono_ms;
    if (session->challenger.peer == 0) return;
    core->state.seconds_refused++;
    nack(core, session->challenger.peer, WEIR_CODE_REJECT, 0, 0, "another agent of this name is connected");
    note(core, ROUTE_NOTE_SECOND_REFUSED, session->name);
    session->challenger.peer = 0;
}

static void on_hello(struct route_core *core, const struct route_peer *peer, const struct weir_msg *hello)
{
    core->state.hellos++;
    const struct weir_allow_entry *who = agent_of_key(core, peer->key, peer->name);
    bool is_own_id = who != NULL && memcmp(hello->agent, who->agent, sizeof who->agent) == 0;
    if (!is_own_id) {
        enum route_refusal why = who == NULL ? ROUTE_REFUSED_key : ROUTE_REFUSED_agent;
        core->state.hellos_refused++;
        nack(core, peer->id, WEIR_CODE_REJECT, 0, 0, refusals[why].text);
        note(core, ROUTE_NOTE_KEY_REFUSED, peer->name);
        return;
    }
    struct route_session *session = route_table_find_agent(&core->table, who->agent);
    free_peer(core, peer->id, session);
    if (session == NULL) {
        begin_session(core, peer, hello, who);
    } else if (session->peer == peer->id) {
        heard_from(core, session);
        restart_session(core, session, hello->inc, hello->instance);
    } else if (session->instance == hello->instance) { /* the same process over a new connection */
        move_session(core, session, peer->id, peer->key, who);
        restart_session(core, session, hello->inc, hello->instance);
    } else {
        challenge(core, session, peer, hello);
    }
}

/** The connection is gone. */
static void on_gone(struct route_core *core, uint32_t peer)
{
    struct route_session *session = route_table_find_peer(&core->table, peer);
    if (session == NULL) return;
    if (session->challenger.peer != 0) take_over(core, session);
    if (session->peer != peer) return;
    note(core, ROUTE_NOTE_AGENT_WENT, session->name);
    end_session(core, session);
}

/* ----------------------------------------------------------------------------------------------------------- DATA */

static bool node_is_usable(const struct route_core *core, uint32_t node)
{
    return core->nodes[node].state.up && !core->nodes[node].state.stuck;
}

/** Who must commit a batch of the shard: its members, and who is joining them. */
static uint8_t list_owners(const struct weir_shard *shard, uint8_t owners[ROUTE_OWNERS_MOST])
{
    uint8_t count = 0;
    for (uint32_t i = 0; i < shard->member_count; i++)
        owners[count++] = shard->members[i];
    for (uint32_t i = 0; i < shard->joining_count && !MUTANT(joining_not_awaited); i++)
        owners[count++] = shard->joining[i];
    return count;
}

static enum route_refusal judge_owners(const struct route_core *core, uint32_t shard)
{
    if (core->map == NULL) return ROUTE_REFUSED_owner_down;
    const struct weir_shard *owned = &core->map->shards[shard];
    if (owned->member_count == 0 || owned->member_count < core->conf.copies_least) return ROUTE_REFUSED_few_copies;
    uint8_t owners[ROUTE_OWNERS_MOST];
    uint8_t count = list_owners(owned, owners);
    for (uint32_t i = 0; i < count; i++) {
        if (!node_is_usable(core, owners[i])) return ROUTE_REFUSED_owner_down;
    }
    return ROUTE_REFUSALS_COUNT;
}

/** What is wrong with a batch whatever else is in flight, or ROUTE_REFUSALS_COUNT. */
static enum route_refusal judge(const struct route_core *core, const struct route_event *event,
                                const struct route_session *session)
{
    const struct weir_msg *msg = event->msg;
    if (session == NULL) {
        bool allowed = agent_of_key(core, event->peer.key, event->peer.name) != NULL;
        return allowed ? ROUTE_REFUSED_no_session : ROUTE_REFUSED_key;
    }
    if (memcmp(msg->agent, session->agent, sizeof session->agent) != 0) return ROUTE_REFUSED_agent;
    if (msg->inc != session->inc) return ROUTE_REFUSED_no_session;
    if (event->bytes > core->conf.max_bytes) return ROUTE_REFUSED_too_big;
    if (event->header == NULL) return event->newer_schema ? ROUTE_REFUSED_schema : ROUTE_REFUSED_header;
    if (msg->shard >= WEIR_SHARDS || msg->seq == 0) return ROUTE_REFUSED_shard;
    /* A loss stands for batches of any source of its lane. */
    if (event->header->kind == WEIR_RECORD_DATA &&
        weir_shard_of(session->who->tenant, &event->header->source) != msg->shard)
        return ROUTE_REFUSED_shard;
    return judge_owners(core, msg->shard);
}

/** Is there no room for one more batch? */
static enum route_refusal judge_room(const struct route_core *core, const struct route_event *event,
                                     const struct route_session *session)
{
    if (session->in_flight >= session->credit) return ROUTE_REFUSED_over_credit;
    if (core->table.free_entry == 0) return ROUTE_REFUSED_full;
    if (MUTANT(budget_ignored)) return ROUTE_REFUSALS_COUNT;
    if (core->state.in_flight > 0 && core->state.in_flight_bytes + event->bytes > core->conf.budget_bytes)
        return ROUTE_REFUSED_full;
    return ROUTE_REFUSALS_COUNT;
}

static void refuse(struct route_core *core, const struct route_event *event, enum route_refusal why)
{
    core->state.refused[why]++;
    struct route_action *action =
        nack(core, event->peer.id, refusals[why].code, event->msg->shard, event->msg->seq, refusals[why].text);
    action->retry_ms = refusals[why].retry_ms;
}

/** Give the batch to the owners that did not commit it. */
static void forward(struct route_core *core, const struct route_session *session, const struct route_entry *entry)
{
    struct route_action *action = act(core, ROUTE_FORWARD);
    action->shard = entry->shard;
    action->seq = entry->seq;
    action->who = session->who;
    for (uint32_t i = 0; i < entry->owner_count; i++) {
        if (!owes(entry, i)) continue;
        action->owners[action->owner_count++] = entry->owners[i];
        core->nodes[entry->owners[i]].state.forwarded++;
    }
}

/** The last number that a batch stands for. */
static uint64_t last_of(const struct route_event *event)
{
    uint64_t seq = event->msg->seq;
    bool is_loss = event->header->kind == WEIR_RECORD_LOSS && event->header->lost_to_seq > seq;
    return is_loss ? event->header->lost_to_seq : seq;
}

/** The agent sends again what is in flight still. */
static void repeat(struct route_core *core, const struct route_event *event, const struct route_session *session,
                   struct route_entry *entry)
{
    core->state.repeated++;
    core->state.in_flight_bytes = core->state.in_flight_bytes - entry->bytes + event->bytes;
    entry->bytes = (uint32_t)event->bytes;
    entry->last = last_of(event);
    entry->since_mono_ms = core->now_mono_ms;
    for (uint32_t i = 0; i < entry->owner_count; i++) {
        if ((entry->poison >> i & 1) != 0) await(core, entry->owners[i]);
    }
    entry->poison = 0; /* it may hold something else now: a LOSS in place of what could not be read */
    forward(core, session, entry);
}

static void on_data(struct route_core *core, const struct route_event *event)
{
    const struct weir_msg *msg = event->msg;
    core->state.received++;
    core->state.received_bytes += event->bytes;
    struct route_session *session = route_table_find_peer(&core->table, event->peer.id);
    if (session != NULL) heard_from(core, session);
    enum route_refusal why = judge(core, event, session);
    if (why != ROUTE_REFUSALS_COUNT) {
        refuse(core, event, why);
        return;
    }
    session->spool_bytes = msg->spool_bytes;
    session->spool_oldest_ms = msg->spool_oldest_ms;
    struct route_entry *entry = route_table_find_entry(&core->table, session, msg->shard, msg->seq);
    if (entry != NULL) {
        repeat(core, event, session, entry);
        return;
    }
    why = judge_room(core, event, session);
    if (why != ROUTE_REFUSALS_COUNT) {
        refuse(core, event, why);
        return;
    }
    entry = route_table_add_entry(&core->table, session, msg->shard, msg->seq);
    entry->since_mono_ms = core->now_mono_ms;
    entry->bytes = (uint32_t)event->bytes;
    entry->last = last_of(event);
    entry->owner_count = list_owners(&core->map->shards[msg->shard], entry->owners);
    for (uint32_t i = 0; i < entry->owner_count; i++)
        await(core, entry->owners[i]);
    core->state.in_flight_bytes += event->bytes;
    core->state.accepted++;
    session->batches++;
    forward(core, session, entry);
}

/* -------------------------------------------------------------------------------------------- what aggregators say */

/**
 * The session that an answer is about, or NULL when nothing here waits for it. Epochs never add up: what is in flight of a
 * shard was sent under its present one.
 */
static struct route_session *session_of_answer(struct route_core *core, const struct weir_msg *msg)
{
    struct route_session *session = route_table_find_agent(&core->table, msg->agent);
    bool sound = session != NULL && session->inc == msg->inc && msg->shard < WEIR_SHARDS;
    if (msg->kind == WEIR_MSG_SACK && !MUTANT(epochs_add_up))
        sound = sound && core->map != NULL && msg->epoch == core->map->shards[msg->shard].epoch;
    if (!sound) core->state.unexpected++;
    return sound ? session : NULL;
}

/**
 * How far @node has committed the lane. Where it says what it expects, that is so far and no further: a loss that
 * stands for 5 to 7 is not stored because an older batch 5 is.
 */
static uint64_t committed_by(const struct weir_msg *sack)
{
    return sack->expected > 0 ? sack->expected - 1 : sack->seq;
}

/**
 * @node committed a batch, and therefore every batch of the lane before it. When all owners did, so is the agent told,
 * and as their commits are in order, once for the last one.
 */
static void on_sack(struct route_core *core, uint32_t node, const struct weir_msg *msg)
{
    struct route_session *session = session_of_answer(core, msg);
    if (session == NULL) return;
    uint64_t done = 0, expected = 0;
    for (uint32_t link = session->lane[msg->shard]; link != 0;) {
        struct route_entry *entry = route_table_entry(&core->table, link);
        if ((MUTANT(loss_acked_by_its_first) ? entry->seq : entry->last) > committed_by(msg)) break;
        int owner = owner_index(entry, node);
        if (owner >= 0 && (entry->got >> owner & 1) == 0) {
            if (owes(entry, (uint32_t)owner)) settle(core, node);
            entry->got |= (uint8_t)(1u << owner);
            entry->poison &= (uint8_t)~entry->got;
            core->nodes[node].state.acknowledged++;
        }
        if (msg->expected > entry->expected) entry->expected = msg->expected;
        if (entry->got == all_of(entry) || (MUTANT(first_owner_suffices) && entry->got != 0)) {
            done = entry->seq;
            expected = entry->expected;
        }
        link = entry->next;
    }
    if (done == 0) return;
    while (session->lane[msg->shard] != 0) {
        struct route_entry *entry = route_table_entry(&core->table, session->lane[msg->shard]);
        if (entry->seq > done) break;
        end_entry(core, entry, ROUTE_END_acked);
    }
    struct route_action *action = tell_agent(core, session->peer, WEIR_MSG_ACK);
    action->shard = msg->shard;
    action->seq = done;
    action->expected = expected; /* more than the agent ever sent tells it that its spool was set back */
}

/** One owner cannot decode the batch. The agent may give it up only when none can. */
static void on_poison(struct route_core *core, struct route_entry *entry, uint32_t owner)
{
    if (owes(entry, owner)) settle(core, entry->owners[owner]);
    entry->poison |= (uint8_t)(1u << owner);
    if ((entry->got | entry->poison) != all_of(entry)) return;
    if (entry->got == 0) {
        nack_from(core, entry, WEIR_CODE_POISON, 0, 0, "no owner of the shard can decode the batch");
        return;
    }
    note(core, ROUTE_NOTE_DISAGREE, core->table.sessions[entry->session]->name);
    nack_from(core, entry, WEIR_CODE_SCHEMA, 0, 0, "one owner of the shard stored the batch, another cannot decode it");
}

/** Is the batch that @node waits for the one that it could not decode? Then its gap is no news. */
static bool gap_is_of_poison(const struct route_core *core, const struct route_session *session, uint32_t node,
                             const struct weir_msg *msg)
{
    if (msg->code != WEIR_CODE_GAP) return false;
    const struct route_entry *entry = route_table_find_entry(&core->table, session, msg->shard, msg->expected);
    if (entry == NULL) return false;
    int owner = owner_index(entry, node);
    return owner >= 0 && (entry->poison >> owner & 1) != 0;
}

static void on_snack(struct route_core *core, uint32_t node, const struct weir_msg *msg)
{
    core->nodes[node].state.refused++;
    bool map_differs = msg->code == WEIR_CODE_EPOCH || msg->code == WEIR_CODE_NOTOWNER;
    if (map_differs) act(core, ROUTE_REREAD_MAP);
    struct route_session *session = session_of_answer(core, msg);
    if (session == NULL) return;
    struct route_entry *entry = route_table_find_entry(&core->table, session, msg->shard, msg->seq);
    int owner = entry == NULL ? WEIR_ENOTFOUND : owner_index(entry, node);
    if (owner < 0 || (entry->got >> owner & 1) != 0) {
        core->state.unexpected++;
        return;
    }
    if (msg->code == WEIR_CODE_POISON) {
        on_poison(core, entry, (uint32_t)owner);
    } else if (gap_is_of_poison(core, session, node, msg)) {
        end_lane(core, session, msg->shard, msg->seq, ROUTE_END_nacked);
    } else if (map_differs) {
        nack_from(core, entry, WEIR_CODE_BUSY, 0, ROUTE_NODE_RETRY_MS,
                  "broker and aggregator differ about the shard map");
    } else {
        uint32_t retry_ms = msg->code == WEIR_CODE_BUSY && msg->retry_ms == 0 ? ROUTE_BUSY_RETRY_MS : msg->retry_ms;
        nack_from(core, entry, msg->code, msg->expected, retry_ms, "refused by an owner of the shard");
    }
}

static void node_answered(struct route_core *core, uint32_t node)
{
    struct node *n = &core->nodes[node];
    n->waiting_mono_ms = core->now_mono_ms;
    n->stuck_retry_ms = 0;
    n->state.stuck = false;
}

static void on_node(struct route_core *core, uint32_t node, const struct weir_msg *msg)
{
    if (core->map == NULL || node >= core->map->aggregator_count) return;
    struct node *n = &core->nodes[node];
    n->heard_mono_ms = core->now_mono_ms;
    if (!n->state.up) {
        n->state.up = true;
        note_node(core, ROUTE_NOTE_NODE_UP, node);
    }
    switch (msg->kind) {
    case WEIR_MSG_SACK:
        node_answered(core, node);
        on_sack(core, node, msg);
        break;
    case WEIR_MSG_SNACK:
        node_answered(core, node);
        on_snack(core, node, msg);
        break;
    case WEIR_MSG_PING: tell_node(core, node, WEIR_MSG_PONG); break;
    case WEIR_MSG_PONG: break;
    default: core->state.unexpected++; break;
    }
}

/* -------------------------------------------------------------------------------------------------- what agents say */

/** A peer without a session says something else than HELLO or DATA. */
static void on_stranger(struct route_core *core, const struct route_peer *peer)
{
    bool allowed = agent_of_key(core, peer->key, peer->name) != NULL;
    enum route_refusal why = allowed ? ROUTE_REFUSED_no_session : ROUTE_REFUSED_key;
    nack(core, peer->id, refusals[why].code, 0, 0, refusals[why].text);
}

static void on_agent(struct route_core *core, const struct route_event *event)
{
    if (event->msg->kind == WEIR_MSG_HELLO) {
        on_hello(core, &event->peer, event->msg);
        return;
    }
    if (event->msg->kind == WEIR_MSG_DATA) {
        on_data(core, event);
        return;
    }
    struct route_session *session = route_table_find_peer(&core->table, event->peer.id);
    if (session == NULL) {
        on_stranger(core, &event->peer);
        return;
    }
    heard_from(core, session);
    if (event->msg->kind == WEIR_MSG_PING)
        tell_agent(core, event->peer.id, WEIR_MSG_PONG);
    else if (event->msg->kind != WEIR_MSG_PONG)
        core->state.unexpected++;
}

/** The socket did not take a batch: back to the agent. */
static void on_unsent(struct route_core *core, const struct route_event *event)
{
    const struct route_session *session = route_table_find_agent(&core->table, event->agent);
    if (session == NULL) return;
    struct route_entry *entry = route_table_find_entry(&core->table, session, event->shard, event->seq);
    int owner = entry == NULL ? WEIR_ENOTFOUND : owner_index(entry, event->node);
    if (owner < 0 || !owes(entry, (uint32_t)owner)) return;
    nack_from(core, entry, WEIR_CODE_BUSY, 0, ROUTE_BUSY_RETRY_MS, "the queue to an owner of the shard is full");
}

/* ------------------------------------------------------------------------------------------------ map and allow-list */

static bool shard_is_same(const struct weir_shard *a, const struct weir_shard *b)
{
    return (a->epoch == b->epoch || MUTANT(epochs_add_up)) && a->member_count == b->member_count &&
           a->joining_count == b->joining_count && memcmp(a->members, b->members, a->member_count) == 0 &&
           memcmp(a->joining, b->joining, a->joining_count) == 0;
}

bool route_nodes_are_same(const struct weir_map *a, const struct weir_map *b)
{
    bool same = a != NULL && a->aggregator_count == b->aggregator_count;
    for (uint32_t i = 0; same && i < b->aggregator_count; i++) {
        const struct weir_node *left = &a->aggregators[i], *right = &b->aggregators[i];
        same = strcmp(left->name, right->name) == 0 && strcmp(left->endpoint, right->endpoint) == 0 &&
               strcmp(left->key, right->key) == 0;
    }
    return same;
}

/** Give back to the agents what is in flight of shards that are not owned as before. */
static void release_changed(struct route_core *core, const struct weir_map *map, bool same_nodes)
{
    for (uint32_t i = 0; i < core->table.entry_capacity; i++) {
        struct route_entry *entry = &core->table.entries[i];
        if (!entry->used) continue;
        if (same_nodes && shard_is_same(&core->map->shards[entry->shard], &map->shards[entry->shard])) continue;
        struct route_session *session = core->table.sessions[entry->session];
        struct route_action *action = tell_agent(core, session->peer, WEIR_MSG_NACK);
        action->code = WEIR_CODE_BUSY;
        action->shard = entry->shard;
        action->seq = route_table_entry(&core->table, session->lane[entry->shard])->seq;
        action->retry_ms = ROUTE_BUSY_RETRY_MS;
        action->text = "the shard map changed";
        end_lane(core, session, entry->shard, 0, ROUTE_END_forgotten);
    }
}

static void on_map(struct route_core *core, const struct weir_map *map)
{
    bool same_nodes = route_nodes_are_same(core->map, map);
    release_changed(core, map, same_nodes);
    if (!same_nodes) memset(core->nodes, 0, sizeof core->nodes);
    for (uint32_t i = 0; i < map->aggregator_count && !same_nodes; i++) {
        core->nodes[i].heard_mono_ms = core->now_mono_ms;
        core->nodes[i].connected_mono_ms = core->now_mono_ms;
        core->nodes[i].pinged_mono_ms = core->now_mono_ms - ROUTE_PING_MS; /* asked at the next tick */
    }
    core->map = map;
    core->state.epoch = map->epoch;
}

static bool is_same_agent(const struct weir_allow_entry *who, const char *tenant, const char *site)
{
    return who != NULL && strcmp(who->tenant, tenant) == 0 && strcmp(who->site, site) == 0;
}

/** Another allow-list: sessions whose key is not in it as before end at once. */
static void on_allow(struct route_core *core, const struct weir_allow *allow)
{
    core->allow = allow;
    for (uint32_t i = 0; i < core->table.session_capacity; i++) {
        struct route_session *session = core->table.sessions[i];
        if (session == NULL) continue;
        const struct weir_allow_entry *who = agent_of_key(core, session->key, session->name);
        if (is_same_agent(who, session->who->tenant, session->who->site)) {
            session->who = who;
            continue;
        }
        enum route_refusal why = who == NULL ? ROUTE_REFUSED_key : ROUTE_REFUSED_no_session;
        nack(core, session->peer, refusals[why].code, 0, 0, refusals[why].text);
        if (who == NULL) note(core, ROUTE_NOTE_KEY_REFUSED, session->name);
        end_session(core, session);
    }
}

/* ------------------------------------------------------------------------------------------------------------ time */

static void tick_session(struct route_core *core, struct route_session *session)
{
    int64_t now = core->now_mono_ms;
    if (session->challenger.peer != 0 && now >= session->challenger.until_mono_ms) {
        take_over(core, session);
        return;
    }
    int64_t silent_ms = now - session->heard_mono_ms;
    if (silent_ms >= ROUTE_AGENT_DEAD_MS) {
        note(core, ROUTE_NOTE_AGENT_WENT, session->name);
        end_session(core, session);
    } else if (silent_ms >= ROUTE_AGENT_QUIET_MS && now - session->pinged_mono_ms >= ROUTE_PING_MS) {
        session->pinged_mono_ms = now;
        tell_agent(core, session->peer, WEIR_MSG_PING);
    }
}

static void tick_credit(struct route_core *core)
{
    if (core->now_mono_ms - core->shared_mono_ms < CREDIT_EVERY_MS) return;
    core->shared_mono_ms = core->now_mono_ms;
    uint32_t share = share_of_credit(core);
    for (uint32_t i = 0; i < core->table.session_capacity; i++) {
        struct route_session *session = core->table.sessions[i];
        if (session == NULL || session->credit == share) continue;
        session->credit = share;
        tell_agent(core, session->peer, WEIR_MSG_CREDIT)->credit = share;
    }
}

static void tick_entries(struct route_core *core)
{
    if (core->table.entry_count == 0) return;
    for (uint32_t i = 0; i < core->table.entry_capacity; i++) {
        struct route_entry *entry = &core->table.entries[i];
        if (entry->used && core->now_mono_ms - entry->since_mono_ms >= ROUTE_EXPIRY_MS)
            end_entry(core, entry, ROUTE_END_expired);
    }
}

static void tick_silent_node(struct route_core *core, uint32_t node)
{
    struct node *n = &core->nodes[node];
    if (n->state.up) {
        n->state.up = false;
        note_node(core, ROUTE_NOTE_NODE_DOWN, node);
        release_node(core, node, ROUTE_NODE_RETRY_MS);
    } else if (core->now_mono_ms - n->connected_mono_ms < ROUTE_NODE_RECONNECT_MS) {
        return;
    }
    /* A socket that was refused once is dead for ever: only a new one finds out that it is welcome by now. */
    n->connected_mono_ms = core->now_mono_ms;
    n->state.reconnects++;
    act(core, ROUTE_RECONNECT)->node = node;
}

/** Alive, and yet it answers nothing: its shards are busy for a while, longer each time. */
static void tick_stuck_node(struct route_core *core, uint32_t node)
{
    struct node *n = &core->nodes[node];
    if (n->state.stuck && core->now_mono_ms >= n->stuck_until_mono_ms) n->state.stuck = false; /* try again */
    if (n->state.in_flight == 0 || core->now_mono_ms - n->waiting_mono_ms < ROUTE_NODE_STUCK_MS) return;
    n->state.stuck = true;
    n->stuck_retry_ms = n->stuck_retry_ms == 0 ? ROUTE_NODE_RETRY_MS : n->stuck_retry_ms * 2;
    if (n->stuck_retry_ms > NODE_RETRY_MOST_MS) n->stuck_retry_ms = NODE_RETRY_MOST_MS;
    n->stuck_until_mono_ms = core->now_mono_ms + n->stuck_retry_ms;
    note_node(core, ROUTE_NOTE_NODE_STUCK, node);
    release_node(core, node, n->stuck_retry_ms);
}

static void tick_node(struct route_core *core, uint32_t node)
{
    struct node *n = &core->nodes[node];
    if (core->now_mono_ms - n->heard_mono_ms >= ROUTE_NODE_DEAD_MS) tick_silent_node(core, node);
    tick_stuck_node(core, node);
    if (core->now_mono_ms - n->pinged_mono_ms < ROUTE_PING_MS) return;
    n->pinged_mono_ms = core->now_mono_ms;
    tell_node(core, node, WEIR_MSG_PING);
}

static void on_tick(struct route_core *core)
{
    for (uint32_t i = 0; i < core->table.session_capacity; i++) {
        if (core->table.sessions[i] != NULL) tick_session(core, core->table.sessions[i]);
    }
    for (uint32_t i = 0; core->map != NULL && i < core->map->aggregator_count; i++)
        tick_node(core, i);
    tick_entries(core);
    tick_credit(core);
}

void route_core_step(struct route_core *core, const struct route_event *event, int64_t now_mono_ms,
                     struct route_actions *out)
{
    out->count = 0;
    core->out = out;
    core->now_mono_ms = now_mono_ms;
    switch (event->kind) {
    case ROUTE_EVENT_TICK: on_tick(core); break;
    case ROUTE_EVENT_AGENT: on_agent(core, event); break;
    case ROUTE_EVENT_NODE: on_node(core, event->node, event->msg); break;
    case ROUTE_EVENT_GONE: on_gone(core, event->peer.id); break;
    case ROUTE_EVENT_UNSENT: on_unsent(core, event); break;
    case ROUTE_EVENT_MAP: on_map(core, event->map); break;
    case ROUTE_EVENT_ALLOW: on_allow(core, event->allow); break;
    }
    core->state.sessions = core->table.session_count;
    core->state.in_flight = core->table.entry_count;
    core->out = NULL;
}

/* --------------------------------------------------------------------------------------------------------- messages */

void route_core_msg(const struct route_core *core, const struct route_action *action, struct weir_msg *out)
{
    *out = (struct weir_msg){.kind = action->msg,
                             .code = action->code,
                             .shard = action->shard,
                             .seq = action->seq,
                             .expected = action->expected,
                             .retry_ms = action->retry_ms,
                             .credit = action->credit,
                             .epoch = core->state.epoch};
    snprintf(out->text, sizeof out->text, "%s", action->text);
    if (action->msg != WEIR_MSG_WELCOME) return;
    out->max_bytes = core->conf.max_bytes;
    out->schema = WEIR_SCHEMA;
}

void route_core_store(const struct route_core *core, const struct route_action *action, struct weir_msg *msg)
{
    msg->kind = WEIR_MSG_STORE;
    msg->epoch = core->map->shards[action->shard].epoch;
    memcpy(msg->tenant, action->who->tenant, sizeof msg->tenant);
    memcpy(msg->site, action->who->site, sizeof msg->site);
    memcpy(msg->name, action->who->name, sizeof msg->name);
}

const struct route_state *route_core_state(const struct route_core *core)
{
    return &core->state;
}

const struct route_node_state *route_core_node(const struct route_core *core, uint32_t node)
{
    return &core->nodes[node].state;
}

bool route_core_next_session(const struct route_core *core, size_t *at, struct route_session_state *out)
{
    while (*at < core->table.session_capacity) {
        const struct route_session *session = core->table.sessions[(*at)++];
        if (session == NULL) continue;
        *out = (struct route_session_state){.name = session->name,
                                            .credit = session->credit,
                                            .in_flight = session->in_flight,
                                            .batches = session->batches,
                                            .spool_bytes = session->spool_bytes,
                                            .spool_oldest_ms = session->spool_oldest_ms};
        return true;
    }
    return false;
}

bool route_core_check(const struct route_core *core)
{
    uint32_t owed[WEIR_NODES_MOST] = {0};
    size_t bytes = 0;
    for (uint32_t i = 0; i < core->table.entry_capacity; i++) {
        const struct route_entry *entry = &core->table.entries[i];
        if (!entry->used) continue;
        bytes += entry->bytes;
        if ((entry->got & entry->poison) != 0 || entry->got == all_of(entry)) return false;
        for (uint32_t owner = 0; owner < entry->owner_count; owner++)
            owed[entry->owners[owner]] += owes(entry, owner);
    }
    for (uint32_t node = 0; node < WEIR_NODES_MOST; node++) {
        if (owed[node] != core->nodes[node].state.in_flight) return false;
    }
    uint64_t refused = 0, ended = 0;
    for (int i = 0; i < ROUTE_REFUSALS_COUNT; i++)
        refused += core->state.refused[i];
    for (int i = 0; i < ROUTE_ENDS_COUNT; i++)
        ended += core->state.ended[i];
    return route_table_check(&core->table) && bytes == core->state.in_flight_bytes &&
           core->state.received == core->state.accepted + core->state.repeated + refused &&
           core->state.accepted == ended + core->state.in_flight && core->state.in_flight == core->table.entry_count;
}
