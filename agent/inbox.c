#include "agent/inbox.h"

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/hash.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/table.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    ID_BYTES = sizeof(struct agent_inbox_id),
    ENTRY_BYTES = ID_BYTES + 4, /* of the file of ids: the id and its CRC */
    STREAM_BYTES = 256 << 10,
    STREAM_LEFT_S = 24 * 3600 /* what a stream left behind, and was not written to for so long, is removed */
};

#define STREAM_NAME ".stream-"

struct agent_inbox {
    char *state;
    const char *const *names;
    size_t count;
    char **folders;
    uint64_t bytes_most;
    bool durable;
    pthread_mutex_t lock; /* guards what follows */
    uint64_t *bytes;      /* of each feed */
    _Atomic uint64_t bytes_all;
    int ids_fd;
    uint64_t ids_bytes;
    struct weir_table recent; /* ids in the file `pushed` */
    struct weir_table before; /* and in `pushed.old`, which that one was when it was full */
};

/* ---- ids ---- */

struct agent_inbox_id agent_inbox_id_of(const char *feed, const char *key)
{
    struct agent_inbox_id parts[2];
    struct agent_inbox_id id;
    weir_hash128(feed, strlen(feed), parts[0].bytes);
    weir_hash128(key, strlen(key), parts[1].bytes);
    weir_hash128(parts, sizeof parts, id.bytes);
    return id;
}

struct agent_inbox_id agent_inbox_id_random(void)
{
    struct agent_inbox_id id;
    while (getrandom(id.bytes, sizeof id.bytes, 0) != (ssize_t)sizeof id.bytes)
        continue; /* interrupted */
    return id;
}

void agent_inbox_name(const struct agent_inbox_id *id, char ret[AGENT_INBOX_NAME_BYTES])
{
    for (size_t i = 0; i < ID_BYTES; i++)
        snprintf(ret + 2 * i, 3, "%02x", id->bytes[i]);
}

static bool id_of_name(const char *name, struct agent_inbox_id *ret)
{
    static const char digits[] = "0123456789abcdef";
    if (strlen(name) != AGENT_INBOX_NAME_BYTES - 1) return false;
    for (size_t i = 0; i < AGENT_INBOX_NAME_BYTES - 1; i++) {
        const char *digit = strchr(digits, name[i]);
        if (digit == NULL) return false;
        ret->bytes[i / 2] = (uint8_t)(ret->bytes[i / 2] << 4 | (digit - digits));
    }
    return true;
}

static uint64_t hash_of(const struct agent_inbox_id *id)
{
    return weir_load_u64le(id->bytes);
}

static bool has(const struct weir_table *table, const struct agent_inbox_id *id)
{
    return weir_table_find(table, id, hash_of(id)) != NULL;
}

static bool is_remembered(const struct agent_inbox *inbox, const struct agent_inbox_id *id)
{
    return has(&inbox->recent, id) || has(&inbox->before, id);
}

/** The ids of a file; what is damaged is passed over. WEIR_EIO, WEIR_EDENIED, WEIR_ENOMEM; no file is none. */
static int load_ids(const char *path, struct weir_table *table, uint64_t *ret_bytes)
{
    struct weir_buf bytes = WEIR_BUF_INIT;
    uint64_t damaged = 0;
    int rc = weir_file_load(path, (size_t)AGENT_INBOX_IDS_MOST * ENTRY_BYTES, &bytes);
    size_t whole = bytes.size / ENTRY_BYTES; /* of an entry that was cut off, nobody was told that it is there */
    for (size_t i = 0; rc == 0 && i < whole; i++) {
        const uint8_t *at = bytes.data + i * ENTRY_BYTES;
        if (weir_load_u32le(at + ID_BYTES) != weir_crc32c(0, at, ID_BYTES))
            damaged++;
        else if (weir_table_add(table, at, weir_load_u64le(at), NULL) == NULL)
            rc = WEIR_ENOMEM;
    }
    weir_buf_fini(&bytes);
    *ret_bytes = whole * ENTRY_BYTES;
    if (damaged > 0)
        weir_log(WEIR_LOG_WARN, "push.ids_damaged", "file=%s entries=%" PRIu64 " meaning=%s", path, damaged,
                 "\"such requests would be taken again if they came again\"");
    return rc == WEIR_ENOTFOUND ? 0 : rc;
}

