/** Flow logs: samples in the forms that the makers' documents show. */
#include "agent/feed/feed.h"
#include "common/base/buf.h"

#include "tests/support/cmocka.h"

#include <stdio.h>

enum { MOST = 64 };

struct got {
    const struct feed_parser *parser;
    char kept[MOST][120]; /* of each flow, what is kept, each with a ';' behind it */
    struct weir_flow flows[MOST];
    struct weir_source sources[MOST];
    char origin[200];
    size_t count;
    unsigned told[FEED_TOLD_COUNT];
    unsigned bad;
    uint64_t line;
    char reason[256];
};

static void on_flow(void *ctx, const struct feed_origin *origin, const struct weir_flow *flow)
{
    struct got *got = ctx;
    assert_true(got->count < MOST);
    got->sources[got->count] = origin->source;
    snprintf(got->origin, sizeof got->origin, "%s", origin->name);
    for (size_t i = 0; i < feed_parser_keeps(got->parser); i++) {
        struct weir_view value = feed_parser_kept(got->parser, i);
        char *kept = got->kept[got->count];
        size_t at = strlen(kept);
        snprintf(kept + at, sizeof *got->kept - at, "%.*s;", (int)value.size,
                 value.size == 0 ? "" : (const char *)value.data);
    }
    got->flows[got->count++] = *flow;
}

static void on_told(void *ctx, const struct feed_origin *origin, enum feed_told what)
{
    struct got *got = ctx;
    got->told[what]++;
    snprintf(got->origin, sizeof got->origin, "%s", origin->name);
}

static void on_bad(void *ctx, uint64_t line, const char *reason)
{
    struct got *got = ctx;
    got->bad++;
    got->line = line;
    snprintf(got->reason, sizeof got->reason, "%s", reason);
}

/** Parse text @step bytes at a time. */
static struct got parse_in_steps(enum feed_format format, const char *fields, const char *keep, const char *text,
                                 size_t step)
{
    struct got got = {0};
    struct feed_parser *parser = NULL;
    struct weir_buf buf = WEIR_BUF_INIT;
    const struct feed_out out = {.flow = on_flow, .told = on_told, .bad = on_bad, .ctx = &got};
    assert_int_equal(feed_parser_create(format, fields, keep, "border", &parser, NULL), 0);
    got.parser = parser;
    size_t size = strlen(text);
    for (size_t at = 0; at < size;) {
        size_t more = size - at < step ? size - at : step;
        weir_buf_append(&buf, text + at, more);
        at += more;
        size_t used = feed_parse(parser, weir_buf_view(&buf), at == size, &out);
        memmove(buf.data, buf.data + used, buf.size - used);
        buf.size -= used;
    }
    assert_int_equal(buf.size, 0);
    weir_buf_fini(&buf);
    feed_parser_destroy(parser);
    return got;
}

static struct got parse(enum feed_format format, const char *fields, const char *text)
{
    return parse_in_steps(format, fields, NULL, text, strlen(text));
}

static struct weir_ip ip(const char *text)
{
    struct weir_ip ip;
    assert_int_equal(weir_ip_parse(text, &ip), 0);
    return ip;
}

static void assert_flow(const struct weir_flow *flow, struct weir_flow expected, const char *src, const char *dst)
{
    expected.src_ip = ip(src);
    expected.dst_ip = ip(dst);
    assert_true(weir_flow_equal(flow, &expected));
}

/* ---- AWS ---- */

static void an_aws_line_of_version_2_needs_no_header(void **state)
{
    (void)state;
    struct got got = parse(FEED_AWS, NULL,
                           "2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 "
                           "1418530010 1418530070 ACCEPT OK\n"
                           "2 123456789010 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 "
                           "1418530010 1418530070 REJECT OK\n");
    assert_int_equal(got.bad, 0);
    assert_int_equal(got.count, 2);
    struct weir_flow expected = {.start_ms = 1418530010000,
                                 .end_ms = 1418530070000,
                                 .packets = 20,
                                 .bytes = 4249,
                                 .src_port = 20641,
                                 .dst_port = 22,
                                 .proto = 6,
                                 .if_in = 0x23456789,
                                 .forwarding_status = 64,
                                 .sampling_one_in = 1,
                                 .sampling_origin = WEIR_SAMPLING_EXPORTER};
    assert_flow(&got.flows[0], expected, "172.31.16.139", "172.31.16.21");
    expected.src_port = 49761;
    expected.dst_port = 3389;
    expected.forwarding_status = 129; /* RFC 7270: dropped, ACL deny */
    assert_flow(&got.flows[1], expected, "172.31.9.69", "172.31.9.12");
    struct weir_ip exporter = ip("fd57:4549:5200:1:0:1234:5678:9010");
    assert_true(weir_ip_equal(&got.sources[0].exporter, &exporter));
    assert_int_equal(got.sources[0].domain, 0);
    assert_string_equal(got.origin, "aws/123456789010/");
}

