/**
 * A flow as one row, and the source it came from. Batches hold flows in columns (batch.h); the row form is for places
 * where one flow is looked at: tests, sFlow samples, answers.
 */
#ifndef WEIR_COMMON_FLOW_FLOW_H
#define WEIR_COMMON_FLOW_FLOW_H

#include "common/flow/ip.h"

/** Indices of the columns, in the order of fields.def. */
enum weir_field {
#define FIELD(id, type, ie, name, unit, help) WEIR_FIELD_##id,
#include "common/flow/fields.def"
#undef FIELD
    WEIR_FIELD_COUNT
};

/** Where a flow's sampling rate comes from, best first (docs/FLOW.md). */
enum weir_sampling_origin {
    WEIR_SAMPLING_UNKNOWN = 0,
    WEIR_SAMPLING_OPERATOR = 1, /* configured override for the exporter */
    WEIR_SAMPLING_RECORD = 2,   /* carried by the record, its header or its sample */
    WEIR_SAMPLING_SAMPLER = 3,  /* options data for the sampler or selector the record names */
    WEIR_SAMPLING_EXPORTER = 4, /* options data for the whole exporter or domain */
    WEIR_SAMPLING_DEFAULT = 5,  /* configured default */
};

/** One flow in host order, counters unscaled. A zero field is one that the exporter did not send. */
struct weir_flow {
#define FIELD(id, type, ie, name, unit, help) type id;
#include "common/flow/fields.def"
#undef FIELD
};

struct weir_field_info {
    const char *name; /* for people, JSON, filters */
    const char *unit;
    const char *help;
    uint16_t ie;   /* IPFIX information element */
    uint8_t width; /* bytes of the C type */
    bool is_ip;
    uint16_t at; /* offset in struct weir_flow */
};

/** The table of fields.def, WEIR_FIELD_COUNT rows. */
extern const struct weir_field_info weir_fields[WEIR_FIELD_COUNT];

/** Do the flows agree in every field? (The struct has padding: memcmp would not do.) */
bool weir_flow_equal(const struct weir_flow *a, const struct weir_flow *b);

/** The field with this name, or WEIR_ENOTFOUND. */
int weir_field_of_name(const char *name);

/** The field with this information element, or WEIR_ENOTFOUND. */
int weir_field_of_ie(uint16_t ie);

/** How an exporter speaks; stored with each batch. */
enum weir_protocol {
    WEIR_PROTOCOL_UNKNOWN = 0,
    WEIR_PROTOCOL_NETFLOW1 = 1,
    WEIR_PROTOCOL_NETFLOW5 = 5,
    WEIR_PROTOCOL_NETFLOW7 = 7,
    WEIR_PROTOCOL_NETFLOW9 = 9,
    WEIR_PROTOCOL_IPFIX = 10,
    WEIR_PROTOCOL_SFLOW5 = 105,
    WEIR_PROTOCOL_AWS = 201, /* flow logs: agent/feed */
    WEIR_PROTOCOL_AZURE = 202,
    WEIR_PROTOCOL_GCP = 203,
    WEIR_PROTOCOL_ZEEK = 204,
};

/** "record", "sampler" ...; "unknown" for what is none. Static memory. */
const char *weir_sampling_origin_name(enum weir_sampling_origin origin);

/** "netflow5", "netflow9", "ipfix", "sflow5", "aws" ... or "unknown". Static memory. */
const char *weir_protocol_name(enum weir_protocol protocol);

/**
 * Who exported: the unit of ordering and of sharding, together with the tenant, which comes from the agent's key.
 * @domain: v5 engine type x 256 + engine id; v9 source id; IPFIX observation domain id; sFlow sub-agent id.
 */
struct weir_source {
    struct weir_ip exporter;
    uint32_t domain;
};

#endif
