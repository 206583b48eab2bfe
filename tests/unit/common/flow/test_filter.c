#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/flow/filter.h"

#include "tests/support/cmocka.h"

#include <stdio.h>
#include <string.h>

static struct weir_filter *parsed(const char *text)
{
    struct weir_filter *filter = NULL;
    struct weir_filter_error error;
    int rc = weir_filter_parse(text, strlen(text), &filter, &error);
    if (rc < 0) fail_msg("%s: %s at column %u", text, error.message, error.column);
    return filter;
}

static char *canonical(const char *text)
{
    struct weir_filter *filter = parsed(text);
    struct weir_buf out = WEIR_BUF_INIT;
    weir_filter_print(filter, &out);
    char *copy = weir_strdup(weir_buf_cstr(&out));
    weir_buf_fini(&out);
    weir_filter_destroy(filter);
    return copy;
}

static struct weir_ip ip_of(const char *text)
{
    struct weir_ip ip;
    assert_int_equal(weir_ip_parse(text, &ip), 0);
    return ip;
}

static void words_have_one_canonical_form(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *canonical;
    } cases[] = {
        {"", "any"},
        {"  # only a comment", "any"},
        {"SRC IP 10.0.0.1 AND Port 443", "src ip 10.0.0.1 and port 443"},
        {"src_ip = 10.0.0.1", "src ip 10.0.0.1"},
        {"host 2001:DB8::1", "ip 2001:db8::1"},
        {"net 10.1.2.3/8", "net 10.0.0.0/8"},
        {"net 172.16/12", "net 172.16.0.0/12"},
        {"src net 192.168.0.0 255.255.0.0", "src net 192.168.0.0/16"},
        {"exporter 192.0.2.0/24", "exporter 192.0.2.0/24"},
        {"router ip 192.0.2.1", "exporter 192.0.2.1"},
        {"port in [443, 80 80,8000-8999]", "port in [80, 443, 8000 - 8999]"},
        {"dst port 1-1024", "dst port 1 - 1024"},
        {"dst port 1 - 1024", "dst port 1 - 1024"},
        {"port > 1023", "port >= 1024"},
        {"port lt 1024", "port <= 1023"},
        {"port in [1-5, 6-9]", "port 1 - 9"},
        {"port != 53", "not port 53"},
        {"proto 17", "proto udp"},
        {"tcp and not udp", "proto tcp and not proto udp"},
        {"icmp", "proto icmp"},
        {"proto in [icmp, icmp6]", "proto in [icmp, icmp6]"},
        {"icmp type 8 and icmp code 0", "icmp type 8 and icmp code 0"},
        {"icmp = 2048", "icmp in [2048]"},
        {"bytes > 10k", "bytes >= 10001"},
        {"bytes > 10Ki", "bytes >= 10241"},
        {"bytes >= 1.5M", "bytes >= 1500000"},
        {"duration < 90s", "duration <= 89999"},
        {"bpp 64-128", "bpp 64 - 128"},
        {"src and dst port 123", "src port 123 and dst port 123"},
        {"src or dst port 123", "port 123"},
        {"client ip 10.0.0.1 and server port 22", "client ip 10.0.0.1 and server port 22"},
        {"service https or service tcp/8443", "service https or service https-alt"},
        {"service http-alt", "service http-alt"},
        {"flags AS", "flags SA"},
        {"not flags AFRPU", "not flags FRPAU"},
        {"not (not flags S)", "not (not flags S)"},
        {"flags X", "flags FSRPAU"},
        {"src as 64512 and as in [1-5]", "src as 64512 and as 1 - 5"},
        {"in if 3 or out if 4 or if 5", "in if 3 or out if 4 or if 5"},
        {"if_in 3", "in if 3"},
        {"vlan 7 and dst vlan 8", "vlan 7 and dst vlan 8"},
        {"tos 184", "tos 184"},
        {"mac 00:11:22:33:44:55", "mac 00:11:22:33:44:55"},
        {"site fra and site nyc*", "site \"fra\" and site nyc*"},
        {"site in [\"a b\", 'any']", "site in [\"a b\", \"any\"]"},
        {"protocol ipfix and dir egress and action reject", "protocol ipfix and dir egress and action reject"},
        {"not not src ip 10.0.0.1", "src ip 10.0.0.1"},
        {"!(port 1 || port 2)", "not (port 1 or port 2)"},
        {"any and port 1", "port 1"},
        {"any or port 1", "any"},
        {"ip 10.0.0.1-10.0.0.3", "net 10.0.0.1-10.0.0.3"},
        {"ip in [::/0, 0.0.0.0/0]",
         "ip in [::-::fffe:ffff:ffff, 0.0.0.0/0, ::1:0:0:0-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]"},
        {"port 1 or port 2 and port 3", "port 1 or port 2 and port 3"},
        {"(port 1 or port 2) and port 3", "(port 1 or port 2) and port 3"},
        {"(port 1 and port 2) or port 3", "port 1 and port 2 or port 3"},
        {"port 1 and (port 2 and port 3)", "port 1 and port 2 and port 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *first = canonical(cases[i].text);
        assert_string_equal(first, cases[i].canonical);
        char *second = canonical(first);
        assert_string_equal(second, first);
        struct weir_filter *a = parsed(cases[i].text);
        struct weir_filter *b = parsed(first);
        assert_true(weir_filter_equal(a, b));
        weir_filter_destroy(a);
        weir_filter_destroy(b);
        weir_free(first);
        weir_free(second);
    }
}

