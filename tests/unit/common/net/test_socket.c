#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/support/net.h"

#include <poll.h>
#include <stdio.h>

#include "tests/support/cmocka.h"

enum { MAX_BYTES = 1024 * 1024 };

static void assert_text(const struct weir_frames *frames, uint32_t index, const char *text)
{
    assert_true(weir_view_equal(weir_frames_view(frames, index), weir_view_text(text)));
}

static void a_message_arrives_with_the_name_and_key_of_its_sender_and_can_be_answered(void **state)
{
    (void)state;
    struct test_net t;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    struct weir_peer peer;
    test_net_start(&t, 2, MAX_BYTES);
    struct weir_socket *clients[2];
    for (uint32_t i = 0; i < 2; i++) {
        clients[i] = test_net_client(&t, &t.peers[i]);
        char name[WEIR_NAME_BYTES], answer[WEIR_NAME_BYTES + 8];
        assert_int_equal(weir_frames_add(&frames, weir_view_text("header")), 0);
        assert_int_equal(weir_frames_add(&frames, weir_view_text("")), 0);
        assert_int_equal(weir_frames_add(&frames, weir_view_text("body")), 0);
        assert_int_equal(weir_socket_send(clients[i], 0, &frames), 0);
        assert_int_equal(frames.count, 0);

        assert_int_equal(test_net_recv(t.server, &frames, &peer), 0);
        snprintf(name, sizeof name, "agent-%u", i);
        assert_string_equal(peer.name, name);
        assert_string_equal(peer.key, t.peers[i].public_key);
        assert_int_equal(frames.count, 3);
        assert_text(&frames, 0, "header");
        assert_text(&frames, 1, "");
        assert_text(&frames, 2, "body");

        snprintf(answer, sizeof answer, "hello %s", name);
        assert_int_equal(test_net_send_text(t.server, peer.id, answer), 0);
        assert_int_equal(test_net_recv(clients[i], &frames, NULL), 0);
        assert_text(&frames, 0, answer);
        weir_frames_clear(&frames);
    }
    assert_int_equal(weir_socket_stats(t.server)->connected, 2);
    assert_int_equal(weir_zap_count(t.zap, WEIR_ZAP_ACCEPTED), 2);
    weir_socket_destroy(clients[0]);
    weir_socket_destroy(clients[1]);
    test_net_stop(&t);
}

static void a_received_frame_is_forwarded_without_a_copy_of_its_bytes(void **state)
{
    (void)state;
    struct test_net t;
    struct weir_frames in = WEIR_FRAMES_INIT, out[2] = {WEIR_FRAMES_INIT, WEIR_FRAMES_INIT};
    struct weir_peer peer;
    test_net_start(&t, 1, MAX_BYTES);
    struct weir_socket *client = test_net_client(&t, &t.peers[0]);
    enum { BODY = 100000 };
    void *body = weir_malloc(BODY);
    memset(body, 'b', BODY);
    assert_int_equal(weir_frames_give(&in, &body, BODY), 0);
    assert_null(body);
    assert_int_equal(weir_socket_send(client, 0, &in), 0);
    assert_int_equal(test_net_recv(t.server, &in, &peer), 0);
    const uint8_t *bytes = weir_frames_view(&in, 0).data;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(weir_frames_add(&out[i], weir_view_text("stamp")), 0);
        assert_int_equal(weir_frames_share(&out[i], &in, 0), 0);
        assert_ptr_equal(weir_frames_view(&out[i], 1).data, bytes);
    }
    weir_frames_clear(&in);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(weir_socket_send(t.server, peer.id, &out[i]), 0);
        assert_int_equal(test_net_recv(client, &in, NULL), 0);
        assert_int_equal(weir_frames_view(&in, 1).size, BODY);
        assert_int_equal(weir_frames_view(&in, 1).data[BODY - 1], 'b');
    }
    weir_frames_clear(&in);
    weir_socket_destroy(client);
    test_net_stop(&t);
}

