#include "aggregator/intake_held.h"

#include "aggregator/store/key.h"

enum { RECORD_BYTES = 5 }; /* epoch 4 | role 1 */

static struct agg_key key_of(uint32_t shard)
{
    struct agg_key key = agg_key_meta(AGG_META_HELD);
    agg_key_u16(&key, (uint16_t)shard);
    return key;
}

static int decode(struct weir_view value, struct agg_held *ret)
{
    if (value.size != RECORD_BYTES || value.data[4] > AGG_ROLE_MEMBER) return WEIR_ECORRUPT;
    *ret = (struct agg_held){.epoch = weir_load_u32be(value.data), .role = (enum agg_role)value.data[4]};
    return 0;
}

int agg_held_read(struct agg_store *store, struct agg_held held[WEIR_SHARDS])
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        struct agg_key key = key_of(shard);
        struct agg_lease lease;
        held[shard] = (struct agg_held){0};
        int rc = agg_store_lend(store, NULL, AGG_FAMILY_META, agg_key_view(&key), &lease);
        if (rc == WEIR_ENOTFOUND) continue;
        if (rc < 0) return rc;
        rc = decode(lease.value, &held[shard]);
        agg_lease_return(&lease);
        if (rc < 0) return rc;
    }
    return 0;
}

void agg_held_put(struct agg_write *write, const struct agg_store *store, uint32_t shard, const struct agg_held *held)
{
    struct agg_key key = key_of(shard);
    uint8_t record[RECORD_BYTES];
    weir_store_u32be(record, held->epoch);
    record[4] = (uint8_t)held->role;
    agg_write_put(write, store, AGG_FAMILY_META, agg_key_view(&key), weir_view_of(record, sizeof record));
}

int agg_held_write(struct agg_store *store, const struct agg_held held[WEIR_SHARDS], struct weir_why *why)
{
    struct agg_write *write;
    int rc = agg_write_create(&write);
    if (rc < 0) return weir_why_set(why, rc, "out of memory");
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        agg_held_put(write, store, shard, &held[shard]);
    rc = agg_store_write(store, write, AGG_SYNCED, why);
    agg_write_destroy(write);
    return rc;
}

uint32_t agg_held_follow(struct agg_held held[WEIR_SHARDS], const struct weir_map *map, uint32_t index)
{
    uint32_t newer = 0;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        if (map->shards[shard].epoch < held[shard].epoch) {
            newer++;
            continue;
        }
        held[shard] = (struct agg_held){.epoch = map->shards[shard].epoch,
                                        .role = weir_map_owns(map, index, shard) ? AGG_ROLE_MEMBER : AGG_ROLE_NONE};
    }
    return newer;
}

uint32_t agg_held_count(const struct agg_held held[WEIR_SHARDS])
{
    uint32_t count = 0;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        count += held[shard].role == AGG_ROLE_MEMBER;
    return count;
}
