/** Addresses and prefixes. An address is 16 bytes in network order; IPv4 is v4-mapped (RFC 4291 2.5.5.2). */
#ifndef WEIR_COMMON_FLOW_IP_H
#define WEIR_COMMON_FLOW_IP_H

#include "common/base/bytes.h"

struct weir_ip {
    uint8_t bytes[16];
};

struct weir_prefix {
    struct weir_ip ip;
    uint8_t length; /* 0..128 in the 16-byte form: an IPv4 /24 is 120 */
};

enum { WEIR_IP_TEXT = 46, WEIR_PREFIX_TEXT = 50 };

/** The v4-mapped form of four network-order bytes. */
static inline struct weir_ip weir_ip_from_v4(const uint8_t four[4])
{
    struct weir_ip ip = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, four[0], four[1], four[2], four[3]}};
    return ip;
}

static inline struct weir_ip weir_ip_from_v6(const uint8_t sixteen[16])
{
    struct weir_ip ip;
    memcpy(ip.bytes, sixteen, sizeof ip.bytes);
    return ip;
}

static inline bool weir_ip_is_v4(const struct weir_ip *ip)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(ip->bytes, mapped, sizeof mapped) == 0;
}

/** An IPv4 address as a number. */
static inline uint32_t weir_ip_v4(const struct weir_ip *ip)
{
    return weir_load_u32be(ip->bytes + 12);
}

static inline bool weir_ip_equal(const struct weir_ip *a, const struct weir_ip *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/** Parse "192.0.2.1" or "2001:db8::1". WEIR_EFORMAT. */
int weir_ip_parse(const char *text, struct weir_ip *ret);

/** Write an address as people do (RFC 5952); returns @out. */
const char *weir_ip_format(const struct weir_ip *ip, char out[WEIR_IP_TEXT]);

/** Parse "192.0.2.0/24", "2001:db8::/32" or a lone address. Host bits must be 0: WEIR_EPARAM; WEIR_EFORMAT. */
int weir_prefix_parse(const char *text, struct weir_prefix *ret);

/** "192.0.2.0/24"; returns @out. */
const char *weir_prefix_format(const struct weir_prefix *prefix, char out[WEIR_PREFIX_TEXT]);

bool weir_prefix_contains(const struct weir_prefix *prefix, const struct weir_ip *ip);

#endif
