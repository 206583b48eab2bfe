/**
 * weir exporters why ADDRESS: for people a text about each source of the exporter, from /exporters and /drops; in the
 * other formats the rows of /drops.
 */
#include "common/flow/ip.h"
#include "console/cli/fleet.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { LINE_COLUMNS = 100 };

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/** Append a time of the answer as the output shows times; "-" when it has none. */
static void put_time(const struct cli_output *output, const json_t *row, const char *key, struct weir_buf *out)
{
    int64_t ms = 0;
    char text[WEIR_TIME_TEXT];
    bool known = weir_timepoint_parse(cli_text_of(row, key), 0, &weir_zone_utc, &ms, NULL) == 0;
    weir_buf_text(out, known ? weir_time_local(ms, &output->zone, text) : "-");
}

/** Append words with lines broken, each line after @indent blanks; the first begins with @mark. */
static void put_words(const char *text, size_t indent, const char *mark, struct weir_buf *out)
{
    size_t column = indent + strlen(mark);
    weir_buf_printf(out, "%*s%s", (int)indent, "", mark);
    for (bool first = true; *text != '\0'; first = false) {
        size_t size = strcspn(text, " ");
        if (!first && column + 1 + size > LINE_COLUMNS) {
            column = indent + strlen(mark);
            weir_buf_printf(out, "\n%*s", (int)column, "");
        } else if (!first) {
            weir_buf_text(out, " ");
            column++;
        }
        weir_buf_printf(out, "%.*s", (int)size, text);
        column += size;
        text += size + (text[size] == ' ');
    }
    weir_buf_text(out, "\n");
}

/** Append hexadecimal digits in groups of four bytes, eight to a line. */
static void put_hex(const char *digits, size_t indent, struct weir_buf *out)
{
    enum { GROUP = 8, LINE = 64 };
    for (size_t at = 0; digits[at] != '\0'; at++) {
        if (at % LINE == 0) weir_buf_printf(out, "%s%*s", at == 0 ? "" : "\n", (int)indent, "");
        if (at % LINE != 0 && at % GROUP == 0) weir_buf_text(out, " ");
        weir_buf_u8(out, (uint8_t)digits[at]);
    }
    weir_buf_text(out, "\n");
}

static void put_drop(const struct cli_output *output, const json_t *drop, struct weir_buf *out)
{
    const char *unit = cli_text_of(drop, "unit");
    json_int_t count = number_of(drop, "count");
    int one = count == 1 && unit[0] != '\0'; /* without its s */
    weir_buf_printf(out, "\n  %" JSON_INTEGER_FORMAT " %.*s: %s\n", count, (int)strlen(unit) - one, unit,
                    cli_text_of(drop, "reason"));
    put_words(cli_text_of(drop, "meaning"), 4, "", out);
    weir_buf_text(out, "    first ");
    put_time(output, drop, "first", out);
    weir_buf_text(out, ", last ");
    put_time(output, drop, "last", out);
    weir_buf_text(out, "\n");
    if (json_object_get(drop, "example_at") != NULL) {
        weir_buf_text(out, "    the example of ");
        put_time(output, drop, "example_at", out);
        weir_buf_printf(out, ", %" JSON_INTEGER_FORMAT " bytes\n", number_of(drop, "example_bytes"));
        put_hex(cli_text_of(drop, "example"), 6, out);
    }
    put_words(cli_text_of(drop, "advice"), 4, "-> ", out);
}

static void put_state(const struct cli_output *output, const json_t *exporter, struct weir_buf *out)
{
    weir_buf_printf(out, "%s  domain %" JSON_INTEGER_FORMAT "  %s  site %s  agent %s\n  heard ",
                    cli_text_of(exporter, "exporter"), number_of(exporter, "domain"), cli_text_of(exporter, "protocol"),
                    cli_text_of(exporter, "site"), cli_text_of(exporter, "agent"));
    put_time(output, exporter, "first_heard", out);
    weir_buf_text(out, " to ");
    put_time(output, exporter, "last_heard", out);
    weir_buf_text(out, ", last flows ");
    put_time(output, exporter, "last_flows", out);
    weir_buf_printf(out, "\n  %" JSON_INTEGER_FORMAT " flows", number_of(exporter, "flows"));
    if (json_object_get(exporter, "templates") != NULL)
        weir_buf_printf(out, ", %" JSON_INTEGER_FORMAT " templates known", number_of(exporter, "templates"));
    if (json_object_get(exporter, "sampling") != NULL) {
        weir_buf_printf(out, ", sampling 1:%" JSON_INTEGER_FORMAT " (%s)", number_of(exporter, "sampling"),
                        cli_text_of(exporter, "sampling_origin"));
    }
    if (json_object_get(exporter, "clock_skew_ms") != NULL) {
        json_int_t skew_ms = number_of(exporter, "clock_skew_ms");
        json_int_t seconds = (skew_ms < 0 ? -skew_ms : skew_ms) / 1000;
        if (seconds <= 1) weir_buf_text(out, ", its clock is right"); /* headers have whole seconds */
        if (seconds > 1)
            weir_buf_printf(out, ", its clock is %" JSON_INTEGER_FORMAT " s %s the agent's", seconds,
                            skew_ms < 0 ? "behind" : "ahead of");
    }
    weir_buf_text(out, "\n");
    if (number_of(exporter, "sets_waiting") == 0) return;
    weir_buf_printf(out, "\n  %" JSON_INTEGER_FORMAT " data sets wait for their template\n",
                    number_of(exporter, "sets_waiting"));
    put_words("They are decoded when it comes, and are lost when it does not come within five minutes. The exporter "
              "repeats its templates, after up to 30 minutes: set it to one minute or so.",
              4, "-> ", out);
}

