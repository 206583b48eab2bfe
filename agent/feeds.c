#include "agent/feeds.h"

#include "agent/counters.h"
#include "agent/feed/feed.h"
#include "agent/feed/reader.h"
#include "agent/feed/state.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TAKE_BYTES = 1 << 20,
    READ_BYTES = 256 << 10,
    RESCAN_MS = 1000,
    SETTLE_MS = 100,
    WAIT_MS = 2,
    PROGRESS_MS = 10000,
    BAD_LINES_PER_SECOND = 5,
    SOURCES_MOST = 256, /* open at a time in a take */
    DEPTH_MOST = 16
};

/** A file that is being read: where its parser stands. */
struct follow {
    int index; /* in the state; -1: none */
    dev_t device;
    ino_t inode;
    struct feed_reader *reader;
    struct feed_parser *parser;
    struct weir_buf buf; /* read and not used up */
    uint64_t at;         /* of the first byte in @buf */
    uint64_t hash;       /* of what is before */
    uint64_t flows;
    uint64_t bad;
};

struct feed {
    const struct agent_feed_conf *conf;
    uint64_t id;
    bool pushed;             /* its logs are in the inbox, each whole */
    size_t inbox_index;      /* and are there under this number */
    struct weir_ip exporter; /* zeros: as the log says */
    bool has_exporter;
    struct follow follow;
};

/** The batches of a take, in the order in which they began; without flows that of a source that was only told of. */
struct take {
    struct weir_batch **batches;
    size_t count;
    size_t room;
    struct weir_batch *open[SOURCES_MOST]; /* among them */
    size_t open_count;
    int rc;
};

struct agent_feeds {
    struct feed *feeds;
    size_t count;
    struct agent_ship *ship;
    struct agent_inbox *inbox; /* NULL: no feed is pushed */
    struct weir_metrics *metrics;
    struct feed_state state;
    bool dirty; /* @state has news */
    bool begun; /* a take failed half-way: it comes before any other */
    int inotify;
    pthread_t thread;
    bool running;
    atomic_bool stopping;
    struct weir_log_limit bad_lines;
    struct weir_log_limit error_lines;
    int64_t scan_ms;  /* when this look at all folders began */
    int64_t since_ms; /* and the one before: a file that was not seen since then is gone; 0: none */
    int64_t progress_mono_ms;

    /* Of the take that is being made. */
    struct feed *feed;
    const char *path;
    struct take take;
    bool silent; /* what is parsed was taken before */
};

static void count(struct agent_feeds *feeds, enum agent_counter counter, uint64_t more)
{
    weir_metrics_add(feeds->metrics, counter, more);
}

static void complain(struct agent_feeds *feeds, const char *event, const char *path, const char *reason)
{
    char quoted[2][512];
    uint64_t held_back;
    if (!weir_log_allowed(&feeds->error_lines, weir_mono_ms(), BAD_LINES_PER_SECOND, &held_back)) return;
    weir_log(WEIR_LOG_ERROR, event, "feed=%s file=%s reason=%s held_back=%" PRIu64, feeds->feed->conf->name,
             weir_log_quote(path, quoted[0], sizeof quoted[0]), weir_log_quote(reason, quoted[1], sizeof quoted[1]),
             held_back);
}

/* ---- what a parser yields ---- */

static void clear_take(struct take *take)
{
    for (size_t i = 0; i < take->count; i++)
        weir_batch_destroy(take->batches[i]);
    take->count = 0;
    take->open_count = 0;
    take->rc = 0;
}

static struct weir_batch *add_batch(struct take *take, const struct weir_source *source)
{
    if (take->count == take->room) {
        size_t room = take->room == 0 ? 16 : take->room * 2;
        struct weir_batch **more = weir_realloc(take->batches, room * sizeof *more);
        if (more == NULL) return NULL;
        take->batches = more;
        take->room = room;
    }
    struct weir_batch *batch = NULL;
    if (weir_batch_create(64, &batch) < 0) return NULL;
    batch->source = *source;
    take->batches[take->count++] = batch;
    return batch;
}

/** Is there room for a flow, with whatever is kept of it? */
static bool has_room(const struct weir_batch *batch)
{
    size_t kept = 0;
    for (int i = 0; batch->extras != NULL && i < WEIR_EXTRAS_MOST; i++)
        kept += batch->extras[i].values.size;
    return batch->count < WEIR_BATCH_MOST &&
           kept + (size_t)WEIR_EXTRAS_MOST * (WEIR_EXTRA_VALUE_MOST + 1) <= WEIR_EXTRA_BYTES_MOST;
}

