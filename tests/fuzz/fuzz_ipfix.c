/** IPFIX with whatever bytes behind the version (tests/support/datagrams.h). */
#include "tests/support/datagrams.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    datagrams_decode(weir_view_of(data, size), weir_view_of((const uint8_t *)"\x00\x0a", 2));
    return 0;
}
