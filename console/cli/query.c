/** weir top, weir flows, weir series. */
#include "console/cli/ask.h"

#include "common/base/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { LIMIT_MOST = 10000, TOP_LIMIT = 10, FLOWS_LIMIT = 20, STEPS = 60 };

/** Add {"group": [...]} from "a,b,c". */
static void set_group(json_t *body, const char *keys, size_t size)
{
    json_t *group = json_array();
    for (size_t from = 0; from < size;) {
        size_t length = 0;
        while (from + length < size && keys[from + length] != ',')
            length++;
        json_array_append_new(group, json_stringn(keys + from, length));
        from += length + 1;
    }
    json_object_set_new(body, "group", group);
}

/** --stat KEYS/METRIC, --group KEYS and --order METRIC[:asc] say the same in two ways. */
static enum cli_exit set_ranking(const struct cli_args *args, json_t *body, const char *preset)
{
    const char *stat = args->values[CLI_OPTION_stat];
    const char *group = args->values[CLI_OPTION_group];
    if (group == NULL) group = args->values[CLI_OPTION_aggregate];
    if (stat != NULL && group != NULL) return cli_fail(CLI_USAGE, "--stat and --group exclude each other");

    const char *keys = stat != NULL ? stat : group != NULL ? group : preset;
    const char *slash = stat == NULL ? NULL : strchr(stat, '/');
    set_group(body, keys, slash == NULL ? strlen(keys) : (size_t)(slash - keys));
    const char *order = cli_value(args, CLI_OPTION_order, slash == NULL ? "bytes" : slash + 1);
    json_object_set_new(body, "order", json_string(order));
    return CLI_OK;
}

enum cli_exit cli_top(const struct cli_args *args)
{
    struct cli_ask ask;
    int64_t limit = 0;
    enum cli_exit status = cli_ask_begin(args, &ask);
    if (status == CLI_OK) status = cli_ask_limit(args, TOP_LIMIT, LIMIT_MOST, &limit);
    if (status == CLI_OK) status = set_ranking(args, ask.body, "ip");
    if (status == CLI_OK) {
        json_object_set_new(ask.body, "shape", json_string("table"));
        json_object_set_new(ask.body, "limit", json_integer(limit));
        status = cli_ask_query(args, &ask);
    }
    cli_ask_end(&ask);
    return status;
}

/** Extra columns of the option --fields are asked for by name: so they are there even where no row has them. */
static void ask_for_fields(struct cli_ask *ask)
{
    const char *fields = ask->output.fields;
    if (fields == NULL || (strncmp(fields, "extra.", 6) != 0 && strstr(fields, ",extra.") == NULL)) return;
    json_t *list = json_array();
    for (const char *at = fields; *at != '\0';) {
        size_t size = strcspn(at, ",");
        json_array_append_new(list, json_stringn(at, size));
        at += size + (at[size] == ',');
    }
    json_object_set_new(ask->body, "fields", list);
}

enum cli_exit cli_flows(const struct cli_args *args)
{
    struct cli_ask ask;
    int64_t limit = 0;
    enum cli_exit status = cli_ask_begin(args, &ask);
    if (status == CLI_OK) status = cli_ask_limit(args, FLOWS_LIMIT, INT64_MAX, &limit);
    if (status == CLI_OK) {
        ask.output.narrow =
            "t_first,duration_ms,proto,src_ip,src_port,dst_ip,dst_port,tcp_flags,packets,bytes,exporter";
        json_object_set_new(ask.body, "shape", json_string("flows"));
        const char *order = args->values[CLI_OPTION_order];
        if (order != NULL) json_object_set_new(ask.body, "order", json_string(order));
        ask_for_fields(&ask);
        status = cli_ask_pages(args, &ask, limit);
    }
    cli_ask_end(&ask);
    return status;
}

/** A step of about a sixtieth of the range that people know: 1 s, 5 s ... 1 h, 1 d. Whole minutes when it can be. */
static int64_t nice_step(int64_t range_ms)
{
    static const int64_t steps[] = {1000,   5000,   10000,   30000,   60000,   120000,   300000,
                                    600000, 900000, 1800000, 3600000, 7200000, 21600000, 43200000};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (range_ms / steps[i] <= STEPS && (steps[i] >= 60000 || range_ms < 600000)) return steps[i];
    }
    return 86400000;
}

static const char *const metrics[] = {"flows", "packets", "bytes"};
enum { METRICS = 3 };

static int64_t time_of(const json_t *object, const char *key)
{
    int64_t ms = 0;
    const char *text = json_string_value(json_object_get(object, key));
    if (text != NULL) weir_timepoint_parse(text, 0, &weir_zone_utc, &ms, NULL);
    return ms;
}

static bool same_group(const json_t *group, const json_t *a, const json_t *b)
{
    size_t i;
    json_t *name;
    json_array_foreach(group, i, name)
    {
        const char *key = json_string_value(name);
        const json_t *left = json_object_get(a, key);
        const json_t *right = json_object_get(b, key);
        if (left != right && (left == NULL || right == NULL || !json_equal(left, right))) return false;
    }
    return true;
}

/** The columns of a table with a line per group. */
static json_t *sparkline_columns(const json_t *group)
{
    json_t *columns = json_array();
    size_t i;
    json_t *name;
    json_array_foreach(group, i, name)
    {
        json_array_append_new(columns, json_pack("{s:O,s:s}", "name", name, "type", "text"));
    }
    json_array_append_new(columns, json_pack("{s:s,s:s}", "name", "trend", "type", "text"));
    for (int m = 0; m < METRICS; m++) {
        json_array_append_new(columns,
                              json_pack("{s:s,s:s,s:s}", "name", metrics[m], "type", "integer", "unit", metrics[m]));
    }
    return columns;
}

