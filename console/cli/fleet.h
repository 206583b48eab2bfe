/** What the verbs about exporters share. */
#ifndef WEIR_CONSOLE_CLI_FLEET_H
#define WEIR_CONSOLE_CLI_FLEET_H

#include "console/cli/ask.h"

/**
 * GET what @resource ("exporters", "drops") has in the range, of the filter and sites of the question. On CLI_OK *ret is
 * the answer: json_decref. Otherwise the problem has been told.
 */
enum cli_exit cli_fleet_get(const struct cli_args *args, struct cli_ask *ask, const char *resource, json_t **ret);

/** weir exporters why ADDRESS [FILTER]: what of an exporter is missing, and what to do about it. */
enum cli_exit cli_exporters_why(const struct cli_args *args);

#endif
