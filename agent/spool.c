#include "agent/spool.h"

#include "agent/spool_lane.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    IDENTITY_VERSION = 1,
    IDENTITY_BASE_BYTES = 32,
    IDENTITY_BYTES = 32 + WEIR_SHARDS * IDENTITY_BASE_BYTES,
    IDENTITY_CRC_FROM = 8,
    DIRTY_MANY = 8,
    PENDING_AGE_MOST = 60 /* checkpoints after which a loss is written even if nothing follows it */
};

#define IDENTITY_MAGIC UINT32_C(0x49535257) /* "WRSI" */
#define POISON_MAGIC   UINT32_C(0x50535257) /* "WRSP" */

/* ---- identity ---- */

static int write_identity(struct agent_spool *spool, uint64_t inc, const struct spool_base *base)
{
    uint8_t bytes[IDENTITY_BYTES] = {0};
    char path[WEIR_PATH_BYTES];
    weir_store_u32le(bytes, IDENTITY_MAGIC);
    weir_store_u32le(bytes + 8, IDENTITY_VERSION);
    weir_store_u64le(bytes + 16, inc);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        uint8_t *at = bytes + 32 + (size_t)shard * IDENTITY_BASE_BYTES;
        weir_store_u64le(at, base[shard].seq);
        weir_store_u64le(at + 8, base[shard].cum.flows);
        weir_store_u64le(at + 16, base[shard].cum.packets);
        weir_store_u64le(at + 24, base[shard].cum.bytes);
    }
    weir_store_u32le(bytes + 4, weir_crc32c(0, bytes + IDENTITY_CRC_FROM, IDENTITY_BYTES - IDENTITY_CRC_FROM));
    snprintf(path, sizeof path, "%s/identity", spool->dir);
    const struct weir_view part = weir_view_of(bytes, sizeof bytes);
    return weir_file_replace(spool->dir, path, &part, 1, spool->conf.durable);
}

/** WEIR_ENOTFOUND, WEIR_ECORRUPT, WEIR_EVERSION, WEIR_EIO. */
static int read_identity(struct agent_spool *spool)
{
    char path[WEIR_PATH_BYTES];
    struct weir_buf buf = WEIR_BUF_INIT;
    snprintf(path, sizeof path, "%s/identity", spool->dir);
    int rc = weir_file_load(path, IDENTITY_BYTES, &buf);
    if (rc == WEIR_ELIMIT) rc = WEIR_ECORRUPT;
    if (rc == 0 && (buf.size != IDENTITY_BYTES || weir_load_u32le(buf.data) != IDENTITY_MAGIC)) rc = WEIR_ECORRUPT;
    if (rc == 0 && weir_load_u32le(buf.data + 4) !=
                       weir_crc32c(0, buf.data + IDENTITY_CRC_FROM, IDENTITY_BYTES - IDENTITY_CRC_FROM))
        rc = WEIR_ECORRUPT;
    if (rc == 0 && weir_load_u32le(buf.data + 8) != IDENTITY_VERSION) rc = WEIR_EVERSION;
    if (rc == 0) {
        spool->inc = weir_load_u64le(buf.data + 16);
        for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
            const uint8_t *at = buf.data + 32 + (size_t)shard * IDENTITY_BASE_BYTES;
            spool->base[shard].seq = weir_load_u64le(at);
            spool->base[shard].cum = (struct weir_cum){.flows = weir_load_u64le(at + 8),
                                                       .packets = weir_load_u64le(at + 16),
                                                       .bytes = weir_load_u64le(at + 24)};
        }
    }
    weir_buf_fini(&buf);
    return rc;
}

int agent_spool_renew(struct agent_spool *spool, uint64_t fresh_inc)
{
    struct spool_base base[WEIR_SHARDS];
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        base[shard].seq = spool->lane[shard].acked;
        base[shard].cum = spool->lane[shard].acked_cum;
    }
    int rc = write_identity(spool, fresh_inc, base);
    if (rc < 0) return rc;

    spool->inc = fresh_inc;
    memcpy(spool->base, base, sizeof base);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        spool->lane[shard].sent = spool->lane[shard].acked;
    return 0;
}

uint64_t agent_spool_inc(const struct agent_spool *spool)
{
    return spool->inc;
}

/* ---- opening and closing ---- */