static int append_kept(struct agent_feeds *feeds, struct weir_batch *batch)
{
    const struct feed_parser *parser = feeds->feed->follow.parser;
    for (size_t i = 0; i < feed_parser_keeps(parser); i++) {
        struct weir_extra extra = feed_parser_extra(parser, i);
        struct weir_extra_column *column = weir_batch_extra(batch, (uint32_t)i, &extra);
        if (column == NULL) return WEIR_ENOMEM;
        struct weir_view value = feed_parser_kept(parser, i);
        weir_extra_append(column, value);
        if (value.size > WEIR_EXTRA_VALUE_MOST) count(feeds, AGENT_COUNT_feed_kept_cut, 1);
        if (column->values.failed) return WEIR_ENOMEM;
    }
    return 0;
}

/** The open batch of a source with room for a flow, or NULL without memory. */
static struct weir_batch *batch_of(struct take *take, const struct weir_source *source)
{
    size_t i = 0;
    while (i < take->open_count && (take->open[i]->source.domain != source->domain ||
                                    !weir_ip_equal(&take->open[i]->source.exporter, &source->exporter)))
        i++;
    if (i < take->open_count && has_room(take->open[i])) return take->open[i];
    struct weir_batch *batch = add_batch(take, source);
    if (batch == NULL) return NULL;
    if (i == SOURCES_MOST) i = take->open_count = 0; /* by the bytes alone, so that a take is always the same */
    if (i == take->open_count) take->open_count++;
    take->open[i] = batch;
    return batch;
}

static struct weir_source source_of(const struct agent_feeds *feeds, const struct feed_origin *origin)
{
    struct weir_source source = origin->source;
    if (feeds->feed->has_exporter) source.exporter = feeds->feed->exporter;
    return source;
}

static void on_flow(void *ctx, const struct feed_origin *origin, const struct weir_flow *flow)
{
    struct agent_feeds *feeds = ctx;
    if (feeds->silent) return;
    const struct weir_source source = source_of(feeds, origin);
    struct weir_batch *batch = batch_of(&feeds->take, &source);
    int rc = batch == NULL ? WEIR_ENOMEM : append_kept(feeds, batch);
    if (rc == 0) rc = weir_batch_append(batch, flow);
    if (rc < 0) feeds->take.rc = rc;
    feeds->feed->follow.flows++;
}

static void on_told(void *ctx, const struct feed_origin *origin, enum feed_told what)
{
    static const enum agent_counter counters[FEED_TOLD_COUNT] = {AGENT_COUNT_feed_nodata, AGENT_COUNT_feed_skipped,
                                                                 AGENT_COUNT_feed_begun, AGENT_COUNT_feed_no_flow};
    struct agent_feeds *feeds = ctx;
    if (feeds->silent) return;
    count(feeds, counters[what], 1);
    if (what != FEED_TOLD_NODATA && what != FEED_TOLD_SKIPPED) return;
    const struct weir_source source = source_of(feeds, origin);
    struct weir_batch *batch = batch_of(&feeds->take, &source); /* it was heard, with flows or without */
    if (batch == NULL)
        feeds->take.rc = WEIR_ENOMEM;
    else if (what == FEED_TOLD_SKIPPED)
        batch->loss.sequence_lost++; /* WEIR_DROP_skipdata: AWS has no sequence numbers */
}

static void on_bad(void *ctx, uint64_t line, const char *reason)
{
    struct agent_feeds *feeds = ctx;
    char quoted[2][512];
    uint64_t held_back;
    if (feeds->silent) return;
    count(feeds, AGENT_COUNT_feed_bad, 1);
    feeds->feed->follow.bad++;
    if (!weir_log_allowed(&feeds->bad_lines, weir_mono_ms(), BAD_LINES_PER_SECOND, &held_back)) return;
    weir_log(WEIR_LOG_WARN, "feed.bad", "feed=%s file=%s line=%" PRIu64 " reason=%s held_back=%" PRIu64,
             feeds->feed->conf->name, weir_log_quote(feeds->path, quoted[0], sizeof quoted[0]), line,
             weir_log_quote(reason, quoted[1], sizeof quoted[1]), held_back);
}

