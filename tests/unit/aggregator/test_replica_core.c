#include "aggregator/replica_core.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include "tests/support/cmocka.h"

enum { SHARD = 5, SELF = 1, OTHER = 0, THIRD = 2, ASK_MS = 100, VERIFY_MS = 3000, JOIN_MS = 2000 };

struct bench {
    struct agg_replica *replica;
    struct agg_replica_actions out;
    struct weir_shard map; /* what the map store says of the shard */
    int64_t now;
};

static void step(struct bench *b, struct agg_replica_event event)
{
    if (event.kind != AGG_REPLICA_SUSPECT && event.kind != AGG_REPLICA_MESSAGE) event.shard = SHARD;
    agg_replica_step(b->replica, &event, b->now, &b->out);
}

static void read_map(struct bench *b)
{
    step(b, (struct agg_replica_event){.kind = AGG_REPLICA_SHARD, .entry = &b->map});
}

static void tick(struct bench *b, int64_t ms)
{
    b->now += ms;
    step(b, (struct agg_replica_event){.kind = AGG_REPLICA_TICK});
}

/** An aggregator whose store says @role under @epoch, beside a map that says @members under 3. */
static struct bench begin(enum agg_role role, uint32_t epoch, bool unclean, uint8_t member_count,
                          const uint8_t members[3])
{
    struct bench b = {.now = 1000, .map = {.epoch = 3, .member_count = member_count}};
    struct agg_held held[WEIR_SHARDS] = {{0}};
    held[SHARD] = (struct agg_held){.epoch = epoch, .role = role};
    memcpy(b.map.members, members, member_count);
    struct agg_replica_conf conf = {
        .self = SELF, .held = held, .unclean = unclean, .ask_ms = ASK_MS, .verify_ms = VERIFY_MS, .join_ms = JOIN_MS};
    assert_int_equal(agg_replica_create(&conf, &b.replica), 0);
    step(&b, (struct agg_replica_event){.kind = AGG_REPLICA_WANTED, .nodes = 1u << OTHER | 1u << SELF});
    read_map(&b);
    return b;
}

/** The only action of the last step. */
static const struct agg_replica_action *the(const struct bench *b, enum agg_replica_action_kind kind)
{
    assert_int_equal(b->out.count, 1);
    assert_int_equal(b->out.action[0].kind, kind);
    return &b->out.action[0];
}

/** The swap of the last step is done, or another one was before it. */
static void swapped(struct bench *b)
{
    const struct weir_shard next = the(b, AGG_REPLICA_SWAP)->entry;
    bool done = next.epoch == b->map.epoch + 1;
    if (done) b->map = next;
    step(b, (struct agg_replica_event){.kind = AGG_REPLICA_SWAPPED, .done = done, .entry = &b->map});
}

static void hears(struct bench *b, uint32_t node, enum agg_replica_msg_kind kind, bool verified, bool covers)
{
    step(b,
         (struct agg_replica_event){
             .kind = AGG_REPLICA_MESSAGE,
             .node = node,
             .covers = covers,
             .msg = {
                 .kind = kind, .shard = SHARD, .epoch = b->map.epoch, .verified = verified, .asked_mono_ms = b->now}});
}

static void assert_held(const struct bench *b, enum agg_role role, uint32_t epoch)
{
    assert_int_equal(agg_replica_held(b->replica, SHARD).role, role);
    assert_int_equal(agg_replica_held(b->replica, SHARD).epoch, epoch);
}

static void who_joins_asks_for_marks_then_for_the_past_and_then_becomes_a_member(void **state)
{
    (void)state;
    struct bench b = begin(AGG_ROLE_NONE, 3, false, 1, (uint8_t[3]){OTHER});
    tick(&b, 0);
    assert_int_equal(the(&b, AGG_REPLICA_SWAP)->entry.joining[0], SELF);
    swapped(&b);
    assert_true(the(&b, AGG_REPLICA_HOLD)->wipe);
    assert_held(&b, AGG_ROLE_JOINING, 4);
    tick(&b, ASK_MS);
    assert_int_equal(the(&b, AGG_REPLICA_SEND)->msg.kind, AGG_REPLICA_ASK_MARKS);
    hears(&b, OTHER, AGG_REPLICA_MARKS, false, true); /* of one that may lack something */
    assert_int_equal(b.out.count, 0);
    hears(&b, OTHER, AGG_REPLICA_MARKS, true, false);
    the(&b, AGG_REPLICA_JOURNAL);
    tick(&b, ASK_MS);
    assert_int_equal(the(&b, AGG_REPLICA_SEND)->msg.kind, AGG_REPLICA_ASK_PAST);
    hears(&b, OTHER, AGG_REPLICA_PAST, true, false); /* older than the marks */
    assert_int_equal(b.out.count, 0);
    hears(&b, OTHER, AGG_REPLICA_PAST, true, true);
    the(&b, AGG_REPLICA_INSTALL);
    assert_held(&b, AGG_ROLE_WHOLE, 4);
    tick(&b, ASK_MS);
    swapped(&b);
    assert_int_equal(b.map.member_count, 2);
    assert_int_equal(b.map.joining_count, 0);
    assert_held(&b, AGG_ROLE_MEMBER, 5);
    assert_true(agg_replica_is_verified(b.replica, SHARD));
    agg_replica_destroy(b.replica);
}