static int lock_folder(struct agent_spool *spool, struct weir_why *why)
{
    int rc = weir_file_make_folder(spool->dir);
    if (rc < 0) return weir_why_set(why, rc, "cannot make the spool folder %s: %s", spool->dir, weir_err_text(rc));

    spool->dir_fd = open(spool->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (spool->dir_fd < 0) {
        rc = weir_file_error(errno);
        return weir_why_set(why, rc, "cannot open the spool folder %s: %s", spool->dir, weir_err_text(rc));
    }
    if (flock(spool->dir_fd, LOCK_EX | LOCK_NB) < 0)
        return weir_why_set(why, WEIR_EDENIED, "the spool %s is in use by another process", spool->dir);
    return 0;
}

static int recover_lanes(struct agent_spool *spool, struct weir_why *why)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        char path[WEIR_PATH_BYTES];
        struct spool_lane *lane = &spool->lane[shard];
        if (access(spool_folder_path(spool, shard, path), F_OK) < 0) continue;

        lane->used = true;
        int rc = spool_lane_recover(spool, lane);
        if (rc < 0) return weir_why_set(why, rc, "cannot recover the spool lane %s: %s", path, weir_err_text(rc));
        lane->sent = lane->acked;
        spool->stats.found = spool_cum_add(spool->stats.found, lane->waiting.flows);
    }
    return 0;
}

int agent_spool_open(const struct agent_spool_conf *conf, uint64_t fresh_inc, struct agent_spool **ret,
                     struct weir_why *why)
{
    assert(fresh_inc != 0);
    int rc = WEIR_ENOMEM;
    struct agent_spool *spool = weir_calloc(1, sizeof *spool);
    if (spool == NULL) return rc;

    spool->dir_fd = -1;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        struct spool_lane *lane = &spool->lane[shard];
        *lane = (struct spool_lane){.shard = shard, .fd = -1, .next = 1, .synced = 1, .told = 1};
        lane->reading.fd = -1;
        lane->acking.fd = -1;
    }
    spool->conf = *conf;
    spool->dir = weir_strdup(conf->dir);
    if (spool->dir == NULL) goto fail;
    spool->conf.dir = spool->dir;

    rc = lock_folder(spool, why);
    if (rc < 0) goto fail;
    int known = read_identity(spool);
    if (known < 0 && known != WEIR_ENOTFOUND && known != WEIR_ECORRUPT) {
        rc = weir_why_set(why, known, "cannot read %s/identity: %s", spool->dir, weir_err_text(known));
        goto fail;
    }
    rc = recover_lanes(spool, why);
    if (rc < 0) goto fail;
    if (known < 0) {
        rc = agent_spool_renew(spool, fresh_inc);
        if (rc < 0) {
            weir_why_set(why, rc, "cannot write %s/identity: %s", spool->dir, weir_err_text(rc));
            goto fail;
        }
    }
    *ret = spool;
    return 0;

fail:
    agent_spool_close(spool);
    return rc;
}

void agent_spool_close(struct agent_spool *spool)
{
    if (spool == NULL) return;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        struct spool_lane *lane = &spool->lane[shard];
        if (lane->used) {
            if (lane->pending.any) (void)spool_put_pending(spool, lane);
            (void)spool_lane_sync(spool, lane);
            if (lane->ack_dirty) spool_lane_checkpoint(spool, lane, true);
            spool_lane_seal(lane);
        }
        spool_lane_close(lane);
    }
    if (spool->dir_fd >= 0) close(spool->dir_fd);
    weir_buf_fini(&spool->payload);
    weir_buf_fini(&spool->loss);
    weir_free(spool->dir);
    weir_free(spool);
}

/* ---- appending ---- */

/** Write a record with the lane's next number. */
static int put_record(struct agent_spool *spool, struct spool_lane *lane, struct spool_record *record,
                      struct weir_view header, struct weir_view body, bool force)
{
    static const uint8_t zeros[SPOOL_ALIGN];
    uint8_t head[SPOOL_HEAD_BYTES];
    record->shard = lane->shard;
    uint64_t size = spool_record_size(record);
    int rc = spool_room(spool, lane, size, force);
    if (rc < 0) return rc;

    record->first = lane->next; /* only now: making room may have synced the lane, and taken back what failed */
    record->last = lane->next;
    record->cum = spool_cum_add(lane->cum, record->sums);
    if (record->mark < lane->mark) record->mark = lane->mark;
    spool_record_encode(record, head);
    struct spool_segment *last = &lane->segments[lane->segment_count - 1];
    const struct weir_view parts[] = {weir_view_of(head, sizeof head), header, body,
                                      weir_view_of(zeros, size - sizeof head - header.size - body.size)};
    rc = weir_file_write_at(lane->fd, parts, 4, last->used);
    if (rc < 0) {
        spool->stats.io_errors++;
        return rc;
    }
    if (last->used == 0) last->oldest_ms = record->first_ms;
    last->used += size;
    spool_lane_remember(lane, record);
    lane->next++;
    lane->cum = record->cum;
    lane->mark = record->mark;
    return 0;
}

