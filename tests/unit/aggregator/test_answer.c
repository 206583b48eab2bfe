#include "aggregator/answer.h"

#include "aggregator/scan.h"
#include "aggregator/window.h"
#include "common/base/clock.h"
#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "tests/support/agg_bench.h"
#include "tests/support/random_flows.h"

#include <stdlib.h>

#include "tests/support/cmocka.h"

enum { SOURCES = 5, BATCHES = 40, FLOWS_MOST = 8000, SHARD_STEP = 25 };

/* The batches were committed over the three hours before this moment, which lies on no minute. */
static const int64_t now_ms = INT64_C(1790000012345);

struct known {
    struct weir_flow flow;
    struct weir_source source;
    uint32_t shard;
    uint64_t block;
    uint32_t row;
    const char *site;
    int64_t received_ms;
    int64_t commit_ms;
};

static struct {
    struct agg_bench bench;
    struct agg_heard *heard;
    struct agg_answerer by;
    struct known *flows;
    size_t count;
    uint64_t batches;
    struct weir_loss loss;
    uint64_t dropped[WEIR_DROP_REASON_MOST + 1]; /* by reason, as batches give it */
} world;

static const char *site_of(uint32_t source)
{
    return source % 2 == 0 ? "fra1" : "lon2";
}

/** At most an hour long: longer ones take strides in rows, which flows do not. */
static void shorten(struct weir_batch *batch, int64_t received_ms, int64_t commit_ms)
{
    int64_t *start = weir_batch_touch(batch, WEIR_FIELD_start_ms), *end = weir_batch_touch(batch, WEIR_FIELD_end_ms);
    for (uint32_t i = 0; i < batch->count; i++) {
        struct agg_span span = agg_span_of(start[i], end[i], received_ms, commit_ms);
        if (span.end_ms - span.start_ms > 50 * AGG_MINUTE_MS) start[i] = end[i] = received_ms - 7000;
    }
}

static int make_world(void **state)
{
    (void)state;
    uint64_t random = 11;
    agg_bench_open(&world.bench, 3600000, 64 << 20);
    world.flows = weir_calloc(FLOWS_MOST, sizeof *world.flows);
    assert_non_null(world.flows);
    for (uint32_t i = 0; i < BATCHES; i++) {
        uint32_t number = random_below(&random, SOURCES);
        struct weir_source source = random_source(number);
        struct weir_batch_header header;
        int64_t received_ms = now_ms - (BATCHES - i) * 5 * AGG_MINUTE_MS, commit_ms = received_ms + 700;
        struct weir_batch *batch = random_batch(&random, &source, 1 + random_below(&random, 150), received_ms, &header);
        shorten(batch, received_ms, commit_ms);
        struct agg_bench_batch of = {.batch = batch,
                                     .shard = number * SHARD_STEP,
                                     .commit_ms = commit_ms,
                                     .site = site_of(number),
                                     .agent = "edge-1",
                                     .hand_over = true};
        struct agg_place place = agg_bench_commit(&world.bench, &of);
        for (uint32_t row = 0; row < batch->count; row++) {
            struct known *known = &world.flows[world.count++];
            *known = (struct known){.source = source,
                                    .shard = of.shard,
                                    .block = place.number,
                                    .row = row,
                                    .site = of.site,
                                    .received_ms = received_ms,
                                    .commit_ms = commit_ms};
            weir_batch_get(batch, row, &known->flow);
        }
        world.batches++;
        weir_loss_add(&world.loss, &header.loss);
        for (uint32_t k = 0; k < batch->drops.count; k++)
            world.dropped[batch->drops.at[k].reason] += batch->drops.at[k].count;
        weir_batch_destroy(batch);
    }
    assert_int_equal(agg_heard_create(&world.heard), 0);
    world.by = (struct agg_answerer){
        .store = world.bench.store, .roller = world.bench.roller, .heard = world.heard, .node = "agg-1"};
    return 0;
}

static int end_world(void **state)
{
    (void)state;
    agg_heard_destroy(world.heard);
    agg_bench_close(&world.bench);
    remove_folder(world.bench.folder);
    weir_free(world.flows);
    return 0;
}

static struct agg_span span_of(const struct known *known)
{
    return agg_span_of(known->flow.start_ms, known->flow.end_ms, known->received_ms, known->commit_ms);
}