static void the_header_line_of_an_aws_log_says_where_its_fields_are(void **state)
{
    (void)state;
    struct got got = parse(FEED_AWS, NULL,
                           "version vpc-id subnet-id instance-id interface-id account-id type srcaddr dstaddr srcport "
                           "dstport pkt-srcaddr pkt-dstaddr protocol bytes packets start end action tcp-flags "
                           "log-status flow-direction\n"
                           "3 vpc-abcdefab012345678 subnet-aaaaaaaa012345678 i-01234567890123456 eni-1235b8ca123456789 "
                           "123456789010 IPv4 10.0.0.62 52.213.180.42 5001 43416 10.0.1.5 52.213.180.42 6 100701 70 "
                           "1566848875 1566848933 ACCEPT 18 OK egress\n");
    assert_int_equal(got.bad, 0);
    assert_int_equal(got.count, 1);
    assert_flow(&got.flows[0],
                (struct weir_flow){.start_ms = 1566848875000,
                                   .end_ms = 1566848933000,
                                   .packets = 70,
                                   .bytes = 100701,
                                   .src_port = 5001,
                                   .dst_port = 43416,
                                   .proto = 6,
                                   .tcp_flags = 18,
                                   .dir = 1,
                                   .if_out = 0x23456789,
                                   .forwarding_status = 64,
                                   .sampling_one_in = 1,
                                   .sampling_origin = WEIR_SAMPLING_EXPORTER},
                "10.0.1.5", "52.213.180.42");
    assert_int_equal(got.sources[0].domain, 0x12345678);
    assert_string_equal(got.origin, "aws/123456789010/vpc-abcdefab012345678");
}

static void aws_fields_may_be_configured_and_separated_by_commas(void **state)
{
    (void)state;
    static const char fields[] = "${srcaddr} ${dstaddr} ${bytes} ${packets} ${start} ${end} ${log-status}";
    struct got got = parse(FEED_AWS, fields, "10.0.0.1 2001:db8::7 500 5 1700000000 1700000060 OK");
    assert_int_equal(got.count, 1);
    assert_int_equal(got.flows[0].bytes, 500);
    struct weir_ip six = ip("2001:db8::7");
    assert_true(weir_ip_equal(&got.flows[0].dst_ip, &six));

    got = parse(FEED_AWS, NULL,
                "srcaddr,dstaddr,bytes,packets,start,end\n\"10.0.0.1\",10.0.0.2,500,5,1700000000,1700000060\n");
    assert_int_equal(got.bad, 0);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.flows[0].end_ms, 1700000060000);

    struct feed_parser *parser = NULL;
    struct weir_why why = {""};
    assert_int_equal(feed_parser_create(FEED_AWS, "srcaddr colour", NULL, "x", &parser, &why), WEIR_EPARAM);
    assert_string_equal(why.text, "fields: \"colour\" is no field of aws");
}

static void nodata_and_skipdata_are_no_flows_and_are_told(void **state)
{
    (void)state;
    struct got got = parse(FEED_AWS, NULL,
                           "2 123456789010 eni-1235b8ca123456789 - - - - - - - 1431280876 1431280934 - NODATA\n"
                           "2 123456789010 eni-11111111aaaaaaaaa - - - - - - - 1431280876 1431280934 - SKIPDATA\n");
    assert_int_equal(got.count, 0);
    assert_int_equal(got.bad, 0);
    assert_int_equal(got.told[FEED_TOLD_NODATA], 1);
    assert_int_equal(got.told[FEED_TOLD_SKIPPED], 1);
    assert_string_equal(got.origin, "aws/123456789010/");
}

