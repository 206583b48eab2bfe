#include "common/base/mem.h"
#include "common/cluster/allow.h"

#include <stdio.h>

#include "tests/support/cmocka.h"

static struct weir_allow_entry entry_of(const char *name, enum weir_role role, uint32_t key_number)
{
    struct weir_allow_entry entry = {.role = role};
    strncpy(entry.name, name, sizeof entry.name - 1);
    strcpy(entry.site, "zurich");
    strcpy(entry.tenant, "acme");
    snprintf(entry.key, sizeof entry.key, "%040u", key_number);
    return entry;
}

static struct weir_allow *list_of(uint32_t count)
{
    struct weir_allow *allow;
    assert_int_equal(weir_allow_create(&allow), 0);
    for (uint32_t i = 0; i < count; i++) {
        char name[WEIR_NAME_BYTES];
        snprintf(name, sizeof name, "agent-%u", i);
        struct weir_allow_entry entry = entry_of(name, WEIR_ROLE_AGENT, i);
        assert_int_equal(weir_allow_add(allow, &entry, NULL), 0);
    }
    return allow;
}

static void entries_are_found_by_key_and_by_name(void **state)
{
    (void)state;
    struct weir_allow *allow = list_of(1000);
    assert_int_equal(weir_allow_count(allow), 1000);
    const struct weir_allow_entry *entry = weir_allow_find_name(allow, "agent-777");
    assert_non_null(entry);
    assert_ptr_equal(entry, weir_allow_at(allow, 777));
    assert_ptr_equal(entry, weir_allow_find_key(allow, entry->key));
    uint8_t id[16];
    weir_agent_id("agent-777", id);
    assert_memory_equal(entry->agent, id, sizeof id);
    assert_null(weir_allow_find_name(allow, "agent-1000"));
    assert_null(weir_allow_find_key(allow, "0000000000000000000000000000000000001000"));
    char longer[200];
    memset(longer, 'a', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_null(weir_allow_find_name(allow, longer));
    assert_null(weir_allow_find_key(allow, longer));
    weir_allow_destroy(allow);
}

static void a_name_may_have_two_keys_while_they_are_changed(void **state)
{
    (void)state;
    struct weir_allow *allow = list_of(1);
    struct weir_allow_entry second = entry_of("agent-0", WEIR_ROLE_AGENT, 1);
    assert_int_equal(weir_allow_add(allow, &second, NULL), 0);
    assert_ptr_equal(weir_allow_find_name(allow, "agent-0"), weir_allow_at(allow, 0));
    assert_ptr_equal(weir_allow_find_key(allow, second.key), weir_allow_at(allow, 1));
    weir_allow_destroy(allow);
}

static void contradictions_are_refused_with_a_reason(void **state)
{
    (void)state;
    struct weir_allow *allow = list_of(1);
    const struct weir_allow_entry good = entry_of("agent-0", WEIR_ROLE_AGENT, 1);
    struct weir_allow_entry entry = good;
    struct weir_why why;
#define REFUSED(change, code, words)                                   \
    do {                                                               \
        entry = good;                                                  \
        change;                                                        \
        assert_int_equal(weir_allow_add(allow, &entry, &why), code);   \
        if (strstr(why.text, words) == NULL) fail_msg("%s", why.text); \
        assert_int_equal(weir_allow_count(allow), 1);                  \
    } while (0)
    REFUSED(entry.role = WEIR_ROLE_CONSOLE, WEIR_EEXIST, "twice");
    REFUSED(strcpy(entry.site, "bern"), WEIR_EEXIST, "twice");
    REFUSED(strcpy(entry.tenant, "other"), WEIR_EEXIST, "twice");
    REFUSED(entry.key[39] = '0', WEIR_EEXIST, "same key");
    REFUSED(strcpy(entry.name, "agent 0"), WEIR_EPARAM, "not allowed");
    REFUSED(strcpy(entry.name, "../agent"), WEIR_EPARAM, "not allowed");
    REFUSED(strcpy(entry.name, ""), WEIR_EPARAM, "not allowed");
    REFUSED(entry.role = WEIR_ROLE_NONE, WEIR_EPARAM, "no role");
    REFUSED(entry.role = WEIR_ROLES, WEIR_EPARAM, "no role");
    REFUSED(entry.key[39] = '\0', WEIR_EPARAM, "not a public key");
    REFUSED(entry.key[5] = '\\', WEIR_EPARAM, "not a public key");
    REFUSED(memcpy(entry.key, "#####", 5), WEIR_EPARAM, "not a public key"); /* 85^5 - 1 needs 33 bits */
    REFUSED(strcpy(entry.site, "a b"), WEIR_EPARAM, "site");
    REFUSED(strcpy(entry.tenant, ""), WEIR_EPARAM, "tenant");
#undef REFUSED
    weir_allow_destroy(allow);
}

static void a_shared_list_lives_until_its_last_share_is_given_up(void **state)
{
    (void)state;
    struct weir_allow *allow = list_of(1);
    struct weir_allow *share = weir_allow_share(allow);
    weir_allow_destroy(allow);
    assert_non_null(weir_allow_find_name(share, "agent-0"));
    weir_allow_destroy(share);
    weir_allow_destroy(NULL);
}

static void role_names_go_both_ways(void **state)
{
    (void)state;
    for (int role = WEIR_ROLE_AGENT; role < WEIR_ROLES; role++)
        assert_int_equal(weir_role_of(weir_role_name(role)), role);
    assert_int_equal(weir_role_of("none"), WEIR_ENOTFOUND);
    assert_int_equal(weir_role_of("root"), WEIR_ENOTFOUND);
    assert_string_equal(weir_role_name(WEIR_ROLES), "unknown");
}

static void running_out_of_memory_leaves_the_list_as_it_was(void **state)
{
    (void)state;
    bool failed = true;
    for (int64_t successes = 0; failed; successes++) {
        assert_true(successes < 20);
        struct weir_allow *allow = NULL;
        weir_mem_fail_after(successes);
        int rc = weir_allow_create(&allow);
        struct weir_allow_entry entry = entry_of("agent-0", WEIR_ROLE_AGENT, 0);
        if (rc == 0) rc = weir_allow_add(allow, &entry, NULL);
        failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        if (failed && allow != NULL) assert_int_equal(weir_allow_count(allow), 0);
        weir_allow_destroy(allow);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_found_by_key_and_by_name),
        cmocka_unit_test(a_name_may_have_two_keys_while_they_are_changed),
        cmocka_unit_test(contradictions_are_refused_with_a_reason),
        cmocka_unit_test(a_shared_list_lives_until_its_last_share_is_given_up),
        cmocka_unit_test(role_names_go_both_ways),
        cmocka_unit_test(running_out_of_memory_leaves_the_list_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
