/* AWS VPC flow logs: Amazon VPC User Guide, "Flow log records", versions 2 to 10. */
#include "agent/feed/parser.h"
#include "agent/feed/text.h"
#include "common/base/hash.h"

#include <netinet/in.h>
#include <stdio.h>

enum { ACCEPTED = 64, DENIED_BY_ACL = 129 }; /* forwardingStatus, RFC 7270 4.12 */

#define USED(X)                  \
    X(account, "account-id")     \
    X(interface, "interface-id") \
    X(src, "srcaddr")            \
    X(dst, "dstaddr")            \
    X(src_port, "srcport")       \
    X(dst_port, "dstport")       \
    X(protocol, "protocol")      \
    X(packets, "packets")        \
    X(bytes, "bytes")            \
    X(start, "start")            \
    X(end, "end")                \
    X(action, "action")          \
    X(status, "log-status")      \
    X(vpc, "vpc-id")             \
    X(tcp_flags, "tcp-flags")    \
    X(packet_src, "pkt-srcaddr") \
    X(packet_dst, "pkt-dstaddr") \
    X(direction, "flow-direction")

enum field {
#define FIELD_ENUM(id, name) FIELD_##id,
    USED(FIELD_ENUM)
#undef FIELD_ENUM
        FIELDS
};

static const char *const used[] = {
#define FIELD_NAME(id, name) name,
    USED(FIELD_NAME)
#undef FIELD_NAME
};

static const char *const unused[] = {"version",
                                     "subnet-id",
                                     "instance-id",
                                     "type",
                                     "region",
                                     "az-id",
                                     "sublocation-type",
                                     "sublocation-id",
                                     "pkt-src-aws-service",
                                     "pkt-dst-aws-service",
                                     "traffic-path",
                                     "ecs-cluster-arn",
                                     "ecs-cluster-name",
                                     "ecs-container-instance-arn",
                                     "ecs-container-instance-id",
                                     "ecs-container-id",
                                     "ecs-second-container-id",
                                     "ecs-service-name",
                                     "ecs-task-definition-arn",
                                     "ecs-task-arn",
                                     "ecs-task-id",
                                     "reject-reason",
                                     "resource-id",
                                     "encryption-status"};

const struct feed_names feed_aws_names = {
    .known = used, .known_count = FIELDS, .other = unused, .other_count = sizeof unused / sizeof *unused};

_Static_assert((int)FIELDS <= (int)FEED_FIELDS_MOST, "the fields fit");

/** The order of version 2, which is what a log has when nobody chose its fields. */
static const char version_2[] =
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes "
    "start end action log-status";

static bool is_absent(struct weir_view value)
{
    return value.size == 0 || (value.size == 1 && value.data[0] == '-');
}

/** A number; absent is 0. */
static int number(struct feed_parser *parser, const struct feed_values *values, enum field field, uint64_t most,
                  uint64_t *ret)
{
    struct weir_view value = values->at[field];
    *ret = 0;
    if (is_absent(value) || feed_text_number(value, most, ret)) return 0;
    return feed_bad(parser, "%s: \"%.*s\" is not a number up to %llu", used[field], feed_shown(value), value.data,
                    (unsigned long long)most);
}

static int time_of(struct feed_parser *parser, const struct feed_values *values, enum field field, int64_t *ret_ms)
{
    struct weir_view value = values->at[field];
    *ret_ms = 0;
    if (is_absent(value) || feed_text_seconds(value, ret_ms)) return 0;
    return feed_bad(parser, "%s: \"%.*s\" is not a time in seconds", used[field], feed_shown(value), value.data);
}

/** The address of the packet where the log has it, else the one at the interface. */
static int address(struct feed_parser *parser, const struct feed_values *values, enum field packet, enum field field,
                   struct weir_ip *ret)
{
    if (!is_absent(values->at[packet])) field = packet;
    struct weir_view value = values->at[field];
    if (feed_text_ip(value, ret)) return 0;
    if (is_absent(value)) return feed_bad(parser, "%s: there is no address", used[field]);
    return feed_bad(parser, "%s: \"%.*s\" is not an address", used[field], feed_shown(value), value.data);
}

