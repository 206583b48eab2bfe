#include "aggregator/store/store.h"

#include "aggregator/store/row.h"
#include "common/base/mem.h"

#include <errno.h>
#include <limits.h>
#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LZ4 = rocksdb_lz4_compression,
    NOTHING = rocksdb_no_compression,
    BLOB_LEAST_BYTES = 1024, /* smaller batches stay among the keys */
    BLOB_FILE_BYTES = 64 << 20,
    SYNC_BYTES = 1 << 20,
    OPEN_FILES_MOST = 512,
    READ_AHEAD_BYTES = 256 << 10,
    LOG_FILE_BYTES = 4 << 20,
    LOG_FILES = 4,
    BLOCK_BYTES = 16 << 10,
    ROLLUP_FILES_MERGE = 12,
    ROLLUP_FILES_SLOW = 40,
    ROLLUP_FILES_STOP = 60,
    DURABILITIES = AGG_LOGGED + 1
};

struct agg_store {
    char *path;
    rocksdb_t *db;
    rocksdb_column_family_handle_t *family[AGG_FAMILIES];
    rocksdb_options_t *options[AGG_FAMILIES];
    rocksdb_cache_t *cache;
    rocksdb_options_t *bulk_options;
    rocksdb_writeoptions_t *write_options[DURABILITIES];
    rocksdb_readoptions_t *read_now;
};

struct agg_write {
    rocksdb_writebatch_t *batch;
    size_t bytes;
};

struct agg_bulk {
    struct agg_store *store;
    enum agg_family family;
    rocksdb_envoptions_t *environment;
    rocksdb_sstfilewriter_t *writer;
    char path[PATH_MAX];
};

struct agg_snapshot {
    rocksdb_t *db;
    const rocksdb_snapshot_t *snapshot;
    rocksdb_readoptions_t *read;
};

struct agg_iter {
    rocksdb_iterator_t *iter;
    rocksdb_readoptions_t *read;
    struct weir_buf lower;
    struct weir_buf upper;
};

/* The first has the name that RocksDB demands of one. */
static const char *const family_names[AGG_FAMILIES] = {"default", "flows", "block", "rollup_1m", "rollup_1h"};

const char *agg_family_name(enum agg_family family)
{
    return family == AGG_FAMILY_META ? "meta" : family_names[family];
}

/** Take RocksDB's message: our code for it, and the message as the reason. */
static int take_error(char *message, struct weir_why *why, const char *doing)
{
    int rc = WEIR_EIO;
    if (strstr(message, "No space left") != NULL)
        rc = WEIR_ENOSPACE;
    else if (strstr(message, "Corruption") != NULL)
        rc = WEIR_ECORRUPT;
    else if (strstr(message, "incomplete") != NULL)
        rc = WEIR_EAGAIN;
    else if (strstr(message, "Permission denied") != NULL)
        rc = WEIR_EDENIED;
    else if (strstr(message, "lock") != NULL)
        rc = WEIR_EEXIST;
    weir_why_set(why, rc, "%s: %s", doing, message);
    rocksdb_free(message);
    return rc;
}

/* --- merging rows --- */

static char *merge_full(void *ctx, const char *key, size_t key_size, const char *existing, size_t existing_size,
                        const char *const *operands, const size_t *sizes, int count, unsigned char *success,
                        size_t *ret_size)
{
    (void)ctx;
    (void)key;
    (void)key_size;
    struct agg_row row = {0};
    bool good = existing == NULL || agg_row_decode_add(weir_view_of(existing, existing_size), &row) == 0;
    for (int i = 0; good && i < count; i++)
        good = agg_row_decode_add(weir_view_of(operands[i], sizes[i]), &row) == 0;

    *success = 0;
    *ret_size = 0;
    uint8_t *value = good ? malloc(AGG_ROW_BYTES_MOST) : NULL; /* RocksDB gives it back to merge_free */
    if (value == NULL) return NULL;
    *ret_size = agg_row_encode(&row, value);
    *success = 1;
    return (char *)value;
}

static char *merge_partial(void *ctx, const char *key, size_t key_size, const char *const *operands,
                           const size_t *sizes, int count, unsigned char *success, size_t *ret_size)
{
    return merge_full(ctx, key, key_size, NULL, 0, operands, sizes, count, success, ret_size);
}

static void merge_free(void *ctx, const char *value, size_t size)
{
    (void)ctx;
    (void)size;
    union {
        const char *given;
        void *memory;
    } of = {.given = value};
    free(of.memory);
}

