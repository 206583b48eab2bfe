#include "common/base/err.h"

#include <string.h>

#include "tests/support/cmocka.h"

static void every_code_has_a_name_and_a_text_of_its_own(void **state)
{
    (void)state;
    static const int codes[] = {
#define CODE(name, number, text) WEIR_##name,
        WEIR_ERRORS(CODE)
#undef CODE
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        assert_true(codes[i] < 0);
        assert_string_not_equal(weir_err_name(codes[i]), "EUNKNOWN");
        for (size_t j = 0; j < i; j++)
            assert_int_not_equal(codes[i], codes[j]);
    }
    assert_string_equal(weir_err_name(WEIR_ESHORT), "ESHORT");
    assert_string_equal(weir_err_name(5), "OK");
    assert_string_equal(weir_err_name(-999), "EUNKNOWN");
}

static void a_reason_can_be_prefixed_and_is_cut_at_its_size(void **state)
{
    (void)state;
    struct weir_why why;
    assert_int_equal(weir_why_set(&why, WEIR_EPARAM, "port %d", 7), WEIR_EPARAM);
    assert_int_equal(weir_why_prefix(&why, WEIR_EPARAM, "file:%d", 3), WEIR_EPARAM);
    assert_string_equal(why.text, "file:3: port 7");
    for (int i = 0; i < 200; i++)
        weir_why_prefix(&why, WEIR_EPARAM, "again and again");
    assert_int_equal(strlen(why.text), sizeof why.text - 1);
    assert_int_equal(weir_why_set(NULL, WEIR_EIO, "nobody listens"), WEIR_EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_and_a_text_of_its_own),
        cmocka_unit_test(a_reason_can_be_prefixed_and_is_cut_at_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
