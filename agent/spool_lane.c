#include "agent/spool_lane.h"

#include "common/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { SEGMENTS_LEAST = 8 };

const char *spool_folder_path(const struct agent_spool *spool, uint32_t shard, char out[WEIR_PATH_BYTES])
{
    snprintf(out, WEIR_PATH_BYTES, "%s/lane-%03" PRIu32, spool->dir, shard);
    return out;
}

const char *spool_lane_path(const struct agent_spool *spool, uint32_t shard, const char *name,
                            char out[WEIR_PATH_BYTES])
{
    snprintf(out, WEIR_PATH_BYTES, "%s/lane-%03" PRIu32 "/%s", spool->dir, shard, name);
    return out;
}

const char *spool_segment_path(const struct agent_spool *spool, uint32_t shard, uint64_t first,
                               char out[WEIR_PATH_BYTES])
{
    snprintf(out, WEIR_PATH_BYTES, "%s/lane-%03" PRIu32 "/%020" PRIu64 ".seg", spool->dir, shard, first);
    return out;
}

const char *spool_quarantine_path(const struct agent_spool *spool, const char *name, char out[WEIR_PATH_BYTES])
{
    snprintf(out, WEIR_PATH_BYTES, "%s/quarantine/%s", spool->dir, name);
    return out;
}

void spool_cursor_close(struct spool_cursor *cursor)
{
    if (cursor->fd >= 0) close(cursor->fd);
    cursor->fd = -1;
}

void spool_lane_close(struct spool_lane *lane)
{
    if (lane->fd >= 0) close(lane->fd);
    lane->fd = -1;
    spool_cursor_close(&lane->reading);
    spool_cursor_close(&lane->acking);
    spool_lane_forget(lane);
    weir_free(lane->segments);
    lane->segments = NULL;
    lane->segment_count = 0;
    lane->segment_room = 0;
    lane->waiting = (struct spool_sum){0};
    lane->unsynced = (struct spool_sum){0};
    lane->poison_count = 0;
}

int spool_lane_add_segment(struct spool_lane *lane, const struct spool_segment *segment)
{
    if (lane->segment_count == lane->segment_room) {
        uint32_t room = lane->segment_room == 0 ? SEGMENTS_LEAST : lane->segment_room * 2;
        struct spool_segment *more = weir_realloc(lane->segments, room * sizeof *more);
        if (more == NULL) return WEIR_ENOMEM;
        lane->segments = more;
        lane->segment_room = room;
    }
    lane->segments[lane->segment_count++] = *segment;
    return 0;
}

void spool_lane_seal(struct spool_lane *lane)
{
    if (lane->fd < 0) return;
    struct spool_segment *last = &lane->segments[lane->segment_count - 1];
    if (ftruncate(lane->fd, (off_t)last->used) == 0) last->allocated = last->used;
    close(lane->fd);
    lane->fd = -1;
}

uint64_t spool_lane_segment_end(const struct spool_lane *lane, uint32_t index)
{
    return index + 1 < lane->segment_count ? lane->segments[index + 1].first : lane->next;
}

/** The segment that holds @seq, or -1. */
static int64_t segment_of(const struct spool_lane *lane, uint64_t seq)
{
    uint32_t low = 0;
    uint32_t high = lane->segment_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (lane->segments[middle].first <= seq)
            low = middle + 1;
        else
            high = middle;
    }
    return (int64_t)low - 1;
}

