/**
 * Rows on stdout, in every format: the one place that lays out tables. Works on the API's answer as it came:
 * {"columns": [{"name", "type", "unit"}], "rows": [{...}]}.
 */
#ifndef WEIR_CONSOLE_CLI_OUTPUT_H
#define WEIR_CONSOLE_CLI_OUTPUT_H

#include "common/base/buf.h"
#include "common/flow/civil.h"
#include "console/cli/cli.h"

#include <jansson.h>

enum cli_format { CLI_TABLE, CLI_WIDE, CLI_JSON, CLI_NDJSON, CLI_CSV, CLI_TSV };

struct cli_output {
    enum cli_format format;
    bool plain;    /* numbers without k, M, G */
    bool quiet;    /* neither header nor footer */
    bool headless; /* no header: rows that continue others */
    bool color;
    struct weir_zone zone; /* of times in tables */
    const char *fields;    /* "a,b,c" or NULL: all, or in a table @narrow */
    const char *narrow;    /* "a,b,c": what a table shows when nobody chose; NULL: all */
};

/** The format, zone and so on that the options ask for. WEIR_EPARAM with a reason. */
int cli_output_init(struct cli_output *output, const struct cli_args *args, struct weir_why *why);

/**
 * Append the answer in the output's format. WEIR_EPARAM with a reason when a field that was asked for is not there;
 * WEIR_ENOMEM.
 */
int cli_output_rows(const struct cli_output *output, const json_t *answer, struct weir_buf *out, struct weir_why *why);

/** May rows be printed as they come, a page after the other? In the others all rows are looked at first. */
bool cli_output_streams(const struct cli_output *output);

/** What clocks in the output's zone are called at @ms: "CET", "UTC". Returns @out. */
const char *cli_output_zone(const struct cli_output *output, int64_t ms, char out[WEIR_TIME_TEXT]);

/** Append a count as people read it: "999", "91.2k", "61.4M"; with a unit "1.2 GB". */
void cli_human(uint64_t value, const char *unit, struct weir_buf *out);

/** Append a bar of @width cells that is @share (0..1) full, in eighths of a cell. */
void cli_bar(double share, unsigned width, struct weir_buf *out);

/** Append one character per value, as high as its share of the largest. */
void cli_sparkline(const uint64_t *values, size_t count, struct weir_buf *out);

/** Cells that UTF-8 text takes on a terminal: one per code point. */
size_t cli_width(const char *text);

/** Is it an extra column, which an operator named? Only rows whose exporter sent it have it. */
static inline bool cli_is_extra(const char *column)
{
    return strncmp(column, "extra.", strlen("extra.")) == 0;
}

/** The text of a member of a JSON object; "" when it is not there or no text. Borrowed from the object. */
static inline const char *cli_text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text == NULL ? "" : text;
}

#endif
