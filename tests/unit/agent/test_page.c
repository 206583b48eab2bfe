/** What the agent remembers of refusals, and the page that shows it. */
#include "agent/page.h"

#include "common/base/mem.h"

#include "tests/support/cmocka.h"

static struct weir_ip ip_of(uint32_t number)
{
    return (struct weir_ip){
        {[10] = 0xff, [11] = 0xff, 10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number}};
}

static void note(struct agent_refusals *refusals, uint32_t number, enum agent_refusal refusal, int64_t at_ms,
                 const char *datagram)
{
    struct agent_refused refused = {.at_ms = at_ms, .refusal = refusal, .protocol = AGENT_PROTOCOL_ipfix, .port = 4000};
    struct weir_ip ip = ip_of(number);
    agent_refusals_note(refusals, &ip, &refused, weir_view_text(datagram), false);
}

static const struct agent_refused_of *find(const struct agent_refusals *refusals, uint32_t number)
{
    struct weir_ip ip = ip_of(number);
    for (int i = 0; i < AGENT_REFUSALS_PLACES; i++) {
        const struct agent_refused_of *of = &refusals->places[i];
        if (of->total > 0 && weir_ip_equal(&of->ip, &ip)) return of;
    }
    return NULL;
}

static void the_last_examples_of_an_address_are_kept_and_all_are_counted(void **state)
{
    (void)state;
    struct agent_refusals *refusals = weir_calloc(1, sizeof *refusals);
    for (int n = 0; n < 10; n++)
        note(refusals, 1, n % 2 == 0 ? AGENT_REFUSAL_short : AGENT_REFUSAL_record, 1000 + n, "bytes");
    note(refusals, 2, AGENT_REFUSAL_NONE, 5000, "");
    const struct agent_refused_of *of = find(refusals, 1);
    assert_int_equal(of->total, 10);
    assert_int_equal(of->by[AGENT_REFUSAL_short], 5);
    assert_int_equal(of->by[AGENT_REFUSAL_record], 5);
    for (uint32_t back = 0; back < AGENT_REFUSED_EXAMPLES; back++)
        assert_int_equal(agent_refused_example(of, back)->at_ms, 1009 - back);
    assert_null(agent_refused_example(of, AGENT_REFUSED_EXAMPLES));
    assert_int_equal(agent_refused_example(of, 0)->excerpt, 5);
    assert_int_equal(find(refusals, 2)->by[AGENT_REFUSAL_NONE], 1);
    assert_null(agent_refused_example(find(refusals, 2), 1));
    weir_free(refusals);
}

static void many_senders_push_out_those_refused_longest_ago(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    struct agent_refusals *refusals = weir_calloc(1, sizeof *refusals);
    for (uint32_t n = 0; n < MANY; n++) {
        note(refusals, n, AGENT_REFUSAL_version, 1000 + n, "x");
        note(refusals, 0xffffff, AGENT_REFUSAL_version, 1000 + n, "x"); /* goes on, and stays */
    }
    assert_int_equal(find(refusals, 0xffffff)->total, MANY);
    assert_non_null(find(refusals, MANY - 1));
    assert_null(find(refusals, 0));
    size_t kept = 0;
    for (int i = 0; i < AGENT_REFUSALS_PLACES; i++)
        kept += refusals->places[i].total > 0;
    assert_int_equal(kept + refusals->forgotten, MANY + 1);

    uint64_t untold = 0;
    for (int i = 0; i < AGENT_REFUSALS_PLACES; i++)
        untold += refusals->places[i].untold[AGENT_REFUSAL_version].count;
    assert_int_equal(untold + refusals->untold, 2 * MANY);
    weir_free(refusals);
}

