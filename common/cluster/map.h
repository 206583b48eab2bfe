/**
 * The shard map: the brokers and aggregators of a cluster, and which aggregators own each shard, under an epoch.
 *
 * A plain struct that a reader fills (nodes, epoch, replication) and weir_map_place completes (shards). Placement is a
 * pure function of the aggregators' names, zones and weights: weighted rendezvous hashing with a bounded load, in
 * integers only, so that every process of a cluster computes the same owners from the same file.
 */
#ifndef WEIR_COMMON_CLUSTER_MAP_H
#define WEIR_COMMON_CLUSTER_MAP_H

#include "common/cluster/allow.h"

enum {
    WEIR_NODES_MOST = 64,      /* brokers, and again aggregators, of a cluster */
    WEIR_OWNERS_MOST = 3,      /* highest replication */
    WEIR_JOINING_MOST = 1,     /* that come to own a shard at a time */
    WEIR_ENDPOINT_BYTES = 128, /* longest endpoint with its NUL */
    WEIR_WEIGHT_MOST = 10000,
    WEIR_WEIGHT_DEFAULT = 100
};

struct weir_node {
    char name[WEIR_NAME_BYTES];
    char zone[WEIR_NAME_BYTES];             /* "" unknown; owners of a shard are spread over zones */
    char endpoint[WEIR_ENDPOINT_BYTES];     /* broker: where agents connect; aggregator: where brokers connect */
    char ask_endpoint[WEIR_ENDPOINT_BYTES]; /* aggregator: where consoles ask */
    char key[WEIR_KEY_TEXT];                /* server's public key */
    uint32_t weight;                        /* aggregator: share of the shards, relative to the others'; 0 owns none */
};

/** Who owns a shard. Nodes are indices into the map's aggregators. */
struct weir_shard {
    uint32_t epoch; /* every change of this shard raises it */
    uint8_t member_count;
    uint8_t joining_count;
    uint8_t members[WEIR_OWNERS_MOST];  /* have all of it and answer questions; the first choice first */
    uint8_t joining[WEIR_JOINING_MOST]; /* fetch the past; an acknowledgement needs them as it needs the members */
};

struct weir_map {
    char tenant[WEIR_NAME_BYTES]; /* whose flows the agents ship, where their own configuration does not say */
    uint32_t epoch;               /* of the file, from 1; every change of it raises it */
    uint32_t replication;         /* members that a shard should have, 1..WEIR_OWNERS_MOST */
    uint32_t broker_count;
    uint32_t aggregator_count;
    struct weir_node brokers[WEIR_NODES_MOST];
    struct weir_node aggregators[WEIR_NODES_MOST];
    struct weir_shard shards[WEIR_SHARDS];
};

/** An empty map: epoch 1, replication 1. About 60 KiB: keep it on the heap. */
void weir_map_init(struct weir_map *map);

/** Add a broker or aggregator: a copy of @node. WEIR_EFULL. */
int weir_map_add_broker(struct weir_map *map, const struct weir_node *node);
int weir_map_add_aggregator(struct weir_map *map, const struct weir_node *node);

/**
 * Are the members sound? WEIR_EPARAM with a reason: a name, key, endpoint or weight that is not allowed, a name twice,
 * epoch 0, more replicas than aggregators with a weight.
 */
int weir_map_check(const struct weir_map *map, struct weir_why *why);

/**
 * Fill in every shard: members under the epoch of the map, nobody joining. No aggregator gets more than ceil(R * V * weight / weights) shards while another
 * has room; members of a shard lie in different zones while an aggregator of another zone has room.
 * Call weir_map_check first; the result is of no use for a map that fails it.
 */
void weir_map_place(struct weir_map *map);

/** Do the maps say the same? */
bool weir_map_equal(const struct weir_map *a, const struct weir_map *b);

/** Index of the broker or aggregator of this name, or WEIR_ENOTFOUND. */
int weir_map_find_broker(const struct weir_map *map, const char *name);
int weir_map_find_aggregator(const struct weir_map *map, const char *name);

/** Is aggregator @index a member of @shard? */
bool weir_map_owns(const struct weir_map *map, uint32_t index, uint32_t shard);

/** How many shards aggregator @index is a member of. */
uint32_t weir_map_load(const struct weir_map *map, uint32_t index);

#endif
