/** cluster.conf and allow.conf: the files that the programs of a cluster share, read into plain data. */
#ifndef WEIR_COMMON_DAEMON_CLUSTER_FILE_H
#define WEIR_COMMON_DAEMON_CLUSTER_FILE_H

#include "common/cluster/map.h"
#include "common/conf/option.h"

/** The option tables, for documentation. */
extern const struct weir_schema weir_cluster_conf_schema;
extern const struct weir_schema weir_allow_file_schema;

/**
 * Read the members of the cluster and place the shards. @ret is given to the caller: weir_map_free.
 * WEIR_EIO, WEIR_EFORMAT, WEIR_EPARAM with file, line and option; WEIR_ENOMEM.
 */
int weir_cluster_file_read(const char *file, struct weir_map **ret, struct weir_why *why);
void weir_map_free(struct weir_map *map);

/** Read who may connect. @ret is given to the caller: weir_allow_destroy. Errors as above. */
int weir_allow_file_read(const char *file, struct weir_allow **ret, struct weir_why *why);

#endif
