/* Any bytes as the header of a batch: what is accepted must survive a round trip. */
#include "common/wire/batch.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_batch_header header;
    if (weir_batch_header_decode(weir_view_of(data, size), &header) < 0) return 0;

    struct weir_buf again = WEIR_BUF_INIT;
    struct weir_batch_header same;
    if (weir_batch_header_encode(&header, &again) < 0) abort();
    if (weir_batch_header_decode(weir_buf_view(&again), &same) < 0) abort();
    if (same.kind != header.kind || same.present != header.present || same.totals.flows != header.totals.flows) abort();
    weir_buf_fini(&again);
    return 0;
}