static void an_error_points_at_its_word(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *message;
        uint32_t column;
        uint32_t length;
        const char *suggestion;
        const char *expected; /* one of those that could stand there, or NULL */
    } cases[] = {
        {"src ipp 10.1.2.3 and port 443", "unknown word \"ipp\"", 5, 3, "ip", "host"},
        {"port 80 adn port 81", "unknown word \"adn\"", 9, 3, "and", "or"},
        {"srcip 10.0.0.1", "unknown word \"srcip\"", 1, 5, "src_ip", "src"},
        {"port 80 and", "something is missing", 12, 1, "", "port"},
        {"(port 80", "something is missing", 9, 1, "", "and"},
        {"port 80)", "unexpected \")\"", 8, 1, "", "and"},
        {"port", "something is missing", 5, 1, "", "a value"},
        {"port 70000", "70000 is larger than 65535", 6, 5, "", NULL},
        {"port http", "\"http\" is not a number", 6, 4, "", NULL},
        {"ip web1", "\"web1\" is not an address (names are not looked up)", 4, 4, "", NULL},
        {"ip 10.0.0.256", "\"10.0.0.256\" is not an address (names are not looked up)", 4, 10, "", NULL},
        {"net 10.0.0.0/33", "\"10.0.0.0/33\" is not an address (names are not looked up)", 5, 11, "", NULL},
        {"net 10.0.0.0 255.0.255.0", "\"255.0.255.0\" is not a mask: its ones must come first", 14, 11, "", NULL},
        {"proto tpc", "\"tpc\" is not a protocol", 7, 3, "", NULL},
        {"port 9-1", "the range ends before it begins", 6, 3, "", NULL},
        {"bytes < 0", "nothing is smaller than 0", 9, 1, "", NULL},
        {"port > 65535", "nothing is larger than 65535", 8, 5, "", NULL},
        {"bytes > 10X", "\"10X\" is not a number (10k, 1.5M, 10Ki)", 9, 3, "", NULL},
        {"duration > 5q", "\"5q\" is not a duration (90s, 5m, 1h; without a unit milliseconds)", 12, 2, "", NULL},
        {"src_ip < 10.0.0.1", "an address can only be = or != another", 10, 8, "", NULL},
        {"client as 5", "\"client\" goes with ip, host, net and port only; use src or dst", 1, 6, "", NULL},
        {"port 1 & port 2", "unexpected \"&\"", 8, 1, "&&", NULL},
        {"site \"fra", "the quotation mark is never closed", 6, 1, "", NULL},
        {"site \"\xc3\xa9\" adn", "unknown word \"adn\"", 10, 3, "and", NULL}, /* characters, not bytes */
        {"port 1\nand poort 2", "unknown word \"poort\"", 12, 5, "port", NULL},
        {"flags QX", "\"QX\" is not a set of TCP flags (letters of CEUAPRSF)", 7, 2, "", NULL},
        {"flags 0", "no flag is named here; `tcp_flags = 0` finds flows without any", 7, 1, "", NULL},
        {"port \x01", "unexpected byte 0x01", 6, 1, "", NULL},
        {"ip 10.0.0.1-::5", "the range ends before it begins", 4, 12, "", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_filter *filter = NULL;
        struct weir_filter_error error;
        assert_int_equal(weir_filter_parse(cases[i].text, strlen(cases[i].text), &filter, &error), WEIR_EFORMAT);
        assert_null(filter);
        assert_string_equal(error.message, cases[i].message);
        assert_int_equal(error.column, cases[i].column);
        assert_int_equal(error.length, cases[i].length);
        assert_string_equal(error.suggestion, cases[i].suggestion);
        bool found = cases[i].expected == NULL;
        for (uint32_t e = 0; e < error.expected_count; e++)
            found = found || strcmp(error.expected[e], cases[i].expected) == 0;
        assert_true(found);
    }
}

