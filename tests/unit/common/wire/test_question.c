#include "common/base/mem.h"
#include "common/wire/question.h"

#include "tests/support/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct weir_ip ip_of(const char *text)
{
    struct weir_ip ip;
    assert_int_equal(weir_ip_parse(text, &ip), 0);
    return ip;
}

static void question_of(struct weir_question *question, enum weir_shape shape)
{
    weir_question_init(question);
    question->id = 0x1122334455667788;
    question->shape = shape;
    question->from_ms = 1772600000000;
    question->to_ms = 1772603600000;
    question->limit = 100;
    if (shape == WEIR_SHAPE_TABLE || shape == WEIR_SHAPE_SERIES) {
        question->dim_count = 3;
        question->dims[0] = WEIR_DIM_site;
        question->dims[1] = WEIR_DIM_src_ip;
        question->dims[2] = WEIR_DIM_server_port;
    }
    if (shape == WEIR_SHAPE_SERIES) question->step_ms = 60000;
}

static void a_question_comes_back_as_it_was_sent(void **state)
{
    (void)state;
    struct weir_question question;
    question_of(&question, WEIR_SHAPE_SERIES);
    question.order = WEIR_METRIC_OF_PACKETS;
    question.ascending = true;
    question.tier = WEIR_TIER_1M;
    question.deadline_ms = 777;
    memset(question.shards, 0, sizeof question.shards);
    question.shards[1] = 5;
    assert_int_equal(weir_question_set_filter(&question, "port 5", 6), 0);
    union weir_value key[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
    key[1].ip = ip_of("10.0.0.1");
    key[2].number = 443;
    const char *names[WEIR_QUESTION_DIMS_MOST] = {"fra"};
    assert_int_equal(weir_question_pick(&question, key, names), 0);
    names[0] = "nyc";
    assert_int_equal(weir_question_pick(&question, key, names), 0);

    struct weir_buf bytes = WEIR_BUF_INIT;
    assert_int_equal(weir_question_encode(&question, &bytes), 0);
    struct weir_question got;
    struct weir_why why;
    assert_int_equal(weir_question_decode(weir_buf_view(&bytes), &got, &why), 0);
    assert_int_equal(got.id, question.id);
    assert_int_equal(got.shape, question.shape);
    assert_int_equal(got.from_ms, question.from_ms);
    assert_int_equal(got.to_ms, question.to_ms);
    assert_int_equal(got.dim_count, 3);
    assert_memory_equal(got.dims, question.dims, sizeof *got.dims * 3);
    assert_int_equal(got.order, question.order);
    assert_true(got.ascending);
    assert_int_equal(got.limit, question.limit);
    assert_int_equal(got.step_ms, question.step_ms);
    assert_int_equal(got.tier, question.tier);
    assert_int_equal(got.deadline_ms, 777);
    assert_memory_equal(got.shards, question.shards, sizeof got.shards);
    assert_string_equal(got.filter, "port 5");
    assert_int_equal(got.pick_count, 2);
    assert_memory_equal(got.picks, question.picks, 2 * sizeof *got.picks);
    assert_string_equal(got.pick_names[1], "nyc");
    weir_question_fini(&got);

    weir_buf_clear(&bytes);
    weir_question_fini(&question);
    question_of(&question, WEIR_SHAPE_FLOWS);
    question.has_cursor = true;
    question.cursor = (struct weir_place){.time_ms = -5, .shard = 127, .block = 1ull << 60, .row = 4095};
    assert_int_equal(weir_question_encode(&question, &bytes), 0);
    assert_int_equal(weir_question_decode(weir_buf_view(&bytes), &got, &why), 0);
    assert_true(got.has_cursor);
    assert_int_equal(weir_place_compare(&got.cursor, &question.cursor), 0);
    weir_question_fini(&got);
    weir_question_fini(&question);
    weir_buf_fini(&bytes);
}

static void a_question_that_makes_no_sense_is_refused_with_its_number(void **state)
{
    (void)state;
    struct weir_buf bytes = WEIR_BUF_INIT;
    struct weir_question got;
    struct weir_why why;
    assert_int_equal(weir_cancel_encode(99, &bytes), 0);
    assert_int_equal(weir_question_decode(weir_buf_view(&bytes), &got, &why), 1);
    assert_int_equal(got.id, 99);

    struct weir_question question;
    question_of(&question, WEIR_SHAPE_TABLE);
    question.limit = 0;
    weir_buf_clear(&bytes);
    assert_int_equal(weir_question_encode(&question, &bytes), 0);
    assert_int_equal(weir_question_decode(weir_buf_view(&bytes), &got, &why), WEIR_ELIMIT);
    assert_int_equal(got.id, question.id);
    assert_non_null(strstr(why.text, "limit"));
    assert_int_equal(weir_question_decode(weir_view_text("\xff\xff\xff"), &got, &why), WEIR_EFORMAT);
    assert_int_equal(weir_question_decode(weir_view_of("", 0), &got, &why), WEIR_EVERSION);
    weir_buf_fini(&bytes);
}

/* ---- answers ---- */

struct chunks {
    struct weir_answer *into;
    uint32_t count;
    size_t largest;
    bool ended;
};

static int take_chunk(void *ctx, struct weir_view header, struct weir_view body)
{
    struct chunks *chunks = ctx;
    struct weir_answer_header decoded;
    assert_int_equal(weir_answer_header_decode(header, &decoded), 0);
    assert_int_equal(decoded.id, 42);
    assert_int_equal(decoded.index, chunks->count);
    assert_string_equal(decoded.node, "agg1");
    assert_false(chunks->ended);
    chunks->ended = !decoded.more;
    chunks->count++;
    if (body.size > chunks->largest) chunks->largest = body.size;
    return weir_answer_decode(body, chunks->into);
}

static void fill(struct weir_answer *answer, size_t count)
{
    char name[64];
    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "a-rather-long-name-of-a-site-number-%zu", i % 2000);
        uint32_t site = (uint32_t)weir_answer_name(answer, name);
        struct weir_counts counts = weir_counts_of(1 + i, UINT64_MAX / 2 - i, i * 1000, i % 3 == 0 ? 100 : 1);
        if (answer->shape == WEIR_SHAPE_TABLE || answer->shape == WEIR_SHAPE_SERIES) {
            union weir_value key[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
            key[0].number = site;
            weir_store_u64be(key[1].ip.bytes + 8, i);
            key[2].number = i % 65536;
            assert_int_equal(weir_answer_count(answer, key, answer->step_ms == 0 ? 0 : (int64_t)i * 60000, &counts), 0);
        } else if (answer->shape == WEIR_SHAPE_FLOWS) {
            struct weir_answer_flow flow = {.place = {.time_ms = (int64_t)i, .block = i, .row = 7, .shard = i % 128},
                                            .source = {.exporter = ip_of("192.0.2.1"), .domain = 9},
                                            .protocol = WEIR_PROTOCOL_IPFIX,
                                            .site = site};
            memset(&flow.flow, 0x7f, sizeof flow.flow); /* every column, as wide as it gets */
            flow.flow.bytes = UINT64_MAX - i;
            static const char longest[WEIR_EXTRA_VALUE_MOST];
            struct weir_buf extras = WEIR_BUF_INIT;
            for (size_t e = 0; i % 3 == 1 && e < WEIR_EXTRAS_MOST; e++)
                weir_extra_put(&extras,
                               &(struct weir_extra){"a_name_of_as_many_bytes_as_goes", 0, 1, WEIR_EXTRA_STRING},
                               weir_view_of(longest, i % sizeof longest));
            flow.extras = weir_buf_view(&extras);
            assert_int_equal(weir_answer_add_flow(answer, &flow), 0);
            weir_buf_fini(&extras);
        } else if (answer->shape == WEIR_SHAPE_EXPORTERS) {
            struct weir_answer_exporter exporter = {.source = {.exporter = ip_of("192.0.2.1"), .domain = (uint32_t)i},
                                                    .protocol = WEIR_PROTOCOL_SFLOW5,
                                                    .site = site,
                                                    .agent = (uint32_t)weir_answer_name(answer, "agent-1"),
                                                    .flows = UINT64_MAX,
                                                    .lost = {1, 2, 3, 4, UINT64_MAX},
                                                    .sampling_one_in = 100,
                                                    .first_heard_ms = 1,
                                                    .last_heard_ms = 1772600000000,
                                                    .last_flows_ms = 1772599990000,
                                                    .health = {.templates = 17,
                                                               .waiting = UINT32_MAX,
                                                               .has_skew = i % 2 == 0,
                                                               .skew_ms = i % 2 == 0 ? -90000 : 0}};
            assert_int_equal(weir_answer_add_exporter(answer, &exporter), 0);
        } else if (answer->shape == WEIR_SHAPE_DROPS) {
            uint8_t bytes[WEIR_DROP_HEAD + 1] = {(uint8_t)i, 0xde, 0xad};
            struct weir_answer_drop drop = {
                .source = {.exporter = ip_of("2001:db8::1"), .domain = (uint32_t)i},
                .protocol = WEIR_PROTOCOL_IPFIX,
                .site = site,
                .agent = (uint32_t)weir_answer_name(answer, "agent-1"),
                .drop = weir_drop_of(WEIR_DROP_count, INT64_MAX, weir_view_of(bytes, i % (sizeof bytes + 1)))};
            drop.drop.count = UINT64_MAX;
            assert_int_equal(weir_answer_add_drop(answer, &drop), 0);
        } else {
            struct weir_answer_node node = {.name = site,
                                            .role = (uint32_t)weir_answer_name(answer, "agent"),
                                            .up = i % 2 == 0,
                                            .state = (uint32_t)weir_answer_name(answer, "ok"),
                                            .spool_bytes = UINT64_MAX,
                                            .last_heard_ms = (int64_t)i};
            assert_int_equal(weir_answer_add_node(answer, &node), 0);
        }
    }
    struct weir_answer_source source = {.name = (uint32_t)weir_answer_name(answer, "agg1"),
                                        .ok = true,
                                        .shards_asked = 64,
                                        .shards_answered = 63,
                                        .scanned = 1000,
                                        .asof_ms = 1772600000000};
    assert_int_equal(weir_answer_add_source(answer, &source), 0);
    answer->coverage = (struct weir_coverage){
        .tier = WEIR_TIER_1M, .sampled = true, .behind = true, .from_ms = 5, .to_ms = 6, .lost = {.sequence = 3}};
    answer->error_bound = 17;
    answer->more = true;
}

