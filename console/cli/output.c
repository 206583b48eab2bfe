#include "console/cli/output.h"

#include "common/base/mem.h"
#include "common/flow/timerange.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { COLUMNS_MOST = 96, SHARE_CELLS = 10 };

/** A column that is shown. Borrows from the answer. */
struct column {
    const char *name;
    const char *type;
    const char *unit;
    bool right; /* numbers stand at the right */
};

static int32_t local_offset(void *ctx, int64_t utc_s)
{
    (void)ctx;
    time_t at = (time_t)utc_s;
    struct tm local;
    return localtime_r(&at, &local) == NULL ? 0 : (int32_t)local.tm_gmtoff;
}

int cli_output_init(struct cli_output *output, const struct cli_args *args, struct weir_why *why)
{
    static const char *const names[] = {"table", "wide", "json", "ndjson", "csv", "tsv"};
    *output = (struct cli_output){.format = CLI_TABLE};
    const char *format = cli_value(args, CLI_OPTION_output, "table");
    bool known = false;
    for (int i = 0; i < 6; i++) {
        if (strcmp(names[i], format) != 0) continue;
        output->format = (enum cli_format)i;
        known = true;
    }
    if (!known)
        return weir_why_set(why, WEIR_EPARAM, "--output: \"%s\" is not table, wide, json, ndjson, csv or tsv", format);

    const char *color = cli_value(args, CLI_OPTION_color, "auto");
    const char *no_color = getenv("NO_COLOR");
    if (strcmp(color, "always") == 0) {
        output->color = true;
    } else if (strcmp(color, "auto") == 0) {
        output->color = isatty(STDOUT_FILENO) && (no_color == NULL || no_color[0] == '\0');
    } else if (strcmp(color, "never") != 0) {
        return weir_why_set(why, WEIR_EPARAM, "--color: \"%s\" is not auto, always or never", color);
    }

    const char *tz = args->values[CLI_OPTION_tz];
    if (tz != NULL) {
        char path[256];
        snprintf(path, sizeof path, "/usr/share/zoneinfo/%s", tz);
        if (strstr(tz, "..") != NULL || access(path, R_OK) < 0) {
            return weir_why_set(why, WEIR_EPARAM, "--tz: there is no zone \"%s\"", tz);
        }
        setenv("TZ", tz, 1);
    }
    tzset();
    output->zone = args->values[CLI_OPTION_utc] != NULL ? weir_zone_utc : (struct weir_zone){.offset = local_offset};
    output->plain = args->values[CLI_OPTION_plain] != NULL;
    output->quiet = args->values[CLI_OPTION_quiet] != NULL;
    output->fields = args->values[CLI_OPTION_fields];
    return 0;
}

bool cli_output_streams(const struct cli_output *output)
{
    return output->format == CLI_CSV || output->format == CLI_TSV || output->format == CLI_NDJSON;
}

const char *cli_output_zone(const struct cli_output *output, int64_t ms, char out[WEIR_TIME_TEXT])
{
    time_t at = (time_t)(ms / 1000);
    struct tm local;
    if (output->zone.offset != local_offset || localtime_r(&at, &local) == NULL ||
        strftime(out, WEIR_TIME_TEXT, "%Z", &local) == 0) {
        snprintf(out, WEIR_TIME_TEXT, "UTC");
    }
    return out;
}

size_t cli_width(const char *text)
{
    size_t width = 0;
    for (const char *at = text; *at != '\0'; at++)
        width += ((unsigned char)*at & 0xc0) != 0x80;
    return width;
}

void cli_human(uint64_t value, const char *unit, struct weir_buf *out)
{
    static const char prefixes[] = " kMGTPE";
    bool bytes = strcmp(unit, "bytes") == 0;
    int power = 0;
    double scaled = (double)value;
    while (scaled >= 999.95 && power < 6) {
        scaled /= 1000;
        power++;
    }
    if (power == 0) {
        weir_buf_printf(out, bytes ? "%" PRIu64 " B" : "%" PRIu64, value);
    } else {
        /* Three digits that mean something; bytes have a space before the unit. */
        int decimals = scaled < 9.995 ? 2 : scaled < 99.95 ? 1 : 0;
        if (bytes) {
            weir_buf_printf(out, "%.*f %cB", decimals, scaled, prefixes[power]);
        } else {
            weir_buf_printf(out, "%.*f%c", decimals, scaled, prefixes[power]);
        }
    }
}

