#include "console/cli/pcap.h"

enum {
    MAGIC_US = 0xa1b2c3d4,
    MAGIC_NS = 0xa1b23c4d,
    NG_SECTION = 0x0a0d0d0a,
    NG_BYTE_ORDER = 0x1a2b3c4d,
    NG_INTERFACE = 1,
    NG_SIMPLE = 3,
    NG_ENHANCED = 6,
    LINK_NULL = 0,
    LINK_ETHERNET = 1,
    LINK_RAW = 101,
    LINK_LOOP = 108,
    LINK_SLL = 113,
    LINK_IPV4 = 228,
    LINK_IPV6 = 229,
    LINK_SLL2 = 276,
    TYPE_IPV4 = 0x0800,
    TYPE_IPV6 = 0x86dd,
    TYPE_VLAN = 0x8100,
    TYPE_QINQ = 0x88a8,
    TYPE_QINQ_OLD = 0x9100,
    IP_UDP = 17,
    UDP_HEADER = 8,
};

/** What became of one captured packet. */
enum verdict { DATAGRAM, NOT_UDP, FRAGMENT, CUT, MALFORMED };

static uint32_t file_u32(const struct pcap *pcap, struct weir_cursor *c)
{
    uint32_t value = weir_cursor_u32(c);
    return pcap->swapped ? __builtin_bswap32(value) : value;
}

static uint16_t file_u16(const struct pcap *pcap, struct weir_cursor *c)
{
    uint16_t value = weir_cursor_u16(c);
    return pcap->swapped ? __builtin_bswap16(value) : value;
}

int pcap_begin(struct weir_view capture, struct pcap *ret)
{
    *ret = (struct pcap){.at = weir_cursor_of(capture)};
    struct weir_cursor c = ret->at;
    uint32_t magic = weir_cursor_u32(&c);
    if (c.ran_out) return WEIR_EFORMAT;
    if (magic == NG_SECTION) {
        ret->next_generation = true;
        return 0;
    }
    uint32_t turned = __builtin_bswap32(magic);
    ret->swapped = turned == MAGIC_US || turned == MAGIC_NS;
    if (!ret->swapped && magic != MAGIC_US && magic != MAGIC_NS) return WEIR_EFORMAT;
    weir_cursor_skip(&c, 16); /* version, zone, accuracy, snaplen */
    ret->ticks[0] = magic == MAGIC_NS || turned == MAGIC_NS ? 1000000000 : 1000000;
    ret->link[0] = file_u32(ret, &c) & 0xffff;
    ret->interfaces = 1;
    ret->at = c;
    return c.ran_out ? WEIR_EFORMAT : 0;
}

/** Step over the link header; returns the EtherType, or 0. */
static uint16_t link_header(uint32_t link, struct weir_cursor *c)
{
    uint16_t type;
    switch (link) {
    case LINK_ETHERNET:
        weir_cursor_skip(c, 12);
        type = weir_cursor_u16(c);
        while (type == TYPE_VLAN || type == TYPE_QINQ || type == TYPE_QINQ_OLD) {
            weir_cursor_skip(c, 2);
            type = weir_cursor_u16(c);
        }
        return type;
    case LINK_SLL: weir_cursor_skip(c, 14); return weir_cursor_u16(c);
    case LINK_SLL2:
        type = weir_cursor_u16(c);
        weir_cursor_skip(c, 18);
        return type;
    case LINK_NULL:
    case LINK_LOOP: weir_cursor_skip(c, 4); break;
    case LINK_RAW:
    case LINK_IPV4:
    case LINK_IPV6: break;
    default: return 0;
    }
    if (weir_cursor_left(c) == 0) return 0;
    return *c->at >> 4 == 4 ? TYPE_IPV4 : *c->at >> 4 == 6 ? TYPE_IPV6 : 0;
}

static enum verdict ipv4_header(struct weir_cursor *c, struct pcap_datagram *ret)
{
    const uint8_t *ip = weir_cursor_take(c, 20);
    if (ip == NULL) return CUT;
    size_t header = (size_t)(ip[0] & 15) * 4;
    if (ip[0] >> 4 != 4 || header < 20) return MALFORMED;
    if (ip[9] != IP_UDP) return NOT_UDP;
    if ((weir_load_u16be(ip + 6) & 0x3fff) != 0) return FRAGMENT; /* more fragments, or an offset */
    weir_cursor_skip(c, header - 20);
    ret->src = weir_ip_from_v4(ip + 12);
    ret->dst = weir_ip_from_v4(ip + 16);
    return DATAGRAM;
}

