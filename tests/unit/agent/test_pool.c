#include "agent/pool.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include "tests/support/cmocka.h"

enum { WHOLES = 3, LEAST = 64, SMALL = WHOLES * WEIR_BATCH_MOST / LEAST };

static struct agent_pool *make_pool(void)
{
    struct agent_pool *pool = NULL;
    assert_int_equal(agent_pool_create(WHOLES * agent_pool_batch_bytes(WEIR_BATCH_MOST), &pool), 0);
    return pool;
}

static struct weir_batch *take(struct agent_pool *pool, uint32_t rows)
{
    struct weir_batch *batch = NULL;
    assert_int_equal(agent_pool_take(pool, rows, &batch), 0);
    assert_true(weir_batch_check(batch));
    assert_int_equal(batch->count, 0);
    assert_true(batch->capacity >= rows);
    return batch;
}

static void a_batch_that_was_given_back_is_the_first_to_be_taken_again(void **state)
{
    (void)state;
    struct agent_pool *pool = make_pool();
    struct weir_batch *batch[WHOLES];
    for (int i = 0; i < WHOLES; i++)
        batch[i] = take(pool, 2049);
    struct weir_batch *last = batch[1];
    agent_pool_give(pool, &batch[0]);
    agent_pool_give(pool, &batch[1]);
    assert_null(batch[1]);
    agent_pool_give(pool, &batch[1]);
    batch[0] = take(pool, WEIR_BATCH_MOST);
    assert_ptr_equal(batch[0], last);
    agent_pool_give(pool, &batch[0]);
    agent_pool_give(pool, &batch[2]);
    agent_pool_destroy(pool);
}

static void it_is_full_when_all_is_taken_and_whole_again_when_all_came_back(void **state)
{
    (void)state;
    struct agent_pool *pool = make_pool();
    struct weir_batch *small[SMALL];
    struct weir_batch *none = NULL;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < SMALL; i++)
            small[i] = take(pool, 1 + (uint32_t)i % LEAST);
        assert_int_equal(agent_pool_take(pool, 1, &none), WEIR_EFULL);
        struct agent_pool_stats stats = agent_pool_stats(pool);
        assert_int_equal(stats.taken, stats.most);
        assert_int_equal(stats.idle, 0);
        for (int i = 0; i < SMALL; i++)
            agent_pool_give(pool, &small[i * 5 % SMALL]); /* 5 and SMALL have no divisor in common */
        stats = agent_pool_stats(pool);
        assert_int_equal(stats.taken, 0);
        assert_int_equal(stats.idle, stats.most);
        for (int i = 0; i < WHOLES; i++)
            small[i] = take(pool, WEIR_BATCH_MOST);
        assert_int_equal(agent_pool_take(pool, 1, &none), WEIR_EFULL);
        for (int i = 0; i < WHOLES; i++)
            agent_pool_give(pool, &small[i]);
    }
    agent_pool_destroy(pool);
}

static void fill(struct weir_batch *batch, uint8_t value)
{
    uint8_t *proto = weir_batch_touch(batch, WEIR_FIELD_proto);
    int64_t *start_ms = weir_batch_touch(batch, WEIR_FIELD_start_ms);
    memset(batch->block, value, weir_batch_block_bytes(batch->capacity));
    for (uint32_t i = 0; i < batch->capacity; i++) {
        proto[i] = value;
        start_ms[i] = value;
    }
    weir_batch_commit(batch, batch->capacity, 1ull << WEIR_FIELD_proto | 1ull << WEIR_FIELD_start_ms);
}

static void assert_filled(const struct weir_batch *batch, uint8_t value)
{
    const uint8_t *proto = batch->column[WEIR_FIELD_proto];
    const int64_t *start_ms = batch->column[WEIR_FIELD_start_ms];
    for (uint32_t i = 0; i < batch->count; i++) {
        assert_int_equal(proto[i], value);
        assert_int_equal(start_ms[i], value);
    }
}

static void batches_of_all_sizes_never_share_a_byte_and_stay_inside_the_bound(void **state)
{
    (void)state;
    enum { PLACES = 40, STEPS = 4000 };
    struct agent_pool *pool = make_pool();
    struct weir_batch *batch[PLACES] = {NULL};
    uint32_t random = 1;
    int refused = 0;
    for (int step = 0; step < STEPS; step++) {
        random = random * 1664525 + 1013904223;
        uint32_t at = (random >> 16) % PLACES;
        uint32_t rows = 1 + (random >> 8) % (1u << ((random >> 24) % 13));
        int rc = 0;
        if (batch[at] == NULL) {
            rc = agent_pool_take(pool, rows, &batch[at]);
            if (rc == 0) fill(batch[at], (uint8_t)(at + 1));
        } else if (rows > batch[at]->capacity) {
            rc = agent_pool_grow(pool, &batch[at], rows);
            assert_filled(batch[at], (uint8_t)(at + 1));
        } else {
            assert_filled(batch[at], (uint8_t)(at + 1));
            agent_pool_give(pool, &batch[at]);
        }
        assert_true(rc == 0 || rc == WEIR_EFULL);
        refused += rc != 0;
        struct agent_pool_stats stats = agent_pool_stats(pool);
        size_t taken = 0;
        for (int i = 0; i < PLACES; i++)
            taken += batch[i] == NULL ? 0 : agent_pool_batch_bytes(batch[i]->capacity);
        assert_int_equal(stats.taken, taken);
        assert_true(stats.taken + stats.idle <= stats.most);
    }
    assert_true(refused > 0 && refused < STEPS / 2);
    for (int i = 0; i < PLACES; i++)
        agent_pool_give(pool, &batch[i]);
    assert_int_equal(agent_pool_stats(pool).taken, 0);
    agent_pool_destroy(pool);
}

