/*
 * Azure: NSG flow logs, version 2 (Network Watcher, "Flow logging for network security groups"), and virtual network
 * flow logs, version 4 ("Virtual network flow logs"). A record has the flows of an interface in a minute, as tuples:
 *
 *   NSG   seconds,src,dst,sport,dport,T|U,I|O,A|D[,B|C|E,packets,bytes,packets back,bytes back]
 *   VNet  ms,src,dst,sport,dport,protocol,I|O,B|C|E|D,encryption,packets,bytes,packets back,bytes back
 *
 * C and E have what was counted since the tuple before: a flow for each direction that had packets. B has no counters:
 * it is a flow only where it was denied, which is the verdict of a security rule.
 */
#include "agent/feed/json.h"
#include "agent/feed/parser.h"
#include "agent/feed/text.h"
#include "common/base/hash.h"

#include <ctype.h>
#include <stdio.h>

enum { ACCEPTED = 64, DENIED_BY_ACL = 129 }; /* forwardingStatus, RFC 7270 4.12 */
enum { TUPLE_PARTS = 13, NSG_PARTS_V1 = 8 };

struct tuple {
    struct weir_view part[TUPLE_PARTS];
    size_t count;
};

/** What is the same for all tuples of a record. */
struct record {
    const json_t *root;
    const struct feed_origin *origin;
    uint64_t mac; /* of the interface */
    bool vnet;
};

static const struct feed_origin *origin_of(struct feed_parser *parser, struct weir_view resource)
{
    char key[FEED_ORIGIN_BYTES * 4];
    size_t size = resource.size < sizeof key ? resource.size : sizeof key;
    for (size_t i = 0; i < size; i++) /* names of resources are the same in any case */
        key[i] = (char)tolower(resource.data[i]);
    uint64_t id = weir_hash64(key, size, 0);
    struct weir_source source = {.exporter = feed_exporter(FEED_AZURE, id)};
    if (parser->origin.name == NULL || !weir_ip_equal(&parser->origin.source.exporter, &source.exporter)) {
        size_t from = size; /* the last part of the path */
        while (from > 0 && key[from - 1] != '/')
            from--;
        snprintf(parser->origin_name, sizeof parser->origin_name, "azure/%.*s", (int)(size - from), key + from);
        parser->origin = (struct feed_origin){.source = source, .name = parser->origin_name};
    }
    return &parser->origin;
}

static void split(const char *text, size_t size, struct tuple *tuple)
{
    struct weir_view rest = weir_view_of(text, size);
    struct weir_view word;
    tuple->count = 0;
    while (feed_columns_next(&rest, ',', &word)) {
        if (tuple->count < TUPLE_PARTS) tuple->part[tuple->count] = word;
        tuple->count++;
    }
}

static int counter(struct feed_parser *parser, const struct tuple *tuple, size_t at, const char *name, uint64_t *ret)
{
    *ret = 0;
    if (at >= tuple->count || tuple->part[at].size == 0 || feed_text_number(tuple->part[at], INT64_MAX, ret)) return 0;
    return feed_bad(parser, "%s: \"%.*s\" is not a number", name, feed_shown(tuple->part[at]), tuple->part[at].data);
}

static int port(struct feed_parser *parser, struct weir_view text, const char *name, uint16_t *ret)
{
    uint64_t value = 0;
    if (text.size > 0 && !feed_text_number(text, UINT16_MAX, &value))
        return feed_bad(parser, "%s: \"%.*s\" is not a port", name, feed_shown(text), text.data);
    *ret = (uint16_t)value;
    return 0;
}