static int path_in(const char *folder, const char *name, char ret[WEIR_PATH_BYTES])
{
    int size = snprintf(ret, WEIR_PATH_BYTES, "%s/%s", folder, name);
    return size < 0 || size >= WEIR_PATH_BYTES ? WEIR_EPARAM : 0;
}

static int load_all_ids(const char *state, struct weir_table *recent, struct weir_table *before, uint64_t *ret_bytes)
{
    char path[WEIR_PATH_BYTES];
    uint64_t unused;
    int rc = path_in(state, "pushed.old", path);
    if (rc == 0) rc = load_ids(path, before, &unused);
    if (rc == 0) rc = path_in(state, "pushed", path);
    if (rc == 0) rc = load_ids(path, recent, ret_bytes);
    return rc;
}

static int open_ids(struct agent_inbox *inbox)
{
    char path[WEIR_PATH_BYTES];
    int rc = path_in(inbox->state, "pushed", path);
    if (rc < 0) return rc;
    inbox->ids_fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (inbox->ids_fd < 0) return weir_file_error(errno);
    return inbox->durable ? weir_file_sync_folder(inbox->state) : 0;
}

/** The file of ids is full: it becomes the one before. */
static int turn_ids(struct agent_inbox *inbox)
{
    char path[WEIR_PATH_BYTES];
    char old[WEIR_PATH_BYTES];
    int rc = path_in(inbox->state, "pushed", path);
    if (rc == 0) rc = path_in(inbox->state, "pushed.old", old);
    if (rc == 0 && rename(path, old) < 0) rc = weir_file_error(errno);
    if (rc < 0) return rc;
    struct weir_table empty = inbox->before;
    weir_table_clear(&empty);
    inbox->before = inbox->recent;
    inbox->recent = empty;
    inbox->ids_bytes = 0;
    close(inbox->ids_fd);
    return open_ids(inbox);
}

/** Under the lock. */
static int remember(struct agent_inbox *inbox, const struct agent_inbox_id *ids, size_t count)
{
    struct weir_buf bytes = WEIR_BUF_INIT;
    int rc = inbox->ids_fd < 0 ? open_ids(inbox) : 0; /* it could not be opened the last time */
    if (rc == 0 && inbox->ids_bytes / ENTRY_BYTES + count > AGENT_INBOX_IDS_MOST) rc = turn_ids(inbox);
    for (size_t i = 0; i < count; i++) {
        uint8_t entry[ENTRY_BYTES];
        memcpy(entry, ids[i].bytes, ID_BYTES);
        weir_store_u32le(entry + ID_BYTES, weir_crc32c(0, entry, ID_BYTES));
        if (!is_remembered(inbox, &ids[i])) weir_buf_append(&bytes, entry, sizeof entry);
    }
    const struct weir_view part = weir_buf_view(&bytes);
    if (rc == 0 && bytes.failed) rc = WEIR_ENOMEM;
    if (rc == 0) rc = weir_table_reserve(&inbox->recent, inbox->recent.count + count);
    if (rc == 0) rc = weir_file_write_at(inbox->ids_fd, &part, 1, inbox->ids_bytes);
    if (rc == 0 && inbox->durable && fdatasync(inbox->ids_fd) < 0) rc = weir_file_error(errno);
    if (rc == 0) {
        inbox->ids_bytes += bytes.size;
        for (size_t i = 0; i < count; i++)
            (void)weir_table_add(&inbox->recent, &ids[i], hash_of(&ids[i]), NULL); /* there is room */
    }
    weir_buf_fini(&bytes);
    return rc;
}

bool agent_inbox_was_taken(struct agent_inbox *inbox, const struct agent_inbox_id *id)
{
    pthread_mutex_lock(&inbox->lock);
    bool taken = is_remembered(inbox, id);
    pthread_mutex_unlock(&inbox->lock);
    return taken;
}