static void an_unknown_key_is_refused_and_both_sides_know(void **state)
{
    (void)state;
    struct test_net t;
    struct weir_keys stranger;
    test_net_start(&t, 1, MAX_BYTES);
    assert_int_equal(weir_keys_make(&stranger, NULL), 0);
    struct weir_socket *client = test_net_client(&t, &stranger);
    assert_int_equal(test_net_send_text(client, 0, "let me in"), 0);
    assert_true(test_net_await(client, offsetof(struct weir_socket_stats, refused), 1));
    assert_int_equal(weir_socket_stats(client)->connected, 0);
    assert_true(weir_zap_count(t.zap, WEIR_ZAP_UNKNOWN_KEY) >= 1);
    assert_false(weir_socket_pending(t.server));
    weir_socket_destroy(client);
    test_net_stop(&t);
}

static void a_known_key_of_another_role_is_refused(void **state)
{
    (void)state;
    struct test_net t;
    test_net_start(&t, 1, MAX_BYTES);
    struct weir_allow *consoles = test_net_allow(&t, 1, WEIR_ROLE_CONSOLE);
    weir_zap_swap(t.zap, consoles);
    weir_allow_destroy(consoles);
    struct weir_socket *client = test_net_client(&t, &t.peers[0]);
    assert_true(test_net_await(client, offsetof(struct weir_socket_stats, refused), 1));
    assert_int_equal(weir_socket_stats(client)->connected, 0);
    assert_true(weir_zap_count(t.zap, WEIR_ZAP_WRONG_ROLE) >= 1);
    weir_socket_destroy(client);
    test_net_stop(&t);
}

static void a_key_taken_off_the_list_is_refused_at_the_next_handshake_and_let_in_when_it_is_back(void **state)
{
    (void)state;
    struct test_net t;
    test_net_start(&t, 1, MAX_BYTES);
    struct weir_allow *nobody = test_net_allow(&t, 0, WEIR_ROLE_AGENT);
    weir_zap_swap(t.zap, nobody);
    weir_allow_destroy(nobody);
    struct weir_socket *client = test_net_client(&t, &t.peers[0]);
    assert_true(test_net_await(client, offsetof(struct weir_socket_stats, refused), 1));
    weir_zap_swap(t.zap, t.allow);
    weir_socket_destroy(client); /* a refused socket never tries again: only a new one can get in */
    client = test_net_client(&t, &t.peers[0]);
    assert_true(test_net_await(client, offsetof(struct weir_socket_stats, connected), 1));
    weir_socket_destroy(client);
    test_net_stop(&t);
}

static void a_client_that_expects_another_server_does_not_connect(void **state)
{
    (void)state;
    struct test_net t;
    struct weir_keys other;
    struct weir_socket *client;
    test_net_start(&t, 1, MAX_BYTES);
    assert_int_equal(weir_keys_make(&other, NULL), 0);
    struct weir_client_conf conf = {.endpoint = weir_socket_endpoint(t.server),
                                    .server_key = other.public_key,
                                    .keys = &t.peers[0],
                                    .max_bytes = MAX_BYTES};
    assert_int_equal(weir_client_create(t.net, &conf, &client, NULL), 0);
    assert_true(test_net_await(t.server, offsetof(struct weir_socket_stats, handshake_failed), 1));
    assert_int_equal(weir_socket_stats(client)->connected, 0);
    weir_socket_destroy(client);
    test_net_stop(&t);
}

static void a_server_is_not_made_unless_somebody_decides_who_may_connect(void **state)
{
    (void)state;
    struct test_net t;
    struct weir_why why;
    struct weir_net *bare;
    struct weir_socket *server = NULL;
    test_net_start(&t, 0, MAX_BYTES);
    struct weir_server_conf conf = {
        .endpoint = "tcp://127.0.0.1:0", .domain = "agents", .keys = &t.server_keys, .max_bytes = MAX_BYTES};
    assert_int_equal(weir_net_create(1, &bare), 0);
    assert_int_equal(weir_server_create(bare, &conf, &server, &why), WEIR_EDENIED);
    conf.domain = "store";
    assert_int_equal(weir_server_create(t.net, &conf, &server, &why), WEIR_EDENIED);
    assert_non_null(strstr(why.text, "store"));
    assert_null(server);
    weir_net_destroy(bare);
    test_net_stop(&t);
}

