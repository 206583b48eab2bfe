#include "agent/ship_core.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdio.h>

#include "tests/support/cmocka.h"

/*
 * A conversation is a table of steps: what happens at which time, and which actions must follow, written as text:
 * "connect 0", "close REJECT", "HELLO", "PING", "DATA 7:3/1" (shard 7, record 3, first available 1), "release 7:3",
 * "poison 7:3", "renew", "alarm schema".
 */
enum what { TICK, LANE, SYNCED, UNSENT, UNFIT, BROKERS, RENEWED, WELCOME, ACK, NACK, CREDIT, PING };

struct step {
    int64_t at_ms;
    enum what what;
    uint32_t shard;
    uint64_t seq;    /* LANE: first_avail */
    uint64_t number; /* LANE, SYNCED: next. WELCOME, CREDIT: credit. ACK, NACK: expected. RENEWED: incarnation.
                       BROKERS: how many; @shard: ours */
    enum weir_code code;
    uint32_t retry_ms;
    const char *actions;
};

/** Lane 9 has one loss record, 3..20; everything else is one number long. */
static struct ship_span span_of(void *ctx, uint32_t shard, uint64_t seq)
{
    (void)ctx;
    if (shard == 9 && seq >= 3 && seq <= 20) return (struct ship_span){3, 20};
    return (struct ship_span){seq, seq};
}

static struct ship_core *create(uint32_t brokers)
{
    struct ship_conf conf = {.name = "edge-1", .instance = 77, .seed = 4, .brokers = brokers, .span = span_of};
    struct ship_core *core = NULL;
    assert_int_equal(ship_core_create(&conf, 1234, &core), 0);
    return core;
}

static void describe(const struct ship_actions *actions, char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < actions->count; i++) {
        const struct ship_action *a = &actions->at[i];
        if (i > 0) at += (size_t)snprintf(out + at, size - at, ", ");
        switch (a->kind) {
        case SHIP_CONNECT: at += (size_t)snprintf(out + at, size - at, "connect"); break;
        case SHIP_CLOSE: at += (size_t)snprintf(out + at, size - at, "close %s", weir_code_name(a->code)); break;
        case SHIP_SEND:
            at += (size_t)snprintf(out + at, size - at, "%s", weir_msg_kind_name(a->msg));
            if (a->msg == WEIR_MSG_DATA)
                at += (size_t)snprintf(out + at, size - at, " %u:%llu/%llu", a->shard, (unsigned long long)a->seq,
                                       (unsigned long long)a->first_avail);
            break;
        case SHIP_RELEASE:
            at += (size_t)snprintf(out + at, size - at, "release %u:%llu", a->shard, (unsigned long long)a->seq);
            break;
        case SHIP_POISON:
            at += (size_t)snprintf(out + at, size - at, "poison %u:%llu", a->shard, (unsigned long long)a->seq);
            break;
        case SHIP_RENEW: at += (size_t)snprintf(out + at, size - at, "renew"); break;
        case SHIP_ALARM: at += (size_t)snprintf(out + at, size - at, "alarm %s", ship_alarm_name(a->alarm)); break;
        }
    }
}

static void take_step(struct ship_core *core, const struct step *step, struct ship_actions *actions)
{
    struct weir_msg msg = {.shard = step->shard,
                           .seq = step->seq,
                           .expected = step->number,
                           .code = step->code,
                           .retry_ms = step->retry_ms};
    struct ship_event event = {.shard = step->shard, .seq = step->seq, .msg = &msg};
    switch (step->what) {
    case TICK: event.kind = SHIP_EVENT_TICK; break;
    case LANE:
        event.kind = SHIP_EVENT_LANE;
        event.first_avail = step->seq;
        event.next = step->number;
        break;
    case SYNCED:
        event.kind = SHIP_EVENT_SYNCED;
        event.next = step->number;
        break;
    case UNSENT: event.kind = SHIP_EVENT_UNSENT; break;
    case UNFIT: event.kind = SHIP_EVENT_UNFIT; break;
    case BROKERS:
        event.kind = SHIP_EVENT_BROKERS;
        event.brokers = (uint32_t)step->number;
        event.broker = step->shard == 99 ? SHIP_NO_BROKER : step->shard;
        event.shard = 0;
        break;
    case RENEWED:
        event.kind = SHIP_EVENT_RENEWED;
        event.inc = step->number;
        break;
    case WELCOME:
        event.kind = SHIP_EVENT_MSG;
        msg.kind = WEIR_MSG_WELCOME;
        msg.credit = (uint32_t)step->number;
        if (step->seq != 0) { /* one lane that the owners know */
            msg.lane_count = 1;
            msg.lanes[0] = (struct weir_lane){.shard = step->shard, .expected = step->seq};
        }
        break;
    case ACK:
    case NACK:
    case CREDIT:
    case PING:
        event.kind = SHIP_EVENT_MSG;
        msg.kind = step->what == ACK      ? WEIR_MSG_ACK
                   : step->what == NACK   ? WEIR_MSG_NACK
                   : step->what == CREDIT ? WEIR_MSG_CREDIT
                                          : WEIR_MSG_PING;
        msg.credit = (uint32_t)step->number;
        break;
    }
    ship_core_step(core, &event, step->at_ms, actions);
}

