/**
 * Listening: UDP sockets, threads that read them in bursts, and behind each thread a decoder and a gather.
 *
 * Every thread has one socket per endpoint (SO_REUSEPORT). With several threads a classic BPF program steers by source
 * address, so that all datagrams of an exporter meet one thread, whatever their port. TCP endpoints (IPFIX) have one
 * thread more, for all of their connections (tcp.h). The only reader of the network in the agent's input; everything
 * behind it is pure.
 */
#ifndef WEIR_AGENT_LISTEN_H
#define WEIR_AGENT_LISTEN_H

#include "agent/decode/decode.h"
#include "agent/ring.h"
#include "agent/tcp.h"
#include "common/base/err.h"
#include "common/base/metric.h"

enum { AGENT_LISTEN_THREADS = 64 };

struct agent_keep;

struct agent_listen_conf {
    const char *const *endpoints; /* "0.0.0.0:2055", "[::]:2055", "tcp://0.0.0.0:4739"; port 0: the system chooses */
    size_t endpoint_count;
    uint32_t threads;                /* of UDP: 1..64 */
    size_t receive_buffer_bytes;     /* of each socket; asked with SO_RCVBUFFORCE, else SO_RCVBUF */
    uint32_t burst_linger_us;        /* under load, wait up to this long for more datagrams before reading; 0 never */
    const struct weir_prefix *allow; /* exporters that may speak; lent for the listener's life */
    size_t allow_count;              /* 0: everybody */
    struct agent_tcp_conf tcp;
    struct agent_ring *ring; /* for what cannot be decoded; lent for the listener's life, or NULL */
    struct agent_keep *keep; /* of as many parts as threads, for what exporters teach; lent, or NULL */
    struct agent_gather_conf gather;
    struct agent_decoder_conf decoder;
    size_t pool_bytes; /* of batches, open and idle, for each thread of UDP; all threads share it */
};

#define AGENT_LISTEN_DEFAULTS                                      \
    ((struct agent_listen_conf){.threads = 1,                      \
                                .receive_buffer_bytes = 64u << 20, \
                                .burst_linger_us = 3000,           \
                                .tcp = {256, 1800000},             \
                                .gather = AGENT_GATHER_DEFAULTS,   \
                                .decoder = AGENT_DECODER_DEFAULTS, \
                                .pool_bytes = 16u << 20})

struct agent_listener;

/**
 * Bind all sockets and make the threads' state; logs `listen.bound` with the address, port and buffer of each endpoint.
 * Nothing is read before agent_listener_start.
 *
 * @sink is called from the listener's threads, concurrently when there are several. @metrics may be NULL; row
 * @first_row + i of it receives counter i of agent/counters_input.def. Both must outlive the listener.
 * WEIR_EPARAM (an endpoint that is none), WEIR_EIO (the system refuses), WEIR_ENOMEM; @why says more.
 */
int agent_listener_create(const struct agent_listen_conf *conf, struct agent_sink sink, struct weir_metrics *metrics,
                          size_t first_row, struct agent_listener **ret, struct weir_why *why);

/** Start the threads. WEIR_EIO. */
int agent_listener_start(struct agent_listener *listener, struct weir_why *why);

/** Read what the sockets hold, hand all open batches over, and join the threads. Idempotent. */
void agent_listener_stop(struct agent_listener *listener);

/** Stops first. The pool goes too: the sink must have given back (or destroyed) what it took. */
void agent_listener_destroy(struct agent_listener *listener);

/** Where batches that the sink took go back to. */
struct agent_pool *agent_listener_pool(struct agent_listener *listener);

/** The port that endpoint @index is bound to. */
uint16_t agent_listener_port(const struct agent_listener *listener, size_t index);

/** What the threads know of their exporters, at most a second old; returns how many there are. Any thread. */
size_t agent_listener_exporters(struct agent_listener *listener, struct agent_exporter_stat *out, size_t most);

/** Append what is known of the exporters and of what was refused (page.h), at most a second old. Any thread. */
void agent_listener_page(struct agent_listener *listener, struct weir_buf *out);

/**
 * Write the samples of the `each` rows of counters_input.def: call it from the program's weir_metric_each_fn with
 * @input_row = row - first_row. Any thread.
 */
void agent_listener_each(struct agent_listener *listener, size_t input_row, const struct weir_metric_row *row,
                         struct weir_buf *out);

#endif