static size_t parse(struct agent_feeds *feeds, struct follow *follow, size_t size, bool last)
{
    const struct feed_out out = {.flow = on_flow, .told = on_told, .bad = on_bad, .ctx = feeds};
    size_t used = feed_parse(follow->parser, weir_view_of(follow->buf.data, size), last, &out);
    follow->hash = feed_hash(follow->hash, follow->buf.data, used);
    memmove(follow->buf.data, follow->buf.data + used, follow->buf.size - used);
    follow->buf.size -= used;
    follow->at += used;
    return used;
}

/* ---- reading ---- */

static void close_follow(struct follow *follow)
{
    feed_reader_destroy(follow->reader);
    feed_parser_destroy(follow->parser);
    weir_buf_fini(&follow->buf);
    *follow = (struct follow){.index = -1};
}

static int open_follow(struct agent_feeds *feeds, int fd, int index, const struct stat *stat)
{
    const struct agent_feed_conf *conf = feeds->feed->conf;
    struct follow *follow = &feeds->feed->follow;
    close_follow(follow);
    follow->hash = FEED_HASH_INIT;
    follow->index = index;
    follow->device = stat->st_dev;
    follow->inode = stat->st_ino;
    int rc = feed_reader_create(fd, &follow->reader);
    if (rc == 0)
        rc = feed_parser_create((enum feed_format)conf->format, conf->fields, conf->keep, conf->name, &follow->parser,
                                NULL);
    return rc;
}

/** Have @size bytes in the buffer, or as many as there are now. */
static int fill(struct agent_feeds *feeds, struct follow *follow, size_t size)
{
    while (follow->buf.size < size) {
        uint8_t *room = weir_buf_reserve(&follow->buf, READ_BYTES);
        if (room == NULL) return WEIR_ENOMEM;
        int64_t got = feed_reader_read(follow->reader, room, READ_BYTES);
        if (got < 0) return (int)got;
        if (got == 0) return 0;
        weir_buf_commit(&follow->buf, (size_t)got);
        if (!feeds->silent) count(feeds, AGENT_COUNT_feed_bytes, (uint64_t)got);
        if (atomic_load(&feeds->stopping)) return WEIR_ECANCELLED;
    }
    return 0;
}

/** Go to where the file was left. WEIR_ENOTFOUND: its content is another one than it was. */
static int resume(struct agent_feeds *feeds, struct follow *follow, const struct feed_file *file)
{
    int rc = 0;
    feeds->silent = true;
    while (rc == 0 && follow->at < file->offset) {
        uint64_t left = file->offset - follow->at;
        rc = fill(feeds, follow, left < TAKE_BYTES ? (size_t)left : follow->buf.size + TAKE_BYTES);
        if (rc < 0) break;
        size_t size = follow->buf.size < left ? follow->buf.size : (size_t)left;
        if (parse(feeds, follow, size, size == left) == 0) rc = WEIR_ENOTFOUND;
    }
    feeds->silent = false;
    if (rc == 0 && follow->hash != file->hash) rc = WEIR_ENOTFOUND;
    return rc;
}

/** The beginning of a content that was taken. */
struct taken {
    uint64_t offset;
    uint64_t hash;
};

static int by_offset(const void *a, const void *b)
{
    const struct taken *left = a;
    const struct taken *right = b;
    return left->offset < right->offset ? -1 : left->offset > right->offset;
}

/** What was taken of the files of this feed, the shortest first. *ret is the caller's. */
static int list_taken(const struct agent_feeds *feeds, struct taken **ret, size_t *ret_count)
{
    const struct feed_state *state = &feeds->state;
    struct taken *list = weir_calloc(state->count + 1, sizeof *list);
    size_t found = 0;
    if (list == NULL) return WEIR_ENOMEM;
    for (size_t i = 0; i < state->count; i++) {
        const struct feed_file *file = &state->files[i];
        if (file->feed == feeds->feed->id && file->offset > 0)
            list[found++] = (struct taken){.offset = file->offset, .hash = file->hash};
    }
    qsort(list, found, sizeof *list, by_offset);
    *ret = list;
    *ret_count = found;
    return 0;
}

