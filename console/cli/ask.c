#include "console/cli/ask.h"

#include "common/base/clock.h"
#include "common/conf/option.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static enum cli_exit parse_range(const struct cli_args *args, struct cli_ask *ask)
{
    const char *text = cli_value(args, CLI_OPTION_time, "1h");
    struct weir_time_error error;
    if (weir_timerange_parse(text, weir_wall_ms(), &ask->output.zone, &ask->range, &error) == 0) return CLI_OK;
    cli_fail(CLI_USAGE, "time range, column %zu: %s", error.column, error.message);
    fprintf(stderr, "  %s\n  %*s", text, (int)error.column - 1, "");
    for (size_t i = 0; i < error.length; i++)
        fputc('^', stderr);
    fputc('\n', stderr);
    return CLI_USAGE;
}

/** The words that are left, with blanks between them: a filter may come quoted or not. */
static void join_filter(const struct cli_args *args, struct weir_buf *filter)
{
    for (int i = 0; i < args->word_count; i++)
        weir_buf_printf(filter, i == 0 ? "%s" : " %s", args->words[i]);
}

enum cli_exit cli_ask_begin(const struct cli_args *args, struct cli_ask *ask)
{
    struct weir_why why = {""};
    *ask = (struct cli_ask){.body = NULL};
    if (cli_output_init(&ask->output, args, &why) < 0) return cli_fail(CLI_USAGE, "%s", why.text);
    enum cli_exit status = parse_range(args, ask);
    if (status != CLI_OK) return status;

    const char *partial = cli_value(args, CLI_OPTION_partial, "warn");
    if (weir_choice_index("fail|warn|ok", partial) < 0) {
        return cli_fail(CLI_USAGE, "--partial: \"%s\" is not fail, warn or ok", partial);
    }
    join_filter(args, &ask->filter);
    char from[WEIR_TIME_TEXT];
    char to[WEIR_TIME_TEXT];
    ask->body = json_pack("{s:{s:s,s:s},s:s}", "time", "from", weir_time_rfc3339(ask->range.from_ms, from), "to",
                          weir_time_rfc3339(ask->range.to_ms, to), "filter", weir_buf_cstr(&ask->filter));
    if (ask->body == NULL) return cli_fail(CLI_USAGE, "the filter is not UTF-8 text, or memory ran out");

    json_t *sites = json_array();
    for (int i = 0; i < args->site_count; i++)
        json_array_append_new(sites, json_string(args->sites[i]));
    if (args->site_count > 0) json_object_set(ask->body, "sites", sites);
    json_decref(sites);
    int64_t timeout_ms;
    const char *timeout = args->values[CLI_OPTION_timeout];
    if (timeout != NULL && weir_conf_duration_parse(timeout, &timeout_ms) == 0) {
        json_object_set_new(ask->body, "budget", json_pack("{s:I}", "ms", (json_int_t)timeout_ms));
    }
    return CLI_OK;
}

void cli_ask_end(struct cli_ask *ask)
{
    json_decref(ask->body);
    weir_buf_fini(&ask->filter);
}

enum cli_exit cli_ask_limit(const struct cli_args *args, int64_t preset, int64_t most, int64_t *ret)
{
    const char *text = args->values[CLI_OPTION_limit];
    *ret = preset;
    if (text == NULL) return CLI_OK;
    char *end;
    long long number = strtoll(text, &end, 10);
    if (*text == '\0' || *end != '\0' || number < 0 || number > most) {
        return cli_fail(CLI_USAGE, "--limit: \"%s\" is not a number from 0 to %" PRId64, text, most);
    }
    *ret = number == 0 ? most : number;
    return CLI_OK;
}

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/** " · " between the parts of the footer. */
static void part(struct weir_buf *out)
{
    weir_buf_text(out, " · ");
}

/** How many aggregators were asked and how many answered. */
static void count_sources(const json_t *meta, size_t *asked, size_t *answered)
{
    *asked = 0;
    *answered = 0;
    size_t i;
    json_t *source;
    json_array_foreach(json_object_get(meta, "sources"), i, source)
    {
        ++*asked;
        *answered += json_is_true(json_object_get(source, "ok"));
    }
}

