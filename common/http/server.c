#include "common/http/server.h"
#include "common/base/thread.h"

#include "common/base/log.h"
#include "common/base/mem.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    BODY_MOST = 1 << 20,
    BODIES_MOST = 64 << 20,
    CONNECTIONS = 256,
    TIMEOUT_S = 60,
    WORKERS_MOST = 64,
    LISTEN_BACKLOG = 64
};

/* A body is read, and thrown away, up to this many times its limit, so that the client sees the 413. */
enum { PATIENCE = 4 };

/** One request on its way: read by the server's thread, answered by a worker, sent by the server's thread. */
struct job {
    struct weir_http *server;
    struct MHD_Connection *connection;
    char *method;
    char *path;
    char client[INET6_ADDRSTRLEN];
    struct weir_buf body;
    uint64_t received; /* bytes of the body, also of one that is thrown away */
    size_t room;       /* of the server's @bodies */
    bool answered;     /* @reply is filled; what comes of the body is thrown away */
    struct weir_http_reply reply;
    struct job *next;
};

struct weir_http {
    struct MHD_Daemon *daemon;
    weir_http_fn *handler;
    weir_http_head_fn *head;
    void *ctx;
    size_t body_most;
    size_t bodies_most;
    size_t bodies; /* bytes that the bodies of all jobs have, or will have; of the server's thread */
    char address[80];
    char *cert;
    char *key;
    _Atomic uint64_t by_class[4];
    _Atomic uint64_t too_large;
    _Atomic uint64_t no_room;
    _Atomic uint64_t hung_up;

    unsigned worker_count;
    pthread_t workers[WORKERS_MOST];
    pthread_mutex_t mutex; /* guards the queue and @stopping */
    pthread_cond_t arrived;
    struct job *first;
    struct job *last;
    bool stopping;
};

static void job_destroy(struct job *job)
{
    if (job == NULL) return;
    weir_buf_fini(&job->body);
    weir_buf_fini(&job->reply.body);
    weir_free(job->method);
    weir_free(job->path);
    weir_free(job);
}

const char *weir_http_header(const struct weir_http_request *request, const char *name)
{
    const struct job *job = request->inside;
    return MHD_lookup_connection_value(job->connection, MHD_HEADER_KIND, name);
}

const char *weir_http_query(const struct weir_http_request *request, const char *name)
{
    const struct job *job = request->inside;
    return MHD_lookup_connection_value(job->connection, MHD_GET_ARGUMENT_KIND, name);
}

void weir_http_reply_header(struct weir_http_reply *reply, const char *name, const char *value)
{
    assert(reply->header_count < WEIR_HTTP_HEADERS_MOST);
    reply->headers[reply->header_count].name = name;
    snprintf(reply->headers[reply->header_count].value, sizeof reply->headers[0].value, "%s", value);
    reply->header_count++;
}

static struct weir_http_request request_of(struct job *job)
{
    return (struct weir_http_request){.method = job->method,
                                      .path = job->path,
                                      .body = weir_buf_view(&job->body),
                                      .client = job->client,
                                      .inside = job};
}

/** Let the handler fill the reply. */
static void answer(struct job *job)
{
    const struct weir_http_request request = request_of(job);
    job->server->handler(job->server->ctx, &request, &job->reply);
    job->answered = true;
}

