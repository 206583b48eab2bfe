/** Why something of an exporter is missing: reasons, and how drops merge. */
#include "common/flow/drop.h"

#include "tests/support/cmocka.h"

#include <stdlib.h>

static void every_reason_says_what_happened_and_what_to_do(void **state)
{
    (void)state;
    static const enum weir_drop_reason reasons[] = {
#define REASON(id, number, unit, loss, text, advice) WEIR_DROP_##id,
#include "common/flow/drop.def"
#undef REASON
    };
    enum { COUNT = sizeof reasons / sizeof *reasons };
    size_t carried = 0;
    for (size_t i = 0; i < COUNT; i++) {
        const struct weir_drop_info *info = weir_drop_info(reasons[i]);
        assert_in_range(reasons[i], 1, WEIR_DROP_REASON_MOST);
        assert_true(strlen(info->name) > 0 && strlen(info->unit) > 0 && strlen(info->text) > 0);
        assert_int_equal(info->advice[strlen(info->advice) - 1], '.');
        carried += info->loss != WEIR_DROP_OF_ITSELF;
        for (size_t k = 0; k < i; k++)
            assert_true(reasons[k] != reasons[i] && strcmp(weir_drop_info(reasons[k])->name, info->name) != 0);
    }
    assert_true(carried <= WEIR_DROPS_MOST);
    assert_string_equal(weir_drop_info((enum weir_drop_reason)200)->name, "unknown");
    assert_string_equal(weir_drop_info((enum weir_drop_reason)60000)->name, "unknown");
}

static void numbers_that_are_stored_mean_the_same_for_ever(void **state)
{
    (void)state;
    assert_string_equal(weir_drop_info((enum weir_drop_reason)1)->name, "short");
    assert_string_equal(weir_drop_info((enum weir_drop_reason)2)->name, "version");
    assert_string_equal(weir_drop_info((enum weir_drop_reason)10)->name, "memory");
    assert_string_equal(weir_drop_info((enum weir_drop_reason)11)->name, "denied");
    assert_string_equal(weir_drop_info((enum weir_drop_reason)12)->name, "template_missing");
    assert_string_equal(weir_drop_info((enum weir_drop_reason)14)->name, "unexplained");
}

static void an_example_is_how_the_datagram_begins(void **state)
{
    (void)state;
    uint8_t bytes[200];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)i;
    struct weir_drop drop = weir_drop_of(WEIR_DROP_version, 1000, weir_view_of(bytes, sizeof bytes));
    assert_int_equal(drop.bytes, sizeof bytes);
    assert_int_equal(drop.head_size, WEIR_DROP_HEAD);
    assert_memory_equal(drop.head, bytes, WEIR_DROP_HEAD);
    assert_int_equal(drop.example_ms, 1000);
    drop = weir_drop_of(WEIR_DROP_short, 1000, weir_view_of(NULL, 0)); /* UDP has empty datagrams */
    assert_int_equal(drop.head_size, 0);
    assert_int_equal(drop.count, 1);
}

static void drops_merge_to_the_same_in_any_order_and_grouping(void **state)
{
    (void)state;
    enum { DROPS = 6 };
    srand(11);
    for (int round = 0; round < 1000; round++) {
        struct weir_drop drops[DROPS], forth = {0}, back = {0}, left = {0}, right = {0};
        uint64_t count = 0;
        for (int i = 0; i < DROPS; i++) {
            uint8_t bytes[4] = {(uint8_t)(rand() % 2), (uint8_t)(rand() % 2)};
            drops[i] = weir_drop_of(WEIR_DROP_count, 1000 + rand() % 3, weir_view_of(bytes, (size_t)rand() % 4));
            drops[i].count = (uint64_t)rand() % 3;
            drops[i].last_ms += rand() % 3;
            if (rand() % 3 == 0) drops[i].example_ms = drops[i].bytes = drops[i].head_size = 0;
            if (drops[i].head_size == 0) memset(drops[i].head, 0, sizeof drops[i].head);
            count += drops[i].count;
        }
        for (int i = 0; i < DROPS; i++) {
            weir_drop_add(&forth, &drops[i]);
            weir_drop_add(&back, &drops[DROPS - 1 - i]);
            weir_drop_add(i % 2 == 0 ? &left : &right, &drops[i]);
        }
        weir_drop_add(&left, &right);
        assert_int_equal(forth.count, count);
        const struct weir_drop *others[] = {&back, &left};
        for (int i = 0; i < 2; i++) {
            assert_int_equal(others[i]->count, forth.count);
            assert_int_equal(others[i]->first_ms, forth.first_ms);
            assert_int_equal(others[i]->last_ms, forth.last_ms);
            assert_int_equal(others[i]->example_ms, forth.example_ms);
            assert_int_equal(others[i]->bytes, forth.bytes);
            assert_int_equal(others[i]->head_size, forth.head_size);
            assert_memory_equal(others[i]->head, forth.head, forth.head_size);
        }
    }
}

static void a_newer_drop_without_an_example_leaves_the_example(void **state)
{
    (void)state;
    struct weir_drop drop = weir_drop_of(WEIR_DROP_template_missing, 1000, weir_view_text("set"));
    struct weir_drop newer = {.reason = WEIR_DROP_template_missing, .count = 5, .first_ms = 900, .last_ms = 2000};
    weir_drop_add(&drop, &newer);
    assert_int_equal(drop.count, 6);
    assert_int_equal(drop.first_ms, 900);
    assert_int_equal(drop.last_ms, 2000);
    assert_int_equal(drop.example_ms, 1000);
    assert_memory_equal(drop.head, "set", 3);
}

static void a_reason_stands_once_among_drops_and_there_is_an_end_to_them(void **state)
{
    (void)state;
    struct weir_drops drops = {0};
    for (int round = 0; round < 2; round++) {
        for (int reason = 1; reason <= WEIR_DROPS_MOST; reason++) {
            struct weir_drop drop = weir_drop_of((enum weir_drop_reason)reason, 1000, weir_view_text("x"));
            assert_true(weir_drops_add(&drops, &drop));
        }
    }
    assert_int_equal(drops.count, WEIR_DROPS_MOST);
    assert_int_equal(drops.at[3].count, 2);
    struct weir_drop other = weir_drop_of((enum weir_drop_reason)100, 1000, weir_view_text("x"));
    assert_false(weir_drops_add(&drops, &other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reason_says_what_happened_and_what_to_do),
        cmocka_unit_test(numbers_that_are_stored_mean_the_same_for_ever),
        cmocka_unit_test(an_example_is_how_the_datagram_begins),
        cmocka_unit_test(drops_merge_to_the_same_in_any_order_and_grouping),
        cmocka_unit_test(a_newer_drop_without_an_example_leaves_the_example),
        cmocka_unit_test(a_reason_stands_once_among_drops_and_there_is_an_end_to_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
