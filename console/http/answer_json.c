#include "console/http/answer_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- counts, as exported or scaled ---- */

static uint64_t packets_of(const struct console_result *c, const struct weir_counts *counts)
{
    return c->query->plain ? counts->packets : counts->scaled_packets;
}

static uint64_t bytes_of(const struct console_result *c, const struct weir_counts *counts)
{
    return c->query->plain ? counts->bytes : counts->scaled_bytes;
}

static uint64_t metric_of(const struct console_result *c, const struct weir_counts *counts)
{
    switch (c->query->question.order) {
    case WEIR_METRIC_OF_BYTES: return bytes_of(c, counts);
    case WEIR_METRIC_OF_PACKETS: return packets_of(c, counts);
    case WEIR_METRIC_OF_FLOWS: break;
    }
    return counts->flows;
}

/** @amount x @factor in a second of @ms. */
static uint64_t per_second(uint64_t amount, uint64_t factor, int64_t ms)
{
    __extension__ unsigned __int128 wide = amount;
    return ms <= 0 ? 0 : (uint64_t)(wide * factor * 1000 / (uint64_t)ms);
}

static bool wants(const struct console_result *c, enum console_metric metric)
{
    return (c->query->metrics & metric) != 0;
}

static bool shows_errors(const struct console_result *c)
{
    return c->answer->coverage.sampled && !c->query->plain;
}

static void counts_json(const struct console_result *c, const struct weir_counts *counts, int64_t over_ms,
                        struct json_writer *json)
{
    if (wants(c, CONSOLE_METRIC_FLOWS)) jsonw_key_u64(json, "flows", counts->flows);
    if (wants(c, CONSOLE_METRIC_PACKETS)) {
        jsonw_key_u64(json, "packets", packets_of(c, counts));
        if (shows_errors(c)) jsonw_key_u64(json, "packets_error", weir_interval95(counts->packets_variance));
    }
    if (wants(c, CONSOLE_METRIC_BYTES)) {
        jsonw_key_u64(json, "bytes", bytes_of(c, counts));
        if (shows_errors(c)) jsonw_key_u64(json, "bytes_error", weir_interval95(counts->bytes_variance));
    }
    if (wants(c, CONSOLE_METRIC_BPS)) jsonw_key_u64(json, "bps", per_second(bytes_of(c, counts), 8, over_ms));
    if (wants(c, CONSOLE_METRIC_PPS)) jsonw_key_u64(json, "pps", per_second(packets_of(c, counts), 1, over_ms));
    if (wants(c, CONSOLE_METRIC_BPP)) {
        uint64_t packets = packets_of(c, counts);
        jsonw_key_u64(json, "bpp", packets == 0 ? 0 : bytes_of(c, counts) / packets);
    }
    if (wants(c, CONSOLE_METRIC_SHARE)) {
        jsonw_key(json, "share");
        jsonw_ratio(json, metric_of(c, counts), metric_of(c, &c->answer->total));
    }
}

/* ---- rows ---- */

static void dim_json(const struct console_result *c, enum weir_dim dim, const union weir_value *value,
                     struct json_writer *json)
{
    char text[WEIR_DIM_TEXT];
    if (weir_dims[dim].type == WEIR_DIM_TYPE_TEXT) {
        jsonw_text(json, weir_answer_name_at(c->answer, (uint32_t)value->number));
    } else if (weir_dim_is_number(dim)) {
        jsonw_u64(json, value->number);
    } else {
        jsonw_text(json, weir_dim_format(dim, value, text));
    }
}

static void group_json(const struct console_result *c, size_t index, struct json_writer *json)
{
    const struct weir_answer_row *row = &c->answer->rows[index];
    const struct weir_question *question = &c->query->question;
    bool series = c->answer->shape == WEIR_SHAPE_SERIES;
    jsonw_begin_object(json);
    if (series) jsonw_key_time(json, "time", row->time_ms);
    for (uint32_t d = 0; d < c->answer->dim_count; d++) {
        jsonw_key(json, weir_dims[c->answer->dims[d]].name);
        dim_json(c, c->answer->dims[d], &row->key[d], json);
    }
    counts_json(c, &row->counts, series ? question->step_ms : question->to_ms - question->from_ms, json);
    jsonw_end_object(json);
}

