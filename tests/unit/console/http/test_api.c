#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/flow/filter.h"
#include "console/http/api.h"
#include "tests/support/http.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

/* ---- a cluster that never existed: two aggregators with flows of three sites ---- */

struct fake {
    bool second_is_down;
    bool nobody;
    bool sampled;
    uint64_t table_bound; /* error bound of tables */
    int questions;
    struct weir_question last; /* the question asked last, with its own memory */
};

enum { FAKE_FLOWS = 600 };

static struct weir_flow fake_flow(uint32_t number)
{
    uint8_t src[4] = {10, 0, 0, (uint8_t)(number % 20)};
    uint8_t dst[4] = {10, 1, 0, 1};
    return (struct weir_flow){.start_ms = 1772600000000 + number * 1000,
                              .end_ms = 1772600000000 + number * 1000 + 500,
                              .src_ip = weir_ip_from_v4(src),
                              .dst_ip = weir_ip_from_v4(dst),
                              .bytes = UINT64_C(9007199254740993) + number, /* no double holds it */
                              .packets = 10,
                              .src_port = (uint16_t)(40000 + number),
                              .dst_port = 443,
                              .proto = 6,
                              .tcp_flags = 0x1b};
}

static void fake_count(const struct fake *fake, const struct weir_question *question, struct weir_answer *answer,
                       uint32_t number, const struct weir_where *where)
{
    struct weir_flow flow = fake_flow(number);
    flow.sampling_one_in = fake->sampled ? 100 : 1;
    if (fake->sampled) flow.bytes = 1000;
    struct weir_counts counts = weir_counts_of(1, flow.packets, flow.bytes, flow.sampling_one_in);
    union weir_value key[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
    for (uint32_t d = 0; d < question->dim_count; d++) {
        union weir_value values[2];
        weir_dim_of_flow(question->dims[d], &flow, where, values);
        key[d] = values[0];
    }
    if (question->shape == WEIR_SHAPE_FLOWS) {
        struct weir_answer_flow row = {.place = {.time_ms = flow.start_ms, .row = number},
                                       .source = where->source,
                                       .protocol = where->protocol,
                                       .site = where->site_number,
                                       .flow = flow};
        int order = question->has_cursor ? weir_place_compare(&row.place, &question->cursor) : 0;
        bool after = !question->has_cursor || (question->ascending ? order > 0 : order < 0);
        if (after) assert_int_equal(weir_answer_add_flow(answer, &row), 0);
        return;
    }
    int64_t step = question->step_ms == 0 ? 0 : flow.start_ms / question->step_ms * question->step_ms;
    assert_int_equal(weir_answer_count(answer, key, step, &counts), 0);
}

static int fake_ask(void *ctx, const struct weir_question *question, struct weir_answer *answer)
{
    static const char *const sites[] = {"fra", "nyc", "sin"};
    struct fake *fake = ctx;
    fake->questions++;
    weir_question_fini(&fake->last);
    assert_int_equal(weir_question_copy(&fake->last, question), 0);

    struct weir_filter *filter = NULL;
    struct weir_filter_error error;
    const char *text = question->filter == NULL ? "" : question->filter;
    assert_int_equal(weir_filter_parse(text, strlen(text), &filter, &error), 0);
    for (uint32_t i = 0; i < FAKE_FLOWS; i++) {
        struct weir_where where = {.protocol = WEIR_PROTOCOL_IPFIX, .site = sites[i % 3]};
        struct weir_flow flow = fake_flow(i);
        if (fake->nobody || (fake->second_is_down && i % 2 == 1)) continue;
        if (!weir_filter_flow(filter, &flow, &where)) continue;
        where.site_number = (uint32_t)weir_answer_name(answer, where.site);
        if (question->shape <= WEIR_SHAPE_FLOWS) fake_count(fake, question, answer, i, &where);
    }
    weir_filter_destroy(filter);
    if (question->shape == WEIR_SHAPE_EXPORTERS) {
        for (uint32_t i = 0; i < 3; i++) {
            struct weir_answer_exporter row = {.source = {.domain = i},
                                               .protocol = i == 1 ? WEIR_PROTOCOL_IPFIX : WEIR_PROTOCOL_SFLOW5,
                                               .health = {.templates = i, .has_skew = i == 1, .skew_ms = -90000},
                                               .site = (uint32_t)weir_answer_name(answer, sites[i]),
                                               .agent = (uint32_t)weir_answer_name(answer, "agent1"),
                                               .flows = 5,
                                               .lost = {.sequence = 7},
                                               .last_heard_ms = 1772600000000};
            assert_int_equal(weir_answer_add_exporter(answer, &row), 0);
        }
    }
    for (uint32_t i = 0; question->shape == WEIR_SHAPE_DROPS && i < 3; i++) {
        struct weir_answer_drop row = {.source = {.domain = i},
                                       .protocol = WEIR_PROTOCOL_IPFIX,
                                       .site = (uint32_t)weir_answer_name(answer, sites[i]),
                                       .agent = (uint32_t)weir_answer_name(answer, "agent1"),
                                       .drop = weir_drop_of(i == 0 ? WEIR_DROP_count : WEIR_DROP_sequence,
                                                            1772600000000, weir_view_text("\x01\xab"))};
        if (i > 0) row.drop.example_ms = 0;
        row.drop.count = 7;
        assert_int_equal(weir_answer_add_drop(answer, &row), 0);
    }
    if (question->shape == WEIR_SHAPE_NODES) {
        struct weir_answer_node agent = {.name = (uint32_t)weir_answer_name(answer, "agent1"),
                                         .role = (uint32_t)weir_answer_name(answer, "agent"),
                                         .site = (uint32_t)weir_answer_name(answer, "fra"),
                                         .up = true,
                                         .last_heard_ms = 1772600000000,
                                         .spool_bytes = 4096};
        assert_int_equal(weir_answer_add_node(answer, &agent), 0);
    }
    for (int i = 0; i < 2; i++) {
        bool ok = !fake->nobody && !(i == 1 && fake->second_is_down);
        struct weir_answer_source source = {.name = (uint32_t)weir_answer_name(answer, i == 0 ? "agg1" : "agg2"),
                                            .ok = ok,
                                            .reason = ok ? 0 : (uint32_t)weir_answer_name(answer, "not connected"),
                                            .shards_asked = 64,
                                            .shards_answered = ok ? 64 : 0,
                                            .scanned = FAKE_FLOWS / 2};
        assert_int_equal(weir_answer_add_source(answer, &source), 0);
    }
    if (question->shape == WEIR_SHAPE_TABLE) answer->error_bound = fake->table_bound;
    answer->coverage.tier = WEIR_TIER_1M;
    answer->coverage.sampled = fake->sampled;
    answer->coverage.from_ms = 1772600000000;
    answer->coverage.to_ms = 1772600600000;
    return 0;
}

/* ---- a console around it ---- */

struct fixture {
    struct fake fake;
    struct weir_metrics metrics;
    struct weir_map *map;
    char cluster[64]; /* cluster.conf */
    struct console_api *api;
    struct weir_http *http;
    char all[CONSOLE_TOKEN_TEXT]; /* tokens */
    char fra[CONSOLE_TOKEN_TEXT];
    char admin[CONSOLE_TOKEN_TEXT];
    bool ready;
};

static bool fixture_ready(void *ctx, struct weir_buf *reason)
{
    struct fixture *f = ctx;
    if (!f->ready) weir_buf_text(reason, "no aggregator is connected");
    return f->ready;
}

static struct console_tokens *fixture_tokens(struct fixture *f)
{
    char line[3][CONSOLE_TOKEN_LINE];
    char text[3 * CONSOLE_TOKEN_LINE + 3];
    struct weir_why why;
    struct console_tokens *tokens = NULL;
    assert_int_equal(console_token_make("everybody", CONSOLE_VIEWER, "*", f->all, line[0], &why), 0);
    assert_int_equal(console_token_make("frankfurt", CONSOLE_VIEWER, "fra", f->fra, line[1], &why), 0);
    assert_int_equal(console_token_make("operator", CONSOLE_ADMIN, "*", f->admin, line[2], &why), 0);
    snprintf(text, sizeof text, "%s\n%s\n%s\n", line[0], line[1], line[2]);
    assert_int_equal(console_tokens_parse(text, "tokens", &tokens, &why), 0);
    return tokens;
}

static void write_cluster(struct fixture *f)
{
    static const char text[] =
        "epoch = 7; replication = 2;\n"
        "aggregators = ({ name = \"agg-1\"; endpoint = \"tcp://192.0.2.1:7002\"; zone = \"east\";\n"
        "  ask_endpoint = \"tcp://192.0.2.1:7003\"; key = \"rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\"; },\n"
        "  { name = \"agg-2\"; endpoint = \"tcp://192.0.2.2:7002\";\n"
        "  ask_endpoint = \"tcp://192.0.2.2:7003\"; key = \"Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID\"; });\n";
    strcpy(f->cluster, "/tmp/weir-test-cluster-XXXXXX");
    int fd = mkstemp(f->cluster);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct weir_why why = {""};
    weir_log_set_level(WEIR_LOG_ERROR);
    f->ready = true;
    weir_question_init(&f->fake.last);
    assert_int_equal(weir_metrics_init(&f->metrics, console_metric_rows, CONSOLE_COUNTERS), 0);
    write_cluster(f);
    f->map = calloc(1, sizeof *f->map);
    weir_map_init(f->map);
    struct weir_node broker = {.name = "broker1"};
    assert_int_equal(weir_map_add_broker(f->map, &broker), 0);
    struct console_api_conf conf = {.name = "console1",
                                    .asker = {.ask = fake_ask, .ctx = &f->fake},
                                    .map = f->map,
                                    .cluster = f->cluster,
                                    .metrics = &f->metrics,
                                    .ready = fixture_ready,
                                    .ready_ctx = f};
    struct console_api_settings settings = {
        .query_timeout_ms = 2000, .query_timeout_most_ms = 5000, .tokens = fixture_tokens(f)};
    assert_int_equal(console_api_create(&conf, &settings, &f->api), 0);
    struct weir_http_conf http = {.address = "127.0.0.1:0", .workers = 2};
    assert_int_equal(weir_http_create(&http, console_api_handle, f->api, &f->http, &why), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    weir_http_destroy(f->http);
    console_api_destroy(f->api);
    unlink(f->cluster);
    weir_question_fini(&f->fake.last);
    weir_metrics_fini(&f->metrics);
    free(f->map);
    free(f);
    return 0;
}

/** The JSON of a reply with the expected status. */
static json_t *ask_as(struct fixture *f, const char *token, int status, const char *method, const char *target,
                      const char *body)
{
    char *reply = test_http(f->http, method, target, token, NULL, body);
    if (test_http_status(reply) != status) fail_msg("%s %s: not %d: %s", method, target, status, reply);
    json_error_t error;
    json_t *json = json_loads(test_http_body(reply), 0, &error);
    if (json == NULL) fail_msg("%s: %s", error.text, reply);
    free(reply);
    return json;
}

static json_t *ask(struct fixture *f, int status, const char *method, const char *target, const char *body)
{
    return ask_as(f, f->all, status, method, target, body);
}

static const char *text_at(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text == NULL ? "(absent)" : text;
}

static json_int_t number_at(const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);
    if (!json_is_integer(value)) fail_msg("%s is no integer", key);
    return json_integer_value(value);
}

#define RANGE "from=2026-03-04T04:50:00Z&to=2026-03-04T05:10:00Z"

static void a_table_has_its_envelope_and_exact_integers(void **state)
{
    struct fixture *f = *state;
    json_t *json = ask(f, 200, "GET", "/api/v1/query?group=src_ip,dst_port&limit=3&" RANGE "&filter=proto+6", NULL);
    json_t *meta = json_object_get(json, "meta");
    json_t *rows = json_object_get(json, "rows");
    assert_string_equal(text_at(meta, "from"), "2026-03-04T04:50:00.000Z");
    assert_string_equal(text_at(meta, "to"), "2026-03-04T05:10:00.000Z");
    assert_string_equal(text_at(json_object_get(meta, "effective"), "to"), "2026-03-04T05:03:20.000Z");
    assert_string_equal(text_at(meta, "filter"), "proto tcp");
    assert_string_equal(text_at(meta, "rollup"), "1m");
    assert_true(json_is_true(json_object_get(meta, "exact")));
    assert_true(json_is_false(json_object_get(meta, "partial")));
    assert_true(json_is_null(json_object_get(meta, "error_bound")));
    assert_int_equal(number_at(meta, "shards_ok"), 128);
    assert_int_equal(number_at(meta, "scanned"), FAKE_FLOWS);
    assert_int_equal(json_array_size(json_object_get(meta, "sources")), 2);
    assert_int_equal(json_array_size(rows), 3);
    assert_int_equal(json_array_size(json_object_get(json, "columns")), 6);

    /* 30 flows each; the biggest has the highest numbers: 19, 39, ..., 599 */
    json_t *first = json_array_get(rows, 0);
    assert_string_equal(text_at(first, "src_ip"), "10.0.0.19");
    assert_int_equal(number_at(first, "dst_port"), 443);
    assert_int_equal(number_at(first, "flows"), 30);
    assert_int_equal(number_at(first, "bytes"), 30 * INT64_C(9007199254740993) + 30 * (19 + 599) / 2);
    assert_true(json_is_real(json_object_get(first, "share")));
    int64_t all = FAKE_FLOWS * INT64_C(9007199254740993) + FAKE_FLOWS * (FAKE_FLOWS - 1) / 2;
    assert_int_equal(number_at(json_object_get(meta, "total"), "bytes"), all);
    int64_t sum = number_at(json_object_get(meta, "other"), "bytes");
    for (size_t i = 0; i < 3; i++)
        sum += number_at(json_array_get(rows, i), "bytes");
    assert_int_equal(sum, all);
    json_decref(json);
}

static void a_body_asks_the_same_as_parameters(void **state)
{
    struct fixture *f = *state;
    json_t *get = ask(
        f, 200, "GET",
        "/api/v1/query?shape=series&group=site&step=5m&metrics=bytes,bps&order=flows:asc&sites=fra,nyc&" RANGE, NULL);
    struct weir_question by_get;
    assert_int_equal(weir_question_copy(&by_get, &f->fake.last), 0);
    json_t *post = ask(f, 200, "POST", "/api/v1/query",
                       "{\"shape\":\"series\",\"group\":[\"site\"],\"step\":\"5m\",\"metrics\":[\"bytes\",\"bps\"],"
                       "\"order\":\"flows:asc\",\"sites\":[\"fra\",\"nyc\"],"
                       "\"time\":{\"from\":1772599800000,\"to\":\"2026-03-04T05:10:00Z\"}}");
    assert_int_equal(by_get.from_ms, f->fake.last.from_ms);
    assert_int_equal(by_get.to_ms, f->fake.last.to_ms);
    assert_int_equal(by_get.step_ms, 300000);
    assert_int_equal(f->fake.last.step_ms, 300000);
    assert_string_equal(by_get.filter, "site in [\"fra\", \"nyc\"]");
    assert_string_equal(f->fake.last.filter, by_get.filter);
    assert_true(json_equal(json_object_get(get, "rows"), json_object_get(post, "rows")));
    assert_true(json_array_size(json_object_get(get, "rows")) > 2);
    weir_question_fini(&by_get);
    json_decref(get);
    json_decref(post);
}

static void a_series_asks_for_its_groups_first(void **state)
{
    struct fixture *f = *state;
    f->fake.questions = 0;
    json_t *json = ask(f, 200, "GET", "/api/v1/query?shape=series&group=src_ip,site&step=1m&limit=2&" RANGE, NULL);
    assert_int_equal(f->fake.questions, 2);
    assert_int_equal(f->fake.last.shape, WEIR_SHAPE_SERIES);
    assert_int_equal(f->fake.last.pick_count, 2);
    json_t *rows = json_object_get(json, "rows");
    const char *last_time = "";
    const char *last_group = "";
    int groups = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        if (strcmp(text_at(row, "src_ip"), last_group) != 0) {
            groups++;
            last_time = "";
        }
        last_group = text_at(row, "src_ip");
        assert_true(strcmp(text_at(row, "time"), last_time) > 0);
        last_time = text_at(row, "time");
        assert_int_equal(number_at(row, "bps"),
                         number_at(row, "bytes") / 60 * 8 + number_at(row, "bytes") % 60 * 8 / 60);
    }
    assert_int_equal(groups, 2);
    json_decref(json);

    /* How good the choice of groups is belongs to the answer. */
    f->fake.table_bound = 17;
    json = ask(f, 200, "GET", "/api/v1/query?shape=series&group=src_ip&" RANGE, NULL);
    assert_int_equal(number_at(json_object_get(json, "meta"), "error_bound"), 17);
    json_decref(json);

    f->fake.questions = 0;
    json = ask(f, 200, "GET", "/api/v1/query?shape=series&" RANGE, NULL);
    assert_int_equal(f->fake.questions, 1); /* one group: nothing to pick */
    json_decref(json);
}