int spool_put_pending(struct agent_spool *spool, struct spool_lane *lane)
{
    struct weir_batch_header *lost = &lane->pending.header;
    struct spool_record record = {
        .sums = {.flows = lost->totals.flows, .packets = lost->totals.packets, .bytes = lost->totals.bytes}};
    for (;;) {
        /* The number is part of the payload, and making room may change it. */
        uint64_t seq = lane->next;
        int rc = spool_loss_record(spool, lost, seq, &record);
        if (rc < 0) return rc;
        rc = spool_room(spool, lane, spool_record_size(&record), true);
        if (rc < 0) return rc;
        if (lane->next != seq) continue;
        rc = put_record(spool, lane, &record, weir_buf_view(&spool->loss), weir_view_of(NULL, 0), true);
        if (rc < 0) return rc;
        break;
    }
    lane->pending = (struct spool_pending){0};
    return 0;
}

static int append_data(struct agent_spool *spool, struct spool_lane *lane, const struct weir_batch_header *header,
                       struct weir_view encoded, struct weir_view body, uint32_t crc, uint64_t mark)
{
    if (!lane->used) {
        char path[WEIR_PATH_BYTES];
        int rc = weir_file_make_folder(spool_folder_path(spool, lane->shard, path));
        if (rc == 0 && spool->conf.durable) rc = weir_file_sync_folder(spool->dir);
        if (rc < 0) return rc;
        lane->used = true;
    }
    struct spool_record record = {
        .kind = WEIR_RECORD_DATA,
        .shard = lane->shard,
        .first_ms = header->first_received_ms,
        .last_ms = header->last_received_ms,
        .sums = {.flows = header->totals.flows, .packets = header->totals.packets, .bytes = header->totals.bytes},
        .header_bytes = (uint32_t)encoded.size,
        .body_bytes = (uint32_t)body.size,
        .payload_crc = crc,
        .mark = mark,
    };
    if (lane->pending.any) {
        int rc = spool_room(spool, lane, spool_record_size(&record), false); /* else the loss just grows */
        if (rc == 0) rc = spool_put_pending(spool, lane);
        if (rc < 0) return rc;
    }
    int rc = put_record(spool, lane, &record, encoded, body, false);
    if (rc < 0) return rc;

    bool any = lane->unsynced.batches > 0;
    spool_loss_add(&lane->unsynced_header, &any, header);
    uint64_t size = spool_record_size(&record);
    lane->unsynced.batches++;
    lane->unsynced.bytes += size;
    lane->unsynced.flows = spool_cum_add(lane->unsynced.flows, record.sums);
    if (lane->waiting.batches == 0) lane->oldest_ms = record.first_ms;
    lane->waiting.batches++;
    lane->waiting.bytes += size;
    lane->waiting.flows = spool_cum_add(lane->waiting.flows, record.sums);
    return 0;
}

int agent_spool_append(struct agent_spool *spool, uint32_t shard, const struct weir_batch_header *header,
                       struct weir_view encoded, struct weir_view body, uint32_t crc, uint64_t mark,
                       struct agent_spool_place *place)
{
    assert(shard < WEIR_SHARDS && header->kind == WEIR_RECORD_DATA);
    assert(encoded.size <= WEIR_HEADER_BYTES_MOST && body.size <= WEIR_BODY_BYTES_MOST);
    struct spool_lane *lane = &spool->lane[shard];
    const struct weir_cum sums = {
        .flows = header->totals.flows, .packets = header->totals.packets, .bytes = header->totals.bytes};
    if (mark != 0 && mark <= lane->mark) return WEIR_EEXIST;
    spool->stats.taken = spool_cum_add(spool->stats.taken, sums);
    spool->stats.batches_taken++;
    int rc = append_data(spool, lane, header, encoded, body, crc, mark);
    if (rc == 0) {
        const struct spool_base *base = &spool->base[shard];
        *place = (struct agent_spool_place){.seq = lane->next - 1 - base->seq,
                                            .cum = spool_cum_subtract(lane->cum, base->cum)};
        return 0;
    }

