#include "console/http/counters.h"

const struct weir_metric_row console_metric_rows[CONSOLE_COUNTERS] = {
#define METRIC(id, sort, text, pairs, what) \
    [CONSOLE_##id] = {.name = text, .labels = pairs, .help = what, .kind = WEIR_METRIC_##sort},
#define METRIC_EACH(id, sort, text, label, what) \
    [CONSOLE_##id] = {.name = text, .labels = "", .each = label, .help = what, .kind = WEIR_METRIC_##sort},
#include "console/http/counters.def"
#undef METRIC
#undef METRIC_EACH
};
