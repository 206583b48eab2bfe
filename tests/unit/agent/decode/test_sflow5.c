/** sFlow v5 from bytes written by hand after sflow_version_5.txt. */
#include "tests/support/decoder_test.h"

#include "tests/support/cmocka.h"

#include <stdio.h>

/* agent 192.0.2.9, sub-agent 3, uptime 10 s */
#define HEADER(sequence, samples) "00000005 00000001 c0000209 00000003" sequence "00002710" samples
#define ETHERNET                  "0a0000000002 0a0000000001"
#define IPV4_TCP                  "45b80034 00000000 4006 0000 0a000001 c0000202 d431 01bb 00000001 00000002 8012 ffff 0000 0000"

static int set_up_inner(void **state)
{
    (void)state;
    struct agent_decoder_conf conf = AGENT_DECODER_DEFAULTS;
    conf.tunnels = AGENT_TUNNELS_INNER;
    input_init(&input, &conf);
    return 0;
}

static enum agent_refusal take(const char *hex)
{
    return input_take(&input, input_hex(&buf, hex), 1700000000000);
}

/** Append @hex to @buf as an opaque of XDR: its length before it, padded to 4. */
static void append_opaque(struct weir_buf *to, const char *hex)
{
    struct weir_buf bytes = WEIR_BUF_INIT;
    struct weir_view view = input_hex(&bytes, hex);
    weir_buf_u32be(to, (uint32_t)view.size);
    weir_buf_append(to, view.data, view.size);
    while (to->size % 4 != 0)
        weir_buf_u8(to, 0);
    weir_buf_fini(&bytes);
}

/** A datagram with one compact flow sample (rate 512, interfaces 1 and 2) of one raw header, and more records. */
static enum agent_refusal take_header(uint32_t link, const char *packet, uint32_t more_records, const char *more)
{
    struct weir_buf record = WEIR_BUF_INIT;
    struct weir_buf sample = WEIR_BUF_INIT;
    struct weir_buf hex = WEIR_BUF_INIT;
    weir_buf_u32be(&record, link);
    weir_buf_u32be(&record, 1000); /* frame_length */
    weir_buf_u32be(&record, 4);
    append_opaque(&record, packet);

    static const uint32_t head[] = {1, 4, 512, 5120, 0, 1, 2};
    for (int i = 0; i < 7; i++)
        weir_buf_u32be(&sample, head[i]);
    weir_buf_u32be(&sample, 1 + more_records);
    weir_buf_u32be(&sample, 1);
    weir_buf_u32be(&sample, (uint32_t)record.size);
    weir_buf_append(&sample, record.data, record.size);
    struct weir_view extra = input_hex(&hex, more);
    weir_buf_append(&sample, extra.data, extra.size);

    input_hex(&buf, HEADER("00000001", "00000001"));
    weir_buf_u32be(&buf, 1);
    weir_buf_u32be(&buf, (uint32_t)sample.size);
    weir_buf_append(&buf, sample.data, sample.size);
    enum agent_refusal refusal = input_take(&input, weir_buf_view(&buf), 1700000000000);
    weir_buf_fini(&record);
    weir_buf_fini(&sample);
    weir_buf_fini(&hex);
    return refusal;
}

static void a_sample_of_an_ethernet_frame_is_a_flow_of_one_packet(void **state)
{
    (void)state;
    assert_int_equal(take_header(1, ETHERNET "0800" IPV4_TCP, 0, ""), AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 1);
    struct weir_flow flow = input_flow(&input, 0);
    struct weir_flow expected = {.start_ms = 1700000000000,
                                 .end_ms = 1700000000000,
                                 .bytes = 1000,
                                 .packets = 1,
                                 .src_mac = 0x0a0000000001,
                                 .dst_mac = 0x0a0000000002,
                                 .if_in = 1,
                                 .if_out = 2,
                                 .sampling_one_in = 512,
                                 .sampling_origin = WEIR_SAMPLING_RECORD,
                                 .src_port = 54321,
                                 .dst_port = 443,
                                 .tcp_flags = 0x12,
                                 .proto = 6,
                                 .tos = 0xb8};
    weir_ip_parse("10.0.0.1", &expected.src_ip);
    weir_ip_parse("192.0.2.2", &expected.dst_ip);
    assert_true(weir_flow_equal(&flow, &expected));
    assert_int_equal(input.batches[0]->source.domain, 3);
    assert_int_equal(input.batches[0]->protocol, WEIR_PROTOCOL_SFLOW5);
}

