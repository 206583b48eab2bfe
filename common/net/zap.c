#include "common/net/zap.h"
#include "common/base/thread.h"

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/net/net.h"
#include "common/net/zap_request.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <zmq.h>

enum { REFUSALS_LOGGED_PER_SECOND = 5, KEY_SHOWN = 8 };

struct weir_zap {
    struct weir_net *net;
    struct weir_zap_rule rules[WEIR_ZAP_RULES_MOST];
    size_t rule_count;
    _Atomic uint64_t counts[WEIR_ZAP_VERDICTS];
    struct weir_log_limit limit; /* the handler's thread only */

    pthread_mutex_t lock; /* of the two below: swapped by others, read by the handler's thread once a handshake */
    struct weir_allow *allow;
    char test_key[WEIR_KEY_TEXT]; /* of a self-test that is going on: neither counted nor logged */

    bool is_running;
    pthread_t thread;
    void *handler;  /* REP, the thread's */
    void *stopping; /* PAIR, the thread's end */
    void *stop;     /* PAIR, ours */
};

static const char *const verdict_name[WEIR_ZAP_VERDICTS] = {"accepted", "unknown_key", "wrong_role", "malformed"};

const char *weir_zap_verdict_name(enum weir_zap_verdict verdict)
{
    return verdict < WEIR_ZAP_VERDICTS ? verdict_name[verdict] : "unknown";
}

bool weir_zap_knows(const struct weir_zap *zap, const char *domain)
{
    for (size_t i = 0; i < zap->rule_count; i++) {
        if (strcmp(zap->rules[i].domain, domain) == 0) return true;
    }
    return false;
}

uint64_t weir_zap_count(const struct weir_zap *zap, enum weir_zap_verdict verdict)
{
    return atomic_load_explicit(&zap->counts[verdict], memory_order_relaxed);
}

/** The handler's view of things for one request. */
static struct weir_allow *current_allow(struct weir_zap *zap, char test_key[WEIR_KEY_TEXT])
{
    pthread_mutex_lock(&zap->lock);
    struct weir_allow *allow = weir_allow_share(zap->allow);
    memcpy(test_key, zap->test_key, WEIR_KEY_TEXT);
    pthread_mutex_unlock(&zap->lock);
    return allow;
}

static void note(struct weir_zap *zap, const struct weir_zap_request *request, enum weir_zap_verdict verdict,
                 const char *test_key)
{
    if (test_key[0] != '\0' && strcmp(request->key, test_key) == 0) return;
    atomic_fetch_add_explicit(&zap->counts[verdict], 1, memory_order_relaxed);
    uint64_t held_back = 0;
    if (verdict == WEIR_ZAP_ACCEPTED ||
        !weir_log_allowed(&zap->limit, weir_mono_ms(), REFUSALS_LOGGED_PER_SECOND, &held_back))
        return;
    weir_log(WEIR_LOG_WARN, "zap.refused", "listener=%s address=%s key=%.*s... reason=%s held_back=%llu",
             request->domain, request->address, KEY_SHOWN, request->key, weir_zap_verdict_name(verdict),
             (unsigned long long)held_back);
}

/** Append one property as ZMTP has it: a byte of length and a name, four bytes of length and a value. */
static void add_property(struct weir_buf *buf, const char *name, const char *value)
{
    weir_buf_u8(buf, (uint8_t)strlen(name));
    weir_buf_text(buf, name);
    weir_buf_u32be(buf, (uint32_t)strlen(value));
    weir_buf_text(buf, value);
}

static void send_part(void *socket, struct weir_view part, bool more)
{
    (void)zmq_send(socket, part.data, part.size, more ? ZMQ_SNDMORE : 0);
}

/** @entry: who gets in, or NULL. Without memory for its properties, nobody does. */
static void answer(void *handler, struct weir_view id, const struct weir_allow_entry *entry)
{
    struct weir_buf properties = WEIR_BUF_INIT;
    if (entry != NULL) add_property(&properties, WEIR_ZAP_KEY_PROPERTY, entry->key);
    bool accepted = entry != NULL && !properties.failed;
    send_part(handler, weir_view_text("1.0"), true);
    send_part(handler, id, true);
    send_part(handler, weir_view_text(accepted ? "200" : "400"), true);
    send_part(handler, weir_view_text(accepted ? "OK" : "refused"), true);
    send_part(handler, weir_view_text(accepted ? entry->name : ""), true);
    send_part(handler, accepted ? weir_buf_view(&properties) : weir_view_text(""), false);
    weir_buf_fini(&properties);
}

