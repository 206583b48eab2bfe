/*
 * Any bytes as the body of a batch. The first byte is the codec, the next two the number of flows, the next three the
 * size before compression; the rest is the body.
 */
#include "common/wire/batch.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct weir_batch_decoder *decoder;
    static struct weir_batch *batch;
    if (decoder == NULL && (weir_batch_decoder_create(&decoder) < 0 || weir_batch_create(1, &batch) < 0)) abort();

    struct weir_cursor c = weir_cursor_of(weir_view_of(data, size));
    struct weir_batch_header header = {.kind = WEIR_RECORD_DATA, .schema = WEIR_SCHEMA};
    header.codec = (enum weir_codec)(weir_cursor_u8(&c) % 4);
    header.totals.flows = weir_cursor_u16(&c) % (WEIR_BATCH_MOST + 1);
    header.raw_bytes = (uint32_t)weir_cursor_u8(&c) << 16 | weir_cursor_u16(&c);
    if (c.ran_out) return 0;

    struct weir_view body = weir_view_of(c.at, weir_cursor_left(&c));
    int rc = weir_batch_decode(decoder, &header, body, WEIR_COLUMNS_ALL | WEIR_COLUMNS_EXTRA, batch);
    if (!weir_batch_check(batch)) abort();
    if (batch->count != (rc == 0 ? header.totals.flows : 0)) abort();
    struct weir_buf row = WEIR_BUF_INIT;
    for (uint32_t i = 0; i < batch->count; i++) {
        weir_buf_clear(&row);
        weir_batch_extra_row(batch, i, &row);
        struct weir_extra_value value;
        struct weir_cursor values = weir_cursor_of(weir_buf_view(&row));
        while (weir_extra_next(&values, &value) > 0)
            continue;
        if (values.ran_out) abort();
    }
    weir_buf_fini(&row);
    return 0;
}
