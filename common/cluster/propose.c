/**
 * A flow of least cost: R units into each shard, on through the zones, which let few through, to the aggregators, which
 * take their share. A unit that goes to somebody who is a member costs nothing, another one a move and a little more,
 * by rendezvous hash.
 */
#include "common/cluster/propose.h"

#include "common/base/mem.h"
#include "common/cluster/rendezvous.h"

#include <assert.h>

/* Any number of what is below must weigh less than one of what is above; 384 units at most. */
static const int64_t HASH_MOST = 1 << 24;
static const int64_t MOVE = (int64_t)1 << 34;
static const int64_t SHARE_MISSED = (int64_t)1 << 44;

struct arc {
    uint32_t to;
    int32_t next; /* of the same origin; -1 ends */
    int32_t room;
    int64_t cost;
};

/** Arcs come in pairs: 2n and 2n + 1 are one there and back. */
struct graph {
    uint32_t points;
    uint32_t arc_count;
    struct arc *arcs;
    int32_t *first; /* of each point */
    int32_t *by;    /* of each point, the arc of the cheapest way to it */
    int64_t *cost;  /* of that way */
    uint32_t *queue;
    bool *queued;
};

struct proposing {
    const struct weir_map *map;
    uint32_t zones;
    uint32_t zone_of[WEIR_NODES_MOST];
    double share[WEIR_NODES_MOST];
    uint32_t per_zone; /* members of one shard */
    struct graph graph;
};

enum { SOURCE, SINK, FIRST_POINT };

/* ---- the graph ---- */

static void graph_fini(struct graph *g)
{
    weir_free(g->arcs);
    weir_free(g->first);
    weir_free(g->by);
    weir_free(g->cost);
    weir_free(g->queue);
    weir_free(g->queued);
}

static int graph_init(struct graph *g, uint32_t points, uint32_t arcs)
{
    *g = (struct graph){.points = points};
    g->arcs = weir_calloc(arcs, 2 * sizeof *g->arcs);
    g->first = weir_calloc(points, sizeof *g->first);
    g->by = weir_calloc(points, sizeof *g->by);
    g->cost = weir_calloc(points, sizeof *g->cost);
    g->queue = weir_calloc(points, sizeof *g->queue);
    g->queued = weir_calloc(points, sizeof *g->queued);
    bool whole = g->arcs != NULL && g->first != NULL && g->by != NULL && g->cost != NULL && g->queue != NULL &&
                 g->queued != NULL;
    if (!whole) return WEIR_ENOMEM;
    for (uint32_t i = 0; i < points; i++)
        g->first[i] = -1;
    return 0;
}

static void put_arc(struct graph *g, uint32_t from, uint32_t to, int32_t room, int64_t cost)
{
    g->arcs[g->arc_count] = (struct arc){.to = to, .next = g->first[from], .room = room, .cost = cost};
    g->first[from] = (int32_t)g->arc_count++;
}

static void add_arc(struct graph *g, uint32_t from, uint32_t to, uint32_t room, int64_t cost)
{
    put_arc(g, from, to, (int32_t)room, cost);
    put_arc(g, to, from, 0, -cost);
}

/** The cheapest way to every point (Bellman and Ford's, with a queue). Is there one to the sink? */
static bool find_way(struct graph *g)
{
    for (uint32_t i = 0; i < g->points; i++) {
        g->cost[i] = INT64_MAX;
        g->by[i] = -1;
    }
    uint32_t head = 0, waiting = 1;
    g->queue[0] = SOURCE;
    g->cost[SOURCE] = 0;
    while (waiting > 0) {
        uint32_t from = g->queue[head];
        head = (head + 1) % g->points;
        waiting--;
        g->queued[from] = false;
        for (int32_t i = g->first[from]; i >= 0; i = g->arcs[i].next) {
            const struct arc *arc = &g->arcs[i];
            if (arc->room == 0 || g->cost[from] + arc->cost >= g->cost[arc->to]) continue;
            g->cost[arc->to] = g->cost[from] + arc->cost;
            g->by[arc->to] = i;
            if (g->queued[arc->to]) continue;
            g->queued[arc->to] = true;
            g->queue[(head + waiting++) % g->points] = arc->to;
        }
    }
    return g->cost[SINK] != INT64_MAX;
}

