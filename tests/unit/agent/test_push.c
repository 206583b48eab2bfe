/** The door for flow logs: who may, what is refused with which status and counter, and what is in the inbox after. */
#include "agent/counters.h"
#include "agent/push.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "tests/support/folder.h"
#include "tests/support/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

#define KEY     "0123456789abcdef"
#define OLD_KEY "fedcba9876543210"

enum { BODY_MOST = 64 << 10, SPOOL_BYTES = 128 << 10 };

static char name_a[] = "a";
static char name_b[] = "b";
static char watched[] = "/tmp";
static char nothing[] = "";
static const struct agent_feed_conf feeds[] = {
    {.name = name_a, .path = watched, .fields = nothing, .exporter = nothing},
    {.name = name_b, .path = nothing, .fields = nothing, .exporter = nothing},
};
static const char *const pushed[] = {"b"};

static char folder[FOLDER_BYTES];
static char keys[FOLDER_BYTES + 8];
static struct weir_metrics metrics;
static struct agent_inbox *inbox;
static struct agent_push *push;

static void write_keys(const char *text, mode_t mode)
{
    FILE *file = fopen(keys, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(chmod(keys, mode), 0);
}

static int create(struct weir_why *why)
{
    const struct agent_push_conf conf = {.listen = "127.0.0.1:0",
                                         .tls_cert = "",
                                         .tls_key = "",
                                         .keys = keys,
                                         .body_most = BODY_MOST,
                                         .feeds = feeds,
                                         .feed_count = 2,
                                         .inbox = inbox};
    return agent_push_create(&conf, &metrics, &push, why);
}

static int set_up(void **state)
{
    (void)state;
    struct weir_why why = {""};
    weir_log_set_level(WEIR_LOG_ERROR);
    make_folder(folder);
    snprintf(keys, sizeof keys, "%s/keys", folder);
    write_keys("# of the senders\n" OLD_KEY "\r\n\n" KEY, 0640);
    assert_int_equal(weir_metrics_init(&metrics, agent_counter_rows, AGENT_COUNTERS), 0);
    assert_int_equal(agent_inbox_create(folder, pushed, 1, SPOOL_BYTES, true, &inbox, &why), 0);
    if (create(&why) < 0) fail_msg("%s", why.text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    agent_push_destroy(push);
    push = NULL;
    agent_inbox_destroy(inbox);
    weir_metrics_fini(&metrics);
    remove_folder(folder);
    return 0;
}

static uint64_t counted(enum agent_counter counter)
{
    return weir_metrics_get(&metrics, counter);
}

/** Send a request; its status. @ret, when not NULL, is the reply, for the caller to free. */
static int request(const char *method, const char *path, const char *token, const char *head, const char *body,
                   char **ret)
{
    char *reply = test_http_at(agent_push_address(push), method, path, token, head, body);
    int status = test_http_status(reply);
    if (ret == NULL)
        free(reply);
    else
        *ret = reply;
    return status;
}

static int post(const char *head, const char *body)
{
    return request("POST", "/feeds/b", KEY, head, body, NULL);
}

static size_t waiting(void)
{
    struct agent_inbox_id *ids = NULL;
    size_t count;
    assert_int_equal(agent_inbox_list(inbox, 0, &ids, &count), 0);
    weir_free(ids);
    return count;
}

static void any_of_the_keys_opens_and_nothing_else_does(void **state)
{
    (void)state;
    static const struct {
        const char *token;
        const char *head;
        int status;
    } cases[] = {
        {KEY, NULL, 200},
        {OLD_KEY, NULL, 200},
        {NULL, "X-Amz-Firehose-Access-Key: " KEY "\r\n", 200},
        {NULL, "authorization: bearer " KEY "\r\n", 200},
        {NULL, NULL, 401},
        {"0123456789abcdeF", NULL, 401},
        {"0123456789abcde", NULL, 401},
        {KEY "0", NULL, 401},
        {"# of the senders", NULL, 401},
        {"", NULL, 401},
        {KEY, "X-Amz-Firehose-Access-Key: wrong\r\n", 401},
        {NULL, "Authorization: Basic " KEY "\r\n", 401},
    };
    uint64_t taken = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = request("POST", "/feeds/b", cases[i].token, cases[i].head, "a log\n", NULL);
        if (status != cases[i].status) fail_msg("case %zu: %d", i, status);
        taken += status == 200;
    }
    assert_int_equal(counted(AGENT_COUNT_push_taken), taken);
    assert_int_equal(counted(AGENT_COUNT_push_unauthorized), sizeof cases / sizeof *cases - taken);
    assert_int_equal(waiting(), taken);
}

static void keys_can_be_changed_while_it_runs(void **state)
{
    (void)state;
    struct weir_why why = {""};
    write_keys("a-new-key-is-here\n", 0600);
    assert_int_equal(agent_push_reload(push, keys, &why), 0);
    assert_int_equal(post(NULL, "x"), 401);
    assert_int_equal(request("POST", "/feeds/b", "a-new-key-is-here", NULL, "x", NULL), 200);

    static const struct {
        const char *text;
        mode_t mode;
        int rc;
        const char *why;
    } cases[] = {{"a-new-key-is-here\n", 0644, WEIR_EDENIED, "everybody"},
                 {"# nothing\n\n", 0600, WEIR_EPARAM, "no key"},
                 {"a-new-key-is-here\nshort\n", 0600, WEIR_EPARAM, ":2: "}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_keys(cases[i].text, cases[i].mode);
        assert_int_equal(agent_push_reload(push, keys, &why), cases[i].rc);
        assert_non_null(strstr(why.text, cases[i].why));
    }
    assert_int_equal(unlink(keys), 0);
    assert_int_equal(agent_push_reload(push, keys, &why), WEIR_ENOTFOUND);
    assert_int_equal(request("POST", "/feeds/b", "a-new-key-is-here", NULL, "x", NULL), 200);
}

static void what_is_no_log_of_a_pushed_feed_is_refused_and_counted(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        const char *path;
        const char *head;
        const char *body;
        int status;
    } cases[] = {
        {"POST", "/", NULL, "x", 404},
        {"POST", "/feeds/", NULL, "x", 404},
        {"POST", "/feeds/c", NULL, "x", 404},
        {"POST", "/feeds/a", NULL, "x", 404}, /* has a folder */
        {"POST", "/feeds/b/", NULL, "x", 404},
        {"GET", "/feeds/b", NULL, NULL, 405},
        {"POST", "/feeds/b", "Content-Encoding: br\r\n", "x", 415},
        {"POST", "/feeds/b", "Content-Encoding: gzip\r\n", "this is no gzip", 400},
        {"POST", "/feeds/b", NULL, "\x1f\x8b\x08 nor is this", 400},
        {"POST", "/feeds/b", "X-Amz-Firehose-Request-Id: 1\r\n", "{\"requestId\":\"1\",\"records\":[{}]}", 400},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = request(cases[i].method, cases[i].path, KEY, cases[i].head, cases[i].body, NULL);
        if (status != cases[i].status) fail_msg("case %zu: %d", i, status);
    }
    assert_int_equal(counted(AGENT_COUNT_push_malformed), sizeof cases / sizeof *cases);
    assert_int_equal(waiting(), 0);
}

