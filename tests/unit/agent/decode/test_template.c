/** The life of a template: changed, withdrawn (RFC 7011 8.1), expired (8.4). */
#include "tests/support/decoder_test.h"

#include "tests/support/cmocka.h"

#include "agent/decode/plan.h"

#include <stdio.h>

static const uint16_t bytes_packets[] = {1, 4, 2, 4};
static const uint16_t packets_bytes[] = {2, 4, 1, 4};

static char told[256];
static int told_count;

static void changed(void *ctx, const struct agent_template_change *change)
{
    (void)ctx;
    char before[64];
    char after[64];
    agent_specs_format(change->before, change->before_count, before, sizeof before);
    agent_specs_format(change->after, change->after_count, after, sizeof after);
    snprintf(told, sizeof told, "domain %u id %u: %s, now %s", change->source.domain, change->id, before, after);
    told_count++;
}

static int set_up_watched(void **state)
{
    (void)state;
    struct agent_decoder_conf conf = AGENT_DECODER_DEFAULTS;
    conf.watch.template_changed = changed;
    told_count = 0;
    input_init(&input, &conf);
    return 0;
}

static void send_template(const uint16_t *elements, uint16_t fields, int64_t now_ms)
{
    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, elements, fields);
    assert_int_equal(input_take(&input, message_end(&m), now_ms), AGENT_REFUSAL_NONE);
}

static void send_data(int64_t now_ms)
{
    message_ipfix(&m, 1700000000, (uint32_t)now_ms, 7); /* each is another */
    message_records(&m, 256, 1, 8);
    assert_int_equal(input_take(&input, message_end(&m), now_ms), AGENT_REFUSAL_NONE);
}

static void a_change_is_counted_every_time_and_told_once_with_old_and_new(void **state)
{
    (void)state;
    send_template(bytes_packets, 2, 1000);
    for (int i = 0; i < 5; i++) {
        send_template(packets_bytes, 2, 2000);
        send_template(bytes_packets, 2, 3000);
    }
    assert_int_equal(INPUT_COUNT(&input, templates_changed), 10);
    assert_int_equal(told_count, 1);
    assert_string_equal(told, "domain 7 id 256: 1:4 2:4, now 2:4 1:4");
}

static void vendors_scopes_and_variable_lengths_are_shown_and_long_texts_cut(void **state)
{
    (void)state;
    const struct agent_spec specs[] = {{0xffffffff, 1, 4}, {9, 33000, 0xffff}, {0, 1, 8}};
    char text[64];
    char small[12];
    assert_string_equal(agent_specs_format(specs, 3, text, sizeof text), "scope.1:4 9.33000:var 1:8");
    assert_string_equal(agent_specs_format(specs, 3, small, sizeof small), "scope.1:4 9");
}

static void data_of_a_withdrawn_template_is_skipped_and_counted_until_it_is_sent_again(void **state)
{
    (void)state;
    send_template(bytes_packets, 2, 1000);
    send_template(NULL, 0, 1001);
    send_data(1002);
    send_data(1003);
    assert_int_equal(input_flush(&input), 0);
    assert_int_equal(INPUT_COUNT(&input, sets_withdrawn), 2);
    assert_int_equal(INPUT_COUNT(&input, sets_parked), 0);
    send_template(packets_bytes, 2, 1004);
    send_data(1005);
    assert_int_equal(input_flush(&input), 1);
    assert_int_equal(INPUT_COUNT(&input, templates_changed), 0);
    assert_int_equal(input.loss.template_missing, 2);
}

static const struct weir_drop *drop_of(enum weir_drop_reason reason)
{
    for (size_t i = 0; i < input.batch_count; i++) {
        const struct weir_drops *drops = &input.batches[i]->drops;
        for (uint32_t k = 0; k < drops->count; k++) {
            if (drops->at[k].reason == reason) return &drops->at[k];
        }
    }
    return NULL;
}

static void what_is_lost_for_want_of_a_template_says_so_with_the_set_as_example(void **state)
{
    (void)state;
    send_data(1000);
    send_data(5000);
    agent_decoder_tick(input.decoder, 302000); /* the first waited for five minutes */
    send_template(bytes_packets, 2, 302001);   /* the second is decoded */
    send_template(NULL, 0, 302002);
    send_data(302003);
    send_template(bytes_packets, 2, 302004);
    message_ipfix(&m, 1700000000, 0, 7);
    message_set(&m, 256);
    message_u32(&m, 1); /* a set that ends within its record is padded: nothing is lost */
    struct weir_view cut = message_end(&m);
    cut.size -= 3;
    assert_int_equal(input_take(&input, cut, 302005), AGENT_REFUSAL_truncated);
    input_flush(&input);
    assert_int_equal(input.loss.template_missing, 2);

    const struct weir_drop *drop = drop_of(WEIR_DROP_template_missing);
    assert_non_null(drop);
    assert_int_equal(drop->count, 1);
    assert_int_equal(drop->first_ms, 1000);
    assert_int_equal(drop->bytes, 12);
    assert_memory_equal(drop->head, "\x01\0\0\x0c\0\0\0\0\0\0\0\0", 12);
    drop = drop_of(WEIR_DROP_template_withdrawn);
    assert_non_null(drop);
    assert_int_equal(drop->count, 1);
    assert_int_equal(drop->example_ms, 302003);
    assert_null(drop_of(WEIR_DROP_truncated)); /* before its source is read */
    assert_false(agent_decoder_refused_known(input.decoder));
}