static void assert_same(const struct weir_answer *a, const struct weir_answer *b)
{
    assert_int_equal(a->row_count, b->row_count);
    for (size_t i = 0; i < a->row_count; i++) {
        assert_memory_equal(&a->rows[i].counts, &b->rows[i].counts, sizeof a->rows[i].counts);
        assert_memory_equal(&a->rows[i].key[1], &b->rows[i].key[1], 3 * sizeof a->rows[i].key[1]);
        assert_int_equal(a->rows[i].time_ms, b->rows[i].time_ms);
        assert_string_equal(weir_answer_name_at(a, (uint32_t)a->rows[i].key[0].number),
                            weir_answer_name_at(b, (uint32_t)b->rows[i].key[0].number));
    }
    assert_int_equal(a->flow_count, b->flow_count);
    for (size_t i = 0; i < a->flow_count; i++) {
        assert_true(weir_flow_equal(&a->flows[i].flow, &b->flows[i].flow));
        assert_true(weir_view_equal(a->flows[i].extras, b->flows[i].extras));
        assert_int_equal(weir_place_compare(&a->flows[i].place, &b->flows[i].place), 0);
        assert_true(weir_ip_equal(&a->flows[i].source.exporter, &b->flows[i].source.exporter));
        assert_int_equal(a->flows[i].protocol, b->flows[i].protocol);
        assert_string_equal(weir_answer_name_at(a, a->flows[i].site), weir_answer_name_at(b, b->flows[i].site));
    }
    assert_int_equal(a->drop_count, b->drop_count);
    for (size_t i = 0; i < a->drop_count; i++) {
        const struct weir_answer_drop *x = &a->drops[i], *y = &b->drops[i];
        assert_memory_equal(&x->source, &y->source, sizeof x->source);
        assert_int_equal(x->protocol, y->protocol);
        assert_string_equal(weir_answer_name_at(a, x->site), weir_answer_name_at(b, y->site));
        assert_string_equal(weir_answer_name_at(a, x->agent), weir_answer_name_at(b, y->agent));
        assert_memory_equal(&x->drop, &y->drop, sizeof x->drop);
    }
    assert_int_equal(a->exporter_count, b->exporter_count);
    for (size_t i = 0; i < a->exporter_count; i++) {
        assert_int_equal(a->exporters[i].source.domain, b->exporters[i].source.domain);
        assert_int_equal(a->exporters[i].flows, b->exporters[i].flows);
        assert_int_equal(a->exporters[i].last_flows_ms, b->exporters[i].last_flows_ms);
        assert_int_equal(a->exporters[i].health.templates, b->exporters[i].health.templates);
        assert_int_equal(a->exporters[i].health.waiting, b->exporters[i].health.waiting);
        assert_int_equal(a->exporters[i].health.has_skew, b->exporters[i].health.has_skew);
        assert_int_equal(a->exporters[i].health.skew_ms, b->exporters[i].health.skew_ms);
        assert_memory_equal(&a->exporters[i].lost, &b->exporters[i].lost, sizeof a->exporters[i].lost);
        assert_string_equal(weir_answer_name_at(b, b->exporters[i].agent), "agent-1");
    }
    assert_int_equal(a->node_count, b->node_count);
    for (size_t i = 0; i < a->node_count; i++) {
        assert_int_equal(a->nodes[i].spool_bytes, b->nodes[i].spool_bytes);
        assert_int_equal(a->nodes[i].up, b->nodes[i].up);
        assert_string_equal(weir_answer_name_at(a, a->nodes[i].name), weir_answer_name_at(b, b->nodes[i].name));
    }
    assert_int_equal(b->source_count, 1);
    assert_int_equal(b->sources[0].shards_answered, 63);
    assert_memory_equal(&a->total, &b->total, sizeof a->total);
    assert_memory_equal(&a->other, &b->other, sizeof a->other);
    assert_int_equal(b->error_bound, 17);
    assert_true(b->more);
    assert_int_equal(b->coverage.tier, WEIR_TIER_1M);
    assert_int_equal(b->coverage.lost.sequence, 3);
    assert_true(b->coverage.sampled);
    assert_true(b->coverage.behind);
}

