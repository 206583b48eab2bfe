/** The parts of a river (river.h): what its sources share; not for tests. */
#ifndef WEIR_TESTS_SUPPORT_RIVER_PARTS_H
#define WEIR_TESTS_SUPPORT_RIVER_PARTS_H

#include "agent/ship_core.h"
#include "aggregator/replica_core.h"
#include "broker/route_core.h"
#include "tests/support/river/river.h"

enum {
    RIVER_AGENTS = 2,
    RIVER_BROKERS = 2,
    RIVER_NODES = 4,
    RIVER_SOURCES = 3, /* of each agent */
    RIVER_STEP_MS = 10,
    RIVER_TICK_MS = 50,
    RIVER_STORM_MS = 10000,
    RIVER_CALM_MS = 400000, /* the longest that draining may take: every back-off at its longest */
    RIVER_BATCHES_MOST = 2000,
    RIVER_PARCELS_MOST = 512,
    RIVER_SHARDS_MOST = RIVER_AGENTS * RIVER_SOURCES,
    RIVER_MARKS_MOST = RIVER_AGENTS * RIVER_SOURCES * 4,
    RIVER_JOURNAL_MOST = 2000,
    RIVER_TAIL_MOST = 8,     /* writes that a bad disk may lose */
    RIVER_BATCH_BYTES = 1000 /* of every batch, to a broker */
};

/** What an agent put into a batch: the book that everything is compared with in the end. */
struct river_batch {
    bool accepted; /* synced by its agent, and not dropped by its spool since */
    uint32_t shard;
    uint32_t source; /* of the whole river */
    struct weir_cum sums;
};

/** A record of an agent's spool: a batch, or the loss of several. */
struct river_record {
    uint64_t first;
    uint64_t last;
    struct weir_cum sums;
    struct weir_cum cum; /* of the lane, up to and including this one */
    uint32_t batch;      /* which one of the whole run it holds; 0: a loss */
    uint32_t source;     /* of its agent */
};

struct river_lane {
    uint32_t shard;
    uint32_t count; /* records, the acknowledged ones included: they are kept to check against */
    uint32_t synced;
    uint64_t acked; /* up to this number; what is not in @acked_durable is forgotten in a crash */
    uint64_t acked_durable;
    uint64_t sent; /* youngest number sent by this process */
    bool unsure;   /* set back, and the owners have not said so yet */
    struct river_record records[RIVER_BATCHES_MOST];
};

struct river;

struct river_agent {
    struct river *river;
    char name[WEIR_NAME_BYTES];
    char key[WEIR_KEY_TEXT];
    struct weir_source sources[RIVER_SOURCES];
    uint32_t lane_of_source[RIVER_SOURCES];
    bool was_set_back;
    uint64_t inc;
    uint32_t lane_count;
    struct river_lane lanes[RIVER_SOURCES];
    /* gone in a crash */
    struct ship_core *core; /* NULL: down */
    uint64_t processes;
    uint32_t broker;
    uint32_t connection;     /* as the broker knows it; 0 none */
    int64_t asleep_until_ms; /* stopped, or without a processor */
};

struct river_broker {
    struct route_core *core; /* NULL: down */
    uint32_t processes;
    uint32_t links[RIVER_NODES]; /* how often each was made */
    uint32_t map;                /* which of @maps it goes by; they need not be the newest */
    struct weir_map maps[2];
    int64_t asleep_until_ms;
};

/** What the running write will make durable. */
struct river_write {
    struct agg_lane lane;
    struct agg_mark mark;
    uint64_t first_seq;
    uint32_t batch;  /* 0: a loss only */
    uint32_t source; /* of the whole river */
    bool journal;
    struct weir_cum sums;
    struct weir_cum lost;
};

struct river_mark {
    struct agg_lane lane;
    struct agg_mark mark;
    struct weir_cum stored; /* in the lane */
    struct weir_cum lost;   /* accounted for as lost */
};

