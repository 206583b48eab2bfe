#include "agent/feed/reader.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <errno.h>
#include <unistd.h>
#include <zlib.h>

enum { IN_BYTES = 64 << 10, GZIP_WINDOW = 15 + 16 };

struct feed_reader {
    int fd;
    bool decided;
    bool gzip;
    bool between; /* members */
    z_stream z;
    size_t in_at;
    size_t in_size;
    uint8_t in[IN_BYTES];
};

int feed_reader_create(int fd, struct feed_reader **ret)
{
    struct feed_reader *reader = weir_calloc(1, sizeof *reader);
    if (reader == NULL) {
        close(fd);
        return WEIR_ENOMEM;
    }
    reader->fd = fd;
    *ret = reader;
    return 0;
}

void feed_reader_destroy(struct feed_reader *reader)
{
    if (reader == NULL) return;
    if (reader->gzip) inflateEnd(&reader->z);
    close(reader->fd);
    weir_free(reader);
}

/** More of the file behind what is left of it in memory. 0 at its end. */
static int64_t fill(struct feed_reader *reader)
{
    memmove(reader->in, reader->in + reader->in_at, reader->in_size - reader->in_at);
    reader->in_size -= reader->in_at;
    reader->in_at = 0;
    ssize_t got;
    do {
        got = read(reader->fd, reader->in + reader->in_size, sizeof reader->in - reader->in_size);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return WEIR_EIO;
    reader->in_size += (size_t)got;
    return got;
}

static int64_t inflate_some(struct feed_reader *reader, uint8_t *out, size_t size)
{
    reader->z.next_out = out;
    reader->z.avail_out = (uInt)size;
    while (reader->z.avail_out == size) {
        if (reader->in_at == reader->in_size) {
            int64_t got = fill(reader);
            if (got <= 0) return got;
        }
        if (reader->between && inflateReset(&reader->z) != Z_OK) return WEIR_ECORRUPT;
        reader->between = false;
        reader->z.next_in = reader->in + reader->in_at;
        reader->z.avail_in = (uInt)(reader->in_size - reader->in_at);
        int rc = inflate(&reader->z, Z_NO_FLUSH);
        reader->in_at = reader->in_size - reader->z.avail_in;
        if (rc == Z_STREAM_END)
            reader->between = true;
        else if (rc == Z_MEM_ERROR)
            return WEIR_ENOMEM;
        else if (rc != Z_OK && rc != Z_BUF_ERROR)
            return WEIR_ECORRUPT;
    }
    return (int64_t)(size - reader->z.avail_out);
}

int64_t feed_reader_read(struct feed_reader *reader, void *out, size_t size)
{
    if (!reader->decided) {
        int64_t got = fill(reader);
        if (got < 0) return got;
        if (reader->in_size < 2) return 0;
        reader->decided = true;
        if (reader->in[0] == 0x1f && reader->in[1] == 0x8b) {
            if (inflateInit2(&reader->z, GZIP_WINDOW) != Z_OK) return WEIR_ENOMEM;
            reader->gzip = true;
        }
    }
    if (reader->gzip) return inflate_some(reader, out, size);
    if (reader->in_at == reader->in_size) {
        int64_t got = fill(reader);
        if (got <= 0) return got;
    }
    size_t more = reader->in_size - reader->in_at;
    if (more > size) more = size;
    memcpy(out, reader->in + reader->in_at, more);
    reader->in_at += more;
    return (int64_t)more;
}

bool feed_reader_at_end(const struct feed_reader *reader)
{
    return reader->gzip && reader->between && reader->in_at == reader->in_size;
}
