/*
 * Room for records: segments are begun, grown and deleted here, and here is decided what gives way when the spool is
 * full. Space is allocated before it is written to, in steps, so that a full disk is met between records, never in one.
 */
#include "agent/spool_lane.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { GROW_LEAST = 64 << 10, GROW_MOST = 1 << 20, FILE_MODE = 0600 };

uint64_t spool_disk_bytes(const struct agent_spool *spool)
{
    uint64_t bytes = 0;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        const struct spool_lane *lane = &spool->lane[shard];
        for (uint32_t i = 0; i < lane->segment_count; i++)
            bytes += lane->segments[i].allocated;
    }
    return bytes;
}

/* ---- syncing ---- */

/** What was not synced is not to be relied on: take it back, and write it down as lost. */
static void take_back(struct agent_spool *spool, struct spool_lane *lane)
{
    spool->stats.io_errors++;
    spool->stats.lost_error = spool_cum_add(spool->stats.lost_error, lane->unsynced.flows);
    lane->waiting.batches -= lane->unsynced.batches;
    lane->waiting.bytes -= lane->unsynced.bytes;
    lane->waiting.flows = spool_cum_subtract(lane->waiting.flows, lane->unsynced.flows);
    if (lane->unsynced.batches > 0) spool_loss_add(&lane->pending.header, &lane->pending.any, &lane->unsynced_header);
    lane->unsynced = (struct spool_sum){0};
    lane->next = lane->synced;
    lane->cum = lane->synced_cum;
    lane->segments[lane->segment_count - 1].used = lane->synced_used;
    spool_cursor_close(&lane->reading);
    spool_cursor_close(&lane->acking);
    spool_lane_forget(lane);
    spool_lane_seal(lane);
}

int spool_lane_sync(struct agent_spool *spool, struct spool_lane *lane)
{
    int rc = 0;
    bool dirty = lane->next != lane->synced;
    if (spool->conf.durable && lane->fd >= 0 && dirty) {
        if (fdatasync(lane->fd) < 0) rc = weir_file_error(errno);
        spool->stats.syncs++;
    }
    if (rc == 0 && spool->conf.durable && lane->folder_dirty) {
        char path[WEIR_PATH_BYTES];
        rc = weir_file_sync_folder(spool_folder_path(spool, lane->shard, path));
    }
    if (rc < 0) {
        take_back(spool, lane);
        return rc;
    }
    spool_lane_note_synced(lane);
    return 0;
}

void spool_lane_note_synced(struct spool_lane *lane)
{
    lane->folder_dirty = false;
    lane->synced = lane->next;
    lane->synced_cum = lane->cum;
    lane->synced_used = lane->segment_count > 0 ? lane->segments[lane->segment_count - 1].used : 0;
    lane->unsynced = (struct spool_sum){0};
}

void spool_lane_checkpoint(struct agent_spool *spool, struct spool_lane *lane, bool durable)
{
    uint8_t slot[SPOOL_ACK_BYTES];
    char path[WEIR_PATH_BYTES];
    const struct spool_ack ack = {
        .generation = lane->ack_generation + 1, .acked = lane->acked, .cum = lane->acked_cum, .mark = lane->acked_mark};
    spool_ack_encode(&ack, slot);
    int fd = open(spool_lane_path(spool, lane->shard, "ack", path), O_WRONLY | O_CREAT | O_CLOEXEC, FILE_MODE);
    int rc = fd < 0 ? weir_file_error(errno) : 0;
    if (rc == 0) {
        const struct weir_view part = weir_view_of(slot, sizeof slot);
        rc = weir_file_write_at(fd, &part, 1, ack.generation % 2 * SPOOL_ACK_APART);
        if (rc == 0 && durable && spool->conf.durable && fdatasync(fd) < 0) rc = WEIR_EIO;
        close(fd);
    }
    if (rc < 0) {
        spool->stats.io_errors++;
        return;
    }
    lane->ack_generation = ack.generation;
    lane->ack_dirty = false;
}

/* ---- segments ---- */

static void forget_segments(struct spool_lane *lane, uint32_t from, uint32_t count)
{
    lane->segment_count -= count;
    memmove(lane->segments + from, lane->segments + from + count,
            (lane->segment_count - from) * sizeof *lane->segments);
}

