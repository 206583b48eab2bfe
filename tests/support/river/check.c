#include "tests/support/river/parts.h"

#include <inttypes.h>

/** Every accepted batch once in each owner, and nothing twice anywhere. */
static void check_batches(struct river *river, uint32_t index)
{
    const struct river_node *node = &river->nodes[index];
    for (uint32_t i = 1; i <= river->batches_made; i++) {
        const struct river_batch *batch = &river->batches[i];
        bool owns = weir_map_owns(river->map, index, batch->shard);
        bool missing = batch->accepted && owns && node->stored[i] == 0;
        if (missing || node->stored[i] > 1)
            river_complain(river, "aggregator %u has batch %u %u times", index, i, node->stored[i]);
    }
}

/** What is stored of each source is what the agent put into those batches, in flows, packets and bytes. */
static void check_sources(struct river *river, uint32_t index)
{
    const struct river_node *node = &river->nodes[index];
    struct weir_cum made[RIVER_AGENTS * RIVER_SOURCES] = {{0}};
    for (uint32_t i = 1; i <= river->batches_made; i++) {
        if (node->stored[i] > 0) river_sum(&made[river->batches[i].source], &river->batches[i].sums);
    }
    for (uint32_t i = 0; i < RIVER_AGENTS * RIVER_SOURCES; i++) {
        if (!river_is_same(&made[i], &node->by_source[i]))
            river_complain(river, "aggregator %u: source %u has other sums than its agent gave it", index, i);
    }
}

/** Stored + lost is what the agent counted, at every mark, of every owner past and present. */
static void check_marks(struct river *river, uint32_t index)
{
    const struct river_node *node = &river->nodes[index];
    for (uint32_t i = 0; i < node->mark_count; i++) {
        const struct river_mark *mark = &node->marks[i];
        struct weir_cum sum = mark->stored;
        river_sum(&sum, &mark->lost);
        if (!river_is_same(&sum, &mark->mark.cum)) {
            river_complain(river, "aggregator %u: %" PRIu64 " stored + %" PRIu64 " lost is not %" PRIu64, index,
                           mark->stored.flows, mark->lost.flows, mark->mark.cum.flows);
        }
    }
}

/** The owners of a drained lane are where its agent is, or further where it was set back and had nothing to say since. */
static void check_lane(struct river *river, const struct river_agent *agent, const struct river_lane *lane)
{
    if (lane->count == 0 || lane->unsure) return;
    const struct river_record *last = &lane->records[lane->count - 1];
    struct agg_lane name = {.inc = agent->inc, .shard = lane->shard};
    weir_agent_id(agent->name, name.agent);
    for (uint32_t i = 0; i < river->map->shards[lane->shard].member_count; i++) {
        uint32_t owner = river->map->shards[lane->shard].members[i];
        const struct river_mark *mark = river_node_mark(&river->nodes[owner], &name);
        if (mark == NULL || mark->mark.seq != last->last || !river_is_same(&mark->mark.cum, &last->cum))
            river_complain(river, "aggregator %u is not at %" PRIu64 " in shard %u of %s", owner, last->last,
                           lane->shard, agent->name);
    }
}

void river_check(struct river *river)
{
    for (uint32_t i = 0; i < RIVER_NODES; i++) {
        check_batches(river, i);
        check_sources(river, i);
        check_marks(river, i);
    }
    for (uint32_t i = 0; i < RIVER_AGENTS; i++) {
        for (uint32_t k = 0; k < river->agents[i].lane_count; k++)
            check_lane(river, &river->agents[i], &river->agents[i].lanes[k]);
    }
}