static const char *merge_name(void *ctx)
{
    (void)ctx;
    return "weir.row.1";
}

static void merge_destroy(void *ctx)
{
    (void)ctx;
}

/* --- opening --- */

static void set_common(rocksdb_options_t *options, const struct agg_store_conf *conf)
{
    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_create_missing_column_families(options, 1);
    rocksdb_options_set_paranoid_checks(options, 1);
    rocksdb_options_set_wal_recovery_mode(options, rocksdb_point_in_time_recovery);
    rocksdb_options_set_db_write_buffer_size(options, conf->buffer_bytes);
    rocksdb_options_set_max_total_wal_size(options, conf->log_bytes);
    rocksdb_options_set_bytes_per_sync(options, SYNC_BYTES);
    rocksdb_options_set_wal_bytes_per_sync(options, SYNC_BYTES);
    rocksdb_options_set_max_open_files(options, OPEN_FILES_MOST);
    rocksdb_options_set_max_background_jobs(options, (int)conf->background);
    rocksdb_options_set_info_log_level(options, 2); /* warnings */
    rocksdb_options_set_max_log_file_size(options, LOG_FILE_BYTES);
    rocksdb_options_set_keep_log_file_num(options, LOG_FILES);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_stats_persist_period_sec(options, 0);
}

static void set_family(rocksdb_options_t *options, enum agg_family family, const struct agg_store_conf *conf,
                       rocksdb_cache_t *cache)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(table, cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_block_based_options_set_block_size(table, BLOCK_BYTES);
    rocksdb_block_based_options_set_format_version(table, 5);
    if (family == AGG_FAMILY_META)
        rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);

    /* The limit over all families is what flushes; one family alone must not do it sooner. */
    rocksdb_options_set_write_buffer_size(options, conf->buffer_bytes);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(options, 1);
    bool is_packed = family != AGG_FAMILY_META && family != AGG_FAMILY_BLOCK; /* by us already */
    rocksdb_options_set_compression(options, is_packed ? NOTHING : LZ4);
    if (family == AGG_FAMILY_FLOWS) {
        rocksdb_options_set_enable_blob_files(options, 1);
        rocksdb_options_set_min_blob_size(options, BLOB_LEAST_BYTES);
        rocksdb_options_set_blob_file_size(options, BLOB_FILE_BYTES);
        rocksdb_options_set_blob_compression_type(options, NOTHING);
        rocksdb_options_set_enable_blob_gc(options, 1);
    }
    if (family == AGG_FAMILY_ROLLUP_1M || family == AGG_FAMILY_ROLLUP_1H) {
        /* Rows come as files of their own: more of them may wait before batches are held up for it. */
        rocksdb_options_set_level0_file_num_compaction_trigger(options, ROLLUP_FILES_MERGE);
        rocksdb_options_set_level0_slowdown_writes_trigger(options, ROLLUP_FILES_SLOW);
        rocksdb_options_set_level0_stop_writes_trigger(options, ROLLUP_FILES_STOP);
        rocksdb_options_set_merge_operator(
            options,
            rocksdb_mergeoperator_create(NULL, merge_destroy, merge_full, merge_partial, merge_free, merge_name));
    }
}

int agg_store_open(const struct agg_store_conf *conf, struct agg_store **ret, struct weir_why *why)
{
    struct agg_store *store = weir_calloc(1, sizeof *store);
    if (store == NULL) return weir_why_set(why, WEIR_ENOMEM, "%s: out of memory", conf->path);

    int rc = WEIR_ENOMEM;
    store->path = weir_strdup(conf->path);
    if (store->path == NULL) goto fail;
    if (mkdir(conf->path, 0700) < 0 && errno != EEXIST) {
        rc = errno == EACCES ? WEIR_EDENIED : errno == ENOSPC ? WEIR_ENOSPACE : WEIR_EIO;
        weir_why_set(why, rc, "%s: %s", conf->path, strerror(errno));
        goto fail;
    }
    store->cache = rocksdb_cache_create_lru(conf->cache_bytes);
    const rocksdb_options_t *family_options[AGG_FAMILIES];
    for (int f = 0; f < AGG_FAMILIES; f++) {
        store->options[f] = rocksdb_options_create();
        set_common(store->options[f], conf);
        set_family(store->options[f], f, conf, store->cache);
        family_options[f] = store->options[f];
    }
    store->bulk_options = rocksdb_options_create();
    set_common(store->bulk_options, conf);
    set_family(store->bulk_options, AGG_FAMILY_ROLLUP_1M, conf, store->cache);
    for (int d = 0; d < DURABILITIES; d++)
        store->write_options[d] = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(store->write_options[AGG_SYNCED], 1);
    rocksdb_writeoptions_set_no_slowdown(store->write_options[AGG_SYNCED], 1);
    store->read_now = rocksdb_readoptions_create();

    char *error = NULL;
    store->db = rocksdb_open_column_families(store->options[0], conf->path, AGG_FAMILIES, family_names, family_options,
                                             store->family, &error);
    if (error != NULL) {
        rc = take_error(error, why, conf->path);
        store->db = NULL;
        goto fail;
    }
    *ret = store;
    return 0;

fail:
    agg_store_close(store);
    return rc;
}

