/** Real sockets on loopback, ports chosen by the system. */
#include "agent/listen.h"
#include "agent/udp.h"
#include "common/base/clock.h"
#include "tests/bench/gen/gen.h"
#include "tests/support/folder.h"

#include "tests/support/cmocka.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static const struct weir_metric_row rows[] = {
#define METRIC(id, what, family, with, text) {.name = family, .labels = with, .help = text, .kind = WEIR_METRIC_##what},
#define METRIC_EACH(id, what, family, of, text) \
    {.name = family, .labels = "", .each = of, .help = text, .kind = WEIR_METRIC_##what},
#include "agent/counters_input.def"
#undef METRIC
#undef METRIC_EACH
};

struct sums {
    _Atomic uint64_t flows;
    _Atomic uint64_t packets;
    _Atomic uint64_t bytes;
    _Atomic uint64_t undecodable;
    _Atomic uint64_t reports;
    struct agent_listener *listener;
};

static int add_up(void *ctx, struct weir_batch **batch_p)
{
    struct sums *sums = ctx;
    struct weir_batch_totals totals = weir_batch_sum(*batch_p);
    atomic_fetch_add(&sums->flows, totals.flows);
    atomic_fetch_add(&sums->packets, totals.packets);
    atomic_fetch_add(&sums->bytes, totals.bytes);
    atomic_fetch_add(&sums->undecodable, (*batch_p)->loss.undecodable);
    atomic_fetch_add(&sums->reports, (*batch_p)->count == 0);
    agent_pool_give(agent_listener_pool(sums->listener), batch_p);
    return 0;
}

struct fixture {
    struct sums sums;
    struct weir_metrics metrics;
    struct agent_listener *listener;
};

static void init(struct fixture *f, struct agent_listen_conf conf, const char *const *endpoints, size_t count)
{
    struct weir_why why = {""};
    *f = (struct fixture){0};
    assert_int_equal(weir_metrics_init(&f->metrics, rows, AGENT_INPUT_COUNT), 0);
    struct agent_sink sink = {add_up, &f->sums};
    conf.endpoints = endpoints;
    conf.endpoint_count = count;
    conf.receive_buffer_bytes = 4 << 20;
    int rc = agent_listener_create(&conf, sink, &f->metrics, 0, &f->listener, &why);
    if (rc < 0) print_error("%s\n", why.text);
    assert_int_equal(rc, 0);
    f->sums.listener = f->listener;
    assert_int_equal(agent_listener_start(f->listener, &why), 0);
}

static void fini(struct fixture *f)
{
    agent_listener_destroy(f->listener);
    weir_metrics_fini(&f->metrics);
}

/** Send a datagram from @from (NULL: any address) to the IPv4 loopback. */
static void send_to(uint16_t port, const struct weir_ip *from, const void *bytes, size_t size)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in source = {.sin_family = AF_INET};
    if (from != NULL) memcpy(&source.sin_addr, from->bytes + 12, 4);
    assert_int_equal(bind(fd, (struct sockaddr *)&source, sizeof source), 0);
    assert_int_equal(sendto(fd, bytes, size, 0, (struct sockaddr *)&to, sizeof to), size);
    close(fd);
}

/** Wait until a counter has reached @value; fails after ten seconds. */
static void await(struct fixture *f, enum agent_input_count row, uint64_t value)
{
    int64_t deadline_mono_ms = weir_mono_ms() + 10000;
    while (weir_metrics_get(&f->metrics, row) < value) {
        assert_true(weir_mono_ms() < deadline_mono_ms);
        poll(NULL, 0, 2);
    }
    assert_int_equal(weir_metrics_get(&f->metrics, row), value);
}

static void send_made(struct fixture *f, size_t endpoint, enum gen_format format, uint32_t exporters,
                      uint32_t datagrams, struct gen_totals *sent)
{
    struct gen *gen = NULL;
    struct gen_conf conf = GEN_DEFAULTS;
    conf.format = format;
    conf.exporters = exporters;
    assert_int_equal(gen_create(&conf, &gen), 0);
    for (uint32_t i = 0; i < datagrams; i++) {
        uint8_t bytes[GEN_DATAGRAM_BYTES];
        struct weir_ip ip = gen_exporter_ip(i % exporters);
        size_t size = gen_next(gen, i % exporters, weir_wall_ms(), GEN_MOST_FLOWS, bytes, NULL, NULL);
        send_to(agent_listener_port(f->listener, endpoint), &ip, bytes, size);
    }
    *sent = gen_totals_all(gen);
    gen_destroy(gen);
}

