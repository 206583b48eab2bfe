#include "aggregator/disk.h"

#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static void ballast_path(const struct agg_disk *disk, char path[sizeof disk->path + 16])
{
    snprintf(path, sizeof disk->path + 16, "%s/ballast", disk->path);
}

static void read_free(struct agg_disk *disk)
{
    struct statvfs fs;
    if (statvfs(disk->path, &fs) == 0) disk->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
}

void agg_disk_prepare(struct agg_disk *disk)
{
    char path[sizeof disk->path + 16];
    ballast_path(disk, path);
    read_free(disk);
    if (disk->free_bytes >= disk->least_bytes && disk->ballast_bytes > 0) return;
    if (unlink(path) < 0) return;
    weir_log(WEIR_LOG_WARN, "disk.ballast_given_up", "free_bytes=%llu", (unsigned long long)disk->free_bytes);
    read_free(disk);
}

/** Make the ballast when there is none of its size and room to spare. */
static void keep_ballast(struct agg_disk *disk)
{
    char path[sizeof disk->path + 16];
    ballast_path(disk, path);
    struct stat stat_of;
    if (disk->ballast_bytes == 0 || disk->free_bytes < disk->ballast_bytes + 2 * disk->least_bytes) return;
    if (stat(path, &stat_of) == 0 && (uint64_t)stat_of.st_size == disk->ballast_bytes) return;
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd < 0) return;
    int rc = posix_fallocate(fd, 0, (off_t)disk->ballast_bytes);
    close(fd);
    if (rc == 0) return;
    (void)unlink(path);
    weir_log(WEIR_LOG_WARN, "disk.no_ballast", "bytes=%llu reason=\"%s\"", (unsigned long long)disk->ballast_bytes,
             strerror(rc));
    disk->ballast_bytes = 0; /* a file system that cannot: say it once */
}

bool agg_disk_look(struct agg_disk *disk)
{
    read_free(disk);
    bool low = disk->free_bytes < disk->least_bytes + (disk->low ? disk->least_bytes / 10 : 0);
    if (!low) keep_ballast(disk);
    if (low == disk->low) return false;
    disk->low = low;
    if (low)
        weir_log(WEIR_LOG_ERROR, "disk.low", "free_bytes=%llu least_bytes=%llu batches=refused",
                 (unsigned long long)disk->free_bytes, (unsigned long long)disk->least_bytes);
    else
        weir_log(WEIR_LOG_INFO, "disk.recovered", "free_bytes=%llu batches=accepted",
                 (unsigned long long)disk->free_bytes);
    return true;
}
