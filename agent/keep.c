#include "agent/keep.h"

#include "agent/counters.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/table.h"
#include "common/base/thread.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum { MAGIC_BYTES = 8, DAY_MS = 86400000, PAUSE_MS = 200, PAUSES_MOST = 50 };

static const char magic[MAGIC_BYTES + 1] = "WEIRTPL1"; /* the last byte is the version of learned.c's entries */

struct agent_keep {
    char *folder;
    char path[WEIR_PATH_BYTES];
    struct weir_metrics *metrics;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;
    bool dirty;
    struct weir_table found; /* sender -> struct weir_view into malloc'ed bytes: what the file held at start */
    struct weir_buf *parts;
    uint32_t part_count;
};

/* ---- reading ---- */

static void remember(struct agent_keep *keep, const struct weir_ip *sender, struct weir_view entry)
{
    uint8_t *copy = weir_malloc(entry.size);
    struct weir_view *slot = weir_table_add(&keep->found, sender, weir_hash64(sender, sizeof *sender, 0), NULL);
    if (copy == NULL || slot == NULL) {
        weir_free(copy);
        return;
    }
    memcpy(copy, entry.data, entry.size);
    weir_free((void *)(uintptr_t)slot->data); /* the same sender twice: the later counts */
    *slot = weir_view_of(copy, entry.size);
}

static int load(struct agent_keep *keep, int64_t now_ms)
{
    struct weir_buf bytes = WEIR_BUF_INIT;
    int rc = weir_file_load(keep->path, AGENT_KEEP_BYTES_MOST, &bytes);
    struct weir_cursor c = weir_cursor_of(weir_buf_view(&bytes));
    const uint8_t *head = weir_cursor_take(&c, MAGIC_BYTES);
    bool is_ours = rc == 0 && head != NULL && memcmp(head, magic, MAGIC_BYTES) == 0;
    bool damaged = rc == WEIR_ELIMIT || (rc == 0 && !is_ours);
    uint32_t old = 0;
    while (is_ours && weir_cursor_left(&c) > 0) {
        struct weir_ip sender;
        struct weir_view entry;
        int64_t heard_ms = 0;
        int step = agent_learned_next(&c, &sender, &heard_ms, &entry);
        damaged = damaged || step < 0;
        if (step == WEIR_ESHORT) break;
        if (step < 0) continue;
        if (now_ms - heard_ms > (int64_t)AGENT_KEEP_DAYS_MOST * DAY_MS) {
            old++;
        } else {
            remember(keep, &sender, entry);
        }
    }
    weir_buf_fini(&bytes);
    if (damaged)
        weir_log(WEIR_LOG_WARN, "templates.damaged", "file=%s exporters=%zu meaning=\"the rest was not readable\"",
                 keep->path, keep->found.count);
    if (rc == WEIR_ENOTFOUND || rc == WEIR_ELIMIT) return 0;
    if (rc == 0) weir_log(WEIR_LOG_INFO, "templates.read", "exporters=%zu forgotten=%u", keep->found.count, old);
    return rc;
}

static void recall(void *ctx, const struct weir_ip *sender, struct weir_buf *out)
{
    struct agent_keep *keep = ctx;
    pthread_mutex_lock(&keep->lock);
    struct weir_view *entry = weir_table_find(&keep->found, sender, weir_hash64(sender, sizeof *sender, 0));
    if (entry != NULL && entry->data != NULL) weir_buf_append(out, entry->data, entry->size);
    pthread_mutex_unlock(&keep->lock);
}

struct agent_recall agent_keep_recall(struct agent_keep *keep)
{
    return (struct agent_recall){recall, keep};
}

/* ---- writing ---- */

void agent_keep_put(struct agent_keep *keep, uint32_t part, struct weir_buf *entries)
{
    pthread_mutex_lock(&keep->lock);
    struct weir_buf before = keep->parts[part];
    if (!entries->failed) {
        keep->parts[part] = *entries;
        *entries = before;
        keep->dirty = true;
        pthread_cond_signal(&keep->changed);
    }
    pthread_mutex_unlock(&keep->lock);
    weir_buf_clear(entries);
}

/**
 * All that is known, as the file is to hold it: first what was found, which stays known until its exporter is heard, is
 * in the part of its thread, and so stands in the file a second time and counts there. Under the lock.
 */
static void compose(const struct agent_keep *keep, struct weir_buf *out)
{
    size_t left_bytes = AGENT_KEEP_BYTES_MOST - MAGIC_BYTES;
    for (uint32_t i = 0; i < keep->part_count; i++)
        left_bytes -= keep->parts[i].size < left_bytes ? keep->parts[i].size : left_bytes;
    weir_buf_append(out, magic, MAGIC_BYTES);
    void *value = NULL;
    for (size_t at = 0; weir_table_next(&keep->found, &at, &value) != NULL;) {
        const struct weir_view *entry = value;
        if (entry->size > left_bytes) continue;
        weir_buf_append(out, entry->data, entry->size);
        left_bytes -= entry->size;
    }
    for (uint32_t i = 0; i < keep->part_count; i++)
        weir_buf_append(out, keep->parts[i].data, keep->parts[i].size);
}

