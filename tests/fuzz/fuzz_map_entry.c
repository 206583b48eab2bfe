/** A shard's entry out of a map store, and the file in which a node keeps the map: what is read prints as it was read. */
#include "common/base/hash.h"
#include "common/base/mem.h"
#include "common/cluster/entry.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one(struct weir_view text)
{
    struct weir_entry entry, again;
    struct weir_buf printed = WEIR_BUF_INIT;
    if (weir_entry_parse(text, &entry, NULL) < 0) return;
    weir_entry_print(&entry, &printed);
    assert(weir_view_equal(weir_buf_view(&printed), text));
    assert(weir_entry_parse(weir_buf_view(&printed), &again, NULL) == 0 && weir_entry_equal(&entry, &again));
    weir_buf_fini(&printed);
}

static void all(struct weir_view text)
{
    struct weir_entries *entries = weir_malloc(2 * sizeof *entries);
    struct weir_buf printed = WEIR_BUF_INIT;
    if (entries == NULL) abort();
    if (weir_entries_parse(text, &entries[0], NULL) == 0) {
        weir_entries_print(&entries[0], &printed);
        assert(weir_entries_parse(weir_buf_view(&printed), &entries[1], NULL) == 0);
        for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
            assert(weir_entry_equal(&entries[0].at[shard], &entries[1].at[shard]));
    }
    weir_buf_fini(&printed);
    weir_free(entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_view text = weir_view_of(data, size);
    struct weir_buf summed = WEIR_BUF_INIT;
    one(text);
    all(text);
    weir_buf_append(&summed, data, size); /* and with a sum that is right, which a fuzzer does not find */
    weir_buf_printf(&summed, "crc32c %08" PRIx32 "\n", weir_crc32c(0, data, size));
    all(weir_buf_view(&summed));
    weir_buf_fini(&summed);
    return 0;
}
