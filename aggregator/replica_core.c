#include "aggregator/replica_core.h"

#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/mutant.h"

#include <assert.h>

enum { SWAP_LOST_MS = 2000 }; /* a swap that is not answered is looked at in the map */

/** What a swap that is under way is for. */
enum purpose { PURPOSE_NONE, PURPOSE_JOIN, PURPOSE_TOUCH, PURPOSE_OTHER };

struct shard {
    struct agg_held held;    /* as in the store */
    struct weir_shard entry; /* the newest that we know; epoch 0: none yet */
    uint64_t wanted;
    bool leftover; /* an interrupted join left something in the store */
    enum purpose purpose;
    int64_t swap_mono_ms;
    int64_t asked_mono_ms;
    /* of a join */
    uint8_t source;
    uint8_t turn;               /* which member is asked */
    bool again;                 /* must begin anew */
    int64_t rest_until_mono_ms; /* after one that failed: the others go on without us */
    int64_t begun_mono_ms;
    /* of a member */
    bool touch_due;
    bool unverified;
    bool regressed;
    int64_t unverified_mono_ms; /* since when */
    bool leaving;
    int64_t leaving_mono_ms; /* since when */
    uint64_t matched;        /* members whose marks ours are not behind of, under this epoch */
    uint64_t confirmed;      /* likewise, asked since we want to leave */
};

struct agg_replica {
    struct agg_replica_conf conf;
    uint64_t suspects;
    struct shard shards[WEIR_SHARDS];
    int64_t now_mono_ms;
    struct agg_replica_actions *out;
};

int agg_replica_create(const struct agg_replica_conf *conf, struct agg_replica **ret)
{
    struct agg_replica *replica = weir_calloc(1, sizeof *replica);
    if (replica == NULL) return WEIR_ENOMEM;
    replica->conf = *conf;
    for (uint32_t i = 0; i < WEIR_SHARDS; i++) {
        struct shard *shard = &replica->shards[i];
        shard->held = conf->held[i];
        shard->held.repairs = true;
        shard->leftover = shard->held.role != AGG_ROLE_MEMBER && shard->held.role != AGG_ROLE_NONE;
        if (shard->leftover) shard->held.role = AGG_ROLE_NONE;
        bool in_doubt = conf->unclean && shard->held.role == AGG_ROLE_MEMBER;
        shard->touch_due = in_doubt && !MUTANT(no_touch);
        shard->unverified = in_doubt && !MUTANT(no_verify);
    }
    *ret = replica;
    return 0;
}

void agg_replica_destroy(struct agg_replica *replica)
{
    weir_free(replica);
}

static struct agg_replica_action *act(struct agg_replica *replica, enum agg_replica_action_kind kind, uint32_t shard)
{
    assert(replica->out->count < AGG_REPLICA_ACTIONS_MOST);
    struct agg_replica_action *action = &replica->out->action[replica->out->count++];
    *action = (struct agg_replica_action){.kind = kind, .shard = shard};
    return action;
}

/* ---- sets of aggregators ---- */

static uint64_t bit(uint32_t node)
{
    return 1ull << node;
}

static uint64_t members_of(const struct weir_shard *entry)
{
    uint64_t nodes = 0;
    for (uint32_t i = 0; i < entry->member_count; i++)
        nodes |= bit(entry->members[i]);
    return nodes;
}

static uint64_t joining_of(const struct weir_shard *entry)
{
    uint64_t nodes = 0;
    for (uint32_t i = 0; i < entry->joining_count; i++)
        nodes |= bit(entry->joining[i]);
    return nodes;
}

static void drop(uint8_t *nodes, uint8_t *count, uint32_t node)
{
    uint8_t kept = 0;
    for (uint8_t i = 0; i < *count; i++) {
        if (nodes[i] != node) nodes[kept++] = nodes[i];
    }
    *count = kept;
}

/** What the map shall say next; changed by the caller, and proposed. */
static struct weir_shard next_of(const struct shard *shard)
{
    struct weir_shard next = shard->entry;
    next.epoch++;
    return next;
}

