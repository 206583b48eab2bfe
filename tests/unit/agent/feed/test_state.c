/** What is remembered of files that were taken. */
#include "agent/feed/state.h"
#include "tests/support/folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

static char root[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/weir-feeds-XXXXXX");
    return mkdtemp(root) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    remove_folder(root);
    return 0;
}

static struct feed_file file_of(uint64_t inode, int64_t seen_ms)
{
    return (struct feed_file){.feed = 7,
                              .device = 1,
                              .inode = inode,
                              .offset = 10,
                              .hash = 3,
                              .take_to = 20,
                              .take_mark = 5,
                              .raw_bytes = 99,
                              .changed_ns = 12,
                              .seen_ms = seen_ms};
}

static void what_was_saved_comes_back(void **state)
{
    (void)state;
    struct feed_state feeds;
    assert_int_equal(feed_state_init(&feeds, root, true), 0);
    assert_int_equal(feeds.count, 0);
    assert_int_equal(feeds.next_mark, 1);
    const struct feed_file file = file_of(4, 1000);
    assert_int_equal(feed_state_add(&feeds, &file, 0), 0);
    feeds.next_mark = 77;
    assert_int_equal(feed_state_save(&feeds), 0);
    feed_state_fini(&feeds);

    assert_int_equal(feed_state_init(&feeds, root, true), 0);
    assert_int_equal(feeds.next_mark, 77);
    assert_int_equal(feeds.count, 1);
    assert_memory_equal(&feeds.files[0], &file, sizeof file);
    assert_int_equal(feed_state_find(&feeds, 7, 1, 4), 0);
    assert_int_equal(feed_state_find(&feeds, 7, 2, 4), WEIR_ENOTFOUND);
    feed_state_fini(&feeds);
}

static void a_file_that_is_removed_is_forgotten_and_the_others_are_found(void **state)
{
    (void)state;
    struct feed_state feeds;
    assert_int_equal(feed_state_init(&feeds, root, false), 0);
    for (uint64_t inode = 0; inode < 200; inode++) {
        const struct feed_file file = file_of(inode, 1000);
        assert_int_equal(feed_state_add(&feeds, &file, 0), (int)inode);
    }
    for (uint64_t inode = 0; inode < 200; inode += 3)
        feed_state_remove(&feeds, (size_t)feed_state_find(&feeds, 7, 1, inode));
    for (uint64_t inode = 0; inode < 200; inode++) {
        int index = feed_state_find(&feeds, 7, 1, inode);
        if (inode % 3 == 0)
            assert_int_equal(index, WEIR_ENOTFOUND);
        else
            assert_int_equal(feeds.files[index].inode, inode);
    }
    feed_state_fini(&feeds);
}

static void a_damaged_state_is_refused_and_not_taken_for_an_empty_one(void **state)
{
    (void)state;
    struct feed_state feeds;
    assert_int_equal(feed_state_init(&feeds, root, false), 0);
    const struct feed_file file = file_of(4, 1000);
    assert_int_equal(feed_state_add(&feeds, &file, 0), 0);
    assert_int_equal(feed_state_save(&feeds), 0);
    int fd = open(feeds.path, O_RDWR);
    assert_int_equal(pwrite(fd, "x", 1, 40), 1);
    close(fd);
    feed_state_fini(&feeds);
    assert_int_equal(feed_state_init(&feeds, root, false), WEIR_ECORRUPT);
    feed_state_fini(&feeds);
}

static void a_file_that_is_there_is_never_forgotten_for_another(void **state)
{
    (void)state;
    struct feed_state feeds;
    assert_int_equal(feed_state_init(&feeds, root, false), 0);
    for (uint64_t i = 0; i < FEED_FILES_MOST; i++) {
        const struct feed_file file = file_of(i + 1, i == 9 ? 500 : 1000);
        assert_int_equal(feed_state_add(&feeds, &file, 0), (int)i);
    }
    const struct feed_file more = file_of(99999, 1000);
    assert_int_equal(feed_state_add(&feeds, &more, 500), WEIR_EFULL);
    assert_int_equal(feed_state_add(&feeds, &more, 501), 9);
    assert_int_equal(feed_state_add(&feeds, &more, 501), WEIR_EFULL);
    feed_state_fini(&feeds);
}

static void a_hash_can_be_continued_anywhere(void **state)
{
    (void)state;
    uint64_t whole = feed_hash(FEED_HASH_INIT, "foobar", 6);
    assert_true(whole == UINT64_C(0x85944171f73967e8)); /* FNV-1a's own test vector */
    assert_true(feed_hash(feed_hash(FEED_HASH_INIT, "foo", 3), "bar", 3) == whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_saved_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_removed_is_forgotten_and_the_others_are_found, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_state_is_refused_and_not_taken_for_an_empty_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_is_there_is_never_forgotten_for_another, set_up, tear_down),
        cmocka_unit_test(a_hash_can_be_continued_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
