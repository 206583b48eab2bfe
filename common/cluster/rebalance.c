#include "common/cluster/rebalance.h"

#include "common/cluster/entry.h"
#include "common/cluster/propose.h"

#include <stdio.h>
#include <stdlib.h>

int weir_mapstore_shard(const char *key, const char *prefix)
{
    char again[WEIR_MAPSTORE_KEY_MOST];
    size_t size = strlen(prefix);
    if (strncmp(key, prefix, size) != 0 || strlen(key) > size + 3) return WEIR_ENOTFOUND;
    int shard = atoi(key + size);
    snprintf(again, sizeof again, "%s%d", prefix, shard);
    return strcmp(again, key) == 0 && shard < WEIR_SHARDS ? shard : WEIR_ENOTFOUND;
}

/* ---- reading ---- */

static void refuse(struct weir_cluster_view *view, const char *key, const char *reason)
{
    if (view->refused++ == 0) weir_why_set(&view->first_refused, WEIR_EPARAM, "%s: %s", key, reason);
}

static void take_shard(struct weir_cluster_view *view, const struct weir_mapstore_item *item, struct weir_shard *to,
                       int64_t *revision)
{
    struct weir_entry entry;
    struct weir_why why = {""};
    *revision = item->revision;
    int rc = weir_entry_parse(item->value, &entry, &why);
    if (rc == 0) rc = weir_entry_resolve(&entry, &view->map, to, &why);
    if (rc < 0) refuse(view, item->key, why.text);
}

static void take_item(void *ctx, const struct weir_mapstore_item *item)
{
    static const char live[] = "live/";
    struct weir_cluster_view *view = ctx;
    int shard = weir_mapstore_shard(item->key, "map/");
    if (shard >= 0) {
        take_shard(view, item, &view->map.shards[shard], &view->revisions[shard]);
        return;
    }
    shard = weir_mapstore_shard(item->key, "desired/");
    if (shard >= 0) {
        take_shard(view, item, &view->desired[shard], &view->desired_revisions[shard]);
    } else if (strncmp(item->key, live, sizeof live - 1) == 0) {
        int node = weir_map_find_aggregator(&view->map, item->key + sizeof live - 1);
        if (node >= 0) view->live[node] = true;
    }
}

static int read_as(struct weir_mapstore *store, const struct weir_map *file, bool stale, struct weir_cluster_view *ret,
                   struct weir_why *why)
{
    int64_t revision = 0;
    memset(ret, 0, sizeof *ret);
    ret->map = *file;
    memset(ret->map.shards, 0, sizeof ret->map.shards);
    ret->stale = stale;
    return weir_mapstore_get(store, "", stale, take_item, ret, &revision, why);
}

int weir_cluster_view_read(struct weir_mapstore *store, const struct weir_map *file, bool stale_will_do,
                           struct weir_cluster_view *ret, struct weir_why *why)
{
    int rc = read_as(store, file, false, ret, why);
    if (stale_will_do && (rc == WEIR_ETIMEOUT || rc == WEIR_EUNREACHABLE)) rc = read_as(store, file, true, ret, why);
    return rc;
}

/* ---- writing ---- */

/** @revision is 0 when there is no such key; it is known no more afterwards. */
static int put(struct weir_mapstore *store, const struct weir_map *map, const char *prefix, uint32_t shard,
               const struct weir_shard *value, int64_t revision, struct weir_why *why)
{
    char key[WEIR_MAPSTORE_KEY_MOST];
    struct weir_entry entry;
    struct weir_buf text = WEIR_BUF_INIT;
    snprintf(key, sizeof key, "%s%u", prefix, shard);
    weir_entry_of(map, value, &entry);
    weir_entry_print(&entry, &text);
    int rc = text.failed ? weir_why_set(why, WEIR_ENOMEM, "out of memory")
                         : weir_mapstore_cas(store, key, revision, weir_buf_view(&text), 0, why);
    weir_buf_fini(&text);
    return rc;
}

static int make_missing(struct weir_mapstore *store, const struct weir_map *placed, struct weir_cluster_view *view,
                        bool dry, struct weir_rebalanced *done, struct weir_why *why)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        if (view->revisions[shard] != 0) continue;
        int rc = dry ? 0 : put(store, placed, "map/", shard, &placed->shards[shard], 0, why);
        if (rc < 0) return rc;
        view->map.shards[shard] = placed->shards[shard];
        done->made++;
    }
    return 0;
}

static bool same_members(const struct weir_shard *a, const struct weir_shard *b)
{
    return a->member_count == b->member_count && memcmp(a->members, b->members, a->member_count) == 0;
}

int weir_cluster_rebalance(struct weir_mapstore *store, struct weir_cluster_view *view, bool dry,
                           struct weir_rebalanced *ret, struct weir_why *why)
{
    *ret = (struct weir_rebalanced){0};
    if (view->refused > 0) return weir_why_set(why, WEIR_EPARAM, "%s", view->first_refused.text);
    struct weir_map placed = view->map;
    weir_map_place(&placed);
    int rc = make_missing(store, &placed, view, dry, ret, why);
    if (rc < 0) return rc;

    struct weir_shard desired[WEIR_SHARDS];
    rc = weir_map_propose(&view->map, desired);
    if (rc < 0) return weir_why_set(why, rc, "placing the shards: %s", weir_err_text(rc));
    ret->moves = weir_map_moves(&view->map, desired);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        if (view->desired_revisions[shard] != 0 && same_members(&view->desired[shard], &desired[shard])) continue;
        rc = dry ? 0 : put(store, &view->map, "desired/", shard, &desired[shard], view->desired_revisions[shard], why);
        if (rc < 0) return rc;
        view->desired[shard] = desired[shard];
        ret->put++;
    }
    return 0;
}