/** Fields whose zero is a value: the others' zero means that the exporter did not send them. */
static bool zero_is_known(enum weir_dim dim)
{
    switch (dim) {
    case WEIR_DIM_src_port:
    case WEIR_DIM_dst_port:
    case WEIR_DIM_client_port:
    case WEIR_DIM_server_port:
    case WEIR_DIM_proto:
    case WEIR_DIM_tcp_flags:
    case WEIR_DIM_domain:
    case WEIR_DIM_dir:
    case WEIR_DIM_service: return true;
    default: return false;
    }
}

static void flow_dim_json(const struct console_result *c, const struct weir_answer_flow *row, enum weir_dim dim,
                          struct json_writer *json)
{
    static const union weir_value zero;
    union weir_value values[2];
    struct weir_where where = {.source = row->source,
                               .protocol = row->protocol,
                               .site = weir_answer_name_at(c->answer, row->site),
                               .site_number = row->site};
    weir_dim_of_flow(dim, &row->flow, &where, values);
    if (memcmp(&values[0], &zero, sizeof zero) == 0 && !zero_is_known(dim)) return;
    jsonw_key(json, weir_dims[dim].name);
    dim_json(c, dim, &values[0], json);
}

static bool wants_extra(const struct console_query *query, struct weir_view name)
{
    for (uint32_t i = 0; i < query->extra_count; i++) {
        if (weir_view_equal(weir_view_text(query->extras[i]), name)) return true;
    }
    return query->all_extras;
}

static void extra_name(struct weir_view name, char out[sizeof CONSOLE_EXTRA + WEIR_EXTRA_NAME_BYTES])
{
    snprintf(out, sizeof CONSOLE_EXTRA + WEIR_EXTRA_NAME_BYTES, CONSOLE_EXTRA "%.*s", (int)name.size,
             (const char *)name.data);
}

static void extras_json(const struct console_result *c, const struct weir_answer_flow *row, struct json_writer *json)
{
    struct weir_cursor extras = weir_cursor_of(row->extras);
    struct weir_extra_value value;
    while (weir_extra_next(&extras, &value) > 0) {
        char name[sizeof CONSOLE_EXTRA + WEIR_EXTRA_NAME_BYTES];
        if (!wants_extra(c->query, value.name)) continue;
        extra_name(value.name, name);
        jsonw_key(json, name);
        weir_extra_json(&value, json);
    }
}

static void flow_json(const struct console_result *c, size_t index, struct json_writer *json)
{
    const struct weir_answer_flow *row = &c->answer->flows[index];
    struct weir_counts counts = weir_counts_of(1, row->flow.packets, row->flow.bytes, row->flow.sampling_one_in);
    uint64_t packets = packets_of(c, &counts);
    uint64_t bytes = bytes_of(c, &counts);
    int64_t duration_ms = row->flow.end_ms > row->flow.start_ms ? row->flow.end_ms - row->flow.start_ms : 0;
    jsonw_begin_object(json);
    for (uint32_t i = 0; i < c->query->field_count; i++) {
        uint8_t field = c->query->fields[i];
        if (field >= CONSOLE_FIELD_DIM) {
            flow_dim_json(c, row, (enum weir_dim)(field - CONSOLE_FIELD_DIM), json);
            continue;
        }
        jsonw_key(json, console_field_name(field));
        switch (field) {
        case CONSOLE_FIELD_T_FIRST: jsonw_time(json, row->flow.start_ms); break;
        case CONSOLE_FIELD_T_LAST: jsonw_time(json, row->flow.end_ms); break;
        case CONSOLE_FIELD_DURATION: jsonw_i64(json, duration_ms); break;
        case CONSOLE_FIELD_FLOWS_PACKETS: jsonw_u64(json, packets); break;
        case CONSOLE_FIELD_FLOWS_BYTES: jsonw_u64(json, bytes); break;
        case CONSOLE_FIELD_BPS: jsonw_u64(json, per_second(bytes, 8, duration_ms)); break;
        case CONSOLE_FIELD_PPS: jsonw_u64(json, per_second(packets, 1, duration_ms)); break;
        default: jsonw_u64(json, packets == 0 ? 0 : bytes / packets); break;
        }
    }
    extras_json(c, row, json);
    jsonw_end_object(json);
}