static void *work(void *arg)
{
    struct weir_http *server = arg;
    pthread_mutex_lock(&server->mutex);
    for (;;) {
        while (server->first == NULL && !server->stopping)
            pthread_cond_wait(&server->arrived, &server->mutex);
        struct job *job = server->first;
        if (job == NULL) break;
        server->first = job->next;
        if (server->first == NULL) server->last = NULL;
        pthread_mutex_unlock(&server->mutex);
        answer(job);
        MHD_resume_connection(job->connection);
        pthread_mutex_lock(&server->mutex);
    }
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

static void enqueue(struct weir_http *server, struct job *job)
{
    pthread_mutex_lock(&server->mutex);
    job->next = NULL;
    if (server->last == NULL) {
        server->first = job;
    } else {
        server->last->next = job;
    }
    server->last = job;
    pthread_cond_signal(&server->arrived);
    pthread_mutex_unlock(&server->mutex);
}

/** Hand the reply to the library, which takes its body over. */
static enum MHD_Result send_reply(struct job *job)
{
    struct weir_http_reply *reply = &job->reply;
    if (reply->status == 0) reply->status = 200;
    if (reply->body.failed) {
        weir_buf_fini(&reply->body);
        reply->status = 503;
    }
    static char nothing[1];
    void *data = reply->body.size == 0 ? nothing : (void *)reply->body.data;
    enum MHD_ResponseMemoryMode mode = reply->body.size == 0 ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_COPY;
    struct MHD_Response *response = MHD_create_response_from_buffer(reply->body.size, data, mode);
    if (response == NULL) return MHD_NO;

    MHD_add_response_header(response, "Content-Type", reply->type == NULL ? "text/plain; charset=utf-8" : reply->type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    for (size_t i = 0; i < reply->header_count; i++) {
        MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
    }
    enum MHD_Result rc = MHD_queue_response(job->connection, (unsigned)reply->status, response);
    MHD_destroy_response(response);
    int status_class = reply->status / 100 - 2;
    if (status_class >= 0 && status_class < 4) atomic_fetch_add(&job->server->by_class[status_class], 1);
    return rc;
}

static void name_client(struct MHD_Connection *connection, char out[INET6_ADDRSTRLEN])
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    out[0] = '\0';
    if (info == NULL || info->client_addr == NULL) return;
    if (info->client_addr->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, info->client_addr, sizeof v4);
        inet_ntop(AF_INET, &v4.sin_addr, out, INET6_ADDRSTRLEN);
    } else if (info->client_addr->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, info->client_addr, sizeof v6);
        inet_ntop(AF_INET6, &v6.sin6_addr, out, INET6_ADDRSTRLEN);
    }
}

/* ---- bodies: all on the server's thread ---- */

static void refuse_too_large(struct job *job)
{
    atomic_fetch_add(&job->server->too_large, 1);
    job->answered = true;
    job->reply.status = 413;
    weir_buf_printf(&job->reply.body, "the request's body is larger than %zu bytes\n", job->server->body_most);
}

static void refuse_for_room(struct job *job)
{
    atomic_fetch_add(&job->server->no_room, 1);
    job->answered = true;
    job->reply.status = 503;
    weir_http_reply_header(&job->reply, "Retry-After", "1");
    weir_buf_text(&job->reply.body, "other requests take all memory that there is for bodies\n");
}

/** Have room for a body of @size bytes; refuses the request when there is none. */
static void make_room(struct job *job, uint64_t size)
{
    struct weir_http *server = job->server;
    if (size > server->body_most) {
        refuse_too_large(job);
        return;
    }
    if (size <= job->room) return;
    if (size - job->room > server->bodies_most - server->bodies) {
        refuse_for_room(job);
        return;
    }
    server->bodies += size - job->room;
    job->room = size;
}

/** The length that the head announces; 0 for none, or where it is not known. */
static uint64_t announced(const struct job *job)
{
    const char *length = MHD_lookup_connection_value(job->connection, MHD_HEADER_KIND, "Content-Length");
    return length == NULL ? 0 : strtoull(length, NULL, 10);
}

/** The first call of a request: what its head says. */
static enum MHD_Result on_head(struct job *job)
{
    struct weir_http *server = job->server;
    const struct weir_http_request request = request_of(job);
    uint64_t size = announced(job);
    if (server->head != NULL) job->answered = !server->head(server->ctx, &request, &job->reply);
    if (!job->answered) make_room(job, size);
    if (!job->answered && size > 0) { /* at once, so that it never takes twice its size while it grows */
        job->body.data = weir_malloc(size);
        job->body.capacity = job->body.data == NULL ? 0 : size;
        if (job->body.data == NULL) refuse_for_room(job);
    }
    if (!job->answered) return MHD_YES;
    /* A client that waits for our word, or has far too much to say, hears it now; others when they have said all. */
    bool waits = MHD_lookup_connection_value(job->connection, MHD_HEADER_KIND, "Expect") != NULL;
    return waits || size / PATIENCE > server->body_most ? send_reply(job) : MHD_YES;
}

static enum MHD_Result on_body(struct job *job, const char *data, size_t size)
{
    job->received += size;
    if (job->received / PATIENCE > job->server->body_most) {
        atomic_fetch_add(&job->server->hung_up, 1);
        return MHD_NO; /* it does not end */
    }
    if (!job->answered) make_room(job, job->received);
    if (!job->answered) weir_buf_append(&job->body, data, size);
    if (!job->answered && job->body.failed) refuse_for_room(job);
    return MHD_YES;
}

