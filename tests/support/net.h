/**
 * Servers and clients on loopback with made-up keys, for tests: everything a test of sockets needs around the sockets.
 */
#ifndef WEIR_TESTS_SUPPORT_NET_H
#define WEIR_TESTS_SUPPORT_NET_H

#include "common/net/zap.h"

enum { TEST_NET_PEERS_MOST = 8, TEST_NET_WAIT_MS = 10000 };

/** A net with its ZAP handler, a server of domain "agents", and keys of some enrolled peers. */
struct test_net {
    struct weir_net *net;
    struct weir_allow *allow;
    struct weir_zap *zap;
    struct weir_socket *server;
    struct weir_keys server_keys;
    struct weir_keys peers[TEST_NET_PEERS_MOST];
    uint32_t peer_count;
};

/** Start; agents "agent-0", "agent-1", ... are enrolled. Asserts that all goes well. */
void test_net_start(struct test_net *t, uint32_t agents, size_t max_bytes);
void test_net_stop(struct test_net *t);

/** An allow-list of the first @count peers, all in @role. Destroyed by the caller. */
struct weir_allow *test_net_allow(const struct test_net *t, uint32_t count, enum weir_role role);

/** A client with @keys, connecting to the server. */
struct weir_socket *test_net_client(struct test_net *t, const struct weir_keys *keys);

/** Wait for a message, TEST_NET_WAIT_MS at most. WEIR_ETIMEOUT. */
int test_net_recv(struct weir_socket *socket, struct weir_frames *frames, struct weir_peer *peer);

/** Send one frame of text. */
int test_net_send_text(struct weir_socket *socket, uint32_t peer_id, const char *text);

/** Wait until the counter at @offset of the socket's stats is at least @least. */
bool test_net_await(struct weir_socket *socket, size_t offset, uint64_t least);

#endif
