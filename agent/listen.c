#include "agent/listen.h"

#include "agent/udp.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/mem.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
    BURST = 64,
    DATAGRAM_BYTES = 65536,
    /* Datagrams lie apart by this much: at a power of two they would all want the same lines of the cache. */
    STRIDE_BYTES = DATAGRAM_BYTES + 2048 + 64,
    LOADED = 4, /* a burst of so many says that more are on their way */
    LINGER_LEAST_US = 20,
    TICK_MS = 1000,
    FOLD_MS = 100,
    REFUSED_LINES_PER_SECOND = 5,
    ALLOW_CACHE = 1024,
    DRAIN_BURSTS_MOST = 4096,
};

/** Whether an exporter may speak, remembered. */
struct verdict {
    struct weir_ip ip;
    bool known;
    bool allowed;
};

/** What one thread owns. Others look only at what the lock guards, and at the atomics. */
struct worker {
    struct agent_listener *listener;
    uint32_t index;
    pthread_t thread;
    bool started;
    int *sockets;    /* one per endpoint */
    uint32_t *drops; /* of each socket, as last read */
    struct agent_gather *gather;
    struct agent_decoder *decoder;
    uint8_t *memory; /* BURST datagrams */
    struct mmsghdr messages[BURST];
    struct iovec parts[BURST];
    struct sockaddr_storage from[BURST];
    struct verdict verdicts[ALLOW_CACHE];
    uint32_t linger_us;
    struct weir_log_limit refused_log;
    uint64_t refused_exporters;
    uint64_t folded[AGENT_INPUT_COUNT]; /* counts that the metrics have */
    int64_t next_fold_mono_ms;
    int64_t next_tick_mono_ms;

    pthread_mutex_t lock;
    struct agent_exporter_stat *stats;
    size_t stat_count;
    size_t stat_capacity;
};

struct agent_listener {
    struct agent_listen_conf conf;
    struct weir_metrics *metrics;
    size_t first_row;
    struct agent_pool *pool;
    struct agent_endpoint *endpoints;
    _Atomic uint64_t *drops; /* by endpoint */
    struct worker **workers;
    atomic_bool stopping;
    int stop_fd; /* becomes readable then, to end the sleep of the threads */
};

/* ---- one burst ---- */

static bool allowed(struct worker *worker, const struct weir_ip *ip)
{
    const struct agent_listen_conf *conf = &worker->listener->conf;
    if (conf->allow_count == 0) return true;
    struct verdict *verdict = &worker->verdicts[weir_hash64(ip, sizeof *ip, 0) % ALLOW_CACHE];
    if (verdict->known && weir_ip_equal(&verdict->ip, ip)) return verdict->allowed;

    *verdict = (struct verdict){.ip = *ip, .known = true};
    for (size_t i = 0; i < conf->allow_count && !verdict->allowed; i++)
        verdict->allowed = weir_prefix_contains(&conf->allow[i], ip);
    return verdict->allowed;
}

static void log_refused(struct worker *worker, const struct weir_ip *ip, const char *reason, const char *text,
                        size_t bytes)
{
    uint64_t held_back = 0;
    if (!weir_log_allowed(&worker->refused_log, weir_mono_ms(), REFUSED_LINES_PER_SECOND, &held_back)) return;
    char address[WEIR_IP_TEXT];
    char quoted[160];
    weir_log(WEIR_LOG_WARN, "decode.refused", "exporter=%s reason=%s bytes=%zu meaning=%s held_back=%llu",
             weir_ip_format(ip, address), reason, bytes, weir_log_quote(text, quoted, sizeof quoted),
             (unsigned long long)held_back);
}

static void take_datagram(struct worker *worker, const struct sockaddr_storage *from, struct weir_view datagram,
                          int64_t received_ms)
{
    struct agent_peer peer = {agent_sender_ip(from), agent_sender_port(from)};
    if (!allowed(worker, &peer.ip)) {
        worker->refused_exporters++;
        log_refused(worker, &peer.ip, "exporter", "the allow-list does not name this exporter", datagram.size);
        return;
    }
    enum agent_refusal refusal = agent_decode(worker->decoder, &peer, datagram, received_ms);
    if (refusal != AGENT_REFUSAL_NONE)
        log_refused(worker, &peer.ip, agent_refusal_name(refusal), agent_refusal_text(refusal), datagram.size);
}

