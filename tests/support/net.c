#include "tests/support/net.h"

#include "common/base/clock.h"

#include <poll.h>
#include <stdio.h>

#include "tests/support/cmocka.h"

struct weir_allow *test_net_allow(const struct test_net *t, uint32_t count, enum weir_role role)
{
    struct weir_allow *allow;
    assert_int_equal(weir_allow_create(&allow), 0);
    for (uint32_t i = 0; i < count; i++) {
        struct weir_allow_entry entry = {.role = role, .site = "zurich", .tenant = "acme"};
        snprintf(entry.name, sizeof entry.name, "agent-%u", i);
        memcpy(entry.key, t->peers[i].public_key, sizeof entry.key);
        assert_int_equal(weir_allow_add(allow, &entry, NULL), 0);
    }
    return allow;
}

void test_net_start(struct test_net *t, uint32_t agents, size_t max_bytes)
{
    static const struct weir_zap_rule rules[] = {{"agents", WEIR_ROLE_AGENT}, {"ask", WEIR_ROLE_CONSOLE}};
    struct weir_why why = {{0}};
    *t = (struct test_net){.peer_count = agents};
    assert_int_equal(weir_net_create(1, &t->net), 0);
    assert_int_equal(weir_keys_make(&t->server_keys, NULL), 0);
    for (uint32_t i = 0; i < agents; i++)
        assert_int_equal(weir_keys_make(&t->peers[i], NULL), 0);
    t->allow = test_net_allow(t, agents, WEIR_ROLE_AGENT);
    assert_int_equal(weir_zap_start(t->net, rules, 2, t->allow, &t->zap, &why), 0);
    struct weir_server_conf conf = {
        .endpoint = "tcp://127.0.0.1:0", .domain = "agents", .keys = &t->server_keys, .max_bytes = max_bytes};
    if (weir_server_create(t->net, &conf, &t->server, &why) < 0) fail_msg("%s", why.text);
}

void test_net_stop(struct test_net *t)
{
    weir_socket_destroy(t->server);
    weir_zap_stop(t->zap);
    weir_allow_destroy(t->allow);
    weir_net_destroy(t->net);
}

struct weir_socket *test_net_client(struct test_net *t, const struct weir_keys *keys)
{
    struct weir_why why = {{0}};
    struct weir_socket *client = NULL;
    struct weir_client_conf conf = {.endpoint = weir_socket_endpoint(t->server),
                                    .server_key = t->server_keys.public_key,
                                    .keys = keys,
                                    .max_bytes = 1024 * 1024};
    if (weir_client_create(t->net, &conf, &client, &why) < 0) fail_msg("%s", why.text);
    return client;
}

/** Sleep until the descriptor has news, as a daemon's loop does; the cap is for the caller's own deadline. */
static void await_news(struct weir_socket *socket)
{
    struct pollfd item = {.fd = weir_socket_fd(socket), .events = POLLIN};
    if (!weir_socket_pending(socket)) (void)poll(&item, 1, 100);
}

int test_net_recv(struct weir_socket *socket, struct weir_frames *frames, struct weir_peer *peer)
{
    int64_t until_mono_ms = weir_mono_ms() + TEST_NET_WAIT_MS;
    while (weir_mono_ms() < until_mono_ms) {
        int rc = weir_socket_recv(socket, frames, peer);
        if (rc != WEIR_EAGAIN) return rc;
        await_news(socket);
    }
    return WEIR_ETIMEOUT;
}

int test_net_send_text(struct weir_socket *socket, uint32_t peer_id, const char *text)
{
    struct weir_frames frames = WEIR_FRAMES_INIT;
    assert_int_equal(weir_frames_add(&frames, weir_view_text(text)), 0);
    int rc = weir_socket_send(socket, peer_id, &frames);
    weir_frames_clear(&frames);
    return rc;
}

bool test_net_await(struct weir_socket *socket, size_t offset, uint64_t least)
{
    int64_t until_mono_ms = weir_mono_ms() + TEST_NET_WAIT_MS;
    while (weir_mono_ms() < until_mono_ms) {
        const char *stats = (const char *)weir_socket_stats(socket);
        uint64_t value;
        memcpy(&value, stats + offset, sizeof value);
        if (value >= least) return true;
        (void)poll(NULL, 0, 1);
    }
    return false;
}
