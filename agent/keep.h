/**
 * Keeping what exporters taught (templates, samplers) in the state directory, so that a restart between a template and
 * its data loses nothing. Listener threads hand over what their decoders know when it has changed; a thread of its own
 * writes it, whole or not at all, to the file `templates`. Read at start; exporters are recalled when they are heard.
 */
#ifndef WEIR_AGENT_KEEP_H
#define WEIR_AGENT_KEEP_H

#include "agent/decode/decode.h"
#include "common/base/err.h"
#include "common/base/metric.h"

enum { AGENT_KEEP_BYTES_MOST = 16 << 20, AGENT_KEEP_DAYS_MOST = 30 };

struct agent_keep;

/**
 * Read `@folder/templates`, if it is there, and start the thread. Exporters not heard for AGENT_KEEP_DAYS_MOST before
 * @now_ms are forgotten. A damaged file is no error: what can be read is used, and `templates.damaged` is logged.
 * @metrics may be NULL. WEIR_EIO, WEIR_EDENIED, WEIR_ENOMEM with @why.
 */
int agent_keep_create(const char *folder, uint32_t parts, int64_t now_ms, struct weir_metrics *metrics,
                      struct agent_keep **ret, struct weir_why *why);

/** Writes what is left to be written. */
void agent_keep_destroy(struct agent_keep *keep);

/** For agent_decoder_conf. Any thread. */
struct agent_recall agent_keep_recall(struct agent_keep *keep);

/** From now on part @part (each thread has its own) is what @entries holds; it is emptied. Any thread. */
void agent_keep_put(struct agent_keep *keep, uint32_t part, struct weir_buf *entries);

#endif
