/** Every decoder with whatever bytes, several protocols of one exporter among each other (tests/support/datagrams.h). */
#include "tests/support/datagrams.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    datagrams_decode(weir_view_of(data, size), (struct weir_view){0});
    return 0;
}
