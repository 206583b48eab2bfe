#include "aggregator/intake_core.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include "tests/support/cmocka.h"

enum { EPOCH = 3, PEER = 7 };

static struct weir_source source = {.domain = 1};
static struct agg_actions actions;

struct fixture {
    struct agg_intake *intake;
    struct weir_msg msg;
    struct weir_batch_header header;
};

static struct agg_intake *create(bool auto_loss)
{
    static struct agg_held held[WEIR_SHARDS];
    for (int i = 0; i < WEIR_SHARDS; i++)
        held[i] = (struct agg_held){.epoch = EPOCH, .role = AGG_ROLE_MEMBER};
    struct agg_intake_conf conf = {.held = held, .lanes_most = 64, .auto_loss = auto_loss, .busy_retry_ms = 100};
    struct agg_intake *intake = NULL;
    assert_int_equal(agg_intake_create(&conf, &intake), 0);
    return intake;
}

/** The batch @seq of a lane whose batches all have 10 flows, 20 packets and 30 bytes. */
static void batch_of(struct fixture *f, uint64_t seq)
{
    f->msg = (struct weir_msg){.kind = WEIR_MSG_STORE,
                               .epoch = EPOCH,
                               .seq = seq,
                               .first_avail = 1,
                               .crc = (uint32_t)seq * 17,
                               .shard = weir_shard_of("acme", &source),
                               .tenant = "acme",
                               .inc = 99,
                               .cum = {.flows = 10 * seq, .packets = 20 * seq, .bytes = 30 * seq}};
    f->msg.agent[0] = 1;
    f->header = (struct weir_batch_header){.kind = WEIR_RECORD_DATA,
                                           .schema = WEIR_SCHEMA,
                                           .source = source,
                                           .totals = {.flows = 10, .packets = 20, .bytes = 30}};
}

static void loss_of(struct fixture *f, uint64_t seq, uint64_t to)
{
    batch_of(f, to);
    f->msg.seq = seq;
    f->header.kind = WEIR_RECORD_LOSS;
    f->header.lost_to_seq = to;
    uint64_t n = to - seq + 1;
    f->header.totals = (struct weir_batch_totals){.flows = 10 * n, .packets = 20 * n, .bytes = 30 * n};
}

static void step(struct fixture *f)
{
    struct agg_event event = {.kind = AGG_EVENT_MESSAGE,
                              .peer = PEER,
                              .msg = &f->msg,
                              .header = &f->header,
                              .opened = true,
                              .crc = f->msg.crc};
    agg_intake_step(f->intake, &event, &actions);
}

static void tell(struct fixture *f, enum agg_event_kind kind)
{
    struct agg_event event = {.kind = kind};
    agg_intake_step(f->intake, &event, &actions);
}

/** Feed the message, loading a mark of @seq batches when the core asks for it. */
static void offer(struct fixture *f, uint64_t stored)
{
    step(f);
    if (actions.count != 1 || actions.action[0].kind != AGG_ACTION_LOAD) return;
    struct agg_event event = {.kind = AGG_EVENT_MARK, .lane = actions.action[0].lane};
    event.mark = (struct agg_mark){.seq = stored,
                                   .cum = {.flows = 10 * stored, .packets = 20 * stored, .bytes = 30 * stored},
                                   .crc = (uint32_t)stored * 17};
    agg_intake_step(f->intake, &event, &actions);
    step(f);
}

/** The store says now that the shard of the lane is held so. */
static void hold(struct fixture *f, uint32_t epoch, enum agg_role role, bool repairs)
{
    struct agg_event event = {.kind = AGG_EVENT_HELD,
                              .shard = weir_shard_of("acme", &source),
                              .held = {.epoch = epoch, .role = role, .repairs = repairs}};
    agg_intake_step(f->intake, &event, &actions);
}

static void assert_reply(enum weir_msg_kind kind, enum weir_code code, uint64_t expected)
{
    const struct agg_action *last = &actions.action[actions.count - 1];
    assert_int_equal(last->kind, AGG_ACTION_SEND);
    assert_int_equal(last->peer, PEER);
    assert_int_equal(last->reply.kind, kind);
    assert_int_equal(last->reply.code, code);
    assert_int_equal(last->reply.expected, expected);
}

static void assert_ledger(const struct agg_intake *intake)
{
    uint64_t sum = agg_intake_waiting(intake);
    for (int i = 0; i < AGG_FATES_COUNT; i++)
        sum += agg_intake_fates(intake)[i];
    assert_int_equal(sum, agg_intake_received(intake));
}

