/**
 * A message of several frames, whose bytes are owned by it. Frames that were received can be put into another message
 * without copying their bytes (they are counted references), which is how a broker forwards a batch.
 *
 * Lives in the caller's storage; one thread at a time.
 */
#ifndef WEIR_COMMON_NET_FRAMES_H
#define WEIR_COMMON_NET_FRAMES_H

#include "common/base/bytes.h"

enum { WEIR_FRAMES_MOST = 4 };

/** One frame; what is in it is this folder's business. */
struct weir_frame {
    _Alignas(8) unsigned char opaque[64];
};

struct weir_frames {
    uint32_t count;
    struct weir_frame frame[WEIR_FRAMES_MOST];
};

/** An empty message. */
#define WEIR_FRAMES_INIT ((struct weir_frames){.count = 0})

/** Drop all frames. The message is empty and usable afterwards. */
void weir_frames_clear(struct weir_frames *frames);

/** The bytes of frame @index; borrowed until the message is changed or sent. */
struct weir_view weir_frames_view(const struct weir_frames *frames, uint32_t index);

/** Append a frame with a copy of @bytes. WEIR_EFULL, WEIR_ENOMEM. */
int weir_frames_add(struct weir_frames *frames, struct weir_view bytes);

/**
 * Append a frame that takes @memory, allocated with weir_malloc; it is freed, in any thread, once it was sent.
 * WEIR_EFULL, WEIR_ENOMEM: the memory stays the caller's.
 */
int weir_frames_give(struct weir_frames *frames, void **memory_p, size_t size);

/** Append a frame that shares the bytes of frame @index of @other. WEIR_EFULL. */
int weir_frames_share(struct weir_frames *frames, const struct weir_frames *other, uint32_t index);

/** Move all frames to @to, which is cleared first; @from is empty then. */
void weir_frames_move(struct weir_frames *to, struct weir_frames *from);

#endif