static void a_bad_line_is_named_and_the_rest_goes_on(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *reason;
    } cases[] = {
        {"2 1 eni-1 10.0.0.1 10.0.0.2 1 2 6 20 4249 1418530010 1418530070 ACCEPT", "the line has 13 columns, not 14"},
        {"2 1 eni-1 10.0.0.1 10.0.0.2 1 2 6 x 4249 1418530010 1418530070 ACCEPT OK",
         "packets: \"x\" is not a number up to 9223372036854775807"},
        {"2 1 eni-1 10.0.0.1 10.0.0.2 65536 2 6 1 4249 1418530010 1418530070 ACCEPT OK",
         "srcport: \"65536\" is not a number up to 65535"},
        {"2 1 eni-1 10.0.0.300 10.0.0.2 1 2 6 1 4249 1418530010 1418530070 ACCEPT OK",
         "srcaddr: \"10.0.0.300\" is not an address"},
        {"2 1 eni-1 10.0.0.1 - 1 2 6 1 4249 1418530010 1418530070 ACCEPT OK", "dstaddr: there is no address"},
        {"2 1 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 4249 - - ACCEPT OK", "start: there is neither a start nor an end"},
        {"2 1 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 4249 soon 1418530070 ACCEPT OK",
         "start: \"soon\" is not a time in seconds"},
        {"2 1 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 4249 1418530010 1418530070 MAYBE OK",
         "action: \"MAYBE\" is neither ACCEPT nor REJECT"},
        {"2 1 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 4249 1418530010 1418530070 ACCEPT NEVER",
         "log-status: \"NEVER\" is not OK, NODATA or SKIPDATA"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[1024];
        snprintf(
            text, sizeof text,
            "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action "
            "log-status\n%s\r\n2 1 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 4249 1418530010 1418530070 ACCEPT OK\r\n",
            cases[i].line);
        struct got got = parse(FEED_AWS, NULL, text);
        assert_string_equal(got.reason, cases[i].reason);
        assert_int_equal(got.line, 2);
        assert_int_equal(got.bad, 1);
        assert_int_equal(got.count, 1);
    }
    struct got got = parse(FEED_AWS, NULL, "5 eni-1 10.0.0.1\n");
    assert_string_equal(got.reason, "there is no header line and no list of fields before this line");
}

static void a_line_that_is_too_long_is_one_bad_line(void **state)
{
    (void)state;
    struct weir_buf text = WEIR_BUF_INIT;
    for (int i = 0; i < FEED_LINE_MOST + 10; i++)
        weir_buf_u8(&text, 'x');
    weir_buf_text(&text, "\n2 1 eni-1 10.0.0.1 10.0.0.2 1 2 6 1 9 1418530010 1418530070 ACCEPT OK\n");
    static const size_t steps[] = {1000, FEED_LINE_MOST + 100};
    for (size_t i = 0; i < 2; i++) {
        struct got got = parse_in_steps(FEED_AWS, NULL, NULL, weir_buf_cstr(&text), steps[i]);
        assert_int_equal(got.bad, 1);
        assert_int_equal(got.line, 1);
        assert_int_equal(got.count, 1);
    }
    weir_buf_fini(&text);
}

static void a_time_stamp_before_an_aws_line_is_passed_over(void **state)
{
    (void)state;
    struct got got = parse(FEED_AWS, NULL,
                           "2023-11-14T22:13:20.000Z 2 123456789010 eni-1235b8ca123456789 10.0.0.1 10.0.0.2 1 2 17 3 "
                           "400 1700000000 1700000060 ACCEPT OK\n");
    assert_int_equal(got.bad, 0);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.flows[0].proto, 17);
}

/* ---- Azure ---- */

static const char nsg[] =
    "{\"records\":[{\"time\":\"2018-11-13T12:00:35.3899262Z\",\"systemId\":\"66aa66aa-bb77-cc88-dd99-00ee00ee00ee\","
    "\"category\":\"NetworkSecurityGroupFlowEvent\",\"resourceId\":\"/SUBSCRIPTIONS/00001111/RESOURCEGROUPS/RG/"
    "PROVIDERS/"
    "MICROSOFT.NETWORK/NETWORKSECURITYGROUPS/VM-NSG\",\"operationName\":\"NetworkSecurityGroupFlowEvents\","
    "\"properties\":{\"Version\":2,\"flows\":[{\"rule\":\"DefaultRule_DenyAllInBound\",\"flows\":[{\"mac\":"
    "\"000D3AF87856\",\"flowTuples\":[\"1542110402,192.0.2.190,10.5.16.4,28746,443,U,I,D,B,,,,\"]}]},{\"rule\":"
    "\"UserRule\","
    "\"flows\":[{\"mac\":\"000D3AF87856\",\"flowTuples\":[\"1542110377,10.5.16.4,203.0.113.118,59831,443,T,O,A,B,,,,\","
    "\"1542110379,10.5.16.4,203.0.113.117,59932,443,T,O,A,E,1,66,1,67\","
    "\"1542110399,10.5.16.4,203.0.113.9,1,53,U,O,A,C,10,880,0,0\"]}]}]}}";

