#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/net/net.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <zmq.h>

/* design: delivery, section 5, has the measurement behind each number. */
enum {
    QUEUE_MESSAGES = 16, /* per peer and direction; ZeroMQ's 1,000 would be 256 MB per agent */
    HANDSHAKE_MS = 5000,
    HEARTBEAT_MS = 1000,
    HEARTBEAT_DEAD_MS = 3000,
    CONNECT_MS = 2000,
    RECONNECT_MS = 250,
    RECONNECT_MOST_MS = 5000,
    BACKLOG = 1024,
    CURVE_OVERHEAD_BYTES = 64, /* of a frame: command name, nonce, authenticator, flags; rounded up */
    ROUTING_ID_BYTES = 5,      /* that ROUTER makes up: a zero byte and a number */
    DROPPED_IN_ONE_CALL = 64
};

struct weir_socket {
    void *zmq;
    void *monitor;
    bool is_server;
    bool used; /* since it was seen to hold nothing: its descriptor may have told us of what is there now */
    char endpoint[256];
    struct weir_socket_stats stats;
};

int weir_net_create(uint32_t io_threads, struct weir_net **ret)
{
    if (io_threads == 0) return WEIR_EPARAM;
    struct weir_net *net = weir_calloc(1, sizeof *net);
    if (net == NULL) return WEIR_ENOMEM;
    net->context = zmq_ctx_new();
    if (net->context == NULL || zmq_ctx_set(net->context, ZMQ_IO_THREADS, (int)io_threads) < 0) {
        weir_net_destroy(net);
        return WEIR_ENOMEM;
    }
    *ret = net;
    return 0;
}

void weir_net_destroy(struct weir_net *net)
{
    if (net == NULL) return;
    while (net->context != NULL && zmq_ctx_term(net->context) < 0 && errno == EINTR) {
    }
    weir_free(net);
}

static int code_of_errno(int error)
{
    switch (error) {
    case EAGAIN:
    case EINTR: return WEIR_EAGAIN;
    case EHOSTUNREACH: return WEIR_EUNREACHABLE;
    case EADDRINUSE: return WEIR_EEXIST;
    case EACCES:
    case EPERM: return WEIR_EDENIED;
    case EINVAL:
    case ENODEV:
    case EADDRNOTAVAIL:
    case EPROTONOSUPPORT:
    case ENOCOMPATPROTO: return WEIR_EPARAM;
    case ENOMEM: return WEIR_ENOMEM;
    default: return WEIR_EIO;
    }
}

static int fail_errno(struct weir_why *why, const char *what, const char *which)
{
    int error = errno;
    return weir_why_set(why, code_of_errno(error), "%s %s: %s", what, which, zmq_strerror(error));
}

/** Sets options one after the other; the first failure sticks. */
struct setter {
    void *zmq;
    int rc;
};

static void set_int(struct setter *s, int option, int value)
{
    if (s->rc == 0 && zmq_setsockopt(s->zmq, option, &value, sizeof value) < 0) s->rc = code_of_errno(errno);
}

static void set_text(struct setter *s, int option, const char *text, size_t size)
{
    if (s->rc == 0 && zmq_setsockopt(s->zmq, option, text, size) < 0) s->rc = code_of_errno(errno);
}

/** What servers and clients have in common. ZMQ_ROUTING_ID is never set: with it, any key could take over a session. */
static void set_common(struct setter *s, const struct weir_keys *keys, size_t max_bytes)
{
    int64_t max_frame = (int64_t)max_bytes + CURVE_OVERHEAD_BYTES;
    if (zmq_setsockopt(s->zmq, ZMQ_MAXMSGSIZE, &max_frame, sizeof max_frame) < 0) s->rc = code_of_errno(errno);
    set_int(s, ZMQ_LINGER, 0);
    set_int(s, ZMQ_SNDHWM, QUEUE_MESSAGES);
    set_int(s, ZMQ_RCVHWM, QUEUE_MESSAGES);
    set_int(s, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
    set_int(s, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS);
    set_int(s, ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_DEAD_MS);
    set_int(s, ZMQ_HEARTBEAT_TTL, HEARTBEAT_DEAD_MS);
    set_int(s, ZMQ_TCP_KEEPALIVE, 1);
    set_int(s, ZMQ_IPV6, 1);
    set_text(s, ZMQ_CURVE_SECRETKEY, keys->secret_key, WEIR_KEY_TEXT);
}

/** News of the connections come over a pair of inproc sockets, without a limit, so that libzmq's thread never waits. */
static int watch(struct weir_net *net, struct weir_socket *socket)
{
    static _Atomic uint64_t watched;
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "inproc://weir.monitor.%llu",
             (unsigned long long)atomic_fetch_add(&watched, 1));
    int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                 ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_DISCONNECTED;
    if (zmq_socket_monitor(socket->zmq, endpoint, events) < 0) return code_of_errno(errno);
    socket->monitor = zmq_socket(net->context, ZMQ_PAIR);
    if (socket->monitor == NULL) return code_of_errno(errno);
    struct setter s = {.zmq = socket->monitor};
    set_int(&s, ZMQ_LINGER, 0);
    set_int(&s, ZMQ_RCVHWM, 0);
    if (s.rc < 0) return s.rc;
    return zmq_connect(socket->monitor, endpoint) < 0 ? code_of_errno(errno) : 0;
}