/** What an aggregator gives to another one: its marks, and all that it has of a shard. */
struct river_cargo {
    uint32_t mark_count;
    struct river_mark marks[RIVER_MARKS_MOST];
    uint8_t stored[RIVER_BATCHES_MOST];
};

/** A write that is done, and the mark before it. */
struct river_done {
    struct river_write write;
    struct river_mark before;
};

struct river_node {
    /* durable */
    struct agg_held held[WEIR_SHARDS];
    uint32_t journal_count;
    struct river_write journal[RIVER_JOURNAL_MOST];
    uint32_t journal_mark_count;
    struct river_mark journal_marks[RIVER_MARKS_MOST];
    struct river_mark asked_marks[RIVER_MARKS_MOST]; /* those that the journal began with */
    uint32_t asked_mark_count;
    bool broken[WEIR_SHARDS];           /* lost acknowledged data, and did not find out yet */
    uint8_t stored[RIVER_BATCHES_MOST]; /* how often each batch is there */
    struct weir_cum by_source[RIVER_AGENTS * RIVER_SOURCES];
    uint32_t mark_count;
    struct river_mark marks[RIVER_MARKS_MOST];
    /* gone in a crash */
    struct agg_intake *core; /* NULL: down */
    struct agg_replica *replica;
    bool regressed[WEIR_SHARDS]; /* as intake says */
    bool older[WEIR_SHARDS];     /* likewise: than a broker's map */
    uint32_t tail_count;
    struct river_done tail[RIVER_TAIL_MOST];
    uint32_t write_count;
    struct river_write writes[AGG_INTAKE_ACTIONS_MOST];
    int64_t asleep_until_ms;
};

/** How bad it is: drawn from the seed, so that every mixture of troubles has its runs. Per mille of its occasions. */
struct river_weather {
    uint32_t loss;
    uint32_t repeat;
    uint32_t late;
    uint32_t damage;
    uint32_t crash;
    uint32_t sleep;
    uint32_t cut;
    uint32_t move;    /* of a shard, by an operator */
    uint32_t suspect; /* of one that lives */
    uint32_t tail;    /* of an aggregator's disk, where it crashes: acknowledged writes are gone */
    uint32_t wipe;    /* likewise: everything is gone */
    uint32_t failed_write;
    uint32_t drop;     /* of synced records by a full spool */
    uint32_t set_back; /* of an agent's disk, where it crashes */
};

enum river_place { RIVER_TO_AGENT, RIVER_TO_BROKER, RIVER_TO_NODE };

/** A message on its way, or news for a broker about a connection (@news). */
struct river_parcel {
    int64_t due_ms;
    uint64_t order; /* of sending */
    enum river_place to;
    uint32_t index;             /* of the receiver */
    uint32_t from;              /* the sender's index */
    bool from_node;             /* else to a broker: from an agent; to an aggregator: from a broker */
    uint32_t connection;        /* agent and broker: on which */
    uint32_t process;           /* of the broker that it came from or is for */
    uint32_t link;              /* broker and node: over which */
    enum route_event_kind news; /* GONE or UNSENT; else ROUTE_EVENT_TICK */
    uint32_t batch;
    bool damaged;
    struct river_cargo *cargo;       /* the parcel's own */
    struct agg_replica_msg said;     /* by an aggregator to another one */
    struct weir_batch_header header; /* DATA and STORE */
    struct weir_msg msg;
};

struct river {
    uint64_t random;
    int64_t now_ms;
    bool stormy;
    struct river_weather weather;
    uint32_t credit;       /* batches that a broker has room for */
    uint32_t batches_made; /* numbers begin at 1 */
    struct river_batch batches[RIVER_BATCHES_MOST];
    uint32_t connections;
    struct weir_map *map; /* the map store */
    uint32_t shard_count;
    uint32_t shards[RIVER_SHARDS_MOST]; /* that agents send to */
    uint64_t wanted[WEIR_SHARDS];       /* who shall own each, by the operators */
    int64_t peer_cut_until_ms[RIVER_NODES][RIVER_NODES];
    int64_t agent_cut_until_ms[RIVER_AGENTS][RIVER_BROKERS];
    int64_t node_cut_until_ms[RIVER_BROKERS][RIVER_NODES];
    struct weir_allow *allow;
    struct river_agent agents[RIVER_AGENTS];
    struct river_broker brokers[RIVER_BROKERS];
    struct river_node nodes[RIVER_NODES];
    uint32_t parcel_count;
    struct river_parcel *parcels[RIVER_PARCELS_MOST];
    struct ship_actions ship_actions;
    struct route_actions route_actions;
    struct agg_actions agg_actions;
    struct agg_replica_actions replica_actions;
    struct river_report *report;
};