static void propose(struct agg_replica *replica, uint32_t index, const struct weir_shard *next, enum purpose purpose)
{
    struct shard *shard = &replica->shards[index];
    shard->purpose = purpose;
    shard->swap_mono_ms = replica->now_mono_ms;
    act(replica, AGG_REPLICA_SWAP, index)->entry = *next;
}

/** Propose the shard without @node. */
static void propose_without(struct agg_replica *replica, uint32_t index, uint32_t node)
{
    struct weir_shard next = next_of(&replica->shards[index]);
    drop(next.members, &next.member_count, node);
    drop(next.joining, &next.joining_count, node);
    propose(replica, index, &next, PURPOSE_OTHER);
}

/** Propose to join, or to begin joining again: under a new epoch, so that nothing we said in the last attempt counts. */
static void propose_join(struct agg_replica *replica, uint32_t index)
{
    struct weir_shard next = next_of(&replica->shards[index]);
    if ((joining_of(&next) & bit(replica->conf.self)) == 0)
        next.joining[next.joining_count++] = (uint8_t)replica->conf.self;
    if (MUTANT(replaced_directly)) {
        next.joining_count--;
        next.members[next.member_count > 1 ? 1 : next.member_count++] = (uint8_t)replica->conf.self;
    }
    propose(replica, index, &next, PURPOSE_JOIN);
}

/* ---- what we are ---- */

/** We are something else, or under another epoch. */
static struct agg_replica_action *hold(struct agg_replica *replica, uint32_t index, enum agg_replica_action_kind kind,
                                       enum agg_role role, uint32_t epoch)
{
    struct shard *shard = &replica->shards[index];
    struct agg_replica_action *action = act(replica, kind, index);
    bool is_gone = role == AGG_ROLE_NONE && shard->held.role != AGG_ROLE_NONE;
    action->wipe = shard->leftover || is_gone || role == AGG_ROLE_JOINING;
    shard->leftover = false;
    bool alone = role == AGG_ROLE_MEMBER && shard->entry.member_count == 1;
    shard->held = (struct agg_held){.epoch = epoch, .role = role, .repairs = !alone};
    action->held = shard->held;
    if (role != AGG_ROLE_MEMBER) shard->touch_due = shard->unverified = shard->regressed = false;
    shard->matched = shard->confirmed = 0;
    return action;
}

/** The map says @entry. */
static void adopt(struct agg_replica *replica, uint32_t index, const struct weir_shard *entry)
{
    struct shard *shard = &replica->shards[index];
    if (entry->epoch < shard->held.epoch) return;
    shard->entry = *entry;
    if (entry->epoch == shard->held.epoch) return;
    enum agg_role role = shard->held.role;
    bool is_member = (members_of(entry) & bit(replica->conf.self)) != 0;
    bool is_joining = (joining_of(entry) & bit(replica->conf.self)) != 0;
    if (is_member && role != AGG_ROLE_MEMBER)
        role = role == AGG_ROLE_WHOLE ? AGG_ROLE_MEMBER : AGG_ROLE_NONE; /* only we ourselves make us one */
    else if (is_joining && role == AGG_ROLE_MEMBER)
        role = AGG_ROLE_NONE;
    else if (!is_member && !is_joining)
        role = AGG_ROLE_NONE;
    bool has_source = (members_of(entry) & bit(shard->source)) != 0;
    if ((role == AGG_ROLE_JOINING || role == AGG_ROLE_JOURNALING) && !has_source) shard->again = true;
    hold(replica, index, AGG_REPLICA_HOLD, role, entry->epoch);
}

static void on_swapped(struct agg_replica *replica, const struct agg_replica_event *event)
{
    struct shard *shard = &replica->shards[event->shard];
    enum purpose purpose = shard->purpose;
    shard->purpose = PURPOSE_NONE;
    if (event->done && purpose == PURPOSE_TOUCH) shard->touch_due = false;
    if (!event->done || purpose != PURPOSE_JOIN) {
        adopt(replica, event->shard, event->entry);
        return;
    }
    if (event->entry->epoch < shard->held.epoch) return; /* it is over already */
    shard->entry = *event->entry;
    shard->source = shard->entry.members[shard->turn++ % shard->entry.member_count];
    shard->again = false;
    shard->begun_mono_ms = replica->now_mono_ms;
    shard->asked_mono_ms = 0;
    enum agg_role role = AGG_ROLE_JOINING;
    if (MUTANT(joined_without_marks)) role = AGG_ROLE_JOURNALING;
    if (MUTANT(replaced_directly)) role = AGG_ROLE_MEMBER;
    hold(replica, event->shard, AGG_REPLICA_HOLD, role, event->entry->epoch)->wipe = true;
}