/** Called for the head, for each piece of the body, at its end, and again after a worker resumed the connection. */
static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **state)
{
    (void)version;
    struct weir_http *server = cls;
    struct job *job = *state;
    if (job == NULL) {
        job = weir_calloc(1, sizeof *job);
        if (job == NULL) return MHD_NO;
        *state = job;
        job->server = server;
        job->connection = connection;
        job->method = weir_strdup(method);
        job->path = weir_strdup(url);
        name_client(connection, job->client);
        return job->method == NULL || job->path == NULL ? MHD_NO : on_head(job);
    }
    if (*upload_size > 0) {
        size_t size = *upload_size;
        *upload_size = 0;
        return on_body(job, upload, size);
    }
    if (job->answered) return send_reply(job);
    if (server->worker_count == 0) {
        answer(job);
        return send_reply(job);
    }
    MHD_suspend_connection(connection);
    enqueue(server, job);
    return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct weir_http *server = cls;
    struct job *job = *state;
    (void)connection;
    (void)code;
    if (job != NULL) server->bodies -= job->room;
    job_destroy(job);
    *state = NULL;
}

/** The library's own messages are about peers that hang up: debug. */
static void on_message(void *cls, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

static void on_message(void *cls, const char *format, va_list args)
{
    (void)cls;
    char text[256];
    char quoted[300];
    vsnprintf(text, sizeof text, format, args);
    weir_log(WEIR_LOG_DEBUG, "http.library", "message=%s", weir_log_quote(text, quoted, sizeof quoted));
}

/** "1.2.3.4:80" or "[::1]:80". */
static int address_parse(const char *text, struct sockaddr_storage *ret, socklen_t *ret_size, bool *loopback)
{
    char host[INET6_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon[1] == '\0') return WEIR_EFORMAT;
    char *end;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || port > 65535 || colon[1] == '-' || colon[1] == '+') return WEIR_EFORMAT;

    const char *from = text;
    size_t size = (size_t)(colon - text);
    bool bracketed = size >= 2 && from[0] == '[' && from[size - 1] == ']';
    if (bracketed) {
        from++;
        size -= 2;
    }
    if (size >= sizeof host) return WEIR_EFORMAT;
    memcpy(host, from, size);
    host[size] = '\0';

    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    memset(ret, 0, sizeof *ret);
    if (!bracketed && inet_pton(AF_INET, host, &v4.sin_addr) == 1) {
        memcpy(ret, &v4, sizeof v4);
        *ret_size = sizeof v4;
        *loopback = ntohl(v4.sin_addr.s_addr) >> 24 == 127;
        return 0;
    }
    if (bracketed && inet_pton(AF_INET6, host, &v6.sin6_addr) == 1) {
        memcpy(ret, &v6, sizeof v6);
        *ret_size = sizeof v6;
        *loopback = IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
        return 0;
    }
    return WEIR_EFORMAT;
}

/** A listening socket for @address, and what it was bound to as text. */
static int listen_on(const char *text, const struct sockaddr_storage *address, socklen_t size, int *ret, char bound[80],
                     struct weir_why *why)
{
    int one = 1;
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return weir_why_set(why, WEIR_EIO, "http: %s: %s", text, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (const struct sockaddr *)address, size) < 0 || listen(fd, LISTEN_BACKLOG) < 0) {
        weir_why_set(why, WEIR_EIO, "http: cannot listen on %s: %s", text, strerror(errno));
        close(fd);
        return WEIR_EIO;
    }
    struct sockaddr_storage got;
    socklen_t got_size = sizeof got;
    if (getsockname(fd, (struct sockaddr *)&got, &got_size) < 0) {
        close(fd);
        return weir_why_set(why, WEIR_EIO, "http: %s: %s", text, strerror(errno));
    }
    unsigned port = ntohs(got.ss_family == AF_INET ? ((struct sockaddr_in *)(void *)&got)->sin_port
                                                   : ((struct sockaddr_in6 *)(void *)&got)->sin6_port);
    snprintf(bound, 80, "%.*s:%u", (int)(strrchr(text, ':') - text), text, port);
    *ret = fd;
    return 0;
}

static int read_pem(const char *path, char **ret, struct weir_why *why)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) return weir_why_set(why, WEIR_EIO, "http: %s: %s", path, strerror(errno));
    char *text = weir_calloc(1, 1 << 16);
    if (text != NULL) {
        size_t got = fread(text, 1, (1 << 16) - 1, file);
        text[got] = '\0';
    }
    fclose(file);
    if (text == NULL) return WEIR_ENOMEM;
    *ret = text;
    return 0;
}

static int start_workers(struct weir_http *server, unsigned workers)
{
    assert(workers <= WORKERS_MOST);
    for (; server->worker_count < workers; server->worker_count++) {
        if (weir_thread_start(&server->workers[server->worker_count], "http-work", work, server) != 0)
            return WEIR_ENOMEM;
    }
    return 0;
}

