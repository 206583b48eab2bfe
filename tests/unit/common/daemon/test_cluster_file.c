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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cluster_file_gives_a_placed_map),
        cmocka_unit_test(an_allow_file_gives_the_keys_with_their_role_site_and_tenant),
        cmocka_unit_test(a_key_that_stands_twice_is_refused_with_the_file_and_the_entry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
