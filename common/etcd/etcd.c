#include "common/etcd/etcd.h"

#include "common/base/base64.h"
#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/etcd/reply.h"
#include "common/flow/json_writer.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
    ANSWER_MOST = 4 << 20,
    LINE_MOST = 1 << 20, /* of a watch */
    PATH_MOST = 256,
    KEEPALIVE_S = 5, /* of TCP: a watch says nothing for hours, and its end may not be told */
    PREFIX_MOST = 256
};

/** The stream of a watch. */
struct stream {
    CURL *easy;
    bool open;    /* in the multi */
    int64_t from; /* what the caller asked for */
    char prefix[WEIR_MAPSTORE_KEY_MOST];
    struct weir_buf request; /* curl reads it while the stream is open */
    struct weir_buf received;
    bool too_long;
};

struct etcd {
    struct weir_mapstore store;
    char *endpoints[ETCD_ENDPOINTS_MOST];
    size_t endpoint_count;
    size_t current;
    char prefix[PREFIX_MOST];
    char *user;
    char *password;
    char *ca;
    int64_t timeout_ms;
    char token[ETCD_TOKEN_BYTES];
    CURL *easy; /* of requests; keeps its connection */
    CURLM *multi;
    struct weir_buf request;
    struct weir_buf answer;
    struct stream stream;
};

/* ---- one request ---- */

static size_t on_answer(char *data, size_t size, size_t count, void *ctx)
{
    struct weir_buf *answer = ctx;
    if (answer->size + size * count > ANSWER_MOST) return 0;
    weir_buf_append(answer, data, size * count);
    return answer->failed ? 0 : size * count;
}

static struct curl_slist *make_headers(const struct etcd *etcd, bool watches)
{
    char authorization[ETCD_TOKEN_BYTES + 32];
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    struct curl_slist *more = headers;
    /* A member that has lost its leader would keep the watch and say nothing. */
    if (more != NULL && watches) more = curl_slist_append(headers, "Grpc-Metadata-Hasleader: true");
    if (more != NULL && etcd->token[0] != '\0') {
        snprintf(authorization, sizeof authorization, "Authorization: %s", etcd->token);
        more = curl_slist_append(headers, authorization);
    }
    if (more == NULL) curl_slist_free_all(headers);
    return more == NULL ? NULL : headers;
}

static void set_common(const struct etcd *etcd, CURL *easy, const char *url, struct curl_slist *headers,
                       const struct weir_buf *request)
{
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->size);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->data);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)etcd->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_S);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "weir/" WEIR_VERSION);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    if (etcd->ca[0] != '\0') curl_easy_setopt(easy, CURLOPT_CAINFO, etcd->ca);
}

