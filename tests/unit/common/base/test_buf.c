#include "common/base/buf.h"
#include "common/base/mem.h"

#include "tests/support/cmocka.h"

static void what_is_appended_is_there_in_order_after_growing(void **state)
{
    (void)state;
    struct weir_buf buf = WEIR_BUF_INIT;
    for (int i = 0; i < 1000; i++)
        weir_buf_printf(&buf, "%03d,", i);
    assert_int_equal(buf.size, 4000);
    assert_memory_equal(buf.data + 3996, "999,", 4);
    weir_buf_clear(&buf);
    weir_buf_u8(&buf, 1);
    weir_buf_u16be(&buf, 0x0203);
    weir_buf_u32be(&buf, 0x04050607);
    weir_buf_u64be(&buf, 0x08090a0b0c0d0e0full);
    const uint8_t expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    assert_int_equal(buf.size, sizeof expected);
    assert_memory_equal(buf.data, expected, sizeof expected);
    weir_buf_fini(&buf);
}

static void a_failure_sticks_until_cleared_and_the_text_is_still_a_string(void **state)
{
    (void)state;
    struct weir_buf buf = WEIR_BUF_INIT;
    weir_mem_fail_after(0);
    weir_buf_text(&buf, "lost");
    weir_mem_fail_after(-1);
    weir_buf_text(&buf, "lost too");
    assert_true(buf.failed);
    assert_int_equal(buf.size, 0);
    assert_string_equal(weir_buf_cstr(&buf), "");
    weir_buf_clear(&buf);
    weir_buf_text(&buf, "kept");
    assert_string_equal(weir_buf_cstr(&buf), "kept");
    weir_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_is_there_in_order_after_growing),
        cmocka_unit_test(a_failure_sticks_until_cleared_and_the_text_is_still_a_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
