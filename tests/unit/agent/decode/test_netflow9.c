/** NetFlow v9 from bytes written by hand after RFC 3954. */
#include "tests/support/decoder_test.h"

#include "tests/support/cmocka.h"

#include <stdio.h>

/* uptime 10000 ms at 1700000000 s */
#define HEADER(count, sequence, source) "0009" count "00002710 6553f100" sequence source
/* template 256: source and destination IPv4, bytes (4), packets (2), first, last, ports, protocol */
#define TEMPLATE                                                                                          \
    "0000 002c 0100 0009 0008 0004 000c 0004 0001 0004 0002 0002 0016 0004 0015 0004 0007 0002 000b 0002" \
    " 0004 0001"
#define RECORD  "0a000001 c0000202 00000600 0005 00001f40 00002328 d431 01bb 06"
#define RECORD2 "0a000002 c0000202 00000054 0001 00001f40 00001f40 0000 0800 01"

static enum agent_refusal take(const char *hex)
{
    return input_take(&input, input_hex(&buf, hex), 1000);
}

static void records_after_their_template_are_flows_and_padding_is_not(void **state)
{
    (void)state;
    assert_int_equal(take(HEADER("0003", "00000001", "00000007") TEMPLATE "0100 003c" RECORD RECORD2 "0000"),
                     AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 2);
    struct weir_flow flow = input_flow(&input, 0);
    struct weir_flow expected = {.start_ms = 1700000000000 - 2000,
                                 .end_ms = 1700000000000 - 1000,
                                 .bytes = 1536,
                                 .packets = 5,
                                 .src_port = 54321,
                                 .dst_port = 443,
                                 .proto = 6};
    weir_ip_parse("10.0.0.1", &expected.src_ip);
    weir_ip_parse("192.0.2.2", &expected.dst_ip);
    assert_true(weir_flow_equal(&flow, &expected));
    assert_int_equal(input_flow(&input, 1).icmp_type_code, 0x0800);
    assert_int_equal(input.batches[0]->source.domain, 7);
    assert_int_equal(input.batches[0]->protocol, WEIR_PROTOCOL_NETFLOW9);
}

static void data_before_its_template_waits_for_it(void **state)
{
    (void)state;
    assert_int_equal(take(HEADER("0001", "00000001", "00000007") "0100 001f" RECORD), AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 0);
    assert_int_equal(INPUT_COUNT(&input, sets_parked), 1);
    take(HEADER("0001", "00000002", "00000008") TEMPLATE); /* another source id: not its template */
    assert_int_equal(input_flush(&input), 0);
    take(HEADER("0001", "00000002", "00000007") TEMPLATE);
    assert_int_equal(input_flush(&input), 1);
    assert_int_equal(input_flow(&input, 0).dst_port, 443);
    assert_int_equal(INPUT_COUNT(&input, sets_replayed), 1);
    assert_int_equal(input.loss.template_missing, 0);
}

static void data_that_waited_too_long_is_given_up_and_counted(void **state)
{
    (void)state;
    take(HEADER("0001", "00000001", "00000007") "0100 001f" RECORD);
    agent_decoder_tick(input.decoder, 1000 + 300000);
    assert_int_equal(INPUT_COUNT(&input, sets_missing), 0);
    agent_decoder_tick(input.decoder, 1001 + 300000);
    assert_int_equal(INPUT_COUNT(&input, sets_missing), 1);
    take(HEADER("0003", "00000002", "00000007") TEMPLATE "0100 001f" RECORD);
    assert_int_equal(input_flush(&input), 1);
    assert_int_equal(input.loss.template_missing, 1);
}

static void templates_of_exporters_and_source_ids_do_not_mix(void **state)
{
    (void)state;
    take(HEADER("0001", "00000001", "00000007") TEMPLATE);
    take(HEADER("0001", "00000001", "00000008") "0100 001f" RECORD);
    input_take_from(&input, "198.51.100.1", input_hex(&buf, HEADER("0001", "00000001", "00000007") "0100 001f" RECORD),
                    1);
    assert_int_equal(input_flush(&input), 0);
    take(HEADER("0001", "00000002", "00000007") "0100 001f" RECORD);
    assert_int_equal(input_flush(&input), 1);
}