static void time_if_known(struct json_writer *json, const char *key, int64_t ms)
{
    if (ms > 0) jsonw_key_time(json, key, ms);
}

/** Who it is about, and which agent says so. */
static void source_json(const struct console_result *c, const struct weir_source *source, uint32_t site, uint32_t agent,
                        uint32_t protocol, struct json_writer *json)
{
    char address[WEIR_IP_TEXT];
    jsonw_key_text(json, "exporter", weir_ip_format(&source->exporter, address));
    jsonw_key_u64(json, "domain", source->domain);
    jsonw_key_text(json, "site", weir_answer_name_at(c->answer, site));
    jsonw_key_text(json, "agent", weir_answer_name_at(c->answer, agent));
    jsonw_key_text(json, "protocol", weir_protocol_name(protocol));
}

static void exporter_json(const struct console_result *c, size_t index, struct json_writer *json)
{
    const struct weir_answer_exporter *row = &c->answer->exporters[index];
    jsonw_begin_object(json);
    source_json(c, &row->source, row->site, row->agent, row->protocol, json);
    jsonw_key_u64(json, "flows", row->flows);
    jsonw_key_u64(json, "packets", row->packets);
    jsonw_key_u64(json, "bytes", row->bytes);
    jsonw_key_u64(json, "batches", row->batches);
    jsonw_key_u64(json, "lost_sequence", row->lost.sequence);
    jsonw_key_u64(json, "lost_templates", row->lost.templates);
    jsonw_key_u64(json, "lost_undecodable", row->lost.undecodable);
    jsonw_key_u64(json, "lost_socket_drops", row->lost.socket_drops);
    jsonw_key_u64(json, "lost_spool", row->lost.spool);
    if (row->sampling_one_in > 0) {
        jsonw_key_u64(json, "sampling", row->sampling_one_in);
        jsonw_key_text(json, "sampling_origin", weir_sampling_origin_name(row->sampling_origin));
    }
    if (row->protocol == WEIR_PROTOCOL_NETFLOW9 || row->protocol == WEIR_PROTOCOL_IPFIX) {
        jsonw_key_u64(json, "templates", row->health.templates);
        jsonw_key_u64(json, "sets_waiting", row->health.waiting);
    }
    if (row->health.has_skew) {
        jsonw_key(json, "clock_skew_ms");
        jsonw_i64(json, row->health.skew_ms);
    }
    time_if_known(json, "first_heard", row->first_heard_ms);
    time_if_known(json, "last_heard", row->last_heard_ms);
    time_if_known(json, "last_flows", row->last_flows_ms);
    time_if_known(json, "last_export", row->last_export_ms);
    jsonw_end_object(json);
}

static void drop_json(const struct console_result *c, size_t index, struct json_writer *json)
{
    static const char digits[] = "0123456789abcdef";
    const struct weir_answer_drop *row = &c->answer->drops[index];
    const struct weir_drop *drop = &row->drop;
    const struct weir_drop_info *info = weir_drop_info(drop->reason);
    char head[2 * WEIR_DROP_HEAD];
    for (size_t i = 0; i < drop->head_size; i++) {
        head[2 * i] = digits[drop->head[i] >> 4];
        head[2 * i + 1] = digits[drop->head[i] & 15];
    }
    jsonw_begin_object(json);
    source_json(c, &row->source, row->site, row->agent, row->protocol, json);
    jsonw_key_text(json, "reason", info->name);
    jsonw_key_u64(json, "count", drop->count);
    jsonw_key_text(json, "unit", info->unit);
    time_if_known(json, "first", drop->first_ms);
    time_if_known(json, "last", drop->last_ms);
    jsonw_key_text(json, "meaning", info->text);
    jsonw_key_text(json, "advice", info->advice);
    if (drop->example_ms != 0) {
        jsonw_key_time(json, "example_at", drop->example_ms);
        jsonw_key_u64(json, "example_bytes", drop->bytes);
        jsonw_key(json, "example");
        jsonw_text_of_size(json, head, 2 * (size_t)drop->head_size);
    }
    jsonw_end_object(json);
}