static void a_map_makes_nobody_a_member(void **state)
{
    (void)state;
    struct bench b = begin(AGG_ROLE_NONE, 0, true, 2, (uint8_t[3]){OTHER, SELF}); /* its disk was lost */
    assert_held(&b, AGG_ROLE_NONE, 3);
    tick(&b, 0);
    swapped(&b);
    assert_int_equal(b.map.member_count, 1);
    tick(&b, 0);
    swapped(&b);
    assert_held(&b, AGG_ROLE_JOINING, 5);
    agg_replica_destroy(b.replica);
}

static void a_join_that_was_interrupted_begins_again_under_a_new_epoch(void **state)
{
    (void)state;
    struct bench b = begin(AGG_ROLE_JOURNALING, 2, false, 1, (uint8_t[3]){OTHER});
    b.map.joining_count = 1;
    b.map.joining[0] = SELF;
    b.map.epoch = 4;
    read_map(&b);
    assert_held(&b, AGG_ROLE_NONE, 4);
    tick(&b, 0);
    swapped(&b);
    assert_int_equal(b.map.joining_count, 1);
    assert_held(&b, AGG_ROLE_JOINING, 5);
    agg_replica_destroy(b.replica);
}

static void one_that_gets_no_marks_makes_way_and_rests_before_it_tries_again(void **state)
{
    (void)state;
    struct bench b = begin(AGG_ROLE_NONE, 3, false, 1, (uint8_t[3]){OTHER});
    tick(&b, 0);
    swapped(&b);
    tick(&b, JOIN_MS);
    swapped(&b);
    assert_int_equal(b.map.joining_count, 0);
    assert_held(&b, AGG_ROLE_NONE, 5);
    tick(&b, JOIN_MS - 1);
    assert_int_equal(b.out.count, 0);
    tick(&b, 1);
    the(&b, AGG_REPLICA_SWAP);
    agg_replica_destroy(b.replica);
}

static void after_a_crash_a_member_touches_its_shard_and_says_nothing_for_sure_until_it_is_verified(void **state)
{
    (void)state;
    struct bench b = begin(AGG_ROLE_MEMBER, 3, true, 2, (uint8_t[3]){OTHER, SELF});
    tick(&b, 0);
    assert_int_equal(the(&b, AGG_REPLICA_SWAP)->entry.member_count, 2);
    swapped(&b);
    assert_held(&b, AGG_ROLE_MEMBER, 4);
    step(&b, (struct agg_replica_event){.kind = AGG_REPLICA_SUSPECT, .nodes = 1u << OTHER});
    tick(&b, ASK_MS); /* it removes nobody */
    assert_int_equal(the(&b, AGG_REPLICA_SEND)->msg.kind, AGG_REPLICA_ASK_MARKS);
    hears(&b, OTHER, AGG_REPLICA_ASK_PAST, false, false);
    assert_int_equal(b.out.count, 0);
    hears(&b, OTHER, AGG_REPLICA_ASK_MARKS, false, false);
    assert_false(the(&b, AGG_REPLICA_SEND)->msg.verified);
    hears(&b, OTHER, AGG_REPLICA_MARKS, true, false);
    assert_false(agg_replica_is_verified(b.replica, SHARD));
    hears(&b, OTHER, AGG_REPLICA_MARKS, true, true);
    assert_true(agg_replica_is_verified(b.replica, SHARD));
    hears(&b, OTHER, AGG_REPLICA_ASK_PAST, false, false);
    assert_int_equal(the(&b, AGG_REPLICA_SEND)->msg.kind, AGG_REPLICA_PAST);
    tick(&b, ASK_MS);
    assert_int_equal(the(&b, AGG_REPLICA_SWAP)->entry.member_count, 1); /* now it removes the silent one */
    agg_replica_destroy(b.replica);
}

static void one_that_stays_behind_leaves_when_another_confirms_and_joins_again(void **state)
{
    (void)state;
    struct bench b = begin(AGG_ROLE_MEMBER, 3, true, 2, (uint8_t[3]){OTHER, SELF});
    tick(&b, 0);
    swapped(&b);
    tick(&b, ASK_MS);
    tick(&b, VERIFY_MS);
    hears(&b, OTHER, AGG_REPLICA_MARKS, true, false);
    assert_true(agg_replica_is_leaving(b.replica, SHARD));
    tick(&b, ASK_MS);
    the(&b, AGG_REPLICA_SEND);
    hears(&b, OTHER, AGG_REPLICA_MARKS, false, false); /* that one may lack something too */
    tick(&b, ASK_MS);
    the(&b, AGG_REPLICA_SEND);
    hears(&b, OTHER, AGG_REPLICA_MARKS, true, false);
    tick(&b, ASK_MS);
    swapped(&b);
    assert_true(the(&b, AGG_REPLICA_HOLD)->wipe);
    assert_int_equal(b.map.member_count, 1);
    tick(&b, ASK_MS);
    swapped(&b);
    assert_held(&b, AGG_ROLE_JOINING, b.map.epoch);
    agg_replica_destroy(b.replica);
}

