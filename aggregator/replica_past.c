#include "aggregator/replica_past.h"

#include "aggregator/intake_held.h"
#include "aggregator/store/key.h"
#include "common/base/mem.h"

#include <assert.h>

enum { ENTRY_HEAD_BYTES = 7, MARK_KEY_BYTES = 27, FILE_BYTES = 32 << 20 };

/** The order in which families are given: marks last, because with them the rest counts. */
static const enum agg_family order[AGG_FAMILIES] = {AGG_FAMILY_FLOWS, AGG_FAMILY_BLOCK, AGG_FAMILY_ROLLUP_1M,
                                                    AGG_FAMILY_ROLLUP_1H, AGG_FAMILY_META};

static uint32_t place_of(enum agg_family family)
{
    uint32_t place = 0;
    while (order[place] != family)
        place++;
    return place;
}

/** Does the key belong to the shard? Of meta, only marks do. */
static bool is_of_shard(enum agg_family family, struct weir_view key, uint32_t shard)
{
    if (family == AGG_FAMILY_META) {
        return key.size == MARK_KEY_BYTES && key.data[0] == AGG_META_MARK &&
               weir_load_u16be(key.data + MARK_KEY_BYTES - 2) == shard;
    }
    return key.size >= 2 && weir_load_u16be(key.data) == shard;
}

/** Over all keys of a family that the shard may have. */
static int iterate(struct agg_store *store, const struct agg_snapshot *snapshot, enum agg_family family, uint32_t shard,
                   struct agg_iter **ret)
{
    struct agg_key lower = agg_key_shard(shard), upper = agg_key_shard(shard + 1);
    if (family == AGG_FAMILY_META) {
        lower = agg_key_meta(AGG_META_MARK);
        upper = agg_key_meta(AGG_META_MARK + 1);
    }
    return agg_iter_create(store, snapshot, family, agg_key_view(&lower), agg_key_view(&upper), AGG_ITER_SCAN, ret);
}

/* ---- giving ---- */

struct agg_past {
    struct agg_store *store;
    struct agg_snapshot *snapshot;
    uint32_t shard;
    uint32_t place; /* in @order */
    struct agg_iter *iter;
};

int agg_past_create(struct agg_store *store, uint32_t shard, struct agg_past **ret)
{
    struct agg_past *past = weir_calloc(1, sizeof *past);
    if (past == NULL) return WEIR_ENOMEM;
    past->store = store;
    past->shard = shard;
    int rc = agg_snapshot_create(store, &past->snapshot);
    if (rc < 0) {
        agg_past_destroy(past);
        return rc;
    }
    *ret = past;
    return 0;
}

void agg_past_destroy(struct agg_past *past)
{
    if (past == NULL) return;
    if (past->iter != NULL) agg_iter_destroy(past->iter);
    if (past->snapshot != NULL) agg_snapshot_destroy(past->snapshot);
    weir_free(past);
}

static void append(struct weir_buf *out, enum agg_family family, struct weir_view key, struct weir_view value)
{
    uint8_t head[ENTRY_HEAD_BYTES];
    head[0] = (uint8_t)family;
    weir_store_u16be(head + 1, (uint16_t)key.size);
    weir_store_u32be(head + 3, (uint32_t)value.size);
    weir_buf_append(out, head, sizeof head);
    weir_buf_append(out, key.data, key.size);
    weir_buf_append(out, value.data, value.size);
}

int agg_past_next(struct agg_past *past, size_t least, struct weir_buf *out)
{
    while (past->place < AGG_FAMILIES && out->size < least) {
        enum agg_family family = order[past->place];
        if (past->iter == NULL) {
            int rc = iterate(past->store, past->snapshot, family, past->shard, &past->iter);
            if (rc < 0) return rc;
        }
        for (; agg_iter_valid(past->iter) && out->size < least; agg_iter_next(past->iter)) {
            struct weir_view key = agg_iter_key(past->iter);
            if (is_of_shard(family, key, past->shard)) append(out, family, key, agg_iter_value(past->iter));
        }
        if (out->failed) return WEIR_ENOMEM;
        if (agg_iter_valid(past->iter)) return 1;
        int rc = agg_iter_error(past->iter, NULL);
        if (rc < 0) return rc;
        agg_iter_destroy(past->iter);
        past->iter = NULL;
        past->place++;
    }
    return past->place < AGG_FAMILIES;
}

/* ---- what is in a portion ---- */

int agg_portion_next(struct agg_portion *portion, uint32_t shard)
{
    struct weir_view *rest = &portion->rest;
    if (rest->size == 0) return 0;
    if (rest->size < ENTRY_HEAD_BYTES || rest->data[0] >= AGG_FAMILIES) return WEIR_EFORMAT;
    size_t key = weir_load_u16be(rest->data + 1), value = weir_load_u32be(rest->data + 3);
    if (key + value > rest->size - ENTRY_HEAD_BYTES) return WEIR_EFORMAT;
    portion->family = (enum agg_family)rest->data[0];
    portion->key = weir_view_of(rest->data + ENTRY_HEAD_BYTES, key);
    portion->value = weir_view_of(portion->key.data + key, value);
    *rest = weir_view_of(portion->value.data + value, rest->size - ENTRY_HEAD_BYTES - key - value);
    return is_of_shard(portion->family, portion->key, shard) ? 1 : WEIR_EFORMAT;
}

/* ---- taking ---- */