static void go_way(struct graph *g)
{
    for (uint32_t at = SINK; at != SOURCE; at = g->arcs[g->by[at] ^ 1].to) {
        g->arcs[g->by[at]].room--;
        g->arcs[g->by[at] ^ 1].room++;
    }
}

/* ---- shares ---- */

/** @total over @count by weight, none above its most. */
static void share_out(double total, const double *weight, const double *most, uint32_t count, double *share)
{
    bool full[WEIR_NODES_MOST] = {false};
    bool again = true;
    while (again) {
        double weights = 0, left = total;
        again = false;
        for (uint32_t i = 0; i < count; i++) {
            if (full[i])
                left -= most[i];
            else
                weights += weight[i];
        }
        for (uint32_t i = 0; i < count; i++) {
            share[i] = full[i] ? most[i] : weight[i] == 0 ? 0 : left * weight[i] / weights;
            if (full[i] || share[i] <= most[i]) continue;
            full[i] = true;
            again = true;
        }
    }
}

static void number_zones(struct proposing *p)
{
    const struct weir_node *nodes = p->map->aggregators;
    for (uint32_t node = 0; node < p->map->aggregator_count; node++) {
        if (nodes[node].weight == 0) continue;
        p->zone_of[node] = p->zones;
        for (uint32_t before = 0; before < node && nodes[node].zone[0] != '\0'; before++) {
            if (nodes[before].weight > 0 && strcmp(nodes[before].zone, nodes[node].zone) == 0)
                p->zone_of[node] = p->zone_of[before];
        }
        p->zones += p->zone_of[node] == p->zones;
    }
}

static void set_shares(struct proposing *p)
{
    const struct weir_map *map = p->map;
    uint32_t spread = p->zones < map->replication ? p->zones : map->replication;
    p->per_zone = (map->replication + spread - 1) / spread;
    double zone_weight[WEIR_NODES_MOST] = {0}, zone_most[WEIR_NODES_MOST] = {0}, zone_share[WEIR_NODES_MOST];
    uint32_t zone_nodes[WEIR_NODES_MOST] = {0};
    for (uint32_t node = 0; node < map->aggregator_count; node++) {
        if (map->aggregators[node].weight == 0) continue;
        zone_weight[p->zone_of[node]] += map->aggregators[node].weight;
        zone_nodes[p->zone_of[node]]++;
    }
    for (uint32_t zone = 0; zone < p->zones; zone++)
        zone_most[zone] = WEIR_SHARDS * (zone_nodes[zone] < p->per_zone ? zone_nodes[zone] : p->per_zone);
    share_out((double)map->replication * WEIR_SHARDS, zone_weight, zone_most, p->zones, zone_share);
    for (uint32_t zone = 0; zone < p->zones; zone++) {
        double weight[WEIR_NODES_MOST] = {0}, most[WEIR_NODES_MOST], share[WEIR_NODES_MOST];
        for (uint32_t node = 0; node < map->aggregator_count; node++) {
            bool here = map->aggregators[node].weight > 0 && p->zone_of[node] == zone;
            weight[node] = here ? map->aggregators[node].weight : 0;
            most[node] = WEIR_SHARDS;
        }
        share_out(zone_share[zone], weight, most, map->aggregator_count, share);
        for (uint32_t node = 0; node < map->aggregator_count; node++)
            p->share[node] += share[node];
    }
}

/* ---- the question as a graph, and the answer out of it ---- */

static uint32_t shard_point(uint32_t shard)
{
    return FIRST_POINT + shard;
}

static uint32_t node_point(uint32_t node)
{
    return FIRST_POINT + WEIR_SHARDS + node;
}

static uint32_t zone_point(const struct proposing *p, uint32_t shard, uint32_t zone)
{
    return FIRST_POINT + WEIR_SHARDS + WEIR_NODES_MOST + shard * p->zones + zone;
}

static bool holds(const struct weir_shard *shard, uint32_t node)
{
    for (uint32_t i = 0; i < shard->member_count; i++) {
        if (shard->members[i] == node) return true;
    }
    for (uint32_t i = 0; i < shard->joining_count; i++) {
        if (shard->joining[i] == node) return true;
    }
    return false;
}

