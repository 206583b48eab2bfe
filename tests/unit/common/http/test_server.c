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

/** Send @request to the server and read to the end; the caller frees. */
static char *exchange(const struct weir_http *server, const char *request)
{
    const char *address = weir_http_address(server);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
    char *reply = calloc(1, 1 << 16);
    size_t size = 0;
    for (ssize_t got; (got = read(fd, reply + size, (1 << 16) - 1 - size)) > 0;)
        size += (size_t)got;
    close(fd);
    return reply;
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
        uint64_t by_class[4];
        weir_http_counts(server, by_class);
        assert_int_equal(by_class[0], 1);
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
    weir_http_destroy(server);
}

static void a_body_that_does_not_end_is_hung_up_on(void **state)
{
    (void)state;
    struct weir_http *server = serve(echo, NULL, 1, 3);
    char request[512];
    snprintf(request, sizeof request, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n%0200d", 0);
    char *reply = exchange(server, request);
    assert_string_equal(reply, "");
    free(reply);
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
        cmocka_unit_test(a_body_that_does_not_end_is_hung_up_on),
        cmocka_unit_test(a_handler_that_blocks_does_not_hold_up_others),
        cmocka_unit_test(an_address_that_others_can_reach_needs_tls),
        cmocka_unit_test(a_port_that_is_taken_is_named),
        cmocka_unit_test(creating_without_memory_cleans_up_behind_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