/** One line: the group's keys, its steps as a sparkline (a step without flows has no row, and is a gap), its sums. */
static json_t *sparkline_row(const json_t *group, const json_t *rows, size_t begin, size_t end, const char *order,
                             int64_t from_ms, int64_t step_ms, uint64_t *steps, size_t step_count)
{
    json_int_t sums[METRICS] = {0};
    memset(steps, 0, step_count * sizeof *steps);
    for (size_t at = begin; at < end; at++) {
        const json_t *row = json_array_get(rows, at);
        int64_t step = (time_of(row, "time") - from_ms) / step_ms;
        if (step >= 0 && (size_t)step < step_count) {
            steps[step] = (uint64_t)json_integer_value(json_object_get(row, order));
        }
        for (int m = 0; m < METRICS; m++)
            sums[m] += json_integer_value(json_object_get(row, metrics[m]));
    }
    struct weir_buf line = WEIR_BUF_INIT;
    cli_sparkline(steps, step_count, &line);
    json_t *out = json_object();
    const json_t *first = json_array_get(rows, begin);
    size_t i;
    json_t *name;
    json_array_foreach(group, i, name)
    {
        const char *key = json_string_value(name);
        json_object_set(out, key, json_object_get(first, key));
    }
    json_object_set_new(out, "trend", json_string(weir_buf_cstr(&line)));
    for (int m = 0; m < METRICS; m++)
        json_object_set_new(out, metrics[m], json_integer(sums[m]));
    weir_buf_fini(&line);
    return out;
}

/** A series as people look at it: a line per group. Its rows come in the order of groups, then of time. */
static json_t *sparklines(const json_t *answer, const json_t *group, const char *order)
{
    enum { STEPS_MOST = 1000 };
    const json_t *meta = json_object_get(answer, "meta");
    const json_t *from = json_object_get(answer, "rows");
    int64_t step_ms = json_integer_value(json_object_get(meta, "step_ms"));
    if (step_ms <= 0) step_ms = 60000;
    int64_t from_ms = time_of(meta, "from") / step_ms * step_ms;
    int64_t span_ms = time_of(meta, "to") - from_ms;
    size_t step_count = span_ms <= 0 ? 1 : (size_t)((span_ms + step_ms - 1) / step_ms);
    if (step_count > STEPS_MOST) step_count = STEPS_MOST;

    json_t *rows = json_array();
    uint64_t *steps = weir_calloc(step_count, sizeof *steps);
    size_t count = steps == NULL ? 0 : json_array_size(from);
    for (size_t begin = 0, end; begin < count; begin = end) {
        end = begin + 1;
        while (end < count && same_group(group, json_array_get(from, begin), json_array_get(from, end)))
            end++;
        json_array_append_new(rows, sparkline_row(group, from, begin, end, order, from_ms, step_ms, steps, step_count));
    }
    weir_free(steps);
    return json_pack("{s:O,s:o,s:o}", "meta", meta, "columns", sparkline_columns(group), "rows", rows);
}

/** Ask, and show groups as sparklines when it is for people. */
static enum cli_exit query_series(const struct cli_args *args, struct cli_ask *ask)
{
    const json_t *group = json_object_get(ask->body, "group");
    if (ask->output.format != CLI_TABLE || ask->output.fields != NULL || json_array_size(group) == 0) {
        return cli_ask_query(args, ask);
    }
    json_t *answer = NULL;
    enum cli_exit status = cli_api(args, "/api/v1/query", ask->body, weir_buf_cstr(&ask->filter), &answer);
    if (status != CLI_OK) return status;
    char order[16];
    const char *asked = json_string_value(json_object_get(ask->body, "order"));
    snprintf(order, sizeof order, "%.*s", (int)strcspn(asked, ":"), asked);
    json_t *shown = sparklines(answer, group, order);
    status = cli_ask_print(args, &ask->output, shown);
    json_decref(shown);
    json_decref(answer);
    return status;
}

static enum cli_exit set_step(const struct cli_args *args, struct cli_ask *ask)
{
    int64_t step_ms = nice_step(ask->range.to_ms - ask->range.from_ms);
    const char *text = args->values[CLI_OPTION_step];
    struct weir_time_error error;
    if (text != NULL && (weir_duration_parse(text, &step_ms, &error) < 0 || step_ms <= 0)) {
        return cli_fail(CLI_USAGE, "--step: \"%s\" is not a duration", text);
    }
    json_object_set_new(ask->body, "step", json_integer(step_ms));
    return CLI_OK;
}

enum cli_exit cli_series(const struct cli_args *args)
{
    struct cli_ask ask;
    int64_t limit = 0;
    bool sum = args->values[CLI_OPTION_sum] != NULL;
    enum cli_exit status = cli_ask_begin(args, &ask);
    if (status == CLI_OK) status = cli_ask_limit(args, TOP_LIMIT, LIMIT_MOST, &limit);
    if (status == CLI_OK) status = set_ranking(args, ask.body, "");
    if (status == CLI_OK && !sum) status = set_step(args, &ask);
    if (status == CLI_OK) {
        json_object_set_new(ask.body, "shape", json_string(sum ? "table" : "series"));
        json_object_set_new(ask.body, "limit", json_integer(limit));
        status = sum ? cli_ask_query(args, &ask) : query_series(args, &ask);
    }
    cli_ask_end(&ask);
    return status;
}
