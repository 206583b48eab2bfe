/** Elements that an operator named, from records of IPFIX (RFC 7011 3.2, 7) and v9. */
#include "agent/decode/element.h"
#include "common/base/mem.h"
#include "common/wire/batch.h"
#include "tests/support/decoder_test.h"

#include "tests/support/cmocka.h"

static const struct weir_extra named[] = {
    {"text", 0, 82, WEIR_EXTRA_STRING}, {"vni", 0, 351, WEIR_EXTRA_UNSIGNED}, {"mine", 32473, 1, WEIR_EXTRA_OCTETS}};

static int set_up_named(void **state)
{
    (void)state;
    struct agent_decoder_conf conf = AGENT_DECODER_DEFAULTS;
    conf.extras = (struct agent_extras){.extra = named, .count = sizeof named / sizeof *named};
    input_init(&input, &conf);
    return 0;
}

/** The value of column @at in row @row of the flows so far; its size in *size. */
static const uint8_t *value_of(size_t index, uint32_t at, size_t *size)
{
    input_flush(&input);
    size_t batch = 0;
    while (index >= input.batches[batch]->count)
        index -= input.batches[batch++]->count;
    *size = 0;
    if (input.batches[batch]->extras == NULL || !input.batches[batch]->extras[at].present) return NULL;
    const struct weir_extra_column *column = &input.batches[batch]->extras[at];
    assert_int_equal(column->rows, input.batches[batch]->count);
    const uint8_t *value = column->values.data;
    for (size_t i = 0; i < index; i++)
        value += 1 + *value;
    *size = *value;
    return value + 1;
}

#define ASSERT_VALUE(index, at, text)                               \
    do {                                                            \
        size_t got_size;                                            \
        const uint8_t *got = value_of(index, at, &got_size);        \
        assert_int_equal(got_size, sizeof(text) - 1);               \
        if (got_size > 0) assert_memory_equal(got, text, got_size); \
    } while (0)

static void named_elements_are_kept_as_they_were_sent_beside_flows_that_have_none(void **state)
{
    (void)state;
    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, (const uint16_t[]){1, 4, 82, 0xffff, 351, 4, 83, 0xffff}, 4);
    message_template(&m, 257, (const uint16_t[]){2, 4}, 1);
    message_set(&m, 257), message_u32(&m, 5);
    message_set(&m, 256);
    message_u32(&m, 100), message_u8(&m, 2), message_u16(&m, 0x6868), message_u32(&m, 9), message_u8(&m, 0);
    message_u32(&m, 101), message_u8(&m, 0), message_u32(&m, 10), message_u8(&m, 1), message_u8(&m, 7);
    message_set(&m, 257), message_u32(&m, 6);
    assert_int_equal(input_take(&input, message_end(&m), 1), AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 4);
    ASSERT_VALUE(0, 0, "");
    ASSERT_VALUE(0, 1, "");
    ASSERT_VALUE(1, 0, "hh");
    ASSERT_VALUE(1, 1, "\0\0\0\x09");
    ASSERT_VALUE(2, 0, "");
    ASSERT_VALUE(2, 1, "\0\0\0\x0a");
    ASSERT_VALUE(3, 1, "");
    assert_int_equal(input_flow(&input, 2).bytes, 101);
    assert_int_equal(input_flow(&input, 3).packets, 6);
    assert_int_equal(INPUT_COUNT(&input, elements_unknown), 2); /* 83 */
}

static void an_enterprises_element_is_not_ianas_of_the_same_number(void **state)
{
    (void)state;
    struct weir_view view = input_hex(&buf, "000a 0050 6553f100 00000000 00000007"
                                            "0002 001c 0100 0003 8001 0002 00007ed9 8001 0002 00000009 0001 0004"
                                            "0100 0014 aabb ccdd 00000064 1122 3344 00000065");
    weir_store_u16be(buf.data + 2, (uint16_t)view.size);
    assert_int_equal(input_take(&input, view, 1), AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 2);
    ASSERT_VALUE(0, 2, "\xaa\xbb");
    ASSERT_VALUE(1, 2, "\x11\x22");
    assert_int_equal(input_flow(&input, 1).bytes, 101);
    assert_int_equal(INPUT_COUNT(&input, elements_unknown), 2);
}