static void an_acknowledgement_waits_for_the_commit(void **state)
{
    (void)state;
    struct fixture f = {.intake = create(false)};
    batch_of(&f, 1);
    offer(&f, 0);
    assert_int_equal(actions.count, 1);
    assert_int_equal(actions.action[0].kind, AGG_ACTION_WRITE);
    assert_int_equal(actions.action[0].mark.seq, 1);
    assert_int_equal(actions.action[0].mark.cum.bytes, 30);

    step(&f); /* the same batch again, while the write runs */
    assert_int_equal(actions.count, 0);
    assert_int_equal(agg_intake_waiting(f.intake), 2);

    tell(&f, AGG_EVENT_COMMITTED);
    assert_int_equal(actions.count, 2);
    assert_reply(WEIR_MSG_SACK, WEIR_CODE_NONE, 2);
    assert_int_equal(agg_intake_fates(f.intake)[AGG_FATE_stored], 1);
    assert_int_equal(agg_intake_fates(f.intake)[AGG_FATE_duplicate], 1);
    assert_ledger(f.intake);
    agg_intake_destroy(f.intake);
}

static void bytes_are_opened_only_when_they_are_next(void **state)
{
    (void)state;
    struct fixture f = {.intake = create(false)};
    batch_of(&f, 5);
    offer(&f, 5);
    struct agg_event event = {.kind = AGG_EVENT_MESSAGE, .peer = PEER, .msg = &f.msg, .header = &f.header};
    for (uint64_t seq = 4; seq <= 7; seq++) {
        batch_of(&f, seq);
        agg_intake_step(f.intake, &event, &actions);
        assert_int_equal(actions.count, 1);
        assert_int_equal(actions.action[0].kind, seq == 6 ? AGG_ACTION_OPEN : AGG_ACTION_SEND);
        assert_ledger(f.intake);
    }
    agg_intake_destroy(f.intake);
}

static void a_failed_write_is_as_if_it_had_not_been(void **state)
{
    (void)state;
    struct fixture f = {.intake = create(false)};
    for (uint64_t seq = 1; seq <= 3; seq++) {
        batch_of(&f, seq);
        offer(&f, 0);
    }
    tell(&f, AGG_EVENT_FAILED);
    assert_int_equal(actions.count, 3);
    assert_reply(WEIR_MSG_SNACK, WEIR_CODE_BUSY, 0);
    batch_of(&f, 2);
    step(&f);
    assert_reply(WEIR_MSG_SNACK, WEIR_CODE_GAP, 1);
    assert_ledger(f.intake);
    agg_intake_destroy(f.intake);
}

