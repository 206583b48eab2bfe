/*
 * Google Cloud VPC flow logs: log entries whose jsonPayload is a record as "VPC Flow Logs record format" has it. 64-bit
 * numbers come as strings. Each direction, and each reporter, has a record of its own.
 */
#include "agent/feed/json.h"
#include "agent/feed/parser.h"
#include "agent/feed/text.h"
#include "common/base/hash.h"

#include <stdio.h>

enum { ACCEPTED = 64, DROPPED = 128 }; /* forwardingStatus, RFC 7270 4.12 */

static int number(struct feed_parser *parser, const json_t *object, const char *name, uint64_t most, uint64_t *ret)
{
    char scratch[FEED_NUMBER_BYTES];
    const json_t *value = json_object_get(object, name);
    *ret = 0;
    if (value == NULL || json_is_null(value)) return 0;
    struct weir_view text = feed_json_text(value, scratch);
    if (json_is_real(value) || !feed_text_number(text, most, ret))
        return feed_bad(parser, "%s: \"%.*s\" is not a number up to %llu", name, feed_shown(text),
                        text.data == NULL ? (const uint8_t *)"" : text.data, (unsigned long long)most);
    return 0;
}

static int address(struct feed_parser *parser, const json_t *object, const char *name, struct weir_ip *ret)
{
    struct weir_view text = feed_json_member(object, name);
    if (feed_text_ip(text, ret)) return 0;
    return feed_bad(parser, "connection.%s: \"%.*s\" is not an address", name, feed_shown(text),
                    text.data == NULL ? (const uint8_t *)"" : text.data);
}

static int time_of(struct feed_parser *parser, const json_t *object, const char *name, int64_t *ret_ms)
{
    struct weir_view text = feed_json_member(object, name);
    *ret_ms = 0;
    if (text.size == 0 || feed_text_time(text, ret_ms)) return 0;
    return feed_bad(parser, "%s: \"%.*s\" is not a time (RFC 3339)", name, feed_shown(text), text.data);
}

/** The project from "projects/NAME/logs/...", where the resource does not say it. */
static struct weir_view project_of(const json_t *root, const json_t *labels)
{
    struct weir_view project = feed_json_member(labels, "project_id");
    struct weir_view log = feed_json_member(root, "logName");
    enum { AHEAD = sizeof "projects/" - 1 };
    if (project.size > 0 || log.size <= AHEAD || memcmp(log.data, "projects/", AHEAD) != 0) return project;
    const uint8_t *end = memchr(log.data + AHEAD, '/', log.size - AHEAD);
    size_t size = end == NULL ? log.size - AHEAD : (size_t)(end - log.data) - AHEAD;
    return weir_view_of(log.data + AHEAD, size);
}

/** The number of a subnetwork as it is, or a hash of its name. */
static uint32_t domain_of(struct weir_view id)
{
    return id.size == 0 ? 0 : (uint32_t)weir_hash64(id.data, id.size, 0);
}

static const struct feed_origin *origin_of(struct feed_parser *parser, const json_t *root, const json_t *payload,
                                           bool by_source)
{
    const json_t *labels = json_object_get(json_object_get(root, "resource"), "labels");
    struct weir_view project = project_of(root, labels);
    struct weir_view subnet = feed_json_member(labels, "subnetwork_name");
    if (subnet.size == 0)
        subnet = feed_json_member(json_object_get(payload, by_source ? "src_vpc" : "dest_vpc"), "subnetwork_name");
    char key[FEED_ORIGIN_BYTES];
    snprintf(key, sizeof key, "gcp/%.*s/%.*s", feed_shown(project),
             project.data == NULL ? (const uint8_t *)"" : project.data, feed_shown(subnet),
             subnet.data == NULL ? (const uint8_t *)"" : subnet.data);
    if (strcmp(key, parser->origin_key) != 0) {
        memcpy(parser->origin_key, key, sizeof key);
        memcpy(parser->origin_name, key, sizeof key);
        uint64_t id = project.size == 0 ? 0 : weir_hash64(project.data, project.size, 0);
        parser->origin =
            (struct feed_origin){.source = {.exporter = feed_exporter(FEED_GCP, id), .domain = domain_of(subnet)},
                                 .name = parser->origin_name};
    }
    return &parser->origin;
}

