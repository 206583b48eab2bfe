#include "agent/listen.h"

#include "agent/keep.h"
#include "agent/page.h"
#include "agent/udp.h"
#include "common/base/clock.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
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
    SMALL_LINGER_US = 1000,       /* at most, with receive buffers smaller than this */
    LARGE_BUFFER_BYTES = 4 << 20, /* holds 3,600 datagrams of 1,464 bytes */
    TICK_MS = 1000,
    FOLD_MS = 100,
    REFUSED_LINES_PER_SECOND = 5,
    REFUSED_WAIT_MS = 5000,       /* to be reported, for what else may come of the sender */
    REFUSED_REPORTS_PER_TICK = 4, /* so that made-up senders cannot make many batches */
    ALLOW_CACHE = 1024,
    DRAIN_ROUNDS_MOST = 4096,
    DRAIN_READS_MOST = 256, /* of each connection */
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
    struct agent_tcp *tcp; /* NULL: it reads datagrams */
    int *sockets;          /* one per UDP endpoint; -1 for the others */
    uint32_t *drops;       /* of each socket, as last read */
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
    uint64_t captured[2]; /* refused datagrams that the ring did not keep, and that it kept */
    struct agent_refusals *refused;
    bool refused_more; /* than were published */
    struct weir_log_limit changed_log;
    struct weir_buf learned;
    uint64_t learned_version; /* that was given away to be kept */
    int64_t next_keep_mono_ms;
    uint64_t folded[AGENT_INPUT_COUNT]; /* counts that the metrics have */
    int64_t next_fold_mono_ms;
    int64_t next_tick_mono_ms;

    pthread_mutex_t lock;
    struct agent_exporter_stat *stats;
    size_t stat_count;
    size_t stat_capacity;
    struct agent_refusals *published; /* as @refused was */
};

struct agent_listener {
    struct agent_listen_conf conf;
    uint32_t linger_most_us;
    struct weir_metrics *metrics;
    size_t first_row;
    struct agent_pool *pool;
    struct agent_endpoint *endpoints;
    _Atomic uint64_t *drops; /* by endpoint */
    struct worker **workers;
    uint32_t worker_count; /* one a thread of UDP, and one for all of TCP */
    atomic_bool stopping;
    int stop_fd; /* becomes readable then, to end the sleep of the threads */
};

/* ---- one datagram or message ---- */

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

/** Where something came from. */
struct origin {
    struct agent_peer peer;
    uint16_t port;
    size_t endpoint;
    int64_t received_ms;
};

/**
 * Take note of a refusal; @told: a batch will tell of it. Returns whether the sender has few of them, less than its share
 * of the capture a second.
 */
static bool note_refused(struct worker *worker, const struct origin *from, enum agent_refusal refusal,
                         struct weir_view bytes, bool told)
{
    struct agent_refused refused = {
        .at_ms = from->received_ms, .refusal = refusal, .protocol = agent_protocol_of(bytes), .port = from->port};
    const struct agent_refused_of *of = agent_refusals_note(worker->refused, &from->peer.ip, &refused, bytes, told);
    const struct agent_refused *before = agent_refused_example(of, AGENT_REFUSED_EXAMPLES - 1);
    worker->refused_more = true;
    return before == NULL || from->received_ms - before->at_ms >= 1000;
}

static void deny(struct worker *worker, const struct origin *from, struct weir_view bytes)
{
    worker->refused_exporters++;
    note_refused(worker, from, AGENT_REFUSAL_NONE, bytes, false);
    log_refused(worker, &from->peer.ip, "exporter", "the allow-list does not name this exporter", bytes.size);
}

static void refuse(struct worker *worker, const struct origin *from, enum agent_refusal refusal, struct weir_view bytes,
                   bool told)
{
    const struct agent_listener *listener = worker->listener;
    const struct agent_endpoint *endpoint = &listener->endpoints[from->endpoint];
    bool few = note_refused(worker, from, refusal, bytes, told);
    log_refused(worker, &from->peer.ip, agent_refusal_name(refusal),
                weir_drop_info(agent_refusal_reason(refusal))->text, bytes.size);
    if (listener->conf.ring == NULL) return;
    const struct agent_ring_note note = {.from = from->peer.ip,
                                         .to = agent_sender_ip(&endpoint->address),
                                         .from_port = from->port,
                                         .to_port = agent_endpoint_port(endpoint),
                                         .received_ms = from->received_ms};
    worker->captured[few && agent_ring_offer(listener->conf.ring, &note, bytes)]++;
}

