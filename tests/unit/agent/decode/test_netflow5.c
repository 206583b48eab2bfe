/** NetFlow v5 and v7 from bytes written by hand after Cisco's "NetFlow Export Datagram Format". */
#include "tests/support/input.h"

#include "tests/support/cmocka.h"

#define RECORD                                                                                       \
    "0a000001 c0000202 c0000201 0003 0004 00000005 00000600 000003e8 000007d0 d431 01bb 00 1b 06 b8" \
    " fde8 fde9 18 10 0000"

/* 2 flows, uptime 5000 ms, 1700000000.250 s, sequence 100, engine 1/2 */
#define HEADER(count, sampling) "0005" count "00001388 6553f100 0ee6b280 00000064 01 02" sampling

enum { EXPORTED_S = 1700000000 };

static void a_record_becomes_a_flow(void **state)
{
    (void)state;
    struct input input;
    struct weir_buf buf = WEIR_BUF_INIT;
    input_init(&input, NULL);
    assert_int_equal(input_take(&input, input_hex(&buf, HEADER("0001", "0000") RECORD), 1), AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 1);
    struct weir_flow flow = input_flow(&input, 0);
    struct weir_flow expected = {.start_ms = EXPORTED_S * 1000ll + 250 - 4000,
                                 .end_ms = EXPORTED_S * 1000ll + 250 - 3000,
                                 .bytes = 1536,
                                 .packets = 5,
                                 .if_in = 3,
                                 .if_out = 4,
                                 .src_as = 65000,
                                 .dst_as = 65001,
                                 .src_port = 54321,
                                 .dst_port = 443,
                                 .tcp_flags = 0x1b,
                                 .proto = 6,
                                 .tos = 0xb8,
                                 .src_mask = 24,
                                 .dst_mask = 16};
    weir_ip_parse("10.0.0.1", &expected.src_ip);
    weir_ip_parse("192.0.2.2", &expected.dst_ip);
    weir_ip_parse("192.0.2.1", &expected.next_hop);
    assert_true(weir_flow_equal(&flow, &expected));
    assert_int_equal(input.batches[0]->source.domain, 0x0102);
    assert_int_equal(input.batches[0]->protocol, WEIR_PROTOCOL_NETFLOW5);
    assert_int_equal(input.batches[0]->last_export_ms, EXPORTED_S * 1000ll + 250);
    weir_buf_fini(&buf);
    input_fini(&input);
}

static void the_two_mode_bits_are_no_part_of_the_sampling_interval(void **state)
{
    (void)state;
    struct input input;
    struct weir_buf buf = WEIR_BUF_INIT;
    input_init(&input, NULL);
    input_take(&input, input_hex(&buf, HEADER("0001", "4064") RECORD), 1);
    struct weir_flow flow = input_flow(&input, 0);
    assert_int_equal(flow.sampling_one_in, 100);
    assert_int_equal(flow.sampling_origin, WEIR_SAMPLING_RECORD);
    weir_buf_fini(&buf);
    input_fini(&input);
}

static void the_operator_overrides_what_the_header_says_and_fills_in_what_it_leaves_out(void **state)
{
    (void)state;
    struct agent_sampling_rule rules[2] = {{.one_in = 50, .overrides = true}, {.one_in = 7}};
    assert_int_equal(weir_prefix_parse("192.0.2.1", &rules[0].exporters), 0);
    assert_int_equal(weir_prefix_parse("192.0.2.0/24", &rules[1].exporters), 0);
    struct agent_decoder_conf conf = AGENT_DECODER_DEFAULTS;
    conf.sampling = rules;
    conf.sampling_count = 2;
    struct input input;
    struct weir_buf buf = WEIR_BUF_INIT;
    input_init(&input, &conf);
    input_take_from(&input, "192.0.2.1", input_hex(&buf, HEADER("0001", "4064") RECORD), 1);
    input_take_from(&input, "192.0.2.2", input_hex(&buf, HEADER("0001", "0000") RECORD), 1);
    input_take_from(&input, "192.0.2.3", input_hex(&buf, HEADER("0001", "4064") RECORD), 1);
    assert_int_equal(input_flow(&input, 0).sampling_one_in, 50);
    assert_int_equal(input_flow(&input, 0).sampling_origin, WEIR_SAMPLING_OPERATOR);
    assert_int_equal(input_flow(&input, 1).sampling_one_in, 7);
    assert_int_equal(input_flow(&input, 1).sampling_origin, WEIR_SAMPLING_DEFAULT);
    assert_int_equal(input_flow(&input, 2).sampling_one_in, 100);
    weir_buf_fini(&buf);
    input_fini(&input);
}