static void play(struct ship_core *core, const struct step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        static struct ship_actions actions;
        char got[8192];
        take_step(core, &steps[i], &actions);
        assert_false(actions.more);
        describe(&actions, got, sizeof got);
        if (strcmp(got, steps[i].actions) != 0)
            fail_msg("step %zu at %lld ms: expected '%s', got '%s'", i, (long long)steps[i].at_ms, steps[i].actions,
                     got);
    }
}

#define PLAY(core, ...)                                  \
    do {                                                 \
        const struct step steps[] = {__VA_ARGS__};       \
        play(core, steps, sizeof steps / sizeof *steps); \
    } while (0)

static void a_session_begins_with_hello_and_sends_in_the_window(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 7, 1, 12, .actions = ""}, {0, TICK, .actions = "connect, HELLO"}, {900, TICK, .actions = ""},
         {1000, TICK, .actions = "HELLO"},
         {1100, WELCOME, .number = 100,
          .actions = "DATA 7:1/1, DATA 7:2/1, DATA 7:3/1, DATA 7:4/1, DATA 7:5/1, DATA 7:6/1, DATA 7:7/1, DATA 7:8/1"},
         {1110, ACK, 7, 2, .actions = "release 7:2, DATA 7:9/3, DATA 7:10/3"},
         {1120, ACK, 7, 2, .actions = ""}, /* again: no news */
         {1120, ACK, 7, 1, .actions = ""}, {1130, ACK, 7, 10, .actions = "release 7:10, DATA 7:11/11"},
         {1140, ACK, 7, 11, .actions = "release 7:11"}, {1150, SYNCED, 7, .number = 13, .actions = "DATA 7:12/12"},
         {1160, ACK, 7, 99, .actions = ""}, /* never sent */
         {2100, TICK, .actions = "PING"}, {2101, PING, .actions = "PONG"});
    ship_core_destroy(core);
}

static void lanes_share_the_credit_in_turn(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 3, 1, 10, .actions = ""}, {0, LANE, 5, 4, 10, .actions = ""},
         {0, TICK, .actions = "connect, HELLO"},
         {5, WELCOME, .number = 3, .actions = "DATA 3:1/1, DATA 5:4/4, DATA 3:2/1"},
         {6, ACK, 5, 4, .actions = "release 5:4, DATA 5:5/5"},
         {7, CREDIT, .number = 5, .actions = "DATA 3:3/1, DATA 5:6/5"}, {8, CREDIT, .number = 0, .actions = ""},
         {9, ACK, 3, 1, .actions = "release 3:1"}, {9, ACK, 3, 3, .actions = "release 3:3"},
         {10, CREDIT, .number = 4, .actions = "DATA 3:4/4, DATA 5:7/5"});
    assert_int_equal(ship_core_state(core)->in_flight, 4);
    ship_core_destroy(core);
}

static void a_gap_goes_back_to_what_is_expected_and_once(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 7, 1, 4, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
         {5, WELCOME, .number = 100, .actions = "DATA 7:1/1, DATA 7:2/1, DATA 7:3/1"},
         {6, NACK, 7, 2, 1, WEIR_CODE_GAP, .actions = "DATA 7:1/1, DATA 7:2/1, DATA 7:3/1"},
         {7, NACK, 7, 3, 1, WEIR_CODE_GAP, .actions = ""}, /* the rest of the same window */
         {600, NACK, 7, 3, 1, WEIR_CODE_GAP, .actions = "DATA 7:1/1, DATA 7:2/1, DATA 7:3/1"},
         {700, ACK, 7, 1, .actions = "release 7:1"}, {701, NACK, 7, 3, 3, WEIR_CODE_GAP, .actions = "DATA 7:3/2"});
    assert_int_equal(ship_core_state(core)->resent, 7);
    assert_int_equal(ship_core_state(core)->nacks[WEIR_CODE_GAP], 4);
    ship_core_destroy(core);
}

