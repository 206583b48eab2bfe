#include "common/daemon/cluster_file.h"

#include "common/base/mem.h"
#include "common/cluster/mapstore_static.h"
#include "common/etcd/etcd.h"
#include "common/net/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct weir_broker_conf {
#define WEIR_OPTIONS "common/daemon/cluster_broker_options.def"
#include "common/conf/option_fields.h"
};
struct weir_aggregator_conf {
#define WEIR_OPTIONS "common/daemon/cluster_aggregator_options.def"
#include "common/conf/option_fields.h"
};
struct weir_cluster_conf {
#define WEIR_OPTIONS "common/daemon/cluster_options.def"
#include "common/conf/option_fields.h"
};
struct weir_allow_conf {
#define WEIR_OPTIONS "common/daemon/allow_entry_options.def"
#include "common/conf/option_fields.h"
};
struct weir_allow_file {
#define WEIR_OPTIONS "common/daemon/allow_options.def"
#include "common/conf/option_fields.h"
};

extern const struct weir_schema weir_broker_conf_schema;
extern const struct weir_schema weir_aggregator_conf_schema;
extern const struct weir_schema weir_allow_conf_schema;

#define WEIR_OPTIONS        "common/daemon/cluster_broker_options.def"
#define WEIR_OPTIONS_STRUCT weir_broker_conf
#include "common/conf/option_rows.h"
#define WEIR_OPTIONS        "common/daemon/cluster_aggregator_options.def"
#define WEIR_OPTIONS_STRUCT weir_aggregator_conf
#include "common/conf/option_rows.h"
#define WEIR_OPTIONS        "common/daemon/cluster_options.def"
#define WEIR_OPTIONS_STRUCT weir_cluster_conf
#include "common/conf/option_rows.h"
#define WEIR_OPTIONS        "common/daemon/allow_entry_options.def"
#define WEIR_OPTIONS_STRUCT weir_allow_conf
#include "common/conf/option_rows.h"
#define WEIR_OPTIONS        "common/daemon/allow_options.def"
#define WEIR_OPTIONS_STRUCT weir_allow_file
#include "common/conf/option_rows.h"

/** Copy @text into a field of @size bytes, or say which option of which entry is too long. */
static int take(char *field, size_t size, const char *text, const char *what, size_t number, struct weir_why *why)
{
    if (strlen(text) >= size) {
        return weir_why_set(why, WEIR_EPARAM, "%s %zu: \"%.80s\" is longer than %zu characters", what, number + 1, text,
                            size - 1);
    }
    snprintf(field, size, "%s", text);
    return 0;
}

static int take_broker(const struct weir_broker_conf *conf, size_t number, struct weir_map *map, struct weir_why *why)
{
    struct weir_node node = {.weight = WEIR_WEIGHT_DEFAULT};
    int rc = take(node.name, sizeof node.name, conf->name, "broker", number, why);
    if (rc == 0) rc = take(node.endpoint, sizeof node.endpoint, conf->endpoint, "broker", number, why);
    if (rc == 0) rc = take(node.key, sizeof node.key, conf->key, "broker", number, why);
    return rc < 0 ? rc : weir_map_add_broker(map, &node);
}

static int take_aggregator(const struct weir_aggregator_conf *conf, size_t number, struct weir_map *map,
                           struct weir_why *why)
{
    struct weir_node node = {.weight = (uint32_t)conf->weight};
    int rc = take(node.name, sizeof node.name, conf->name, "aggregator", number, why);
    if (rc == 0) rc = take(node.zone, sizeof node.zone, conf->zone, "aggregator", number, why);
    if (rc == 0) rc = take(node.endpoint, sizeof node.endpoint, conf->endpoint, "aggregator", number, why);
    if (rc == 0) rc = take(node.ask_endpoint, sizeof node.ask_endpoint, conf->ask_endpoint, "aggregator", number, why);
    if (rc == 0) rc = take(node.key, sizeof node.key, conf->key, "aggregator", number, why);
    return rc < 0 ? rc : weir_map_add_aggregator(map, &node);
}

static int fill_map(const struct weir_cluster_conf *conf, struct weir_map *map, struct weir_why *why)
{
    int rc = take(map->tenant, sizeof map->tenant, conf->tenant, "tenant", 0, why);
    if (rc < 0) return rc;
    map->epoch = (uint32_t)conf->epoch;
    map->replication = (uint32_t)conf->replication;
    for (size_t i = 0; i < conf->brokers_count; i++) {
        rc = take_broker(&conf->brokers[i], i, map, why);
        if (rc < 0) return rc;
    }
    for (size_t i = 0; i < conf->aggregators_count; i++) {
        rc = take_aggregator(&conf->aggregators[i], i, map, why);
        if (rc < 0) return rc;
    }
    rc = weir_map_check(map, why);
    if (rc < 0) return rc;
    weir_map_place(map);
    return 0;
}