static void flows_come_in_pages_that_fit_together(void **state)
{
    struct fixture *f = *state;
    char target[600];
    char next[200] = "";
    uint32_t seen = 0;
    for (int page = 0; page < 10; page++) {
        snprintf(target, sizeof target,
                 "/api/v1/query?shape=flows&order=t_first:asc&limit=90&fields=t_first,src_port,bytes,src_as%s%s",
                 next[0] == '\0' ? "&" RANGE : "&cursor=", next);
        json_t *json = ask(f, 200, "GET", target, NULL);
        json_t *rows = json_object_get(json, "rows");
        for (size_t i = 0; i < json_array_size(rows); i++) {
            json_t *row = json_array_get(rows, i);
            assert_int_equal(number_at(row, "src_port"), 40000 + seen);
            assert_int_equal(number_at(row, "bytes"), INT64_C(9007199254740993) + seen);
            assert_null(json_object_get(row, "src_as")); /* not sent: absent, not 0 */
            seen++;
        }
        bool more = json_object_get(json, "next") != NULL;
        snprintf(next, sizeof next, "%s", text_at(json, "next"));
        json_decref(json);
        if (!more) break;
        assert_int_equal(seen % 90, 0);
    }
    assert_int_equal(seen, FAKE_FLOWS);

    /* A cursor belongs to its filter and order. */
    snprintf(target, sizeof target, "/api/v1/query?shape=flows&limit=90&filter=port+53&cursor=%s", "0100000000000000");
    json_decref(ask(f, 400, "GET", target, NULL));
}

