#include "broker/link.h"

#include "common/base/mem.h"

#include <stdio.h>

struct broker_link {
    struct weir_net *net;
    struct weir_loop *loop;
    weir_loop_fn *on_readable;
    void *ctx;
    char endpoint[WEIR_ENDPOINT_BYTES];
    char server_key[WEIR_KEY_TEXT];
    struct weir_keys keys;
    size_t max_bytes;

    struct weir_socket *socket; /* NULL after it could not be made */
    int fd;
    uint32_t first; /* of what waits */
    uint32_t count;
    struct weir_frames waiting[BROKER_LINK_WAITING_MOST];
};

static void drop_waiting(struct broker_link *link)
{
    for (uint32_t i = 0; i < link->count; i++)
        weir_frames_clear(&link->waiting[(link->first + i) % BROKER_LINK_WAITING_MOST]);
    link->count = 0;
}

static void disconnect(struct broker_link *link)
{
    drop_waiting(link);
    if (link->socket == NULL) return;
    weir_loop_remove_fd(link->loop, link->fd);
    weir_socket_destroy(link->socket);
    link->socket = NULL;
}

int broker_link_create(const struct broker_link_conf *conf, struct broker_link **ret, struct weir_why *why)
{
    struct broker_link *link = weir_calloc(1, sizeof *link);
    if (link == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    link->net = conf->net;
    link->loop = conf->loop;
    link->on_readable = conf->on_readable;
    link->ctx = conf->ctx;
    link->keys = *conf->keys;
    link->max_bytes = conf->max_bytes;
    snprintf(link->endpoint, sizeof link->endpoint, "%s", conf->endpoint);
    snprintf(link->server_key, sizeof link->server_key, "%s", conf->server_key);
    int rc = broker_link_reconnect(link, why);
    if (rc < 0) {
        broker_link_destroy(link);
        return rc;
    }
    *ret = link;
    return 0;
}

void broker_link_destroy(struct broker_link *link)
{
    if (link == NULL) return;
    disconnect(link);
    weir_keys_wipe(&link->keys);
    weir_free(link);
}

int broker_link_reconnect(struct broker_link *link, struct weir_why *why)
{
    disconnect(link);
    struct weir_client_conf conf = {
        .endpoint = link->endpoint, .server_key = link->server_key, .keys = &link->keys, .max_bytes = link->max_bytes};
    struct weir_socket *socket;
    int rc = weir_client_create(link->net, &conf, &socket, why);
    if (rc < 0) return rc;
    link->fd = weir_socket_fd(socket);
    rc = link->fd < 0 ? link->fd : weir_loop_add_fd(link->loop, link->fd, link->on_readable, link->ctx);
    if (rc < 0) {
        weir_socket_destroy(socket);
        return weir_why_set(why, rc, "cannot watch the socket to %s: %s", link->endpoint, weir_err_text(rc));
    }
    link->socket = socket;
    return 0;
}

int broker_link_send(struct broker_link *link, struct weir_frames *frames)
{
    if (link->socket == NULL) return WEIR_ECLOSED;
    broker_link_flush(link);
    if (link->count == 0) {
        int rc = weir_socket_send(link->socket, 0, frames);
        if (rc != WEIR_EAGAIN) return rc;
    }
    if (link->count == BROKER_LINK_WAITING_MOST) return WEIR_EAGAIN;
    struct weir_frames *last = &link->waiting[(link->first + link->count) % BROKER_LINK_WAITING_MOST];
    weir_frames_move(last, frames);
    link->count++;
    return 0;
}

void broker_link_flush(struct broker_link *link)
{
    while (link->count > 0) {
        struct weir_frames *first = &link->waiting[link->first];
        if (weir_socket_send(link->socket, 0, first) == WEIR_EAGAIN) return;
        weir_frames_clear(first); /* sent, or what can never be sent */
        link->first = (link->first + 1) % BROKER_LINK_WAITING_MOST;
        link->count--;
    }
}

int broker_link_recv(struct broker_link *link, struct weir_frames *frames)
{
    return link->socket == NULL ? WEIR_EAGAIN : weir_socket_recv(link->socket, frames, NULL);
}

bool broker_link_pending(struct broker_link *link)
{
    return link->socket != NULL && weir_socket_pending(link->socket);
}

bool broker_link_is_refused(struct broker_link *link)
{
    return link->socket != NULL && weir_socket_stats(link->socket)->refused > 0;
}