/** Does the flow match, and where from? */
static bool matches(const struct weir_question *question, const struct weir_filter *filter, const struct known *known,
                    struct weir_where *where)
{
    *where = (struct weir_where){.source = known->source,
                                 .protocol = WEIR_PROTOCOL_IPFIX,
                                 .site = known->site,
                                 .site_number = where->site_number};
    return weir_question_wants_shard(question, known->shard) && weir_filter_flow(filter, &known->flow, where);
}

static void count_flow(struct weir_answer *answer, const struct weir_question *question, const struct known *known,
                       const struct weir_where *where, int64_t time_ms, const struct weir_counts *counts)
{
    union weir_value keys[2][WEIR_QUESTION_DIMS_MOST] = {{{{{0}}}}};
    int values = 1;
    for (uint32_t d = 0; d < question->dim_count; d++) {
        union weir_value pair[2] = {{{{0}}}};
        int n = weir_dim_of_flow(question->dims[d], &known->flow, where, pair);
        keys[0][d] = pair[0];
        keys[1][d] = n == 2 ? pair[1] : pair[0];
        if (n == 2) values = 2;
    }
    assert_int_equal(weir_answer_count(answer, keys[0], time_ms, counts), 0);
    if (values == 2) assert_int_equal(weir_answer_add(answer, keys[1], time_ms, counts), 0);
}

/** The same question over the flows that we know, for the range that @like says it looked at. */
static void answer_naively(const struct weir_question *question, const struct weir_answer *like,
                           struct weir_answer *answer)
{
    struct weir_filter *filter = NULL;
    struct weir_filter_error error;
    const char *text = question->filter == NULL ? "" : question->filter;
    assert_int_equal(weir_filter_parse(text, strlen(text), &filter, &error), 0);
    assert_int_equal(weir_answer_init(answer, question), 0);
    /* A variance depends on the parts: those of minutes where rows answer, else of steps or of the whole range. */
    int64_t width_ms = AGG_MINUTE_MS;
    if (like->coverage.tier == WEIR_TIER_RAW)
        width_ms = question->shape == WEIR_SHAPE_SERIES ? question->step_ms : INT64_MAX;
    for (size_t i = 0; i < world.count; i++) {
        const struct known *known = &world.flows[i];
        struct weir_where where = {.site_number = (uint32_t)weir_answer_name(answer, known->site)};
        if (!matches(question, filter, known, &where)) continue;
        struct agg_span span = span_of(known);
        for (int64_t at_ms = like->coverage.from_ms; at_ms < like->coverage.to_ms;) {
            int64_t to_ms = width_ms == INT64_MAX ? like->coverage.to_ms : at_ms / width_ms * width_ms + width_ms;
            if (to_ms > like->coverage.to_ms) to_ms = like->coverage.to_ms;
            bool starts = span.start_ms >= at_ms && span.start_ms < to_ms;
            uint64_t packets = agg_part_within(known->flow.packets, &span, at_ms, to_ms);
            uint64_t bytes = agg_part_within(known->flow.bytes, &span, at_ms, to_ms);
            struct weir_counts counts = weir_counts_of(starts, packets, bytes, known->flow.sampling_one_in);
            if (starts || packets > 0 || bytes > 0)
                count_flow(answer, question, known, &where, agg_scan_step(question, at_ms), &counts);
            at_ms = to_ms;
        }
    }
    assert_int_equal(weir_answer_rank(answer, weir_question_partial_limit(question), true), 0);
    weir_filter_destroy(filter);
}

/** The row's key with names where indices are, so that rows of two answers compare. */
struct plain_key {
    union weir_value value[WEIR_QUESTION_DIMS_MOST];
    int64_t time_ms;
    char site[WEIR_NAME_BYTES];
};

static struct plain_key plain_key_of(const struct weir_answer *answer, const struct weir_answer_row *row)
{
    struct plain_key key;
    memset(&key, 0, sizeof key);
    memcpy(key.value, row->key, sizeof key.value);
    key.time_ms = row->time_ms;
    for (uint32_t d = 0; d < answer->dim_count; d++) {
        if (answer->dims[d] != WEIR_DIM_site) continue;
        strcpy(key.site, weir_answer_name_at(answer, (uint32_t)row->key[d].number));
        key.value[d].number = 0;
    }
    return key;
}

