#include "agent/tcp.h"

#include "agent/decode/link.h"
#include "agent/frames.h"
#include "common/base/clock.h"
#include "common/base/mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    READ_BYTES = 64 << 10,
    EVENTS_AT_ONCE = 64,
    ACCEPTED_AT_ONCE = 16,
    LISTENERS_MOST = 64,
    BACKLOG = 64,
    EXHAUSTED_MS = 20
};

enum kind { KIND_LISTENER, KIND_CONNECTION, KIND_WATCHED };

/** What epoll points to; a member of what it is about. */
struct source {
    enum kind kind;
    int fd;
    uint32_t endpoint;
};

struct connection {
    struct source source;
    struct agent_link by_age; /* of all, by the time of the last whole message */
    struct agent_tcp *tcp;
    struct agent_tcp_peer peer;
    struct agent_frames frames;
    uint64_t messages;
    int64_t heard_mono_ms; /* its last whole message; before that, it was opened */
};

struct agent_tcp {
    struct agent_tcp_conf conf;
    struct agent_tcp_owner owner;
    struct agent_tcp_counts counts;
    int epoll;
    struct source listeners[LISTENERS_MOST];
    uint32_t listener_count;
    struct source watched;
    struct agent_link connections;
    uint32_t connection_count;
    uint32_t number;
    int64_t now_mono_ms;
    uint8_t read[READ_BYTES];
};

static const char *const end_names[AGENT_TCP_ENDS] = {
    [AGENT_TCP_PEER] = "peer",     [AGENT_TCP_ERROR] = "error",   [AGENT_TCP_IDLE] = "idle",
    [AGENT_TCP_FORMAT] = "format", [AGENT_TCP_MEMORY] = "memory", [AGENT_TCP_STOP] = "stop",
    [AGENT_TCP_LIMIT] = "limit",   [AGENT_TCP_DENIED] = "denied",
};

const char *agent_tcp_end_name(enum agent_tcp_end end)
{
    return end_names[end];
}

static bool add_source(struct agent_tcp *tcp, struct source *source)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    return epoll_ctl(tcp->epoll, EPOLL_CTL_ADD, source->fd, &event) == 0;
}

/* ---- connections ---- */

/** Close a connection; it is gone after. */
static void end(struct connection *connection, enum agent_tcp_end how, struct weir_view rest)
{
    struct agent_tcp *tcp = connection->tcp;
    tcp->counts.ended[how]++;
    tcp->counts.unfinished_bytes += connection->frames.size + rest.size;
    tcp->owner.ended(tcp->owner.ctx, &connection->peer, how, rest);
    agent_link_remove(&connection->by_age);
    tcp->connection_count--;
    agent_frames_fini(&connection->frames);
    close(connection->source.fd);
    weir_free(connection);
}

static void take_message(void *ctx, struct weir_view message)
{
    struct connection *connection = ctx;
    struct agent_tcp *tcp = connection->tcp;
    connection->messages++;
    connection->heard_mono_ms = tcp->now_mono_ms;
    agent_link_to_end(&tcp->connections, &connection->by_age);
    tcp->owner.take(tcp->owner.ctx, &connection->peer, message);
}

/** One read, so that the others have their turn: what is left makes epoll report it again. */
static void read_some(struct connection *connection)
{
    static const struct weir_view nothing = {0};
    struct agent_tcp *tcp = connection->tcp;
    ssize_t got = recv(connection->source.fd, tcp->read, sizeof tcp->read, MSG_DONTWAIT);
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR) end(connection, AGENT_TCP_ERROR, nothing);
        return;
    }
    if (got == 0) {
        end(connection, AGENT_TCP_PEER, nothing);
        return;
    }
    struct weir_view bytes = weir_view_of(tcp->read, (size_t)got);
    int rc = agent_frames_feed(&connection->frames, &bytes, take_message, connection);
    if (rc < 0) end(connection, rc == WEIR_EFORMAT ? AGENT_TCP_FORMAT : AGENT_TCP_MEMORY, bytes);
}

/** Make room for one more connection: one that never sent a message goes, the oldest first. */
static bool make_room(struct agent_tcp *tcp)
{
    static const struct weir_view nothing = {0};
    if (tcp->connection_count < tcp->conf.most_connections) return true;
    for (struct agent_link *at = tcp->connections.next; at != &tcp->connections; at = at->next) {
        struct connection *connection = AGENT_LINKED(at, struct connection, by_age);
        if (connection->messages > 0) continue;
        end(connection, AGENT_TCP_IDLE, nothing);
        return true;
    }
    return false;
}

static void open_connection(struct agent_tcp *tcp, int fd, const struct sockaddr_storage *from, uint32_t endpoint)
{
    int on = 1;
    enum agent_tcp_end refusal = AGENT_TCP_LIMIT;
    struct connection *connection = NULL;
    struct weir_ip ip = agent_sender_ip(from);
    if (!tcp->owner.allows(tcp->owner.ctx, &ip)) {
        refusal = AGENT_TCP_DENIED;
        goto refuse;
    }
    if (!make_room(tcp)) goto refuse;
    connection = weir_calloc(1, sizeof *connection);
    if (connection == NULL) goto refuse;
    connection->source = (struct source){KIND_CONNECTION, fd, endpoint};
    if (!add_source(tcp, &connection->source)) goto refuse;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on); /* a peer that vanished is noticed before it is idle */

    tcp->number = tcp->number % ((1u << 30) - 1) + 1;
    connection->tcp = tcp;
    connection->peer = (struct agent_tcp_peer){ip, agent_sender_port(from), tcp->number, endpoint};
    connection->heard_mono_ms = tcp->now_mono_ms;
    agent_link_append(&tcp->connections, &connection->by_age);
    tcp->connection_count++;
    tcp->counts.opened++;
    return;

