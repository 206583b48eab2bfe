/**
 * Receive, decode and gather, and nothing after it: bench.agent_input FLOWS [SECONDS [BUFFER-BYTES]].
 *
 * Listens on a port of 127.0.0.1, writes "port=N" as its first line, and ends when FLOWS flows have come or nothing
 * more has come for SECONDS (3). Then it writes what it counted as one JSON object. tests/bench/input.py sends, and
 * asks the system what CPU time this process took.
 */
#include "agent/listen.h"
#include "common/base/clock.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

static const struct weir_metric_row rows[] = {
#define METRIC(id, what, family, with, text) {.name = family, .labels = with, .help = text, .kind = WEIR_METRIC_##what},
#define METRIC_EACH(id, what, family, of, text) \
    {.name = family, .labels = "", .each = of, .help = text, .kind = WEIR_METRIC_##what},
#include "agent/counters_input.def"
#undef METRIC
#undef METRIC_EACH
};

static int take(void *ctx, struct weir_batch **batch_p)
{
    struct agent_listener **listener = ctx;
    agent_pool_give(agent_listener_pool(*listener), batch_p);
    return 0;
}

static uint64_t by_protocol(const struct weir_metrics *metrics, enum agent_input_count first)
{
    uint64_t sum = 0;
    for (int p = 0; p < AGENT_PROTOCOL_COUNT; p++)
        sum += weir_metrics_get(metrics, first + (size_t)p);
    return sum;
}

int main(int argc, char **argv)
{
    uint64_t wanted = argc > 1 ? strtoull(argv[1], NULL, 10) : UINT64_MAX;
    int64_t patience_ms = argc > 2 ? atoi(argv[2]) * 1000 : 3000;
    static const char *const endpoints[] = {"127.0.0.1:0"};
    struct agent_listen_conf conf = AGENT_LISTEN_DEFAULTS;
    conf.endpoints = endpoints;
    conf.endpoint_count = 1;
    if (argc > 3) conf.receive_buffer_bytes = strtoull(argv[3], NULL, 10);
    struct weir_metrics metrics;
    struct weir_why why = {""};
    struct agent_listener *listener = NULL;
    struct agent_sink sink = {take, &listener};
    if (weir_metrics_init(&metrics, rows, AGENT_INPUT_COUNT) < 0) return 1;
    if (agent_listener_create(&conf, sink, &metrics, 0, &listener, &why) < 0 ||
        agent_listener_start(listener, &why) < 0) {
        fprintf(stderr, "bench.agent_input: %s\n", why.text);
        return 1;
    }
    printf("port=%d\n", agent_listener_port(listener, 0));
    fflush(stdout);

    uint64_t flows = 0;
    int64_t heard_mono_ms = weir_mono_ms() + 30000; /* before the first: so long */
    while (flows < wanted && weir_mono_ms() - heard_mono_ms < patience_ms) {
        poll(NULL, 0, 50);
        uint64_t now = by_protocol(&metrics, AGENT_INPUT_flows_netflow5);
        if (now != flows) heard_mono_ms = weir_mono_ms();
        flows = now;
    }
    agent_listener_stop(listener);
    printf("{\"flows\":%" PRIu64 ",\"datagrams\":%" PRIu64 ",\"drops\":%" PRIu64 ",\"lost\":%" PRIu64 "}\n",
           by_protocol(&metrics, AGENT_INPUT_flows_netflow5), by_protocol(&metrics, AGENT_INPUT_datagrams_netflow5),
           weir_metrics_get(&metrics, AGENT_INPUT_socket_drops), weir_metrics_get(&metrics, AGENT_INPUT_sequence_lost));
    agent_listener_destroy(listener);
    weir_metrics_fini(&metrics);
    return 0;
}
