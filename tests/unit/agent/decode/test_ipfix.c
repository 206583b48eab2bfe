/** IPFIX from bytes written by hand after RFC 7011. */
#include "common/base/mem.h"
#include "tests/support/decoder_test.h"

#include "tests/support/cmocka.h"

#include <stdio.h>

/* 1700000000 s */
#define HEADER(length, sequence) "000a" length "6553f100" sequence "00000007"
/* template 256: IPv6 addresses, milliseconds, bytes (8), packets (8), protocol, a vendor's field of 4 bytes */
#define TEMPLATE6 \
    "0002 002c 0100 0008 001b 0010 001c 0010 0098 0008 0099 0008 0001 0008 0002 0008 0004 0001 8064 0004 00000009"
#define RECORD6                                                                                           \
    "20010db8000000000000000000000001 20010db8000000000000000000000002 0000018bcfe56864 0000018bcfe56c4c" \
    "0000000000000600 0000000000000005 3a aabbccdd"
/* template 257: bytes (4), a string of any length, packets (4), another string */
#define TEMPLATE_V "0002 0018 0101 0004 0001 0004 0052 ffff 0002 0004 0053 ffff"

static enum agent_refusal take_at(const char *hex, int64_t received_ms)
{
    struct weir_view view = input_hex(&buf, hex);
    weir_store_u16be(buf.data + 2, (uint16_t)view.size); /* the length is the bytes'; tests of it write their own */
    return input_take(&input, view, received_ms);
}

static enum agent_refusal take(const char *hex)
{
    return take_at(hex, 1000);
}

static void ipv6_flows_in_milliseconds_with_a_vendors_field(void **state)
{
    (void)state;
    assert_int_equal(take(HEADER("0000", "00000000") TEMPLATE6 "0100 0049" RECORD6), AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 1);
    struct weir_flow flow = input_flow(&input, 0);
    struct weir_flow expected = {
        .start_ms = 0x18bcfe56864, .end_ms = 0x18bcfe56c4c, .bytes = 1536, .packets = 5, .proto = 58};
    weir_ip_parse("2001:db8::1", &expected.src_ip);
    weir_ip_parse("2001:db8::2", &expected.dst_ip);
    assert_true(weir_flow_equal(&flow, &expected));
    assert_int_equal(INPUT_COUNT(&input, elements_unknown), 1);
    assert_int_equal(input.batches[0]->last_export_ms, 1700000000000);
}

static void values_of_variable_length_are_stepped_over_in_both_forms(void **state)
{
    (void)state;
    assert_int_equal(take(HEADER("0000", "00000000") TEMPLATE_V
                          "0101 002a 00000064 03 616263 00000007 00"                       /* "abc", "" */
                          "00000065 ff 0002 6162 00000008 01 7a 00000066 00 00000009 00"), /* the long form of "ab" */
                     AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 3);
    assert_int_equal(input_flow(&input, 0).bytes, 100);
    assert_int_equal(input_flow(&input, 0).packets, 7);
    assert_int_equal(input_flow(&input, 1).bytes, 101);
    assert_int_equal(input_flow(&input, 1).packets, 8);
    assert_int_equal(input_flow(&input, 2).bytes, 102);
    assert_int_equal(input_flow(&input, 2).packets, 9);
}

static void many_records_of_variable_length_are_all_read(void **state)
{
    (void)state;
    char hex[8000] = HEADER("0000", "00000000") TEMPLATE_V "0101 0578";
    for (int i = 0; i < 140; i++) /* of 10 bytes: more than are walked at a time */
        snprintf(hex + strlen(hex), sizeof hex - strlen(hex), "%08x 00 %08x 00", i, i * 2);
    weir_buf_clear(&buf);
    struct weir_view view = input_hex(&buf, hex);
    weir_store_u16be(buf.data + 16 + 24 + 2, (uint16_t)(view.size - 16 - 24));
    weir_store_u16be(buf.data + 2, (uint16_t)view.size);
    assert_int_equal(input_take(&input, view, 1), AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 140);
    for (size_t i = 0; i < 140; i++)
        assert_int_equal(input_flow(&input, i).packets, i * 2);
}

static void a_value_that_runs_past_its_set_is_refused_and_the_records_before_it_kept(void **state)
{
    (void)state;
    assert_int_equal(take(HEADER("0000", "00000000") TEMPLATE_V "0101 001a 00000064 00 00000007 00"
                                                                "00000065 09 6162 00000008 01"),
                     AGENT_REFUSAL_record);
    assert_int_equal(input_flush(&input), 1);
    assert_int_equal(INPUT_COUNT(&input, refused_ipfix_record), 1);
}

