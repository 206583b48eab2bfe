/*
 * Any bytes as a segment file of the spool. Opening must end with a lane whose numbers have no gaps and whose records can
 * all be read, and opening it again must find the same.
 */
#include "agent/spool.h"
#include "common/base/err.h"
#include "common/wire/batch.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LANE = 7 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)stat;
    (void)type;
    (void)ftw;
    return remove(path);
}

/** Read every record; returns one past the last number. */
static uint64_t walk(struct agent_spool *spool)
{
    struct agent_spool_lane lane = agent_spool_lane(spool, LANE);
    for (uint64_t seq = lane.first_avail; seq < lane.next;) {
        struct agent_spool_record record;
        struct weir_batch_header header;
        int rc = agent_spool_read(spool, LANE, seq, &record);
        if (rc < 0 || record.first > seq || record.last < seq || record.last >= lane.next) abort();
        if (record.crc != weir_batch_crc(record.header, record.body)) abort();
        if (record.kind == WEIR_RECORD_LOSS && weir_batch_header_decode(record.header, &header) < 0) abort();
        seq = record.last + 1;
    }
    return lane.next;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char folder[64];
    char path[256];
    snprintf(folder, sizeof folder, "%s/weir-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(folder) == NULL) abort();
    snprintf(path, sizeof path, "%s/lane-%03d", folder, LANE);
    if (mkdir(path, 0700) < 0) abort();
    snprintf(path, sizeof path, "%s/lane-%03d/%020d.seg", folder, LANE, 1);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(data, 1, size, file) != size || fclose(file) != 0) abort();

    const struct agent_spool_conf conf = {.dir = folder, .bytes_most = 64 << 20, .segment_bytes = 4 << 20};
    uint64_t next = 0;
    for (int again = 0; again < 2; again++) {
        struct agent_spool *spool = NULL;
        int rc = agent_spool_open(&conf, 1, &spool, NULL);
        if (rc == WEIR_EVERSION) break; /* of a later version: left alone */
        if (rc < 0) abort();
        uint64_t found = walk(spool);
        if (again == 1 && found != next) abort();
        next = found;
        agent_spool_close(spool);
    }
    (void)nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