void cli_bar(double share, unsigned width, struct weir_buf *out)
{
    static const char *const eighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    if (share < 0 || share != share) share = 0;
    if (share > 1) share = 1;
    unsigned cells = (unsigned)(share * width * 8 + 0.5);
    for (unsigned i = 0; i < cells / 8; i++)
        weir_buf_text(out, "█");
    weir_buf_text(out, eighths[cells % 8]);
    for (unsigned i = cells / 8 + (cells % 8 != 0); i < width; i++)
        weir_buf_text(out, " ");
}

void cli_sparkline(const uint64_t *values, size_t count, struct weir_buf *out)
{
    static const char *const heights[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    uint64_t most = 0;
    for (size_t i = 0; i < count; i++) {
        if (values[i] > most) most = values[i];
    }
    for (size_t i = 0; i < count; i++) {
        if (values[i] == 0) {
            weir_buf_text(out, " ");
        } else {
            unsigned eighth = (unsigned)((double)values[i] / (double)most * 7.999);
            weir_buf_text(out, heights[eighth > 7 ? 7 : eighth]);
        }
    }
}

static struct column column_of(const json_t *from)
{
    struct column column = {
        .name = cli_text_of(from, "name"), .type = cli_text_of(from, "type"), .unit = cli_text_of(from, "unit")};
    column.right = strcmp(column.type, "integer") == 0 || strcmp(column.type, "number") == 0;
    return column;
}

/** The columns to show: those that were asked for, in that order, or all. */
static int choose_columns(const char *fields, const json_t *columns, struct column chosen[COLUMNS_MOST], size_t *count,
                          bool skip_unknown, struct weir_why *why)
{
    size_t i;
    json_t *column;
    *count = 0;
    if (fields == NULL) {
        json_array_foreach(columns, i, column)
        {
            if (*count < COLUMNS_MOST) chosen[(*count)++] = column_of(column);
        }
        return 0;
    }
    for (const char *at = fields; *at != '\0';) {
        size_t size = strcspn(at, ",");
        bool found = false;
        json_array_foreach(columns, i, column)
        {
            const char *name = cli_text_of(column, "name");
            if (strlen(name) != size || strncmp(name, at, size) != 0) continue;
            found = true;
            if (*count < COLUMNS_MOST) chosen[(*count)++] = column_of(column);
        }
        if (!found && !skip_unknown) {
            struct weir_buf all = WEIR_BUF_INIT;
            json_array_foreach(columns, i, column)
            {
                weir_buf_printf(&all, "%s%s", i == 0 ? "" : ", ", cli_text_of(column, "name"));
            }
            int rc = weir_why_set(why, WEIR_EPARAM, "--fields: no column \"%.*s\"; there are %s", (int)size, at,
                                  weir_buf_cstr(&all));
            weir_buf_fini(&all);
            return rc;
        }
        at += size + (at[size] == ',');
    }
    return 0;
}

/** Columns that an operator named are shown beside those that tables show: somebody wants to see them. */
static void add_extras(const json_t *columns, struct column chosen[COLUMNS_MOST], size_t *count)
{
    size_t i;
    json_t *column;
    json_array_foreach(columns, i, column)
    {
        if (cli_is_extra(cli_text_of(column, "name")) && *count < COLUMNS_MOST) chosen[(*count)++] = column_of(column);
    }
}

/** A value as a machine reads it: CSV and TSV. */
static void plain_text(const json_t *value, struct weir_buf *out)
{
    switch (json_typeof(value)) {
    case JSON_STRING: weir_buf_text(out, json_string_value(value)); break;
    case JSON_INTEGER: weir_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value)); break;
    case JSON_REAL: weir_buf_printf(out, "%.4g", json_real_value(value)); break;
    case JSON_TRUE: weir_buf_text(out, "true"); break;
    case JSON_FALSE: weir_buf_text(out, "false"); break;
    case JSON_NULL: break;
    case JSON_OBJECT:
    case JSON_ARRAY: {
        char *text = json_dumps(value, JSON_COMPACT);
        if (text != NULL) weir_buf_text(out, text);
        free(text);
        break;
    }
    }
}