static void lines_are_rows_and_then_meta(void **state)
{
    struct fixture *f = *state;
    char *reply =
        test_http(f->http, "GET", "/api/v1/query?group=site&" RANGE, f->all, "Accept: application/x-ndjson\r\n", NULL);
    assert_int_equal(test_http_status(reply), 200);
    assert_non_null(strstr(reply, "Content-Type: application/x-ndjson"));
    const char *at = test_http_body(reply);
    int lines = 0;
    for (const char *end; (end = strchr(at, '\n')) != NULL; at = end + 1, lines++) {
        json_t *line = json_loadb(at, (size_t)(end - at), 0, NULL);
        assert_non_null(line);
        assert_int_equal(json_object_get(line, "meta") != NULL, lines == 3);
        assert_int_equal(json_object_get(line, "site") != NULL, lines < 3);
        json_decref(line);
    }
    assert_int_equal(lines, 4);
    free(reply);
}

static void a_missing_aggregator_is_said_and_may_be_refused(void **state)
{
    struct fixture *f = *state;
    f->fake.second_is_down = true;
    char *reply = test_http(f->http, "GET", "/api/v1/query?group=site&" RANGE, f->all, NULL, NULL);
    assert_int_equal(test_http_status(reply), 200);
    assert_non_null(strstr(reply, "Weir-Partial: 1"));
    json_t *json = json_loads(test_http_body(reply), 0, NULL);
    json_t *meta = json_object_get(json, "meta");
    assert_true(json_is_true(json_object_get(meta, "partial")));
    assert_true(json_is_false(json_object_get(meta, "exact")));
    assert_int_equal(number_at(meta, "shards_ok"), 64);
    json_t *missing = json_array_get(json_object_get(meta, "missing"), 0);
    assert_string_equal(text_at(missing, "source"), "agg2");
    assert_string_equal(text_at(missing, "reason"), "not connected");
    json_decref(json);
    free(reply);

    json = ask(f, 503, "POST", "/api/v1/query?partial=fail", "{\"group\":[\"site\"]}");
    assert_string_equal(text_at(json, "type"), "https://weir.invalid/problems/partial");
    assert_string_equal(text_at(json, "detail"), "agg2: not connected");
    json_decref(json);
    json_decref(ask(f, 503, "POST", "/api/v1/query", "{\"group\":[\"site\"],\"partial\":\"fail\"}"));

    f->fake.nobody = true;
    json = ask(f, 503, "GET", "/api/v1/query", NULL);
    assert_string_equal(text_at(json, "type"), "https://weir.invalid/problems/not-ready");
    assert_string_equal(text_at(json, "detail"), "agg1: not connected; agg2: not connected");
    json_decref(json);
    json_decref(ask(f, 200, "GET", "/api/v1/nodes", NULL)); /* who is missing can still be seen */
    f->fake.nobody = false;
    f->fake.second_is_down = false;
    assert_int_equal(weir_metrics_get(&f->metrics, CONSOLE_queries_partial), 5);
}

