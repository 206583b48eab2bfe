/**
 * Which side of a flow is the server: the one rule that filters, group-by and roll-up share.
 *
 * A pure function of one flow, and of both directions of a conversation alike wherever the flow carries a hint at all:
 *   1. SYN without ACK: the sender opened it.  ICMP: who asks is the client, who replies the server.
 *   2. A port of service.def on one side only: that side is the server.
 *   3. RST and ACK alone: a refusal, sent by the server.
 *   4. The lower port is the server's.
 *   5. Nothing to go by (equal ports, no ports): the lower address is the server, the same in both directions.
 */
#ifndef WEIR_COMMON_FLOW_ORIENT_H
#define WEIR_COMMON_FLOW_ORIENT_H

#include "common/flow/flow.h"

enum weir_orient_by {
    WEIR_ORIENT_BY_FLAGS,
    WEIR_ORIENT_BY_ICMP,
    WEIR_ORIENT_BY_SERVICE,
    WEIR_ORIENT_BY_REFUSAL,
    WEIR_ORIENT_BY_LOWER_PORT,
    WEIR_ORIENT_BY_ADDRESS
};

struct weir_oriented {
    bool src_is_server;
    enum weir_orient_by by;
};

enum { WEIR_PROTO_ICMP = 1, WEIR_PROTO_TCP = 6, WEIR_PROTO_UDP = 17, WEIR_PROTO_ICMP6 = 58, WEIR_PROTO_SCTP = 132 };

/** The name of a service (proto x 65536 + port), or NULL. Static memory. */
const char *weir_service_name(uint32_t service);

/** The service of a name (case-insensitive), or WEIR_ENOTFOUND. */
int64_t weir_service_of_name(const char *name);

static inline bool weir_proto_is_icmp(uint8_t proto)
{
    return proto == WEIR_PROTO_ICMP || proto == WEIR_PROTO_ICMP6;
}

/** ICMP type x 256 + code. Exporters without the element for it put it into the destination port; 0 for others. */
static inline uint16_t weir_icmp_of(uint8_t proto, uint16_t icmp_type_code, uint16_t dst_port)
{
    if (!weir_proto_is_icmp(proto)) return 0;
    return icmp_type_code != 0 ? icmp_type_code : dst_port;
}

/** Is a port of service.def among the 1,024 around this one? Around most ports of clients there is none. */
static inline bool weir_port_is_near_service(uint16_t port)
{
    static const uint64_t blocks = 0
#define SERVICE(protocol, number, name) | 1ull << (number) / 1024
#include "common/flow/service.def"
#undef SERVICE
        ;
    return (blocks >> port / 1024 & 1) != 0;
}

/** Is it a port of service.def? A switch: no table to miss the cache in, and a port that is there twice does not build. */
static inline bool weir_port_is_service(uint8_t proto, uint16_t port)
{
    if (!weir_port_is_near_service(port)) return false;
    switch ((uint32_t)proto << 16 | port) {
#define SERVICE(protocol, number, name) case (uint32_t)(protocol) << 16 | (number):
#include "common/flow/service.def"
#undef SERVICE
        return true;
    default: return false;
    }
}

static inline struct weir_oriented weir_orient_icmp(uint8_t proto, uint16_t type_code, bool lower_is_src)
{
    uint8_t type = (uint8_t)(type_code >> 8);
    if (proto == WEIR_PROTO_ICMP) {
        if (type == 8 || type == 10 || type == 13 || type == 15 || type == 17)
            return (struct weir_oriented){false, WEIR_ORIENT_BY_ICMP};
        /* Type 0 is the echo reply, and also what an exporter says that does not know: the reply is the likelier. */
        if (type == 0 || type == 9 || type == 14 || type == 16 || type == 18)
            return (struct weir_oriented){true, WEIR_ORIENT_BY_ICMP};
    } else {
        if (type == 128 || type == 133 || type == 135) return (struct weir_oriented){false, WEIR_ORIENT_BY_ICMP};
        if (type == 129 || type == 134 || type == 136) return (struct weir_oriented){true, WEIR_ORIENT_BY_ICMP};
    }
    return (struct weir_oriented){lower_is_src, WEIR_ORIENT_BY_ADDRESS};
}

static inline struct weir_oriented weir_orient(const struct weir_ip *src_ip, const struct weir_ip *dst_ip,
                                               uint16_t src_port, uint16_t dst_port, uint8_t proto, uint16_t tcp_flags,
                                               uint16_t icmp_type_code)
{
    enum { SYN = 0x02, RST = 0x04, ACK = 0x10, CONTROL = 0x3f };
    if (weir_proto_is_icmp(proto)) {
        return weir_orient_icmp(proto, weir_icmp_of(proto, icmp_type_code, dst_port),
                                memcmp(src_ip, dst_ip, sizeof *src_ip) < 0);
    }
    if (proto == WEIR_PROTO_TCP && (tcp_flags & (SYN | ACK)) == SYN) {
        return (struct weir_oriented){false, WEIR_ORIENT_BY_FLAGS};
    }
    bool src_known = weir_port_is_service(proto, src_port);
    if (src_known != weir_port_is_service(proto, dst_port)) {
        return (struct weir_oriented){src_known, WEIR_ORIENT_BY_SERVICE};
    }
    if (proto == WEIR_PROTO_TCP && (tcp_flags & CONTROL) == (RST | ACK)) {
        return (struct weir_oriented){true, WEIR_ORIENT_BY_REFUSAL};
    }
    if (src_port != dst_port) return (struct weir_oriented){src_port < dst_port, WEIR_ORIENT_BY_LOWER_PORT};
    return (struct weir_oriented){memcmp(src_ip, dst_ip, sizeof *src_ip) < 0, WEIR_ORIENT_BY_ADDRESS};
}

static inline struct weir_oriented weir_orient_flow(const struct weir_flow *flow)
{
    return weir_orient(&flow->src_ip, &flow->dst_ip, flow->src_port, flow->dst_port, flow->proto, flow->tcp_flags,
                       flow->icmp_type_code);
}

/** The server's port; 0 for protocols without ports (exporters put an ICMP type there). */
static inline uint16_t weir_server_port(struct weir_oriented oriented, uint8_t proto, uint16_t src_port,
                                        uint16_t dst_port)
{
    if (weir_proto_is_icmp(proto)) return 0;
    return oriented.src_is_server ? src_port : dst_port;
}

static inline uint16_t weir_client_port(struct weir_oriented oriented, uint8_t proto, uint16_t src_port,
                                        uint16_t dst_port)
{
    if (weir_proto_is_icmp(proto)) return 0;
    return oriented.src_is_server ? dst_port : src_port;
}

/** The service key: proto x 65536 + server port. */
static inline uint32_t weir_service_of(uint8_t proto, uint16_t server_port)
{
    return (uint32_t)proto << 16 | server_port;
}

#endif
