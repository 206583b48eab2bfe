/**
 * The aggregator's half of the delivery protocol, as a pure step function: no sockets, disks or clocks. The shell
 * (intake.c) feeds events and carries out actions in the order they were given; tests/cluster does the same with a
 * hand-set clock.
 *
 * What an aggregator is to a shard, and under which epoch, is what its own store says (struct agg_held): a batch that was
 * sent under an older epoch is refused, one under a newer epoch makes the shell read the map, and is taken only when that
 * epoch is in the store too.
 *
 * The one rule: a lane (agent, incarnation, shard) has a mark, the last sequence number that is committed. A batch at or
 * below the mark is acknowledged again and dropped; the next one is written together with its mark; a later one is
 * refused with the number that is expected. An acknowledgement leaves only after AGG_EVENT_COMMITTED.
 *
 * One thread. What is borrowed in an event is borrowed for the call; actions hold no pointers but to static text.
 */
#ifndef WEIR_AGGREGATOR_INTAKE_CORE_H
#define WEIR_AGGREGATOR_INTAKE_CORE_H

#include "common/cluster/msg.h"

enum {
    AGG_INTAKE_ACTIONS_MOST = 1024, /* batches of one group, and so the most actions that one event causes */
    AGG_INTAKE_LANES_LEAST = 64
};

enum agg_role {
    AGG_ROLE_NONE,       /* nothing of the shard is here, or none that counts */
    AGG_ROLE_JOINING,    /* becomes a member; does not know yet from where on it must keep what comes */
    AGG_ROLE_JOURNALING, /* knows the marks of a member, and keeps what comes after them in a journal */
    AGG_ROLE_WHOLE,      /* has the past too, and is no member yet */
    AGG_ROLE_MEMBER
};

/** What we are to a shard. */
struct agg_held {
    uint32_t epoch;
    enum agg_role role;
    bool repairs; /* acknowledged data that is missing here is fetched from another member; else an operator must act */
};

/** Whose batches are numbered together. */
struct agg_lane {
    uint8_t agent[16];
    uint64_t inc;
    uint32_t shard;
};

/** What is committed of a lane. A lane without a mark has zeros: nothing of it was ever stored. */
struct agg_mark {
    uint64_t seq;        /* of the last batch; a LOSS record counts up to its lost_to_seq */
    struct weir_cum cum; /* the agent's sums up to it */
    uint32_t crc;        /* of the last batch: tells a repetition from another history */
};

/** What became of a batch: received = the sum of all of these + what waits for the running write. */
#define AGG_FATES(X)                                                    \
    X(stored, "written and synced")                                     \
    X(duplicate, "committed before: acknowledged again")                \
    X(gap, "an earlier batch of its lane must come first")              \
    X(epoch, "the broker's shard map is older than ours")               \
    X(ahead, "the broker's shard map is newer than ours")               \
    X(notowner, "another aggregator owns the shard")                    \
    X(joining, "the shard is on its way here")                          \
    X(busy, "the disk is low or the store is stalled")                  \
    X(failed, "the write failed")                                       \
    X(poison, "arrived whole and cannot be decoded")                    \
    X(checksum, "damaged on the way")                                   \
    X(schema, "encoded by a newer version")                             \
    X(misplaced, "the source does not belong to the shard it came for") \
    X(history, "the agent's spool disagrees with what we committed")

enum agg_fate {
#define AGG_FATE_ENUM(name, help) AGG_FATE_##name,
    AGG_FATES(AGG_FATE_ENUM)
#undef AGG_FATE_ENUM
        AGG_FATES_COUNT
};

const char *agg_fate_name(enum agg_fate fate);

enum agg_event_kind {
    AGG_EVENT_MESSAGE, /* a broker says @msg: STORE (then @header too, and after AGG_ACTION_OPEN @crc and @decoded) or PING */
    AGG_EVENT_MARK,      /* the answer to AGG_ACTION_LOAD: @lane has @mark (zeros when it has none) */
    AGG_EVENT_COMMITTED, /* the synced write of everything since the last COMMITTED or FAILED returned */
    AGG_EVENT_FAILED,    /* it failed: nothing of it counts as stored */
    AGG_EVENT_PRESSURE,  /* @busy: refuse new batches, or take them again */
    AGG_EVENT_HELD,      /* @shard is @held from now on, as the store says; nothing may wait for a write */
};

