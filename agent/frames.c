#include "agent/frames.h"

#include "common/base/mem.h"

enum { VERSION = 10, PREFIX_BYTES = 4, HEADER_BYTES = 16 };

/** The length of the message that begins with these four bytes, or WEIR_EFORMAT. */
static int length_of(const uint8_t *prefix)
{
    uint16_t length = weir_load_u16be(prefix + 2);
    return weir_load_u16be(prefix) == VERSION && length >= HEADER_BYTES ? length : WEIR_EFORMAT;
}

/** Move bytes of the stream to the kept ones until there are @wanted, or none are left. */
static int keep(struct agent_frames *frames, struct weir_cursor *c, uint32_t wanted)
{
    if (wanted > frames->capacity) {
        uint8_t *more = weir_realloc(frames->kept, wanted);
        if (more == NULL) return WEIR_ENOMEM;
        frames->kept = more;
        frames->capacity = wanted;
    }
    size_t bytes = weir_cursor_left(c);
    if (bytes > wanted - frames->size) bytes = wanted - frames->size;
    memcpy(frames->kept + frames->size, weir_cursor_take(c, bytes), bytes);
    frames->size += (uint32_t)bytes;
    return 0;
}

/** Go on with the message that is kept; it is done when nothing is kept any more. */
static int finish(struct agent_frames *frames, struct weir_cursor *c, agent_frame_fn *take, void *ctx)
{
    int rc = 0;
    if (frames->size < PREFIX_BYTES) {
        rc = keep(frames, c, PREFIX_BYTES);
        if (rc < 0 || frames->size < PREFIX_BYTES) return rc;
    }
    int length = length_of(frames->kept);
    if (length < 0) return length;
    rc = keep(frames, c, (uint32_t)length);
    if (rc < 0 || frames->size < (uint32_t)length) return rc;
    take(ctx, weir_view_of(frames->kept, frames->size));
    agent_frames_fini(frames);
    return 0;
}

int agent_frames_feed(struct agent_frames *frames, struct weir_view *bytes, agent_frame_fn *take, void *ctx)
{
    struct weir_cursor c = weir_cursor_of(*bytes);
    int rc = 0;
    while (rc == 0 && weir_cursor_left(&c) > 0) {
        bool readable = frames->size == 0 && weir_cursor_left(&c) >= PREFIX_BYTES;
        int length = readable ? length_of(c.at) : 0;
        if (length < 0) {
            rc = length;
        } else if (readable && weir_cursor_left(&c) >= (size_t)length) { /* no need to copy it */
            take(ctx, weir_view_of(weir_cursor_take(&c, (size_t)length), (size_t)length));
        } else {
            rc = finish(frames, &c, take, ctx);
        }
    }
    *bytes = weir_view_of(c.at, weir_cursor_left(&c));
    return rc;
}

void agent_frames_fini(struct agent_frames *frames)
{
    weir_free(frames->kept);
    *frames = (struct agent_frames){0};
}
