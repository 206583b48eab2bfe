/**
 * One lane of the spool: its segment files and where they are acknowledged. Numbers and sums here are those of the
 * files; an incarnation begins at spool->base, which the functions of spool.h subtract. Internal to agent/spool*.c.
 */
#ifndef WEIR_AGENT_SPOOL_LANE_H
#define WEIR_AGENT_SPOOL_LANE_H

#include "agent/spool.h"
#include "agent/spool_record.h"
#include "common/base/file.h"

enum { SPOOL_POISON_MOST = 64, SPOOL_YOUNG = 64 };

struct spool_segment {
    uint64_t first;         /* number of its first record, and its name; the next one's begins where it ends */
    uint64_t used;          /* bytes of records */
    uint64_t allocated;     /* bytes on disk */
    struct weir_cum before; /* of the lane, before its first record */
    int64_t oldest_ms;      /* of its first record; 0 while it is empty */
    bool loss;              /* holds nothing but one LOSS record */
};

/** A place in a segment, for walking records in order. */
struct spool_cursor {
    int fd; /* -1: nowhere */
    uint64_t segment;
    uint64_t first; /* number of the record at @at */
    uint64_t at;
};

/** Sums of records that are waiting, or not synced yet. */
struct spool_sum {
    uint64_t batches;
    uint64_t bytes;
    struct weir_cum flows;
};

/** Losses to be written as one LOSS record: dropped batches that never got a number. */
struct spool_pending {
    bool any;
    uint32_t age; /* in checkpoints */
    struct weir_batch_header header;
};

struct spool_lane {
    bool used; /* has a folder */
    uint32_t shard;
    uint32_t segment_count;
    uint32_t segment_room;
    struct spool_segment *segments; /* oldest first; the last one is written to */
    int fd;                         /* of the last one; -1: it is closed, the next record begins another */

    uint64_t acked;
    struct weir_cum acked_cum;
    uint64_t acked_mark;
    uint64_t next; /* the number that the next record gets */
    uint64_t mark; /* the highest feed mark that was appended, or lost */
    struct weir_cum cum;
    uint64_t synced; /* as next, cum and used, of what is durable */
    struct weir_cum synced_cum;
    uint64_t synced_used;
    uint64_t told; /* as @synced, when it was last said */
    uint64_t sent; /* the youngest that was sent */

    bool folder_dirty; /* names were made since the last sync */
    bool ack_dirty;
    uint64_t ack_generation;

    int64_t oldest_ms; /* of what is waiting, or a little older */
    struct spool_sum waiting;
    struct spool_sum unsynced;
    struct weir_batch_header unsynced_header; /* what they would be lost as */
    struct spool_pending pending;

    struct spool_cursor reading;
    struct spool_cursor acking;
    struct spool_record *young; /* the last ones appended, by number modulo SPOOL_YOUNG; NULL: none */

    uint32_t poison_count;
    uint64_t poison[SPOOL_POISON_MOST];
};

struct agent_spool {
    struct agent_spool_conf conf;
    char *dir;
    int dir_fd; /* locked */
    uint64_t inc;
    struct spool_base {
        uint64_t seq;
        struct weir_cum cum;
    } base[WEIR_SHARDS];
    struct spool_lane lane[WEIR_SHARDS];
    struct agent_spool_stats stats;
    struct weir_buf payload; /* of the record that was read */
    struct weir_buf loss;    /* a LOSS record that is being made */
};

/* Paths; each returns @out. */
const char *spool_folder_path(const struct agent_spool *spool, uint32_t shard, char out[WEIR_PATH_BYTES]);
const char *spool_lane_path(const struct agent_spool *spool, uint32_t shard, const char *name,
                            char out[WEIR_PATH_BYTES]);
const char *spool_segment_path(const struct agent_spool *spool, uint32_t shard, uint64_t first,
                               char out[WEIR_PATH_BYTES]);
const char *spool_quarantine_path(const struct agent_spool *spool, const char *name, char out[WEIR_PATH_BYTES]);

/** Forget what is in memory of the lane: close its files, free its segments. */
void spool_lane_close(struct spool_lane *lane);

/** Add an empty segment to the list in memory. WEIR_ENOMEM. */
int spool_lane_add_segment(struct spool_lane *lane, const struct spool_segment *segment);

