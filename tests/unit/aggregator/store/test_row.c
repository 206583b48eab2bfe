/** Rows of sources as bytes, and how they merge. */
#include "aggregator/store/row.h"

#include "common/base/err.h"

#include "tests/support/cmocka.h"

#include <stdlib.h>

static struct agg_row again(const struct agg_row *row)
{
    uint8_t bytes[AGG_ROW_BYTES_MOST];
    struct agg_row same = {0};
    size_t size = agg_row_encode(row, bytes);
    assert_true(size <= sizeof bytes);
    assert_int_equal(agg_row_decode_add(weir_view_of(bytes, size), &same), 0);
    return same;
}

static void assert_health(const struct weir_health *got, const struct weir_health *want)
{
    assert_int_equal(got->templates, want->templates);
    assert_int_equal(got->waiting, want->waiting);
    assert_int_equal(got->has_skew, want->has_skew);
    assert_int_equal(got->skew_ms, want->skew_ms);
}

static void what_is_known_of_a_source_comes_back(void **state)
{
    (void)state;
    const struct weir_health cases[] = {{0},
                                        {.templates = 1},
                                        {.waiting = UINT32_MAX},
                                        {.has_skew = true},
                                        {.has_skew = true, .skew_ms = -1},
                                        {.has_skew = true, .skew_ms = 90000},
                                        {.has_skew = true, .skew_ms = INT64_MAX},
                                        {.has_skew = true, .skew_ms = INT64_MIN + 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct agg_row row = {.last_heard_ms = 1772600000000, .last_flows_ms = 1772599990000, .health = cases[i]};
        struct agg_row same = again(&row);
        assert_health(&same.health, &cases[i]);
        assert_int_equal(same.last_heard_ms, row.last_heard_ms);
        assert_int_equal(same.last_flows_ms, row.last_flows_ms);
    }
}

static void the_largest_row_has_room(void **state)
{
    (void)state;
    struct agg_row row;
    memset(&row, 0xff, sizeof row); /* every number at its longest */
    row.health = (struct weir_health){UINT32_MAX, UINT32_MAX, INT64_MIN + 1, true};
    row.last_flows_ms = 0;
    row.drop.head_size = WEIR_DROP_HEAD;
    row.drop.example_ms = 1;
    uint8_t bytes[AGG_ROW_BYTES_MOST];
    assert_in_range(agg_row_encode(&row, bytes), AGG_ROW_BYTES_MOST / 2, AGG_ROW_BYTES_MOST);
}

static void rows_merge_to_the_same_in_any_order(void **state)
{
    (void)state;
    enum { ROWS = 6 };
    struct agg_row rows[ROWS];
    srand(7);
    for (int round = 0; round < 500; round++) {
        for (int i = 0; i < ROWS; i++) { /* few values, so that times are often equal */
            int64_t heard_ms = 1000 + rand() % 3;
            rows[i] = (struct agg_row){.last_heard_ms = heard_ms,
                                       .last_flows_ms = rand() % 2 ? heard_ms : heard_ms - rand() % 3,
                                       .sampling_one_in = (uint32_t)rand() % 3,
                                       .sampling_origin = (uint8_t)(rand() % 3),
                                       .health = {.templates = (uint32_t)rand() % 3, .has_skew = rand() % 2}};
            if (rows[i].health.has_skew) rows[i].health.skew_ms = rand() % 3 - 1;
        }
        struct agg_row forth = {0}, back = {0};
        for (int i = 0; i < ROWS; i++) {
            agg_row_add(&rows[i], &forth);
            agg_row_add(&rows[ROWS - 1 - i], &back);
        }
        assert_int_equal(forth.last_heard_ms, back.last_heard_ms);
        assert_int_equal(forth.last_flows_ms, back.last_flows_ms);
        assert_int_equal(forth.sampling_one_in, back.sampling_one_in);
        assert_int_equal(forth.sampling_origin, back.sampling_origin);
        assert_health(&forth.health, &back.health);
    }
}

static void a_batch_without_flows_does_not_make_a_known_sampling_unknown(void **state)
{
    (void)state;
    struct agg_row row = {
        .last_heard_ms = 1000, .last_flows_ms = 1000, .sampling_one_in = 64, .health = {.templates = 2}};
    struct agg_row quiet = {.last_heard_ms = 5000, .health = {.templates = 3}};
    agg_row_add(&quiet, &row);
    assert_int_equal(row.sampling_one_in, 64);
    assert_int_equal(row.last_flows_ms, 1000);
    assert_int_equal(row.last_heard_ms, 5000);
    assert_int_equal(row.health.templates, 3);
    row = again(&row);
    assert_int_equal(row.last_flows_ms, 1000);
}

static void what_was_dropped_comes_back_and_merges(void **state)
{
    (void)state;
    const char *texts[] = {"", "x", "an example"};
    struct agg_row sum = {0};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct agg_row row = {.drop =
                                  weir_drop_of(WEIR_DROP_NONE, 1772600000000 + (int64_t)i, weir_view_text(texts[i]))};
        row.drop.last_ms += 7;
        row.drop.count = 5;
        struct agg_row same = again(&row);
        assert_memory_equal(&same.drop, &row.drop, sizeof row.drop);
        agg_row_add(&same, &sum);
    }
    sum = again(&sum);
    assert_int_equal(sum.drop.count, 15);
    assert_int_equal(sum.drop.first_ms, 1772600000000);
    assert_int_equal(sum.drop.last_ms, 1772600000009);
    assert_int_equal(sum.drop.example_ms, 1772600000002);
    assert_memory_equal(sum.drop.head, "an example", 10);

    struct agg_row none = {.drop = {.count = 2, .first_ms = 5, .last_ms = 6}};
    struct agg_row same = again(&none);
    assert_memory_equal(&same.drop, &none.drop, sizeof none.drop);
}

