/**
 * A small HTTP server over libmicrohttpd, whose only reader this room is: a handler function, whole requests, whole
 * replies. A request can be refused by its head, before its body is taken. Requests are answered by a pool of workers that may block (or on the server's own thread when there are
 * none); the connection is suspended meanwhile, so slow questions do not hold up quick ones.
 *
 * TLS with a certificate, or loopback only: an address that others can reach is refused without one.
 */
#ifndef WEIR_COMMON_HTTP_SERVER_H
#define WEIR_COMMON_HTTP_SERVER_H

#include "common/base/buf.h"
#include "common/base/err.h"

struct weir_http; /* a server */

struct weir_http_request;
struct weir_http_reply;

/**
 * Look at a request before its body is taken; @request->body is empty. True: go on. False: @reply, which it filled, is
 * the answer, and what comes of the body is thrown away. On the server's thread: must not block.
 */
typedef bool weir_http_head_fn(void *ctx, const struct weir_http_request *request, struct weir_http_reply *reply);

struct weir_http_conf {
    const char *address;              /* "127.0.0.1:8080", "[::1]:0"; port 0 lets the system choose */
    const char *tls_cert;             /* PEM file, or NULL or "" */
    const char *tls_key;              /* PEM file */
    unsigned workers;                 /* 0: the handler runs on the server's thread and must not block */
    unsigned connections;             /* most at a time; 0: 256 */
    unsigned connections_per_address; /* most from one address; 0: no limit */
    unsigned timeout_s;               /* idle connections are closed; 0: 60 */
    size_t body_most;                 /* larger request bodies get 413; 0: 1 MiB */
    size_t bodies_most;               /* of all bodies in memory together; one that does not fit gets 503; 0: 64 MiB */
    weir_http_head_fn *head;          /* with the handler's ctx; NULL: none */
};

/** A request, borrowed for the call of the handler. */
struct weir_http_request {
    const char *method; /* "GET" */
    const char *path;   /* "/api/v1/query", without the query */
    struct weir_view body;
    const char *client; /* address of the peer */
    void *inside;
};

/** Value of a header field, or NULL. Borrowed as the request is. */
const char *weir_http_header(const struct weir_http_request *request, const char *name);

/** Value of ?name=, decoded, or NULL. Borrowed as the request is. */
const char *weir_http_query(const struct weir_http_request *request, const char *name);

enum { WEIR_HTTP_HEADERS_MOST = 8 };

/** A reply, zeroed by the server before the handler fills it. */
struct weir_http_reply {
    int status;       /* 200 when left 0 */
    const char *type; /* Content-Type, static; "text/plain; charset=utf-8" when left NULL */
    struct weir_buf body;
    struct {
        const char *name; /* static */
        char value[160];
    } headers[WEIR_HTTP_HEADERS_MOST];
    size_t header_count;
};

/** Add a header field; beyond WEIR_HTTP_HEADERS_MOST it is an assertion. */
void weir_http_reply_header(struct weir_http_reply *reply, const char *name, const char *value);

/** Answer one request. On a worker (or the server's thread when there are none). */
typedef void weir_http_fn(void *ctx, const struct weir_http_request *request, struct weir_http_reply *reply);

/**
 * Bind and start to answer. WEIR_EPARAM for an address that does not parse or needs TLS, WEIR_EIO when it cannot be
 * bound or a certificate cannot be read, WEIR_ENOMEM.
 */
int weir_http_create(const struct weir_http_conf *conf, weir_http_fn *handler, void *ctx, struct weir_http **ret,
                     struct weir_why *why);

/** Stop: waits for running handlers. */
void weir_http_destroy(struct weir_http *server);

/** "127.0.0.1:41234", with the port that was bound. Borrowed from the server. */
const char *weir_http_address(const struct weir_http *server);

/** What a server did since its start. */
struct weir_http_counts {
    uint64_t by_class[4]; /* requests answered with a status of 200..299, 300..399, 400..499, 500..599 */
    /* Of these, or without an answer, those that no function of ours was asked about: */
    uint64_t too_large; /* 413 */
    uint64_t no_room;   /* 503 */
    uint64_t hung_up;   /* the body went on and on */
};

/** Any thread. */
void weir_http_counts(const struct weir_http *server, struct weir_http_counts *ret);

#endif