void agg_store_close(struct agg_store *store)
{
    if (store == NULL) return;
    for (int f = 0; f < AGG_FAMILIES; f++) {
        if (store->db != NULL) rocksdb_column_family_handle_destroy(store->family[f]);
    }
    if (store->db != NULL) rocksdb_close(store->db);
    for (int f = 0; f < AGG_FAMILIES; f++) {
        if (store->options[f] != NULL) rocksdb_options_destroy(store->options[f]);
    }
    for (int d = 0; d < DURABILITIES; d++) {
        if (store->write_options[d] != NULL) rocksdb_writeoptions_destroy(store->write_options[d]);
    }
    if (store->bulk_options != NULL) rocksdb_options_destroy(store->bulk_options);
    if (store->read_now != NULL) rocksdb_readoptions_destroy(store->read_now);
    if (store->cache != NULL) rocksdb_cache_destroy(store->cache);
    weir_free(store->path);
    weir_free(store);
}

/* --- writing --- */

int agg_write_create(struct agg_write **ret)
{
    struct agg_write *write = weir_calloc(1, sizeof *write);
    if (write == NULL) return WEIR_ENOMEM;
    write->batch = rocksdb_writebatch_create();
    *ret = write;
    return 0;
}

void agg_write_destroy(struct agg_write *write)
{
    if (write == NULL) return;
    rocksdb_writebatch_destroy(write->batch);
    weir_free(write);
}

void agg_write_clear(struct agg_write *write)
{
    rocksdb_writebatch_clear(write->batch);
    write->bytes = 0;
}

void agg_write_put(struct agg_write *write, const struct agg_store *store, enum agg_family family, struct weir_view key,
                   struct weir_view value)
{
    rocksdb_writebatch_put_cf(write->batch, store->family[family], (const char *)key.data, key.size,
                              (const char *)value.data, value.size);
    write->bytes += key.size + value.size;
}

void agg_write_merge(struct agg_write *write, const struct agg_store *store, enum agg_family family,
                     struct weir_view key, struct weir_view value)
{
    rocksdb_writebatch_merge_cf(write->batch, store->family[family], (const char *)key.data, key.size,
                                (const char *)value.data, value.size);
    write->bytes += key.size + value.size;
}

void agg_write_delete(struct agg_write *write, const struct agg_store *store, enum agg_family family,
                      struct weir_view key)
{
    rocksdb_writebatch_delete_cf(write->batch, store->family[family], (const char *)key.data, key.size);
    write->bytes += key.size;
}

size_t agg_write_bytes(const struct agg_write *write)
{
    return write->bytes;
}

int agg_store_write(struct agg_store *store, const struct agg_write *write, enum agg_durability durability,
                    struct weir_why *why)
{
    char *error = NULL;
    rocksdb_write(store->db, store->write_options[durability], write->batch, &error);
    return error == NULL ? 0 : take_error(error, why, "writing to the store");
}

/* --- reading --- */

int agg_snapshot_create(struct agg_store *store, struct agg_snapshot **ret)
{
    struct agg_snapshot *snapshot = weir_calloc(1, sizeof *snapshot);
    if (snapshot == NULL) return WEIR_ENOMEM;
    snapshot->db = store->db;
    snapshot->snapshot = rocksdb_create_snapshot(store->db);
    snapshot->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_snapshot(snapshot->read, snapshot->snapshot);
    *ret = snapshot;
    return 0;
}

void agg_snapshot_destroy(struct agg_snapshot *snapshot)
{
    if (snapshot == NULL) return;
    rocksdb_readoptions_destroy(snapshot->read);
    rocksdb_release_snapshot(snapshot->db, snapshot->snapshot);
    weir_free(snapshot);
}