static void the_key_of_a_reason_is_that_of_its_source_and_one_more(void **state)
{
    (void)state;
    struct agg_row_key key = {
        .shard = 3, .window = 29543333, .protocol = WEIR_PROTOCOL_IPFIX, .site = "fra", .agent = "a"};
    key.source = (struct weir_source){{{[10] = 0xff, 0xff, 192, 0, 2, 1}}, 7};
    uint8_t plain[AGG_ROW_KEY_MOST], bytes[AGG_ROW_KEY_MOST];
    size_t plain_size = agg_row_key_encode(&key, plain);
    for (int reason = WEIR_DROP_NONE; reason <= WEIR_DROP_REASON_MOST; reason++) {
        struct agg_row_key same = {0};
        key.reason = (enum weir_drop_reason)reason;
        size_t size = agg_row_key_encode(&key, bytes);
        assert_int_equal(size, plain_size + (reason != WEIR_DROP_NONE));
        assert_memory_equal(bytes, plain, plain_size);
        assert_int_equal(agg_row_key_decode(weir_view_of(bytes, size), &same), 0);
        assert_int_equal(same.reason, reason);
        assert_string_equal(same.agent, "a");
    }
    struct agg_row_key same = {0};
    bytes[plain_size + 1] = 1;
    assert_int_equal(agg_row_key_decode(weir_view_of(bytes, plain_size + 2), &same), WEIR_ECORRUPT);
}

static void what_is_no_row_is_refused(void **state)
{
    (void)state;
    struct agg_row row = {0};
    static const char *const bad[] = {"", "\x01", "\x01\x80", "\x01\x05\x05", "\xff\xff\xff\xff\x7f"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(agg_row_decode_add(weir_view_text(bad[i]), &row), WEIR_EFORMAT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_known_of_a_source_comes_back),
        cmocka_unit_test(the_largest_row_has_room),
        cmocka_unit_test(rows_merge_to_the_same_in_any_order),
        cmocka_unit_test(a_batch_without_flows_does_not_make_a_known_sampling_unknown),
        cmocka_unit_test(what_was_dropped_comes_back_and_merges),
        cmocka_unit_test(the_key_of_a_reason_is_that_of_its_source_and_one_more),
        cmocka_unit_test(what_is_no_row_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
