#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/flow/batch.h"

#include "tests/support/cmocka.h"

static struct weir_flow flow_number(uint32_t n)
{
    uint8_t four[4] = {10, 0, (uint8_t)(n >> 8), (uint8_t)n};
    struct weir_flow flow = {
        .start_ms = 1000 + n, .end_ms = 2000 + n, .src_ip = weir_ip_from_v4(four), .bytes = n, .packets = 1};
    return flow;
}

static void rows_come_back_as_they_were_appended_and_absent_columns_read_zero(void **state)
{
    (void)state;
    struct weir_batch *batch = NULL;
    assert_int_equal(weir_batch_create(1, &batch), 0);
    for (uint32_t i = 0; i < WEIR_BATCH_MOST; i++) {
        struct weir_flow flow = flow_number(i);
        assert_int_equal(weir_batch_append(batch, &flow), 0);
    }
    struct weir_flow more = flow_number(1);
    assert_int_equal(weir_batch_append(batch, &more), WEIR_EFULL);
    assert_true(weir_batch_check(batch));
    assert_false(weir_batch_has(batch, WEIR_FIELD_dst_port));
    for (uint32_t i = 0; i < WEIR_BATCH_MOST; i++) {
        struct weir_flow expected = flow_number(i);
        struct weir_flow got;
        weir_batch_get(batch, i, &got);
        assert_true(weir_flow_equal(&got, &expected));
    }
    struct weir_batch_totals totals = weir_batch_sum(batch);
    assert_int_equal(totals.flows, WEIR_BATCH_MOST);
    assert_int_equal(totals.bytes, 4096ull * 4095 / 2);
    assert_int_equal(totals.min_start_ms, 1000);
    assert_int_equal(totals.max_end_ms, 2000 + 4095);
    weir_batch_destroy(batch);
}

static void rows_of_another_batch_bring_their_columns_and_zero_the_others(void **state)
{
    (void)state;
    struct weir_batch *to = NULL;
    struct weir_batch *from = NULL;
    assert_int_equal(weir_batch_create(4, &to), 0);
    assert_int_equal(weir_batch_create(4, &from), 0);
    struct weir_flow with_port = {.dst_port = 53};
    struct weir_flow with_bytes = {.bytes = 7};
    assert_int_equal(weir_batch_append(to, &with_port), 0);
    assert_int_equal(weir_batch_append(from, &with_port), 0);
    assert_int_equal(weir_batch_append(from, &with_bytes), 0);
    from->present &= ~(1ull << WEIR_FIELD_dst_port);
    assert_int_equal(weir_batch_append_rows(to, from, 1, 1), 0);

    struct weir_flow got;
    weir_batch_get(to, 0, &got);
    assert_int_equal(got.dst_port, 53);
    assert_int_equal(got.bytes, 0);
    weir_batch_get(to, 1, &got);
    assert_int_equal(got.dst_port, 0);
    assert_int_equal(got.bytes, 7);
    weir_batch_destroy(to);
    weir_batch_destroy(from);
}

static void growing_without_memory_leaves_the_batch_as_it_was(void **state)
{
    (void)state;
    struct weir_batch *batch = NULL;
    assert_int_equal(weir_batch_create(1, &batch), 0);
    struct weir_flow flow = flow_number(9);
    assert_int_equal(weir_batch_append(batch, &flow), 0);
    weir_mem_fail_after(0);
    assert_int_equal(weir_batch_append(batch, &flow), WEIR_ENOMEM);
    weir_mem_fail_after(-1);
    assert_int_equal(batch->count, 1);
    assert_true(weir_batch_check(batch));
    assert_int_equal(weir_batch_reserve(batch, WEIR_BATCH_MOST + 1), WEIR_ELIMIT);
    weir_batch_destroy(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back_as_they_were_appended_and_absent_columns_read_zero),
        cmocka_unit_test(rows_of_another_batch_bring_their_columns_and_zero_the_others),
        cmocka_unit_test(growing_without_memory_leaves_the_batch_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
