/** What becomes of information elements: both directions of biflows (RFC 5103), NAT, firewalls, MPLS, applications. */
#include "agent/decode/element.h"
#include "tests/support/decoder_test.h"

#include "tests/support/cmocka.h"

#include <stdio.h>

/* 1700000000 s */
#define HEADER(sequence) "000a0000 6553f100" sequence "00000007"
#define HEADER9          "00090001 00010000 6553f100 00000001 00000007"
/* template 256: start (s), addresses, ports, protocol, octets and packets in total, each with its reverse (PEN 29305) */
#define BIFLOW                                                                                       \
    "0002 0038 0100 000a 0096 0004 0008 0004 000c 0004 0007 0002 000b 0002 0004 0001 0055 0004 8055" \
    "0004 00007279 0056 0004 8056 0004 00007279"
/* from 192.0.2.2 to 192.0.2.3, the rest as given */
#define RECORD(octets, back_octets, packets, back_packets) \
    "6553f000 c0000202 c0000203 8002 0050 06" octets back_octets packets back_packets

static void take(const char *hex)
{
    struct weir_view view = input_hex(&buf, hex);
    weir_store_u16be(buf.data + 2, (uint16_t)view.size); /* v9 has a count there, which nobody reads */
    assert_int_equal(input_take(&input, view, 1000), AGENT_REFUSAL_NONE);
}

static void assert_ip(const struct weir_ip *ip, const char *text)
{
    char got[WEIR_IP_TEXT];
    assert_string_equal(weir_ip_format(ip, got), text);
}

static void a_biflow_is_two_flows_and_each_counts_its_own_direction(void **state)
{
    (void)state;
    take(HEADER("00000000") BIFLOW "0100 0025" RECORD("00004650", "0001f400", "00000041", "0000006e"));
    assert_int_equal(input_flush(&input), 2);
    struct weir_flow there = input_flow(&input, 0);
    assert_ip(&there.src_ip, "192.0.2.2");
    assert_ip(&there.dst_ip, "192.0.2.3");
    assert_int_equal(there.src_port, 32770);
    assert_int_equal(there.dst_port, 80);
    assert_int_equal(there.bytes, 18000);
    assert_int_equal(there.packets, 65);
    struct weir_flow back = input_flow(&input, 1);
    assert_ip(&back.src_ip, "192.0.2.3");
    assert_ip(&back.dst_ip, "192.0.2.2");
    assert_int_equal(back.src_port, 80);
    assert_int_equal(back.dst_port, 32770);
    assert_int_equal(back.proto, 6);
    assert_int_equal(back.bytes, 128000);
    assert_int_equal(back.packets, 110);
    assert_int_equal(back.start_ms, 1699999744000);
    assert_int_equal(INPUT_COUNT(&input, elements_unknown), 0);
    assert_int_equal(INPUT_COUNT(&input, flows_ipfix), 2);
}

static void a_direction_without_packets_is_no_flow_and_the_sequence_counts_records(void **state)
{
    (void)state;
    take(HEADER("00000000") BIFLOW "0100 0067" RECORD("00000001", "00000002", "00000001", "00000001") RECORD(
        "00000003", "00000000", "00000001", "00000000") RECORD("00000005", "00000006", "00000001", "00000001"));
    take(HEADER("00000003") "0100 0025" RECORD("00000007", "00000000", "00000001", "00000000"));
    assert_int_equal(input_flush(&input), 6);
    const uint64_t bytes[] = {1, 3, 5, 2, 6, 7};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(input_flow(&input, i).bytes, bytes[i]);
    agent_decoder_tick(input.decoder, 1000000);
    assert_int_equal(INPUT_COUNT(&input, sequence_lost), 0);
}

/* the same with a name of variable length in front: 96 applicationName, 8, 12, 1, reverse 1 */
static void biflows_with_values_of_variable_length_are_two_flows_too(void **state)
{
    (void)state;
    take(HEADER("00000000") "0002 0020 0101 0005 0060 ffff 0008 0004 000c 0004 0001 0004 8001 0004 00007279"
                            "0101 003b 03 616263 0a000001 0a000002 00000064 00000065"
                            "00 0a000003 0a000004 00000066 00000000"
                            "01 61 0a000005 0a000006 00000067 00000068");
    assert_int_equal(input_flush(&input), 5);
    const uint64_t bytes[] = {100, 102, 103, 101, 104};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(input_flow(&input, i).bytes, bytes[i]);
    struct weir_flow back = input_flow(&input, 4);
    assert_ip(&back.src_ip, "10.0.0.6");
    assert_ip(&back.dst_ip, "10.0.0.5");
}

