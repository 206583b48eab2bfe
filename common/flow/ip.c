#include "common/flow/ip.h"

#include "common/base/err.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { V4_IN_V6_BITS = 96 };

int weir_ip_parse(const char *text, struct weir_ip *ret)
{
    uint8_t four[4];
    if (inet_pton(AF_INET, text, four) == 1) {
        *ret = weir_ip_from_v4(four);
        return 0;
    }
    return inet_pton(AF_INET6, text, ret->bytes) == 1 ? 0 : WEIR_EFORMAT;
}

const char *weir_ip_format(const struct weir_ip *ip, char out[WEIR_IP_TEXT])
{
    if (weir_ip_is_v4(ip)) {
        inet_ntop(AF_INET, ip->bytes + 12, out, WEIR_IP_TEXT);
    } else {
        inet_ntop(AF_INET6, ip->bytes, out, WEIR_IP_TEXT);
    }
    return out;
}

int weir_prefix_parse(const char *text, struct weir_prefix *ret)
{
    const char *slash = strchr(text, '/');
    size_t size = slash == NULL ? strlen(text) : (size_t)(slash - text);
    char address[WEIR_IP_TEXT];
    if (size >= sizeof address) return WEIR_EFORMAT;
    memcpy(address, text, size);
    address[size] = '\0';

    struct weir_prefix prefix;
    if (weir_ip_parse(address, &prefix.ip) < 0) return WEIR_EFORMAT;
    unsigned most = weir_ip_is_v4(&prefix.ip) ? 32 : 128;
    unsigned length = most;
    if (slash != NULL) {
        length = 0;
        const char *at = slash + 1;
        if (*at == '\0') return WEIR_EFORMAT;
        for (; *at != '\0'; at++) {
            if (*at < '0' || *at > '9') return WEIR_EFORMAT;
            length = length * 10 + (unsigned)(*at - '0');
            if (length > most) return WEIR_EPARAM;
        }
    }
    prefix.length = (uint8_t)(most == 32 ? length + V4_IN_V6_BITS : length);
    for (unsigned bit = prefix.length; bit < 128; bit++) {
        if (prefix.ip.bytes[bit / 8] & 0x80 >> bit % 8) return WEIR_EPARAM;
    }
    *ret = prefix;
    return 0;
}

const char *weir_prefix_format(const struct weir_prefix *prefix, char out[WEIR_PREFIX_TEXT])
{
    char address[WEIR_IP_TEXT];
    bool v4 = weir_ip_is_v4(&prefix->ip) && prefix->length >= V4_IN_V6_BITS;
    snprintf(out, WEIR_PREFIX_TEXT, "%s/%u", weir_ip_format(&prefix->ip, address),
             prefix->length - (v4 ? (unsigned)V4_IN_V6_BITS : 0u));
    return out;
}

bool weir_prefix_contains(const struct weir_prefix *prefix, const struct weir_ip *ip)
{
    unsigned whole = prefix->length / 8;
    unsigned rest = prefix->length % 8;
    if (memcmp(prefix->ip.bytes, ip->bytes, whole) != 0) return false;
    if (rest == 0) return true;
    uint8_t mask = (uint8_t)(0xff << (8 - rest));
    return (prefix->ip.bytes[whole] & mask) == (ip->bytes[whole] & mask);
}