/* ---- what the others say ---- */

/** May a member lack something that was acknowledged? */
static bool is_doubtful(const struct shard *shard)
{
    return shard->unverified || shard->regressed;
}

static void say(struct agg_replica *replica, uint32_t index, uint32_t node, enum agg_replica_msg_kind kind,
                uint32_t epoch, int64_t asked_mono_ms)
{
    const struct shard *shard = &replica->shards[index];
    struct agg_replica_action *action = act(replica, AGG_REPLICA_SEND, index);
    action->node = node;
    action->msg = (struct agg_replica_msg){
        .kind = kind, .shard = index, .epoch = epoch, .verified = !is_doubtful(shard), .asked_mono_ms = asked_mono_ms};
}

static void ask(struct agg_replica *replica, uint32_t index, uint64_t nodes, enum agg_replica_msg_kind kind)
{
    struct shard *shard = &replica->shards[index];
    if (shard->asked_mono_ms != 0 && replica->now_mono_ms - shard->asked_mono_ms < replica->conf.ask_ms) return;
    shard->asked_mono_ms = replica->now_mono_ms;
    for (uint32_t node = 0; node < WEIR_NODES_MOST; node++) {
        if ((nodes & bit(node)) != 0) say(replica, index, node, kind, shard->held.epoch, replica->now_mono_ms);
    }
}

/** Another one asks: it is answered under its epoch, when that is ours. */
static void on_question(struct agg_replica *replica, uint32_t node, const struct agg_replica_msg *msg)
{
    const struct shard *shard = &replica->shards[msg->shard];
    bool early = MUTANT(given_before_epoch) && msg->epoch > shard->held.epoch;
    if (msg->epoch > shard->held.epoch && !early) {
        act(replica, AGG_REPLICA_READ, msg->shard);
        return;
    }
    if (shard->held.role != AGG_ROLE_MEMBER || (msg->epoch != shard->held.epoch && !early)) return;
    if (msg->kind == AGG_REPLICA_ASK_MARKS)
        say(replica, msg->shard, node, AGG_REPLICA_MARKS, msg->epoch, msg->asked_mono_ms);
    else if (!is_doubtful(shard))
        say(replica, msg->shard, node, AGG_REPLICA_PAST, msg->epoch, msg->asked_mono_ms);
}

/** A member of this epoch says what its marks are. */
static void on_marks(struct agg_replica *replica, uint32_t node, const struct agg_replica_event *event)
{
    struct shard *shard = &replica->shards[event->msg.shard];
    if (shard->held.role == AGG_ROLE_JOINING && event->msg.verified && node == shard->source && !shard->again) {
        hold(replica, event->msg.shard, AGG_REPLICA_JOURNAL, AGG_ROLE_JOURNALING, shard->held.epoch);
        shard->asked_mono_ms = 0;
        return;
    }
    if (shard->held.role != AGG_ROLE_MEMBER) return;
    if (event->msg.verified && shard->leaving && event->msg.asked_mono_ms >= shard->leaving_mono_ms)
        shard->confirmed |= bit(node);
    if (!is_doubtful(shard) || shard->touch_due) return;
    if (event->covers)
        shard->matched |= bit(node);
    else
        shard->matched &= ~bit(node);
    uint64_t others = members_of(&shard->entry) & ~bit(replica->conf.self);
    /* One that lacks nothing will do, or all, when everybody was stopped. */
    bool enough = (event->covers && event->msg.verified) || (others & ~shard->matched) == 0;
    if (enough) shard->unverified = shard->regressed = false;
    bool is_late = replica->now_mono_ms - shard->unverified_mono_ms >= replica->conf.verify_ms;
    if (!event->covers && event->msg.verified && shard->unverified_mono_ms != 0 && is_late) shard->regressed = true;
}