/** Is a number of this unit one that people read with k, M, G? */
static bool is_counted(const char *unit)
{
    static const char *const units[] = {"bytes", "packets", "flows", "records", "bit/s", "packets/s"};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(units[i], unit) == 0) return true;
    return false;
}

/** A value as people read it in a table. */
static void table_text(const struct cli_output *output, const struct column *column, const json_t *value,
                       struct weir_buf *out)
{
    bool counts = is_counted(column->unit);
    if (value == NULL || json_is_null(value)) {
        weir_buf_text(out, "-");
    } else if (json_is_string(value) && strcmp(column->type, "time") == 0) {
        int64_t ms;
        char text[WEIR_TIME_TEXT];
        bool parsed = weir_timepoint_parse(json_string_value(value), 0, &weir_zone_utc, &ms, NULL) == 0;
        weir_buf_text(out, parsed ? weir_time_local(ms, &output->zone, text) : json_string_value(value));
    } else if (strcmp(column->name, "share") == 0) {
        double share = json_number_value(value);
        if (!output->plain) cli_bar(share, SHARE_CELLS, out);
        weir_buf_printf(out, output->plain ? "%.1f %%" : " %5.1f %%", share * 100);
    } else if (json_is_integer(value) && counts && !output->plain) {
        cli_human((uint64_t)json_integer_value(value), column->unit, out);
    } else {
        plain_text(value, out);
    }
}

static void csv_cell(const char *text, char separator, struct weir_buf *out)
{
    if (separator == '\t') {
        for (const char *at = text; *at != '\0'; at++)
            weir_buf_u8(out, *at == '\t' || *at == '\n' ? ' ' : (uint8_t)*at);
        return;
    }
    if (strpbrk(text, ",\"\r\n") == NULL) {
        weir_buf_text(out, text);
        return;
    }
    weir_buf_u8(out, '"'); /* RFC 4180 2.6, 2.7 */
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"') weir_buf_u8(out, '"');
        weir_buf_u8(out, (uint8_t)*at);
    }
    weir_buf_u8(out, '"');
}

static void print_separated(const struct cli_output *output, const struct column *columns, size_t count,
                            const json_t *rows, struct weir_buf *out)
{
    char separator = output->format == CLI_TSV ? '\t' : ',';
    bool headless = output->quiet || output->headless;
    for (size_t c = 0; c < count && !headless; c++) {
        if (c > 0) weir_buf_u8(out, (uint8_t)separator);
        weir_buf_text(out, columns[c].name);
    }
    if (!headless) weir_buf_u8(out, '\n');

    struct weir_buf cell = WEIR_BUF_INIT;
    size_t r;
    json_t *row;
    json_array_foreach(rows, r, row)
    {
        for (size_t c = 0; c < count; c++) {
            const json_t *value = json_object_get(row, columns[c].name);
            weir_buf_clear(&cell);
            if (value != NULL) plain_text(value, &cell);
            if (c > 0) weir_buf_u8(out, (uint8_t)separator);
            csv_cell(weir_buf_cstr(&cell), separator, out);
        }
        weir_buf_u8(out, '\n');
    }
    weir_buf_fini(&cell);
}

static void print_json(const struct cli_output *output, const json_t *answer, struct weir_buf *out)
{
    if (output->format == CLI_JSON) {
        char *text = json_dumps(answer, JSON_INDENT(1) | JSON_PRESERVE_ORDER);
        if (text == NULL) out->failed = true;
        if (text != NULL) weir_buf_printf(out, "%s\n", text);
        free(text);
        return;
    }
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(answer, "rows"), i, row)
    {
        char *text = json_dumps(row, JSON_COMPACT | JSON_PRESERVE_ORDER);
        if (text == NULL) out->failed = true;
        if (text != NULL) weir_buf_printf(out, "%s\n", text);
        free(text);
    }
}