/** Which of @list does the content begin with? The longest goes to *best. */
static int compare(struct agent_feeds *feeds, struct feed_reader *reader, const struct taken *list, size_t list_count,
                   struct taken *best)
{
    uint8_t *block = weir_malloc(READ_BYTES);
    if (block == NULL) return WEIR_ENOMEM;
    struct taken here = {.hash = FEED_HASH_INIT};
    int rc = 0;
    for (size_t next = 0; rc == 0 && next < list_count;) {
        int64_t got = feed_reader_read(reader, block, READ_BYTES);
        if (got < 0 && got != WEIR_ECORRUPT) rc = (int)got;
        if (got <= 0) break;
        const uint64_t end = here.offset + (uint64_t)got;
        for (const uint8_t *at = block; here.offset < end;) {
            uint64_t upto = next < list_count && list[next].offset < end ? list[next].offset : end;
            here.hash = feed_hash(here.hash, at, (size_t)(upto - here.offset));
            at += upto - here.offset;
            here.offset = upto;
            for (; next < list_count && list[next].offset == upto; next++)
                if (list[next].hash == here.hash) *best = here;
        }
        if (atomic_load(&feeds->stopping)) rc = WEIR_ECANCELLED;
    }
    weir_free(block);
    return rc;
}

/** A file that is new by its name: how much of its content was taken out of another one? */
static int identify(struct agent_feeds *feeds, const char *path, struct taken *best)
{
    struct taken *list = NULL;
    size_t list_count;
    struct feed_reader *reader = NULL;
    *best = (struct taken){.hash = FEED_HASH_INIT};
    int rc = list_taken(feeds, &list, &list_count);
    if (rc < 0) return rc;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    rc = fd < 0 ? WEIR_EIO : feed_reader_create(fd, &reader);
    if (rc == 0) rc = compare(feeds, reader, list, list_count, best);
    feed_reader_destroy(reader);
    weir_free(list);
    return rc;
}

/* ---- taking ---- */

static int save(struct agent_feeds *feeds)
{
    int rc = feed_state_save(&feeds->state);
    if (rc == 0) feeds->dirty = false;
    return rc;
}

static int wait_a_little(struct agent_feeds *feeds)
{
    if (atomic_load(&feeds->stopping)) return WEIR_ECANCELLED;
    poll(NULL, 0, WAIT_MS);
    return 0;
}

/** The batches go to the spool, and are synced when this returns. */
static int spool_take(struct agent_feeds *feeds, uint64_t first_mark)
{
    struct take *take = &feeds->take;
    int64_t now_ms = weir_wall_ms();
    uint64_t mark = first_mark;
    for (size_t i = 0; i < take->count; i++) {
        struct weir_batch *batch = take->batches[i];
        batch->protocol = feed_protocol((enum feed_format)feeds->feed->conf->format);
        batch->first_received_ms = now_ms;
        batch->last_received_ms = now_ms;
        int rc;
        while ((rc = agent_ship_put(feeds->ship, batch, mark)) == WEIR_EFULL) {
            rc = wait_a_little(feeds);
            if (rc < 0) return rc;
        }
        if (rc < 0) return rc;
        count(feeds, AGENT_COUNT_feed_flows, batch->count);
        mark++;
    }
    if (mark > first_mark) agent_ship_hurry(feeds->ship);
    while (mark > first_mark && agent_ship_mark(feeds->ship) < mark - 1) {
        int rc = wait_a_little(feeds);
        if (rc < 0) return rc;
    }
    return 0;
}

/** One take of the file. 1; 0 when there is nothing more now. */
static int take_some(struct agent_feeds *feeds, struct follow *follow)
{
    struct feed_file *file = &feeds->state.files[follow->index];
    bool again = file->take_to > file->offset; /* it was begun before we were killed */
    size_t want = again ? (size_t)(file->take_to - file->offset) : follow->buf.size + TAKE_BYTES;
    int rc = fill(feeds, follow, want);
    if (rc < 0) return rc;
    if (again && follow->buf.size < want) return WEIR_ENOTFOUND;

    clear_take(&feeds->take);
    size_t size = again ? want : follow->buf.size;
    bool whole = feeds->feed->pushed && size < want; /* and nothing will come behind it */
    bool last = again || whole || feed_reader_at_end(follow->reader);
    size_t used = parse(feeds, follow, size, last);
    if (feeds->take.rc < 0) return feeds->take.rc;
    if (used == 0) return 0;

    if (!again) {
        file->take_to = follow->at;
        file->take_mark = feeds->state.next_mark;
        feeds->state.next_mark += feeds->take.count;
        if (feeds->take.count > 0) rc = save(feeds);
    }
    if (rc == 0) rc = spool_take(feeds, file->take_mark);
    if (rc < 0) return rc;
    file->offset = follow->at;
    file->hash = follow->hash;
    file->take_to = file->offset;
    feeds->dirty = true;
    return 1;
}

