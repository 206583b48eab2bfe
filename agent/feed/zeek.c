/*
 * Zeek's conn.log (Book of Zeek, "conn.log"), with tabs as Zeek's ASCII writer makes it, or a JSON object a line.
 *
 * A connection is both directions in one line: it becomes a flow for each of them that had packets.
 */
#include "agent/feed/json.h"
#include "agent/feed/parser.h"
#include "agent/feed/text.h"
#include "common/base/hash.h"

#include <netinet/in.h>
#include <stdio.h>

#define USED(X)                       \
    X(ts, "ts")                       \
    X(duration, "duration")           \
    X(src, "id.orig_h")               \
    X(src_port, "id.orig_p")          \
    X(dst, "id.resp_h")               \
    X(dst_port, "id.resp_p")          \
    X(protocol, "proto")              \
    X(protocol_number, "ip_proto")    \
    X(history, "history")             \
    X(orig_bytes, "orig_bytes")       \
    X(resp_bytes, "resp_bytes")       \
    X(orig_packets, "orig_pkts")      \
    X(resp_packets, "resp_pkts")      \
    X(orig_ip_bytes, "orig_ip_bytes") \
    X(resp_ip_bytes, "resp_ip_bytes") \
    X(vlan, "vlan")                   \
    X(orig_mac, "orig_l2_addr")       \
    X(resp_mac, "resp_l2_addr")

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

/** Scripts add columns of their own: any other name is one that is not used. */
static const char *const unused[] = {"uid",          "service",      "conn_state",     "local_orig",
                                     "local_resp",   "missed_bytes", "tunnel_parents", "inner_vlan",
                                     "community_id", "orig_cc",      "resp_cc",        "speculative_service"};

const struct feed_names feed_zeek_names = {
    .known = used, .known_count = FIELDS, .other = unused, .other_count = sizeof unused / sizeof *unused};

_Static_assert((int)FIELDS <= (int)FEED_FIELDS_MOST, "the fields fit");

enum { FIN = 1, SYN = 2, RST = 4, ACK = 16 };

static const struct feed_origin *origin_of(struct feed_parser *parser)
{
    if (parser->origin.name == NULL) {
        snprintf(parser->origin_name, sizeof parser->origin_name, "zeek/%s", parser->name);
        uint64_t id = weir_hash64(parser->name, strlen(parser->name), 0);
        parser->origin =
            (struct feed_origin){.source = {.exporter = feed_exporter(FEED_ZEEK, id)}, .name = parser->origin_name};
    }
    return &parser->origin;
}

/* ---- values ---- */

static int number(struct feed_parser *parser, const struct feed_values *values, enum field field, uint64_t most,
                  uint64_t *ret)
{
    struct weir_view value = values->at[field];
    *ret = 0;
    if (value.data == NULL || feed_text_number(value, most, ret)) return 0;
    return feed_bad(parser, "%s: \"%.*s\" is not a number up to %llu", used[field], feed_shown(value), value.data,
                    (unsigned long long)most);
}

static int address(struct feed_parser *parser, const struct feed_values *values, enum field field, struct weir_ip *ret)
{
    struct weir_view value = values->at[field];
    if (value.data == NULL) return feed_bad(parser, "%s: there is no address", used[field]);
    if (feed_text_ip(value, ret)) return 0;
    return feed_bad(parser, "%s: \"%.*s\" is not an address", used[field], feed_shown(value), value.data);
}

static int times(struct feed_parser *parser, const struct feed_values *values, struct weir_flow *flow)
{
    struct weir_view ts = values->at[FIELD_ts];
    struct weir_view duration = values->at[FIELD_duration];
    int64_t lasted_ms = 0;
    if (ts.data == NULL) return feed_bad(parser, "ts: there is no time");
    if (!feed_text_seconds(ts, &flow->start_ms) && !feed_text_time(ts, &flow->start_ms))
        return feed_bad(parser, "ts: \"%.*s\" is neither seconds nor a date and time", feed_shown(ts), ts.data);
    if (duration.data != NULL && !feed_text_seconds(duration, &lasted_ms))
        return feed_bad(parser, "duration: \"%.*s\" is not a number of seconds", feed_shown(duration), duration.data);
    flow->end_ms = flow->start_ms + lasted_ms;
    return 0;
}