static void a_changed_template_is_taken_and_counted(void **state)
{
    (void)state;
    take(HEADER("0001", "00000001", "00000007") TEMPLATE);
    take(HEADER("0001", "00000002", "00000007") TEMPLATE);
    assert_int_equal(INPUT_COUNT(&input, templates_learned), 1);
    assert_int_equal(INPUT_COUNT(&input, templates_changed), 0);
    take(HEADER("0002", "00000003", "00000007") "0000 000c 0100 0001 0001 0008 0100 000c 0000000000000007");
    assert_int_equal(INPUT_COUNT(&input, templates_changed), 1);
    assert_int_equal(input_flow(&input, 0).bytes, 7);
    assert_int_equal(input_flow(&input, 0).start_ms, 1700000000000); /* no times: that of the export */
}

static void fields_we_do_not_know_cost_no_record(void **state)
{
    (void)state;
    /* 33000 (vendor), 5 bytes; bytes in 3; 92 traffic index, 4; packets in 8 */
    take(HEADER("0002", "00000001", "00000007") "0000 0018 0101 0004 80e8 0005 0001 0003 005c 0004 0002 0008"
                                                "0101 0018 aabbccddee 010203 11223344 0000000000000009");
    assert_int_equal(input_flush(&input), 1);
    assert_int_equal(input_flow(&input, 0).bytes, 0x010203);
    assert_int_equal(input_flow(&input, 0).packets, 9);
    assert_int_equal(INPUT_COUNT(&input, elements_unknown), 2);
}

static void sampler_tables_give_each_flow_the_rate_of_its_sampler(void **state)
{
    (void)state;
    /* options template 257: scope interface, sampler id (1), mode (1), random interval (2) */
    take(HEADER("0001", "00000001", "00000007") "0001 001a 0101 0004 000c 0002 0004 0030 0001 0031 0001 0032 0002");
    take(HEADER("0002", "00000002", "00000007") "0101 0014 00000001 01 02 0064 00000002 02 02 03e8");
    /* template 258: bytes (4), sampler id (1) */
    take(HEADER("0004", "00000003", "00000007") "0000 0010 0102 0002 0001 0004 0030 0001"
                                                "0102 0014 00000001 01 00000002 02 00000003 03 00");
    assert_int_equal(input_flush(&input), 3);
    assert_int_equal(input_flow(&input, 0).sampling_one_in, 100);
    assert_int_equal(input_flow(&input, 0).sampling_origin, WEIR_SAMPLING_SAMPLER);
    assert_int_equal(input_flow(&input, 1).sampling_one_in, 1000);
    assert_int_equal(input_flow(&input, 2).sampling_one_in, 0);
    assert_int_equal(input_flow(&input, 2).sampling_origin, WEIR_SAMPLING_UNKNOWN);
    assert_int_equal(INPUT_COUNT(&input, options_records), 2);
}

static void sampling_of_the_whole_exporter_is_told_by_options_with_system_scope(void **state)
{
    (void)state;
    take(HEADER("0002", "00000001", "00000007") "0001 0016 0101 0004 0008 0001 0000 0022 0004 0023 0001"
                                                "0101 000c 000001f4 01 000000");
    take(HEADER("0003", "00000002", "00000007") TEMPLATE "0100 001f" RECORD);
    assert_int_equal(input_flow(&input, 0).sampling_one_in, 500);
    assert_int_equal(input_flow(&input, 0).sampling_origin, WEIR_SAMPLING_EXPORTER);
}

static void a_rate_in_the_record_goes_before_all_but_the_operators(void **state)
{
    (void)state;
    take(HEADER("0003", "00000001", "00000007") "0000 0010 0102 0002 0001 0004 0022 0004"
                                                "0102 0014 00000001 00000040 00000002 00000000");
    assert_int_equal(input_flow(&input, 0).sampling_one_in, 64);
    assert_int_equal(input_flow(&input, 0).sampling_origin, WEIR_SAMPLING_RECORD);
    assert_int_equal(input_flow(&input, 1).sampling_one_in, 0);
}