static bool is_near(double a, double b)
{
    return a >= b * 0.99999 - 1 && a <= b * 1.00001 + 1;
}

static void assert_same_counts(const struct weir_counts *a, const struct weir_counts *b)
{
    assert_int_equal(a->flows, b->flows);
    assert_int_equal(a->packets, b->packets);
    assert_int_equal(a->bytes, b->bytes);
    assert_int_equal(a->scaled_packets, b->scaled_packets);
    assert_int_equal(a->scaled_bytes, b->scaled_bytes);
    assert_true(is_near(a->packets_variance, b->packets_variance));
    assert_true(is_near(a->bytes_variance, b->bytes_variance));
}

static void assert_same_answers(const struct weir_answer *got, const struct weir_answer *want)
{
    assert_same_counts(&got->total, &want->total);
    struct weir_table index;
    weir_table_init(&index, sizeof(struct plain_key), sizeof(struct weir_counts));
    for (size_t i = 0; i < want->row_count; i++) {
        struct plain_key key = plain_key_of(want, &want->rows[i]);
        struct weir_counts *counts = weir_table_add(&index, &key, weir_hash64(&key, sizeof key, 0), NULL);
        *counts = want->rows[i].counts;
    }
    for (size_t i = 0; i < got->row_count; i++) {
        static const struct weir_counts nothing;
        struct plain_key key = plain_key_of(got, &got->rows[i]);
        const struct weir_counts *counts = weir_table_find(&index, &key, weir_hash64(&key, sizeof key, 0));
        assert_same_counts(&got->rows[i].counts, counts == NULL ? &nothing : counts);
    }
    assert_int_equal(got->row_count, want->row_count);
    weir_table_fini(&index);
}

static void ask(const struct weir_question *question, struct weir_answer *ret)
{
    struct weir_why why = {0};
    if (weir_question_check(question, &why) < 0) fail_msg("%s", why.text);
    uint64_t scanned = 0;
    if (agg_answer(&world.by, question, weir_mono_ms() + 60000, NULL, ret, &scanned, &why) < 0)
        fail_msg("%s", why.text);
    assert_int_equal(ret->source_count, 1);
    assert_int_equal(ret->sources[0].shards_answered, ret->sources[0].shards_asked);
    assert_int_equal(ret->sources[0].scanned, scanned);
}

static void ask_and_compare(const struct weir_question *question, enum weir_tier tier)
{
    struct weir_answer got, want;
    ask(question, &got);
    assert_int_equal(got.coverage.tier, tier);
    assert_true(got.coverage.from_ms <= question->from_ms && got.coverage.to_ms >= question->to_ms);
    answer_naively(question, &got, &want);
    assert_true(want.total.flows > 0);
    assert_same_answers(&got, &want);
    weir_answer_fini(&got);
    weir_answer_fini(&want);
}

/** What is asked in all shapes; and what must answer it in the form that is left to us. */
static const struct {
    const char *filter;
    enum weir_dim dims[3];
    uint32_t dim_count;
    enum weir_tier tier;
} cases[] = {
    {"", {0}, 0, WEIR_TIER_1H},
    {"", {WEIR_DIM_src_ip}, 1, WEIR_TIER_1H},
    {"", {WEIR_DIM_dst_ip}, 1, WEIR_TIER_1H},
    {"", {WEIR_DIM_ip}, 1, WEIR_TIER_1H},
    {"ip 10.1.0.7", {WEIR_DIM_ip}, 1, WEIR_TIER_1H},
    {"src ip 10.1.0.7 or dst net 10.1.1.0/24", {WEIR_DIM_dst_ip, WEIR_DIM_src_ip}, 2, WEIR_TIER_1H},
    {"", {WEIR_DIM_service}, 1, WEIR_TIER_1H},
    {"proto tcp", {WEIR_DIM_server_ip, WEIR_DIM_server_port}, 2, WEIR_TIER_1H},
    {"", {WEIR_DIM_proto}, 1, WEIR_TIER_1H},
    {"", {WEIR_DIM_exporter, WEIR_DIM_site}, 2, WEIR_TIER_1H},
    {"site lon2", {WEIR_DIM_domain, WEIR_DIM_protocol}, 2, WEIR_TIER_1H},
    {"", {WEIR_DIM_port}, 1, WEIR_TIER_RAW},
    {"port 443", {WEIR_DIM_src_ip, WEIR_DIM_site}, 2, WEIR_TIER_RAW},
    {"bytes > 10k and not proto udp", {WEIR_DIM_ip, WEIR_DIM_dst_port}, 2, WEIR_TIER_RAW},
    {"exporter 192.0.2.1", {WEIR_DIM_client_ip}, 1, WEIR_TIER_RAW},
    {"src ip 10.1.0.7", {WEIR_DIM_if_in, WEIR_DIM_tos}, 2, WEIR_TIER_RAW},
};