/** The first complaint is kept. */
void river_complain(struct river *river, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** Add to the trace. */
void river_trace(struct river *river, uint64_t what, uint64_t a, uint64_t b);

uint32_t river_below(struct river *river, uint32_t limit);

/** True in @per_mille of a thousand cases, while it is stormy. */
bool river_mishap(struct river *river, uint32_t per_mille);

static inline void river_sum(struct weir_cum *sum, const struct weir_cum *more)
{
    sum->flows += more->flows;
    sum->packets += more->packets;
    sum->bytes += more->bytes;
}

static inline bool river_is_same(const struct weir_cum *a, const struct weir_cum *b)
{
    return a->flows == b->flows && a->packets == b->packets && a->bytes == b->bytes;
}

/** Send a copy of @parcel, @cargo included; it may get lost, late or repeated. */
void river_post(struct river *river, const struct river_parcel *parcel);

/** Lose what is on its way from an agent, or about its batches. */
void river_forget(struct river *river, const char *agent_name);

void river_agent_start(struct river *river, uint32_t agent);
void river_agent_crash(struct river *river, uint32_t agent);
/** Has its disk come back older, and do the owners have to tell? Until they did, what it writes looks as if found. */
bool river_agent_is_unsure(const struct river *river, uint32_t agent);
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
/** Read the newest map. */
void river_broker_reload(struct river *river, uint32_t broker);
void river_broker_receive(struct river *river, const struct river_parcel *parcel);

void river_node_start(struct river *river, uint32_t node);
void river_node_crash(struct river *river, uint32_t node);
void river_node_receive(struct river *river, const struct river_parcel *parcel);
void river_node_press(struct river *river, uint32_t node, bool busy);
/** Commit what waits, or fail to. */
void river_node_commit(struct river *river, uint32_t node);
/** The durable mark of a lane, or NULL. */
struct river_mark *river_node_mark(struct river_node *node, const struct agg_lane *lane);
/** The mark of a lane among @marks, added if it is not there. */
struct river_mark *river_mark_of(struct river_mark *marks, uint32_t *count, const struct agg_lane *lane);
/** One write becomes durable, with its mark or without. */
void river_node_apply(struct river *river, struct river_node *node, const struct river_write *write, bool with_mark);

/** Members of shards: its own core, told what @held says; messages, time, and what intake found. */
void river_replica_start(struct river *river, uint32_t node);
void river_replica_tick(struct river *river, uint32_t node);
void river_replica_read(struct river *river, uint32_t node, uint32_t shard);
void river_replica_receive(struct river *river, const struct river_parcel *parcel);
void river_replica_regressed(struct river *river, uint32_t node);
/** A disk fails while its aggregator is down, if others have all that was acknowledged. */
void river_replica_spoil(struct river *river, uint32_t node);
/** Is @node a member of the shard, by the map and by its own store, that has all it should have? */
bool river_replica_is_good(const struct river *river, uint32_t node, uint32_t shard);
/** Has some aggregator lost acknowledged writes that it did not find out about yet? */
bool river_replica_any_broken(const struct river *river);
/** Does the map say what the operators want, and everybody agree? */
bool river_replica_is_settled(const struct river *river);

/** The first map, and who owns what by it. */
void river_map_begin(struct river *river);
/** Operators want others to own a shard; brokers read the map when they come to it. */
void river_map_live(struct river *river);

/** Everything accepted is where it belongs, once, in sum and by source; complains if not. */
void river_check(struct river *river);

#endif