static void what_is_sent_to_several_ports_and_threads_comes_out_whole(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"127.0.0.1:0", "127.0.0.1:0"};
    struct agent_listen_conf conf = AGENT_LISTEN_DEFAULTS;
    struct fixture f;
    conf.threads = 3;
    init(&f, conf, endpoints, 2);
    assert_int_not_equal(agent_listener_port(f.listener, 0), agent_listener_port(f.listener, 1));
    struct gen_totals five;
    struct gen_totals nine;
    send_made(&f, 0, GEN_V5, 10, 200, &five);
    send_made(&f, 1, GEN_V9, 10, 200, &nine);
    await(&f, AGENT_INPUT_flows_netflow5, five.flows);
    await(&f, AGENT_INPUT_flows_netflow9, nine.flows);
    agent_listener_stop(f.listener);
    assert_int_equal(atomic_load(&f.sums.flows), five.flows + nine.flows);
    assert_int_equal(atomic_load(&f.sums.packets), five.packets + nine.packets);
    assert_int_equal(atomic_load(&f.sums.bytes), five.bytes + nine.bytes);
    assert_int_equal(weir_metrics_get(&f.metrics, AGENT_INPUT_datagrams_netflow5), 200);

    /* Each exporter met one thread: nobody has half of its sequence numbers. */
    struct agent_exporter_stat stats[64];
    assert_int_equal(agent_listener_exporters(f.listener, stats, 64), 20);
    for (int i = 0; i < 20; i++)
        assert_int_equal(stats[i].datagrams, 20);
    assert_int_equal(weir_metrics_get(&f.metrics, AGENT_INPUT_sequence_late), 0);
    fini(&f);
}

static void flows_do_not_wait_longer_than_the_linger(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"[::1]:0", "127.0.0.1:0"};
    struct agent_listen_conf conf = AGENT_LISTEN_DEFAULTS;
    struct fixture f;
    conf.gather.linger_ms = 20;
    init(&f, conf, endpoints, 2);
    struct gen_totals sent;
    send_made(&f, 1, GEN_V5, 1, 1, &sent);
    await(&f, AGENT_INPUT_batches_linger, 1);
    assert_int_equal(atomic_load(&f.sums.flows), sent.flows);
    fini(&f);
}

static void refused_datagrams_and_exporters_are_counted_and_the_rest_goes_on(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"127.0.0.1:0"};
    struct agent_listen_conf conf = AGENT_LISTEN_DEFAULTS;
    struct weir_prefix allow;
    struct fixture f;
    assert_int_equal(weir_prefix_parse("127.0.1.0/28", &allow), 0);
    conf.allow = &allow;
    conf.allow_count = 1;
    init(&f, conf, endpoints, 1);
    uint16_t port = agent_listener_port(f.listener, 0);
    struct weir_ip friend = gen_exporter_ip(0);
    send_to(port, NULL, "\0\5\0\1", 4);
    send_to(port, &friend, "garbage", 7);
    send_to(port, &friend, "\0\5\0\1", 4);
    send_to(port, &friend, "", 0);
    struct gen_totals sent;
    send_made(&f, 0, GEN_V5, 1, 1, &sent);
    await(&f, AGENT_INPUT_refused_exporters, 1);
    await(&f, AGENT_INPUT_refused_unknown_version, 1);
    await(&f, AGENT_INPUT_refused_netflow5_short, 1);
    await(&f, AGENT_INPUT_refused_unknown_short, 1);
    await(&f, AGENT_INPUT_flows_netflow5, sent.flows);
    agent_listener_stop(f.listener); /* what waited to be reported is */
    assert_int_equal(f.sums.undecodable, 3);
    assert_int_equal(f.sums.reports, 2); /* of the friend, and of whom the list does not name */
    assert_int_equal(weir_metrics_get(&f.metrics, AGENT_INPUT_reports), 2);
    assert_int_equal(weir_metrics_get(&f.metrics, AGENT_INPUT_refusals_untold), 0);
    fini(&f);
}

