/** Reading a flow out of the first bytes of a packet, as sFlow samples them (and IPFIX in dataLinkFrameSection). */
#ifndef WEIR_AGENT_DECODE_PACKET_H
#define WEIR_AGENT_DECODE_PACKET_H

#include "common/flow/flow.h"

/** What the bytes begin with; the numbers of sFlow's header_protocol. */
enum agent_link_layer {
    AGENT_LINK_ETHERNET = 1,
    AGENT_LINK_PPP = 7,
    AGENT_LINK_IPV4 = 11,
    AGENT_LINK_IPV6 = 12,
    AGENT_LINK_MPLS = 13,
    AGENT_LINK_POS = 14, /* PPP over SONET */
};

/** Of a packet in a tunnel (IP in IP, GRE, VXLAN, Geneve), which is the flow. In the order of the option `tunnels`. */
enum agent_tunnels {
    AGENT_TUNNELS_OUTER, /* between the ends of the tunnel */
    AGENT_TUNNELS_INNER, /* what it carries, if that is IP and was sampled; the innermost of several */
};

/**
 * Fill in what the bytes tell: MACs, VLANs (the outer tag, and the one behind it), addresses, protocol, ports, flags. Bytes that are cut or
 * strange end the reading; what was read before stays. Returns the columns filled in.
 */
uint64_t agent_packet_read(enum agent_link_layer link, struct weir_view bytes, enum agent_tunnels tunnels,
                           struct weir_flow *flow);

/** The same, where nothing else says the packet's length: *ip_bytes is what its outermost IP header says, 0 without. */
uint64_t agent_packet_read_section(enum agent_link_layer link, struct weir_view bytes, enum agent_tunnels tunnels,
                                   struct weir_flow *flow, uint32_t *ip_bytes);

#endif
