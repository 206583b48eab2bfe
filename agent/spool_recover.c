/*
 * Reading a lane back from its folder.
 *
 * A segment file holds records in order from the number in its name; zeros or a torn record may follow in the youngest
 * one, which is all that a crash leaves. Anything else is damage: a record that does not decode with sound records
 * behind it, a file that is missing. Then the sound runs are copied into files of their own, a LOSS record takes the
 * numbers between them, with sums from the cumulative ones on both sides, and the damaged file goes into quarantine.
 *
 * Where two files disagree about a number, the one whose name is later holds the truth: that makes a repair that was
 * cut short harmless, because the copies are made before the damaged file goes.
 */
#include "agent/spool_lane.h"
#include "common/base/mem.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PASSES_MOST = 4, RUNS_MOST_PER_FILE = 64, SEARCH_BYTES = 65536, QUARANTINE_MOST = 100 };

/** Records that follow each other in one file. */
struct run {
    uint32_t file;
    uint64_t at; /* bytes at..end of the file */
    uint64_t end;
    uint64_t first;
    uint64_t last;
    struct weir_cum before;
    struct weir_cum after;
    uint64_t mark; /* of its last record */
    int64_t oldest_ms;
    bool loss; /* one LOSS record and nothing else */
};

struct file {
    uint64_t first; /* its name */
    uint64_t size;
    uint32_t runs;
    bool torn; /* something follows the last run that is not zeros */
};

struct scan {
    struct agent_spool *spool;
    struct spool_lane *lane;
    struct file *files;
    size_t file_count;
    struct run *runs;
    size_t run_count;
    size_t run_room;
    struct weir_buf payload;
};

/* ---- quarantine ---- */

static bool quarantine_has_room(struct agent_spool *spool)
{
    char path[WEIR_PATH_BYTES];
    spool->stats.quarantined++;
    if (weir_file_make_folder(spool_quarantine_path(spool, "", path)) < 0) return false;
    DIR *folder = opendir(path);
    if (folder == NULL) return false;
    int count = 0;
    while (readdir(folder) != NULL && count <= QUARANTINE_MOST)
        count++;
    closedir(folder);
    return count <= QUARANTINE_MOST;
}

void spool_quarantine_link(struct agent_spool *spool, const char *path, const char *name)
{
    char to[WEIR_PATH_BYTES];
    if (!quarantine_has_room(spool)) return;
    if (link(path, spool_quarantine_path(spool, name, to)) < 0 && errno != EEXIST) spool->stats.io_errors++;
}

void spool_quarantine_write(struct agent_spool *spool, const char *name, const struct weir_view *parts, size_t count)
{
    char folder[WEIR_PATH_BYTES];
    char path[WEIR_PATH_BYTES];
    if (!quarantine_has_room(spool)) return;
    spool_quarantine_path(spool, "", folder);
    if (weir_file_replace(folder, spool_quarantine_path(spool, name, path), parts, count, spool->conf.durable) < 0)
        spool->stats.io_errors++;
}

/* ---- what is there ---- */

