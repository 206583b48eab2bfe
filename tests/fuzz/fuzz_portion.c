/** A portion of a shard's past, as another aggregator might send it: what is given out lies within it, and is the shard's. */
#include "aggregator/replica_past.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    uint32_t shard = data[0] % WEIR_SHARDS;
    struct agg_portion entry = {.rest = weir_view_of(data + 1, size - 1)};
    size_t before = entry.rest.size;
    while (agg_portion_next(&entry, shard) == 1) {
        if (entry.family >= AGG_FAMILIES || entry.rest.size >= before) abort();
        if (entry.key.data < data || entry.value.data + entry.value.size > data + size) abort();
        if (entry.family != AGG_FAMILY_META && weir_load_u16be(entry.key.data) != shard) abort();
        before = entry.rest.size;
    }
    return 0;
}
