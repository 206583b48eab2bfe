#include "agent/push.h"

#include "agent/counters.h"
#include "agent/feed/firehose.h"
#include "agent/feed/gzip.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/http/server.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

enum {
    KEY_LEAST = 16,
    KEYS_MOST = 16,
    KEYS_BYTES_MOST = 128 << 10,
    WORKERS = 1,   /* bodies are unpacked and synced one after the other: that bounds what unpacking takes */
    BODIES = 2,    /* bodies in memory at a time, of the largest size */
    UNPACKED = 4,  /* times its size that a delivery may be when it is unpacked, in memory */
    UNZIPPED = 64, /* times its size that a gzipped log may be when it is read, from the disk */
    RETRY_S = 10,
    REFUSALS_PER_SECOND = 2
};

static const char firehose_id[] = "X-Amz-Firehose-Request-Id";
static const char firehose_key[] = "X-Amz-Firehose-Access-Key";

/** The keys that open the door; the text owns their bytes. */
struct keys {
    struct weir_buf text;
    struct weir_view all[KEYS_MOST];
    size_t count;
};

struct agent_push {
    const struct agent_feed_conf *feeds;
    size_t feed_count;
    size_t body_most;
    struct agent_inbox *inbox;
    struct weir_metrics *metrics;
    atomic_bool stopping;
    struct weir_http *http;
    pthread_mutex_t lock; /* guards what follows */
    struct keys keys;
    struct weir_log_limit refusals;
};

/* ---- keys ---- */

static void wipe_keys(struct keys *keys)
{
    if (keys->text.data != NULL) explicit_bzero(keys->text.data, keys->text.capacity);
    weir_buf_fini(&keys->text);
    *keys = (struct keys){.count = 0};
}

/** The file that the service manager hands out under the same name, else the one at @path. */
static int find_keys(const char *path, char ret[WEIR_PATH_BYTES])
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    const char *slash = strrchr(path, '/');
    struct stat found;
    int size = folder == NULL ? WEIR_PATH_BYTES
                              : snprintf(ret, WEIR_PATH_BYTES, "%s/%s", folder, slash == NULL ? path : slash + 1);
    if (size > 0 && size < WEIR_PATH_BYTES && stat(ret, &found) == 0) return 0;
    size = snprintf(ret, WEIR_PATH_BYTES, "%s", path);
    return size < WEIR_PATH_BYTES ? 0 : WEIR_EPARAM;
}

static int parse_keys(struct keys *keys, const char *path, struct weir_why *why)
{
    struct weir_view rest = weir_buf_view(&keys->text);
    for (unsigned line = 1; rest.size > 0; line++) {
        const uint8_t *end = memchr(rest.data, '\n', rest.size);
        size_t size = end == NULL ? rest.size : (size_t)(end - rest.data);
        struct weir_view key = weir_view_of(rest.data, size);
        rest = weir_view_of(rest.data + size + (end != NULL), rest.size - size - (end != NULL));
        while (key.size > 0 && (key.data[key.size - 1] == '\r' || key.data[key.size - 1] == ' '))
            key.size--;
        if (key.size == 0 || key.data[0] == '#') continue;
        if (key.size < KEY_LEAST)
            return weir_why_set(why, WEIR_EPARAM, "push_keys: %s:%u: a key has %d characters at least", path, line,
                                KEY_LEAST);
        if (keys->count == KEYS_MOST)
            return weir_why_set(why, WEIR_EPARAM, "push_keys: %s:%u: more than %d keys", path, line, KEYS_MOST);
        keys->all[keys->count++] = key;
    }
    return keys->count > 0 ? 0 : weir_why_set(why, WEIR_EPARAM, "push_keys: %s: there is no key in it", path);
}