static void sampled_counts_are_scaled_with_their_error_unless_plain_is_asked_for(void **state)
{
    struct fixture *f = *state;
    f->fake.sampled = true;
    json_t *json = ask(f, 200, "GET", "/api/v1/query?metrics=packets,bpp,pps&" RANGE, NULL);
    json_t *row = json_array_get(json_object_get(json, "rows"), 0);
    assert_int_equal(number_at(row, "packets"), 600 * 10 * 100);
    assert_int_equal(number_at(row, "packets_error"), 15106); /* 1.96 x sqrt(100 x 99 x 6000) = 15,105.8 */
    assert_int_equal(number_at(row, "pps"), 600 * 10 * 100 / 1200);
    assert_true(json_is_true(json_object_get(json_object_get(json, "meta"), "sampled")));
    assert_true(json_is_false(json_object_get(json_object_get(json, "meta"), "exact")));
    json_decref(json);
    json = ask(f, 200, "GET", "/api/v1/query?metrics=packets&plain=true&" RANGE, NULL);
    row = json_array_get(json_object_get(json, "rows"), 0);
    assert_int_equal(number_at(row, "packets"), 600 * 10);
    assert_null(json_object_get(row, "packets_error"));
    json_decref(json);
    f->fake.sampled = false;
}

static void what_cannot_be_asked_is_a_problem_that_points_at_it(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *method;
        const char *target;
        const char *body;
        int status;
        const char *type;
        const char *pointer; /* or NULL */
        const char *detail;  /* a part of it */
    } cases[] = {
        {"POST", "/api/v1/query", "{\"filter\":\"src ipp 10.0.0.1\"}", 400, "filter-syntax", "#/filter", "column 5"},
        {"POST", "/api/v1/query", "{\"gruop\":[]}", 400, "bad-parameter", "#/gruop", "no such key"},
        {"POST", "/api/v1/query", "{\"group\":[\"src\"]}", 400, "bad-parameter", "#/group", "\"src\" is no dimension"},
        {"POST", "/api/v1/query", "{\"group\":\"ip,port\"}", 400, "bad-parameter", NULL, "only one of ip and port"},
        {"POST", "/api/v1/query", "{\"limit\":0}", 400, "bad-parameter", "#/limit", "from 1 to 10000"},
        {"POST", "/api/v1/query", "{\"limit\":10001}", 400, "bad-parameter", "#/limit", "from 1 to 10000"},
        {"POST", "/api/v1/query", "{\"limit\":1.5}", 400, "bad-parameter", "#/limit", "whole number"},
        {"POST", "/api/v1/query", "{\"time\":\"5 parsecs\"}", 400, "time-range", "#/time", "5 parsecs"},
        {"POST", "/api/v1/query", "{\"time\":{\"from\":\"now\",\"to\":\"now-1h\"}}", 400, "time-range", "#/time",
         "ends before"},
        {"POST", "/api/v1/query", "{\"shape\":\"circle\"}", 400, "bad-parameter", "#/shape", "table, series or flows"},
        {"POST", "/api/v1/query", "{\"order\":\"bytes:up\"}", 400, "bad-parameter", "#/order",
         "bytes, packets or flows"},
        {"POST", "/api/v1/query", "{\"step\":\"5m\"}", 400, "bad-parameter", "#/step", "only a series"},
        {"POST", "/api/v1/query", "{\"shape\":\"series\",\"time\":\"365d\",\"step\":\"1s\"}", 422, "budget-exceeded",
         NULL, "100000 steps"},
        {"POST", "/api/v1/query", "{\"budget\":{\"ms\":60000}}", 422, "budget-exceeded", "#/budget/ms", "5000 ms"},
        {"POST", "/api/v1/query", "{\"fields\":[\"ip\"]}", 400, "bad-parameter", "#/fields", "\"ip\" is no field"},
        {"POST", "/api/v1/query", "{\"cursor\":\"00\"}", 400, "bad-parameter", "#/cursor", "only flows"},
        {"POST", "/api/v1/query", "{\"partial\":\"maybe\"}", 400, "bad-parameter", "#/partial", "ok or fail"},
        {"POST", "/api/v1/query", "{\"sites\":[]}", 400, "bad-parameter", "#/sites", "1 to 64"},
        {"POST", "/api/v1/query", "not json", 415, "unsupported-media", NULL, "not JSON"},
        {"POST", "/api/v1/query", "[1]", 400, "bad-parameter", NULL, "object"},
        {"GET", "/api/v1/query?metrics=beauty", NULL, 400, "bad-parameter", "#/metrics", "are known"},
        {"GET", "/api/v1/query?tier=2m", NULL, 400, "bad-parameter", "#/tier", "1m"},
        {"GET", "/api/v1/nothing", NULL, 404, "not-found", NULL, "/api/v1/nothing"},
        {"DELETE", "/api/v1/query", NULL, 405, "method-not-allowed", NULL, "GET, POST"},
        {"GET", "/api/v1/filter/check", NULL, 405, "method-not-allowed", NULL, "POST"},
        {"POST", "/api/v1/filter/check", "{}", 400, "bad-parameter", "#/filter", "TEXT"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *json = ask(f, cases[i].status, cases[i].method, cases[i].target, cases[i].body);
        const char *type = strrchr(text_at(json, "type"), '/');
        assert_non_null(type);
        assert_string_equal(type + 1, cases[i].type);
        if (strstr(text_at(json, "detail"), cases[i].detail) == NULL) {
            fail_msg("%s: %s", cases[i].detail, text_at(json, "detail"));
        }
        json_t *errors = json_object_get(json, "errors");
        if (cases[i].pointer == NULL) {
            assert_null(errors);
        } else {
            assert_string_equal(text_at(json_array_get(errors, 0), "pointer"), cases[i].pointer);
        }
        assert_int_equal(number_at(json, "status"), cases[i].status);
        json_decref(json);
    }
    json_t *json = ask(f, 400, "POST", "/api/v1/query", "{\"filter\":\"src ipp 10.0.0.1\"}");
    json_t *error = json_array_get(json_object_get(json, "errors"), 0);
    assert_int_equal(number_at(error, "column"), 5);
    assert_int_equal(number_at(error, "length"), 3);
    assert_string_equal(text_at(error, "suggest"), "ip");
    assert_string_equal(json_string_value(json_array_get(json_object_get(error, "expected"), 0)), "ip");
    assert_non_null(strstr(text_at(json, "instance"), "/api/v1/query#"));
    json_decref(json);
}

