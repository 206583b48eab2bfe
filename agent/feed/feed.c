#include "agent/feed/feed.h"

#include "agent/feed/parser.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

const char *feed_format_name(enum feed_format format)
{
    static const char *const names[] = {"aws", "azure", "gcp", "zeek"};
    return names[format];
}

enum weir_protocol feed_protocol(enum feed_format format)
{
    static const enum weir_protocol protocols[] = {WEIR_PROTOCOL_AWS, WEIR_PROTOCOL_AZURE, WEIR_PROTOCOL_GCP,
                                                   WEIR_PROTOCOL_ZEEK};
    return protocols[format];
}

struct weir_ip feed_exporter(enum feed_format format, uint64_t id)
{
    struct weir_ip ip = {{0xfd, 0x57, 0x45, 0x49, 0x52, 0x00, 0x00, (uint8_t)(format + 1)}};
    weir_store_u64be(ip.bytes + 8, id);
    return ip;
}

int feed_bad(struct feed_parser *parser, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(parser->reason, sizeof parser->reason, format, args);
    va_end(args);
    return WEIR_EFORMAT;
}

int feed_settle_times(struct feed_parser *parser, const char *start, struct weir_flow *flow)
{
    if (flow->start_ms == 0) flow->start_ms = flow->end_ms;
    if (flow->end_ms == 0) flow->end_ms = flow->start_ms;
    return flow->start_ms == 0 ? feed_bad(parser, "%s: there is neither a start nor an end", start) : 0;
}

struct weir_flow feed_turned(const struct weir_flow *flow)
{
    struct weir_flow back = *flow;
    back.src_ip = flow->dst_ip;
    back.dst_ip = flow->src_ip;
    back.src_port = flow->dst_port;
    back.dst_port = flow->src_port;
    back.src_mac = flow->dst_mac;
    back.dst_mac = flow->src_mac;
    return back;
}

static const struct feed_names *names_of(enum feed_format format)
{
    if (format == FEED_AWS) return &feed_aws_names;
    return format == FEED_ZEEK ? &feed_zeek_names : NULL;
}

/* ---- what is kept beside fields ---- */

_Static_assert((int)FEED_KEEP_MOST == (int)WEIR_EXTRAS_MOST, "what is kept becomes extra columns");

size_t feed_parser_keeps(const struct feed_parser *parser)
{
    return parser->keep.count;
}

struct weir_extra feed_parser_extra(const struct feed_parser *parser, size_t at)
{
    struct weir_extra extra = {.type = WEIR_EXTRA_STRING};
    struct weir_view name = parser->keep.name[at];
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        extra.name[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : plain ? (char)c : '_';
    }
    return extra;
}

struct weir_view feed_parser_kept(const struct feed_parser *parser, size_t at)
{
    return parser->kept[at];
}

static bool can_be_kept(struct weir_view name)
{
    bool good = name.size > 0 && name.size < WEIR_EXTRA_NAME_BYTES;
    for (size_t i = 0; good && i < name.size; i++)
        good = isalnum(name.data[i]) || strchr("-_.", name.data[i]) != NULL;
    return good;
}

static int take_keep(struct feed_parser *parser, struct weir_why *why)
{
    const struct feed_names *names = names_of(parser->format);
    for (char *at = parser->keep_text; (at = strchr(at, ',')) != NULL;)
        *at = ' ';
    struct weir_view rest = weir_view_text(parser->keep_text);
    struct weir_view word;
    while (feed_columns_next(&rest, ' ', &word)) {
        word = feed_columns_bare(word);
        int size = (int)word.size;
        const char *text = (const char *)word.data;
        if (parser->keep.count == FEED_KEEP_MOST)
            return weir_why_set(why, WEIR_EPARAM, "keep: there are more than %d names", FEED_KEEP_MOST);
        if (!can_be_kept(word))
            return weir_why_set(why, WEIR_EPARAM, "keep: \"%.*s\" is not 1 to %d letters, digits, '-', '_' and '.'",
                                size, text, WEIR_EXTRA_NAME_BYTES - 1);
        if (feed_keep_find(&parser->keep, word) >= 0)
            return weir_why_set(why, WEIR_EPARAM, "keep: \"%.*s\" is there twice", size, text);
        if (parser->format == FEED_AWS && feed_columns_find(names, word) == WEIR_ENOTFOUND)
            return weir_why_set(why, WEIR_EPARAM, "keep: \"%.*s\" is no field of aws", size, text);
        parser->keep.name[parser->keep.count++] = word;
    }
    return 0;
}

int feed_parser_create(enum feed_format format, const char *fields, const char *keep, const char *name,
                       struct feed_parser **ret, struct weir_why *why)
{
    int rc = WEIR_ENOMEM;
    struct feed_parser *parser = weir_calloc(1, sizeof *parser);
    if (parser == NULL) goto fail;

    parser->format = format;
    parser->line = 1;
    parser->by_object = format == FEED_AZURE || format == FEED_GCP;
    parser->decided = format != FEED_ZEEK;
    parser->objects.left = true;
    parser->unset[0] = '-';
    parser->name = weir_strdup(name);
    parser->keep_text = weir_strdup(keep == NULL ? "" : keep);
    if (parser->name == NULL || parser->keep_text == NULL) goto fail;
    rc = take_keep(parser, why);
    if (rc < 0) goto fail;

