/** cluster.conf and allow.conf: the files that the programs of a cluster share, read into plain data. */
#ifndef WEIR_COMMON_DAEMON_CLUSTER_FILE_H
#define WEIR_COMMON_DAEMON_CLUSTER_FILE_H

#include "common/cluster/map.h"
#include "common/cluster/mapstore.h"
#include "common/conf/option.h"

/** Where the owners of shards are kept, by `map` in cluster.conf. */
enum weir_map_kind { WEIR_MAP_STATIC, WEIR_MAP_ETCD };

/** The option tables, for documentation. */
extern const struct weir_schema weir_cluster_conf_schema;
extern const struct weir_schema weir_allow_file_schema;

/**
 * Read the members of the cluster and place the shards. @ret is given to the caller: weir_map_free.
 * WEIR_EIO, WEIR_EFORMAT, WEIR_EPARAM with file, line and option; WEIR_ENOMEM.
 */
int weir_cluster_file_read(const char *file, struct weir_map **ret, struct weir_why *why);
void weir_map_free(struct weir_map *map);

/** The same, and where the owners are kept. With WEIR_MAP_ETCD the owners in @ret are what the file alone would give. */
int weir_cluster_file_read_kind(const char *file, struct weir_map **ret, enum weir_map_kind *ret_kind,
                                struct weir_why *why);

/**
 * The store that the file names. @ret is given to the caller: weir_mapstore_destroy. Errors as above, and of the
 * password's file: WEIR_ENOTFOUND, WEIR_EDENIED when others may read it, WEIR_EFORMAT. Nothing is connected yet.
 */
int weir_cluster_store_open(const char *file, struct weir_mapstore **ret, struct weir_why *why);

/** Read who may connect. @ret is given to the caller: weir_allow_destroy. Errors as above. */
int weir_allow_file_read(const char *file, struct weir_allow **ret, struct weir_why *why);

#endif
