/** One request to the console's HTTP API, and its answer as JSON. */
#ifndef WEIR_CONSOLE_CLI_API_H
#define WEIR_CONSOLE_CLI_API_H

#include "console/cli/cli.h"

#include <jansson.h>

/**
 * GET @path, or POST @body as JSON when it is not NULL (borrowed). On CLI_OK *ret is the answer, owned by the caller:
 * json_decref. Otherwise the problem has been told on stderr, filter errors with a caret under the place of @filter
 * (the text that was sent; may be NULL).
 */
enum cli_exit cli_api(const struct cli_args *args, const char *path, const json_t *body, const char *filter,
                      json_t **ret);

#endif