static void five_seconds_without_progress_send_the_window_again(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 7, 1, 3, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
         {5, WELCOME, .number = 100, .actions = "DATA 7:1/1, DATA 7:2/1"}, {3000, PING, .actions = "PONG"},
         {5004, TICK, .actions = "PING"}, {5005, TICK, .actions = "DATA 7:1/1, DATA 7:2/1"},
         {5100, ACK, 7, 2, .actions = "release 7:2"}, {10200, PING, .actions = "PONG"},
         {10201, TICK, .actions = "PING"});
    assert_int_equal(ship_core_state(core)->timeouts, 1);
    ship_core_destroy(core);
}

static void busy_pauses_one_lane_and_not_the_others(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 3, 1, 2, .actions = ""}, {0, LANE, 5, 1, 3, .actions = ""},
         {0, TICK, .actions = "connect, HELLO"},
         {5, WELCOME, .number = 100, .actions = "DATA 3:1/1, DATA 5:1/1, DATA 5:2/1"},
         {10, NACK, 5, 1, 0, WEIR_CODE_BUSY, 400, .actions = ""}, {11, NACK, 5, 2, 1, WEIR_CODE_GAP, .actions = ""},
         {12, ACK, 3, 1, .actions = "release 3:1"}, {20, SYNCED, 3, .number = 3, .actions = "DATA 3:2/2"},
         {409, TICK, .actions = ""}, {410, TICK, .actions = "DATA 5:1/1, DATA 5:2/1"},
         {411, NACK, 5, 1, 0, WEIR_CODE_EPOCH, .actions = ""}, /* no time named: 250 ms */
         {661, TICK, .actions = "DATA 5:1/1, DATA 5:2/1"});
    ship_core_destroy(core);
}

static void reset_says_hello_again_and_sends_from_the_last_acknowledged(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 7, 1, 4, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
         {5, WELCOME, .number = 2, .actions = "DATA 7:1/1, DATA 7:2/1"},
         {6, ACK, 7, 1, .actions = "release 7:1, DATA 7:3/2"}, {7, NACK, .code = WEIR_CODE_RESET, .actions = "HELLO"},
         {7, NACK, .code = WEIR_CODE_RESET, .actions = ""}, {8, ACK, 7, 2, .actions = ""}, /* of the session before */
         {9, WELCOME, .number = 2, .actions = "DATA 7:2/2, DATA 7:3/2"});
    ship_core_destroy(core);
}

static void schema_stops_the_lane_until_the_next_session(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 7, 1, 3, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
         {5, WELCOME, .number = 9, .actions = "DATA 7:1/1, DATA 7:2/1"},
         {6, NACK, 7, 1, .code = WEIR_CODE_SCHEMA, .actions = "alarm schema"},
         {6, NACK, 7, 2, .code = WEIR_CODE_SCHEMA, .actions = ""}, {5900, TICK, .actions = "PING"},
         {5900, NACK, .code = WEIR_CODE_RESET, .actions = "HELLO"},
         {5901, WELCOME, .number = 9, .actions = "DATA 7:1/1, DATA 7:2/1"});
    ship_core_destroy(core);
}

static void poison_is_replaced_only_when_all_before_it_are_stored(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 7, 1, 4, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
         {5, WELCOME, .number = 9, .actions = "DATA 7:1/1, DATA 7:2/1, DATA 7:3/1"},
         {6, NACK, 7, 2, .code = WEIR_CODE_POISON, .actions = ""}, /* was 1 acknowledged? ask again */
         {256, TICK, .actions = "DATA 7:1/1, DATA 7:2/1, DATA 7:3/1"}, {257, ACK, 7, 1, .actions = "release 7:1"},
         {258, NACK, 7, 2, .code = WEIR_CODE_POISON, .actions = "poison 7:2, DATA 7:2/2, DATA 7:3/2"},
         {259, ACK, 7, 3, .actions = "release 7:3"}, {260, NACK, 7, 3, .code = WEIR_CODE_POISON, .actions = ""},
         {261, NACK, 7, 9, .code = WEIR_CODE_POISON, .actions = ""});
    ship_core_destroy(core);
}

