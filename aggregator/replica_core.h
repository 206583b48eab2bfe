/**
 * Who owns a shard, as one aggregator sees and changes it: a pure step function beside intake_core, without sockets,
 * disks or clocks (docs/PROTOCOL.md, "Members").
 *
 * The map store holds, for each shard, members, who is joining, and an epoch; it is changed by compare-and-swap only, and
 * each change raises the epoch. There is no leader: each aggregator proposes what concerns itself, and a member removes
 * one that is silent. What keeps data safe:
 * - An aggregator is a member only if its own store says so. A map says who may become one.
 * - An epoch is in the store, and all that was taken before it is acknowledged, before anything is said under it.
 * - Who joins is awaited by every acknowledgement from the epoch of its joining on. It asks a member, which knows that
 *   epoch by then, for its marks, and keeps what comes after them in a journal; fetches the past; puts the journal after
 *   it; and becomes a member. A join that is interrupted begins again under a new epoch.
 * - A member leaves only when another one said, since it wants to leave, that it is one and lacks nothing.
 * - After a stop that was not clean, a member raises the epochs of its shards, so that nothing it said before counts, and
 *   until its marks are not behind another's it proposes nothing, gives nothing away, and vouches for nobody's leaving.
 *   One that stays behind leaves, and joins again.
 *
 * One thread. What is borrowed in an event is borrowed for the call.
 */
#ifndef WEIR_AGGREGATOR_REPLICA_CORE_H
#define WEIR_AGGREGATOR_REPLICA_CORE_H

#include "aggregator/intake_core.h"
#include "common/cluster/map.h"

enum { AGG_REPLICA_ACTIONS_MOST = 8 };

/** What aggregators say to each other about a shard. */
enum agg_replica_msg_kind {
    AGG_REPLICA_ASK_MARKS, /* what are your marks? */
    AGG_REPLICA_MARKS,     /* I am a member under this epoch, and these are my marks; @verified: I lack nothing */
    AGG_REPLICA_ASK_PAST,  /* what do you have? */
    AGG_REPLICA_PAST       /* all that I have, with my marks */
};

struct agg_replica_msg {
    enum agg_replica_msg_kind kind;
    uint32_t shard;
    uint32_t epoch;
    bool verified;
    int64_t asked_mono_ms; /* by the clock of who asked; the answer carries it back */
};

enum agg_replica_event_kind {
    AGG_REPLICA_TICK,     /* time passed, for @shard: at least every 250 ms */
    AGG_REPLICA_SHARD,    /* the map store says @entry of @shard */
    AGG_REPLICA_WANTED,   /* the aggregators in the bits of @nodes shall own @shard */
    AGG_REPLICA_SUSPECT,  /* the aggregators in the bits of @nodes have been silent for too long; of all shards */
    AGG_REPLICA_SWAPPED,  /* the answer to AGG_REPLICA_SWAP of @shard: @done, and @entry is there now */
    AGG_REPLICA_MESSAGE,  /* aggregator @node says @msg. MARKS: @covers tells that ours are not behind them;
                            PAST: that its marks are not behind those of AGG_REPLICA_JOURNAL */
    AGG_REPLICA_REGRESSED /* AGG_ACTION_REGRESSED of intake_core about @shard */
};

struct agg_replica_event {
    enum agg_replica_event_kind kind;
    uint32_t shard;
    const struct weir_shard *entry;
    uint64_t nodes;
    bool done;
    uint32_t node;
    struct agg_replica_msg msg;
    bool covers;
};

/** What the shell must do, in this order. What it writes must be on the disk before it goes on, or the process ends. */
enum agg_replica_action_kind {
    AGG_REPLICA_READ,    /* read the map store about @shard, feed AGG_REPLICA_SHARD */
    AGG_REPLICA_SWAP,    /* put @entry in the place of what has the epoch before it, feed AGG_REPLICA_SWAPPED */
    AGG_REPLICA_SEND,    /* @msg to aggregator @node: MARKS with our marks, PAST with all that we have of the shard */
    AGG_REPLICA_HOLD,    /* commit what waits; @wipe: forget all of the shard; write @held; feed AGG_EVENT_HELD */
    AGG_REPLICA_JOURNAL, /* as HOLD, with the marks of this event as those of an empty journal */
    AGG_REPLICA_INSTALL  /* as HOLD, with the past of this event in the place of what is here, and the journal after it:
                            of each lane what comes next by its mark, and nothing else */
};

struct agg_replica_action {
    enum agg_replica_action_kind kind;
    uint32_t shard;
    uint32_t node;
    struct weir_shard entry;
    struct agg_replica_msg msg;
    struct agg_held held;
    bool wipe;
};

struct agg_replica_actions {
    uint32_t count;
    struct agg_replica_action action[AGG_REPLICA_ACTIONS_MOST];
};

struct agg_replica_conf {
    uint32_t self;               /* index in the map */
    const struct agg_held *held; /* of WEIR_SHARDS, from the store; copied */
    bool unclean;                /* the last stop was not clean: what was acknowledged may be missing */
    uint32_t ask_ms;             /* between two questions to the same effect */
    uint32_t verify_ms;          /* behind another member for so long: leave, and join again */
    uint32_t join_ms; /* without the past for so long: give up, rest as long, and begin again with another member */
};

struct agg_replica;

/** WEIR_ENOMEM. */
int agg_replica_create(const struct agg_replica_conf *conf, struct agg_replica **ret);
void agg_replica_destroy(struct agg_replica *replica);

/** One event; @out is overwritten. @now_mono_ms must not go back. */
void agg_replica_step(struct agg_replica *replica, const struct agg_replica_event *event, int64_t now_mono_ms,
                      struct agg_replica_actions *out);

/** What we are to the shard now; intake_core begins with it. A join that was under way at the start is none any more. */
struct agg_held agg_replica_held(const struct agg_replica *replica, uint32_t shard);

/** Are we a member that lacks nothing, as far as it knows? */
bool agg_replica_is_verified(const struct agg_replica *replica, uint32_t shard);

/** Are we a member that wants to be none? */
bool agg_replica_is_leaving(const struct agg_replica *replica, uint32_t shard);

#endif
