/** The map store: a register that is changed by compare-and-swap (replica.c), operators who want changes, and brokers who
 * read it when they come to it. */
#include "common/base/mem.h"
#include "tests/support/river/parts.h"

#include <stdio.h>
#include <stdlib.h>

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
    river->map = map;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        for (uint32_t i = 0; i < RIVER_NODES; i++) {
            bool owns = weir_map_owns(map, i, shard);
            river->nodes[i].held[shard] =
                (struct agg_held){.epoch = map->shards[shard].epoch, .role = owns ? AGG_ROLE_MEMBER : AGG_ROLE_NONE};
            if (owns) river->wanted[shard] |= 1ull << i;
        }
    }
    for (uint32_t i = 0; i < RIVER_BROKERS; i++)
        river->brokers[i].maps[0] = river->brokers[i].maps[1] = *map;
}

static uint32_t count_bits(uint64_t set)
{
    return (uint32_t)__builtin_popcountll(set);
}

/** An operator takes one owner of a shard away, or wants another one, or one more. */
static void change_wish(struct river *river)
{
    uint32_t shard = river->shards[river_below(river, river->shard_count)];
    uint64_t wanted = river->wanted[shard];
    uint64_t node = 1ull << river_below(river, RIVER_NODES);
    uint64_t other = 1ull << river_below(river, RIVER_NODES);
    if ((wanted & node) == 0 && (wanted & other) != 0)
        wanted = (wanted & ~other) | node;
    else
        wanted ^= node;
    if (count_bits(wanted) < 1 || count_bits(wanted) > WEIR_OWNERS_MOST) return;
    river_trace(river, 0x400, shard, wanted);
    river->wanted[shard] = wanted;
    river->report->moves++;
}

void river_map_live(struct river *river)
{
    if (river_mishap(river, river->weather.move)) change_wish(river);
    for (uint32_t i = 0; i < RIVER_BROKERS; i++) {
        if (river_below(river, 100) == 0) river_broker_reload(river, i);
    }
}
