/** Logs that were handed over wait under their ids, and are known for ever after; whoever is killed, at any step. */
#include "agent/inbox.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "tests/support/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

enum { BYTES_MOST = 64 << 10 };

static const char *const names[] = {"a", "b"};
static char folder[FOLDER_BYTES];
static struct agent_inbox *inbox;

static void start(void)
{
    struct weir_why why = {""};
    if (agent_inbox_create(folder, names, 2, BYTES_MOST, true, &inbox, &why) < 0) fail_msg("%s", why.text);
}

/** As a kill does: nothing is done in leaving. */
static void restart(void)
{
    agent_inbox_destroy(inbox);
    inbox = NULL;
    start();
}

static int set_up(void **state)
{
    (void)state;
    weir_log_set_level(WEIR_LOG_ERROR);
    make_folder(folder);
    start();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    agent_inbox_destroy(inbox);
    inbox = NULL;
    remove_folder(folder);
    return 0;
}

static int put(size_t feed, const char *key, const char *log)
{
    const struct agent_inbox_id id = agent_inbox_id_of(names[feed], key);
    return agent_inbox_put(inbox, feed, &id, weir_view_text(log));
}

static size_t waiting(size_t feed, struct agent_inbox_id *ret_first)
{
    struct agent_inbox_id *ids = NULL;
    size_t count;
    assert_int_equal(agent_inbox_list(inbox, feed, &ids, &count), 0);
    if (count > 0 && ret_first != NULL) *ret_first = ids[0];
    weir_free(ids);
    return count;
}

static void path_of(size_t feed, const char *name, char ret[256])
{
    snprintf(ret, 256, "%s/%s", agent_inbox_folder(inbox, feed), name);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void a_log_is_known_by_its_id_while_it_waits_and_when_it_was_taken(void **state)
{
    (void)state;
    struct agent_inbox_id id;
    assert_int_equal(put(0, "request-1", "x"), 0);
    assert_int_equal(put(0, "request-1", "x"), WEIR_EEXIST);
    assert_int_equal(put(0, "request-2", "x"), 0); /* the same content is another log */
    assert_int_equal(put(1, "request-1", "x"), 0); /* and so is that of another feed */
    restart();
    assert_int_equal(put(0, "request-1", "x"), WEIR_EEXIST);
    assert_int_equal(waiting(0, &id), 2);

    assert_false(agent_inbox_was_taken(inbox, &id));
    assert_int_equal(agent_inbox_take(inbox, &id, 1), 0);
    restart(); /* killed before the file was removed: it is still there, and is not to be taken again */
    assert_int_equal(waiting(0, &id), 2);
    assert_true(agent_inbox_was_taken(inbox, &id));
    agent_inbox_drop(inbox, 0, &id, false);
    restart();
    assert_int_equal(waiting(0, NULL), 1);
    assert_int_equal(put(0, "request-1", "x"), WEIR_EEXIST);
    assert_int_equal(put(0, "request-2", "x"), WEIR_EEXIST);
}

static void what_is_taken_twice_is_remembered_once(void **state)
{
    (void)state;
    char path[256];
    struct stat stat_of;
    const struct agent_inbox_id id = agent_inbox_id_random();
    assert_int_equal(agent_inbox_take(inbox, &id, 1), 0);
    assert_int_equal(agent_inbox_take(inbox, &id, 1), 0);
    snprintf(path, sizeof path, "%s/pushed", folder);
    assert_int_equal(stat(path, &stat_of), 0);
    assert_int_equal(stat_of.st_size, 20);
}

static void no_more_waits_than_may_and_what_is_taken_makes_room(void **state)
{
    (void)state;
    char key[16];
    int count = 0;
    int rc = 0;
    while (rc == 0) {
        snprintf(key, sizeof key, "%d", count++);
        rc = put(count % 2 == 0, key, "x");
    }
    assert_int_equal(rc, WEIR_EFULL);
    assert_int_equal(count - 1, BYTES_MOST / AGENT_INBOX_FILE_BYTES);
    assert_int_equal(agent_inbox_bytes(inbox), BYTES_MOST);
    assert_true(agent_inbox_is_full(inbox));
    restart();
    assert_true(agent_inbox_is_full(inbox));

    struct agent_inbox_id id;
    assert_true(waiting(0, &id) > 0);
    agent_inbox_drop(inbox, 0, &id, false);
    assert_false(agent_inbox_is_full(inbox));
    assert_int_equal(put(0, key, "x"), 0);
}

static void at_least_the_newest_ids_are_remembered_and_not_all_for_ever(void **state)
{
    (void)state;
    enum { AT_ONCE = 4096, ROUNDS = 3 * AGENT_INBOX_IDS_MOST / AT_ONCE };
    struct agent_inbox_id ids[AT_ONCE] = {{{0}}};
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (uint64_t i = 0; i < AT_ONCE; i++)
            weir_store_u64le(ids[i].bytes, round * AT_ONCE + i + 1);
        assert_int_equal(agent_inbox_take(inbox, ids, AT_ONCE), 0);
    }
    restart();
    struct agent_inbox_id id = {{0}};
    for (uint64_t i = 2 * AGENT_INBOX_IDS_MOST; i < 3 * AGENT_INBOX_IDS_MOST; i++) {
        weir_store_u64le(id.bytes, i + 1);
        if (!agent_inbox_was_taken(inbox, &id)) fail_msg("id %d is forgotten", (int)i);
    }
    weir_store_u64le(id.bytes, 1);
    assert_false(agent_inbox_was_taken(inbox, &id));
}