static void lengths_that_lie_are_refused_and_what_came_before_is_kept(void **state)
{
    (void)state;
    assert_int_equal(take(HEADER("0001", "00000001", "00000007") "0100 0003"), AGENT_REFUSAL_set_length);
    assert_int_equal(take(HEADER("0001", "00000002", "00000007") "0100 0000 0100 0000"), AGENT_REFUSAL_set_length);
    assert_int_equal(take(HEADER("0003", "00000003", "00000007") TEMPLATE "0100 001f" RECORD "0100 ffff"),
                     AGENT_REFUSAL_set_length);
    assert_int_equal(take("0009 0001 00002710"), AGENT_REFUSAL_short);
    assert_int_equal(input_flush(&input), 1);
    assert_int_equal(INPUT_COUNT(&input, refused_netflow9_set_length), 3);
    assert_int_equal(INPUT_COUNT(&input, refused_netflow9_short), 1);
    assert_int_equal(input.loss.undecodable, 3);
}

static void templates_that_break_their_format_are_refused(void **state)
{
    (void)state;
    /* more fields than bytes; an id below 256; records without a byte; more fields than allowed */
    assert_int_equal(take(HEADER("0001", "00000001", "00000007") "0000 000c 0100 0009 0008 0004"),
                     AGENT_REFUSAL_template);
    assert_int_equal(take(HEADER("0001", "00000002", "00000007") "0000 000c 00ff 0001 0008 0004"),
                     AGENT_REFUSAL_template);
    assert_int_equal(take(HEADER("0001", "00000003", "00000007") "0000 000c 0100 0001 0008 0000"),
                     AGENT_REFUSAL_template);
    assert_int_equal(take(HEADER("0001", "00000004", "00000007") "0000 000c 0100 ffff 0008 0004"),
                     AGENT_REFUSAL_template);
    assert_int_equal(INPUT_COUNT(&input, templates_learned), 0);
    assert_int_equal(INPUT_COUNT(&input, refused_netflow9_template), 4);
}

static void a_template_without_fields_withdraws(void **state)
{
    (void)state;
    take(HEADER("0001", "00000001", "00000007") TEMPLATE);
    take(HEADER("0001", "00000002", "00000007") "0000 0008 0100 0000");
    assert_int_equal(INPUT_COUNT(&input, templates_withdrawn), 1);
    take(HEADER("0001", "00000003", "00000007") "0100 001f" RECORD);
    assert_int_equal(input_flush(&input), 0);
}

static void lost_datagrams_count_as_the_records_they_usually_hold(void **state)
{
    (void)state;
    take(HEADER("0003", "00000001", "00000007") TEMPLATE "0100 003a" RECORD RECORD2);
    take(HEADER("0002", "00000002", "00000007") "0100 003a" RECORD RECORD2);
    take(HEADER("0002", "00000067", "00000007") "0100 003a" RECORD RECORD2); /* 100 are missing */
    agent_decoder_tick(input.decoder, 100000);
    assert_int_equal(INPUT_COUNT(&input, sequence_lost), 200);
}

static void templates_beyond_the_limits_push_out_the_least_used(void **state)
{
    (void)state;
    struct agent_decoder_conf conf = AGENT_DECODER_DEFAULTS;
    conf.most_templates = 8;
    conf.most_templates_all = 12;
    struct input small;
    input_init(&small, &conf);
    input_take(&small, input_hex(&buf, HEADER("0002", "00000000", "00000007") TEMPLATE "0100 001f" RECORD), 1);
    for (int i = 0; i < 7; i++) { /* its own others go before the one in use */
        char hex[200];
        snprintf(hex, sizeof hex, HEADER("0001", "%08x", "00000007") "0000 000c %04x 0001 0001 0008", 1 + i, 300 + i);
        input_take(&small, input_hex(&buf, hex), 1);
    }
    for (int i = 0; i < 100; i++) {
        char hex[200];
        char exporter[20];
        snprintf(hex, sizeof hex, HEADER("0001", "00000001", "00000007") "0000 000c %04x 0001 0001 0008", 256 + i % 20);
        snprintf(exporter, sizeof exporter, "198.51.100.%d", i % 50);
        input_take_from(&small, exporter, input_hex(&buf, hex), 1);
        if (i % 8 != 0) continue;
        snprintf(hex, sizeof hex, HEADER("0001", "%08x", "00000007") "0100 001f" RECORD, 8 + i / 8);
        input_take(&small, input_hex(&buf, hex), 1);
    }
    assert_int_equal(input_flush(&small), 14);
    assert_true(INPUT_COUNT(&small, templates_evicted) > 80);
    input_fini(&small);
}