/** Close the segment that is written to; the next record begins another one. */
void spool_lane_seal(struct spool_lane *lane);

void spool_cursor_close(struct spool_cursor *cursor);

/**
 * Find the record that holds @seq, walking from where @cursor stands.
 * WEIR_ENOTFOUND, WEIR_ECORRUPT (a header on the way is not what was written), WEIR_EIO.
 */
int spool_lane_find(struct agent_spool *spool, struct spool_lane *lane, struct spool_cursor *cursor, uint64_t seq,
                    struct spool_record *ret, uint64_t *at);

/** The same without its place, for which the youngest records need no look at the disk. */
int spool_lane_look(struct agent_spool *spool, struct spool_lane *lane, struct spool_cursor *cursor, uint64_t seq,
                    struct spool_record *ret);

/** Remember a record that was appended, and forget them all because segments changed. */
void spool_lane_remember(struct spool_lane *lane, const struct spool_record *record);
void spool_lane_forget(struct spool_lane *lane);

bool spool_lane_is_poison(const struct spool_lane *lane, uint64_t seq);

/** One past the last number of segment @index. */
uint64_t spool_lane_segment_end(const struct spool_lane *lane, uint32_t index);

/** What a LOSS record must say, from the headers of the batches that it stands for. */
void spool_loss_add(struct weir_batch_header *loss, bool *any, const struct weir_batch_header *lost);

/** Encode a LOSS into spool->loss and fill in the record around it. WEIR_ENOMEM. */
int spool_loss_record(struct agent_spool *spool, const struct weir_batch_header *loss, uint64_t last_seq,
                      struct spool_record *record);

/** Write the file of a segment that holds one LOSS record. WEIR_EIO, WEIR_ENOSPACE, WEIR_ENOMEM. */
int spool_loss_write(struct agent_spool *spool, const struct weir_batch_header *loss, struct spool_record *record,
                     uint64_t *size);

/* ---- spool.c ---- */

/** Write the losses that wait as a record; they are gone then. WEIR_ENOSPACE, WEIR_EIO, WEIR_ENOMEM. */
int spool_put_pending(struct agent_spool *spool, struct spool_lane *lane);

/** Read the list of poisoned numbers; none when there is no sound file. */
void spool_read_poison(struct agent_spool *spool, struct spool_lane *lane);

/* ---- spool_recover.c ---- */

/**
 * Read a lane from its folder and repair it: cut a torn tail, put damage into quarantine and LOSS records in its place.
 * The lane must be closed. WEIR_EIO, WEIR_ENOSPACE, WEIR_ENOMEM, WEIR_EVERSION.
 */
int spool_lane_recover(struct agent_spool *spool, struct spool_lane *lane);

/** Recover a lane that is open, because damage was met in it. As spool_lane_recover. */
int spool_lane_repair(struct agent_spool *spool, struct spool_lane *lane);

/** Keep a file under another name in the quarantine folder (a second link), if there is room for it. */
void spool_quarantine_link(struct agent_spool *spool, const char *path, const char *name);

/** Write bytes into a new file of the quarantine folder, if there is room for it. */
void spool_quarantine_write(struct agent_spool *spool, const char *name, const struct weir_view *parts, size_t count);

/* ---- spool_room.c ---- */

/** Make the last segment have room for @size more bytes. @force: whatever the limits say. WEIR_EFULL, WEIR_ENOSPACE ... */
int spool_room(struct agent_spool *spool, struct spool_lane *lane, uint64_t size, bool force);

/** Make the last segment durable; WEIR_EIO, WEIR_ENOSPACE: what was not is lost. */
int spool_lane_sync(struct agent_spool *spool, struct spool_lane *lane);

/** All of the lane is durable now. */
void spool_lane_note_synced(struct spool_lane *lane);

/** Delete the segments that are acknowledged as a whole, but the last. */
void spool_lane_trim(struct agent_spool *spool, struct spool_lane *lane);

/** Write the acknowledged position. @durable: and sync it. */
void spool_lane_checkpoint(struct agent_spool *spool, struct spool_lane *lane, bool durable);

/** Bytes that segment files take on the disk. */
uint64_t spool_disk_bytes(const struct agent_spool *spool);

#endif