static int socket_create(struct weir_net *net, int type, struct weir_socket **ret)
{
    struct weir_socket *socket = weir_calloc(1, sizeof *socket);
    if (socket == NULL) return WEIR_ENOMEM;
    socket->is_server = type == ZMQ_ROUTER;
    socket->used = true;
    socket->zmq = zmq_socket(net->context, type);
    int rc = socket->zmq == NULL ? code_of_errno(errno) : watch(net, socket);
    if (rc < 0) {
        weir_socket_destroy(socket);
        return rc;
    }
    *ret = socket;
    return 0;
}

static int check_max_bytes(size_t max_bytes, struct weir_why *why)
{
    enum { MOST = 64 * 1024 * 1024 };
    if (max_bytes > 0 && max_bytes <= MOST) return 0;
    return weir_why_set(why, WEIR_EPARAM, "the largest message must have 1 to %d bytes", MOST);
}

int weir_server_create(struct weir_net *net, const struct weir_server_conf *conf, struct weir_socket **ret,
                       struct weir_why *why)
{
    struct weir_socket *server = NULL;
    if (net->zap == NULL || !weir_zap_knows(net->zap, conf->domain)) {
        return weir_why_set(why, WEIR_EDENIED, "no ZAP handler decides who may connect to \"%s\": refusing to listen",
                            conf->domain);
    }
    int rc = check_max_bytes(conf->max_bytes, why);
    if (rc < 0) goto fail;
    rc = socket_create(net, ZMQ_ROUTER, &server);
    if (rc < 0) {
        weir_why_set(why, rc, "cannot make a server socket: %s", weir_err_text(rc));
        goto fail;
    }
    struct setter s = {.zmq = server->zmq};
    set_common(&s, conf->keys, conf->max_bytes);
    set_int(&s, ZMQ_CURVE_SERVER, 1);
    set_text(&s, ZMQ_ZAP_DOMAIN, conf->domain, strlen(conf->domain));
    set_int(&s, ZMQ_ROUTER_MANDATORY, 1);
    set_int(&s, ZMQ_BACKLOG, BACKLOG);
    rc = s.rc;
    if (rc < 0) {
        weir_why_set(why, rc, "the server's key is not a CURVE key");
        goto fail;
    }
    if (zmq_bind(server->zmq, conf->endpoint) < 0) {
        rc = fail_errno(why, "cannot listen on", conf->endpoint);
        goto fail;
    }
    size_t size = sizeof server->endpoint;
    if (zmq_getsockopt(server->zmq, ZMQ_LAST_ENDPOINT, server->endpoint, &size) < 0) {
        rc = fail_errno(why, "cannot tell the address of", conf->endpoint);
        goto fail;
    }
    *ret = server;
    return 0;

fail:
    weir_socket_destroy(server);
    return rc;
}

