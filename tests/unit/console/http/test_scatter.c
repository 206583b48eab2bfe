#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/net/zap.h"
#include "common/wire/question.h"
#include "console/http/scatter.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/cmocka.h"

/* ---- aggregators that never existed, behind real sockets ---- */

enum behaviour { ANSWERS, IS_SILENT, REFUSES, BABBLES, STOPS_HALF_WAY, SKIPS_A_CHUNK };

enum { FAKES = 2, ROWS = 2500 };

struct fake {
    _Atomic enum behaviour behaviour;
    bool refuse_keys; /* the console is not in its allow-list */
    const char *name;
    const struct weir_keys *console;
    struct weir_keys keys;
    char endpoint[WEIR_ENDPOINT_BYTES];
    sem_t bound;
    atomic_bool stop;
    atomic_uint questions;
    atomic_uint cancelled;
    _Atomic uint64_t shards_seen[2]; /* of the last question */
    pthread_t thread;
    struct weir_socket *socket;
    uint32_t peer;
};

static int send_chunk(void *ctx, struct weir_view header, struct weir_view body)
{
    struct fake *fake = ctx;
    struct weir_answer_header decoded;
    assert_int_equal(weir_answer_header_decode(header, &decoded), 0);
    if (fake->behaviour == STOPS_HALF_WAY && decoded.index == 1) return WEIR_ECANCELLED;
    if (fake->behaviour == SKIPS_A_CHUNK && decoded.index == 1) return 0;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    assert_int_equal(weir_frames_add(&frames, header), 0);
    if (fake->behaviour == BABBLES) body = weir_view_text("\x07\x07\x07");
    assert_int_equal(weir_frames_add(&frames, body), 0);
    int rc = weir_socket_send(fake->socket, fake->peer, &frames);
    weir_frames_clear(&frames);
    return rc;
}