static void who_has_no_token_gets_nothing_and_who_sees_one_site_sees_that(void **state)
{
    struct fixture *f = *state;
    f->fake.questions = 0;
    json_t *json = ask_as(f, NULL, 401, "GET", "/api/v1/query", NULL);
    assert_string_equal(text_at(json, "type"), "https://weir.invalid/problems/unauthenticated");
    json_decref(json);
    json_decref(ask_as(f, "weir_viewer_00000000000000000000000000000000", 401, "GET", "/api/v1/nodes", NULL));
    json_decref(ask_as(f, "", 401, "GET", "/metrics", NULL));
    assert_int_equal(f->fake.questions, 0);
    assert_int_equal(weir_metrics_get(&f->metrics, CONSOLE_refused_auth), 3);

    json = ask_as(f, f->fra, 200, "GET", "/api/v1/query?group=site&filter=port+443+or+any&" RANGE, NULL);
    assert_int_equal(json_array_size(json_object_get(json, "rows")), 1);
    assert_string_equal(text_at(json_array_get(json_object_get(json, "rows"), 0), "site"), "fra");
    json_decref(json);
    assert_string_equal(f->fake.last.filter, "site in [\"fra\"]");
    json = ask_as(f, f->fra, 200, "GET", "/api/v1/query?group=site&filter=site+nyc+or+port+443&" RANGE, NULL);
    assert_int_equal(json_array_size(json_object_get(json, "rows")), 1);
    assert_string_equal(f->fake.last.filter, "site in [\"fra\"] and (site \"nyc\" or port 443)");
    json_decref(json);
    json_decref(ask_as(f, f->fra, 403, "POST", "/api/v1/query", "{\"sites\":[\"nyc\"]}"));
    json = ask_as(f, f->fra, 200, "GET", "/api/v1/exporters", NULL);
    assert_int_equal(json_array_size(json_object_get(json, "rows")), 1);
    assert_string_equal(text_at(json_array_get(json_object_get(json, "rows"), 0), "site"), "fra");
    json_decref(json);
}

