/**
 * The shard map changes: a shard gets another owner, one more or one less, or the epoch moves on alone. A new owner gets
 * what an old one has as an operator would do it: both are stopped, the shard is copied, both start with the new map.
 * Everybody else goes on with the old one for a while.
 */
#include "common/base/mem.h"
#include "common/base/mutant.h"
#include "tests/support/river/parts.h"

#include <stdio.h>
#include <stdlib.h>

static void publish(struct river *river, struct weir_map *map)
{
    river->maps[river->map_count++] = map;
    river->map = map;
}

static struct weir_map *copy_map(const struct weir_map *map)
{
    struct weir_map *copy = weir_malloc(sizeof *copy);
    if (copy == NULL) abort();
    *copy = *map;
    copy->epoch++;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        copy->shards[shard].epoch = copy->epoch;
    return copy;
}

void river_map_begin(struct river *river)
{
    struct weir_map *map = weir_malloc(sizeof *map);
    if (map == NULL) abort();
    weir_map_init(map);
    map->replication = river_below(river, 5) == 0 ? 1 : 2;
    for (uint32_t i = 0; i < RIVER_NODES; i++) {
        struct weir_node node = {.weight = WEIR_WEIGHT_DEFAULT};
        snprintf(node.name, sizeof node.name, "agg-%u", i);
        if (weir_map_add_aggregator(map, &node) < 0) abort();
    }
    weir_map_place(map);
    publish(river, map);
    river_map_settle(river);
}

void river_map_settle(struct river *river)
{
    for (uint32_t i = 0; i < RIVER_BROKERS; i++)
        river_broker_reload(river, i);
    for (uint32_t i = 0; i < RIVER_NODES; i++)
        river_node_reload(river, i);
}

static void stop(struct river *river, uint32_t node)
{
    if (river->nodes[node].core != NULL) river_node_crash(river, node);
}

/** All that @from has of the shard takes the place of what @to has of it. */
static void copy_shard(struct river *river, uint32_t shard, uint32_t from, uint32_t to)
{
    const struct river_node *source = &river->nodes[from];
    struct river_node *target = &river->nodes[to];
    uint32_t kept = 0;
    for (uint32_t batch = 1; batch <= river->batches_made; batch++) {
        if (river->batches[batch].shard != shard) continue;
        target->stored[batch] = source->stored[batch];
        target->by_source[river->batches[batch].source] = source->by_source[river->batches[batch].source];
    }
    for (uint32_t i = 0; i < target->mark_count; i++) {
        if (target->marks[i].lane.shard != shard) target->marks[kept++] = target->marks[i];
    }
    target->mark_count = kept;
    for (uint32_t i = 0; i < source->mark_count; i++) {
        if (source->marks[i].lane.shard == shard) target->marks[target->mark_count++] = source->marks[i];
    }
}

/** Another node comes to own the shard, beside those that do or in the place of one of them. */
static void move(struct river *river, struct weir_map *map, uint32_t shard, uint32_t joiner)
{
    struct weir_shard *owned = &map->shards[shard];
    uint32_t from = owned->members[river_below(river, owned->member_count)];
    bool replaces = owned->member_count == WEIR_OWNERS_MOST || river_below(river, 2) == 0;
    uint32_t place = replaces ? river_below(river, owned->member_count) : owned->member_count++;
    owned->members[place] = (uint8_t)joiner;
    if (!MUTANT(moved_without_stop)) stop(river, from);
    stop(river, joiner);
    if (!MUTANT(moved_without_copy)) copy_shard(river, shard, from, joiner);
    publish(river, map);
    if (!MUTANT(moved_without_stop)) river_node_reload(river, from);
    river_node_reload(river, joiner);
    river->report->moves++;
}

static void change(struct river *river)
{
    struct weir_map *map = copy_map(river->map);
    const struct river_agent *agent = &river->agents[river_below(river, RIVER_AGENTS)];
    uint32_t shard = agent->lanes[river_below(river, agent->lane_count)].shard;
    uint32_t node = river_below(river, RIVER_NODES);
    bool owns = weir_map_owns(map, node, shard);
    river_trace(river, 0x400, shard, node);
    if (!owns) {
        move(river, map, shard, node);
        return;
    }
    struct weir_shard *owned = &map->shards[shard];
    if (owned->member_count > 1 && river_below(river, 2) == 0) {
        uint32_t place = 0;
        while (owned->members[place] != node)
            place++;
        owned->members[place] = owned->members[--owned->member_count];
    }
    publish(river, map);
}

void river_map_live(struct river *river)
{
    if (river->map_count < RIVER_MAPS_MOST && river_mishap(river, river->weather.map)) change(river);
    for (uint32_t i = 0; i < RIVER_BROKERS; i++) {
        if (river_below(river, 100) == 0) river_broker_reload(river, i);
    }
    for (uint32_t i = 0; i < RIVER_NODES; i++) {
        if (river_below(river, 100) == 0) river_node_reload(river, i);
    }
}
