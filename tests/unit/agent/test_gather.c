#include "agent/gather.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include "tests/support/cmocka.h"

/** A sink that keeps the last batches it took, or refuses them all. */
struct kept {
    struct agent_pool *pool;
    bool refuses;
    bool returns; /* at once, as the agent does */
    int taken;
    uint64_t flows;
    uint32_t last_count;
    struct weir_batch *last;
};

static int keep(void *ctx, struct weir_batch **batch_p)
{
    struct kept *kept = ctx;
    if (kept->refuses) return WEIR_EFULL;
    agent_pool_give(kept->pool, &kept->last);
    kept->taken++;
    kept->flows += (*batch_p)->count;
    kept->last_count = (*batch_p)->count;
    if (kept->returns)
        agent_pool_give(kept->pool, batch_p);
    else
        kept->last = *batch_p;
    *batch_p = NULL;
    return 0;
}

struct fixture {
    struct kept kept;
    struct agent_pool *pool;
    struct agent_gather *gather;
    struct agent_stream *stream;
};

static const struct weir_source here = {.exporter = {{[10] = 0xff, 0xff, 192, 0, 2, 1}}, .domain = 7};

static void init(struct fixture *f, struct agent_gather_conf conf)
{
    *f = (struct fixture){0};
    assert_int_equal(agent_pool_create(4 << 20, &f->pool), 0);
    f->kept.pool = f->pool;
    struct agent_sink sink = {keep, &f->kept};
    assert_int_equal(agent_gather_create(&conf, f->pool, sink, &f->gather), 0);
    assert_int_equal(agent_gather_attach(f->gather, &here, &f->stream), 0);
}

static void fini(struct fixture *f)
{
    agent_gather_detach(f->gather, &f->stream);
    const struct agent_gather_counts *n = agent_gather_counted(f->gather);
    assert_int_equal(n->flows_in, n->flows_out + n->dropped_sink_full + n->dropped_no_memory);
    assert_int_equal(agent_gather_flows_open(f->gather), 0);
    agent_gather_destroy(f->gather);
    agent_pool_give(f->pool, &f->kept.last);
    agent_pool_destroy(f->pool);
}

static bool add(struct fixture *f, struct agent_stream *stream, uint32_t rows)
{
    struct weir_batch *batch = agent_gather_room(f->gather, stream, rows);
    if (batch == NULL) return false;
    uint64_t *bytes = weir_batch_touch(batch, WEIR_FIELD_bytes);
    for (uint32_t i = 0; i < rows; i++)
        bytes[batch->count + i] = 100;
    struct agent_gather_note note = {WEIR_PROTOCOL_NETFLOW5, 1000, 900};
    agent_gather_commit(f->gather, stream, rows, 1ull << WEIR_FIELD_bytes, &note);
    return true;
}

static void a_batch_closes_when_the_next_rows_do_not_fit(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, AGENT_GATHER_DEFAULTS);
    for (int i = 0; i < 136; i++)
        assert_true(add(&f, f.stream, 30));
    assert_int_equal(f.kept.taken, 0);
    assert_true(add(&f, f.stream, 30));
    assert_int_equal(f.kept.taken, 1);
    assert_int_equal(f.kept.last->count, 4080);
    assert_int_equal(f.kept.last->source.domain, 7);
    assert_int_equal(f.kept.last->first_received_ms, 1000);
    assert_int_equal(f.kept.last->last_export_ms, 900);
    assert_int_equal(weir_batch_sum(f.kept.last).bytes, 408000);
    assert_int_equal(f.stream->batch->count, 30);
    assert_int_equal(f.stream->batch->capacity, WEIR_BATCH_MOST); /* made for as many flows as the one before */
    fini(&f);
}

static void a_batch_says_what_was_said_of_its_source_last(void **state)
{
    (void)state;
    struct fixture f;
    const struct agent_gather_note heard = {WEIR_PROTOCOL_IPFIX, 1000, 900};
    init(&f, AGENT_GATHER_DEFAULTS);
    assert_true(add(&f, f.stream, 1));
    agent_gather_describe(f.stream, &(struct weir_health){.templates = 3, .has_skew = true, .skew_ms = -5}, &heard);
    agent_gather_describe(f.stream, &(struct weir_health){.templates = 4, .waiting = 2}, &heard);
    agent_gather_flush(f.gather);
    assert_int_equal(f.kept.last->health.templates, 4);
    assert_int_equal(f.kept.last->health.waiting, 2);
    assert_false(f.kept.last->health.has_skew);
    assert_true(add(&f, f.stream, 1));
    agent_gather_flush(f.gather);
    assert_int_equal(f.kept.last->health.templates, 4);
    fini(&f);
}

