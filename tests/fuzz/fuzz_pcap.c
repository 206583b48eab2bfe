/** A capture from anywhere: pcap and pcapng. */
#include "console/cli/pcap.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pcap pcap;
    struct pcap_datagram datagram;
    if (pcap_begin(weir_view_of(data, size), &pcap) < 0) return 0;
    uint64_t bytes = 0;
    while (pcap_next(&pcap, &datagram) > 0) {
        assert(datagram.payload.data >= data && datagram.payload.data + datagram.payload.size <= data + size);
        assert(datagram.time_us >= 0);
        for (size_t i = 0; i < datagram.payload.size; i++)
            bytes += datagram.payload.data[i];
    }
    const struct pcap_counts *c = &pcap.counts;
    assert(c->packets == c->datagrams + c->not_udp + c->fragments + c->cut + c->malformed);
    return bytes == UINT64_MAX;
}