static void an_answer_comes_back_from_its_chunks(void **state)
{
    (void)state;
    static const struct {
        enum weir_shape shape;
        size_t count;
    } cases[] = {{WEIR_SHAPE_TABLE, 0},     {WEIR_SHAPE_TABLE, 1},    {WEIR_SHAPE_TABLE, 2500},
                 {WEIR_SHAPE_SERIES, 1001}, {WEIR_SHAPE_FLOWS, 1500}, {WEIR_SHAPE_EXPORTERS, 1200},
                 {WEIR_SHAPE_NODES, 600},   {WEIR_SHAPE_DROPS, 1100}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct weir_question question;
        question_of(&question, cases[i].shape);
        question.limit = 5000;
        struct weir_answer answer;
        struct weir_answer got;
        assert_int_equal(weir_answer_init(&answer, &question), 0);
        assert_int_equal(weir_answer_init(&got, &question), 0);
        fill(&answer, cases[i].count);
        assert_int_equal(weir_answer_rank(&answer, 5000, true), 0);
        answer.error_bound = 17;
        struct chunks chunks = {.into = &got};
        assert_int_equal(weir_answer_encode(&answer, 42, "agg1", take_chunk, &chunks), 0);
        assert_true(chunks.ended);
        assert_true(chunks.largest <= WEIR_CHUNK_BYTES_MOST);
        if (cases[i].count > 1000) assert_true(chunks.count >= 3);
        assert_int_equal(weir_answer_rank(&got, 5000, false), 0);
        assert_same(&answer, &got);
        weir_answer_fini(&answer);
        weir_answer_fini(&got);
    }
}

