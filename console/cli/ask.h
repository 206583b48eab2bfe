/** What the verbs that ask share: the words of the filter, the time range, the footer under an answer. */
#ifndef WEIR_CONSOLE_CLI_ASK_H
#define WEIR_CONSOLE_CLI_ASK_H

#include "common/flow/timerange.h"
#include "console/cli/api.h"
#include "console/cli/output.h"

/** A question on its way: what the command line said, and the body to send. */
struct cli_ask {
    struct cli_output output;
    struct weir_timerange range;
    struct weir_buf filter; /* the words, with blanks between them */
    json_t *body;           /* {"time": ..., "filter": ...}; verbs add to it */
};

/** Understand the options that all of them take. On failure the problem has been told. */
enum cli_exit cli_ask_begin(const struct cli_args *args, struct cli_ask *ask);
void cli_ask_end(struct cli_ask *ask);

/** Send the question to /api/v1/query, print the rows and the footer. */
enum cli_exit cli_ask_query(const struct cli_args *args, struct cli_ask *ask);

/**
 * The same for @limit rows that may be more than one answer holds: asks for page after page. Formats that can
 * be printed row by row are; for the others all rows are kept in memory.
 */
enum cli_exit cli_ask_pages(const struct cli_args *args, struct cli_ask *ask, int64_t limit);

/**
 * Print an answer that has come: rows to stdout, footer and warnings to stderr. CLI_PARTIAL when an aggregator is missing
 * and --partial fail was given (the rows are printed all the same).
 */
enum cli_exit cli_ask_print(const struct cli_args *args, const struct cli_output *output, const json_t *answer);

/** The same for @rows rows that were printed already. */
enum cli_exit cli_ask_print_end(const struct cli_args *args, const struct cli_output *output, const json_t *meta,
                                size_t rows);

/** Number of rows: --limit, or @preset; 0 means @most, and INT64_MAX "all". On a bad number CLI_USAGE. */
enum cli_exit cli_ask_limit(const struct cli_args *args, int64_t preset, int64_t most, int64_t *ret);

#endif
