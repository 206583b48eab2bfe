#include "common/flow/dims.h"

#include "common/base/err.h"
#include "common/flow/orient.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* The column of a dimension that is one column; for the others this index is not read. */
#define FIRST_OF(fields) ((enum weir_field)((fields) == 0 ? 0 : __builtin_ctzll((fields) | 1ull << 63)))
#define F(field)         (1ull << WEIR_FIELD_##field)

const struct weir_dim_info weir_dims[WEIR_DIM_COUNT] = {
#define DIM(id, numbered, text, kind, bytes, from, columns, what) \
    [WEIR_DIM_##id] = {.name = text,                              \
                       .help = what,                              \
                       .fields = columns,                         \
                       .type = WEIR_DIM_TYPE_##kind,              \
                       .origin = WEIR_DIM_##from,                 \
                       .number = numbered,                        \
                       .width = bytes,                            \
                       .field = FIRST_OF(columns)},
#include "common/flow/dims.def"
#undef DIM
};

/* Protocols that people write by name. Others are numbers. */
static const struct {
    uint8_t proto;
    const char *name;
} protos[] = {{1, "icmp"},  {2, "igmp"},  {4, "ipip"},   {6, "tcp"},    {17, "udp"},   {41, "6in4"},
              {46, "rsvp"}, {47, "gre"},  {50, "esp"},   {51, "ah"},    {58, "icmp6"}, {88, "eigrp"},
              {89, "ospf"}, {103, "pim"}, {112, "vrrp"}, {115, "l2tp"}, {132, "sctp"}, {136, "udplite"}};

static const char *const directions[] = {"ingress", "egress"};
static const char *const actions[] = {"unknown", "accept", "reject", "consumed"};
static const enum weir_protocol protocols[] = {WEIR_PROTOCOL_UNKNOWN,  WEIR_PROTOCOL_NETFLOW5, WEIR_PROTOCOL_NETFLOW7,
                                               WEIR_PROTOCOL_NETFLOW9, WEIR_PROTOCOL_IPFIX,    WEIR_PROTOCOL_SFLOW5,
                                               WEIR_PROTOCOL_AWS,      WEIR_PROTOCOL_AZURE,    WEIR_PROTOCOL_GCP,
                                               WEIR_PROTOCOL_ZEEK,     WEIR_PROTOCOL_NETFLOW1};

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

int weir_dim_of_name(const char *name)
{
    for (int dim = 0; dim < WEIR_DIM_COUNT; dim++) {
        if (strcasecmp(weir_dims[dim].name, name) == 0) return dim;
    }
    return WEIR_ENOTFOUND;
}

int weir_dim_of_number(uint32_t number)
{
    for (int dim = 0; dim < WEIR_DIM_COUNT; dim++) {
        if (weir_dims[dim].number == number) return dim;
    }
    return WEIR_ENOTFOUND;
}

uint64_t weir_dims_close(uint64_t dims)
{
    uint64_t pair = WEIR_DIM_BIT(WEIR_DIM_proto) | WEIR_DIM_BIT(WEIR_DIM_server_port);
    if (dims & WEIR_DIM_BIT(WEIR_DIM_service)) dims |= pair;
    if ((dims & pair) == pair) dims |= WEIR_DIM_BIT(WEIR_DIM_service);
    return dims;
}

uint64_t weir_dims_fields(uint64_t dims)
{
    uint64_t fields = 0;
    for (; dims != 0; dims &= dims - 1)
        fields |= weir_dims[__builtin_ctzll(dims)].fields;
    return fields;
}

static uint8_t action_of(uint8_t forwarding_status)
{
    return forwarding_status >> 6; /* RFC 7270 4.12: unknown, forwarded, dropped, consumed */
}

static void set_number(union weir_value *value, uint64_t number)
{
    *value = (union weir_value){.bytes = {0}};
    value->number = number;
}

/** The number of little-endian @width bytes. */
static uint64_t load_number(const void *at, uint8_t width)
{
    uint64_t number = 0;
    memcpy(&number, at, width);
    return number;
}

static void source_value(enum weir_dim dim, const struct weir_where *where, union weir_value *value)
{
    switch (dim) {
    case WEIR_DIM_exporter: value->ip = where->source.exporter; break;
    case WEIR_DIM_domain: set_number(value, where->source.domain); break;
    case WEIR_DIM_site: set_number(value, where->site_number); break;
    default: set_number(value, where->protocol); break;
    }
}

