/** A whole agent in this process, between exporters and a broker that the test plays. */
#include "agent/agent.h"
#include "agent/conf.h"
#include "agent/counters.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/wire/batch.h"
#include "common/wire/message.h"
#include "tests/support/folder.h"
#include "tests/support/net.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

enum { RECORDS = 30, PACKETS = 3, BYTES = 200, WAIT_MS = 20000 };

struct town {
    struct test_net net;
    char folder[FOLDER_BYTES];
    struct weir_metrics metrics;
    struct agent_conf conf;
    void *agent;
    uint32_t broker_to; /* the agent's connection */
    uint64_t instance;  /* of the last HELLO */
    struct weir_batch_decoder *decoder;
    struct weir_batch *batch;
    uint32_t sequence; /* of the exporter */
};

static void write_file(const struct town *town, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", town->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void write_cluster(const struct town *town, const char *endpoint, const char *key)
{
    char text[1024];
    snprintf(text, sizeof text,
             "epoch = 1; tenant = \"acme\"; replication = 1;\n"
             "brokers = ( { name = \"broker-1\"; endpoint = \"%s\"; key = \"%s\"; } );\n"
             "aggregators = ( { name = \"agg-1\"; endpoint = \"tcp://127.0.0.1:7002\"; ask_endpoint = "
             "\"tcp://127.0.0.1:7003\"; key = \"%s\"; } );\n",
             endpoint, key, town->net.peers[0].public_key);
    write_file(town, "cluster.conf", text);
}

static void create_agent(struct town *town)
{
    struct weir_why why = {""};
    const struct weir_daemon daemon = {.metrics = &town->metrics};
    assert_int_equal(weir_metrics_init(&town->metrics, agent_counter_rows, AGENT_COUNTERS), 0);
    if (agent_program.create(&daemon, &town->conf, &town->agent, &why) < 0) fail_msg("%s", why.text);
}

/** As after SIGTERM. */
static void stop_agent(struct town *town)
{
    agent_program.drain(town->agent);
    int64_t until = weir_mono_ms() + WAIT_MS;
    while (!agent_program.drained(town->agent)) {
        assert_true(weir_mono_ms() < until);
        poll(NULL, 0, 2);
    }
    agent_program.destroy(town->agent);
    town->agent = NULL;
    weir_metrics_fini(&town->metrics);
}

static void town_start(struct town *town, const char *options)
{
    char text[2048];
    struct weir_why why = {""};
    *town = (struct town){.sequence = 1};
    weir_log_set_level(WEIR_LOG_ERROR);
    make_folder(town->folder);
    test_net_start(&town->net, 1, 1 << 20);
    assert_int_equal(weir_keys_write(&town->net.peers[0], town->folder, "agent-0", false, NULL), 0);
    write_cluster(town, weir_socket_endpoint(town->net.server), town->net.server_keys.public_key);
    snprintf(
        text, sizeof text,
        "name = \"agent-0\"; listen = [\"127.0.0.1:0\"]; key = \"%s/agent-0.key\"; cluster = \"%s/cluster.conf\";\n"
        "state = \"%s/state\"; receive_buffer = \"1MiB\"; linger = \"20ms\"; sync_interval = \"10ms\";\n%s",
        town->folder, town->folder, town->folder, options);
    if (weir_conf_load_text(text, "agent.conf", &agent_conf_schema, &town->conf, &why) < 0) fail_msg("%s", why.text);
    assert_int_equal(agent_conf_check(&town->conf, NULL), 0);
    assert_int_equal(weir_batch_decoder_create(&town->decoder), 0);
    assert_int_equal(weir_batch_create(1, &town->batch), 0);
    create_agent(town);
}

static void town_end(struct town *town)
{
    if (town->agent != NULL) stop_agent(town);
    test_net_stop(&town->net);
    weir_conf_free(&agent_conf_schema, &town->conf);
    weir_batch_decoder_destroy(town->decoder);
    weir_batch_destroy(town->batch);
    remove_folder(town->folder);
}

/** Send @count v5 datagrams of RECORDS flows to the agent. */
static void export_flows(struct town *town, uint32_t count)
{
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(agent_port(town->agent, 0)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (uint32_t n = 0; n < count; n++) {
        uint8_t datagram[24 + RECORDS * 48] = {0};
        weir_store_u16be(datagram, 5);
        weir_store_u16be(datagram + 2, RECORDS);
        weir_store_u32be(datagram + 4, 1000000);
        weir_store_u32be(datagram + 8, (uint32_t)(weir_wall_ms() / 1000));
        weir_store_u32be(datagram + 16, town->sequence);
        town->sequence += RECORDS;
        for (int i = 0; i < RECORDS; i++) {
            uint8_t *record = datagram + 24 + i * 48;
            weir_store_u32be(record, 0x0a000000 + (uint32_t)i);
            weir_store_u32be(record + 4, 0xc0000201);
            weir_store_u32be(record + 16, PACKETS);
            weir_store_u32be(record + 20, BYTES);
            weir_store_u32be(record + 24, 990000);
            weir_store_u32be(record + 28, 999000);
            weir_store_u16be(record + 32, (uint16_t)(1024 + n));
            weir_store_u16be(record + 34, 443);
            record[38] = 6;
        }
        assert_int_equal(sendto(fd, datagram, sizeof datagram, 0, (struct sockaddr *)&to, sizeof to), sizeof datagram);
        if (n % 20 == 19) poll(NULL, 0, 1); /* loopback has no other brake */
    }
    close(fd);
}

static void await_count(struct town *town, enum agent_counter counter, uint64_t value)
{
    int64_t until = weir_mono_ms() + WAIT_MS;
    while (weir_metrics_get(&town->metrics, counter) != value) {
        if (weir_mono_ms() > until)
            fail_msg("%s {%s} is %llu, not %llu", agent_counter_rows[counter].name, agent_counter_rows[counter].labels,
                     (unsigned long long)weir_metrics_get(&town->metrics, counter), (unsigned long long)value);
        poll(NULL, 0, 2);
    }
}

/* ---- the broker ---- */

static void say(struct town *town, const struct weir_msg *msg)
{
    struct weir_buf encoded = WEIR_BUF_INIT;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    assert_int_equal(weir_msg_encode(msg, &encoded), 0);
    assert_int_equal(weir_frames_add(&frames, weir_buf_view(&encoded)), 0);
    assert_int_equal(weir_socket_send(town->net.server, town->broker_to, &frames), 0);
    weir_buf_fini(&encoded);
}

/** Wait for a message of @kind; PINGs that come before it are answered. */
static void await_kind(struct town *town, enum weir_msg_kind kind, struct weir_msg *msg, struct weir_frames *frames)
{
    for (;;) {
        struct weir_peer peer;
        assert_int_equal(test_net_recv(town->net.server, frames, &peer), 0);
        assert_int_equal(weir_msg_decode(weir_frames_view(frames, 0), msg), 0);
        assert_string_equal(peer.name, "agent-0");
        town->broker_to = peer.id;
        if (msg->kind == kind) return;
        if (msg->kind == WEIR_MSG_PING) say(town, &(struct weir_msg){.kind = WEIR_MSG_PONG});
    }
}

/** The HELLO of another process than the last one that said it: what that one said may still be on its way. */
static struct weir_msg await_hello(struct town *town)
{
    struct weir_msg hello;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    do
        await_kind(town, WEIR_MSG_HELLO, &hello, &frames);
    while (hello.instance == town->instance);
    town->instance = hello.instance;
    weir_frames_clear(&frames);
    return hello;
}

static struct weir_msg welcome_agent(struct town *town, uint32_t credit)
{
    struct weir_msg hello = await_hello(town);
    say(town,
        &(struct weir_msg){.kind = WEIR_MSG_WELCOME, .credit = credit, .max_bytes = 1 << 20, .schema = WEIR_SCHEMA});
    return hello;
}

struct got {
    uint64_t flows;
    uint64_t lost;
    uint64_t bytes;
    struct weir_msg last;
    struct weir_batch_header header; /* of the last */
};

/** Take the next record and check all that can be checked of it. */
static void take_record(struct town *town, struct got *got)
{
    struct weir_frames frames = WEIR_FRAMES_INIT;
    await_kind(town, WEIR_MSG_DATA, &got->last, &frames);
    assert_int_equal(frames.count, 3);
    struct weir_view header = weir_frames_view(&frames, 1);
    struct weir_view body = weir_frames_view(&frames, 2);
    assert_int_equal(got->last.crc, weir_batch_crc(header, body));
    assert_int_equal(weir_batch_header_decode(header, &got->header), 0);
    if (got->header.kind == WEIR_RECORD_LOSS) {
        got->lost += got->header.totals.flows;
    } else {
        assert_int_equal(got->last.shard, weir_shard_of("acme", &got->header.source));
        assert_int_equal(weir_batch_decode(town->decoder, &got->header, body, WEIR_COLUMNS_ALL, town->batch), 0);
        struct weir_batch_totals totals = weir_batch_sum(town->batch);
        got->flows += totals.flows;
        got->bytes += totals.bytes;
        assert_int_equal(got->last.cum.flows, got->flows + got->lost);
        assert_int_equal(got->last.cum.bytes, got->bytes + got->lost * BYTES);
    }
    weir_frames_clear(&frames);
}

static void acknowledge(struct town *town, const struct weir_msg *data)
{
    say(town, &(struct weir_msg){.kind = WEIR_MSG_ACK, .shard = data->shard, .seq = data->seq});
}

static void take_flows(struct town *town, struct got *got, uint64_t flows)
{
    while (got->flows + got->lost < flows) {
        take_record(town, got);
        acknowledge(town, &got->last);
    }
}

/* ---- tests ---- */

static void flows_come_through_whole_and_leave_the_spool(void **state)
{
    (void)state;
    struct town town;
    static const char *const codecs[] = {"none", "lz4", "zstd"};
    for (int i = 0; i < 3; i++) {
        char options[64];
        struct got got = {0};
        snprintf(options, sizeof options, "codec = \"%s\"; sync = \"%s\";", codecs[i], i == 0 ? "batch" : "tick");
        town_start(&town, options);
        struct weir_msg hello = welcome_agent(&town, 4);
        assert_string_equal(hello.name, "agent-0");
        assert_int_equal(hello.lane_count, 0);
        export_flows(&town, 200);
        take_flows(&town, &got, 200 * RECORDS);
        assert_int_equal(got.flows, 200 * RECORDS);
        assert_int_equal(got.bytes, 200ull * RECORDS * BYTES);
        await_count(&town, AGENT_COUNT_flows_acked, 200 * RECORDS);
        await_count(&town, AGENT_COUNT_spool_flows, 0);
        await_count(&town, AGENT_COUNT_spool_bytes, 0);
        await_count(&town, AGENT_COUNT_in_flight, 0);
        assert_int_equal(weir_metrics_get(&town.metrics, AGENT_COUNT_flows_spooled), 200 * RECORDS);
        assert_int_equal(weir_metrics_get(&town.metrics, AGENT_COUNT_spool_reads), 0); /* all from memory */
        town_end(&town);
    }
}

static void what_nobody_took_survives_a_restart(void **state)
{
    (void)state;
    struct town town;
    struct got got = {0};
    town_start(&town, "");
    await_hello(&town); /* and say nothing */
    export_flows(&town, 100);
    await_count(&town, AGENT_COUNT_spool_flows, 100 * RECORDS);
    stop_agent(&town);
    create_agent(&town);
    struct weir_msg hello = welcome_agent(&town, 8);
    assert_int_equal(hello.lane_count, 1);
    assert_int_equal(hello.lanes[0].first_avail, 1);
    assert_true(hello.lanes[0].next > 1);
    take_flows(&town, &got, 100 * RECORDS);
    assert_int_equal(got.flows, 100 * RECORDS);
    await_count(&town, AGENT_COUNT_flows_acked, 100 * RECORDS);
    assert_true(weir_metrics_get(&town.metrics, AGENT_COUNT_spool_reads) > 0);

    /* And what was acknowledged stays away. */
    stop_agent(&town);
    create_agent(&town);
    hello = welcome_agent(&town, 8);
    assert_int_equal(hello.lanes[0].first_avail, got.last.seq + 1);
    export_flows(&town, 1);
    take_flows(&town, &got, 101 * RECORDS);
    assert_int_equal(got.header.totals.flows, RECORDS);
    town_end(&town);
}

static void a_batch_that_no_owner_can_read_is_given_up_as_a_loss(void **state)
{
    (void)state;
    struct town town;
    struct got got = {0};
    town_start(&town, "");
    welcome_agent(&town, 1);
    export_flows(&town, 1);
    take_record(&town, &got);
    const struct weir_msg refused = got.last;
    say(&town, &(struct weir_msg){.kind = WEIR_MSG_NACK,
                                  .code = WEIR_CODE_POISON,
                                  .shard = refused.shard,
                                  .seq = refused.seq,
                                  .text = "cannot be decoded"});
    got = (struct got){0};
    take_record(&town, &got);
    assert_int_equal(got.header.kind, WEIR_RECORD_LOSS);
    assert_int_equal(got.last.seq, refused.seq);
    assert_int_equal(got.header.lost_to_seq, refused.seq);
    assert_int_equal(got.lost, RECORDS);
    acknowledge(&town, &got.last);
    await_count(&town, AGENT_COUNT_lost_refused, RECORDS);
    await_count(&town, AGENT_COUNT_spool_quarantined, 1);
    export_flows(&town, 1);
    take_flows(&town, &got, 2 * RECORDS);
    await_count(&town, AGENT_COUNT_flows_acked, RECORDS);
    await_count(&town, AGENT_COUNT_nack_poison, 1);
    town_end(&town);
}

static void a_refused_session_is_counted_and_tried_again(void **state)
{
    (void)state;
    struct town town;
    struct got got = {0};
    town_start(&town, "");
    await_hello(&town);
    say(&town,
        &(struct weir_msg){.kind = WEIR_MSG_NACK, .code = WEIR_CODE_REJECT, .text = "another agent has this name"});
    await_count(&town, AGENT_COUNT_alarm_rejected, 1);
    await_count(&town, AGENT_COUNT_failovers, 1);
    export_flows(&town, 1);
    town.instance = 0; /* the same process says HELLO again */
    welcome_agent(&town, 1);
    take_flows(&town, &got, RECORDS);
    await_count(&town, AGENT_COUNT_connected, 1);
    town_end(&town);
}

static void a_broker_of_another_key_gets_nothing(void **state)
{
    (void)state;
    struct town town;
    town_start(&town, "");
    stop_agent(&town);
    write_cluster(&town, weir_socket_endpoint(town.net.server), town.net.peers[0].public_key);
    create_agent(&town);
    export_flows(&town, 1);
    await_count(&town, AGENT_COUNT_spool_flows, RECORDS);
    assert_true(test_net_await(town.net.server, offsetof(struct weir_socket_stats, handshake_failed), 1));
    assert_int_equal(weir_metrics_get(&town.metrics, AGENT_COUNT_connected), 0);
    town_end(&town);
}

static void a_reload_goes_over_to_another_broker(void **state)
{
    (void)state;
    struct town town;
    struct got got = {0};
    struct weir_socket *second;
    struct weir_why why;
    town_start(&town, "");
    welcome_agent(&town, 4);
    export_flows(&town, 1);
    take_flows(&town, &got, RECORDS);
    await_count(&town, AGENT_COUNT_flows_acked, RECORDS); /* else the second broker gets them again, rightly */
    const struct weir_server_conf server = {
        .endpoint = "tcp://127.0.0.1:0", .domain = "agents", .keys = &town.net.server_keys, .max_bytes = 1 << 20};
    assert_int_equal(weir_server_create(town.net.net, &server, &second, NULL), 0);
    write_cluster(&town, weir_socket_endpoint(second), town.net.server_keys.public_key);
    assert_int_equal(agent_program.reload(town.agent, &town.conf, &why), 0);

    struct weir_socket *first = town.net.server;
    town.net.server = second;
    town.instance = 0; /* the same process */
    welcome_agent(&town, 4);
    export_flows(&town, 1);
    take_flows(&town, &got, 2 * RECORDS);
    await_count(&town, AGENT_COUNT_flows_acked, 2 * RECORDS);

    write_file(&town, "cluster.conf", "epoch = 1;");
    assert_true(agent_program.reload(town.agent, &town.conf, &why) < 0);
    stop_agent(&town);
    weir_socket_destroy(second);
    town.net.server = first;
    town_end(&town);
}

static void options_that_are_wrong_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *why;
    } cases[] = {
        {"name = \"a b\";", "name"},
        {"name = \"a\"; tenant = \"no/slash\";", "tenant"},
        {"name = \"a\"; exporters = [\"10.0.0.1/8\"];", "bits are set"},
        {"name = \"a\"; sampling = ( { exporters = \"ten\"; one_in = 5; } );", "\"ten\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct agent_conf conf = {0};
        struct weir_why why = {""};
        assert_int_equal(weir_conf_load_text(cases[i].text, "agent.conf", &agent_conf_schema, &conf, &why), 0);
        assert_int_equal(agent_conf_check(&conf, &why), WEIR_EPARAM);
        if (strstr(why.text, cases[i].why) == NULL) fail_msg("%s", why.text);
        weir_conf_free(&agent_conf_schema, &conf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flows_come_through_whole_and_leave_the_spool),
        cmocka_unit_test(what_nobody_took_survives_a_restart),
        cmocka_unit_test(a_batch_that_no_owner_can_read_is_given_up_as_a_loss),
        cmocka_unit_test(a_refused_session_is_counted_and_tried_again),
        cmocka_unit_test(a_broker_of_another_key_gets_nothing),
        cmocka_unit_test(a_reload_goes_over_to_another_broker),
        cmocka_unit_test(options_that_are_wrong_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
