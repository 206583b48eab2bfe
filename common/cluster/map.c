#include "common/cluster/map.h"

#include "common/cluster/rendezvous.h"

void weir_map_init(struct weir_map *map)
{
    *map = (struct weir_map){.epoch = 1, .replication = 1};
}

static int add(struct weir_node *nodes, uint32_t *count, const struct weir_node *node)
{
    if (*count == WEIR_NODES_MOST) return WEIR_EFULL;
    nodes[(*count)++] = *node;
    return 0;
}

int weir_map_add_broker(struct weir_map *map, const struct weir_node *node)
{
    return add(map->brokers, &map->broker_count, node);
}

int weir_map_add_aggregator(struct weir_map *map, const struct weir_node *node)
{
    return add(map->aggregators, &map->aggregator_count, node);
}

static int find(const struct weir_node *nodes, uint32_t count, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(nodes[i].name, name) == 0) return (int)i;
    }
    return WEIR_ENOTFOUND;
}

static bool nodes_equal(const struct weir_node *a, const struct weir_node *b, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        bool equal = strcmp(a[i].name, b[i].name) == 0 && strcmp(a[i].zone, b[i].zone) == 0 &&
                     strcmp(a[i].endpoint, b[i].endpoint) == 0 && strcmp(a[i].ask_endpoint, b[i].ask_endpoint) == 0 &&
                     strcmp(a[i].key, b[i].key) == 0 && a[i].weight == b[i].weight;
        if (!equal) return false;
    }
    return true;
}

static bool shards_equal(const struct weir_shard *a, const struct weir_shard *b)
{
    return a->epoch == b->epoch && a->member_count == b->member_count && a->joining_count == b->joining_count &&
           memcmp(a->members, b->members, a->member_count) == 0 &&
           memcmp(a->joining, b->joining, a->joining_count) == 0;
}

bool weir_map_equal(const struct weir_map *a, const struct weir_map *b)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        if (!shards_equal(&a->shards[shard], &b->shards[shard])) return false;
    }
    return strcmp(a->tenant, b->tenant) == 0 && a->epoch == b->epoch && a->replication == b->replication &&
           a->broker_count == b->broker_count && a->aggregator_count == b->aggregator_count &&
           nodes_equal(a->brokers, b->brokers, a->broker_count) &&
           nodes_equal(a->aggregators, b->aggregators, a->aggregator_count);
}

int weir_map_find_broker(const struct weir_map *map, const char *name)
{
    return find(map->brokers, map->broker_count, name);
}

int weir_map_find_aggregator(const struct weir_map *map, const char *name)
{
    return find(map->aggregators, map->aggregator_count, name);
}

/** "tcp://host:port" with something for both. */
static bool endpoint_is_sound(const char *endpoint)
{
    static const char scheme[] = "tcp://";
    if (strncmp(endpoint, scheme, sizeof scheme - 1) != 0) return false;
    const char *host = endpoint + sizeof scheme - 1;
    const char *colon = strrchr(host, ':');
    if (colon == NULL || colon == host || colon[1] == '\0') return false;
    uint32_t port = 0;
    for (const char *at = colon + 1; *at != '\0'; at++) {
        if (*at < '0' || *at > '9') return false;
        port = port * 10 + (uint32_t)(*at - '0');
        if (port > UINT16_MAX) return false;
    }
    return port > 0;
}

static int check_nodes(const struct weir_node *nodes, uint32_t count, const char *what, bool asked,
                       struct weir_why *why)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct weir_node *node = &nodes[i];
        if (!weir_name_is_valid(node->name))
            return weir_why_set(why, WEIR_EPARAM, "%s %u has no proper name: \"%.63s\"", what, i + 1, node->name);
        if (find(nodes, i, node->name) >= 0)
            return weir_why_set(why, WEIR_EPARAM, "%s %s is there twice", what, node->name);
        if (!weir_key_is_valid(node->key)) {
            return weir_why_set(why, WEIR_EPARAM, "the key of %s %s is not a public key (40 characters of Z85)", what,
                                node->name);
        }
        if (!endpoint_is_sound(node->endpoint) || (asked && !endpoint_is_sound(node->ask_endpoint))) {
            return weir_why_set(why, WEIR_EPARAM, "%s %s needs endpoints of the form tcp://host:port", what,
                                node->name);
        }
        if (node->zone[0] != '\0' && !weir_name_is_valid(node->zone))
            return weir_why_set(why, WEIR_EPARAM, "the zone \"%.63s\" of %s is not allowed", node->zone, node->name);
        if (node->weight > WEIR_WEIGHT_MOST) {
            return weir_why_set(why, WEIR_EPARAM, "the weight %u of %s is above %d", node->weight, node->name,
                                WEIR_WEIGHT_MOST);
        }
    }
    return 0;
}