static void tell_progress(struct agent_feeds *feeds, const struct follow *follow, bool done)
{
    char quoted[512];
    int64_t now = weir_mono_ms();
    if (!done && now - feeds->progress_mono_ms < PROGRESS_MS) return;
    feeds->progress_mono_ms = now;
    bool routine = done && feeds->feed->pushed;
    weir_log(routine ? WEIR_LOG_DEBUG : WEIR_LOG_INFO, done ? "feed.taken" : "feed.progress",
             "feed=%s file=%s bytes=%" PRIu64 " flows=%" PRIu64 " bad=%" PRIu64, feeds->feed->conf->name,
             weir_log_quote(feeds->path, quoted, sizeof quoted), follow->at, follow->flows, follow->bad);
}

/** Everything that the file has now. */
static int take_all(struct agent_feeds *feeds, const struct stat *stat)
{
    struct follow *follow = &feeds->feed->follow;
    uint64_t before = follow->at;
    int rc;
    while ((rc = take_some(feeds, follow)) > 0)
        tell_progress(feeds, follow, false);
    clear_take(&feeds->take);
    if (rc < 0) return rc;
    struct feed_file *file = &feeds->state.files[follow->index];
    file->raw_bytes = (uint64_t)stat->st_size;
    file->changed_ns = stat->st_mtim.tv_sec * INT64_C(1000000000) + stat->st_mtim.tv_nsec;
    feeds->dirty = true;
    if (follow->at != before) tell_progress(feeds, follow, true);
    return 0;
}

static int add_file(struct agent_feeds *feeds, const char *path, const struct stat *stat)
{
    struct taken before = {.hash = FEED_HASH_INIT};
    int rc = feeds->feed->pushed ? 0 : identify(feeds, path, &before); /* the same may be pushed twice */
    if (rc < 0) return rc;
    const struct feed_file file = {.feed = feeds->feed->id,
                                   .device = stat->st_dev,
                                   .inode = stat->st_ino,
                                   .offset = before.offset,
                                   .hash = before.hash,
                                   .take_to = before.offset,
                                   .seen_ms = feeds->scan_ms};
    int index = feed_state_find(&feeds->state, file.feed, file.device, file.inode);
    if (index >= 0)
        feeds->state.files[index] = file;
    else
        index = feed_state_add(&feeds->state, &file, feeds->since_ms);
    if (index >= 0) count(feeds, before.offset > 0 ? AGENT_COUNT_feed_files_known : AGENT_COUNT_feed_files, 1);
    return index;
}

/** Open the file and go to where it was left; its index goes to the feed's follow. */
static int open_file(struct agent_feeds *feeds, const char *path, const struct stat *stat, int index)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        if (index < 0) index = add_file(feeds, path, stat);
        if (index < 0) return index;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return WEIR_EIO;
        int rc = open_follow(feeds, fd, index, stat);
        if (rc == 0) rc = resume(feeds, &feeds->feed->follow, &feeds->state.files[index]);
        if (rc != WEIR_ENOTFOUND) return rc;
        if (feeds->state.files[index].take_to > feeds->state.files[index].offset)
            complain(feeds, "feed.lost", path, "the file was changed before what was read of it was spooled");
        if (feeds->feed->pushed) break; /* nobody changes it: the disk is not sound */
        index = -1;                     /* another content under the same inode */
    }
    return WEIR_ECORRUPT;
}

/** Take what is new of a file. What fails is told and counted; WEIR_ECORRUPT, for a log of the inbox: it stays so. */
static int look_at(struct agent_feeds *feeds, struct feed *feed, const char *path, const struct stat *stat)
{
    struct follow *follow = &feed->follow;
    int64_t changed_ns = stat->st_mtim.tv_sec * INT64_C(1000000000) + stat->st_mtim.tv_nsec;
    feeds->feed = feed;
    feeds->path = path;
    int index = feed_state_find(&feeds->state, feed->id, stat->st_dev, stat->st_ino);
    if (index >= 0) {
        struct feed_file *file = &feeds->state.files[index];
        file->seen_ms = feeds->scan_ms;
        if (file->raw_bytes == (uint64_t)stat->st_size && file->changed_ns == changed_ns &&
            file->take_to == file->offset)
            return 0;
    }
    int rc = 0;
    bool goes_on = index >= 0 && follow->index == index && follow->device == stat->st_dev &&
                   follow->inode == stat->st_ino && (uint64_t)stat->st_size >= feeds->state.files[index].raw_bytes;
    if (!goes_on) rc = open_file(feeds, path, stat, index);
    if (rc >= 0) rc = take_all(feeds, stat);
    if (rc >= 0) return 0;

    index = follow->index;
    close_follow(follow);
    feeds->begun = index >= 0 && feeds->state.files[index].take_to > feeds->state.files[index].offset;
    if (rc == WEIR_ECANCELLED) return rc;
    count(feeds, AGENT_COUNT_feed_files_failed, 1);
    complain(feeds, "feed.failed", path,
             rc == WEIR_EFULL ? "more files are there than can be remembered: remove what was taken"
                              : weir_err_text(rc));
    if (rc == WEIR_ECORRUPT && index >= 0 && !feed->pushed) { /* what is sound was taken; look again when it changed */
        feeds->state.files[index].raw_bytes = (uint64_t)stat->st_size;
        feeds->state.files[index].changed_ns = changed_ns;
    }
    return rc;
}