static int make_flow(struct feed_parser *parser, const struct record *record, const struct tuple *tuple,
                     struct weir_flow *flow)
{
    const struct weir_view *part = tuple->part;
    uint64_t time;
    if (!feed_text_number(part[0], UINT64_C(253402300799999), &time))
        return feed_bad(parser, "time: \"%.*s\" is not a number", feed_shown(part[0]), part[0].data);
    if (!feed_text_ip(part[1], &flow->src_ip))
        return feed_bad(parser, "source: \"%.*s\" is not an address", feed_shown(part[1]), part[1].data);
    if (!feed_text_ip(part[2], &flow->dst_ip))
        return feed_bad(parser, "destination: \"%.*s\" is not an address", feed_shown(part[2]), part[2].data);
    int rc = port(parser, part[3], "source port", &flow->src_port);
    if (rc == 0) rc = port(parser, part[4], "destination port", &flow->dst_port);
    if (rc < 0) return rc;
    if (!feed_text_protocol(part[5], &flow->proto))
        return feed_bad(parser, "protocol: \"%.*s\" is not known", feed_shown(part[5]), part[5].data);
    bool out = feed_text_is(part[6], "O");
    if (!out && !feed_text_is(part[6], "I"))
        return feed_bad(parser, "direction: \"%.*s\" is neither I nor O", feed_shown(part[6]), part[6].data);

    flow->start_ms = record->vnet || time >= 100000000000 ? (int64_t)time : (int64_t)time * 1000;
    flow->end_ms = flow->start_ms;
    flow->dir = out;
    *(out ? &flow->src_mac : &flow->dst_mac) = record->mac;
    flow->sampling_one_in = 1; /* every flow is logged */
    flow->sampling_origin = WEIR_SAMPLING_EXPORTER;
    return 0;
}

/** What a tuple says of its flow: state 'B', 'C', 'E' or 'X' (a version 1 tuple has none), and whether it was denied. */
static int state_of(struct feed_parser *parser, const struct record *record, const struct tuple *tuple, char *state,
                    bool *denied)
{
    struct weir_view decision = tuple->part[7];
    struct weir_view text = record->vnet ? decision : tuple->part[8];
    bool has_state = record->vnet || tuple->count > NSG_PARTS_V1;
    *state = 'X';
    *denied = feed_text_is(decision, "D");
    if (!record->vnet && !*denied && !feed_text_is(decision, "A"))
        return feed_bad(parser, "decision: \"%.*s\" is neither A nor D", feed_shown(decision), decision.data);
    if (!has_state) return 0;
    if (feed_text_is(text, "B") || feed_text_is(text, "C") || feed_text_is(text, "E") || feed_text_is(text, "D")) {
        *state = (char)text.data[0];
        return 0;
    }
    return feed_bad(parser, "state: \"%.*s\" is not B, C, E or D", feed_shown(text), text.data);
}

static int take_tuple(struct feed_parser *parser, const struct record *record, const char *text, size_t size,
                      const struct feed_out *out)
{
    struct tuple tuple;
    struct weir_flow flow = {0};
    char state;
    bool denied = false;
    split(text, size, &tuple);
    bool whole = tuple.count == TUPLE_PARTS || (!record->vnet && tuple.count == NSG_PARTS_V1);
    if (!whole)
        return feed_bad(parser, "the tuple has %zu parts: \"%.*s\"", tuple.count, (int)(size < 60 ? size : 60), text);
    int rc = make_flow(parser, record, &tuple, &flow);
    if (rc == 0) rc = state_of(parser, record, &tuple, &state, &denied);
    if (rc < 0) return rc;

    uint64_t packets_back;
    uint64_t bytes_back;
    rc = counter(parser, &tuple, 9, "packets", &flow.packets);
    if (rc == 0) rc = counter(parser, &tuple, 10, "bytes", &flow.bytes);
    if (rc == 0) rc = counter(parser, &tuple, 11, "packets back", &packets_back);
    if (rc == 0) rc = counter(parser, &tuple, 12, "bytes back", &bytes_back);
    if (rc < 0) return rc;
    flow.forwarding_status = denied ? DENIED_BY_ACL : ACCEPTED;
    if (state == 'B' && !denied) {
        out->told(out->ctx, record->origin, FEED_TOLD_BEGUN);
        return 0;
    }
    bool answered = packets_back > 0 || bytes_back > 0;
    if (flow.packets > 0 || flow.bytes > 0 || !answered) out->flow(out->ctx, record->origin, &flow);
    if (answered) {
        struct weir_flow back = feed_turned(&flow);
        back.dir = !flow.dir;
        back.packets = packets_back;
        back.bytes = bytes_back;
        out->flow(out->ctx, record->origin, &back);
    }
    return 0;
}

