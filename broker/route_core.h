/**
 * The broker's part of delivery, as a pure step function: who may send, where a batch goes, and when its agent hears of
 * it (docs/PROTOCOL.md). No sockets, files, clocks or random numbers: broker/broker.c executes the actions, tests/cluster
 * does the same with a hand-set clock.
 *
 * A broker keeps nothing: what it forgets, the agent sends again, and what was stored already, the aggregators
 * recognise. So every rule here is about what must not be said too early and what must not grow:
 * - A batch is acknowledged when every owner of its shard (its members, and who is joining them) under one epoch of the
 *   shard said that it is committed. Owners commit a lane strictly in order, so that covers all batches of the lane
 *   before it too. What was said under another epoch counts for nothing.
 * - Batches in flight are bounded by a byte budget, shared out to agents as credit.
 * - An aggregator that is dead or stuck makes its own shards busy and nobody else's.
 *
 * One thread. What is borrowed in an event is borrowed for the call.
 */
#ifndef WEIR_BROKER_ROUTE_CORE_H
#define WEIR_BROKER_ROUTE_CORE_H

#include "common/cluster/map.h"

enum {
    ROUTE_OWNERS_MOST = WEIR_OWNERS_MOST + WEIR_JOINING_MOST, /* of a shard: members and who is joining */
    ROUTE_PING_MS = 1000,
    ROUTE_AGENT_QUIET_MS = 2000, /* an agent that was silent for so long is asked whether it lives */
    ROUTE_AGENT_DEAD_MS = 6000,
    ROUTE_CHALLENGE_MS = 2000, /* how long the holder of a name has to answer when another agent claims it */
    ROUTE_NODE_DEAD_MS = 3000,
    ROUTE_NODE_STUCK_MS = 2000,     /* answers nothing of what it got, though it lives */
    ROUTE_NODE_RECONNECT_MS = 5000, /* between new sockets to a silent aggregator */
    ROUTE_EXPIRY_MS = 5000,         /* of a batch in flight */
    ROUTE_BUSY_RETRY_MS = 200,      /* said to agents: the queue is full for the moment */
    ROUTE_NODE_RETRY_MS = 1000,     /* said to agents: an owner is dead or stuck */
    ROUTE_CREDIT_MOST = 256         /* of one agent */
};

/** Why a batch was not forwarded. */
#define ROUTE_REFUSALS(X)                                                             \
    X(no_session, "the agent said no HELLO since it connected or since we forgot it") \
    X(key, "the key is no longer in the allow-list, or not as an agent")              \
    X(agent, "the message claims another agent than the key's")                       \
    X(too_big, "larger than a message may be")                                        \
    X(header, "the header of the batch cannot be decoded")                            \
    X(schema, "encoded by a newer version")                                           \
    X(shard, "the source does not belong to the shard")                               \
    X(over_credit, "more batches in flight than the agent has credit for")            \
    X(full, "the budget for batches in flight is used up")                            \
    X(few_copies, "the shard has fewer members than copies_least")                    \
    X(owner_down, "an owner of the shard is dead or stuck")

/** What became of a batch that was taken in. */
#define ROUTE_ENDS(X)                                            \
    X(acked, "committed by every owner")                         \
    X(nacked, "refused by an owner, or an owner failed")         \
    X(expired, "not answered in time: the agent sends it again") \
    X(forgotten, "its session ended or began anew, or the shard map changed")

enum route_refusal {
#define ROUTE_REFUSAL_ENUM(name, help) ROUTE_REFUSED_##name,
    ROUTE_REFUSALS(ROUTE_REFUSAL_ENUM)
#undef ROUTE_REFUSAL_ENUM
        ROUTE_REFUSALS_COUNT
};

enum route_end {
#define ROUTE_END_ENUM(name, help) ROUTE_END_##name,
    ROUTE_ENDS(ROUTE_END_ENUM)
#undef ROUTE_END_ENUM
        ROUTE_ENDS_COUNT
};

struct route_conf {
    size_t budget_bytes;    /* of batches in flight */
    uint32_t batch_bytes;   /* what a batch is reckoned to take when the budget is shared out as credit */
    uint32_t max_bytes;     /* largest header + body */
    uint32_t sessions_most; /* agents connected at a time */
    uint32_t copies_least;  /* a shard with fewer members takes nothing; 0 as 1 */
};

/** Who sent a message: what the socket says about the connection. */
struct route_peer {
    uint32_t id;      /* of the connection, never 0 */
    const char *name; /* that its key is enrolled under */
    const char *key;
};

enum route_event_kind {
    ROUTE_EVENT_TICK,   /* time passed: at least every 100 ms */
    ROUTE_EVENT_AGENT,  /* @peer says @msg; DATA with @header and @bytes */
    ROUTE_EVENT_NODE,   /* aggregator @node (an index into the map) says @msg */
    ROUTE_EVENT_GONE,   /* the connection @peer.id does not exist any more */
    ROUTE_EVENT_UNSENT, /* aggregator @node could not be given the batch of ROUTE_FORWARD: @agent, @shard, @seq */
    ROUTE_EVENT_MAP, /* @map holds from now on; it must live until the step of the next one is done. Indices are those of its
                        aggregators; while these stay the same, so do links and what is in flight of unchanged shards */
    ROUTE_EVENT_ALLOW /* @allow holds from now on; it must live until the next one */
};

struct route_event {
    enum route_event_kind kind;
    struct route_peer peer;
    const struct weir_msg *msg;
    const struct weir_batch_header *header; /* NULL when it could not be decoded */
    bool newer_schema;                      /* and that was because a newer version wrote it */
    size_t bytes;                           /* header + body */
    uint32_t node;
    const uint8_t *agent;
    uint32_t shard;
    uint64_t seq;
    const struct weir_map *map;
    const struct weir_allow *allow;
};

