/** The agent's counters by name: weir_metrics_add(metrics, AGENT_COUNT_sent, n). The table: counters.def. */
#ifndef WEIR_AGENT_COUNTERS_H
#define WEIR_AGENT_COUNTERS_H

#include "common/base/metric.h"

enum agent_counter {
#define METRIC(id, kind, name, labels, help)    AGENT_COUNT_##id,
#define METRIC_EACH(id, kind, name, each, help) AGENT_COUNT_##id,
#include "agent/counters.def"
#undef METRIC
#undef METRIC_EACH
    AGENT_COUNTERS
};

/** The first row of counters_input.def, whose rows the listener fills. */
enum { AGENT_COUNTERS_INPUT = 0 };

/** AGENT_COUNTERS rows. */
extern const struct weir_metric_row agent_counter_rows[AGENT_COUNTERS];

#endif