static void a_datagram_that_is_refused_after_its_source_was_read_is_an_example(void **state)
{
    (void)state;
    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, (const uint16_t[]){1, 0, 2, 0}, 2);
    struct weir_view datagram = message_end(&m);
    for (int64_t now_ms = 1000; now_ms < 1003; now_ms++)
        assert_int_equal(input_take(&input, datagram, now_ms), AGENT_REFUSAL_template);
    assert_true(agent_decoder_refused_known(input.decoder));
    agent_decoder_forget(input.decoder);
    assert_int_equal(input.loss.undecodable, 3);
    const struct weir_drop *drop = drop_of(WEIR_DROP_template);
    assert_non_null(drop);
    assert_int_equal(drop->count, 3);
    assert_int_equal(drop->first_ms, 1000);
    assert_int_equal(drop->last_ms, 1002);
    assert_int_equal(drop->bytes, datagram.size);
    assert_memory_equal(drop->head, datagram.data, datagram.size);
}

static void a_set_that_waited_and_is_refused_is_not_blamed_on_the_next_datagram(void **state)
{
    (void)state;
    message_ipfix(&m, 1700000000, 0, 7);
    message_set(&m, 256);
    message_u32(&m, 1);
    message_u32(&m, 0xfe000000); /* an interface name of 254 bytes, of which three came */
    assert_int_equal(input_take(&input, message_end(&m), 1000), AGENT_REFUSAL_NONE);
    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, (const uint16_t[]){1, 4, 82, 0xffff}, 2);
    assert_int_equal(input_take(&input, message_end(&m), 1001), AGENT_REFUSAL_NONE);
    assert_int_equal(input_take(&input, weir_view_of("\0\x0a", 2), 1002), AGENT_REFUSAL_short);
    assert_false(agent_decoder_refused_known(input.decoder));
    agent_decoder_forget(input.decoder);
    assert_int_equal(input.loss.undecodable, 1);
    const struct weir_drop *drop = drop_of(WEIR_DROP_record);
    assert_non_null(drop);
    assert_int_equal(drop->count, 1);
    assert_int_equal(drop->bytes, 8);
}

static void records_of_no_length_are_refused_and_never_loop(void **state)
{
    (void)state;
    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, (const uint16_t[]){1, 0, 2, 0}, 2);
    message_records(&m, 256, 1, 8);
    assert_int_equal(input_take(&input, message_end(&m), 1000), AGENT_REFUSAL_template);
    message_ipfix(&m, 1700000000, 0, 7);
    message_options(&m, 257, (const uint16_t[]){149, 0}, 1, 1);
    message_records(&m, 257, 1, 8);
    assert_int_equal(input_take(&input, message_end(&m), 1001), AGENT_REFUSAL_template);
    assert_int_equal(input_flush(&input), 0);
    assert_int_equal(INPUT_COUNT(&input, sets_parked), 2);
}

static void a_template_that_is_not_repeated_expires_but_not_by_silence(void **state)
{
    (void)state;
    int64_t now_ms = 1000;
    send_template(bytes_packets, 2, now_ms);
    for (int i = 0; i < 360; i++) /* an hour of silence */
        agent_decoder_tick(input.decoder, now_ms += 10000);
    int64_t began_ms = now_ms;
    while (INPUT_COUNT(&input, templates_expired) == 0 && now_ms < began_ms + 7200000) {
        send_data(now_ms);
        agent_decoder_tick(input.decoder, now_ms += 10000);
    }
    assert_in_range(now_ms - began_ms, 1790000, 1820000); /* half an hour of data */
    assert_int_equal(INPUT_COUNT(&input, sets_parked), 0);

    send_template(bytes_packets, 2, now_ms);
    for (int i = 0; i < 1000; i++) {
        if (i % 100 == 0) send_template(bytes_packets, 2, now_ms);
        send_data(now_ms);
        agent_decoder_tick(input.decoder, now_ms += 10000);
    }
    assert_int_equal(INPUT_COUNT(&input, templates_expired), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_watched, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_change_is_counted_every_time_and_told_once_with_old_and_new),
        TEST(vendors_scopes_and_variable_lengths_are_shown_and_long_texts_cut),
        TEST(data_of_a_withdrawn_template_is_skipped_and_counted_until_it_is_sent_again),
        TEST(what_is_lost_for_want_of_a_template_says_so_with_the_set_as_example),
        TEST(a_datagram_that_is_refused_after_its_source_was_read_is_an_example),
        TEST(a_set_that_waited_and_is_refused_is_not_blamed_on_the_next_datagram),
        TEST(records_of_no_length_are_refused_and_never_loop),
        TEST(a_template_that_is_not_repeated_expires_but_not_by_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