int agg_store_lend(struct agg_store *store, const struct agg_snapshot *snapshot, enum agg_family family,
                   struct weir_view key, struct agg_lease *ret)
{
    char *error = NULL;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned_cf(store->db, snapshot == NULL ? store->read_now : snapshot->read, store->family[family],
                              (const char *)key.data, key.size, &error);
    if (error != NULL) return take_error(error, NULL, "");
    if (slice == NULL) return WEIR_ENOTFOUND;
    size_t size;
    const char *value = rocksdb_pinnableslice_value(slice, &size);
    *ret = (struct agg_lease){.value = weir_view_of(value, size), .held = slice};
    return 0;
}

void agg_lease_return(struct agg_lease *lease)
{
    if (lease->held != NULL) rocksdb_pinnableslice_destroy(lease->held);
    *lease = (struct agg_lease){0};
}

int agg_store_get(struct agg_store *store, const struct agg_snapshot *snapshot, enum agg_family family,
                  struct weir_view key, struct weir_buf *out)
{
    struct agg_lease lease;
    int rc = agg_store_lend(store, snapshot, family, key, &lease);
    if (rc < 0) return rc;
    weir_buf_append(out, lease.value.data, lease.value.size);
    agg_lease_return(&lease);
    return out->failed ? WEIR_ENOMEM : 0;
}

int agg_iter_create(struct agg_store *store, const struct agg_snapshot *snapshot, enum agg_family family,
                    struct weir_view lower, struct weir_view upper, enum agg_iter_use use, struct agg_iter **ret)
{
    struct agg_iter *iter = weir_calloc(1, sizeof *iter);
    if (iter == NULL) return WEIR_ENOMEM;
    weir_buf_append(&iter->lower, lower.data, lower.size);
    weir_buf_append(&iter->upper, upper.data, upper.size);
    if (iter->lower.failed || iter->upper.failed) {
        agg_iter_destroy(iter);
        return WEIR_ENOMEM;
    }
    iter->read = rocksdb_readoptions_create();
    if (snapshot != NULL) rocksdb_readoptions_set_snapshot(iter->read, snapshot->snapshot);
    rocksdb_readoptions_set_iterate_lower_bound(iter->read, (const char *)iter->lower.data, iter->lower.size);
    rocksdb_readoptions_set_iterate_upper_bound(iter->read, (const char *)iter->upper.data, iter->upper.size);
    if (use == AGG_ITER_SCAN) {
        rocksdb_readoptions_set_fill_cache(iter->read, 0);
        rocksdb_readoptions_set_readahead_size(iter->read, READ_AHEAD_BYTES);
    }
    iter->iter = rocksdb_create_iterator_cf(store->db, iter->read, store->family[family]);
    rocksdb_iter_seek_to_first(iter->iter);
    *ret = iter;
    return 0;
}

void agg_iter_destroy(struct agg_iter *iter)
{
    if (iter == NULL) return;
    if (iter->iter != NULL) rocksdb_iter_destroy(iter->iter);
    if (iter->read != NULL) rocksdb_readoptions_destroy(iter->read);
    weir_buf_fini(&iter->lower);
    weir_buf_fini(&iter->upper);
    weir_free(iter);
}

bool agg_iter_valid(const struct agg_iter *iter)
{
    return rocksdb_iter_valid(iter->iter) != 0;
}

void agg_iter_next(struct agg_iter *iter)
{
    rocksdb_iter_next(iter->iter);
}

void agg_iter_seek(struct agg_iter *iter, struct weir_view key)
{
    rocksdb_iter_seek(iter->iter, (const char *)key.data, key.size);
}

void agg_iter_seek_last(struct agg_iter *iter)
{
    rocksdb_iter_seek_to_last(iter->iter);
}

struct weir_view agg_iter_key(const struct agg_iter *iter)
{
    size_t size;
    const char *data = rocksdb_iter_key(iter->iter, &size);
    return weir_view_of(data, size);
}

struct weir_view agg_iter_value(const struct agg_iter *iter)
{
    size_t size;
    const char *data = rocksdb_iter_value(iter->iter, &size);
    return weir_view_of(data, size);
}

int agg_iter_error(const struct agg_iter *iter, struct weir_why *why)
{
    char *error = NULL;
    rocksdb_iter_get_error(iter->iter, &error);
    return error == NULL ? 0 : take_error(error, why, "reading the store");
}

/* --- keeping house --- */