static void a_request_that_comes_again_is_answered_and_not_taken(void **state)
{
    (void)state;
    assert_int_equal(post("Idempotency-Key: one\r\n", "x"), 200);
    assert_int_equal(post("Idempotency-Key: one\r\n", "x"), 200);
    assert_int_equal(post("Idempotency-Key: two\r\n", "x"), 200);
    assert_int_equal(post(NULL, "x"), 200);
    assert_int_equal(post(NULL, "x"), 200);
    assert_int_equal(post(NULL, ""), 200);
    assert_int_equal(counted(AGENT_COUNT_push_taken), 4);
    assert_int_equal(counted(AGENT_COUNT_push_known), 1);
    assert_int_equal(counted(AGENT_COUNT_push_empty), 1);
    assert_int_equal(counted(AGENT_COUNT_push_bytes), 4);
    assert_int_equal(waiting(), 4);
}

static void firehose_is_answered_in_its_form(void **state)
{
    (void)state;
    static const char head[] = "X-Amz-Firehose-Request-Id: r1\r\nX-Amz-Firehose-Access-Key: " KEY "\r\n";
    static const char *const bodies[] = {"{\"requestId\":\"r1\",\"timestamp\":1,\"records\":[{\"data\":\"eA==\"}]}",
                                         "{\"requestId\":\"r2\",\"timestamp\":1,\"records\":[]}"};
    static const char *const answers[] = {"{\"requestId\":\"r1\",\"timestamp\":",
                                          "\"errorMessage\":\"requestId is not"};
    for (size_t i = 0; i < 2; i++) {
        char *reply;
        assert_int_equal(request("POST", "/feeds/b", NULL, head, bodies[i], &reply), i == 0 ? 200 : 400);
        assert_non_null(strstr(reply, "Content-Type: application/json\r\n"));
        assert_non_null(strstr(reply, "Content-Length: "));
        assert_non_null(strstr(reply, answers[i]));
        assert_true((strstr(reply, "errorMessage") == NULL) == (i == 0));
        free(reply);
    }
    assert_int_equal(waiting(), 1);
}

