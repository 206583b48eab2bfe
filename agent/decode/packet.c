#include "agent/decode/packet.h"

#include <netinet/in.h>

enum {
    TAGS_MOST = 4,
    LABELS_MOST = 16,
    EXTENSIONS_MOST = 8,
    TUNNELS_MOST = 4,
};

enum { PORT_VXLAN = 4789, PORT_VXLAN_LINUX = 8472, PORT_GENEVE = 6081 };

/** What comes next in a packet. */
enum layer {
    LAYER_END,
    LAYER_ETHERNET,
    LAYER_PPP,
    LAYER_IPV4,
    LAYER_IPV6,
    LAYER_MPLS,
    LAYER_TRANSPORT, /* by flow->proto */
    LAYER_GRE,
    LAYER_VXLAN,
    LAYER_GENEVE,
};

/* A body for each of the two callers: with one for both, sFlow would pay 6 % for the sections of others. */
#define INLINED static inline __attribute__((always_inline))

#define COLUMN(field) (1ull << WEIR_FIELD_##field)

static const uint64_t ip_columns = COLUMN(src_ip) | COLUMN(dst_ip) | COLUMN(proto) | COLUMN(tos);
static const uint64_t packet_columns = COLUMN(src_ip) | COLUMN(dst_ip) | COLUMN(proto) | COLUMN(tos) |
                                       COLUMN(src_port) | COLUMN(dst_port) | COLUMN(tcp_flags) | COLUMN(icmp_type_code);

/** A packet that is being read. */
struct packet {
    struct weir_cursor c;
    struct weir_flow *flow;
    uint64_t columns;
    uint32_t ip_bytes; /* of the last IP header */
};

static uint64_t load_mac(const uint8_t *at)
{
    return (uint64_t)weir_load_u16be(at) << 32 | weir_load_u32be(at + 2);
}

static enum layer layer_of_ethertype(uint16_t type)
{
    enum { IPV4 = 0x0800, IPV6 = 0x86dd, MPLS = 0x8847, MPLS_MULTICAST = 0x8848, BRIDGED = 0x6558 };
    switch (type) {
    case IPV4: return LAYER_IPV4;
    case IPV6: return LAYER_IPV6;
    case MPLS:
    case MPLS_MULTICAST: return LAYER_MPLS;
    case BRIDGED: return LAYER_ETHERNET; /* in GRE and Geneve */
    default: return LAYER_END;
    }
}

/** IEEE 802.3 with any number of tags (802.1Q, 802.1ad, and 0x9100 from before it was standard). */
INLINED enum layer read_ethernet(struct packet *p)
{
    enum { VLAN = 0x8100, QINQ = 0x88a8, QINQ_OLD = 0x9100, PPPOE = 0x8864, TYPE_LEAST = 1536, PPPOE_BYTES = 6 };
    const uint8_t *ethernet = weir_cursor_take(&p->c, 14);
    if (ethernet == NULL) return LAYER_END;
    p->flow->dst_mac = load_mac(ethernet);
    p->flow->src_mac = load_mac(ethernet + 6);
    p->columns |= COLUMN(src_mac) | COLUMN(dst_mac);
    uint16_t type = weir_load_u16be(ethernet + 12);
    const bool in_tunnel = (p->columns & COLUMN(vlan_in)) != 0; /* of a frame with tags */
    for (int i = 0; i < TAGS_MOST; i++) {
        if (type != VLAN && type != QINQ && type != QINQ_OLD) break;
        uint16_t tag = weir_cursor_u16(&p->c);
        type = weir_cursor_u16(&p->c);
        if (p->c.ran_out) return LAYER_END;
        if (in_tunnel || i > 1) continue;
        if (i == 0) p->flow->vlan_in = tag & 0x0fff;  /* the outermost: the port knows it */
        if (i == 1) p->flow->cvlan_in = tag & 0x0fff; /* behind it the customer's */
        p->columns |= i == 0 ? COLUMN(vlan_in) : COLUMN(cvlan_in);
    }
    if (type < TYPE_LEAST) { /* a length: LLC follows, and after SNAP with no organization a type */
        static const uint8_t snap[6] = {0xaa, 0xaa, 0x03};
        const uint8_t *llc = weir_cursor_take(&p->c, sizeof snap);
        type = weir_cursor_u16(&p->c);
        if (llc == NULL || memcmp(llc, snap, sizeof snap) != 0) return LAYER_END;
    }
    if (type == PPPOE) {
        weir_cursor_skip(&p->c, PPPOE_BYTES);
        return LAYER_PPP;
    }
    return layer_of_ethertype(type);
}

