#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/base/table.h"

#include "tests/support/cmocka.h"

static uint64_t hash_of(const uint64_t *key)
{
    return weir_hash64(key, sizeof *key, 0);
}

static void what_is_added_is_found_with_its_value_after_growing(void **state)
{
    (void)state;
    struct weir_table table;
    weir_table_init(&table, sizeof(uint64_t), sizeof(uint64_t));
    for (uint64_t round = 0; round < 2; round++) {
        for (uint64_t key = 0; key < 10000; key++) {
            bool added = false;
            uint64_t *value = weir_table_add(&table, &key, hash_of(&key), &added);
            assert_non_null(value);
            assert_int_equal(added, round == 0);
            *value += key;
        }
    }
    assert_int_equal(table.count, 10000);

    uint64_t sum = 0;
    size_t at = 0;
    void *value;
    while (weir_table_next(&table, &at, &value) != NULL)
        sum += *(uint64_t *)value;
    assert_int_equal(sum, 2 * (10000ull * 9999 / 2));

    uint64_t absent = 10000;
    assert_null(weir_table_find(&table, &absent, hash_of(&absent)));
    weir_table_clear(&table);
    uint64_t first = 0;
    assert_null(weir_table_find(&table, &first, hash_of(&first)));
    weir_table_fini(&table);
}

static void colliding_hashes_keep_their_keys_apart(void **state)
{
    (void)state;
    struct weir_table table;
    weir_table_init(&table, 3, 1);
    for (uint8_t i = 0; i < 200; i++) {
        uint8_t key[3] = {i, 0, i};
        uint8_t *value = weir_table_add(&table, key, 42, NULL);
        assert_non_null(value);
        *value = i;
    }
    for (uint8_t i = 0; i < 200; i++) {
        uint8_t key[3] = {i, 0, i};
        assert_int_equal(*(uint8_t *)weir_table_find(&table, key, 42), i);
    }
    weir_table_fini(&table);
}

static void running_out_of_memory_keeps_the_entries(void **state)
{
    (void)state;
    struct weir_table table;
    weir_table_init(&table, sizeof(uint64_t), sizeof(uint64_t));
    for (uint64_t key = 0; key < 56; key++)
        assert_non_null(weir_table_add(&table, &key, hash_of(&key), NULL));
    for (int64_t successes = 0; successes < 2; successes++) {
        weir_mem_fail_after(successes);
        uint64_t key = 1000;
        assert_null(weir_table_add(&table, &key, hash_of(&key), NULL));
        assert_true(weir_mem_failed());
        weir_mem_fail_after(-1);
    }
    for (uint64_t key = 0; key < 56; key++)
        assert_non_null(weir_table_find(&table, &key, hash_of(&key)));
    weir_table_fini(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_added_is_found_with_its_value_after_growing),
        cmocka_unit_test(colliding_hashes_keep_their_keys_apart),
        cmocka_unit_test(running_out_of_memory_keeps_the_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