static void wrong_settings_are_refused_with_a_reason(void **state)
{
    (void)state;
    struct test_net t;
    struct weir_why why;
    struct weir_socket *socket = NULL;
    test_net_start(&t, 1, MAX_BYTES);
    struct weir_server_conf server = {
        .endpoint = weir_socket_endpoint(t.server), .domain = "agents", .keys = &t.server_keys, .max_bytes = MAX_BYTES};
    assert_int_equal(weir_server_create(t.net, &server, &socket, &why), WEIR_EEXIST);
    assert_non_null(strstr(why.text, server.endpoint));
    server.endpoint = "tcp://nonsense";
    assert_int_equal(weir_server_create(t.net, &server, &socket, &why), WEIR_EPARAM);
    server.endpoint = "tcp://127.0.0.1:0";
    server.max_bytes = 0;
    assert_int_equal(weir_server_create(t.net, &server, &socket, &why), WEIR_EPARAM);

    struct weir_keys broken = t.peers[0];
    struct weir_client_conf client = {.endpoint = weir_socket_endpoint(t.server),
                                      .server_key = t.server_keys.public_key,
                                      .keys = &t.peers[0],
                                      .max_bytes = MAX_BYTES};
    client.server_key = "short";
    assert_int_equal(weir_client_create(t.net, &client, &socket, &why), WEIR_EPARAM);
    client.server_key = t.server_keys.public_key;
    broken.secret_key[3] = '\\';
    client.keys = &broken;
    assert_int_equal(weir_client_create(t.net, &client, &socket, &why), WEIR_EPARAM);
    client.keys = &t.peers[0];
    client.endpoint = "udp://127.0.0.1:1";
    assert_int_equal(weir_client_create(t.net, &client, &socket, &why), WEIR_EPARAM);
    assert_null(socket);
    test_net_stop(&t);
}

static void sending_to_a_peer_that_is_gone_says_so(void **state)
{
    (void)state;
    struct test_net t;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    struct weir_peer peer;
    test_net_start(&t, 1, MAX_BYTES);
    struct weir_socket *client = test_net_client(&t, &t.peers[0]);
    assert_int_equal(test_net_send_text(client, 0, "hello"), 0);
    assert_int_equal(test_net_recv(t.server, &frames, &peer), 0);
    weir_frames_clear(&frames);
    weir_socket_destroy(client);
    assert_true(test_net_await(t.server, offsetof(struct weir_socket_stats, disconnected), 1));
    assert_int_equal(test_net_send_text(t.server, peer.id, "still there?"), WEIR_EUNREACHABLE);
    assert_int_equal(test_net_send_text(t.server, peer.id + 1, "and you?"), WEIR_EUNREACHABLE);
    test_net_stop(&t);
}

static void a_peer_that_does_not_read_fills_its_own_queue_only(void **state)
{
    (void)state;
    struct test_net t;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    struct weir_peer slow, quick;
    enum { BODY = 512 * 1024, MOST = 200 };
    test_net_start(&t, 2, MAX_BYTES);
    struct weir_socket *first = test_net_client(&t, &t.peers[0]);
    struct weir_socket *second = test_net_client(&t, &t.peers[1]);
    assert_int_equal(test_net_send_text(first, 0, "hello"), 0);
    assert_int_equal(test_net_recv(t.server, &frames, &slow), 0);
    assert_int_equal(test_net_send_text(second, 0, "hello"), 0);
    assert_int_equal(test_net_recv(t.server, &frames, &quick), 0);
    void *body = weir_calloc(1, BODY);
    struct weir_frames big = WEIR_FRAMES_INIT;
    assert_int_equal(weir_frames_give(&big, &body, BODY), 0);
    int sent = 0, rc = 0;
    for (; sent < MOST && rc == 0; sent++) {
        weir_frames_clear(&frames);
        assert_int_equal(weir_frames_share(&frames, &big, 0), 0);
        rc = weir_socket_send(t.server, slow.id, &frames);
    }
    assert_int_equal(rc, WEIR_EAGAIN);
    assert_int_equal(frames.count, 1);
    assert_int_equal(test_net_send_text(t.server, quick.id, "you are served"), 0);
    assert_int_equal(test_net_recv(second, &frames, NULL), 0);
    weir_frames_clear(&frames);
    weir_frames_clear(&big);
    weir_socket_destroy(first);
    weir_socket_destroy(second);
    test_net_stop(&t);
}