/** RFC 1661, 1662: address and control may be left out, and the first byte of the protocol where it is 0. */
INLINED enum layer read_ppp(struct packet *p)
{
    enum { IPV4 = 0x0021, IPV6 = 0x0057, MPLS = 0x0281 };
    if (weir_cursor_left(&p->c) >= 2 && p->c.at[0] == 0xff && p->c.at[1] == 0x03) weir_cursor_skip(&p->c, 2);
    uint16_t protocol = weir_cursor_u8(&p->c);
    if ((protocol & 1) == 0) protocol = (uint16_t)(protocol << 8 | weir_cursor_u8(&p->c));
    switch (protocol) {
    case IPV4: return LAYER_IPV4;
    case IPV6: return LAYER_IPV6;
    case MPLS: return LAYER_MPLS;
    default: return LAYER_END;
    }
}

INLINED enum layer read_mpls(struct packet *p)
{
    for (int i = 0; i < LABELS_MOST; i++) {
        uint32_t label = weir_cursor_u32(&p->c);
        if (p->c.ran_out) return LAYER_END;
        if ((label >> 8 & 1) == 0) continue;
        if (weir_cursor_left(&p->c) == 0) return LAYER_END;
        switch (p->c.at[0] >> 4) { /* no label says what it carries */
        case 4: return LAYER_IPV4;
        case 6: return LAYER_IPV6;
        default: return LAYER_END;
        }
    }
    return LAYER_END;
}

INLINED enum layer read_ipv4(struct packet *p)
{
    enum { HEADER_BYTES = 20, FRAGMENT_OFFSET = 0x1fff };
    const uint8_t *ip = weir_cursor_take(&p->c, HEADER_BYTES);
    if (ip == NULL || ip[0] >> 4 != 4) return LAYER_END;
    size_t header_bytes = (ip[0] & 0x0fu) * 4u;
    if (header_bytes < HEADER_BYTES) return LAYER_END;

    p->ip_bytes = weir_load_u16be(ip + 2);
    p->flow->tos = ip[1];
    p->flow->proto = ip[9];
    p->flow->src_ip = weir_ip_from_v4(ip + 12);
    p->flow->dst_ip = weir_ip_from_v4(ip + 16);
    p->columns |= ip_columns;
    weir_cursor_skip(&p->c, header_bytes - HEADER_BYTES);
    bool first = (weir_load_u16be(ip + 6) & FRAGMENT_OFFSET) == 0; /* only the first fragment has ports */
    return first ? LAYER_TRANSPORT : LAYER_END;
}