static void on_message(struct agg_replica *replica, const struct agg_replica_event *event)
{
    const struct agg_replica_msg *msg = &event->msg;
    if (msg->shard >= WEIR_SHARDS || event->node >= WEIR_NODES_MOST) return;
    struct shard *shard = &replica->shards[msg->shard];
    if (msg->kind == AGG_REPLICA_ASK_MARKS || msg->kind == AGG_REPLICA_ASK_PAST) {
        on_question(replica, event->node, msg);
        return;
    }
    if (msg->epoch != shard->held.epoch || (members_of(&shard->entry) & bit(event->node)) == 0) return;
    if (msg->kind == AGG_REPLICA_MARKS) {
        on_marks(replica, event->node, event);
        return;
    }
    if (shard->held.role != AGG_ROLE_JOURNALING || event->node != shard->source || shard->again) return;
    if (event->covers) hold(replica, msg->shard, AGG_REPLICA_INSTALL, AGG_ROLE_WHOLE, shard->held.epoch);
}

/* ---- time ---- */

/** Do those who shall own the shard, but for us, own it? Or is there no room for them unless we go? */
static bool may_go(const struct shard *shard, uint32_t self)
{
    uint64_t missing = shard->wanted & ~members_of(&shard->entry) & ~bit(self);
    return shard->entry.member_count > 1 && (missing == 0 || shard->entry.member_count == WEIR_OWNERS_MOST);
}

static void tick_leaving(struct agg_replica *replica, uint32_t index)
{
    struct shard *shard = &replica->shards[index];
    uint32_t self = replica->conf.self;
    bool was_leaving = shard->leaving;
    bool unwanted = (shard->wanted & bit(self)) == 0 && may_go(shard, self);
    shard->leaving = shard->regressed || unwanted;
    if (!shard->leaving) return;
    if (!was_leaving) {
        shard->leaving_mono_ms = replica->now_mono_ms;
        shard->confirmed = 0;
    }
    uint64_t others = members_of(&shard->entry) & ~bit(self);
    if ((shard->confirmed & others) != 0 || (MUTANT(left_unconfirmed) && others != 0))
        propose_without(replica, index, self);
    else
        ask(replica, index, others, AGG_REPLICA_ASK_MARKS);
}

static void tick_unverified(struct agg_replica *replica, uint32_t index)
{
    struct shard *shard = &replica->shards[index];
    uint64_t others = members_of(&shard->entry) & ~bit(replica->conf.self);
    if (shard->unverified_mono_ms == 0) shard->unverified_mono_ms = replica->now_mono_ms;
    ask(replica, index, others, AGG_REPLICA_ASK_MARKS);
}

static void tick_member(struct agg_replica *replica, uint32_t index)
{
    struct shard *shard = &replica->shards[index];
    if (shard->touch_due) {
        struct weir_shard next = next_of(shard);
        propose(replica, index, &next, PURPOSE_TOUCH);
        return;
    }
    if (shard->entry.member_count == 1) shard->unverified = shard->regressed = false; /* nobody has more */
    tick_leaving(replica, index);
    if (shard->leaving) return;
    if (shard->unverified) {
        tick_unverified(replica, index);
        return;
    }
    uint64_t silent = (members_of(&shard->entry) | joining_of(&shard->entry)) & ~bit(replica->conf.self);
    silent &= replica->suspects;
    if (silent != 0) propose_without(replica, index, (uint32_t)__builtin_ctzll(silent));
}

static void tick_joining(struct agg_replica *replica, uint32_t index)
{
    struct shard *shard = &replica->shards[index];
    bool is_late = replica->now_mono_ms - shard->begun_mono_ms >= replica->conf.join_ms;
    bool is_stuck = is_late && shard->held.role != AGG_ROLE_WHOLE;
    if (is_stuck) shard->rest_until_mono_ms = replica->now_mono_ms + replica->conf.join_ms;
    if (is_stuck || (shard->wanted & bit(replica->conf.self)) == 0) {
        propose_without(replica, index, replica->conf.self);
    } else if (shard->again) {
        propose_join(replica, index);
    } else if (shard->held.role == AGG_ROLE_WHOLE) {
        struct weir_shard next = next_of(shard);
        drop(next.joining, &next.joining_count, replica->conf.self);
        next.members[next.member_count++] = (uint8_t)replica->conf.self;
        propose(replica, index, &next, PURPOSE_OTHER);
    } else {
        bool has_marks = shard->held.role == AGG_ROLE_JOURNALING;
        ask(replica, index, bit(shard->source), has_marks ? AGG_REPLICA_ASK_PAST : AGG_REPLICA_ASK_MARKS);
    }
}