int agg_store_drop(struct agg_store *store, enum agg_family family, struct weir_view lower, struct weir_view upper,
                   struct weir_why *why)
{
    char *error = NULL;
    rocksdb_delete_range_cf(store->db, store->write_options[AGG_LOGGED], store->family[family],
                            (const char *)lower.data, lower.size, (const char *)upper.data, upper.size, &error);
    if (error != NULL) return take_error(error, why, "dropping a range");
    rocksdb_delete_file_in_range_cf(store->db, store->family[family], (const char *)lower.data, lower.size,
                                    (const char *)upper.data, upper.size, &error);
    return error == NULL ? 0 : take_error(error, why, "dropping files of a range");
}

int agg_bulk_create(struct agg_store *store, enum agg_family family, struct agg_bulk **ret, struct weir_why *why)
{
    struct agg_bulk *bulk = weir_calloc(1, sizeof *bulk);
    if (bulk == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    bulk->store = store;
    bulk->family = family;
    snprintf(bulk->path, sizeof bulk->path, "%s/%s.bulk", store->path, agg_family_name(family));
    (void)unlink(bulk->path); /* of a process that was killed */
    bulk->environment = rocksdb_envoptions_create();
    bulk->writer = rocksdb_sstfilewriter_create(bulk->environment, store->bulk_options);
    char *error = NULL;
    rocksdb_sstfilewriter_open(bulk->writer, bulk->path, &error);
    if (error != NULL) {
        int rc = take_error(error, why, "writing rows");
        agg_bulk_destroy(bulk);
        return rc;
    }
    *ret = bulk;
    return 0;
}

void agg_bulk_destroy(struct agg_bulk *bulk)
{
    if (bulk == NULL) return;
    rocksdb_sstfilewriter_destroy(bulk->writer);
    rocksdb_envoptions_destroy(bulk->environment);
    (void)unlink(bulk->path);
    weir_free(bulk);
}

int agg_bulk_put(struct agg_bulk *bulk, struct weir_view key, struct weir_view value)
{
    char *error = NULL;
    rocksdb_sstfilewriter_put(bulk->writer, (const char *)key.data, key.size, (const char *)value.data, value.size,
                              &error);
    return error == NULL ? 0 : take_error(error, NULL, "writing rows");
}

int agg_bulk_merge(struct agg_bulk *bulk, struct weir_view key, struct weir_view value)
{
    char *error = NULL;
    rocksdb_sstfilewriter_merge(bulk->writer, (const char *)key.data, key.size, (const char *)value.data, value.size,
                                &error);
    return error == NULL ? 0 : take_error(error, NULL, "writing rows");
}

int agg_bulk_commit(struct agg_bulk *bulk, struct weir_why *why)
{
    char *error = NULL;
    rocksdb_sstfilewriter_finish(bulk->writer, &error);
    if (error != NULL) return take_error(error, why, "writing rows");

    rocksdb_ingestexternalfileoptions_t *options = rocksdb_ingestexternalfileoptions_create();
    rocksdb_ingestexternalfileoptions_set_move_files(options, 1);
    const char *path = bulk->path;
    rocksdb_ingest_external_file_cf(bulk->store->db, bulk->store->family[bulk->family], &path, 1, options, &error);
    rocksdb_ingestexternalfileoptions_destroy(options);
    return error == NULL ? 0 : take_error(error, why, "taking rows in");
}

void agg_store_stats(struct agg_store *store, struct agg_store_stats *ret)
{
    *ret = (struct agg_store_stats){0};
    uint64_t value;
    for (int f = 0; f < AGG_FAMILIES; f++) {
        static const char *const sizes[] = {"rocksdb.total-sst-files-size", "rocksdb.total-blob-file-size"};
        for (size_t i = 0; i < 2; i++) {
            if (rocksdb_property_int_cf(store->db, store->family[f], sizes[i], &value) == 0)
                ret->family_bytes[f] += value;
        }
        if (rocksdb_property_int_cf(store->db, store->family[f], "rocksdb.size-all-mem-tables", &value) == 0)
            ret->buffer_bytes += value;
        if (rocksdb_property_int_cf(store->db, store->family[f], "rocksdb.estimate-pending-compaction-bytes", &value) ==
            0)
            ret->compaction_pending_bytes += value;
    }
    if (rocksdb_property_int(store->db, "rocksdb.is-write-stopped", &value) == 0) ret->stopped = value != 0;
    ret->cache_bytes = rocksdb_cache_get_usage(store->cache);
}
