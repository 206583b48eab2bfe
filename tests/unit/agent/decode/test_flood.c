/** What strangers can make grow: templates, exporters and data that waits stay under their limits, and the rest goes on. */
#include "tests/support/decoder_test.h"

#include "tests/support/cmocka.h"

enum { EXPORTERS = 1000, TEMPLATES = 65535, FIELDS = 200 };

static void take(uint32_t exporter, int64_t now_ms)
{
    struct agent_peer peer = {.session = 2055};
    peer.ip = weir_ip_from_v4((const uint8_t[]){10, 0, (uint8_t)(exporter >> 8), (uint8_t)exporter});
    agent_decode(input.decoder, &peer, message_end(&m), now_ms);
}

static uint64_t templates_known(void)
{
    static struct agent_exporter_stat stats[2 * EXPORTERS];
    size_t count = agent_decoder_exporters(input.decoder, stats, 2 * EXPORTERS);
    uint64_t known = 0;
    for (size_t i = 0; i < count; i++)
        known += stats[i].templates;
    return known;
}

static void all_template_ids_from_a_thousand_forged_exporters_stay_under_the_limits(void **state)
{
    (void)state;
    static uint16_t fields[2 * FIELDS];
    for (int i = 0; i < FIELDS; i++) {
        fields[2 * i] = (uint16_t)(1 + i);
        fields[2 * i + 1] = 4;
    }
    const uint32_t honest = EXPORTERS;
    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, (const uint16_t[]){1, 4, 2, 4}, 2);
    take(honest, 1);
    for (uint32_t i = 0; i < TEMPLATES; i++) {
        message_ipfix(&m, 1700000000, 0, 7);
        message_template(&m, (uint16_t)(256 + i % (65536 - 256)), fields, FIELDS);
        message_records(&m, (uint16_t)(256 + (i + 1) % (65536 - 256)), 1, 8); /* and data that nobody explains */
        take(i % EXPORTERS, 1 + i / 100);
        if (i % 100 != 0) continue;
        message_ipfix(&m, 1700000000, i / 100, 7);
        message_records(&m, 256, 1, 8);
        take(honest, 1 + i / 100);
    }
    uint64_t known = templates_known();
    uint64_t flood_bytes = known * FIELDS * 8;
    assert_in_range(flood_bytes, 1u << 20, 8u << 20); /* most_template_bytes */
    assert_int_equal(INPUT_COUNT(&input, templates_learned), known + INPUT_COUNT(&input, templates_evicted));
    assert_int_equal(INPUT_COUNT(&input, templates_learned), TEMPLATES + 1);
    assert_int_equal(INPUT_COUNT(&input, exporters_evicted), 0);
    assert_in_range(INPUT_COUNT(&input, flows_ipfix), TEMPLATES / 100 + 1, TEMPLATES); /* the honest one's, every one */
    assert_int_equal(INPUT_COUNT(&input, sets_missing), INPUT_COUNT(&input, sets_pushed_out));
}

/** Data without template, of one exporter and of many, as much as there is room for, and more. */
static void data_that_waits_is_bounded_by_exporter_and_in_all(void **state)
{
    (void)state;
    enum { RECORD = 1000, EACH = 3000 };
    for (int i = 0; i < EACH; i++) {
        message_ipfix(&m, 1700000000, (uint32_t)i, 7);
        message_records(&m, 256, 1, RECORD);
        take(1, 1000 + i);
    }
    uint64_t kept = INPUT_COUNT(&input, sets_parked) - INPUT_COUNT(&input, sets_missing);
    assert_in_range(kept * RECORD, 800000, 1u << 20);
    assert_int_equal(INPUT_COUNT(&input, sets_pushed_out), EACH - kept);

    for (uint32_t exporter = 2; exporter < 12; exporter++) {
        for (int i = 0; i < EACH; i++) {
            message_ipfix(&m, 1700000000, (uint32_t)i, 7);
            message_records(&m, 256, 1, RECORD);
            take(exporter, 10000 + i);
        }
    }
    kept = INPUT_COUNT(&input, sets_parked) - INPUT_COUNT(&input, sets_missing);
    assert_in_range(kept * RECORD, 3200000, 4u << 20);

    /* The last is whole: its newest sets are decoded, with the time at which they were exported. */
    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, (const uint16_t[]){1, 4, 210, RECORD - 4}, 2);
    take(11, 40000);
    assert_in_range(input_flush(&input) * RECORD, 800000, 1u << 20);
    assert_int_equal(INPUT_COUNT(&input, sets_missing), INPUT_COUNT(&input, sets_pushed_out));
}

static void data_thirty_seconds_before_its_template_keeps_its_export_time(void **state)
{
    (void)state;
    message_ipfix(&m, 1700000000, 0, 7);
    message_records(&m, 256, 1, 8);
    take(1, 1700000000000);
    message_ipfix(&m, 1700000030, 1, 7);
    message_template(&m, 256, (const uint16_t[]){1, 4, 2, 4}, 2);
    take(1, 1700000030000);
    assert_int_equal(input_flush(&input), 1);
    assert_int_equal(input_flow(&input, 0).end_ms, 1700000000000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_template_ids_from_a_thousand_forged_exporters_stay_under_the_limits),
        TEST(data_that_waits_is_bounded_by_exporter_and_in_all),
        TEST(data_thirty_seconds_before_its_template_keeps_its_export_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
