/**
 * The spool: what the agent has taken and nobody has acknowledged yet, on disk (docs/PROTOCOL.md, "The spool").
 *
 * One log per lane (= shard), so that a lane that is stuck pins only its own files. A lane's records have sequence
 * numbers from 1 without gaps and cumulative sums; what had to be dropped is a LOSS record that takes its numbers, so
 * that a loss is always accounted for and never a gap. After a crash a torn tail is cut off; damage before the tail is
 * put into quarantine and becomes a LOSS record with exact sums.
 *
 *     <dir>/identity                              incarnation, and where it begins in each lane
 *     <dir>/lane-<shard>/<first number>.seg       records, oldest file first
 *     <dir>/lane-<shard>/ack                      up to where the lane was acknowledged, in two alternating slots
 *     <dir>/lane-<shard>/poison                   numbers whose record is sent as a LOSS
 *     <dir>/quarantine/                           records and files that nobody could read
 *
 * One thread owns a spool.
 */
#ifndef WEIR_AGENT_SPOOL_H
#define WEIR_AGENT_SPOOL_H

#include "common/base/err.h"
#include "common/cluster/msg.h"

enum agent_spool_full { AGENT_SPOOL_DROP_OLD, AGENT_SPOOL_DROP_NEW };

struct agent_spool_conf {
    const char *dir;             /* made if it is missing; its parent must exist. Copied */
    uint64_t bytes_most;         /* of all segment files */
    uint64_t segment_bytes;      /* a lane's log is cut into files of this size */
    uint64_t free_bytes_least;   /* full, too, when the disk has less than this ... */
    uint32_t free_percent_least; /* ... and less than this share of it left */
    enum agent_spool_full on_full;
    bool durable; /* false: never fsync (operators who say sync = "off") */
};

/**
 * What happened since the spool was opened, unless said otherwise. At any time
 * found + taken = acked + waiting + lost_full + lost_error + lost_damaged + lost_poison, but for what lost_damaged says
 * about damage that was found when the spool was opened.
 */
struct agent_spool_stats {
    uint64_t bytes;               /* now: unacknowledged records */
    uint64_t disk_bytes;          /* now: allocated by segment files */
    uint64_t batches;             /* now: unacknowledged records of flows */
    int64_t oldest_ms;            /* now: when the oldest of them was received; 0 when there is none */
    struct weir_cum waiting;      /* now: their flows */
    struct weir_cum found;        /* waiting when the spool was opened */
    struct weir_cum taken;        /* handed to agent_spool_append */
    struct weir_cum acked;        /* released by acknowledgements */
    struct weir_cum lost_full;    /* dropped because the spool was full */
    struct weir_cum lost_error;   /* dropped because the disk refused them */
    struct weir_cum lost_damaged; /* found unreadable */
    struct weir_cum lost_poison;  /* refused by the owners as unreadable, or too large to send */
    uint64_t batches_taken;
    uint64_t batches_acked;
    uint64_t syncs;
    uint64_t torn_tails;  /* unsynced ends that were cut off when the spool was opened */
    uint64_t quarantined; /* files and records that were put into quarantine */
    uint64_t io_errors;
};

/** The synced part of a lane. */
struct agent_spool_lane {
    uint64_t first_avail; /* oldest unacknowledged record; == next when there is none */
    uint64_t next;        /* one past the youngest synced record */
};

/** A record read back. Views borrow from the spool until its next call. */
struct agent_spool_record {
    enum weir_record_kind kind;
    uint64_t first; /* numbers that the record stands for: first == last for data */
    uint64_t last;
    struct weir_view header; /* encoded BatchHeader */
    struct weir_view body;   /* empty for LOSS */
    uint32_t crc;            /* weir_batch_crc of the two */
    struct weir_cum cum;     /* up to and including this record */
};

struct agent_spool;

/**
 * Open, recover and repair what is there. @fresh_inc: the incarnation of a spool that is new (random, not 0).
 *
 *   WEIR_EDENIED    no rights, or another process has the spool open
 *   WEIR_EVERSION   written by a newer version
 *   WEIR_EIO, WEIR_ENOSPACE, WEIR_ENOMEM
 */
int agent_spool_open(const struct agent_spool_conf *conf, uint64_t fresh_inc, struct agent_spool **ret,
                     struct weir_why *why);

/** Write down what was acknowledged, sync and close. NULL is allowed. */
void agent_spool_close(struct agent_spool *spool);

