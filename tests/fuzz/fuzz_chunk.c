/* Any bytes as a chunk of rows: what is accepted must survive a round trip. The first byte chooses the table. */
#include "aggregator/store/chunk.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct agg_chunk chunk, again;
    if (size == 0) return 0;
    enum agg_table table = AGG_TABLE_SRC + data[0] % (AGG_TABLES - AGG_TABLE_SRC);
    if (agg_chunk_decode(weir_view_of(data + 1, size - 1), table, &chunk) < 0) return 0;

    struct weir_buf bytes = WEIR_BUF_INIT;
    if (agg_chunk_encode(&chunk, &bytes) < 0) abort();
    if (agg_chunk_decode(weir_buf_view(&bytes), table, &again) < 0) abort();
    if (again.count != chunk.count || again.v4 != chunk.v4 || again.sampled != chunk.sampled) abort();
    for (uint32_t i = 0; i < chunk.count; i++) {
        struct weir_ip before = agg_chunk_ip(&chunk, 0, i), after = agg_chunk_ip(&again, 0, i);
        if (!weir_ip_equal(&before, &after)) abort();
        if (chunk.flows[i] != again.flows[i] || chunk.bytes[i] != again.bytes[i]) abort();
    }
    weir_buf_fini(&bytes);
    return 0;
}
