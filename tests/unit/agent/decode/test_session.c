/** Templates, samplers and sequence numbers of an exporter that speaks from several ports (RFC 7011 8, 3.1). */
#include "tests/support/decoder_test.h"

#include "tests/support/cmocka.h"

static const uint16_t bytes_packets[] = {1, 4, 2, 4};
static const uint16_t packets_bytes[] = {2, 4, 1, 4};

static void send_template(uint32_t port, const uint16_t *elements, int64_t now_ms)
{
    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, elements, 2);
    assert_int_equal(input_take_by(&input, port, message_end(&m), now_ms), AGENT_REFUSAL_NONE);
}

static void send_data(uint32_t port, uint32_t sequence, uint32_t first, uint32_t second, int64_t now_ms)
{
    message_ipfix(&m, 1700000000, sequence, 7);
    message_set(&m, 256);
    message_u32(&m, first);
    message_u32(&m, second);
    assert_int_equal(input_take_by(&input, port, message_end(&m), now_ms), AGENT_REFUSAL_NONE);
}

static void two_processes_of_a_host_mean_different_things_by_one_id(void **state)
{
    (void)state;
    send_template(1001, bytes_packets, 1000);
    send_template(1002, packets_bytes, 1001);
    send_data(1001, 0, 1500, 3, 1002);
    send_data(1002, 0, 3, 1500, 1003);
    assert_int_equal(input_flush(&input), 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(input_flow(&input, i).bytes, 1500);
        assert_int_equal(input_flow(&input, i).packets, 3);
    }
    assert_int_equal(INPUT_COUNT(&input, templates_changed), 0);
}

static void batches_tell_the_templates_of_all_processes_of_a_host_and_its_clock(void **state)
{
    (void)state;
    send_template(1001, bytes_packets, 1700000090000);
    send_template(1002, packets_bytes, 1700000090000);
    send_data(1001, 0, 1500, 3, 1700000090000); /* exported by a clock that is 90 s late */
    message_ipfix(&m, 1700000000, 1, 7);
    message_set(&m, 300); /* nobody said what that is */
    message_u32(&m, 1);
    assert_int_equal(input_take_by(&input, 1001, message_end(&m), 1700000090000), AGENT_REFUSAL_NONE);
    agent_decoder_tick(input.decoder, 1700000091000);
    assert_int_equal(input_flush(&input), 1);
    const struct weir_health *health = &input.batches[0]->health;
    assert_int_equal(health->templates, 2);
    assert_int_equal(health->waiting, 1);
    assert_true(health->has_skew);
    assert_int_equal(health->skew_ms, -90000);
}

