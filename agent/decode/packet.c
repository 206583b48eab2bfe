#include "agent/decode/packet.h"

#include <netinet/in.h>

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_IPV6 = 0x86dd,
    ETHERTYPE_VLAN = 0x8100,   /* 802.1Q */
    ETHERTYPE_QINQ = 0x88a8,   /* 802.1ad */
    ETHERTYPE_QINQ_9 = 0x9100, /* before it was standard */
    ETHERTYPE_MPLS = 0x8847,
    ETHERTYPE_MPLS_MULTICAST = 0x8848,
    TAGS_MOST = 4,
    LABELS_MOST = 16,
    EXTENSIONS_MOST = 8,
};

#define COLUMN(field) (1ull << WEIR_FIELD_##field)

static uint64_t load_mac(const uint8_t *at)
{
    return (uint64_t)weir_load_u16be(at) << 32 | weir_load_u32be(at + 2);
}

static uint64_t read_transport(struct weir_cursor *c, struct weir_flow *flow)
{
    switch (flow->proto) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_SCTP:
    case IPPROTO_UDPLITE:
    case IPPROTO_DCCP: {
        uint16_t src_port = weir_cursor_u16(c);
        uint16_t dst_port = weir_cursor_u16(c);
        if (c->ran_out) return 0;
        flow->src_port = src_port;
        flow->dst_port = dst_port;
        if (flow->proto != IPPROTO_TCP) return COLUMN(src_port) | COLUMN(dst_port);
        weir_cursor_skip(c, 8); /* sequence and acknowledgement */
        uint16_t flags = weir_cursor_u16(c) & 0x0fff;
        if (c->ran_out) return COLUMN(src_port) | COLUMN(dst_port);
        flow->tcp_flags = flags;
        return COLUMN(src_port) | COLUMN(dst_port) | COLUMN(tcp_flags);
    }
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6: {
        uint16_t type_code = weir_cursor_u16(c);
        if (c->ran_out) return 0;
        flow->icmp_type_code = type_code;
        return COLUMN(icmp_type_code);
    }
    default: return 0;
    }
}

static const uint64_t ip_columns = COLUMN(src_ip) | COLUMN(dst_ip) | COLUMN(proto) | COLUMN(tos);

static uint64_t read_ipv4(struct weir_cursor *c, struct weir_flow *flow)
{
    enum { HEADER_BYTES = 20, FRAGMENT_OFFSET = 0x1fff };
    const uint8_t *ip = weir_cursor_take(c, HEADER_BYTES);
    if (ip == NULL || ip[0] >> 4 != 4) return 0;
    size_t header_bytes = (ip[0] & 0x0fu) * 4u;
    if (header_bytes < HEADER_BYTES) return 0;

    flow->tos = ip[1];
    flow->proto = ip[9];
    flow->src_ip = weir_ip_from_v4(ip + 12);
    flow->dst_ip = weir_ip_from_v4(ip + 16);
    weir_cursor_skip(c, header_bytes - HEADER_BYTES);
    bool first = (weir_load_u16be(ip + 6) & FRAGMENT_OFFSET) == 0; /* only the first fragment has ports */
    return ip_columns | (first ? read_transport(c, flow) : 0);
}

static uint64_t read_ipv6(struct weir_cursor *c, struct weir_flow *flow)
{
    enum { HEADER_BYTES = 40 };
    const uint8_t *ip = weir_cursor_take(c, HEADER_BYTES);
    if (ip == NULL || ip[0] >> 4 != 6) return 0;
    flow->tos = (uint8_t)(weir_load_u16be(ip) >> 4);
    flow->src_ip = weir_ip_from_v6(ip + 8);
    flow->dst_ip = weir_ip_from_v6(ip + 24);
    flow->proto = ip[6];

    for (int i = 0; i < EXTENSIONS_MOST; i++) {
        size_t units = 8;
        size_t least = 1;
        switch (flow->proto) {
        case IPPROTO_HOPOPTS:
        case IPPROTO_ROUTING:
        case IPPROTO_DSTOPTS:
        case IPPROTO_MH: break;
        case IPPROTO_AH:
            units = 4;
            least = 2;
            break;
        case IPPROTO_FRAGMENT: units = 0; break;
        default: return ip_columns | read_transport(c, flow);
        }
        uint8_t next = weir_cursor_u8(c);
        uint8_t length = weir_cursor_u8(c);
        uint16_t fragment = weir_cursor_u16(c);
        weir_cursor_skip(c, (units == 0 ? 8 : (length + least) * units) - 4);
        if (c->ran_out) return ip_columns;
        flow->proto = next;
        if (units == 0 && (fragment & 0xfff8) != 0) return ip_columns;
    }
    return ip_columns;
}

static uint64_t read_mpls(struct weir_cursor *c, struct weir_flow *flow)
{
    for (int i = 0; i < LABELS_MOST; i++) {
        uint32_t label = weir_cursor_u32(c);
        if (c->ran_out) return 0;
        if ((label >> 8 & 1) == 0) continue;
        if (weir_cursor_left(c) == 0) return 0;
        if (c->at[0] >> 4 == 4) return read_ipv4(c, flow);
        if (c->at[0] >> 4 == 6) return read_ipv6(c, flow);
        return 0;
    }
    return 0;
}

static uint64_t read_ethernet(struct weir_cursor *c, struct weir_flow *flow)
{
    const uint8_t *ethernet = weir_cursor_take(c, 14);
    if (ethernet == NULL) return 0;
    flow->dst_mac = load_mac(ethernet);
    flow->src_mac = load_mac(ethernet + 6);
    uint64_t columns = COLUMN(src_mac) | COLUMN(dst_mac);
    uint16_t type = weir_load_u16be(ethernet + 12);
    for (int i = 0; i < TAGS_MOST; i++) {
        if (type != ETHERTYPE_VLAN && type != ETHERTYPE_QINQ && type != ETHERTYPE_QINQ_9) break;
        uint16_t tag = weir_cursor_u16(c);
        type = weir_cursor_u16(c);
        if (c->ran_out) return columns;
        if (i == 0) flow->vlan_in = tag & 0x0fff; /* the outer tag is the one the port knows */
        columns |= COLUMN(vlan_in);
    }
    switch (type) {
    case ETHERTYPE_IPV4: return columns | read_ipv4(c, flow);
    case ETHERTYPE_IPV6: return columns | read_ipv6(c, flow);
    case ETHERTYPE_MPLS:
    case ETHERTYPE_MPLS_MULTICAST: return columns | read_mpls(c, flow);
    default: return columns;
    }
}

uint64_t agent_packet_read(enum agent_link_layer link, struct weir_view bytes, struct weir_flow *flow)
{
    struct weir_cursor c = weir_cursor_of(bytes);
    switch (link) {
    case AGENT_LINK_ETHERNET: return read_ethernet(&c, flow);
    case AGENT_LINK_IPV4: return read_ipv4(&c, flow);
    case AGENT_LINK_IPV6: return read_ipv6(&c, flow);
    }
    return 0;
}