/** POST the request to one endpoint: 0 with the answer; WEIR_EUNREACHABLE, WEIR_ETIMEOUT, WEIR_ELIMIT, WEIR_ENOMEM. */
static int post(struct etcd *etcd, const char *endpoint, const char *path, struct weir_why *why)
{
    char url[PATH_MOST * 2];
    char error[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = make_headers(etcd, false);
    if (headers == NULL || etcd->request.failed) {
        curl_slist_free_all(headers);
        return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    }
    snprintf(url, sizeof url, "%s%s", endpoint, path);
    weir_buf_clear(&etcd->answer);
    curl_easy_reset(etcd->easy);
    set_common(etcd, etcd->easy, url, headers, &etcd->request);
    curl_easy_setopt(etcd->easy, CURLOPT_TIMEOUT_MS, (long)etcd->timeout_ms);
    curl_easy_setopt(etcd->easy, CURLOPT_WRITEFUNCTION, on_answer);
    curl_easy_setopt(etcd->easy, CURLOPT_WRITEDATA, &etcd->answer);
    curl_easy_setopt(etcd->easy, CURLOPT_ERRORBUFFER, error);
    CURLcode code = curl_easy_perform(etcd->easy);
    curl_slist_free_all(headers);
    if (code == CURLE_OK) return 0;
    if (etcd->answer.failed) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    int rc = code == CURLE_OPERATION_TIMEDOUT ? WEIR_ETIMEOUT
             : code == CURLE_WRITE_ERROR      ? WEIR_ELIMIT
                                              : WEIR_EUNREACHABLE;
    return weir_why_set(why, rc, "%s: %s", endpoint, error[0] != '\0' ? error : curl_easy_strerror(code));
}

/** What an error of etcd means for the caller. */
static int rc_of(const struct etcd_error *error)
{
    switch (error->code) {
    case ETCD_CODE_PERMISSION_DENIED:
    case ETCD_CODE_UNAUTHENTICATED: return WEIR_EDENIED;
    case ETCD_CODE_INVALID_ARGUMENT:
    case ETCD_CODE_FAILED_PRECONDITION: return WEIR_EDENIED; /* no user, or authentication is not enabled */
    case ETCD_CODE_NOT_FOUND: return WEIR_ENOTFOUND;
    case ETCD_CODE_DEADLINE_EXCEEDED: return WEIR_ETIMEOUT;
    default: return WEIR_EUNREACHABLE;
    }
}

static bool is_for_another_endpoint(int rc)
{
    return rc == WEIR_EUNREACHABLE || rc == WEIR_ETIMEOUT;
}

/** The request to the endpoint that worked last, or to the next ones; what is said is of the last that was asked. */
static int post_somewhere(struct etcd *etcd, const char *path, struct etcd_error *error, struct weir_why *why)
{
    int rc = WEIR_EUNREACHABLE;
    for (size_t tried = 0; tried < etcd->endpoint_count; tried++) {
        const char *endpoint = etcd->endpoints[etcd->current];
        error->code = ETCD_CODE_OK;
        rc = post(etcd, endpoint, path, why);
        if (rc == 0 && etcd_reply_error(weir_buf_view(&etcd->answer), error))
            rc = weir_why_set(why, rc_of(error), "%s: %s", endpoint, error->message);
        if (!is_for_another_endpoint(rc)) return rc;
        etcd->current = (etcd->current + 1) % etcd->endpoint_count;
    }
    return rc;
}

static int authenticate(struct etcd *etcd, struct weir_why *why)
{
    struct weir_buf kept = etcd->request;
    struct etcd_error error;
    etcd->request = WEIR_BUF_INIT;
    etcd->token[0] = '\0';
    struct json_writer json = json_writer_of(&etcd->request);
    jsonw_begin_object(&json);
    jsonw_key_text(&json, "name", etcd->user);
    jsonw_key_text(&json, "password", etcd->password);
    jsonw_end_object(&json);
    int rc = post_somewhere(etcd, "/v3/auth/authenticate", &error, why);
    if (rc == 0 && etcd_reply_token(weir_buf_view(&etcd->answer), etcd->token) < 0)
        rc = weir_why_set(why, WEIR_EFORMAT, "%s: an answer without a token", etcd->endpoints[etcd->current]);
    if (etcd->request.data != NULL) explicit_bzero(etcd->request.data, etcd->request.capacity);
    weir_buf_fini(&etcd->request);
    weir_buf_clear(&etcd->answer);
    etcd->request = kept;
    return rc < 0 ? weir_why_prefix(why, rc, "user %s", etcd->user) : 0;
}

/** Has the token become too old? Invalid argument is what etcd says when rights have changed since it was given. */
static bool token_is_old(const struct etcd *etcd, const struct etcd_error *error)
{
    return etcd->user[0] != '\0' &&
           (error->code == ETCD_CODE_UNAUTHENTICATED || error->code == ETCD_CODE_INVALID_ARGUMENT);
}

static int ask(struct etcd *etcd, const char *path, struct weir_why *why)
{
    struct etcd_error error = {0};
    int rc = 0;
    if (etcd->user[0] != '\0' && etcd->token[0] == '\0') rc = authenticate(etcd, why);
    if (rc < 0) return rc;
    rc = post_somewhere(etcd, path, &error, why);
    if (rc == 0 || !token_is_old(etcd, &error)) return rc;
    rc = authenticate(etcd, why);
    return rc < 0 ? rc : post_somewhere(etcd, path, &error, why);
}

static int bad_answer(const struct etcd *etcd, int rc, struct weir_why *why)
{
    if (rc >= 0) return rc;
    return weir_why_set(why, rc, "%s: an answer that is none of etcd's, or too large: %s",
                        etcd->endpoints[etcd->current], weir_err_text(rc));
}

/* ---- requests ---- */

static void put_bytes(struct json_writer *json, const char *name, struct weir_view bytes)
{
    struct weir_buf text = WEIR_BUF_INIT;
    weir_base64_encode(bytes, &text);
    jsonw_key_text(json, name, weir_buf_cstr(&text));
    if (text.failed) json->out->failed = true;
    weir_buf_fini(&text);
}

static void put_int64(struct json_writer *json, const char *name, int64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, number);
    jsonw_key_text(json, name, text);
}

