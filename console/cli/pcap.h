/**
 * The UDP payloads of a capture: pcap (both byte orders, micro- and nanoseconds) and pcapng; Ethernet with VLAN tags,
 * Linux cooked (SLL, SLL2), raw IP and BSD loopback; IPv4 and IPv6. Pure: walks bytes in memory.
 *
 * https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html and -pcapng-02.html
 */
#ifndef WEIR_CONSOLE_CLI_PCAP_H
#define WEIR_CONSOLE_CLI_PCAP_H

#include "common/base/err.h"
#include "common/flow/ip.h"

enum { PCAP_INTERFACES_MOST = 64 };

/** What was passed over, by reason: read = datagrams + the sum of these. */
struct pcap_counts {
    uint64_t packets; /* read */
    uint64_t datagrams;
    uint64_t not_udp;
    uint64_t fragments;
    uint64_t cut; /* the capture kept less than the whole payload */
    uint64_t malformed;
};

struct pcap_datagram {
    struct weir_ip src;
    struct weir_ip dst;
    uint16_t src_port;
    uint16_t dst_port;
    int64_t time_us;          /* since 1970 UTC; 0 where the capture does not say */
    struct weir_view payload; /* borrowed from the capture */
};

/** A place in a capture. */
struct pcap {
    struct weir_cursor at;
    bool swapped; /* little-endian file: cursor numbers are swapped */
    bool next_generation;
    uint32_t link[PCAP_INTERFACES_MOST];  /* link type of an interface; pcap: of the file */
    uint64_t ticks[PCAP_INTERFACES_MOST]; /* of its clock, a second */
    uint32_t interfaces;
    struct pcap_counts counts;
};

/** Begin to walk @capture, which the caller keeps. WEIR_EFORMAT when it is no capture. */
int pcap_begin(struct weir_view capture, struct pcap *ret);

/**
 * Step to the next UDP datagram. 1 with *ret filled, 0 at the end, WEIR_ESHORT when the file ends in the middle of a
 * record, WEIR_EFORMAT when it is damaged.
 */
int pcap_next(struct pcap *pcap, struct pcap_datagram *ret);

#endif
