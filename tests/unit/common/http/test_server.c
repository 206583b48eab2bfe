#include "common/http/server.h"

#include "common/base/mem.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

/** A request that is under way. */
struct half {
    int fd;
};

static struct half begin(const struct weir_http *server, const char *request)
{
    const char *address = weir_http_address(server);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    return (struct half){.fd = fd};
}

/** Send the rest and read to the end; the caller frees. */
static char *end(const struct half *half, const char *rest)
{
    assert_int_equal(write(half->fd, rest, strlen(rest)), (ssize_t)strlen(rest));
    char *reply = calloc(1, 1 << 16);
    size_t size = 0;
    for (ssize_t got; (got = read(half->fd, reply + size, (1 << 16) - 1 - size)) > 0;)
        size += (size_t)got;
    close(half->fd);
    return reply;
}

/** Send @request to the server and read to the end; the caller frees. */
static char *exchange(const struct weir_http *server, const char *request)
{
    const struct half half = begin(server, request);
    return end(&half, "");
}

static void echo(void *ctx, const struct weir_http_request *request, struct weir_http_reply *reply)
{
    (void)ctx;
    const char *name = weir_http_query(request, "name");
    const char *token = weir_http_header(request, "authorization");
    weir_http_reply_header(reply, "Weir-Api", "1.0");
    weir_buf_printf(&reply->body, "%s %s name=%s token=%s body=%.*s from=%s", request->method, request->path,
                    name == NULL ? "-" : name, token == NULL ? "-" : token, (int)request->body.size,
                    (const char *)request->body.data, request->client);
}

static struct weir_http *serve(weir_http_fn *handler, void *ctx, unsigned workers, size_t body_most)
{
    struct weir_http_conf conf = {.address = "127.0.0.1:0", .workers = workers, .body_most = body_most};
    struct weir_http *server = NULL;
    struct weir_why why = {""};
    if (weir_http_create(&conf, handler, ctx, &server, &why) < 0) fail_msg("%s", why.text);
    return server;
}

static void a_handler_sees_the_whole_request_and_its_reply_arrives(void **state)
{
    (void)state;
    for (unsigned workers = 0; workers < 3; workers += 2) {
        struct weir_http *server = serve(echo, NULL, workers, 0);
        char *reply = exchange(server, "POST /a/b?name=x%20y HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer t\r\n"
                                       "Content-Length: 4\r\nConnection: close\r\n\r\nbody");
        assert_non_null(strstr(reply, "HTTP/1.1 200"));
        assert_non_null(strstr(reply, "Weir-Api: 1.0"));
        assert_non_null(strstr(reply, "POST /a/b name=x y token=Bearer t body=body from=127.0.0.1"));
        free(reply);
        struct weir_http_counts counts;
        weir_http_counts(server, &counts);
        assert_int_equal(counts.by_class[0], 1);
        assert_int_equal(counts.too_large + counts.no_room + counts.hung_up, 0);
        weir_http_destroy(server);
    }
}

