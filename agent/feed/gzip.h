/** gzip (RFC 1952, any number of members) that is whole in memory. Pure. agent/feed/reader.h is for files that grow. */
#ifndef WEIR_AGENT_FEED_GZIP_H
#define WEIR_AGENT_FEED_GZIP_H

#include "common/base/buf.h"
#include "common/base/err.h"

/** Does it begin as gzip does? */
bool feed_is_gzip(struct weir_view bytes);

/**
 * Append what @bytes unpack to, at most @most bytes; with @out NULL only see whether they do.
 * WEIR_EFORMAT: it is no gzip, is cut off, or something follows; WEIR_ELIMIT: it is more than @most; WEIR_ENOMEM.
 */
int feed_gunzip(struct weir_view bytes, size_t most, struct weir_buf *out);

#endif