struct agg_event {
    enum agg_event_kind kind;
    /* MESSAGE */
    uint32_t peer; /* to answer to */
    const struct weir_msg *msg;
    const struct weir_batch_header *header; /* NULL when it could not be decoded */
    bool opened;                            /* the next two are known */
    uint32_t crc;                           /* CRC32C of header + body as they arrived */
    int decoded;                            /* 0, or the WEIR_E that decoding header or body ended with */
    /* MARK */
    struct agg_lane lane;
    struct agg_mark mark;
    /* PRESSURE */
    bool busy;
    /* HELD */
    uint32_t shard;
    struct agg_held held;
};

enum agg_action_kind {
    AGG_ACTION_SEND,      /* @reply to @peer */
    AGG_ACTION_WRITE,     /* add the batch of this event to the group, together with @lane -> @mark */
    AGG_ACTION_LOSS,      /* add a loss of @lost for @first_seq..@last_seq to the group, with @lane -> @mark */
    AGG_ACTION_OPEN,      /* check and decode the bytes of this event, then feed it again */
    AGG_ACTION_LOAD,      /* read the mark of @lane, feed AGG_EVENT_MARK, then feed this event again */
    AGG_ACTION_READ_MAP,  /* a broker knows a newer map: read it, and feed AGG_EVENT_HELD when it is in the store */
    AGG_ACTION_REGRESSED, /* the agent no longer has what the shard misses here: leave it, and join it again */
    AGG_ACTION_ALARM,     /* someone must act: write a log line about @alarm for @lane */
};

enum agg_alarm {
    AGG_ALARM_LOST_HISTORY, /* the agent no longer has batches that we never committed: we lost acknowledged data */
    AGG_ALARM_CUM,          /* the agent's sums differ from ours by @expected_cum -> @got_cum */
    AGG_ALARM_FORKED,       /* the same number came with other content: the spool was restored from a backup */
};

struct agg_reply {
    enum weir_msg_kind kind; /* SACK, SNACK or PONG */
    enum weir_code code;
    struct agg_lane lane;
    uint64_t seq;
    uint64_t expected; /* the number that the lane waits for, in every SACK and SNACK where it is known */
    uint32_t epoch;
    uint32_t retry_ms;
    const char *text; /* for people, static; "" none */
};

struct agg_action {
    enum agg_action_kind kind;
    uint32_t peer;
    struct agg_reply reply;
    struct agg_lane lane;
    struct agg_mark mark;
    bool journal; /* WRITE, LOSS, LOAD: of the journal of a shard that is joined */
    /* LOSS, WRITE */
    struct weir_cum lost; /* WRITE: only where the batch is a LOSS record */
    uint64_t first_seq, last_seq;
    /* ALARM */
    enum agg_alarm alarm;
    struct weir_cum expected_cum, got_cum;
};

struct agg_actions {
    uint32_t count;
    struct agg_action action[AGG_INTAKE_ACTIONS_MOST];
};

struct agg_intake_conf {
    const struct agg_held *held; /* of WEIR_SHARDS; copied */
    size_t lanes_most;           /* marks kept in memory; the least recently used make room */
    bool auto_loss;              /* accept lost history (AGG_ALARM_LOST_HISTORY) and record it, instead of refusing */
    uint32_t busy_retry_ms;
};

struct agg_intake;

/** WEIR_ENOMEM. */
int agg_intake_create(const struct agg_intake_conf *conf, struct agg_intake **ret);
void agg_intake_destroy(struct agg_intake *intake);

/**
 * One event. @out is overwritten. While the group holds AGG_INTAKE_ACTIONS_MOST batches, further ones are refused as
 * busy: commit first (agg_intake_waiting).
 */
void agg_intake_step(struct agg_intake *intake, const struct agg_event *event, struct agg_actions *out);

/** How many batches wait for COMMITTED or FAILED, acknowledgements of repetitions included. */
uint32_t agg_intake_waiting(const struct agg_intake *intake);

/** Counts by fate since creation, AGG_FATES_COUNT of them; borrowed. */
const uint64_t *agg_intake_fates(const struct agg_intake *intake);

/** STORE messages since creation: the sum of the fates and of agg_intake_waiting. */
uint64_t agg_intake_received(const struct agg_intake *intake);

/** Fill in the message that carries @reply. */
void agg_reply_message(const struct agg_reply *reply, const char *node, struct weir_msg *ret);

#endif
