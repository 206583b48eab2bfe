#include "agent/decode/count.h"
#include "common/base/metric.h"

#include "tests/support/cmocka.h"

#include <stdio.h>
#include <string.h>

static const struct weir_metric_row rows[] = {
#define METRIC(id, what, family, with, text)    {.name = family, .labels = with, .help = text, .kind = WEIR_METRIC_##what},
#define METRIC_EACH(id, what, family, of, text) {.name = family, .each = of, .help = text, .kind = WEIR_METRIC_##what},
#include "agent/counters_input.def"
#undef METRIC
#undef METRIC_EACH
};

static void every_refusal_of_every_protocol_has_the_row_that_says_so(void **state)
{
    (void)state;
    static const char *const protocols[] = {"netflow5", "netflow7", "netflow9", "ipfix",
                                            "sflow5",   "netflow1", "unknown"};
    for (int p = 0; p < AGENT_PROTOCOL_COUNT; p++) {
        for (int r = 1; r < AGENT_REFUSAL_COUNT; r++) {
            const struct weir_metric_row *row = &rows[agent_input_refused(p, r)];
            char labels[100];
            snprintf(labels, sizeof labels, "protocol=\"%s\",reason=\"%s\"", protocols[p], agent_refusal_name(r));
            assert_string_equal(row->name, "weir_agent_decode_errors_total");
            assert_string_equal(row->labels, labels);
            assert_true(strlen(weir_drop_info(agent_refusal_reason(r))->text) > 0);
        }
        char labels[100];
        snprintf(labels, sizeof labels, "protocol=\"%s\"", protocols[p]);
        assert_string_equal(rows[AGENT_INPUT_datagrams_netflow5 + p].labels, labels);
        assert_string_equal(rows[AGENT_INPUT_datagram_bytes_netflow5 + p].labels, labels);
        assert_string_equal(rows[AGENT_INPUT_flows_netflow5 + p].labels, labels);
    }
}

static void rows_of_one_family_stand_together(void **state)
{
    (void)state;
    for (size_t i = 1; i < AGENT_INPUT_COUNT; i++) {
        if (strcmp(rows[i].name, rows[i - 1].name) == 0) continue;
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(rows[i].name, rows[k].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_refusal_of_every_protocol_has_the_row_that_says_so),
        cmocka_unit_test(rows_of_one_family_stand_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