static void tags_labels_and_extension_headers_are_stepped_over(void **state)
{
    (void)state;
    take_header(1, ETHERNET "88a8 2064 8100 00c8 0800" IPV4_TCP, 0, ""); /* QinQ 100/200 */
    take_header(1, ETHERNET "8847 00010040 00020140" IPV4_TCP, 0, "");   /* two MPLS labels */
    take_header(1,
                ETHERNET "86dd 6b800000 0020 00 40" /* IPv6, hop-by-hop, */
                         "20010db8000000000000000000000001 20010db8000000000000000000000002"
                         "2c00 000000000000 3a00 0001 00000000 8000 0000", /* first fragment, ICMPv6 */
                0, "");
    take_header(11, "45000034 0000 00b9 40 11 0000 0a000001 c0000202 d431 01bb", 0, ""); /* a later fragment */
    take_header(12, "60000000 0008 11 40 20010db8000000000000000000000001 20010db8000000000000000000000002 0035 d431",
                0, "");
    assert_int_equal(input_flush(&input), 5);
    struct weir_flow flow = input_flow(&input, 0);
    assert_int_equal(flow.vlan_in, 100);
    assert_int_equal(flow.dst_port, 443);
    flow = input_flow(&input, 1);
    assert_int_equal(flow.dst_port, 443);
    flow = input_flow(&input, 2);
    assert_int_equal(flow.proto, 58);
    assert_int_equal(flow.icmp_type_code, 0x8000);
    assert_int_equal(flow.tos, 0xb8);
    flow = input_flow(&input, 3);
    assert_int_equal(flow.proto, 17);
    assert_int_equal(flow.dst_port, 0);
    flow = input_flow(&input, 4);
    assert_int_equal(flow.src_port, 53);
    assert_int_equal(flow.dst_port, 54321);
}

static void frames_of_other_kinds_are_read_too(void **state)
{
    (void)state;
    static const struct {
        uint32_t link;
        const char *packet;
    } cases[] = {
        {7, "ff03 0021" IPV4_TCP},                                    /* PPP */
        {14, "21" IPV4_TCP},                                          /* PPP over SONET, its protocol compressed */
        {13, "00010140" IPV4_TCP},                                    /* MPLS */
        {1, ETHERNET "9100 0064 88a8 00c8 0800" IPV4_TCP},            /* tags from before 802.1ad */
        {1, ETHERNET "8864 1100 0001 0036 0021" IPV4_TCP},            /* PPPoE */
        {1, ETHERNET "0040 aaaa03 000000 0800" IPV4_TCP},             /* 802.3 with SNAP */
        {1, ETHERNET "8100 0064 8847 00010040 00020140" IPV4_TCP},    /* a tag, then labels */
        {11, "46b80038 00000000 4006 0000 0a000001 c0000202 00000000" /* an option of IPv4 */
             "d431 01bb 00000001 00000002 8012 ffff 0000 0000"},
    };
    size_t count = sizeof cases / sizeof *cases;
    for (size_t i = 0; i < count; i++)
        take_header(cases[i].link, cases[i].packet, 0, "");
    for (size_t i = 0; i < count; i++) {
        struct weir_flow flow = input_flow(&input, i);
        assert_int_equal(flow.dst_port, 443);
        assert_int_equal(flow.tcp_flags, 0x12);
        assert_int_equal(flow.tos, 0xb8);
    }
    assert_int_equal(input_flow(&input, 3).vlan_in, 100);
    assert_int_equal(input_flow(&input, 3).cvlan_in, 200);
    take_header(1, ETHERNET "0026 424203 0000" IPV4_TCP, 0, ""); /* spanning tree is no IP */
    assert_int_equal(input_flow(&input, count).proto, 0);
}

#define OUTER_IPV4(proto) "45000080 00000000 40" proto "0000 c6336401 c6336402"
#define OUTER_IPV6(next)  "60000000 0060" next "40 20010db8000000000000000000000001 20010db8000000000000000000000002"
#define INNER_ETHERNET    "0a00000000bb 0a00000000aa 0800"

static const struct {
    const char *packet;
    uint8_t outer_proto;
    uint16_t outer_port;
} tunnels[] = {
    {ETHERNET "0800" OUTER_IPV4("04") IPV4_TCP, 4, 0},
    {ETHERNET "86dd" OUTER_IPV6("04") IPV4_TCP, 4, 0},
    {ETHERNET "0800" OUTER_IPV4("2f") "0000 0800" IPV4_TCP, 47, 0},
    {ETHERNET "0800" OUTER_IPV4("2f") "b000 0800 00000000 00000007 00000001" IPV4_TCP, 47, 0},
    {ETHERNET "0800" OUTER_IPV4("2f") "2000 6558 00001100" INNER_ETHERNET IPV4_TCP, 47, 0}, /* NVGRE */
    {ETHERNET "0800" OUTER_IPV4("11") "c000 12b5 0060 0000 08000000 00006400" INNER_ETHERNET IPV4_TCP, 17, 4789},
    {ETHERNET "8100 0064 86dd" OUTER_IPV6("11") "c000 12b5 0060 0000 08000000 00006400" INNER_ETHERNET IPV4_TCP, 17,
     4789},
    {ETHERNET "0800" OUTER_IPV4("11") "c000 17c1 0060 0000 0100 6558 00006400 01020304" INNER_ETHERNET IPV4_TCP, 17,
     6081},
    {ETHERNET "0800" OUTER_IPV4("11") "c000 17c1 0060 0000 0000 0800 00006400" IPV4_TCP, 17, 6081},
    {ETHERNET "0800" OUTER_IPV4("2f") "0000 0800" OUTER_IPV4("04") IPV4_TCP, 47, 0}, /* two tunnels */
};

