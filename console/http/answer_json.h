/** Answers as JSON: the envelope {meta, columns, rows, next}, or one line per row (NDJSON). Pure. */
#ifndef WEIR_CONSOLE_HTTP_ANSWER_JSON_H
#define WEIR_CONSOLE_HTTP_ANSWER_JSON_H

#include "common/flow/answer.h"
#include "console/http/query.h"

struct console_result {
    const struct console_query *query;
    const struct weir_answer *answer; /* ranked */
    const char *query_id;
    int64_t elapsed_ms;
};

/** Did every aggregator answer for every shard that it was asked for? */
bool console_answer_is_whole(const struct weir_answer *answer);

/** Append the answer, as one object or with @ndjson as lines. */
void console_answer_json(const struct console_result *result, bool ndjson, struct weir_buf *out);

#endif