static void text_if_any(struct json_writer *json, const char *key, const char *text)
{
    if (text[0] != '\0') jsonw_key_text(json, key, text);
}

static void node_json(const struct console_result *c, size_t index, struct json_writer *json)
{
    const struct weir_answer_node *row = &c->answer->nodes[index];
    const char *role = weir_answer_name_at(c->answer, row->role);
    bool aggregator = strcmp(role, "aggregator") == 0;
    bool agent = strcmp(role, "agent") == 0;
    jsonw_begin_object(json);
    jsonw_key_text(json, "name", weir_answer_name_at(c->answer, row->name));
    jsonw_key_text(json, "role", role);
    text_if_any(json, "site", weir_answer_name_at(c->answer, row->site));
    text_if_any(json, "version", weir_answer_name_at(c->answer, row->version));
    if (row->up || row->last_heard_ms != 0 || aggregator) jsonw_key_bool(json, "up", row->up);
    text_if_any(json, "state", weir_answer_name_at(c->answer, row->state));
    time_if_known(json, "started", row->started_ms);
    time_if_known(json, "last_heard", row->last_heard_ms);
    if (aggregator) jsonw_key_u64(json, "shards", row->shards);
    if (aggregator || agent) {
        jsonw_key_u64(json, "batches", row->batches);
        jsonw_key_u64(json, "flows", row->flows);
        jsonw_key_u64(json, "duplicates", row->duplicates);
        jsonw_key_u64(json, "refused", row->refused);
        jsonw_key_u64(json, "lag_ms", row->lag_ms);
    }
    if (aggregator) {
        jsonw_key_u64(json, "stored_bytes", row->stored_bytes);
        jsonw_key_u64(json, "disk_free_bytes", row->disk_free_bytes);
    }
    if (agent) {
        jsonw_key_u64(json, "spool_bytes", row->spool_bytes);
        time_if_known(json, "spool_oldest", row->spool_oldest_ms);
    }
    jsonw_end_object(json);
}

static size_t row_count(const struct console_result *c)
{
    switch (c->answer->shape) {
    case WEIR_SHAPE_FLOWS: return c->answer->flow_count;
    case WEIR_SHAPE_EXPORTERS: return c->answer->exporter_count;
    case WEIR_SHAPE_NODES: return c->answer->node_count;
    case WEIR_SHAPE_DROPS: return c->answer->drop_count;
    default: return c->answer->row_count;
    }
}

static void row_json(const struct console_result *c, size_t index, struct json_writer *json)
{
    switch (c->answer->shape) {
    case WEIR_SHAPE_FLOWS: flow_json(c, index, json); break;
    case WEIR_SHAPE_EXPORTERS: exporter_json(c, index, json); break;
    case WEIR_SHAPE_NODES: node_json(c, index, json); break;
    case WEIR_SHAPE_DROPS: drop_json(c, index, json); break;
    default: group_json(c, index, json); break;
    }
}

/* ---- columns ---- */

static void column_json(struct json_writer *json, const char *name, const char *type, const char *unit)
{
    jsonw_begin_object(json);
    jsonw_key_text(json, "name", name);
    jsonw_key_text(json, "type", type);
    if (unit != NULL) jsonw_key_text(json, "unit", unit);
    jsonw_end_object(json);
}

