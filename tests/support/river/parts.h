/** The parts of a river (river.h): what its sources share; not for tests. */
#ifndef WEIR_TESTS_SUPPORT_RIVER_PARTS_H
#define WEIR_TESTS_SUPPORT_RIVER_PARTS_H

#include "agent/ship_core.h"
#include "aggregator/intake_core.h"
#include "broker/route_core.h"
#include "tests/support/river/river.h"

enum {
    RIVER_AGENTS = 2,
    RIVER_BROKERS = 2,
    RIVER_NODES = 3,
    RIVER_SOURCES = 3, /* of each agent */
    RIVER_STEP_MS = 10,
    RIVER_TICK_MS = 50,
    RIVER_STORM_MS = 10000,
    RIVER_CALM_MS = 400000, /* the longest that draining may take: every back-off at its longest */
    RIVER_BATCHES_MOST = 2000,
    RIVER_PARCELS_MOST = 512
};

/** A record of an agent's spool: a batch, or the loss of several. */
struct river_record {
    uint64_t first;
    uint64_t last;
    uint64_t flows;
    uint64_t cum_flows; /* of the lane, up to and including this one */
    uint32_t batch;     /* which one of the whole run it holds; 0: a loss */
    uint32_t source;
};

struct river_lane {
    uint32_t shard;
    uint32_t count; /* records, the acknowledged ones included: they are kept to check against */
    uint32_t synced;
    uint64_t acked; /* up to this number; what is not in @acked_durable is forgotten in a crash */
    uint64_t acked_durable;
    uint64_t sent; /* youngest number sent by this process */
    struct river_record records[RIVER_BATCHES_MOST];
};

struct river_agent {
    char name[WEIR_NAME_BYTES];
    char key[WEIR_KEY_TEXT];
    struct weir_source sources[RIVER_SOURCES];
    uint32_t lane_of_source[RIVER_SOURCES];
    uint32_t lane_count;
    struct river_lane lanes[RIVER_SOURCES];
    /* gone in a crash */
    struct ship_core *core; /* NULL: down */
    uint64_t processes;
    uint32_t broker;
    uint32_t connection; /* as the broker knows it; 0 none */
};

struct river_broker {
    struct route_core *core; /* NULL: down */
    uint32_t processes;
    uint32_t links[RIVER_NODES]; /* how often each was made */
};

/** What the running write will make durable. */
struct river_write {
    struct agg_lane lane;
    struct agg_mark mark;
    uint32_t batch; /* 0: a loss only */
    uint64_t flows;
    uint64_t lost;
};

struct river_mark {
    struct agg_lane lane;
    struct agg_mark mark;
    uint64_t flows; /* stored in the lane */
    uint64_t lost;  /* accounted for as lost */
};

struct river_node {
    bool owned[WEIR_SHARDS];
    /* durable */
    uint8_t stored[RIVER_BATCHES_MOST]; /* how often each batch is there */
    uint32_t mark_count;
    struct river_mark marks[RIVER_AGENTS * RIVER_SOURCES * 4];
    /* gone in a crash */
    struct agg_intake *core; /* NULL: down */
    uint32_t write_count;
    struct river_write writes[AGG_INTAKE_ACTIONS_MOST];
};

enum river_place { RIVER_TO_AGENT, RIVER_TO_BROKER, RIVER_TO_NODE };

/** A message on its way, or news for a broker about a connection (@news). */
struct river_parcel {
    int64_t due_ms;
    uint64_t order; /* of sending */
    enum river_place to;
    uint32_t index;             /* of the receiver */
    uint32_t from;              /* agent or node */
    bool from_node;             /* RIVER_TO_BROKER: else from an agent */
    uint32_t connection;        /* agent and broker: on which */
    uint32_t process;           /* of the broker that it came from or is for */
    uint32_t link;              /* broker and node: over which */
    enum route_event_kind news; /* GONE or UNSENT; else ROUTE_EVENT_TICK */
    uint32_t batch;
    bool damaged;
    struct weir_batch_header header; /* DATA and STORE */
    struct weir_msg msg;
};

struct river {
    enum river_mutant mutant;
    uint64_t random;
    int64_t now_ms;
    bool stormy;
    uint32_t batches; /* made so far; numbers begin at 1 */
    bool accepted[RIVER_BATCHES_MOST];
    uint32_t shard_of_batch[RIVER_BATCHES_MOST];
    uint32_t connections;
    struct weir_map *map;
    struct weir_allow *allow;
    struct river_agent agents[RIVER_AGENTS];
    struct river_broker brokers[RIVER_BROKERS];
    struct river_node nodes[RIVER_NODES];
    uint32_t parcel_count;
    struct river_parcel *parcels[RIVER_PARCELS_MOST];
    struct ship_actions ship_actions;
    struct route_actions route_actions;
    struct agg_actions agg_actions;
    struct river_report *report;
};

/** The first complaint is kept. */
void river_complain(struct river *river, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Add to the trace. */
void river_trace(struct river *river, uint64_t what, uint64_t a, uint64_t b);

uint32_t river_below(struct river *river, uint32_t limit);

/** True in @per_mille of a thousand cases, while it is stormy. */
bool river_mishap(struct river *river, uint32_t per_mille);

/** Send a copy of @parcel; it may get lost, late or repeated. */
void river_post(struct river *river, const struct river_parcel *parcel);

void river_agent_start(struct river *river, uint32_t agent);
void river_agent_crash(struct river *river, uint32_t agent);
void river_agent_tick(struct river *river, uint32_t agent);
void river_agent_receive(struct river *river, const struct river_parcel *parcel);
/** Take a batch of a random source; sync; drop records as a full spool does. */
void river_agent_live(struct river *river, uint32_t agent);
/** Sync all that was taken. */
void river_agent_sync(struct river *river, uint32_t agent);
bool river_agent_is_drained(const struct river *river, uint32_t agent);
/** The connection breaks; ZeroMQ makes another one without telling anybody. */
void river_agent_reset(struct river *river, uint32_t agent);

void river_broker_start(struct river *river, uint32_t broker);
void river_broker_crash(struct river *river, uint32_t broker);
void river_broker_tick(struct river *river, uint32_t broker);
void river_broker_receive(struct river *river, const struct river_parcel *parcel);

void river_node_start(struct river *river, uint32_t node);
void river_node_crash(struct river *river, uint32_t node);
void river_node_receive(struct river *river, const struct river_parcel *parcel);
/** Commit what waits, or fail to. */
void river_node_commit(struct river *river, uint32_t node);
/** The durable mark of a lane, or NULL. */
const struct river_mark *river_node_mark(const struct river_node *node, const struct agg_lane *lane);

#endif