static int read_keys(const char *configured, struct keys *keys, struct weir_why *why)
{
    char path[WEIR_PATH_BYTES];
    struct stat found;
    *keys = (struct keys){.count = 0};
    int rc = find_keys(configured, path);
    if (rc == 0 && stat(path, &found) < 0) rc = weir_file_error(errno);
    if (rc == 0 && (found.st_mode & S_IRWXO) != 0)
        return weir_why_set(why, WEIR_EDENIED, "push_keys: %s is open to everybody: chmod 0640", path);
    if (rc == 0) rc = weir_file_load(path, KEYS_BYTES_MOST, &keys->text);
    if (rc < 0) return weir_why_set(why, rc, "push_keys: %s: %s", path, weir_err_text(rc));
    return parse_keys(keys, path, why);
}

/** The time that this takes tells nothing of the bytes. */
static bool is_same_key(struct weir_view a, struct weir_view b)
{
    uint8_t differ = 0;
    if (a.size != b.size) return false;
    for (size_t i = 0; i < a.size; i++)
        differ |= a.data[i] ^ b.data[i];
    __asm__ volatile("" : "+r"(differ)); /* so that the loop is not left early */
    return differ == 0;
}

static bool has_key(struct agent_push *push, const struct weir_http_request *request)
{
    static const char bearer[] = "Bearer ";
    const char *key = weir_http_header(request, firehose_key);
    const char *authorization = weir_http_header(request, "Authorization");
    if (key == NULL && authorization != NULL && strncasecmp(authorization, bearer, sizeof bearer - 1) == 0)
        key = authorization + sizeof bearer - 1;
    if (key == NULL) return false;
    bool found = false;
    pthread_mutex_lock(&push->lock);
    for (size_t i = 0; i < push->keys.count; i++)
        found |= is_same_key(push->keys.all[i], weir_view_text(key));
    pthread_mutex_unlock(&push->lock);
    return found;
}

/* ---- requests ---- */

/** The feed that is posted to, and its index in the inbox; NULL: there is none. */
static const struct agent_feed_conf *feed_of(const struct agent_push *push, const char *path, size_t *ret_index)
{
    static const char prefix[] = "/feeds/";
    size_t index = 0;
    if (strncmp(path, prefix, sizeof prefix - 1) != 0) return NULL;
    for (size_t i = 0; i < push->feed_count; i++) {
        const struct agent_feed_conf *feed = &push->feeds[i];
        if (feed->path[0] != '\0') continue;
        *ret_index = index++;
        if (strcmp(path + sizeof prefix - 1, feed->name) == 0) return feed;
    }
    return NULL;
}

/** Answer, in the form that the sender reads, and count. */
static void answer(struct agent_push *push, const struct weir_http_request *request, struct weir_http_reply *reply,
                   enum agent_counter counter, int status, const char *text)
{
    const char *id = weir_http_header(request, firehose_id);
    weir_metrics_add(push->metrics, counter, 1);
    reply->status = status;
    if (id == NULL) {
        weir_buf_printf(&reply->body, "%s\n", text);
    } else {
        reply->type = "application/json";
        feed_firehose_answer(id, weir_wall_ms(), status == 200 ? NULL : text, &reply->body);
    }
    if (status == 503) {
        char seconds[8];
        snprintf(seconds, sizeof seconds, "%d", RETRY_S);
        weir_http_reply_header(reply, "Retry-After", seconds);
    }
    if (status == 401) weir_http_reply_header(reply, "WWW-Authenticate", "Bearer realm=\"weir\"");
    if (status == 405) weir_http_reply_header(reply, "Allow", "POST");
    if (status < 400) return;

    char quoted[3][300];
    uint64_t held_back;
    pthread_mutex_lock(&push->lock);
    bool tell = weir_log_allowed(&push->refusals, weir_mono_ms(), REFUSALS_PER_SECOND, &held_back);
    pthread_mutex_unlock(&push->lock);
    if (!tell) return;
    weir_log(WEIR_LOG_WARN, "push.refused", "client=%s path=%s request=%s status=%d reason=%s held_back=%" PRIu64,
             request->client, weir_log_quote(request->path, quoted[0], sizeof quoted[0]),
             weir_log_quote(id == NULL ? "" : id, quoted[1], sizeof quoted[1]), status,
             weir_log_quote(text, quoted[2], sizeof quoted[2]), held_back);
}