    struct weir_cum *lost =
        rc == WEIR_EFULL || rc == WEIR_ENOSPACE ? &spool->stats.lost_full : &spool->stats.lost_error;
    *lost = spool_cum_add(*lost, sums);
    spool_loss_add(&lane->pending.header, &lane->pending.any, header);
    if (mark != 0) lane->mark = mark; /* written with the LOSS */
    return rc;
}

uint64_t agent_spool_mark(const struct agent_spool *spool)
{
    uint64_t mark = 0;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        if (spool->lane[shard].mark > mark) mark = spool->lane[shard].mark;
    return mark;
}

static bool is_dirty(const struct spool_lane *lane)
{
    return lane->next != lane->synced || lane->folder_dirty;
}

/** With many dirty lanes one sync of the whole file system costs far less than one for each. */
static bool sync_all_at_once(struct agent_spool *spool)
{
    int dirty = 0;
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++)
        dirty += is_dirty(&spool->lane[shard]);
    if (!spool->conf.durable || dirty < DIRTY_MANY) return false;
    spool->stats.syncs++;
    return syncfs(spool->dir_fd) == 0; /* else lane by lane, which tells whose data is bad */
}

int agent_spool_sync(struct agent_spool *spool, agent_spool_synced_fn *synced, void *ctx)
{
    int worst = 0;
    bool done = sync_all_at_once(spool);
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        struct spool_lane *lane = &spool->lane[shard];
        if (is_dirty(lane)) {
            int rc = done ? 0 : spool_lane_sync(spool, lane);
            if (done) spool_lane_note_synced(lane);
            if (rc < 0) worst = rc;
        }
        if (lane->told == lane->synced) continue;
        lane->told = lane->synced;
        synced(ctx, shard, lane->synced - spool->base[shard].seq);
    }
    return worst;
}

/* ---- sending ---- */

struct agent_spool_lane agent_spool_lane(const struct agent_spool *spool, uint32_t shard)
{
    const struct spool_lane *lane = &spool->lane[shard];
    if (!lane->used) return (struct agent_spool_lane){0};
    uint64_t base = spool->base[shard].seq;
    return (struct agent_spool_lane){.first_avail = lane->acked + 1 - base, .next = lane->synced - base};
}

enum weir_record_kind agent_spool_span(struct agent_spool *spool, uint32_t shard, uint64_t seq, uint64_t *first,
                                       uint64_t *last)
{
    struct spool_lane *lane = &spool->lane[shard];
    uint64_t base = spool->base[shard].seq;
    struct spool_record record;
    *first = seq;
    *last = seq;
    if (spool_lane_look(spool, lane, &lane->reading, seq + base, &record) < 0) return (enum weir_record_kind)0;
    *first = record.first > base ? record.first - base : 1;
    *last = record.last - base;
    return spool_lane_is_poison(lane, record.first) ? WEIR_RECORD_LOSS : record.kind;
}

static int read_payload(struct agent_spool *spool, const struct spool_lane *lane, const struct spool_record *record,
                        uint64_t at)
{
    size_t size = (size_t)record->header_bytes + record->body_bytes;
    weir_buf_clear(&spool->payload);
    uint8_t *bytes = weir_buf_reserve(&spool->payload, size + 1);
    if (bytes == NULL) return WEIR_ENOMEM;
    int rc = weir_file_read_at(lane->reading.fd, bytes, size, at + SPOOL_HEAD_BYTES);
    if (rc == WEIR_ESHORT) return WEIR_ECORRUPT;
    if (rc < 0) return rc;
    struct weir_view header = weir_view_of(bytes, record->header_bytes);
    struct weir_view body = weir_view_of(bytes + record->header_bytes, record->body_bytes);
    if (weir_batch_crc(header, body) != record->payload_crc) return WEIR_ECORRUPT;
    weir_buf_commit(&spool->payload, size);
    return 0;
}

/** As a LOSS: of a poisoned record, or with its last number as this incarnation counts. */
static int as_loss(struct agent_spool *spool, struct spool_record *record, int payload, uint64_t base)
{
    struct weir_batch_header header = {.schema = WEIR_SCHEMA};
    if (payload == 0) {
        int rc = weir_batch_header_decode(weir_view_of(spool->payload.data, record->header_bytes), &header);
        if (rc < 0) header = (struct weir_batch_header){.schema = WEIR_SCHEMA};
    }
    header.totals.flows = record->sums.flows;
    header.totals.packets = record->sums.packets;
    header.totals.bytes = record->sums.bytes;
    struct weir_batch_header loss;
    bool any = false;
    spool_loss_add(&loss, &any, &header);
    return spool_loss_record(spool, &loss, record->last - base, record);
}

