/** Datagrams that come twice as they are, and such that only look like it. */
#include "agent/decode/repeat.h"

#include "tests/support/decoder_test.h"

#include "tests/support/cmocka.h"

enum { NOW = 1700000000, BYTES = 4096, WINDOW = AGENT_SEQUENCE_WINDOW };

static const uint16_t bytes_packets[] = {1, 4, 2, 4};

static struct agent_repeats repeats;
static uint8_t payload[BYTES];

static int set_up_repeats(void **state)
{
    (void)state;
    repeats = (struct agent_repeats){0};
    memset(payload, 0, sizeof payload);
    return 0;
}

/** A datagram of @size bytes, whose byte @at is @value. */
static bool take(uint32_t number, size_t size, size_t at, uint8_t value)
{
    payload[at] = value;
    bool is_repeat = agent_repeats_take(&repeats, number, weir_view_of(payload, size));
    payload[at] = 0;
    return is_repeat;
}

static void what_comes_again_is_known_in_any_size(void **state)
{
    static const size_t sizes[] = {1, 24, 64, 65, 127, 128, 129, 1464, BYTES};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        set_up_repeats(state);
        assert_false(take(5, sizes[i], 0, 1));
        assert_true(take(5, sizes[i], 0, 1));
        assert_true(take(5, sizes[i], 0, 1));
    }
}

static void one_byte_at_either_end_or_one_of_length_makes_another_datagram(void **state)
{
    (void)state;
    assert_false(take(5, 1464, 0, 0));
    assert_false(take(5, 1464, 4, 1));
    assert_false(take(5, 1464, 63, 1));
    assert_false(take(5, 1464, 1400, 1));
    assert_false(take(5, 1464, 1463, 1));
    assert_false(take(5, 1463, 0, 0));
    assert_false(take(5, 128, 0, 0));
    assert_false(take(5, 127, 0, 0));
    assert_true(take(5, 1464, 0, 0));
}

static void the_last_64_are_remembered_over_the_wrap_of_numbers(void **state)
{
    (void)state;
    const uint32_t first = UINT32_MAX - 10;
    for (uint32_t i = 0; i < 300; i++) {
        assert_false(take(first + i, 100, i % 100, (uint8_t)(1 + i / 100)));
        if (i >= WINDOW - 1) {
            uint32_t oldest = i - (WINDOW - 1);
            assert_true(take(first + oldest, 100, oldest % 100, (uint8_t)(1 + oldest / 100)));
        }
    }
    uint32_t gone = 300 - WINDOW - 1;
    assert_false(take(first + gone, 100, gone % 100, (uint8_t)(1 + gone / 100)));
}

static void a_late_datagram_is_no_repetition_but_the_second_late_one_is(void **state)
{
    (void)state;
    assert_false(take(1, 100, 0, 1));
    assert_false(take(3, 100, 0, 3));
    assert_false(take(2, 100, 0, 2));
    assert_true(take(2, 100, 0, 2));
    assert_true(take(3, 100, 0, 3));
}

static uint64_t drops_told(enum weir_drop_reason reason)
{
    input_flush(&input);
    uint64_t count = 0;
    for (size_t i = 0; i < input.batch_count; i++) {
        for (uint32_t k = 0; k < input.batches[i]->drops.count; k++) {
            const struct weir_drop *drop = &input.batches[i]->drops.at[k];
            if (drop->reason == reason) count += drop->count;
        }
    }
    return count;
}

/** Two flows in every protocol that has numbers, as hex but for v9 and IPFIX, whose templates came before. */
#define NETFLOW(version, rest)                                                                               \
    version "0001 00001388 6553f100 00000000 00000064 00000000"                                              \
            "0a000001 c0000202 c0000201 0003 0004 00000005 00000600 000003e8 000007d0 d431 01bb 00 1b 06 b8" \
            " fde8 fde9 18 10 0000" rest
#define SFLOW                                                                                                     \
    "00000005 00000001 c0000201 00000003 00000064 00002710 00000001 00000001 00000048 00000001 00000004 00000064" \
    "00000064 00000000 00000001 00000002 00000001 00000003 00000020 000005dc 00000006 0a000001 c0000202 0000d431" \
    "000001bb 00000012 000000b8"