static void drops_are_explained_in_words_and_only_those_of_the_tokens_sites(void **state)
{
    struct fixture *f = *state;
    json_t *json = ask(f, 200, "GET", "/api/v1/drops?filter=exporter+192.0.2.1", NULL);
    assert_string_equal(f->fake.last.filter, "exporter 192.0.2.1");
    json_t *rows = json_object_get(json, "rows");
    assert_int_equal(json_array_size(rows), 3);
    json_t *row = json_array_get(rows, 0);
    assert_string_equal(text_at(row, "reason"), "count");
    assert_int_equal(number_at(row, "count"), 7);
    assert_string_equal(text_at(row, "unit"), "datagrams");
    assert_string_equal(text_at(row, "meaning"), weir_drop_info(WEIR_DROP_count)->text);
    assert_string_equal(text_at(row, "advice"), weir_drop_info(WEIR_DROP_count)->advice);
    assert_string_equal(text_at(row, "last"), text_at(row, "example_at"));
    assert_int_equal(number_at(row, "example_bytes"), 2);
    assert_string_equal(text_at(row, "example"), "01ab");
    row = json_array_get(rows, 1);
    assert_string_equal(text_at(row, "unit"), "records");
    assert_null(json_object_get(row, "example"));
    size_t columns = json_array_size(json_object_get(json, "columns"));
    assert_int_equal(columns, json_object_size(json_array_get(rows, 0)));
    json_decref(json);
    json = ask_as(f, f->fra, 200, "GET", "/api/v1/drops", NULL);
    assert_int_equal(json_array_size(json_object_get(json, "rows")), 1);
    assert_string_equal(text_at(json_array_get(json_object_get(json, "rows"), 0), "site"), "fra");
    json_decref(json);
}

