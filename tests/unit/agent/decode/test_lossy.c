/**
 * A lossy link: streams that are reordered, repeated, restarted, wrapped, with options and unknown templates, show no
 * loss; what a link lost is counted to the record. Numbers by RFC 3954 5.1 (v9: datagrams) and RFC 7011 3.1 (IPFIX: data
 * records before the message, options included), and as softflowd 1.1.0 counts (its own records, too).
 */
#include "tests/support/decoder_test.h"

#include "tests/support/cmocka.h"

enum kind { V5, V9, IPFIX, IPFIX_OWN, KINDS };
enum { MESSAGES = 2000, RECORD_BYTES = 8 };

static const uint16_t bytes_packets[] = {1, 4, 2, 4};

struct sent {
    uint8_t bytes[1500];
    size_t size;
    uint16_t flows;
};

static struct sent sent[MESSAGES];
static uint64_t flows_sent;

struct stream {
    enum kind kind;
    uint32_t number;
    uint32_t seconds;
    uint32_t boot_seconds;
    bool has_options;
    bool is_even; /* all messages have one size */
};

static struct weir_view make_v5(struct stream *s, uint16_t flows)
{
    struct weir_buf *b = &m.buf;
    weir_buf_clear(b);
    weir_buf_u16be(b, 5);
    weir_buf_u16be(b, flows);
    weir_buf_u32be(b, (s->seconds - s->boot_seconds) * 1000);
    weir_buf_u32be(b, s->seconds);
    weir_buf_u32be(b, 0);
    weir_buf_u32be(b, s->number);
    weir_buf_u32be(b, 0);
    for (int i = 0; i < flows * 48; i++)
        weir_buf_u8(b, 0);
    s->number += flows;
    return weir_buf_view(b);
}

/** The next message, @index th of its stream: every 50th repeats the templates, every 20th has options. */
static struct weir_view make(struct stream *s, int index, uint16_t *flows)
{
    *flows = s->is_even ? 10 : (uint16_t)(1 + (index * 7 + index / 5) % 20);
    s->seconds += index % 3 == 0;
    if (s->kind == V5) return make_v5(s, *flows);
    uint16_t options = s->has_options && index % 20 == 0 ? 1 + index % 3 : 0;
    uint32_t records = *flows + options;
    if (s->kind == V9) {
        message_netflow9(&m, s->seconds, (s->seconds - s->boot_seconds) * 1000, s->number++, 7);
    } else {
        message_ipfix(&m, s->seconds, s->kind == IPFIX_OWN ? s->number + records : s->number, 7);
        s->number += records;
    }
    if (index % 50 == 0) {
        message_template(&m, 256, bytes_packets, 2);
        message_options(&m, 300, (const uint16_t[]){149, 4, 41, 4}, 2, 1);
    }
    message_records(&m, 256, *flows, RECORD_BYTES);
    if (options > 0) message_records(&m, 300, options, RECORD_BYTES);
    return message_end(&m);
}

static struct stream begin(enum kind kind, uint32_t number)
{
    return (struct stream){.kind = kind, .number = number, .seconds = 1700000000, .boot_seconds = 1700000000 - 86400};
}

static void send_all(struct stream *s, int first, int last)
{
    for (int i = first; i < last; i++) {
        struct weir_view bytes = make(s, i, &sent[i].flows);
        assert_in_range(bytes.size, 1, sizeof sent[i].bytes);
        memcpy(sent[i].bytes, bytes.data, bytes.size);
        sent[i].size = bytes.size;
        flows_sent += sent[i].flows;
    }
}

static void deliver(int index)
{
    input_take(&input, weir_view_of(sent[index].bytes, sent[index].size), 1700000000000 + index * 10);
}

static uint64_t lost(void)
{
    agent_decoder_tick(input.decoder, 1700000000000 + 3600000);
    return INPUT_COUNT(&input, sequence_lost);
}

static uint64_t flows_decoded(void)
{
    return INPUT_COUNT(&input, flows_netflow5) + INPUT_COUNT(&input, flows_netflow9) + INPUT_COUNT(&input, flows_ipfix);
}