static void read_ack(struct agent_spool *spool, struct spool_lane *lane)
{
    char path[WEIR_PATH_BYTES];
    lane->ack_generation = 0;
    int fd = open(spool_lane_path(spool, lane->shard, "ack", path), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    for (uint64_t slot = 0; slot < 2; slot++) {
        uint8_t bytes[SPOOL_ACK_BYTES];
        struct spool_ack ack;
        if (weir_file_read_at(fd, bytes, sizeof bytes, slot * SPOOL_ACK_APART) < 0) continue;
        if (!spool_ack_decode(bytes, &ack) || ack.generation <= lane->ack_generation) continue;
        lane->ack_generation = ack.generation;
        if (ack.acked < lane->acked) continue; /* we know better: the lane is being repaired while in use */
        lane->acked = ack.acked;
        lane->acked_cum = ack.cum;
        lane->acked_mark = ack.mark;
    }
    close(fd);
}

static int by_first(const void *a, const void *b)
{
    const struct file *left = a;
    const struct file *right = b;
    return left->first < right->first ? -1 : left->first > right->first;
}

/** List the segment files, oldest first; remove what weir_file_replace left behind. */
static int list_files(struct scan *scan)
{
    char path[WEIR_PATH_BYTES];
    DIR *folder = opendir(spool_folder_path(scan->spool, scan->lane->shard, path));
    if (folder == NULL) return weir_file_error(errno);
    size_t room = 0;
    int rc = 0;
    const struct dirent *entry;
    while (rc == 0 && (entry = readdir(folder)) != NULL) {
        struct file file = {0};
        char rest[8] = "";
        if (weir_file_is_leftover(entry->d_name)) {
            unlinkat(dirfd(folder), entry->d_name, 0);
            continue;
        }
        if (sscanf(entry->d_name, "%20" SCNu64 "%7s", &file.first, rest) != 2 || strcmp(rest, ".seg") != 0) continue;
        if (scan->file_count == room) {
            room = room == 0 ? 16 : room * 2;
            struct file *more = weir_realloc(scan->files, room * sizeof *more);
            if (more == NULL) {
                rc = WEIR_ENOMEM;
                break;
            }
            scan->files = more;
        }
        scan->files[scan->file_count++] = file;
    }
    closedir(folder);
    if (scan->file_count > 0) qsort(scan->files, scan->file_count, sizeof *scan->files, by_first);
    return rc;
}

static struct run *add_run(struct scan *scan, uint32_t file)
{
    if (scan->run_count == scan->run_room) {
        size_t room = scan->run_room == 0 ? 16 : scan->run_room * 2;
        struct run *more = weir_realloc(scan->runs, room * sizeof *more);
        if (more == NULL) return NULL;
        scan->runs = more;
        scan->run_room = room;
    }
    struct run *run = &scan->runs[scan->run_count++];
    *run = (struct run){.file = file};
    scan->files[file].runs++;
    return run;
}

/** A record of this lane at @at, whole and, if @deep, with a sound payload? */
static int record_at(struct scan *scan, int fd, const struct file *file, uint64_t at, bool deep,
                     struct spool_record *record)
{
    uint8_t head[SPOOL_HEAD_BYTES];
    if (at + sizeof head > file->size) return WEIR_ESHORT;
    int rc = weir_file_read_at(fd, head, sizeof head, at);
    if (rc == 0) rc = spool_record_decode(head, record);
    if (rc < 0) return rc;
    if (record->shard != scan->lane->shard) return WEIR_EFORMAT;
    if (at + spool_record_size(record) > file->size) return WEIR_ESHORT;
    if (!deep) return 0;

    size_t size = (size_t)record->header_bytes + record->body_bytes;
    weir_buf_clear(&scan->payload);
    uint8_t *bytes = weir_buf_reserve(&scan->payload, size + 1);
    if (bytes == NULL) return WEIR_ENOMEM;
    rc = weir_file_read_at(fd, bytes, size, at + sizeof head);
    if (rc < 0) return rc;
    struct weir_view header = weir_view_of(bytes, record->header_bytes);
    struct weir_view body = weir_view_of(bytes + record->header_bytes, record->body_bytes);
    return weir_batch_crc(header, body) == record->payload_crc ? 0 : WEIR_ECHECKSUM;
}

static bool is_serious(int rc)
{
    return rc == WEIR_EIO || rc == WEIR_ENOMEM || rc == WEIR_EVERSION;
}

/**
 * The next sound record with a number of @from..@limit-1 at or behind *@at, whose place goes to *@at.
 * 1, 0 when there is none (*@rubbish: but bytes that are not 0), or an error.
 */
static int search(struct scan *scan, int fd, const struct file *file, uint64_t from, uint64_t limit, uint64_t *at,
                  struct spool_record *record, bool *rubbish)
{
    uint8_t block[SEARCH_BYTES];
    *rubbish = false;
    for (uint64_t begin = *at; begin < file->size; begin += sizeof block) {
        size_t size = file->size - begin < sizeof block ? (size_t)(file->size - begin) : sizeof block;
        int rc = weir_file_read_at(fd, block, size, begin);
        if (rc < 0) return rc;
        for (size_t i = 0; i < size; i += SPOOL_ALIGN) {
            uint64_t word = 0;
            memcpy(&word, block + i, size - i < sizeof word ? size - i : sizeof word);
            if (word == 0) continue;
            *rubbish = true;
            rc = record_at(scan, fd, file, begin + i, true, record);
            if (is_serious(rc)) return rc;
            if (rc < 0 || record->first < from || record->first >= limit) continue;
            *at = begin + i;
            return 1;
        }
    }
    return 0;
}

static void count_waiting(struct spool_lane *lane, const struct spool_record *record)
{
    if (record->kind != WEIR_RECORD_DATA || record->last <= lane->acked) return;
    if (spool_lane_is_poison(lane, record->first)) return;
    if (lane->waiting.batches == 0) lane->oldest_ms = record->first_ms;
    lane->waiting.batches++;
    lane->waiting.bytes += spool_record_size(record);
    lane->waiting.flows = spool_cum_add(lane->waiting.flows, record->sums);
}

/** Find the runs of a file. @limit: the first number that is a later file's. @covered: up to where a LOSS reaches. */
static int scan_file(struct scan *scan, uint32_t index, uint64_t limit, uint64_t *covered)
{
    struct file *file = &scan->files[index];
    char path[WEIR_PATH_BYTES];
    int fd = open(spool_segment_path(scan->spool, scan->lane->shard, file->first, path), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return weir_file_error(errno);

    struct stat stat;
    int rc = fstat(fd, &stat) < 0 ? weir_file_error(errno) : 0;
    bool youngest = index + 1 == scan->file_count;
    uint64_t expected = file->first;
    uint64_t at = 0;
    struct run *run = NULL;
    file->size = rc == 0 ? (uint64_t)stat.st_size : 0;
    while (rc == 0 && expected < limit) {
        struct spool_record record;
        rc = record_at(scan, fd, file, at, youngest, &record);
        if (is_serious(rc)) break;
        bool follows = rc == 0 && record.first == expected;
        rc = 0;
        if (!follows) {
            rc = search(scan, fd, file, expected, limit, &at, &record, &file->torn);
            if (rc <= 0 || file->runs == RUNS_MOST_PER_FILE) break;
            rc = 0;
            run = NULL;
        }
        if (run == NULL) {
            run = add_run(scan, index);
            if (run == NULL) {
                rc = WEIR_ENOMEM;
                break;
            }
            run->at = at;
            run->first = record.first;
            run->before = spool_cum_subtract(record.cum, record.sums);
            run->oldest_ms = record.first_ms;
            run->loss = record.kind == WEIR_RECORD_LOSS;
        } else {
            run->loss = false;
        }
        at += spool_record_size(&record);
        run->end = at;
        run->last = record.last;
        run->after = record.cum;
        run->mark = record.mark;
        expected = record.last + 1;
        count_waiting(scan->lane, &record);
        if (record.last >= limit) *covered = record.last; /* a LOSS that was made longer */
    }
    close(fd);
    return rc < 0 ? rc : 0;
}

static int scan_lane(struct scan *scan)
{
    uint64_t covered = 0;
    size_t kept = 0;
    int rc = list_files(scan);
    if (rc < 0) return rc;
    for (size_t i = 0; i < scan->file_count; i++) {
        char path[WEIR_PATH_BYTES];
        if (scan->files[i].first > covered) {
            uint64_t limit = i + 1 < scan->file_count ? scan->files[i + 1].first : UINT64_MAX;
            rc = scan_file(scan, (uint32_t)i, limit, &covered);
            if (rc < 0) return rc;
            for (size_t r = scan->run_count - scan->files[i].runs; r < scan->run_count; r++)
                scan->runs[r].file = (uint32_t)kept;
            scan->files[kept++] = scan->files[i];
        } else if (unlink(spool_segment_path(scan->spool, scan->lane->shard, scan->files[i].first, path)) < 0) {
            return weir_file_error(errno);
        }
    }
    scan->file_count = kept;
    return 0;
}

/* ---- repair ---- */

static bool is_sound(const struct scan *scan)
{
    size_t r = 0;
    for (size_t i = 0; i < scan->file_count; i++) {
        const struct file *file = &scan->files[i];
        bool youngest = i + 1 == scan->file_count;
        if (file->runs > 1) return false;
        if (file->runs == 0) {
            if (!youngest) return false;
            continue;
        }
        const struct run *run = &scan->runs[r++];
        if (run->at != 0 || run->first != file->first) return false;
        if (youngest || run->last + 1 == scan->files[i + 1].first) continue;
        if (scan->files[i + 1].first - 1 > scan->lane->acked) return false; /* a gap that matters */
    }
    return true;
}

static int copy_run(struct scan *scan, int from, const struct run *run)
{
    char folder[WEIR_PATH_BYTES];
    char path[WEIR_PATH_BYTES];
    size_t size = (size_t)(run->end - run->at);
    uint8_t *bytes = weir_malloc(size);
    if (bytes == NULL) return WEIR_ENOMEM;
    int rc = weir_file_read_at(from, bytes, size, run->at);
    const struct weir_view part = weir_view_of(bytes, size);
    if (rc == 0)
        rc = weir_file_replace(spool_folder_path(scan->spool, scan->lane->shard, folder),
                               spool_segment_path(scan->spool, scan->lane->shard, run->first, path), &part, 1,
                               scan->spool->conf.durable);
    weir_free(bytes);
    return rc;
}

/**
 * Write a LOSS for the numbers between what is sound, unless they are acknowledged. *@named: the number that its file is
 * named by, if there is one.
 */
static int fill_gap(struct scan *scan, uint64_t first, uint64_t last, struct weir_cum before, struct weir_cum after,
                    uint64_t *named)
{
    struct spool_lane *lane = scan->lane;
    if (last <= lane->acked) return 0;
    if (first <= lane->acked) {
        first = lane->acked + 1;
        before = lane->acked_cum;
    }
    struct spool_record record = {
        .shard = lane->shard, .first = first, .last = last, .sums = spool_cum_subtract(after, before), .cum = after};
    struct weir_batch_header loss = {
        .kind = WEIR_RECORD_LOSS,
        .schema = WEIR_SCHEMA,
        .totals = {.flows = record.sums.flows, .packets = record.sums.packets, .bytes = record.sums.bytes}};
    uint64_t size;
    int rc = spool_loss_write(scan->spool, &loss, &record, &size);
    if (rc < 0) return rc;
    *named = first;
    scan->spool->stats.lost_damaged = spool_cum_add(scan->spool->stats.lost_damaged, record.sums);
    return 0;
}

/** Give each run of a damaged file a file of its own; the first may take its place. */
static int split_file(struct scan *scan, const struct file *file, const struct run *runs)
{
    char path[WEIR_PATH_BYTES];
    char name[64];
    spool_segment_path(scan->spool, scan->lane->shard, file->first, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return weir_file_error(errno);

    snprintf(name, sizeof name, "lane-%03" PRIu32 "-%020" PRIu64 ".seg", scan->lane->shard, file->first);
    spool_quarantine_link(scan->spool, path, name);
    int rc = 0;
    for (uint32_t i = file->runs; rc == 0 && i > 0; i--) /* from the back: the old file goes last */
        rc = copy_run(scan, fd, &runs[i - 1]);
    close(fd);
    return rc;
}

/** What precedes the next run. */
struct edge {
    uint64_t next;
    struct weir_cum cum;
    bool known; /* @cum */
};

/** Copy what is sound of a file, put LOSS records between, remove the file: in this order. */
static int repair_file(struct scan *scan, size_t index, const struct run *runs, struct edge *edge)
{
    const struct file *file = &scan->files[index];
    bool youngest = index + 1 == scan->file_count;
    bool whole = file->runs == 1 && runs->at == 0 && runs->first == file->first;
    bool damaged = !whole && !(youngest && file->runs == 0);
    bool replaced = file->runs > 0 && runs->first == file->first;
    if (damaged) {
        int rc = split_file(scan, file, runs);
        if (rc < 0) return rc;
    }
    for (uint32_t n = 0; n < file->runs; n++) {
        uint64_t named = 0;
        if (runs[n].first > edge->next) {
            struct weir_cum before = edge->known ? edge->cum : runs[n].before;
            int rc = fill_gap(scan, edge->next, runs[n].first - 1, before, runs[n].before, &named);
            if (rc < 0) return rc;
        }
        replaced |= named == file->first;
        *edge = (struct edge){.next = runs[n].last + 1, .cum = runs[n].after, .known = true};
    }
    if (!damaged || replaced) return 0;

    char path[WEIR_PATH_BYTES];
    return unlink(spool_segment_path(scan->spool, scan->lane->shard, file->first, path)) < 0 ? weir_file_error(errno)
                                                                                             : 0;
}

static int repair(struct scan *scan)
{
    const struct spool_lane *lane = scan->lane;
    struct edge edge = {
        .next = scan->files[0].first, .cum = lane->acked_cum, .known = lane->acked + 1 >= scan->files[0].first};
    size_t r = 0;
    for (size_t i = 0; i < scan->file_count; i++) {
        int rc = repair_file(scan, i, scan->runs + r, &edge);
        if (rc < 0) return rc;
        r += scan->files[i].runs;
    }
    return 0;
}

/* ---- a sound lane, in memory ---- */

static int take_over(struct scan *scan)
{
    struct spool_lane *lane = scan->lane;
    size_t r = 0;
    lane->next = scan->file_count > 0 ? scan->files[0].first : lane->acked + 1;
    lane->cum = lane->acked_cum;
    if (lane->mark < lane->acked_mark) lane->mark = lane->acked_mark;
    if (lane->acked + 1 < lane->next) { /* the file that said so was older than the segments */
        lane->acked = lane->next - 1;
        lane->acked_cum = scan->run_count > 0 ? scan->runs[0].before : lane->acked_cum;
    }
    for (size_t i = 0; i < scan->file_count; i++) {
        const struct file *file = &scan->files[i];
        const struct run *run = file->runs > 0 ? &scan->runs[r++] : NULL;
        struct spool_segment segment = {.first = file->first, .used = 0, .allocated = file->size, .before = lane->cum};
        if (run != NULL) {
            segment.used = run->end;
            segment.before = run->before;
            segment.oldest_ms = run->oldest_ms;
            segment.loss = run->loss;
            lane->next = run->last + 1;
            lane->cum = run->after;
            if (lane->mark < run->mark) lane->mark = run->mark;
        }
        int rc = spool_lane_add_segment(lane, &segment);
        if (rc < 0) return rc;
    }
    if (lane->acked >= lane->next) { /* acknowledged, but not durable when we crashed */
        lane->next = lane->acked + 1;
        lane->cum = lane->acked_cum;
        lane->waiting = (struct spool_sum){0};
    }
    lane->synced = lane->next;
    lane->synced_cum = lane->cum;
    lane->told = lane->synced;
    return 0;
}

/** Cut off what a crash left behind the last record; the next record begins another segment. */
static int cut_tail(struct scan *scan)
{
    struct spool_lane *lane = scan->lane;
    if (lane->segment_count == 0) return 0;
    struct spool_segment *last = &lane->segments[lane->segment_count - 1];
    char path[WEIR_PATH_BYTES];
    if (scan->files[scan->file_count - 1].torn) scan->spool->stats.torn_tails++;
    if (last->allocated == last->used) return 0;
    if (truncate(spool_segment_path(scan->spool, lane->shard, last->first, path), (off_t)last->used) < 0)
        return weir_file_error(errno);
    last->allocated = last->used;
    return 0;
}

static void scan_fini(struct scan *scan)
{
    weir_free(scan->files);
    weir_free(scan->runs);
    weir_buf_fini(&scan->payload);
}

int spool_lane_recover(struct agent_spool *spool, struct spool_lane *lane)
{
    read_ack(spool, lane);
    spool_read_poison(spool, lane);
    for (int pass = 0; pass < PASSES_MOST; pass++) {
        struct scan scan = {.spool = spool, .lane = lane};
        lane->waiting = (struct spool_sum){0};
        int rc = scan_lane(&scan);
        bool sound = rc == 0 && is_sound(&scan);
        if (sound) rc = take_over(&scan);
        if (sound && rc == 0) rc = cut_tail(&scan);
        if (rc == 0 && !sound) rc = repair(&scan);
        scan_fini(&scan);
        if (rc < 0 || sound) {
            if (rc == 0) spool_lane_trim(spool, lane);
            return rc;
        }
    }
    return WEIR_ECORRUPT;
}

int spool_lane_repair(struct agent_spool *spool, struct spool_lane *lane)
{
    uint64_t told = lane->told;
    (void)spool_lane_sync(spool, lane);
    spool_lane_seal(lane);
    struct spool_pending pending = lane->pending;
    spool_lane_close(lane);
    int rc = spool_lane_recover(spool, lane);
    lane->pending = pending;
    lane->told = told;
    return rc;
}