int agent_inbox_take(struct agent_inbox *inbox, const struct agent_inbox_id *ids, size_t count)
{
    enum { AT_ONCE = AGENT_INBOX_IDS_MOST / 2 };
    int rc = 0;
    pthread_mutex_lock(&inbox->lock);
    for (size_t i = 0; rc == 0 && i < count; i += AT_ONCE)
        rc = remember(inbox, ids + i, count - i < AT_ONCE ? count - i : AT_ONCE);
    pthread_mutex_unlock(&inbox->lock);
    return rc;
}

/* ---- folders ---- */

static uint64_t bytes_of(const struct stat *stat)
{
    uint64_t size = (uint64_t)stat->st_size;
    return (size + AGENT_INBOX_FILE_BYTES - 1) / AGENT_INBOX_FILE_BYTES * AGENT_INBOX_FILE_BYTES;
}

/** A walk over the files of a folder. */
typedef void folder_fn(void *ctx, const char *name, const struct stat *stat);

static int each_file(const char *path, folder_fn *file, void *ctx)
{
    DIR *folder = opendir(path);
    if (folder == NULL) return weir_file_error(errno);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        struct stat stat;
        if (fstatat(dirfd(folder), entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(stat.st_mode))
            file(ctx, entry->d_name, &stat);
    }
    closedir(folder);
    return 0;
}

struct listing {
    struct agent_inbox_id *ids;
    size_t count;
    size_t room;
    uint64_t bytes;
    bool failed;
};

static void add_to_listing(void *ctx, const char *name, const struct stat *stat)
{
    struct listing *listing = ctx;
    struct agent_inbox_id id = {{0}};
    listing->bytes += bytes_of(stat);
    if (!id_of_name(name, &id)) return;
    if (listing->count == listing->room) {
        size_t room = listing->room == 0 ? 64 : listing->room * 2;
        struct agent_inbox_id *more = weir_realloc(listing->ids, room * sizeof *more);
        listing->failed = listing->failed || more == NULL;
        if (more == NULL) return;
        listing->ids = more;
        listing->room = room;
    }
    listing->ids[listing->count++] = id;
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(a, b, ID_BYTES);
}

static void set_bytes(struct agent_inbox *inbox, size_t feed, uint64_t bytes)
{
    atomic_fetch_add(&inbox->bytes_all, bytes - inbox->bytes[feed]);
    inbox->bytes[feed] = bytes;
}

int agent_inbox_list(struct agent_inbox *inbox, size_t feed, struct agent_inbox_id **ret, size_t *ret_count)
{
    struct listing listing = {0};
    pthread_mutex_lock(&inbox->lock);
    int rc = each_file(inbox->folders[feed], add_to_listing, &listing);
    if (rc == 0) set_bytes(inbox, feed, listing.bytes);
    pthread_mutex_unlock(&inbox->lock);
    if (rc == 0 && listing.failed) rc = WEIR_ENOMEM;
    if (rc < 0) {
        weir_free(listing.ids);
        return rc;
    }
    if (listing.count > 0) qsort(listing.ids, listing.count, sizeof *listing.ids, by_bytes);
    *ret = listing.ids;
    *ret_count = listing.count;
    return 0;
}

uint64_t agent_inbox_bytes(const struct agent_inbox *inbox)
{
    return atomic_load(&inbox->bytes_all);
}

bool agent_inbox_is_full(const struct agent_inbox *inbox)
{
    return agent_inbox_bytes(inbox) + AGENT_INBOX_FILE_BYTES > inbox->bytes_most;
}

const char *agent_inbox_folder(const struct agent_inbox *inbox, size_t feed)
{
    return inbox->folders[feed];
}