static void exporters_beyond_the_limit_push_out_the_one_silent_for_longest_and_lose_nothing(void **state)
{
    (void)state;
    struct agent_decoder_conf conf = AGENT_DECODER_DEFAULTS;
    conf.most_exporters = 2;
    conf.most_domains = 2;
    struct input small;
    input_init(&small, &conf);
    for (int i = 0; i < 10; i++) {
        char exporter[20];
        snprintf(exporter, sizeof exporter, "198.51.100.%d", i);
        input_take_from(&small, exporter,
                        input_hex(&buf, HEADER("0002", "00000000", "00000007") TEMPLATE "0100 001f" RECORD), 1);
    }
    assert_int_equal(INPUT_COUNT(&small, exporters_evicted), 8);
    assert_int_equal(input_flush(&small), 10);
    assert_int_equal(agent_decoder_exporters(small.decoder, NULL, 0), 2);
    input_take_from(&small, "198.51.100.9", input_hex(&buf, HEADER("0001", "00000000", "00000008") TEMPLATE), 1);
    assert_int_equal(
        input_take_from(&small, "198.51.100.9", input_hex(&buf, HEADER("0001", "00000000", "00000009")), 1),
        AGENT_REFUSAL_limit);
    input_fini(&small);
}

static void sets_that_wait_stay_inside_the_memory_they_were_given(void **state)
{
    (void)state;
    struct agent_decoder_conf conf = AGENT_DECODER_DEFAULTS;
    conf.most_parked_bytes = 1000;
    struct input small;
    input_init(&small, &conf);
    for (int i = 0; i < 100; i++) {
        char hex[200];
        snprintf(hex, sizeof hex, HEADER("0001", "%08x", "00000007") "0100 001f" RECORD, 1 + i);
        input_take(&small, input_hex(&buf, hex), 1);
    }
    uint64_t given_up = INPUT_COUNT(&small, sets_missing);
    assert_true(given_up > 80 && given_up < 100);
    input_take(&small, input_hex(&buf, HEADER("0001", "00000001", "00000007") TEMPLATE), 1);
    assert_int_equal(input_flush(&small), 100 - given_up);
    assert_int_equal(small.loss.template_missing, given_up);
    input_fini(&small);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(records_after_their_template_are_flows_and_padding_is_not),
        TEST(data_before_its_template_waits_for_it),
        TEST(data_that_waited_too_long_is_given_up_and_counted),
        TEST(templates_of_exporters_and_source_ids_do_not_mix),
        TEST(a_changed_template_is_taken_and_counted),
        TEST(fields_we_do_not_know_cost_no_record),
        TEST(sampler_tables_give_each_flow_the_rate_of_its_sampler),
        TEST(sampling_of_the_whole_exporter_is_told_by_options_with_system_scope),
        TEST(a_rate_in_the_record_goes_before_all_but_the_operators),
        TEST(lengths_that_lie_are_refused_and_what_came_before_is_kept),
        TEST(templates_that_break_their_format_are_refused),
        TEST(a_template_without_fields_withdraws),
        TEST(lost_datagrams_count_as_the_records_they_usually_hold),
        TEST(templates_beyond_the_limits_push_out_the_least_used),
        TEST(exporters_beyond_the_limit_push_out_the_one_silent_for_longest_and_lose_nothing),
        TEST(sets_that_wait_stay_inside_the_memory_they_were_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
