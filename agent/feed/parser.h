/** Inside of the parsers: what feed.c and the formats share. */
#ifndef WEIR_AGENT_FEED_PARSER_H
#define WEIR_AGENT_FEED_PARSER_H

#include "agent/feed/columns.h"
#include "agent/feed/feed.h"
#include "agent/feed/objects.h"

enum { FEED_REASON_BYTES = 200, FEED_SHOWN_MOST = 60, FEED_NUMBER_BYTES = 48 };

struct feed_parser {
    enum feed_format format;
    char *name;
    uint64_t line;   /* of the next byte, from 1 */
    bool skipping;   /* inside of a line that is too long */
    bool by_object;  /* JSON; else lines */
    bool decided;    /* Zeek: whether it is JSON, from the first byte */
    bool other_path; /* Zeek: #path says that this is another log */
    char unset[16];  /* Zeek: #unset_field */
    char *keep_text; /* what the names in @keep are in */
    struct feed_keep keep;
    struct weir_view kept[FEED_KEEP_MOST];               /* of the record at hand; empty: it has none */
    char kept_number[FEED_KEEP_MOST][FEED_NUMBER_BYTES]; /* where numbers of JSON are written for it */
    struct feed_columns columns;
    struct feed_objects objects;
    char origin_key[FEED_ORIGIN_BYTES]; /* what @origin was made from */
    char origin_name[FEED_ORIGIN_BYTES];
    struct feed_origin origin;
    char reason[FEED_REASON_BYTES];
};

/** Say why a record is bad; returns WEIR_EFORMAT. The reason is read before the parser's next call. */
int feed_bad(struct feed_parser *parser, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** How much of a value a reason shows, as the precision of "%.*s". */
static inline int feed_shown(struct weir_view value)
{
    return value.size < FEED_SHOWN_MOST ? (int)value.size : FEED_SHOWN_MOST;
}

/** A flow with one of its two times has both. WEIR_EFORMAT: with neither; the reason names @start, a field. */
int feed_settle_times(struct feed_parser *parser, const char *start, struct weir_flow *flow);

/** The other direction: addresses, ports and MAC addresses changed over, all else as it was. */
struct weir_flow feed_turned(const struct weir_flow *flow);

/** The address that stands for an owner: see struct feed_origin. */
struct weir_ip feed_exporter(enum feed_format format, uint64_t id);

/* A line without its end, or the text of an object. WEIR_EFORMAT: parser->reason says why. */
int feed_aws_line(struct feed_parser *parser, struct weir_view line, const struct feed_out *out);
int feed_zeek_line(struct feed_parser *parser, struct weir_view line, const struct feed_out *out);
int feed_zeek_object(struct feed_parser *parser, struct weir_view text, const struct feed_out *out);
int feed_azure_object(struct feed_parser *parser, struct weir_view text, const struct feed_out *out);
int feed_gcp_object(struct feed_parser *parser, struct weir_view text, const struct feed_out *out);

/* The names of columns. */
extern const struct feed_names feed_aws_names;
extern const struct feed_names feed_zeek_names;

#endif