static void a_record_that_cannot_be_sent_becomes_a_loss(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 7, 1, 4, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
         {5, WELCOME, .number = 9, .actions = "DATA 7:1/1, DATA 7:2/1, DATA 7:3/1"},
         {5, UNFIT, 7, 2, .actions = "poison 7:2, DATA 7:2/1, DATA 7:3/1"}, {6, ACK, 7, 3, .actions = "release 7:3"});
    ship_core_destroy(core);
}

static void a_full_socket_is_tried_again_shortly(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 7, 1, 4, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
         {5, WELCOME, .number = 9, .actions = "DATA 7:1/1, DATA 7:2/1, DATA 7:3/1"}, {5, UNSENT, 7, 3, .actions = ""},
         {5, UNSENT, 7, 2, .actions = ""}, {10, ACK, 7, 1, .actions = "release 7:1"},
         {25, TICK, .actions = "DATA 7:2/2, DATA 7:3/2"});
    ship_core_destroy(core);
}

static void a_loss_record_is_sent_once_and_acknowledged_as_a_whole(void **state)
{
    (void)state;
    for (uint64_t named = 3; named <= 20; named += 17) { /* by its first number and by its last */
        struct ship_core *core = create(1);
        PLAY(core, {0, LANE, 9, 1, 23, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
             {5, WELCOME, .number = 9, .actions = "DATA 9:1/1, DATA 9:2/1, DATA 9:3/1, DATA 9:21/1, DATA 9:22/1"},
             {6, ACK, 9, named, .actions = "release 9:20"},
             {7, NACK, 9, 22, 21, WEIR_CODE_GAP, .actions = "DATA 9:21/21, DATA 9:22/21"});
        ship_core_destroy(core);

        core = create(1);
        PLAY(core, {0, LANE, 9, 3, 22, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
             {5, WELCOME, .number = 9, .actions = "DATA 9:3/3, DATA 9:21/3"},
             {6, NACK, 9, 21, 11, WEIR_CODE_GAP, .actions = "DATA 9:3/3, DATA 9:21/3"}); /* 3..10 were stored before */
        ship_core_destroy(core);

        core = create(1); /* taken back, and those before it are in flight again */
        PLAY(core, {0, LANE, 9, 1, 23, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
             {5, WELCOME, .number = 3, .actions = "DATA 9:1/1, DATA 9:2/1, DATA 9:3/1"},
             {6, NACK, 9, 1, 0, WEIR_CODE_BUSY, .actions = ""}, {7, CREDIT, .number = 2, .actions = ""},
             {300, TICK, .actions = "DATA 9:1/1, DATA 9:2/1"},
             {301, ACK, 9, named, .actions = "release 9:20, DATA 9:21/21, DATA 9:22/21"});
        ship_core_destroy(core);
    }
}

/** Tick once a millisecond until something is done; the time of it. */
static int64_t tick_until(struct ship_core *core, int64_t from_ms, const char *actions, int64_t most_ms)
{
    for (int64_t now = from_ms; now <= from_ms + most_ms; now++) {
        static struct ship_actions out;
        struct ship_event tick = {.kind = SHIP_EVENT_TICK};
        char got[8192];
        ship_core_step(core, &tick, now, &out);
        describe(&out, got, sizeof got);
        if (strcmp(got, actions) == 0) return now;
    }
    fail_msg("'%s' did not come within %lld ms", actions, (long long)most_ms);
    return 0;
}

static void without_a_welcome_the_socket_is_made_anew_ever_more_rarely(void **state)
{
    (void)state;
    struct ship_core *core = create(3);
    int64_t now = 0;
    int64_t most_ms = SHIP_BACKOFF_LEAST_MS;
    uint32_t broker = ship_core_state(core)->broker;
    PLAY(core, {0, TICK, .actions = "connect, HELLO"});
    for (int round = 0; round < 9; round++) {
        int64_t closed = tick_until(core, now + 1, "close none", 20000);
        assert_int_equal(closed - now, SHIP_WELCOME_TIMEOUT_MS);
        assert_int_equal(ship_core_state(core)->phase, SHIP_WAITING);
        now = tick_until(core, closed, "connect, HELLO", most_ms + 1);
        broker = (broker + 1) % 3;
        assert_int_equal(ship_core_state(core)->broker, broker);
        most_ms = most_ms * 2 < SHIP_BACKOFF_MOST_MS ? most_ms * 2 : SHIP_BACKOFF_MOST_MS;
    }
    ship_core_destroy(core);
}

static void six_seconds_of_silence_end_a_session_and_nothing_is_forgotten(void **state)
{
    (void)state;
    struct ship_core *core = create(2);
    PLAY(core, {0, LANE, 7, 1, 4, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
         {5, WELCOME, .number = 2, .actions = "DATA 7:1/1, DATA 7:2/1"},
         {6, ACK, 7, 1, .actions = "release 7:1, DATA 7:3/2"}, {6005, TICK, .actions = "PING, DATA 7:2/2, DATA 7:3/2"},
         {6006, TICK, .actions = "close none"}, {6007, ACK, 7, 2, .actions = ""});
    assert_int_equal(ship_core_state(core)->in_flight, 0);
    int64_t now = tick_until(core, 6008, "connect, HELLO", 251);
    PLAY(core, {now, WELCOME, .number = 2, .actions = "DATA 7:2/2, DATA 7:3/2"});
    ship_core_destroy(core);
}

static void a_refused_session_moves_on_and_a_refused_lane_waits_longer_each_time(void **state)
{
    (void)state;
    struct ship_core *core = create(2);
    PLAY(core, {0, TICK, .actions = "connect, HELLO"},
         {5, NACK, .code = WEIR_CODE_REJECT, .actions = "alarm rejected, close REJECT"});
    ship_core_destroy(core);

    core = create(1);
    PLAY(core, {0, LANE, 7, 1, 3, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
         {5, WELCOME, .number = 9, .actions = "DATA 7:1/1, DATA 7:2/1"},
         {10, NACK, 7, 1, .code = WEIR_CODE_REJECT, .actions = "alarm rejected"},
         {11, NACK, 7, 2, .code = WEIR_CODE_REJECT, .actions = ""}, {2009, TICK, .actions = "PING"},
         {2010, TICK, .actions = "DATA 7:1/1, DATA 7:2/1"},
         {2011, NACK, 7, 1, .code = WEIR_CODE_REJECT, .actions = "alarm rejected"}, {6010, TICK, .actions = "PING"},
         {6011, PING, .actions = "PONG, DATA 7:1/1, DATA 7:2/1"});
    ship_core_destroy(core);
}

static void owners_that_lost_what_they_had_acknowledged_raise_an_alarm(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 7, 5, 7, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
         {5, WELCOME, .number = 9, .actions = "DATA 7:5/5, DATA 7:6/5"},
         {6, NACK, 7, 5, 2, WEIR_CODE_GAP, .actions = "alarm regressed"},
         {7, NACK, 7, 6, 2, WEIR_CODE_GAP, .actions = ""}, {3000, PING, .actions = "PONG"},
         {5006, TICK, .actions = "PING, DATA 7:5/5, DATA 7:6/5"});
    ship_core_destroy(core);
}

static void a_spool_that_was_set_back_begins_a_new_incarnation(void **state)
{
    (void)state;
    /* Found 5..9 in the spool and wrote 10 since; the owners have up to 39: 5..9 are theirs, 10 is not. */
    const struct step by_welcome[] = {{5, WELCOME, 7, 40, 9, .actions = "release 7:9, alarm rolled_back, renew"}};
    const struct step by_gap[] = {
        {5, WELCOME, .number = 2, .actions = "DATA 7:5/5, DATA 7:6/5"},
        {6, NACK, 7, 5, 40, WEIR_CODE_GAP, .actions = "release 7:9, alarm rolled_back, renew"}};
    const struct step by_ack[] = {
        {5, WELCOME, .number = 9, .actions = "DATA 7:5/5, DATA 7:6/5, DATA 7:7/5, DATA 7:8/5, DATA 7:9/5"},
        {6, ACK, 7, 9, 10, .actions = "release 7:9, DATA 7:10/10"},
        {7, ACK, 7, 10, 40, .actions = "alarm rolled_back, renew"}, /* 10 was not stored: only its number */
        {7, ACK, 7, 10, 40, .actions = ""}};
    const struct step by_history[] = {
        {5, WELCOME, .number = 9, .actions = "DATA 7:5/5, DATA 7:6/5, DATA 7:7/5, DATA 7:8/5, DATA 7:9/5"},
        {6, ACK, 7, 9, 10, .actions = "release 7:9, DATA 7:10/10"},
        {7, NACK, 7, 10, 11, WEIR_CODE_REJECT, .actions = "alarm rolled_back, renew"}};
    const struct {
        const struct step *steps;
        size_t count;
    } ways[] = {{by_welcome, 1}, {by_gap, 2}, {by_ack, 4}, {by_history, 3}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct ship_core *core = create(1);
        PLAY(core, {0, LANE, 7, 5, 10, .actions = ""}, {0, SYNCED, 7, .number = 11, .actions = ""},
             {0, TICK, .actions = "connect, HELLO"});
        play(core, ways[i].steps, ways[i].count);
        PLAY(core, {8, SYNCED, 7, .number = 12, .actions = ""}, /* nothing is sent meanwhile */
             {5200, PING, .actions = "PONG"}, {5201, TICK, .actions = "PING, renew"},
             {5300, RENEWED, .number = 99, .actions = ""}, {5300, LANE, 7, 1, 3, .actions = ""},
             {5300, TICK, .actions = "HELLO"}, {5301, WELCOME, .number = 9, .actions = "DATA 7:1/1, DATA 7:2/1"});
        struct ship_action data = {.kind = SHIP_SEND, .msg = WEIR_MSG_DATA, .shard = 7, .seq = 1, .first_avail = 1};
        struct weir_msg msg;
        ship_core_msg(core, &data, &msg);
        assert_int_equal(msg.inc, 99);
        ship_core_destroy(core);
    }
}

static void a_new_incarnation_waits_for_what_other_lanes_have_in_flight(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 7, 5, 10, .actions = ""}, {0, LANE, 8, 1, 3, .actions = ""},
         {0, SYNCED, 8, .number = 5, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
         {5, WELCOME, .number = 2, .actions = "DATA 7:5/5, DATA 8:1/1"},
         {6, NACK, 7, 5, 40, WEIR_CODE_GAP, .actions = "release 7:9, alarm rolled_back, DATA 8:2/1"},
         {7, ACK, 8, 1, 3, .actions = "release 8:1"}, /* 3 and 4 were written since */
         {8, ACK, 8, 2, 3, .actions = "release 8:2, renew"});
    ship_core_destroy(core);
}

static void what_was_written_since_the_start_waits_for_what_was_found_and_begins_alone(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 7, 5, 6, .actions = ""}, {0, SYNCED, 7, .number = 9, .actions = ""},
         {0, TICK, .actions = "connect, HELLO"}, {5, WELCOME, .number = 9, .actions = "DATA 7:5/5"},
         {6, ACK, 7, 5, 6, .actions = "release 7:5, DATA 7:6/6"},
         {7, ACK, 7, 6, 7, .actions = "release 7:6, DATA 7:7/7, DATA 7:8/7"});
    ship_core_destroy(core);
}

static void another_list_of_brokers_ends_the_session_only_where_ours_is_gone(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 7, 1, 3, .actions = ""}, {0, TICK, .actions = "connect, HELLO"},
         {5, WELCOME, .number = 1, .actions = "DATA 7:1/1"}, {6, BROKERS, 2, .number = 3, .actions = ""},
         {7, ACK, 7, 1, .actions = "release 7:1, DATA 7:2/2"});
    assert_int_equal(ship_core_state(core)->broker, 2);
    PLAY(core, {8, BROKERS, 99, .number = 2, .actions = "close RESET"}, {8, TICK, .actions = "connect, HELLO"},
         {9, WELCOME, .number = 1, .actions = "DATA 7:2/2"});
    assert_true(ship_core_state(core)->broker < 2);
    ship_core_destroy(core);
}

