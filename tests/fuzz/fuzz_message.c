/* Any bytes as a delivery message: what is accepted must survive a round trip. */
#include "common/wire/message.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_msg msg;
    if (weir_msg_decode(weir_view_of(data, size), &msg) < 0) return 0;

    struct weir_buf again = WEIR_BUF_INIT;
    struct weir_msg same;
    if (weir_msg_encode(&msg, &again) < 0) abort();
    if (weir_msg_decode(weir_buf_view(&again), &same) < 0) abort();
    if (same.kind != msg.kind || same.seq != msg.seq || same.lane_count != msg.lane_count) abort();
    weir_buf_fini(&again);
    return 0;
}