static void what_the_kernel_drops_is_counted(void **state)
{
    (void)state;
    static const char *const endpoints[] = {"127.0.0.1:0"};
    struct agent_listen_conf conf = AGENT_LISTEN_DEFAULTS;
    struct fixture f = {0};
    struct weir_why why = {""};
    assert_int_equal(weir_metrics_init(&f.metrics, rows, AGENT_INPUT_COUNT), 0);
    struct agent_sink sink = {add_up, &f.sums};
    conf.endpoints = endpoints;
    conf.endpoint_count = 1;
    conf.receive_buffer_bytes = 4096;
    assert_int_equal(agent_listener_create(&conf, sink, &f.metrics, 0, &f.listener, &why), 0);
    f.sums.listener = f.listener;
    struct gen_totals sent;
    send_made(&f, 0, GEN_V5, 1, 50, &sent); /* nobody reads yet */
    assert_int_equal(agent_listener_start(f.listener, &why), 0);
    agent_listener_stop(f.listener);
    uint64_t got = weir_metrics_get(&f.metrics, AGENT_INPUT_datagrams_netflow5);
    assert_true(got >= 1 && got < 50);
    assert_int_equal(weir_metrics_get(&f.metrics, AGENT_INPUT_socket_drops), 50 - got);

    struct weir_buf text = WEIR_BUF_INIT;
    agent_listener_each(f.listener, AGENT_INPUT_listener_drops, &rows[AGENT_INPUT_listener_drops], &text);
    char expected[100];
    snprintf(expected, sizeof expected, "weir_agent_socket_drops_total{listener=\"127.0.0.1:%d\"} %d\n",
             agent_listener_port(f.listener, 0), (int)(50 - got));
    assert_string_equal(weir_buf_cstr(&text), expected);
    weir_buf_clear(&text);
    agent_listener_each(f.listener, AGENT_INPUT_exporter_flows, &rows[AGENT_INPUT_exporter_flows], &text);
    snprintf(expected, sizeof expected, "weir_agent_exporter_flows_total{exporter=\"127.0.1.1\"} %d\n", (int)got * 30);
    assert_string_equal(weir_buf_cstr(&text), expected);
    weir_buf_fini(&text);
    fini(&f);
}

static void a_port_that_is_taken_is_an_error_also_for_several_threads(void **state)
{
    (void)state;
    static const char *const first[] = {"127.0.0.1:0"};
    struct agent_listen_conf conf = AGENT_LISTEN_DEFAULTS;
    struct fixture f;
    conf.threads = 2;
    init(&f, conf, first, 1);
    char taken[32];
    snprintf(taken, sizeof taken, "127.0.0.1:%d", agent_listener_port(f.listener, 0));
    const char *const second[] = {taken};
    conf.endpoints = second;
    conf.endpoint_count = 1;
    struct agent_listener *other = NULL;
    struct agent_sink sink = {add_up, &f.sums};
    struct weir_why why = {""};
    assert_int_equal(agent_listener_create(&conf, sink, NULL, 0, &other, &why), WEIR_EIO);
    assert_non_null(strstr(why.text, taken));
    assert_null(other);
    fini(&f);
}

static void endpoints_are_numeric_addresses_with_a_port(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "2055",
                                      ":2055",
                                      "[]:1",
                                      "127.0.0.1:",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:x",
                                      "::1:2055",
                                      "[127.0.0.1]:2055",
                                      "localhost:2055",
                                      "[::1]",
                                      "udp://127.0.0.1:1",
                                      "tcp://:1"};
    struct agent_endpoint endpoint;
    struct weir_why why;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(agent_endpoint_parse(bad[i], &endpoint, &why), WEIR_EPARAM);
    assert_int_equal(agent_endpoint_parse("[2001:db8::1]:4739", &endpoint, &why), 0);
    assert_int_equal(agent_endpoint_port(&endpoint), 4739);
    assert_int_equal(agent_endpoint_parse("0.0.0.0:0", &endpoint, &why), 0);
    assert_true(agent_endpoint_is_v4(&endpoint));
    assert_false(endpoint.stream);
    char text[AGENT_ENDPOINT_TEXT];
    assert_int_equal(agent_endpoint_parse("tcp://[2001:db8::1]:4739", &endpoint, &why), 0);
    assert_true(endpoint.stream);
    assert_string_equal(agent_endpoint_text(&endpoint, text), "tcp://[2001:db8::1]:4739");
}