/** The last eight hex digits of "vpc-0a1b2c3d4e5f67890"; a hash of what is not of this form; 0 when absent. */
static uint32_t number_of_id(struct weir_view id)
{
    uint32_t value = 0;
    if (is_absent(id)) return 0;
    const uint8_t *dash = memchr(id.data, '-', id.size);
    size_t i = dash == NULL ? 0 : (size_t)(dash - id.data) + 1;
    if (i == id.size) return (uint32_t)weir_hash64(id.data, id.size, 0);
    for (; i < id.size; i++) {
        uint8_t c = id.data[i];
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint32_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            value = value << 4 | (uint32_t)(c - 'a' + 10);
        else
            return (uint32_t)weir_hash64(id.data, id.size, 0);
    }
    return value;
}

/** "123456789012" as 0x123456789012, so that an address shows it; a hash of anything else. */
static uint64_t number_of_account(struct weir_view account)
{
    uint64_t value = 0;
    if (is_absent(account)) return 0;
    for (size_t i = 0; i < account.size; i++) {
        uint8_t c = account.data[i];
        if (c < '0' || c > '9' || i == 15) return weir_hash64(account.data, account.size, 0);
        value = value << 4 | (uint64_t)(c - '0');
    }
    return value;
}

static const struct feed_origin *origin_of(struct feed_parser *parser, const struct feed_values *values)
{
    struct weir_view account = values->at[FIELD_account];
    struct weir_view vpc = values->at[FIELD_vpc];
    char key[FEED_ORIGIN_BYTES];
    snprintf(key, sizeof key, "aws/%.*s/%.*s", feed_shown(account),
             account.data == NULL ? (const uint8_t *)"" : account.data, feed_shown(vpc),
             vpc.data == NULL ? (const uint8_t *)"" : vpc.data);
    if (strcmp(key, parser->origin_key) != 0) {
        memcpy(parser->origin_key, key, sizeof key);
        memcpy(parser->origin_name, key, sizeof key);
        parser->origin = (struct feed_origin){
            .source = {.exporter = feed_exporter(FEED_AWS, number_of_account(account)), .domain = number_of_id(vpc)},
            .name = parser->origin_name};
    }
    return &parser->origin;
}

static int verdict(struct feed_parser *parser, struct weir_view action, uint8_t *ret)
{
    *ret = 0;
    if (is_absent(action)) return 0;
    if (feed_text_is(action, "ACCEPT"))
        *ret = ACCEPTED;
    else if (feed_text_is(action, "REJECT"))
        *ret = DENIED_BY_ACL;
    else
        return feed_bad(parser, "action: \"%.*s\" is neither ACCEPT nor REJECT", feed_shown(action), action.data);
    return 0;
}

static int make_flow(struct feed_parser *parser, const struct feed_values *values, struct weir_flow *flow)
{
    uint64_t src_port;
    uint64_t dst_port;
    uint64_t protocol;
    uint64_t flags;
    int rc = address(parser, values, FIELD_packet_src, FIELD_src, &flow->src_ip);
    if (rc == 0) rc = address(parser, values, FIELD_packet_dst, FIELD_dst, &flow->dst_ip);
    if (rc == 0) rc = number(parser, values, FIELD_src_port, UINT16_MAX, &src_port);
    if (rc == 0) rc = number(parser, values, FIELD_dst_port, UINT16_MAX, &dst_port);
    if (rc == 0) rc = number(parser, values, FIELD_protocol, UINT8_MAX, &protocol);
    if (rc == 0) rc = number(parser, values, FIELD_packets, INT64_MAX, &flow->packets);
    if (rc == 0) rc = number(parser, values, FIELD_bytes, INT64_MAX, &flow->bytes);
    if (rc == 0) rc = number(parser, values, FIELD_tcp_flags, UINT16_MAX, &flags);
    if (rc == 0) rc = time_of(parser, values, FIELD_start, &flow->start_ms);
    if (rc == 0) rc = time_of(parser, values, FIELD_end, &flow->end_ms);
    if (rc == 0) rc = verdict(parser, values->at[FIELD_action], &flow->forwarding_status);
    if (rc == 0) rc = feed_settle_times(parser, "start", flow);
    if (rc < 0) return rc;

    flow->src_port = (uint16_t)src_port;
    flow->dst_port = (uint16_t)dst_port;
    flow->proto = (uint8_t)protocol;
    flow->tcp_flags = (uint16_t)flags;
    flow->sampling_one_in = 1; /* "flow logs don't sample traffic" */
    flow->sampling_origin = WEIR_SAMPLING_EXPORTER;
    bool egress = feed_text_is(values->at[FIELD_direction], "egress");
    flow->dir = egress;
    *(egress ? &flow->if_out : &flow->if_in) = number_of_id(values->at[FIELD_interface]);
    return 0;
}

