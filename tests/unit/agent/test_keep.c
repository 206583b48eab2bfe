/** What exporters taught outlives the agent: decoders that are made anew, with the file of the one before. */
#include "agent/keep.h"

#include "agent/counters.h"
#include "common/base/file.h"
#include "tests/support/cmocka.h"
#include "tests/support/folder.h"
#include "tests/support/input.h"
#include "tests/support/message.h"

#include <stdio.h>

static const uint16_t bytes_packets[] = {1, 4, 2, 4};
static const int64_t now_ms = 1700000000000;

static char folder[FOLDER_BYTES];
static struct message m;
static struct input input;
static struct agent_keep *keep;

static void start(int64_t at_ms)
{
    struct weir_why why;
    assert_int_equal(agent_keep_create(folder, 1, at_ms, NULL, &keep, &why), 0);
    struct agent_decoder_conf conf = AGENT_DECODER_DEFAULTS;
    conf.recall = agent_keep_recall(keep);
    input_init(&input, &conf);
}

static void stop(void)
{
    struct weir_buf learned = WEIR_BUF_INIT;
    agent_decoder_learned(input.decoder, &learned);
    agent_keep_put(keep, 0, &learned);
    weir_buf_fini(&learned);
    input_fini(&input);
    agent_keep_destroy(keep);
    keep = NULL;
}

static int set_up(void **state)
{
    (void)state;
    make_folder(folder);
    start(now_ms);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (keep != NULL) stop();
    remove_folder(folder);
    message_fini(&m);
    m = (struct message){0};
    return 0;
}

static void send_template(uint32_t port)
{
    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, bytes_packets, 2);
    input_take_by(&input, port, message_end(&m), now_ms);
}

static void send_data(uint32_t port, int64_t at_ms)
{
    message_ipfix(&m, 1700000000, 0, 7);
    message_set(&m, 256);
    message_u32(&m, 1500), message_u32(&m, 3);
    input_take_by(&input, port, message_end(&m), at_ms);
}

static void a_restart_between_a_template_and_its_data_loses_no_record(void **state)
{
    (void)state;
    send_template(2055);
    stop();
    start(now_ms + 60000);
    send_data(2055, now_ms + 60000);
    assert_int_equal(input_flush(&input), 1);
    assert_int_equal(input_flow(&input, 0).bytes, 1500);
    assert_int_equal(INPUT_COUNT(&input, templates_recalled), 1);
    assert_int_equal(INPUT_COUNT(&input, sets_parked), 0);
}

static void an_exporter_that_restarted_too_and_has_another_port_is_known(void **state)
{
    (void)state;
    send_template(2055);
    stop();
    start(now_ms + 60000);
    send_data(40000, now_ms + 60000);
    assert_int_equal(input_flush(&input), 1);
    assert_int_equal(INPUT_COUNT(&input, templates_inherited), 1);
}

static void an_exporter_that_is_silent_over_several_restarts_is_still_known(void **state)
{
    (void)state;
    send_template(2055);
    for (int i = 1; i <= 3; i++) {
        stop();
        start(now_ms + i * 60000);
    }
    send_data(2055, now_ms + 240000);
    assert_int_equal(input_flush(&input), 1);
    stop();
    start(now_ms + 31 * 86400000ll);
    send_data(2055, now_ms + 31 * 86400000ll);
    assert_int_equal(input_flush(&input), 0); /* for a month: no */
}

