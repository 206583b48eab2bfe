/** The clocks of exporters. */
#include "tests/support/input.h"
#include "tests/support/message.h"

#include "tests/support/cmocka.h"

static void the_skew_is_the_median_and_late_datagrams_do_not_move_it(void **state)
{
    (void)state;
    struct input input;
    struct message m = {0};
    struct agent_exporter_stat stat;
    input_init(&input, NULL);
    for (uint32_t i = 0; i < 200; i++) {
        int64_t now_ms = 1700000000000 + i * 1000;
        message_ipfix(&m, 1700000000 + i - 90 - (i % 5 == 0 ? 20 : 0), 0, 7); /* every fifth is 20 s on its way */
        input_take(&input, message_end(&m), now_ms);
        agent_decoder_tick(input.decoder, now_ms);
    }
    assert_int_equal(agent_decoder_exporters(input.decoder, &stat, 1), 1);
    assert_true(stat.has_skew);
    assert_int_equal(stat.skew_ms, -90000);

    /* The clock is put right: half a minute later we know. */
    for (uint32_t i = 200; i < 217; i++) {
        message_ipfix(&m, 1700000000 + i, 0, 7);
        input_take(&input, message_end(&m), 1700000000000 + i * 1000);
        agent_decoder_tick(input.decoder, 1700000000000 + i * 1000);
    }
    agent_decoder_exporters(input.decoder, &stat, 1);
    assert_int_equal(stat.skew_ms, 0);
    message_fini(&m);
    input_fini(&input);
}

static void an_exporter_that_tells_no_time_has_no_skew(void **state)
{
    (void)state;
    struct input input;
    struct weir_buf buf = WEIR_BUF_INIT;
    struct agent_exporter_stat stat;
    input_init(&input, NULL);
    input_take(&input, input_hex(&buf, "00000005 00000001 c0000201 00000000 00000001 00002710 00000000"),
               1700000000000);
    agent_decoder_tick(input.decoder, 1700000000000);
    assert_int_equal(agent_decoder_exporters(input.decoder, &stat, 1), 1);
    assert_false(stat.has_skew);
    weir_buf_fini(&buf);
    input_fini(&input);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_skew_is_the_median_and_late_datagrams_do_not_move_it),
        cmocka_unit_test(an_exporter_that_tells_no_time_has_no_skew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