static void a_body_that_is_too_large_is_refused_without_asking_the_handler(void **state)
{
    (void)state;
    struct weir_http *server = serve(echo, NULL, 1, 3);
    char *reply = exchange(server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody");
    assert_non_null(strstr(reply, "HTTP/1.1 413"));
    assert_null(strstr(reply, "POST /"));
    free(reply);
    struct weir_http_counts counts;
    weir_http_counts(server, &counts);
    assert_int_equal(counts.too_large, 1);
    assert_int_equal(counts.by_class[2], 1);
    weir_http_destroy(server);
}

static void a_body_that_is_far_too_large_is_refused_before_it_was_sent(void **state)
{
    (void)state;
    struct weir_http *server = serve(echo, NULL, 1, 3);
    char *reply = exchange(server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    assert_non_null(strstr(reply, "HTTP/1.1 413"));
    free(reply);
    weir_http_destroy(server);
}

static void a_body_that_does_not_end_is_hung_up_on(void **state)
{
    (void)state;
    struct weir_http *server = serve(echo, NULL, 1, 3);
    char *reply = exchange(server, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                                   "4\r\nbody\r\n10\r\n0123456789abcdef\r\n");
    assert_string_equal(reply, "");
    free(reply);
    struct weir_http_counts counts;
    weir_http_counts(server, &counts);
    assert_int_equal(counts.hung_up, 1);
    weir_http_destroy(server);
}

static void bodies_share_a_bound_and_give_it_back(void **state)
{
    (void)state;
    struct weir_http_conf conf = {.address = "127.0.0.1:0", .body_most = 100, .bodies_most = 150};
    struct weir_http *server = NULL;
    assert_int_equal(weir_http_create(&conf, echo, NULL, &server, NULL), 0);
    struct half half = begin(server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\nConnection: close\r\n"
                                     "Expect: 100-continue\r\n\r\n");
    char go_on[64];
    assert_true(read(half.fd, go_on, sizeof go_on) > 0); /* so that its head was taken before the others come */
    static const char *const requests[] = {
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 51\r\nConnection: close\r\n\r\n%051d",
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n33\r\n%051d\r\n0\r\n\r\n",
    };
    char request[512];
    for (size_t i = 0; i < 2; i++) {
        snprintf(request, sizeof request, requests[i], 0);
        char *reply = exchange(server, request);
        assert_non_null(strstr(reply, "HTTP/1.1 503"));
        assert_non_null(strstr(reply, "Retry-After: 1\r\n"));
        free(reply);
    }
    char *reply = exchange(server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody");
    assert_non_null(strstr(reply, "HTTP/1.1 200"));
    free(reply);

    snprintf(request, sizeof request, "%0100d", 0);
    reply = end(&half, request);
    assert_non_null(strstr(reply, "HTTP/1.1 200"));
    free(reply);
    for (size_t i = 0; i < 2; i++) {
        snprintf(request, sizeof request, requests[i], 0);
        reply = exchange(server, request);
        assert_non_null(strstr(reply, "HTTP/1.1 200"));
        free(reply);
    }
    struct weir_http_counts counts;
    weir_http_counts(server, &counts);
    assert_int_equal(counts.no_room, 2);
    weir_http_destroy(server);
}

static bool only_with_a_key(void *ctx, const struct weir_http_request *request, struct weir_http_reply *reply)
{
    int *asked = ctx;
    (*asked)++;
    assert_int_equal(request->body.size, 0);
    if (weir_http_header(request, "X-Key") != NULL) return true;
    reply->status = 401;
    weir_buf_text(&reply->body, "no key");
    return false;
}

static void a_request_that_is_refused_by_its_head_takes_no_memory_for_its_body(void **state)
{
    (void)state;
    int asked = 0;
    struct weir_http_conf conf = {
        .address = "127.0.0.1:0", .body_most = 100, .bodies_most = 3, .head = only_with_a_key};
    struct weir_http *server = NULL;
    assert_int_equal(weir_http_create(&conf, echo, &asked, &server, NULL), 0);
    static const struct {
        const char *head;
        const char *status;
    } cases[] = {{"", "401"},                         /* the body is read and thrown away */
                 {"Expect: 100-continue\r\n", "401"}, /* the body is never sent */
                 {"X-Key: k\r\n", "503"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char request[256];
        snprintf(request, sizeof request,
                 "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nConnection: close\r\n%s\r\n%s", cases[i].head,
                 strstr(cases[i].head, "Expect") == NULL ? "body" : "");
        char *reply = exchange(server, request);
        assert_memory_equal(reply, "HTTP/1.1 ", 9);
        assert_memory_equal(reply + 9, cases[i].status, 3);
        assert_null(strstr(reply, "POST /"));
        free(reply);
        assert_int_equal(asked, i + 1);
    }
    weir_http_destroy(server);
}

struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t opened;
    bool open;
};

/** /slow waits until the gate opens; anything else is answered at once. */
static void gated(void *ctx, const struct weir_http_request *request, struct weir_http_reply *reply)
{
    struct gate *gate = ctx;
    pthread_mutex_lock(&gate->mutex);
    while (strcmp(request->path, "/slow") == 0 && !gate->open)
        pthread_cond_wait(&gate->opened, &gate->mutex);
    pthread_mutex_unlock(&gate->mutex);
    weir_buf_text(&reply->body, request->path);
}

struct slow_client {
    const struct weir_http *server;
    char *reply;
};

static void *ask_slowly(void *arg)
{
    struct slow_client *client = arg;
    client->reply = exchange(client->server, "GET /slow HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    return NULL;
}

static void a_handler_that_blocks_does_not_hold_up_others(void **state)
{
    (void)state;
    struct gate gate = {.mutex = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER};
    struct weir_http *server = serve(gated, &gate, 2, 0);
    struct slow_client client = {.server = server};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ask_slowly, &client), 0);
    char *reply = exchange(server, "GET /quick HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    assert_non_null(strstr(reply, "/quick"));
    free(reply);

    pthread_mutex_lock(&gate.mutex);
    gate.open = true;
    pthread_cond_broadcast(&gate.opened);
    pthread_mutex_unlock(&gate.mutex);
    pthread_join(thread, NULL);
    assert_non_null(strstr(client.reply, "/slow"));
    free(client.reply);
    weir_http_destroy(server);
}

static void an_address_that_others_can_reach_needs_tls(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        int rc;
    } cases[] = {{"0.0.0.0:0", WEIR_EPARAM},     {"[::]:0", WEIR_EPARAM},
                 {"127.0.0.1", WEIR_EPARAM},     {"localhost:1", WEIR_EPARAM},
                 {"127.0.0.1:x", WEIR_EPARAM},   {"127.0.0.1:70000", WEIR_EPARAM},
                 {"[127.0.0.1]:0", WEIR_EPARAM}, {"", WEIR_EPARAM}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_http_conf conf = {.address = cases[i].address};
        struct weir_http *server = NULL;
        struct weir_why why = {""};
        assert_int_equal(weir_http_create(&conf, echo, NULL, &server, &why), cases[i].rc);
        assert_true(why.text[0] != '\0');
    }
}

static void a_port_that_is_taken_is_named(void **state)
{
    (void)state;
    struct weir_http *first = serve(echo, NULL, 0, 0);
    struct weir_http_conf conf = {.address = weir_http_address(first)};
    struct weir_http *second = NULL;
    struct weir_why why = {""};
    assert_int_equal(weir_http_create(&conf, echo, NULL, &second, &why), WEIR_EIO);
    assert_non_null(strstr(why.text, weir_http_address(first)));
    weir_http_destroy(first);
}

static void creating_without_memory_cleans_up_behind_itself(void **state)
{
    (void)state;
    bool failed = true;
    for (int64_t successes = 0; failed; successes++) {
        struct weir_http_conf conf = {.address = "127.0.0.1:0", .workers = 1};
        struct weir_http *server = NULL;
        struct weir_why why = {""};
        weir_mem_fail_after(successes);
        int rc = weir_http_create(&conf, echo, NULL, &server, &why);
        failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        weir_http_destroy(server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handler_sees_the_whole_request_and_its_reply_arrives),
        cmocka_unit_test(a_body_that_is_too_large_is_refused_without_asking_the_handler),
        cmocka_unit_test(a_body_that_is_far_too_large_is_refused_before_it_was_sent),
        cmocka_unit_test(a_body_that_does_not_end_is_hung_up_on),
        cmocka_unit_test(bodies_share_a_bound_and_give_it_back),
        cmocka_unit_test(a_request_that_is_refused_by_its_head_takes_no_memory_for_its_body),
        cmocka_unit_test(a_handler_that_blocks_does_not_hold_up_others),
        cmocka_unit_test(an_address_that_others_can_reach_needs_tls),
        cmocka_unit_test(a_port_that_is_taken_is_named),
        cmocka_unit_test(creating_without_memory_cleans_up_behind_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