/** On the server's thread, before the body is taken. */
static bool on_head(void *ctx, const struct weir_http_request *request, struct weir_http_reply *reply)
{
    struct agent_push *push = ctx;
    size_t index;
    const char *encoding = weir_http_header(request, "Content-Encoding");
    if (!has_key(push, request)) {
        answer(push, request, reply, AGENT_COUNT_push_unauthorized, 401, "the access key is missing or wrong");
    } else if (feed_of(push, request->path, &index) == NULL) {
        answer(push, request, reply, AGENT_COUNT_push_malformed, 404, "there is no such feed: POST to /feeds/NAME");
    } else if (strcmp(request->method, "POST") != 0) {
        answer(push, request, reply, AGENT_COUNT_push_malformed, 405, "logs are posted");
    } else if (encoding != NULL && strcasecmp(encoding, "gzip") != 0 && strcasecmp(encoding, "identity") != 0) {
        answer(push, request, reply, AGENT_COUNT_push_malformed, 415, "Content-Encoding is gzip or none");
    } else if (atomic_load(&push->stopping) || agent_inbox_is_full(push->inbox)) {
        answer(push, request, reply, AGENT_COUNT_push_full, 503, "too much waits to be taken: come again");
    } else {
        return true;
    }
    return false;
}

/** The log of a delivery, appended to @log. */
static int unpack_delivery(struct weir_view body, bool gzip, const char *id, const struct agent_feed_conf *feed,
                           size_t most, struct weir_buf *log, struct weir_why *why)
{
    struct weir_buf text = WEIR_BUF_INIT;
    int rc = gzip ? feed_gunzip(body, most, &text) : 0;
    if (rc < 0) weir_why_set(why, rc, rc == WEIR_ELIMIT ? "unpacked it is too large" : "the body is no whole gzip");
    if (rc == 0)
        rc = feed_firehose_unpack(gzip ? weir_buf_view(&text) : body, id, (enum feed_format)feed->format, most, log,
                                  why);
    weir_buf_fini(&text);
    return rc;
}

/** The log that the request brings: *ret is the body itself, or a view of @log. */
static int unpack(const struct agent_push *push, const struct weir_http_request *request,
                  const struct agent_feed_conf *feed, struct weir_buf *log, struct weir_view *ret, struct weir_why *why)
{
    const size_t most = push->body_most;
    const char *encoding = weir_http_header(request, "Content-Encoding");
    const char *delivery = weir_http_header(request, firehose_id);
    bool gzip = feed_is_gzip(request->body) || (encoding != NULL && strcasecmp(encoding, "gzip") == 0);
    int rc = 0;
    *ret = request->body;
    if (delivery != NULL) {
        rc = unpack_delivery(request->body, gzip, delivery, feed, most * UNPACKED, log, why);
        *ret = weir_buf_view(log);
    } else if (gzip) { /* whole, so that nobody has to say later that it is not */
        rc = feed_gunzip(request->body, most * UNZIPPED, NULL);
        weir_why_set(why, rc, rc == WEIR_ELIMIT ? "unpacked it is too large" : "the body is no whole gzip");
    }
    return rc;
}

static struct agent_inbox_id id_of(const struct weir_http_request *request, const struct agent_feed_conf *feed)
{
    const char *name = weir_http_header(request, firehose_id);
    if (name == NULL) name = weir_http_header(request, "Idempotency-Key");
    return name == NULL ? agent_inbox_id_random() : agent_inbox_id_of(feed->name, name);
}