/** Read and decode up to BURST datagrams; returns how many there were. */
static int take_burst(struct worker *worker, int fd)
{
    int count = recvmmsg(fd, worker->messages, BURST, MSG_DONTWAIT, NULL);
    if (count <= 0) return 0;
    int64_t received_ms = weir_wall_ms();
    for (int i = 0; i < count; i++) {
        struct mmsghdr *message = &worker->messages[i];
        take_datagram(worker, &worker->from[i], weir_view_of(worker->parts[i].iov_base, message->msg_len), received_ms);
        message->msg_hdr.msg_namelen = sizeof worker->from[i];
    }
    return count;
}

/**
 * Wait for more datagrams to come, so that fewer calls bring them: under load that halves the cost of each. The wait
 * follows the rate: as long as it takes for half a burst to come, at most what the configuration allows.
 */
static void linger(struct worker *worker, int burst)
{
    uint64_t most_us = worker->listener->conf.burst_linger_us;
    uint64_t wanted_us = (uint64_t)worker->linger_us * (BURST / 2) / (uint64_t)burst;
    uint64_t next_us = (worker->linger_us + wanted_us) / 2;
    if (next_us < LINGER_LEAST_US) next_us = LINGER_LEAST_US;
    worker->linger_us = (uint32_t)(next_us < most_us ? next_us : most_us);
    struct timespec span = {.tv_nsec = (long)worker->linger_us * 1000};
    if (span.tv_nsec > 0) nanosleep(&span, NULL);
}

/* ---- counters ---- */

static void read_drops(struct worker *worker)
{
    struct agent_listener *listener = worker->listener;
    for (size_t i = 0; i < listener->conf.endpoint_count; i++) {
        uint32_t now = agent_udp_drops(worker->sockets[i]);
        uint32_t more = now - worker->drops[i]; /* modular */
        if (more == 0) continue;
        worker->drops[i] = now;
        atomic_fetch_add_explicit(&listener->drops[i], more, memory_order_relaxed);
        agent_decoder_socket_drops(worker->decoder, more);
        weir_log(WEIR_LOG_WARN, "listen.drops", "port=%d datagrams=%u", agent_endpoint_port(&listener->endpoints[i]),
                 more);
    }
}

/** Add what was counted since the last time to the program's metrics. */
static void fold(struct worker *worker)
{
    struct agent_listener *listener = worker->listener;
    if (listener->metrics == NULL) return;
    struct agent_decode_counts now = *agent_decoder_counts(worker->decoder);
    const struct agent_gather_counts *gathered = agent_gather_counted(worker->gather);
    now.n[AGENT_INPUT_refused_exporters] = worker->refused_exporters;
    now.n[AGENT_INPUT_gather_sink_full] = gathered->dropped_sink_full;
    now.n[AGENT_INPUT_gather_no_memory] = gathered->dropped_no_memory;
    now.n[AGENT_INPUT_batches_full] = gathered->batches_full;
    now.n[AGENT_INPUT_batches_linger] = gathered->batches_linger;
    now.n[AGENT_INPUT_batches_memory] = gathered->batches_memory;
    now.n[AGENT_INPUT_batches_detached] = gathered->batches_detached;
    for (size_t i = 0; i < AGENT_INPUT_COUNT; i++) {
        if (now.n[i] == worker->folded[i]) continue;
        weir_metrics_add(listener->metrics, listener->first_row + i, now.n[i] - worker->folded[i]);
        worker->folded[i] = now.n[i];
    }
}

