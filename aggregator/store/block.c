#include "aggregator/store/block.h"

#include "common/base/err.h"

#include <assert.h>

enum { BLOCK_VERSION = 1 };

static void put_text(struct weir_buf *out, struct weir_view text)
{
    assert(text.size < WEIR_NAME_BYTES);
    weir_buf_u8(out, (uint8_t)text.size);
    weir_buf_append(out, text.data, text.size);
}

void agg_block_encode(const struct agg_block *block, struct weir_buf *out)
{
    weir_buf_u8(out, BLOCK_VERSION);
    weir_buf_append(out, block->agent, sizeof block->agent);
    weir_buf_u64be(out, block->inc);
    weir_buf_u64be(out, block->seq);
    weir_buf_u64be(out, (uint64_t)block->commit_ms);
    weir_buf_u32be(out, block->crc);
    weir_buf_u32be(out, block->body_bytes);
    put_text(out, block->tenant);
    put_text(out, block->site);
    put_text(out, block->name);
    weir_buf_append(out, block->header.data, block->header.size);
}

static struct weir_view take_text(struct weir_cursor *c)
{
    size_t size = weir_cursor_u8(c);
    const uint8_t *at = size < WEIR_NAME_BYTES ? weir_cursor_take(c, size) : NULL;
    if (at == NULL) c->ran_out = true;
    return weir_view_of(at, at == NULL ? 0 : size);
}

int agg_block_decode(struct weir_view entry, struct agg_block *ret)
{
    struct weir_cursor c = weir_cursor_of(entry);
    if (weir_cursor_u8(&c) != BLOCK_VERSION) return WEIR_ECORRUPT;
    const uint8_t *agent = weir_cursor_take(&c, sizeof ret->agent);
    if (agent == NULL) return WEIR_ECORRUPT;
    memcpy(ret->agent, agent, sizeof ret->agent);
    ret->inc = weir_cursor_u64(&c);
    ret->seq = weir_cursor_u64(&c);
    ret->commit_ms = (int64_t)weir_cursor_u64(&c);
    ret->crc = weir_cursor_u32(&c);
    ret->body_bytes = weir_cursor_u32(&c);
    ret->tenant = take_text(&c);
    ret->site = take_text(&c);
    ret->name = take_text(&c);
    ret->header = weir_view_of(c.at, weir_cursor_left(&c));
    return c.ran_out ? WEIR_ECORRUPT : 0;
}

int agg_rolled_read(struct agg_store *store, enum agg_family family, uint32_t shard, struct agg_place *ret)
{
    *ret = (struct agg_place){.shard = shard};
    struct agg_key key = agg_key_rolled(shard);
    struct agg_lease lease;
    int rc = agg_store_lend(store, NULL, family, agg_key_view(&key), &lease);
    if (rc == WEIR_ENOTFOUND) return 0;
    if (rc < 0) return rc;
    rc = agg_rolled_decode(lease.value, shard, ret);
    agg_lease_return(&lease);
    return rc;
}

static void take_later(struct agg_place *last, const struct agg_place *other)
{
    if (other->number > last->number) *last = *other;
}

int agg_block_last(struct agg_store *store, uint32_t shard, struct agg_place *ret)
{
    *ret = (struct agg_place){.shard = shard};
    struct agg_key lower = agg_key_shard(shard), upper = agg_key_shard(shard + 1);
    struct agg_iter *iter = NULL;
    int rc = agg_iter_create(store, NULL, AGG_FAMILY_BLOCK, agg_key_view(&lower), agg_key_view(&upper), AGG_ITER_LOOKUP,
                             &iter);
    if (rc < 0) return rc;
    agg_iter_seek_last(iter);
    rc = agg_iter_valid(iter) ? agg_key_read_block(agg_iter_key(iter), ret) : agg_iter_error(iter, NULL);
    agg_iter_destroy(iter);

    /* Retention may have taken the last blocks, but not what says that they were. */
    static const enum agg_family rollups[] = {AGG_FAMILY_ROLLUP_1M, AGG_FAMILY_ROLLUP_1H};
    for (size_t i = 0; rc == 0 && i < 2; i++) {
        struct agg_place rolled;
        rc = agg_rolled_read(store, rollups[i], shard, &rolled);
        if (rc == 0) take_later(ret, &rolled);
    }
    return rc;
}

void agg_mark_encode(const struct agg_mark *mark, uint8_t out[AGG_MARK_BYTES])
{
    weir_store_u64be(out, mark->seq);
    weir_store_u64be(out + 8, mark->cum.flows);
    weir_store_u64be(out + 16, mark->cum.packets);
    weir_store_u64be(out + 24, mark->cum.bytes);
    weir_store_u32be(out + 32, mark->crc);
}

int agg_mark_decode(struct weir_view value, struct agg_mark *ret)
{
    if (value.size != AGG_MARK_BYTES) return WEIR_ECORRUPT;
    *ret = (struct agg_mark){.seq = weir_load_u64be(value.data),
                             .cum = {.flows = weir_load_u64be(value.data + 8),
                                     .packets = weir_load_u64be(value.data + 16),
                                     .bytes = weir_load_u64be(value.data + 24)},
                             .crc = weir_load_u32be(value.data + 32)};
    return 0;
}