static enum verdict ipv6_header(struct weir_cursor *c, struct pcap_datagram *ret)
{
    const uint8_t *ip = weir_cursor_take(c, 40);
    if (ip == NULL) return CUT;
    if (ip[0] >> 4 != 6) return MALFORMED;
    uint8_t next = ip[6];
    ret->src = weir_ip_from_v6(ip + 8);
    ret->dst = weir_ip_from_v6(ip + 24);
    for (int i = 0; i < 8; i++) {
        if (next == IP_UDP) return DATAGRAM;
        if (next == 44) return FRAGMENT;
        if (next != 0 && next != 43 && next != 60) return NOT_UDP;
        next = weir_cursor_u8(c);
        size_t size = (size_t)weir_cursor_u8(c) * 8 + 6;
        weir_cursor_skip(c, size);
        if (c->ran_out) return CUT;
    }
    return MALFORMED;
}

static enum verdict parse_packet(uint32_t link, struct weir_view packet, struct pcap_datagram *ret)
{
    struct weir_cursor c = weir_cursor_of(packet);
    uint16_t type = link_header(link, &c);
    if (c.ran_out) return CUT;
    enum verdict verdict = type == TYPE_IPV4   ? ipv4_header(&c, ret)
                           : type == TYPE_IPV6 ? ipv6_header(&c, ret)
                                               : NOT_UDP;
    if (verdict != DATAGRAM) return verdict;
    ret->src_port = weir_cursor_u16(&c);
    ret->dst_port = weir_cursor_u16(&c);
    uint16_t length = weir_cursor_u16(&c);
    weir_cursor_skip(&c, 2);
    if (c.ran_out) return CUT;
    if (length < UDP_HEADER) return MALFORMED;
    size_t size = (size_t)length - UDP_HEADER;
    const uint8_t *data = weir_cursor_take(&c, size);
    if (data == NULL) return CUT;
    ret->payload = weir_view_of(data, size);
    return DATAGRAM;
}

/** A section header block: byte order, and interfaces begin anew. */
static int ng_section(struct pcap *pcap, struct weir_cursor body)
{
    uint32_t order = weir_cursor_u32(&body);
    if (order != NG_BYTE_ORDER && __builtin_bswap32(order) != NG_BYTE_ORDER) return WEIR_EFORMAT;
    pcap->swapped = order != NG_BYTE_ORDER;
    pcap->interfaces = 0;
    return 0;
}

/** Ticks a second from if_tsresol: a power of 10, or of 2 with the high bit; 0 for one that no clock has. */
static uint64_t ng_ticks(uint8_t resolution)
{
    unsigned power = resolution & 0x7f;
    if ((resolution & 0x80) != 0) return power < 63 ? UINT64_C(1) << power : 0;
    uint64_t ticks = 1;
    for (unsigned i = 0; i < power && ticks != 0; i++)
        ticks = power <= 18 ? ticks * 10 : 0;
    return ticks;
}

static void ng_interface(struct pcap *pcap, struct weir_cursor body)
{
    enum { OPTION_END = 0, OPTION_RESOLUTION = 9 };
    uint16_t link = file_u16(pcap, &body);
    weir_cursor_skip(&body, 6); /* reserved, snaplen */
    uint64_t ticks = 1000000;
    while (weir_cursor_left(&body) >= 4) {
        uint16_t code = file_u16(pcap, &body);
        uint16_t size = file_u16(pcap, &body);
        const uint8_t *value = weir_cursor_take(&body, (size_t)(size + 3) / 4 * 4);
        if (code == OPTION_END || value == NULL) break;
        if (code == OPTION_RESOLUTION && size == 1) ticks = ng_ticks(value[0]);
    }
    if (pcap->interfaces == PCAP_INTERFACES_MOST) return;
    pcap->ticks[pcap->interfaces] = ticks;
    pcap->link[pcap->interfaces++] = link;
}