/** Under the lock, so that a listing has it whole or not at all. */
static int put(struct agent_inbox *inbox, size_t feed, const struct agent_inbox_id *id, struct weir_view log)
{
    char name[AGENT_INBOX_NAME_BYTES];
    char path[WEIR_PATH_BYTES];
    const struct stat stat = {.st_size = (off_t)log.size};
    agent_inbox_name(id, name);
    int rc = path_in(inbox->folders[feed], name, path);
    if (rc < 0) return rc;
    if (is_remembered(inbox, id) || access(path, F_OK) == 0) return WEIR_EEXIST;
    if (agent_inbox_bytes(inbox) + bytes_of(&stat) > inbox->bytes_most) return WEIR_EFULL;
    rc = weir_file_replace(inbox->folders[feed], path, &log, 1, inbox->durable);
    if (rc == 0) set_bytes(inbox, feed, inbox->bytes[feed] + bytes_of(&stat));
    return rc;
}

int agent_inbox_put(struct agent_inbox *inbox, size_t feed, const struct agent_inbox_id *id, struct weir_view log)
{
    pthread_mutex_lock(&inbox->lock);
    int rc = put(inbox, feed, id, log);
    pthread_mutex_unlock(&inbox->lock);
    return rc;
}

void agent_inbox_drop(struct agent_inbox *inbox, size_t feed, const struct agent_inbox_id *id, bool damaged)
{
    char name[AGENT_INBOX_NAME_BYTES];
    char path[WEIR_PATH_BYTES];
    char aside[WEIR_PATH_BYTES + sizeof ".damaged"];
    struct stat stat;
    agent_inbox_name(id, name);
    if (path_in(inbox->folders[feed], name, path) < 0) return;
    pthread_mutex_lock(&inbox->lock);
    if (damaged) {
        snprintf(aside, sizeof aside, "%s.damaged", path);
        (void)rename(path, aside);
    } else if (lstat(path, &stat) == 0 && unlink(path) == 0) {
        uint64_t bytes = bytes_of(&stat);
        set_bytes(inbox, feed, inbox->bytes[feed] - (bytes < inbox->bytes[feed] ? bytes : inbox->bytes[feed]));
    }
    pthread_mutex_unlock(&inbox->lock);
}

/* ---- life ---- */

static void remove_leftover(void *ctx, const char *name, const struct stat *stat)
{
    char path[WEIR_PATH_BYTES];
    bool stream = strncmp(name, STREAM_NAME, sizeof STREAM_NAME - 1) == 0;
    bool old = stat->st_mtim.tv_sec < weir_wall_ms() / 1000 - STREAM_LEFT_S;
    if ((stream && old) || weir_file_is_leftover(name))
        if (path_in(ctx, name, path) == 0) (void)unlink(path);
}

static int make_folders(struct agent_inbox *inbox)
{
    char root[WEIR_PATH_BYTES];
    char path[WEIR_PATH_BYTES];
    int rc = path_in(inbox->state, "push", root);
    if (rc == 0) rc = weir_file_make_folder(root);
    for (size_t i = 0; rc == 0 && i < inbox->count; i++) {
        rc = path_in(root, inbox->names[i], path);
        if (rc == 0) rc = weir_file_make_folder(path);
        if (rc < 0) break;
        inbox->folders[i] = weir_strdup(path);
        if (inbox->folders[i] == NULL) return WEIR_ENOMEM;
        struct listing listing = {0};
        rc = each_file(path, remove_leftover, inbox->folders[i]);
        if (rc == 0) rc = each_file(path, add_to_listing, &listing);
        weir_free(listing.ids);
        set_bytes(inbox, i, listing.bytes);
    }
    if (rc == 0 && inbox->durable) rc = weir_file_sync_folder(root);
    if (rc == 0 && inbox->durable) rc = weir_file_sync_folder(inbox->state);
    return rc;
}

/** Logs of feeds that are configured no more wait for ever: say so. */
static void tell_orphans(const struct agent_inbox *inbox)
{
    char root[WEIR_PATH_BYTES];
    char path[WEIR_PATH_BYTES];
    if (path_in(inbox->state, "push", root) < 0) return;
    DIR *folder = opendir(root);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        struct listing listing = {0};
        bool ours = entry->d_name[0] == '.';
        for (size_t i = 0; i < inbox->count; i++)
            ours = ours || strcmp(inbox->names[i], entry->d_name) == 0;
        if (ours || path_in(root, entry->d_name, path) < 0) continue;
        if (each_file(path, add_to_listing, &listing) == 0 && listing.count > 0)
            weir_log(WEIR_LOG_WARN, "push.orphans", "folder=%s logs=%zu meaning=%s", path, listing.count,
                     "\"they wait for a feed of this name\"");
        weir_free(listing.ids);
    }
    if (folder != NULL) closedir(folder);
}