static void samplers_rates_and_start_times_are_kept(void **state)
{
    (void)state;
    message_ipfix(&m, 1700000000, 0, 7);
    message_options(&m, 300, (const uint16_t[]){302, 8, 305, 4, 306, 4}, 3, 1);
    message_set(&m, 300);
    message_u32(&m, 0), message_u32(&m, 5), message_u32(&m, 1), message_u32(&m, 99);
    message_options(&m, 301, (const uint16_t[]){149, 4, 34, 4, 160, 8}, 3, 1);
    message_set(&m, 301); /* of domain 7: 1 in 50; started 1,000 s before */
    message_u32(&m, 7), message_u32(&m, 50), message_u32(&m, 0x18b), message_u32(&m, 0xcfe56800 - 1000000);
    message_template(&m, 256, (const uint16_t[]){1, 4, 302, 4, 22, 4}, 3);
    input_take_by(&input, 2055, message_end(&m), now_ms);
    stop();
    start(now_ms + 60000);
    message_ipfix(&m, 1700000000, 0, 7);
    message_set(&m, 256);
    message_u32(&m, 1500), message_u32(&m, 5), message_u32(&m, 990000);
    message_u32(&m, 1500), message_u32(&m, 6), message_u32(&m, 990000);
    input_take_by(&input, 2055, message_end(&m), now_ms + 60000);
    assert_int_equal(input_flush(&input), 2);
    assert_int_equal(input_flow(&input, 0).sampling_one_in, 100);
    assert_int_equal(input_flow(&input, 0).sampling_origin, WEIR_SAMPLING_SAMPLER);
    assert_int_equal(input_flow(&input, 1).sampling_one_in, 50);
    assert_int_equal(input_flow(&input, 1).sampling_origin, WEIR_SAMPLING_EXPORTER);
    assert_int_equal(input_flow(&input, 0).start_ms, 1700000000000 - 10000);
}

static void templates_of_connections_are_not_kept(void **state)
{
    (void)state;
    send_template(AGENT_SESSION_CONNECTION | 1);
    stop();
    start(now_ms + 60000);
    send_data(AGENT_SESSION_CONNECTION | 1, now_ms + 60000);
    assert_int_equal(input_flush(&input), 0);
}

static void a_damaged_file_costs_what_is_damaged_and_nothing_else(void **state)
{
    (void)state;
    for (int i = 1; i <= 3; i++) {
        char exporter[16];
        snprintf(exporter, sizeof exporter, "192.0.2.%d", i);
        message_ipfix(&m, 1700000000, 0, 7);
        message_template(&m, 256, bytes_packets, 2);
        input_take_from(&input, exporter, message_end(&m), now_ms);
    }
    stop();

    char path[FOLDER_BYTES + 16];
    snprintf(path, sizeof path, "%s/templates", folder);
    struct weir_buf whole = WEIR_BUF_INIT;
    assert_int_equal(weir_file_load(path, 1 << 20, &whole), 0);
    for (size_t at = 0; at < whole.size; at++) {
        whole.data[at] ^= 0x55;
        struct weir_view part = weir_buf_view(&whole);
        assert_int_equal(weir_file_replace(folder, path, &part, 1, false), 0);
        whole.data[at] ^= 0x55;
        start(now_ms);
        for (int i = 1; i <= 3; i++) {
            char exporter[16];
            snprintf(exporter, sizeof exporter, "192.0.2.%d", i);
            message_ipfix(&m, 1700000000, 0, 7);
            message_records(&m, 256, 1, 8);
            input_take_from(&input, exporter, message_end(&m), now_ms);
        }
        size_t flows = input_flush(&input);
        bool is_head = at < 8 || (at - 8) % ((whole.size - 8) / 3) < 4; /* the magic, or the length of an entry */
        assert_true(is_head ? flows <= 2 : flows == 2);
        input_fini(&input);
        agent_keep_destroy(keep);
        keep = NULL;
    }
    weir_buf_fini(&whole);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_restart_between_a_template_and_its_data_loses_no_record),
        TEST(an_exporter_that_restarted_too_and_has_another_port_is_known),
        TEST(an_exporter_that_is_silent_over_several_restarts_is_still_known),
        TEST(samplers_rates_and_start_times_are_kept),
        TEST(templates_of_connections_are_not_kept),
        TEST(a_damaged_file_costs_what_is_damaged_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