static void answer_question(struct fake *fake, const struct weir_question *question)
{
    struct weir_answer answer;
    assert_int_equal(weir_answer_init(&answer, question), 0);
    for (uint64_t i = 0; i < ROWS; i++) {
        union weir_value key[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
        key[0].number = i;
        struct weir_counts counts = weir_counts_of(1, 2, i, 1);
        assert_int_equal(weir_answer_count(&answer, key, 0, &counts), 0);
    }
    struct weir_answer_source source = {.name = (uint32_t)weir_answer_name(&answer, "as it calls itself"),
                                        .ok = true,
                                        .shards_asked = 64,
                                        .shards_answered = 63,
                                        .scanned = 77,
                                        .asof_ms = 1772600000000};
    assert_int_equal(weir_answer_add_source(&answer, &source), 0);
    assert_int_equal(weir_answer_rank(&answer, 100000, true), 0);
    weir_answer_encode(&answer, question->id, fake->name, send_chunk, fake);
    weir_answer_fini(&answer);
}

static void refuse_question(struct fake *fake, const struct weir_question *question)
{
    struct weir_answer_header header = {.id = question->id, .code = WEIR_ELIMIT, .text = "too many groups"};
    struct weir_buf bytes = WEIR_BUF_INIT;
    struct weir_frames frames = WEIR_FRAMES_INIT;
    assert_int_equal(weir_answer_header_encode(&header, &bytes), 0);
    assert_int_equal(weir_frames_add(&frames, weir_buf_view(&bytes)), 0);
    assert_int_equal(weir_socket_send(fake->socket, fake->peer, &frames), 0);
    weir_buf_fini(&bytes);
}

static void take_question(struct fake *fake, struct weir_view frame)
{
    struct weir_question question;
    int rc = weir_question_decode(frame, &question, NULL);
    if (rc == 1) {
        atomic_fetch_add(&fake->cancelled, 1);
    } else {
        assert_int_equal(rc, 0);
        fake->shards_seen[0] = question.shards[0];
        fake->shards_seen[1] = question.shards[1];
        if (fake->behaviour == REFUSES) {
            refuse_question(fake, &question);
        } else if (fake->behaviour != IS_SILENT) {
            answer_question(fake, &question);
        }
        atomic_fetch_add(&fake->questions, 1);
    }
    weir_question_fini(&question);
}

static void *fake_main(void *ctx)
{
    static const struct weir_zap_rule rule = {"ask", WEIR_ROLE_CONSOLE};
    struct fake *fake = ctx;
    struct weir_why why = {""};
    struct weir_net *net = NULL;
    struct weir_allow *allow = NULL;
    struct weir_zap *zap = NULL;
    assert_int_equal(weir_net_create(1, &net), 0);
    assert_int_equal(weir_allow_create(&allow), 0);
    struct weir_allow_entry entry = {.name = "console", .role = WEIR_ROLE_CONSOLE};
    memcpy(entry.key, fake->console->public_key, sizeof entry.key);
    if (!fake->refuse_keys) assert_int_equal(weir_allow_add(allow, &entry, &why), 0);
    assert_int_equal(weir_zap_start(net, &rule, 1, allow, &zap, &why), 0);
    struct weir_server_conf conf = {
        .endpoint = "tcp://127.0.0.1:0", .domain = "ask", .keys = &fake->keys, .max_bytes = 1 << 20};
    assert_int_equal(weir_server_create(net, &conf, &fake->socket, &why), 0);
    snprintf(fake->endpoint, sizeof fake->endpoint, "%s", weir_socket_endpoint(fake->socket));
    sem_post(&fake->bound);
    while (!fake->stop) {
        struct weir_frames frames = WEIR_FRAMES_INIT;
        struct weir_peer peer;
        while (weir_socket_recv(fake->socket, &frames, &peer) == 0) {
            fake->peer = peer.id;
            take_question(fake, weir_frames_view(&frames, 0));
        }
        weir_frames_clear(&frames);
        struct pollfd news = {.fd = weir_socket_fd(fake->socket), .events = POLLIN};
        if (!weir_socket_pending(fake->socket)) poll(&news, 1, 20);
    }
    weir_socket_destroy(fake->socket);
    weir_zap_stop(zap);
    weir_allow_destroy(allow);
    weir_net_destroy(net);
    return NULL;
}

/* ---- a scatter over them, with a loop on a thread of its own ---- */

struct fixture {
    struct weir_keys console;
    struct fake fakes[FAKES];
    struct weir_map *map;
    struct weir_metrics metrics;
    _Atomic uint64_t answer_most;
    struct weir_loop *loop;
    struct console_scatter *scatter;
    sem_t created;
    atomic_bool drain; /* the loop's thread is to drain */
    pthread_t thread;
};

static void drain(void *ctx);

static void *loop_main(void *ctx)
{
    struct fixture *f = ctx;
    struct weir_why why = {""};
    struct console_scatter_conf conf = {
        .loop = f->loop, .map = f->map, .keys = &f->console, .metrics = &f->metrics, .answer_most = &f->answer_most};
    if (console_scatter_create(&conf, &f->scatter, &why) < 0) fail_msg("%s", why.text);
    assert_int_equal(weir_loop_every(f->loop, 5, drain, f), 0);
    sem_post(&f->created);
    assert_int_equal(weir_loop_run(f->loop), 0);
    console_scatter_close(f->scatter);
    return NULL;
}

static void start(struct fixture *f, bool refuse_keys, bool wrong_server_key)
{
    static const char *const names[FAKES] = {"agg1", "agg2"};
    weir_log_set_level(WEIR_LOG_ERROR);
    memset(f, 0, sizeof *f);
    f->answer_most = 1 << 20;
    assert_int_equal(weir_keys_make(&f->console, NULL), 0);
    f->map = calloc(1, sizeof *f->map);
    weir_map_init(f->map);
    for (int i = 0; i < FAKES; i++) {
        struct fake *fake = &f->fakes[i];
        fake->name = names[i];
        fake->console = &f->console;
        fake->refuse_keys = refuse_keys;
        assert_int_equal(weir_keys_make(&fake->keys, NULL), 0);
        sem_init(&fake->bound, 0, 0);
        assert_int_equal(pthread_create(&fake->thread, NULL, fake_main, fake), 0);
        sem_wait(&fake->bound);
        struct weir_node node = {.weight = 100, .endpoint = "tcp://127.0.0.1:1"};
        snprintf(node.name, sizeof node.name, "%s", names[i]);
        memcpy(node.ask_endpoint, fake->endpoint, sizeof node.ask_endpoint);
        memcpy(node.key, wrong_server_key ? f->console.public_key : fake->keys.public_key, sizeof node.key);
        assert_int_equal(weir_map_add_aggregator(f->map, &node), 0);
    }
    weir_map_place(f->map);
    assert_int_equal(weir_metrics_init(&f->metrics, console_metric_rows, CONSOLE_COUNTERS), 0);
    assert_int_equal(weir_loop_create(&f->loop), 0);
    sem_init(&f->created, 0, 0);
    assert_int_equal(pthread_create(&f->thread, NULL, loop_main, f), 0);
    sem_wait(&f->created);
}

static void stop(struct fixture *f)
{
    weir_loop_stop(f->loop);
    weir_loop_wake(f->loop);
    pthread_join(f->thread, NULL);
    console_scatter_destroy(f->scatter);
    weir_loop_destroy(f->loop);
    for (int i = 0; i < FAKES; i++) {
        f->fakes[i].stop = true;
        pthread_join(f->fakes[i].thread, NULL);
    }
    weir_metrics_fini(&f->metrics);
    free(f->map);
}

static void ask(struct fixture *f, uint32_t deadline_ms, struct weir_answer *answer)
{
    struct weir_question question;
    weir_question_init(&question);
    question.to_ms = 1000;
    question.dim_count = 1;
    question.dims[0] = WEIR_DIM_src_port;
    question.deadline_ms = deadline_ms;
    assert_int_equal(weir_answer_init(answer, &question), 0);
    assert_int_equal(console_scatter_ask(f->scatter, &question, answer), 0);
    assert_int_equal(weir_answer_rank(answer, 100000, false), 0);
}

static const struct weir_answer_source *source_of(const struct weir_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->source_count; i++) {
        if (strcmp(weir_answer_name_at(answer, answer->sources[i].name), name) == 0) return &answer->sources[i];
    }
    fail_msg("no source %s", name);
    return NULL;
}