static const char *dim_type(enum weir_dim dim)
{
    if (weir_dims[dim].type == WEIR_DIM_TYPE_IP) return "ip";
    return weir_dim_is_number(dim) ? "integer" : "text";
}

static void count_columns_json(const struct console_result *c, struct json_writer *json)
{
    if (wants(c, CONSOLE_METRIC_FLOWS)) column_json(json, "flows", "integer", "flows");
    if (wants(c, CONSOLE_METRIC_PACKETS)) column_json(json, "packets", "integer", "packets");
    if (wants(c, CONSOLE_METRIC_PACKETS) && shows_errors(c)) column_json(json, "packets_error", "integer", "packets");
    if (wants(c, CONSOLE_METRIC_BYTES)) column_json(json, "bytes", "integer", "bytes");
    if (wants(c, CONSOLE_METRIC_BYTES) && shows_errors(c)) column_json(json, "bytes_error", "integer", "bytes");
    if (wants(c, CONSOLE_METRIC_BPS)) column_json(json, "bps", "integer", "bit/s");
    if (wants(c, CONSOLE_METRIC_PPS)) column_json(json, "pps", "integer", "packets/s");
    if (wants(c, CONSOLE_METRIC_BPP)) column_json(json, "bpp", "integer", "bytes/packet");
    if (wants(c, CONSOLE_METRIC_SHARE)) column_json(json, "share", "number", NULL);
}

/** An extra column that is or may be in the rows. */
struct extra_column {
    struct weir_view name;
    const char *type;
};

/** Add the column, or say of a known one what its type is. */
static void note_extra(struct extra_column columns[CONSOLE_EXTRAS_MOST], uint32_t *count, struct weir_view name,
                       const char *type)
{
    uint32_t i = 0;
    while (i < *count && !weir_view_equal(columns[i].name, name))
        i++;
    if (i == CONSOLE_EXTRAS_MOST) return;
    if (i == *count) columns[(*count)++] = (struct extra_column){.name = name};
    if (columns[i].type == NULL) columns[i].type = type;
}

static int by_name(const void *a, const void *b)
{
    const struct weir_view left = ((const struct extra_column *)a)->name;
    const struct weir_view right = ((const struct extra_column *)b)->name;
    int order = memcmp(left.data, right.data, left.size < right.size ? left.size : right.size);
    return order != 0 ? order : (left.size > right.size) - (left.size < right.size);
}

/** The extra columns that were asked for; when nobody chose, those that the rows have, by name. */
static void extra_columns_json(const struct console_result *c, struct json_writer *json)
{
    struct extra_column columns[CONSOLE_EXTRAS_MOST];
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->query->extra_count; i++)
        note_extra(columns, &count, weir_view_text(c->query->extras[i]), NULL);
    for (size_t i = 0; i < c->answer->flow_count; i++) {
        struct weir_cursor extras = weir_cursor_of(c->answer->flows[i].extras);
        struct weir_extra_value value;
        while (weir_extra_next(&extras, &value) > 0) {
            if (wants_extra(c->query, value.name))
                note_extra(columns, &count, value.name, weir_extra_type_name(value.type));
        }
    }
    if (c->query->all_extras) qsort(columns, count, sizeof *columns, by_name);
    for (uint32_t i = 0; i < count; i++) {
        char name[sizeof CONSOLE_EXTRA + WEIR_EXTRA_NAME_BYTES];
        extra_name(columns[i].name, name);
        column_json(json, name, columns[i].type == NULL ? "text" : columns[i].type, NULL);
    }
}

