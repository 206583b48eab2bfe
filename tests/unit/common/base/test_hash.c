#include "common/base/hash.h"

#include <string.h>

#include "tests/support/cmocka.h"

/** CRC32C bit by bit, from its definition: the oracle for the fast ways. */
static uint32_t crc32c_by_bits(const uint8_t *at, size_t size)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

static void crc32c_is_that_of_rfc_3720(void **state)
{
    (void)state;
    uint8_t block[32] = {0};
    assert_int_equal(weir_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(weir_crc32c(0, block, 32), 0x8a9136aa); /* RFC 3720 B.4 */
    memset(block, 0xff, 32);
    assert_int_equal(weir_crc32c(0, block, 32), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        block[i] = i;
    assert_int_equal(weir_crc32c(0, block, 32), 0x46dd794e);
}

static void crc32c_continues_and_agrees_with_its_definition_at_every_length(void **state)
{
    (void)state;
    uint8_t bytes[200];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    for (size_t size = 0; size <= sizeof bytes; size++) {
        uint32_t whole = weir_crc32c(0, bytes, size);
        assert_int_equal(whole, crc32c_by_bits(bytes, size));
        assert_int_equal(weir_crc32c_by_table(0, bytes, size), whole);
        uint32_t halves = weir_crc32c(weir_crc32c(0, bytes, size / 3), bytes + size / 3, size - size / 3);
        assert_int_equal(halves, whole);
        halves = weir_crc32c_by_table(weir_crc32c_by_table(0, bytes, size / 3), bytes + size / 3, size - size / 3);
        assert_int_equal(halves, whole);
    }
}

static void crc32c_agrees_with_its_definition_where_it_goes_by_thirds(void **state)
{
    (void)state;
    static uint8_t bytes[4 * 3072 + 16];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i * 31 + i / 7);
    for (size_t thirds = 1; thirds <= 4; thirds++) {
        for (size_t more = 0; more <= 16; more += 4) {
            for (size_t size = thirds * 3072 + more - 1; size <= thirds * 3072 + more && size <= sizeof bytes; size++)
                assert_int_equal(weir_crc32c(0, bytes, size), crc32c_by_bits(bytes, size));
        }
    }
}

static void hashes_never_change(void **state)
{
    (void)state;
    /* The published test vectors of XXH3 for the empty input. */
    static const uint8_t wide_of_nothing[16] = {0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
                                                0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f};
    uint8_t wide[16];
    assert_int_equal(weir_hash64("", 0, 0), 0x2d06800538d394c2ull);
    weir_hash128("", 0, wide);
    assert_memory_equal(wide, wide_of_nothing, sizeof wide);
    assert_int_equal(weir_hash64("weir", 4, 0), 0x09831dc741817118ull);
    assert_int_not_equal(weir_hash64("weir", 4, 1), weir_hash64("weir", 4, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_is_that_of_rfc_3720),
        cmocka_unit_test(crc32c_continues_and_agrees_with_its_definition_at_every_length),
        cmocka_unit_test(crc32c_agrees_with_its_definition_where_it_goes_by_thirds),
        cmocka_unit_test(hashes_never_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