static void each_kind(void (*prove)(enum kind kind))
{
    for (int kind = V5; kind < KINDS; kind++) {
        flows_sent = 0;
        prove((enum kind)kind);
        input_fini(&input);
        input_init(&input, NULL);
    }
}

static void prove_whole(enum kind kind)
{
    struct stream s = begin(kind, 0);
    s.has_options = true;
    send_all(&s, 0, MESSAGES);
    for (int i = 0; i < MESSAGES; i++)
        deliver(i);
    assert_int_equal(lost(), 0);
    assert_int_equal(INPUT_COUNT(&input, sequence_restarts), 0);
    assert_int_equal(INPUT_COUNT(&input, sequence_conventions), kind == IPFIX_OWN);
}

static void a_whole_stream_with_options_has_lost_nothing(void **state)
{
    (void)state;
    each_kind(prove_whole);
}

/** Shuffled in groups of up to 16, every tenth message twice. */
static void prove_disorder(enum kind kind)
{
    struct stream s = begin(kind, 0);
    s.has_options = true;
    send_all(&s, 0, MESSAGES);
    uint32_t seed = 1;
    for (int i = 0; i < 64; i++)
        deliver(i);
    for (int group = 64; group < MESSAGES; group += 16) {
        int order[16];
        int count = MESSAGES - group < 16 ? MESSAGES - group : 16;
        for (int i = 0; i < count; i++)
            order[i] = group + i;
        for (int i = count - 1; i > 0; i--) {
            seed = seed * 1664525 + 1013904223;
            int k = (int)(seed >> 16) % (i + 1);
            int swap = order[i];
            order[i] = order[k];
            order[k] = swap;
        }
        for (int i = 0; i < count; i++) {
            deliver(order[i]);
            if (order[i] % 10 == 0) deliver(order[i]);
        }
    }
    assert_int_equal(lost(), 0);
    assert_int_equal(INPUT_COUNT(&input, sequence_restarts), 0);
    assert_in_range(INPUT_COUNT(&input, sequence_repeated), (MESSAGES - 64) / 10 - 1, (MESSAGES - 64) / 10 + 1);
    assert_int_equal(INPUT_COUNT(&input, sequence_duplicate), 0);
    assert_int_equal(flows_decoded(), flows_sent);
}

static void a_stream_out_of_order_and_in_part_twice_is_all_there_once(void **state)
{
    (void)state;
    each_kind(prove_disorder);
}

/** The same by two paths, the second SLOWER messages behind; each loses what the other does not, @both lose 20 messages. */
static void send_by_two_paths(enum kind kind, bool both)
{
    enum { SLOWER = 40 };
    struct stream s = begin(kind, 0);
    s.is_even = true;
    send_all(&s, 0, MESSAGES);
    for (int i = 0; i < MESSAGES + SLOWER; i++) {
        bool is_lost = both && i > 1200 && i <= 1400 && i % 10 == 5;
        if (i < MESSAGES && i % 7 != 3 && !is_lost) deliver(i);
        int late = i - SLOWER;
        is_lost = both && late > 1200 && late <= 1400 && late % 10 == 5;
        if (late >= 0 && late % 7 != 5 && !is_lost) deliver(late);
    }
}

static void prove_two_paths(enum kind kind)
{
    send_by_two_paths(kind, false);
    assert_int_equal(lost(), 0);
    assert_int_equal(INPUT_COUNT(&input, sequence_restarts), 0);
    assert_int_equal(flows_decoded(), flows_sent);
}

static void a_stream_by_two_paths_one_of_them_slower_is_all_there_once(void **state)
{
    (void)state;
    each_kind(prove_two_paths);
}

static void prove_two_lossy_paths(enum kind kind)
{
    send_by_two_paths(kind, true);
    assert_int_equal(lost(), 200);
    assert_int_equal(flows_decoded(), flows_sent - 200);
}

static void what_two_paths_lost_both_is_lost_and_the_rest_is_there_once(void **state)
{
    (void)state;
    each_kind(prove_two_lossy_paths);
}