static struct timespec wall_in(int64_t ms)
{
    int64_t at_ms = weir_wall_ms() + ms;
    return (struct timespec){.tv_sec = at_ms / 1000, .tv_nsec = (long)(at_ms % 1000) * 1000000};
}

static void count(const struct agent_keep *keep, enum agent_counter row)
{
    if (keep->metrics != NULL) weir_metrics_add(keep->metrics, row, 1);
}

static void write_file(struct agent_keep *keep, const struct weir_buf *bytes)
{
    const struct weir_view part = weir_buf_view(bytes);
    int rc = bytes->failed ? WEIR_ENOMEM : bytes->size > AGENT_KEEP_BYTES_MOST ? WEIR_ELIMIT : 0;
    if (rc == 0) rc = weir_file_replace(keep->folder, keep->path, &part, 1, true);
    count(keep, rc == 0 ? AGENT_COUNT_templates_written : AGENT_COUNT_templates_not_written);
    if (rc < 0) weir_log(WEIR_LOG_WARN, "templates.not_written", "file=%s error=%s", keep->path, weir_err_text(rc));
}

static void *run(void *ctx)
{
    struct agent_keep *keep = ctx;
    struct weir_buf bytes = WEIR_BUF_INIT;
    pthread_mutex_lock(&keep->lock);
    while (!keep->stopping || keep->dirty) {
        if (!keep->dirty) {
            pthread_cond_wait(&keep->changed, &keep->lock);
            continue;
        }
        keep->dirty = false;
        compose(keep, &bytes);
        bool last = keep->stopping;
        pthread_mutex_unlock(&keep->lock);
        int64_t began_ms = weir_mono_ms();
        write_file(keep, &bytes);
        weir_buf_fini(&bytes);
        /* A flood of new templates is not to keep the disk busy: one part in fifty of the time is for writing. */
        int64_t pause_ms = PAUSE_MS + PAUSES_MOST * (weir_mono_ms() - began_ms);
        pthread_mutex_lock(&keep->lock);
        struct timespec until = wall_in(pause_ms);
        while (!last && !keep->stopping && pthread_cond_timedwait(&keep->changed, &keep->lock, &until) == 0) {
        }
    }
    pthread_mutex_unlock(&keep->lock);
    return NULL;
}

/* ---- life ---- */

int agent_keep_create(const char *folder, uint32_t parts, int64_t now_ms, struct weir_metrics *metrics,
                      struct agent_keep **ret, struct weir_why *why)
{
    int rc = WEIR_ENOMEM;
    struct agent_keep *keep = weir_calloc(1, sizeof *keep);
    if (keep == NULL) return rc;
    pthread_mutex_init(&keep->lock, NULL);
    pthread_cond_init(&keep->changed, NULL);
    weir_table_init(&keep->found, sizeof(struct weir_ip), sizeof(struct weir_view));
    keep->metrics = metrics;
    keep->folder = weir_strdup(folder);
    keep->parts = weir_calloc(parts, sizeof *keep->parts);
    keep->part_count = parts;
    if (keep->folder == NULL || keep->parts == NULL) goto fail;

    rc = snprintf(keep->path, sizeof keep->path, "%s/templates", folder) < (int)sizeof keep->path ? 0 : WEIR_EPARAM;
    if (rc == 0) rc = load(keep, now_ms);
    if (rc < 0) {
        weir_why_set(why, rc, "state: cannot read %s: %s", keep->path, weir_err_text(rc));
        goto fail;
    }
    keep->started = weir_thread_start(&keep->thread, "keep", run, keep) == 0;
    if (!keep->started) {
        rc = weir_why_set(why, WEIR_EIO, "the thread that keeps templates cannot be started");
        goto fail;
    }
    *ret = keep;
    return 0;

fail:
    agent_keep_destroy(keep);
    return rc;
}

void agent_keep_destroy(struct agent_keep *keep)
{
    if (keep == NULL) return;
    pthread_mutex_lock(&keep->lock);
    keep->stopping = true;
    pthread_cond_signal(&keep->changed);
    pthread_mutex_unlock(&keep->lock);
    if (keep->started) pthread_join(keep->thread, NULL);

    void *value = NULL;
    for (size_t at = 0; weir_table_next(&keep->found, &at, &value) != NULL;)
        weir_free((void *)(uintptr_t)((struct weir_view *)value)->data);
    weir_table_fini(&keep->found);
    for (uint32_t i = 0; keep->parts != NULL && i < keep->part_count; i++)
        weir_buf_fini(&keep->parts[i]);
    pthread_cond_destroy(&keep->changed);
    pthread_mutex_destroy(&keep->lock);
    weir_free(keep->parts);
    weir_free(keep->folder);
    weir_free(keep);
}