static void take_tunnels(void)
{
    for (size_t i = 0; i < sizeof tunnels / sizeof *tunnels; i++)
        take_header(1, tunnels[i].packet, 0, "");
    assert_int_equal(input_flush(&input), sizeof tunnels / sizeof *tunnels);
}

static void the_flow_of_a_tunnel_is_the_tunnel_s_by_default(void **state)
{
    (void)state;
    take_tunnels();
    for (size_t i = 0; i < sizeof tunnels / sizeof *tunnels; i++) {
        struct weir_flow flow = input_flow(&input, i);
        assert_int_equal(flow.proto, tunnels[i].outer_proto);
        assert_int_equal(flow.dst_port, tunnels[i].outer_port);
        assert_int_equal(flow.src_mac, 0x0a0000000001);
        assert_int_equal(flow.tcp_flags, 0);
    }
}

static void the_flow_of_a_tunnel_can_be_what_it_carries(void **state)
{
    (void)state;
    struct weir_ip from;
    struct weir_ip to;
    weir_ip_parse("10.0.0.1", &from);
    weir_ip_parse("192.0.2.2", &to);
    take_tunnels();
    for (size_t i = 0; i < sizeof tunnels / sizeof *tunnels; i++) {
        struct weir_flow flow = input_flow(&input, i);
        assert_true(weir_ip_equal(&flow.src_ip, &from));
        assert_true(weir_ip_equal(&flow.dst_ip, &to));
        assert_int_equal(flow.proto, 6);
        assert_int_equal(flow.src_port, 54321);
        assert_int_equal(flow.dst_port, 443);
        assert_int_equal(flow.tcp_flags, 0x12);
        assert_int_equal(flow.tos, 0xb8);
        assert_int_equal(flow.src_mac, strstr(tunnels[i].packet, "0a00000000aa") ? 0x0a00000000aa : 0x0a0000000001);
    }
    assert_int_equal(input_flow(&input, 6).vlan_in, 100);
}

static void a_tunnel_whose_load_cannot_be_read_stays_the_flow(void **state)
{
    (void)state;
    static const struct {
        const char *packet;
        uint8_t proto;
    } cases[] = {
        {ETHERNET "0800" OUTER_IPV4("04") "45b80034 00000000 4006", 4},                          /* cut */
        {ETHERNET "0800" OUTER_IPV4("2f") "0001 880b" IPV4_TCP, 47},                             /* PPTP */
        {ETHERNET "0800" OUTER_IPV4("2f") "4000 0800 00000000" IPV4_TCP, 47},                    /* source routes */
        {ETHERNET "0800" OUTER_IPV4("2f") "0000 88be" INNER_ETHERNET IPV4_TCP, 47},              /* ERSPAN */
        {ETHERNET "0800" OUTER_IPV4("11") "c000 12b5 0060 0000 00000000 00006400" IPV4_TCP, 17}, /* no network id */
        {ETHERNET "0800" OUTER_IPV4("11") "c000 12b5 0060 0000 08000000 00006400"
                                          "ffffffffffff 0a00000000aa 0806 0001",
         17},                                                                                     /* ARP */
        {ETHERNET "0800" OUTER_IPV4("11") "c000 17c1 0060 0000 4000 0800 00006400" IPV4_TCP, 17}, /* version 1 */
        {ETHERNET "0800" OUTER_IPV4("11") "c000 17c1 0060 0000 3f00 0800 00006400" IPV4_TCP, 17}, /* options cut */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        take_header(1, cases[i].packet, 0, "");
        struct weir_flow flow = input_flow(&input, i);
        char text[WEIR_IP_TEXT];
        assert_string_equal(weir_ip_format(&flow.src_ip, text), "198.51.100.1");
        assert_int_equal(flow.proto, cases[i].proto);
        assert_int_equal(flow.src_port, cases[i].proto == 17 ? 0xc000 : 0);
        assert_int_equal(flow.src_mac, 0x0a0000000001);
    }
}

