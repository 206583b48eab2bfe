#include "common/net/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

static const char public_prefix[] = "public-key ";
static const char secret_prefix[] = "secret-key ";

enum { KEY_FILE_BYTES = 1024, PATH_BYTES = 4096 };

void weir_keys_wipe(struct weir_keys *keys)
{
    explicit_bzero(keys, sizeof *keys);
}

int weir_keys_make(struct weir_keys *ret, struct weir_why *why)
{
    struct weir_keys keys;
    if (zmq_curve_keypair(keys.public_key, keys.secret_key) < 0)
        return weir_why_set(why, WEIR_EUNSUPPORTED, "libzmq cannot make CURVE keys: %s", zmq_strerror(errno));
    *ret = keys;
    weir_keys_wipe(&keys);
    return 0;
}

static int fail_errno(struct weir_why *why, const char *what, const char *path)
{
    int error = errno, rc = WEIR_EIO;
    if (error == ENOENT) rc = WEIR_ENOTFOUND;
    if (error == EACCES || error == EPERM || error == EROFS) rc = WEIR_EDENIED;
    if (error == EEXIST) rc = WEIR_EEXIST;
    if (error == ENOSPC || error == EDQUOT) rc = WEIR_ENOSPACE;
    return weir_why_set(why, rc, "cannot %s %s: %s", what, path, strerror(error));
}

static int write_all(int fd, const char *text)
{
    size_t size = strlen(text), done = 0;
    while (done < size) {
        ssize_t wrote = write(fd, text + done, size - done);
        if (wrote < 0 && errno != EINTR) return -1;
        if (wrote > 0) done += (size_t)wrote;
    }
    return fsync(fd);
}

/** Write a file that is there whole or not at all, through a synced file beside it. */
static int write_file(const char *path, mode_t mode, const char *text, bool overwrite, struct weir_why *why)
{
    char beside[PATH_BYTES];
    if (snprintf(beside, sizeof beside, "%s.new", path) >= (int)sizeof beside)
        return weir_why_set(why, WEIR_EPARAM, "the path %s is too long", path);
    (void)unlink(beside); /* left by a run that was killed */
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) return fail_errno(why, "create", beside);
    int rc = 0;
    if (fchmod(fd, mode) < 0 || write_all(fd, text) < 0) rc = fail_errno(why, "write", beside);
    close(fd);
    if (rc == 0 && overwrite && rename(beside, path) < 0) rc = fail_errno(why, "create", path);
    if (rc == 0 && !overwrite && link(beside, path) < 0) rc = fail_errno(why, "create", path);
    if (rc < 0 || !overwrite) (void)unlink(beside);
    return rc;
}

static int sync_folder(const char *folder, struct weir_why *why)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail_errno(why, "open", folder);
    int rc = fsync(fd) < 0 ? fail_errno(why, "sync", folder) : 0;
    close(fd);
    return rc;
}

static int path_of(char out[PATH_BYTES], const char *folder, const char *name, const char *suffix, struct weir_why *why)
{
    if (snprintf(out, PATH_BYTES, "%s/%s%s", folder, name, suffix) < PATH_BYTES) return 0;
    return weir_why_set(why, WEIR_EPARAM, "the path %s is too long", folder);
}

int weir_keys_write(const struct weir_keys *keys, const char *folder, const char *name, bool overwrite,
                    struct weir_why *why)
{
    char secret_path[PATH_BYTES], public_path[PATH_BYTES], text[KEY_FILE_BYTES];
    if (!weir_name_is_valid(name))
        return weir_why_set(why, WEIR_EPARAM, "\"%.63s\" is not a name that keys can have", name);
    int rc = path_of(secret_path, folder, name, ".key", why);
    if (rc == 0) rc = path_of(public_path, folder, name, ".pub", why);
    if (rc < 0) return rc;
    if (!overwrite) {
        const char *there = access(secret_path, F_OK) == 0 ? secret_path : NULL;
        if (there == NULL && access(public_path, F_OK) == 0) there = public_path;
        if (there != NULL) return weir_why_set(why, WEIR_EEXIST, "%s exists already; its keys were kept", there);
    }

    snprintf(text, sizeof text,
             "# The key pair of %s. Keep this file on its host; only %s.pub may leave it.\n%s%s\n%s%s\n", name, name,
             public_prefix, keys->public_key, secret_prefix, keys->secret_key);
    rc = write_file(secret_path, 0600, text, overwrite, why);
    explicit_bzero(text, sizeof text);
    if (rc < 0) return rc;
    snprintf(text, sizeof text, "%s\n", keys->public_key);
    rc = write_file(public_path, 0644, text, overwrite, why);
    if (rc < 0) return rc;
    return sync_folder(folder, why);
}