static struct weir_question question_of(size_t at, enum weir_shape shape)
{
    struct weir_question question;
    weir_question_init(&question);
    question.shape = shape;
    question.from_ms = now_ms - 3 * AGG_HOUR_MS - 1234;
    question.to_ms = now_ms - 4321;
    question.limit = 2000;
    question.deadline_ms = 60000;
    question.dim_count = cases[at].dim_count;
    memcpy(question.dims, cases[at].dims, sizeof cases[at].dims);
    assert_int_equal(weir_question_set_filter(&question, cases[at].filter, strlen(cases[at].filter)), 0);
    return question;
}

static void tables_are_what_counting_flow_by_flow_gives(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_question question = question_of(i, WEIR_SHAPE_TABLE);
        ask_and_compare(&question, cases[i].tier);
        question.tier = WEIR_TIER_RAW; /* each question has the same answer from flows */
        ask_and_compare(&question, WEIR_TIER_RAW);
        for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
            if (shard != 1 * SHARD_STEP) question.shards[shard / 64] &= ~(1ull << shard % 64);
        }
        if (cases[i].filter[0] == '\0') {
            question.tier = cases[i].tier == WEIR_TIER_RAW ? WEIR_TIER_AUTO : WEIR_TIER_1M;
            ask_and_compare(&question, cases[i].tier == WEIR_TIER_RAW ? WEIR_TIER_RAW : WEIR_TIER_1M);
        }
        weir_question_fini(&question);
    }
}

static void series_are_what_counting_flow_by_flow_gives(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_question question = question_of(i, WEIR_SHAPE_SERIES);
        question.limit = 500;
        question.step_ms = 15 * AGG_MINUTE_MS;
        ask_and_compare(&question, cases[i].tier == WEIR_TIER_RAW ? WEIR_TIER_RAW : WEIR_TIER_1M);
        question.step_ms = AGG_HOUR_MS;
        ask_and_compare(&question, cases[i].tier);
        question.step_ms = 7 * 60 * 1000 + 13000; /* no whole minutes: from flows */
        ask_and_compare(&question, WEIR_TIER_RAW);
        weir_question_fini(&question);
    }
}

static int by_place(const void *a, const void *b)
{
    return weir_place_compare(&((const struct weir_answer_flow *)a)->place,
                              &((const struct weir_answer_flow *)b)->place);
}

static void flows_come_in_their_order_page_by_page(void **state)
{
    (void)state;
    for (int ascending = 0; ascending < 2; ascending++) {
        struct weir_question question = question_of(5, WEIR_SHAPE_FLOWS);
        question.dim_count = 0;
        question.ascending = ascending;
        question.limit = 7;
        struct weir_filter *filter = NULL;
        struct weir_filter_error error;
        assert_int_equal(weir_filter_parse(question.filter, strlen(question.filter), &filter, &error), 0);
        struct weir_answer_flow *want = weir_calloc(world.count, sizeof *want);
        size_t count = 0;
        for (size_t i = 0; i < world.count; i++) {
            struct weir_where where = {0};
            struct agg_span span = span_of(&world.flows[i]);
            if (!matches(&question, filter, &world.flows[i], &where)) continue;
            if (span.start_ms < question.from_ms || span.start_ms >= question.to_ms) continue;
            want[count++] = (struct weir_answer_flow){.place = {.time_ms = span.start_ms,
                                                                .shard = world.flows[i].shard,
                                                                .block = world.flows[i].block,
                                                                .row = world.flows[i].row},
                                                      .source = world.flows[i].source,
                                                      .flow = world.flows[i].flow};
        }
        assert_true(count > 20);
        qsort(want, count, sizeof *want, by_place);
        size_t seen = 0;
        bool more = true;
        while (more) {
            struct weir_answer got;
            ask(&question, &got);
            assert_true(got.flow_count > 0 && got.flow_count <= 7);
            for (size_t i = 0; i < got.flow_count; i++, seen++) {
                const struct weir_answer_flow *one = &want[ascending ? seen : count - 1 - seen];
                assert_int_equal(weir_place_compare(&got.flows[i].place, &one->place), 0);
                assert_true(weir_flow_equal(&got.flows[i].flow, &one->flow));
                assert_int_equal(got.flows[i].source.domain, one->source.domain);
            }
            more = got.more;
            question.has_cursor = true;
            question.cursor = got.flows[got.flow_count - 1].place;
            weir_answer_fini(&got);
        }
        assert_int_equal(seen, count);
        weir_free(want);
        weir_filter_destroy(filter);
        weir_question_fini(&question);
    }
}