static void derived_value(enum weir_dim dim, const struct weir_flow *flow, union weir_value *value)
{
    if (dim == WEIR_DIM_icmp) {
        set_number(value, weir_icmp_of(flow->proto, flow->icmp_type_code, flow->dst_port));
        return;
    }
    if (dim == WEIR_DIM_action) {
        set_number(value, action_of(flow->forwarding_status));
        return;
    }
    struct weir_oriented oriented = weir_orient_flow(flow);
    uint16_t server_port = weir_server_port(oriented, flow->proto, flow->src_port, flow->dst_port);
    switch (dim) {
    case WEIR_DIM_client_ip: value->ip = oriented.src_is_server ? flow->dst_ip : flow->src_ip; break;
    case WEIR_DIM_server_ip: value->ip = oriented.src_is_server ? flow->src_ip : flow->dst_ip; break;
    case WEIR_DIM_client_port:
        set_number(value, weir_client_port(oriented, flow->proto, flow->src_port, flow->dst_port));
        break;
    case WEIR_DIM_server_port: set_number(value, server_port); break;
    default: set_number(value, weir_service_of(flow->proto, server_port)); break;
    }
}

static void field_value(enum weir_dim dim, const void *at, union weir_value *value)
{
    if (weir_dims[dim].type == WEIR_DIM_TYPE_IP) {
        memcpy(&value->ip, at, sizeof value->ip);
    } else {
        set_number(value, load_number(at, weir_fields[weir_dims[dim].field].width));
    }
}

int weir_dim_of_flow(enum weir_dim dim, const struct weir_flow *flow, const struct weir_where *where,
                     union weir_value values[2])
{
    const struct weir_dim_info *info = &weir_dims[dim];
    switch (info->origin) {
    case WEIR_DIM_SOURCE: source_value(dim, where, values); return 1;
    case WEIR_DIM_DERIVED: derived_value(dim, flow, values); return 1;
    case WEIR_DIM_FIELD: field_value(dim, (const uint8_t *)flow + weir_fields[info->field].at, values); return 1;
    case WEIR_DIM_EITHER: break;
    }
    if (dim == WEIR_DIM_ip) {
        values[0].ip = flow->src_ip;
        values[1].ip = flow->dst_ip;
    } else {
        set_number(&values[0], flow->src_port);
        set_number(&values[1], flow->dst_port);
    }
    return memcmp(&values[0], &values[1], sizeof values[0]) == 0 ? 1 : 2;
}