static int map_of(const struct weir_cluster_conf *conf, const char *file, struct weir_map **ret, struct weir_why *why)
{
    int rc = 0;
    struct weir_map *map = weir_malloc(sizeof *map);
    if (map == NULL) {
        rc = weir_why_set(why, WEIR_ENOMEM, "out of memory");
    } else {
        weir_map_init(map);
        rc = fill_map(conf, map, why);
        if (rc < 0) weir_why_prefix(why, rc, "%s", file);
    }
    if (rc < 0) {
        weir_map_free(map);
        return rc;
    }
    *ret = map;
    return 0;
}

int weir_cluster_file_read(const char *file, struct weir_map **ret, struct weir_why *why)
{
    enum weir_map_kind kind;
    return weir_cluster_file_read_kind(file, ret, &kind, why);
}

int weir_cluster_file_read_kind(const char *file, struct weir_map **ret, enum weir_map_kind *ret_kind,
                                struct weir_why *why)
{
    struct weir_cluster_conf conf = {0};
    int rc = weir_conf_load(file, &weir_cluster_conf_schema, &conf, why);
    if (rc < 0) return rc;
    rc = map_of(&conf, file, ret, why);
    *ret_kind = (enum weir_map_kind)conf.map;
    weir_conf_free(&weir_cluster_conf_schema, &conf);
    return rc;
}

static int open_etcd(const struct weir_cluster_conf *conf, struct weir_mapstore **ret, struct weir_why *why)
{
    char password[WEIR_SECRET_BYTES] = "";
    struct etcd_conf etcd = {.endpoints = (const char *const *)conf->etcd,
                             .endpoint_count = conf->etcd_count,
                             .prefix = conf->etcd_prefix,
                             .user = conf->etcd_user,
                             .password = password,
                             .ca = conf->etcd_ca,
                             .timeout_ms = conf->etcd_timeout_ms};
    int rc = conf->etcd_user[0] == '\0' ? 0 : weir_secret_load(conf->etcd_password, password, why);
    if (rc == 0) rc = etcd_mapstore_create(&etcd, ret, why);
    explicit_bzero(password, sizeof password);
    return rc;
}

int weir_cluster_store_open(const char *file, struct weir_mapstore **ret, struct weir_why *why)
{
    struct weir_cluster_conf conf = {0};
    struct weir_map *map = NULL;
    int rc = weir_conf_load(file, &weir_cluster_conf_schema, &conf, why);
    if (rc < 0) return rc;
    rc = map_of(&conf, file, &map, why);
    if (rc == 0 && conf.map == WEIR_MAP_ETCD) {
        rc = open_etcd(&conf, ret, why);
        if (rc < 0) weir_why_prefix(why, rc, "%s", file);
    } else if (rc == 0 && weir_mapstore_static_create(map, ret) < 0) {
        rc = weir_why_set(why, WEIR_ENOMEM, "out of memory");
    }
    weir_map_free(map);
    weir_conf_free(&weir_cluster_conf_schema, &conf);
    return rc;
}

void weir_map_free(struct weir_map *map)
{
    weir_free(map);
}

static int fill_allow(const struct weir_allow_file *file, struct weir_allow *allow, struct weir_why *why)
{
    for (size_t i = 0; i < file->allow_count; i++) {
        const struct weir_allow_conf *conf = &file->allow[i];
        struct weir_allow_entry entry = {.role = (enum weir_role)conf->role};
        int rc = take(entry.name, sizeof entry.name, conf->name, "entry", i, why);
        if (rc == 0) rc = take(entry.site, sizeof entry.site, conf->site, "entry", i, why);
        if (rc == 0) rc = take(entry.tenant, sizeof entry.tenant, conf->tenant, "entry", i, why);
        if (rc == 0) rc = take(entry.key, sizeof entry.key, conf->key, "entry", i, why);
        if (rc == 0) rc = weir_allow_add(allow, &entry, why);
        if (rc < 0) return weir_why_prefix(why, rc, "entry %zu \"%s\"", i + 1, conf->name);
    }
    return 0;
}

int weir_allow_file_read(const char *file, struct weir_allow **ret, struct weir_why *why)
{
    struct weir_allow_file conf = {0};
    int rc = weir_conf_load(file, &weir_allow_file_schema, &conf, why);
    if (rc < 0) return rc;

    struct weir_allow *allow = NULL;
    rc = weir_allow_create(&allow);
    if (rc < 0) weir_why_set(why, rc, "out of memory");
    if (rc == 0) rc = fill_allow(&conf, allow, why);
    if (rc < 0) weir_why_prefix(why, rc, "%s", file);
    weir_conf_free(&weir_allow_file_schema, &conf);
    if (rc < 0) {
        weir_allow_destroy(allow);
        return rc;
    }
    *ret = allow;
    return 0;
}
