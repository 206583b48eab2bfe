#include "agent/feed/gzip.h"

#include <zlib.h>

enum { WINDOW = 15 + 16 /* gzip only */, BLOCK_BYTES = 32 << 10, AT_ONCE = 1 << 30 };

bool feed_is_gzip(struct weir_view bytes)
{
    return bytes.size >= 2 && bytes.data[0] == 0x1f && bytes.data[1] == 0x8b;
}

/** One member; *left is what is behind it. */
static int inflate_member(z_stream *z, struct weir_view *left, size_t most, size_t *size, struct weir_buf *out)
{
    uint8_t block[BLOCK_BYTES];
    int rc = Z_OK;
    while (rc != Z_STREAM_END) {
        uInt in = left->size < AT_ONCE ? (uInt)left->size : (uInt)AT_ONCE;
        union {
            const uint8_t *lent;
            Bytef *bytes;
        } as = {.lent = left->data}; /* inflate never writes through it */
        z->next_in = as.bytes;
        z->avail_in = in;
        z->next_out = block;
        z->avail_out = sizeof block;
        rc = inflate(z, Z_NO_FLUSH);
        if (rc == Z_MEM_ERROR) return WEIR_ENOMEM;
        if (rc != Z_OK && rc != Z_STREAM_END) return WEIR_EFORMAT; /* Z_BUF_ERROR: it is cut off */
        *left = weir_view_of(left->data + (in - z->avail_in), left->size - (in - z->avail_in));
        size_t more = sizeof block - z->avail_out;
        *size += more;
        if (*size > most) return WEIR_ELIMIT;
        if (out != NULL) weir_buf_append(out, block, more);
        if (out != NULL && out->failed) return WEIR_ENOMEM;
    }
    return 0;
}

int feed_gunzip(struct weir_view bytes, size_t most, struct weir_buf *out)
{
    z_stream z = {0};
    size_t size = 0;
    int rc = feed_is_gzip(bytes) ? 0 : WEIR_EFORMAT;
    if (rc < 0) return rc;
    if (inflateInit2(&z, WINDOW) != Z_OK) return WEIR_ENOMEM;
    while (rc == 0 && bytes.size > 0) {
        rc = inflate_member(&z, &bytes, most, &size, out);
        if (inflateReset(&z) != Z_OK && rc == 0) rc = WEIR_EFORMAT;
    }
    inflateEnd(&z);
    return rc;
}