/** The tuples of a list, each bad one told of. */
static void take_tuples(struct feed_parser *parser, const struct record *record, const json_t *list,
                        const struct feed_out *out)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *tuple = json_array_get(list, i);
        int rc = json_is_string(tuple)
                     ? take_tuple(parser, record, json_string_value(tuple), json_string_length(tuple), out)
                     : feed_bad(parser, "a tuple is not a string");
        if (rc < 0) out->bad(out->ctx, parser->objects.record_line + 1, parser->reason);
    }
}

/** What is kept is a member of the group, of what the group is in, or of the record: the nearest counts. */
static void take_kept(struct feed_parser *parser, const struct record *record, const json_t *outer, const json_t *group)
{
    for (size_t i = 0; i < parser->keep.count; i++) {
        const json_t *value = feed_json_at(group, parser->keep.name[i]);
        if (value == NULL) value = feed_json_at(outer, parser->keep.name[i]);
        if (value == NULL) value = feed_json_at(record->root, parser->keep.name[i]);
        parser->kept[i] = feed_json_text(value, parser->kept_number[i]);
    }
}

/** properties.flows[].flows[].flowTuples[] */
static void take_nsg(struct feed_parser *parser, struct record *record, const json_t *rules, const struct feed_out *out)
{
    for (size_t r = 0; r < json_array_size(rules); r++) {
        const json_t *groups = json_object_get(json_array_get(rules, r), "flows");
        for (size_t g = 0; g < json_array_size(groups); g++) {
            const json_t *group = json_array_get(groups, g);
            (void)feed_text_mac(feed_json_member(group, "mac"), &record->mac);
            take_kept(parser, record, json_array_get(rules, r), group);
            take_tuples(parser, record, json_object_get(group, "flowTuples"), out);
        }
    }
}

/** flowRecords.flows[].flowGroups[].flowTuples[] */
static void take_vnet(struct feed_parser *parser, const struct record *record, const json_t *acls,
                      const struct feed_out *out)
{
    for (size_t a = 0; a < json_array_size(acls); a++) {
        const json_t *groups = json_object_get(json_array_get(acls, a), "flowGroups");
        for (size_t g = 0; g < json_array_size(groups); g++) {
            take_kept(parser, record, json_array_get(acls, a), json_array_get(groups, g));
            take_tuples(parser, record, json_object_get(json_array_get(groups, g), "flowTuples"), out);
        }
    }
}

int feed_azure_object(struct feed_parser *parser, struct weir_view text, const struct feed_out *out)
{
    json_t *root;
    int rc = feed_json_load(parser, text, &root);
    if (rc < 0) return rc;
    struct record record = {.root = root};
    (void)feed_text_mac(feed_json_member(root, "macAddress"), &record.mac);
    const json_t *nsg = json_object_get(json_object_get(root, "properties"), "flows");
    const json_t *vnet = json_object_get(json_object_get(root, "flowRecords"), "flows");
    struct weir_view target = feed_json_member(root, "targetResourceID");
    record.origin = origin_of(parser, target.size > 0 ? target : feed_json_member(root, "resourceId"));
    if (json_is_array(nsg)) {
        take_nsg(parser, &record, nsg, out);
    } else if (json_is_array(vnet)) {
        record.vnet = true;
        take_vnet(parser, &record, vnet, out);
    } else if (json_object_get(root, "category") != NULL) {
        out->told(out->ctx, record.origin, FEED_TOLD_NO_FLOW);
    } else {
        rc = feed_bad(parser, "the record has neither properties.flows nor flowRecords.flows");
    }
    json_decref(root);
    return rc;
}
