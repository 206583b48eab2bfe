#include "common/base/buf.h"
#include "common/base/mem.h"
#include "common/flow/answer.h"

#include "tests/support/cmocka.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A small generator with a seed of its own: the same flows in every run. */
static uint64_t next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void question_of(struct weir_question *question, enum weir_shape shape)
{
    weir_question_init(question);
    question->shape = shape;
    question->from_ms = 0;
    question->to_ms = 3600000;
    question->limit = 20;
    if (shape == WEIR_SHAPE_TABLE || shape == WEIR_SHAPE_SERIES) {
        question->dim_count = 2;
        question->dims[0] = WEIR_DIM_site;
        question->dims[1] = WEIR_DIM_src_port;
    }
    if (shape == WEIR_SHAPE_SERIES) question->step_ms = 60000;
}

/** Put one made-up flow into @answer, as an aggregator does. */
static void put(struct weir_answer *answer, uint64_t number)
{
    static const char *const sites[] = {"fra", "nyc", "sin"};
    uint64_t seed = number * 0x9e3779b97f4a7c15ull + 1;
    next_random(&seed);
    const char *site = sites[next_random(&seed) % 3];
    uint32_t port = (uint32_t)(next_random(&seed) % 40);
    struct weir_counts counts =
        weir_counts_of(1, 1 + next_random(&seed) % 100, next_random(&seed) % 100000, number % 5 == 0 ? 100 : 1);
    int64_t time_ms = (int64_t)(next_random(&seed) % 60) * 60000;
    int64_t name = weir_answer_name(answer, site);
    assert_true(name > 0);

    if (answer->shape == WEIR_SHAPE_TABLE || answer->shape == WEIR_SHAPE_SERIES) {
        union weir_value key[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
        key[0].number = (uint64_t)name;
        key[1].number = port;
        assert_int_equal(weir_answer_count(answer, key, answer->step_ms == 0 ? 0 : time_ms, &counts), 0);
    } else if (answer->shape == WEIR_SHAPE_FLOWS) {
        struct weir_answer_flow flow = {.place = {.time_ms = time_ms, .block = number}, .site = (uint32_t)name};
        flow.flow.bytes = counts.bytes;
        assert_int_equal(weir_answer_add_flow(answer, &flow), 0);
    } else if (answer->shape == WEIR_SHAPE_EXPORTERS) {
        struct weir_answer_exporter exporter = {.source = {.domain = port},
                                                .site = (uint32_t)name,
                                                .flows = 1,
                                                .bytes = counts.bytes,
                                                .lost = {.sequence = number % 3},
                                                .first_heard_ms = 1 + (int64_t)number,
                                                .last_heard_ms = 1 + (int64_t)number};
        assert_int_equal(weir_answer_add_exporter(answer, &exporter), 0);
    } else if (answer->shape == WEIR_SHAPE_DROPS) {
        struct weir_answer_drop drop = {
            .source = {.domain = port % 5},
            .site = (uint32_t)name,
            .drop = weir_drop_of((enum weir_drop_reason)(1 + number % 4), 1 + (int64_t)number, weir_view_text(site))};
        assert_int_equal(weir_answer_add_drop(answer, &drop), 0);
    }
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/** Everything an answer says, as text with names for their indices; exporters have no order of their own. */
static char *said(const struct weir_answer *answer)
{
    struct weir_buf out = WEIR_BUF_INIT;
    weir_buf_printf(&out, "total %llu %llu %llu scaled %llu var %.6e other %llu bound %llu more %d\n",
                    (unsigned long long)answer->total.flows, (unsigned long long)answer->total.packets,
                    (unsigned long long)answer->total.bytes, (unsigned long long)answer->total.scaled_bytes,
                    answer->total.bytes_variance, (unsigned long long)answer->other.bytes,
                    (unsigned long long)answer->error_bound, answer->more);
    for (size_t i = 0; i < answer->row_count; i++) {
        const struct weir_answer_row *row = &answer->rows[i];
        weir_buf_printf(
            &out, "%s %llu @%lld: %llu %llu %.6e\n", weir_answer_name_at(answer, (uint32_t)row->key[0].number),
            (unsigned long long)row->key[1].number, (long long)row->time_ms, (unsigned long long)row->counts.bytes,
            (unsigned long long)row->counts.scaled_packets, row->counts.packets_variance);
    }
    for (size_t i = 0; i < answer->flow_count; i++) {
        const struct weir_answer_flow *flow = &answer->flows[i];
        weir_buf_printf(&out, "flow %lld %llu %s %llu\n", (long long)flow->place.time_ms,
                        (unsigned long long)flow->place.block, weir_answer_name_at(answer, flow->site),
                        (unsigned long long)flow->flow.bytes);
    }
    char *lines[256];
    assert_true(answer->exporter_count + answer->drop_count < 256);
    for (size_t i = 0; i < answer->exporter_count; i++) {
        const struct weir_answer_exporter *exporter = &answer->exporters[i];
        struct weir_buf line = WEIR_BUF_INIT;
        weir_buf_printf(&line, "%s %u: %llu %llu %llu %lld %lld\n", weir_answer_name_at(answer, exporter->site),
                        exporter->source.domain, (unsigned long long)exporter->flows,
                        (unsigned long long)exporter->bytes, (unsigned long long)exporter->lost.sequence,
                        (long long)exporter->first_heard_ms, (long long)exporter->last_heard_ms);
        lines[i] = weir_strdup(weir_buf_cstr(&line));
        weir_buf_fini(&line);
    }
    for (size_t i = 0; i < answer->drop_count; i++) {
        const struct weir_answer_drop *row = &answer->drops[i];
        struct weir_buf line = WEIR_BUF_INIT;
        weir_buf_printf(&line, "%s %u %u: %llu %lld %lld %lld %.*s\n", weir_answer_name_at(answer, row->site),
                        row->source.domain, row->drop.reason, (unsigned long long)row->drop.count,
                        (long long)row->drop.first_ms, (long long)row->drop.last_ms, (long long)row->drop.example_ms,
                        row->drop.head_size, (const char *)row->drop.head);
        lines[answer->exporter_count + i] = weir_strdup(weir_buf_cstr(&line));
        weir_buf_fini(&line);
    }
    size_t count = answer->exporter_count + answer->drop_count;
    qsort(lines, count, sizeof *lines, compare_texts);
    for (size_t i = 0; i < count; i++) {
        weir_buf_text(&out, lines[i]);
        weir_free(lines[i]);
    }
    char *text = weir_strdup(weir_buf_cstr(&out));
    weir_buf_fini(&out);
    return text;
}

enum { FLOWS = 3000, PARTS = 4 };

/** However the flows are split among aggregators, and whether those ranked theirs or not, the merged answer is one. */
static void merging_any_split_equals_computing_at_once(void **state)
{
    (void)state;
    static const enum weir_shape shapes[] = {WEIR_SHAPE_TABLE, WEIR_SHAPE_SERIES, WEIR_SHAPE_FLOWS,
                                             WEIR_SHAPE_EXPORTERS, WEIR_SHAPE_DROPS};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        for (uint64_t split = 1; split <= 6; split++) {
            struct weir_question question;
            question_of(&question, shapes[s]);
            question.ascending = split % 2 == 0;
            struct weir_answer whole;
            struct weir_answer merged;
            struct weir_answer part[PARTS];
            assert_int_equal(weir_answer_init(&whole, &question), 0);
            assert_int_equal(weir_answer_init(&merged, &question), 0);
            for (int p = 0; p < PARTS; p++)
                assert_int_equal(weir_answer_init(&part[p], &question), 0);
            uint64_t seed = split;
            for (uint64_t i = 0; i < FLOWS; i++) {
                put(&whole, i);
                put(&part[next_random(&seed) % (split > 4 ? 2 : PARTS)], i); /* some parts stay empty */
            }
            for (int p = 0; p < PARTS; p++) {
                if (p % 2 == 0) assert_int_equal(weir_answer_rank(&part[p], 100000, true), 0);
                assert_int_equal(weir_answer_merge(&merged, &part[p]), 0);
            }
            assert_int_equal(weir_answer_rank(&merged, question.limit, false), 0);
            assert_int_equal(weir_answer_rank(&whole, question.limit, false), 0);
            char *expected = said(&whole);
            char *got = said(&merged);
            assert_string_equal(got, expected);
            assert_true(strlen(got) > 100);
            weir_free(expected);
            weir_free(got);
            weir_answer_fini(&whole);
            weir_answer_fini(&merged);
            for (int p = 0; p < PARTS; p++)
                weir_answer_fini(&part[p]);
        }
    }
}

static void ranking_again_after_adding_keeps_every_sum(void **state)
{
    (void)state;
    struct weir_question question;
    question_of(&question, WEIR_SHAPE_TABLE);
    struct weir_answer once;
    struct weir_answer twice;
    assert_int_equal(weir_answer_init(&once, &question), 0);
    assert_int_equal(weir_answer_init(&twice, &question), 0);
    for (uint64_t i = 0; i < 500; i++) {
        put(&once, i);
        put(&twice, i);
        if (i == 250) assert_int_equal(weir_answer_rank(&twice, 1000, false), 0);
    }
    assert_int_equal(weir_answer_rank(&once, 10, false), 0);
    assert_int_equal(weir_answer_rank(&twice, 10, false), 0);
    assert_int_equal(once.row_count, 10);
    uint64_t sum = once.other.bytes;
    for (size_t i = 0; i < once.row_count; i++)
        sum += once.rows[i].counts.bytes;
    assert_int_equal(sum, once.total.bytes);
    char *expected = said(&once);
    char *got = said(&twice);
    assert_string_equal(got, expected);
    weir_free(expected);
    weir_free(got);
    weir_answer_fini(&once);
    weir_answer_fini(&twice);
}

/** No count of a merged top is further from the truth than the bound that came with it, and the bound is not nothing. */
static void a_two_level_top_stays_within_its_error_bound(void **state)
{
    (void)state;
    struct weir_question question;
    weir_question_init(&question);
    question.to_ms = 1;
    question.dim_count = 1;
    question.dims[0] = WEIR_DIM_src_port;
    question.order = WEIR_METRIC_OF_BYTES;
    struct weir_answer merged;
    assert_int_equal(weir_answer_init(&merged, &question), 0);
    static uint64_t truth[5000];
    memset(truth, 0, sizeof truth);
    uint64_t seed = 7;
    for (int p = 0; p < PARTS; p++) {
        struct weir_answer part;
        assert_int_equal(weir_answer_init(&part, &question), 0);
        for (int i = 0; i < 20000; i++) {
            uint64_t port = next_random(&seed) % (1 + next_random(&seed) % 5000);
            union weir_value key[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
            key[0].number = port;
            struct weir_counts counts = weir_counts_of(1, 1, 1 + next_random(&seed) % 1000, 1);
            truth[port] += counts.bytes;
            assert_int_equal(weir_answer_count(&part, key, 0, &counts), 0);
        }
        assert_int_equal(weir_answer_rank(&part, weir_question_partial_limit(&question), true), 0);
        assert_int_equal(part.row_count, 500);
        assert_true(part.error_bound > 0);
        assert_int_equal(weir_answer_merge(&merged, &part), 0);
        weir_answer_fini(&part);
    }
    assert_int_equal(weir_answer_rank(&merged, question.limit, false), 0);
    assert_int_equal(merged.row_count, question.limit);
    uint64_t sum = merged.other.bytes;
    for (size_t i = 0; i < merged.row_count; i++) {
        uint64_t port = merged.rows[i].key[0].number;
        assert_true(merged.rows[i].counts.bytes <= truth[port]);
        assert_true(truth[port] - merged.rows[i].counts.bytes <= merged.error_bound);
        sum += merged.rows[i].counts.bytes;
    }
    assert_int_equal(sum, merged.total.bytes);
    weir_answer_fini(&merged);
}

static void groups_that_lie_in_one_shard_have_no_error(void **state)
{
    (void)state;
    struct weir_question question;
    weir_question_init(&question);
    question.dim_count = 2;
    question.dims[0] = WEIR_DIM_domain;
    question.dims[1] = WEIR_DIM_exporter;
    struct weir_answer answer;
    assert_int_equal(weir_answer_init(&answer, &question), 0);
    for (uint64_t i = 0; i < 100; i++) {
        union weir_value key[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
        key[0].number = i;
        struct weir_counts counts = weir_counts_of(1, 1, i, 1);
        assert_int_equal(weir_answer_count(&answer, key, 0, &counts), 0);
    }
    assert_int_equal(weir_answer_rank(&answer, 10, true), 0);
    assert_int_equal(answer.row_count, 10);
    assert_int_equal(answer.rows[0].counts.bytes, 99);
    assert_int_equal(answer.error_bound, 0);
    weir_answer_fini(&answer);
}

static void picked_groups_are_kept_apart_and_the_rest_is_other(void **state)
{
    (void)state;
    struct weir_question question;
    question_of(&question, WEIR_SHAPE_SERIES);
    union weir_value key[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
    key[1].number = 7;
    const char *names[WEIR_QUESTION_DIMS_MOST] = {"nyc"};
    assert_int_equal(weir_question_pick(&question, key, names), 0);
    struct weir_question copy;
    assert_int_equal(weir_question_copy(&copy, &question), 0);

    struct weir_answer answer;
    assert_int_equal(weir_answer_init(&answer, &copy), 0);
    for (uint64_t i = 0; i < FLOWS; i++)
        put(&answer, i);
    assert_int_equal(weir_answer_rank(&answer, 20, true), 0);
    assert_true(answer.row_count > 1);
    uint64_t sum = answer.other.bytes;
    for (size_t i = 0; i < answer.row_count; i++) {
        assert_string_equal(weir_answer_name_at(&answer, (uint32_t)answer.rows[i].key[0].number), "nyc");
        assert_int_equal(answer.rows[i].key[1].number, 7);
        if (i > 0) assert_true(answer.rows[i].time_ms > answer.rows[i - 1].time_ms);
        sum += answer.rows[i].counts.bytes;
    }
    assert_int_equal(sum, answer.total.bytes);
    weir_answer_fini(&answer);
    weir_question_fini(&copy);
    weir_question_fini(&question);
}

static void groups_past_the_limit_are_summed_and_bounded(void **state)
{
    (void)state;
    struct weir_question question;
    weir_question_init(&question);
    question.dim_count = 1;
    question.dims[0] = WEIR_DIM_src_as;
    struct weir_answer answer;
    assert_int_equal(weir_answer_init(&answer, &question), 0);
    for (uint64_t i = 0; i < WEIR_QUESTION_GROUPS_MOST + 10; i++) {
        union weir_value key[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
        key[0].number = i;
        struct weir_counts counts = weir_counts_of(1, 1, 5, 1);
        assert_int_equal(weir_answer_count(&answer, key, 0, &counts), 0);
    }
    assert_int_equal(answer.groups.count, WEIR_QUESTION_GROUPS_MOST);
    assert_int_equal(answer.other.flows, 10);
    assert_int_equal(answer.error_bound, 50);
    assert_int_equal(answer.total.flows, WEIR_QUESTION_GROUPS_MOST + 10);
    assert_true(answer.coverage.clipped);
    weir_answer_fini(&answer);
}

static void scaled_counts_carry_their_variance(void **state)
{
    (void)state;
    struct weir_counts counts = weir_counts_of(3, 100, 50000, 10);
    assert_int_equal(counts.packets, 100);
    assert_int_equal(counts.scaled_packets, 1000);
    assert_int_equal(counts.scaled_bytes, 500000);
    assert_true(fabs(counts.packets_variance - 10.0 * 9 * 100) < 1e-6);
    assert_true(fabs(counts.bytes_variance - 10.0 * 9 * 500 * 500 * 100) < 1e-3);
    assert_int_equal(weir_interval95(counts.packets_variance), 186); /* 1.96 x sqrt(9000) = 185.9 */
    assert_true(weir_counts_of(1, 5, 5, 0).packets_variance == 0);
    assert_int_equal(weir_counts_of(1, 5, 7, 0).scaled_bytes, 7);
}

static void running_out_of_memory_is_said_and_leaks_nothing(void **state)
{
    (void)state;
    struct weir_question question;
    question_of(&question, WEIR_SHAPE_SERIES);
    assert_int_equal(weir_question_set_filter(&question, "any", 3), 0);
    union weir_value key[WEIR_QUESTION_DIMS_MOST] = {{.bytes = {0}}};
    const char *names[WEIR_QUESTION_DIMS_MOST] = {"fra"};
    assert_int_equal(weir_question_pick(&question, key, names), 0);
    int64_t successes = 0;
    for (bool failed = true; failed; successes++) {
        assert_true(successes < 200);
        weir_mem_fail_after(successes);
        struct weir_question copy;
        struct weir_answer answer;
        int rc = weir_question_copy(&copy, &question);
        if (rc == 0) {
            rc = weir_answer_init(&answer, &copy);
            if (rc == 0) {
                struct weir_counts counts = weir_counts_of(1, 1, 1, 1);
                struct weir_answer_source source = {.ok = true};
                struct weir_answer_node node = {.up = true};
                rc = weir_answer_count(&answer, key, 0, &counts);
                if (rc == 0) rc = weir_answer_name(&answer, "a") < 0 ? WEIR_ENOMEM : 0;
                if (rc == 0) rc = weir_answer_add_source(&answer, &source);
                if (rc == 0) rc = weir_answer_add_node(&answer, &node);
                struct weir_answer_exporter exporter = {.flows = 1};
                if (rc == 0) rc = weir_answer_add_exporter(&answer, &exporter);
                if (rc == 0) rc = weir_answer_rank(&answer, 10, false);
                struct weir_answer into;
                if (rc == 0) rc = weir_answer_init(&into, &copy);
                if (rc == 0) {
                    rc = weir_answer_merge(&into, &answer);
                    weir_answer_fini(&into);
                }
                weir_answer_fini(&answer);
            }
            weir_question_fini(&copy);
        }
        failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
    }
    weir_question_fini(&question);
}

static void a_question_that_cannot_be_answered_says_why(void **state)
{
    (void)state;
    struct weir_why why;
    struct weir_question good;
    question_of(&good, WEIR_SHAPE_SERIES);
    assert_int_equal(weir_question_check(&good, &why), 0);

    struct weir_question bad = good;
    bad.to_ms = bad.from_ms;
    assert_int_equal(weir_question_check(&bad, &why), WEIR_EPARAM);
    bad = good;
    bad.limit = 10001;
    assert_int_equal(weir_question_check(&bad, &why), WEIR_ELIMIT);
    bad = good;
    bad.step_ms = 0;
    assert_int_equal(weir_question_check(&bad, &why), WEIR_EPARAM);
    bad = good;
    bad.to_ms = 1000ll * 3600 * 24 * 365;
    bad.step_ms = 1000;
    assert_int_equal(weir_question_check(&bad, &why), WEIR_ELIMIT);
    bad = good;
    bad.limit = 10000;
    bad.step_ms = 1000;
    assert_int_equal(weir_question_check(&bad, &why), WEIR_ELIMIT);
    assert_non_null(strstr(why.text, "10000 groups"));
    bad = good;
    bad.dims[1] = bad.dims[0];
    assert_int_equal(weir_question_check(&bad, &why), WEIR_EPARAM);
    bad = good;
    bad.dims[0] = WEIR_DIM_ip;
    bad.dims[1] = WEIR_DIM_port;
    assert_int_equal(weir_question_check(&bad, &why), WEIR_EPARAM);
    bad = good;
    bad.shape = WEIR_SHAPE_FLOWS;
    assert_int_equal(weir_question_check(&bad, &why), WEIR_EPARAM);
    bad = good;
    bad.deadline_ms = 0;
    assert_int_equal(weir_question_check(&bad, &why), WEIR_ELIMIT);
    assert_int_equal(weir_metric_of_name("BPS"), WEIR_METRIC_OF_BYTES);
    assert_string_equal(weir_metric_name(WEIR_METRIC_OF_PACKETS), "packets");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(merging_any_split_equals_computing_at_once),
        cmocka_unit_test(ranking_again_after_adding_keeps_every_sum),
        cmocka_unit_test(a_two_level_top_stays_within_its_error_bound),
        cmocka_unit_test(groups_that_lie_in_one_shard_have_no_error),
        cmocka_unit_test(picked_groups_are_kept_apart_and_the_rest_is_other),
        cmocka_unit_test(groups_past_the_limit_are_summed_and_bounded),
        cmocka_unit_test(scaled_counts_carry_their_variance),
        cmocka_unit_test(running_out_of_memory_is_said_and_leaks_nothing),
        cmocka_unit_test(a_question_that_cannot_be_answered_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
