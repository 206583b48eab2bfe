#include "common/base/file.h"

#include "common/base/err.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PARTS_MOST = 4, FOLDER_MODE = 0700, FILE_MODE = 0600 };

#define LEFTOVER ".tmp"

int weir_file_error(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT: return WEIR_ENOSPACE;
    case EACCES:
    case EPERM:
    case EROFS: return WEIR_EDENIED;
    case ENOENT: return WEIR_ENOTFOUND;
    case ENOMEM: return WEIR_ENOMEM;
    default: return WEIR_EIO;
    }
}

int weir_file_read_at(int fd, void *out, size_t size, uint64_t at)
{
    uint8_t *to = out;
    while (size > 0) {
        ssize_t got = pread(fd, to, size, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return weir_file_error(errno);
        if (got == 0) return WEIR_ESHORT;
        to += got;
        at += (uint64_t)got;
        size -= (size_t)got;
    }
    return 0;
}

int weir_file_write_at(int fd, const struct weir_view *parts, size_t count, uint64_t at)
{
    assert(count <= PARTS_MOST);
    struct iovec io[PARTS_MOST];
    size_t left = 0;
    for (size_t i = 0; i < count; i++) {
        union {
            const uint8_t *lent;
            void *base;
        } as = {.lent = parts[i].data}; /* writev never writes through it */
        io[i] = (struct iovec){.iov_base = as.base, .iov_len = parts[i].size};
        left += parts[i].size;
    }
    struct iovec *first = io;
    while (left > 0) {
        ssize_t put = pwritev(fd, first, (int)(io + count - first), (off_t)at);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return weir_file_error(errno);
        at += (uint64_t)put;
        left -= (size_t)put;
        size_t done = (size_t)put;
        while (done > 0 && done >= first->iov_len) {
            done -= first->iov_len;
            first++;
        }
        if (left == 0) break;
        first->iov_base = (uint8_t *)first->iov_base + done;
        first->iov_len -= done;
    }
    return 0;
}

int weir_file_sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return weir_file_error(errno);
    int rc = fsync(fd) < 0 ? weir_file_error(errno) : 0;
    close(fd);
    return rc;
}

int weir_file_replace(const char *folder, const char *path, const struct weir_view *parts, size_t count, bool durable)
{
    char beside[WEIR_PATH_BYTES];
    int length = snprintf(beside, sizeof beside, "%s" LEFTOVER, path);
    if (length < 0 || (size_t)length >= sizeof beside) return WEIR_EIO;

    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
    if (fd < 0) return weir_file_error(errno);
    int rc = weir_file_write_at(fd, parts, count, 0);
    if (rc == 0 && durable && fsync(fd) < 0) rc = weir_file_error(errno);
    if (close(fd) < 0 && rc == 0) rc = weir_file_error(errno);
    if (rc == 0 && rename(beside, path) < 0) rc = weir_file_error(errno);
    if (rc < 0) {
        unlink(beside);
        return rc;
    }
    return durable ? weir_file_sync_folder(folder) : 0;
}

int weir_file_load(const char *path, size_t most, struct weir_buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return weir_file_error(errno);
    int rc = 0;
    for (;;) {
        enum { CHUNK = 65536 };
        uint8_t *at = weir_buf_reserve(out, CHUNK);
        if (at == NULL) {
            rc = WEIR_ENOMEM;
            break;
        }
        ssize_t got = read(fd, at, CHUNK);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) rc = weir_file_error(errno);
        if (got <= 0) break;
        weir_buf_commit(out, (size_t)got);
        if (out->size > most) {
            rc = WEIR_ELIMIT;
            break;
        }
    }
    close(fd);
    return rc;
}

int weir_file_make_folder(const char *path)
{
    if (mkdir(path, FOLDER_MODE) < 0 && errno != EEXIST) return weir_file_error(errno);
    return 0;
}

bool weir_file_is_leftover(const char *name)
{
    size_t length = strlen(name);
    size_t ending = sizeof LEFTOVER - 1;
    return length > ending && strcmp(name + length - ending, LEFTOVER) == 0;
}