/** What the shell must do, in this order. Any of these may fail to happen: the protocol repairs it. */
enum route_action_kind {
    ROUTE_SEND_AGENT, /* the message that route_core_msg makes of this action, to @peer */
    ROUTE_SEND_NODE,  /* likewise, to aggregator @node */
    ROUTE_FORWARD,    /* the batch of this event as route_core_store makes it, to each of @owners */
    ROUTE_RECONNECT,  /* destroy the socket to aggregator @node and make another one */
    ROUTE_REREAD_MAP, /* an aggregator knows another shard map than we */
    ROUTE_NOTE        /* tell people: @note about @name (an agent or aggregator) */
};

enum route_note {
    ROUTE_NOTE_NONE,
    ROUTE_NOTE_AGENT_CAME,
    ROUTE_NOTE_AGENT_WENT,     /* its connection is gone, or it was silent for too long */
    ROUTE_NOTE_SECOND_REFUSED, /* another live agent has that name */
    ROUTE_NOTE_TAKEN_OVER,     /* the holder of the name did not answer: the newcomer has it now */
    ROUTE_NOTE_KEY_REFUSED,
    ROUTE_NOTE_OVER_LIMIT, /* sessions_most */
    ROUTE_NOTE_NODE_UP,
    ROUTE_NOTE_NODE_DOWN,
    ROUTE_NOTE_NODE_STUCK,
    ROUTE_NOTE_DISAGREE, /* one owner stored what another cannot decode: mixed versions */
    ROUTE_NOTES
};

struct route_action {
    enum route_action_kind kind;
    enum weir_msg_kind msg;
    enum weir_code code;
    enum route_note note;
    uint32_t peer;
    uint32_t node;
    uint32_t shard;
    uint64_t seq;
    uint64_t expected;
    uint32_t retry_ms;
    uint32_t credit;
    const char *text; /* for people, static; "" none */
    uint8_t owner_count;
    uint8_t owners[ROUTE_OWNERS_MOST];
    const struct weir_allow_entry *who; /* ROUTE_FORWARD: the agent; borrowed until the next step */
    char name[WEIR_NAME_BYTES];
};

/** The actions of one step; grows as needed. Zero it to begin, route_actions_fini at the end. */
struct route_actions {
    size_t count;
    size_t capacity;
    struct route_action *at;
    uint64_t lost; /* actions for which there was no memory */
};

struct route_node_state {
    bool up;
    bool stuck;
    uint32_t in_flight;    /* batches that it has not answered */
    uint64_t forwarded;    /* batches given to it */
    uint64_t acknowledged; /* by it, of those in flight */
    uint64_t refused;
    uint64_t reconnects;
};

struct route_session_state {
    const char *name;
    uint32_t credit;
    uint32_t in_flight;
    uint64_t batches;
    uint64_t spool_bytes; /* as the agent says */
    int64_t spool_oldest_ms;
};

/**
 * What there is to see of the core. The ledger: received = accepted + repeated + the sum of @refused;
 * accepted = the sum of @ended + in_flight.
 */
struct route_state {
    uint32_t sessions;
    uint32_t in_flight;
    size_t in_flight_bytes;
    uint32_t epoch;
    uint64_t received; /* DATA messages */
    uint64_t received_bytes;
    uint64_t accepted;
    uint64_t repeated; /* sent again by the agent while in flight, and forwarded again where it was not committed */
    uint64_t refused[ROUTE_REFUSALS_COUNT];
    uint64_t ended[ROUTE_ENDS_COUNT];
    uint64_t hellos;
    uint64_t hellos_refused;
    uint64_t seconds_refused; /* agents under a name that another live agent holds */
    uint64_t unexpected;      /* messages of a kind, or from an epoch or lane, that nothing here waits for */
};

struct route_core;

const char *route_refusal_name(enum route_refusal refusal);
const char *route_end_name(enum route_end end);
const char *route_note_name(enum route_note note);

/** Begins without a map and with nobody allowed: feed ROUTE_EVENT_MAP and ROUTE_EVENT_ALLOW first. WEIR_ENOMEM. */
int route_core_create(const struct route_conf *conf, struct route_core **ret);
void route_core_destroy(struct route_core *core);

/** Do two maps have the same aggregators under the same indices, so that links to them can stay? @a may be NULL. */
bool route_nodes_are_same(const struct weir_map *a, const struct weir_map *b);

/** One step; @now_mono_ms must not go back. @out is emptied first. */
void route_core_step(struct route_core *core, const struct route_event *event, int64_t now_mono_ms,
                     struct route_actions *out);

/** The message of a ROUTE_SEND_AGENT or ROUTE_SEND_NODE action. */
void route_core_msg(const struct route_core *core, const struct route_action *action, struct weir_msg *out);

/** Turn the DATA message that a ROUTE_FORWARD action is about into its STORE message, in place. */
void route_core_store(const struct route_core *core, const struct route_action *action, struct weir_msg *msg);

const struct route_state *route_core_state(const struct route_core *core);

/** State of aggregator @node of the map. */
const struct route_node_state *route_core_node(const struct route_core *core, uint32_t node);

/** Walk the sessions: set *at to 0, then call until false. */
bool route_core_next_session(const struct route_core *core, size_t *at, struct route_session_state *out);

/** Do the tables keep their own promises (counts, lists, bounds)? For tests and assertions. */
bool route_core_check(const struct route_core *core);

void route_actions_fini(struct route_actions *actions);

#endif