static void a_flood_of_one_sender_leaves_room_in_the_capture_for_others(void **state)
{
    (void)state;
    enum { FLOOD = 500 };
    static const char *const endpoints[] = {"127.0.0.1:0"};
    struct agent_listen_conf conf = AGENT_LISTEN_DEFAULTS;
    struct weir_why why = {""};
    struct fixture f;
    char folder[FOLDER_BYTES];
    make_folder(folder);
    assert_int_equal(agent_ring_create(folder, AGENT_RING_LEAST_BYTES, &conf.ring, &why), 0);
    init(&f, conf, endpoints, 1);
    struct weir_ip loud = gen_exporter_ip(0);
    struct weir_ip quiet = gen_exporter_ip(1);
    int64_t began_mono_ms = weir_mono_ms();
    for (int i = 0; i < FLOOD; i++)
        send_to(agent_listener_port(f.listener, 0), &loud, "garbage", 7);
    await(&f, AGENT_INPUT_refused_unknown_version, FLOOD);
    send_to(agent_listener_port(f.listener, 0), &quiet, "garbage", 7);
    await(&f, AGENT_INPUT_refused_unknown_version, FLOOD + 1);
    agent_listener_stop(f.listener);
    uint64_t kept = weir_metrics_get(&f.metrics, AGENT_INPUT_captured);
    assert_int_equal(kept + weir_metrics_get(&f.metrics, AGENT_INPUT_captured_not), FLOOD + 1);
    assert_true(kept >= 2 && kept <= 4 + 3 * (uint64_t)((weir_mono_ms() - began_mono_ms) / 1000));

    char path[FOLDER_BYTES + 32];
    snprintf(path, sizeof path, "%s/undecodable.pcap", folder);
    agent_ring_destroy(conf.ring);
    fini(&f);
    uint8_t bytes[4096];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    assert_true(size > 24 + 16 + 12 + 20);
    assert_memory_equal(bytes + size - 15 - 8, quiet.bytes + 12, 4); /* the source of the last record */
    remove_folder(folder);
}

/* ---- TCP ---- */

/** Connect from @from to the IPv4 loopback. */
static int connect_to(uint16_t port, const struct weir_ip *from)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in source = {.sin_family = AF_INET};
    memcpy(&source.sin_addr, from->bytes + 12, 4);
    assert_int_equal(bind(fd, (struct sockaddr *)&source, sizeof source), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void write_all(int fd, const void *bytes, size_t size)
{
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
}

/** Has the other side closed? Waits for it. */
static bool is_closed(int fd)
{
    char byte;
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, 10000) == 1 && recv(fd, &byte, 1, 0) <= 0;
}

static struct gen *ipfix_of(uint32_t exporters)
{
    struct gen *gen = NULL;
    struct gen_conf conf = GEN_DEFAULTS;
    conf.format = GEN_IPFIX;
    conf.exporters = exporters;
    assert_int_equal(gen_create(&conf, &gen), 0);
    return gen;
}

/** The next message of @exporter into @out; the first holds the templates. */
static size_t next_message(struct gen *gen, uint32_t exporter, uint8_t out[GEN_DATAGRAM_BYTES])
{
    return gen_next(gen, exporter, weir_wall_ms(), GEN_MOST_FLOWS, out, NULL, NULL);
}

static const char *const tcp_endpoints[] = {"127.0.0.1:0", "tcp://127.0.0.1:0"};

