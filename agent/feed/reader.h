/** The bytes of a log file, as they are or out of gzip (RFC 1952, with any number of members), as far as it goes now. */
#ifndef WEIR_AGENT_FEED_READER_H
#define WEIR_AGENT_FEED_READER_H

#include "common/base/bytes.h"

struct feed_reader;

/** Read @fd, which becomes the reader's, from its beginning; gzip is known by its first bytes. WEIR_ENOMEM. */
int feed_reader_create(int fd, struct feed_reader **ret);
void feed_reader_destroy(struct feed_reader *reader);

/**
 * Read at most @size bytes. Returns how many; 0: there is no more now, and perhaps later.
 * WEIR_EIO; WEIR_ECORRUPT: no gzip from here on; WEIR_ENOMEM.
 */
int64_t feed_reader_read(struct feed_reader *reader, void *out, size_t size);

/** Does the file end where a gzip member ends, so that nothing unfinished is left? False for a file that is no gzip. */
bool feed_reader_at_end(const struct feed_reader *reader);

#endif