uint64_t agent_spool_inc(const struct agent_spool *spool);

/** Where a batch came to be. */
struct agent_spool_place {
    uint64_t seq;
    struct weir_cum cum; /* of the lane, up to and including it */
};

/**
 * Append a batch to lane @shard: @header is what the bytes of @encoded say. *@place: the number it got.
 * It may be sent only after the next sync.
 *
 * @mark: 0, or the number of a batch that may come again after a crash, because what it was made from is read again
 * (agent/feed). They go up; the highest of a lane is written with its records, and outlives them.
 *
 *   WEIR_EEXIST     the lane has this mark, or a later one: nothing is done
 *   WEIR_EFULL      the spool is full and nothing older may be dropped for it, or it is larger than a segment
 *   WEIR_ENOSPACE   the disk is full
 *   WEIR_EIO, WEIR_ENOMEM
 * On an error the batch was dropped: it is counted in lost_full or lost_error, and will be in the lane as a LOSS record.
 */
int agent_spool_append(struct agent_spool *spool, uint32_t shard, const struct weir_batch_header *header,
                       struct weir_view encoded, struct weir_view body, uint32_t crc, uint64_t mark,
                       struct agent_spool_place *place);

/** The highest mark of all lanes; 0: none. */
uint64_t agent_spool_mark(const struct agent_spool *spool);

/** Called back once per lane that a sync has moved. */
typedef void agent_spool_synced_fn(void *ctx, uint32_t shard, uint64_t next);

/**
 * Make everything that was appended durable and call @synced for each lane with news. WEIR_EIO, WEIR_ENOSPACE: a lane
 * could not be synced; what was appended to it since the last sync is dropped (lost_error).
 */
int agent_spool_sync(struct agent_spool *spool, agent_spool_synced_fn *synced, void *ctx);

/** The lane, or zeros in both when it was never used. */
struct agent_spool_lane agent_spool_lane(const struct agent_spool *spool, uint32_t shard);

/**
 * What kind of record holds @seq, and its numbers. When it cannot be read, or is not there, both are @seq, and the kind
 * is 0.
 */
enum weir_record_kind agent_spool_span(struct agent_spool *spool, uint32_t shard, uint64_t seq, uint64_t *first,
                                       uint64_t *last);

/**
 * Read the record that holds @seq. Reading a lane in order is fast.
 *
 *   WEIR_ENOTFOUND   acknowledged already, or not synced
 *   WEIR_ECORRUPT    the disk returned something else than was written: call agent_spool_poison
 *   WEIR_EIO, WEIR_ENOMEM
 */
int agent_spool_read(struct agent_spool *spool, uint32_t shard, uint64_t seq, struct agent_spool_record *out);

/** The records of the lane up to @seq are stored elsewhere: forget them. */
void agent_spool_ack(struct agent_spool *spool, uint32_t shard, uint64_t seq);

/**
 * Record @seq cannot be delivered: copy it into quarantine; from now on it reads as a LOSS record. The rest of a damaged
 * segment, which cannot be walked any more, is lost with it.
 *
 *   WEIR_ENOTFOUND   acknowledged already, not there, or a LOSS already
 *   WEIR_ELIMIT      too many such records wait in this lane
 *   WEIR_EIO, WEIR_ENOSPACE, WEIR_ENOMEM
 */
int agent_spool_poison(struct agent_spool *spool, uint32_t shard, uint64_t seq);

/** Tell the spool that record @seq is about to be sent: the drop policy leaves it alone from then on. */
void agent_spool_sent(struct agent_spool *spool, uint32_t shard, uint64_t seq);

/** Write the acknowledged positions down; call about once a second. Losing them costs re-sending only. */
void agent_spool_checkpoint(struct agent_spool *spool);

/**
 * A new incarnation: what is unacknowledged gets the numbers from 1 in each lane, under @fresh_inc.
 * WEIR_EIO, WEIR_ENOSPACE: nothing has changed.
 */
int agent_spool_renew(struct agent_spool *spool, uint64_t fresh_inc);

/** All of it; adds up over lanes and files, so not for every batch. */
const struct agent_spool_stats *agent_spool_stats(struct agent_spool *spool);

/** The same, but the figures marked "now" are those of the last agent_spool_stats. */
const struct agent_spool_stats *agent_spool_counted(const struct agent_spool *spool);

#endif