static void an_element_that_stands_twice_in_a_template_counts_once(void **state)
{
    (void)state;
    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, (const uint16_t[]){351, 2, 351, 2, 1, 4}, 3);
    message_set(&m, 256), message_u16(&m, 1), message_u16(&m, 2), message_u32(&m, 100);
    message_u16(&m, 3), message_u16(&m, 4), message_u32(&m, 100);
    assert_int_equal(input_take(&input, message_end(&m), 1), AGENT_REFUSAL_NONE);
    ASSERT_VALUE(0, 1, "\0\1");
    ASSERT_VALUE(1, 1, "\0\3");
}

static void a_long_value_is_cut_and_counted(void **state)
{
    (void)state;
    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, (const uint16_t[]){1, 4, 82, 0xffff}, 2);
    message_set(&m, 256), message_u32(&m, 1), message_u8(&m, 255), message_u16(&m, 300);
    for (int i = 0; i < 300; i++)
        message_u8(&m, 'x');
    message_u32(&m, 2), message_u8(&m, 1), message_u8(&m, 'y');
    assert_int_equal(input_take(&input, message_end(&m), 1), AGENT_REFUSAL_NONE);
    size_t size;
    value_of(0, 0, &size);
    assert_int_equal(size, 255);
    ASSERT_VALUE(1, 0, "y");
    assert_int_equal(INPUT_COUNT(&input, extras_cut), 1);
}

static void both_directions_of_a_record_have_its_values(void **state)
{
    (void)state;
    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, (const uint16_t[]){231, 4, 232, 4, 351, 2}, 3);
    message_set(&m, 256), message_u32(&m, 100), message_u32(&m, 200), message_u16(&m, 0x4142);
    assert_int_equal(input_take(&input, message_end(&m), 1), AGENT_REFUSAL_NONE);
    assert_int_equal(input_flush(&input), 2);
    ASSERT_VALUE(0, 1, "AB");
    ASSERT_VALUE(1, 1, "AB");
}

static void batches_close_before_their_values_are_too_many_and_nothing_is_lost(void **state)
{
    (void)state;
    enum { RECORDS = 200, MESSAGES = 20, BYTES = 250 };
    for (uint32_t i = 0; i < MESSAGES; i++) {
        message_ipfix(&m, 1700000000, i * RECORDS, 7);
        if (i == 0) message_template(&m, 256, (const uint16_t[]){82, BYTES, 1, 4}, 2);
        message_set(&m, 256);
        for (uint32_t r = 0; r < RECORDS; r++) {
            message_u32(&m, i * RECORDS + r);
            for (int b = 4; b < BYTES; b++)
                message_u8(&m, 'v');
            message_u32(&m, i * RECORDS + r);
        }
        assert_int_equal(input_take(&input, message_end(&m), 1), AGENT_REFUSAL_NONE);
    }
    assert_int_equal(input_flush(&input), RECORDS * MESSAGES);
    assert_true(input.batch_count > 4);
    struct weir_batch_encoder *encoder = NULL;
    assert_int_equal(weir_batch_encoder_create(WEIR_CODEC_NONE, &encoder), 0);
    uint32_t at = 0;
    for (size_t b = 0; b < input.batch_count; b++) {
        const struct weir_extra_column *column = &input.batches[b]->extras[0];
        assert_true(column->values.size <= WEIR_EXTRA_BYTES_MOST);
        const uint64_t *bytes = input.batches[b]->column[WEIR_FIELD_bytes];
        for (uint32_t r = 0; r < input.batches[b]->count; r++, at++) {
            assert_int_equal(bytes[r], at);
            assert_int_equal(weir_load_u32be(column->values.data + r * (BYTES + 1) + 1), at);
        }
        struct weir_batch_header header;
        struct weir_buf body = WEIR_BUF_INIT;
        assert_int_equal(weir_batch_encode(encoder, input.batches[b], &header, &body), 0);
        assert_true(header.raw_bytes <= WEIR_BODY_RAW_MOST);
        weir_buf_fini(&body);
    }
    assert_int_equal(agent_gather_extra_bytes(input.gather), 0);
    weir_batch_encoder_destroy(encoder);
}

