/** A whole aggregator in this process, between a broker and a console that the test plays. */
#include "aggregator/aggregator.h"

#include "aggregator/conf.h"
#include "aggregator/counters.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/net/zap.h"
#include "common/wire/batch.h"
#include "common/wire/message.h"
#include "common/wire/question.h"
#include "tests/support/folder.h"
#include "tests/support/net.h"
#include "tests/support/random_flows.h"

#include <poll.h>
#include <stdio.h>

#include "tests/support/cmocka.h"

enum { FLOWS = 50, PEERS = 3 };

static const char *const peer_names[PEERS] = {"broker-1", "console-1", "agent-1"};
static const char *const peer_roles[PEERS] = {"broker", "console", "agent"};

struct town {
    char folder[FOLDER_BYTES];
    struct weir_keys own;
    struct weir_keys keys[PEERS];
    struct weir_net *net;
    struct weir_loop *loop;
    struct weir_metrics metrics;
    struct aggregator_conf conf;
    void *aggregator;
    struct weir_socket *broker;
    struct weir_socket *console;
    struct weir_source source;
    struct weir_cum cum;
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

static void write_files(const struct town *town, int peers)
{
    char text[2048] = "allow = (\n";
    for (int i = 0; i < peers; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "%s{ name = \"%s\"; role = \"%s\"; site = \"fra1\"; tenant = \"acme\"; key = \"%s\"; }",
                 i > 0 ? ",\n" : "", peer_names[i], peer_roles[i], town->keys[i].public_key);
    strcat(text, " );\n");
    write_file(town, "allow.conf", text);
    snprintf(text, sizeof text,
             "epoch = 2;\nbrokers = ( { name = \"broker-1\"; endpoint = \"tcp://127.0.0.1:7001\"; key = \"%s\"; } );\n"
             "aggregators = ( { name = \"agg-1\"; endpoint = \"tcp://127.0.0.1:7002\"; ask_endpoint = "
             "\"tcp://127.0.0.1:7003\"; key = \"%s\"; } );\n",
             town->keys[0].public_key, town->own.public_key);
    write_file(town, "cluster.conf", text);
}

static struct weir_socket *client(struct town *town, const char *endpoint, int peer)
{
    struct weir_client_conf conf = {
        .endpoint = endpoint, .server_key = town->own.public_key, .keys = &town->keys[peer], .max_bytes = 1 << 20};
    struct weir_socket *socket = NULL;
    assert_int_equal(weir_client_create(town->net, &conf, &socket, NULL), 0);
    return socket;
}

static void start(struct town *town)
{
    struct weir_why why = {0};
    struct weir_daemon daemon = {.loop = town->loop, .metrics = &town->metrics};
    assert_int_equal(weir_metrics_init(&town->metrics, agg_counter_rows, AGG_COUNTERS), 0);
    if (aggregator_program.create(&daemon, &town->conf, &town->aggregator, &why) < 0) fail_msg("%s", why.text);
    town->broker = client(town, aggregator_endpoint(town->aggregator), 0);
    town->console = client(town, aggregator_ask_endpoint(town->aggregator), 1);
}

static void stop(struct town *town)
{
    weir_socket_destroy(town->broker);
    weir_socket_destroy(town->console);
    aggregator_program.destroy(town->aggregator);
    weir_metrics_fini(&town->metrics);
}

static void build(struct town *town)
{
    *town = (struct town){.source = random_source(1)};
    weir_log_set_level(WEIR_LOG_ERROR);
    make_folder(town->folder);
    assert_int_equal(weir_keys_make(&town->own, NULL), 0);
    assert_int_equal(weir_keys_write(&town->own, town->folder, "agg-1", false, NULL), 0);
    for (int i = 0; i < PEERS; i++)
        assert_int_equal(weir_keys_make(&town->keys[i], NULL), 0);
    write_files(town, PEERS);
    char text[1024];
    snprintf(
        text, sizeof text,
        "name = \"agg-1\";\nlisten = \"tcp://127.0.0.1:0\";\nask = \"tcp://127.0.0.1:0\";\nkey = \"%s/agg-1.key\";\n"
        "cluster = \"%s/cluster.conf\";\nallow = \"%s/allow.conf\";\nstate = \"%s/state\";\nmemory = \"64MiB\";\n"
        "ballast = \"0\";\ndisk_free_least = \"0\";\nrollup_pause = \"1ms\";\n",
        town->folder, town->folder, town->folder, town->folder);
    struct weir_why why;
    if (weir_conf_load_text(text, "aggregator.conf", &aggregator_conf_schema, &town->conf, &why) < 0)
        fail_msg("%s", why.text);
    assert_int_equal(weir_net_create(1, &town->net), 0);
    assert_int_equal(weir_loop_create(&town->loop), 0);
}

static void tear_down(struct town *town)
{
    weir_loop_destroy(town->loop);
    weir_net_destroy(town->net);
    weir_conf_free(&aggregator_conf_schema, &town->conf);
    remove_folder(town->folder);
}

/** Send batch @seq; @change may spoil it. */
static void send_batch(struct town *town, uint64_t seq, void (*change)(struct weir_msg *msg, struct weir_buf *body))
{
    struct weir_batch_encoder *encoder = NULL;
    struct weir_batch_header header;
    struct weir_buf header_bytes = WEIR_BUF_INIT, body = WEIR_BUF_INIT, message = WEIR_BUF_INIT;
    uint64_t random = seq; /* the same batch for the same number */
    struct weir_batch *batch = random_batch(&random, &town->source, FLOWS, weir_wall_ms() / 3600000 * 3600000, &header);
    assert_int_equal(weir_batch_encoder_create(WEIR_CODEC_ZSTD, &encoder), 0);
    assert_int_equal(weir_batch_encode(encoder, batch, &header, &body), 0);
    assert_int_equal(weir_batch_header_encode(&header, &header_bytes), 0);
    if (change == NULL) {
        town->cum.flows += header.totals.flows;
        town->cum.packets += header.totals.packets;
        town->cum.bytes += header.totals.bytes;
    }
    struct weir_msg msg = {.kind = WEIR_MSG_STORE,
                           .inc = 5,
                           .shard = weir_shard_of("acme", &town->source),
                           .seq = seq,
                           .first_avail = 1,
                           .epoch = 2,
                           .crc = weir_batch_crc(weir_buf_view(&header_bytes), weir_buf_view(&body)),
                           .cum = town->cum,
                           .tenant = "acme",
                           .site = "fra1",
                           .name = "edge-1"};
    weir_agent_id(msg.name, msg.agent);
    if (change != NULL) change(&msg, &body);
    assert_int_equal(weir_msg_encode(&msg, &message), 0);
    struct weir_frames frames = WEIR_FRAMES_INIT;
    assert_int_equal(weir_frames_add(&frames, weir_buf_view(&message)), 0);
    assert_int_equal(weir_frames_add(&frames, weir_buf_view(&header_bytes)), 0);
    assert_int_equal(weir_frames_add(&frames, weir_buf_view(&body)), 0);
    assert_int_equal(weir_socket_send(town->broker, 0, &frames), 0);
    weir_batch_destroy(batch);
    weir_batch_encoder_destroy(encoder);
    weir_buf_fini(&header_bytes);
    weir_buf_fini(&body);
    weir_buf_fini(&message);
}

static void expect_reply(struct town *town, enum weir_msg_kind kind, enum weir_code code, uint64_t seq,
                         uint64_t expected)
{
    struct weir_frames frames = WEIR_FRAMES_INIT;
    struct weir_msg msg;
    assert_int_equal(test_net_recv(town->broker, &frames, NULL), 0);
    assert_int_equal(weir_msg_decode(weir_frames_view(&frames, 0), &msg), 0);
    assert_int_equal(msg.kind, kind);
    assert_int_equal(msg.code, code);
    assert_int_equal(msg.seq, seq);
    assert_int_equal(msg.expected, expected);
    assert_string_equal(msg.node, "agg-1");
    weir_frames_clear(&frames);
}

/** Ask and merge what comes; the code of a refusal, whose text is in @why. */
static int ask(struct town *town, const struct weir_question *question, struct weir_answer *answer,
               struct weir_why *why)
{
    struct weir_buf bytes = WEIR_BUF_INIT;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    assert_int_equal(weir_question_encode(question, &bytes), 0);
    assert_int_equal(weir_frames_add(&frames, weir_buf_view(&bytes)), 0);
    assert_int_equal(weir_socket_send(town->console, 0, &frames), 0);
    weir_buf_fini(&bytes);
    assert_int_equal(weir_answer_init(answer, question), 0);
    struct weir_answer_header header = {.more = true};
    while (header.more) {
        assert_int_equal(test_net_recv(town->console, &frames, NULL), 0);
        assert_int_equal(weir_answer_header_decode(weir_frames_view(&frames, 0), &header), 0);
        assert_int_equal(header.id, question->id);
        if (header.code < 0)
            weir_why_set(why, header.code, "%s", header.text);
        else
            assert_int_equal(weir_answer_decode(weir_frames_view(&frames, 1), answer), 0);
    }
    weir_frames_clear(&frames);
    return header.code;
}

static struct weir_question question_of(enum weir_shape shape)
{
    struct weir_question question;
    weir_question_init(&question);
    question.id = 77;
    question.shape = shape;
    question.from_ms = weir_wall_ms() - INT64_C(8) * 24 * 3600000;
    question.to_ms = weir_wall_ms() + 3600000;
    question.deadline_ms = 20000;
    return question;
}

static void expect_totals(struct town *town, const struct weir_cum *cum)
{
    struct weir_question question = question_of(WEIR_SHAPE_TABLE);
    struct weir_answer answer;
    assert_int_equal(ask(town, &question, &answer, NULL), 0);
    assert_int_equal(answer.total.flows, cum->flows);
    assert_int_equal(answer.total.packets, cum->packets);
    assert_int_equal(answer.total.bytes, cum->bytes);
    weir_answer_fini(&answer);
    weir_question_fini(&question);
}

static void spoil_body(struct weir_msg *msg, struct weir_buf *body)
{
    (void)msg;
    body->data[body->size / 2] ^= 1;
}

static void make_garbage(struct weir_msg *msg, struct weir_buf *body)
{
    (void)msg;
    weir_buf_clear(body);
    weir_buf_text(body, "this is no batch");
}

static void be_behind(struct weir_msg *msg, struct weir_buf *body)
{
    (void)body;
    msg->epoch = 1;
}

static uint64_t counted(const struct town *town, enum agg_counter counter)
{
    return weir_metrics_get(&town->metrics, counter);
}

static void what_a_broker_sends_is_stored_once_and_comes_back_as_answers(void **state)
{
    (void)state;
    struct town town;
    build(&town);
    start(&town);
    for (uint64_t seq = 1; seq <= 5; seq++) {
        send_batch(&town, seq, NULL);
        expect_reply(&town, WEIR_MSG_SACK, WEIR_CODE_NONE, seq, seq + 1);
    }
    struct weir_cum stored = town.cum;
    send_batch(&town, 3, spoil_body); /* a repetition is not even opened */
    expect_reply(&town, WEIR_MSG_SACK, WEIR_CODE_NONE, 3, 6);
    send_batch(&town, 8, spoil_body);
    expect_reply(&town, WEIR_MSG_SNACK, WEIR_CODE_GAP, 8, 6);
    send_batch(&town, 6, spoil_body);
    expect_reply(&town, WEIR_MSG_SNACK, WEIR_CODE_CHECKSUM, 6, 6);
    send_batch(&town, 6, make_garbage);
    expect_reply(&town, WEIR_MSG_SNACK, WEIR_CODE_CHECKSUM, 6, 6);
    send_batch(&town, 6, be_behind);
    expect_reply(&town, WEIR_MSG_SNACK, WEIR_CODE_EPOCH, 6, 0);
    expect_totals(&town, &stored);

    struct weir_question question = question_of(WEIR_SHAPE_NODES);
    struct weir_answer answer;
    assert_int_equal(ask(&town, &question, &answer, NULL), 0);
    assert_int_equal(answer.node_count, 3); /* itself, the agent, the broker */
    weir_answer_fini(&answer);
    stop(&town);

    /* Once more from the start: what was stored is there, and is not taken again. */
    start(&town);
    expect_totals(&town, &stored);
    send_batch(&town, 5, spoil_body);
    expect_reply(&town, WEIR_MSG_SACK, WEIR_CODE_NONE, 5, 6);
    send_batch(&town, 6, NULL);
    expect_reply(&town, WEIR_MSG_SACK, WEIR_CODE_NONE, 6, 7);
    expect_totals(&town, &town.cum);
    assert_int_equal(counted(&town, AGG_COUNT_batches_received), 2);
    assert_int_equal(counted(&town, AGG_COUNT_batches_stored), 1);
    assert_int_equal(counted(&town, AGG_COUNT_batches_duplicate), 1);
    assert_int_equal(counted(&town, AGG_COUNT_cum_mismatches), 0);
    assert_int_equal(counted(&town, AGG_COUNT_totals_mismatches), 0);
    stop(&town);
    weir_question_fini(&question);
    tear_down(&town);
}

static void a_question_that_cannot_be_answered_gets_its_reason(void **state)
{
    (void)state;
    struct town town;
    build(&town);
    start(&town);
    struct weir_question question = question_of(WEIR_SHAPE_TABLE);
    struct weir_answer answer;
    struct weir_why why = {0};
    assert_int_equal(weir_question_set_filter(&question, "src ipp 1", 9), 0);
    assert_int_equal(ask(&town, &question, &answer, &why), WEIR_EFORMAT);
    assert_non_null(strstr(why.text, "column 5"));
    weir_answer_fini(&answer);
    assert_int_equal(counted(&town, AGG_COUNT_questions_refused), 1);
    weir_question_fini(&question);
    stop(&town);
    tear_down(&town);
}

static void a_peer_that_was_taken_off_the_list_is_heard_no_more(void **state)
{
    (void)state;
    struct town town;
    build(&town);
    start(&town);
    send_batch(&town, 1, NULL);
    expect_reply(&town, WEIR_MSG_SACK, WEIR_CODE_NONE, 1, 2);
    write_files(&town, 0);
    struct weir_why why = {0};
    if (aggregator_program.reload(town.aggregator, &town.conf, &why) < 0) fail_msg("%s", why.text);
    int64_t deadline_ms = weir_mono_ms() + 10000;
    while (counted(&town, AGG_COUNT_messages_denied) == 0 && weir_mono_ms() < deadline_ms) {
        send_batch(&town, 2, spoil_body);
        poll(NULL, 0, 10);
    }
    assert_true(counted(&town, AGG_COUNT_messages_denied) > 0);
    assert_int_equal(counted(&town, AGG_COUNT_batches_stored), 1);
    stop(&town);
    tear_down(&town);
}

static void a_start_that_cannot_work_says_why(void **state)
{
    (void)state;
    struct town town;
    build(&town);
    struct weir_daemon daemon = {.loop = town.loop, .metrics = &town.metrics};
    assert_int_equal(weir_metrics_init(&town.metrics, agg_counter_rows, AGG_COUNTERS), 0);
    struct weir_keys other;
    assert_int_equal(weir_keys_make(&other, NULL), 0);
    assert_int_equal(weir_keys_write(&other, town.folder, "agg-1", true, NULL), 0);
    struct weir_why why = {0};
    assert_int_equal(aggregator_program.create(&daemon, &town.conf, &town.aggregator, &why), WEIR_EPARAM);
    assert_non_null(strstr(why.text, "public half"));
    weir_metrics_fini(&town.metrics);
    tear_down(&town);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_broker_sends_is_stored_once_and_comes_back_as_answers),
        cmocka_unit_test(a_question_that_cannot_be_answered_gets_its_reason),
        cmocka_unit_test(a_peer_that_was_taken_off_the_list_is_heard_no_more),
        cmocka_unit_test(a_start_that_cannot_work_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