static void a_batch_that_lingered_is_closed_and_the_next_deadline_told(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, AGENT_GATHER_DEFAULTS);
    struct agent_stream *other = NULL;
    assert_int_equal(agent_gather_attach(f.gather, &here, &other), 0);
    assert_int_equal(agent_gather_tick(f.gather, 5000), -1);
    assert_true(add(&f, f.stream, 1));
    assert_int_equal(agent_gather_tick(f.gather, 5150), 50);
    assert_true(add(&f, other, 2));
    assert_int_equal(agent_gather_tick(f.gather, 5199), 1);
    assert_int_equal(f.kept.taken, 0);
    assert_int_equal(agent_gather_tick(f.gather, 5200), 150);
    assert_int_equal(f.kept.taken, 1);
    assert_int_equal(f.kept.last->count, 1);
    assert_null(f.stream->batch);
    assert_int_equal(agent_gather_tick(f.gather, 5350), -1);
    assert_int_equal(f.kept.taken, 2);
    agent_gather_detach(f.gather, &other);
    fini(&f);
}

static void a_refused_batch_is_counted_and_its_losses_travel_with_the_next(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, AGENT_GATHER_DEFAULTS);
    f.kept.refuses = true;
    agent_gather_lose(f.stream, &(struct weir_loss){.sequence_lost = 3});
    assert_true(add(&f, f.stream, 10));
    agent_gather_flush(f.gather);
    assert_int_equal(agent_gather_counted(f.gather)->dropped_sink_full, 10);
    f.kept.refuses = false;
    agent_gather_lose(f.stream, &(struct weir_loss){.sequence_lost = 1, .undecodable = 2});
    assert_true(add(&f, f.stream, 5));
    agent_gather_flush(f.gather);
    assert_int_equal(f.kept.last->count, 5);
    assert_int_equal(f.kept.last->loss.sequence_lost, 4);
    assert_int_equal(f.kept.last->loss.undecodable, 2);
    assert_true(add(&f, f.stream, 5));
    agent_gather_flush(f.gather);
    assert_int_equal(f.kept.last->loss.sequence_lost, 0);
    fini(&f);
}

/** Look at a stream that was heard last at @heard_ms, at a time; returns the batches that the sink has then. */
static int report_at(struct fixture *f, int64_t now_mono_ms, int64_t heard_ms)
{
    agent_gather_tick(f->gather, now_mono_ms);
    agent_gather_describe(f->stream, &(struct weir_health){.waiting = 6},
                          &(struct agent_gather_note){WEIR_PROTOCOL_IPFIX, heard_ms, heard_ms - 7});
    agent_gather_report(f->gather, f->stream);
    return f->kept.taken;
}

static void a_source_without_flows_is_reported_when_something_is_new_but_not_at_every_look(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, AGENT_GATHER_DEFAULTS);
    agent_gather_lose(f.stream, &(struct weir_loss){.template_missing = 3});
    assert_int_equal(report_at(&f, 4999, 70000), 0);
    agent_gather_lose(f.stream, &(struct weir_loss){.undecodable = 1});
    assert_int_equal(report_at(&f, 5000, 70001), 1);
    assert_int_equal(f.kept.last->count, 0);
    assert_int_equal(f.kept.last->source.domain, 7);
    assert_int_equal(f.kept.last->protocol, WEIR_PROTOCOL_IPFIX);
    assert_int_equal(f.kept.last->first_received_ms, 70001);
    assert_int_equal(f.kept.last->last_received_ms, 70001);
    assert_int_equal(f.kept.last->last_export_ms, 69994);
    assert_int_equal(f.kept.last->loss.template_missing, 3);
    assert_int_equal(f.kept.last->loss.undecodable, 1);
    assert_int_equal(f.kept.last->health.waiting, 6);
    assert_int_equal(report_at(&f, 20000, 70001), 1); /* nothing is new */
    assert_int_equal(report_at(&f, 20001, 70002), 2); /* it was heard */
    assert_false(weir_loss_any(&f.kept.last->loss));
    agent_gather_lose(f.stream, &(struct weir_loss){.sequence_lost = 1});
    assert_int_equal(report_at(&f, 25000, 70003), 2);
    assert_int_equal(report_at(&f, 25001, 70003), 3);
    assert_int_equal(agent_gather_counted(f.gather)->reports, 3);
    fini(&f);
    assert_int_equal(f.kept.taken, 3);
}

