/**
 * Reading a request of the API into a question: JSON bodies and URL parameters alike. This file's .c is the console's
 * reader of jansson. Pure: the caller says what time it is.
 */
#ifndef WEIR_CONSOLE_HTTP_QUERY_H
#define WEIR_CONSOLE_HTTP_QUERY_H

#include "common/flow/extra.h"
#include "common/flow/question.h"
#include "console/http/problem.h"
#include "console/token/token.h"

/** Columns of counts, as bits. */
enum console_metric {
    CONSOLE_METRIC_FLOWS = 1,
    CONSOLE_METRIC_PACKETS = 2,
    CONSOLE_METRIC_BYTES = 4,
    CONSOLE_METRIC_BPS = 8,
    CONSOLE_METRIC_PPS = 16,
    CONSOLE_METRIC_BPP = 32,
    CONSOLE_METRIC_SHARE = 64
};

/** A column of a flow: one of these, or CONSOLE_FIELD_DIM + a dimension. */
enum {
    CONSOLE_FIELD_T_FIRST,
    CONSOLE_FIELD_T_LAST,
    CONSOLE_FIELD_DURATION,
    CONSOLE_FIELD_FLOWS_PACKETS,
    CONSOLE_FIELD_FLOWS_BYTES,
    CONSOLE_FIELD_BPS,
    CONSOLE_FIELD_PPS,
    CONSOLE_FIELD_BPP,
    CONSOLE_FIELD_DIM
};

enum { CONSOLE_FIELDS_MOST = 64, CONSOLE_EXTRAS_MOST = 32 };

/** What extra columns are called in answers begins with this. */
#define CONSOLE_EXTRA "extra."

struct console_query {
    struct weir_question question;
    char *filter;     /* canonical, as asked for, without what the token's sites add; owned */
    uint32_t metrics; /* of enum console_metric */
    uint32_t field_count;
    uint8_t fields[CONSOLE_FIELDS_MOST];
    uint32_t extra_count; /* extra columns of flows (common/flow/extra.h) that were asked for by name */
    char extras[CONSOLE_EXTRAS_MOST][WEIR_EXTRA_NAME_BYTES];
    bool all_extras;    /* nobody chose */
    bool plain;         /* counts as exported */
    bool partial_fails; /* rather no answer than one that is not whole */
};

/** What a request may take for granted and must keep to. */
struct console_query_rules {
    int64_t now_ms;
    int64_t timeout_ms;
    int64_t timeout_most_ms;
    const struct console_token *token; /* who asks */
};

/**
 * Read a request for @shape (0: the request says which). On success @ret is given to console_query_fini.
 * False with what is wrong in @fault.
 */
bool console_query_read(const struct weir_http_request *request, enum weir_shape shape,
                        const struct console_query_rules *rules, struct console_query *ret,
                        struct console_fault *fault);

/** The same from the text of a JSON object. */
bool console_query_read_json(const char *text, size_t size, enum weir_shape shape,
                             const struct console_query_rules *rules, struct console_query *ret,
                             struct console_fault *fault);

void console_query_fini(struct console_query *query);

/** The text of {"filter":TEXT}. The caller frees it (weir_free). */
bool console_filter_read(struct weir_view body, char **ret, size_t *size, struct console_fault *fault);

/** The name of a field of flows. */
const char *console_field_name(uint8_t field);

/** A cursor for the page after @place of @query, as text that survives in a URL. */
void console_cursor_print(const struct console_query *query, const struct weir_place *place, struct weir_buf *out);

/**
 * The member @name of a body in JSON, true or false. It is false when it is left out, and so it is without a body.
 * Returns false when the body is something else, and notes the fault.
 */
bool console_flag_read(struct weir_view body, const char *name, bool *ret, struct console_fault *fault);

#endif
