#include "agent/counters.h"

const struct weir_metric_row agent_counter_rows[AGENT_COUNTERS] = {
#define METRIC(id, type, family, sample, text) \
    {.name = family, .labels = sample, .help = text, .kind = WEIR_METRIC_##type},
#define METRIC_EACH(id, type, family, label, text) \
    {.name = family, .labels = "", .each = label, .help = text, .kind = WEIR_METRIC_##type},
#include "agent/counters.def"
#undef METRIC
#undef METRIC_EACH
};
