/**
 * The way to one aggregator: a socket, and a bounded queue before it for what the socket does not take at once (it
 * takes 16 messages; its own thread empties it a moment later). What does not fit either is refused, so that an
 * aggregator that does not read costs a bounded amount of memory and no other one's time.
 */
#ifndef WEIR_BROKER_LINK_H
#define WEIR_BROKER_LINK_H

#include "common/daemon/loop.h"
#include "common/net/socket.h"

enum { BROKER_LINK_WAITING_MOST = 256 };

struct broker_link;

struct broker_link_conf {
    struct weir_net *net;
    struct weir_loop *loop;
    weir_loop_fn *on_readable; /* called with @ctx when the socket may have something */
    void *ctx;
    const char *endpoint;
    const char *server_key;
    const struct weir_keys *keys;
    size_t max_bytes;
};

/** All of @conf but the loop, the net and the context is copied. WEIR_EPARAM, WEIR_ENOMEM, WEIR_EIO. */
int broker_link_create(const struct broker_link_conf *conf, struct broker_link **ret, struct weir_why *why);
void broker_link_destroy(struct broker_link *link);

/** Another socket to the same aggregator; what waited is dropped. On failure there is none until the next call. */
int broker_link_reconnect(struct broker_link *link, struct weir_why *why);

/** Send or queue; takes the frames on success. WEIR_EAGAIN when the queue is full, WEIR_ECLOSED without a socket. */
int broker_link_send(struct broker_link *link, struct weir_frames *frames);

/** Give the socket what waits, as far as it takes it. */
void broker_link_flush(struct broker_link *link);

/** As weir_socket_recv. WEIR_EAGAIN without a socket. */
int broker_link_recv(struct broker_link *link, struct weir_frames *frames);

/** Is there something to receive now? See weir_socket_fd for when to ask. */
bool broker_link_pending(struct broker_link *link);

/** Did the aggregator refuse our key since the socket was made? */
bool broker_link_is_refused(struct broker_link *link);

#endif
