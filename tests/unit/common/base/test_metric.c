#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/base/metric.h"

#include "tests/support/cmocka.h"

static const struct weir_metric_row rows[] = {
    {.name = "weir_x_total", .labels = "kind=\"a\"", .help = "Things.", .kind = WEIR_METRIC_COUNTER},
    {.name = "weir_x_total", .labels = "kind=\"b\"", .help = "Things.", .kind = WEIR_METRIC_COUNTER},
    {.name = "weir_level", .labels = "", .help = "A level.", .kind = WEIR_METRIC_GAUGE},
    {.name = "weir_lost_total", .labels = "", .each = "exporter", .help = "Lost.", .kind = WEIR_METRIC_COUNTER},
};

static void two_exporters(void *ctx, size_t row, struct weir_buf *out)
{
    (void)ctx;
    weir_metric_sample(&rows[row], "192.0.2.1", 7, out);
    weir_metric_sample(&rows[row], "a\"b\\c\nd", 18014398509481984.0, out);
}

static void the_text_is_what_prometheus_reads(void **state)
{
    (void)state;
    struct weir_metrics metrics;
    struct weir_buf out = WEIR_BUF_INIT;
    assert_int_equal(weir_metrics_init(&metrics, rows, 4), 0);
    weir_metrics_add(&metrics, 0, UINT64_MAX - 1);
    weir_metrics_add(&metrics, 0, 1);
    weir_metrics_add(&metrics, 1, 5);
    weir_metrics_set(&metrics, 2, 9);
    weir_metrics_set(&metrics, 2, 3);
    weir_metrics_print(&metrics, two_exporters, NULL, &out);
    assert_string_equal(weir_buf_cstr(&out),
                        "# HELP weir_x_total Things.\n# TYPE weir_x_total counter\n"
                        "weir_x_total{kind=\"a\"} 18446744073709551615\nweir_x_total{kind=\"b\"} 5\n"
                        "# HELP weir_level A level.\n# TYPE weir_level gauge\nweir_level 3\n"
                        "# HELP weir_lost_total Lost.\n# TYPE weir_lost_total counter\n"
                        "weir_lost_total{exporter=\"192.0.2.1\"} 7\n"
                        "weir_lost_total{exporter=\"a\\\"b\\\\c\\nd\"} 18014398509481984\n");
    weir_buf_fini(&out);
    weir_metrics_fini(&metrics);
}

static void without_memory_there_are_no_metrics(void **state)
{
    (void)state;
    struct weir_metrics metrics;
    weir_mem_fail_after(0);
    assert_int_equal(weir_metrics_init(&metrics, rows, 4), WEIR_ENOMEM);
    weir_mem_fail_after(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_is_what_prometheus_reads),
        cmocka_unit_test(without_memory_there_are_no_metrics),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