static void decode(struct worker *worker, const struct origin *from, struct weir_view bytes)
{
    enum agent_refusal refusal = agent_decode(worker->decoder, &from->peer, bytes, from->received_ms);
    if (refusal != AGENT_REFUSAL_NONE)
        refuse(worker, from, refusal, bytes, agent_decoder_refused_known(worker->decoder));
}

static void template_changed(void *ctx, const struct agent_template_change *change)
{
    struct worker *worker = ctx;
    uint64_t held_back = 0;
    if (!weir_log_allowed(&worker->changed_log, weir_mono_ms(), REFUSED_LINES_PER_SECOND, &held_back)) return;
    char address[WEIR_IP_TEXT];
    char before[1024];
    char after[1024];
    weir_log(WEIR_LOG_WARN, "template.changed",
             "exporter=%s domain=%u session=%u id=%u old=\"%s\" new=\"%s\" held_back=%llu",
             weir_ip_format(&change->source.exporter, address), change->source.domain, change->session, change->id,
             agent_specs_format(change->before, change->before_count, before, sizeof before),
             agent_specs_format(change->after, change->after_count, after, sizeof after),
             (unsigned long long)held_back);
}

/* ---- one burst of datagrams ---- */

/** Read and decode up to BURST datagrams of endpoint @index; returns how many there were. */
static int take_burst(struct worker *worker, size_t index)
{
    int count = recvmmsg(worker->sockets[index], worker->messages, BURST, MSG_DONTWAIT, NULL);
    if (count <= 0) return 0;
    int64_t received_ms = weir_wall_ms();
    for (int i = 0; i < count; i++) {
        struct mmsghdr *message = &worker->messages[i];
        uint16_t port = agent_sender_port(&worker->from[i]);
        const struct origin from = {{agent_sender_ip(&worker->from[i]), port}, port, index, received_ms};
        struct weir_view bytes = weir_view_of(worker->parts[i].iov_base, message->msg_len);
        if (allowed(worker, &from.peer.ip))
            decode(worker, &from, bytes);
        else
            deny(worker, &from, bytes);
        message->msg_hdr.msg_namelen = sizeof worker->from[i];
    }
    return count;
}

/**
 * Wait for more datagrams to come, so that fewer calls bring them: under load that halves the cost of each. The wait
 * follows the rate: as long as it takes for three quarters of a burst to come, at most what the configuration allows,
 * and less where the receive buffers are small.
 */
static void linger(struct worker *worker, int burst)
{
    uint64_t most_us = worker->listener->linger_most_us;
    uint64_t wanted_us = (uint64_t)worker->linger_us * (BURST * 3 / 4) / (uint64_t)burst;
    uint64_t next_us = (worker->linger_us + wanted_us) / 2;
    if (next_us < LINGER_LEAST_US) next_us = LINGER_LEAST_US;
    worker->linger_us = (uint32_t)(next_us < most_us ? next_us : most_us);
    struct timespec span = {.tv_nsec = (long)worker->linger_us * 1000};
    if (span.tv_nsec > 0) nanosleep(&span, NULL);
}

/* ---- connections ---- */

static bool tcp_allows(void *ctx, const struct weir_ip *ip)
{
    struct worker *worker = ctx;
    const struct origin from = {.peer = {.ip = *ip}, .received_ms = weir_wall_ms()};
    if (allowed(worker, ip)) return true;
    note_refused(worker, &from, AGENT_REFUSAL_NONE, (struct weir_view){0}, false);
    log_refused(worker, ip, "exporter", "the allow-list does not name this exporter", 0);
    return false;
}

static struct origin tcp_origin(const struct agent_tcp_peer *peer)
{
    return (struct origin){.peer = {peer->ip, AGENT_SESSION_CONNECTION | peer->number},
                           .port = peer->port,
                           .endpoint = peer->endpoint,
                           .received_ms = weir_wall_ms()};
}

static void tcp_take(void *ctx, const struct agent_tcp_peer *peer, struct weir_view message)
{
    const struct origin from = tcp_origin(peer);
    decode(ctx, &from, message);
}

