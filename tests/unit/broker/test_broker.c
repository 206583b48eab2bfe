/** A whole broker in this process, on a thread of its own, between an agent and two aggregators that the test plays. */
#include "broker/broker.h"
#include "broker/conf.h"
#include "broker/counters.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/net/zap.h"
#include "common/wire/batch.h"
#include "common/wire/message.h"
#include "tests/support/net.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

enum { AGGREGATORS = 2, MAX_BYTES = 1 << 20 };

struct town {
    char folder[64];
    struct weir_net *net;
    struct weir_zap *zap;
    struct weir_keys broker_keys, agent_keys, stranger_keys;
    struct weir_keys aggregator_keys[AGGREGATORS];
    struct weir_socket *aggregators[AGGREGATORS];
    uint32_t broker_at[AGGREGATORS]; /* how an aggregator answers the broker */
    struct weir_socket *agent;
    struct weir_loop *loop;
    struct weir_metrics metrics;
    struct broker_conf conf;
    void *broker;
    pthread_t thread;
    struct weir_source source;
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

static void write_allow(const struct town *town, const char *agent_role)
{
    char text[1024];
    snprintf(
        text, sizeof text,
        "allow = ( { name = \"agent-1\"; role = \"%s\"; site = \"zurich\"; tenant = \"acme\"; key = \"%s\"; } );\n",
        agent_role, town->agent_keys.public_key);
    write_file(town, "allow.conf", text);
}

static void write_cluster(const struct town *town, const char *broker_key)
{
    char text[4096];
    int size = snprintf(text, sizeof text,
                        "epoch = 3;\nreplication = 2;\n"
                        "brokers = ( { name = \"broker-1\"; endpoint = \"tcp://127.0.0.1:7001\"; key = \"%s\"; } );\n"
                        "aggregators = (\n",
                        broker_key);
    for (int i = 0; i < AGGREGATORS; i++) {
        size += snprintf(
            text + size, sizeof text - (size_t)size,
            "  { name = \"agg-%d\"; endpoint = \"%s\"; ask_endpoint = \"tcp://127.0.0.1:7003\"; key = \"%s\"; }%s\n", i,
            weir_socket_endpoint(town->aggregators[i]), town->aggregator_keys[i].public_key,
            i + 1 < AGGREGATORS ? "," : "");
    }
    snprintf(text + size, sizeof text - (size_t)size, ");\n");
    write_file(town, "cluster.conf", text);
}

static void open_aggregators(struct town *town)
{
    static const struct weir_zap_rule rules[] = {{"store", WEIR_ROLE_BROKER}};
    struct weir_allow *allow;
    struct weir_allow_entry entry = {.name = "broker-1", .role = WEIR_ROLE_BROKER};
    assert_int_equal(weir_net_create(1, &town->net), 0);
    assert_int_equal(weir_allow_create(&allow), 0);
    memcpy(entry.key, town->broker_keys.public_key, sizeof entry.key);
    assert_int_equal(weir_allow_add(allow, &entry, NULL), 0);
    assert_int_equal(weir_zap_start(town->net, rules, 1, allow, &town->zap, NULL), 0);
    weir_allow_destroy(allow);
    for (int i = 0; i < AGGREGATORS; i++) {
        struct weir_server_conf conf = {.endpoint = "tcp://127.0.0.1:0",
                                        .domain = "store",
                                        .keys = &town->aggregator_keys[i],
                                        .max_bytes = MAX_BYTES};
        assert_int_equal(weir_server_create(town->net, &conf, &town->aggregators[i], NULL), 0);
    }
}

static void load_conf(struct town *town)
{
    char text[1024];
    snprintf(text, sizeof text,
             "name = \"broker-1\";\nlisten = \"tcp://127.0.0.1:0\";\nkey = \"%s/broker-1.key\";\n"
             "cluster = \"%s/cluster.conf\";\nallow = \"%s/allow.conf\";\nmemory = \"2MiB\";\n",
             town->folder, town->folder, town->folder);
    struct weir_why why;
    if (weir_conf_load_text(text, "broker.conf", &broker_conf_schema, &town->conf, &why) < 0) fail_msg("%s", why.text);
}

/** Everything but the broker. */
static void town_build(struct town *town)
{
    *town = (struct town){.source = {.domain = 7}};
    weir_log_set_level(WEIR_LOG_ERROR);
    strcpy(town->folder, "/tmp/weir-test-broker-XXXXXX");
    assert_non_null(mkdtemp(town->folder));
    assert_int_equal(weir_keys_make(&town->broker_keys, NULL), 0);
    assert_int_equal(weir_keys_make(&town->agent_keys, NULL), 0);
    assert_int_equal(weir_keys_make(&town->stranger_keys, NULL), 0);
    for (int i = 0; i < AGGREGATORS; i++)
        assert_int_equal(weir_keys_make(&town->aggregator_keys[i], NULL), 0);
    assert_int_equal(weir_keys_write(&town->broker_keys, town->folder, "broker-1", false, NULL), 0);
    open_aggregators(town);
    write_allow(town, "agent");
    write_cluster(town, town->broker_keys.public_key);
    load_conf(town);
    assert_int_equal(weir_loop_create(&town->loop), 0);
    assert_int_equal(weir_metrics_init(&town->metrics, broker_counter_rows, BROKER_COUNTERS), 0);
}

static int town_create_broker(struct town *town, struct weir_why *why)
{
    struct weir_daemon daemon = {.loop = town->loop, .metrics = &town->metrics};
    return broker_program.create(&daemon, &town->conf, &town->broker, why);
}

static void *run(void *arg)
{
    assert_int_equal(weir_loop_run(arg), 0);
    return NULL;
}

static void resume(struct town *town)
{
    assert_int_equal(pthread_create(&town->thread, NULL, run, town->loop), 0);
}

/** The broker stands still: the test may call its functions. */
static void pause_broker(struct town *town)
{
    weir_loop_stop(town->loop);
    assert_int_equal(pthread_join(town->thread, NULL), 0);
}

static struct weir_socket *connect_agent(struct town *town, const struct weir_keys *keys)
{
    struct weir_socket *agent;
    struct weir_client_conf conf = {.endpoint = broker_endpoint(town->broker),
                                    .server_key = town->broker_keys.public_key,
                                    .keys = keys,
                                    .max_bytes = MAX_BYTES};
    assert_int_equal(weir_client_create(town->net, &conf, &agent, NULL), 0);
    return agent;
}

static void town_start(struct town *town)
{
    struct weir_why why = {""};
    town_build(town);
    if (town_create_broker(town, &why) < 0) fail_msg("%s", why.text);
    resume(town);
    town->agent = connect_agent(town, &town->agent_keys);
}

static void town_end(struct town *town)
{
    weir_socket_destroy(town->agent);
    broker_program.destroy(town->broker);
    for (int i = 0; i < AGGREGATORS; i++)
        weir_socket_destroy(town->aggregators[i]);
    weir_zap_stop(town->zap);
    weir_net_destroy(town->net);
    weir_loop_destroy(town->loop);
    weir_metrics_fini(&town->metrics);
    weir_conf_free(&broker_conf_schema, &town->conf);
    static const char *const files[] = {"broker-1.key", "broker-1.pub", "allow.conf", "cluster.conf"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", town->folder, files[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(town->folder), 0);
}

static void send_msg(struct weir_socket *socket, uint32_t peer, const struct weir_msg *msg, struct weir_view header,
                     struct weir_view body)
{
    struct weir_buf encoded = WEIR_BUF_INIT;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    assert_int_equal(weir_msg_encode(msg, &encoded), 0);
    assert_int_equal(weir_frames_add(&frames, weir_buf_view(&encoded)), 0);
    if (header.size > 0) {
        assert_int_equal(weir_frames_add(&frames, header), 0);
        assert_int_equal(weir_frames_add(&frames, body), 0);
    }
    assert_int_equal(weir_socket_send(socket, peer, &frames), 0);
    weir_buf_fini(&encoded);
}

static void say(struct weir_socket *socket, uint32_t peer, const struct weir_msg *msg)
{
    send_msg(socket, peer, msg, weir_view_text(""), weir_view_text(""));
}

/** Wait for a message of @kind; PINGs that come before it are answered, by aggregators and agents alike. */
static void await_kind(struct weir_socket *socket, enum weir_msg_kind kind, struct weir_frames *frames,
                       struct weir_peer *peer, struct weir_msg *msg)
{
    for (;;) {
        peer->id = 0;
        assert_int_equal(test_net_recv(socket, frames, peer), 0);
        assert_int_equal(weir_msg_decode(weir_frames_view(frames, 0), msg), 0);
        if (msg->kind == kind) return;
        if (msg->kind == WEIR_MSG_PING) say(socket, peer->id, &(struct weir_msg){.kind = WEIR_MSG_PONG});
    }
}

static struct weir_msg agent_msg(enum weir_msg_kind kind)
{
    struct weir_msg msg = {.kind = kind, .inc = 1, .instance = 99, .schema = WEIR_SCHEMA};
    weir_agent_id("agent-1", msg.agent);
    return msg;
}

/** Does the broker know that both aggregators live? Asked as its status listener asks. */
static bool both_are_up(const struct town *town)
{
    struct weir_buf samples = WEIR_BUF_INIT;
    broker_program.each(town->broker, BROKER_COUNT_node_up, &samples);
    int up = 0;
    for (const char *at = weir_buf_cstr(&samples); (at = strstr(at, "\"} 1\n")) != NULL; at++)
        up++;
    weir_buf_fini(&samples);
    return up == AGGREGATORS;
}

/** Both aggregators answer the broker's first PING, and the broker has heard it. */
static void meet_aggregators(struct town *town)
{
    struct weir_frames frames = WEIR_FRAMES_INIT;
    struct weir_peer peer;
    struct weir_msg msg;
    for (int i = 0; i < AGGREGATORS; i++) {
        await_kind(town->aggregators[i], WEIR_MSG_PING, &frames, &peer, &msg);
        town->broker_at[i] = peer.id;
        say(town->aggregators[i], peer.id, &(struct weir_msg){.kind = WEIR_MSG_PONG});
    }
    for (int i = 0; i < 500 && !both_are_up(town); i++)
        usleep(10000);
    assert_true(both_are_up(town));
    weir_frames_clear(&frames);
}

static void say_hello(struct town *town)
{
    struct weir_frames frames = WEIR_FRAMES_INIT;
    struct weir_peer peer;
    struct weir_msg msg = agent_msg(WEIR_MSG_HELLO);
    strcpy(msg.name, "agent-1");
    say(town->agent, 0, &msg);
    await_kind(town->agent, WEIR_MSG_WELCOME, &frames, &peer, &msg);
    assert_int_equal(msg.credit, 8); /* 2 MiB of 256 KiB */
    assert_int_equal(msg.max_bytes, WEIR_HEADER_BYTES_MOST + WEIR_BODY_BYTES_MOST);
    weir_frames_clear(&frames);
}

static struct weir_msg send_batch(struct town *town, uint64_t seq, struct weir_view body)
{
    struct weir_buf header_bytes = WEIR_BUF_INIT;
    struct weir_batch_header header = {
        .kind = WEIR_RECORD_DATA, .schema = WEIR_SCHEMA, .source = town->source, .totals = {.flows = 1}};
    assert_int_equal(weir_batch_header_encode(&header, &header_bytes), 0);
    struct weir_msg msg = agent_msg(WEIR_MSG_DATA);
    msg.shard = weir_shard_of("acme", &town->source);
    msg.seq = seq;
    msg.first_avail = 1;
    send_msg(town->agent, 0, &msg, weir_buf_view(&header_bytes), body);
    weir_buf_fini(&header_bytes);
    return msg;
}

static void a_batch_reaches_both_aggregators_as_it_was_and_its_agent_hears_when_both_have_it(void **state)
{
    (void)state;
    struct town town;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    struct weir_peer peer;
    struct weir_msg msg;
    enum { BODY = 200000, BATCHES = 5 };
    town_start(&town);
    meet_aggregators(&town);
    say_hello(&town);
    uint8_t *body = weir_malloc(BODY);
    memset(body, 'b', BODY);
    for (uint64_t seq = 1; seq <= BATCHES; seq++) {
        struct weir_msg sent = send_batch(&town, seq, weir_view_of(body, BODY));
        for (int i = 0; i < AGGREGATORS; i++) {
            await_kind(town.aggregators[i], WEIR_MSG_STORE, &frames, &peer, &msg);
            assert_string_equal(peer.name, "broker-1");
            assert_string_equal(msg.tenant, "acme");
            assert_string_equal(msg.site, "zurich");
            assert_string_equal(msg.name, "agent-1");
            assert_int_equal(msg.epoch, 3);
            assert_int_equal(msg.seq, seq);
            assert_memory_equal(msg.agent, sent.agent, sizeof sent.agent);
            assert_int_equal(frames.count, 3);
            assert_true(weir_view_equal(weir_frames_view(&frames, 2), weir_view_of(body, BODY)));
            struct weir_msg sack = agent_msg(WEIR_MSG_SACK);
            sack.shard = msg.shard;
            sack.seq = seq;
            sack.epoch = 3;
            say(town.aggregators[i], peer.id, &sack);
        }
        await_kind(town.agent, WEIR_MSG_ACK, &frames, &peer, &msg);
        assert_int_equal(msg.seq, seq);
        assert_int_equal(msg.shard, sent.shard);
    }
    weir_free(body);
    weir_frames_clear(&frames);
    pause_broker(&town);
    broker_program.drain(town.broker);
    assert_true(broker_program.drained(town.broker));
    town_end(&town);
}

static void what_is_not_our_protocol_is_counted_and_the_rest_goes_on(void **state)
{
    (void)state;
    struct town town;
    town_start(&town);
    meet_aggregators(&town);
    assert_int_equal(test_net_send_text(town.agent, 0, "GET / HTTP/1.1"), 0);
    struct weir_msg msg = agent_msg(WEIR_MSG_DATA);
    say(town.agent, 0, &msg); /* without its two frames */
    say_hello(&town);
    for (int i = 0; i < 500 && weir_metrics_get(&town.metrics, BROKER_COUNT_messages_invalid) < 2; i++)
        usleep(10000);
    assert_int_equal(weir_metrics_get(&town.metrics, BROKER_COUNT_messages_invalid), 2);
    pause_broker(&town);
    town_end(&town);
}

static void a_stranger_is_refused_and_a_key_taken_off_the_list_is_too(void **state)
{
    (void)state;
    struct town town;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    struct weir_peer peer;
    struct weir_msg msg;
    struct weir_why why = {""};
    town_start(&town);
    say_hello(&town);
    struct weir_socket *stranger = connect_agent(&town, &town.stranger_keys);
    assert_true(test_net_await(stranger, offsetof(struct weir_socket_stats, refused), 1));
    weir_socket_destroy(stranger);

    pause_broker(&town);
    write_allow(&town, "console");
    assert_int_equal(broker_program.reload(town.broker, &town.conf, &why), 0);
    resume(&town);
    await_kind(town.agent, WEIR_MSG_NACK, &frames, &peer, &msg);
    assert_int_equal(msg.code, WEIR_CODE_REJECT);
    weir_frames_clear(&frames);
    pause_broker(&town);
    write_file(&town, "allow.conf", "allow = nonsense");
    assert_true(broker_program.reload(town.broker, &town.conf, &why) < 0);
    assert_non_null(strstr(why.text, "allow.conf"));
    town_end(&town);
}

static void metrics_and_readiness_tell_of_the_aggregators(void **state)
{
    (void)state;
    struct town town;
    struct weir_buf out = WEIR_BUF_INIT;
    town_start(&town);
    assert_false(broker_program.ready(town.broker, &out));
    assert_string_equal(weir_buf_cstr(&out), "none of 2 aggregators answers");
    meet_aggregators(&town);
    say_hello(&town);
    for (int i = 0; i < 500 && !broker_program.ready(town.broker, &out); i++)
        usleep(10000);
    weir_buf_clear(&out);
    weir_metrics_print(&town.metrics, broker_program.each, town.broker, &out);
    assert_non_null(strstr(weir_buf_cstr(&out), "weir_broker_aggregator_up{peer=\"agg-0\"} 1\n"));
    assert_non_null(strstr(weir_buf_cstr(&out), "weir_broker_batches_total{direction=\"out\",peer=\"agg-1\"} 0\n"));
    assert_non_null(strstr(weir_buf_cstr(&out), "weir_broker_map_epoch 3\n"));
    weir_buf_clear(&out);
    pause_broker(&town);
    broker_program.line(town.broker, &out);
    assert_string_equal(weir_buf_cstr(&out), "1 agents, 0 batches in flight, 0 accepted");
    weir_buf_fini(&out);
    town_end(&town);
}

static void a_broker_that_nobody_could_reach_or_trust_does_not_start(void **state)
{
    (void)state;
    struct town town;
    struct weir_why why = {""};
    char path[128];
    town_build(&town);
    write_cluster(&town, town.stranger_keys.public_key);
    assert_int_equal(town_create_broker(&town, &why), WEIR_EPARAM);
    assert_non_null(strstr(why.text, "is not the public half of"));
    write_file(&town, "cluster.conf", "epoch = 0;");
    assert_true(town_create_broker(&town, &why) < 0);
    assert_non_null(strstr(why.text, "cluster.conf"));
    write_file(&town, "allow.conf", "");
    snprintf(path, sizeof path, "%s/broker-1.key", town.folder);
    write_file(&town, "broker-1.key", "");
    assert_int_equal(town_create_broker(&town, &why), WEIR_EFORMAT);
    assert_non_null(strstr(why.text, path));
    unlink(path);
    assert_int_equal(town_create_broker(&town, &why), WEIR_ENOTFOUND);
    assert_null(town.broker);
    town_end(&town);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_reaches_both_aggregators_as_it_was_and_its_agent_hears_when_both_have_it),
        cmocka_unit_test(what_is_not_our_protocol_is_counted_and_the_rest_goes_on),
        cmocka_unit_test(a_stranger_is_refused_and_a_key_taken_off_the_list_is_too),
        cmocka_unit_test(metrics_and_readiness_tell_of_the_aggregators),
        cmocka_unit_test(a_broker_that_nobody_could_reach_or_trust_does_not_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