int agent_spool_read(struct agent_spool *spool, uint32_t shard, uint64_t seq, struct agent_spool_record *out)
{
    struct spool_lane *lane = &spool->lane[shard];
    const struct spool_base *base = &spool->base[shard];
    struct spool_record record;
    uint64_t at;
    seq += base->seq;
    if (seq <= lane->acked || seq >= lane->synced) return WEIR_ENOTFOUND;
    int rc = spool_lane_find(spool, lane, &lane->reading, seq, &record, &at);
    if (rc < 0) return rc;

    rc = read_payload(spool, lane, &record, at);
    bool loss = record.kind == WEIR_RECORD_LOSS || spool_lane_is_poison(lane, record.first);
    if (loss && (rc == 0 || rc == WEIR_ECORRUPT)) rc = as_loss(spool, &record, rc, base->seq);
    if (rc < 0) return rc;

    const uint8_t *bytes = spool->payload.data;
    *out = (struct agent_spool_record){
        .kind = record.kind,
        .first = record.first > base->seq ? record.first - base->seq : 1,
        .last = record.last - base->seq,
        .header = loss ? weir_buf_view(&spool->loss) : weir_view_of(bytes, record.header_bytes),
        .body = loss ? weir_view_of(NULL, 0) : weir_view_of(bytes + record.header_bytes, record.body_bytes),
        .crc = record.payload_crc,
        .cum = spool_cum_subtract(record.cum, base->cum),
    };
    return 0;
}

void agent_spool_sent(struct agent_spool *spool, uint32_t shard, uint64_t seq)
{
    struct spool_lane *lane = &spool->lane[shard];
    seq += spool->base[shard].seq;
    if (seq > lane->sent) lane->sent = seq;
}

/* ---- acknowledging ---- */

static void drop_waiting(struct spool_lane *lane, const struct spool_record *record)
{
    lane->waiting.batches--;
    lane->waiting.bytes -= spool_record_size(record);
    lane->waiting.flows = spool_cum_subtract(lane->waiting.flows, record->sums);
}

void agent_spool_ack(struct agent_spool *spool, uint32_t shard, uint64_t seq)
{
    struct spool_lane *lane = &spool->lane[shard];
    seq += spool->base[shard].seq;
    if (seq >= lane->synced) seq = lane->synced - 1;
    while (lane->acked < seq) {
        struct spool_record record;
        if (spool_lane_look(spool, lane, &lane->acking, lane->acked + 1, &record) < 0) {
            /* Damaged meanwhile, but stored elsewhere: what is left of the lane is read anew. */
            spool->stats.io_errors++;
            lane->acked = seq;
            if (spool_lane_repair(spool, lane) < 0) return;
            break;
        }
        if (record.kind == WEIR_RECORD_DATA && !spool_lane_is_poison(lane, record.first)) {
            drop_waiting(lane, &record);
            spool->stats.acked = spool_cum_add(spool->stats.acked, record.sums);
            spool->stats.batches_acked++;
        }
        lane->acked = record.last;
        lane->acked_cum = record.cum;
        lane->acked_mark = record.mark;
        lane->oldest_ms = record.last_ms;
    }
    if (lane->sent < lane->acked) lane->sent = lane->acked;
    lane->ack_dirty = true;
    spool_lane_trim(spool, lane);
}

void agent_spool_checkpoint(struct agent_spool *spool)
{
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        struct spool_lane *lane = &spool->lane[shard];
        if (lane->ack_dirty) spool_lane_checkpoint(spool, lane, false);
        if (lane->used && lane->pending.any && ++lane->pending.age >= PENDING_AGE_MOST)
            (void)spool_put_pending(spool, lane);
    }
}

/* ---- poison ---- */

static int write_poison(struct agent_spool *spool, const struct spool_lane *lane)
{
    uint8_t bytes[16 + SPOOL_POISON_MOST * 8] = {0};
    char folder[WEIR_PATH_BYTES];
    char path[WEIR_PATH_BYTES];
    size_t size = 16 + (size_t)lane->poison_count * 8;
    weir_store_u32le(bytes, POISON_MAGIC);
    weir_store_u32le(bytes + 8, lane->poison_count);
    for (uint32_t i = 0; i < lane->poison_count; i++)
        weir_store_u64le(bytes + 16 + (size_t)i * 8, lane->poison[i]);
    weir_store_u32le(bytes + 4, weir_crc32c(0, bytes + 8, size - 8));
    const struct weir_view part = weir_view_of(bytes, size);
    return weir_file_replace(spool_folder_path(spool, lane->shard, folder),
                             spool_lane_path(spool, lane->shard, "poison", path), &part, 1, spool->conf.durable);
}

