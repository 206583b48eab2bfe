/** The broker's counters by name: weir_metrics_set(metrics, BROKER_COUNT_sessions, n). The table: counters.def. */
#ifndef WEIR_BROKER_COUNTERS_H
#define WEIR_BROKER_COUNTERS_H

#include "common/base/metric.h"

enum broker_counter {
#define METRIC(id, kind, name, labels, help)    BROKER_COUNT_##id,
#define METRIC_EACH(id, kind, name, each, help) BROKER_COUNT_##id,
#include "broker/counters.def"
#undef METRIC
#undef METRIC_EACH
    BROKER_COUNTERS
};

/** BROKER_COUNTERS rows. */
extern const struct weir_metric_row broker_counter_rows[BROKER_COUNTERS];

#endif