static void what_cannot_be_taken_is_refused_with_its_reason(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        enum weir_code code;
        enum agg_fate fate;
        uint64_t expected;
    } cases[] = {
        {"gap", WEIR_CODE_GAP, AGG_FATE_gap, 6},           {"epoch", WEIR_CODE_EPOCH, AGG_FATE_epoch, 0},
        {"ahead", WEIR_CODE_BUSY, AGG_FATE_ahead, 0},      {"owner", WEIR_CODE_NOTOWNER, AGG_FATE_notowner, 0},
        {"joining", WEIR_CODE_BUSY, AGG_FATE_joining, 0},  {"busy", WEIR_CODE_BUSY, AGG_FATE_busy, 0},
        {"crc", WEIR_CODE_CHECKSUM, AGG_FATE_checksum, 6}, {"header", WEIR_CODE_POISON, AGG_FATE_poison, 6},
        {"body", WEIR_CODE_POISON, AGG_FATE_poison, 6},    {"version", WEIR_CODE_SCHEMA, AGG_FATE_schema, 6},
        {"codec", WEIR_CODE_SCHEMA, AGG_FATE_schema, 6},   {"place", WEIR_CODE_REJECT, AGG_FATE_misplaced, 6},
        {"loss", WEIR_CODE_POISON, AGG_FATE_poison, 6},    {"fork", WEIR_CODE_REJECT, AGG_FATE_history, 6},
        {"lost", WEIR_CODE_GAP, AGG_FATE_gap, 6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fixture f = {.intake = create(false)};
        batch_of(&f, 5);
        offer(&f, 5);
        assert_reply(WEIR_MSG_SACK, WEIR_CODE_NONE, 6);

        batch_of(&f, 6);
        struct agg_event event = {
            .kind = AGG_EVENT_MESSAGE, .peer = PEER, .msg = &f.msg, .header = &f.header, .opened = true};
        const char *what = cases[i].what;
        if (strcmp(what, "gap") == 0) f.msg.seq = 7;
        if (strcmp(what, "epoch") == 0) f.msg.epoch = EPOCH - 1;
        if (strcmp(what, "ahead") == 0) f.msg.epoch = EPOCH + 1;
        if (strcmp(what, "header") == 0) event.header = NULL, event.decoded = WEIR_EFORMAT;
        if (strcmp(what, "body") == 0) event.decoded = WEIR_ECORRUPT;
        if (strcmp(what, "version") == 0) event.header = NULL, event.decoded = WEIR_EVERSION;
        if (strcmp(what, "codec") == 0) event.decoded = WEIR_EUNSUPPORTED;
        if (strcmp(what, "place") == 0) strcpy(f.msg.tenant, "other");
        if (strcmp(what, "loss") == 0) f.header.kind = WEIR_RECORD_LOSS, f.header.lost_to_seq = 5;
        if (strcmp(what, "fork") == 0) f.msg.seq = 5, f.msg.crc = 1;
        if (strcmp(what, "lost") == 0) f.msg.seq = 9, f.msg.first_avail = 9;
        event.crc = f.msg.crc + (strcmp(what, "crc") == 0);
        if (strcmp(what, "owner") == 0) hold(&f, EPOCH, AGG_ROLE_NONE, false);
        if (strcmp(what, "joining") == 0) hold(&f, EPOCH, AGG_ROLE_JOINING, false);
        if (strcmp(what, "busy") == 0)
            agg_intake_step(f.intake, &(struct agg_event){.kind = AGG_EVENT_PRESSURE, .busy = true}, &actions);

        agg_intake_step(f.intake, &event, &actions);
        if (strcmp(what, "ahead") == 0) {
            assert_int_equal(actions.action[--actions.count].kind, AGG_ACTION_READ_MAP);
        }
        assert_reply(WEIR_MSG_SNACK, cases[i].code, cases[i].expected);
        assert_int_equal(agg_intake_fates(f.intake)[cases[i].fate], 1);
        assert_int_equal(agg_intake_waiting(f.intake), 0);
        assert_ledger(f.intake);
        agg_intake_destroy(f.intake);
    }
}

static void a_newer_epoch_is_followed_when_it_is_held_and_the_older_one_refused_then(void **state)
{
    (void)state;
    struct fixture f = {.intake = create(false)};
    batch_of(&f, 1);
    offer(&f, 0);
    tell(&f, AGG_EVENT_COMMITTED);
    assert_int_equal(actions.action[0].reply.epoch, EPOCH);
    batch_of(&f, 2);
    f.msg.epoch = EPOCH + 1;
    step(&f);
    assert_int_equal(actions.action[1].kind, AGG_ACTION_READ_MAP);
    hold(&f, EPOCH + 1, AGG_ROLE_MEMBER, false);
    step(&f); /* the mark is still known */
    assert_int_equal(actions.action[0].kind, AGG_ACTION_WRITE);
    tell(&f, AGG_EVENT_COMMITTED);
    assert_int_equal(actions.action[0].reply.epoch, EPOCH + 1);
    batch_of(&f, 2); /* known already, and yet nothing is said under an epoch that is over */
    step(&f);
    assert_reply(WEIR_MSG_SNACK, WEIR_CODE_EPOCH, 0);
    assert_int_equal(actions.action[0].reply.epoch, EPOCH + 1);
    assert_ledger(f.intake);
    agg_intake_destroy(f.intake);
}

static void who_joins_writes_a_journal_and_reads_the_marks_anew_when_it_is_whole(void **state)
{
    (void)state;
    struct fixture f = {.intake = create(false)};
    hold(&f, EPOCH, AGG_ROLE_JOURNALING, true);
    batch_of(&f, 5);
    step(&f);
    assert_int_equal(actions.action[0].kind, AGG_ACTION_LOAD);
    assert_true(actions.action[0].journal);
    offer(&f, 4);
    assert_int_equal(actions.action[0].kind, AGG_ACTION_WRITE);
    assert_true(actions.action[0].journal);
    tell(&f, AGG_EVENT_COMMITTED);
    assert_reply(WEIR_MSG_SACK, WEIR_CODE_NONE, 6);
    hold(&f, EPOCH, AGG_ROLE_WHOLE, true);
    batch_of(&f, 6);
    step(&f);
    assert_int_equal(actions.action[0].kind, AGG_ACTION_LOAD);
    assert_false(actions.action[0].journal);
    offer(&f, 5);
    assert_false(actions.action[0].journal);
    agg_intake_destroy(f.intake);
}

