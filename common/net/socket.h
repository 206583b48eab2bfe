/**
 * Encrypted, authenticated message sockets: a server (ZeroMQ ROUTER) and a client (DEALER), both CURVE always. There is
 * no plaintext socket. This folder is the only reader of zmq.h.
 *
 * What to know of them (measured with libzmq 4.3.4; design and tests: docs/PROTOCOL.md, tests/unit/common/net):
 * - Nothing here delivers reliably: a message can be lost at every reconnect. Sequence numbers above do that.
 * - A client that was refused stays dead after it was enrolled: destroy and create it again when nothing comes back.
 * - A server knows a peer by a number that changes with each reconnect. Never keep state by it alone.
 * - The allow-list is asked at the handshake only: check weir_peer against it with each message.
 *
 * A socket belongs to the thread that made it. Sending and receiving never wait.
 */
#ifndef WEIR_COMMON_NET_SOCKET_H
#define WEIR_COMMON_NET_SOCKET_H

#include "common/cluster/map.h"
#include "common/net/frames.h"
#include "common/net/keys.h"

/** All sockets of a process and the threads that work for them. */
struct weir_net;

struct weir_socket;

/** Who sent a message to a server. */
struct weir_peer {
    uint32_t id;                /* to answer to; gone when the connection is */
    char name[WEIR_NAME_BYTES]; /* the name its key is enrolled under (ZAP User-Id) */
    char key[WEIR_KEY_TEXT];    /* that key */
};

struct weir_server_conf {
    const char *endpoint;         /* "tcp://0.0.0.0:7001", "tcp://[::]:7001"; port 0: the system chooses */
    const char *domain;           /* which listener this is, for the rules of zap.h: "agents", "store", "ask" */
    const struct weir_keys *keys; /* copied */
    size_t max_bytes;             /* largest frame; a peer that sends more is disconnected */
};

struct weir_client_conf {
    const char *endpoint;         /* "tcp://192.0.2.1:7001", "tcp://broker1.example.net:7001" */
    const char *server_key;       /* public, Z85 */
    const struct weir_keys *keys; /* copied */
    size_t max_bytes;
};

/** What happened to the connections of a socket since it was made. */
struct weir_socket_stats {
    uint64_t connected;        /* handshakes that succeeded */
    uint64_t disconnected;     /* connections that ended */
    uint64_t refused;          /* client: the server's allow-list refused our key. server: it refused theirs */
    uint64_t handshake_failed; /* a wrong server key, or something that does not speak our protocol */
    uint64_t nameless;         /* server: messages dropped because they carry no name */
    uint64_t overlong;         /* messages dropped for having more frames than WEIR_FRAMES_MOST */
};

/** Begin; @io_threads for encryption and transfer (1 is good for about 0.8 GB/s). WEIR_ENOMEM, WEIR_EPARAM. */
int weir_net_create(uint32_t io_threads, struct weir_net **ret);

/** End. Every socket and the ZAP handler must have been destroyed before; NULL is allowed. */
void weir_net_destroy(struct weir_net *net);

/**
 * Bind a server. weir_zap_start must have come before, with a rule for the domain: without it, CURVE lets everybody in.
 *
 *   WEIR_EDENIED   no ZAP handler runs, it has no rule for the domain, or the address needs privileges
 *   WEIR_EPARAM    the endpoint or a key is not one
 *   WEIR_EEXIST    the address is in use
 *   WEIR_EIO, WEIR_ENOMEM
 */
int weir_server_create(struct weir_net *net, const struct weir_server_conf *conf, struct weir_socket **ret,
                       struct weir_why *why);

/** A client, connecting (and reconnecting) in the background. WEIR_EPARAM, WEIR_EIO, WEIR_ENOMEM. */
int weir_client_create(struct weir_net *net, const struct weir_client_conf *conf, struct weir_socket **ret,
                       struct weir_why *why);

/** Close; what was not sent yet is dropped. NULL is allowed. */
void weir_socket_destroy(struct weir_socket *socket);

/** Where a server is bound, with the port that was chosen; a client's endpoint as given. Lives with the socket. */
const char *weir_socket_endpoint(const struct weir_socket *socket);

/**
 * Send; takes all frames on success and leaves them on failure. @peer_id: whom a server answers to; 0 for a client.
 *
 *   WEIR_EAGAIN         16 messages to this peer are waiting already
 *   WEIR_EUNREACHABLE   the peer is gone (server)
 *   WEIR_EPARAM         the message is empty
 *   WEIR_EIO
 */
int weir_socket_send(struct weir_socket *socket, uint32_t peer_id, struct weir_frames *frames);

/**
 * Receive one message into @frames, which is cleared first. @peer: who sent it, for a server; may be NULL for a client.
 * WEIR_EAGAIN when there is none; WEIR_EIO.
 */
int weir_socket_recv(struct weir_socket *socket, struct weir_frames *frames, struct weir_peer *peer);

/**
 * A descriptor for epoll, readable when something may have changed. It is edge-triggered in effect: sending and
 * receiving eat the edge. So a loop must, whenever it wakes and before it sleeps, receive until WEIR_EAGAIN, and ask
 * weir_socket_pending last, after its last send on the socket; it must not sleep when the answer is true.
 */
int weir_socket_fd(const struct weir_socket *socket);

/** Is there a message to receive now? See weir_socket_fd. */
bool weir_socket_pending(struct weir_socket *socket);

/** What happened to the connections; reads news first. */
const struct weir_socket_stats *weir_socket_stats(struct weir_socket *socket);

#endif