static void hello_tells_the_lanes_and_data_tells_its_place(void **state)
{
    (void)state;
    struct ship_core *core = create(1);
    PLAY(core, {0, LANE, 3, 4, 9, .actions = ""}, {0, LANE, 100, 1, 1, .actions = ""},
         {0, TICK, .actions = "connect, HELLO"});
    struct ship_action hello = {.kind = SHIP_SEND, .msg = WEIR_MSG_HELLO};
    struct weir_msg msg;
    uint8_t agent[16];
    ship_core_msg(core, &hello, &msg);
    weir_agent_id("edge-1", agent);
    assert_int_equal(msg.kind, WEIR_MSG_HELLO);
    assert_memory_equal(msg.agent, agent, sizeof agent);
    assert_string_equal(msg.name, "edge-1");
    assert_int_equal(msg.inc, 1234);
    assert_int_equal(msg.instance, 77);
    assert_int_equal(msg.schema, WEIR_SCHEMA);
    assert_int_equal(msg.lane_count, 2);
    assert_int_equal(msg.lanes[0].shard, 3);
    assert_int_equal(msg.lanes[0].first_avail, 4);
    assert_int_equal(msg.lanes[0].next, 9);
    assert_int_equal(msg.lanes[1].shard, 100);
    assert_int_equal(msg.lanes[1].next, 1);

    struct ship_action data = {.kind = SHIP_SEND, .msg = WEIR_MSG_DATA, .shard = 3, .seq = 6, .first_avail = 4};
    ship_core_msg(core, &data, &msg);
    assert_int_equal(msg.kind, WEIR_MSG_DATA);
    assert_int_equal(msg.shard, 3);
    assert_int_equal(msg.seq, 6);
    assert_int_equal(msg.first_avail, 4);
    ship_core_destroy(core);
}