static void a_reload_of_the_tokens_counts_from_the_next_request(void **state)
{
    struct fixture *f = *state;
    char old[CONSOLE_TOKEN_TEXT];
    memcpy(old, f->all, sizeof old);
    json_decref(ask_as(f, old, 200, "GET", "/api/v1/schema", NULL));
    struct console_api_settings settings = {
        .query_timeout_ms = 2000, .query_timeout_most_ms = 5000, .tokens = fixture_tokens(f)};
    console_api_set(f->api, &settings);
    json_decref(ask_as(f, old, 401, "GET", "/api/v1/schema", NULL));
    json_decref(ask_as(f, f->all, 200, "GET", "/api/v1/schema", NULL));
}

static void the_fleet_lists_who_reports_and_who_should(void **state)
{
    struct fixture *f = *state;
    f->fake.second_is_down = true;
    json_t *json = ask(f, 200, "GET", "/api/v1/nodes", NULL);
    json_t *rows = json_object_get(json, "rows");
    assert_int_equal(json_array_size(rows), 5);
    int seen = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        json_t *row = json_array_get(rows, i);
        const char *name = text_at(row, "name");
        if (strcmp(name, "agg2") == 0) {
            assert_true(json_is_false(json_object_get(row, "up")));
            assert_string_equal(text_at(row, "state"), "not connected");
            seen++;
        } else if (strcmp(name, "broker1") == 0) {
            assert_null(json_object_get(row, "up")); /* nobody knows */
            seen++;
        } else if (strcmp(name, "agent1") == 0) {
            assert_int_equal(number_at(row, "spool_bytes"), 4096);
            seen++;
        }
    }
    assert_int_equal(seen, 3);
    json_decref(json);

    char *reply = test_http(f->http, "GET", "/metrics", f->all, NULL, NULL);
    assert_non_null(strstr(reply, "weir_node_up{role=\"aggregator\",site=\"\",node=\"agg2\"} 0\n"));
    assert_non_null(strstr(reply, "weir_node_up{role=\"agent\",site=\"fra\",node=\"agent1\"} 1\n"));
    assert_null(strstr(reply, "weir_node_up{role=\"broker\""));
    assert_non_null(strstr(reply, "weir_node_spool_bytes{role=\"agent\",site=\"fra\",node=\"agent1\"} 4096\n"));
    assert_non_null(strstr(reply, "weir_console_queries_total{shape=\"nodes\"} 1\n"));
    free(reply);
    json = ask(f, 200, "GET", "/api/v1/exporters", NULL);
    json_t *exporter = json_array_get(json_object_get(json, "rows"), 0);
    assert_string_equal(text_at(exporter, "protocol"), "sflow5");
    assert_int_equal(number_at(exporter, "lost_sequence"), 7);
    assert_null(json_object_get(exporter, "templates")); /* its protocol has none */
    assert_null(json_object_get(exporter, "clock_skew_ms"));
    exporter = json_array_get(json_object_get(json, "rows"), 1);
    assert_int_equal(number_at(exporter, "templates"), 1);
    assert_int_equal(number_at(exporter, "sets_waiting"), 0);
    assert_int_equal(number_at(exporter, "clock_skew_ms"), -90000);
    json_decref(json);
}