static void a_source_with_flows_needs_no_report(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, AGENT_GATHER_DEFAULTS);
    agent_gather_tick(f.gather, 9000);
    assert_true(add(&f, f.stream, 1)); /* received at 1000 */
    agent_gather_lose(f.stream, &(struct weir_loss){.sequence_lost = 1});
    agent_gather_report(f.gather, f.stream);
    assert_int_equal(f.kept.taken, 0);
    assert_int_equal(report_at(&f, 9200, 1000), 1);
    assert_int_equal(f.kept.last->loss.sequence_lost, 1);
    assert_int_equal(report_at(&f, 99000, 1000), 1);
    fini(&f);
}

static void a_report_that_finds_no_room_is_made_again_and_nothing_is_forgotten(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, AGENT_GATHER_DEFAULTS);
    f.kept.refuses = true;
    agent_gather_lose(f.stream, &(struct weir_loss){.sequence_lost = 2});
    assert_int_equal(report_at(&f, 5000, 70000), 0);
    const struct weir_loss loss = {.undecodable = 4};
    const struct agent_gather_note heard = {WEIR_PROTOCOL_UNKNOWN, 80000, 0};
    assert_false(agent_gather_report_of(f.gather, &here, &heard, &loss, NULL));
    f.kept.refuses = false;
    agent_gather_lose(f.stream, &(struct weir_loss){.sequence_lost = 3});
    assert_int_equal(report_at(&f, 9999, 70000), 0);
    assert_int_equal(report_at(&f, 10000, 70000), 1);
    assert_int_equal(f.kept.last->loss.sequence_lost, 5);
    assert_true(agent_gather_report_of(f.gather, &here, &heard, &loss, NULL));
    assert_int_equal(f.kept.last->loss.undecodable, 4);
    assert_int_equal(f.kept.last->last_received_ms, 80000);
    agent_gather_lose(f.stream, &(struct weir_loss){.socket_drops = 9});
    agent_gather_detach(f.gather, &f.stream); /* at once: there is no later */
    assert_int_equal(f.kept.last->loss.socket_drops, 9);
    fini(&f);
}

static void why_something_was_lost_travels_with_the_losses_until_it_is_taken(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, AGENT_GATHER_DEFAULTS);
    struct weir_drop drop = weir_drop_of(WEIR_DROP_count, 1000, weir_view_text("datagram"));
    agent_gather_lose(f.stream, &(struct weir_loss){.undecodable = 1});
    agent_gather_drop(f.gather, f.stream, &drop);
    f.kept.refuses = true;
    assert_true(add(&f, f.stream, 1));
    agent_gather_flush(f.gather);
    assert_int_equal(report_at(&f, 5000, 2000), 0);
    f.kept.refuses = false;
    agent_gather_drop(f.gather, f.stream, &drop);
    assert_true(add(&f, f.stream, 1));
    agent_gather_flush(f.gather);
    assert_int_equal(f.kept.last->drops.count, 1);
    assert_int_equal(f.kept.last->drops.at[0].reason, WEIR_DROP_count);
    assert_int_equal(f.kept.last->drops.at[0].count, 2);
    assert_true(add(&f, f.stream, 1));
    agent_gather_flush(f.gather);
    assert_int_equal(f.kept.last->drops.count, 0); /* told once */

    agent_gather_lose(f.stream, &(struct weir_loss){.undecodable = 1});
    agent_gather_drop(f.gather, f.stream, &drop);
    assert_int_equal(report_at(&f, 20000, 3000), 3);
    assert_int_equal(f.kept.last->count, 0);
    assert_int_equal(f.kept.last->drops.at[0].count, 1);
    fini(&f);
}