/** Is it what a time stamp before the line looks like, as CloudWatch exports have it? */
static bool is_stamp(struct weir_view word)
{
    int64_t ms;
    return word.size >= 20 && feed_text_time(word, &ms);
}

/** Take a line that names the columns. 1 when it is one. */
static int take_header(struct feed_parser *parser, struct weir_view line)
{
    char separator = feed_columns_separator(line);
    struct weir_view unknown;
    if (!feed_columns_is_header(&feed_aws_names, line, separator)) return 0;
    int rc = feed_columns_take(&parser->columns, &feed_aws_names, &parser->keep, line, separator, &unknown);
    if (rc == WEIR_ELIMIT) return feed_bad(parser, "the header line has too many columns");
    if (rc < 0)
        return feed_bad(parser, "the header line has a column that is not known, and is not used: \"%.*s\"",
                        feed_shown(unknown), unknown.data);
    return 1;
}

/** Without a header line and without configured fields there is only version 2, if the line looks like it. */
static int assume_version_2(struct feed_parser *parser, struct weir_view line)
{
    struct weir_view unknown;
    struct weir_view word;
    struct weir_view rest = line;
    char separator = feed_columns_separator(line);
    if (!feed_columns_next(&rest, separator, &word) || !feed_text_is(word, "2"))
        return feed_bad(parser, "there is no header line and no list of fields before this line");
    (void)feed_columns_take(&parser->columns, &feed_aws_names, &parser->keep, weir_view_text(version_2), ' ', &unknown);
    parser->columns.separator = separator;
    return 0;
}

int feed_aws_line(struct feed_parser *parser, struct weir_view line, const struct feed_out *out)
{
    struct feed_values values;
    struct weir_view rest = line;
    struct weir_view word;
    size_t count;
    if (feed_columns_next(&rest, ' ', &word) && is_stamp(word) && rest.data != NULL) line = rest;
    int rc = take_header(parser, line);
    if (rc != 0) return rc < 0 ? rc : 0;
    if (parser->columns.count == 0) rc = assume_version_2(parser, line);
    if (rc < 0) return rc;
    if (feed_columns_split(&parser->columns, line, &values, &count) < 0)
        return feed_bad(parser, "the line has %zu columns, not %zu", count, parser->columns.count);

    const struct feed_origin *origin = origin_of(parser, &values);
    struct weir_view status = values.at[FIELD_status];
    if (feed_text_is(status, "NODATA") || feed_text_is(status, "SKIPDATA")) {
        out->told(out->ctx, origin, feed_text_is(status, "NODATA") ? FEED_TOLD_NODATA : FEED_TOLD_SKIPPED);
        return 0;
    }
    if (!is_absent(status) && !feed_text_is(status, "OK"))
        return feed_bad(parser, "log-status: \"%.*s\" is not OK, NODATA or SKIPDATA", feed_shown(status), status.data);
    struct weir_flow flow = {0};
    rc = make_flow(parser, &values, &flow);
    for (size_t i = 0; i < parser->keep.count; i++)
        parser->kept[i] = is_absent(values.kept[i]) ? weir_view_of(NULL, 0) : values.kept[i];
    if (rc == 0) out->flow(out->ctx, origin, &flow);
    return rc;
}
