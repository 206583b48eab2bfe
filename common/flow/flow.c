#include "common/flow/flow.h"

#include "common/base/err.h"

#include <stddef.h>

#define IS_IP(type) _Generic((type *)0, struct weir_ip * : true, default : false)

const struct weir_field_info weir_fields[WEIR_FIELD_COUNT] = {
#define FIELD(id, type, element, text, measure, what) \
    [WEIR_FIELD_##id] = {.name = text,                \
                         .unit = measure,             \
                         .help = what,                \
                         .ie = element,               \
                         .width = sizeof(type),       \
                         .is_ip = IS_IP(type),        \
                         .at = offsetof(struct weir_flow, id)},
#include "common/flow/fields.def"
#undef FIELD
};

bool weir_flow_equal(const struct weir_flow *a, const struct weir_flow *b)
{
    for (int i = 0; i < WEIR_FIELD_COUNT; i++) {
        size_t at = weir_fields[i].at;
        if (memcmp((const uint8_t *)a + at, (const uint8_t *)b + at, weir_fields[i].width) != 0) return false;
    }
    return true;
}

int weir_field_of_name(const char *name)
{
    for (int i = 0; i < WEIR_FIELD_COUNT; i++) {
        if (strcmp(weir_fields[i].name, name) == 0) return i;
    }
    return WEIR_ENOTFOUND;
}

int weir_field_of_ie(uint16_t ie)
{
    for (int i = 0; i < WEIR_FIELD_COUNT; i++) {
        if (weir_fields[i].ie == ie) return i;
    }
    return WEIR_ENOTFOUND;
}

const char *weir_sampling_origin_name(enum weir_sampling_origin origin)
{
    switch (origin) {
    case WEIR_SAMPLING_OPERATOR: return "operator";
    case WEIR_SAMPLING_RECORD: return "record";
    case WEIR_SAMPLING_SAMPLER: return "sampler";
    case WEIR_SAMPLING_EXPORTER: return "exporter";
    case WEIR_SAMPLING_DEFAULT: return "default";
    case WEIR_SAMPLING_UNKNOWN: break;
    }
    return "unknown";
}

const char *weir_protocol_name(enum weir_protocol protocol)
{
    switch (protocol) {
    case WEIR_PROTOCOL_NETFLOW1: return "netflow1";
    case WEIR_PROTOCOL_NETFLOW5: return "netflow5";
    case WEIR_PROTOCOL_NETFLOW7: return "netflow7";
    case WEIR_PROTOCOL_NETFLOW9: return "netflow9";
    case WEIR_PROTOCOL_IPFIX: return "ipfix";
    case WEIR_PROTOCOL_SFLOW5: return "sflow5";
    case WEIR_PROTOCOL_AWS: return "aws";
    case WEIR_PROTOCOL_AZURE: return "azure";
    case WEIR_PROTOCOL_GCP: return "gcp";
    case WEIR_PROTOCOL_ZEEK: return "zeek";
    case WEIR_PROTOCOL_UNKNOWN: break;
    }
    return "unknown";
}
