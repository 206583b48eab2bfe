/**
 * A growing buffer with a sticky error: append as often as you like, check @failed once at the end.
 */
#ifndef WEIR_COMMON_BASE_BUF_H
#define WEIR_COMMON_BASE_BUF_H

#include "common/base/bytes.h"

struct weir_buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
    bool failed; /* memory ran out; what was appended since is missing */
};

/** An empty buffer; allocates nothing yet. */
#define WEIR_BUF_INIT ((struct weir_buf){0})

/** Give the memory back. The buffer is empty and usable afterwards. */
void weir_buf_fini(struct weir_buf *buf);

/** Forget the content and the error, keep the memory. */
void weir_buf_clear(struct weir_buf *buf);

/** Room for @size more bytes: where to write them, or NULL (and failed). Does not change @size; see commit. */
uint8_t *weir_buf_reserve(struct weir_buf *buf, size_t size);

/** Count @size reserved bytes as written. */
void weir_buf_commit(struct weir_buf *buf, size_t size);

void weir_buf_append(struct weir_buf *buf, const void *data, size_t size);
void weir_buf_text(struct weir_buf *buf, const char *text);
void weir_buf_printf(struct weir_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void weir_buf_u8(struct weir_buf *buf, uint8_t value);
void weir_buf_u16be(struct weir_buf *buf, uint16_t value);
void weir_buf_u32be(struct weir_buf *buf, uint32_t value);
void weir_buf_u64be(struct weir_buf *buf, uint64_t value);

/** What was written, borrowed until the next change. */
static inline struct weir_view weir_buf_view(const struct weir_buf *buf)
{
    return weir_view_of(buf->data, buf->size);
}

/** The content as a C string, borrowed until the next change; "" when empty or failed. */
const char *weir_buf_cstr(struct weir_buf *buf);

#endif