static int keep_chunk(void *ctx, struct weir_view header, struct weir_view body)
{
    (void)header;
    struct weir_buf *out = ctx;
    weir_buf_clear(out);
    weir_buf_append(out, body.data, body.size);
    return 0;
}

static int refuse_chunk(void *ctx, struct weir_view header, struct weir_view body)
{
    (void)ctx;
    (void)header;
    (void)body;
    return WEIR_EAGAIN;
}

static void a_damaged_or_foreign_chunk_is_refused(void **state)
{
    (void)state;
    struct weir_question question;
    question_of(&question, WEIR_SHAPE_TABLE);
    struct weir_answer answer;
    assert_int_equal(weir_answer_init(&answer, &question), 0);
    fill(&answer, 10);
    assert_int_equal(weir_answer_rank(&answer, 5000, true), 0);
    struct weir_buf chunk = WEIR_BUF_INIT;
    assert_int_equal(weir_answer_encode(&answer, 42, "agg1", refuse_chunk, NULL), WEIR_EAGAIN);
    assert_int_equal(weir_answer_encode(&answer, 42, "agg1", keep_chunk, &chunk), 0);

    struct weir_answer got;
    question.dims[2] = WEIR_DIM_src_port;
    assert_int_equal(weir_answer_init(&got, &question), 0);
    assert_int_equal(weir_answer_decode(weir_buf_view(&chunk), &got), WEIR_EFORMAT);
    weir_answer_fini(&got);
    question.dims[2] = WEIR_DIM_server_port;

    /* Every cut and every flipped bit either fails or yields an answer; neither reads past its bytes. */
    uint8_t *exact = malloc(chunk.size);
    for (size_t i = 0; i < chunk.size; i++) {
        assert_int_equal(weir_answer_init(&got, &question), 0);
        memcpy(exact, chunk.data, chunk.size);
        exact[i] ^= (uint8_t)(1 << i % 8);
        weir_answer_decode(weir_view_of(exact, chunk.size), &got);
        weir_answer_fini(&got);
        assert_int_equal(weir_answer_init(&got, &question), 0);
        weir_answer_decode(weir_view_of(exact, i), &got);
        weir_answer_fini(&got);
    }
    free(exact);
    weir_buf_fini(&chunk);
    weir_answer_fini(&answer);
}