static bool is_of(const json_t *drop, const json_t *exporter)
{
    static const char *const keys[] = {"exporter", "domain", "protocol", "site", "agent"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (!json_equal(json_object_get(drop, keys[i]), json_object_get(exporter, keys[i]))) return false;
    }
    return true;
}

/** Append what there is to say of all sources; returns how many drops they have. */
static size_t explain(const struct cli_output *output, const json_t *exporters, const json_t *drops,
                      struct weir_buf *out)
{
    size_t told = 0;
    size_t i;
    json_t *exporter;
    json_array_foreach(exporters, i, exporter)
    {
        size_t of_it = 0;
        size_t k;
        json_t *drop;
        if (i > 0) weir_buf_text(out, "\n");
        put_state(output, exporter, out);
        json_array_foreach(drops, k, drop)
        {
            if (!is_of(drop, exporter)) continue;
            put_drop(output, drop, out);
            of_it++;
        }
        if (of_it == 0) weir_buf_text(out, "\n  Nothing of it was dropped in this time.\n");
        told += of_it;
    }
    return told;
}

static enum cli_exit print_text(const struct cli_args *args, struct cli_ask *ask, const char *address,
                                const json_t *drops)
{
    json_t *exporters = NULL;
    enum cli_exit status = cli_fleet_get(args, ask, "exporters", &exporters);
    if (status != CLI_OK) return status;
    struct weir_buf out = WEIR_BUF_INIT;
    const json_t *rows = json_object_get(exporters, "rows");
    size_t told = explain(&ask->output, rows, json_object_get(drops, "rows"), &out);
    if (json_array_size(rows) == 0) {
        weir_buf_printf(&out, "%s  not heard in this time\n", address);
        put_words(
            "No agent had a datagram of it. Look further back (-t 24h); see whether the exporter sends to an agent's "
            "address and port (weir-agent's log says listen.bound), whether a firewall is between them, and whether "
            "the agent is up (weir status).",
            2, "-> ", &out);
    }
    if (out.failed) status = cli_fail(CLI_INTERNAL, "out of memory");
    if (status == CLI_OK) {
        fwrite(out.data, 1, out.size, stdout);
        status = cli_ask_print_end(args, &ask->output, json_object_get(drops, "meta"), told);
    }
    weir_buf_fini(&out);
    json_decref(exporters);
    return status;
}

/** "exporter ADDRESS", and what the other words say. */
static void make_filter(const struct cli_args *args, struct weir_buf *filter)
{
    weir_buf_printf(filter, "exporter %s", args->words[1]);
    for (int i = 2; i < args->word_count; i++)
        weir_buf_printf(filter, i == 2 ? " and (%s" : " %s", args->words[i]);
    if (args->word_count > 2) weir_buf_text(filter, ")");
}

enum cli_exit cli_exporters_why(const struct cli_args *args)
{
    struct weir_prefix prefix;
    if (args->word_count < 2) return cli_fail(CLI_USAGE, "usage: weir exporters why ADDRESS [FILTER]");
    if (weir_prefix_parse(args->words[1], &prefix) < 0)
        return cli_fail(CLI_USAGE, "weir exporters why: \"%s\" is no address of an exporter", args->words[1]);

    struct cli_args only_options = *args;
    only_options.word_count = 0;
    struct cli_ask ask;
    json_t *drops = NULL;
    enum cli_exit status = cli_ask_begin(&only_options, &ask);
    make_filter(args, &ask.filter);
    if (status == CLI_OK) status = cli_fleet_get(args, &ask, "drops", &drops);
    bool text = ask.output.format == CLI_TABLE && ask.output.fields == NULL;
    if (status == CLI_OK)
        status = text ? print_text(args, &ask, args->words[1], drops) : cli_ask_print(args, &ask.output, drops);
    json_decref(drops);
    cli_ask_end(&ask);
    return status;
}