static void switch_router_and_gateway_records_fill_in_the_rest(void **state)
{
    (void)state;
    take_header(
        1, ETHERNET "0800" IPV4_TCP, 4,
        "000003e9 00000010 0000000a 00000000 00000014 00000000"
        "000003ea 00000010 00000001 c00002fe 00000018 00000010"
        "000003eb 00000034 00000001 c00002fe 0000fde8 0000fde9 0000fdea 00000001 00000002 00000002 0000fdeb 0000fdec"
        "00000000 00000064 00000000"
        "00001234 00000004 00000000"); /* unknown: skipped by length */
    struct weir_flow flow = input_flow(&input, 0);
    char text[WEIR_IP_TEXT];
    assert_int_equal(flow.vlan_in, 10);
    assert_int_equal(flow.vlan_out, 20);
    assert_string_equal(weir_ip_format(&flow.next_hop, text), "192.0.2.254");
    assert_int_equal(flow.src_mask, 24);
    assert_int_equal(flow.dst_mask, 16);
    assert_int_equal(flow.src_as, 65001);
    assert_int_equal(flow.dst_as, 65004);
}

static void an_expanded_sample_of_sampled_ipv4_to_nowhere(void **state)
{
    (void)state;
    assert_int_equal(
        take(HEADER(
            "00000001",
            "00000001") "00000003 00000054"
                        "00000001 00000000 00000004 00000064 00000064 00000000 00000000 0000000c 00000001 00000102 "
                        "00000001"
                        "00000003 00000020 000005dc 00000006 0a000001 c0000202 0000d431 000001bb 00000012 000000b8"),
        AGENT_REFUSAL_NONE);
    struct weir_flow flow = input_flow(&input, 0);
    assert_int_equal(flow.bytes, 1500);
    assert_int_equal(flow.if_in, 12);
    assert_int_equal(flow.if_out, 0);
    assert_int_equal(flow.forwarding_status, 130); /* reason 258: an access list */
    assert_int_equal(flow.sampling_one_in, 100);
    assert_int_equal(flow.tcp_flags, 0x12);
}

static void interfaces_that_are_none_are_not_given_a_number(void **state)
{
    (void)state;
    static const struct {
        const char *output;
        uint32_t if_out;
        uint8_t status;
        uint16_t reason;
    } cases[] = {
        {"00000007", 7, 0},          {"3fffffff", 0, 0},
        {"80000003", 0, 0}, /* index, the device itself, three of them */
        {"40000100", 0, 128, 256},   {"40000000", 0, 131, 0},
        {"4000000d", 0, 129, 13}, /* unknown, net unreachable, prohibited */
        {"40000101", 0, 137, 257},   {"40000102", 0, 130, 258},
        {"40000104", 0, 139, 260}, /* TTL, ACL, RED */
        {"40000105", 0, 138, 261},   {"40000004", 0, 133, 4},
        {"4000ffff", 0, 128, 65535}, /* shaped, too big, not known to us */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char hex[600];
        snprintf(hex, sizeof hex,
                 HEADER("%08zx", "00000001") "00000001 00000048 00000001 00000004 00000064 00000064 00000000 00000001"
                                             "%s 00000001 00000003 00000020 000005dc 00000006 0a000001 c0000202"
                                             "0000d431 000001bb 00000012 000000b8",
                 i + 1, cases[i].output);
        assert_int_equal(take(hex), AGENT_REFUSAL_NONE);
        struct weir_flow flow = input_flow(&input, i);
        assert_int_equal(flow.if_in, 1);
        assert_int_equal(flow.if_out, cases[i].if_out);
        assert_int_equal(flow.forwarding_status, cases[i].status);
        assert_int_equal(flow.drop_reason, cases[i].reason);
    }
}

static void a_discarded_packet_is_a_flow_with_its_reason(void **state)
{
    (void)state;
    assert_int_equal(take(HEADER("00000001", "00000001") "00000005 00000048 00000009 00000000 00000003 00000000"
                                                         "00000003 00000007 00000102 00000001"
                                                         "00000003 00000020 000005dc 00000006 0a000001 c0000202"
                                                         "0000d431 000001bb 00000012 000000b8"),
                     AGENT_REFUSAL_NONE);
    struct weir_flow flow = input_flow(&input, 0);
    assert_int_equal(flow.packets, 1);
    assert_int_equal(flow.bytes, 1500);
    assert_int_equal(flow.if_in, 3);
    assert_int_equal(flow.if_out, 7);
    assert_int_equal(flow.forwarding_status, 130); /* dropped by an access list */
    assert_int_equal(flow.drop_reason, 258);
    assert_int_equal(flow.sampling_one_in, 1);
    assert_int_equal(flow.sampling_origin, WEIR_SAMPLING_RECORD);
    assert_int_equal(flow.dst_port, 443);
}