INLINED enum layer read_ipv6(struct packet *p)
{
    enum { HEADER_BYTES = 40, FRAGMENT_BYTES = 8 };
    const uint8_t *ip = weir_cursor_take(&p->c, HEADER_BYTES);
    if (ip == NULL || ip[0] >> 4 != 6) return LAYER_END;
    p->ip_bytes = HEADER_BYTES + weir_load_u16be(ip + 4);
    p->flow->tos = (uint8_t)(weir_load_u16be(ip) >> 4);
    p->flow->src_ip = weir_ip_from_v6(ip + 8);
    p->flow->dst_ip = weir_ip_from_v6(ip + 24);
    p->flow->proto = ip[6];
    p->columns |= ip_columns;

    for (int i = 0; i < EXTENSIONS_MOST; i++) {
        bool is_fragment = p->flow->proto == IPPROTO_FRAGMENT;
        size_t units = 8;
        size_t least = 1;
        switch (p->flow->proto) {
        case IPPROTO_HOPOPTS:
        case IPPROTO_ROUTING:
        case IPPROTO_DSTOPTS:
        case IPPROTO_MH:
        case IPPROTO_FRAGMENT: break;
        case IPPROTO_AH:
            units = 4;
            least = 2;
            break;
        default: return LAYER_TRANSPORT;
        }
        uint8_t next = weir_cursor_u8(&p->c);
        uint8_t length = weir_cursor_u8(&p->c);
        uint16_t fragment = weir_cursor_u16(&p->c);
        weir_cursor_skip(&p->c, (is_fragment ? FRAGMENT_BYTES : (length + least) * units) - 4);
        if (p->c.ran_out) return LAYER_END;
        p->flow->proto = next;
        if (is_fragment && (fragment & 0xfff8) != 0) return LAYER_END;
    }
    return LAYER_END;
}

/** Ports, flags, type and code; or what a tunnel announces. */
INLINED enum layer read_transport(struct packet *p)
{
    switch (p->flow->proto) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_SCTP:
    case IPPROTO_UDPLITE:
    case IPPROTO_DCCP: {
        uint16_t src_port = weir_cursor_u16(&p->c);
        uint16_t dst_port = weir_cursor_u16(&p->c);
        if (p->c.ran_out) return LAYER_END;
        p->flow->src_port = src_port;
        p->flow->dst_port = dst_port;
        p->columns |= COLUMN(src_port) | COLUMN(dst_port);
        break;
    }
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6: {
        uint16_t type_code = weir_cursor_u16(&p->c);
        if (p->c.ran_out) return LAYER_END;
        p->flow->icmp_type_code = type_code;
        p->columns |= COLUMN(icmp_type_code);
        return LAYER_END;
    }
    case IPPROTO_IPIP: return LAYER_IPV4;
    case IPPROTO_IPV6: return LAYER_IPV6;
    case IPPROTO_MPLS: return LAYER_MPLS;
    case IPPROTO_GRE: return LAYER_GRE;
    default: return LAYER_END;
    }

    if (p->flow->proto == IPPROTO_TCP) {
        weir_cursor_skip(&p->c, 8); /* sequence and acknowledgement */
        uint16_t flags = weir_cursor_u16(&p->c) & 0x0fff;
        if (p->c.ran_out) return LAYER_END;
        p->flow->tcp_flags = flags;
        p->columns |= COLUMN(tcp_flags);
    } else if (p->flow->proto == IPPROTO_UDP) {
        weir_cursor_skip(&p->c, 4); /* length and checksum */
        uint16_t port = p->flow->dst_port;
        if (port == PORT_VXLAN || port == PORT_VXLAN_LINUX) return LAYER_VXLAN;
        if (port == PORT_GENEVE) return LAYER_GENEVE;
    }
    return LAYER_END;
}

/** RFC 2784 and 2890; not version 1, which carries PPP for PPTP. */
INLINED enum layer read_gre(struct packet *p)
{
    enum { CHECKSUM = 0x8000, ROUTING = 0x4000, KEY = 0x2000, SEQUENCE = 0x1000, VERSION = 0x0007 };
    uint16_t flags = weir_cursor_u16(&p->c);
    uint16_t type = weir_cursor_u16(&p->c);
    if ((flags & (ROUTING | VERSION)) != 0) return LAYER_END;
    weir_cursor_skip(&p->c, 4u * (((flags & CHECKSUM) != 0) + ((flags & KEY) != 0) + ((flags & SEQUENCE) != 0)));
    return layer_of_ethertype(type);
}

/** RFC 7348. */
INLINED enum layer read_vxlan(struct packet *p)
{
    enum { HAS_VNI = 0x08 };
    uint8_t flags = weir_cursor_u8(&p->c);
    weir_cursor_skip(&p->c, 7);
    return (flags & HAS_VNI) != 0 ? LAYER_ETHERNET : LAYER_END;
}

