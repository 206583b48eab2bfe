/** Whole files and folders: written atomically, synced, read with a bound. Paths are borrowed. Any thread. */
#ifndef WEIR_COMMON_BASE_FILE_H
#define WEIR_COMMON_BASE_FILE_H

#include "common/base/buf.h"

#include <sys/types.h>

enum { WEIR_PATH_BYTES = 4096 };

/** The code for an errno: WEIR_ENOSPACE, WEIR_EDENIED, WEIR_ENOTFOUND, WEIR_ENOMEM or WEIR_EIO. */
int weir_file_error(int error);

/** Read exactly @size bytes at @at. WEIR_ESHORT when the file ends before; WEIR_EIO. */
int weir_file_read_at(int fd, void *out, size_t size, uint64_t at);

/** Write all of @parts, one after the other, at @at. WEIR_EIO, WEIR_ENOSPACE. */
int weir_file_write_at(int fd, const struct weir_view *parts, size_t count, uint64_t at);

/** Make the names in a folder durable. WEIR_EIO. */
int weir_file_sync_folder(const char *path);

/**
 * Put @parts into the file at @path, whole or not at all: written beside it, synced (when @durable), renamed, and the
 * folder @folder synced. WEIR_EIO, WEIR_ENOSPACE, WEIR_EDENIED: the old file is still there.
 */
int weir_file_replace(const char *folder, const char *path, const struct weir_view *parts, size_t count, bool durable);

/** Append the file's content to @out. WEIR_ENOTFOUND; WEIR_ELIMIT when it has more than @most bytes; WEIR_EIO. */
int weir_file_load(const char *path, size_t most, struct weir_buf *out);

/** Make a folder, if it is not there. WEIR_EDENIED, WEIR_EIO, WEIR_ENOSPACE. */
int weir_file_make_folder(const char *path);

/** Does the name end as a half-written file of weir_file_replace does? */
bool weir_file_is_leftover(const char *name);

#endif