/* ---- folders ---- */

static bool is_unfinished(const char *name)
{
    size_t size = strlen(name);
    return name[0] == '.' || (size > 4 && strcmp(name + size - 4, ".tmp") == 0) ||
           (size > 5 && strcmp(name + size - 5, ".part") == 0);
}

static int by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void scan(struct agent_feeds *feeds, struct feed *feed, bool pending)
{
    char *roots[] = {feed->conf->path, NULL};
    feeds->feed = feed;
    FTS *fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name);
    if (fts == NULL) {
        complain(feeds, "feed.failed", feed->conf->path, strerror(errno));
        return;
    }
    FTSENT *entry;
    while (!atomic_load(&feeds->stopping) && !feeds->begun && (entry = fts_read(fts)) != NULL) {
        if (entry->fts_level > 0 && is_unfinished(entry->fts_name)) {
            if (entry->fts_info == FTS_D) fts_set(fts, entry, FTS_SKIP);
            continue;
        }
        if (entry->fts_info == FTS_D) {
            if (entry->fts_level >= DEPTH_MOST) fts_set(fts, entry, FTS_SKIP);
            if (!pending)
                (void)inotify_add_watch(feeds->inotify, entry->fts_path,
                                        IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_TO | IN_CREATE);
        } else if (entry->fts_info == FTS_F) {
            int index =
                pending ? feed_state_find(&feeds->state, feed->id, entry->fts_statp->st_dev, entry->fts_statp->st_ino)
                        : 0;
            bool begun =
                index >= 0 && (!pending || feeds->state.files[index].take_to > feeds->state.files[index].offset);
            if (begun) (void)look_at(feeds, feed, entry->fts_path, entry->fts_statp);
        } else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR) {
            complain(feeds, "feed.failed", entry->fts_path, strerror(entry->fts_errno));
        }
    }
    fts_close(fts);
}

/* ---- the inbox ---- */

/** Forget what was taken of a log: its id says it now. */
static void forget(struct agent_feeds *feeds, size_t index)
{
    const int last = (int)feeds->state.count - 1;
    feed_state_remove(&feeds->state, index);
    for (size_t i = 0; i < feeds->count; i++) {
        if (feeds->feeds[i].follow.index == last) feeds->feeds[i].follow.index = (int)index;
    }
    feeds->dirty = true;
}

/** How far is a log of the inbox? */
enum pushed { PUSHED_WAITS, PUSHED_TAKEN, PUSHED_DAMAGED };

static enum pushed look_at_pushed(struct agent_feeds *feeds, struct feed *feed, const struct agent_inbox_id *id,
                                  bool pending)
{
    char name[AGENT_INBOX_NAME_BYTES];
    char path[WEIR_PATH_BYTES];
    struct stat found;
    if (agent_inbox_was_taken(feeds->inbox, id)) return PUSHED_TAKEN;
    agent_inbox_name(id, name);
    snprintf(path, sizeof path, "%s/%s", agent_inbox_folder(feeds->inbox, feed->inbox_index), name);
    if (stat(path, &found) < 0) return PUSHED_WAITS;
    found.st_dev = weir_load_u64le(id->bytes); /* inodes are given again, ids are not */
    found.st_ino = weir_load_u64le(id->bytes + 8);
    int index = feed_state_find(&feeds->state, feed->id, found.st_dev, found.st_ino);
    if (pending && (index < 0 || feeds->state.files[index].take_to == feeds->state.files[index].offset))
        return PUSHED_WAITS;

    if (look_at(feeds, feed, path, &found) == WEIR_ECORRUPT) {
        feeds->begun = false;
        return PUSHED_DAMAGED;
    }
    index = feed_state_find(&feeds->state, feed->id, found.st_dev, found.st_ino);
    if (index < 0) return PUSHED_WAITS;
    const struct feed_file *file = &feeds->state.files[index];
    bool taken = file->raw_bytes == (uint64_t)found.st_size && file->take_to == file->offset;
    if (taken) close_follow(&feed->follow);
    return taken ? PUSHED_TAKEN : PUSHED_WAITS;
}