static void judge_and_answer(struct weir_zap *zap, const struct weir_view *frames, uint32_t count)
{
    char test_key[WEIR_KEY_TEXT];
    struct weir_allow *allow = current_allow(zap, test_key);
    struct weir_zap_request request = {.id = weir_view_text("")};
    const struct weir_allow_entry *entry = NULL;
    enum weir_zap_verdict verdict = WEIR_ZAP_MALFORMED;
    if (weir_zap_request_read(frames, count, &request) == 0)
        verdict = weir_zap_judge(&request, zap->rules, zap->rule_count, allow, &entry);
    note(zap, &request, verdict, test_key);
    answer(zap->handler, request.id, verdict == WEIR_ZAP_ACCEPTED ? entry : NULL);
    weir_allow_destroy(allow);
}

static void serve_one(struct weir_zap *zap)
{
    enum { PARTS = WEIR_ZAP_REQUEST_FRAMES + 1 }; /* one more, to see a request that is too long */
    zmq_msg_t parts[PARTS];
    struct weir_view frames[PARTS];
    uint32_t count = 0;
    bool more = true;
    while (more && count < PARTS) {
        zmq_msg_init(&parts[count]);
        if (zmq_msg_recv(&parts[count], zap->handler, ZMQ_DONTWAIT) < 0) {
            zmq_msg_close(&parts[count]);
            break;
        }
        frames[count] = weir_view_of(zmq_msg_data(&parts[count]), zmq_msg_size(&parts[count]));
        more = zmq_msg_more(&parts[count]) != 0;
        count++;
    }
    while (more && count > 0) {
        zmq_msg_t rest;
        zmq_msg_init(&rest);
        more = zmq_msg_recv(&rest, zap->handler, ZMQ_DONTWAIT) >= 0 && zmq_msg_more(&rest) != 0;
        zmq_msg_close(&rest);
    }
    if (count > 0) judge_and_answer(zap, frames, count);
    while (count > 0)
        zmq_msg_close(&parts[--count]);
}

static void *serve(void *arg)
{
    struct weir_zap *zap = arg;
    zmq_pollitem_t items[] = {{.socket = zap->handler, .events = ZMQ_POLLIN},
                              {.socket = zap->stopping, .events = ZMQ_POLLIN}};
    for (;;) {
        int rc = zmq_poll(items, 2, -1);
        if (rc < 0 && errno != EINTR) break;
        if (rc > 0 && items[1].revents != 0) break;
        if (rc > 0 && items[0].revents != 0) serve_one(zap);
    }
    zmq_close(zap->handler);
    zmq_close(zap->stopping);
    return NULL;
}

/** Bind the handler's address and the pair that stops it; both in place before any server can exist. */
static int open_sockets(struct weir_zap *zap, struct weir_why *why)
{
    static const char stop_endpoint[] = "inproc://weir.zap.stop";
    void *context = zap->net->context;
    zap->handler = zmq_socket(context, ZMQ_REP);
    zap->stopping = zmq_socket(context, ZMQ_PAIR);
    zap->stop = zmq_socket(context, ZMQ_PAIR);
    if (zap->handler == NULL || zap->stopping == NULL || zap->stop == NULL)
        return weir_why_set(why, WEIR_ENOMEM, "cannot make the sockets of the ZAP handler: %s", zmq_strerror(errno));
    int linger = 0;
    zmq_setsockopt(zap->stop, ZMQ_LINGER, &linger, sizeof linger);
    if (zmq_bind(zap->handler, "inproc://zeromq.zap.01") < 0 || zmq_bind(zap->stopping, stop_endpoint) < 0 ||
        zmq_connect(zap->stop, stop_endpoint) < 0)
        return weir_why_set(why, WEIR_EIO, "cannot bind the ZAP handler: %s", zmq_strerror(errno));
    return 0;
}

static int start_thread(struct weir_zap *zap, struct weir_why *why)
{
    int error = weir_thread_start(&zap->thread, "zap", serve, zap);
    if (error != 0) return weir_why_set(why, WEIR_ENOMEM, "cannot start the ZAP handler: %s", strerror(error));
    zap->is_running = true;
    return 0;
}