refuse:
    tcp->counts.ended[refusal]++;
    weir_free(connection);
    close(fd);
}

static void accept_some(struct agent_tcp *tcp, const struct source *listener)
{
    for (int i = 0; i < ACCEPTED_AT_ONCE; i++) {
        struct sockaddr_storage from = {0};
        socklen_t size = sizeof from;
        int fd = accept4(listener->fd, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
                poll(NULL, 0, EXHAUSTED_MS); /* it stays readable: not to spin */
            return;
        }
        open_connection(tcp, fd, &from, listener->endpoint);
    }
}

bool agent_tcp_poll(struct agent_tcp *tcp, int wait_ms)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(tcp->epoll, events, EVENTS_AT_ONCE, wait_ms);
    const struct source *ready[EVENTS_AT_ONCE]; /* listeners */
    int listeners = 0;
    bool did = false;
    tcp->now_mono_ms = weir_mono_ms();
    for (int i = 0; i < count; i++) {
        struct source *source = events[i].data.ptr;
        did = did || source->kind != KIND_WATCHED;
        if (source->kind == KIND_LISTENER) ready[listeners++] = source;
        if (source->kind == KIND_CONNECTION) read_some(AGENT_LINKED(source, struct connection, source));
    }
    for (int i = 0; i < listeners; i++) /* last: to take a connection may end one that an event is about */
        accept_some(tcp, ready[i]);
    return did;
}

void agent_tcp_tick(struct agent_tcp *tcp, int64_t now_mono_ms)
{
    static const struct weir_view nothing = {0};
    while (!agent_link_empty(&tcp->connections)) {
        struct connection *oldest = AGENT_LINKED(tcp->connections.next, struct connection, by_age);
        if (now_mono_ms - oldest->heard_mono_ms < tcp->conf.idle_ms) return;
        end(oldest, AGENT_TCP_IDLE, nothing);
    }
}

/* ---- life ---- */

int agent_tcp_create(const struct agent_tcp_conf *conf, const struct agent_tcp_owner *owner, struct agent_tcp **ret,
                     struct weir_why *why)
{
    struct agent_tcp *tcp = weir_calloc(1, sizeof *tcp);
    if (tcp == NULL) return weir_why_set(why, WEIR_ENOMEM, "TCP: out of memory");
    tcp->conf = *conf;
    tcp->owner = *owner;
    agent_link_init(&tcp->connections);
    tcp->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (tcp->epoll < 0) {
        weir_free(tcp);
        return weir_why_set(why, WEIR_EIO, "TCP: %s", strerror(errno));
    }
    *ret = tcp;
    return 0;
}

void agent_tcp_close(struct agent_tcp *tcp)
{
    static const struct weir_view nothing = {0};
    while (!agent_link_empty(&tcp->connections))
        end(AGENT_LINKED(tcp->connections.next, struct connection, by_age), AGENT_TCP_STOP, nothing);
}

static void say_nothing(void *ctx, const struct agent_tcp_peer *peer, enum agent_tcp_end how, struct weir_view rest)
{
    (void)ctx;
    (void)peer;
    (void)how;
    (void)rest;
}

void agent_tcp_destroy(struct agent_tcp *tcp)
{
    if (tcp == NULL) return;
    tcp->owner.ended = say_nothing;
    agent_tcp_close(tcp);
    for (uint32_t i = 0; i < tcp->listener_count; i++)
        close(tcp->listeners[i].fd);
    close(tcp->epoll);
    weir_free(tcp);
}

int agent_tcp_listen(struct agent_tcp *tcp, struct agent_endpoint *endpoint, bool only_v6, uint32_t number,
                     struct weir_why *why)
{
    if (tcp->listener_count == LISTENERS_MOST)
        return weir_why_set(why, WEIR_ELIMIT, "TCP: more than %d listeners", LISTENERS_MOST);
    int fd = agent_endpoint_open_stream(endpoint, only_v6, why);
    if (fd < 0) return fd;
    struct source *listener = &tcp->listeners[tcp->listener_count++];
    *listener = (struct source){KIND_LISTENER, fd, number};
    if (listen(fd, BACKLOG) == 0 && add_source(tcp, listener)) return 0;
    return weir_why_set(why, WEIR_EIO, "TCP: listen: %s", strerror(errno));
}

int agent_tcp_watch(struct agent_tcp *tcp, int fd, struct weir_why *why)
{
    tcp->watched = (struct source){KIND_WATCHED, fd, 0};
    return add_source(tcp, &tcp->watched) ? 0 : weir_why_set(why, WEIR_EIO, "TCP: %s", strerror(errno));
}

const struct agent_tcp_counts *agent_tcp_counted(const struct agent_tcp *tcp)
{
    return &tcp->counts;
}
