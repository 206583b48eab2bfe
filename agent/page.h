/** What the agent tells of its exporters on its status listener, as JSON. */
#ifndef WEIR_AGENT_PAGE_H
#define WEIR_AGENT_PAGE_H

#include "agent/decode/decode.h"
#include "agent/refusals.h"
#include "common/base/buf.h"

/**
 * Append {"exporters": [...], "refused": [...]}. @exporters are sorted by address. @refused: a table per thread; an
 * address that several of them refused has as many rows.
 */
void agent_page_exporters(const struct agent_exporter_stat *exporters, size_t exporter_count,
                          const struct agent_refusals *refused, size_t refused_count, struct weir_buf *out);

#endif