static void data_of_a_process_beside_another_waits_for_its_own_template(void **state)
{
    (void)state;
    send_template(1001, bytes_packets, 1000);
    send_data(1002, 0, 3, 1500, 1001);
    send_data(1001, 0, 1500, 3, 20000); /* the first goes on: the second is no successor of it */
    send_data(1002, 1, 3, 1500, 50000);
    send_template(1002, packets_bytes, 50001);
    assert_int_equal(INPUT_COUNT(&input, templates_inherited), 0);
    assert_int_equal(input_flush(&input), 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(input_flow(&input, i).bytes, 1500);
}

static void an_exporter_that_comes_back_on_another_port_needs_no_new_template(void **state)
{
    (void)state;
    send_template(1001, bytes_packets, 1000);
    send_data(1001, 0, 1500, 3, 1001);
    send_data(40001, 0, 4500, 9, 60000);
    assert_int_equal(input_flush(&input), 2);
    assert_int_equal(input_flow(&input, 1).bytes, 4500);
    assert_int_equal(INPUT_COUNT(&input, templates_inherited), 1);
    assert_int_equal(input.loss.sequence_lost, 0);
}

static void data_that_waits_for_a_template_is_decoded_once_the_port_before_is_silent(void **state)
{
    (void)state;
    send_template(1001, bytes_packets, 1000);
    send_data(1001, 0, 1500, 3, 1001);
    send_data(40001, 0, 4500, 9, 2000); /* may be a process beside the first */
    assert_int_equal(INPUT_COUNT(&input, sets_parked), 1);
    send_data(40001, 1, 4500, 9, 32000);
    assert_int_equal(INPUT_COUNT(&input, sets_replayed), 1);
    assert_int_equal(input_flush(&input), 3);

    send_template(1001, packets_bytes, 1000000);
    send_data(40002, 0, 5, 600, 1000001);
    agent_decoder_tick(input.decoder, 1000001 + 300001);
    assert_int_equal(input_flush(&input), 4);
    assert_int_equal(input_flow(&input, 3).bytes, 600);
    assert_int_equal(INPUT_COUNT(&input, sets_missing), 0);
}

static void a_template_that_does_not_fit_the_data_is_not_inherited(void **state)
{
    (void)state;
    const uint16_t large[] = {1, 8, 2, 8};
    send_template(1001, large, 1000);
    send_data(40001, 0, 3, 1500, 60000);
    assert_int_equal(INPUT_COUNT(&input, templates_inherited), 0);
    send_template(40001, packets_bytes, 60001);
    assert_int_equal(input_flush(&input), 1);
    assert_int_equal(input_flow(&input, 0).bytes, 1500);
}

static void sequences_of_two_ports_are_two_sequences(void **state)
{
    (void)state;
    send_template(1001, bytes_packets, 1000);
    send_template(1002, bytes_packets, 1000);
    for (uint32_t i = 0; i < 100; i++) {
        send_data(1001, i, 1500, 3, 1000 + i);
        send_data(1002, i, 1500, 3, 1000 + i);
    }
    agent_decoder_tick(input.decoder, 10000000);
    assert_int_equal(INPUT_COUNT(&input, sequence_lost), 0);
    assert_int_equal(INPUT_COUNT(&input, sequence_restarts), 0);
    assert_int_equal(INPUT_COUNT(&input, sequence_duplicate), 0);
}

static void an_exporter_that_sends_from_ever_new_ports_is_one_session(void **state)
{
    (void)state;
    send_template(2000, bytes_packets, 1000);
    for (uint32_t i = 0; i < 5000; i++)
        send_data(2001 + i, i, 1500, 3, 1001 + i);
    agent_decoder_tick(input.decoder, 10000000);
    assert_int_equal(input_flush(&input), 5000);
    assert_int_equal(INPUT_COUNT(&input, sessions_joined), 1);
    assert_int_equal(INPUT_COUNT(&input, sequence_lost), 0);
    assert_int_equal(INPUT_COUNT(&input, sets_missing), 0);
    struct agent_exporter_stat stat;
    assert_int_equal(agent_decoder_exporters(input.decoder, &stat, 1), 1);
    assert_int_equal(stat.templates, 1);
}

static void an_exporter_that_restarts_often_does_not_run_out_of_sessions(void **state)
{
    (void)state;
    int64_t now_ms = 1000;
    send_template(2000, bytes_packets, now_ms);
    for (uint32_t i = 0; i < 300; i++) {
        now_ms += 3600000;
        send_data(2001 + i, 0, 1500, 3, now_ms);
    }
    assert_int_equal(input_flush(&input), 300);
    assert_int_equal(INPUT_COUNT(&input, sessions_joined), 0);
}

static void samplers_are_known_whichever_port_told_of_them(void **state)
{
    (void)state;
    /* selector id is the scope (302), then packet interval and space (305, 306) */
    message_ipfix(&m, 1700000000, 0, 7);
    message_options(&m, 300, (const uint16_t[]){302, 8, 305, 4, 306, 4}, 3, 1);
    message_set(&m, 300);
    message_u32(&m, 0), message_u32(&m, 5), message_u32(&m, 1), message_u32(&m, 99);
    input_take_by(&input, 1001, message_end(&m), 1000);

    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, (const uint16_t[]){1, 4, 302, 4}, 2);
    message_set(&m, 256);
    message_u32(&m, 1500), message_u32(&m, 5);
    input_take_by(&input, 1002, message_end(&m), 1001);
    assert_int_equal(input_flow(&input, 0).sampling_one_in, 100);
    assert_int_equal(input_flow(&input, 0).sampling_origin, WEIR_SAMPLING_SAMPLER);
}

static void the_templates_of_a_connection_end_with_it_and_are_nobody_elses(void **state)
{
    (void)state;
    const uint32_t connection = AGENT_SESSION_CONNECTION + 1;
    send_template(connection, bytes_packets, 1000);
    send_data(connection, 0, 1500, 3, 1001);
    send_data(1001, 0, 1500, 3, 1002);
    send_data(connection + 1, 0, 1500, 3, 1003);
    assert_int_equal(input_flush(&input), 1);
    struct agent_peer peer = {.session = connection};
    weir_ip_parse("192.0.2.1", &peer.ip);
    agent_decoder_session_end(input.decoder, &peer);
    send_data(connection, 1, 1500, 3, 1004);
    assert_int_equal(input_flush(&input), 1);
    assert_int_equal(INPUT_COUNT(&input, sets_parked), 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(two_processes_of_a_host_mean_different_things_by_one_id),
        TEST(batches_tell_the_templates_of_all_processes_of_a_host_and_its_clock),
        TEST(data_of_a_process_beside_another_waits_for_its_own_template),
        TEST(an_exporter_that_comes_back_on_another_port_needs_no_new_template),
        TEST(data_that_waits_for_a_template_is_decoded_once_the_port_before_is_silent),
        TEST(a_template_that_does_not_fit_the_data_is_not_inherited),
        TEST(sequences_of_two_ports_are_two_sequences),
        TEST(an_exporter_that_sends_from_ever_new_ports_is_one_session),
        TEST(an_exporter_that_restarts_often_does_not_run_out_of_sessions),
        TEST(samplers_are_known_whichever_port_told_of_them),
        TEST(the_templates_of_a_connection_end_with_it_and_are_nobody_elses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
