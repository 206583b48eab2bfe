#include "common/base/bytes.h"

#include "tests/support/cmocka.h"

static void numbers_are_read_in_network_order(void **state)
{
    (void)state;
    const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct weir_cursor c = weir_cursor_of(weir_view_of(bytes, sizeof bytes));
    assert_int_equal(weir_cursor_u8(&c), 1);
    assert_int_equal(weir_cursor_u16(&c), 0x0203);
    assert_int_equal(weir_cursor_u32(&c), 0x04050607);
    assert_int_equal(weir_cursor_u64(&c), 0x08090a0b0c0d0e0full);
    assert_false(c.ran_out);
    assert_int_equal(weir_cursor_left(&c), 0);
    assert_int_equal(weir_load_ube(bytes, 3), 0x010203);
}

static void reading_past_the_end_gives_zeros_and_stays_known(void **state)
{
    (void)state;
    const uint8_t bytes[] = {1, 2, 3};
    struct weir_cursor c = weir_cursor_of(weir_view_of(bytes, sizeof bytes));
    assert_int_equal(weir_cursor_u32(&c), 0);
    assert_true(c.ran_out);
    assert_int_equal(weir_cursor_u8(&c), 0);
    assert_true(c.ran_out);
}

static void nothing_at_all_is_read_as_nothing(void **state)
{
    (void)state;
    struct weir_cursor c = weir_cursor_of(weir_view_of(NULL, 0));
    assert_int_equal(weir_cursor_left(&c), 0);
    weir_cursor_skip(&c, 0);
    assert_false(c.ran_out);
    assert_int_equal(weir_cursor_u8(&c), 0);
    assert_true(c.ran_out);
}

static void a_part_of_a_cursor_ends_where_it_was_told_to(void **state)
{
    (void)state;
    const uint8_t bytes[] = {1, 2, 3, 4};
    struct weir_cursor c = weir_cursor_of(weir_view_of(bytes, sizeof bytes));
    struct weir_cursor sub = weir_cursor_sub(&c, 3);
    weir_cursor_skip(&sub, 3);
    assert_false(sub.ran_out);
    weir_cursor_skip(&sub, 1);
    assert_true(sub.ran_out);
    assert_int_equal(weir_cursor_u8(&c), 4);
    struct weir_cursor beyond = weir_cursor_sub(&c, 1);
    assert_true(beyond.ran_out);
    assert_true(c.ran_out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_read_in_network_order),
        cmocka_unit_test(reading_past_the_end_gives_zeros_and_stays_known),
        cmocka_unit_test(nothing_at_all_is_read_as_nothing),
        cmocka_unit_test(a_part_of_a_cursor_ends_where_it_was_told_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