static void prove_reboot(enum kind kind)
{
    struct stream s = begin(kind, 0);
    send_all(&s, 0, MESSAGES / 2);
    s.number = 0;
    s.seconds += 60;
    s.boot_seconds = s.seconds;
    send_all(&s, MESSAGES / 2, MESSAGES);
    for (int i = 0; i < MESSAGES; i++)
        deliver(i);
    assert_int_equal(lost(), 0);
    assert_int_equal(INPUT_COUNT(&input, sequence_restarts), 1);
}

static void an_exporter_that_restarts_has_lost_nothing(void **state)
{
    (void)state;
    each_kind(prove_reboot);
}

static void prove_wrap(enum kind kind)
{
    struct stream s = begin(kind, UINT32_MAX - 777);
    send_all(&s, 0, MESSAGES);
    for (int i = 0; i < MESSAGES; i++)
        deliver(i);
    assert_int_equal(lost(), 0);
    assert_int_equal(INPUT_COUNT(&input, sequence_restarts), 0);
}

static void numbers_that_wrap_have_lost_nothing(void **state)
{
    (void)state;
    each_kind(prove_wrap);
}

/** The template comes with message 50: what came before waits for it. */
static void prove_unknown(enum kind kind)
{
    struct stream s = begin(kind, 0);
    s.has_options = true;
    send_all(&s, 0, MESSAGES);
    for (int i = 1; i < MESSAGES; i++)
        deliver(i);
    assert_int_equal(lost(), 0);
    assert_int_equal(INPUT_COUNT(&input, sequence_restarts), 0);
    assert_int_equal(input_flush(&input), flows_sent - sent[0].flows);
}

static void a_stream_whose_template_comes_late_has_lost_nothing(void **state)
{
    (void)state;
    each_kind(prove_unknown);
}

/** 20 messages of 10 records each are lost, one by one and in a row, in an even stream and not in sight of a template. */
static void prove_loss(enum kind kind)
{
    struct stream s = begin(kind, 0);
    s.is_even = true;
    send_all(&s, 0, MESSAGES);
    for (int i = 0; i < MESSAGES; i++) {
        bool is_lost = (i > 1000 && i <= 1010) || (i > 1200 && i <= 1300 && i % 10 == 5);
        if (!is_lost) deliver(i);
    }
    assert_int_equal(lost(), 200);
    assert_int_equal(INPUT_COUNT(&input, sequence_restarts), 0);
}

static void two_hundred_lost_records_are_two_hundred(void **state)
{
    (void)state;
    each_kind(prove_loss);
}

/** In a stream of uneven messages; v9 can only be estimated. */
static void prove_uneven_loss(enum kind kind)
{
    struct stream s = begin(kind, 0);
    s.has_options = true;
    send_all(&s, 0, MESSAGES);
    uint64_t records = 0;
    for (int i = 0; i < MESSAGES; i++) {
        if (i > 100 && i % 97 == 3) {
            records += sent[i].flows + (kind != V5 && i % 20 == 0 ? 1 + i % 3 : 0);
        } else {
            deliver(i);
        }
    }
    if (kind == V9) {
        assert_in_range(lost(), records * 7 / 10, records * 13 / 10);
    } else {
        assert_int_equal(lost(), records);
    }
}

static void losses_among_messages_of_all_sizes_are_counted_to_the_record(void **state)
{
    (void)state;
    each_kind(prove_uneven_loss);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_whole_stream_with_options_has_lost_nothing),
        TEST(a_stream_out_of_order_and_in_part_twice_is_all_there_once),
        TEST(a_stream_by_two_paths_one_of_them_slower_is_all_there_once),
        TEST(what_two_paths_lost_both_is_lost_and_the_rest_is_there_once),
        TEST(an_exporter_that_restarts_has_lost_nothing),
        TEST(numbers_that_wrap_have_lost_nothing),
        TEST(a_stream_whose_template_comes_late_has_lost_nothing),
        TEST(two_hundred_lost_records_are_two_hundred),
        TEST(losses_among_messages_of_all_sizes_are_counted_to_the_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
