#include "common/base/mem.h"
#include "common/daemon/cluster_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

#define KEY_A "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define KEY_B "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"

/** A file with this text; the caller unlinks and frees its name. */
static char *file_with(const char *text)
{
    char *name = strdup("/tmp/weir-cluster-file-XXXXXX");
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return name;
}

static void a_cluster_file_gives_a_placed_map(void **state)
{
    (void)state;
    char *name =
        file_with("epoch = 7;\n"
                  "brokers = ( { name = \"b1\"; endpoint = \"tcp://127.0.0.1:7001\"; key = \"" KEY_A "\"; } );\n"
                  "aggregators = ( { name = \"a1\"; endpoint = \"tcp://127.0.0.1:7002\";\n"
                  "  ask_endpoint = \"tcp://127.0.0.1:7003\"; key = \"" KEY_B "\"; } );\n");
    struct weir_map *map = NULL;
    struct weir_why why = {""};
    if (weir_cluster_file_read(name, &map, &why) < 0) fail_msg("%s", why.text);
    assert_int_equal(map->epoch, 7);
    assert_string_equal(map->tenant, "default");
    assert_string_equal(map->brokers[0].endpoint, "tcp://127.0.0.1:7001");
    assert_string_equal(map->aggregators[0].ask_endpoint, "tcp://127.0.0.1:7003");
    assert_int_equal(weir_map_load(map, 0), WEIR_SHARDS);
    weir_map_free(map);
    unlink(name);
    free(name);
}

static void an_allow_file_gives_the_keys_with_their_role_site_and_tenant(void **state)
{
    (void)state;
    char *name = file_with(
        "allow = ( { name = \"agent-fra\"; role = \"agent\"; site = \"fra\"; tenant = \"acme\"; key = \"" KEY_A
        "\"; }, { name = \"b1\"; role = \"broker\"; key = \"" KEY_B "\"; } );\n");
    struct weir_allow *allow = NULL;
    struct weir_why why = {""};
    if (weir_allow_file_read(name, &allow, &why) < 0) fail_msg("%s", why.text);
    const struct weir_allow_entry *agent = weir_allow_find_key(allow, KEY_A);
    assert_non_null(agent);
    assert_int_equal(agent->role, WEIR_ROLE_AGENT);
    assert_string_equal(agent->site, "fra");
    assert_string_equal(agent->tenant, "acme");
    assert_int_equal(weir_allow_find_key(allow, KEY_B)->role, WEIR_ROLE_BROKER);
    weir_allow_destroy(allow);
    unlink(name);
    free(name);
}

static void a_key_that_stands_twice_is_refused_with_the_file_and_the_entry(void **state)
{
    (void)state;
    char *name = file_with("allow = ( { name = \"a\"; role = \"broker\"; key = \"" KEY_A "\"; },\n"
                           "{ name = \"b\"; role = \"broker\"; key = \"" KEY_A "\"; } );\n");
    struct weir_allow *allow = NULL;
    struct weir_why why = {""};
    assert_int_equal(weir_allow_file_read(name, &allow, &why), WEIR_EEXIST);
    assert_non_null(strstr(why.text, name));
    assert_non_null(strstr(why.text, "entry 2 \"b\""));
    assert_null(allow);
    unlink(name);
    free(name);
}

static void a_member_that_cannot_be_is_refused_with_the_file_and_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *reason;
    } cases[] = {
        {"brokers = ( { name = \"b1\"; endpoint = \"tcp://h:1\"; } );",
         ":1: key: must be set: Its public key, 40 characters."},
        {"brokers = ( { name = \"b1\"; endpoint = \"tcp://h:1\"; key = \"" KEY_A "!\"; } );",
         ": broker 1: \"" KEY_A "!\" is longer than 40 characters"},
        {"replication = 2; aggregators = ( { name = \"a1\"; endpoint = \"tcp://h:2\"; ask_endpoint = \"tcp://h:3\"; "
         "key = \"" KEY_A "\"; } );",
         "replication"},
        {"epoch = 0;", ":1: epoch: 0 is not in 1..2147483647"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *name = file_with(cases[i].text);
        struct weir_map *map = NULL;
        struct weir_why why = {""};
        assert_int_equal(weir_cluster_file_read(name, &map, &why), WEIR_EPARAM);
        assert_int_equal(strncmp(why.text, name, strlen(name)), 0);
        if (strstr(why.text, cases[i].reason) == NULL) fail_msg("%s", why.text);
        assert_null(map);
        unlink(name);
        free(name);
    }
}

static void reading_without_memory_cleans_up_behind_itself(void **state)
{
    (void)state;
    char *cluster =
        file_with("aggregators = ( { name = \"a1\"; endpoint = \"tcp://h:2\"; ask_endpoint = \"tcp://h:3\"; "
                  "key = \"" KEY_B "\"; } );");
    char *allowed = file_with("allow = ( { name = \"b1\"; role = \"broker\"; key = \"" KEY_B "\"; } );");
    bool failed = true;
    for (int64_t successes = 0; failed; successes++) {
        struct weir_map *map = NULL;
        struct weir_allow *allow = NULL;
        struct weir_why why = {""};
        weir_mem_fail_after(successes);
        int rc = weir_cluster_file_read(cluster, &map, &why);
        if (rc == 0) rc = weir_allow_file_read(allowed, &allow, &why);
        failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        weir_map_free(map);
        weir_allow_destroy(allow);
    }
    unlink(cluster);
    unlink(allowed);
    free(cluster);
    free(allowed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_file_gives_a_placed_map),
        cmocka_unit_test(an_allow_file_gives_the_keys_with_their_role_site_and_tenant),
        cmocka_unit_test(a_key_that_stands_twice_is_refused_with_the_file_and_the_entry),
        cmocka_unit_test(a_member_that_cannot_be_is_refused_with_the_file_and_what_is_wrong),
        cmocka_unit_test(reading_without_memory_cleans_up_behind_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