static void the_error_is_printed_with_carets_under_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *printed; /* how it begins */
    } cases[] = {
        {"src ipp 10.1.2.3 and port 443",
         "filter: unknown word \"ipp\" at column 5\n"
         "  src ipp 10.1.2.3 and port 443\n"
         "      ^^^  did you mean \"ip\"?  expected: ip, host, net, port, as, vlan, mac"},
        {"port 1\nand\tpoort 2", "filter: unknown word \"poort\" at column 12\n"
                                 "  and poort 2\n"
                                 "      ^^^^^  did you mean \"port\"?"},
        {"site \"\xc3\xa9\" adn", "filter: unknown word \"adn\" at column 10\n"
                                  "  site \"\xc3\xa9\" adn\n"
                                  "           ^^^  did you mean \"and\"?"},
        {"port", "filter: something is missing at column 5\n  port\n      ^  expected: "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_filter *filter = NULL;
        struct weir_filter_error error;
        assert_int_equal(weir_filter_parse(cases[i].text, strlen(cases[i].text), &filter, &error), WEIR_EFORMAT);
        struct weir_buf out = WEIR_BUF_INIT;
        weir_filter_error_print(&error, cases[i].text, strlen(cases[i].text), &out);
        const char *got = weir_buf_cstr(&out);
        if (strncmp(got, cases[i].printed, strlen(cases[i].printed)) != 0) assert_string_equal(got, cases[i].printed);
        weir_buf_fini(&out);
    }
}

