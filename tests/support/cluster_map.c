#include "tests/support/cluster_map.h"

#include "common/base/mem.h"

#include <stdio.h>

#include "tests/support/cmocka.h"

const char cluster_map_key[WEIR_KEY_TEXT] = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";

struct weir_map *cluster_map_of(uint32_t count, uint32_t zones, uint32_t replication)
{
    struct weir_map *map = weir_malloc(sizeof *map);
    assert_non_null(map);
    weir_map_init(map);
    map->replication = replication;
    for (uint32_t i = 1; i <= count; i++) {
        struct weir_node node = {.weight = WEIR_WEIGHT_DEFAULT};
        snprintf(node.name, sizeof node.name, "agg-%u", i);
        if (zones > 0) snprintf(node.zone, sizeof node.zone, "zone-%u", i % zones);
        snprintf(node.endpoint, sizeof node.endpoint, "tcp://192.0.2.%u:7002", i);
        snprintf(node.ask_endpoint, sizeof node.ask_endpoint, "tcp://192.0.2.%u:7003", i);
        memcpy(node.key, cluster_map_key, sizeof node.key);
        assert_int_equal(weir_map_add_aggregator(map, &node), 0);
    }
    return map;
}