/** All that came out of these is synced: remember their ids, then let them go. What fails is done at the next look. */
static void finish_pushed(struct agent_feeds *feeds, const struct feed *feed, const struct agent_inbox_id *ids,
                          size_t count, bool damaged)
{
    if (count == 0) return;
    int rc = agent_inbox_take(feeds->inbox, ids, count);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        int index =
            feed_state_find(&feeds->state, feed->id, weir_load_u64le(ids[i].bytes), weir_load_u64le(ids[i].bytes + 8));
        if (index >= 0) forget(feeds, (size_t)index);
    }
    if (rc == 0 && feeds->dirty) rc = save(feeds); /* a file that is gone, and whose take was begun, would be missed */
    if (rc < 0)
        complain(feeds, "feed.not_saved", agent_inbox_folder(feeds->inbox, feed->inbox_index), weir_err_text(rc));
    for (size_t i = 0; rc == 0 && i < count; i++)
        agent_inbox_drop(feeds->inbox, feed->inbox_index, &ids[i], damaged);
}

static void scan_inbox(struct agent_feeds *feeds, struct feed *feed, bool pending)
{
    const char *folder = agent_inbox_folder(feeds->inbox, feed->inbox_index);
    struct agent_inbox_id *ids = NULL;
    size_t count;
    size_t taken = 0;
    feeds->feed = feed;
    (void)inotify_add_watch(feeds->inotify, folder, IN_MOVED_TO);
    int rc = agent_inbox_list(feeds->inbox, feed->inbox_index, &ids, &count);
    if (rc < 0) {
        complain(feeds, "feed.failed", folder, weir_err_text(rc));
        return;
    }
    for (size_t i = 0; i < count && !atomic_load(&feeds->stopping) && !feeds->begun; i++) {
        const struct agent_inbox_id id = ids[i];
        enum pushed is = look_at_pushed(feeds, feed, &id, pending);
        if (is == PUSHED_DAMAGED) finish_pushed(feeds, feed, &id, 1, true);
        if (is == PUSHED_TAKEN) ids[taken++] = id;
    }
    finish_pushed(feeds, feed, ids, taken, false);
    weir_free(ids);
}

/* ---- the thread ---- */

/** Look at all that there is of a feed; or, with @pending, only at those with a take that was begun. */
static void look_into(struct agent_feeds *feeds, struct feed *feed, bool pending)
{
    if (feed->pushed)
        scan_inbox(feeds, feed, pending);
    else
        scan(feeds, feed, pending);
}

static int find_begun(const struct feed_state *state)
{
    for (size_t i = 0; i < state->count; i++) {
        if (state->files[i].take_to > state->files[i].offset) return (int)i;
    }
    return WEIR_ENOTFOUND;
}

/** A take that was begun goes first: the marks of others would hide it. */
static void finish_begun(struct agent_feeds *feeds)
{
    int index;
    while ((index = find_begun(&feeds->state)) >= 0) {
        const struct feed_file was = feeds->state.files[index];
        feeds->begun = false;
        for (size_t f = 0; f < feeds->count; f++) {
            if (feeds->feeds[f].id == was.feed) look_into(feeds, &feeds->feeds[f], true);
        }
        if (atomic_load(&feeds->stopping)) break;
        index = feed_state_find(&feeds->state, was.feed, was.device, was.inode);
        if (index < 0 || feeds->state.files[index].take_to == feeds->state.files[index].offset) continue;
        struct feed_file *file = &feeds->state.files[index];
        weir_log(WEIR_LOG_ERROR, "feed.lost", "bytes=%" PRIu64 " reason=%s", file->take_to - file->offset,
                 "\"the file whose take was begun is gone, or cannot be read again\"");
        file->take_to = file->offset;
        feeds->dirty = true;
    }
    feeds->begun = false;
}