static void assert_missing(const struct weir_answer *answer, const char *name, const char *reason)
{
    const struct weir_answer_source *source = source_of(answer, name);
    assert_false(source->ok);
    assert_int_equal(source->shards_answered, 0);
    assert_string_equal(weir_answer_name_at(answer, source->reason), reason);
}

static void every_shard_is_asked_of_one_owner_and_the_answers_are_merged(void **state)
{
    (void)state;
    struct fixture f;
    struct weir_answer answer;
    start(&f, false, false);
    ask(&f, 5000, &answer);
    assert_int_equal(answer.row_count, ROWS);
    assert_int_equal(answer.total.flows, FAKES * ROWS);
    assert_int_equal(answer.rows[0].key[0].number, ROWS - 1);
    assert_int_equal(answer.rows[0].counts.bytes, FAKES * (ROWS - 1));
    assert_int_equal(answer.source_count, FAKES);
    struct weir_shards_covered covered = weir_answer_covered(&answer);
    assert_int_equal(covered.asked, WEIR_SHARDS);
    assert_int_equal(covered.answered, 63 * FAKES); /* as the aggregators admit */
    assert_int_equal(covered.scanned, 77 * FAKES);
    assert_int_equal(covered.asof_ms, 1772600000000);
    for (int w = 0; w < 2; w++) {
        assert_int_equal(f.fakes[0].shards_seen[w] & f.fakes[1].shards_seen[w], 0);
        assert_true((f.fakes[0].shards_seen[w] | f.fakes[1].shards_seen[w]) == UINT64_MAX);
    }
    weir_answer_fini(&answer);
    assert_int_equal(console_scatter_connected(f.scatter), FAKES);
    assert_int_equal(console_scatter_active(f.scatter), 0);
    assert_int_equal(weir_metrics_get(&f.metrics, CONSOLE_asked), FAKES);
    assert_int_equal(weir_metrics_get(&f.metrics, CONSOLE_chunks), FAKES * 4);
    stop(&f);
}

static void an_aggregator_that_fails_is_named_with_its_reason_and_counts_for_nothing(void **state)
{
    (void)state;
    static const struct {
        enum behaviour behaviour;
        const char *reason;
    } cases[] = {
        {REFUSES, "too many groups"},
        {IS_SILENT, "it did not answer in time"},
        {STOPS_HALF_WAY, "it did not answer in time"},
        {SKIPS_A_CHUNK, "a part of its answer was lost"},
        {BABBLES, "its answer makes no sense to us"},
    };
    struct fixture f;
    struct weir_answer answer;
    start(&f, false, false);
    ask(&f, 5000, &answer); /* until connected */
    weir_answer_fini(&answer);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        f.fakes[1].behaviour = cases[i].behaviour;
        int64_t began_ms = weir_mono_ms();
        ask(&f, 300, &answer);
        bool waits = cases[i].behaviour == IS_SILENT || cases[i].behaviour == STOPS_HALF_WAY;
        if (waits) assert_true(weir_mono_ms() - began_ms >= 300);
        assert_true(source_of(&answer, "agg1")->ok);
        assert_missing(&answer, "agg2", cases[i].reason);
        assert_int_equal(answer.total.flows, ROWS); /* nothing of half an answer */
        assert_int_equal(answer.row_count, ROWS);
        weir_answer_fini(&answer);
    }
    f.fakes[1].behaviour = ANSWERS;
    f.answer_most = 1000;
    ask(&f, 5000, &answer);
    assert_missing(&answer, "agg1", "its answer is larger than answer_most");
    assert_missing(&answer, "agg2", "its answer is larger than answer_most");
    weir_answer_fini(&answer);
    f.answer_most = 1 << 20;
    ask(&f, 5000, &answer); /* and the next question is as if nothing had been */
    assert_int_equal(answer.total.flows, FAKES * ROWS);
    weir_answer_fini(&answer);
    for (int64_t until_ms = weir_mono_ms() + 5000; f.fakes[1].cancelled < 2 && weir_mono_ms() < until_ms;)
        poll(NULL, 0, 5);
    assert_int_equal(f.fakes[1].cancelled, 2);
    stop(&f);
}