static void only_so_many_streams_say_why_and_all_say_how_much(void **state)
{
    (void)state;
    struct fixture f;
    struct agent_gather_conf conf = AGENT_GATHER_DEFAULTS;
    conf.most_drops = 1;
    init(&f, conf);
    struct agent_stream *other = NULL;
    assert_int_equal(agent_gather_attach(f.gather, &here, &other), 0);
    struct agent_stream *streams[] = {f.stream, other};
    struct weir_drop drop = weir_drop_of(WEIR_DROP_count, 1000, weir_view_text("datagram"));
    for (int i = 0; i < 2; i++) {
        agent_gather_lose(streams[i], &(struct weir_loss){.undecodable = 1});
        agent_gather_drop(f.gather, streams[i], &drop);
    }
    agent_gather_detach(f.gather, &other);
    assert_int_equal(f.kept.last->loss.undecodable, 1);
    assert_int_equal(f.kept.last->drops.count, 0);
    agent_gather_detach(f.gather, &f.stream);
    assert_int_equal(f.kept.last->drops.count, 1);
    assert_int_equal(agent_gather_attach(f.gather, &here, &f.stream), 0);
    agent_gather_lose(f.stream, &(struct weir_loss){.undecodable = 1});
    agent_gather_drop(f.gather, f.stream, &drop); /* the place is free again */
    agent_gather_detach(f.gather, &f.stream);
    assert_int_equal(f.kept.last->drops.count, 1);
    fini(&f);
}

static void a_stream_that_goes_away_hands_its_batch_over(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, AGENT_GATHER_DEFAULTS);
    assert_true(add(&f, f.stream, 9));
    agent_gather_detach(f.gather, &f.stream);
    assert_int_equal(f.kept.flows, 9);
    fini(&f);
}

static void a_thousand_sources_stay_inside_the_memory_they_were_given(void **state)
{
    (void)state;
    enum { SOURCES = 1000 };
    struct fixture f;
    init(&f, AGENT_GATHER_DEFAULTS);
    struct agent_pool_stats stats = agent_pool_stats(f.pool);
    assert_true(stats.most <= 4 << 20 && stats.most < SOURCES * agent_pool_batch_bytes(1) / 3);
    struct agent_stream *streams[SOURCES];
    for (int i = 0; i < SOURCES; i++)
        assert_int_equal(agent_gather_attach(f.gather, &here, &streams[i]), 0);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < SOURCES; i++) {
            assert_true(add(&f, streams[i], i == 5 ? 150 : 30));
            stats = agent_pool_stats(f.pool);
            assert_true(stats.taken + stats.idle <= stats.most);
            assert_true(streams[i]->batch->lent); /* not from elsewhere */
        }
    }
    assert_true(agent_gather_counted(f.gather)->batches_memory > 0);
    for (int i = 0; i < SOURCES; i++)
        agent_gather_detach(f.gather, &streams[i]);
    assert_int_equal(f.kept.flows, SOURCES * 20 * 30 + 20 * 120);
    fini(&f);
}

static void without_room_the_batch_that_is_open_for_longest_is_closed(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, AGENT_GATHER_DEFAULTS);
    f.kept.returns = true;
    struct weir_batch *whole[8] = {NULL};
    struct agent_stream *other = NULL;
    struct agent_stream *third = NULL;
    assert_int_equal(agent_gather_attach(f.gather, &here, &other), 0);
    assert_int_equal(agent_gather_attach(f.gather, &here, &third), 0);
    assert_true(add(&f, f.stream, 40));
    assert_true(add(&f, other, 50));
    for (int i = 0; i < 8; i++)
        (void)agent_pool_take(f.pool, WEIR_BATCH_MOST, &whole[i]);
    struct weir_batch *small[64] = {NULL};
    int smalls = 0;
    while (agent_pool_take(f.pool, 1, &small[smalls]) == 0)
        smalls++;
    assert_true(add(&f, third, 1));
    assert_int_equal(f.kept.taken, 1);
    assert_int_equal(f.kept.last_count, 40);
    assert_null(f.stream->batch);
    assert_non_null(other->batch);
    assert_int_equal(agent_gather_counted(f.gather)->batches_memory, 1);
    agent_gather_detach(f.gather, &other);
    agent_gather_detach(f.gather, &third);
    assert_int_equal(f.kept.flows, 91);
    for (int i = 0; i < 8; i++)
        agent_pool_give(f.pool, &whole[i]);
    for (int i = 0; i < smalls; i++)
        agent_pool_give(f.pool, &small[i]);
    fini(&f);
}