static void make(enum agent_protocol protocol, uint32_t second, uint32_t uptime_ms)
{
    switch (protocol) {
    case AGENT_PROTOCOL_netflow5: input_hex(&m.buf, NETFLOW("0005", "")); break;
    case AGENT_PROTOCOL_netflow7: input_hex(&m.buf, NETFLOW("0007", "c0000201")); break;
    case AGENT_PROTOCOL_sflow5:
        input_hex(&m.buf, SFLOW);
        weir_store_u32be(m.buf.data + 20, uptime_ms);
        return;
    case AGENT_PROTOCOL_netflow9: message_netflow9(&m, second, uptime_ms, 100, 7); break;
    default: message_ipfix(&m, second, 100, 7); break;
    }
    if (protocol == AGENT_PROTOCOL_netflow5 || protocol == AGENT_PROTOCOL_netflow7) {
        weir_store_u32be(m.buf.data + 4, uptime_ms);
        weir_store_u32be(m.buf.data + 8, second);
        return;
    }
    message_template(&m, 256, bytes_packets, 2);
    message_records(&m, 256, 1, 8);
    message_end(&m);
}

static uint64_t flows_of(enum agent_protocol protocol)
{
    return agent_decoder_counts(input.decoder)->n[AGENT_INPUT_flows_netflow5 + protocol];
}

static void a_datagram_that_comes_twice_is_decoded_once_in_every_protocol_that_has_numbers(void **state)
{
    (void)state;
    for (int i = 0; i < AGENT_PROTOCOL_netflow1; i++) {
        enum agent_protocol protocol = (enum agent_protocol)i;
        uint64_t before = INPUT_COUNT(&input, sequence_repeated);
        make(protocol, NOW, 5000);
        for (int k = 0; k < 3; k++)
            assert_int_equal(input_take(&input, weir_buf_view(&m.buf), NOW * 1000ll + k), AGENT_REFUSAL_NONE);
        assert_int_equal(flows_of(protocol), 1);
        assert_int_equal(INPUT_COUNT(&input, sequence_repeated) - before, 2);

        /* It restarts, and its number is the same again: another time, another datagram. */
        make(protocol, NOW + 60, 1000);
        assert_int_equal(input_take(&input, weir_buf_view(&m.buf), NOW * 1000ll + 60000), AGENT_REFUSAL_NONE);
        assert_int_equal(flows_of(protocol), 2);
        assert_int_equal(INPUT_COUNT(&input, sequence_repeated) - before, 2);
    }
    assert_int_equal(INPUT_COUNT(&input, sequence_lost), 0);
    assert_int_equal(drops_told(WEIR_DROP_repeated), 2 * AGENT_PROTOCOL_netflow1);
    assert_int_equal(input.loss.undecodable, 0); /* nothing is missing */
}

static void two_messages_with_one_number_and_other_flows_are_both_decoded(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        message_ipfix(&m, NOW, 0, 7); /* an exporter that does not count */
        message_template(&m, 256, bytes_packets, 2);
        message_set(&m, 256);
        message_u32(&m, i);
        message_u32(&m, 1);
        input_take(&input, message_end(&m), NOW * 1000ll);
    }
    assert_int_equal(input_flush(&input), 3);
    assert_int_equal(INPUT_COUNT(&input, sequence_repeated), 0);
}

/** Nothing but templates: the number does not move (RFC 7011 3.1), and the third message is the first again. */
static void a_template_that_is_changed_and_changed_back_is_no_repetition(void **state)
{
    (void)state;
    static const uint16_t packets_bytes[] = {2, 4, 1, 4};
    for (int i = 0; i < 3; i++) {
        message_ipfix(&m, NOW, 0, 7);
        message_template(&m, 256, i == 1 ? packets_bytes : bytes_packets, 2);
        input_take(&input, message_end(&m), NOW * 1000ll);
    }
    assert_int_equal(INPUT_COUNT(&input, templates_changed), 2);
    assert_int_equal(INPUT_COUNT(&input, sequence_repeated), 0);
}

static void what_comes_by_a_connection_is_never_a_repetition(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        make(AGENT_PROTOCOL_ipfix, NOW, 0);
        input_take_by(&input, AGENT_SESSION_CONNECTION, weir_buf_view(&m.buf), NOW * 1000ll);
    }
    assert_int_equal(input_flush(&input), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_comes_again_is_known_in_any_size, set_up_repeats),
        cmocka_unit_test_setup(one_byte_at_either_end_or_one_of_length_makes_another_datagram, set_up_repeats),
        cmocka_unit_test_setup(the_last_64_are_remembered_over_the_wrap_of_numbers, set_up_repeats),
        cmocka_unit_test_setup(a_late_datagram_is_no_repetition_but_the_second_late_one_is, set_up_repeats),
        TEST(a_datagram_that_comes_twice_is_decoded_once_in_every_protocol_that_has_numbers),
        TEST(two_messages_with_one_number_and_other_flows_are_both_decoded),
        TEST(a_template_that_is_changed_and_changed_back_is_no_repetition),
        TEST(what_comes_by_a_connection_is_never_a_repetition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
