/** Answers as etcd 3.4.23 gave them. */
#include "common/base/mem.h"
#include "common/etcd/etcd.h"
#include "common/etcd/reply.h"

#include <stdio.h>

#include "tests/support/cmocka.h"

#define HEADER                                                                                   \
    "\"header\":{\"cluster_id\":\"7838471617075645952\",\"member_id\":\"12851574709358685181\"," \
    "\"revision\":\"3\",\"raft_term\":\"2\"}"
#define KEY "L3dlaXIvdC9tYXAvMQ==" /* /weir/t/map/1 */

static const size_t skip = sizeof "/weir/t/" - 1;

struct seen {
    uint32_t count;
    uint32_t gone;
    char key[WEIR_MAPSTORE_KEY_MOST + 1];
    char value[64];
    int64_t revision;
};

static void see(void *ctx, const struct weir_mapstore_item *item)
{
    struct seen *seen = ctx;
    seen->count++;
    seen->gone += item->gone;
    seen->revision = item->revision;
    snprintf(seen->key, sizeof seen->key, "%s", item->key);
    snprintf(seen->value, sizeof seen->value, "%.*s", (int)item->value.size, (const char *)item->value.data);
}

static void keys_come_without_the_prefix_with_value_and_revision(void **state)
{
    (void)state;
    struct seen seen = {0};
    int64_t revision = 0;
    static const char text[] =
        "{" HEADER ",\"kvs\":[{\"key\":\"" KEY "\",\"create_revision\":\"2\",\"mod_revision\":\"2\","
        "\"version\":\"1\",\"value\":\"ZXBvY2g9MSBtZW1iZXJzPWE=\"}],\"count\":\"1\"}";
    assert_int_equal(etcd_reply_range(weir_view_text(text), skip, see, &seen, &revision), 0);
    assert_int_equal(revision, 3);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.key, "map/1");
    assert_string_equal(seen.value, "epoch=1 members=a");
    assert_int_equal(seen.revision, 2);
    assert_int_equal(etcd_reply_range(weir_view_text("{" HEADER "}"), skip, see, &seen, &revision), 0);
    assert_int_equal(seen.count, 1);
}

static void a_swap_without_succeeded_did_not_happen(void **state)
{
    (void)state;
    bool held = false;
    assert_int_equal(etcd_reply_txn(weir_view_text("{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_put\":"
                                                   "{\"header\":{\"revision\":\"3\"}}}]}"),
                                    &held),
                     0);
    assert_true(held);
    assert_int_equal(etcd_reply_txn(weir_view_text("{" HEADER "}"), &held), 0);
    assert_false(held);
    assert_int_equal(etcd_reply_txn(weir_view_text("{}"), &held), WEIR_EFORMAT); /* no answer of etcd's at all */
}

static void a_lease_that_has_ended_has_no_time_left(void **state)
{
    (void)state;
    int64_t lease = 0, ttl_s = -1;
    assert_int_equal(
        etcd_reply_lease(weir_view_text("{" HEADER ",\"ID\":\"7781553920101952778\",\"TTL\":\"10\"}"), &lease, &ttl_s),
        0);
    assert_true(lease == 7781553920101952778);
    assert_int_equal(ttl_s, 10);
    assert_int_equal(etcd_reply_lease(weir_view_text("{\"result\":{" HEADER ",\"ID\":\"77\"}}"), &lease, &ttl_s), 0);
    assert_int_equal(lease, 77);
    assert_int_equal(ttl_s, 0);
}

static void a_watch_tells_changes_deletions_and_its_end(void **state)
{
    (void)state;
    struct seen seen = {0};
    int64_t revision = 0;
    char reason[ETCD_REASON_BYTES] = "";
#define WATCH(text) etcd_reply_watch(weir_view_text(text), skip, see, &seen, &revision, reason)
    assert_int_equal(WATCH("{\"result\":{" HEADER ",\"created\":true}}"), 0);
    assert_int_equal(WATCH("{\"result\":{" HEADER ",\"events\":[{\"kv\":{\"key\":\"" KEY
                           "\",\"mod_revision\":\"2\",\"value\":"
                           "\"ZXBvY2g9MSBtZW1iZXJzPWE=\"}},{\"kv\":{\"key\":\"" KEY
                           "\",\"mod_revision\":\"3\",\"value\":\"ZXBvY2g9MiBtZW1iZXJzPWI=\"}}]}}"),
                     2);
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.value, "epoch=2 members=b");
    assert_int_equal(WATCH("{\"result\":{" HEADER ",\"events\":[{\"type\":\"DELETE\",\"kv\":{\"key\":\"" KEY
                           "\",\"mod_revision\":\"4\"}}]}}"),
                     1);
    assert_int_equal(seen.gone, 1);
    assert_int_equal(seen.revision, 4);
    assert_int_equal(
        WATCH("{\"result\":{\"header\":{\"raft_term\":\"2\"},\"canceled\":true,\"compact_revision\":\"4\"}}"),
        WEIR_ENOTFOUND);
    assert_int_equal(WATCH("{\"result\":{" HEADER ",\"created\":true,\"canceled\":true,\"cancel_reason\":\"no\"}}"),
                     WEIR_ECANCELLED);
    assert_string_equal(reason, "no");
    assert_int_equal(WATCH("{\"result\":7}"), WEIR_EFORMAT);
#undef WATCH
}