/* A cell, 0 where the batch does not have the column: one branch that is the same for all rows. */
#define CELL(batch, field, type, row) \
    (weir_batch_has(batch, WEIR_FIELD_##field) ? ((const type *)(batch)->column[WEIR_FIELD_##field])[row] : (type){0})

/** Only the columns that the rules of orientation, ICMP and action read: cheaper than whole rows. */
static void rows_of_derived(enum weir_dim dim, const struct weir_batch *batch, uint32_t from, uint32_t rows,
                            union weir_value *values)
{
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t row = from + i;
        struct weir_flow flow;
        flow.src_ip = CELL(batch, src_ip, struct weir_ip, row);
        flow.dst_ip = CELL(batch, dst_ip, struct weir_ip, row);
        flow.src_port = CELL(batch, src_port, uint16_t, row);
        flow.dst_port = CELL(batch, dst_port, uint16_t, row);
        flow.tcp_flags = CELL(batch, tcp_flags, uint16_t, row);
        flow.icmp_type_code = CELL(batch, icmp_type_code, uint16_t, row);
        flow.proto = CELL(batch, proto, uint8_t, row);
        flow.forwarding_status = CELL(batch, forwarding_status, uint8_t, row);
        derived_value(dim, &flow, &values[i]);
    }
}

void weir_dim_of_rows(enum weir_dim dim, const struct weir_batch *batch, const struct weir_where *where, uint32_t from,
                      uint32_t rows, union weir_value *values)
{
    const struct weir_dim_info *info = &weir_dims[dim];
    assert(info->origin != WEIR_DIM_EITHER && from + rows <= batch->count);
    if (rows == 0) return;
    if (info->origin == WEIR_DIM_DERIVED) {
        rows_of_derived(dim, batch, from, rows, values);
    } else if (info->origin == WEIR_DIM_SOURCE) {
        source_value(dim, where, &values[0]);
        for (uint32_t i = 1; i < rows; i++)
            values[i] = values[0];
    } else if (!weir_batch_has(batch, info->field)) {
        memset(values, 0, rows * sizeof *values);
    } else {
        uint8_t width = weir_fields[info->field].width;
        const uint8_t *at = (const uint8_t *)batch->column[info->field] + (size_t)from * width;
        for (uint32_t i = 0; i < rows; i++, at += width)
            field_value(dim, at, &values[i]);
    }
}

/* ---- text ---- */

static const char *proto_name(uint64_t proto)
{
    for (size_t i = 0; i < COUNT_OF(protos); i++) {
        if (protos[i].proto == proto) return protos[i].name;
    }
    return NULL;
}

static const char flag_letters[] = "CEUAPRSF"; /* bit 7 to bit 0 */

static void format_flags(uint64_t flags, char out[WEIR_DIM_TEXT])
{
    if (flags > 0xff) {
        snprintf(out, WEIR_DIM_TEXT, "0x%" PRIx64, flags);
        return;
    }
    for (int i = 0; i < 8; i++)
        out[i] = flags >> (7 - i) & 1 ? flag_letters[i] : '.';
    out[8] = '\0';
}

const char *weir_dim_format(enum weir_dim dim, const union weir_value *value, char out[WEIR_DIM_TEXT])
{
    const char *name = NULL;
    uint64_t number = value->number;
    switch (weir_dims[dim].type) {
    case WEIR_DIM_TYPE_IP: return weir_ip_format(&value->ip, out);
    case WEIR_DIM_TYPE_FLAGS: format_flags(number, out); return out;
    case WEIR_DIM_TYPE_MAC:
        snprintf(out, WEIR_DIM_TEXT, "%02x:%02x:%02x:%02x:%02x:%02x", (unsigned)(number >> 40 & 255),
                 (unsigned)(number >> 32 & 255), (unsigned)(number >> 24 & 255), (unsigned)(number >> 16 & 255),
                 (unsigned)(number >> 8 & 255), (unsigned)(number & 255));
        return out;
    case WEIR_DIM_TYPE_PROTO: name = proto_name(number); break;
    case WEIR_DIM_TYPE_DIRECTION: name = number < COUNT_OF(directions) ? directions[number] : NULL; break;
    case WEIR_DIM_TYPE_ACTION: name = number < COUNT_OF(actions) ? actions[number] : NULL; break;
    case WEIR_DIM_TYPE_PROTOCOL:
        name = number <= INT32_MAX ? weir_protocol_name((enum weir_protocol)number) : NULL;
        if (name != NULL && number != WEIR_PROTOCOL_UNKNOWN && strcmp(name, "unknown") == 0) name = NULL;
        break;
    case WEIR_DIM_TYPE_SERVICE:
        name = number <= UINT32_MAX ? weir_service_name((uint32_t)number) : NULL;
        if (name != NULL) break;
        const char *proto = proto_name(number >> 16);
        if (proto != NULL) {
            snprintf(out, WEIR_DIM_TEXT, "%s/%u", proto, (unsigned)(number & 0xffff));
        } else {
            snprintf(out, WEIR_DIM_TEXT, "%" PRIu64 "/%u", number >> 16, (unsigned)(number & 0xffff));
        }
        return out;
    case WEIR_DIM_TYPE_NUMBER:
    case WEIR_DIM_TYPE_TEXT: break;
    }
    if (name != NULL) {
        snprintf(out, WEIR_DIM_TEXT, "%s", name);
    } else {
        snprintf(out, WEIR_DIM_TEXT, "%" PRIu64, number);
    }
    return out;
}

static int parse_number(const char *text, uint64_t most, uint64_t *ret)
{
    if (*text < '0' || *text > '9') return WEIR_EFORMAT;
    int base = text[0] == '0' && (text[1] == 'x' || text[1] == 'X') ? 16 : 10;
    uint64_t number = 0;
    const char *at = base == 16 ? text + 2 : text;
    if (*at == '\0') return WEIR_EFORMAT;
    for (; *at != '\0'; at++) {
        int digit = *at >= '0' && *at <= '9'                     ? *at - '0'
                    : (*at | 0x20) >= 'a' && (*at | 0x20) <= 'f' ? (*at | 0x20) - 'a' + 10
                                                                 : 16;
        if (digit >= base) return WEIR_EFORMAT;
        if (number > (most - (unsigned)digit) / (unsigned)base) return WEIR_EPARAM;
        number = number * (unsigned)base + (unsigned)digit;
    }
    *ret = number;
    return 0;
}

static int parse_flags(const char *text, uint64_t *ret)
{
    uint64_t flags = 0;
    if (*text == '\0') return WEIR_EFORMAT;
    for (; *text != '\0'; text++) {
        if (*text == '.') continue;
        const char *letter = strchr(flag_letters, *text & ~0x20);
        if (letter == NULL || *letter == '\0') return WEIR_EFORMAT;
        flags |= 1u << (7 - (letter - flag_letters));
    }
    *ret = flags;
    return 0;
}

static int parse_mac(const char *text, uint64_t *ret)
{
    unsigned b[6];
    int used = 0;
    if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &used) != 6) {
        return WEIR_EFORMAT;
    }
    if (text[used] != '\0') return WEIR_EFORMAT;
    *ret = 0;
    for (int i = 0; i < 6; i++)
        *ret = *ret << 8 | b[i];
    return 0;
}