/** The map may say more of us than is true: our disk was lost, or we were killed before we wrote it down. */
static void tick_nobody(struct agg_replica *replica, uint32_t index)
{
    const struct shard *shard = &replica->shards[index];
    uint64_t self = bit(replica->conf.self);
    bool is_joining = (joining_of(&shard->entry) & self) != 0;
    if ((members_of(&shard->entry) & self) != 0) {
        if (shard->entry.member_count > 1) propose_without(replica, index, replica->conf.self);
        return;
    }
    bool is_rested = replica->now_mono_ms >= shard->rest_until_mono_ms;
    bool has_room = shard->entry.joining_count < WEIR_JOINING_MOST && shard->entry.member_count < WEIR_OWNERS_MOST;
    if ((shard->wanted & self) == 0) {
        if (is_joining) propose_without(replica, index, replica->conf.self);
    } else if (shard->entry.member_count > 0 && (is_joining || (has_room && is_rested))) {
        propose_join(replica, index);
    }
}

static void tick(struct agg_replica *replica, uint32_t index)
{
    struct shard *shard = &replica->shards[index];
    bool swap_is_lost = replica->now_mono_ms - shard->swap_mono_ms >= SWAP_LOST_MS;
    if (shard->entry.epoch == 0 || (shard->purpose != PURPOSE_NONE && swap_is_lost)) {
        shard->purpose = PURPOSE_NONE;
        act(replica, AGG_REPLICA_READ, index);
        return;
    }
    if (shard->purpose != PURPOSE_NONE || shard->entry.epoch < shard->held.epoch) return;
    switch (shard->held.role) {
    case AGG_ROLE_MEMBER: tick_member(replica, index); break;
    case AGG_ROLE_NONE: tick_nobody(replica, index); break;
    default: tick_joining(replica, index); break;
    }
}

static void on_regressed(struct shard *shard)
{
    if (shard->held.role == AGG_ROLE_MEMBER)
        shard->regressed = true;
    else
        shard->again = true;
}

void agg_replica_step(struct agg_replica *replica, const struct agg_replica_event *event, int64_t now_mono_ms,
                      struct agg_replica_actions *out)
{
    assert(event->shard < WEIR_SHARDS);
    out->count = 0;
    replica->out = out;
    replica->now_mono_ms = now_mono_ms;
    switch (event->kind) {
    case AGG_REPLICA_TICK: tick(replica, event->shard); break;
    case AGG_REPLICA_SHARD: adopt(replica, event->shard, event->entry); break;
    case AGG_REPLICA_WANTED: replica->shards[event->shard].wanted = event->nodes; break;
    case AGG_REPLICA_SUSPECT: replica->suspects = event->nodes; break;
    case AGG_REPLICA_SWAPPED: on_swapped(replica, event); break;
    case AGG_REPLICA_MESSAGE: on_message(replica, event); break;
    case AGG_REPLICA_REGRESSED: on_regressed(&replica->shards[event->shard]); break;
    }
    replica->out = NULL;
}

struct agg_held agg_replica_held(const struct agg_replica *replica, uint32_t shard)
{
    return replica->shards[shard].held;
}

bool agg_replica_is_verified(const struct agg_replica *replica, uint32_t shard)
{
    const struct shard *of = &replica->shards[shard];
    return of->held.role == AGG_ROLE_MEMBER && !is_doubtful(of) && !of->touch_due;
}

bool agg_replica_is_leaving(const struct agg_replica *replica, uint32_t shard)
{
    const struct shard *of = &replica->shards[shard];
    return of->held.role == AGG_ROLE_MEMBER && (of->leaving || of->regressed);
}