static void an_azure_tuple_is_a_flow_for_each_direction(void **state)
{
    (void)state;
    char text[4096];
    snprintf(text, sizeof text, "%s]}", nsg);
    struct got got = parse(FEED_AZURE, NULL, text);
    assert_int_equal(got.bad, 0);
    assert_int_equal(got.told[FEED_TOLD_BEGUN], 1);
    assert_int_equal(got.count, 4);
    struct weir_flow expected = {.start_ms = 1542110402000,
                                 .end_ms = 1542110402000,
                                 .src_port = 28746,
                                 .dst_port = 443,
                                 .proto = 17,
                                 .dst_mac = 0x000d3af87856,
                                 .forwarding_status = 129,
                                 .sampling_one_in = 1,
                                 .sampling_origin = WEIR_SAMPLING_EXPORTER};
    assert_flow(&got.flows[0], expected, "192.0.2.190", "10.5.16.4");
    expected.start_ms = expected.end_ms = 1542110379000;
    expected.src_port = 59932;
    expected.proto = 6;
    expected.dst_mac = 0;
    expected.src_mac = 0x000d3af87856;
    expected.dir = 1;
    expected.forwarding_status = 64;
    expected.packets = 1;
    expected.bytes = 66;
    assert_flow(&got.flows[1], expected, "10.5.16.4", "203.0.113.117");
    expected.src_port = 443;
    expected.dst_port = 59932;
    expected.src_mac = 0;
    expected.dst_mac = 0x000d3af87856;
    expected.dir = 0;
    expected.bytes = 67;
    assert_flow(&got.flows[2], expected, "203.0.113.117", "10.5.16.4");
    assert_int_equal(got.flows[3].packets, 10);
    assert_string_equal(got.origin, "azure/vm-nsg");
}

static void a_vnet_flow_log_counts_in_milliseconds(void **state)
{
    (void)state;
    struct got got = parse(
        FEED_AZURE, NULL,
        "{\"records\":[{\"time\":\"2022-09-14T09:00:52.5625085Z\",\"flowLogVersion\":4,\"flowLogGUID\":\"aaaa\","
        "\"macAddress\":\"112233445566\",\"category\":\"FlowLogFlowEvent\",\"flowLogResourceID\":\"/SUB/FL\","
        "\"targetResourceID\":\"/subscriptions/aaaa/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/"
        "vnet01\","
        "\"operationName\":\"FlowLogFlowEvent\",\"flowRecords\":{\"flows\":[{\"aclID\":\"1\",\"flowGroups\":[{\"rule\":"
        "\"DefaultRule_AllowInternetOutBound\",\"flowTuples\":["
        "\"1663146003599,10.0.0.6,192.0.2.180,23956,443,6,O,B,NX,0,0,0,0\","
        "\"1663146003606,10.0.0.6,192.0.2.180,23956,443,6,O,E,NX,3,767,2,1580\","
        "\"1663146003637,203.0.113.17,10.0.0.6,22730,22,6,I,D,NX,0,0,0,0\"]}]}]}}]}\n");
    assert_int_equal(got.bad, 0);
    assert_int_equal(got.told[FEED_TOLD_BEGUN], 1);
    assert_int_equal(got.count, 3);
    assert_int_equal(got.flows[0].start_ms, 1663146003606);
    assert_int_equal(got.flows[0].bytes, 767);
    assert_int_equal(got.flows[1].bytes, 1580);
    assert_int_equal(got.flows[1].packets, 2);
    assert_int_equal(got.flows[2].forwarding_status, 129);
    assert_int_equal(got.flows[2].dst_mac, 0x112233445566);
    assert_string_equal(got.origin, "azure/vnet01");
}

static void a_bad_azure_tuple_costs_itself_alone(void **state)
{
    (void)state;
    struct got got =
        parse(FEED_AZURE, NULL,
              "{\"records\":[\n{\"macAddress\":\"112233445566\",\"flowRecords\":{\"flows\":[{\"flowGroups\":[{"
              "\"flowTuples\":[\"1663146003606,10.0.0.6\",7,"
              "\"1663146003606,10.0.0.6,192.0.2.180,23956,443,6,O,E,NX,3,767,0,0\"]}]}]}},\n{\"x\":1}]}");
    assert_int_equal(got.count, 1);
    assert_int_equal(got.bad, 3);
    assert_int_equal(got.line, 3);
    assert_string_equal(got.reason, "the record has neither properties.flows nor flowRecords.flows");
}