/** The rows with only the chosen columns, for JSON. */
static json_t *narrowed(const json_t *answer, const struct column *columns, size_t count)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)answer);
    json_t *rows = json_array();
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(answer, "rows"), i, row)
    {
        json_t *narrow = json_object();
        for (size_t c = 0; c < count; c++) {
            json_t *value = json_object_get(row, columns[c].name);
            if (value != NULL) json_object_set(narrow, columns[c].name, value);
        }
        json_array_append_new(rows, narrow);
    }
    json_object_set_new(copy, "rows", rows);
    return copy;
}

/** Lay the cells out: each column as wide as its widest cell, the last one without trailing blanks. */
static int print_table(const struct cli_output *output, const struct column *columns, size_t count, const json_t *rows,
                       struct weir_buf *out)
{
    size_t row_count = json_array_size(rows);
    struct weir_buf *cells = weir_calloc(count * row_count + 1, sizeof *cells);
    if (cells == NULL) return WEIR_ENOMEM;
    size_t width[COLUMNS_MOST];
    for (size_t c = 0; c < count; c++)
        width[c] = output->quiet ? 0 : cli_width(columns[c].name);
    size_t r;
    json_t *row;
    json_array_foreach(rows, r, row)
    {
        for (size_t c = 0; c < count; c++) {
            struct weir_buf *cell = &cells[r * count + c];
            table_text(output, &columns[c], json_object_get(row, columns[c].name), cell);
            size_t needed = cli_width(weir_buf_cstr(cell));
            if (needed > width[c]) width[c] = needed;
        }
    }
    for (size_t line = 0; line <= row_count; line++) {
        bool header = line == 0;
        if (header && output->quiet) continue;
        if (header && output->color) weir_buf_text(out, "\033[1m");
        for (size_t c = 0; c < count; c++) {
            char title[64];
            const char *text = title;
            if (header) {
                size_t i = 0;
                for (; columns[c].name[i] != '\0' && i < sizeof title - 1; i++) {
                    char letter = columns[c].name[i];
                    title[i] = letter >= 'a' && letter <= 'z' ? (char)(letter - 'a' + 'A') : letter;
                }
                title[i] = '\0';
            } else {
                text = weir_buf_cstr(&cells[(line - 1) * count + c]);
            }
            size_t pad = width[c] - cli_width(text);
            bool last = c + 1 == count;
            if (columns[c].right) weir_buf_printf(out, "%*s%s", (int)pad, "", text);
            if (!columns[c].right) weir_buf_printf(out, "%s%*s", text, last ? 0 : (int)pad, "");
            if (!last) weir_buf_text(out, "  ");
        }
        if (header && output->color) weir_buf_text(out, "\033[0m");
        weir_buf_text(out, "\n");
    }
    for (size_t i = 0; i < count * row_count; i++)
        weir_buf_fini(&cells[i]);
    weir_free(cells);
    return 0;
}

int cli_output_rows(const struct cli_output *output, const json_t *answer, struct weir_buf *out, struct weir_why *why)
{
    const json_t *rows = json_object_get(answer, "rows");
    struct column columns[COLUMNS_MOST];
    size_t count;
    bool nobody_chose = output->fields == NULL;
    const char *fields = nobody_chose && output->format == CLI_TABLE ? output->narrow : output->fields;
    int rc = choose_columns(fields, json_object_get(answer, "columns"), columns, &count, nobody_chose, why);
    if (rc < 0) return rc;
    if (nobody_chose && fields != NULL) add_extras(json_object_get(answer, "columns"), columns, &count);

    switch (output->format) {
    case CLI_TABLE:
    case CLI_WIDE: rc = print_table(output, columns, count, rows, out); break;
    case CLI_CSV:
    case CLI_TSV: print_separated(output, columns, count, rows, out); break;
    case CLI_JSON:
    case CLI_NDJSON: {
        json_t *chosen = nobody_chose ? json_incref((json_t *)(uintptr_t)answer) : narrowed(answer, columns, count);
        print_json(output, chosen, out);
        json_decref(chosen);
        break;
    }
    }
    if (rc == 0 && out->failed) rc = WEIR_ENOMEM;
    return rc < 0 ? weir_why_set(why, rc, "out of memory") : 0;
}