    if (fields != NULL && fields[0] != '\0') {
        struct weir_view line = weir_view_text(fields);
        struct weir_view unknown;
        if (names_of(format) == NULL) {
            rc = weir_why_set(why, WEIR_EPARAM, "fields: the columns of %s are not to be chosen",
                              feed_format_name(format));
            goto fail;
        }
        rc = feed_columns_take(&parser->columns, names_of(format), &parser->keep, line, feed_columns_separator(line),
                               &unknown);
        if (rc < 0) {
            rc = weir_why_set(why, WEIR_EPARAM, "fields: \"%.*s\" is no field of %s", (int)unknown.size,
                              unknown.data == NULL ? "" : (const char *)unknown.data, feed_format_name(format));
            goto fail;
        }
        if (format == FEED_ZEEK) parser->columns.separator = '\t';
    }
    *ret = parser;
    return 0;

fail:
    feed_parser_destroy(parser);
    return rc;
}

void feed_parser_destroy(struct feed_parser *parser)
{
    if (parser == NULL) return;
    weir_free(parser->keep_text);
    weir_free(parser->name);
    weir_free(parser);
}

/* ---- lines ---- */

static void take_line(struct feed_parser *parser, struct weir_view line, const struct feed_out *out)
{
    while (line.size > 0 && (line.data[line.size - 1] == '\r' || line.data[line.size - 1] == ' '))
        line.size--;
    if (line.size == 0) return;
    int rc = parser->format == FEED_AWS ? feed_aws_line(parser, line, out) : feed_zeek_line(parser, line, out);
    if (rc < 0) out->bad(out->ctx, parser->line, parser->reason);
}

static size_t parse_lines(struct feed_parser *parser, struct weir_view bytes, bool last, const struct feed_out *out)
{
    size_t used = 0;
    while (used < bytes.size) {
        const uint8_t *at = bytes.data + used;
        size_t left = bytes.size - used;
        const uint8_t *end = memchr(at, '\n', left);
        size_t size = end == NULL ? left : (size_t)(end - at);
        if (size > FEED_LINE_MOST) {
            if (!parser->skipping) out->bad(out->ctx, parser->line, "the line is too long");
            parser->skipping = true;
        }
        if (end == NULL && !last && !parser->skipping) break;
        if (!parser->skipping) take_line(parser, weir_view_of(at, size), out);
        used += size;
        if (end == NULL) break;
        used++;
        parser->line++;
        parser->skipping = false;
    }
    return used;
}

/* ---- objects ---- */

static void take_object(struct feed_parser *parser, struct weir_view text, const struct feed_out *out)
{
    int rc = 0;
    switch (parser->format) {
    case FEED_AZURE: rc = feed_azure_object(parser, text, out); break;
    case FEED_GCP: rc = feed_gcp_object(parser, text, out); break;
    case FEED_ZEEK: rc = feed_zeek_object(parser, text, out); break;
    case FEED_AWS: break; /* comes in lines */
    }
    if (rc < 0) out->bad(out->ctx, parser->objects.record_line + 1, parser->reason);
}

static size_t parse_objects(struct feed_parser *parser, struct weir_view bytes, bool last, const struct feed_out *out)
{
    size_t used = 0;
    for (;;) {
        struct weir_view record = weir_view_of(NULL, 0);
        struct weir_view rest = weir_view_of(bytes.data + used, bytes.size - used);
        size_t more;
        enum feed_found found = feed_objects_next(&parser->objects, rest, &record, &more);
        switch (found) {
        case FEED_FOUND_RECORD:
            if (record.size > FEED_OBJECT_MOST)
                out->bad(out->ctx, parser->objects.record_line + 1, "the record is too long");
            else
                take_object(parser, record, out);
            break;
        case FEED_FOUND_RUBBISH: out->bad(out->ctx, parser->objects.record_line + 1, "this is no JSON object"); break;
        case FEED_FOUND_BROKEN: out->bad(out->ctx, parser->objects.line + 1, "the record before has no end"); break;
        case FEED_FOUND_NONE: break;
        }
        used += more;
        if (found == FEED_FOUND_NONE) break;
    }
    size_t left = bytes.size - used; /* of a record that has no end yet */
    if (left > FEED_OBJECT_MOST) {
        out->bad(out->ctx, parser->objects.record_line + 1, "the record is too long");
        feed_objects_skip(&parser->objects);
        used = bytes.size;
    } else if (last && left > 0) {
        out->bad(out->ctx, parser->objects.record_line + 1, "the record has no end");
        used = bytes.size;
    }
    return used;
}

size_t feed_parse(struct feed_parser *parser, struct weir_view bytes, bool last, const struct feed_out *out)
{
    if (bytes.size == 0) return 0;
    if (!parser->decided) {
        parser->decided = true;
        parser->by_object = bytes.data[0] == '{' || bytes.data[0] == '[';
    }
    return parser->by_object ? parse_objects(parser, bytes, last, out) : parse_lines(parser, bytes, last, out);
}
