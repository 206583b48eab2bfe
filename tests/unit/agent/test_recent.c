#include "agent/recent.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include "tests/support/cmocka.h"

enum { LANE = 7, BODY = 100, RECORD = BODY + sizeof(struct agent_recent_record) };

/** A record whose body tells its number; whether it was kept. */
static bool put(struct agent_recent *recent, uint32_t shard, uint64_t seq)
{
    uint8_t body[BODY];
    memset(body, (int)seq, sizeof body);
    struct agent_recent_record record = {.seq = seq, .crc = (uint32_t)seq, .cum.flows = 10 * seq};
    assert_int_equal(weir_frames_add(&record.frames, weir_view_text("")), 0);
    assert_int_equal(weir_frames_add(&record.frames, weir_view_of(body, sizeof body)), 0);
    agent_recent_put(recent, shard, &record);
    bool kept = record.frames.count == 0;
    weir_frames_clear(&record.frames);
    return kept;
}

static bool has(const struct agent_recent *recent, uint32_t shard, uint64_t seq)
{
    const struct agent_recent_record *record = agent_recent_find(recent, shard, seq);
    if (record == NULL) return false;
    struct weir_view body = weir_frames_view(&record->frames, 1);
    assert_int_equal(record->cum.flows, 10 * seq);
    assert_int_equal(body.size, BODY);
    assert_int_equal(body.data[BODY - 1], (uint8_t)seq);
    return true;
}

static void records_are_found_until_they_are_released(void **state)
{
    (void)state;
    struct agent_recent *recent = NULL;
    assert_int_equal(agent_recent_create(1 << 20, &recent), 0);
    assert_false(has(recent, LANE, 1));
    for (uint64_t seq = 1; seq <= 300; seq++)
        assert_true(put(recent, LANE, seq));
    assert_true(put(recent, LANE + 1, 1));
    for (uint64_t seq = 1; seq <= 300; seq++)
        assert_true(has(recent, LANE, seq));
    assert_int_equal(agent_recent_bytes(recent), 301 * RECORD);

    agent_recent_release(recent, LANE, 250);
    agent_recent_release(recent, LANE, 10); /* late news */
    assert_false(has(recent, LANE, 250));
    assert_true(has(recent, LANE, 251));
    agent_recent_forget(recent, LANE, 260);
    agent_recent_forget(recent, LANE, 9999);
    assert_false(has(recent, LANE, 260));
    assert_true(has(recent, LANE + 1, 1));
    assert_int_equal(agent_recent_bytes(recent), 50 * RECORD);
    agent_recent_clear(recent);
    assert_int_equal(agent_recent_bytes(recent), 0);
    agent_recent_destroy(recent);
}

static void the_bound_is_kept_and_what_does_not_fit_stays_with_the_caller(void **state)
{
    (void)state;
    struct agent_recent *recent = NULL;
    assert_int_equal(agent_recent_create(10 * RECORD, &recent), 0);
    for (uint64_t seq = 1; seq <= 20; seq++)
        assert_int_equal(put(recent, LANE, seq), seq <= 10);
    assert_true(has(recent, LANE, 10));
    assert_false(has(recent, LANE, 11));
    agent_recent_release(recent, LANE, 1);
    assert_true(put(recent, LANE, 21));
    agent_recent_destroy(recent);
}

static void a_lane_that_is_stuck_keeps_its_youngest_within_its_slots(void **state)
{
    (void)state;
    struct agent_recent *recent = NULL;
    assert_int_equal(agent_recent_create(1 << 30, &recent), 0);
    for (uint64_t seq = 1; seq <= 3000; seq++)
        assert_true(put(recent, LANE, seq));
    assert_true(has(recent, LANE, 3000));
    assert_false(has(recent, LANE, 1));
    assert_int_equal(agent_recent_bytes(recent), 1024 * RECORD);
    agent_recent_destroy(recent);
}

static void without_memory_records_are_not_kept(void **state)
{
    (void)state;
    struct agent_recent *recent = NULL;
    weir_mem_fail_after(0);
    assert_int_equal(agent_recent_create(1000, &recent), WEIR_ENOMEM);
    weir_mem_fail_after(-1);
    assert_int_equal(agent_recent_create(100000, &recent), 0);
    struct agent_recent_record record = {.seq = 1};
    assert_int_equal(weir_frames_add(&record.frames, weir_view_text("header")), 0);
    assert_int_equal(weir_frames_add(&record.frames, weir_view_text("body")), 0);
    for (int successes = 0; successes < 2; successes++) { /* the lane's places, the record */
        weir_mem_fail_after(successes);
        agent_recent_put(recent, LANE, &record);
        weir_mem_fail_after(-1);
        assert_int_equal(record.frames.count, 2);
        assert_null(agent_recent_find(recent, LANE, 1));
        assert_int_equal(agent_recent_bytes(recent), 0);
    }
    weir_frames_clear(&record.frames);
    agent_recent_destroy(recent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_found_until_they_are_released),
        cmocka_unit_test(the_bound_is_kept_and_what_does_not_fit_stays_with_the_caller),
        cmocka_unit_test(a_lane_that_is_stuck_keeps_its_youngest_within_its_slots),
        cmocka_unit_test(without_memory_records_are_not_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
