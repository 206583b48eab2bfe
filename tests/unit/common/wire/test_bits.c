#include "common/base/mem.h"
#include "common/wire/bits.h"

#include "tests/support/cmocka.h"

enum { MOST = 4096 };

static void fill(uint32_t *number, uint32_t count, uint32_t seed)
{
    for (uint32_t i = 0; i < count; i++) {
        seed = seed * 1664525 + 1013904223;
        number[i] = seed ^ seed >> 15;
    }
}

static uint32_t low_bits(uint32_t number, uint32_t bits)
{
    return bits == 32 ? number : number & ((1u << bits) - 1);
}

/** One bit at a time, as docs/PROTOCOL.md says it. */
static uint32_t number_at(const uint8_t *packed, uint32_t i, uint32_t bits)
{
    uint32_t number = 0;
    for (uint32_t bit = 0; bit < bits; bit++) {
        uint32_t of_lane = i / 8 * bits + bit;
        size_t word = (size_t)(of_lane / 32) * 8 + i % 8;
        number |= (uint32_t)(packed[4 * word + of_lane % 32 / 8] >> of_lane % 8 & 1) << bit;
    }
    return number;
}

static void numbers_of_every_width_come_back_whatever_their_count(void **state)
{
    (void)state;
    static const uint32_t counts[] = {1, 7, 8, 9, 63, 64, 65, 300, MOST};
    static uint32_t in[MOST];
    static uint32_t out[MOST];
    for (uint32_t bits = 0; bits <= WEIR_BITS_MOST; bits++) {
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            uint32_t count = counts[c];
            size_t size = weir_bits_bytes(count, bits);
            uint8_t *packed = weir_malloc(size + 1); /* of its very size, for the sanitizer */
            fill(in, weir_bits_room(count), bits + count);
            memset(packed, 0xa5, size + 1);
            weir_bits_pack(in, count, bits, packed);
            assert_int_equal(packed[size], 0xa5);
            packed = weir_realloc(packed, size == 0 ? 1 : size);
            weir_bits_unpack(packed, count, bits, out);
            for (uint32_t i = 0; i < count; i++) {
                assert_int_equal(out[i], low_bits(in[i], bits));
                assert_int_equal(number_at(packed, i, bits), out[i]);
            }
            weir_free(packed);
        }
    }
}

static void a_body_takes_whole_words_of_eight_lanes(void **state)
{
    (void)state;
    assert_int_equal(weir_bits_bytes(4096, 1), 512);
    assert_int_equal(weir_bits_bytes(4096, 13), 4096 * 13 / 8);
    assert_int_equal(weir_bits_bytes(1, 1), 32);
    assert_int_equal(weir_bits_bytes(65, 3), 32);
    assert_int_equal(weir_bits_bytes(4096, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_of_every_width_come_back_whatever_their_count),
        cmocka_unit_test(a_body_takes_whole_words_of_eight_lanes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