static int64_t cost_of(const struct weir_map *map, uint32_t shard, uint32_t node)
{
    if (holds(&map->shards[shard], node)) return 0;
    const struct weir_node *aggregator = &map->aggregators[node];
    uint64_t distance = weir_rendezvous(aggregator->name, shard) * WEIR_WEIGHT_MOST / aggregator->weight;
    int64_t small = (int64_t)(distance >> 21);
    return MOVE + (small < HASH_MOST ? small : HASH_MOST - 1);
}

static int build(struct proposing *p)
{
    const double whisker = 1e-6; /* what a share that is whole may lie beside it */
    const struct weir_map *map = p->map;
    struct graph *g = &p->graph;
    uint32_t points = FIRST_POINT + WEIR_SHARDS + WEIR_NODES_MOST + WEIR_SHARDS * p->zones;
    uint32_t arcs = WEIR_SHARDS * (1 + p->zones + map->aggregator_count) + 2 * map->aggregator_count;
    int rc = graph_init(g, points, arcs);
    if (rc < 0) return rc;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        add_arc(g, SOURCE, shard_point(shard), map->replication, 0);
        for (uint32_t zone = 0; zone < p->zones; zone++)
            add_arc(g, shard_point(shard), zone_point(p, shard, zone), p->per_zone, 0);
        for (uint32_t node = 0; node < map->aggregator_count; node++) {
            if (map->aggregators[node].weight == 0) continue;
            add_arc(g, zone_point(p, shard, p->zone_of[node]), node_point(node), 1, cost_of(map, shard, node));
        }
    }
    for (uint32_t node = 0; node < map->aggregator_count; node++) {
        uint32_t down = (uint32_t)(p->share[node] + whisker);
        bool is_whole = p->share[node] - down <= whisker;
        add_arc(g, node_point(node), SINK, down, -SHARE_MISSED);
        if (!is_whole) add_arc(g, node_point(node), SINK, 1, 0);
    }
    return 0;
}

static void take_shard(const struct proposing *p, uint32_t shard, struct weir_shard *ret)
{
    bool chosen[WEIR_NODES_MOST] = {false};
    for (uint32_t zone = 0; zone < p->zones; zone++) {
        for (int32_t i = p->graph.first[zone_point(p, shard, zone)]; i >= 0; i = p->graph.arcs[i].next) {
            const struct arc *arc = &p->graph.arcs[i];
            if (i % 2 == 0 && arc->room == 0) chosen[arc->to - node_point(0)] = true;
        }
    }
    const struct weir_shard *now = &p->map->shards[shard];
    struct weir_shard result = {.epoch = now->epoch};
    for (uint32_t i = 0; i < now->member_count; i++) {
        if (!chosen[now->members[i]]) continue;
        result.members[result.member_count++] = now->members[i];
        chosen[now->members[i]] = false;
    }
    for (uint32_t node = 0; node < p->map->aggregator_count; node++) {
        if (chosen[node]) result.members[result.member_count++] = (uint8_t)node;
    }
    *ret = result;
}

int weir_map_propose(const struct weir_map *map, struct weir_shard desired[WEIR_SHARDS])
{
    struct proposing p = {.map = map};
    uint32_t owning = 0;
    for (uint32_t node = 0; node < map->aggregator_count; node++)
        owning += map->aggregators[node].weight > 0;
    if (owning == 0 || owning < map->replication) return WEIR_EPARAM;
    number_zones(&p);
    set_shares(&p);
    int rc = build(&p);
    for (uint32_t unit = 0; rc == 0 && unit < map->replication * WEIR_SHARDS; unit++) {
        bool found = find_way(&p.graph);
        assert(found); /* shares are made so that there is one */
        go_way(&p.graph);
    }
    for (uint32_t shard = 0; rc == 0 && shard < WEIR_SHARDS; shard++)
        take_shard(&p, shard, &desired[shard]);
    graph_fini(&p.graph);
    return rc;
}

uint32_t weir_map_moves(const struct weir_map *map, const struct weir_shard desired[WEIR_SHARDS])
{
    uint32_t moves = 0;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        for (uint32_t i = 0; i < desired[shard].member_count; i++)
            moves += !weir_map_owns(map, desired[shard].members[i], shard);
    }
    return moves;
}