static void addresses_of_both_families_in_one_template_give_the_one_that_is_there(void **state)
{
    (void)state;
    take(HEADER("0000", "00000000") "0002 0010 0100 0002 0008 0004 001b 0010"
                                    "0100 0040 00000000 20010db8000000000000000000000001"
                                    "0a000001 00000000000000000000000000000000"
                                    "0a000002 20010db8000000000000000000000002");
    char text[WEIR_IP_TEXT];
    struct weir_flow flow = input_flow(&input, 0);
    assert_string_equal(weir_ip_format(&flow.src_ip, text), "2001:db8::1");
    flow = input_flow(&input, 1);
    assert_string_equal(weir_ip_format(&flow.src_ip, text), "10.0.0.1");
    flow = input_flow(&input, 2); /* a tunnel: the outer comes first */
    assert_string_equal(weir_ip_format(&flow.src_ip, text), "10.0.0.2");
}

static void delta_counts_go_before_total_counts_wherever_they_stand(void **state)
{
    (void)state;
    take(HEADER("0000", "00000000") "0002 0018 0100 0004 0055 0004 0001 0004 0056 0004 0002 0004"
                                    "0100 0014 000003e8 0000000a 00000064 00000001");
    assert_int_equal(input_flow(&input, 0).bytes, 10);
    assert_int_equal(input_flow(&input, 0).packets, 1);
}

static void every_form_of_time_becomes_milliseconds(void **state)
{
    (void)state;
    /* seconds */
    take(HEADER("0000", "00000000") "0002 0010 0100 0002 0096 0004 0097 0004 0100 000c 6553f0fe 6553f0ff");
    assert_int_equal(input_flow(&input, 0).start_ms, 1699999998000);
    assert_int_equal(input_flow(&input, 0).end_ms, 1699999999000);
    /* microseconds and nanoseconds in the format of NTP: 1700000000.5 is 2208988800 s later, and half of 2^32 */
    take(HEADER("0000",
                "00000001") "0002 0010 0100 0002 009a 0008 009d 0008 0100 0014 e8fe6f80 80000000 e8fe6f81 40000000");
    assert_int_equal(input_flow(&input, 1).start_ms, 1700000000500);
    assert_int_equal(input_flow(&input, 1).end_ms, 1700000001250);
    /* microseconds before the export */
    take(HEADER("0000", "00000002") "0002 0010 0100 0002 009e 0004 009f 0004 0100 000c 001e8480 000f4240");
    assert_int_equal(input_flow(&input, 2).start_ms, 1699999998000);
    assert_int_equal(input_flow(&input, 2).end_ms, 1699999999000);
    /* a start and a duration */
    take(HEADER("0000", "00000003") "0002 0010 0100 0002 00a1 0004 0098 0008 0100 0010 000003e8 0000018bcfe56800");
    assert_int_equal(input_flow(&input, 3).start_ms, 1700000000000);
    assert_int_equal(input_flow(&input, 3).end_ms, 1700000001000);
    /* uptimes, of a system that options data say began 10 s before the export */
    take(HEADER("0000", "00000004") "0003 0012 0101 0002 0001 0090 0004 00a0 0008 0101 0010 00000001 0000018bcfe540f0");
    take(HEADER("0000", "00000005") "0002 0010 0100 0002 0016 0004 0015 0004 0100 000c 00001f40 00002328");
    assert_int_equal(input_flow(&input, 4).start_ms, 1699999998000);
    assert_int_equal(input_flow(&input, 4).end_ms, 1699999999000);
}

static void uptimes_are_those_of_the_start_that_options_of_the_same_message_told(void **state)
{
    (void)state;
    take(HEADER("0000", "00000000") "0003 0012 0101 0002 0001 0090 0004 00a0 0008 0101 0010 00000001 0000018bcfe540f0"
                                    "0002 0010 0100 0002 0016 0004 0015 0004 0100 000c 00001f40 00002328");
    assert_int_equal(input_flow(&input, 0).start_ms, 1699999998000);
    assert_int_equal(input_flow(&input, 0).end_ms, 1699999999000);
}

static void interval_and_space_are_one_in_their_sum(void **state)
{
    (void)state;
    /* options: selector id 5 (scope): 1 in 1+99; the flows name their selector, or say it themselves */
    take(HEADER("0000", "00000000") "0003 0016 0101 0003 0001 012e 0008 0131 0004 0132 0004"
                                    "0101 0014 0000000000000005 00000001 00000063");
    take(HEADER("0000", "00000001") "0002 0010 0100 0002 0001 0004 012e 0008 0100 0010 00000007 0000000000000005");
    take(HEADER("0000",
                "00000002") "0002 0014 0102 0003 0001 0004 0131 0004 0132 0004 0102 0010 00000007 00000002 00000006");
    assert_int_equal(input_flow(&input, 0).sampling_one_in, 100);
    assert_int_equal(input_flow(&input, 0).sampling_origin, WEIR_SAMPLING_SAMPLER);
    assert_int_equal(input_flow(&input, 1).sampling_one_in, 4);
    assert_int_equal(input_flow(&input, 1).sampling_origin, WEIR_SAMPLING_RECORD);
}