static void more_streams_than_allowed_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct agent_gather_conf conf = AGENT_GATHER_DEFAULTS;
    conf.most_streams = 1;
    init(&f, conf);
    struct agent_stream *other = NULL;
    assert_int_equal(agent_gather_attach(f.gather, &here, &other), WEIR_ELIMIT);
    agent_gather_detach(f.gather, &f.stream);
    assert_int_equal(agent_gather_attach(f.gather, &here, &f.stream), 0);
    fini(&f);
}

static void rows_that_find_no_memory_are_counted(void **state)
{
    (void)state;
    struct fixture f;
    init(&f, AGENT_GATHER_DEFAULTS);
    struct weir_batch *others[8] = {NULL}; /* hold all that the pool has */
    int count = 0;
    while (agent_pool_take(f.pool, WEIR_BATCH_MOST, &others[count]) == 0)
        count++;
    weir_mem_fail_after(0);
    assert_false(add(&f, f.stream, 30));
    weir_mem_fail_after(-1);
    assert_int_equal(agent_gather_counted(f.gather)->dropped_no_memory, 30);
    assert_true(add(&f, f.stream, 60)); /* from elsewhere */
    assert_true(add(&f, f.stream, 60)); /* cannot grow: closes, and another one opens */
    assert_int_equal(agent_gather_counted(f.gather)->batches_memory, 1);
    assert_int_equal(f.kept.flows, 60);
    agent_gather_flush(f.gather);
    agent_gather_lose(f.stream, &(struct weir_loss){.sequence_lost = 1});
    assert_int_equal(report_at(&f, 99000, 70000), 3); /* a report finds a place, too */
    for (int i = 0; i < count; i++)
        agent_pool_give(f.pool, &others[i]);
    fini(&f);
}

static void values_of_extra_columns_are_bounded_too(void **state)
{
    (void)state;
    struct fixture f;
    struct agent_gather_conf conf = AGENT_GATHER_DEFAULTS;
    conf.most_extra_bytes = 1000;
    init(&f, conf);
    struct agent_stream *other = NULL;
    assert_int_equal(agent_gather_attach(f.gather, &here, &other), 0);
    const struct agent_gather_note note = {WEIR_PROTOCOL_IPFIX, 1000, 900};
    struct agent_stream *streams[] = {f.stream, other};
    for (int i = 0; i < 40; i++) {
        assert_non_null(agent_gather_room_extra(f.gather, streams[i % 2], 1, 300));
        agent_gather_commit(f.gather, streams[i % 2], 1, 0, &note);
        assert_true(agent_gather_extra_bytes(f.gather) <= conf.most_extra_bytes);
    }
    assert_true(agent_gather_counted(f.gather)->batches_memory > 0);
    assert_non_null(agent_gather_room_extra(f.gather, other, 1, 5000)); /* one alone may be larger */
    agent_gather_commit(f.gather, other, 1, 0, &note);
    agent_gather_detach(f.gather, &other);
    agent_gather_flush(f.gather);
    assert_int_equal(agent_gather_extra_bytes(f.gather), 0);
    assert_int_equal(f.kept.flows, 41);
    fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_closes_when_the_next_rows_do_not_fit),
        cmocka_unit_test(a_batch_says_what_was_said_of_its_source_last),
        cmocka_unit_test(a_batch_that_lingered_is_closed_and_the_next_deadline_told),
        cmocka_unit_test(a_refused_batch_is_counted_and_its_losses_travel_with_the_next),
        cmocka_unit_test(a_source_without_flows_is_reported_when_something_is_new_but_not_at_every_look),
        cmocka_unit_test(a_source_with_flows_needs_no_report),
        cmocka_unit_test(a_report_that_finds_no_room_is_made_again_and_nothing_is_forgotten),
        cmocka_unit_test(why_something_was_lost_travels_with_the_losses_until_it_is_taken),
        cmocka_unit_test(only_so_many_streams_say_why_and_all_say_how_much),
        cmocka_unit_test(a_stream_that_goes_away_hands_its_batch_over),
        cmocka_unit_test(a_thousand_sources_stay_inside_the_memory_they_were_given),
        cmocka_unit_test(without_room_the_batch_that_is_open_for_longest_is_closed),
        cmocka_unit_test(more_streams_than_allowed_are_refused),
        cmocka_unit_test(rows_that_find_no_memory_are_counted),
        cmocka_unit_test(values_of_extra_columns_are_bounded_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