static void exporters_say_what_was_heard_and_lost(void **state)
{
    (void)state;
    struct weir_question question = question_of(0, WEIR_SHAPE_EXPORTERS);
    question.from_ms = now_ms - 8 * 24 * AGG_HOUR_MS;
    question.to_ms = now_ms + AGG_HOUR_MS;
    struct weir_answer got;
    ask(&question, &got);
    assert_int_equal(got.exporter_count, SOURCES);
    uint64_t batches = 0, flows = 0, sequence = 0, drops = 0;
    for (size_t i = 0; i < got.exporter_count; i++) {
        const struct weir_answer_exporter *exporter = &got.exporters[i];
        batches += exporter->batches;
        flows += exporter->flows;
        sequence += exporter->lost.sequence;
        drops += exporter->lost.socket_drops;
        assert_string_equal(weir_answer_name_at(&got, exporter->site), site_of(exporter->source.domain));
        assert_string_equal(weir_answer_name_at(&got, exporter->agent), "edge-1");
        assert_true(exporter->first_heard_ms > 0 && exporter->first_heard_ms <= exporter->last_heard_ms);
    }
    assert_int_equal(batches, world.batches);
    assert_int_equal(flows, world.count);
    assert_int_equal(sequence, world.loss.sequence_lost);
    assert_int_equal(drops, world.loss.socket_drops);
    assert_int_equal(got.coverage.lost.sequence, world.loss.sequence_lost);
    weir_answer_fini(&got);
    weir_question_fini(&question);
}

static void drops_explain_all_that_exporters_lost(void **state)
{
    (void)state;
    struct weir_question question = question_of(0, WEIR_SHAPE_DROPS);
    question.from_ms = now_ms - 8 * 24 * AGG_HOUR_MS;
    question.to_ms = now_ms + AGG_HOUR_MS;
    struct weir_answer got;
    ask(&question, &got);
    uint64_t dropped[WEIR_DROP_REASON_MOST + 1] = {0};
    for (size_t i = 0; i < got.drop_count; i++) {
        const struct weir_answer_drop *row = &got.drops[i];
        assert_true(row->drop.count > 0);
        assert_true(row->drop.first_ms > 0 && row->drop.first_ms <= row->drop.last_ms);
        assert_string_equal(weir_answer_name_at(&got, row->site), site_of(row->source.domain));
        assert_string_equal(weir_answer_name_at(&got, row->agent), "edge-1");
        dropped[row->drop.reason] += row->drop.count;
        for (size_t k = 0; k < i; k++)
            assert_false(row->drop.reason == got.drops[k].drop.reason &&
                         row->source.domain == got.drops[k].source.domain);
    }
    assert_true(world.dropped[WEIR_DROP_count] > 0 && dropped[WEIR_DROP_unexplained] > 0);
    assert_int_equal(dropped[WEIR_DROP_count], world.dropped[WEIR_DROP_count]);
    assert_int_equal(dropped[WEIR_DROP_version], world.dropped[WEIR_DROP_version]);
    assert_int_equal(dropped[WEIR_DROP_denied], world.dropped[WEIR_DROP_denied]);
    assert_int_equal(dropped[WEIR_DROP_count] + dropped[WEIR_DROP_version] + dropped[WEIR_DROP_unexplained],
                     world.loss.undecodable);
    assert_int_equal(dropped[WEIR_DROP_template_missing], world.loss.template_missing);
    assert_int_equal(dropped[WEIR_DROP_sequence], world.loss.sequence_lost);
    assert_int_equal(dropped[WEIR_DROP_socket_drops], world.loss.socket_drops);
    assert_int_equal(got.coverage.lost.undecodable, world.loss.undecodable);
    assert_int_equal(got.exporter_count, 0);
    weir_answer_fini(&got);
    weir_question_fini(&question);
}

