/**
 * The aggregator's database: a few families of ordered byte strings, atomic writes over all of them, snapshots. This
 * folder is the only reader of rocksdb/c.h; what the bytes mean is in key.h, block.h and row.h.
 *
 * Any thread may read and write; a write, a snapshot or an iterator belongs to the thread that made it.
 */
#ifndef WEIR_AGGREGATOR_STORE_STORE_H
#define WEIR_AGGREGATOR_STORE_STORE_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum agg_family {
    AGG_FAMILY_META,      /* marks, rolled marks, cut-offs */
    AGG_FAMILY_FLOWS,     /* stored batches: large values, kept in blob files */
    AGG_FAMILY_BLOCK,     /* what a scan reads of each batch before it decides to open it */
    AGG_FAMILY_ROLLUP_1M, /* rows by minute; values merge (row.h) */
    AGG_FAMILY_ROLLUP_1H, /* rows by hour; likewise */
    AGG_FAMILIES
};

/** "meta", "flows" ...: for metrics and messages. Static memory. */
const char *agg_family_name(enum agg_family family);

/** When a write counts as done. */
enum agg_durability {
    AGG_SYNCED, /* on the disk: survives a power cut, and so does every write before it */
    AGG_LOGGED, /* in the log: survives a kill; a power cut may take it, and then all that came after it too */
};

struct agg_store_conf {
    const char *path;    /* folder; made when absent */
    size_t cache_bytes;  /* of blocks read */
    size_t buffer_bytes; /* of writes not yet in files, all families together */
    size_t log_bytes;    /* most of the write-ahead log before its oldest part is flushed */
    uint32_t background; /* threads that flush and compact */
};

struct agg_store;

/**
 * Open, and recover what a crash left.
 *
 *   WEIR_EEXIST    another process has it open
 *   WEIR_EDENIED   no permission
 *   WEIR_ENOSPACE, WEIR_ECORRUPT, WEIR_EIO, WEIR_ENOMEM
 */
int agg_store_open(const struct agg_store_conf *conf, struct agg_store **ret, struct weir_why *why);

/** Flush and close. NULL is allowed. All snapshots and iterators must be gone. */
void agg_store_close(struct agg_store *store);

/** Changes that happen together. */
struct agg_write;

/** WEIR_ENOMEM. */
int agg_write_create(struct agg_write **ret);
void agg_write_destroy(struct agg_write *write);
void agg_write_clear(struct agg_write *write);

void agg_write_put(struct agg_write *write, const struct agg_store *store, enum agg_family family, struct weir_view key,
                   struct weir_view value);

/** Merge a row (row.h) into the one under @key. */
void agg_write_merge(struct agg_write *write, const struct agg_store *store, enum agg_family family,
                     struct weir_view key, struct weir_view value);
void agg_write_delete(struct agg_write *write, const struct agg_store *store, enum agg_family family,
                      struct weir_view key);

/** Bytes collected so far. */
size_t agg_write_bytes(const struct agg_write *write);

/**
 * Do it; @write stays as it is.
 *
 *   WEIR_EAGAIN     the store is stalled by compaction (AGG_SYNCED only; the others wait)
 *   WEIR_ENOSPACE, WEIR_ECORRUPT, WEIR_EIO
 */
int agg_store_write(struct agg_store *store, const struct agg_write *write, enum agg_durability durability,
                    struct weir_why *why);

/** The store at one moment. Keep it short: it holds back the reclaiming of space. */
struct agg_snapshot;

/** WEIR_ENOMEM. */
int agg_snapshot_create(struct agg_store *store, struct agg_snapshot **ret);
void agg_snapshot_destroy(struct agg_snapshot *snapshot);

/** Append the value of @key to @out. @snapshot may be NULL: now. WEIR_ENOTFOUND, WEIR_ECORRUPT, WEIR_EIO, WEIR_ENOMEM. */
int agg_store_get(struct agg_store *store, const struct agg_snapshot *snapshot, enum agg_family family,
                  struct weir_view key, struct weir_buf *out);

/** A value that is lent without copying it. */
struct agg_lease {
    struct weir_view value;
    void *held;
};

/** As agg_store_get; give it back with agg_lease_return, also before the store is closed. */
int agg_store_lend(struct agg_store *store, const struct agg_snapshot *snapshot, enum agg_family family,
                   struct weir_view key, struct agg_lease *ret);
void agg_lease_return(struct agg_lease *lease);

/** Keys from @lower (inclusive) to @upper (exclusive), in order. Both are copied. */
struct agg_iter;

enum agg_iter_use {
    AGG_ITER_LOOKUP, /* a few keys */
    AGG_ITER_SCAN,   /* many keys: reads ahead, leaves the cache to others */
};

/** Stands on the first key. WEIR_ENOMEM. */
int agg_iter_create(struct agg_store *store, const struct agg_snapshot *snapshot, enum agg_family family,
                    struct weir_view lower, struct weir_view upper, enum agg_iter_use use, struct agg_iter **ret);
void agg_iter_destroy(struct agg_iter *iter);

/** Is there a key here? False at the end and after an error: ask agg_iter_error then. */
bool agg_iter_valid(const struct agg_iter *iter);
void agg_iter_next(struct agg_iter *iter);

/** To the first key at or after @key, or to the last key before the upper bound. */
void agg_iter_seek(struct agg_iter *iter, struct weir_view key);
void agg_iter_seek_last(struct agg_iter *iter);

/** Borrowed until the iterator moves. */
struct weir_view agg_iter_key(const struct agg_iter *iter);
struct weir_view agg_iter_value(const struct agg_iter *iter);

/** 0, WEIR_ECORRUPT or WEIR_EIO. */
int agg_iter_error(const struct agg_iter *iter, struct weir_why *why);

/** Forget all keys from @lower to @upper (exclusive), and give whole files back at once. WEIR_ENOSPACE, WEIR_EIO. */
int agg_store_drop(struct agg_store *store, enum agg_family family, struct weir_view lower, struct weir_view upper,
                   struct weir_why *why);

/**
 * Many rows at once, in the order of their keys: written as a file that becomes part of the family whole or not at all,
 * and is on the disk then. Costs a tenth of merging row by row, but a file each time: for thousands of rows and more.
 */
struct agg_bulk;

/** WEIR_ENOSPACE, WEIR_EIO, WEIR_ENOMEM. */
int agg_bulk_create(struct agg_store *store, enum agg_family family, struct agg_bulk **ret, struct weir_why *why);

/** Forget it, if it was not committed. NULL is allowed. */
void agg_bulk_destroy(struct agg_bulk *bulk);

/** The next key, greater than the one before. WEIR_ENOSPACE, WEIR_EIO. */
int agg_bulk_put(struct agg_bulk *bulk, struct weir_view key, struct weir_view value);
int agg_bulk_merge(struct agg_bulk *bulk, struct weir_view key, struct weir_view value);

/** At least one key must have been given. WEIR_ENOSPACE, WEIR_EIO. */
int agg_bulk_commit(struct agg_bulk *bulk, struct weir_why *why);

struct agg_store_stats {
    uint64_t family_bytes[AGG_FAMILIES]; /* of files, blobs included */
    uint64_t buffer_bytes;               /* of writes in memory */
    uint64_t cache_bytes;
    uint64_t compaction_pending_bytes;
    bool stopped; /* writes wait for compaction */
};

void agg_store_stats(struct agg_store *store, struct agg_store_stats *ret);

#endif
