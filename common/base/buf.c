#include "common/base/buf.h"

#include "common/base/mem.h"

#include <stdarg.h>
#include <stdio.h>

enum { FIRST_CAPACITY = 256 };

void weir_buf_fini(struct weir_buf *buf)
{
    weir_free(buf->data);
    *buf = WEIR_BUF_INIT;
}

void weir_buf_clear(struct weir_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
}

uint8_t *weir_buf_reserve(struct weir_buf *buf, size_t size)
{
    if (buf->failed) return NULL;
    if (buf->capacity - buf->size >= size) return buf->data + buf->size;

    size_t capacity = buf->capacity == 0 ? FIRST_CAPACITY : buf->capacity;
    while (capacity - buf->size < size) {
        if (capacity > SIZE_MAX / 2) {
            buf->failed = true;
            return NULL;
        }
        capacity *= 2;
    }
    uint8_t *data = weir_realloc(buf->data, capacity);
    if (data == NULL) {
        buf->failed = true;
        return NULL;
    }
    buf->data = data;
    buf->capacity = capacity;
    return buf->data + buf->size;
}

void weir_buf_commit(struct weir_buf *buf, size_t size)
{
    buf->size += size;
}

void weir_buf_append(struct weir_buf *buf, const void *data, size_t size)
{
    if (size == 0) return;
    uint8_t *at = weir_buf_reserve(buf, size);
    if (at == NULL) return;
    memcpy(at, data, size);
    buf->size += size;
}

void weir_buf_text(struct weir_buf *buf, const char *text)
{
    weir_buf_append(buf, text, strlen(text));
}

void weir_buf_printf(struct weir_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0) return;

    uint8_t *at = weir_buf_reserve(buf, (size_t)size + 1);
    if (at == NULL) return;
    va_start(args, format);
    vsnprintf((char *)at, (size_t)size + 1, format, args);
    va_end(args);
    buf->size += (size_t)size;
}

void weir_buf_u8(struct weir_buf *buf, uint8_t value)
{
    weir_buf_append(buf, &value, 1);
}

void weir_buf_u16be(struct weir_buf *buf, uint16_t value)
{
    uint8_t bytes[2];
    weir_store_u16be(bytes, value);
    weir_buf_append(buf, bytes, sizeof bytes);
}

void weir_buf_u32be(struct weir_buf *buf, uint32_t value)
{
    uint8_t bytes[4];
    weir_store_u32be(bytes, value);
    weir_buf_append(buf, bytes, sizeof bytes);
}

void weir_buf_u64be(struct weir_buf *buf, uint64_t value)
{
    uint8_t bytes[8];
    weir_store_u64be(bytes, value);
    weir_buf_append(buf, bytes, sizeof bytes);
}

const char *weir_buf_cstr(struct weir_buf *buf)
{
    uint8_t *at = weir_buf_reserve(buf, 1);
    if (at == NULL) return "";
    *at = '\0';
    return (const char *)buf->data;
}