static void messages_over_tcp_come_out_whole_however_the_stream_is_cut(void **state)
{
    (void)state;
    enum { CONNECTIONS = 3, MESSAGES = 40 };
    struct agent_listen_conf conf = AGENT_LISTEN_DEFAULTS;
    struct fixture f;
    conf.threads = 2;
    init(&f, conf, tcp_endpoints, 2);
    struct gen *gen = ipfix_of(CONNECTIONS);
    int fds[CONNECTIONS];
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        struct weir_ip ip = gen_exporter_ip(i);
        fds[i] = connect_to(agent_listener_port(f.listener, 1), &ip);
    }
    for (uint32_t n = 0; n < MESSAGES * CONNECTIONS; n++) {
        uint8_t bytes[GEN_DATAGRAM_BYTES];
        size_t size = next_message(gen, n % CONNECTIONS, bytes);
        size_t piece = 1 + (size_t)n * 37 % (2 * size); /* of the second half of messages in one piece */
        for (size_t at = 0; at < size; at += piece)
            write_all(fds[n % CONNECTIONS], bytes + at, size - at < piece ? size - at : piece);
    }
    struct gen_totals sent = gen_totals_all(gen);
    await(&f, AGENT_INPUT_flows_ipfix, sent.flows);
    await(&f, AGENT_INPUT_datagrams_ipfix, MESSAGES * CONNECTIONS);
    await(&f, AGENT_INPUT_connections_opened, CONNECTIONS);
    for (uint32_t i = 0; i < CONNECTIONS; i++)
        close(fds[i]);
    await(&f, AGENT_INPUT_connections_peer, CONNECTIONS);
    agent_listener_stop(f.listener);
    assert_int_equal(atomic_load(&f.sums.flows), sent.flows);
    assert_int_equal(atomic_load(&f.sums.packets), sent.packets);
    assert_int_equal(atomic_load(&f.sums.bytes), sent.bytes);
    assert_int_equal(weir_metrics_get(&f.metrics, AGENT_INPUT_unfinished_bytes), 0);
    assert_int_equal(weir_metrics_get(&f.metrics, AGENT_INPUT_sequence_lost), 0);
    gen_destroy(gen);
    fini(&f);
}

static void templates_end_with_their_connection_and_are_no_one_else_s(void **state)
{
    (void)state;
    struct agent_listen_conf conf = AGENT_LISTEN_DEFAULTS;
    struct fixture f;
    init(&f, conf, tcp_endpoints, 2);
    struct gen *gen = ipfix_of(1);
    struct weir_ip ip = gen_exporter_ip(0);
    uint8_t bytes[GEN_DATAGRAM_BYTES];
    int first = connect_to(agent_listener_port(f.listener, 1), &ip);
    write_all(first, bytes, next_message(gen, 0, bytes)); /* with templates */
    uint64_t flows = gen_totals_all(gen).flows;
    await(&f, AGENT_INPUT_flows_ipfix, flows);

    int second = connect_to(agent_listener_port(f.listener, 1), &ip);
    size_t size = next_message(gen, 0, bytes); /* without */
    write_all(second, bytes, size);
    await(&f, AGENT_INPUT_sets_parked, 1);
    write_all(first, bytes, size);
    await(&f, AGENT_INPUT_flows_ipfix, gen_totals_all(gen).flows);
    close(second);
    await(&f, AGENT_INPUT_sets_missing, 1); /* what waited in the second waits no longer */
    close(first);
    await(&f, AGENT_INPUT_connections_peer, 2);

    int third = connect_to(agent_listener_port(f.listener, 1), &ip);
    write_all(third, bytes, size);
    await(&f, AGENT_INPUT_sets_parked, 2);
    close(third);
    gen_destroy(gen);
    fini(&f);
}

static void slow_and_silent_peers_stop_nobody(void **state)
{
    (void)state;
    enum { SLOW = 4 };
    struct agent_listen_conf conf = AGENT_LISTEN_DEFAULTS;
    struct fixture f;
    conf.tcp.most_connections = SLOW;
    init(&f, conf, tcp_endpoints, 2);
    struct gen *gen = ipfix_of(1);
    struct weir_ip ip = gen_exporter_ip(0);
    uint16_t port = agent_listener_port(f.listener, 1);
    uint8_t bytes[GEN_DATAGRAM_BYTES];
    int slow[SLOW];
    for (int i = 0; i < SLOW; i++) {
        slow[i] = connect_to(port, &ip);
        write_all(slow[i], "\0\12\377\377 and then nothing", i == 0 ? 0 : 10); /* a message of 65,535 bytes */
        await(&f, AGENT_INPUT_connections_opened, (uint64_t)i + 1);
    }

    int good = connect_to(port, &ip); /* the first of the silent ones makes room */
    write_all(good, bytes, next_message(gen, 0, bytes));
    await(&f, AGENT_INPUT_flows_ipfix, gen_totals_all(gen).flows);
    assert_true(is_closed(slow[0]));
    await(&f, AGENT_INPUT_connections_idle, 1);

    int more[SLOW - 1];
    for (int i = 0; i < SLOW - 1; i++) {
        more[i] = connect_to(port, &ip);
        write_all(more[i], "\0\12\0\20\0\0\0\0\0\0\0\0\0\0\0\1", 16); /* a message, though an empty one */
        await(&f, AGENT_INPUT_datagrams_ipfix, (uint64_t)i + 2);
    }
    await(&f, AGENT_INPUT_unfinished_bytes, 30); /* of the slow ones, which are gone now */
    int late = connect_to(port, &ip);            /* all others have spoken: nobody has to go */
    assert_true(is_closed(late));
    await(&f, AGENT_INPUT_connections_limit, 1);
    write_all(good, bytes, next_message(gen, 0, bytes));
    await(&f, AGENT_INPUT_flows_ipfix, gen_totals_all(gen).flows);

    for (int i = 0; i < SLOW; i++)
        close(slow[i]);
    for (int i = 0; i < SLOW - 1; i++)
        close(more[i]);
    close(good);
    close(late);
    gen_destroy(gen);
    fini(&f);
}