/** Write down what is known of the exporters, for other threads. */
static void publish(struct worker *worker)
{
    pthread_mutex_lock(&worker->lock);
    size_t count = agent_decoder_exporters(worker->decoder, worker->stats, worker->stat_capacity);
    if (count > worker->stat_capacity) {
        struct agent_exporter_stat *more = weir_realloc(worker->stats, (count + count / 4) * sizeof *more);
        if (more != NULL) {
            worker->stats = more;
            worker->stat_capacity = count + count / 4;
            count = agent_decoder_exporters(worker->decoder, worker->stats, worker->stat_capacity);
        }
    }
    worker->stat_count = count < worker->stat_capacity ? count : worker->stat_capacity;
    pthread_mutex_unlock(&worker->lock);
}

/** Everything that time brings about. Returns how long to sleep at most, in ms. */
static int on_time(struct worker *worker, bool idle)
{
    int64_t now_mono_ms = weir_mono_ms();
    int64_t due_ms = agent_gather_tick(worker->gather, now_mono_ms);
    if (now_mono_ms >= worker->next_tick_mono_ms) {
        worker->next_tick_mono_ms = now_mono_ms + TICK_MS;
        read_drops(worker);
        agent_decoder_tick(worker->decoder, weir_wall_ms());
        publish(worker);
        worker->next_fold_mono_ms = now_mono_ms;
    }
    if (idle || now_mono_ms >= worker->next_fold_mono_ms) {
        worker->next_fold_mono_ms = now_mono_ms + FOLD_MS;
        fold(worker);
    }
    int64_t tick_ms = worker->next_tick_mono_ms - now_mono_ms;
    return (int)(due_ms >= 0 && due_ms < tick_ms ? due_ms : tick_ms);
}

/* ---- the thread ---- */

/** Read all sockets once; returns the largest burst. */
static int take_all(struct worker *worker)
{
    int most = 0;
    for (size_t i = 0; i < worker->listener->conf.endpoint_count; i++) {
        int count = take_burst(worker, worker->sockets[i]);
        if (count > most) most = count;
    }
    return most;
}

static void *run(void *ctx)
{
    struct worker *worker = ctx;
    size_t sockets = worker->listener->conf.endpoint_count;
    struct pollfd *polled = weir_calloc(sockets + 1, sizeof *polled);
    if (polled == NULL) return NULL;
    for (size_t i = 0; i < sockets; i++)
        polled[i] = (struct pollfd){.fd = worker->sockets[i], .events = POLLIN};
    polled[sockets] = (struct pollfd){.fd = worker->listener->stop_fd, .events = POLLIN};
    prctl(PR_SET_TIMERSLACK, 1000ul); /* 1 us: a linger of 250 us is not to become 300 */

    while (!atomic_load_explicit(&worker->listener->stopping, memory_order_relaxed)) {
        int sleep_ms = on_time(worker, true);
        poll(polled, sockets + 1, sleep_ms);
        for (int burst = take_all(worker); burst >= LOADED; burst = take_all(worker)) {
            on_time(worker, false);
            if (burst < BURST) linger(worker, burst);
            if (atomic_load_explicit(&worker->listener->stopping, memory_order_relaxed)) break;
        }
    }
    for (int i = 0; i < DRAIN_BURSTS_MOST && take_all(worker) > 0; i++)
        on_time(worker, false);
    read_drops(worker);
    agent_gather_flush(worker->gather);
    fold(worker);
    publish(worker);
    weir_free(polled);
    return NULL;
}

/* ---- life ---- */

static void worker_destroy(struct worker *worker)
{
    if (worker == NULL) return;
    agent_decoder_destroy(worker->decoder);
    agent_gather_destroy(worker->gather);
    for (size_t i = 0; worker->sockets != NULL && i < worker->listener->conf.endpoint_count; i++) {
        if (worker->sockets[i] >= 0) close(worker->sockets[i]);
    }
    pthread_mutex_destroy(&worker->lock);
    weir_free(worker->sockets);
    weir_free(worker->drops);
    weir_free(worker->memory);
    weir_free(worker->stats);
    weir_free(worker);
}