static void an_interval_without_a_space_is_the_rate_itself(void **state)
{
    (void)state;
    take(HEADER("0000", "00000000") "0003 0012 0101 0002 0001 012e 0008 0131 0004"
                                    "0101 0010 0000000000000005 000003e8");
    take(HEADER("0000", "00000001") "0002 0010 0100 0002 0001 0004 012e 0008 0100 0010 00000007 0000000000000005");
    take(HEADER("0000", "00000002") "0002 0010 0102 0002 0001 0004 0131 0004 0102 000c 00000007 00000200");
    assert_int_equal(input_flow(&input, 0).sampling_one_in, 1000);
    assert_int_equal(input_flow(&input, 1).sampling_one_in, 512);
    assert_int_equal(input_flow(&input, 1).sampling_origin, WEIR_SAMPLING_RECORD);
}

static void size_and_population_are_a_rate_too(void **state)
{
    (void)state;
    take(HEADER("0000", "00000000") "0003 0016 0101 0003 0001 0090 0004 0135 0004 0136 0004"
                                    "0101 0010 00000001 00000004 00000800");
    take(HEADER("0000", "00000001") "0002 000c 0100 0001 0001 0004 0100 0008 00000007");
    assert_int_equal(input_flow(&input, 0).sampling_one_in, 512);
    assert_int_equal(input_flow(&input, 0).sampling_origin, WEIR_SAMPLING_EXPORTER);
}

static void random_n_out_of_n_is_the_population_whatever_interval_is_named_beside_it(void **state)
{
    (void)state;
    /* IOS XR: samplingPacketInterval 1, selectorAlgorithm 3, samplingSize 1, samplingPopulation 256 */
    take(HEADER("0000", "00000000") "0003 001e 0101 0005 0001 012e 0004 0131 0004 0130 0002 0135 0004 0136 0004"
                                    "0101 0016 00000001 00000001 0003 00000001 00000100");
    take(HEADER("0000", "00000001") "0002 0010 0100 0002 0001 0004 012e 0004 0100 000c 00000007 00000001");
    assert_int_equal(input_flow(&input, 0).sampling_one_in, 256);
    assert_int_equal(input_flow(&input, 0).sampling_origin, WEIR_SAMPLING_SAMPLER);
}

static void withdrawals_forget_one_template_or_all_of_a_kind(void **state)
{
    (void)state;
    take(HEADER("0000", "00000000") "0002 0014 0100 0001 0001 0004 0101 0001 0001 0004"
                                    "0003 000e 0102 0001 0001 0090 0004");
    assert_int_equal(INPUT_COUNT(&input, templates_learned), 3);
    take(HEADER("0000", "00000000") "0002 0008 0100 0000");
    assert_int_equal(INPUT_COUNT(&input, templates_withdrawn), 1);
    take(HEADER("0000", "00000000") "0002 0008 0002 0000");
    assert_int_equal(INPUT_COUNT(&input, templates_withdrawn), 2);
    take(HEADER("0000", "00000000") "0003 0008 0003 0000");
    assert_int_equal(INPUT_COUNT(&input, templates_withdrawn), 3);
    take(HEADER("0000", "00000000") "0100 0008 00000007");
    assert_int_equal(input_flush(&input), 0);
    assert_int_equal(INPUT_COUNT(&input, sets_withdrawn), 1);
}

static void sequence_numbers_count_data_records_with_options(void **state)
{
    (void)state;
    take(HEADER("0000", "0000000a") "0003 000e 0102 0001 0001 0090 0004 0102 000c 00000001 00000002");     /* 2 */
    take(HEADER("0000", "0000000c") "0002 000c 0100 0001 0001 0004 0100 0010 00000001 00000002 00000003"); /* 3 */
    take(HEADER("0000", "0000000f") "0104 0008 00000007"); /* unknown: who knows how many */
    take(HEADER("0000", "00000014") "0100 0008 00000001");
    agent_decoder_tick(input.decoder, 7000);
    assert_int_equal(INPUT_COUNT(&input, sequence_lost), 0);
    take_at(HEADER("0000", "000000dd") "0100 0008 00000001", 8000); /* 0x15 .. 0xdc: 200 */
    agent_decoder_tick(input.decoder, 14000);
    assert_int_equal(INPUT_COUNT(&input, sequence_lost), 200);
}