static int go_to_segment(struct agent_spool *spool, struct spool_lane *lane, struct spool_cursor *cursor,
                         const struct spool_segment *segment)
{
    char path[WEIR_PATH_BYTES];
    spool_cursor_close(cursor);
    int fd = open(spool_segment_path(spool, lane->shard, segment->first, path), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? WEIR_ECORRUPT : weir_file_error(errno);
    *cursor = (struct spool_cursor){.fd = fd, .segment = segment->first, .first = segment->first};
    return 0;
}

int spool_lane_find(struct agent_spool *spool, struct spool_lane *lane, struct spool_cursor *cursor, uint64_t seq,
                    struct spool_record *ret, uint64_t *at)
{
    int64_t index = segment_of(lane, seq);
    if (index < 0 || seq >= lane->next) return WEIR_ENOTFOUND;

    const struct spool_segment *segment = &lane->segments[index];
    if (cursor->fd < 0 || cursor->segment != segment->first) {
        int rc = go_to_segment(spool, lane, cursor, segment);
        if (rc < 0) return rc;
    }
    if (cursor->first > seq) {
        cursor->first = segment->first;
        cursor->at = 0;
    }
    for (;;) {
        uint8_t head[SPOOL_HEAD_BYTES];
        if (cursor->at >= segment->used) return WEIR_ECORRUPT;
        int rc = weir_file_read_at(cursor->fd, head, sizeof head, cursor->at);
        if (rc == WEIR_ESHORT) return WEIR_ECORRUPT;
        if (rc < 0) return rc;
        if (spool_record_decode(head, ret) < 0) return WEIR_ECORRUPT;
        if (ret->first != cursor->first || ret->shard != lane->shard) return WEIR_ECORRUPT;
        if (ret->last >= seq) break;

        cursor->at += spool_record_size(ret);
        cursor->first = ret->last + 1;
    }
    *at = cursor->at;
    return 0;
}

int spool_lane_look(struct agent_spool *spool, struct spool_lane *lane, struct spool_cursor *cursor, uint64_t seq,
                    struct spool_record *ret)
{
    const struct spool_record *young = lane->young == NULL ? NULL : &lane->young[seq % SPOOL_YOUNG];
    if (young != NULL && young->first == seq && seq < lane->next) {
        *ret = *young;
        return 0;
    }
    uint64_t at;
    return spool_lane_find(spool, lane, cursor, seq, ret, &at);
}

void spool_lane_remember(struct spool_lane *lane, const struct spool_record *record)
{
    if (lane->young == NULL) lane->young = weir_calloc(SPOOL_YOUNG, sizeof *lane->young);
    if (lane->young != NULL) lane->young[record->first % SPOOL_YOUNG] = *record;
}

void spool_lane_forget(struct spool_lane *lane)
{
    weir_free(lane->young);
    lane->young = NULL;
}

bool spool_lane_is_poison(const struct spool_lane *lane, uint64_t seq)
{
    for (uint32_t i = 0; i < lane->poison_count; i++) {
        if (lane->poison[i] == seq) return true;
    }
    return false;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void spool_loss_add(struct weir_batch_header *loss, bool *any, const struct weir_batch_header *lost)
{
    if (!*any) {
        *loss = *lost;
        *any = true;
    } else {
        loss->totals.flows += lost->totals.flows;
        loss->totals.packets += lost->totals.packets;
        loss->totals.bytes += lost->totals.bytes;
        loss->totals.min_start_ms = earlier(loss->totals.min_start_ms, lost->totals.min_start_ms);
        loss->totals.max_end_ms = later(loss->totals.max_end_ms, lost->totals.max_end_ms);
        loss->first_received_ms = earlier(loss->first_received_ms, lost->first_received_ms);
        loss->last_received_ms = later(loss->last_received_ms, lost->last_received_ms);
        loss->last_export_ms = later(loss->last_export_ms, lost->last_export_ms);
        loss->loss.sequence_lost += lost->loss.sequence_lost;
        loss->loss.template_missing += lost->loss.template_missing;
        loss->loss.undecodable += lost->loss.undecodable;
        loss->loss.socket_drops += lost->loss.socket_drops;
    }
    loss->kind = WEIR_RECORD_LOSS;
    loss->schema = WEIR_SCHEMA;
    loss->codec = WEIR_CODEC_NONE;
    loss->raw_bytes = 0;
    loss->present = 0;
}

int spool_loss_record(struct agent_spool *spool, const struct weir_batch_header *loss, uint64_t last_seq,
                      struct spool_record *record)
{
    struct weir_batch_header header = *loss;
    header.lost_to_seq = last_seq;
    weir_buf_clear(&spool->loss);
    int rc = weir_batch_header_encode(&header, &spool->loss);
    if (rc < 0) return rc;
    record->kind = WEIR_RECORD_LOSS;
    record->header_bytes = (uint32_t)spool->loss.size;
    record->body_bytes = 0;
    record->payload_crc = weir_batch_crc(weir_buf_view(&spool->loss), weir_view_of(NULL, 0));
    record->first_ms = loss->first_received_ms;
    record->last_ms = loss->last_received_ms;
    return 0;
}

int spool_loss_write(struct agent_spool *spool, const struct weir_batch_header *loss, struct spool_record *record,
                     uint64_t *size)
{
    static const uint8_t zeros[SPOOL_ALIGN];
    uint8_t head[SPOOL_HEAD_BYTES];
    char folder[WEIR_PATH_BYTES];
    char path[WEIR_PATH_BYTES];
    int rc = spool_loss_record(spool, loss, record->last, record);
    if (rc < 0) return rc;
    spool_record_encode(record, head);
    *size = spool_record_size(record);
    const struct weir_view parts[] = {weir_view_of(head, sizeof head), weir_buf_view(&spool->loss),
                                      weir_view_of(zeros, *size - sizeof head - spool->loss.size)};
    return weir_file_replace(spool_folder_path(spool, record->shard, folder),
                             spool_segment_path(spool, record->shard, record->first, path), parts, 3,
                             spool->conf.durable);
}