/** One sample of an agent, as sent by @sender. */
static void take_agent(const char *sender, const char *agent)
{
    char hex[300];
    snprintf(hex, sizeof hex,
             "00000005 %s 00000003 00000001 00002710 00000001 00000001 00000048 00000001 00000004 00000064 00000064"
             "00000000 00000001 00000002 00000001 00000003 00000020 000005dc 00000006 0a000001 c0000202 0000d431"
             "000001bb 00000012 000000b8",
             agent);
    assert_int_equal(input_take_from(&input, sender, input_hex(&buf, hex), 1700000000000), AGENT_REFUSAL_NONE);
    agent_gather_flush(input.gather);
}

static const char *last_exporter(char text[WEIR_IP_TEXT])
{
    return weir_ip_format(&input.batches[input.batch_count - 1]->source.exporter, text);
}

static void the_exporter_is_the_agent_that_the_datagram_names(void **state)
{
    (void)state;
    char text[WEIR_IP_TEXT];
    take_agent("198.51.100.1", "00000001 c0000209"); /* a relay, or NAT */
    assert_string_equal(last_exporter(text), "192.0.2.9");
    take_agent("198.51.100.1", "00000001 c000020a"); /* has sequence numbers of its own */
    assert_string_equal(last_exporter(text), "192.0.2.10");
    take_agent("198.51.100.2", "00000001 c0000209"); /* so has the same name from elsewhere */
    assert_string_equal(last_exporter(text), "192.0.2.9");
    take_agent("198.51.100.1", "00000002 20010db8000000000000000000000009");
    assert_string_equal(last_exporter(text), "2001:db8::9");
    assert_int_equal(INPUT_COUNT(&input, sequence_duplicate), 0);

    struct agent_exporter_stat stats[8];
    assert_int_equal(agent_decoder_exporters(input.decoder, stats, 8), 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(stats[i].flows, 1);
}

static void an_address_that_every_host_has_names_nobody(void **state)
{
    (void)state;
    static const char *const nobody[] = {
        "00000000",
        "00000001 00000000",
        "00000001 7f000001",
        "00000001 a9fe0101",
        "00000001 e0000001",
        "00000001 ffffffff",
        "00000002 00000000000000000000000000000000",
        "00000002 00000000000000000000000000000001",
        "00000002 fe800000000000000000000000000001",
        "00000002 ff020000000000000000000000000001",
        "00000002 00000000000000000000ffff7f000001",
    };
    for (size_t i = 0; i < sizeof nobody / sizeof *nobody; i++) {
        char text[WEIR_IP_TEXT];
        take_agent("198.51.100.1", nobody[i]);
        assert_string_equal(last_exporter(text), "198.51.100.1");
    }
}

static int set_up_by_sender(void **state)
{
    (void)state;
    struct agent_decoder_conf conf = AGENT_DECODER_DEFAULTS;
    conf.sflow_by_sender = true;
    input_init(&input, &conf);
    return 0;
}

static void the_operator_can_name_exporters_by_their_sender(void **state)
{
    (void)state;
    char text[WEIR_IP_TEXT];
    take_agent("198.51.100.1", "00000001 c0000209");
    assert_string_equal(last_exporter(text), "198.51.100.1");
}

static int set_up_sampling(void **state)
{
    (void)state;
    static struct agent_sampling_rule rule = {.one_in = 7, .overrides = true};
    assert_int_equal(weir_prefix_parse("192.0.2.9", &rule.exporters), 0);
    struct agent_decoder_conf conf = AGENT_DECODER_DEFAULTS;
    conf.sampling = &rule;
    conf.sampling_count = 1;
    input_init(&input, &conf);
    return 0;
}

static void the_operator_s_sampling_is_of_the_exporter_not_of_who_sent_for_it(void **state)
{
    (void)state;
    take_agent("198.51.100.1", "00000001 c000020a");
    take_agent("198.51.100.1", "00000001 c0000209");
    assert_int_equal(input_flow(&input, 0).sampling_one_in, 100);
    assert_int_equal(input_flow(&input, 1).sampling_one_in, 7);
}

/* ---- the numbers of samples ---- */

enum { START_MS = 1700000000 };

/** A flow sample of interface @source; a discarded packet; the octets of an interface. */
struct part {
    uint32_t tag; /* 0: none */
    uint32_t source;
    uint32_t sequence;
    uint32_t pool;  /* counters: octets in */
    uint32_t drops; /* counters: octets out */
    uint32_t from;  /* interface of a packet, where that is another than the source */
};

static void append_words(struct weir_buf *to, const uint32_t *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        weir_buf_u32be(to, words[i]);
}

static void append_part(struct weir_buf *to, const struct part *part)
{
    const uint32_t packet[] = {3, 32, 1000, 6, 0x0a000001, 0xc0000202, 54321, 443, 0x12, 0}; /* of 1,000 octets */
    const uint32_t flow[] = {1,
                             32 + sizeof packet,
                             part->sequence,
                             part->source,
                             100,
                             part->pool,
                             part->drops,
                             part->from != 0 ? part->from : part->source,
                             9,
                             1};
    const uint32_t discard[] = {
        5, 32 + sizeof packet, part->sequence, 0, part->source, part->drops, part->source, 0, 256, 1};
    const uint32_t counters[] = {2,
                                 108,
                                 part->sequence,
                                 part->source,
                                 1,
                                 1,
                                 88,
                                 part->source,
                                 6,
                                 0,
                                 1000000000,
                                 1,
                                 3,
                                 0,
                                 part->pool,
                                 1,
                                 2,
                                 3,
                                 4,
                                 5,
                                 6,
                                 0,
                                 part->drops,
                                 1,
                                 2,
                                 3,
                                 4,
                                 5,
                                 6};
    if (part->tag == 1) append_words(to, flow, sizeof flow / 4);
    if (part->tag == 5) append_words(to, discard, sizeof discard / 4);
    if (part->tag == 2) append_words(to, counters, sizeof counters / 4);
    if (part->tag != 2) append_words(to, packet, sizeof packet / 4);
}

/** A datagram @sequence, sent and received @sequence seconds after the agent began. */
static void take_parts(uint32_t sequence, const struct part *parts, size_t count)
{
    struct weir_buf datagram = WEIR_BUF_INIT;
    const uint32_t head[] = {5, 1, 0xc0000209, 3, sequence, sequence * 1000, (uint32_t)count};
    append_words(&datagram, head, sizeof head / 4);
    for (size_t i = 0; i < count; i++)
        append_part(&datagram, &parts[i]);
    assert_int_equal(input_take(&input, weir_buf_view(&datagram), START_MS + (int64_t)sequence * 1000),
                     AGENT_REFUSAL_NONE);
    weir_buf_fini(&datagram);
}

#define TAKE(sequence, ...)                                        \
    do {                                                           \
        const struct part parts[] = {__VA_ARGS__};                 \
        take_parts(sequence, parts, sizeof parts / sizeof *parts); \
    } while (0)
#define FLOW(source, sequence)                 \
    {                                          \
        1, source, sequence, (sequence)*100, 0 \
    }

/** Long after everything: what is missing is lost. */
static struct agent_exporter_stat settled(void)
{
    struct agent_exporter_stat stat;
    agent_decoder_tick(input.decoder, START_MS + 10000000);
    assert_int_equal(agent_decoder_exporters(input.decoder, &stat, 1), 1);
    return stat;
}

static void lost_samples_are_counted_by_the_numbers_of_their_source(void **state)
{
    (void)state;
    TAKE(1, FLOW(1, 10), FLOW(2, 500));
    TAKE(2, FLOW(1, 11));
    /* lost: FLOW(1, 12), FLOW(1, 13), FLOW(2, 501), a discarded packet, and counters */
    TAKE(4, FLOW(1, 14), {5, 1, 7, 0, 0});
    TAKE(5, FLOW(2, 502), {5, 1, 8, 0, 0});
    TAKE(6, FLOW(3, 1)); /* a new source has lost nothing */
    struct agent_exporter_stat stat = settled();
    assert_int_equal(stat.loss.sequence_lost, 3);
    assert_int_equal(stat.samples.datagrams_lost, 1);
    assert_int_equal(stat.samples.dropped, 0);
    input_flush(&input);
    assert_int_equal(input.loss.sequence_lost, 3); /* they travel with the flows */
}

static void a_lost_datagram_of_counters_costs_no_flow(void **state)
{
    (void)state;
    TAKE(1, FLOW(1, 10), FLOW(2, 500));
    TAKE(3, FLOW(1, 11), FLOW(2, 501));
    struct agent_exporter_stat stat = settled();
    assert_int_equal(stat.loss.sequence_lost, 0);
    assert_int_equal(stat.samples.datagrams_lost, 1);
}

static void samples_out_of_order_or_twice_are_not_lost(void **state)
{
    (void)state;
    TAKE(1, FLOW(1, 0xfffffffe));
    TAKE(3, FLOW(1, 0), FLOW(1, 1)); /* and their numbers wrap */
    TAKE(2, FLOW(1, 0xffffffff));
    TAKE(2, FLOW(1, 0xffffffff));
    TAKE(4, FLOW(1, 2));
    struct agent_exporter_stat stat = settled();
    assert_int_equal(stat.loss.sequence_lost, 0);
    assert_int_equal(stat.samples.dropped, 0);
    assert_int_equal(stat.samples.datagrams_lost, 0);
}

static void a_datagram_that_comes_twice_hides_no_loss(void **state)
{
    (void)state;
    TAKE(1, FLOW(1, 10));
    TAKE(2, FLOW(1, 11));
    /* lost: FLOW(1, 12) */
    TAKE(4, FLOW(1, 13));
    TAKE(2, FLOW(1, 11));
    assert_int_equal(settled().loss.sequence_lost, 1);
}

static void samples_that_the_exporter_dropped_are_counted_apart(void **state)
{
    (void)state;
    TAKE(1, FLOW(1, 10), {5, 1, 3, 0, 5});
    TAKE(2, FLOW(1, 13));                          /* two between them, and no datagram is missing */
    TAKE(3, {1, 1, 14, 1400, 4}, {5, 1, 4, 0, 8}); /* four that it counted, and three */
    struct agent_exporter_stat stat = settled();
    assert_int_equal(stat.loss.sequence_lost, 0);
    assert_int_equal(stat.samples.dropped, 9);
    assert_int_equal(INPUT_COUNT(&input, samples_dropped), 9);
}

static void an_agent_that_begins_anew_has_lost_nothing_by_it(void **state)
{
    (void)state;
    TAKE(100000, FLOW(1, 70000), FLOW(2, 900));
    TAKE(1, FLOW(1, 40), FLOW(2, 950)); /* uptime and numbers fell */
    TAKE(2, FLOW(1, 41), FLOW(2, 951));
    struct agent_exporter_stat stat = settled();
    assert_int_equal(stat.loss.sequence_lost, 0);
    assert_int_equal(stat.samples.dropped, 0);
    assert_int_equal(stat.samples.datagrams_lost, 0);
    assert_int_equal(INPUT_COUNT(&input, sequence_restarts), 1);
}

static void samples_can_be_checked_against_their_pool_and_the_interface_s_counters(void **state)
{
    (void)state;
    TAKE(1, {2, 1, 1, 5000, 7000}, {2, 2, 1, 1, 1}, FLOW(1, 10));
    TAKE(2, {1, 1, 11, 1200, 0}, {1, 1, 12, 1320, 0});       /* each sample stands for 100 packets of 1,000 octets */
    TAKE(3, {2, 1, 2, 305000, 9000}, {2, 2, 2, 1000, 1000}); /* interface 2 has no samples */
    TAKE(4, {2, 1, 3, 4000, 9000}, {1, 1, 13, 1400, 0});     /* its counters began anew */
    TAKE(5, {2, 1, 4, 104500, 9000});
    struct agent_exporter_stat stat = settled();
    assert_int_equal(stat.samples.taken, 3);
    assert_int_equal(stat.samples.pool, 400);
    assert_int_equal(stat.samples.counted_octets, 300000 + 100500);
    assert_int_equal(stat.samples.sampled_octets, 3 * 100000 + 100000);
}

static void what_a_source_samples_on_its_way_out_is_checked_against_that_counter(void **state)
{
    (void)state;
    TAKE(1, {2, 9, 1, 5000, 7000}, {1, 9, 10, 1000, 0, 1});
    TAKE(2, {1, 9, 11, 1100, 0, 1}, {1, 9, 12, 1200, 0});
    TAKE(3, {2, 9, 2, 105000, 207000});
    struct agent_exporter_stat stat = settled();
    assert_int_equal(stat.samples.counted_octets, 100000 + 200000);
    assert_int_equal(stat.samples.sampled_octets, 100000 + 2 * 100000);
}

static int set_up_few_sources(void **state)
{
    (void)state;
    struct agent_decoder_conf conf = AGENT_DECODER_DEFAULTS;
    conf.most_data_sources = 20;
    conf.most_data_sources_each = 8;
    input_init(&input, &conf);
    return 0;
}

static void made_up_data_sources_fill_no_memory_and_their_samples_still_count(void **state)
{
    (void)state;
    for (uint32_t i = 1; i <= 1000; i++)
        TAKE(i, FLOW(i, 1));
    assert_int_equal(input_flush(&input), 1000);
    assert_int_equal(INPUT_COUNT(&input, data_sources_ignored), 992);
    TAKE(1002, FLOW(1, 4)); /* the first ones are still followed */
    assert_int_equal(settled().loss.sequence_lost, 2);
}

static void counter_samples_and_strangers_are_counted_and_skipped(void **state)
{
    (void)state;
    assert_int_equal(
        take(HEADER("00000001", "00000003") "00000002 0000000c 00000001 00000001 00000000"
                                            "00001001 00000004 00000000"
                                            "00000001 00000020 00000001 00000004 00000200 00001400 00000000"
                                            "00000001 00000002 00000000"),
        AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 0);
    assert_int_equal(INPUT_COUNT(&input, samples_counter), 1);
    assert_int_equal(INPUT_COUNT(&input, samples_unknown), 2);
}

static void forged_counts_and_lengths_end_the_reading(void **state)
{
    (void)state;
    assert_int_equal(take(HEADER("00000001", "ffffffff")), AGENT_REFUSAL_truncated);
    assert_int_equal(take(HEADER("00000002", "00000001") "00000001 fffffff0 00000000"), AGENT_REFUSAL_truncated);
    assert_int_equal(
        take(HEADER("00000003", "00000001") "00000001 00000020 00000001 00000004 00000200 00001400 00000000"
                                            "00000001 00000002 ffffffff"),
        AGENT_REFUSAL_record);
    /* a gateway whose AS path claims 2^30 numbers costs the path, not the sample */
    assert_int_equal(
        take_header(1, ETHERNET "0800" IPV4_TCP, 1,
                    "000003eb 00000020 00000001 c00002fe 0000fde8 0000fde9 0000fdea 40000000 00000002 40000000"),
        AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 1);
    assert_int_equal(input_flow(&input, 0).dst_as, 0);
    assert_int_equal(take("00000005 00000007 c0000209"), AGENT_REFUSAL_address);
    assert_int_equal(take("00000005 00000001 c0"), AGENT_REFUSAL_short);
    assert_int_equal(INPUT_COUNT(&input, refused_sflow5_truncated), 2);
    assert_int_equal(INPUT_COUNT(&input, refused_sflow5_record), 1);
}

static void a_packet_cut_anywhere_gives_what_stood_before_the_cut(void **state)
{
    (void)state;
    const char *packet = "0a00000000020a000000000108004500003400000000400600000a000001c0000202d43101bb";
    for (size_t cut = 0; cut <= strlen(packet); cut += 2) {
        char hex[100] = "";
        memcpy(hex, packet, cut);
        assert_int_equal(take_header(1, hex, 0, ""), AGENT_REFUSAL_NONE);
        agent_gather_flush(input.gather);
        struct weir_flow flow = input_flow(&input, cut / 2);
        assert_int_equal(flow.bytes, 1000);
        assert_int_equal(flow.src_mac != 0, cut >= 28);
        assert_int_equal(flow.proto, cut >= 68 ? 6 : 0);
        assert_int_equal(flow.dst_port, cut >= 76 ? 443 : 0);
    }
}

#define TEST_WITH(name, before) cmocka_unit_test_setup_teardown(name, before, tear_down)
#define TEST(name)              cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_sample_of_an_ethernet_frame_is_a_flow_of_one_packet),
        TEST(tags_labels_and_extension_headers_are_stepped_over),
        TEST(frames_of_other_kinds_are_read_too),
        TEST(the_flow_of_a_tunnel_is_the_tunnel_s_by_default),
        TEST_WITH(the_flow_of_a_tunnel_can_be_what_it_carries, set_up_inner),
        TEST_WITH(a_tunnel_whose_load_cannot_be_read_stays_the_flow, set_up_inner),
        TEST(interfaces_that_are_none_are_not_given_a_number),
        TEST(a_discarded_packet_is_a_flow_with_its_reason),
        TEST(the_exporter_is_the_agent_that_the_datagram_names),
        TEST(an_address_that_every_host_has_names_nobody),
        TEST_WITH(the_operator_can_name_exporters_by_their_sender, set_up_by_sender),
        TEST_WITH(the_operator_s_sampling_is_of_the_exporter_not_of_who_sent_for_it, set_up_sampling),
        TEST(lost_samples_are_counted_by_the_numbers_of_their_source),
        TEST(a_lost_datagram_of_counters_costs_no_flow),
        TEST(samples_out_of_order_or_twice_are_not_lost),
        TEST(a_datagram_that_comes_twice_hides_no_loss),
        TEST(samples_that_the_exporter_dropped_are_counted_apart),
        TEST(an_agent_that_begins_anew_has_lost_nothing_by_it),
        TEST(samples_can_be_checked_against_their_pool_and_the_interface_s_counters),
        TEST(what_a_source_samples_on_its_way_out_is_checked_against_that_counter),
        TEST_WITH(made_up_data_sources_fill_no_memory_and_their_samples_still_count, set_up_few_sources),
        TEST(switch_router_and_gateway_records_fill_in_the_rest),
        TEST(an_expanded_sample_of_sampled_ipv4_to_nowhere),
        TEST(counter_samples_and_strangers_are_counted_and_skipped),
        TEST(forged_counts_and_lengths_end_the_reading),
        TEST(a_packet_cut_anywhere_gives_what_stood_before_the_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