static void a_refused_key_and_a_wrong_key_are_told_apart_before_the_deadline(void **state)
{
    (void)state;
    static const char *const reasons[] = {"it refuses our key: this console is not in its allow-list",
                                          "it does not have the key that cluster.conf says"};
    for (int wrong = 0; wrong < 2; wrong++) {
        struct fixture f;
        struct weir_answer answer;
        start(&f, wrong == 0, wrong == 1);
        int64_t began_ms = weir_mono_ms();
        ask(&f, 20000, &answer);
        assert_true(weir_mono_ms() - began_ms < 10000);
        assert_missing(&answer, "agg1", reasons[wrong]);
        assert_missing(&answer, "agg2", reasons[wrong]);
        assert_int_equal(console_scatter_connected(f.scatter), 0);
        weir_answer_fini(&answer);
        stop(&f);
    }
}

struct asking_thread {
    struct fixture *fixture;
    enum weir_shape shape;
    int rc;
    pthread_t thread;
};

static void *ask_long(void *ctx)
{
    struct asking_thread *asking = ctx;
    struct weir_question question;
    struct weir_answer answer;
    weir_question_init(&question);
    question.shape = asking->shape;
    question.to_ms = 1000;
    question.deadline_ms = 60000;
    assert_int_equal(weir_answer_init(&answer, &question), 0);
    asking->rc = console_scatter_ask(asking->fixture->scatter, &question, &answer);
    weir_answer_fini(&answer);
    return NULL;
}

static void drain(void *ctx)
{
    struct fixture *f = ctx;
    if (!atomic_exchange(&f->drain, false)) return;
    console_scatter_drain(f->scatter);
}

static void draining_ends_questions_about_the_fleet_and_lets_the_others_go_on(void **state)
{
    (void)state;
    struct fixture f;
    start(&f, false, false);
    f.fakes[0].behaviour = IS_SILENT;
    struct asking_thread table = {.fixture = &f, .shape = WEIR_SHAPE_TABLE};
    struct asking_thread nodes = {.fixture = &f, .shape = WEIR_SHAPE_NODES};
    assert_int_equal(pthread_create(&table.thread, NULL, ask_long, &table), 0);
    assert_int_equal(pthread_create(&nodes.thread, NULL, ask_long, &nodes), 0);
    while (f.fakes[0].questions < 2)
        poll(NULL, 0, 5);
    f.drain = true;
    pthread_join(nodes.thread, NULL); /* long before its deadline */
    assert_int_equal(nodes.rc, 0);
    assert_int_equal(console_scatter_active(f.scatter), 1);
    struct asking_thread late = {.fixture = &f, .shape = WEIR_SHAPE_TABLE};
    ask_long(&late);
    assert_int_equal(late.rc, WEIR_ECLOSED);
    weir_loop_stop(f.loop);
    weir_loop_wake(f.loop);
    pthread_join(table.thread, NULL);
    assert_int_equal(table.rc, WEIR_ECLOSED);
    stop(&f);
}

static void *ask_until_closed(void *ctx)
{
    struct fixture *f = ctx;
    struct weir_question question;
    struct weir_answer answer;
    weir_question_init(&question);
    question.to_ms = 1000;
    question.deadline_ms = 60000;
    assert_int_equal(weir_answer_init(&answer, &question), 0);
    assert_int_equal(console_scatter_ask(f->scatter, &question, &answer), WEIR_ECLOSED);
    weir_answer_fini(&answer);
    return NULL;
}

static void closing_ends_what_is_under_way_and_refuses_what_comes(void **state)
{
    (void)state;
    struct fixture f;
    pthread_t thread;
    start(&f, false, false);
    f.fakes[0].behaviour = IS_SILENT;
    assert_int_equal(pthread_create(&thread, NULL, ask_until_closed, &f), 0);
    while (f.fakes[0].questions == 0)
        poll(NULL, 0, 5);
    assert_int_equal(console_scatter_active(f.scatter), 1);
    weir_loop_stop(f.loop);
    weir_loop_wake(f.loop);
    pthread_join(thread, NULL);
    ask_until_closed(&f);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shard_is_asked_of_one_owner_and_the_answers_are_merged),
        cmocka_unit_test(an_aggregator_that_fails_is_named_with_its_reason_and_counts_for_nothing),
        cmocka_unit_test(a_refused_key_and_a_wrong_key_are_told_apart_before_the_deadline),
        cmocka_unit_test(draining_ends_questions_about_the_fleet_and_lets_the_others_go_on),
        cmocka_unit_test(closing_ends_what_is_under_way_and_refuses_what_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
