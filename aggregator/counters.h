/** The aggregator's counters by name: weir_metrics_add(metrics, AGG_COUNT_batches_stored, 1). The table: counters.def. */
#ifndef WEIR_AGGREGATOR_COUNTERS_H
#define WEIR_AGGREGATOR_COUNTERS_H

#include "common/base/metric.h"

enum agg_counter {
#define METRIC(id, kind, name, labels, help)    AGG_COUNT_##id,
#define METRIC_EACH(id, kind, name, each, help) AGG_COUNT_##id,
#include "aggregator/counters.def"
#undef METRIC
#undef METRIC_EACH
    AGG_COUNTERS
};

/** AGG_COUNTERS rows. */
extern const struct weir_metric_row agg_counter_rows[AGG_COUNTERS];

#endif