static void tcp_ended(void *ctx, const struct agent_tcp_peer *peer, enum agent_tcp_end end, struct weir_view rest)
{
    struct worker *worker = ctx;
    const struct origin from = tcp_origin(peer);
    char address[WEIR_IP_TEXT];
    if (end == AGENT_TCP_FORMAT) {
        bool is_ipfix = agent_protocol_of(rest) == AGENT_PROTOCOL_ipfix;
        refuse(worker, &from, is_ipfix ? AGENT_REFUSAL_short : AGENT_REFUSAL_version, rest, false);
    }
    agent_decoder_session_end(worker->decoder, &from.peer);
    weir_log(WEIR_LOG_DEBUG, "tcp.ended", "exporter=%s port=%d cause=%s", weir_ip_format(&peer->ip, address),
             peer->port, agent_tcp_end_name(end));
}

/* ---- reports ---- */

static bool report_refused(struct worker *worker, const struct agent_refused_of *of)
{
    const struct agent_gather_note heard = {.protocol = agent_protocol_wire(of->untold_protocol),
                                            .received_ms = of->untold_last_ms};
    struct weir_loss loss = {0};
    struct weir_drops drops;
    agent_refused_untold(of, &drops);
    for (uint32_t i = 0; i < drops.count; i++) {
        if (drops.at[i].reason != WEIR_DROP_denied) loss.undecodable += drops.at[i].count; /* we did not want those */
    }
    return agent_gather_report_of(worker->gather, &(struct weir_source){.exporter = of->ip}, &heard, &loss, &drops);
}

/** Report senders whose datagrams were refused before a source was known, at most so many, who wait longest first. */
static void tell_refused(struct worker *worker, int64_t now_ms, int most)
{
    for (int i = 0; i < most; i++) {
        struct agent_refused_of *of = agent_refusals_due(worker->refused, now_ms - REFUSED_WAIT_MS, now_ms);
        if (of == NULL || !report_refused(worker, of)) return;
        agent_refused_tell(of);
    }
}

/* ---- counters ---- */