/** RFC 8926. */
INLINED enum layer read_geneve(struct packet *p)
{
    uint8_t version_options = weir_cursor_u8(&p->c);
    weir_cursor_skip(&p->c, 1);
    uint16_t type = weir_cursor_u16(&p->c);
    weir_cursor_skip(&p->c, 4 + (version_options & 0x3fu) * 4);
    return version_options >> 6 == 0 ? layer_of_ethertype(type) : LAYER_END;
}

INLINED enum layer read_layer(struct packet *p, enum layer layer)
{
    switch (layer) {
    case LAYER_ETHERNET: return read_ethernet(p);
    case LAYER_PPP: return read_ppp(p);
    case LAYER_MPLS: return read_mpls(p);
    case LAYER_IPV4: return read_ipv4(p);
    case LAYER_IPV6: return read_ipv6(p);
    case LAYER_TRANSPORT: return read_transport(p);
    case LAYER_GRE: return read_gre(p);
    case LAYER_VXLAN: return read_vxlan(p);
    case LAYER_GENEVE: return read_geneve(p);
    case LAYER_END: break;
    }
    return LAYER_END;
}

/** Forget what was read of a packet but for the frame that it came in: what it carries is to be the flow. */
static void forget_packet(struct weir_flow *flow)
{
    flow->src_ip = flow->dst_ip = (struct weir_ip){{0}};
    flow->src_port = flow->dst_port = flow->tcp_flags = flow->icmp_type_code = 0;
    flow->proto = flow->tos = 0;
}

static enum layer layer_of_link(enum agent_link_layer link)
{
    switch (link) {
    case AGENT_LINK_ETHERNET: return LAYER_ETHERNET;
    case AGENT_LINK_PPP:
    case AGENT_LINK_POS: return LAYER_PPP;
    case AGENT_LINK_IPV4: return LAYER_IPV4;
    case AGENT_LINK_IPV6: return LAYER_IPV6;
    case AGENT_LINK_MPLS: return LAYER_MPLS;
    }
    return LAYER_END;
}

/* Every layer but the transport takes bytes, and the transport comes after one that did; without any it is the end. */
INLINED uint64_t read_packet(enum agent_link_layer link, struct weir_view bytes, enum agent_tunnels tunnels,
                             struct weir_flow *flow, uint32_t *ip_bytes)
{
    struct packet p = {.c = weir_cursor_of(bytes), .flow = flow};
    struct weir_flow outer;
    uint64_t outer_columns = 0;
    uint32_t outer_bytes = 0;
    int entered = 0;
    enum layer layer = layer_of_link(link);
    while (layer != LAYER_END) {
        bool in_tunnel = layer == LAYER_TRANSPORT;
        layer = read_layer(&p, layer);
        if (!in_tunnel || layer == LAYER_END) continue;
        if (tunnels == AGENT_TUNNELS_OUTER || entered == TUNNELS_MOST) break;
        if (entered++ == 0) outer_bytes = p.ip_bytes;
        outer = *flow;
        outer_columns = p.columns;
        p.columns &= ~packet_columns;
        forget_packet(flow);
    }
    *ip_bytes = entered > 0 ? outer_bytes : p.ip_bytes;
    if (entered == 0 || (p.columns & COLUMN(src_ip)) != 0) return p.columns;
    *flow = outer; /* what it carries cannot be read */
    return outer_columns;
}

uint64_t agent_packet_read(enum agent_link_layer link, struct weir_view bytes, enum agent_tunnels tunnels,
                           struct weir_flow *flow)
{
    uint32_t ip_bytes;
    return read_packet(link, bytes, tunnels, flow, &ip_bytes);
}

uint64_t agent_packet_read_section(enum agent_link_layer link, struct weir_view bytes, enum agent_tunnels tunnels,
                                   struct weir_flow *flow, uint32_t *ip_bytes)
{
    return read_packet(link, bytes, tunnels, flow, ip_bytes);
}