static void who_waits_longest_is_told_of_first_and_once(void **state)
{
    (void)state;
    struct agent_refusals *refusals = weir_calloc(1, sizeof *refusals);
    assert_null(agent_refusals_due(refusals, 900, 1000));
    note(refusals, 1, AGENT_REFUSAL_short, 1000, "x");
    note(refusals, 2, AGENT_REFUSAL_version, 1001, "x");
    note(refusals, 1, AGENT_REFUSAL_short, 1002, "x");
    note(refusals, 1, AGENT_REFUSAL_NONE, 1003, "x");
    assert_null(agent_refusals_due(refusals, 999, 2000));
    struct agent_refused_of *of = agent_refusals_due(refusals, 1001, 2000);
    assert_ptr_equal(of, find(refusals, 1));
    assert_int_equal(of->untold[AGENT_REFUSAL_short].count, 2);
    assert_int_equal(of->untold[AGENT_REFUSAL_short].first_ms, 1000);
    assert_int_equal(of->untold[AGENT_REFUSAL_short].last_ms, 1002);
    assert_int_equal(of->untold[AGENT_REFUSAL_NONE].count, 1);
    struct weir_drops drops;
    agent_refused_untold(of, &drops);
    assert_int_equal(drops.count, 2);
    assert_int_equal(drops.at[0].reason, WEIR_DROP_denied);
    assert_int_equal(drops.at[0].count, 1);
    assert_int_equal(drops.at[1].reason, WEIR_DROP_short);
    assert_int_equal(drops.at[1].count, 2);
    assert_int_equal(drops.at[1].first_ms, 1000);
    assert_int_equal(drops.at[1].last_ms, 1002);
    assert_int_equal(drops.at[1].example_ms, 1002);
    assert_int_equal(drops.at[1].bytes, 1);
    assert_int_equal(drops.at[1].head[0], 'x');
    agent_refused_tell(of);
    assert_ptr_equal(agent_refusals_due(refusals, 1001, 2000), find(refusals, 2));
    agent_refused_tell(agent_refusals_due(refusals, 1001, 2000));
    assert_null(agent_refusals_due(refusals, 1001, 2000));
    assert_int_equal(find(refusals, 1)->total, 3); /* for the page */

    /* The clock was put back: nobody waits for it to come there again. */
    note(refusals, 3, AGENT_REFUSAL_short, 9000, "x");
    assert_ptr_equal(agent_refusals_due(refusals, 1500, 2000), find(refusals, 3));
    weir_free(refusals);
}

static void the_page_shows_exporters_and_refusals(void **state)
{
    (void)state;
    struct agent_exporter_stat stat = {.source = {.exporter = ip_of(1), .domain = 7},
                                       .sender = ip_of(2),
                                       .protocol = WEIR_PROTOCOL_SFLOW5,
                                       .sampling_origin = WEIR_SAMPLING_RECORD,
                                       .sampling_one_in = 512,
                                       .datagrams = 3,
                                       .flows = 9,
                                       .loss = {.sequence_lost = 2, .undecodable = 1},
                                       .samples = {1, 10, 5120, 3, 1000, 990},
                                       .last_heard_ms = 1700000000000};
    struct agent_refusals *refusals = weir_calloc(1, sizeof *refusals);
    note(refusals, 2, AGENT_REFUSAL_short, 1700000001500, "\n\r");
    struct weir_buf page = WEIR_BUF_INIT;
    agent_page_exporters(&stat, 1, refusals, 1, &page);
    assert_string_equal(
        weir_buf_cstr(&page),
        "{\"exporters\":[{\"exporter\":\"10.0.0.1\",\"domain\":7,\"sender\":\"10.0.0.2\",\"protocol\":\"sflow5\","
        "\"heard\":\"2023-11-14T22:13:20.000Z\",\"datagrams\":3,\"flows\":9,\"templates\":0,\"sampling\":512,"
        "\"sampling_origin\":\"record\",\"lost\":{\"sequence\":2,\"template_missing\":0,\"undecodable\":1,"
        "\"socket_drops\":0},\"samples\":{\"datagrams_lost\":1,\"dropped\":3,\"taken\":10,\"pool\":5120,"
        "\"counted_octets\":1000,\"sampled_octets\":990}}],\"refused\":[{\"sender\":\"10.0.0.2\",\"by_reason\":{"
        "\"short\":1},\"last\":[{\"at\":"
        "\"2023-11-14T22:13:21.500Z\",\"protocol\":\"ipfix\",\"reason\":\"short\",\"meaning\":\"shorter than the "
        "header of its protocol\",\"port\":4000,\"bytes\":2,\"head\":\"0a0d\"}]}]}\n");
    weir_buf_fini(&page);
    weir_free(refusals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_examples_of_an_address_are_kept_and_all_are_counted),
        cmocka_unit_test(many_senders_push_out_those_refused_longest_ago),
        cmocka_unit_test(who_waits_longest_is_told_of_first_and_once),
        cmocka_unit_test(the_page_shows_exporters_and_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