/* NSEL of an ASA in v9: the addresses and ports behind the NAT, event, octets of initiator and responder, event time */
static void a_firewall_says_what_happened_and_what_both_sides_sent(void **state)
{
    (void)state;
    take(HEADER9 "0000 0044 0102 000f 0008 0004 000c 0004 0007 0002 000b 0002 000a 0002 000e 0002 0004 0001"
                 "9c41 0004 9c42 0004 9c43 0002 9c44 0002 9c45 0001 0143 0008 00e7 0004 00e8 0004"
                 "0102 0036 0a000001 c6336401 8002 0050 0003 0004 06 c0000209 c6336401 1000 0050 02 0000018bcfe56c4c"
                 "00000120 00000a00 00 00 00 00");
    assert_int_equal(input_flush(&input), 2);
    struct weir_flow out = input_flow(&input, 0);
    assert_ip(&out.post_src_ip, "192.0.2.9");
    assert_ip(&out.post_dst_ip, "198.51.100.1");
    assert_int_equal(out.post_src_port, 4096);
    assert_int_equal(out.post_dst_port, 80);
    assert_int_equal(out.firewall_event, 2);
    assert_int_equal(out.end_ms, 0x18bcfe56c4c);
    assert_int_equal(out.start_ms, 0x18bcfe56c4c);
    assert_int_equal(out.bytes, 288);
    struct weir_flow back = input_flow(&input, 1);
    assert_ip(&back.src_ip, "198.51.100.1");
    assert_ip(&back.dst_ip, "10.0.0.1");
    assert_ip(&back.post_dst_ip, "192.0.2.9");
    assert_int_equal(back.if_in, 4);
    assert_int_equal(back.if_out, 3);
    assert_int_equal(back.bytes, 2560);
}

/* 70 a label of 16 with traffic class 5 and the bottom bit, 95 engine 13 selector 453, 234, 235, 136, 230, 225 */
static void labels_applications_vrfs_and_events_are_columns(void **state)
{
    (void)state;
    take(HEADER("00000000") "0002 0024 0103 0007 0046 0003 005f 0004 00ea 0004 00eb 0004 0088 0001 00e6 0001 00e1 0004"
                            "0103 0019 00010b 0d0001c5 00000007 00000008 03 04 c0000201");
    struct weir_flow flow = input_flow(&input, 0);
    assert_int_equal(flow.mpls_label, 16);
    assert_int_equal(flow.application, 13u << 24 | 453);
    assert_int_equal(flow.vrf_in, 7);
    assert_int_equal(flow.vrf_out, 8);
    assert_int_equal(flow.end_reason, 3);
    assert_int_equal(flow.nat_event, 4);
    assert_ip(&flow.post_src_ip, "192.0.2.1");
    assert_int_equal(INPUT_COUNT(&input, elements_unknown), 0);
}

static void values_in_a_size_that_their_type_does_not_have_are_skipped_and_the_rest_is_read(void **state)
{
    (void)state;
    take(HEADER("00000000") "0002 0018 0104 0004 0046 0004 005f 0008 0008 0003 0001 0004"
                            "0104 0017 00000001 0000000000000001 010101 0000002a");
    struct weir_flow flow = input_flow(&input, 0);
    assert_int_equal(flow.bytes, 42);
    assert_int_equal(flow.mpls_label, 0);
    assert_int_equal(flow.application, 0);
    assert_int_equal(INPUT_COUNT(&input, elements_unknown), 3);
}

static void every_element_has_its_number_once_and_is_found_by_it(void **state)
{
    (void)state;
    size_t count = 0;
    const struct agent_element *elements = agent_elements(&count);
    assert_true(count > 490);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) assert_true(elements[i - 1].number < elements[i].number);
        assert_ptr_equal(agent_element_of(elements[i].number), &elements[i]);
    }
    assert_string_equal(agent_element_of(8)->name, "sourceIPv4Address");
    assert_string_equal(agent_element_of(8)->type, "ipv4Address");
    assert_string_equal(agent_element_of(491)->name, "bgpDestinationLargeCommunityList");
    assert_null(agent_element_of(0));
    assert_null(agent_element_of(97));
    assert_null(agent_element_of(65535));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* An Ethernet frame with a VLAN, IPv4, TCP: RFC 791, RFC 9293. 60 bytes, of 1,514 */
#define ETHERNET "0200 5e00 0001 0200 5e00 0002 8100 0064 0800"
#define IP_TCP   "4500 05dc 0001 4000 4006 0000 c000 0201 c633 6402 c001 01bb 00000001 00000002 5018 ffff 0000 0000"