static void a_torn_end_and_a_damaged_entry_cost_only_themselves(void **state)
{
    (void)state;
    struct agent_inbox_id ids[3];
    char path[256];
    for (size_t i = 0; i < 3; i++)
        ids[i] = agent_inbox_id_random();
    assert_int_equal(agent_inbox_take(inbox, ids, 3), 0);
    snprintf(path, sizeof path, "%s/pushed", folder);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "??", 2, 20), 2); /* the second entry */
    assert_int_equal(pwrite(fd, "torn", 4, 60), 4);
    close(fd);
    restart();
    assert_true(agent_inbox_was_taken(inbox, &ids[0]));
    assert_false(agent_inbox_was_taken(inbox, &ids[1]));
    assert_true(agent_inbox_was_taken(inbox, &ids[2]));
    assert_int_equal(agent_inbox_take(inbox, &ids[1], 1), 0);
    restart();
    for (size_t i = 0; i < 3; i++)
        assert_true(agent_inbox_was_taken(inbox, &ids[i]));
}

static void what_was_half_written_is_removed_and_what_is_damaged_is_put_aside(void **state)
{
    (void)state;
    char half[256];
    char aside[256];
    char name[AGENT_INBOX_NAME_BYTES + 8];
    const struct agent_inbox_id id = agent_inbox_id_of("a", "1");
    path_of(0, "00112233445566778899aabbccddeeff.tmp", half);
    write_file(half, "half");
    assert_int_equal(put(0, "1", "x"), 0);
    agent_inbox_drop(inbox, 0, &id, true);
    restart();
    assert_int_equal(waiting(0, NULL), 0);
    assert_int_not_equal(access(half, F_OK), 0);
    agent_inbox_name(&id, name);
    strcat(name, ".damaged");
    path_of(0, name, aside);
    assert_int_equal(access(aside, F_OK), 0);
    assert_int_equal(agent_inbox_bytes(inbox), AGENT_INBOX_FILE_BYTES); /* it takes its room until somebody looks */
}

static int stream(const char *text, uint64_t bytes_most, uint64_t *ret_bytes, struct weir_why *why)
{
    char path[256];
    snprintf(path, sizeof path, "%s/input", folder);
    write_file(path, text);
    int fd = open(path, O_RDONLY);
    int rc = agent_inbox_put_stream(folder, "a", bytes_most, fd, ret_bytes, why);
    close(fd);
    return rc;
}

static void a_stream_becomes_a_log_once(void **state)
{
    (void)state;
    uint64_t bytes = 0;
    struct weir_why why = {""};
    struct agent_inbox_id id;
    assert_int_equal(stream("one two\n", BYTES_MOST, &bytes, &why), 0);
    assert_int_equal(bytes, 8);
    assert_int_equal(waiting(0, &id), 1);
    assert_int_equal(stream("one two\n", BYTES_MOST, &bytes, &why), WEIR_EEXIST);
    assert_int_equal(agent_inbox_take(inbox, &id, 1), 0);
    agent_inbox_drop(inbox, 0, &id, false);
    assert_int_equal(stream("one two\n", BYTES_MOST, &bytes, &why), WEIR_EEXIST);
    assert_non_null(strstr(why.text, "before"));
    assert_int_equal(stream("one three\n", BYTES_MOST, &bytes, &why), 0);
    assert_int_equal(stream("", BYTES_MOST, &bytes, &why), 0);
    assert_int_equal(stream("it is full\n", AGENT_INBOX_FILE_BYTES, &bytes, &why), WEIR_EFULL);
    assert_int_equal(stream("another one\n", AGENT_INBOX_FILE_BYTES + 11, &bytes, &why), WEIR_EFULL);
    assert_int_equal(waiting(0, NULL), 1);
    assert_int_equal(agent_inbox_bytes(inbox), AGENT_INBOX_FILE_BYTES); /* nothing half-written is left */
    assert_int_equal(put(1, "1", "x"), 0);                              /* what waits of another feed counts, too */
    assert_int_equal(stream("one four\n", 2 * AGENT_INBOX_FILE_BYTES, &bytes, &why), WEIR_EFULL);
    assert_int_equal(stream("one four\n", 2 * AGENT_INBOX_FILE_BYTES + 9, &bytes, &why), 0);
    assert_int_equal(agent_inbox_put_stream(folder, "c", BYTES_MOST, 0, &bytes, &why), WEIR_ENOTFOUND);
}

static void creating_without_memory_cleans_up_behind_itself(void **state)
{
    (void)state;
    const struct agent_inbox_id id = agent_inbox_id_random();
    assert_int_equal(agent_inbox_take(inbox, &id, 1), 0);
    agent_inbox_destroy(inbox);
    inbox = NULL;
    bool failed = true;
    for (int64_t successes = 0; failed; successes++) {
        struct weir_why why = {""};
        weir_mem_fail_after(successes);
        int rc = agent_inbox_create(folder, names, 2, BYTES_MOST, true, &inbox, &why);
        failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_log_is_known_by_its_id_while_it_waits_and_when_it_was_taken),
        TEST(what_is_taken_twice_is_remembered_once),
        TEST(no_more_waits_than_may_and_what_is_taken_makes_room),
        TEST(at_least_the_newest_ids_are_remembered_and_not_all_for_ever),
        TEST(a_torn_end_and_a_damaged_entry_cost_only_themselves),
        TEST(what_was_half_written_is_removed_and_what_is_damaged_is_put_aside),
        TEST(a_stream_becomes_a_log_once),
        TEST(creating_without_memory_cleans_up_behind_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