static void put_range(const struct cli_output *output, const json_t *meta, struct weir_buf *out)
{
    int64_t from = 0;
    int64_t to = 0;
    char begin[WEIR_TIME_TEXT];
    char end[WEIR_TIME_TEXT];
    if (weir_timepoint_parse(cli_text_of(meta, "from"), 0, &weir_zone_utc, &from, NULL) < 0) return;
    if (weir_timepoint_parse(cli_text_of(meta, "to"), 0, &weir_zone_utc, &to, NULL) < 0) return;
    part(out);
    weir_buf_printf(out, "%s to %s", weir_time_local(from, &output->zone, begin),
                    weir_time_local(to, &output->zone, end));
    weir_buf_printf(out, " %s", cli_output_zone(output, to, end));
}

/** What was lost before the store, when something was. */
static void put_lost(const json_t *meta, struct weir_buf *out)
{
    static const char *const kinds[] = {"sequence", "templates", "undecodable", "socket_drops", "spool"};
    const json_t *lost = json_object_get(meta, "lost");
    json_int_t sum = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        sum += number_of(lost, kinds[i]);
    if (sum == 0) return;
    part(out);
    cli_human((uint64_t)sum, "records", out);
    weir_buf_text(out, " lost");
}

static void print_footer(const struct cli_output *output, const json_t *meta, size_t rows)
{
    size_t asked;
    size_t answered;
    struct weir_buf out = WEIR_BUF_INIT;
    weir_buf_printf(&out, "-- %zu %s", rows, rows == 1 ? "row" : "rows");
    const json_t *total = json_object_get(meta, "total"); /* zeros where rows are no sums: exporters, nodes */
    if (number_of(total, "flows") > 0) {
        part(&out);
        cli_human((uint64_t)number_of(total, "bytes"), "bytes", &out);
        weir_buf_text(&out, " in ");
        cli_human((uint64_t)number_of(total, "flows"), "flows", &out);
        weir_buf_text(&out, " flows");
    }
    put_range(output, meta, &out);
    if (json_object_get(meta, "exact") != NULL) {
        part(&out);
        weir_buf_text(&out, json_is_true(json_object_get(meta, "exact")) ? "exact" : "approximate");
        const char *rollup = cli_text_of(meta, "rollup");
        if (rollup[0] != '\0') weir_buf_printf(&out, " (%s)", rollup);
    }
    if (json_is_true(json_object_get(meta, "sampled"))) weir_buf_text(&out, " · sampled");
    if (json_is_true(json_object_get(meta, "behind"))) weir_buf_text(&out, " · behind: rollups are catching up");
    put_lost(meta, &out);
    count_sources(meta, &asked, &answered);
    if (asked > 0) weir_buf_printf(&out, " · %zu/%zu aggregators", answered, asked);
    weir_buf_printf(&out, " · %" JSON_INTEGER_FORMAT " ms\n", number_of(meta, "elapsed_ms"));
    fflush(stdout);
    fputs(weir_buf_cstr(&out), stderr);
    weir_buf_fini(&out);
}

/** Name those who did not answer. */
static void warn_partial(const json_t *meta)
{
    fflush(stdout);
    fputs("weir: the answer is partial:", stderr);
    size_t i;
    json_t *source;
    json_array_foreach(json_object_get(meta, "sources"), i, source)
    {
        if (json_is_true(json_object_get(source, "ok"))) continue;
        fprintf(stderr, " %s (%s)", cli_text_of(source, "id"), cli_text_of(source, "reason"));
    }
    fputc('\n', stderr);
}

/** The rows of an answer, to stdout. */
static enum cli_exit print_rows(const struct cli_output *output, const json_t *answer)
{
    struct weir_buf out = WEIR_BUF_INIT;
    struct weir_why why = {""};
    int rc = cli_output_rows(output, answer, &out, &why);
    if (rc == 0) fwrite(out.data, 1, out.size, stdout);
    weir_buf_fini(&out);
    return rc < 0 ? cli_fail(rc == WEIR_EPARAM ? CLI_USAGE : CLI_INTERNAL, "%s", why.text) : CLI_OK;
}

enum cli_exit cli_ask_print_end(const struct cli_args *args, const struct cli_output *output, const json_t *meta,
                                size_t rows)
{
    const char *partial = cli_value(args, CLI_OPTION_partial, "warn");
    bool is_partial = json_is_true(json_object_get(meta, "partial"));
    if (!output->quiet) print_footer(output, meta, rows);
    if (is_partial && strcmp(partial, "ok") != 0) warn_partial(meta);
    return is_partial && strcmp(partial, "fail") == 0 ? CLI_PARTIAL : CLI_OK;
}

enum cli_exit cli_ask_print(const struct cli_args *args, const struct cli_output *output, const json_t *answer)
{
    enum cli_exit status = print_rows(output, answer);
    if (status != CLI_OK) return status;
    return cli_ask_print_end(args, output, json_object_get(answer, "meta"),
                             json_array_size(json_object_get(answer, "rows")));
}