static void field_columns_json(const struct console_result *c, struct json_writer *json)
{
    for (uint32_t i = 0; i < c->query->field_count; i++) {
        uint8_t field = c->query->fields[i];
        const char *name = console_field_name(field);
        if (field >= CONSOLE_FIELD_DIM) {
            column_json(json, name, dim_type((enum weir_dim)(field - CONSOLE_FIELD_DIM)), NULL);
        } else if (field == CONSOLE_FIELD_T_FIRST || field == CONSOLE_FIELD_T_LAST) {
            column_json(json, name, "time", NULL);
        } else {
            static const char *const unit[CONSOLE_FIELD_DIM] = {
                [CONSOLE_FIELD_DURATION] = "ms",       [CONSOLE_FIELD_FLOWS_PACKETS] = "packets",
                [CONSOLE_FIELD_FLOWS_BYTES] = "bytes", [CONSOLE_FIELD_BPS] = "bit/s",
                [CONSOLE_FIELD_PPS] = "packets/s",     [CONSOLE_FIELD_BPP] = "bytes/packet"};
            column_json(json, name, "integer", unit[field]);
        }
    }
    extra_columns_json(c, json);
}

struct column {
    const char *name;
    const char *type;
    const char *unit;
};

static const struct column exporter_columns[] = {{"exporter", "ip", NULL},
                                                 {"domain", "integer", NULL},
                                                 {"site", "text", NULL},
                                                 {"agent", "text", NULL},
                                                 {"protocol", "text", NULL},
                                                 {"flows", "integer", "flows"},
                                                 {"packets", "integer", "packets"},
                                                 {"bytes", "integer", "bytes"},
                                                 {"batches", "integer", "batches"},
                                                 {"lost_sequence", "integer", NULL},
                                                 {"lost_templates", "integer", NULL},
                                                 {"lost_undecodable", "integer", NULL},
                                                 {"lost_socket_drops", "integer", "datagrams"},
                                                 {"lost_spool", "integer", "flows"},
                                                 {"sampling", "integer", NULL},
                                                 {"sampling_origin", "text", NULL},
                                                 {"templates", "integer", "templates"},
                                                 {"sets_waiting", "integer", "sets"},
                                                 {"clock_skew_ms", "integer", "ms"},
                                                 {"first_heard", "time", NULL},
                                                 {"last_heard", "time", NULL},
                                                 {"last_flows", "time", NULL},
                                                 {"last_export", "time", NULL}};

static const struct column drop_columns[] = {{"exporter", "ip", NULL},     {"domain", "integer", NULL},
                                             {"site", "text", NULL},       {"agent", "text", NULL},
                                             {"protocol", "text", NULL},   {"reason", "text", NULL},
                                             {"count", "integer", NULL},   {"unit", "text", NULL},
                                             {"first", "time", NULL},      {"last", "time", NULL},
                                             {"meaning", "text", NULL},    {"advice", "text", NULL},
                                             {"example_at", "time", NULL}, {"example_bytes", "integer", "bytes"},
                                             {"example", "text", NULL}};

static const struct column node_columns[] = {{"name", "text", NULL},
                                             {"role", "text", NULL},
                                             {"site", "text", NULL},
                                             {"version", "text", NULL},
                                             {"up", "boolean", NULL},
                                             {"state", "text", NULL},
                                             {"started", "time", NULL},
                                             {"last_heard", "time", NULL},
                                             {"shards", "integer", NULL},
                                             {"batches", "integer", "batches"},
                                             {"flows", "integer", "flows"},
                                             {"duplicates", "integer", "batches"},
                                             {"refused", "integer", "batches"},
                                             {"lag_ms", "integer", "ms"},
                                             {"stored_bytes", "integer", "bytes"},
                                             {"disk_free_bytes", "integer", "bytes"},
                                             {"spool_bytes", "integer", "bytes"},
                                             {"spool_oldest", "time", NULL}};