static int protocol_of(struct feed_parser *parser, const struct feed_values *values, uint8_t *ret)
{
    struct weir_view number_of = values->at[FIELD_protocol_number];
    struct weir_view name = values->at[FIELD_protocol];
    uint64_t value;
    int rc = number(parser, values, FIELD_protocol_number, UINT8_MAX, &value);
    if (rc < 0) return rc;
    *ret = (uint8_t)value;
    if (number_of.data == NULL && name.data != NULL && !feed_text_protocol(name, ret) &&
        !feed_text_is(name, "unknown_transport"))
        return feed_bad(parser, "proto: \"%.*s\" is not a protocol", feed_shown(name), name.data);
    return 0;
}

/** TCP flags of one side, from the letters of the history; the originator's are upper case. */
static uint16_t flags_of(struct weir_view history, bool orig)
{
    uint16_t flags = 0;
    for (size_t i = 0; i < history.size; i++) {
        uint8_t c = history.data[i];
        if (orig != (c >= 'A' && c <= 'Z')) continue;
        switch (c | 0x20) {
        case 's': flags |= SYN; break;
        case 'h': flags |= SYN | ACK; break;
        case 'a':
        case 'd': flags |= ACK; break;
        case 'f': flags |= FIN; break;
        case 'r': flags |= RST; break;
        default: break;
        }
    }
    return flags;
}

/**
 * ICMP has no ports: Zeek writes the type, and as the other port the type of the answer, or the code where there is
 * none (errors: RFC 792 types 3, 4, 5, 11, 12; RFC 4443 types below 128).
 */
static void icmp_of(struct weir_flow *flow, uint64_t type, uint64_t other)
{
    bool error =
        flow->proto == IPPROTO_ICMPV6 ? type < 128 : type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
    flow->icmp_type_code = (uint16_t)((type & 0xff) << 8 | (error ? other & 0xff : 0));
}

/* ---- a connection ---- */

static int take(struct feed_parser *parser, const struct feed_values *values, const struct feed_out *out)
{
    struct weir_flow flow = {.sampling_one_in = 1, .sampling_origin = WEIR_SAMPLING_EXPORTER};
    uint64_t src_port;
    uint64_t dst_port;
    uint64_t vlan;
    uint64_t bytes[2];
    uint64_t packets[2];
    struct weir_view history = values->at[FIELD_history];
    bool ip_bytes = values->at[FIELD_orig_ip_bytes].data != NULL;
    int rc = times(parser, values, &flow);
    if (rc == 0) rc = address(parser, values, FIELD_src, &flow.src_ip);
    if (rc == 0) rc = address(parser, values, FIELD_dst, &flow.dst_ip);
    if (rc == 0) rc = number(parser, values, FIELD_src_port, UINT16_MAX, &src_port);
    if (rc == 0) rc = number(parser, values, FIELD_dst_port, UINT16_MAX, &dst_port);
    if (rc == 0) rc = number(parser, values, FIELD_vlan, 4095, &vlan);
    if (rc == 0) rc = protocol_of(parser, values, &flow.proto);
    if (rc == 0) rc = number(parser, values, FIELD_orig_packets, INT64_MAX, &packets[0]);
    if (rc == 0) rc = number(parser, values, FIELD_resp_packets, INT64_MAX, &packets[1]);
    if (rc == 0) rc = number(parser, values, ip_bytes ? FIELD_orig_ip_bytes : FIELD_orig_bytes, INT64_MAX, &bytes[0]);
    if (rc == 0) rc = number(parser, values, ip_bytes ? FIELD_resp_ip_bytes : FIELD_resp_bytes, INT64_MAX, &bytes[1]);
    if (rc < 0) return rc;

    (void)feed_text_mac(values->at[FIELD_orig_mac], &flow.src_mac);
    (void)feed_text_mac(values->at[FIELD_resp_mac], &flow.dst_mac);
    flow.vlan_in = (uint16_t)vlan;
    if (flow.proto != IPPROTO_ICMP && flow.proto != IPPROTO_ICMPV6) {
        flow.src_port = (uint16_t)src_port;
        flow.dst_port = (uint16_t)dst_port;
    }
    struct weir_flow back = feed_turned(&flow);
    if (flow.proto == IPPROTO_ICMP || flow.proto == IPPROTO_ICMPV6) {
        icmp_of(&flow, src_port, dst_port);
        icmp_of(&back, dst_port, src_port);
    }
    if (flow.proto == IPPROTO_TCP) {
        flow.tcp_flags = flags_of(history, true);
        back.tcp_flags = flags_of(history, false);
    }
    flow.packets = packets[0];
    flow.bytes = bytes[0];
    back.packets = packets[1];
    back.bytes = bytes[1];
    const struct feed_origin *origin = origin_of(parser);
    bool answered = back.packets > 0 || back.bytes > 0;
    if (flow.packets > 0 || flow.bytes > 0 || !answered) out->flow(out->ctx, origin, &flow);
    if (answered) out->flow(out->ctx, origin, &back);
    return 0;
}

