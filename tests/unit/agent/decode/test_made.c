/** What the generator makes is what the decoders see, flow by flow: two sides written apart. */
#include "tests/bench/gen/gen.h"
#include "tests/support/input.h"

#include "tests/support/cmocka.h"

enum { NOW = 1700000000, DATAGRAMS = 200 };

static void decode_all(enum gen_format format, uint32_t sampling, enum weir_sampling_origin origin)
{
    struct input input;
    input_init(&input, NULL);
    struct gen *gen = NULL;
    struct gen_conf conf = GEN_DEFAULTS;
    conf.format = format;
    conf.sampling = sampling;
    conf.ipv6_percent = 40;
    conf.boot_ms = NOW * 1000ll - 5000000000; /* the uptime has wrapped */
    assert_int_equal(gen_create(&conf, &gen), 0);

    static struct weir_flow expected[DATAGRAMS * GEN_MOST_FLOWS];
    size_t flows = 0;
    for (int i = 0; i < DATAGRAMS; i++) {
        uint8_t bytes[GEN_DATAGRAM_BYTES];
        uint32_t made = 0;
        size_t size = gen_next(gen, 0, NOW * 1000ll + i * 10, GEN_MOST_FLOWS, bytes, expected + flows, &made);
        assert_int_equal(input_take(&input, weir_view_of(bytes, size), NOW * 1000ll + i * 10), AGENT_REFUSAL_NONE);
        flows += made;
    }
    assert_int_equal(input_flush(&input), flows);
    for (size_t i = 0; i < flows; i++) {
        struct weir_flow got = input_flow(&input, i);
        if (expected[i].sampling_one_in != 0) expected[i].sampling_origin = origin;
        assert_true(weir_flow_equal(&got, &expected[i]));
    }
    assert_int_equal(input.loss.sequence_lost, 0);
    agent_decoder_tick(input.decoder, NOW * 1000ll + 100000);
    assert_int_equal(INPUT_COUNT(&input, sequence_lost), 0);
    assert_int_equal(INPUT_COUNT(&input, sequence_duplicate), 0);
    assert_int_equal(INPUT_COUNT(&input, sequence_restarts), 0);
    gen_destroy(gen);
    input_fini(&input);
}

static void netflow5_flows_are_those_that_were_made(void **state)
{
    (void)state;
    decode_all(GEN_V5, 0, 0);
    decode_all(GEN_V5, 1000, WEIR_SAMPLING_RECORD);
}

static void netflow9_flows_are_those_that_were_made(void **state)
{
    (void)state;
    decode_all(GEN_V9, 0, 0);
    decode_all(GEN_V9, 1000, WEIR_SAMPLING_EXPORTER);
}

static void ipfix_flows_are_those_that_were_made(void **state)
{
    (void)state;
    decode_all(GEN_IPFIX, 0, 0);
    decode_all(GEN_IPFIX, 1000, WEIR_SAMPLING_EXPORTER);
}

static void sflow_samples_are_those_that_were_made(void **state)
{
    (void)state;
    decode_all(GEN_SFLOW, 0, WEIR_SAMPLING_RECORD);
    decode_all(GEN_SFLOW, 512, WEIR_SAMPLING_RECORD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(netflow5_flows_are_those_that_were_made),
        cmocka_unit_test(netflow9_flows_are_those_that_were_made),
        cmocka_unit_test(ipfix_flows_are_those_that_were_made),
        cmocka_unit_test(sflow_samples_are_those_that_were_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