static void columns_json(const struct console_result *c, struct json_writer *json)
{
    jsonw_key(json, "columns");
    jsonw_begin_array(json);
    switch (c->answer->shape) {
    case WEIR_SHAPE_FLOWS: field_columns_json(c, json); break;
    case WEIR_SHAPE_EXPORTERS:
        for (size_t i = 0; i < sizeof exporter_columns / sizeof *exporter_columns; i++)
            column_json(json, exporter_columns[i].name, exporter_columns[i].type, exporter_columns[i].unit);
        break;
    case WEIR_SHAPE_DROPS:
        for (size_t i = 0; i < sizeof drop_columns / sizeof *drop_columns; i++)
            column_json(json, drop_columns[i].name, drop_columns[i].type, drop_columns[i].unit);
        break;
    case WEIR_SHAPE_NODES:
        for (size_t i = 0; i < sizeof node_columns / sizeof *node_columns; i++)
            column_json(json, node_columns[i].name, node_columns[i].type, node_columns[i].unit);
        break;
    default:
        if (c->answer->shape == WEIR_SHAPE_SERIES) column_json(json, "time", "time", NULL);
        for (uint32_t d = 0; d < c->answer->dim_count; d++)
            column_json(json, weir_dims[c->answer->dims[d]].name, dim_type(c->answer->dims[d]), NULL);
        count_columns_json(c, json);
        break;
    }
    jsonw_end_array(json);
}

/* ---- meta ---- */

bool console_answer_is_whole(const struct weir_answer *answer)
{
    for (size_t i = 0; i < answer->source_count; i++) {
        const struct weir_answer_source *source = &answer->sources[i];
        if (!source->ok || source->shards_answered < source->shards_asked) return false;
    }
    return answer->source_count > 0;
}

static void sums_json(const struct console_result *c, const char *key, const struct weir_counts *counts,
                      struct json_writer *json)
{
    jsonw_key(json, key);
    jsonw_begin_object(json);
    jsonw_key_u64(json, "flows", counts->flows);
    jsonw_key_u64(json, "packets", packets_of(c, counts));
    jsonw_key_u64(json, "bytes", bytes_of(c, counts));
    if (shows_errors(c)) {
        jsonw_key_u64(json, "packets_error", weir_interval95(counts->packets_variance));
        jsonw_key_u64(json, "bytes_error", weir_interval95(counts->bytes_variance));
    }
    jsonw_end_object(json);
}

static void sources_json(const struct console_result *c, struct json_writer *json)
{
    jsonw_key(json, "missing");
    jsonw_begin_array(json);
    for (size_t i = 0; i < c->answer->source_count; i++) {
        const struct weir_answer_source *source = &c->answer->sources[i];
        if (source->ok && source->shards_answered == source->shards_asked) continue;
        jsonw_begin_object(json);
        jsonw_key_text(json, "source", weir_answer_name_at(c->answer, source->name));
        jsonw_key_text(json, "reason",
                       source->reason == 0 ? "it did not answer for all of its shards"
                                           : weir_answer_name_at(c->answer, source->reason));
        jsonw_key_u64(json, "shards", source->shards_asked - source->shards_answered);
        jsonw_end_object(json);
    }
    jsonw_end_array(json);
    jsonw_key(json, "sources");
    jsonw_begin_array(json);
    for (size_t i = 0; i < c->answer->source_count; i++) {
        const struct weir_answer_source *source = &c->answer->sources[i];
        jsonw_begin_object(json);
        jsonw_key_text(json, "id", weir_answer_name_at(c->answer, source->name));
        jsonw_key_bool(json, "ok", source->ok);
        if (source->reason != 0) jsonw_key_text(json, "reason", weir_answer_name_at(c->answer, source->reason));
        jsonw_key_u64(json, "shards", source->shards_asked);
        jsonw_key_u64(json, "scanned", source->scanned);
        jsonw_key_u64(json, "elapsed_ms", source->elapsed_ms);
        jsonw_end_object(json);
    }
    jsonw_end_array(json);
}

static void lost_json(const struct weir_lost *lost, struct json_writer *json)
{
    jsonw_key(json, "lost");
    jsonw_begin_object(json);
    jsonw_key_u64(json, "sequence", lost->sequence);
    jsonw_key_u64(json, "templates", lost->templates);
    jsonw_key_u64(json, "undecodable", lost->undecodable);
    jsonw_key_u64(json, "socket_drops", lost->socket_drops);
    jsonw_key_u64(json, "spool", lost->spool);
    jsonw_end_object(json);
}