static void running_out_of_memory_is_said_and_leaks_nothing(void **state)
{
    (void)state;
    struct weir_question question;
    question_of(&question, WEIR_SHAPE_TABLE);
    struct weir_answer answer;
    assert_int_equal(weir_answer_init(&answer, &question), 0);
    fill(&answer, 40);
    assert_int_equal(weir_answer_rank(&answer, 5000, true), 0);
    int64_t successes = 0;
    for (bool failed = true; failed; successes++) {
        assert_true(successes < 1000);
        struct weir_answer got;
        assert_int_equal(weir_answer_init(&got, &question), 0);
        struct chunks chunks = {.into = &got};
        weir_mem_fail_after(successes);
        int rc = weir_answer_encode(&answer, 42, "agg1", take_chunk, &chunks);
        failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        weir_answer_fini(&got);
    }
    weir_answer_fini(&answer);
}

static void an_error_travels_in_the_header(void **state)
{
    (void)state;
    struct weir_answer_header header = {.id = 7, .code = WEIR_ELIMIT, .node = "agg2", .text = "too many\ngroups"};
    struct weir_buf bytes = WEIR_BUF_INIT;
    assert_int_equal(weir_answer_header_encode(&header, &bytes), 0);
    struct weir_answer_header got;
    assert_int_equal(weir_answer_header_decode(weir_buf_view(&bytes), &got), 0);
    assert_int_equal(got.id, 7);
    assert_int_equal(got.code, WEIR_ELIMIT);
    assert_false(got.more);
    assert_string_equal(got.node, "agg2");
    assert_string_equal(got.text, "too many?groups");
    assert_int_equal(weir_answer_header_decode(weir_view_text("no"), &got), WEIR_EFORMAT);
    weir_buf_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_comes_back_as_it_was_sent),
        cmocka_unit_test(a_question_that_makes_no_sense_is_refused_with_its_number),
        cmocka_unit_test(an_answer_comes_back_from_its_chunks),
        cmocka_unit_test(a_damaged_or_foreign_chunk_is_refused),
        cmocka_unit_test(running_out_of_memory_is_said_and_leaks_nothing),
        cmocka_unit_test(an_error_travels_in_the_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