static void remove_segments(struct agent_spool *spool, struct spool_lane *lane, uint32_t from, uint32_t count)
{
    for (uint32_t i = from; i < from + count; i++) {
        char path[WEIR_PATH_BYTES];
        if (lane->reading.segment == lane->segments[i].first) spool_cursor_close(&lane->reading);
        if (lane->acking.segment == lane->segments[i].first) spool_cursor_close(&lane->acking);
        if (unlink(spool_segment_path(spool, lane->shard, lane->segments[i].first, path)) < 0) spool->stats.io_errors++;
    }
    forget_segments(lane, from, count);
}

void spool_lane_trim(struct agent_spool *spool, struct spool_lane *lane)
{
    uint32_t done = 0;
    while (done + 1 < lane->segment_count && lane->segments[done + 1].first <= lane->acked + 1)
        done++;
    if (done == 0) return;
    /* The last segment keeps the next number in its name; the sums would go with the records. */
    if (lane->acked + 1 == lane->next) spool_lane_checkpoint(spool, lane, true);
    remove_segments(spool, lane, 0, done);
}

/** Begin the segment of the next record. */
static int begin_segment(struct agent_spool *spool, struct spool_lane *lane)
{
    if (lane->fd >= 0) {
        (void)spool_lane_sync(spool, lane); /* what it cannot sync it writes down as lost */
        spool_lane_seal(lane);
    }
    struct spool_segment *last = lane->segment_count > 0 ? &lane->segments[lane->segment_count - 1] : NULL;
    bool again = last != NULL && last->first == lane->next; /* it was begun before, and is empty */
    char path[WEIR_PATH_BYTES];
    int fd = open(spool_segment_path(spool, lane->shard, lane->next, path), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC,
                  FILE_MODE);
    if (fd < 0) return weir_file_error(errno);

    const struct spool_segment segment = {.first = lane->next, .before = lane->cum};
    if (again) {
        *last = segment;
    } else {
        int rc = spool_lane_add_segment(lane, &segment);
        if (rc < 0) {
            close(fd);
            unlink(path);
            return rc;
        }
    }
    lane->fd = fd;
    lane->synced_used = 0;
    lane->folder_dirty = true;
    spool_lane_trim(spool, lane);
    return 0;
}

static bool is_over(const struct agent_spool *spool, uint64_t more)
{
    if (spool_disk_bytes(spool) + more > spool->conf.bytes_most) return true;

    struct statvfs disk;
    if (fstatvfs(spool->dir_fd, &disk) < 0) return false;
    uint64_t total = (uint64_t)disk.f_blocks * disk.f_frsize;
    uint64_t left = (uint64_t)disk.f_bavail * disk.f_frsize;
    uint64_t keep = total / 100 * spool->conf.free_percent_least;
    if (keep > spool->conf.free_bytes_least) keep = spool->conf.free_bytes_least;
    return left < keep + more;
}

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

/** Allocate for @size more bytes in the last segment. */
static int grow_segment(struct agent_spool *spool, struct spool_lane *lane, uint64_t size, bool force)
{
    struct spool_segment *last = &lane->segments[lane->segment_count - 1];
    uint64_t need = last->used + size;
    if (need <= last->allocated) return 0;

    uint64_t upto = last->allocated + clamp(last->allocated, GROW_LEAST, GROW_MOST);
    if (upto < need) upto = need;
    if (upto > spool->conf.segment_bytes && need <= spool->conf.segment_bytes) upto = spool->conf.segment_bytes;
    if (!force && is_over(spool, upto - last->allocated)) upto = need; /* no step ahead, then */
    uint64_t more = upto - last->allocated;
    if (!force && is_over(spool, more)) return WEIR_EFULL;

    int error = posix_fallocate(lane->fd, (off_t)last->allocated, (off_t)more);
    if (error != 0) return weir_file_error(error);
    last->allocated = upto;
    return 0;
}

/** One try, with what room there is. */
static int try_room(struct agent_spool *spool, struct spool_lane *lane, uint64_t size, bool force)
{
    if (lane->fd < 0 || lane->segments[lane->segment_count - 1].used + size > spool->conf.segment_bytes) {
        int rc = begin_segment(spool, lane);
        if (rc < 0) return rc;
    }
    return grow_segment(spool, lane, size, force);
}

/* ---- what gives way ---- */