int weir_map_check(const struct weir_map *map, struct weir_why *why)
{
    if (map->epoch == 0) return weir_why_set(why, WEIR_EPARAM, "the epoch must be at least 1");
    if (map->replication < 1 || map->replication > WEIR_OWNERS_MOST) {
        return weir_why_set(why, WEIR_EPARAM, "replication is %u; it must be 1 to %d", map->replication,
                            WEIR_OWNERS_MOST);
    }
    int rc = check_nodes(map->brokers, map->broker_count, "broker", false, why);
    if (rc < 0) return rc;
    rc = check_nodes(map->aggregators, map->aggregator_count, "aggregator", true, why);
    if (rc < 0) return rc;
    uint32_t owning = 0;
    for (uint32_t i = 0; i < map->aggregator_count; i++)
        owning += map->aggregators[i].weight > 0;
    if (owning < map->replication) {
        return weir_why_set(why, WEIR_EPARAM, "replication is %u, but only %u aggregators have a weight",
                            map->replication, owning);
    }
    return 0;
}

struct placing {
    const struct weir_map *map;
    uint64_t cost[WEIR_NODES_MOST]; /* of the shard at hand: -log2(hash); the best has the least cost / weight */
    uint32_t load[WEIR_NODES_MOST];
    uint32_t cap[WEIR_NODES_MOST];
};

static bool is_better(const struct placing *p, uint32_t a, uint32_t b)
{
    uint64_t left = p->cost[a] * p->map->aggregators[b].weight;
    uint64_t right = p->cost[b] * p->map->aggregators[a].weight;
    if (left != right) return left < right;
    return strcmp(p->map->aggregators[a].name, p->map->aggregators[b].name) < 0;
}

/** How good a place is an aggregator, whatever its hash? Higher wins; 0 is none. */
static int rank_of(const struct placing *p, uint32_t node, uint32_t shard, uint32_t owners)
{
    if (p->map->aggregators[node].weight == 0) return 0;
    bool zone_is_new = true;
    for (uint32_t i = 0; i < owners; i++) {
        uint8_t owner = p->map->shards[shard].members[i];
        if (owner == node) return 0;
        const char *zone = p->map->aggregators[node].zone;
        if (zone[0] != '\0' && strcmp(zone, p->map->aggregators[owner].zone) == 0) zone_is_new = false;
    }
    /* One with room for all the shards that are left must take each of them, or the last shards would find no two
     * different aggregators with room. */
    bool has_room = p->load[node] < p->cap[node];
    bool is_due = has_room && p->cap[node] - p->load[node] >= WEIR_SHARDS - shard;
    return 1 + (is_due ? 4 : 0) + (has_room ? 2 : 0) + (zone_is_new ? 1 : 0);
}

static uint32_t choose(const struct placing *p, uint32_t shard, uint32_t owners)
{
    uint32_t best = 0;
    int best_rank = 0;
    for (uint32_t node = 0; node < p->map->aggregator_count; node++) {
        int rank = rank_of(p, node, shard, owners);
        if (rank == 0 || rank < best_rank || (rank == best_rank && !is_better(p, node, best))) continue;
        best = node;
        best_rank = rank;
    }
    return best;
}

void weir_map_place(struct weir_map *map)
{
    struct placing p = {.map = map};
    uint64_t weights = 0;
    for (uint32_t node = 0; node < map->aggregator_count; node++)
        weights += map->aggregators[node].weight;
    if (weights == 0) return;
    uint64_t places = (uint64_t)map->replication * WEIR_SHARDS;
    for (uint32_t node = 0; node < map->aggregator_count; node++) {
        const struct weir_node *aggregator = &map->aggregators[node];
        p.cap[node] = (uint32_t)((places * aggregator->weight + weights - 1) / weights);
    }
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        for (uint32_t node = 0; node < map->aggregator_count; node++)
            p.cost[node] = weir_rendezvous(map->aggregators[node].name, shard);
        map->shards[shard] = (struct weir_shard){.epoch = map->epoch};
        for (uint32_t owner = 0; owner < map->replication; owner++) {
            uint32_t node = choose(&p, shard, owner);
            map->shards[shard].members[owner] = (uint8_t)node;
            map->shards[shard].member_count++;
            p.load[node]++;
        }
    }
}

bool weir_map_owns(const struct weir_map *map, uint32_t index, uint32_t shard)
{
    for (uint32_t i = 0; i < map->shards[shard].member_count; i++) {
        if (map->shards[shard].members[i] == index) return true;
    }
    return false;
}

uint32_t weir_map_load(const struct weir_map *map, uint32_t index)
{
    uint32_t load = 0;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        load += weir_map_owns(map, index, shard);
    return load;
}