int weir_zap_start(struct weir_net *net, const struct weir_zap_rule *rules, size_t count, struct weir_allow *allow,
                   struct weir_zap **ret, struct weir_why *why)
{
    if (net->zap != NULL) return weir_why_set(why, WEIR_EEXIST, "a ZAP handler runs already");
    if (count == 0 || count > WEIR_ZAP_RULES_MOST)
        return weir_why_set(why, WEIR_EPARAM, "a ZAP handler needs 1 to %d rules", WEIR_ZAP_RULES_MOST);
    int rc = WEIR_ENOMEM;
    struct weir_zap *zap = weir_calloc(1, sizeof *zap);
    if (zap == NULL) return rc;
    zap->net = net;
    zap->allow = weir_allow_share(allow);
    memcpy(zap->rules, rules, count * sizeof *rules);
    zap->rule_count = count;
    pthread_mutex_init(&zap->lock, NULL);

    rc = open_sockets(zap, why);
    if (rc < 0) goto fail;

    rc = start_thread(zap, why);
    if (rc < 0) goto fail;

    net->zap = zap;
    *ret = zap;
    return 0;

fail:
    weir_zap_stop(zap);
    return rc;
}

void weir_zap_stop(struct weir_zap *zap)
{
    if (zap == NULL) return;
    if (zap->is_running) {
        (void)zmq_send(zap->stop, "", 0, 0);
        pthread_join(zap->thread, NULL);
        zap->net->zap = NULL;
    } else {
        if (zap->handler != NULL) zmq_close(zap->handler);
        if (zap->stopping != NULL) zmq_close(zap->stopping);
    }
    if (zap->stop != NULL) zmq_close(zap->stop);
    weir_allow_destroy(zap->allow);
    pthread_mutex_destroy(&zap->lock);
    weir_free(zap);
}

void weir_zap_swap(struct weir_zap *zap, struct weir_allow *allow)
{
    weir_allow_share(allow);
    pthread_mutex_lock(&zap->lock);
    struct weir_allow *before = zap->allow;
    zap->allow = allow;
    pthread_mutex_unlock(&zap->lock);
    weir_allow_destroy(before);
}

static void set_test_key(struct weir_zap *zap, const char *key)
{
    pthread_mutex_lock(&zap->lock);
    memset(zap->test_key, 0, sizeof zap->test_key);
    memcpy(zap->test_key, key, strlen(key));
    pthread_mutex_unlock(&zap->lock);
}

/** Wait until the client was let in or refused. */
static int await_refusal(struct weir_socket *client, const char *domain, int64_t timeout_ms, struct weir_why *why)
{
    int64_t until_mono_ms = weir_mono_ms() + timeout_ms;
    while (weir_mono_ms() < until_mono_ms) {
        const struct weir_socket_stats *stats = weir_socket_stats(client);
        if (stats->connected > 0) {
            return weir_why_set(why, WEIR_EDENIED, "a key that nobody knows was let in at \"%s\": refusing to run",
                                domain);
        }
        if (stats->refused > 0) return 0;
        (void)zmq_poll(NULL, 0, 2);
    }
    return weir_why_set(why, WEIR_ETIMEOUT, "nobody decided over a key at \"%s\" within %lld ms: refusing to run",
                        domain, (long long)timeout_ms);
}

static int test_domain(struct weir_zap *zap, const char *domain, const struct weir_keys *server_keys,
                       const struct weir_keys *stranger, int64_t timeout_ms, struct weir_why *why)
{
    enum { BYTES = 1024 };
    struct weir_socket *server = NULL, *client = NULL;
    struct weir_server_conf server_conf = {
        .endpoint = "tcp://127.0.0.1:0", .domain = domain, .keys = server_keys, .max_bytes = BYTES};
    int rc = weir_server_create(zap->net, &server_conf, &server, why);
    if (rc < 0) goto done;
    struct weir_client_conf client_conf = {.endpoint = weir_socket_endpoint(server),
                                           .server_key = server_keys->public_key,
                                           .keys = stranger,
                                           .max_bytes = BYTES};
    rc = weir_client_create(zap->net, &client_conf, &client, why);
    if (rc < 0) goto done;
    rc = await_refusal(client, domain, timeout_ms, why);

done:
    weir_socket_destroy(client);
    weir_socket_destroy(server);
    return rc;
}

int weir_zap_self_test(struct weir_zap *zap, int64_t timeout_ms, struct weir_why *why)
{
    struct weir_keys server, stranger;
    int rc = weir_keys_make(&server, why);
    if (rc == 0) rc = weir_keys_make(&stranger, why);
    if (rc < 0) return rc;
    set_test_key(zap, stranger.public_key);
    for (size_t i = 0; i < zap->rule_count && rc == 0; i++)
        rc = test_domain(zap, zap->rules[i].domain, &server, &stranger, timeout_ms, why);
    set_test_key(zap, "");
    weir_keys_wipe(&server);
    weir_keys_wipe(&stranger);
    return rc;
}
