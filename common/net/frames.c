#include "common/net/frames.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <zmq.h>

_Static_assert(sizeof(struct weir_frame) == sizeof(zmq_msg_t), "a frame is a zmq_msg_t");
_Static_assert(_Alignof(struct weir_frame) >= _Alignof(zmq_msg_t), "a frame is aligned as a zmq_msg_t");

static zmq_msg_t *msg_of(const struct weir_frame *frame)
{
    return (zmq_msg_t *)(uintptr_t)frame;
}

void weir_frames_clear(struct weir_frames *frames)
{
    for (uint32_t i = 0; i < frames->count; i++)
        zmq_msg_close(msg_of(&frames->frame[i]));
    frames->count = 0;
}

struct weir_view weir_frames_view(const struct weir_frames *frames, uint32_t index)
{
    zmq_msg_t *msg = msg_of(&frames->frame[index]);
    return weir_view_of(zmq_msg_data(msg), zmq_msg_size(msg));
}

int weir_frames_add(struct weir_frames *frames, struct weir_view bytes)
{
    if (frames->count == WEIR_FRAMES_MOST) return WEIR_EFULL;
    zmq_msg_t *msg = msg_of(&frames->frame[frames->count]);
    if (zmq_msg_init_size(msg, bytes.size) < 0) return WEIR_ENOMEM;
    if (bytes.size > 0) memcpy(zmq_msg_data(msg), bytes.data, bytes.size);
    frames->count++;
    return 0;
}

static void free_given(void *memory, void *hint)
{
    (void)hint;
    weir_free(memory);
}

int weir_frames_give(struct weir_frames *frames, void **memory_p, size_t size)
{
    if (frames->count == WEIR_FRAMES_MOST) return WEIR_EFULL;
    zmq_msg_t *msg = msg_of(&frames->frame[frames->count]);
    if (zmq_msg_init_data(msg, *memory_p, size, free_given, NULL) < 0) return WEIR_ENOMEM;
    *memory_p = NULL;
    frames->count++;
    return 0;
}

int weir_frames_share(struct weir_frames *frames, const struct weir_frames *other, uint32_t index)
{
    if (frames->count == WEIR_FRAMES_MOST) return WEIR_EFULL;
    zmq_msg_t *msg = msg_of(&frames->frame[frames->count]);
    zmq_msg_init(msg);
    zmq_msg_copy(msg, msg_of(&other->frame[index]));
    frames->count++;
    return 0;
}

void weir_frames_move(struct weir_frames *to, struct weir_frames *from)
{
    weir_frames_clear(to);
    for (uint32_t i = 0; i < from->count; i++) {
        zmq_msg_t *msg = msg_of(&to->frame[i]);
        zmq_msg_init(msg);
        zmq_msg_move(msg, msg_of(&from->frame[i]));
        zmq_msg_close(msg_of(&from->frame[i]));
    }
    to->count = from->count;
    from->count = 0;
}
