#include "common/net/keys.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

/** A folder of its own for each test, removed with what the tests put into it. */
struct place {
    char folder[64];
    char secret[128];
    char public[128];
};

static void place_make(struct place *place)
{
    strcpy(place->folder, "/tmp/weir-test-keys-XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->secret, sizeof place->secret, "%s/agent-1.key", place->folder);
    snprintf(place->public, sizeof place->public, "%s/agent-1.pub", place->folder);
}

static void place_remove(const struct place *place)
{
    unlink(place->secret);
    unlink(place->public);
    assert_int_equal(rmdir(place->folder), 0); /* fails when a file beside them was left behind */
}

static void rewrite(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void keys_that_were_written_are_read_back(void **state)
{
    (void)state;
    struct place place;
    struct weir_keys keys, again;
    struct weir_why why;
    char public_key[WEIR_KEY_TEXT];
    place_make(&place);
    umask(0);
    assert_int_equal(weir_keys_make(&keys, &why), 0);
    assert_true(weir_key_is_valid(keys.public_key));
    assert_int_equal(weir_keys_write(&keys, place.folder, "agent-1", false, &why), 0);
    assert_int_equal(weir_keys_read(place.secret, &again, &why), 0);
    assert_memory_equal(&keys, &again, sizeof keys);
    assert_int_equal(weir_keys_read_public(place.public, public_key, &why), 0);
    assert_string_equal(public_key, keys.public_key);
    struct stat status;
    assert_int_equal(stat(place.secret, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    assert_int_equal(stat(place.public, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0644);
    place_remove(&place);
}

static void keys_are_not_overwritten_unless_asked(void **state)
{
    (void)state;
    struct place place;
    struct weir_keys first, second, read;
    struct weir_why why;
    place_make(&place);
    assert_int_equal(weir_keys_make(&first, &why), 0);
    assert_int_equal(weir_keys_make(&second, &why), 0);
    assert_string_not_equal(first.public_key, second.public_key);
    assert_int_equal(weir_keys_write(&first, place.folder, "agent-1", false, &why), 0);
    assert_int_equal(weir_keys_write(&second, place.folder, "agent-1", false, &why), WEIR_EEXIST);
    assert_non_null(strstr(why.text, place.secret));
    assert_int_equal(weir_keys_read(place.secret, &read, &why), 0);
    assert_string_equal(read.public_key, first.public_key);
    unlink(place.secret);
    assert_int_equal(weir_keys_write(&second, place.folder, "agent-1", false, &why), WEIR_EEXIST);
    assert_non_null(strstr(why.text, place.public));
    assert_int_equal(access(place.secret, F_OK), -1);
    assert_int_equal(weir_keys_write(&second, place.folder, "agent-1", true, &why), 0);
    assert_int_equal(weir_keys_read(place.secret, &read, &why), 0);
    assert_string_equal(read.public_key, second.public_key);
    place_remove(&place);
}

static void a_secret_that_is_open_to_others_is_refused(void **state)
{
    (void)state;
    struct place place;
    struct weir_keys keys, read;
    struct weir_why why;
    place_make(&place);
    assert_int_equal(weir_keys_make(&keys, &why), 0);
    assert_int_equal(weir_keys_write(&keys, place.folder, "agent-1", false, &why), 0);
    static const mode_t open_modes[] = {0604, 0602, 0620, 0644, 0660, 0666, 0777};
    for (size_t i = 0; i < sizeof open_modes / sizeof *open_modes; i++) {
        assert_int_equal(chmod(place.secret, open_modes[i]), 0);
        assert_int_equal(weir_keys_read(place.secret, &read, &why), WEIR_EDENIED);
        assert_non_null(strstr(why.text, "open to others"));
    }
    assert_int_equal(chmod(place.secret, 0640), 0); /* a group may read what root owns, nothing else */
    assert_int_equal(weir_keys_read(place.secret, &read, &why), getuid() == 0 ? 0 : WEIR_EDENIED);
    place_remove(&place);
}

static void what_is_not_a_key_file_is_refused_with_a_reason(void **state)
{
    (void)state;
    struct place place;
    struct weir_keys keys, other, read = {{0}};
    struct weir_why why;
    char text[2048], public_key[WEIR_KEY_TEXT];
    place_make(&place);
    assert_int_equal(weir_keys_read(place.secret, &read, &why), WEIR_ENOTFOUND);
    assert_int_equal(weir_keys_read_public(place.public, public_key, &why), WEIR_ENOTFOUND);
    assert_non_null(strstr(why.text, place.public));
    assert_int_equal(weir_keys_make(&keys, &why), 0);
    assert_int_equal(weir_keys_make(&other, &why), 0);

    rewrite(place.secret, "");
    assert_int_equal(weir_keys_read(place.secret, &read, &why), WEIR_EFORMAT);
    assert_int_equal(weir_keys_read_public(place.secret, public_key, &why), WEIR_EFORMAT);
    snprintf(text, sizeof text, "public-key %s\n", keys.public_key);
    rewrite(place.secret, text);
    assert_int_equal(weir_keys_read(place.secret, &read, &why), WEIR_EFORMAT);
    assert_non_null(strstr(why.text, "not a key file"));
    snprintf(text, sizeof text, "public-key %s\nsecret-key %s\n", keys.public_key, other.secret_key);
    rewrite(place.secret, text);
    assert_int_equal(weir_keys_read(place.secret, &read, &why), WEIR_EFORMAT);
    assert_non_null(strstr(why.text, "belong together"));
    memset(text, '#', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    rewrite(place.secret, text);
    assert_int_equal(weir_keys_read(place.secret, &read, &why), WEIR_EFORMAT);
    assert_non_null(strstr(why.text, "too long"));
    snprintf(text, sizeof text, "public-key %s\nsecret-key %s", keys.public_key, keys.secret_key);
    rewrite(place.secret, text); /* the last newline does not matter */
    assert_int_equal(weir_keys_read(place.secret, &read, &why), 0);
    place_remove(&place);
}

static void a_credential_of_the_service_manager_comes_before_the_file(void **state)
{
    (void)state;
    struct place place;
    struct weir_keys keys, read;
    struct weir_why why;
    place_make(&place);
    assert_int_equal(weir_keys_make(&keys, &why), 0);
    assert_int_equal(weir_keys_write(&keys, place.folder, "agent-1", false, &why), 0);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    assert_int_equal(weir_keys_load(place.secret, &read, &why), 0);
    assert_int_equal(weir_keys_load("/nonexistent/agent-1.key", &read, &why), WEIR_ENOTFOUND);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", place.folder, 1), 0);
    assert_int_equal(weir_keys_load("/nonexistent/agent-1.key", &read, &why), 0);
    assert_string_equal(read.public_key, keys.public_key);
    assert_int_equal(weir_keys_load("/nonexistent/other.key", &read, &why), WEIR_ENOTFOUND);
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    place_remove(&place);
}

static void names_that_could_leave_the_folder_are_refused(void **state)
{
    (void)state;
    struct weir_keys keys;
    struct weir_why why;
    assert_int_equal(weir_keys_make(&keys, &why), 0);
    assert_int_equal(weir_keys_write(&keys, "/tmp", "../agent", false, &why), WEIR_EPARAM);
    assert_int_equal(weir_keys_write(&keys, "/tmp", "", false, &why), WEIR_EPARAM);
    assert_int_equal(weir_keys_write(&keys, "/nonexistent", "agent-1", false, &why), WEIR_ENOTFOUND);
    weir_keys_wipe(&keys);
    struct weir_keys zero = {{0}};
    assert_memory_equal(&keys, &zero, sizeof keys);
}

static void a_secret_is_one_line_of_a_file_that_others_cannot_read(void **state)
{
    (void)state;
    struct place place;
    struct weir_why why;
    char secret[WEIR_SECRET_BYTES];
    place_make(&place);
    assert_int_equal(weir_secret_load(place.secret, secret, &why), WEIR_ENOTFOUND);
    rewrite(place.secret, "correct horse\n");
    assert_int_equal(weir_secret_load(place.secret, secret, &why), 0);
    assert_string_equal(secret, "correct horse");
    static const char *const bad[] = {"", "\n", "one\ntwo\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rewrite(place.secret, bad[i]);
        assert_int_equal(weir_secret_load(place.secret, secret, &why), WEIR_EFORMAT);
    }
    assert_int_equal(chmod(place.secret, 0644), 0);
    assert_int_equal(weir_secret_load(place.secret, secret, &why), WEIR_EDENIED);
    place_remove(&place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_that_were_written_are_read_back),
        cmocka_unit_test(keys_are_not_overwritten_unless_asked),
        cmocka_unit_test(a_secret_that_is_open_to_others_is_refused),
        cmocka_unit_test(what_is_not_a_key_file_is_refused_with_a_reason),
        cmocka_unit_test(a_credential_of_the_service_manager_comes_before_the_file),
        cmocka_unit_test(a_secret_is_one_line_of_a_file_that_others_cannot_read),
        cmocka_unit_test(names_that_could_leave_the_folder_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
