#include "broker/counters.h"

const struct weir_metric_row broker_counter_rows[BROKER_COUNTERS] = {
#define METRIC(id, type, family, sample, text) \
    {.name = family, .labels = sample, .help = text, .kind = WEIR_METRIC_##type},
#define METRIC_EACH(id, type, family, label, text) \
    {.name = family, .labels = "", .each = label, .help = text, .kind = WEIR_METRIC_##type},
#include "broker/counters.def"
#undef METRIC
#undef METRIC_EACH
};