int agent_inbox_create(const char *state, const char *const *names, size_t count, uint64_t bytes_most, bool durable,
                       struct agent_inbox **ret, struct weir_why *why)
{
    int rc = WEIR_ENOMEM;
    struct agent_inbox *inbox = weir_calloc(1, sizeof *inbox);
    if (inbox == NULL) goto fail;
    inbox->names = names;
    inbox->count = count;
    inbox->bytes_most = bytes_most;
    inbox->durable = durable;
    inbox->ids_fd = -1;
    pthread_mutex_init(&inbox->lock, NULL);
    weir_table_init(&inbox->recent, ID_BYTES, 1);
    weir_table_init(&inbox->before, ID_BYTES, 1);
    inbox->state = weir_strdup(state);
    inbox->folders = weir_calloc(count + 1, sizeof *inbox->folders);
    inbox->bytes = weir_calloc(count + 1, sizeof *inbox->bytes);
    if (inbox->state == NULL || inbox->folders == NULL || inbox->bytes == NULL) goto fail;

    rc = load_all_ids(state, &inbox->recent, &inbox->before, &inbox->ids_bytes);
    if (rc == 0) rc = open_ids(inbox);
    if (rc == 0) rc = make_folders(inbox);
    if (rc < 0) goto fail;
    tell_orphans(inbox);
    *ret = inbox;
    return 0;

fail:
    agent_inbox_destroy(inbox);
    return weir_why_set(why, rc, "push: cannot use %s/push and %s/pushed: %s", state, state, weir_err_text(rc));
}

void agent_inbox_destroy(struct agent_inbox *inbox)
{
    if (inbox == NULL) return;
    for (size_t i = 0; inbox->folders != NULL && i < inbox->count; i++)
        weir_free(inbox->folders[i]);
    if (inbox->ids_fd >= 0) close(inbox->ids_fd);
    weir_table_fini(&inbox->recent);
    weir_table_fini(&inbox->before);
    pthread_mutex_destroy(&inbox->lock);
    weir_free(inbox->bytes);
    weir_free(inbox->folders);
    weir_free(inbox->state);
    weir_free(inbox);
}

/* ---- from another process ---- */

/** Read until @size bytes are there, or the end. */
static int64_t read_block(int fd, uint8_t *block, size_t size)
{
    size_t got = 0;
    while (got < size) {
        ssize_t more = read(fd, block + got, size - got);
        if (more < 0 && errno == EINTR) continue;
        if (more < 0) return WEIR_EIO;
        if (more == 0) break;
        got += (size_t)more;
    }
    return (int64_t)got;
}

/** Write it all to @out; its id is a hash of the hashes of its blocks. */
static int copy_stream(int in, int out, const char *feed, uint64_t bytes_most, struct agent_inbox_id *id,
                       uint64_t *ret_bytes)
{
    struct {
        struct agent_inbox_id before;
        struct agent_inbox_id block;
    } chain = {.before = agent_inbox_id_of(feed, "")};
    uint8_t *block = weir_malloc(STREAM_BYTES);
    if (block == NULL) return WEIR_ENOMEM;
    uint64_t at = 0;
    int64_t got;
    int rc = 0;
    while ((got = read_block(in, block, STREAM_BYTES)) > 0) {
        const struct weir_view part = weir_view_of(block, (size_t)got);
        if (at + part.size > bytes_most) rc = WEIR_EFULL;
        if (rc == 0) rc = weir_file_write_at(out, &part, 1, at);
        if (rc < 0) break;
        at += part.size;
        weir_hash128(block, part.size, chain.block.bytes);
        weir_hash128(&chain, sizeof chain, chain.before.bytes);
    }
    weir_free(block);
    *id = chain.before;
    *ret_bytes = at;
    if (rc == 0 && got < 0) rc = (int)got;
    if (rc == 0 && fsync(out) < 0) rc = weir_file_error(errno);
    return rc;
}