enum cli_exit cli_ask_query(const struct cli_args *args, struct cli_ask *ask)
{
    json_t *answer = NULL;
    enum cli_exit status = cli_api(args, "/api/v1/query", ask->body, weir_buf_cstr(&ask->filter), &answer);
    if (status != CLI_OK) return status;
    status = cli_ask_print(args, &ask->output, answer);
    json_decref(answer);
    return status;
}

static bool has_column(const json_t *columns, const char *name)
{
    size_t i;
    json_t *column;
    json_array_foreach(columns, i, column)
    {
        if (strcmp(cli_text_of(column, "name"), name) == 0) return true;
    }
    return false;
}

/** Put the rows of @page behind those of *all, which begins as the first page; extra columns may be new. */
static void collect(json_t **all, json_t *page)
{
    if (*all == NULL) {
        *all = json_incref(page);
        return;
    }
    json_array_extend(json_object_get(*all, "rows"), json_object_get(page, "rows"));
    json_t *columns = json_object_get(*all, "columns");
    size_t i;
    json_t *column;
    json_array_foreach(json_object_get(page, "columns"), i, column)
    {
        if (!has_column(columns, cli_text_of(column, "name"))) json_array_append(columns, column);
    }
}

/** Rows that are printed page by page keep the columns of the first one; what they cannot show is said, once. */
static void keep_columns(json_t **first, json_t **said, json_t *page)
{
    json_t *columns = json_object_get(page, "columns");
    if (*first == NULL) {
        *first = json_copy(columns);
        *said = json_copy(columns);
    }
    size_t i;
    json_t *column;
    json_array_foreach(columns, i, column)
    {
        const char *name = cli_text_of(column, "name");
        if (has_column(*said, name)) continue;
        json_array_append(*said, column);
        fflush(stdout);
        fprintf(stderr, "weir: %s is not in the rows that came first, and left out: name it with --fields\n", name);
    }
    json_object_set(page, "columns", *first);
}

/** What the first page says holds for all of them, unless a later one is partial; their times add up. */
static void add_meta(json_t **meta, json_t *page)
{
    if (*meta == NULL) {
        *meta = json_incref(page);
        return;
    }
    json_int_t elapsed_ms = number_of(*meta, "elapsed_ms") + number_of(page, "elapsed_ms");
    json_object_set_new(*meta, "elapsed_ms", json_integer(elapsed_ms));
    if (!json_is_true(json_object_get(page, "partial"))) return;
    static const char *const keys[] = {"partial", "exact", "sources", "missing"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        json_object_set(*meta, keys[i], json_object_get(page, keys[i]));
}

enum cli_exit cli_ask_pages(const struct cli_args *args, struct cli_ask *ask, int64_t limit)
{
    enum { PAGE_MOST = 10000 };
    bool streams = cli_output_streams(&ask->output);
    enum cli_exit status = CLI_OK;
    json_t *all = NULL;
    json_t *meta = NULL;
    json_t *first_columns = NULL;
    json_t *said_columns = NULL;
    for (int64_t printed = 0; status == CLI_OK;) {
        int64_t wanted = limit - printed < PAGE_MOST ? limit - printed : PAGE_MOST;
        json_object_set_new(ask->body, "limit", json_integer(wanted));
        json_t *page = NULL;
        status = cli_api(args, "/api/v1/query", ask->body, weir_buf_cstr(&ask->filter), &page);
        if (status != CLI_OK) break;
        if (streams && ask->output.format != CLI_NDJSON) keep_columns(&first_columns, &said_columns, page);
        if (streams) status = print_rows(&ask->output, page);
        if (!streams) collect(&all, page);
        ask->output.headless = true;
        size_t rows = json_array_size(json_object_get(page, "rows"));
        printed += (int64_t)rows;
        json_t *next = json_object_get(page, "next");
        bool more = json_is_string(next) && printed < limit && rows > 0 && !ferror(stdout);
        if (more) json_object_set(ask->body, "cursor", next);
        add_meta(&meta, json_object_get(page, "meta"));
        json_decref(page);
        if (more || status != CLI_OK) continue;

        if (all != NULL) json_object_del(all, "next");
        if (!streams) status = print_rows(&ask->output, all);
        if (status == CLI_OK) status = cli_ask_print_end(args, &ask->output, meta, (size_t)printed);
        break;
    }
    json_decref(all);
    json_decref(meta);
    json_decref(first_columns);
    json_decref(said_columns);
    return status;
}
