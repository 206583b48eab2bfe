#include "agent/decode/sequence.h"

#include "tests/support/cmocka.h"

struct step {
    uint32_t first;
    uint32_t units;
    int64_t clock;
    enum agent_arrival arrival;
};

/** Take the steps a millisecond apart, then let all gaps settle; returns the units lost. */
static uint64_t lost_after(const struct step *steps, size_t count)
{
    struct agent_sequence sequence = {0};
    uint64_t lost = 0;
    for (size_t i = 0; i < count; i++) {
        struct agent_order order = {
            .first = steps[i].first, .units = steps[i].units, .clock = steps[i].clock, .now_ms = (int64_t)i};
        assert_int_equal(agent_sequence_step(&sequence, &order, &lost), steps[i].arrival);
    }
    return lost + agent_sequence_settle(&sequence, 1000000);
}

#define LOST_AFTER(...) \
    lost_after((const struct step[]){__VA_ARGS__}, sizeof((const struct step[]){__VA_ARGS__}) / sizeof(struct step))

#define OK    AGENT_ARRIVAL_IN_ORDER
#define LATE  AGENT_ARRIVAL_LATE
#define TWICE AGENT_ARRIVAL_DUPLICATE
#define NEW   AGENT_ARRIVAL_RESTART

static void a_stream_without_gaps_has_lost_nothing(void **state)
{
    (void)state;
    assert_int_equal(LOST_AFTER({7, 30, 1, OK}, {37, 1, 1, OK}, {38, 0, 2, OK}, {38, 5, 3, OK}), 0);
}

static void a_gap_that_nothing_fills_is_lost(void **state)
{
    (void)state;
    assert_int_equal(LOST_AFTER({100, 30, 1, OK}, {330, 30, 2, OK}, {360, 30, 3, OK}), 200);
}

static void late_datagrams_fill_their_gap_in_any_order(void **state)
{
    (void)state;
    assert_int_equal(LOST_AFTER({0, 10, 1, OK}, {30, 10, 2, OK}, {20, 10, 2, LATE}, {10, 10, 1, LATE}), 0);
    assert_int_equal(LOST_AFTER({0, 10, 1, OK}, {40, 10, 2, OK}, {20, 10, 2, LATE}, {50, 10, 3, OK}), 20);
}

static void a_datagram_that_came_before_is_a_duplicate_and_no_restart(void **state)
{
    (void)state;
    assert_int_equal(
        LOST_AFTER({0, 10, 1, OK}, {10, 10, 2, OK}, {10, 10, 2, TWICE}, {0, 10, 1, TWICE}, {20, 10, 3, OK}), 0);
}

static void a_count_that_begins_anew_under_a_later_clock_is_a_restart(void **state)
{
    (void)state;
    assert_int_equal(LOST_AFTER({5000, 10, 1000, OK}, {0, 10, 2000, NEW}, {10, 10, 2001, OK}), 0);
    assert_int_equal(LOST_AFTER({5000, 10, 1000, OK}, {5020, 10, 1001, OK}, {0, 10, 2000, NEW}, {15, 10, 2001, OK}),
                     15);
}

static void the_count_wraps(void **state)
{
    (void)state;
    assert_int_equal(LOST_AFTER({0xfffffff0, 30, 1, OK}, {14, 30, 2, OK}), 0);
    assert_int_equal(LOST_AFTER({0xfffffff0, 5, 1, OK}, {5, 5, 2, OK}, {0xfffffff5, 16, 1, LATE}), 0);
    assert_int_equal(LOST_AFTER({0xfffffff0, 5, 1, OK}, {5, 5, 2, OK}), 16);
}

static void an_absurd_jump_is_another_count_and_no_loss(void **state)
{
    (void)state;
    assert_int_equal(LOST_AFTER({0, 10, 1, OK}, {1u << 30, 10, 2, NEW}, {(1u << 30) + 10, 10, 3, OK}), 0);
}

static void a_gap_is_lost_once_64_datagrams_came_after_it(void **state)
{
    (void)state;
    struct agent_sequence sequence = {0};
    uint64_t lost = 0;
    struct agent_order order = {.first = 0, .units = 1, .clock = 1};
    agent_sequence_step(&sequence, &order, &lost);
    order.first = 4;
    agent_sequence_step(&sequence, &order, &lost);
    for (uint32_t i = 1; i < AGENT_SEQUENCE_WINDOW; i++) {
        order.first++;
        agent_sequence_step(&sequence, &order, &lost);
        assert_int_equal(lost, 0);
    }
    order.first++;
    agent_sequence_step(&sequence, &order, &lost);
    assert_int_equal(lost, 3);
}

static void more_gaps_than_fit_are_lost_oldest_first_and_none_is_forgotten(void **state)
{
    (void)state;
    struct agent_sequence sequence = {0};
    uint64_t lost = 0;
    for (uint32_t i = 0; i < 40; i++) {
        struct agent_order order = {.first = i * 10, .units = 5, .clock = 1};
        agent_sequence_step(&sequence, &order, &lost);
    }
    assert_int_equal(sequence.gap_count, AGENT_SEQUENCE_GAPS);
    assert_int_equal(lost + agent_sequence_settle(&sequence, 1000000), 39 * 5);
}

static void records_that_could_not_be_counted_are_no_loss(void **state)
{
    (void)state;
    struct agent_sequence sequence = {0};
    uint64_t lost = 0;
    struct agent_order order = {.first = 10, .units = 2, .units_uncertain = true, .clock = 1};
    agent_sequence_step(&sequence, &order, &lost);
    order = (struct agent_order){.first = 32, .units = 5, .clock = 1};
    agent_sequence_step(&sequence, &order, &lost);
    order = (struct agent_order){.first = 40, .units = 5, .clock = 1};
    agent_sequence_step(&sequence, &order, &lost);
    assert_int_equal(lost + agent_sequence_settle(&sequence, 1000000), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_without_gaps_has_lost_nothing),
        cmocka_unit_test(a_gap_that_nothing_fills_is_lost),
        cmocka_unit_test(late_datagrams_fill_their_gap_in_any_order),
        cmocka_unit_test(a_datagram_that_came_before_is_a_duplicate_and_no_restart),
        cmocka_unit_test(a_count_that_begins_anew_under_a_later_clock_is_a_restart),
        cmocka_unit_test(the_count_wraps),
        cmocka_unit_test(an_absurd_jump_is_another_count_and_no_loss),
        cmocka_unit_test(a_gap_is_lost_once_64_datagrams_came_after_it),
        cmocka_unit_test(more_gaps_than_fit_are_lost_oldest_first_and_none_is_forgotten),
        cmocka_unit_test(records_that_could_not_be_counted_are_no_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