static void shards_that_it_is_no_member_of_are_not_answered_and_the_answer_says_so(void **state)
{
    (void)state;
    static _Atomic uint64_t members[WEIR_SHARDS / 64];
    struct weir_question question = question_of(0, WEIR_SHAPE_TABLE), less = question_of(0, WEIR_SHAPE_TABLE);
    less.shards[SHARD_STEP / 64] &= ~(1ull << SHARD_STEP % 64);
    for (uint32_t word = 0; word < WEIR_SHARDS / 64; word++)
        atomic_store(&members[word], less.shards[word]);
    struct agg_answerer by = world.by;
    by.members = members;
    struct weir_answer all, got, want;
    ask(&question, &all);
    assert_int_equal(agg_answer(&by, &question, weir_mono_ms() + 60000, NULL, &got, NULL, NULL), 0);
    assert_int_equal(got.sources[0].shards_asked, WEIR_SHARDS);
    assert_int_equal(got.sources[0].shards_answered, WEIR_SHARDS - 1);
    answer_naively(&less, &got, &want);
    assert_same_answers(&got, &want);
    assert_true(all.total.flows > got.total.flows);
    weir_answer_fini(&want);
    weir_answer_fini(&got);
    weir_answer_fini(&all);
    weir_question_fini(&less);
    weir_question_fini(&question);
}

static void what_cannot_be_answered_says_why(void **state)
{
    (void)state;
    struct weir_answer got;
    struct weir_why why = {0};
    struct weir_question question = question_of(11, WEIR_SHAPE_TABLE);
    question.tier = WEIR_TIER_1H;
    assert_int_equal(agg_answer(&world.by, &question, weir_mono_ms() + 1000, NULL, &got, NULL, &why),
                     WEIR_EUNSUPPORTED);
    assert_non_null(strstr(why.text, "raw flows"));

    question.tier = WEIR_TIER_AUTO;
    why.text[0] = '\0';
    assert_int_equal(agg_answer(&world.by, &question, weir_mono_ms(), NULL, &got, NULL, &why), WEIR_ETIMEOUT);
    assert_string_equal(why.text, weir_err_text(WEIR_ETIMEOUT));
    _Atomic bool cancelled = true;
    assert_int_equal(agg_answer(&world.by, &question, weir_mono_ms() + 1000, &cancelled, &got, NULL, &why),
                     WEIR_ECANCELLED);
    assert_int_equal(weir_question_set_filter(&question, "src ipp 1", 9), 0);
    assert_int_equal(agg_answer(&world.by, &question, weir_mono_ms() + 1000, NULL, &got, NULL, &why), WEIR_EFORMAT);
    assert_non_null(strstr(why.text, "column 5"));
    weir_question_fini(&question);
}

static void an_answer_survives_every_failing_allocation(void **state)
{
    (void)state;
    struct weir_question question = question_of(12, WEIR_SHAPE_TABLE);
    for (int64_t successes = 0;; successes += 1 + successes / 8) {
        struct weir_answer got;
        weir_mem_fail_after(successes);
        int rc = agg_answer(&world.by, &question, weir_mono_ms() + 60000, NULL, &got, NULL, NULL);
        bool failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        if (rc == 0) weir_answer_fini(&got);
        if (!failed) break;
        assert_int_equal(rc, WEIR_ENOMEM);
    }
    weir_question_fini(&question);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_what_counting_flow_by_flow_gives),
        cmocka_unit_test(series_are_what_counting_flow_by_flow_gives),
        cmocka_unit_test(flows_come_in_their_order_page_by_page),
        cmocka_unit_test(exporters_say_what_was_heard_and_lost),
        cmocka_unit_test(drops_explain_all_that_exporters_lost),
        cmocka_unit_test(shards_that_it_is_no_member_of_are_not_answered_and_the_answer_says_so),
        cmocka_unit_test(what_cannot_be_answered_says_why),
        cmocka_unit_test(an_answer_survives_every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, make_world, end_world);
}
