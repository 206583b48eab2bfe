#include "aggregator/retain.h"

#include "aggregator/window.h"
#include "common/base/mem.h"

#include <pthread.h>
#include <stdatomic.h>

enum { AHEAD_MOST_MS = 3600 * 1000, CLOCK_BYTES = 8 };

static const enum agg_family family_of[AGG_TIERS] = {AGG_FAMILY_ROLLUP_1M, AGG_FAMILY_ROLLUP_1H};

struct agg_retain {
    struct agg_store *store;
    struct agg_retain_conf conf;
    pthread_mutex_t mutex;      /* of conf */
    int64_t clock_ms;           /* retention's own clock: never runs faster than the monotonic one */
    int64_t clock_mono_ms;      /* when it was set */
    int64_t dropped_flows_hour; /* everything before is dropped; -1 unknown */
    int64_t dropped_window[AGG_TIERS];
    _Atomic int64_t flows_cutoff_ms;
    _Atomic int64_t cutoff_ms[AGG_TIERS];
};

int agg_retain_create(struct agg_store *store, const struct agg_retain_conf *conf, int64_t now_ms, int64_t now_mono_ms,
                      struct agg_retain **ret)
{
    struct agg_retain *retain = weir_calloc(1, sizeof *retain);
    if (retain == NULL) return WEIR_ENOMEM;
    retain->store = store;
    retain->conf = *conf;
    pthread_mutex_init(&retain->mutex, NULL);
    retain->clock_mono_ms = now_mono_ms;
    retain->dropped_flows_hour = -1;
    retain->dropped_window[AGG_TIER_1M] = retain->dropped_window[AGG_TIER_1H] = -1;

    /* A first start believes the clock; later ones believe it only as far as an hour beyond what they knew. */
    struct agg_key key = agg_key_meta(AGG_META_CUTOFF);
    struct agg_lease lease;
    int rc = agg_store_lend(store, NULL, AGG_FAMILY_META, agg_key_view(&key), &lease);
    if (rc == WEIR_ENOTFOUND) {
        retain->clock_ms = now_ms;
        rc = 0;
    } else if (rc == 0) {
        if (lease.value.size != CLOCK_BYTES)
            rc = WEIR_ECORRUPT;
        else
            retain->clock_ms = (int64_t)weir_load_u64be(lease.value.data);
        agg_lease_return(&lease);
        if (now_ms > retain->clock_ms + AHEAD_MOST_MS)
            retain->clock_ms += AHEAD_MOST_MS;
        else if (now_ms > retain->clock_ms)
            retain->clock_ms = now_ms;
    }
    if (rc < 0) {
        agg_retain_destroy(retain);
        return rc;
    }
    *ret = retain;
    return 0;
}

void agg_retain_destroy(struct agg_retain *retain)
{
    if (retain == NULL) return;
    pthread_mutex_destroy(&retain->mutex);
    weir_free(retain);
}

void agg_retain_set(struct agg_retain *retain, const struct agg_retain_conf *conf)
{
    pthread_mutex_lock(&retain->mutex);
    retain->conf = *conf;
    pthread_mutex_unlock(&retain->mutex);
}

int64_t agg_retain_cutoff_ms(const struct agg_retain *retain, enum agg_tier tier)
{
    return atomic_load(&retain->cutoff_ms[tier]);
}

int64_t agg_retain_flows_cutoff_ms(const struct agg_retain *retain)
{
    return atomic_load(&retain->flows_cutoff_ms);
}

/** Run retention's clock, and make it durable: with it every write before, so that no mark is behind what is dropped. */
static int run_clock(struct agg_retain *retain, int64_t now_ms, int64_t now_mono_ms, struct weir_why *why)
{
    int64_t most_ms = retain->clock_ms + (now_mono_ms - retain->clock_mono_ms);
    if (now_ms > retain->clock_ms) retain->clock_ms = now_ms < most_ms ? now_ms : most_ms;
    retain->clock_mono_ms = now_mono_ms;

    struct agg_write *write = NULL;
    int rc = agg_write_create(&write);
    if (rc < 0) return rc;
    struct agg_key key = agg_key_meta(AGG_META_CUTOFF);
    uint8_t value[CLOCK_BYTES];
    weir_store_u64be(value, (uint64_t)retain->clock_ms);
    agg_write_put(write, retain->store, AGG_FAMILY_META, agg_key_view(&key), weir_view_of(value, sizeof value));
    rc = agg_store_write(retain->store, write, AGG_SYNCED, why);
    agg_write_destroy(write);
    return rc;
}