static void a_frame_above_the_limit_ends_the_connection_and_is_never_seen(void **state)
{
    (void)state;
    struct test_net t;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    struct weir_peer peer;
    enum { LIMIT = 10000 };
    test_net_start(&t, 1, LIMIT);
    struct weir_socket *client = test_net_client(&t, &t.peers[0]);
    static const uint8_t bytes[LIMIT + 100];
    assert_int_equal(weir_frames_add(&frames, weir_view_of(bytes, LIMIT)), 0);
    assert_int_equal(weir_socket_send(client, 0, &frames), 0);
    assert_int_equal(test_net_recv(t.server, &frames, &peer), 0);
    assert_int_equal(weir_frames_view(&frames, 0).size, LIMIT);
    weir_frames_clear(&frames);
    assert_int_equal(weir_frames_add(&frames, weir_view_of(bytes, sizeof bytes)), 0);
    assert_int_equal(weir_socket_send(client, 0, &frames), 0);
    assert_true(test_net_await(t.server, offsetof(struct weir_socket_stats, disconnected), 1));
    assert_false(weir_socket_pending(t.server));
    weir_socket_destroy(client);
    test_net_stop(&t);
}

/** A loop as a daemon has it: sleeps on the descriptor alone, drains, answers, and asks again before it sleeps. */
static void no_message_is_overslept_when_sends_eat_the_edge_of_the_descriptor(void **state)
{
    (void)state;
    struct test_net t;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    struct weir_peer peer;
    enum { MESSAGES = 2000, WINDOW = 8 };
    test_net_start(&t, 1, MAX_BYTES);
    struct weir_socket *client = test_net_client(&t, &t.peers[0]);
    int sent = 0, served = 0, answered = 0, overslept = 0;
    while (answered < MESSAGES && overslept == 0) {
        bool idle = true;
        while (sent < MESSAGES && sent - answered < WINDOW && test_net_send_text(client, 0, "question") == 0) {
            sent++;
            idle = false;
        }
        while (weir_socket_recv(t.server, &frames, &peer) == 0) {
            assert_int_equal(test_net_send_text(t.server, peer.id, "answer"), 0);
            served++;
            idle = false;
        }
        while (weir_socket_recv(client, &frames, NULL) == 0) {
            answered++;
            idle = false;
        }
        if (!idle || weir_socket_pending(t.server) || weir_socket_pending(client)) continue;
        struct pollfd items[] = {{.fd = weir_socket_fd(t.server), .events = POLLIN},
                                 {.fd = weir_socket_fd(client), .events = POLLIN}};
        overslept += poll(items, 2, TEST_NET_WAIT_MS) == 0;
    }
    assert_int_equal(overslept, 0);
    assert_int_equal(served, MESSAGES);
    weir_frames_clear(&frames);
    weir_socket_destroy(client);
    test_net_stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_arrives_with_the_name_and_key_of_its_sender_and_can_be_answered),
        cmocka_unit_test(a_received_frame_is_forwarded_without_a_copy_of_its_bytes),
        cmocka_unit_test(an_unknown_key_is_refused_and_both_sides_know),
        cmocka_unit_test(a_known_key_of_another_role_is_refused),
        cmocka_unit_test(a_key_taken_off_the_list_is_refused_at_the_next_handshake_and_let_in_when_it_is_back),
        cmocka_unit_test(a_client_that_expects_another_server_does_not_connect),
        cmocka_unit_test(a_server_is_not_made_unless_somebody_decides_who_may_connect),
        cmocka_unit_test(wrong_settings_are_refused_with_a_reason),
        cmocka_unit_test(sending_to_a_peer_that_is_gone_says_so),
        cmocka_unit_test(a_peer_that_does_not_read_fills_its_own_queue_only),
        cmocka_unit_test(a_frame_above_the_limit_ends_the_connection_and_is_never_seen),
        cmocka_unit_test(no_message_is_overslept_when_sends_eat_the_edge_of_the_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
