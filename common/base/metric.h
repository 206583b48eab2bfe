/**
 * Counters and gauges by table: a program lists them in its `counters.def`, and the enum, the Prometheus text,
 * docs/METRICS.md and the names in tests come from that table.
 *
 *     METRIC(datagrams_netflow5, COUNTER, "weir_agent_datagrams_total", "protocol=\"netflow5\"", "Datagrams received.")
 *     METRIC_EACH(exporter_lost, COUNTER, "weir_agent_sequence_lost_total", "exporter", "Records lost before us.")
 *
 * Rows of one family stand together. METRIC_EACH rows have one sample per thing (exporter, peer); their samples are
 * written by the program when it is asked, with weir_metric_sample.
 */
#ifndef WEIR_COMMON_BASE_METRIC_H
#define WEIR_COMMON_BASE_METRIC_H

#include "common/base/buf.h"

#include <stdatomic.h>

enum weir_metric_kind { WEIR_METRIC_COUNTER, WEIR_METRIC_GAUGE };

struct weir_metric_row {
    const char *name;   /* of the family, with its unit and _total where it counts */
    const char *labels; /* `protocol="netflow5"`, or "" */
    const char *each;   /* name of the label whose values are known only at run time, or NULL */
    const char *help;
    enum weir_metric_kind kind;
};

/** The values of one table. Adding is a relaxed atomic: hot threads count locally and add once a burst. */
struct weir_metrics {
    const struct weir_metric_row *rows;
    size_t count;
    _Atomic uint64_t *values;
};

/** Values for @rows, all zero; the rows stay the caller's (static). WEIR_ENOMEM. */
int weir_metrics_init(struct weir_metrics *metrics, const struct weir_metric_row *rows, size_t count);
void weir_metrics_fini(struct weir_metrics *metrics);

static inline void weir_metrics_add(struct weir_metrics *metrics, size_t row, uint64_t n)
{
    atomic_fetch_add_explicit(&metrics->values[row], n, memory_order_relaxed);
}

static inline void weir_metrics_set(struct weir_metrics *metrics, size_t row, uint64_t value)
{
    atomic_store_explicit(&metrics->values[row], value, memory_order_relaxed);
}

static inline uint64_t weir_metrics_get(const struct weir_metrics *metrics, size_t row)
{
    return atomic_load_explicit(&metrics->values[row], memory_order_relaxed);
}

/** Write one sample of an `each` row. Called back from weir_metrics_print, any thread that calls that. */
typedef void weir_metric_each_fn(void *ctx, size_t row, struct weir_buf *out);

/** Append the Prometheus text (version 0.0.4) of all rows; @each (may be NULL) writes the samples of `each` rows. */
void weir_metrics_print(const struct weir_metrics *metrics, weir_metric_each_fn *each, void *ctx, struct weir_buf *out);

/** Append one sample line of @row with the value @label_value of its run-time label, escaped. */
void weir_metric_sample(const struct weir_metric_row *row, const char *label_value, double value, struct weir_buf *out);

#endif