static void meta_json(const struct console_result *c, struct json_writer *json)
{
    const struct weir_answer *answer = c->answer;
    const struct weir_coverage *coverage = &answer->coverage;
    struct weir_shards_covered covered = weir_answer_covered(answer);
    bool whole = console_answer_is_whole(answer);
    jsonw_key(json, "meta");
    jsonw_begin_object(json);
    jsonw_key_time(json, "from", c->query->question.from_ms);
    jsonw_key_time(json, "to", c->query->question.to_ms);
    if (coverage->to_ms > 0) {
        jsonw_key(json, "effective");
        jsonw_begin_object(json);
        jsonw_key_time(json, "from", coverage->from_ms);
        jsonw_key_time(json, "to", coverage->to_ms);
        jsonw_end_object(json);
    }
    if (answer->shape == WEIR_SHAPE_SERIES) jsonw_key_u64(json, "step_ms", (uint64_t)c->query->question.step_ms);
    jsonw_key_text(json, "filter", c->query->filter);
    if (coverage->tier != WEIR_TIER_AUTO) jsonw_key_text(json, "rollup", weir_tier_name(coverage->tier));
    jsonw_key_bool(json, "exact",
                   whole && !coverage->sampled && !coverage->clipped && !coverage->behind && answer->error_bound == 0);
    jsonw_key_bool(json, "sampled", coverage->sampled);
    jsonw_key_bool(json, "sampling_unknown", coverage->sampling_unknown);
    jsonw_key_bool(json, "behind", coverage->behind);
    jsonw_key(json, "error_bound");
    if (answer->error_bound == 0) {
        jsonw_null(json);
    } else {
        jsonw_u64(json, answer->error_bound);
    }
    jsonw_key_bool(json, "partial", !whole);
    jsonw_key_u64(json, "shards_total", covered.asked);
    jsonw_key_u64(json, "shards_ok", covered.answered);
    sources_json(c, json);
    time_if_known(json, "asof", covered.asof_ms);
    lost_json(&coverage->lost, json);
    sums_json(c, "total", &answer->total, json);
    sums_json(c, "other", &answer->other, json);
    jsonw_key_u64(json, "scanned", covered.scanned);
    jsonw_key_u64(json, "elapsed_ms", (uint64_t)c->elapsed_ms);
    jsonw_key_text(json, "query_id", c->query_id);
    jsonw_end_object(json);
}

/** Where the next page begins, when there is one. */
static void next_json(const struct console_result *c, struct json_writer *json)
{
    if (c->answer->shape != WEIR_SHAPE_FLOWS || !c->answer->more || c->answer->flow_count == 0) return;
    struct weir_buf cursor = WEIR_BUF_INIT;
    console_cursor_print(c->query, &c->answer->flows[c->answer->flow_count - 1].place, &cursor);
    jsonw_key_text(json, "next", weir_buf_cstr(&cursor));
    weir_buf_fini(&cursor);
}

static void lines_json(const struct console_result *c, struct weir_buf *out)
{
    for (size_t i = 0; i < row_count(c); i++) {
        struct json_writer json = json_writer_of(out);
        row_json(c, i, &json);
        weir_buf_u8(out, '\n');
    }
    struct json_writer json = json_writer_of(out);
    jsonw_begin_object(&json);
    meta_json(c, &json);
    next_json(c, &json);
    jsonw_end_object(&json);
    weir_buf_u8(out, '\n');
}

void console_answer_json(const struct console_result *c, bool ndjson, struct weir_buf *out)
{
    if (ndjson) {
        lines_json(c, out);
        return;
    }
    struct json_writer json = json_writer_of(out);
    jsonw_begin_object(&json);
    meta_json(c, &json);
    columns_json(c, &json);
    jsonw_key(&json, "rows");
    jsonw_begin_array(&json);
    for (size_t i = 0; i < row_count(c); i++)
        row_json(c, i, &json);
    jsonw_end_array(&json);
    next_json(c, &json);
    jsonw_end_object(&json);
    weir_buf_u8(out, '\n');
}