static void a_large_credit_is_used_in_several_steps(void **state)
{
    (void)state;
    static struct ship_actions actions;
    struct ship_core *core = create(1);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        struct step lane = {0, LANE, shard, 1, 100, .actions = ""};
        take_step(core, &lane, &actions);
    }
    PLAY(core, {0, TICK, .actions = "connect, HELLO"});
    const struct step welcome = {1, WELCOME, .number = 100000};
    const struct step tick = {1, TICK};
    uint32_t sent = 0;
    take_step(core, &welcome, &actions);
    for (int steps = 0; steps < 100; steps++) {
        for (uint32_t i = 0; i < actions.count; i++)
            sent += actions.at[i].kind == SHIP_SEND;
        if (!actions.more) break;
        take_step(core, &tick, &actions);
    }
    assert_int_equal(sent, WEIR_SHARDS * SHIP_WINDOW);
    assert_int_equal(ship_core_state(core)->in_flight, WEIR_SHARDS * SHIP_WINDOW);
    ship_core_destroy(core);
}

static void without_memory_there_is_no_core(void **state)
{
    (void)state;
    struct ship_conf conf = {.name = "edge-1", .brokers = 1, .span = span_of};
    struct ship_core *core = NULL;
    weir_mem_fail_after(0);
    assert_int_equal(ship_core_create(&conf, 1, &core), WEIR_ENOMEM);
    weir_mem_fail_after(-1);
    assert_null(core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_begins_with_hello_and_sends_in_the_window),
        cmocka_unit_test(lanes_share_the_credit_in_turn),
        cmocka_unit_test(a_gap_goes_back_to_what_is_expected_and_once),
        cmocka_unit_test(five_seconds_without_progress_send_the_window_again),
        cmocka_unit_test(busy_pauses_one_lane_and_not_the_others),
        cmocka_unit_test(reset_says_hello_again_and_sends_from_the_last_acknowledged),
        cmocka_unit_test(schema_stops_the_lane_until_the_next_session),
        cmocka_unit_test(poison_is_replaced_only_when_all_before_it_are_stored),
        cmocka_unit_test(a_record_that_cannot_be_sent_becomes_a_loss),
        cmocka_unit_test(a_full_socket_is_tried_again_shortly),
        cmocka_unit_test(a_loss_record_is_sent_once_and_acknowledged_as_a_whole),
        cmocka_unit_test(without_a_welcome_the_socket_is_made_anew_ever_more_rarely),
        cmocka_unit_test(six_seconds_of_silence_end_a_session_and_nothing_is_forgotten),
        cmocka_unit_test(a_refused_session_moves_on_and_a_refused_lane_waits_longer_each_time),
        cmocka_unit_test(owners_that_lost_what_they_had_acknowledged_raise_an_alarm),
        cmocka_unit_test(a_spool_that_was_set_back_begins_a_new_incarnation),
        cmocka_unit_test(a_new_incarnation_waits_for_what_other_lanes_have_in_flight),
        cmocka_unit_test(what_was_written_since_the_start_waits_for_what_was_found_and_begins_alone),
        cmocka_unit_test(another_list_of_brokers_ends_the_session_only_where_ours_is_gone),
        cmocka_unit_test(hello_tells_the_lanes_and_data_tells_its_place),
        cmocka_unit_test(a_large_credit_is_used_in_several_steps),
        cmocka_unit_test(without_memory_there_is_no_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