static void assert_is_the_packet(const struct weir_flow *flow)
{
    assert_ip(&flow->src_ip, "192.0.2.1");
    assert_ip(&flow->dst_ip, "198.51.100.2");
    assert_int_equal(flow->src_port, 49153);
    assert_int_equal(flow->dst_port, 443);
    assert_int_equal(flow->proto, 6);
    assert_int_equal(flow->tcp_flags, 0x18);
    assert_int_equal(flow->packets, 1);
}

static void a_flow_is_read_out_of_the_frame_that_a_record_carries(void **state)
{
    (void)state;
    /* template 256: observationTimeMilliseconds, dataLinkFrameSize, dataLinkFrameSection of any length */
    take(HEADER("00000000") "0002 0014 0100 0003 0143 0008 0138 0002 013b ffff"
                            "0100 0049 0000018bcfe56864 05ea 3a" ETHERNET IP_TCP);
    assert_int_equal(input_flush(&input), 1);
    struct weir_flow flow = input_flow(&input, 0);
    assert_is_the_packet(&flow);
    assert_int_equal(flow.bytes, 1514);
    assert_int_equal(flow.vlan_in, 100);
    assert_int_equal(flow.dst_mac, 0x02005e000001);
    assert_int_equal(flow.src_mac, 0x02005e000002);
    assert_int_equal(flow.start_ms, 0x18bcfe56864);
    assert_int_equal(flow.end_ms, 0x18bcfe56864);
    assert_int_equal(INPUT_COUNT(&input, elements_unknown), 0);
}

static void an_ip_header_says_the_bytes_where_nothing_else_does(void **state)
{
    (void)state;
    /* template 256: ipHeaderPacketSection of 40 bytes */
    take(HEADER("00000000") "0002 000c 0100 0001 0139 0028 0100 0054" IP_TCP
                            "6000 0000 0400 1140 20010db8000000000000000000000001 20010db8000000000000000000000002");
    assert_int_equal(input_flush(&input), 2);
    struct weir_flow first = input_flow(&input, 0);
    assert_is_the_packet(&first);
    assert_int_equal(first.bytes, 1500);
    struct weir_flow second = input_flow(&input, 1);
    assert_ip(&second.src_ip, "2001:db8::1");
    assert_int_equal(second.proto, 17);
    assert_int_equal(second.bytes, 1064);
    assert_int_equal(second.src_port, 0);
}

static void the_customers_vlans_are_columns_and_change_sides_with_the_direction(void **state)
{
    (void)state;
    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, (const uint16_t[]){231, 4, 232, 4, 243, 2, 245, 2, 254, 2, 255, 2}, 6);
    message_set(&m, 256), message_u32(&m, 100), message_u32(&m, 200);
    message_u16(&m, 10), message_u16(&m, 11), message_u16(&m, 20), message_u16(&m, 21);
    assert_int_equal(input_take(&input, message_end(&m), 1), AGENT_REFUSAL_NONE);
    struct weir_flow there = input_flow(&input, 0);
    struct weir_flow back = input_flow(&input, 1);
    assert_int_equal(there.vlan_in, 10);
    assert_int_equal(there.cvlan_in, 11);
    assert_int_equal(there.vlan_out, 20);
    assert_int_equal(there.cvlan_out, 21);
    assert_int_equal(back.cvlan_in, 21);
    assert_int_equal(back.cvlan_out, 11);
}

static void an_element_of_its_own_counts_more_than_the_packet(void **state)
{
    (void)state;
    /* template 256 of v9: source address, packets, layer2packetSectionData of 58 bytes */
    take(HEADER9 "0000 0014 0100 0003 0008 0004 0002 0004 0068 003a 0100 0046 0a000001 00000009" ETHERNET IP_TCP);
    struct weir_flow flow = input_flow(&input, 0);
    assert_ip(&flow.src_ip, "10.0.0.1");
    assert_ip(&flow.dst_ip, "198.51.100.2");
    assert_int_equal(flow.packets, 9);
    assert_int_equal(flow.bytes, 1500);
}

static void a_section_without_an_ip_packet_is_counted_and_its_flow_kept(void **state)
{
    (void)state;
    take(HEADER("00000000") "0002 0010 0100 0002 0138 0002 013b ffff"
                            "0100 0018 0040 0e 0200 5e00 0001 0200 5e00 0002 0806 003c 00");
    assert_int_equal(input_flush(&input), 2);
    assert_int_equal(INPUT_COUNT(&input, sections_unread), 2);
    assert_int_equal(input_flow(&input, 0).dst_mac, 0x02005e000001);
    assert_int_equal(input_flow(&input, 0).bytes, 64);
    assert_int_equal(input_flow(&input, 1).bytes, 60);
}