/** A count of ticks since 1970 in microseconds; 0 when that is no time. */
static int64_t us_of_ticks(uint64_t count, uint64_t ticks)
{
    if (ticks == 0) return 0;
    __uint128_t us = (__uint128_t)count * 1000000 / ticks;
    return us > INT64_MAX / 2 ? 0 : (int64_t)us;
}

/** The next block of a pcapng file; 1 with a packet in *packet, 0 for a block of another kind. */
static int ng_block(struct pcap *pcap, uint32_t *link, int64_t *time_us, struct weir_view *packet)
{
    struct weir_cursor c = pcap->at;
    uint32_t type = file_u32(pcap, &c);
    if (type == NG_SECTION || __builtin_bswap32(type) == NG_SECTION) {
        struct weir_cursor peek = c;
        weir_cursor_skip(&peek, 4);
        int rc = ng_section(pcap, peek);
        if (rc < 0) return rc;
        type = NG_SECTION;
    }
    uint32_t length = file_u32(pcap, &c);
    if (c.ran_out) return WEIR_ESHORT;
    if (length < 12 || length % 4 != 0) return WEIR_EFORMAT;
    struct weir_cursor body = weir_cursor_sub(&c, length - 12);
    weir_cursor_skip(&c, 4); /* the length again */
    if (c.ran_out) return WEIR_ESHORT;
    pcap->at = c;

    if (type == NG_INTERFACE) ng_interface(pcap, body);
    if (type != NG_ENHANCED && type != NG_SIMPLE) return 0;
    uint32_t interface = 0;
    uint64_t time = 0;
    if (type == NG_ENHANCED) {
        interface = file_u32(pcap, &body);
        time = (uint64_t)file_u32(pcap, &body) << 32;
        time |= file_u32(pcap, &body);
    }
    uint32_t captured = file_u32(pcap, &body);
    if (type == NG_ENHANCED) weir_cursor_skip(&body, 4);
    if (type == NG_SIMPLE && captured > weir_cursor_left(&body)) captured = (uint32_t)weir_cursor_left(&body);
    const uint8_t *data = weir_cursor_take(&body, captured);
    if (data == NULL || interface >= pcap->interfaces) return WEIR_EFORMAT;
    *link = pcap->link[interface];
    *time_us = us_of_ticks(time, pcap->ticks[interface]);
    *packet = weir_view_of(data, captured);
    return 1;
}

/** The next record of a pcap file. */
static int classic_record(struct pcap *pcap, uint32_t *link, int64_t *time_us, struct weir_view *packet)
{
    struct weir_cursor c = pcap->at;
    uint64_t seconds = file_u32(pcap, &c);
    uint64_t fraction = file_u32(pcap, &c);
    uint32_t captured = file_u32(pcap, &c);
    weir_cursor_skip(&c, 4); /* length on the wire */
    const uint8_t *data = weir_cursor_take(&c, captured);
    if (data == NULL || c.ran_out) return WEIR_ESHORT;
    pcap->at = c;
    *link = pcap->link[0];
    *time_us = us_of_ticks(seconds * pcap->ticks[0] + fraction, pcap->ticks[0]);
    *packet = weir_view_of(data, captured);
    return 1;
}

int pcap_next(struct pcap *pcap, struct pcap_datagram *ret)
{
    while (weir_cursor_left(&pcap->at) > 0) {
        uint32_t link = 0;
        struct weir_view packet = {0};
        int64_t time_us = 0;
        int rc = pcap->next_generation ? ng_block(pcap, &link, &time_us, &packet)
                                       : classic_record(pcap, &link, &time_us, &packet);
        if (rc < 0) return rc;
        if (rc == 0) continue;
        pcap->counts.packets++;
        ret->time_us = time_us;
        switch (parse_packet(link, packet, ret)) {
        case DATAGRAM: pcap->counts.datagrams++; return 1;
        case NOT_UDP: pcap->counts.not_udp++; break;
        case FRAGMENT: pcap->counts.fragments++; break;
        case CUT: pcap->counts.cut++; break;
        case MALFORMED: pcap->counts.malformed++; break;
        }
    }
    return 0;
}