static void without_memory_flows_stay_and_the_values_that_are_lost_are_counted(void **state)
{
    (void)state;
    enum { BYTES = 100 };
    message_ipfix(&m, 1700000000, 0, 7);
    message_template(&m, 256, (const uint16_t[]){82, BYTES, 1, 4}, 2);
    message_records(&m, 256, 1, BYTES + 4);
    assert_int_equal(input_take(&input, message_end(&m), 1), AGENT_REFUSAL_NONE);
    message_ipfix(&m, 1700000000, 1, 7);
    message_records(&m, 256, 3, BYTES + 4); /* more than the first 256 bytes of the column hold */
    struct weir_view view = message_end(&m);
    weir_mem_fail_after(0);
    assert_int_equal(input_take(&input, view, 1), AGENT_REFUSAL_NONE);
    weir_mem_fail_after(-1);
    assert_int_equal(input_flush(&input), 4);
    assert_int_equal(INPUT_COUNT(&input, extras_no_memory), 3);

    struct weir_batch_encoder *encoder = NULL;
    struct weir_batch_decoder *decoder = NULL;
    struct weir_batch *got = NULL;
    struct weir_batch_header header;
    assert_int_equal(weir_batch_encoder_create(WEIR_CODEC_NONE, &encoder), 0);
    assert_int_equal(weir_batch_decoder_create(&decoder), 0);
    assert_int_equal(weir_batch_create(1, &got), 0);
    weir_buf_clear(&buf);
    assert_int_equal(weir_batch_encode(encoder, input.batches[0], &header, &buf), 0);
    uint64_t all = WEIR_COLUMNS_ALL | WEIR_COLUMNS_EXTRA;
    assert_int_equal(weir_batch_decode(decoder, &header, weir_buf_view(&buf), all, got), 0);
    assert_int_equal(got->count, 4);
    assert_null(got->extras);
    weir_batch_destroy(got);
    weir_batch_decoder_destroy(decoder);
    weir_batch_encoder_destroy(encoder);
}

static void types_that_nobody_named_are_those_of_the_registry(void **state)
{
    (void)state;
    assert_int_equal(agent_element_extra_type(0, 351), WEIR_EXTRA_UNSIGNED);
    assert_int_equal(agent_element_extra_type(0, 434), WEIR_EXTRA_SIGNED);
    assert_int_equal(agent_element_extra_type(0, 311), WEIR_EXTRA_FLOAT);
    assert_int_equal(agent_element_extra_type(0, 276), WEIR_EXTRA_BOOLEAN);
    assert_int_equal(agent_element_extra_type(0, 47), WEIR_EXTRA_ADDRESS);
    assert_int_equal(agent_element_extra_type(0, 365), WEIR_EXTRA_MAC);
    assert_int_equal(agent_element_extra_type(0, 82), WEIR_EXTRA_STRING);
    assert_int_equal(agent_element_extra_type(0, 260), WEIR_EXTRA_SECONDS);
    assert_int_equal(agent_element_extra_type(0, 258), WEIR_EXTRA_MILLISECONDS);
    assert_int_equal(agent_element_extra_type(0, 271), WEIR_EXTRA_NTP);
    assert_int_equal(agent_element_extra_type(0, 90), WEIR_EXTRA_OCTETS);
    assert_int_equal(agent_element_extra_type(9, 351), WEIR_EXTRA_OCTETS);
    assert_int_equal(agent_element_extra_type(0, 40000), WEIR_EXTRA_OCTETS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up_named, tear_down)
        TEST(named_elements_are_kept_as_they_were_sent_beside_flows_that_have_none),
        TEST(an_enterprises_element_is_not_ianas_of_the_same_number),
        TEST(an_element_that_stands_twice_in_a_template_counts_once),
        TEST(a_long_value_is_cut_and_counted),
        TEST(both_directions_of_a_record_have_its_values),
        TEST(batches_close_before_their_values_are_too_many_and_nothing_is_lost),
        TEST(without_memory_flows_stay_and_the_values_that_are_lost_are_counted),
        cmocka_unit_test(types_that_nobody_named_are_those_of_the_registry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