static void bytes_after_the_last_whole_azure_record_wait_for_the_rest(void **state)
{
    (void)state;
    struct got got = {0};
    struct feed_parser *parser = NULL;
    const struct feed_out out = {.flow = on_flow, .told = on_told, .bad = on_bad, .ctx = &got};
    assert_int_equal(feed_parser_create(FEED_AZURE, NULL, NULL, "x", &parser, NULL), 0);
    got.parser = parser;
    size_t whole = sizeof nsg - 1;
    size_t cut = whole - 20;
    size_t used = feed_parse(parser, weir_view_of(nsg, cut), false, &out);
    assert_int_equal(used, strlen("{\"records\":["));
    assert_int_equal(got.count, 0);
    used += feed_parse(parser, weir_view_of(nsg + used, whole - used), false, &out);
    assert_int_equal(used, whole);
    assert_int_equal(got.count, 4);
    feed_parser_destroy(parser);
}

/* ---- GCP ---- */

#define GCP(more)                                                                                                      \
    "{\"insertId\":\"x\",\"jsonPayload\":{\"bytes_sent\":\"1776\",\"packets_sent\":\"7\",\"connection\":{\"dest_ip\":" \
    "\"10.128.0.5\",\"dest_port\":443,\"protocol\":6,\"src_ip\":\"198.51.100.9\",\"src_port\":51234}," more            \
    "\"end_time\":\"2026-01-02T03:04:06.5Z\",\"reporter\":\"DEST\",\"src_location\":{\"asn\":64500},"                  \
    "\"start_time\":\"2026-01-02T03:04:05.123456789Z\"},\"logName\":\"projects/shop/logs/"                             \
    "compute.googleapis.com%2Fvpc_flows\",\"resource\":{\"labels\":{\"project_id\":\"shop\",\"subnetwork_name\":"      \
    "\"default\"},\"type\":\"gce_subnetwork\"}}"

static void a_gcp_log_entry_becomes_a_flow(void **state)
{
    (void)state;
    struct got got = parse(FEED_GCP, NULL, GCP("") "\n");
    assert_int_equal(got.bad, 0);
    assert_int_equal(got.count, 1);
    assert_flow(&got.flows[0],
                (struct weir_flow){.start_ms = 1767323045123,
                                   .end_ms = 1767323046500,
                                   .packets = 7,
                                   .bytes = 1776,
                                   .src_port = 51234,
                                   .dst_port = 443,
                                   .proto = 6,
                                   .src_as = 64500,
                                   .forwarding_status = 64},
                "198.51.100.9", "10.128.0.5");
    assert_string_equal(got.origin, "gcp/shop/default");
}

static void a_dropped_gcp_flow_keeps_its_verdict_and_what_was_dropped(void **state)
{
    (void)state;
    struct got got = parse(FEED_GCP, NULL,
                           GCP("\"disposition\":\"DROPPED\",\"bytes_dropped\":\"90\",\"packets_dropped\":\"2\",") "\n");
    assert_int_equal(got.count, 1);
    assert_int_equal(got.flows[0].forwarding_status, 128); /* RFC 7270: dropped, unknown */
    assert_int_equal(got.flows[0].bytes, 90);
    assert_int_equal(got.flows[0].packets, 2);
}

static void gcp_entries_may_be_lines_or_an_array_in_pieces_of_any_size(void **state)
{
    (void)state;
    for (size_t step = 1; step < 40; step++) {
        struct got got =
            parse_in_steps(FEED_GCP, NULL, NULL, "[\n  " GCP("") ",\n  " GCP("\"x\":\"}{\\\"\",") "\n]\n", step);
        assert_int_equal(got.count, 2);
        assert_int_equal(got.bad, 0);
        got = parse_in_steps(FEED_GCP, NULL, NULL, GCP("") "\n" GCP("") "\n", step);
        assert_int_equal(got.count, 2);
        assert_int_equal(got.bad, 0);
    }
}

static void a_broken_gcp_line_is_named_and_the_next_is_read(void **state)
{
    (void)state;
    static const char *const broken[] = {"{\"jsonPayload\":{\"x\":1", "{\"x\":\"no end", "not json at all", "}"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        char text[4096];
        snprintf(text, sizeof text, "%s\n%s\n%s\n", GCP(""), broken[i], GCP(""));
        struct got got = parse(FEED_GCP, NULL, text);
        assert_int_equal(got.count, 2);
        assert_int_equal(got.bad, 1);
        assert_true(got.line == 2 || got.line == 3);
    }
}