struct agg_install {
    struct agg_store *store;
    uint32_t shard;
    uint32_t place;       /* in @order, of the last entry */
    struct weir_buf last; /* its key */
    struct agg_bulk *bulk;
    size_t bulk_bytes;
    struct agg_write *write; /* the marks */
};

int agg_install_create(struct agg_store *store, uint32_t shard, struct agg_install **ret, struct weir_why *why)
{
    int rc = agg_past_drop(store, shard, why);
    if (rc < 0) return rc;
    struct agg_install *install = weir_calloc(1, sizeof *install);
    if (install == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    install->store = store;
    install->shard = shard;
    rc = agg_write_create(&install->write);
    if (rc < 0) {
        agg_install_destroy(install);
        return weir_why_set(why, rc, "out of memory");
    }
    *ret = install;
    return 0;
}

void agg_install_destroy(struct agg_install *install)
{
    if (install == NULL) return;
    agg_bulk_destroy(install->bulk);
    agg_write_destroy(install->write);
    weir_buf_fini(&install->last);
    weir_free(install);
}

/** The file that is being written becomes part of the store. */
static int end_file(struct agg_install *install, struct weir_why *why)
{
    if (install->bulk == NULL) return 0;
    int rc = agg_bulk_commit(install->bulk, why);
    agg_bulk_destroy(install->bulk);
    install->bulk = NULL;
    install->bulk_bytes = 0;
    return rc;
}

static int compare(struct weir_view a, struct weir_view b)
{
    int order_of = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order_of != 0 ? order_of : a.size < b.size ? -1 : a.size > b.size;
}

/** Remember the entry as the last one. WEIR_EFORMAT when it does not come after the one before. */
static int follow(struct agg_install *install, const struct agg_portion *entry, struct weir_why *why)
{
    uint32_t place = place_of(entry->family);
    bool same = place == install->place && install->last.size > 0;
    if (place < install->place || (same && compare(entry->key, weir_buf_view(&install->last)) <= 0))
        return weir_why_set(why, WEIR_EFORMAT, "entries of shard %u do not come in order", install->shard);
    if (place != install->place || install->bulk_bytes >= FILE_BYTES) {
        int rc = end_file(install, why);
        if (rc < 0) return rc;
    }
    install->place = place;
    weir_buf_clear(&install->last);
    weir_buf_append(&install->last, entry->key.data, entry->key.size);
    return install->last.failed ? weir_why_set(why, WEIR_ENOMEM, "out of memory") : 0;
}

static int take_entry(struct agg_install *install, const struct agg_portion *entry, struct weir_why *why)
{
    int rc = follow(install, entry, why);
    if (rc < 0) return rc;
    if (entry->family == AGG_FAMILY_META) {
        agg_write_put(install->write, install->store, entry->family, entry->key, entry->value);
        return 0;
    }
    if (install->bulk == NULL) rc = agg_bulk_create(install->store, entry->family, &install->bulk, why);
    if (rc == 0) rc = agg_bulk_put(install->bulk, entry->key, entry->value);
    install->bulk_bytes += entry->key.size + entry->value.size;
    return rc < 0 && why != NULL && why->text[0] == '\0' ? weir_why_set(why, rc, "%s", weir_err_text(rc)) : rc;
}

int agg_install_take(struct agg_install *install, struct weir_view portion, struct weir_why *why)
{
    struct agg_portion entry = {.rest = portion};
    int rc = agg_portion_next(&entry, install->shard);
    for (; rc == 1; rc = agg_portion_next(&entry, install->shard)) {
        int taken = take_entry(install, &entry, why);
        if (taken < 0) return taken;
    }
    return rc < 0 ? weir_why_set(why, rc, "a portion of shard %u is none", install->shard) : 0;
}

int agg_install_commit(struct agg_install *install, const struct agg_held *held, struct weir_why *why)
{
    int rc = end_file(install, why);
    if (rc < 0) return rc;
    agg_held_put(install->write, install->store, install->shard, held);
    return agg_store_write(install->store, install->write, AGG_SYNCED, why);
}

/** The marks of the shard go, in one synced write: without them nothing else of it counts. */
static int drop_marks(struct agg_store *store, uint32_t shard, struct weir_why *why)
{
    struct agg_write *write = NULL;
    struct agg_iter *iter = NULL;
    int rc = agg_write_create(&write);
    if (rc == 0) rc = iterate(store, NULL, AGG_FAMILY_META, shard, &iter);
    for (; rc == 0 && agg_iter_valid(iter); agg_iter_next(iter)) {
        struct weir_view key = agg_iter_key(iter);
        if (is_of_shard(AGG_FAMILY_META, key, shard)) agg_write_delete(write, store, AGG_FAMILY_META, key);
    }
    if (rc == 0) rc = agg_iter_error(iter, why);
    if (rc == 0) rc = agg_store_write(store, write, AGG_SYNCED, why);
    if (iter != NULL) agg_iter_destroy(iter);
    agg_write_destroy(write);
    return rc;
}

int agg_past_drop(struct agg_store *store, uint32_t shard, struct weir_why *why)
{
    struct agg_key lower = agg_key_shard(shard), upper = agg_key_shard(shard + 1);
    int rc = drop_marks(store, shard, why);
    for (uint32_t place = 0; rc == 0 && order[place] != AGG_FAMILY_META; place++)
        rc = agg_store_drop(store, order[place], agg_key_view(&lower), agg_key_view(&upper), why);
    return rc;
}