static void a_filter_is_checked_without_asking_anybody(void **state)
{
    struct fixture *f = *state;
    f->fake.questions = 0;
    json_t *json = ask(f, 200, "POST", "/api/v1/filter/check", "{\"filter\":\"SITE fra && exporter 10/8\"}");
    assert_true(json_is_true(json_object_get(json, "ok")));
    assert_string_equal(text_at(json, "canonical"), "site \"fra\" and exporter 10.0.0.0/8");
    assert_string_equal(text_at(json, "needs"), "rollup");
    json_decref(json);
    json = ask(f, 200, "POST", "/api/v1/filter/check", "{\"filter\":\"flags S\"}");
    assert_string_equal(text_at(json, "needs"), "raw");
    json_decref(json);
    json = ask(f, 200, "POST", "/api/v1/filter/check", "{\"filter\":\"poort 5\"}");
    assert_true(json_is_false(json_object_get(json, "ok")));
    assert_string_equal(text_at(json_array_get(json_object_get(json, "errors"), 0), "suggest"), "port");
    json_decref(json);
    assert_int_equal(f->fake.questions, 0);
}

static void probes_and_contract_are_served(void **state)
{
    struct fixture *f = *state;
    static const char *const probes[] = {"/livez", "/readyz", "/healthz", "/api/v1/version"};
    for (size_t i = 0; i < sizeof probes / sizeof *probes; i++) {
        char *reply = test_http(f->http, "GET", probes[i], NULL, NULL, NULL);
        assert_int_equal(test_http_status(reply), 200);
        assert_non_null(strstr(reply, "Weir-Api: 1.0"));
        free(reply);
    }
    f->ready = false;
    json_t *json = ask_as(f, NULL, 503, "GET", "/readyz", NULL);
    assert_string_equal(text_at(json, "detail"), "no aggregator is connected");
    json_decref(json);
    f->ready = true;
    json = ask(f, 200, "GET", "/api/v1/schema", NULL);
    assert_int_equal(json_array_size(json_object_get(json, "dimensions")), WEIR_DIM_COUNT);
    assert_int_equal(number_at(json_object_get(json, "limits"), "rows"), 10000);
    json_decref(json);
}

static void the_cluster_is_shown_with_who_owns_which_shard(void **state)
{
    struct fixture *f = *state;
    json_t *json = ask(f, 200, "GET", "/api/v1/cluster", NULL);
    const json_t *meta = json_object_get(json, "meta"), *rows = json_object_get(json, "rows");
    const json_t *shards = json_object_get(json, "shards");
    assert_string_equal(text_at(meta, "store"), "static");
    assert_int_equal(number_at(meta, "shards_without_members"), 0);
    assert_int_equal(json_array_size(rows), 2);
    assert_string_equal(text_at(json_array_get(rows, 0), "zone"), "east");
    assert_int_equal(number_at(json_array_get(rows, 1), "members"), 128); /* two replicas on two aggregators */
    assert_true(json_is_null(json_object_get(json_array_get(rows, 0), "live")));
    assert_int_equal(json_array_size(shards), 128);
    assert_int_equal(number_at(json_array_get(shards, 127), "epoch"), 7);
    assert_int_equal(json_array_size(json_object_get(json_array_get(shards, 127), "members")), 2);
    json_decref(json);
}

static void rebalancing_needs_an_admin_and_a_store_that_can_be_changed(void **state)
{
    struct fixture *f = *state;
    json_decref(ask(f, 403, "POST", "/api/v1/cluster/rebalance", "{}"));
    json_decref(ask(f, 405, "GET", "/api/v1/cluster/rebalance", NULL));
    json_decref(ask_as(f, f->admin, 415, "POST", "/api/v1/cluster/rebalance", "dry"));
    json_decref(ask_as(f, f->admin, 400, "POST", "/api/v1/cluster/rebalance", "{\"dry_run\":1}"));
    json_t *json = ask_as(f, f->admin, 409, "POST", "/api/v1/cluster/rebalance", "{}");
    assert_non_null(strstr(text_at(json, "detail"), "map = \"static\""));
    json_decref(json);
    json = ask_as(f, f->admin, 200, "POST", "/api/v1/cluster/rebalance", "{\"dry_run\":true}");
    assert_int_equal(number_at(json_object_get(json, "meta"), "moves"), 0);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_table_has_its_envelope_and_exact_integers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_body_asks_the_same_as_parameters, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_series_asks_for_its_groups_first, set_up, tear_down),
        cmocka_unit_test_setup_teardown(flows_come_in_pages_that_fit_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lines_are_rows_and_then_meta, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_aggregator_is_said_and_may_be_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sampled_counts_are_scaled_with_their_error_unless_plain_is_asked_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_asked_is_a_problem_that_points_at_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_has_no_token_gets_nothing_and_who_sees_one_site_sees_that, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(drops_are_explained_in_words_and_only_those_of_the_tokens_sites, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_reload_of_the_tokens_counts_from_the_next_request, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_fleet_lists_who_reports_and_who_should, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_filter_is_checked_without_asking_anybody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(probes_and_contract_are_served, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_cluster_is_shown_with_who_owns_which_shard, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rebalancing_needs_an_admin_and_a_store_that_can_be_changed, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