static void lost_history_that_another_member_has_is_reported_and_nothing_is_taken(void **state)
{
    (void)state;
    struct fixture f = {.intake = create(true)};
    hold(&f, EPOCH, AGG_ROLE_MEMBER, true);
    batch_of(&f, 9);
    f.msg.first_avail = 8;
    offer(&f, 4);
    assert_int_equal(actions.count, 2);
    assert_int_equal(actions.action[0].reply.code, WEIR_CODE_BUSY);
    assert_int_equal(actions.action[1].kind, AGG_ACTION_REGRESSED);
    assert_int_equal(agg_intake_fates(f.intake)[AGG_FATE_joining], 1);
    assert_ledger(f.intake);
    agg_intake_destroy(f.intake);
}

static void sums_that_differ_raise_an_alarm_once(void **state)
{
    (void)state;
    struct fixture f = {.intake = create(false)};
    batch_of(&f, 3);
    f.msg.cum.bytes += 7;
    offer(&f, 2);
    assert_int_equal(actions.count, 2);
    assert_int_equal(actions.action[0].kind, AGG_ACTION_ALARM);
    assert_int_equal(actions.action[0].alarm, AGG_ALARM_CUM);
    assert_int_equal(actions.action[0].expected_cum.bytes, 90);
    assert_int_equal(actions.action[0].got_cum.bytes, 97);
    batch_of(&f, 4);
    f.msg.cum.bytes += 7;
    step(&f);
    assert_int_equal(actions.count, 1);
    agg_intake_destroy(f.intake);
}

static void a_loss_record_moves_the_mark_over_its_range(void **state)
{
    (void)state;
    struct fixture f = {.intake = create(false)};
    loss_of(&f, 3, 8);
    offer(&f, 2);
    assert_int_equal(actions.count, 1);
    assert_int_equal(actions.action[0].kind, AGG_ACTION_WRITE);
    assert_int_equal(actions.action[0].mark.seq, 8);
    assert_int_equal(actions.action[0].lost.flows, 60);
    tell(&f, AGG_EVENT_COMMITTED);

    batch_of(&f, 8); /* was on its way when the spool dropped it */
    step(&f);
    assert_reply(WEIR_MSG_SACK, WEIR_CODE_NONE, 9);
    batch_of(&f, 9);
    step(&f);
    assert_int_equal(actions.action[0].kind, AGG_ACTION_WRITE);
    agg_intake_destroy(f.intake);
}

static void a_loss_of_what_is_partly_stored_counts_only_the_rest(void **state)
{
    (void)state;
    struct fixture f = {.intake = create(false)};
    loss_of(&f, 3, 8);
    offer(&f, 5);
    assert_int_equal(actions.count, 1);
    assert_int_equal(actions.action[0].kind, AGG_ACTION_LOSS);
    assert_int_equal(actions.action[0].first_seq, 6);
    assert_int_equal(actions.action[0].last_seq, 8);
    assert_int_equal(actions.action[0].lost.flows, 30);
    assert_int_equal(actions.action[0].mark.seq, 8);
    tell(&f, AGG_EVENT_COMMITTED);
    assert_reply(WEIR_MSG_SACK, WEIR_CODE_NONE, 9);
    assert_int_equal(actions.action[0].reply.seq, 3);
    agg_intake_destroy(f.intake);
}

static void lost_history_is_bridged_only_when_an_operator_says_so(void **state)
{
    (void)state;
    struct fixture f = {.intake = create(true)};
    batch_of(&f, 12);
    f.msg.first_avail = 11;
    offer(&f, 4);
    assert_reply(WEIR_MSG_SNACK, WEIR_CODE_GAP, 11);

    batch_of(&f, 11);
    f.msg.first_avail = 11;
    step(&f);
    assert_int_equal(actions.count, 3);
    assert_int_equal(actions.action[0].alarm, AGG_ALARM_LOST_HISTORY);
    assert_int_equal(actions.action[1].kind, AGG_ACTION_LOSS);
    assert_int_equal(actions.action[1].first_seq, 5);
    assert_int_equal(actions.action[1].last_seq, 10);
    assert_int_equal(actions.action[1].lost.flows, 60);
    assert_int_equal(actions.action[2].kind, AGG_ACTION_WRITE);
    assert_int_equal(actions.action[2].mark.seq, 11);
    agg_intake_destroy(f.intake);
}