static void point_messages(struct worker *worker)
{
    for (int i = 0; i < BURST; i++) {
        worker->parts[i] = (struct iovec){worker->memory + (size_t)i * STRIDE_BYTES, DATAGRAM_BYTES};
        worker->messages[i].msg_hdr = (struct msghdr){.msg_name = &worker->from[i],
                                                      .msg_namelen = sizeof worker->from[i],
                                                      .msg_iov = &worker->parts[i],
                                                      .msg_iovlen = 1};
    }
}

static int worker_create(struct agent_listener *listener, uint32_t index, struct agent_sink sink, struct worker **ret)
{
    int rc = WEIR_ENOMEM;
    size_t sockets = listener->conf.endpoint_count;
    struct worker *worker = weir_calloc(1, sizeof *worker);
    if (worker == NULL) return WEIR_ENOMEM;
    pthread_mutex_init(&worker->lock, NULL);
    worker->listener = listener;
    worker->index = index;
    worker->sockets = weir_malloc(sockets * sizeof *worker->sockets);
    if (worker->sockets == NULL) goto fail;
    for (size_t i = 0; i < sockets; i++)
        worker->sockets[i] = -1;
    worker->drops = weir_calloc(sockets, sizeof *worker->drops);
    if (worker->drops == NULL) goto fail;
    worker->memory = weir_malloc((size_t)BURST * STRIDE_BYTES);
    if (worker->memory == NULL) goto fail;
    point_messages(worker);

    rc = agent_gather_create(&listener->conf.gather, listener->pool, sink, &worker->gather);
    if (rc < 0) goto fail;
    rc = agent_decoder_create(&listener->conf.decoder, worker->gather, &worker->decoder);
    if (rc < 0) goto fail;
    *ret = worker;
    return 0;

fail:
    worker_destroy(worker);
    return rc;
}

static void log_bound(const struct agent_listener *listener, size_t index, size_t got_bytes)
{
    const struct agent_endpoint *endpoint = &listener->endpoints[index];
    struct weir_ip ip = agent_sender_ip(&endpoint->address);
    char address[WEIR_IP_TEXT];
    weir_ip_format(&ip, address);
    weir_log(WEIR_LOG_INFO, "listen.bound", "address=%s port=%d threads=%u buffer_bytes=%zu", address,
             agent_endpoint_port(endpoint), listener->conf.threads, got_bytes);
    if (got_bytes < listener->conf.receive_buffer_bytes) {
        weir_log(WEIR_LOG_WARN, "listen.buffer",
                 "port=%d asked_bytes=%zu got_bytes=%zu advice=\"raise net.core.rmem_max, or run with CAP_NET_ADMIN\"",
                 agent_endpoint_port(endpoint), listener->conf.receive_buffer_bytes, got_bytes);
    }
}

/** A socket per thread for endpoint @index, in the order of the threads, which is the order that steering counts in. */
static int bind_endpoint(struct agent_listener *listener, size_t index, bool only_v6, struct weir_why *why)
{
    struct agent_udp_conf conf = {.shared = listener->conf.threads > 1,
                                  .only_v6 = only_v6,
                                  .receive_buffer_bytes = listener->conf.receive_buffer_bytes};
    struct agent_endpoint *endpoint = &listener->endpoints[index];
    size_t got_bytes = 0;
    int rc = conf.shared && agent_endpoint_port(endpoint) != 0 ? agent_udp_probe(endpoint, &conf, why) : 0;
    for (uint32_t i = 0; rc >= 0 && i < listener->conf.threads; i++) {
        rc = agent_udp_open(endpoint, &conf, &got_bytes, why);
        if (rc >= 0) listener->workers[i]->sockets[index] = rc;
    }
    if (rc < 0) return rc;
    if (conf.shared) {
        rc = agent_udp_steer(listener->workers[0]->sockets[index], listener->conf.threads, why);
        if (rc < 0) return rc;
    }
    log_bound(listener, index, got_bytes);
    return 0;
}

static int parse_endpoints(struct agent_listener *listener, const char *const *texts, bool *only_v6,
                           struct weir_why *why)
{
    *only_v6 = false;
    for (size_t i = 0; i < listener->conf.endpoint_count; i++) {
        int rc = agent_endpoint_parse(texts[i], &listener->endpoints[i], why);
        if (rc < 0) return rc;
        *only_v6 = *only_v6 || agent_endpoint_is_v4(&listener->endpoints[i]);
    }
    return 0;
}