/** All keys that begin with the store's prefix and @below: from it to where its last byte is one more. */
static void put_prefix(const struct etcd *etcd, struct json_writer *json, const char *below)
{
    char key[PREFIX_MOST + WEIR_MAPSTORE_KEY_MOST];
    snprintf(key, sizeof key, "%s%s", etcd->prefix, below);
    put_bytes(json, "key", weir_view_text(key));
    key[strlen(key) - 1]++; /* never 0xff: keys are ASCII */
    put_bytes(json, "range_end", weir_view_text(key));
}

static void put_key(const struct etcd *etcd, struct json_writer *json, const char *name)
{
    char key[PREFIX_MOST + WEIR_MAPSTORE_KEY_MOST];
    snprintf(key, sizeof key, "%s%s", etcd->prefix, name);
    put_bytes(json, "key", weir_view_text(key));
}

static struct json_writer begin_request(struct weir_buf *request)
{
    weir_buf_clear(request);
    struct json_writer json = json_writer_of(request);
    jsonw_begin_object(&json);
    return json;
}

static int etcd_get(struct weir_mapstore *store, const char *prefix, bool stale, weir_mapstore_item_fn *fn, void *ctx,
                    int64_t *ret_revision, struct weir_why *why)
{
    struct etcd *etcd = (struct etcd *)store;
    struct json_writer json = begin_request(&etcd->request);
    put_prefix(etcd, &json, prefix);
    put_int64(&json, "limit", WEIR_MAPSTORE_KEYS_MOST);
    if (stale) jsonw_key_bool(&json, "serializable", true);
    jsonw_end_object(&json);
    int rc = ask(etcd, "/v3/kv/range", why);
    if (rc < 0) return rc;
    return bad_answer(etcd, etcd_reply_range(weir_buf_view(&etcd->answer), strlen(etcd->prefix), fn, ctx, ret_revision),
                      why);
}

static int etcd_cas(struct weir_mapstore *store, const char *key, int64_t revision, struct weir_view value,
                    int64_t lease, struct weir_why *why)
{
    struct etcd *etcd = (struct etcd *)store;
    bool held = false;
    struct json_writer json = begin_request(&etcd->request);
    jsonw_key(&json, "compare");
    jsonw_begin_array(&json);
    jsonw_begin_object(&json);
    put_key(etcd, &json, key);
    jsonw_key_text(&json, "result", "EQUAL");
    jsonw_key_text(&json, "target", revision == 0 ? "CREATE" : "MOD");
    put_int64(&json, revision == 0 ? "create_revision" : "mod_revision", revision);
    jsonw_end_object(&json);
    jsonw_end_array(&json);
    jsonw_key(&json, "success");
    jsonw_begin_array(&json);
    jsonw_begin_object(&json);
    jsonw_key(&json, "request_put");
    jsonw_begin_object(&json);
    put_key(etcd, &json, key);
    put_bytes(&json, "value", value);
    if (lease != 0) put_int64(&json, "lease", lease);
    jsonw_end_object(&json);
    jsonw_end_object(&json);
    jsonw_end_array(&json);
    jsonw_end_object(&json);
    int rc = ask(etcd, "/v3/kv/txn", why);
    if (rc == 0) rc = bad_answer(etcd, etcd_reply_txn(weir_buf_view(&etcd->answer), &held), why);
    if (rc == 0 && !held) rc = weir_why_set(why, WEIR_EEXIST, "%s was changed by somebody else", key);
    return rc;
}

static int etcd_lease(struct weir_mapstore *store, int64_t ttl_s, int64_t *lease_io, struct weir_why *why)
{
    struct etcd *etcd = (struct etcd *)store;
    bool is_new = *lease_io == 0;
    int64_t lease = 0, left_s = 0;
    struct json_writer json = begin_request(&etcd->request);
    put_int64(&json, is_new ? "TTL" : "ID", is_new ? ttl_s : *lease_io);
    jsonw_end_object(&json);
    int rc = ask(etcd, is_new ? "/v3/lease/grant" : "/v3/lease/keepalive", why);
    if (rc == 0) rc = bad_answer(etcd, etcd_reply_lease(weir_buf_view(&etcd->answer), &lease, &left_s), why);
    if (rc == 0 && left_s == 0) rc = weir_why_set(why, WEIR_ENOTFOUND, "the lease has ended");
    if (rc == 0) *lease_io = lease;
    return rc;
}