static void a_record_that_is_too_long_is_one_bad_record(void **state)
{
    (void)state;
    struct weir_buf text = WEIR_BUF_INIT;
    weir_buf_text(&text, "{\"x\":\"");
    for (int i = 0; i < FEED_OBJECT_MOST; i++)
        weir_buf_u8(&text, 'x');
    weir_buf_text(&text, "\"}\n" GCP("") "\n");
    static const size_t steps[] = {1 << 20, FEED_OBJECT_MOST * 2};
    for (size_t i = 0; i < 2; i++) {
        struct got got = parse_in_steps(FEED_GCP, NULL, NULL, weir_buf_cstr(&text), steps[i]);
        assert_int_equal(got.bad, 1);
        assert_int_equal(got.count, 1);
    }
    weir_buf_fini(&text);
}

/* ---- Zeek ---- */

#define ZEEK_HEAD                                                                                                      \
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n#open\t2026-01-02\n"    \
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\torig_bytes\tresp_bytes\t" \
    "conn_state\tlocal_orig\tlocal_resp\tmissed_bytes\thistory\torig_pkts\torig_ip_bytes\tresp_pkts\tresp_ip_bytes\t"  \
    "tunnel_parents\n#types\ttime\tstring\n"

static void a_zeek_connection_is_a_flow_for_each_direction(void **state)
{
    (void)state;
    struct got got = parse(FEED_ZEEK, NULL,
                           ZEEK_HEAD "1700000000.123456\tCx\t10.0.0.1\t40000\t192.0.2.5\t443\ttcp\tssl\t1.500000\t100\t"
                                     "2000\tSF\tT\tF\t0\tShADadFf\t6\t420\t5\t2260\t-\n#close\t2026-01-02\n");
    assert_int_equal(got.bad, 0);
    assert_int_equal(got.count, 2);
    struct weir_flow expected = {.start_ms = 1700000000123,
                                 .end_ms = 1700000001623,
                                 .packets = 6,
                                 .bytes = 420,
                                 .src_port = 40000,
                                 .dst_port = 443,
                                 .proto = 6,
                                 .tcp_flags = 2 | 16 | 1,
                                 .sampling_one_in = 1,
                                 .sampling_origin = WEIR_SAMPLING_EXPORTER};
    assert_flow(&got.flows[0], expected, "10.0.0.1", "192.0.2.5");
    expected.packets = 5;
    expected.bytes = 2260;
    expected.src_port = 443;
    expected.dst_port = 40000;
    assert_flow(&got.flows[1], expected, "192.0.2.5", "10.0.0.1");
    assert_string_equal(got.origin, "zeek/border");
}

static void zeek_icmp_has_its_type_in_the_ports(void **state)
{
    (void)state;
    struct got got =
        parse(FEED_ZEEK, NULL,
              ZEEK_HEAD "1700000000.0\tCx\t10.0.0.1\t8\t192.0.2.5\t0\ticmp\t-\t0.1\t56\t56\tOTH\tT\tF\t0\t-\t"
                        "1\t84\t1\t84\t-\n"
                        "1700000000.0\tCy\t10.0.0.1\t3\t192.0.2.5\t1\ticmp\t-\t-\t56\t0\tOTH\tT\tF\t0\t-\t"
                        "1\t84\t0\t0\t-\n");
    assert_int_equal(got.bad, 0);
    assert_int_equal(got.count, 3);
    assert_int_equal(got.flows[0].icmp_type_code, 8 << 8);
    assert_int_equal(got.flows[0].dst_port, 0);
    assert_int_equal(got.flows[1].icmp_type_code, 0);
    assert_int_equal(got.flows[2].icmp_type_code, 3 << 8 | 1);
}

static void zeek_json_has_the_same_fields(void **state)
{
    (void)state;
    struct got got =
        parse(FEED_ZEEK, NULL,
              "{\"ts\":1700000000.123456,\"uid\":\"Cx\",\"id.orig_h\":\"10.0.0.1\",\"id.orig_p\":40000,\"id.resp_h\":"
              "\"192.0.2.5\",\"id.resp_p\":53,\"proto\":\"udp\",\"duration\":0.25,\"orig_bytes\":30,\"resp_bytes\":90,"
              "\"local_orig\":true,\"history\":\"Dd\",\"orig_pkts\":1,\"orig_ip_bytes\":58,\"resp_pkts\":1,"
              "\"resp_ip_bytes\":118,\"orig_l2_addr\":\"00:11:22:33:44:55\",\"vlan\":7}\n"
              "{\"_path\":\"dns\",\"ts\":1700000000.1}\n");
    assert_int_equal(got.bad, 0);
    assert_int_equal(got.told[FEED_TOLD_NO_FLOW], 1);
    assert_int_equal(got.count, 2);
    assert_int_equal(got.flows[0].bytes, 58);
    assert_int_equal(got.flows[0].src_mac, 0x001122334455);
    assert_int_equal(got.flows[0].vlan_in, 7);
    assert_int_equal(got.flows[0].end_ms, 1700000000373);
    assert_int_equal(got.flows[1].bytes, 118);
}

