/**
 * IPFIX over a stream (RFC 7011 10.4.2): messages follow one another, each as long as its header says. Pure: bytes in,
 * messages out; what has not come to its end is kept.
 */
#ifndef WEIR_AGENT_FRAMES_H
#define WEIR_AGENT_FRAMES_H

#include "common/base/bytes.h"
#include "common/base/err.h"

/** One stream; zero it to begin. Holds one unfinished message at most, so 65,535 bytes. */
struct agent_frames {
    uint8_t *kept;
    uint32_t size;
    uint32_t capacity;
};

/** A whole message, borrowed for the call. */
typedef void agent_frame_fn(void *ctx, struct weir_view message);

/**
 * Take the next bytes of the stream and hand each message that is whole to @take. *bytes is empty after, or
 *   WEIR_EFORMAT  what stands where a message should begin is none: the stream cannot be followed any further
 *   WEIR_ENOMEM   the beginning of a message cannot be kept: the same
 * with *bytes at what was not used.
 */
int agent_frames_feed(struct agent_frames *frames, struct weir_view *bytes, agent_frame_fn *take, void *ctx);

/** Forget the unfinished message. */
void agent_frames_fini(struct agent_frames *frames);

#endif
