/** Streams of IPFIX messages (RFC 7011 10.4.2), cut wherever TCP may cut them. */
#include "agent/frames.h"

#include "common/base/buf.h"
#include "common/base/mem.h"

#include "tests/support/cmocka.h"

struct taken {
    struct weir_buf bytes; /* of all messages, one after the other */
    size_t count;
    size_t longest;
};

static void take(void *ctx, struct weir_view message)
{
    struct taken *taken = ctx;
    weir_buf_append(&taken->bytes, message.data, message.size);
    if (message.size > taken->longest) taken->longest = message.size;
    taken->count++;
}

static int feed(struct agent_frames *frames, struct weir_view bytes, struct taken *taken)
{
    return agent_frames_feed(frames, &bytes, take, taken);
}

/** A message of @size bytes whose content is @fill. */
static void append_message(struct weir_buf *stream, uint16_t size, uint8_t fill)
{
    weir_buf_u8(stream, 0);
    weir_buf_u8(stream, 10);
    weir_buf_u8(stream, (uint8_t)(size >> 8));
    weir_buf_u8(stream, (uint8_t)size);
    for (uint16_t i = 4; i < size; i++)
        weir_buf_u8(stream, fill);
}

static void messages_come_out_whole_wherever_the_stream_is_cut(void **state)
{
    (void)state;
    struct weir_buf stream = WEIR_BUF_INIT;
    append_message(&stream, 16, 1);
    append_message(&stream, 40, 2);
    append_message(&stream, 17, 3);
    append_message(&stream, 300, 4);
    for (size_t piece = 1; piece <= stream.size; piece++) {
        struct taken taken = {.bytes = WEIR_BUF_INIT};
        struct agent_frames frames = {0};
        for (size_t at = 0; at < stream.size; at += piece) {
            size_t size = stream.size - at < piece ? stream.size - at : piece;
            assert_int_equal(feed(&frames, weir_view_of(stream.data + at, size), &taken), 0);
        }
        assert_int_equal(taken.count, 4);
        assert_int_equal(taken.longest, 300);
        assert_true(weir_view_equal(weir_buf_view(&taken.bytes), weir_buf_view(&stream)));
        assert_null(frames.kept); /* nothing is held where nothing is open */
        weir_buf_fini(&taken.bytes);
    }
    weir_buf_fini(&stream);
}

static void the_longest_message_there_can_be_is_taken(void **state)
{
    (void)state;
    struct weir_buf stream = WEIR_BUF_INIT;
    struct taken taken = {.bytes = WEIR_BUF_INIT};
    struct agent_frames frames = {0};
    append_message(&stream, 65535, 7);
    assert_int_equal(feed(&frames, weir_view_of(stream.data, 65534), &taken), 0);
    assert_int_equal(taken.count, 0);
    assert_int_equal(frames.capacity, 65535);
    assert_int_equal(feed(&frames, weir_view_of(stream.data + 65534, 1), &taken), 0);
    assert_int_equal(taken.longest, 65535);
    weir_buf_fini(&taken.bytes);
    weir_buf_fini(&stream);
}

static void what_is_no_message_ends_the_stream_after_those_before_it(void **state)
{
    (void)state;
    static const uint8_t strangers[][4] = {
        {0, 9, 0, 20},  /* NetFlow v9 */
        {0, 10, 0, 15}, /* shorter than a header */
        {0, 10, 0, 0},  /* would not move on */
        {'G', 'E', 'T', ' '},
    };
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        for (size_t cut = 16; cut <= 20; cut++) {
            struct weir_buf stream = WEIR_BUF_INIT;
            struct taken taken = {.bytes = WEIR_BUF_INIT};
            struct agent_frames frames = {0};
            append_message(&stream, 16, 1);
            weir_buf_append(&stream, strangers[i], 4);
            int rc = feed(&frames, weir_view_of(stream.data, cut), &taken);
            if (rc == 0) {
                rc = feed(&frames, weir_view_of(stream.data + cut, stream.size - cut), &taken);
            }
            assert_int_equal(rc, WEIR_EFORMAT);
            assert_int_equal(taken.count, 1);
            agent_frames_fini(&frames);
            weir_buf_fini(&taken.bytes);
            weir_buf_fini(&stream);
        }
    }
}

static void without_memory_the_stream_ends(void **state)
{
    (void)state;
    struct weir_buf stream = WEIR_BUF_INIT;
    struct taken taken = {.bytes = WEIR_BUF_INIT};
    append_message(&stream, 100, 1);
    for (int64_t n = 0;; n++) {
        struct agent_frames frames = {0};
        weir_mem_fail_after(n);
        int rc = feed(&frames, weir_view_of(stream.data, 3), &taken);
        if (rc == 0) rc = feed(&frames, weir_view_of(stream.data + 3, 50), &taken);
        bool failed = weir_mem_failed();
        weir_mem_fail_after(-1);
        agent_frames_fini(&frames);
        assert_int_equal(rc, failed ? WEIR_ENOMEM : 0);
        if (!failed) break;
    }
    assert_int_equal(taken.count, 0);
    weir_buf_fini(&stream);
    weir_buf_fini(&taken.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_out_whole_wherever_the_stream_is_cut),
        cmocka_unit_test(the_longest_message_there_can_be_is_taken),
        cmocka_unit_test(what_is_no_message_ends_the_stream_after_those_before_it),
        cmocka_unit_test(without_memory_the_stream_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