static void zeek_json_that_was_handed_on_has_underscores_for_dots(void **state)
{
    (void)state;
    struct got got =
        parse(FEED_ZEEK, NULL,
              "{\"@stream\":\"conn\",\"ts\":1588205199.82437,\"id_orig_h\":\"10.0.1.6\",\"id_orig_p\":54243,"
              "\"id_resp_h\":\"10.0.0.4\",\"id_resp_p\":53,\"proto\":\"udp\",\"orig_pkts\":1,"
              "\"orig_ip_bytes\":67}\n"
              "{\"@stream\":\"dns\",\"ts\":1588205199.9,\"id_orig_h\":\"10.0.1.6\",\"id_resp_h\":\"10.0.0.4\"}\n");
    assert_int_equal(got.bad, 0);
    assert_int_equal(got.told[FEED_TOLD_NO_FLOW], 1);
    assert_int_equal(got.count, 1);
    assert_int_equal(got.flows[0].start_ms, 1588205199824);
    assert_int_equal(got.flows[0].src_port, 54243);
    assert_int_equal(got.flows[0].dst_port, 53);
}

static void rows_of_another_zeek_log_are_bad(void **state)
{
    (void)state;
    struct got got = parse(FEED_ZEEK, NULL, "#separator \\x09\n#path\tdns\n#fields\tts\tuid\n1700000000.0\tCx\n");
    assert_int_equal(got.count, 0);
    assert_int_equal(got.bad, 2);
    assert_string_equal(got.reason, "the line is of another log than conn");
}

/* ---- what is kept ---- */