static void when_too_much_waits_senders_are_sent_away(void **state)
{
    (void)state;
    char *big = malloc(BODY_MOST + 2);
    memset(big, 'x', BODY_MOST + 1);
    big[BODY_MOST + 1] = '\0';
    assert_int_equal(post(NULL, big), 413);
    big[BODY_MOST] = '\0';
    assert_int_equal(post(NULL, big), 200);
    assert_int_equal(post(NULL, "x"), 200);
    assert_int_equal(post(NULL, big), 503); /* there is not enough room for this one */
    big[BODY_MOST - 2 * AGENT_INBOX_FILE_BYTES] = '\0';
    assert_int_equal(post(NULL, big), 200);
    assert_int_equal(post(NULL, "x"), 200);
    char *reply;
    assert_int_equal(request("POST", "/feeds/b", KEY, NULL, "x", &reply), 503); /* nor for any: by its head */
    assert_non_null(strstr(reply, "Retry-After: 10\r\n"));
    free(reply);
    free(big);
    assert_int_equal(counted(AGENT_COUNT_push_taken), 4);
    assert_int_equal(counted(AGENT_COUNT_push_full), 2);
    agent_push_refresh(push);
    assert_int_equal(counted(AGENT_COUNT_push_unseen_large), 1);
}

static void when_it_leaves_nothing_new_is_taken(void **state)
{
    (void)state;
    agent_push_stop(push);
    assert_int_equal(post(NULL, "x"), 503);
    assert_int_equal(waiting(), 0);
}

static void creating_without_memory_cleans_up_behind_itself(void **state)
{
    (void)state;
    bool failed = true;
    for (int64_t successes = 0; failed; successes++) {
        struct weir_why why = {""};
        agent_push_destroy(push);
        push = NULL;
        weir_mem_fail_after(successes);
        int rc = create(&why);
        failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(any_of_the_keys_opens_and_nothing_else_does),
        TEST(keys_can_be_changed_while_it_runs),
        TEST(what_is_no_log_of_a_pushed_feed_is_refused_and_counted),
        TEST(a_request_that_comes_again_is_answered_and_not_taken),
        TEST(firehose_is_answered_in_its_form),
        TEST(when_too_much_waits_senders_are_sent_away),
        TEST(when_it_leaves_nothing_new_is_taken),
        TEST(creating_without_memory_cleans_up_behind_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
