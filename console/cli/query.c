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

enum cli_exit cli_flows(const struct cli_args *args)
{
    struct cli_ask ask;
    int64_t limit = 0;
    enum cli_exit status = cli_ask_begin(args, &ask);
    if (status == CLI_OK) status = cli_ask_limit(args, FLOWS_LIMIT, LIMIT_MOST, &limit);
    if (status == CLI_OK) {
        ask.output.narrow =
            "t_first,duration_ms,proto,src_ip,src_port,dst_ip,dst_port,tcp_flags,packets,bytes,exporter";
        json_object_set_new(ask.body, "shape", json_string("flows"));
        json_object_set_new(ask.body, "limit", json_integer(limit));
        const char *order = args->values[CLI_OPTION_order];
        if (order != NULL) json_object_set_new(ask.body, "order", json_string(order));
        status = cli_ask_query(args, &ask);
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

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/** A series as people look at it: a row per group with a sparkline over its steps. Rows come in the order of groups. */
static json_t *sparklines(const json_t *answer, const json_t *group, const char *order)
{
    json_t *columns = json_array();
    json_t *rows = json_array();
    size_t i;
    json_t *name;
    json_array_foreach(group, i, name)
    {
        json_array_append_new(columns, json_pack("{s:O,s:s}", "name", name, "type", "text"));
    }
    json_array_append_new(columns, json_pack("{s:s,s:s}", "name", "trend", "type", "text"));
    static const char *const metrics[] = {"flows", "packets", "bytes"};
    for (int m = 0; m < 3; m++) {
        json_array_append_new(columns,
                              json_pack("{s:s,s:s,s:s}", "name", metrics[m], "type", "number", "unit", metrics[m]));
    }

    const json_t *from = json_object_get(answer, "rows");
    size_t count = json_array_size(from);
    uint64_t *values = weir_calloc(count + 1, sizeof *values);
    for (size_t begin = 0; begin < count && values != NULL;) {
        const json_t *first = json_array_get(from, begin);
        json_int_t sums[3] = {0};
        size_t steps = 0;
        size_t at = begin;
        for (; at < count; at++) {
            const json_t *row = json_array_get(from, at);
            bool same = true;
            json_array_foreach(group, i, name)
            {
                const char *key = json_string_value(name);
                same = same && json_equal(json_object_get(row, key), json_object_get(first, key));
            }
            if (!same) break;
            for (int m = 0; m < 3; m++)
                sums[m] += number_of(row, metrics[m]);
            values[steps++] = (uint64_t)number_of(row, order);
        }
        struct weir_buf line = WEIR_BUF_INIT;
        cli_sparkline(values, steps, &line);
        json_t *row = json_object();
        json_array_foreach(group, i, name)
        {
            json_object_set(row, json_string_value(name), json_object_get(first, json_string_value(name)));
        }
        json_object_set_new(row, "trend", json_string(weir_buf_cstr(&line)));
        for (int m = 0; m < 3; m++)
            json_object_set_new(row, metrics[m], json_integer(sums[m]));
        json_array_append_new(rows, row);
        weir_buf_fini(&line);
        begin = at;
    }
    weir_free(values);
    return json_pack("{s:O,s:o,s:o}", "meta", json_object_get(answer, "meta"), "columns", columns, "rows", rows);
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