static void an_icmp_flow_has_its_type_and_code_from_the_destination_port(void **state)
{
    (void)state;
    struct input input;
    struct weir_buf buf = WEIR_BUF_INIT;
    input_init(&input, NULL);
    input_take(
        &input,
        input_hex(&buf, HEADER("0002", "0000") RECORD
                  "0a000001 c0000202 c0000201 0003 0004 00000001 00000054 000003e8 000003e8 0000 0303 00 00 01 00"
                  " 0000 0000 00 00 0000"),
        1);
    assert_int_equal(input_flow(&input, 0).icmp_type_code, 0);
    assert_int_equal(input_flow(&input, 1).icmp_type_code, 0x0303);
    weir_buf_fini(&buf);
    input_fini(&input);
}

static void times_are_right_when_the_uptime_wraps_or_the_flow_ends_after_the_export(void **state)
{
    (void)state;
    struct input input;
    struct weir_buf buf = WEIR_BUF_INIT;
    input_init(&input, NULL);
    /* uptime 16 ms: the flow began 26 ms ago, before the wrap, and ends 4 ms ahead of the export */
    input_take(&input,
               input_hex(&buf,
                         "0005 0001 00000010 6553f100 00000000 00000001 0000 0000"
                         "0a000001 c0000202 c0000201 0003 0004 00000005 00000600 fffffff6 00000014 d431 01bb 00 1b 06"
                         " b8 fde8 fde9 18 10 0000"),
               1);
    assert_int_equal(input_flow(&input, 0).start_ms, EXPORTED_S * 1000ll - 26);
    assert_int_equal(input_flow(&input, 0).end_ms, EXPORTED_S * 1000ll + 4);
    weir_buf_fini(&buf);
    input_fini(&input);
}

static void a_datagram_with_fewer_records_than_it_says_keeps_the_whole_ones(void **state)
{
    (void)state;
    struct input input;
    struct weir_buf buf = WEIR_BUF_INIT;
    input_init(&input, NULL);
    assert_int_equal(input_take(&input, input_hex(&buf, HEADER("0003", "0000") RECORD RECORD "0a00"), 1),
                     AGENT_REFUSAL_count);
    assert_int_equal(input_flush(&input), 2);
    assert_int_equal(INPUT_COUNT(&input, refused_netflow5_count), 1);
    input_take(&input, input_hex(&buf, HEADER("0001", "0000") RECORD), 1);
    input_flush(&input);
    assert_int_equal(input.loss.undecodable, 1);
    weir_buf_fini(&buf);
    input_fini(&input);
}

static void datagrams_without_records_or_header_are_refused_by_reason(void **state)
{
    (void)state;
    struct input input;
    struct weir_buf buf = WEIR_BUF_INIT;
    input_init(&input, NULL);
    assert_int_equal(input_take(&input, input_hex(&buf, HEADER("0000", "0000")), 1), AGENT_REFUSAL_count);
    assert_int_equal(input_take(&input, input_hex(&buf, HEADER("0001", "0000")), 1), AGENT_REFUSAL_count);
    assert_int_equal(input_take(&input, input_hex(&buf, "0005 0001 0000"), 1), AGENT_REFUSAL_short);
    assert_int_equal(input_take(&input, input_hex(&buf, ""), 1), AGENT_REFUSAL_short);
    assert_int_equal(input_take(&input, input_hex(&buf, "0008 0001 00000000"), 1), AGENT_REFUSAL_version);
    assert_int_equal(input_take(&input, input_hex(&buf, "00000004 00000001"), 1), AGENT_REFUSAL_version);
    assert_int_equal(INPUT_COUNT(&input, refused_netflow5_count), 2);
    assert_int_equal(INPUT_COUNT(&input, refused_netflow5_short), 1);
    assert_int_equal(INPUT_COUNT(&input, refused_unknown_short), 1);
    assert_int_equal(INPUT_COUNT(&input, refused_unknown_version), 2);
    assert_int_equal(input_flush(&input), 0);
    weir_buf_fini(&buf);
    input_fini(&input);
}

/** The record of version 1, 48 bytes: no AS numbers and masks, and 9 bytes that say nothing. */
#define RECORD1                                                                                               \
    "c0000201 c6336402 c0000201 0003 0004 0000000a 000005dc 00000fa0 00001194 c001 01bb 0000 06 10 1b 000000" \
    "00000000"