static int parse_word(const char *text, const char *const *words, size_t count, uint64_t *ret)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(text, words[i]) != 0) continue;
        *ret = i;
        return 0;
    }
    return WEIR_EFORMAT;
}

static int parse_proto(const char *text, uint64_t *ret)
{
    for (size_t i = 0; i < COUNT_OF(protos); i++) {
        if (strcasecmp(text, protos[i].name) != 0) continue;
        *ret = protos[i].proto;
        return 0;
    }
    if (strcasecmp(text, "ipv6-icmp") == 0 || strcasecmp(text, "icmpv6") == 0) {
        *ret = WEIR_PROTO_ICMP6;
        return 0;
    }
    return parse_number(text, UINT8_MAX, ret);
}

static int parse_service(const char *text, uint64_t *ret)
{
    int64_t service = weir_service_of_name(text);
    if (service >= 0) {
        *ret = (uint64_t)service;
        return 0;
    }
    const char *slash = strchr(text, '/');
    char proto[16];
    if (slash == NULL || (size_t)(slash - text) >= sizeof proto) return WEIR_EFORMAT;
    memcpy(proto, text, (size_t)(slash - text));
    proto[slash - text] = '\0';
    uint64_t number;
    uint64_t port;
    int rc = parse_proto(proto, &number);
    if (rc == 0) rc = parse_number(slash + 1, UINT16_MAX, &port);
    if (rc == 0) *ret = weir_service_of((uint8_t)number, (uint16_t)port);
    return rc;
}

static int parse_protocol(const char *text, uint64_t *ret)
{
    for (size_t i = 0; i < COUNT_OF(protocols); i++) {
        if (strcasecmp(text, weir_protocol_name(protocols[i])) != 0) continue;
        *ret = protocols[i];
        return 0;
    }
    return WEIR_EFORMAT;
}

int weir_dim_parse(enum weir_dim dim, const char *text, union weir_value *ret)
{
    const struct weir_dim_info *info = &weir_dims[dim];
    union weir_value value = {.bytes = {0}};
    uint64_t number = 0;
    int rc = WEIR_EFORMAT;
    switch (info->type) {
    case WEIR_DIM_TYPE_IP:
        rc = weir_ip_parse(text, &value.ip);
        if (rc == 0) *ret = value;
        return rc;
    case WEIR_DIM_TYPE_TEXT: return WEIR_EUNSUPPORTED;
    case WEIR_DIM_TYPE_PROTO: rc = parse_proto(text, &number); break;
    case WEIR_DIM_TYPE_FLAGS: rc = parse_flags(text, &number); break;
    case WEIR_DIM_TYPE_MAC: rc = parse_mac(text, &number); break;
    case WEIR_DIM_TYPE_DIRECTION: rc = parse_word(text, directions, COUNT_OF(directions), &number); break;
    case WEIR_DIM_TYPE_ACTION: rc = parse_word(text, actions, COUNT_OF(actions), &number); break;
    case WEIR_DIM_TYPE_PROTOCOL: rc = parse_protocol(text, &number); break;
    case WEIR_DIM_TYPE_SERVICE: rc = parse_service(text, &number); break;
    case WEIR_DIM_TYPE_NUMBER: break;
    }
    if (rc == WEIR_EFORMAT) rc = parse_number(text, weir_dim_most(dim), &number);
    if (rc < 0) return rc;
    value.number = number;
    *ret = value;
    return 0;
}

bool weir_dim_is_number(enum weir_dim dim)
{
    return weir_dims[dim].type == WEIR_DIM_TYPE_NUMBER;
}
