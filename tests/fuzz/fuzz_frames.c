/**
 * The framing of IPFIX over TCP. The first half of the input says where the stream, the second half, is cut; however
 * it is cut, the same messages come out, and it ends at the same place.
 */
#include "agent/frames.h"
#include "common/base/buf.h"
#include "common/base/mem.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct taken {
    struct weir_buf bytes;
    size_t count;
};

static void take(void *ctx, struct weir_view message)
{
    struct taken *taken = ctx;
    assert(message.size >= 16 && weir_load_u16be(message.data + 2) == message.size);
    weir_buf_append(&taken->bytes, message.data, message.size);
    taken->count++;
}

static int feed(struct agent_frames *frames, struct weir_view bytes, struct taken *taken)
{
    return agent_frames_feed(frames, &bytes, take, taken);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_view cuts = weir_view_of(data, size / 2);
    struct weir_view stream = weir_view_of(data + cuts.size, size - cuts.size);

    struct taken at_once = {.bytes = WEIR_BUF_INIT};
    struct agent_frames whole = {0};
    int rc_at_once = feed(&whole, stream, &at_once);

    struct taken in_pieces = {.bytes = WEIR_BUF_INIT};
    struct agent_frames cut = {0};
    int rc = 0;
    struct weir_cursor c = weir_cursor_of(stream);
    for (size_t i = 0; rc == 0 && weir_cursor_left(&c) > 0; i++) {
        size_t piece = cuts.size == 0 ? 1 : 1 + (size_t)cuts.data[i % cuts.size];
        if (piece > weir_cursor_left(&c)) piece = weir_cursor_left(&c);
        uint8_t *exact = weir_malloc(piece); /* so that ASan sees one byte too many */
        if (exact == NULL) abort();
        memcpy(exact, weir_cursor_take(&c, piece), piece);
        rc = feed(&cut, weir_view_of(exact, piece), &in_pieces);
        weir_free(exact);
        assert(cut.size <= cut.capacity && cut.capacity <= UINT16_MAX);
    }
    assert(rc == rc_at_once && in_pieces.count == at_once.count);
    assert(weir_view_equal(weir_buf_view(&in_pieces.bytes), weir_buf_view(&at_once.bytes)));
    assert(rc < 0 || (whole.size == cut.size && at_once.bytes.size + whole.size == stream.size));

    agent_frames_fini(&whole);
    agent_frames_fini(&cut);
    weir_buf_fini(&at_once.bytes);
    weir_buf_fini(&in_pieces.bytes);
    return 0;
}
