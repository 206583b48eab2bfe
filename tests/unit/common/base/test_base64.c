/** RFC 4648, section 10: its test vectors, and text that is none. */
#include "common/base/base64.h"

#include "tests/support/cmocka.h"

#include "common/base/err.h"

static void the_vectors_of_the_rfc_come_out_both_ways(void **state)
{
    (void)state;
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        struct weir_buf out = WEIR_BUF_INIT;
        weir_base64_encode(weir_view_text(vectors[i][0]), &out);
        assert_string_equal(weir_buf_cstr(&out), vectors[i][1]);
        weir_buf_clear(&out);
        assert_int_equal(weir_base64_decode(vectors[i][1], strlen(vectors[i][1]), &out), 0);
        assert_string_equal(weir_buf_cstr(&out), vectors[i][0]);
        weir_buf_fini(&out);
    }
}

static void every_byte_comes_back(void **state)
{
    (void)state;
    uint8_t bytes[256];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    struct weir_buf text = WEIR_BUF_INIT, back = WEIR_BUF_INIT;
    weir_base64_encode(weir_view_of(bytes, sizeof bytes), &text);
    assert_int_equal(weir_base64_decode((const char *)text.data, text.size, &back), 0);
    assert_int_equal(back.size, sizeof bytes);
    assert_memory_equal(back.data, bytes, sizeof bytes);
    weir_buf_fini(&text);
    weir_buf_fini(&back);
}

static void what_is_no_base64_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"Z", "Zg=", "Zg==Zg==", "Zm 8", "=Zg=", "====", "Zm9v\n"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct weir_buf out = WEIR_BUF_INIT;
        if (weir_base64_decode(texts[i], strlen(texts[i]), &out) != WEIR_EFORMAT) fail_msg("\"%s\"", texts[i]);
        weir_buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_the_rfc_come_out_both_ways),
        cmocka_unit_test(every_byte_comes_back),
        cmocka_unit_test(what_is_no_base64_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
