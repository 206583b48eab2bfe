#include "common/base/metric.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <inttypes.h>

static const char *const kind_name[] = {"counter", "gauge"};

int weir_metrics_init(struct weir_metrics *metrics, const struct weir_metric_row *rows, size_t count)
{
    _Atomic uint64_t *values = weir_calloc(count == 0 ? 1 : count, sizeof *values);
    if (values == NULL) return WEIR_ENOMEM;
    *metrics = (struct weir_metrics){.rows = rows, .count = count, .values = values};
    return 0;
}

void weir_metrics_fini(struct weir_metrics *metrics)
{
    weir_free((void *)(uintptr_t)metrics->values);
    *metrics = (struct weir_metrics){0};
}

void weir_metrics_print(const struct weir_metrics *metrics, weir_metric_each_fn *each, void *ctx, struct weir_buf *out)
{
    for (size_t i = 0; i < metrics->count; i++) {
        const struct weir_metric_row *row = &metrics->rows[i];
        if (i == 0 || strcmp(metrics->rows[i - 1].name, row->name) != 0) {
            weir_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name, kind_name[row->kind]);
        }
        if (row->each != NULL) {
            if (each != NULL) each(ctx, i, out);
        } else if (row->labels[0] == '\0') {
            weir_buf_printf(out, "%s %" PRIu64 "\n", row->name, weir_metrics_get(metrics, i));
        } else {
            weir_buf_printf(out, "%s{%s} %" PRIu64 "\n", row->name, row->labels, weir_metrics_get(metrics, i));
        }
    }
}

void weir_metric_sample(const struct weir_metric_row *row, const char *label_value, double value, struct weir_buf *out)
{
    weir_buf_printf(out, "%s{%s%s%s=\"", row->name, row->labels, row->labels[0] == '\0' ? "" : ",", row->each);
    for (const char *at = label_value; *at != '\0'; at++) {
        if (*at == '\n') {
            weir_buf_text(out, "\\n");
        } else {
            if (*at == '"' || *at == '\\') weir_buf_u8(out, '\\');
            weir_buf_u8(out, (uint8_t)*at);
        }
    }
    weir_buf_printf(out, "\"} %.17g\n", value);
}
