#include "common/base/mem.h"
#include "common/cluster/entry.h"
#include "tests/support/cluster_map.h"

#include "tests/support/cmocka.h"

static void an_entry_names_the_epoch_the_members_and_who_joins(void **state)
{
    (void)state;
    static const char text[] = "epoch=7 members=agg-3,agg-1 joining=agg-2";
    struct weir_map *map = cluster_map_of(3, 0, 1);
    struct weir_entry entry, of;
    struct weir_shard shard;
    struct weir_buf printed = WEIR_BUF_INIT;
    assert_int_equal(weir_entry_parse(weir_view_text(text), &entry, NULL), 0);
    assert_int_equal(weir_entry_resolve(&entry, map, &shard, NULL), 0);
    assert_int_equal(shard.epoch, 7);
    assert_int_equal(shard.member_count, 2);
    assert_int_equal(shard.members[0], 2);
    assert_int_equal(shard.members[1], 0);
    assert_int_equal(shard.joining_count, 1);
    assert_int_equal(shard.joining[0], 1);
    weir_entry_of(map, &shard, &of);
    assert_true(weir_entry_equal(&entry, &of));
    weir_entry_print(&of, &printed);
    assert_string_equal(weir_buf_cstr(&printed), text);
    weir_buf_fini(&printed);
    weir_free(map);
}

static void a_name_that_is_not_in_the_file_is_said(void **state)
{
    (void)state;
    struct weir_map *map = cluster_map_of(3, 0, 1);
    struct weir_entry entry;
    struct weir_shard shard = {.epoch = 99};
    struct weir_why why = {""};
    assert_int_equal(weir_entry_parse(weir_view_text("epoch=1 members=agg-1,agg-9"), &entry, NULL), 0);
    assert_int_equal(weir_entry_resolve(&entry, map, &shard, &why), WEIR_ENOTFOUND);
    assert_non_null(strstr(why.text, "agg-9"));
    assert_int_equal(shard.epoch, 99);
    weir_free(map);
}

static void text_that_is_no_entry_is_refused_with_a_reason(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
    } cases[] = {
        {"", WEIR_EFORMAT},
        {"epoch=0 members=a", WEIR_EFORMAT},
        {"epoch=01 members=a", WEIR_EFORMAT},
        {"epoch=4294967296 members=a", WEIR_EFORMAT},
        {"epoch=-1 members=a", WEIR_EFORMAT},
        {"epoch= members=a", WEIR_EFORMAT},
        {"epoch=1", WEIR_EFORMAT},
        {"epoch=1 members=", WEIR_EFORMAT},
        {"epoch=1 members=a,", WEIR_EFORMAT},
        {"epoch=1 members=a,a", WEIR_EFORMAT},
        {"epoch=1 members=a joining=a", WEIR_EFORMAT},
        {"epoch=1 members=a/b", WEIR_EFORMAT},
        {"epoch=1 members=a ", WEIR_EFORMAT},
        {"epoch=1  members=a", WEIR_EFORMAT},
        {"epoch=1 members=a\n", WEIR_EFORMAT},
        {"epoch=1 joining=a members=b", WEIR_EFORMAT},
        {"epoch=1 members=a leaving=b", WEIR_EFORMAT},
        {"epoch=1 members=a,b,c,d", WEIR_ELIMIT},
        {"epoch=1 members=a joining=b,c", WEIR_ELIMIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_entry entry = {.epoch = 99};
        struct weir_why why = {""};
        int rc = weir_entry_parse(weir_view_text(cases[i].text), &entry, &why);
        if (rc != cases[i].rc) fail_msg("\"%s\": %s", cases[i].text, weir_err_name(rc));
        assert_int_not_equal(why.text[0], '\0');
        assert_int_equal(entry.epoch, 99);
    }
    struct weir_entry entry;
    struct weir_view with_nul = weir_view_of("epoch=1 members=a\0b", 19);
    assert_int_equal(weir_entry_parse(with_nul, &entry, NULL), WEIR_EFORMAT);
    char longest[WEIR_ENTRY_BYTES_MOST + 2];
    memset(longest, 'a', sizeof longest);
    memcpy(longest, "epoch=1 members=", 16);
    assert_int_equal(weir_entry_parse(weir_view_of(longest, WEIR_ENTRY_BYTES_MOST + 1), &entry, NULL), WEIR_ELIMIT);
    assert_int_equal(weir_entry_parse(weir_view_of(longest, 16 + WEIR_NAME_BYTES), &entry, NULL), WEIR_ELIMIT);
    assert_int_equal(weir_entry_parse(weir_view_of(longest, 16 + WEIR_NAME_BYTES - 1), &entry, NULL), 0);
}

/** The longest that an entry can be must fit into what is read. */
static void the_longest_entry_can_be_read(void **state)
{
    (void)state;
    struct weir_entry entry = {
        .epoch = UINT32_MAX, .member_count = WEIR_OWNERS_MOST, .joining_count = WEIR_JOINING_MOST};
    struct weir_buf printed = WEIR_BUF_INIT;
    for (uint32_t i = 0; i < WEIR_OWNERS_MOST; i++)
        memset(entry.members[i], 'a' + (int)i, WEIR_NAME_BYTES - 1);
    memset(entry.joining[0], 'z', WEIR_NAME_BYTES - 1);
    weir_entry_print(&entry, &printed);
    struct weir_entry read;
    assert_int_equal(weir_entry_parse(weir_buf_view(&printed), &read, NULL), 0);
    assert_true(weir_entry_equal(&entry, &read));
    weir_buf_fini(&printed);
}

static void the_file_comes_back_as_it_was_and_every_changed_byte_is_seen(void **state)
{
    (void)state;
    struct weir_entries *entries = weir_calloc(2, sizeof *entries);
    assert_non_null(entries);
    assert_int_equal(weir_entry_parse(weir_view_text("epoch=7 members=agg-1,agg-2"), &entries->at[0], NULL), 0);
    assert_int_equal(weir_entry_parse(weir_view_text("epoch=9 members=agg-1 joining=agg-3"), &entries->at[127], NULL),
                     0);
    struct weir_buf text = WEIR_BUF_INIT;
    weir_entries_print(entries, &text);
    assert_int_equal(weir_entries_parse(weir_buf_view(&text), &entries[1], NULL), 0);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        assert_true(weir_entry_equal(&entries[0].at[shard], &entries[1].at[shard]));
    for (size_t i = 0; i < text.size; i++) {
        struct weir_why why = {""};
        text.data[i] ^= 1;
        assert_true(weir_entries_parse(weir_buf_view(&text), &entries[1], &why) < 0);
        assert_int_not_equal(why.text[0], '\0');
        text.data[i] ^= 1;
        assert_true(weir_entries_parse(weir_view_of(text.data, i), &entries[1], NULL) < 0);
    }
    weir_buf_fini(&text);
    weir_free(entries);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_names_the_epoch_the_members_and_who_joins),
        cmocka_unit_test(a_name_that_is_not_in_the_file_is_said),
        cmocka_unit_test(text_that_is_no_entry_is_refused_with_a_reason),
        cmocka_unit_test(the_longest_entry_can_be_read),
        cmocka_unit_test(the_file_comes_back_as_it_was_and_every_changed_byte_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