static void errors_are_told_from_answers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t code;
    } cases[] = {
        {"{\"error\":\"etcdserver: invalid auth token\",\"message\":\"etcdserver: invalid auth token\",\"code\":16}",
         16},
        {"{\"error\":\"etcdserver: user name is empty\",\"message\":\"etcdserver: user name is empty\",\"code\":3}", 3},
        {"{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\"}}", 14},
        {"{\"error\":\"no code\"}", ETCD_CODE_UNAVAILABLE},
        {"{" HEADER "}", -1},
        {"not JSON", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct etcd_error error = {.code = -1};
        assert_int_equal(etcd_reply_error(weir_view_text(cases[i].text), &error), cases[i].code >= 0);
        assert_int_equal(error.code, cases[i].code);
    }
}

static void a_token_that_would_break_a_header_is_refused(void **state)
{
    (void)state;
    char token[ETCD_TOKEN_BYTES];
    assert_int_equal(etcd_reply_token(weir_view_text("{" HEADER ",\"token\":\"fsZfOBtiIskOcSTU.19\"}"), token), 0);
    assert_string_equal(token, "fsZfOBtiIskOcSTU.19");
    assert_int_equal(etcd_reply_token(weir_view_text("{\"token\":\"a\\r\\nX: y\"}"), token), WEIR_EFORMAT);
    assert_int_equal(etcd_reply_token(weir_view_text("{\"token\":\"\"}"), token), WEIR_EFORMAT);
    assert_int_equal(etcd_reply_token(weir_view_text("{}"), token), WEIR_EFORMAT);
}

static void what_is_too_long_or_not_of_the_form_is_refused(void **state)
{
    (void)state;
    struct seen seen = {0};
    int64_t revision = 0;
    struct weir_buf text = WEIR_BUF_INIT;
#define RANGE(kv) etcd_reply_range(weir_view_text("{" HEADER ",\"kvs\":[" kv "]}"), skip, see, &seen, &revision)
    assert_int_equal(RANGE("7"), WEIR_EFORMAT);
    assert_int_equal(RANGE("{\"key\":7}"), WEIR_EFORMAT);
    assert_int_equal(RANGE("{\"key\":\"L3d\"}"), WEIR_EFORMAT);
    assert_int_equal(RANGE("{\"key\":\"L3dlaXIvdC8=\"}"), WEIR_EFORMAT); /* the prefix alone */
    assert_int_equal(RANGE("{\"key\":\"L3dlaXIvdC9tAA==\"}"), WEIR_EFORMAT);
    assert_int_equal(RANGE("{\"key\":\"" KEY "\",\"mod_revision\":\"9223372036854775808\"}"), WEIR_EFORMAT);
    assert_int_equal(RANGE("{\"key\":\"" KEY "\",\"mod_revision\":\"1x\"}"), WEIR_EFORMAT);
    weir_buf_text(&text, "{" HEADER ",\"kvs\":[{\"key\":\"" KEY "\",\"value\":\"");
    for (size_t i = 0; i < WEIR_MAPSTORE_VALUE_MOST / 3 + 1; i++)
        weir_buf_text(&text, "AAAA");
    weir_buf_text(&text, "\"}]}");
    assert_int_equal(etcd_reply_range(weir_buf_view(&text), skip, see, &seen, &revision), WEIR_ELIMIT);
    assert_int_equal(seen.count, 0);
    weir_buf_fini(&text);
#undef RANGE
}

static void a_store_needs_endpoints_and_keeps_a_password_to_itself(void **state)
{
    (void)state;
    static const char *const far[] = {"http://192.0.2.1:2379"}, *const near[] = {"http://127.0.0.1:2379"};
    struct etcd_conf good = {
        .endpoints = near, .endpoint_count = 1, .prefix = "/weir/t/", .user = "weir", .password = "p", .ca = ""};
    struct weir_mapstore *store = NULL;
    struct weir_why why;
#define REFUSED(change, words)                                                    \
    do {                                                                          \
        struct etcd_conf conf = good;                                             \
        change;                                                                   \
        assert_int_equal(etcd_mapstore_create(&conf, &store, &why), WEIR_EPARAM); \
        assert_non_null(strstr(why.text, words));                                 \
    } while (0)
    REFUSED(conf.endpoint_count = 0, "1 to 16 endpoints");
    REFUSED(conf.endpoints = far, "https");
    REFUSED(conf.prefix = "weir/", "prefix");
    REFUSED(conf.prefix = "/weir", "prefix");
    REFUSED(conf.prefix = "/we ir/", "prefix");
#undef REFUSED
    for (int64_t successes = 0;; successes++) {
        weir_mem_fail_after(successes);
        int rc = etcd_mapstore_create(&good, &store, &why);
        bool failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        if (!failed) break;
    }
    weir_mapstore_destroy(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_come_without_the_prefix_with_value_and_revision),
        cmocka_unit_test(a_swap_without_succeeded_did_not_happen),
        cmocka_unit_test(a_lease_that_has_ended_has_no_time_left),
        cmocka_unit_test(a_watch_tells_changes_deletions_and_its_end),
        cmocka_unit_test(errors_are_told_from_answers),
        cmocka_unit_test(a_token_that_would_break_a_header_is_refused),
        cmocka_unit_test(what_is_too_long_or_not_of_the_form_is_refused),
        cmocka_unit_test(a_store_needs_endpoints_and_keeps_a_password_to_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