int weir_client_create(struct weir_net *net, const struct weir_client_conf *conf, struct weir_socket **ret,
                       struct weir_why *why)
{
    struct weir_socket *client = NULL;
    int rc = check_max_bytes(conf->max_bytes, why);
    if (rc < 0) goto fail;
    rc = socket_create(net, ZMQ_DEALER, &client);
    if (rc < 0) {
        weir_why_set(why, rc, "cannot make a client socket: %s", weir_err_text(rc));
        goto fail;
    }
    struct setter s = {.zmq = client->zmq};
    set_common(&s, conf->keys, conf->max_bytes);
    set_text(&s, ZMQ_CURVE_PUBLICKEY, conf->keys->public_key, WEIR_KEY_TEXT);
    set_text(&s, ZMQ_CURVE_SERVERKEY, conf->server_key, strlen(conf->server_key) + 1);
    set_int(&s, ZMQ_CONNECT_TIMEOUT, CONNECT_MS);
    set_int(&s, ZMQ_RECONNECT_IVL, RECONNECT_MS);
    set_int(&s, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MOST_MS);
    rc = s.rc;
    if (rc < 0) {
        weir_why_set(why, rc, "our key or the key of the server at %s is not a CURVE key", conf->endpoint);
        goto fail;
    }
    if (zmq_connect(client->zmq, conf->endpoint) < 0) {
        rc = fail_errno(why, "cannot connect to", conf->endpoint);
        goto fail;
    }
    snprintf(client->endpoint, sizeof client->endpoint, "%s", conf->endpoint);
    *ret = client;
    return 0;

fail:
    weir_socket_destroy(client);
    return rc;
}

void weir_socket_destroy(struct weir_socket *socket)
{
    if (socket == NULL) return;
    if (socket->zmq != NULL) {
        zmq_socket_monitor(socket->zmq, NULL, 0);
        zmq_close(socket->zmq);
    }
    if (socket->monitor != NULL) zmq_close(socket->monitor);
    weir_free(socket);
}

const char *weir_socket_endpoint(const struct weir_socket *socket)
{
    return socket->endpoint;
}

static zmq_msg_t *msg_of(struct weir_frame *frame)
{
    return (zmq_msg_t *)frame;
}