static void read_drops(struct worker *worker)
{
    struct agent_listener *listener = worker->listener;
    for (size_t i = 0; i < listener->conf.endpoint_count; i++) {
        if (worker->sockets[i] < 0) continue;
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

_Static_assert(AGENT_INPUT_connections_denied - AGENT_INPUT_connections_peer == (int)AGENT_TCP_DENIED,
               "the rows of connections stand in the order of enum agent_tcp_end");

static void fold_tcp(const struct agent_tcp_counts *counts, struct agent_decode_counts *now)
{
    now->n[AGENT_INPUT_connections_opened] = counts->opened;
    now->n[AGENT_INPUT_unfinished_bytes] = counts->unfinished_bytes;
    for (int i = 0; i < AGENT_TCP_ENDS; i++)
        now->n[AGENT_INPUT_connections_peer + i] = counts->ended[i];
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
    now.n[AGENT_INPUT_reports] = gathered->reports;
    now.n[AGENT_INPUT_refusals_untold] = worker->refused->untold;
    now.n[AGENT_INPUT_captured_not] = worker->captured[false];
    now.n[AGENT_INPUT_captured] = worker->captured[true];
    if (worker->tcp != NULL) fold_tcp(agent_tcp_counted(worker->tcp), &now);
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
    if (worker->refused_more) *worker->published = *worker->refused;
    worker->refused_more = false;
    pthread_mutex_unlock(&worker->lock);
}

/** Give away what exporters taught, if it is more than before. It may not take more than a fiftieth of the time. */
static void keep_learned(struct worker *worker, int64_t now_mono_ms)
{
    enum { PAUSE_MS = 100, PAUSES = 50 };
    uint64_t version = agent_decoder_learned_version(worker->decoder);
    if (worker->listener->conf.keep == NULL || worker->tcp != NULL || version == worker->learned_version) return;
    if (now_mono_ms < worker->next_keep_mono_ms) return;
    worker->learned_version = version;
    agent_decoder_learned(worker->decoder, &worker->learned);
    agent_keep_put(worker->listener->conf.keep, worker->index, &worker->learned);
    if (now_mono_ms == INT64_MAX) return; /* the last time */
    worker->next_keep_mono_ms = now_mono_ms + PAUSE_MS + PAUSES * (weir_mono_ms() - now_mono_ms);
}

/** Everything that time brings about. Returns how long to sleep at most, in ms. */
static int on_time(struct worker *worker, bool idle)
{
    int64_t now_mono_ms = weir_mono_ms();
    int64_t due_ms = agent_gather_tick(worker->gather, now_mono_ms);
    if (now_mono_ms >= worker->next_tick_mono_ms) {
        worker->next_tick_mono_ms = now_mono_ms + TICK_MS;
        read_drops(worker);
        if (worker->tcp != NULL) agent_tcp_tick(worker->tcp, now_mono_ms);
        agent_decoder_tick(worker->decoder, weir_wall_ms());
        tell_refused(worker, weir_wall_ms(), REFUSED_REPORTS_PER_TICK);
        publish(worker);
        if (worker->index == 0) agent_pool_tidy(worker->listener->pool, now_mono_ms);
        worker->next_fold_mono_ms = now_mono_ms;
    }
    if (idle || now_mono_ms >= worker->next_fold_mono_ms) {
        worker->next_fold_mono_ms = now_mono_ms + FOLD_MS;
        fold(worker);
        keep_learned(worker, now_mono_ms);
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
        int count = worker->sockets[i] < 0 ? 0 : take_burst(worker, i);
        if (count > most) most = count;
    }
    return most;
}

static bool stopping(const struct worker *worker)
{
    return atomic_load_explicit(&worker->listener->stopping, memory_order_relaxed);
}

static void serve_datagrams(struct worker *worker)
{
    size_t sockets = worker->listener->conf.endpoint_count;
    struct pollfd *polled = weir_calloc(sockets + 1, sizeof *polled);
    if (polled == NULL) return;
    for (size_t i = 0; i < sockets; i++)
        polled[i] = (struct pollfd){.fd = worker->sockets[i], .events = POLLIN}; /* -1 is passed over */
    polled[sockets] = (struct pollfd){.fd = worker->listener->stop_fd, .events = POLLIN};

    while (!stopping(worker)) {
        int sleep_ms = on_time(worker, true);
        poll(polled, sockets + 1, sleep_ms);
        for (int burst = take_all(worker); burst >= LOADED; burst = take_all(worker)) {
            on_time(worker, false);
            if (burst < BURST) linger(worker, burst);
            if (stopping(worker)) break;
        }
    }
    for (int i = 0; i < DRAIN_ROUNDS_MOST && take_all(worker) > 0; i++)
        on_time(worker, false);
    weir_free(polled);
}

static void serve_connections(struct worker *worker)
{
    bool busy = false;
    while (!stopping(worker)) {
        int sleep_ms = on_time(worker, !busy);
        busy = agent_tcp_poll(worker->tcp, busy ? 0 : sleep_ms);
    }
    for (int i = 0; i < DRAIN_READS_MOST && agent_tcp_poll(worker->tcp, 0); i++)
        on_time(worker, false);
    agent_tcp_close(worker->tcp);
}

static void *run(void *ctx)
{
    struct worker *worker = ctx;
    prctl(PR_SET_TIMERSLACK, 1000ul); /* 1 us: a linger of 250 us is not to become 300 */
    if (worker->tcp != NULL)
        serve_connections(worker);
    else
        serve_datagrams(worker);
    read_drops(worker);
    publish(worker);
    keep_learned(worker, INT64_MAX);
    agent_decoder_forget(worker->decoder);
    tell_refused(worker, INT64_MAX, AGENT_REFUSALS_PLACES);
    fold(worker);
    return NULL;
}

/* ---- life ---- */

static void worker_destroy(struct worker *worker)
{
    if (worker == NULL) return;
    agent_tcp_destroy(worker->tcp);
    agent_decoder_destroy(worker->decoder);
    agent_gather_destroy(worker->gather);
    for (size_t i = 0; worker->sockets != NULL && i < worker->listener->conf.endpoint_count; i++) {
        if (worker->sockets[i] >= 0) close(worker->sockets[i]);
    }
    pthread_mutex_destroy(&worker->lock);
    weir_free(worker->sockets);
    weir_free(worker->drops);
    weir_free(worker->memory);
    weir_buf_fini(&worker->learned);
    weir_free(worker->stats);
    weir_free(worker->refused);
    weir_free(worker->published);
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

static int make_tcp(struct worker *worker, struct weir_why *why)
{
    const struct agent_tcp_owner owner = {tcp_allows, tcp_take, tcp_ended, worker};
    return agent_tcp_create(&worker->listener->conf.tcp, &owner, &worker->tcp, why);
}

static int worker_create(struct agent_listener *listener, uint32_t index, struct agent_sink sink, struct worker **ret,
                         struct weir_why *why)
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
    worker->refused = weir_calloc(1, sizeof *worker->refused);
    worker->published = weir_calloc(1, sizeof *worker->published);
    if (worker->refused == NULL || worker->published == NULL) goto fail;
    if (index < listener->conf.threads) {
        worker->memory = weir_malloc((size_t)BURST * STRIDE_BYTES);
        if (worker->memory == NULL) goto fail;
        point_messages(worker);
    } else {
        rc = make_tcp(worker, why);
        if (rc < 0) goto fail;
    }

    rc = agent_gather_create(&listener->conf.gather, listener->pool, sink, &worker->gather);
    if (rc < 0) goto fail;
    struct agent_decoder_conf decoder = listener->conf.decoder;
    decoder.watch = (struct agent_watch){template_changed, worker};
    /* Connections begin with nothing, and are not to take what their exporter taught by datagrams. */
    if (listener->conf.keep != NULL && worker->tcp == NULL) decoder.recall = agent_keep_recall(listener->conf.keep);
    rc = agent_decoder_create(&decoder, worker->gather, &worker->decoder);
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
    if (endpoint->stream) {
        weir_log(WEIR_LOG_INFO, "listen.bound", "address=%s port=%d transport=tcp connections=%u", address,
                 agent_endpoint_port(endpoint), listener->conf.tcp.most_connections);
        return;
    }
    weir_log(WEIR_LOG_INFO, "listen.bound", "address=%s port=%d transport=udp threads=%u buffer_bytes=%zu", address,
             agent_endpoint_port(endpoint), listener->conf.threads, got_bytes);
    if (got_bytes < listener->conf.receive_buffer_bytes) {
        weir_log(WEIR_LOG_WARN, "listen.buffer",
                 "port=%d asked_bytes=%zu got_bytes=%zu advice=\"raise net.core.rmem_max, or run with CAP_NET_ADMIN\"",
                 agent_endpoint_port(endpoint), listener->conf.receive_buffer_bytes, got_bytes);
    }
}

/** A socket per thread for endpoint @index, in the order of the threads, which is the order that steering counts in. */
static int bind_datagrams(struct agent_listener *listener, size_t index, bool only_v6, struct weir_why *why)
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
    if (got_bytes < LARGE_BUFFER_BYTES && listener->linger_most_us > SMALL_LINGER_US)
        listener->linger_most_us = SMALL_LINGER_US;
    log_bound(listener, index, got_bytes);
    return 0;
}

static int bind_stream(struct agent_listener *listener, size_t index, bool only_v6, struct weir_why *why)
{
    struct agent_tcp *tcp = listener->workers[listener->conf.threads]->tcp;
    int rc = agent_tcp_listen(tcp, &listener->endpoints[index], only_v6, (uint32_t)index, why);
    if (rc == 0) log_bound(listener, index, 0);
    return rc;
}

static int bind_endpoints(struct agent_listener *listener, bool only_v6, struct weir_why *why)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < listener->conf.endpoint_count; i++) {
        bool stream = listener->endpoints[i].stream;
        rc = stream ? bind_stream(listener, i, only_v6, why) : bind_datagrams(listener, i, only_v6, why);
    }
    return rc;
}