/** A record of template 256 with one time, exported at 1700000000 s; v9 has an uptime of 65,536 ms then (RFC 7012 5.9). */
static void every_form_of_time_is_milliseconds_since_1970(void **state)
{
    (void)state;
    static const struct {
        uint16_t element;
        uint16_t size;
        const char *value;
        int64_t start_ms;
        int64_t end_ms;
        bool v9;
    } cases[] = {
        {150, 4, "6553f0ff", 1699999999000, 1699999999000, false},
        {151, 4, "6553f0ff", 1699999999000, 1699999999000, false},
        {152, 8, "0000018bcfe567ff", 1699999999999, 1699999999999, false},
        {153, 8, "0000018bcfe567ff", 1699999999999, 1699999999999, false},
        {154, 8, "e8fe6f7f 80000000", 1699999999500, 1699999999500, false},
        {155, 8, "e8fe6f7f 40000000", 1699999999250, 1699999999250, false},
        {156, 8, "e8fe6f7f c0000000", 1699999999750, 1699999999750, false},
        {157, 8, "00000010 00000000", 2085978512000, 2085978512000, false}, /* after 2036-02-07 06:28:16 */
        {158, 4, "000f4240", 1699999999000, 1699999999000, false},
        {159, 4, "000001f4", 1700000000000, 1700000000000, false},
        {21, 4, "00000000", 1699999934464, 1699999934464, true},
        {22, 4, "0000ffff", 1699999999999, 1699999999999, true},
        {21, 4, "00010001", 1700000000001, 1700000000001, true}, /* a little after the export */
        {22, 4, "ffffffff", 1699999934463, 1699999934463, true}, /* before the uptime wrapped */
        {322, 4, "6553f0ff", 1699999999000, 1699999999000, false},
        {323, 8, "0000018bcfe567ff", 1699999999999, 1699999999999, false},
        {324, 8, "e8fe6f7f 80000000", 1699999999500, 1699999999500, false},
        {325, 8, "e8fe6f7f 80000000", 1699999999500, 1699999999500, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char hex[200];
        snprintf(hex, sizeof hex, "%s %s000c 0100 0001 %04x %04x 0100 %04x %s",
                 cases[i].v9 ? HEADER9 : HEADER("00000000"), cases[i].v9 ? "0000" : "0002", cases[i].element,
                 cases[i].size, 4 + cases[i].size, cases[i].value);
        take(hex);
        struct weir_flow flow = input_flow(&input, i);
        assert_int_equal(flow.start_ms, cases[i].start_ms);
        assert_int_equal(flow.end_ms, cases[i].end_ms);
    }
}

static void durations_count_from_the_start_and_uptimes_of_ipfix_from_what_options_said(void **state)
{
    (void)state;
    /* template 256: flowStartSeconds, flowDurationMilliseconds; 257: the same in microseconds */
    take(HEADER("00000000") "0002 001c 0100 0002 0096 0004 00a1 0004 0101 0002 0096 0004 00a2 0004"
                            "0100 000c 6553f000 000005dc 0101 000c 6553f000 0016e360");
    assert_int_equal(input_flow(&input, 0).start_ms, 1699999744000);
    assert_int_equal(input_flow(&input, 0).end_ms, 1699999745500);
    assert_int_equal(input_flow(&input, 1).end_ms, 1699999745500);
    /* options template 258: systemInitTimeMilliseconds; template 259: flowStartSysUpTime */
    take(HEADER("00000002") "0003 000e 0102 0001 0001 00a0 0008 0102 000c 0000018bcfe56800"
                            "0002 000c 0103 0001 0016 0004 0103 0008 00000005");
    assert_int_equal(input_flow(&input, 2).start_ms, 1700000000005);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_biflow_is_two_flows_and_each_counts_its_own_direction),
        TEST(a_direction_without_packets_is_no_flow_and_the_sequence_counts_records),
        TEST(biflows_with_values_of_variable_length_are_two_flows_too),
        TEST(a_firewall_says_what_happened_and_what_both_sides_sent),
        TEST(a_flow_is_read_out_of_the_frame_that_a_record_carries),
        TEST(an_ip_header_says_the_bytes_where_nothing_else_does),
        TEST(the_customers_vlans_are_columns_and_change_sides_with_the_direction),
        TEST(an_element_of_its_own_counts_more_than_the_packet),
        TEST(a_section_without_an_ip_packet_is_counted_and_its_flow_kept),
        TEST(labels_applications_vrfs_and_events_are_columns),
        TEST(values_in_a_size_that_their_type_does_not_have_are_skipped_and_the_rest_is_read),
        TEST(every_form_of_time_is_milliseconds_since_1970),
        TEST(durations_count_from_the_start_and_uptimes_of_ipfix_from_what_options_said),
        TEST(every_element_has_its_number_once_and_is_found_by_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