static void what_an_operator_names_of_a_record_is_kept_with_its_flows(void **state)
{
    (void)state;
    static const struct {
        enum feed_format format;
        const char *keep;
        const char *text;
        const char *kept[2];
    } cases[] = {
        {FEED_AWS,
         "instance-id ${vpc_id} account-id",
         "instance-id account-id vpc-id srcaddr dstaddr start\ni-0abc 123456789012 - 10.0.0.1 10.0.0.2 1700000000\n",
         {"i-0abc;;123456789012;"}},
        {FEED_AZURE,
         "rule aclID macAddress operationName absent",
         "{\"macAddress\":\"00:00:5e:00:53:01\",\"operationName\":\"O\",\"flowRecords\":{\"flows\":[{\"aclID\":\"A\","
         "\"flowGroups\":[{\"rule\":\"R\",\"flowTuples\":["
         "\"1663146003606,10.0.0.6,192.0.2.180,23956,443,6,O,E,NX,3,767,2,1580\"]}]}]}}",
         {"R;A;00:00:5e:00:53:01;O;;", "R;A;00:00:5e:00:53:01;O;;"}},
        {FEED_AZURE,
         "rule,mac,properties.Version",
         "{\"properties\":{\"Version\":2,\"flows\":[{\"rule\":\"DefaultRule_DenyAllInBound\",\"flows\":[{\"mac\":"
         "\"000D3AF87856\",\"flowTuples\":[\"1542110402,192.0.2.190,10.5.16.4,28746,443,U,I,D,B,,,,\"]}]}]}}",
         {"DefaultRule_DenyAllInBound;000D3AF87856;2;"}},
        {FEED_GCP,
         "src_instance.vm_name reporter connection.protocol src_vpc.vpc_name",
         "{\"jsonPayload\":{\"connection\":{\"src_ip\":\"10.0.0.1\",\"dest_ip\":\"10.0.0.2\",\"protocol\":6},"
         "\"reporter\":\"SRC\",\"src_instance\":{\"vm_name\":\"web-1\"},\"start_time\":\"2026-01-02T03:04:05Z\"}}",
         {"web-1;SRC;6;;"}},
        {FEED_ZEEK,
         "uid service",
         "#fields\tts\tuid\tid.orig_h\tid.resp_h\tservice\n1700000000\tCx\t10.0.0.1\t10.0.0.2\t-\n",
         {"Cx;;"}},
        {FEED_ZEEK,
         "uid,service,orig_pkts,duration",
         "{\"ts\":1700000000.5,\"uid\":\"Cx\",\"id.orig_h\":\"10.0.0.1\",\"id.resp_h\":\"10.0.0.2\",\"service\":"
         "\"dns\","
         "\"orig_pkts\":7,\"resp_pkts\":1}\n",
         {"Cx;dns;7;;", "Cx;dns;7;;"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct got got = parse_in_steps(cases[i].format, NULL, cases[i].keep, cases[i].text, 7);
        assert_int_equal(got.bad, 0);
        assert_true(got.count >= 1);
        for (size_t k = 0; k < 2 && cases[i].kept[k] != NULL; k++)
            assert_string_equal(got.kept[k], cases[i].kept[k]);
    }
}

static void what_cannot_be_kept_is_said_before_anything_is_read(void **state)
{
    (void)state;
    static const struct {
        enum feed_format format;
        const char *keep;
        const char *why;
    } cases[] = {
        {FEED_AWS, "instance-id colour", "keep: \"colour\" is no field of aws"},
        {FEED_ZEEK, "uid service uid", "keep: \"uid\" is there twice"},
        {FEED_GCP, "a b c d e f g h i", "keep: there are more than 8 names"},
        {FEED_AZURE, "a-name-that-is-longer-than-names-may-be",
         "keep: \"a-name-that-is-longer-than-names-may-be\" is not 1 to 31 letters, digits, '-', '_' and '.'"},
        {FEED_ZEEK, "uid a:b", "keep: \"a:b\" is not 1 to 31 letters, digits, '-', '_' and '.'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct feed_parser *parser = NULL;
        struct weir_why why = {0};
        assert_int_equal(feed_parser_create(cases[i].format, NULL, cases[i].keep, "x", &parser, &why), WEIR_EPARAM);
        assert_string_equal(why.text, cases[i].why);
    }
}

static void what_is_kept_is_called_as_extra_columns_are(void **state)
{
    (void)state;
    struct feed_parser *parser = NULL;
    assert_int_equal(feed_parser_create(FEED_GCP, NULL, "src_instance.vm_name, aclID", "x", &parser, NULL), 0);
    assert_int_equal(feed_parser_keeps(parser), 2);
    assert_string_equal(feed_parser_extra(parser, 0).name, "src_instance_vm_name");
    assert_string_equal(feed_parser_extra(parser, 1).name, "aclid");
    assert_int_equal(feed_parser_extra(parser, 0).type, WEIR_EXTRA_STRING);
    feed_parser_destroy(parser);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_aws_line_of_version_2_needs_no_header),
        cmocka_unit_test(the_header_line_of_an_aws_log_says_where_its_fields_are),
        cmocka_unit_test(aws_fields_may_be_configured_and_separated_by_commas),
        cmocka_unit_test(nodata_and_skipdata_are_no_flows_and_are_told),
        cmocka_unit_test(a_bad_line_is_named_and_the_rest_goes_on),
        cmocka_unit_test(a_line_that_is_too_long_is_one_bad_line),
        cmocka_unit_test(a_time_stamp_before_an_aws_line_is_passed_over),
        cmocka_unit_test(an_azure_tuple_is_a_flow_for_each_direction),
        cmocka_unit_test(a_vnet_flow_log_counts_in_milliseconds),
        cmocka_unit_test(a_bad_azure_tuple_costs_itself_alone),
        cmocka_unit_test(bytes_after_the_last_whole_azure_record_wait_for_the_rest),
        cmocka_unit_test(a_gcp_log_entry_becomes_a_flow),
        cmocka_unit_test(a_dropped_gcp_flow_keeps_its_verdict_and_what_was_dropped),
        cmocka_unit_test(gcp_entries_may_be_lines_or_an_array_in_pieces_of_any_size),
        cmocka_unit_test(a_broken_gcp_line_is_named_and_the_next_is_read),
        cmocka_unit_test(a_record_that_is_too_long_is_one_bad_record),
        cmocka_unit_test(a_zeek_connection_is_a_flow_for_each_direction),
        cmocka_unit_test(zeek_icmp_has_its_type_in_the_ports),
        cmocka_unit_test(zeek_json_has_the_same_fields),
        cmocka_unit_test(zeek_json_that_was_handed_on_has_underscores_for_dots),
        cmocka_unit_test(rows_of_another_zeek_log_are_bad),
        cmocka_unit_test(what_an_operator_names_of_a_record_is_kept_with_its_flows),
        cmocka_unit_test(what_cannot_be_kept_is_said_before_anything_is_read),
        cmocka_unit_test(what_is_kept_is_called_as_extra_columns_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