int agent_listener_create(const struct agent_listen_conf *conf, struct agent_sink sink, struct weir_metrics *metrics,
                          size_t first_row, struct agent_listener **ret, struct weir_why *why)
{
    assert(conf->threads >= 1 && conf->threads <= AGENT_LISTEN_THREADS);
    bool only_v6 = false;
    int rc = WEIR_ENOMEM;
    struct agent_listener *listener = weir_calloc(1, sizeof *listener);
    if (listener == NULL) return weir_why_set(why, rc, "the listener: out of memory");
    listener->conf = *conf;
    listener->metrics = metrics;
    listener->first_row = first_row;
    listener->stop_fd = -1;
    listener->endpoints = weir_calloc(conf->endpoint_count, sizeof *listener->endpoints);
    listener->drops = weir_calloc(conf->endpoint_count, sizeof *listener->drops);
    listener->workers = weir_calloc(conf->threads, sizeof(struct worker *));
    if (listener->endpoints == NULL || listener->drops == NULL || listener->workers == NULL) goto fail;

    rc = parse_endpoints(listener, conf->endpoints, &only_v6, why);
    if (rc < 0) goto fail;
    rc = agent_pool_create(conf->pool_bytes, &listener->pool);
    if (rc < 0) goto fail;
    for (uint32_t i = 0; i < conf->threads; i++) {
        rc = worker_create(listener, i, sink, &listener->workers[i]);
        if (rc < 0) goto fail;
    }
    for (size_t i = 0; i < conf->endpoint_count; i++) {
        rc = bind_endpoint(listener, i, only_v6, why);
        if (rc < 0) goto fail;
    }
    listener->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (listener->stop_fd < 0) {
        rc = weir_why_set(why, WEIR_EIO, "the listener: %s", strerror(errno));
        goto fail;
    }
    *ret = listener;
    return 0;

fail:
    if (rc == WEIR_ENOMEM) weir_why_set(why, rc, "the listener: out of memory");
    agent_listener_destroy(listener);
    return rc;
}

int agent_listener_start(struct agent_listener *listener, struct weir_why *why)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before); /* signals are the main thread's */
    int rc = 0;
    for (uint32_t i = 0; i < listener->conf.threads && rc == 0; i++) {
        struct worker *worker = listener->workers[i];
        rc = pthread_create(&worker->thread, NULL, run, worker);
        worker->started = rc == 0;
        char name[16];
        snprintf(name, sizeof name, "listen-%u", i);
        if (worker->started) pthread_setname_np(worker->thread, name);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) return 0;
    agent_listener_stop(listener);
    return weir_why_set(why, WEIR_EIO, "a listener thread: %s", strerror(rc));
}

void agent_listener_stop(struct agent_listener *listener)
{
    atomic_store(&listener->stopping, true);
    uint64_t one = 1;
    if (write(listener->stop_fd, &one, sizeof one) < 0 && errno != EAGAIN)
        weir_log(WEIR_LOG_ERROR, "listen.stop", "error=%s", strerror(errno));
    for (uint32_t i = 0; i < listener->conf.threads; i++) {
        struct worker *worker = listener->workers[i];
        if (!worker->started) continue;
        pthread_join(worker->thread, NULL);
        worker->started = false;
    }
}

void agent_listener_destroy(struct agent_listener *listener)
{
    if (listener == NULL) return;
    if (listener->stop_fd >= 0) agent_listener_stop(listener);
    for (uint32_t i = 0; listener->workers != NULL && i < listener->conf.threads; i++)
        worker_destroy(listener->workers[i]);
    if (listener->stop_fd >= 0) close(listener->stop_fd);
    agent_pool_destroy(listener->pool);
    weir_free(listener->workers);
    weir_free((void *)(uintptr_t)listener->drops);
    weir_free(listener->endpoints);
    weir_free(listener);
}