static void marks_in_memory_stay_bounded_and_waiting_lanes_are_kept(void **state)
{
    (void)state;
    struct fixture f = {.intake = create(false)};
    batch_of(&f, 1);
    offer(&f, 0);
    for (uint64_t lane = 1000; lane < 1500; lane++) {
        batch_of(&f, 5);
        f.msg.inc = lane;
        offer(&f, 5);
        assert_reply(WEIR_MSG_SACK, WEIR_CODE_NONE, 6);
    }
    tell(&f, AGG_EVENT_COMMITTED);
    assert_int_equal(actions.count, 1);
    assert_reply(WEIR_MSG_SACK, WEIR_CODE_NONE, 2);

    batch_of(&f, 5);
    f.msg.inc = 1000; /* long forgotten */
    step(&f);
    assert_int_equal(actions.action[0].kind, AGG_ACTION_LOAD);
    agg_intake_destroy(f.intake);
}

/*
 * A lane over a network that loses, repeats and reorders, to an aggregator whose writes fail and that is killed at any
 * step. Whatever happens: what was acknowledged is stored, and nothing is stored twice or out of order.
 */
static void acknowledged_means_stored_once_whatever_happens(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        uint64_t random = seed * 0x9e3779b97f4a7c15ull;
        struct fixture f = {.intake = create(false)};
        uint64_t durable = 0, group = 0, acked = 0;
        for (int i = 0; i < 400; i++) {
            random = random * 6364136223846793005ull + 1442695040888963407ull;
            uint32_t dice = (uint32_t)(random >> 33) % 100;
            if (dice < 70) {
                uint64_t seq = acked + 1 + (random >> 20) % 8;
                if (dice < 50) seq = (group > 0 ? group : durable) + 1;
                if (dice < 10 && acked > 0) seq = 1 + (random >> 20) % acked;
                batch_of(&f, seq);
                f.msg.first_avail = dice < 10 ? 1 : acked + 1;
                offer(&f, durable);
                for (uint32_t a = 0; a < actions.count; a++) {
                    if (actions.action[a].kind != AGG_ACTION_WRITE) continue;
                    assert_int_equal(actions.action[a].mark.seq, (group > 0 ? group : durable) + 1);
                    group = actions.action[a].mark.seq;
                }
            } else if (dice < 90) {
                if (group > 0) durable = group;
                group = 0;
                tell(&f, AGG_EVENT_COMMITTED);
            } else if (dice < 95) {
                group = 0;
                tell(&f, AGG_EVENT_FAILED);
            } else {
                if (dice < 98 && group > 0) durable = group; /* killed after the sync, before the acknowledgement */
                group = 0;
                agg_intake_destroy(f.intake);
                f.intake = create(false);
                actions.count = 0;
            }
            for (uint32_t a = 0; a < actions.count; a++) {
                const struct agg_reply *reply = &actions.action[a].reply;
                if (actions.action[a].kind != AGG_ACTION_SEND || reply->kind != WEIR_MSG_SACK) continue;
                assert_true(reply->seq <= durable);
                if (reply->seq > acked && (random >> 40) % 4 != 0) acked = reply->seq;
            }
            assert_ledger(f.intake);
        }
        assert_true(durable > 20);
        agg_intake_destroy(f.intake);
    }
}

static void creation_survives_every_failing_allocation(void **state)
{
    (void)state;
    struct agg_held held[WEIR_SHARDS] = {{0}};
    struct agg_intake_conf conf = {.held = held, .lanes_most = 64};
    struct agg_intake *intake = NULL;
    weir_mem_fail_after(0);
    assert_int_equal(agg_intake_create(&conf, &intake), WEIR_ENOMEM);
    weir_mem_fail_after(-1);
    assert_null(intake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_acknowledgement_waits_for_the_commit),
        cmocka_unit_test(bytes_are_opened_only_when_they_are_next),
        cmocka_unit_test(a_failed_write_is_as_if_it_had_not_been),
        cmocka_unit_test(what_cannot_be_taken_is_refused_with_its_reason),
        cmocka_unit_test(a_newer_epoch_is_followed_when_it_is_held_and_the_older_one_refused_then),
        cmocka_unit_test(who_joins_writes_a_journal_and_reads_the_marks_anew_when_it_is_whole),
        cmocka_unit_test(lost_history_that_another_member_has_is_reported_and_nothing_is_taken),
        cmocka_unit_test(sums_that_differ_raise_an_alarm_once),
        cmocka_unit_test(a_loss_record_moves_the_mark_over_its_range),
        cmocka_unit_test(a_loss_of_what_is_partly_stored_counts_only_the_rest),
        cmocka_unit_test(lost_history_is_bridged_only_when_an_operator_says_so),
        cmocka_unit_test(marks_in_memory_stay_bounded_and_waiting_lanes_are_kept),
        cmocka_unit_test(acknowledged_means_stored_once_whatever_happens),
        cmocka_unit_test(creation_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
