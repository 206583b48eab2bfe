/** Counters of weir-console, from counters.def. */
#ifndef WEIR_CONSOLE_HTTP_COUNTERS_H
#define WEIR_CONSOLE_HTTP_COUNTERS_H

#include "common/base/metric.h"

enum console_counter {
#define METRIC(id, kind, name, labels, help)    CONSOLE_##id,
#define METRIC_EACH(id, kind, name, each, help) CONSOLE_##id,
#include "console/http/counters.def"
#undef METRIC
#undef METRIC_EACH
    CONSOLE_COUNTERS
};

extern const struct weir_metric_row console_metric_rows[CONSOLE_COUNTERS];

#endif
