#include "broker/report.h"

#include "broker/counters.h"
#include "common/base/mem.h"

#include <pthread.h>
#include <stdio.h>

struct node_sample {
    char name[WEIR_NAME_BYTES];
    struct route_node_state state;
};

struct agent_sample {
    char name[WEIR_NAME_BYTES];
    uint64_t batches;
};

/** The lock is held for as long as it takes to copy; the status thread prints under it, the main thread never waits. */
struct broker_report {
    pthread_mutex_t lock;
    uint32_t node_count;
    struct node_sample nodes[WEIR_NODES_MOST];
    size_t agent_count;
    size_t agent_capacity;
    struct agent_sample *agents;
};

int broker_report_create(struct broker_report **ret)
{
    struct broker_report *report = weir_calloc(1, sizeof *report);
    if (report == NULL) return WEIR_ENOMEM;
    pthread_mutex_init(&report->lock, NULL);
    *ret = report;
    return 0;
}

void broker_report_destroy(struct broker_report *report)
{
    if (report == NULL) return;
    pthread_mutex_destroy(&report->lock);
    weir_free(report->agents);
    weir_free(report);
}

static void update_counters(struct weir_metrics *metrics, const struct route_core *core)
{
    const struct route_state *state = route_core_state(core);
    weir_metrics_set(metrics, BROKER_COUNT_batches_received, state->received);
    weir_metrics_set(metrics, BROKER_COUNT_bytes_received, state->received_bytes);
    weir_metrics_set(metrics, BROKER_COUNT_batches_accepted, state->accepted);
    weir_metrics_set(metrics, BROKER_COUNT_batches_repeated, state->repeated);
    for (size_t i = 0; i < ROUTE_REFUSALS_COUNT; i++)
        weir_metrics_set(metrics, BROKER_COUNT_rejected_no_session + i, state->refused[i]);
    for (size_t i = 0; i < ROUTE_ENDS_COUNT; i++)
        weir_metrics_set(metrics, BROKER_COUNT_ended_acked + i, state->ended[i]);
    weir_metrics_set(metrics, BROKER_COUNT_in_flight, state->in_flight);
    weir_metrics_set(metrics, BROKER_COUNT_in_flight_bytes, state->in_flight_bytes);
    weir_metrics_set(metrics, BROKER_COUNT_sessions, state->sessions);
    weir_metrics_set(metrics, BROKER_COUNT_hellos, state->hellos);
    weir_metrics_set(metrics, BROKER_COUNT_hellos_refused, state->hellos_refused);
    weir_metrics_set(metrics, BROKER_COUNT_seconds_refused, state->seconds_refused);
    weir_metrics_set(metrics, BROKER_COUNT_messages_unexpected, state->unexpected);
    weir_metrics_set(metrics, BROKER_COUNT_epoch, state->epoch);
}

static void update_sockets(struct weir_metrics *metrics, struct weir_socket *server, const struct weir_zap *zap)
{
    const struct weir_socket_stats *stats = weir_socket_stats(server);
    weir_metrics_set(metrics, BROKER_COUNT_handshakes_failed, stats->handshake_failed);
    weir_metrics_set(metrics, BROKER_COUNT_connections_ended, stats->disconnected);
    weir_metrics_set(metrics, BROKER_COUNT_messages_nameless, stats->nameless);
    for (size_t i = 0; i < WEIR_ZAP_VERDICTS; i++)
        weir_metrics_set(metrics, BROKER_COUNT_handshakes_accepted + i, weir_zap_count(zap, (enum weir_zap_verdict)i));
}

/** Room for the samples of @count agents, or what there is when memory runs out. */
static void reserve_agents(struct broker_report *report, size_t count)
{
    if (count <= report->agent_capacity) return;
    struct agent_sample *agents = weir_realloc(report->agents, count * sizeof *agents);
    if (agents == NULL) return;
    report->agents = agents;
    report->agent_capacity = count;
}

void broker_report_update(struct broker_report *report, struct weir_metrics *metrics, const struct route_core *core,
                          const struct weir_map *map, struct weir_socket *server, const struct weir_zap *zap)
{
    update_counters(metrics, core);
    update_sockets(metrics, server, zap);
    if (pthread_mutex_trylock(&report->lock) != 0) return; /* it is being printed: next time */
    report->node_count = map->aggregator_count;
    for (uint32_t i = 0; i < map->aggregator_count; i++) {
        memcpy(report->nodes[i].name, map->aggregators[i].name, sizeof report->nodes[i].name);
        report->nodes[i].state = *route_core_node(core, i);
    }
    reserve_agents(report, route_core_state(core)->sessions);
    report->agent_count = 0;
    struct route_session_state session;
    for (size_t at = 0; report->agent_count < report->agent_capacity && route_core_next_session(core, &at, &session);) {
        struct agent_sample *sample = &report->agents[report->agent_count++];
        snprintf(sample->name, sizeof sample->name, "%s", session.name);
        sample->batches = session.batches;
    }
    pthread_mutex_unlock(&report->lock);
}

static bool is_usable(const struct route_node_state *state)
{
    return state->up && !state->stuck;
}

static double node_value(const struct route_node_state *state, size_t row)
{
    switch (row) {
    case BROKER_COUNT_batches_out: return (double)state->forwarded;
    case BROKER_COUNT_queue: return state->in_flight;
    case BROKER_COUNT_node_up: return is_usable(state);
    case BROKER_COUNT_node_refused: return (double)state->refused;
    default: return (double)state->reconnects;
    }
}

void broker_report_each(struct broker_report *report, size_t row, struct weir_buf *out)
{
    pthread_mutex_lock(&report->lock);
    if (row == BROKER_COUNT_batches_in) {
        for (size_t i = 0; i < report->agent_count; i++)
            weir_metric_sample(&broker_counter_rows[row], report->agents[i].name, (double)report->agents[i].batches,
                               out);
    } else {
        for (uint32_t i = 0; i < report->node_count; i++)
            weir_metric_sample(&broker_counter_rows[row], report->nodes[i].name,
                               node_value(&report->nodes[i].state, row), out);
    }
    pthread_mutex_unlock(&report->lock);
}

bool broker_report_ready(struct broker_report *report, struct weir_buf *reason)
{
    uint32_t usable = 0;
    pthread_mutex_lock(&report->lock);
    for (uint32_t i = 0; i < report->node_count; i++)
        usable += is_usable(&report->nodes[i].state);
    uint32_t count = report->node_count;
    pthread_mutex_unlock(&report->lock);
    if (usable > 0) return true;
    weir_buf_printf(reason, "none of %u aggregators answers", count);
    return false;
}