static void *run(void *ctx)
{
    struct agent_feeds *feeds = ctx;
    feeds->progress_mono_ms = weir_mono_ms();
    while (!atomic_load(&feeds->stopping)) {
        feeds->since_ms = feeds->scan_ms;
        feeds->scan_ms = weir_wall_ms();
        finish_begun(feeds);
        for (size_t i = 0; i < feeds->count && !feeds->begun; i++)
            look_into(feeds, &feeds->feeds[i], false);
        if (feeds->dirty && save(feeds) < 0) weir_log(WEIR_LOG_ERROR, "feed.not_saved", "file=%s", feeds->state.path);
        struct pollfd wait = {.fd = feeds->inotify, .events = POLLIN};
        for (int slept = 0; slept < RESCAN_MS && !atomic_load(&feeds->stopping); slept += SETTLE_MS) {
            if (poll(&wait, 1, SETTLE_MS) > 0) break;
        }
        poll(NULL, 0, SETTLE_MS); /* so that a busy writer does not make us look all the time */
        uint8_t events[4096];
        while (read(feeds->inotify, events, sizeof events) > 0)
            continue;
    }
    if (feeds->dirty) (void)save(feeds);
    return NULL;
}

/* ---- from outside ---- */

int agent_feeds_create(const struct agent_feed_conf *conf, size_t feed_count, const char *folder, bool durable,
                       struct agent_ship *ship, struct agent_inbox *inbox, struct weir_metrics *metrics,
                       struct agent_feeds **ret, struct weir_why *why)
{
    size_t pushed = 0;
    int rc = WEIR_ENOMEM;
    struct agent_feeds *feeds = weir_calloc(1, sizeof *feeds);
    if (feeds == NULL) goto fail;

    feeds->inotify = -1;
    feeds->ship = ship;
    feeds->inbox = inbox;
    feeds->metrics = metrics;
    rc = feed_state_init(&feeds->state, folder, durable);
    if (rc < 0) {
        weir_why_set(why, rc, "feeds: cannot read %s/feeds, which says what was taken: %s", folder, weir_err_text(rc));
        goto fail;
    }
    uint64_t found = agent_ship_mark_found(ship); /* later than the state, where that was restored from elsewhere */
    if (feeds->state.next_mark <= found) feeds->state.next_mark = found + 1;

    rc = WEIR_ENOMEM;
    feeds->feeds = weir_calloc(feed_count + 1, sizeof *feeds->feeds);
    if (feeds->feeds == NULL) goto fail;
    for (size_t i = 0; i < feed_count; i++) {
        struct feed *feed = &feeds->feeds[feeds->count++];
        feed->conf = &conf[i];
        feed->follow.index = -1;
        feed->id = feed_hash(FEED_HASH_INIT, conf[i].name, strlen(conf[i].name));
        feed->has_exporter = conf[i].exporter[0] != '\0';
        if (feed->has_exporter) (void)weir_ip_parse(conf[i].exporter, &feed->exporter);
        feed->pushed = conf[i].path[0] == '\0';
        if (feed->pushed) {
            feed->inbox_index = pushed++;
        } else if (access(conf[i].path, R_OK | X_OK) < 0) {
            rc = weir_why_set(why, WEIR_EIO, "feeds: path: %s: %s", conf[i].path, strerror(errno));
            goto fail;
        }
    }
    feeds->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (feeds->inotify < 0) {
        rc = weir_why_set(why, WEIR_EIO, "feeds: inotify: %s", strerror(errno));
        goto fail;
    }
    *ret = feeds;
    return 0;

fail:
    agent_feeds_destroy(feeds);
    return rc;
}

int agent_feeds_start(struct agent_feeds *feeds, struct weir_why *why)
{
    int error = weir_thread_start(&feeds->thread, "feeds", run, feeds);
    if (error != 0) return weir_why_set(why, WEIR_EIO, "feeds: cannot start a thread: %s", strerror(error));
    feeds->running = true;
    return 0;
}

void agent_feeds_stop(struct agent_feeds *feeds)
{
    atomic_store(&feeds->stopping, true);
    if (feeds->running) pthread_join(feeds->thread, NULL);
    feeds->running = false;
}

void agent_feeds_destroy(struct agent_feeds *feeds)
{
    if (feeds == NULL) return;
    agent_feeds_stop(feeds);
    for (size_t i = 0; i < feeds->count; i++)
        close_follow(&feeds->feeds[i].follow);
    clear_take(&feeds->take);
    weir_free(feeds->take.batches);
    weir_free(feeds->feeds);
    feed_state_fini(&feeds->state);
    if (feeds->inotify >= 0) close(feeds->inotify);
    weir_free(feeds);
}