/** Drop the hours of stored batches before @hour. Returns how many ranges. */
static int drop_flows(struct agg_retain *retain, int64_t hour, struct weir_why *why)
{
    int dropped = 0;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        struct agg_key lower = agg_key_shard(shard), upper = agg_key_hour(shard, (uint32_t)hour);
        struct agg_iter *iter = NULL;
        int rc = agg_iter_create(retain->store, NULL, AGG_FAMILY_BLOCK, agg_key_view(&lower), agg_key_view(&upper),
                                 AGG_ITER_LOOKUP, &iter);
        if (rc < 0) return rc;
        bool any = agg_iter_valid(iter);
        agg_iter_destroy(iter);
        if (!any) continue;
        rc = agg_store_drop(retain->store, AGG_FAMILY_FLOWS, agg_key_view(&lower), agg_key_view(&upper), why);
        if (rc == 0)
            rc = agg_store_drop(retain->store, AGG_FAMILY_BLOCK, agg_key_view(&lower), agg_key_view(&upper), why);
        if (rc < 0) return rc;
        dropped++;
    }
    return dropped;
}

/** Drop a tier's rows of windows before @window. */
static int drop_rows(struct agg_retain *retain, enum agg_tier tier, int64_t window, struct weir_why *why)
{
    int dropped = 0;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        for (int table = AGG_TABLE_SOURCE; table < AGG_TABLES; table++) {
            struct agg_key lower = agg_key_window(shard, (uint8_t)table, 0);
            struct agg_key upper = agg_key_window(shard, (uint8_t)table, (uint32_t)window);
            struct agg_iter *iter = NULL;
            int rc = agg_iter_create(retain->store, NULL, family_of[tier], agg_key_view(&lower), agg_key_view(&upper),
                                     AGG_ITER_LOOKUP, &iter);
            if (rc < 0) return rc;
            bool any = agg_iter_valid(iter);
            agg_iter_destroy(iter);
            if (!any) continue;
            rc = agg_store_drop(retain->store, family_of[tier], agg_key_view(&lower), agg_key_view(&upper), why);
            if (rc < 0) return rc;
            dropped++;
        }
    }
    return dropped;
}

int agg_retain_step(struct agg_retain *retain, int64_t now_ms, int64_t now_mono_ms, struct weir_why *why)
{
    int rc = run_clock(retain, now_ms, now_mono_ms, why);
    if (rc < 0) return rc;
    pthread_mutex_lock(&retain->mutex);
    struct agg_retain_conf conf = retain->conf;
    pthread_mutex_unlock(&retain->mutex);

    int dropped = 0;
    int64_t hour = (retain->clock_ms - conf.flows_keep_ms) / AGG_HOUR_MS;
    if (hour > retain->dropped_flows_hour && hour > 0) {
        atomic_store(&retain->flows_cutoff_ms, hour * AGG_HOUR_MS);
        rc = drop_flows(retain, hour, why);
        if (rc < 0) return rc;
        dropped += rc;
        retain->dropped_flows_hour = hour;
    }
    for (int tier = 0; tier < AGG_TIERS; tier++) {
        /* By whole hours: a range costs the same whether it holds a minute or a day. */
        int64_t cutoff_ms = (retain->clock_ms - conf.keep_ms[tier]) / AGG_HOUR_MS * AGG_HOUR_MS;
        int64_t window = cutoff_ms / agg_tier_ms(tier);
        if (window <= retain->dropped_window[tier] || window <= 0) continue;
        atomic_store(&retain->cutoff_ms[tier], cutoff_ms);
        rc = drop_rows(retain, tier, window, why);
        if (rc < 0) return rc;
        dropped += rc;
        retain->dropped_window[tier] = window;
    }
    return dropped;
}