static void a_batch_that_grows_keeps_all_that_is_in_it(void **state)
{
    (void)state;
    struct agent_pool *pool = make_pool();
    struct weir_batch *batch = take(pool, LEAST);
    const struct weir_extra extra = {.name = "colour", .element = 9};
    batch->source.domain = 7;
    batch->loss.sequence_lost = 3;
    struct weir_extra_column *column = weir_batch_extra(batch, 2, &extra);
    for (uint32_t i = 0; i < LEAST; i++) {
        const struct weir_flow flow = {.bytes = i, .proto = 17};
        weir_extra_append(column, weir_view_text("red"));
        assert_int_equal(weir_batch_append(batch, &flow), 0);
    }
    assert_int_equal(weir_batch_append(batch, &(struct weir_flow){0}), WEIR_EFULL); /* not by itself */
    assert_int_equal(agent_pool_grow(pool, &batch, 5 * LEAST), 0);
    assert_true(weir_batch_check(batch));
    assert_int_equal(batch->capacity, 8 * LEAST);
    assert_int_equal(batch->count, LEAST);
    assert_int_equal(batch->source.domain, 7);
    assert_int_equal(batch->loss.sequence_lost, 3);
    assert_int_equal(batch->extras[2].values.size, 4 * LEAST);
    for (uint32_t i = 0; i < LEAST; i++) {
        struct weir_flow flow;
        weir_batch_get(batch, i, &flow);
        assert_int_equal(flow.bytes, i);
        assert_int_equal(flow.proto, 17);
    }
    assert_int_equal(agent_pool_stats(pool).taken, agent_pool_batch_bytes(8 * LEAST));
    agent_pool_give(pool, &batch);
    batch = take(pool, LEAST);
    assert_false(weir_loss_any(&batch->loss));
    assert_null(batch->extras);
    agent_pool_give(pool, &batch);
    agent_pool_destroy(pool);
}

static void what_was_idle_for_ten_seconds_is_given_back_to_the_system(void **state)
{
    (void)state;
    struct agent_pool *pool = make_pool();
    struct weir_batch *busy = take(pool, LEAST);
    struct weir_batch *batch = take(pool, WEIR_BATCH_MOST);
    fill(batch, 9);
    size_t whole = agent_pool_batch_bytes(WEIR_BATCH_MOST);
    size_t rest = whole - agent_pool_batch_bytes(LEAST);
    agent_pool_tidy(pool, 500);
    agent_pool_give(pool, &batch);
    agent_pool_tidy(pool, 1000);
    agent_pool_tidy(pool, 999 + AGENT_POOL_IDLE_MS);
    assert_int_equal(agent_pool_stats(pool).idle, whole + rest);
    batch = take(pool, WEIR_BATCH_MOST);
    assert_int_equal(batch->block[0], 9); /* warm */
    agent_pool_give(pool, &batch);
    agent_pool_tidy(pool, 20000);
    agent_pool_tidy(pool, 20000 + AGENT_POOL_IDLE_MS);
    assert_int_equal(agent_pool_stats(pool).idle, rest); /* of what is partly taken nothing goes */
    assert_true(weir_batch_check(busy));
    batch = take(pool, WEIR_BATCH_MOST);
    assert_int_equal(batch->block[0], 0);
    agent_pool_give(pool, &batch);
    agent_pool_give(pool, &busy);
    agent_pool_destroy(pool);
}

static void a_batch_from_elsewhere_is_destroyed_when_it_is_given(void **state)
{
    (void)state;
    struct agent_pool *pool = make_pool();
    struct weir_batch *batch = NULL;
    assert_int_equal(weir_batch_create(LEAST, &batch), 0);
    fill(batch, 5);
    assert_int_equal(agent_pool_grow(pool, &batch, 2 * LEAST), 0);
    assert_filled(batch, 5);
    agent_pool_give(pool, &batch);
    assert_int_equal(weir_batch_create(LEAST, &batch), 0);
    agent_pool_give(pool, &batch);
    assert_null(batch);
    assert_int_equal(agent_pool_stats(pool).taken, 0);
    agent_pool_destroy(pool);
}

static void creation_fails_whole_without_memory(void **state)
{
    (void)state;
    for (int successes = 0; successes < 5; successes++) {
        struct agent_pool *pool = NULL;
        weir_mem_fail_after(successes);
        assert_int_equal(agent_pool_create(1, &pool), WEIR_ENOMEM);
        weir_mem_fail_after(-1);
        assert_null(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_that_was_given_back_is_the_first_to_be_taken_again),
        cmocka_unit_test(it_is_full_when_all_is_taken_and_whole_again_when_all_came_back),
        cmocka_unit_test(batches_of_all_sizes_never_share_a_byte_and_stay_inside_the_bound),
        cmocka_unit_test(a_batch_that_grows_keeps_all_that_is_in_it),
        cmocka_unit_test(what_was_idle_for_ten_seconds_is_given_back_to_the_system),
        cmocka_unit_test(a_batch_from_elsewhere_is_destroyed_when_it_is_given),
        cmocka_unit_test(creation_fails_whole_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