struct agent_pool *agent_listener_pool(struct agent_listener *listener)
{
    return listener->pool;
}

uint16_t agent_listener_port(const struct agent_listener *listener, size_t index)
{
    return agent_endpoint_port(&listener->endpoints[index]);
}

size_t agent_listener_exporters(struct agent_listener *listener, struct agent_exporter_stat *out, size_t most)
{
    size_t count = 0;
    for (uint32_t i = 0; i < listener->conf.threads; i++) {
        struct worker *worker = listener->workers[i];
        pthread_mutex_lock(&worker->lock);
        for (size_t k = 0; k < worker->stat_count; k++, count++) {
            if (count < most) out[count] = worker->stats[k];
        }
        pthread_mutex_unlock(&worker->lock);
    }
    return count;
}

/* ---- `each` metrics ---- */

static double each_value(size_t input_row, const struct agent_exporter_stat *stat)
{
    switch (input_row) {
    case AGENT_INPUT_exporter_flows: return (double)stat->flows;
    case AGENT_INPUT_exporter_lost: return (double)stat->loss.sequence_lost;
    case AGENT_INPUT_exporter_missing: return (double)stat->loss.template_missing;
    case AGENT_INPUT_exporter_undecodable: return (double)stat->loss.undecodable;
    case AGENT_INPUT_exporter_templates: return stat->templates;
    default: return (double)stat->last_heard_ms / 1000;
    }
}

static int by_exporter(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct weir_ip)); /* which a stat begins with */
}
_Static_assert(offsetof(struct agent_exporter_stat, source.exporter) == 0, "by_exporter compares it");

/** What all threads know, the domains of one exporter together. The caller's to free; NULL without memory. */
static struct agent_exporter_stat *all_stats(struct agent_listener *listener, size_t *count)
{
    size_t room = agent_listener_exporters(listener, NULL, 0);
    struct agent_exporter_stat *stats = weir_calloc(room + 1, sizeof *stats);
    if (stats == NULL) return NULL;
    size_t found = agent_listener_exporters(listener, stats, room);
    *count = found < room ? found : room;
    qsort(stats, *count, sizeof *stats, by_exporter);
    return stats;
}

/** One sample per exporter: its domains are added up (but for the time heard), whoever sent for it. */
static void each_exporter(const struct agent_exporter_stat *stats, size_t count, size_t input_row,
                          const struct weir_metric_row *row, struct weir_buf *out)
{
    for (size_t i = 0; i < count;) {
        const struct weir_ip *ip = &stats[i].source.exporter;
        double value = 0;
        for (; i < count && weir_ip_equal(ip, &stats[i].source.exporter); i++) {
            double one = each_value(input_row, &stats[i]);
            if (input_row != AGENT_INPUT_exporter_heard) value += one;
            if (input_row == AGENT_INPUT_exporter_heard && one > value) value = one;
        }
        char text[WEIR_IP_TEXT];
        weir_metric_sample(row, weir_ip_format(ip, text), value, out);
    }
}

void agent_listener_each(struct agent_listener *listener, size_t input_row, const struct weir_metric_row *row,
                         struct weir_buf *out)
{
    if (input_row == AGENT_INPUT_listener_drops) {
        for (size_t i = 0; i < listener->conf.endpoint_count; i++) {
            struct weir_ip ip = agent_sender_ip(&listener->endpoints[i].address);
            char address[WEIR_IP_TEXT];
            char label[WEIR_IP_TEXT + 16];
            weir_ip_format(&ip, address);
            snprintf(label, sizeof label, agent_endpoint_is_v4(&listener->endpoints[i]) ? "%s:%u" : "[%s]:%u", address,
                     agent_listener_port(listener, i));
            weir_metric_sample(row, label, (double)atomic_load_explicit(&listener->drops[i], memory_order_relaxed),
                               out);
        }
        return;
    }
    size_t count = 0;
    struct agent_exporter_stat *stats = all_stats(listener, &count);
    if (stats == NULL) return;
    each_exporter(stats, count, input_row, row, out);
    weir_free(stats);
}