static int make_flow(struct feed_parser *parser, const json_t *payload, struct weir_flow *flow)
{
    const json_t *connection = json_object_get(payload, "connection");
    struct weir_view disposition = feed_json_member(payload, "disposition");
    bool dropped = feed_text_is(disposition, "DROPPED");
    uint64_t src_port;
    uint64_t dst_port;
    uint64_t protocol;
    uint64_t egress_as = 0;
    uint64_t dscp;
    int rc = address(parser, connection, "src_ip", &flow->src_ip);
    if (rc == 0) rc = address(parser, connection, "dest_ip", &flow->dst_ip);
    if (rc == 0) rc = number(parser, connection, "src_port", UINT16_MAX, &src_port);
    if (rc == 0) rc = number(parser, connection, "dest_port", UINT16_MAX, &dst_port);
    if (rc == 0) rc = number(parser, connection, "protocol", UINT8_MAX, &protocol);
    if (rc == 0) rc = number(parser, payload, dropped ? "packets_dropped" : "packets_sent", INT64_MAX, &flow->packets);
    if (rc == 0) rc = number(parser, payload, dropped ? "bytes_dropped" : "bytes_sent", INT64_MAX, &flow->bytes);
    if (rc == 0) rc = time_of(parser, payload, "start_time", &flow->start_ms);
    if (rc == 0) rc = time_of(parser, payload, "end_time", &flow->end_ms);
    if (rc == 0) rc = number(parser, json_object_get(payload, "src_location"), "asn", UINT32_MAX, &egress_as);
    if (rc == 0) flow->src_as = (uint32_t)egress_as;
    if (rc == 0) rc = number(parser, json_object_get(payload, "dest_location"), "asn", UINT32_MAX, &egress_as);
    if (rc == 0) flow->dst_as = (uint32_t)egress_as;
    if (rc == 0) rc = number(parser, json_object_get(payload, "network_service"), "dscp", 63, &dscp);
    if (rc == 0) rc = feed_settle_times(parser, "start_time", flow);
    if (rc < 0) return rc;

    flow->src_port = (uint16_t)src_port;
    flow->dst_port = (uint16_t)dst_port;
    flow->proto = (uint8_t)protocol;
    flow->tos = (uint8_t)(dscp << 2);
    flow->forwarding_status = dropped ? DROPPED : ACCEPTED;
    return 0;
}

int feed_gcp_object(struct feed_parser *parser, struct weir_view text, const struct feed_out *out)
{
    json_t *root;
    int rc = feed_json_load(parser, text, &root);
    if (rc < 0) return rc;
    const json_t *payload = json_object_get(root, "jsonPayload");
    if (payload == NULL && json_object_get(root, "connection") != NULL) payload = root; /* a record by itself */
    struct weir_view reporter = feed_json_member(payload, "reporter");
    bool by_source = reporter.size >= 3 && memcmp(reporter.data, "SRC", 3) == 0; /* SRC, SRC_GATEWAY */
    const struct feed_origin *origin = origin_of(parser, root, payload, by_source);
    if (json_object_get(payload, "connection") == NULL) {
        out->told(out->ctx, origin, FEED_TOLD_NO_FLOW);
    } else {
        struct weir_flow flow = {.dir = by_source}; /* it left where it began, and came in where it ended */
        for (size_t i = 0; i < parser->keep.count; i++)
            parser->kept[i] = feed_json_text(feed_json_at(payload, parser->keep.name[i]), parser->kept_number[i]);
        rc = make_flow(parser, payload, &flow);
        if (rc == 0) out->flow(out->ctx, origin, &flow);
    }
    json_decref(root);
    return rc;
}