/* ---- watching ---- */

static size_t on_stream(char *data, size_t size, size_t count, void *ctx)
{
    struct stream *stream = ctx;
    if (stream->received.size + size * count > LINE_MOST) {
        stream->too_long = true;
        return 0;
    }
    weir_buf_append(&stream->received, data, size * count);
    return stream->received.failed ? 0 : size * count;
}

static void watch_close(struct etcd *etcd)
{
    struct stream *stream = &etcd->stream;
    if (stream->easy != NULL) {
        struct curl_slist *headers = NULL;
        curl_easy_getinfo(stream->easy, CURLINFO_PRIVATE, &headers);
        if (stream->open) curl_multi_remove_handle(etcd->multi, stream->easy);
        curl_easy_cleanup(stream->easy);
        curl_slist_free_all(headers);
    }
    stream->easy = NULL;
    stream->open = false;
    stream->too_long = false;
    weir_buf_clear(&stream->received);
}

static int watch_open(struct etcd *etcd, const char *prefix, int64_t from, struct weir_why *why)
{
    char url[PATH_MOST * 2];
    struct stream *stream = &etcd->stream;
    int rc = 0;
    if (etcd->user[0] != '\0' && etcd->token[0] == '\0') rc = authenticate(etcd, why);
    if (rc < 0) return rc;
    struct json_writer json = begin_request(&stream->request);
    jsonw_key(&json, "create_request");
    jsonw_begin_object(&json);
    put_prefix(etcd, &json, prefix);
    put_int64(&json, "start_revision", from);
    jsonw_end_object(&json);
    jsonw_end_object(&json);
    struct curl_slist *headers = make_headers(etcd, true);
    stream->easy = curl_easy_init();
    if (stream->easy == NULL || headers == NULL || stream->request.failed) {
        curl_slist_free_all(headers);
        watch_close(etcd);
        return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    }
    snprintf(url, sizeof url, "%s/v3/watch", etcd->endpoints[etcd->current]);
    set_common(etcd, stream->easy, url, headers, &stream->request);
    curl_easy_setopt(stream->easy, CURLOPT_PRIVATE, headers);
    curl_easy_setopt(stream->easy, CURLOPT_WRITEFUNCTION, on_stream);
    curl_easy_setopt(stream->easy, CURLOPT_WRITEDATA, stream);
    stream->open = curl_multi_add_handle(etcd->multi, stream->easy) == CURLM_OK;
    if (!stream->open) {
        watch_close(etcd);
        return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    }
    stream->from = from;
    snprintf(stream->prefix, sizeof stream->prefix, "%s", prefix);
    return 0;
}

/** What a line of the stream says that is an error. A refused token is forgotten, so that the next watch gets another. */
static int stream_error(struct etcd *etcd, const struct etcd_error *error, struct weir_why *why)
{
    int rc = weir_why_set(why, rc_of(error), "%s: %s", etcd->endpoints[etcd->current], error->message);
    if (error->code == ETCD_CODE_OUT_OF_RANGE) return WEIR_ENOTFOUND;
    if (!token_is_old(etcd, error)) return rc;
    etcd->token[0] = '\0';
    return WEIR_EUNREACHABLE;
}

