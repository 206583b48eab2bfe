/**
 * The agent's side of delivery, as a pure step function: which broker to speak to, what to send next, what may leave
 * the spool (docs/PROTOCOL.md). No sockets, files, clocks or random numbers: agent/ship.c executes the actions.
 *
 * A lane is the stream of one shard: records numbered from 1 in the order they were spooled. Per lane at most
 * SHIP_WINDOW records are in flight, over all lanes at most the credit of the session. An acknowledgement covers all
 * records up to its number. Records go out again from the last acknowledged one when an answer says so, or when five
 * seconds bring no progress; the other side recognises what it has.
 */
#ifndef WEIR_AGENT_SHIP_CORE_H
#define WEIR_AGENT_SHIP_CORE_H

#include "common/cluster/msg.h"

enum {
    SHIP_WINDOW = 8,
    SHIP_ACTIONS_MOST = 256,

    SHIP_HELLO_RETRY_MS = 1000,
    SHIP_WELCOME_TIMEOUT_MS = 10000,
    SHIP_SILENCE_MS = 6000,
    SHIP_PING_MS = 1000,
    SHIP_PROGRESS_MS = 5000,
    SHIP_BACKOFF_LEAST_MS = 250,
    SHIP_BACKOFF_MOST_MS = 30000,
    SHIP_PAUSE_MOST_MS = 60000, /* longest pause of a lane that an answer can ask for */
    SHIP_PAUSE_MS = 250,        /* the pause where an answer names none */
    SHIP_UNSENT_PAUSE_MS = 20,  /* until a socket that was full is tried again */
    SHIP_GAP_QUIET_MS = 500,    /* the same gap reported again within this time is news of old */
    SHIP_STABLE_MS = 10000      /* a session this old, or one that acknowledged something, resets the back-off */
};

/** The record that holds a sequence number: a LOSS record stands for several of them. */
struct ship_span {
    uint64_t first;
    uint64_t last;
};

/** Look up the record that holds @seq, which is in the spool. Must not change anything. */
typedef struct ship_span ship_span_fn(void *ctx, uint32_t shard, uint64_t seq);

struct ship_conf {
    const char *name;  /* the agent's enrolled name; copied */
    uint64_t instance; /* random per process */
    uint64_t seed;     /* for the jitter of the back-off */
    uint32_t brokers;  /* how many there are, from 1 */
    ship_span_fn *span;
    void *span_ctx;
};

enum { SHIP_NO_BROKER = UINT32_MAX };

enum ship_event_kind {
    SHIP_EVENT_TICK,    /* time passed: at least every 100 ms */
    SHIP_EVENT_MSG,     /* @msg came from the broker */
    SHIP_EVENT_LANE,    /* start: lane @shard has the synced records @first_avail..@next-1 */
    SHIP_EVENT_SYNCED,  /* lane @shard is synced up to @next-1; a lane that is new begins at 1 */
    SHIP_EVENT_UNSENT,  /* the socket did not take record @seq of lane @shard: later */
    SHIP_EVENT_UNFIT,   /* record @seq cannot be sent: damaged on disk, or larger than the session allows */
    SHIP_EVENT_BROKERS, /* there are @brokers now; ours is @broker of them, or is gone (SHIP_NO_BROKER) */
    SHIP_EVENT_RENEWED  /* SHIP_RENEW was done, the incarnation is @inc; SHIP_EVENT_LANE follows for each lane in use */
};

struct ship_event {
    enum ship_event_kind kind;
    uint32_t shard;
    uint64_t seq;
    uint64_t first_avail;
    uint64_t next;
    uint64_t inc;
    uint32_t brokers;
    uint32_t broker;
    const struct weir_msg *msg;
};

/** What the shell must do, in this order. */
enum ship_action_kind {
    SHIP_CONNECT, /* destroy the socket, make one to broker @broker */
    SHIP_CLOSE,   /* destroy the socket; SHIP_CONNECT comes after the back-off */
    SHIP_SEND,    /* send the message that ship_core_msg makes of this action; DATA with the record @seq of @shard */
    SHIP_RELEASE, /* all records of lane @shard up to @seq are stored: they may leave the spool */
    SHIP_POISON,  /* no owner can read record @seq: put it into quarantine and a LOSS record in its place */
    SHIP_RENEW,   /* begin a new incarnation of the spool, then say SHIP_EVENT_RENEWED */
    SHIP_ALARM    /* tell people: @alarm */
};

enum ship_alarm {
    SHIP_ALARM_NONE,
    SHIP_ALARM_REJECTED,    /* the broker does not want us (session) or this lane's source */
    SHIP_ALARM_SCHEMA,      /* the owners cannot read our encoding yet: the lane waits for the next session */
    SHIP_ALARM_REGRESSED,   /* the owners lost records that they had acknowledged, or accept them as lost first */
    SHIP_ALARM_ROLLED_BACK, /* our spool is older than what the owners have: restored from a copy? */
    SHIP_ALARMS
};

struct ship_action {
    enum ship_action_kind kind;
    enum weir_msg_kind msg; /* SHIP_SEND */
    enum ship_alarm alarm;  /* SHIP_ALARM */
    enum weir_code
        code; /* SHIP_POISON, SHIP_CLOSE, SHIP_ALARM: the refusal that led here, NONE without one, RESET by our side */
    uint32_t shard;
    uint32_t broker;
    uint64_t seq;
    uint64_t first_avail; /* SHIP_SEND of DATA */
};

/** Room for the actions of one step. When @more is set after a step, step again with SHIP_EVENT_TICK at once. */
struct ship_actions {
    uint32_t count;
    bool more;
    struct ship_action at[SHIP_ACTIONS_MOST];
};

enum ship_phase { SHIP_WAITING, SHIP_HELLO_SENT, SHIP_STREAMING };

/** What there is to see of the core, for metrics and readiness. */
struct ship_state {
    enum ship_phase phase;
    uint32_t broker; /* index */
    uint32_t credit;
    uint32_t in_flight;
    uint32_t max_bytes; /* of header + body in this session */
    uint64_t welcomes;
    uint64_t sent;     /* records, the repeated ones included */
    uint64_t resent;   /* records sent again */
    uint64_t timeouts; /* lanes without progress for SHIP_PROGRESS_MS */
    uint64_t failovers;
    uint64_t nacks[WEIR_CODES]; /* refusals by reason */
    uint64_t alarms[SHIP_ALARMS];
};

struct ship_core;

/** WEIR_ENOMEM. Begins in SHIP_WAITING and connects at the first tick. */
int ship_core_create(const struct ship_conf *conf, uint64_t inc, struct ship_core **ret);
void ship_core_destroy(struct ship_core *core);

/** One step; @now_mono_ms must not go back. @out is cleared first. Allocates nothing. */
void ship_core_step(struct ship_core *core, const struct ship_event *event, int64_t now_mono_ms,
                    struct ship_actions *out);

/**
 * The message of a SHIP_SEND action: HELLO, PING and PONG are complete; DATA lacks crc, cum and the state of the spool,
 * which the shell knows.
 */
void ship_core_msg(const struct ship_core *core, const struct ship_action *action, struct weir_msg *out);

const struct ship_state *ship_core_state(const struct ship_core *core);

/** "rejected", "schema" ...: for logs and metrics. Static memory. */
const char *ship_alarm_name(enum ship_alarm alarm);

#endif