/** Has the agent taken it, or will it? */
static int check_known(const char *state, const char *path, const struct agent_inbox_id *id)
{
    struct weir_table recent;
    struct weir_table before;
    uint64_t unused;
    weir_table_init(&recent, ID_BYTES, 1);
    weir_table_init(&before, ID_BYTES, 1);
    int rc = load_all_ids(state, &recent, &before, &unused);
    if (rc == 0 && (access(path, F_OK) == 0 || has(&recent, id) || has(&before, id))) rc = WEIR_EEXIST;
    weir_table_fini(&recent);
    weir_table_fini(&before);
    return rc;
}

/** What of @bytes_most is left by all that waits, of any feed. WEIR_EFULL: nothing. */
static int room_in(const char *state, uint64_t bytes_most, uint64_t *ret)
{
    char root[WEIR_PATH_BYTES];
    char path[WEIR_PATH_BYTES];
    struct listing listing = {0};
    int rc = path_in(state, "push", root);
    DIR *folder = rc < 0 ? NULL : opendir(root);
    if (folder == NULL) return rc < 0 ? rc : weir_file_error(errno);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] != '.' && path_in(root, entry->d_name, path) == 0)
            (void)each_file(path, add_to_listing, &listing);
    }
    closedir(folder);
    weir_free(listing.ids);
    *ret = listing.bytes < bytes_most ? bytes_most - listing.bytes : 0;
    return *ret == 0 ? WEIR_EFULL : 0;
}

int agent_inbox_put_stream(const char *state, const char *feed, uint64_t bytes_most, int fd, uint64_t *ret_bytes,
                           struct weir_why *why)
{
    char name[AGENT_INBOX_NAME_BYTES];
    char part_name[sizeof STREAM_NAME + AGENT_INBOX_NAME_BYTES];
    char folder[WEIR_PATH_BYTES];
    char path[WEIR_PATH_BYTES];
    char part[WEIR_PATH_BYTES];
    struct stat owner;
    uint64_t room = 0;
    if (snprintf(folder, sizeof folder, "%s/push/%s", state, feed) >= (int)sizeof folder)
        return weir_why_set(why, WEIR_EPARAM, "state: %s: the path is too long", state);
    if (stat(folder, &owner) < 0)
        return weir_why_set(why, weir_file_error(errno), "%s: %s: the agent makes it when it starts with this feed",
                            folder, strerror(errno));
    int rc = room_in(state, bytes_most, &room);
    if (rc < 0) return weir_why_set(why, rc, "%s: %s", folder, weir_err_text(rc));

    struct agent_inbox_id id = agent_inbox_id_random();
    agent_inbox_name(&id, name);
    snprintf(part_name, sizeof part_name, STREAM_NAME "%s", name);
    rc = path_in(folder, part_name, part);
    int out = rc < 0 ? -1 : open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0) return weir_why_set(why, weir_file_error(errno), "%s: %s", part, strerror(errno));
    if (geteuid() == 0 && fchown(out, owner.st_uid, owner.st_gid) < 0) rc = weir_file_error(errno);
    if (rc == 0) rc = copy_stream(fd, out, feed, room, &id, ret_bytes);
    close(out);

    agent_inbox_name(&id, name);
    if (rc == 0) rc = path_in(folder, name, path);
    if (rc == 0 && *ret_bytes > 0) rc = check_known(state, path, &id);
    bool put = rc == 0 && *ret_bytes > 0;
    if (put && rename(part, path) < 0) rc = weir_file_error(errno);
    if (put && rc == 0) rc = weir_file_sync_folder(folder);
    if (!put || rc < 0) unlink(part);
    if (rc == WEIR_EEXIST) return weir_why_set(why, rc, "the same was given to this feed before");
    if (rc < 0) return weir_why_set(why, rc, "%s: %s", folder, weir_err_text(rc));
    return 0;
}