/** All whole lines that have come. Returns how many events were in them. */
static int take_lines(struct etcd *etcd, weir_mapstore_item_fn *fn, void *ctx, struct weir_why *why)
{
    struct stream *stream = &etcd->stream;
    int given = 0, rc = 0;
    size_t done = 0;
    while (rc == 0 && done < stream->received.size) {
        uint8_t *begin = stream->received.data + done;
        uint8_t *end = memchr(begin, '\n', stream->received.size - done);
        if (end == NULL) break;
        struct weir_view line = weir_view_of(begin, (size_t)(end - begin));
        struct etcd_error error;
        int64_t revision = 0;
        done += line.size + 1;
        if (line.size == 0) continue;
        if (etcd_reply_error(line, &error)) {
            rc = stream_error(etcd, &error, why);
            break;
        }
        char reason[ETCD_REASON_BYTES] = "";
        int got = etcd_reply_watch(line, strlen(etcd->prefix), fn, ctx, &revision, reason);
        if (got == WEIR_ECANCELLED) {
            etcd->token[0] = '\0'; /* a token that is too old ends a watch so, and no code says it */
            got = WEIR_EUNREACHABLE;
        }
        if (got < 0)
            rc = weir_why_set(why, got, "%s: the watch has ended: %s", etcd->endpoints[etcd->current],
                              reason[0] != '\0' ? reason : weir_err_text(got));
        else
            given += got;
    }
    if (done > 0) memmove(stream->received.data, stream->received.data + done, stream->received.size - done);
    stream->received.size -= done;
    return rc < 0 ? rc : given;
}

/** Has the transfer ended? Then why. */
static int stream_end(struct etcd *etcd, struct weir_why *why)
{
    int left = 0;
    const CURLMsg *message = curl_multi_info_read(etcd->multi, &left);
    if (message == NULL || message->msg != CURLMSG_DONE) return 0;
    struct stream *stream = &etcd->stream;
    const char *endpoint = etcd->endpoints[etcd->current];
    struct etcd_error error;
    if (etcd_reply_error(weir_buf_view(&stream->received), &error)) return stream_error(etcd, &error, why);
    if (stream->received.failed) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    if (stream->too_long)
        return weir_why_set(why, WEIR_ELIMIT, "%s: a change of more than %d bytes", endpoint, LINE_MOST);
    CURLcode code = message->data.result;
    return weir_why_set(why, WEIR_EUNREACHABLE, "%s: the watch has ended: %s", endpoint,
                        code == CURLE_OK ? "the stream was closed" : curl_easy_strerror(code));
}

static int watch_step(struct etcd *etcd, weir_mapstore_item_fn *fn, void *ctx, struct weir_why *why)
{
    int running = 0;
    if (curl_multi_perform(etcd->multi, &running) != CURLM_OK)
        return weir_why_set(why, WEIR_EIO, "the watch cannot go on");
    int given = take_lines(etcd, fn, ctx, why);
    if (given != 0) return given;
    return stream_end(etcd, why);
}

static int etcd_watch(struct weir_mapstore *store, const char *prefix, int64_t from, int64_t wait_ms,
                      weir_mapstore_item_fn *fn, void *ctx, struct weir_why *why)
{
    struct etcd *etcd = (struct etcd *)store;
    struct stream *stream = &etcd->stream;
    if (stream->open && (stream->from != from || strcmp(stream->prefix, prefix) != 0)) watch_close(etcd);
    int rc = stream->open ? 0 : watch_open(etcd, prefix, from, why);
    int64_t until_mono_ms = weir_mono_ms() + wait_ms;
    while (rc == 0) {
        rc = watch_step(etcd, fn, ctx, why);
        int64_t left_ms = until_mono_ms - weir_mono_ms();
        if (rc != 0 || left_ms <= 0) break;
        int ready = 0;
        if (curl_multi_poll(etcd->multi, NULL, 0, (int)left_ms, &ready) != CURLM_OK) rc = WEIR_EIO;
        if (ready == 0 && rc == 0) { /* woken, or the time is up */
            rc = watch_step(etcd, fn, ctx, why);
            break;
        }
    }
    if (rc < 0) {
        watch_close(etcd);
        if (is_for_another_endpoint(rc)) etcd->current = (etcd->current + 1) % etcd->endpoint_count;
    }
    return rc;
}

static void etcd_wake(struct weir_mapstore *store)
{
    curl_multi_wakeup(((struct etcd *)store)->multi);
}

/* ---- life ---- */

static void etcd_destroy(struct weir_mapstore *store)
{
    struct etcd *etcd = (struct etcd *)store;
    watch_close(etcd);
    weir_buf_fini(&etcd->stream.request);
    weir_buf_fini(&etcd->stream.received);
    if (etcd->multi != NULL) curl_multi_cleanup(etcd->multi);
    if (etcd->easy != NULL) curl_easy_cleanup(etcd->easy);
    for (size_t i = 0; i < etcd->endpoint_count; i++)
        weir_free(etcd->endpoints[i]);
    if (etcd->password != NULL) explicit_bzero(etcd->password, strlen(etcd->password));
    explicit_bzero(etcd->token, sizeof etcd->token);
    weir_free(etcd->password);
    weir_free(etcd->user);
    weir_free(etcd->ca);
    weir_buf_fini(&etcd->request);
    weir_buf_fini(&etcd->answer);
    weir_free(etcd);
}