/* ---- with tabs ---- */

static bool begins(struct weir_view *line, const char *word)
{
    size_t size = strlen(word);
    if (line->size <= size || memcmp(line->data, word, size) != 0) return false;
    if (line->data[size] != '\t' && line->data[size] != ' ') return false;
    *line = weir_view_of(line->data + size + 1, line->size - size - 1);
    return true;
}

static int take_header(struct feed_parser *parser, struct weir_view line)
{
    struct weir_view unknown;
    if (begins(&line, "#separator")) {
        if (!feed_text_is(line, "\\x09")) return feed_bad(parser, "#separator: only the tab (\\x09) is understood");
    } else if (begins(&line, "#unset_field")) {
        if (line.size >= sizeof parser->unset) return feed_bad(parser, "#unset_field: the text is too long");
        memcpy(parser->unset, line.data, line.size);
        parser->unset[line.size] = '\0';
    } else if (begins(&line, "#path")) {
        parser->other_path = !feed_text_is(line, "conn");
        if (parser->other_path) return feed_bad(parser, "#path: \"%.*s\" is not conn", feed_shown(line), line.data);
    } else if (begins(&line, "#fields")) {
        int rc = feed_columns_take(&parser->columns, &feed_zeek_names, &parser->keep, line, '\t', &unknown);
        if (rc == WEIR_ELIMIT) return feed_bad(parser, "#fields: there are too many columns");
    }
    return 0;
}

int feed_zeek_line(struct feed_parser *parser, struct weir_view line, const struct feed_out *out)
{
    struct feed_values values;
    size_t count;
    if (line.data[0] == '#') return take_header(parser, line);
    if (parser->other_path) return feed_bad(parser, "the line is of another log than conn");
    if (parser->columns.count == 0) return feed_bad(parser, "there is no line #fields before this line");
    if (feed_columns_split(&parser->columns, line, &values, &count) < 0)
        return feed_bad(parser, "the line has %zu columns, not %zu", count, parser->columns.count);
    for (size_t i = 0; i < FIELDS; i++) {
        if (values.at[i].size == 0 || feed_text_is(values.at[i], parser->unset)) values.at[i] = weir_view_of(NULL, 0);
    }
    for (size_t i = 0; i < parser->keep.count; i++)
        parser->kept[i] = feed_text_is(values.kept[i], parser->unset) ? weir_view_of(NULL, 0) : values.kept[i];
    return take(parser, &values, out);
}

/* ---- as JSON ---- */

/** A stream may hold several logs: "_path" (of Zeek) or "@stream" (of those who hand it on) says which one this is. */
static bool is_of_another_log(const json_t *root)
{
    struct weir_view path = feed_json_member(root, "_path");
    struct weir_view stream = feed_json_member(root, "@stream");
    return (path.size > 0 && !feed_text_is(path, "conn")) || (stream.size > 0 && !feed_text_is(stream, "conn"));
}

int feed_zeek_object(struct feed_parser *parser, struct weir_view text, const struct feed_out *out)
{
    struct feed_values values = {0};
    char scratch[FIELDS][FEED_NUMBER_BYTES];
    json_t *root;
    int rc = feed_json_load(parser, text, &root);
    if (rc < 0) return rc;
    memset(parser->kept, 0, sizeof parser->kept);
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        int field = feed_columns_find(&feed_zeek_names, weir_view_text(key));
        int keep = feed_keep_find(&parser->keep, weir_view_text(key));
        if (field >= 0) values.at[field] = feed_json_text(value, scratch[field]);
        if (keep >= 0) parser->kept[keep] = feed_json_text(value, parser->kept_number[keep]);
    }
    if (is_of_another_log(root))
        out->told(out->ctx, origin_of(parser), FEED_TOLD_NO_FLOW);
    else
        rc = take(parser, &values, out);
    json_decref(root);
    return rc;
}