static void messages_that_lie_about_their_length_are_refused(void **state)
{
    (void)state;
    assert_int_equal(input_take(&input, input_hex(&buf, HEADER("0100", "00000000")), 1), AGENT_REFUSAL_truncated);
    assert_int_equal(input_take(&input, input_hex(&buf, HEADER("000f", "00000000")), 1), AGENT_REFUSAL_short);
    assert_int_equal(input_take(&input, input_hex(&buf, "000a 0010 6553"), 1), AGENT_REFUSAL_short);
    assert_int_equal(take(HEADER("0000", "00000000") "0100 0000"), AGENT_REFUSAL_set_length);
    assert_int_equal(take(HEADER("0000", "00000000") "0003 000e 0102 0001 0002 0090 0004"), AGENT_REFUSAL_template);
    assert_int_equal(INPUT_COUNT(&input, refused_ipfix_truncated), 1);
    assert_int_equal(INPUT_COUNT(&input, refused_ipfix_short), 2);
}

static void a_last_set_that_the_message_does_not_quite_hold_is_taken(void **state)
{
    (void)state;
    /* the length leaves out the two bytes of padding that the set counts; then zeros fill the datagram */
    assert_int_equal(input_take(&input,
                                input_hex(&buf, HEADER("0026", "00000000") "0002 000c 0100 0001 0001 0004"
                                                                           "0100 000c 00000007 00000008"),
                                1),
                     AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 2);
    assert_int_equal(take(HEADER("0000", "00000002") "0100 0008 00000009 0000 0000 0000 0000"), AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 3);
}

static void a_set_with_a_reserved_id_is_skipped(void **state)
{
    (void)state;
    assert_int_equal(
        take(HEADER("0000", "00000000") "0005 0008 00000000 0002 000c 0100 0001 0001 0004 0100 0008 00000007"),
        AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 1);
    assert_int_equal(INPUT_COUNT(&input, sets_unknown), 1);
}

static void a_set_larger_than_a_batch_fills_several(void **state)
{
    (void)state;
    weir_buf_clear(&buf);
    weir_buf_u16be(&buf, 10);
    weir_buf_u16be(&buf, 16 + 12 + 4 + 60000);
    weir_buf_u32be(&buf, 1700000000);
    weir_buf_u32be(&buf, 0);
    weir_buf_u32be(&buf, 7);
    static const uint16_t template[] = {2, 12, 256, 1, 4, 1, 256, 60004};
    for (int i = 0; i < 8; i++)
        weir_buf_u16be(&buf, template[i]);
    for (int i = 0; i < 60000; i++)
        weir_buf_u8(&buf, (uint8_t)(i % 250));
    assert_int_equal(input_take(&input, weir_buf_view(&buf), 1), AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 60000);
    assert_int_equal(input_flow(&input, 59999).proto, 59999 % 250);
}

static void a_decoder_that_finds_no_memory_refuses_and_goes_on(void **state)
{
    (void)state;
    enum agent_refusal refusal = AGENT_REFUSAL_memory;
    int failures = 0;
    for (int i = 0; refusal == AGENT_REFUSAL_memory; i++, failures++) {
        struct weir_view view = input_hex(
            &buf, HEADER("003a", "00000000") "0002 0010 0100 0002 0001 0004 0052 ffff"
                                             "0100 001a 00000001 00 00000002 00 00000003 00 00000004 00 0000");
        weir_mem_fail_after(i);
        refusal = input_take(&input, view, 1);
        weir_mem_fail_after(-1);
    }
    assert_true(failures >= 4);
    assert_int_equal(refusal, AGENT_REFUSAL_NONE);
    const struct agent_gather_counts *gathered = agent_gather_counted(input.gather);
    assert_int_equal(input_flush(&input) + gathered->dropped_no_memory, gathered->flows_in);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ipv6_flows_in_milliseconds_with_a_vendors_field),
        TEST(values_of_variable_length_are_stepped_over_in_both_forms),
        TEST(many_records_of_variable_length_are_all_read),
        TEST(a_value_that_runs_past_its_set_is_refused_and_the_records_before_it_kept),
        TEST(addresses_of_both_families_in_one_template_give_the_one_that_is_there),
        TEST(delta_counts_go_before_total_counts_wherever_they_stand),
        TEST(every_form_of_time_becomes_milliseconds),
        TEST(uptimes_are_those_of_the_start_that_options_of_the_same_message_told),
        TEST(interval_and_space_are_one_in_their_sum),
        TEST(an_interval_without_a_space_is_the_rate_itself),
        TEST(size_and_population_are_a_rate_too),
        TEST(random_n_out_of_n_is_the_population_whatever_interval_is_named_beside_it),
        TEST(withdrawals_forget_one_template_or_all_of_a_kind),
        TEST(sequence_numbers_count_data_records_with_options),
        TEST(messages_that_lie_about_their_length_are_refused),
        TEST(a_last_set_that_the_message_does_not_quite_hold_is_taken),
        TEST(a_set_with_a_reserved_id_is_skipped),
        TEST(a_set_larger_than_a_batch_fills_several),
        TEST(a_decoder_that_finds_no_memory_refuses_and_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