static void version_1_has_no_sequence_and_two_datagrams_of_the_same_are_two(void **state)
{
    (void)state;
    struct input input;
    struct weir_buf buf = WEIR_BUF_INIT;
    input_init(&input, NULL);
    struct weir_view view = input_hex(&buf, "0001 0002 00001388 6553f100 1dcd6500" RECORD1 RECORD1);
    assert_int_equal(input_take(&input, view, 1), AGENT_REFUSAL_NONE);
    assert_int_equal(input_take(&input, view, 2), AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 4);
    struct weir_flow flow = input_flow(&input, 1);
    struct weir_flow expected = {.start_ms = 1700000000500 - 1000,
                                 .end_ms = 1700000000500 - 500,
                                 .bytes = 1500,
                                 .packets = 10,
                                 .if_in = 3,
                                 .if_out = 4,
                                 .src_port = 49153,
                                 .dst_port = 443,
                                 .proto = 6,
                                 .tos = 0x10,
                                 .tcp_flags = 0x1b};
    weir_ip_parse("192.0.2.1", &expected.src_ip);
    weir_ip_parse("198.51.100.2", &expected.dst_ip);
    weir_ip_parse("192.0.2.1", &expected.next_hop);
    assert_true(weir_flow_equal(&flow, &expected));
    assert_int_equal(input.batches[0]->protocol, WEIR_PROTOCOL_NETFLOW1);
    assert_int_equal(input.loss.sequence_lost, 0);
    assert_int_equal(INPUT_COUNT(&input, flows_netflow1), 4);
    assert_int_equal(INPUT_COUNT(&input, elements_unknown), 0);

    assert_int_equal(input_take(&input, input_hex(&buf, "0001 0002 00001388 6553f100 00000000" RECORD1), 3),
                     AGENT_REFUSAL_count);
    assert_int_equal(input_flush(&input), 5);
    assert_int_equal(input_take(&input, input_hex(&buf, "0001 0000 00001388 6553f100 00000000"), 4),
                     AGENT_REFUSAL_count);
    assert_int_equal(input_take(&input, input_hex(&buf, "0001 0001 00001388 6553f100"), 5), AGENT_REFUSAL_short);
    weir_buf_fini(&buf);
    input_fini(&input);
}

static void version_7_has_longer_records_and_no_sampling(void **state)
{
    (void)state;
    struct input input;
    struct weir_buf buf = WEIR_BUF_INIT;
    input_init(&input, NULL);
    input_take(
        &input,
        input_hex(&buf, "0007 0002 00001388 6553f100 00000000 00000064 00004064" RECORD "c00002fe" RECORD "c00002fe"),
        1);
    assert_int_equal(input_flush(&input), 2);
    struct weir_flow flow = input_flow(&input, 1);
    assert_int_equal(flow.dst_port, 443);
    assert_int_equal(flow.dst_mask, 16);
    assert_int_equal(flow.sampling_one_in, 0);
    assert_int_equal(input.batches[0]->protocol, WEIR_PROTOCOL_NETFLOW7);
    weir_buf_fini(&buf);
    input_fini(&input);
}

static void missing_flows_travel_as_loss_with_the_next_batch(void **state)
{
    (void)state;
    struct input input;
    struct weir_buf buf = WEIR_BUF_INIT;
    input_init(&input, NULL);
    input_take(&input, input_hex(&buf, HEADER("0001", "0000") RECORD), 1);
    input_take(&input, input_hex(&buf, "0005 0001 00001388 6553f100 00000000 0000012d 0102 0000" RECORD), 2); /* 301 */
    agent_decoder_tick(input.decoder, 6000);
    assert_int_equal(INPUT_COUNT(&input, sequence_lost), 200);
    input_flush(&input);
    assert_int_equal(input.loss.sequence_lost, 200);
    struct agent_exporter_stat stat;
    assert_int_equal(agent_decoder_exporters(input.decoder, &stat, 1), 1);
    assert_int_equal(stat.loss.sequence_lost, 200);
    assert_int_equal(stat.flows, 2);
    assert_int_equal(stat.datagrams, 2);
    weir_buf_fini(&buf);
    input_fini(&input);
}

static void a_reboot_is_seen_by_the_uptime_and_is_no_loss(void **state)
{
    (void)state;
    struct input input;
    struct weir_buf buf = WEIR_BUF_INIT;
    input_init(&input, NULL);
    input_take(&input, input_hex(&buf, "0005 0001 10001388 6553f100 00000000 00000064 0102 0000" RECORD), 1);
    input_take(&input, input_hex(&buf, "0005 0001 00001388 6553f100 00000000 0000ffff 0102 0000" RECORD), 2);
    agent_decoder_tick(input.decoder, 100000);
    assert_int_equal(INPUT_COUNT(&input, sequence_lost), 0);
    assert_int_equal(INPUT_COUNT(&input, sequence_restarts), 1);
    weir_buf_fini(&buf);
    input_fini(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_becomes_a_flow),
        cmocka_unit_test(the_two_mode_bits_are_no_part_of_the_sampling_interval),
        cmocka_unit_test(the_operator_overrides_what_the_header_says_and_fills_in_what_it_leaves_out),
        cmocka_unit_test(an_icmp_flow_has_its_type_and_code_from_the_destination_port),
        cmocka_unit_test(times_are_right_when_the_uptime_wraps_or_the_flow_ends_after_the_export),
        cmocka_unit_test(a_datagram_with_fewer_records_than_it_says_keeps_the_whole_ones),
        cmocka_unit_test(datagrams_without_records_or_header_are_refused_by_reason),
        cmocka_unit_test(version_1_has_no_sequence_and_two_datagrams_of_the_same_are_two),
        cmocka_unit_test(version_7_has_longer_records_and_no_sampling),
        cmocka_unit_test(missing_flows_travel_as_loss_with_the_next_batch),
        cmocka_unit_test(a_reboot_is_seen_by_the_uptime_and_is_no_loss),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
