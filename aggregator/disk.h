/**
 * The guard of the disk. RocksDB aborts the process when its log finds no room, and cannot be opened again on a full
 * disk: so batches are refused before that, and a ballast file is at hand to be given up.
 *
 * One thread.
 */
#ifndef WEIR_AGGREGATOR_DISK_H
#define WEIR_AGGREGATOR_DISK_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct agg_disk {
    char path[4096];        /* a folder on the disk */
    uint64_t least_bytes;   /* free: below this it is low, until a tenth more is free */
    uint64_t ballast_bytes; /* 0: none */
    uint64_t free_bytes;    /* when it was last looked at */
    bool low;
};

/** Before the store is opened: give up the ballast when the disk is too full for it. Logs what it does. */
void agg_disk_prepare(struct agg_disk *disk);

/** Look; true when @low changed. Puts the ballast back when there is room for it. */
bool agg_disk_look(struct agg_disk *disk);

#endif
