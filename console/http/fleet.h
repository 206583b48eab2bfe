/** The fleet as the console knows it: what aggregators report, completed by who should be there. Pure. */
#ifndef WEIR_CONSOLE_HTTP_FLEET_H
#define WEIR_CONSOLE_HTTP_FLEET_H

#include "common/cluster/map.h"
#include "common/flow/answer.h"
#include "console/token/token.h"

/**
 * Add to a NODES answer what no aggregator reports: aggregators that did not answer, brokers of the map, and this
 * console. WEIR_ENOMEM.
 */
int console_fleet_complete(struct weir_answer *answer, const struct weir_map *map, const char *console, int64_t now_ms);

/** Take out agents, exporters and drops of sites that the token does not see. */
void console_fleet_restrict(struct weir_answer *answer, const struct console_token *token);

#endif