static void nobody_leaves_before_those_who_shall_own_the_shard_do(void **state)
{
    (void)state;
    struct bench b = begin(AGG_ROLE_MEMBER, 3, false, 2, (uint8_t[3]){OTHER, SELF});
    step(&b, (struct agg_replica_event){.kind = AGG_REPLICA_WANTED, .nodes = 1u << OTHER | 1u << THIRD});
    tick(&b, ASK_MS);
    assert_int_equal(b.out.count, 0);
    b.map.members[b.map.member_count++] = THIRD;
    b.map.epoch++;
    read_map(&b);
    tick(&b, ASK_MS);
    assert_int_equal(b.out.count, 2); /* both are asked */
    b.now += ASK_MS;
    hears(&b, THIRD, AGG_REPLICA_MARKS, true, true);
    tick(&b, ASK_MS);
    swapped(&b);
    assert_held(&b, AGG_ROLE_NONE, b.map.epoch);
    agg_replica_destroy(b.replica);
}

static void a_question_under_a_newer_epoch_is_answered_when_that_is_held(void **state)
{
    (void)state;
    struct bench b = begin(AGG_ROLE_MEMBER, 3, false, 1, (uint8_t[3]){SELF});
    b.map.epoch = 4;
    b.map.joining[b.map.joining_count++] = THIRD;
    hears(&b, THIRD, AGG_REPLICA_ASK_MARKS, false, false);
    the(&b, AGG_REPLICA_READ);
    read_map(&b);
    the(&b, AGG_REPLICA_HOLD);
    hears(&b, THIRD, AGG_REPLICA_ASK_MARKS, false, false);
    assert_int_equal(the(&b, AGG_REPLICA_SEND)->msg.epoch, 4);
    agg_replica_destroy(b.replica);
}

static void a_swap_without_an_answer_is_looked_up(void **state)
{
    (void)state;
    struct bench b = begin(AGG_ROLE_NONE, 3, false, 1, (uint8_t[3]){OTHER});
    tick(&b, 0);
    the(&b, AGG_REPLICA_SWAP);
    tick(&b, 1999);
    assert_int_equal(b.out.count, 0);
    tick(&b, 1);
    the(&b, AGG_REPLICA_READ);
    agg_replica_destroy(b.replica);
}

static void what_strangers_send_is_ignored(void **state)
{
    (void)state;
    struct bench b = begin(AGG_ROLE_MEMBER, 3, true, 2, (uint8_t[3]){OTHER, SELF});
    for (uint32_t kind = AGG_REPLICA_ASK_MARKS; kind <= AGG_REPLICA_PAST; kind++) {
        struct agg_replica_event event = {.kind = AGG_REPLICA_MESSAGE,
                                          .node = WEIR_NODES_MOST,
                                          .msg = {.kind = (enum agg_replica_msg_kind)kind, .shard = SHARD, .epoch = 3}};
        step(&b, event);
        event.node = THIRD;
        event.msg.shard = WEIR_SHARDS;
        step(&b, event);
        event.msg.shard = SHARD;
        event.msg.epoch = 2;
        step(&b, event);
        assert_int_equal(b.out.count, 0);
    }
    agg_replica_destroy(b.replica);
}

static void creation_survives_a_failing_allocation(void **state)
{
    (void)state;
    struct agg_held held[WEIR_SHARDS] = {{0}};
    struct agg_replica_conf conf = {.held = held};
    struct agg_replica *replica = NULL;
    weir_mem_fail_after(0);
    assert_int_equal(agg_replica_create(&conf, &replica), WEIR_ENOMEM);
    weir_mem_fail_after(-1);
    assert_null(replica);
    agg_replica_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_joins_asks_for_marks_then_for_the_past_and_then_becomes_a_member),
        cmocka_unit_test(a_map_makes_nobody_a_member),
        cmocka_unit_test(a_join_that_was_interrupted_begins_again_under_a_new_epoch),
        cmocka_unit_test(one_that_gets_no_marks_makes_way_and_rests_before_it_tries_again),
        cmocka_unit_test(after_a_crash_a_member_touches_its_shard_and_says_nothing_for_sure_until_it_is_verified),
        cmocka_unit_test(one_that_stays_behind_leaves_when_another_confirms_and_joins_again),
        cmocka_unit_test(nobody_leaves_before_those_who_shall_own_the_shard_do),
        cmocka_unit_test(a_question_under_a_newer_epoch_is_answered_when_that_is_held),
        cmocka_unit_test(a_swap_without_an_answer_is_looked_up),
        cmocka_unit_test(what_strangers_send_is_ignored),
        cmocka_unit_test(creation_survives_a_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