static void a_connection_without_a_message_for_too_long_is_closed(void **state)
{
    (void)state;
    struct agent_listen_conf conf = AGENT_LISTEN_DEFAULTS;
    struct fixture f;
    conf.tcp.idle_ms = 1;
    init(&f, conf, tcp_endpoints, 2);
    struct weir_ip ip = gen_exporter_ip(0);
    int fd = connect_to(agent_listener_port(f.listener, 1), &ip);
    write_all(fd, "\0\12\0\100", 4);
    assert_true(is_closed(fd));
    await(&f, AGENT_INPUT_connections_idle, 1);
    await(&f, AGENT_INPUT_unfinished_bytes, 4);
    close(fd);
    fini(&f);
}

static void who_speaks_no_ipfix_or_may_not_speak_is_hung_up_on(void **state)
{
    (void)state;
    struct agent_listen_conf conf = AGENT_LISTEN_DEFAULTS;
    struct weir_prefix allow;
    struct fixture f;
    assert_int_equal(weir_prefix_parse("127.0.1.0/28", &allow), 0);
    conf.allow = &allow;
    conf.allow_count = 1;
    init(&f, conf, tcp_endpoints, 2);
    struct weir_ip friend = gen_exporter_ip(0);
    struct weir_ip stranger = friend;
    stranger.bytes[14] = 9;
    int fd = connect_to(agent_listener_port(f.listener, 1), &friend);
    write_all(fd, "GET / HTTP/1.1\r\n\r\n", 18);
    assert_true(is_closed(fd));
    close(fd);
    await(&f, AGENT_INPUT_connections_format, 1);
    await(&f, AGENT_INPUT_unfinished_bytes, 18);
    fd = connect_to(agent_listener_port(f.listener, 1), &stranger);
    assert_true(is_closed(fd));
    close(fd);
    await(&f, AGENT_INPUT_connections_denied, 1);
    agent_listener_stop(f.listener);

    struct weir_buf page = WEIR_BUF_INIT;
    agent_listener_page(f.listener, &page);
    assert_non_null(strstr(weir_buf_cstr(&page), "\"sender\":\"127.0.1.1\",\"by_reason\":{\"version\":1}"));
    assert_non_null(strstr(weir_buf_cstr(&page), "\"head\":\"474554202f20"));
    assert_non_null(strstr(weir_buf_cstr(&page), "\"sender\":\"127.0.9.1\",\"by_reason\":{\"denied\":1}"));
    weir_buf_fini(&page);
    fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_sent_to_several_ports_and_threads_comes_out_whole),
        cmocka_unit_test(flows_do_not_wait_longer_than_the_linger),
        cmocka_unit_test(refused_datagrams_and_exporters_are_counted_and_the_rest_goes_on),
        cmocka_unit_test(what_the_kernel_drops_is_counted),
        cmocka_unit_test(a_port_that_is_taken_is_an_error_also_for_several_threads),
        cmocka_unit_test(a_flood_of_one_sender_leaves_room_in_the_capture_for_others),
        cmocka_unit_test(messages_over_tcp_come_out_whole_however_the_stream_is_cut),
        cmocka_unit_test(templates_end_with_their_connection_and_are_no_one_else_s),
        cmocka_unit_test(slow_and_silent_peers_stop_nobody),
        cmocka_unit_test(a_connection_without_a_message_for_too_long_is_closed),
        cmocka_unit_test(who_speaks_no_ipfix_or_may_not_speak_is_hung_up_on),
        cmocka_unit_test(endpoints_are_numeric_addresses_with_a_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