/** The whole of a small regular file, as text. */
static int read_small(int fd, const char *path, char out[KEY_FILE_BYTES], struct weir_why *why)
{
    size_t size = 0;
    for (;;) {
        ssize_t got = read(fd, out + size, KEY_FILE_BYTES - 1 - size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail_errno(why, "read", path);
        if (got == 0) break;
        size += (size_t)got;
        if (size == KEY_FILE_BYTES - 1) return weir_why_set(why, WEIR_EFORMAT, "%s is too long for a key file", path);
    }
    out[size] = '\0';
    if (strlen(out) != size) return weir_why_set(why, WEIR_EFORMAT, "%s is not a key file", path);
    return 0;
}

/** Nobody but the owner may change or read a secret; root may let a group read it, as service managers do. */
static int check_mode(int fd, const char *path, struct weir_why *why)
{
    struct stat status;
    if (fstat(fd, &status) < 0) return fail_errno(why, "look at", path);
    mode_t forbidden = status.st_uid == 0 ? 0037 : 0077;
    if ((status.st_mode & forbidden) == 0) return 0;
    return weir_why_set(why, WEIR_EDENIED, "%s is open to others (mode %04o): chmod 600 it, or make new keys", path,
                        status.st_mode & 07777);
}

/** The value of the line that begins with @prefix. */
static bool find_value(const char *text, const char *prefix, char ret[WEIR_KEY_TEXT])
{
    for (const char *line = text; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        size_t size = end == NULL ? strlen(line) : (size_t)(end - line);
        size_t skip = strlen(prefix);
        if (size == skip + WEIR_KEY_TEXT - 1 && strncmp(line, prefix, skip) == 0) {
            memcpy(ret, line + skip, WEIR_KEY_TEXT - 1);
            ret[WEIR_KEY_TEXT - 1] = '\0';
            return weir_key_is_valid(ret);
        }
        line = end == NULL ? NULL : end + 1;
    }
    return false;
}

static int parse_pair(const char *path, const char *text, struct weir_keys *ret, struct weir_why *why)
{
    char derived[WEIR_KEY_TEXT];
    if (!find_value(text, public_prefix, ret->public_key) || !find_value(text, secret_prefix, ret->secret_key))
        return weir_why_set(why, WEIR_EFORMAT, "%s is not a key file", path);
    if (zmq_curve_public(derived, ret->secret_key) < 0 || strcmp(derived, ret->public_key) != 0)
        return weir_why_set(why, WEIR_EFORMAT, "the two keys in %s do not belong together", path);
    return 0;
}

int weir_keys_read(const char *path, struct weir_keys *ret, struct weir_why *why)
{
    char text[KEY_FILE_BYTES];
    struct weir_keys keys;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return fail_errno(why, "open", path);
    int rc = check_mode(fd, path, why);
    if (rc == 0) rc = read_small(fd, path, text, why);
    close(fd);
    if (rc == 0) rc = parse_pair(path, text, &keys, why);
    if (rc == 0) *ret = keys;
    explicit_bzero(text, sizeof text);
    weir_keys_wipe(&keys);
    return rc;
}

/** Where a secret is: among the credentials of the service manager, or at @path. */
static int find_secret(const char *path, char ret[PATH_BYTES], struct weir_why *why)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    const char *slash = strrchr(path, '/');
    if (folder != NULL) {
        int rc = path_of(ret, folder, slash == NULL ? path : slash + 1, "", why);
        if (rc < 0 || access(ret, F_OK) == 0) return rc;
    }
    if (snprintf(ret, PATH_BYTES, "%s", path) < PATH_BYTES) return 0;
    return weir_why_set(why, WEIR_EPARAM, "the path %.200s is too long", path);
}

int weir_keys_load(const char *path, struct weir_keys *ret, struct weir_why *why)
{
    char found[PATH_BYTES];
    int rc = find_secret(path, found, why);
    return rc < 0 ? rc : weir_keys_read(found, ret, why);
}

int weir_secret_load(const char *path, char ret[WEIR_SECRET_BYTES], struct weir_why *why)
{
    char found[PATH_BYTES], text[KEY_FILE_BYTES];
    int rc = find_secret(path, found, why);
    if (rc < 0) return rc;
    int fd = open(found, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return fail_errno(why, "open", found);
    rc = check_mode(fd, found, why);
    if (rc == 0) rc = read_small(fd, found, text, why);
    close(fd);
    if (rc == 0) {
        size_t size = strcspn(text, "\n");
        bool is_line = size > 0 && (text[size] == '\0' || text[size + 1] == '\0');
        if (!is_line) rc = weir_why_set(why, WEIR_EFORMAT, "%s is not one line", found);
        if (rc == 0) snprintf(ret, WEIR_SECRET_BYTES, "%.*s", (int)size, text);
    }
    explicit_bzero(text, sizeof text);
    return rc;
}

int weir_keys_read_public(const char *path, char ret[WEIR_KEY_TEXT], struct weir_why *why)
{
    char text[KEY_FILE_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0) return fail_errno(why, "open", path);
    int rc = read_small(fd, path, text, why);
    close(fd);
    if (rc < 0) return rc;
    char key[WEIR_KEY_TEXT];
    if (!find_value(text, "", key)) return weir_why_set(why, WEIR_EFORMAT, "%s is not a public key", path);
    memcpy(ret, key, sizeof key);
    return 0;
}