static int parse_endpoints(struct agent_listener *listener, const char *const *texts, bool *only_v6,
                           struct weir_why *why)
{
    *only_v6 = false;
    bool stream = false;
    for (size_t i = 0; i < listener->conf.endpoint_count; i++) {
        int rc = agent_endpoint_parse(texts[i], &listener->endpoints[i], why);
        if (rc < 0) return rc;
        *only_v6 = *only_v6 || agent_endpoint_is_v4(&listener->endpoints[i]);
        stream = stream || listener->endpoints[i].stream;
    }
    listener->worker_count = listener->conf.threads + stream;
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
    listener->linger_most_us = conf->burst_linger_us;
    listener->metrics = metrics;
    listener->first_row = first_row;
    listener->stop_fd = -1;
    listener->endpoints = weir_calloc(conf->endpoint_count, sizeof *listener->endpoints);
    listener->drops = weir_calloc(conf->endpoint_count, sizeof *listener->drops);
    listener->workers = weir_calloc(conf->threads + 1, sizeof(struct worker *));
    if (listener->endpoints == NULL || listener->drops == NULL || listener->workers == NULL) goto fail;

    rc = parse_endpoints(listener, conf->endpoints, &only_v6, why);
    if (rc < 0) goto fail;
    rc = agent_pool_create(conf->pool_bytes * conf->threads, &listener->pool);
    if (rc < 0) goto fail;
    for (uint32_t i = 0; i < listener->worker_count; i++) {
        rc = worker_create(listener, i, sink, &listener->workers[i], why);
        if (rc < 0) goto fail;
    }
    rc = bind_endpoints(listener, only_v6, why);
    if (rc < 0) goto fail;
    listener->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (listener->stop_fd < 0) {
        rc = weir_why_set(why, WEIR_EIO, "the listener: %s", strerror(errno));
        goto fail;
    }
    if (listener->worker_count > conf->threads) {
        rc = agent_tcp_watch(listener->workers[conf->threads]->tcp, listener->stop_fd, why);
        if (rc < 0) goto fail;
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
    int rc = 0;
    for (uint32_t i = 0; i < listener->worker_count && rc == 0; i++) {
        struct worker *worker = listener->workers[i];
        char name[16];
        snprintf(name, sizeof name, "listen-%u", i);
        if (worker->tcp != NULL) snprintf(name, sizeof name, "listen-tcp");
        rc = weir_thread_start(&worker->thread, name, run, worker);
        worker->started = rc == 0;
    }
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
    for (uint32_t i = 0; i < listener->worker_count; i++) {
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
    for (uint32_t i = 0; listener->workers != NULL && i < listener->worker_count; i++)
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
    for (uint32_t i = 0; i < listener->worker_count; i++) {
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
    case AGENT_INPUT_exporter_skew: return stat->has_skew ? (double)stat->skew_ms / 1000 : (double)NAN;
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

/** One sample per exporter: its domains are added up (but for the time heard and the clock), whoever sent for it. */
static void each_exporter(const struct agent_exporter_stat *stats, size_t count, size_t input_row,
                          const struct weir_metric_row *row, struct weir_buf *out)
{
    for (size_t i = 0; i < count;) {
        const struct weir_ip *ip = &stats[i].source.exporter;
        double value = input_row == AGENT_INPUT_exporter_skew ? (double)NAN : 0;
        for (; i < count && weir_ip_equal(ip, &stats[i].source.exporter); i++) {
            double one = each_value(input_row, &stats[i]);
            if (input_row == AGENT_INPUT_exporter_skew) {
                if (isnan(value)) value = one;
            } else if (input_row == AGENT_INPUT_exporter_heard) {
                if (one > value) value = one;
            } else {
                value += one;
            }
        }
        char text[WEIR_IP_TEXT];
        if (!isnan(value)) weir_metric_sample(row, weir_ip_format(ip, text), value, out);
    }
}

void agent_listener_each(struct agent_listener *listener, size_t input_row, const struct weir_metric_row *row,
                         struct weir_buf *out)
{
    if (input_row == AGENT_INPUT_listener_drops) {
        for (size_t i = 0; i < listener->conf.endpoint_count; i++) {
            char label[AGENT_ENDPOINT_TEXT];
            if (listener->endpoints[i].stream) continue;
            weir_metric_sample(row, agent_endpoint_text(&listener->endpoints[i], label),
                               (double)atomic_load_explicit(&listener->drops[i], memory_order_relaxed), out);
        }
        return;
    }
    size_t count = 0;
    struct agent_exporter_stat *stats = all_stats(listener, &count);
    if (stats == NULL) return;
    each_exporter(stats, count, input_row, row, out);
    weir_free(stats);
}

/* ---- the page ---- */

void agent_listener_page(struct agent_listener *listener, struct weir_buf *out)
{
    size_t count = 0;
    struct agent_exporter_stat *stats = all_stats(listener, &count);
    struct agent_refusals *refused = weir_calloc(listener->worker_count, sizeof *refused);
    for (uint32_t i = 0; refused != NULL && i < listener->worker_count; i++) {
        struct worker *worker = listener->workers[i];
        pthread_mutex_lock(&worker->lock);
        refused[i] = *worker->published;
        pthread_mutex_unlock(&worker->lock);
    }
    out->failed = out->failed || stats == NULL || refused == NULL;
    if (stats != NULL && refused != NULL) agent_page_exporters(stats, count, refused, listener->worker_count, out);
    weir_free(refused);
    weir_free(stats);
}