static void what_a_stranger_can_make_big_is_bounded(void **state)
{
    (void)state;
    struct weir_filter *filter = NULL;
    struct weir_filter_error error;
    struct weir_buf text = WEIR_BUF_INIT;

    for (int i = 0; i < 64; i++)
        weir_buf_text(&text, "(not ");
    weir_buf_text(&text, "any");
    for (int i = 0; i < 64; i++)
        weir_buf_text(&text, ")");
    filter = parsed(weir_buf_cstr(&text));
    weir_filter_destroy(filter);

    static const struct {
        const char *piece;
        int times;
    } cases[] = {{"(", 65}, {"not ", 65}, {"(not ", 65}, {"port 1 or ", 6000}, {"a", 65537}, {"!", 60000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        weir_buf_clear(&text);
        for (int n = 0; n < cases[i].times; n++)
            weir_buf_text(&text, cases[i].piece);
        weir_buf_text(&text, "any");
        assert_int_equal(weir_filter_parse(weir_buf_cstr(&text), text.size, &filter, &error), WEIR_ELIMIT);
        assert_true(error.message[0] != '\0');
    }
    /* Long and flat is fine: a chain is one node, and a list one set. */
    weir_buf_clear(&text);
    weir_buf_text(&text, "port in [");
    for (int n = 0; n < 9000; n++)
        weir_buf_printf(&text, "%d,", 2 * n);
    weir_buf_text(&text, "1] and ip in [10.0.0.1");
    for (int n = 0; n < 500; n++)
        weir_buf_text(&text, " 10.0.0.1");
    weir_buf_text(&text, "]");
    filter = parsed(weir_buf_cstr(&text));
    struct weir_flow flow = {.src_ip = ip_of("10.0.0.1"), .dst_port = 17998};
    struct weir_where where = {.site = ""};
    assert_true(weir_filter_flow(filter, &flow, &where));
    flow.dst_port = 17997;
    flow.src_port = 3;
    assert_false(weir_filter_flow(filter, &flow, &where));
    weir_filter_destroy(filter);
    weir_buf_fini(&text);
}

/* ---- evaluation ---- */

static const struct {
    const char *filter;
    const char *passes; /* one letter per flow below that passes */
} truths[] = {
    {"any", "abcdef"},
    {"ipv4", "abdef"},
    {"ipv6", "c"},
    {"src ip 10.0.0.1", "ad"},
    {"ip 10.0.0.2", "abd"},
    {"ip != 10.0.0.2", "cef"},
    {"net 10.0.0.0/30", "abd"},
    {"net 2001:db8::/32", "c"},
    {"net ::/0", "c"},
    {"not net 10.0.0.0/8", "ce"},
    {"port 443", "ab"},
    {"src port 443", "b"},
    {"port != 443", "cdef"},
    {"port > 50000", "ab"},
    {"src and dst port 123", "e"},
    {"proto tcp", "ab"},
    {"tcp or icmp", "abd"},
    {"proto in [udp, icmp]", "cde"},
    {"icmp type 8", "d"},
    {"icmp type 0", ""},
    {"icmp code < 4", "d"},
    {"flags S", "ab"},
    {"flags SF", "a"},
    {"not flags SF", "cdef"},
    {"not flags SA and tcp", ""},
    {"tcp_flags = 0x12", "b"},
    {"bytes > 1k", "ac"},
    {"bytes 1000", "b"},
    {"packets >= 10", "ac"},
    {"bpp 150", "a"},
    {"duration 10s", "a"},
    {"bps 1200", "a"},
    {"pps 1", "a"},
    {"pps 0", "bcdef"},
    {"src as 64512", "a"},
    {"as 64513", "a"},
    {"in if 1", "a"},
    {"if 2", "a"},
    {"vlan 10", "a"},
    {"vlan 11", "a"},
    {"src vlan 11", ""},
    {"tos 184", "c"},
    {"exporter 192.0.2.1", "abcdef"},
    {"exporter 192.0.2.2", ""},
    {"domain 7 and port 443", "ab"},
    {"site fra1", "abcdef"},
    {"site fra*", "abcdef"},
    {"site *a1 and tcp", "ab"},
    {"site in [nyc, sin]", ""},
    {"protocol ipfix and icmp", "d"},
    {"protocol netflow5", ""},
    {"client ip 10.0.0.1", "abd"},
    {"server ip 10.0.0.2", "abd"},
    {"server port 443", "ab"},
    {"service https", "ab"},
    {"client port 51000", "ab"},
    {"dir egress", "b"},
    {"action reject", "b"},
    {"mac 02:00:00:00:00:01", "f"},
    {"sampling 100", "c"},
    {"next_hop 10.0.0.254", "f"},
    {"port 53 or port 443 and src ip 10.0.0.1", "ac"},
    {"(port 53 or port 443) and src ip 10.0.0.1", "a"},
    {"not (port 53 or port 443)", "def"},
};

static struct weir_batch *truth_batch(void)
{
    struct weir_flow flows[6] = {
        /* a: a client's side of https */
        {.start_ms = 1000,
         .end_ms = 11000,
         .src_ip = ip_of("10.0.0.1"),
         .dst_ip = ip_of("10.0.0.2"),
         .bytes = 1500,
         .packets = 10,
         .if_in = 1,
         .if_out = 2,
         .src_as = 64512,
         .dst_as = 64513,
         .src_port = 51000,
         .dst_port = 443,
         .tcp_flags = 0x1b,
         .vlan_in = 10,
         .vlan_out = 11,
         .proto = 6},
        /* b: the server's side */
        {.start_ms = 1000,
         .end_ms = 1000,
         .src_ip = ip_of("10.0.0.2"),
         .dst_ip = ip_of("10.0.0.1"),
         .bytes = 1000,
         .packets = 2,
         .src_port = 443,
         .dst_port = 51000,
         .tcp_flags = 0x12,
         .proto = 6,
         .dir = 1,
         .forwarding_status = 0x80},
        /* c: dns over IPv6, sampled */
        {.src_ip = ip_of("2001:db8::1"),
         .dst_ip = ip_of("2001:db8:1::53"),
         .bytes = 2000,
         .packets = 10,
         .sampling_one_in = 100,
         .src_port = 40000,
         .dst_port = 53,
         .proto = 17,
         .tos = 184},
        /* d: a ping, with the type in the port */
        {.src_ip = ip_of("10.0.0.1"),
         .dst_ip = ip_of("10.0.0.2"),
         .bytes = 84,
         .packets = 1,
         .dst_port = 0x0800,
         .proto = 1},
        /* e: ntp between equals */
        {.src_ip = ip_of("192.0.2.7"),
         .dst_ip = ip_of("192.0.2.8"),
         .bytes = 76,
         .packets = 1,
         .src_port = 123,
         .dst_port = 123,
         .proto = 17},
        /* f: a tunnel */
        {.src_ip = ip_of("10.9.0.7"),
         .dst_ip = ip_of("10.9.0.8"),
         .bytes = 76,
         .packets = 1,
         .proto = 47,
         .src_mac = 0x020000000001,
         .next_hop = ip_of("10.0.0.254")},
    };
    struct weir_batch *batch = NULL;
    assert_int_equal(weir_batch_create(8, &batch), 0);
    for (int i = 0; i < 6; i++)
        assert_int_equal(weir_batch_append(batch, &flows[i]), 0);
    return batch;
}

static struct weir_where truth_where(void)
{
    return (struct weir_where){
        .source = {.exporter = ip_of("192.0.2.1"), .domain = 7}, .protocol = WEIR_PROTOCOL_IPFIX, .site = "fra1"};
}

static void flows_batches_and_rows_pass_alike(void **state)
{
    (void)state;
    struct weir_batch *batch = truth_batch();
    struct weir_where where = truth_where();
    uint64_t every_dim = (1ull << WEIR_DIM_COUNT) - 1;
    for (size_t i = 0; i < sizeof truths / sizeof *truths; i++) {
        struct weir_filter *filter = parsed(truths[i].filter);
        uint64_t selected[WEIR_FILTER_WORDS] = {0};
        uint32_t passed = weir_filter_batch(filter, batch, &where, selected);
        char got[7] = "";
        char got_rows[7] = "";
        size_t count = 0;
        size_t row_count = 0;
        for (uint32_t row = 0; row < batch->count; row++) {
            struct weir_flow flow;
            weir_batch_get(batch, row, &flow);
            bool passes = weir_filter_flow(filter, &flow, &where);
            assert_int_equal(passes, selected[0] >> row & 1);
            if (passes) got[count++] = (char)('a' + row);

            if (!weir_filter_fits(filter, every_dim)) continue;
            struct weir_row_key key = {.have = every_dim, .site = where.site};
            for (int dim = 0; dim < WEIR_DIM_COUNT; dim++) {
                union weir_value values[2];
                weir_dim_of_flow(dim, &flow, &where, values);
                key.value[dim] = values[0];
            }
            if (weir_filter_row(filter, &key)) got_rows[row_count++] = (char)('a' + row);
        }
        if (strcmp(got, truths[i].passes) != 0) fail_msg("%s: %s, not %s", truths[i].filter, got, truths[i].passes);
        assert_int_equal(passed, count);
        if (weir_filter_fits(filter, every_dim)) assert_string_equal(got_rows, truths[i].passes);
        bool excluded = weir_filter_excludes(filter, &where);
        if (excluded) assert_int_equal(count, 0);
        weir_filter_destroy(filter);
    }
    weir_batch_destroy(batch);
}

static void every_row_of_a_full_batch_has_its_bit(void **state)
{
    (void)state;
    struct weir_batch *batch = NULL;
    assert_int_equal(weir_batch_create(64, &batch), 0);
    for (uint32_t i = 0; i < 1000; i++) {
        struct weir_flow flow = {.src_port = (uint16_t)i, .bytes = i};
        assert_int_equal(weir_batch_append(batch, &flow), 0);
    }
    struct weir_where where = truth_where();
    struct weir_filter *filter = parsed("src port in [5, 100-199, 999] or not bytes < 990");
    uint64_t selected[WEIR_FILTER_WORDS];
    memset(selected, 0xff, sizeof selected);
    assert_int_equal(weir_filter_batch(filter, batch, &where, selected), 1 + 100 + 10);
    for (uint32_t i = 0; i < 1024; i++) {
        bool expected = i < 1000 && (i == 5 || (i >= 100 && i < 200) || i >= 990);
        assert_int_equal(selected[i / 64] >> i % 64 & 1, expected);
    }
    weir_filter_destroy(filter);
    weir_batch_destroy(batch);
}

static void a_filter_says_what_it_needs(void **state)
{
    (void)state;
    static const struct {
        const char *filter;
        enum weir_dim have[3];
        const char *misfit;
    } cases[] = {
        {"any", {0}, NULL},
        {"ip 10.0.0.1", {WEIR_DIM_src_ip, WEIR_DIM_dst_ip}, NULL},
        {"ip 10.0.0.1", {WEIR_DIM_client_ip, WEIR_DIM_server_ip}, NULL},
        {"ip 10.0.0.1", {WEIR_DIM_src_ip, WEIR_DIM_server_ip}, "ip"},
        {"src ip 10.0.0.1", {WEIR_DIM_client_ip, WEIR_DIM_server_ip}, "src ip"},
        {"proto tcp and server port 22", {WEIR_DIM_service, WEIR_DIM_service}, NULL},
        {"service https", {WEIR_DIM_proto, WEIR_DIM_server_port}, NULL},
        {"service https and bytes > 5", {WEIR_DIM_service, WEIR_DIM_exporter}, "bytes"},
        {"not (site fra or port 5)", {WEIR_DIM_site, WEIR_DIM_src_port}, "port"},
        {"ipv4", {WEIR_DIM_client_ip, WEIR_DIM_server_ip}, NULL},
        {"flags S", {WEIR_DIM_src_ip, WEIR_DIM_dst_ip}, "flags"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_filter *filter = parsed(cases[i].filter);
        uint64_t have = WEIR_DIM_BIT(cases[i].have[0]) | WEIR_DIM_BIT(cases[i].have[1]);
        const char *misfit = weir_filter_misfit(filter, have);
        if (cases[i].misfit == NULL) {
            assert_null(misfit);
        } else {
            assert_non_null(misfit);
            assert_string_equal(misfit, cases[i].misfit);
        }
        assert_int_equal(weir_filter_fits(filter, have), misfit == NULL);
        weir_filter_destroy(filter);
    }
    struct weir_filter *filter = parsed("src port 5 and bytes > 7");
    assert_int_equal(weir_filter_fields(filter), 1ull << WEIR_FIELD_src_port | 1ull << WEIR_FIELD_bytes);
    weir_filter_destroy(filter);

    /* A row of client, server and service decides what follows from them. */
    filter = parsed("ip 10.0.0.2 and tcp and server port 443");
    struct weir_row_key row = {.site = "",
                               .have = WEIR_DIM_BIT(WEIR_DIM_client_ip) | WEIR_DIM_BIT(WEIR_DIM_server_ip) |
                                       WEIR_DIM_BIT(WEIR_DIM_service)};
    row.value[WEIR_DIM_client_ip].ip = ip_of("10.0.0.1");
    row.value[WEIR_DIM_server_ip].ip = ip_of("10.0.0.2");
    row.value[WEIR_DIM_service].number = 6 << 16 | 443;
    assert_true(weir_filter_fits(filter, row.have));
    assert_true(weir_filter_row(filter, &row));
    row.value[WEIR_DIM_service].number = 17 << 16 | 443;
    assert_false(weir_filter_row(filter, &row));
    weir_filter_destroy(filter);
}

static void an_anchor_holds_an_address_of_every_passing_flow(void **state)
{
    (void)state;
    static const struct {
        const char *filter;
        int count;
    } cases[] = {
        {"any", WEIR_ENOTFOUND},
        {"ip 10.0.0.1", 1},
        {"port 5 and src ip in [10.0.0.1, 10.0.0.9]", 2},
        {"ip 10.0.0.1 or server ip 10.0.0.2", 2},
        {"ip 10.0.0.1 or port 5", WEIR_ENOTFOUND},
        {"not ip 10.0.0.1", WEIR_ENOTFOUND},
        {"net 10.0.0.0/8", WEIR_ENOTFOUND},
        {"exporter 10.0.0.1", WEIR_ENOTFOUND},
        {"ip in [10.0.0.1, 10.0.0.3, 10.0.0.5, 10.0.0.7, 10.0.0.9]", WEIR_ENOTFOUND},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_filter *filter = parsed(cases[i].filter);
        struct weir_ip ips[4];
        assert_int_equal(weir_filter_anchor(filter, ips, 4), cases[i].count);
        struct weir_ip first = ip_of("10.0.0.1");
        if (cases[i].count > 0) assert_true(weir_ip_equal(&ips[0], &first));
        weir_filter_destroy(filter);
    }
}

static void a_source_that_cannot_pass_is_excluded_unopened(void **state)
{
    (void)state;
    static const struct {
        const char *filter;
        bool excluded;
    } cases[] = {
        {"exporter 192.0.2.1", false},
        {"exporter 192.0.2.2", true},
        {"exporter 192.0.2.2 and port 5", true},
        {"exporter 192.0.2.2 or port 5", false},
        {"not exporter 192.0.2.1", true},
        {"not (exporter 192.0.2.1 and port 5)", false},
        {"site nyc", true},
        {"domain 7 and site fra1 and protocol ipfix", false},
        {"port 5", false},
        {"protocol sflow5", true},
    };
    struct weir_where where = truth_where();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_filter *filter = parsed(cases[i].filter);
        assert_int_equal(weir_filter_excludes(filter, &where), cases[i].excluded);
        weir_filter_destroy(filter);
    }
}

static void running_out_of_memory_is_said_and_leaks_nothing(void **state)
{
    (void)state;
    struct weir_buf text = WEIR_BUF_INIT;
    weir_buf_text(
        &text, "not (src net 10.0.0.0 255.0.0.0 and port in [1-2, 5]) or site in [a, b] and flags S and icmp type 5");
    for (int i = 0; i < 60; i++)
        weir_buf_text(&text, " or (not bytes > 5k");
    for (int i = 0; i < 60; i++)
        weir_buf_text(&text, ")");
    const char *filter_text = weir_buf_cstr(&text);
    int64_t successes = 0;
    for (bool failed = true; failed; successes++) {
        assert_true(successes < 500);
        struct weir_filter *filter = NULL;
        struct weir_filter_error error;
        weir_mem_fail_after(successes);
        int rc = weir_filter_parse(filter_text, text.size, &filter, &error);
        failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        weir_filter_destroy(filter);
    }
    assert_true(successes > 3);
    weir_buf_fini(&text);
}

/* ---- the round trip, on filters that are made up ---- */

static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void make_up(struct weir_buf *out, uint64_t *seed, int depth)
{
    uint64_t choice = next_random(seed) % (depth > 5 ? 1 : 6);
    if (choice == 1 || choice == 2) {
        weir_buf_text(out, "(");
        make_up(out, seed, depth + 1);
        weir_buf_text(out, choice == 1 ? ") and " : ") || ");
        make_up(out, seed, depth + 1);
    } else if (choice == 3) {
        weir_buf_text(out, "not ");
        make_up(out, seed, depth + 1);
    } else {
        size_t count = sizeof truths / sizeof *truths;
        weir_buf_printf(out, "(%s)", truths[next_random(seed) % count].filter);
    }
}

static void printing_and_parsing_again_is_the_same_filter(void **state)
{
    (void)state;
    struct weir_batch *batch = truth_batch();
    struct weir_where where = truth_where();
    uint64_t seed = 20260304;
    for (int i = 0; i < 500; i++) {
        struct weir_buf text = WEIR_BUF_INIT;
        struct weir_buf again = WEIR_BUF_INIT;
        make_up(&text, &seed, 0);
        struct weir_filter *first = parsed(weir_buf_cstr(&text));
        weir_filter_print(first, &again);
        struct weir_filter *second = parsed(weir_buf_cstr(&again));
        if (!weir_filter_equal(first, second)) fail_msg("%s\n%s", weir_buf_cstr(&text), weir_buf_cstr(&again));
        uint64_t a[WEIR_FILTER_WORDS];
        uint64_t b[WEIR_FILTER_WORDS];
        weir_filter_batch(first, batch, &where, a);
        weir_filter_batch(second, batch, &where, b);
        assert_int_equal(a[0], b[0]);
        for (uint32_t row = 0; row < batch->count; row++) {
            struct weir_flow flow;
            weir_batch_get(batch, row, &flow);
            assert_int_equal(weir_filter_flow(first, &flow, &where), a[0] >> row & 1);
        }
        weir_filter_destroy(first);
        weir_filter_destroy(second);
        weir_buf_fini(&text);
        weir_buf_fini(&again);
    }
    weir_batch_destroy(batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_have_one_canonical_form),
        cmocka_unit_test(an_error_points_at_its_word),
        cmocka_unit_test(the_error_is_printed_with_carets_under_the_place),
        cmocka_unit_test(what_a_stranger_can_make_big_is_bounded),
        cmocka_unit_test(flows_batches_and_rows_pass_alike),
        cmocka_unit_test(every_row_of_a_full_batch_has_its_bit),
        cmocka_unit_test(a_filter_says_what_it_needs),
        cmocka_unit_test(an_anchor_holds_an_address_of_every_passing_flow),
        cmocka_unit_test(a_source_that_cannot_pass_is_excluded_unopened),
        cmocka_unit_test(running_out_of_memory_is_said_and_leaks_nothing),
        cmocka_unit_test(printing_and_parsing_again_is_the_same_filter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