/** On the worker. */
static void on_request(void *ctx, const struct weir_http_request *request, struct weir_http_reply *reply)
{
    struct agent_push *push = ctx;
    struct weir_buf log = WEIR_BUF_INIT;
    struct weir_view bytes;
    struct weir_why why = {""};
    size_t index = 0;
    const struct agent_feed_conf *feed = feed_of(push, request->path, &index);
    const struct agent_inbox_id id = id_of(request, feed);
    int rc = unpack(push, request, feed, &log, &bytes, &why);
    if (rc == WEIR_EFORMAT) {
        answer(push, request, reply, AGENT_COUNT_push_malformed, 400, why.text);
    } else if (rc == WEIR_ELIMIT) {
        answer(push, request, reply, AGENT_COUNT_push_too_large, 413, why.text);
    } else if (rc < 0) {
        answer(push, request, reply, AGENT_COUNT_push_failed, 503, weir_err_text(rc));
    } else if (bytes.size == 0) {
        answer(push, request, reply, AGENT_COUNT_push_empty, 200, "nothing to take");
    } else {
        rc = agent_inbox_put(push->inbox, index, &id, bytes);
        if (rc == 0) {
            weir_metrics_add(push->metrics, AGENT_COUNT_push_bytes, bytes.size);
            answer(push, request, reply, AGENT_COUNT_push_taken, 200, "taken");
        } else if (rc == WEIR_EEXIST) {
            answer(push, request, reply, AGENT_COUNT_push_known, 200, "taken before");
        } else if (rc == WEIR_EFULL) {
            answer(push, request, reply, AGENT_COUNT_push_full, 503, "too much waits to be taken: come again");
        } else {
            answer(push, request, reply, AGENT_COUNT_push_failed, 503, weir_err_text(rc));
        }
    }
    weir_buf_fini(&log);
}

/* ---- from outside ---- */

int agent_push_create(const struct agent_push_conf *conf, struct weir_metrics *metrics, struct agent_push **ret,
                      struct weir_why *why)
{
    const struct weir_http_conf http = {.address = conf->listen,
                                        .tls_cert = conf->tls_cert,
                                        .tls_key = conf->tls_key,
                                        .workers = WORKERS,
                                        .body_most = conf->body_most,
                                        .bodies_most = conf->body_most * BODIES,
                                        .head = on_head};
    int rc = WEIR_ENOMEM;
    struct agent_push *push = weir_calloc(1, sizeof *push);
    if (push == NULL) return weir_why_set(why, rc, "out of memory");
    push->feeds = conf->feeds;
    push->feed_count = conf->feed_count;
    push->body_most = conf->body_most;
    push->inbox = conf->inbox;
    push->metrics = metrics;
    pthread_mutex_init(&push->lock, NULL);
    rc = read_keys(conf->keys, &push->keys, why);
    if (rc < 0) goto fail;
    rc = weir_http_create(&http, on_request, push, &push->http, why);
    if (rc < 0) {
        weir_why_prefix(why, rc, "push_listen");
        goto fail;
    }
    weir_log(WEIR_LOG_INFO, "push.listening", "address=%s tls=%d keys=%zu", agent_push_address(push),
             conf->tls_cert != NULL && conf->tls_cert[0] != '\0', push->keys.count);
    *ret = push;
    return 0;

fail:
    agent_push_destroy(push);
    return rc;
}

int agent_push_reload(struct agent_push *push, const char *path, struct weir_why *why)
{
    struct keys keys;
    int rc = read_keys(path, &keys, why);
    if (rc == 0) {
        pthread_mutex_lock(&push->lock);
        struct keys before = push->keys;
        push->keys = keys;
        keys = before;
        pthread_mutex_unlock(&push->lock);
    }
    wipe_keys(&keys);
    return rc;
}

void agent_push_stop(struct agent_push *push)
{
    atomic_store(&push->stopping, true);
}

void agent_push_refresh(struct agent_push *push)
{
    struct weir_http_counts counts;
    weir_http_counts(push->http, &counts);
    weir_metrics_set(push->metrics, AGENT_COUNT_push_unseen_large, counts.too_large);
    weir_metrics_set(push->metrics, AGENT_COUNT_push_unseen_room, counts.no_room);
    weir_metrics_set(push->metrics, AGENT_COUNT_push_unseen_endless, counts.hung_up);
}

const char *agent_push_address(const struct agent_push *push)
{
    return weir_http_address(push->http);
}

void agent_push_destroy(struct agent_push *push)
{
    if (push == NULL) return;
    weir_http_destroy(push->http);
    wipe_keys(&push->keys);
    pthread_mutex_destroy(&push->lock);
    weir_free(push);
}