int weir_http_create(const struct weir_http_conf *conf, weir_http_fn *handler, void *ctx, struct weir_http **ret,
                     struct weir_why *why)
{
    struct sockaddr_storage address;
    socklen_t address_size;
    bool loopback;
    bool tls = conf->tls_cert != NULL && conf->tls_cert[0] != '\0';
    if (address_parse(conf->address, &address, &address_size, &loopback) < 0) {
        return weir_why_set(why, WEIR_EPARAM, "http: \"%s\" is not ADDRESS:PORT or [ADDRESS]:PORT", conf->address);
    }
    if (!loopback && !tls) {
        return weir_why_set(why, WEIR_EPARAM, "http: %s is not a loopback address: set tls_cert and tls_key",
                            conf->address);
    }

    int fd = -1;
    int rc = WEIR_ENOMEM;
    struct weir_http *server = weir_calloc(1, sizeof *server);
    if (server == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    server->handler = handler;
    server->ctx = ctx;
    server->head = conf->head;
    server->body_most = conf->body_most == 0 ? BODY_MOST : conf->body_most;
    server->bodies_most = conf->bodies_most == 0 ? BODIES_MOST : conf->bodies_most;
    pthread_mutex_init(&server->mutex, NULL);
    pthread_cond_init(&server->arrived, NULL);

    if (tls) {
        rc = read_pem(conf->tls_cert, &server->cert, why);
        if (rc < 0) goto fail;
        rc = read_pem(conf->tls_key == NULL ? "" : conf->tls_key, &server->key, why);
        if (rc < 0) goto fail;
    }
    rc = listen_on(conf->address, &address, address_size, &fd, server->address, why);
    if (rc < 0) goto fail;
    rc = start_workers(server, conf->workers);
    if (rc < 0) goto fail;

    struct MHD_OptionItem tls_options[] = {
        {tls ? MHD_OPTION_HTTPS_MEM_CERT : MHD_OPTION_END, 0, server->cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, server->key},
        {MHD_OPTION_END, 0, NULL},
    };
    unsigned flags =
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (tls ? MHD_USE_TLS : 0);
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, server, MHD_OPTION_EXTERNAL_LOGGER, on_message, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_CONNECTION_LIMIT,
        conf->connections == 0 ? (unsigned)CONNECTIONS : conf->connections, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        conf->connections_per_address, MHD_OPTION_CONNECTION_TIMEOUT,
        conf->timeout_s == 0 ? (unsigned)TIMEOUT_S : conf->timeout_s, MHD_OPTION_ARRAY, tls_options, MHD_OPTION_END);
    if (server->daemon == NULL) {
        rc = weir_why_set(why, WEIR_EIO, "http: the server on %s does not start%s", conf->address,
                          tls ? ": are tls_cert and tls_key PEM files that belong together?" : "");
        goto fail;
    }
    *ret = server;
    return 0;

fail:
    if (rc == WEIR_ENOMEM) weir_why_set(why, rc, "out of memory");
    if (fd >= 0) close(fd);
    weir_http_destroy(server);
    return rc;
}

void weir_http_destroy(struct weir_http *server)
{
    if (server == NULL) return;
    if (server->daemon != NULL) {
        int fd = MHD_quiesce_daemon(server->daemon);
        if (fd >= 0) close(fd);
    }
    pthread_mutex_lock(&server->mutex);
    server->stopping = true; /* workers empty the queue first: every suspended connection is resumed */
    pthread_cond_broadcast(&server->arrived);
    pthread_mutex_unlock(&server->mutex);
    for (unsigned i = 0; i < server->worker_count; i++)
        pthread_join(server->workers[i], NULL);
    server->worker_count = 0;
    if (server->daemon != NULL) MHD_stop_daemon(server->daemon);
    pthread_mutex_destroy(&server->mutex);
    pthread_cond_destroy(&server->arrived);
    weir_free(server->cert);
    weir_free(server->key);
    weir_free(server);
}

const char *weir_http_address(const struct weir_http *server)
{
    return server->address;
}

void weir_http_counts(const struct weir_http *server, struct weir_http_counts *ret)
{
    for (int i = 0; i < 4; i++)
        ret->by_class[i] = atomic_load(&server->by_class[i]);
    ret->too_large = atomic_load(&server->too_large);
    ret->no_room = atomic_load(&server->no_room);
    ret->hung_up = atomic_load(&server->hung_up);
}