static const struct weir_mapstore_ops etcd_ops = {
    .name = "etcd",
    .says_who_lives = true,
    .get = etcd_get,
    .cas = etcd_cas,
    .watch = etcd_watch,
    .lease = etcd_lease,
    .wake = etcd_wake,
    .destroy = etcd_destroy,
};

static bool is_url(const char *text)
{
    const char *host = strncmp(text, "https://", 8) == 0 ? text + 8 : strncmp(text, "http://", 7) == 0 ? text + 7 : "";
    return host[0] != '\0' && strpbrk(host, "/?#@ ") == NULL && strlen(text) < PATH_MOST;
}

/** A password goes over TLS, or stays on this host. */
static bool is_private(const char *endpoint)
{
    return strncmp(endpoint, "https://", 8) == 0 || strncmp(endpoint, "http://127.", 11) == 0 ||
           strncmp(endpoint, "http://[::1]", 12) == 0 || strncmp(endpoint, "http://localhost", 16) == 0;
}

static int check(const struct etcd_conf *conf, struct weir_why *why)
{
    size_t size = strlen(conf->prefix);
    if (conf->endpoint_count == 0 || conf->endpoint_count > ETCD_ENDPOINTS_MOST)
        return weir_why_set(why, WEIR_EPARAM, "etcd needs 1 to %d endpoints", ETCD_ENDPOINTS_MOST);
    for (size_t i = 0; i < conf->endpoint_count; i++) {
        if (!is_url(conf->endpoints[i]))
            return weir_why_set(why, WEIR_EPARAM, "etcd: \"%.80s\" is not https://HOST:PORT or http://HOST:PORT",
                                conf->endpoints[i]);
        if (conf->user[0] != '\0' && !is_private(conf->endpoints[i]))
            return weir_why_set(why, WEIR_EPARAM, "etcd: %.80s: a password goes over https only, or stays on this host",
                                conf->endpoints[i]);
    }
    bool sound = size >= 2 && size < PREFIX_MOST && conf->prefix[0] == '/' && conf->prefix[size - 1] == '/';
    for (size_t i = 0; sound && i < size; i++)
        sound = conf->prefix[i] > ' ' && conf->prefix[i] < '~';
    if (!sound) return weir_why_set(why, WEIR_EPARAM, "etcd: the prefix \"%.80s\" is not /.../", conf->prefix);
    return 0;
}

static int take_conf(struct etcd *etcd, const struct etcd_conf *conf)
{
    for (size_t i = 0; i < conf->endpoint_count; i++) {
        etcd->endpoints[i] = weir_strdup(conf->endpoints[i]);
        if (etcd->endpoints[i] == NULL) return WEIR_ENOMEM;
        etcd->endpoint_count++;
    }
    snprintf(etcd->prefix, sizeof etcd->prefix, "%s", conf->prefix);
    etcd->user = weir_strdup(conf->user);
    etcd->password = weir_strdup(conf->password);
    etcd->ca = weir_strdup(conf->ca);
    etcd->timeout_ms = conf->timeout_ms;
    etcd->easy = curl_easy_init();
    etcd->multi = curl_multi_init();
    bool whole =
        etcd->user != NULL && etcd->password != NULL && etcd->ca != NULL && etcd->easy != NULL && etcd->multi != NULL;
    return whole ? 0 : WEIR_ENOMEM;
}

static void start_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

int etcd_mapstore_create(const struct etcd_conf *conf, struct weir_mapstore **ret, struct weir_why *why)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int rc = check(conf, why);
    if (rc < 0) return rc;
    pthread_once(&once, start_curl);
    struct etcd *etcd = weir_calloc(1, sizeof *etcd);
    if (etcd == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    etcd->store.ops = &etcd_ops;
    rc = take_conf(etcd, conf);
    if (rc < 0) {
        etcd_destroy(&etcd->store);
        return weir_why_set(why, rc, "out of memory");
    }
    *ret = &etcd->store;
    return 0;
}
