/**
 * What was taken of which file: written whole and durably before a take is spooled, so that after a crash the take is
 * made again, byte for byte, and its batches are known by their marks (agent_spool_append).
 */
#ifndef WEIR_AGENT_FEED_STATE_H
#define WEIR_AGENT_FEED_STATE_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FEED_FILES_MOST = 16384 };

/** Offsets and hashes are of the content, after decompression. */
struct feed_file {
    uint64_t feed;   /* hash of the feed's name */
    uint64_t device; /* of a log that was pushed these two are its id (agent/inbox.h) */
    uint64_t inode;
    uint64_t offset;    /* up to here it was taken */
    uint64_t hash;      /* feed_hash of what is before @offset */
    uint64_t take_to;   /* @offset, or the end of the take that is being spooled */
    uint64_t take_mark; /* of its first batch */
    uint64_t raw_bytes; /* size and time of the file when it was last read to its end; 0: it was not */
    int64_t changed_ns;
    int64_t seen_ms; /* when it was last in its folder */
};

struct feed_state {
    char *folder;
    char *path;
    bool durable;
    uint64_t next_mark;
    struct feed_file *files;
    size_t count;
    size_t room;
    uint32_t *slots; /* where a file is, by the hash of what it is found by: 1 + its index; 0: free */
    size_t slot_count;
};

/** Hash @size more bytes; begin with FEED_HASH_INIT. FNV-1a, 64 bits: it can be continued anywhere. */
#define FEED_HASH_INIT UINT64_C(0xcbf29ce484222325)
uint64_t feed_hash(uint64_t hash, const void *data, size_t size);

/** Read <folder>/feeds, if it is there. WEIR_ECORRUPT, WEIR_EIO, WEIR_ENOMEM; @state can be finished in any case. */
int feed_state_init(struct feed_state *state, const char *folder, bool durable);
void feed_state_fini(struct feed_state *state);

/** Write it. WEIR_EIO, WEIR_ENOSPACE, WEIR_ENOMEM. */
int feed_state_save(struct feed_state *state);

/** Index of the file, or WEIR_ENOTFOUND. */
int feed_state_find(const struct feed_state *state, uint64_t feed, uint64_t device, uint64_t inode);

/**
 * Add a file; returns its index. When there are too many, the one that is gone for longest is forgotten: one that was
 * not seen since @since_ms. WEIR_EFULL when all are there, WEIR_ENOMEM. Indices change.
 */
int feed_state_add(struct feed_state *state, const struct feed_file *file, int64_t since_ms);

/** Forget a file. The last one takes its index. */
void feed_state_remove(struct feed_state *state, size_t index);

#endif
