#include "aggregator/store/packed.h"

#include "tests/support/random_flows.h"

#include "tests/support/cmocka.h"

enum { MOST = AGG_PACKED_ROWS };

static uint64_t values[MOST], got[MOST];

/** Pack and unpack the first @count values; returns how many bytes they took. */
static size_t assert_come_back(uint32_t count)
{
    /* on the heap and just as large, so that a sanitizer sees a byte too many */
    uint8_t *room = test_malloc(agg_packed_most(count));
    size_t size = (size_t)(agg_pack(room, values, sizeof *values, count) - room);
    assert_true(size <= agg_packed_most(count));
    uint8_t *exact = test_malloc(size);
    memcpy(exact, room, size);
    memset(got, 0xa5, sizeof got);
    assert_ptr_equal(agg_unpack(exact, exact + size, count, got), exact + size);
    assert_memory_equal(got, values, count * sizeof *values);
    for (size_t cut = 0; cut < size; cut++)
        assert_null(agg_unpack(exact, exact + cut, count, got));
    test_free(exact);
    test_free(room);
    return size;
}

static void numbers_of_every_width_come_back(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 2, 7, 8, 9, 63, 64, 65, 200};
    uint64_t random = 5;
    for (uint32_t width = 0; width <= 64; width++) {
        uint64_t mask = width == 64 ? UINT64_MAX : (1ull << width) - 1;
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            for (uint32_t i = 0; i < counts[c]; i++)
                values[i] = random_next(&random) & mask;
            size_t size = assert_come_back(counts[c]);
            assert_true(size <= 13 + (counts[c] + 31) / 8 * (size_t)width + 64);
        }
    }
}

static void a_few_wide_numbers_do_not_make_all_of_them_wide(void **state)
{
    (void)state;
    uint64_t random = 6;
    for (uint32_t i = 0; i < 2000; i++)
        values[i] = 1000000 + random_below(&random, 8);
    values[1999] = UINT64_MAX;
    values[77] = 1ull << 63;
    values[3] = 1000000;
    assert_true(assert_come_back(2000) < 2000 * 3 / 8 + 96);
}

static void a_column_of_one_value_takes_next_to_nothing(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < MOST; i++)
        values[i] = 443;
    assert_true(assert_come_back(MOST) < 10);
}

/** The wide ones lie where a guess from every so many does not look. */
static void a_column_that_misleads_the_guess_comes_back(void **state)
{
    (void)state;
    uint64_t random = 7;
    for (uint32_t i = 0; i < MOST; i++)
        values[i] = i % 3 == 1 ? random_next(&random) : 0;
    assert_come_back(1500);
    for (uint32_t i = 0; i < MOST; i++)
        values[i] = i % 4 == 0 ? 1 : random_next(&random);
    assert_come_back(2000);
}

static void narrow_columns_come_back(void **state)
{
    (void)state;
    uint8_t bytes[100], room[4000];
    uint16_t shorts[100];
    uint32_t longs[100];
    uint64_t random = 8;
    assert_true(agg_packed_most(100) <= sizeof room);
    for (uint32_t i = 0; i < 100; i++) {
        bytes[i] = (uint8_t)random_next(&random);
        shorts[i] = (uint16_t)random_next(&random);
        longs[i] = (uint32_t)random_next(&random);
    }
    const uint8_t *end = agg_pack(room, bytes, sizeof *bytes, 100);
    assert_ptr_equal(agg_unpack(room, end, 100, got), end);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(got[i], bytes[i]);
    end = agg_pack(room, shorts, sizeof *shorts, 100);
    assert_ptr_equal(agg_unpack(room, end, 100, got), end);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(got[i], shorts[i]);
    end = agg_pack(room, longs, sizeof *longs, 100);
    assert_ptr_equal(agg_unpack(room, end, 100, got), end);
    for (uint32_t i = 0; i < 100; i++)
        assert_int_equal(got[i], longs[i]);
}

static void exceptions_that_break_the_rules_are_refused(void **state)
{
    (void)state;
    /* width 8, no least, upper bits of 1 byte; two numbers, one exception */
    static const struct {
        uint8_t bytes[12];
        size_t size;
        bool good;
    } cases[] = {
        {{8, 0, 1, 1, 0, 1, 2, 1, 0, 7}, 10, true},
        {{8, 0, 1, 1, 0, 1, 2, 2, 0, 7}, 10, false},        /* there is no such row */
        {{8, 0, 1, 1, 0, 1, 2, 1, 0, 0}, 10, false},        /* nothing above the width */
        {{0, 0, 1, 2, 0, 1, 0, 1, 0, 7, 7}, 11, false},     /* a row twice */
        {{0, 0, 0, 3, 0, 0, 0, 1, 0, 2, 0}, 11, false},     /* more than rows */
        {{4, 0, 1, 1, 0, 0x21, 1, 0, 7}, 9, false},         /* few numbers are of whole bytes */
        {{72, 0, 0, 0, 0, 0x21}, 6, false},                 /* too wide */
        {{0, 9, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1}, 12, false},  /* a least of nine bytes */
        {{56, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7}, 12, false}, /* not all there */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const uint8_t *end = cases[i].bytes + cases[i].size;
        assert_ptr_equal(agg_unpack(cases[i].bytes, end, 2, got), cases[i].good ? end : NULL);
    }
    assert_non_null(agg_unpack(cases[0].bytes, cases[0].bytes + 10, 2, got));
    assert_int_equal(got[0], 1);
    assert_int_equal(got[1], 2 + (7 << 8));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_every_width_come_back),
        cmocka_unit_test(a_few_wide_numbers_do_not_make_all_of_them_wide),
        cmocka_unit_test(a_column_of_one_value_takes_next_to_nothing),
        cmocka_unit_test(a_column_that_misleads_the_guess_comes_back),
        cmocka_unit_test(narrow_columns_come_back),
        cmocka_unit_test(exceptions_that_break_the_rules_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
