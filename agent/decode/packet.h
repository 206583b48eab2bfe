/** Reading a flow out of the first bytes of a packet, as sFlow samples them (and IPFIX in dataLinkFrameSection). */
#ifndef WEIR_AGENT_DECODE_PACKET_H
#define WEIR_AGENT_DECODE_PACKET_H

#include "common/flow/flow.h"

/** What the bytes begin with; the numbers of sFlow's header_protocol. */
enum agent_link_layer {
    AGENT_LINK_ETHERNET = 1,
    AGENT_LINK_IPV4 = 11,
    AGENT_LINK_IPV6 = 12,
};

/**
 * Fill in what the bytes tell: MACs, VLAN, addresses, protocol, ports, flags. Bytes that are cut or strange end the
 * reading; what was read before stays. Returns the columns filled in.
 */
uint64_t agent_packet_read(enum agent_link_layer link, struct weir_view bytes, struct weir_flow *flow);

#endif