int weir_socket_send(struct weir_socket *socket, uint32_t peer_id, struct weir_frames *frames)
{
    if (frames->count == 0) return WEIR_EPARAM;
    socket->used = true;
    if (socket->is_server) {
        uint8_t id[ROUTING_ID_BYTES] = {0};
        weir_store_u32be(id + 1, peer_id);
        if (zmq_send(socket->zmq, id, sizeof id, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0) return code_of_errno(errno);
    }
    for (uint32_t i = 0; i < frames->count; i++) {
        int more = i + 1 < frames->count ? ZMQ_SNDMORE : 0;
        if (zmq_msg_send(msg_of(&frames->frame[i]), socket->zmq, ZMQ_DONTWAIT | more) < 0) {
            /* Only the first part of a message can be refused; from there on it goes whole. */
            return i == 0 && !socket->is_server ? code_of_errno(errno) : WEIR_EIO;
        }
    }
    frames->count = 0; /* sending emptied each frame, and an empty frame holds nothing to close */
    return 0;
}

static bool has_more(zmq_msg_t *msg)
{
    return zmq_msg_more(msg) != 0;
}

/** Take the rest of a message whose part @msg was the last one taken, and forget it. */
static void drop_rest(struct weir_socket *socket, bool more)
{
    while (more) {
        zmq_msg_t part;
        zmq_msg_init(&part);
        more = zmq_msg_recv(&part, socket->zmq, ZMQ_DONTWAIT) >= 0 && has_more(&part);
        zmq_msg_close(&part);
    }
}

/** Take one part of a message; its size. WEIR_EAGAIN when there is none. */
static int recv_part(struct weir_socket *socket, zmq_msg_t *msg)
{
    socket->used = true;
    int size = zmq_msg_recv(msg, socket->zmq, ZMQ_DONTWAIT);
    if (size >= 0) return size;
    if (errno == EAGAIN) socket->used = false;
    return code_of_errno(errno);
}

/** The parts after the routing id. WEIR_EAGAIN when there is no message, WEIR_ELIMIT when it was too long. */
static int recv_frames(struct weir_socket *socket, struct weir_frames *frames)
{
    bool more = true;
    while (more) {
        if (frames->count == WEIR_FRAMES_MOST) {
            drop_rest(socket, true);
            socket->stats.overlong++;
            return WEIR_ELIMIT;
        }
        zmq_msg_t *msg = msg_of(&frames->frame[frames->count]);
        zmq_msg_init(msg);
        int rc = recv_part(socket, msg);
        if (rc < 0) {
            zmq_msg_close(msg);
            return rc;
        }
        frames->count++;
        more = has_more(msg);
    }
    return 0;
}

static int recv_routing_id(struct weir_socket *socket, uint32_t *id, bool *is_ours)
{
    zmq_msg_t msg;
    zmq_msg_init(&msg);
    int rc = recv_part(socket, &msg);
    if (rc >= 0) {
        const uint8_t *bytes = zmq_msg_data(&msg);
        *is_ours = rc == ROUTING_ID_BYTES && bytes[0] == 0;
        *id = *is_ours ? weir_load_u32be(bytes + 1) : 0;
        rc = 0;
    }
    zmq_msg_close(&msg);
    return rc;
}

/** The properties that ZAP gave to the connection. libzmq 4.3.4 has them on the last part only. */
static bool read_name(struct weir_frames *frames, struct weir_peer *peer)
{
    zmq_msg_t *last = msg_of(&frames->frame[frames->count - 1]);
    const char *name = zmq_msg_gets(last, "User-Id");
    const char *key = zmq_msg_gets(last, WEIR_ZAP_KEY_PROPERTY);
    if (name == NULL || key == NULL || name[0] == '\0') return false;
    if (strlen(name) >= sizeof peer->name || strlen(key) >= sizeof peer->key) return false;
    memcpy(peer->name, name, strlen(name) + 1);
    memcpy(peer->key, key, strlen(key) + 1);
    return true;
}

/** One message of a server; *dropped when it must not be seen by anybody. */
static int recv_once(struct weir_socket *socket, struct weir_frames *frames, struct weir_peer *peer, bool *dropped)
{
    bool is_ours = true;
    *dropped = false;
    if (socket->is_server) {
        int rc = recv_routing_id(socket, &peer->id, &is_ours);
        if (rc < 0) return rc;
    }
    int rc = recv_frames(socket, frames);
    *dropped = rc == WEIR_ELIMIT;
    if (rc < 0 || !socket->is_server) return rc;
    if (is_ours && read_name(frames, peer)) return 0;
    socket->stats.nameless++;
    *dropped = true;
    return 0;
}

int weir_socket_recv(struct weir_socket *socket, struct weir_frames *frames, struct weir_peer *peer)
{
    struct weir_peer unused;
    if (peer == NULL) peer = &unused;
    for (int i = 0; i < DROPPED_IN_ONE_CALL; i++) {
        bool dropped;
        weir_frames_clear(frames);
        int rc = recv_once(socket, frames, peer, &dropped);
        if (!dropped) return rc;
    }
    weir_frames_clear(frames);
    return WEIR_EAGAIN;
}

int weir_socket_fd(const struct weir_socket *socket)
{
    int fd = -1;
    size_t size = sizeof fd;
    return zmq_getsockopt(socket->zmq, ZMQ_FD, &fd, &size) < 0 ? WEIR_EIO : fd;
}

bool weir_socket_pending(struct weir_socket *socket)
{
    int events = 0;
    size_t size = sizeof events;
    if (!socket->used || zmq_getsockopt(socket->zmq, ZMQ_EVENTS, &events, &size) < 0) return false;
    socket->used = (events & ZMQ_POLLIN) != 0;
    return socket->used;
}

static void count_news(struct weir_socket_stats *stats, uint16_t event)
{
    switch (event) {
    case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: stats->connected++; break;
    case ZMQ_EVENT_DISCONNECTED: stats->disconnected++; break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: stats->refused++; break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL: stats->handshake_failed++; break;
    default: break;
    }
}

const struct weir_socket_stats *weir_socket_stats(struct weir_socket *socket)
{
    for (;;) {
        zmq_msg_t msg;
        zmq_msg_init(&msg);
        int size = zmq_msg_recv(&msg, socket->monitor, ZMQ_DONTWAIT);
        uint16_t event;
        if (size >= (int)sizeof event) {
            memcpy(&event, zmq_msg_data(&msg), sizeof event);
            count_news(&socket->stats, event);
        }
        bool more = size >= 0 && has_more(&msg);
        zmq_msg_close(&msg);
        if (size < 0) return &socket->stats;
        while (more) { /* the address */
            zmq_msg_init(&msg);
            more = zmq_msg_recv(&msg, socket->monitor, ZMQ_DONTWAIT) >= 0 && has_more(&msg);
            zmq_msg_close(&msg);
        }
    }
}
