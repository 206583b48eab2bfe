/** One request to the console's HTTP API, and its answer as JSON. */
#ifndef WEIR_CONSOLE_CLI_API_H
#define WEIR_CONSOLE_CLI_API_H

#include "common/base/buf.h"
#include "console/cli/cli.h"

#include <jansson.h>

/**
 * GET @path, or POST @body as JSON when it is not NULL (borrowed). On CLI_OK *ret is the answer, owned by the caller:
 * json_decref. Otherwise the problem has been told on stderr, filter errors with a caret under the place of @filter
 * (the text that was sent; may be NULL).
 */
enum cli_exit cli_api(const struct cli_args *args, const char *path, const json_t *body, const char *filter,
                      json_t **ret);

/** Append "?name=value", or "&..." when there is a parameter already; the value percent-encoded (RFC 3986 2.1). */
void cli_api_parameter(struct weir_buf *path, const char *name, const char *value);

#endif