/** Give back the space of last segments whose records are all acknowledged. */
static bool reclaim(struct agent_spool *spool)
{
    uint64_t before = spool_disk_bytes(spool);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        struct spool_lane *lane = &spool->lane[shard];
        if (lane->segment_count == 0 || lane->acked + 1 != lane->next) continue;
        if (lane->segments[lane->segment_count - 1].used == 0) {
            spool_lane_seal(lane); /* what was allocated ahead */
            continue;
        }
        if (begin_segment(spool, lane) == 0) spool_lane_seal(lane);
    }
    return spool_disk_bytes(spool) < before;
}

/** The oldest segment of all lanes that holds records nobody can have seen yet; false when there is none. */
static bool find_oldest(struct agent_spool *spool, struct spool_lane **lane_ret, uint32_t *index_ret)
{
    int64_t oldest_ms = INT64_MAX;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        struct spool_lane *lane = &spool->lane[shard];
        for (uint32_t i = 0; i < lane->segment_count; i++) {
            const struct spool_segment *segment = &lane->segments[i];
            if (segment->loss || segment->used == 0 || spool_lane_segment_end(lane, i) <= lane->sent + 1) continue;
            if (segment->oldest_ms < oldest_ms) {
                oldest_ms = segment->oldest_ms;
                *lane_ret = lane;
                *index_ret = i;
            }
            break; /* later ones are younger */
        }
    }
    return oldest_ms != INT64_MAX;
}

/** Add up what a LOSS for the records first..end-1 must say, and how much of it was waiting. */
static int add_up(struct agent_spool *spool, struct spool_lane *lane, uint64_t first, uint64_t end,
                  struct weir_batch_header *loss, bool *any, struct spool_sum *gone, uint64_t *mark)
{
    for (uint64_t seq = first; seq < end;) {
        struct spool_record record;
        uint64_t at;
        int rc = spool_lane_find(spool, lane, &lane->reading, seq, &record, &at);
        if (rc < 0) return rc;

        struct weir_batch_header header;
        weir_buf_clear(&spool->payload);
        uint8_t *bytes = weir_buf_reserve(&spool->payload, record.header_bytes);
        if (bytes == NULL) return WEIR_ENOMEM;
        rc = weir_file_read_at(lane->reading.fd, bytes, record.header_bytes, at + SPOOL_HEAD_BYTES);
        if (rc == 0) rc = weir_batch_header_decode(weir_view_of(bytes, record.header_bytes), &header);
        if (rc == 0) spool_loss_add(loss, any, &header);
        if (record.kind == WEIR_RECORD_DATA && !spool_lane_is_poison(lane, record.first)) {
            gone->batches++;
            gone->bytes += spool_record_size(&record);
            gone->flows = spool_cum_add(gone->flows, record.sums);
        }
        *mark = record.mark;
        seq = record.last + 1;
    }
    return 0;
}

/** What is dropped of a segment: all of it, or what follows the records that were sent. */
struct cut {
    uint32_t into;          /* the segment that the LOSS becomes */
    uint64_t first;         /* its first number */
    struct weir_cum before; /* of the lane, before it */
    uint64_t kept;          /* bytes of the segment that stay; 0: the LOSS takes its file */
    bool merged;            /* the segment before is an unsent LOSS, which becomes longer */
};

static int find_cut(struct agent_spool *spool, struct spool_lane *lane, uint32_t index, struct cut *cut)
{
    const struct spool_segment *segment = &lane->segments[index];
    if (segment->first <= lane->sent) {
        struct spool_record record;
        int rc = spool_lane_find(spool, lane, &lane->reading, lane->sent + 1, &record, &cut->kept);
        if (rc < 0) return rc;
        cut->into = index + 1;
        cut->first = lane->sent + 1;
        cut->before = spool_cum_subtract(record.cum, record.sums);
        cut->merged = false;
        return 0;
    }
    cut->merged = index > 0 && lane->segments[index - 1].loss && lane->segments[index - 1].first > lane->sent;
    cut->into = cut->merged ? index - 1 : index;
    cut->first = lane->segments[cut->into].first;
    cut->before = lane->segments[cut->into].before;
    cut->kept = 0;
    return 0;
}