void spool_read_poison(struct agent_spool *spool, struct spool_lane *lane)
{
    char path[WEIR_PATH_BYTES];
    struct weir_buf buf = WEIR_BUF_INIT;
    lane->poison_count = 0;
    int rc = weir_file_load(spool_lane_path(spool, lane->shard, "poison", path), 16 + SPOOL_POISON_MOST * 8, &buf);
    if (rc == 0 && buf.size >= 16 && weir_load_u32le(buf.data) == POISON_MAGIC &&
        weir_load_u32le(buf.data + 4) == weir_crc32c(0, buf.data + 8, buf.size - 8)) {
        uint32_t count = weir_load_u32le(buf.data + 8);
        if (count <= SPOOL_POISON_MOST && buf.size == 16 + (size_t)count * 8) {
            for (uint32_t i = 0; i < count; i++)
                lane->poison[i] = weir_load_u64le(buf.data + 16 + (size_t)i * 8);
            lane->poison_count = count;
        }
    }
    weir_buf_fini(&buf);
}

static void forget_old_poison(struct spool_lane *lane)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < lane->poison_count; i++) {
        if (lane->poison[i] > lane->acked) lane->poison[kept++] = lane->poison[i];
    }
    lane->poison_count = kept;
}

static void quarantine_record(struct agent_spool *spool, const struct spool_record *record)
{
    char name[64];
    uint8_t head[SPOOL_HEAD_BYTES];
    spool_record_encode(record, head);
    snprintf(name, sizeof name, "lane-%03" PRIu32 "-%020" PRIu64 ".rec", record->shard, record->first);
    const struct weir_view parts[] = {weir_view_of(head, sizeof head), weir_buf_view(&spool->payload)};
    spool_quarantine_write(spool, name, parts, 2);
}

int agent_spool_poison(struct agent_spool *spool, uint32_t shard, uint64_t seq)
{
    struct spool_lane *lane = &spool->lane[shard];
    struct spool_record record;
    uint64_t at;
    seq += spool->base[shard].seq;
    if (seq <= lane->acked || seq >= lane->synced) return WEIR_ENOTFOUND;
    int rc = spool_lane_find(spool, lane, &lane->reading, seq, &record, &at);
    if (rc == WEIR_ECORRUPT) return spool_lane_repair(spool, lane);
    if (rc < 0) return rc;
    if (record.kind == WEIR_RECORD_LOSS || spool_lane_is_poison(lane, record.first)) return WEIR_ENOTFOUND;

    int payload = read_payload(spool, lane, &record, at);
    if (payload < 0 && payload != WEIR_ECORRUPT) return payload;
    forget_old_poison(lane);
    if (lane->poison_count == SPOOL_POISON_MOST) return WEIR_ELIMIT;
    lane->poison[lane->poison_count++] = record.first;
    rc = write_poison(spool, lane);
    if (rc < 0) {
        lane->poison_count--;
        return rc;
    }
    quarantine_record(spool, &record);
    struct weir_cum *lost = payload == 0 ? &spool->stats.lost_poison : &spool->stats.lost_damaged;
    *lost = spool_cum_add(*lost, record.sums);
    drop_waiting(lane, &record);
    return 0;
}

const struct agent_spool_stats *agent_spool_stats(struct agent_spool *spool)
{
    struct agent_spool_stats *stats = &spool->stats;
    stats->bytes = 0;
    stats->batches = 0;
    stats->oldest_ms = 0;
    stats->waiting = (struct weir_cum){0};
    for (uint32_t shard = 0; shard < WEIR_SHARDS; shard++) {
        const struct spool_lane *lane = &spool->lane[shard];
        if (lane->waiting.batches == 0) continue;
        stats->bytes += lane->waiting.bytes;
        stats->batches += lane->waiting.batches;
        stats->waiting = spool_cum_add(stats->waiting, lane->waiting.flows);
        if (stats->oldest_ms == 0 || lane->oldest_ms < stats->oldest_ms) stats->oldest_ms = lane->oldest_ms;
    }
    stats->disk_bytes = spool_disk_bytes(spool);
    return stats;
}

const struct agent_spool_stats *agent_spool_counted(const struct agent_spool *spool)
{
    return &spool->stats;
}