/** Have a place in the list for a segment at @index. WEIR_ENOMEM. */
static int insert_segment(struct spool_lane *lane, uint32_t index)
{
    const struct spool_segment none = {0};
    int rc = spool_lane_add_segment(lane, &none);
    if (rc < 0) return rc;
    memmove(lane->segments + index + 1, lane->segments + index,
            (lane->segment_count - 1 - index) * sizeof *lane->segments);
    return 0;
}

/** The segment ends where the LOSS begins, whose file is there already. */
static void shorten_segment(struct agent_spool *spool, struct spool_lane *lane, uint32_t index, uint64_t kept)
{
    struct spool_segment *segment = &lane->segments[index];
    char path[WEIR_PATH_BYTES];
    segment->used = kept;
    if (truncate(spool_segment_path(spool, lane->shard, segment->first, path), (off_t)kept) == 0)
        segment->allocated = kept;
    else
        spool->stats.io_errors++;
}

/** Drop what was not sent of a segment: a LOSS record takes its numbers. */
static int drop_segment(struct agent_spool *spool, struct spool_lane *lane, uint32_t index)
{
    bool youngest = index + 1 == lane->segment_count;
    uint64_t end = spool_lane_segment_end(lane, index);
    struct weir_cum after = youngest ? lane->cum : lane->segments[index + 1].before;
    struct weir_batch_header loss = {0};
    bool any = false;
    struct spool_sum gone = {0};
    uint64_t mark = 0;
    struct cut cut;
    if (youngest) spool_lane_seal(lane);
    int rc = find_cut(spool, lane, index, &cut);
    if (rc == 0) rc = add_up(spool, lane, cut.first, end, &loss, &any, &gone, &mark);
    if (rc == WEIR_ECORRUPT) return spool_lane_repair(spool, lane); /* then again, with what is left of it */
    if (rc < 0) return rc;

    struct spool_record record = {.shard = lane->shard,
                                  .first = cut.first,
                                  .last = end - 1,
                                  .sums = spool_cum_subtract(after, cut.before),
                                  .cum = after,
                                  .mark = mark};
    loss.kind = WEIR_RECORD_LOSS;
    loss.schema = WEIR_SCHEMA;
    loss.totals.flows = record.sums.flows;
    loss.totals.packets = record.sums.packets;
    loss.totals.bytes = record.sums.bytes;
    uint64_t size = 0;
    if (cut.kept > 0) rc = insert_segment(lane, cut.into);
    if (rc < 0) return rc;
    rc = spool_loss_write(spool, &loss, &record, &size);
    if (rc < 0) {
        if (cut.kept > 0) forget_segments(lane, cut.into, 1);
        return rc;
    }

    spool_cursor_close(&lane->reading);
    spool_cursor_close(&lane->acking);
    spool_lane_forget(lane);
    lane->waiting.batches -= gone.batches;
    lane->waiting.bytes -= gone.bytes;
    lane->waiting.flows = spool_cum_subtract(lane->waiting.flows, gone.flows);
    spool->stats.lost_full = spool_cum_add(spool->stats.lost_full, gone.flows);
    if (cut.kept > 0) shorten_segment(spool, lane, index, cut.kept);
    lane->segments[cut.into] = (struct spool_segment){.first = cut.first,
                                                      .used = size,
                                                      .allocated = size,
                                                      .before = cut.before,
                                                      .oldest_ms = record.first_ms,
                                                      .loss = true};
    if (cut.merged) remove_segments(spool, lane, index, 1);
    if (youngest) spool_lane_note_synced(lane); /* the LOSS is durable, and so is all of the lane */
    return 0;
}

static bool make_room(struct agent_spool *spool)
{
    if (reclaim(spool)) return true;
    if (spool->conf.on_full == AGENT_SPOOL_DROP_NEW) return false;

    struct spool_lane *lane = NULL;
    uint32_t index = 0;
    if (!find_oldest(spool, &lane, &index)) return false;
    if (drop_segment(spool, lane, index) == 0) return true;
    spool->stats.io_errors++;
    return false;
}

int spool_room(struct agent_spool *spool, struct spool_lane *lane, uint64_t size, bool force)
{
    if (size > spool->conf.segment_bytes) return WEIR_EFULL;
    for (;;) {
        int rc = try_room(spool, lane, size, force);
        if (rc != WEIR_EFULL && rc != WEIR_ENOSPACE) return rc;
        if (!make_room(spool)) return rc;
    }
}
