/**
 * Reading bytes that a stranger sent: a view and a sticky cursor, both borrowed, both big-endian as the network is.
 */
#ifndef WEIR_COMMON_BASE_BYTES_H
#define WEIR_COMMON_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** Bytes that somebody else owns. */
struct weir_view {
    const uint8_t *data;
    size_t size;
};

/**
 * A place in a view. Reading past the end yields zeros and sets @ran_out, which stays set: check once, after
 * reading a whole header and before trusting any of it.
 */
struct weir_cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool ran_out;
};

static inline struct weir_view weir_view_of(const void *data, size_t size)
{
    return (struct weir_view){.data = data, .size = size};
}

static inline struct weir_view weir_view_text(const char *text)
{
    return (struct weir_view){.data = (const uint8_t *)text, .size = strlen(text)};
}

static inline bool weir_view_equal(struct weir_view a, struct weir_view b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline struct weir_cursor weir_cursor_of(struct weir_view view)
{
    const uint8_t *data = view.data == NULL ? (const uint8_t *)"" : view.data; /* C has no NULL + 0 */
    return (struct weir_cursor){.at = data, .end = data + view.size, .ran_out = false};
}

static inline size_t weir_cursor_left(const struct weir_cursor *c)
{
    return (size_t)(c->end - c->at);
}

/** Step over @size bytes and return where they begin, or NULL (and ran_out) when fewer are left. */
static inline const uint8_t *weir_cursor_take(struct weir_cursor *c, size_t size)
{
    if (__builtin_expect(weir_cursor_left(c) < size, 0)) {
        c->ran_out = true;
        c->at = c->end;
        return NULL;
    }
    const uint8_t *at = c->at;
    c->at += size;
    return at;
}

static inline void weir_cursor_skip(struct weir_cursor *c, size_t size)
{
    (void)weir_cursor_take(c, size);
}

/** A cursor over the next @size bytes, stepping over them. Empty and ran_out when fewer are left. */
static inline struct weir_cursor weir_cursor_sub(struct weir_cursor *c, size_t size)
{
    const uint8_t *at = weir_cursor_take(c, size);
    if (at == NULL) return (struct weir_cursor){.at = c->end, .end = c->end, .ran_out = true};
    return (struct weir_cursor){.at = at, .end = at + size, .ran_out = false};
}

/** Big-endian loads from memory that is known to be long enough; no alignment needed. */
static inline uint16_t weir_load_u16be(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap16(value);
}

static inline uint32_t weir_load_u32be(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap32(value);
}

static inline uint64_t weir_load_u64be(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return __builtin_bswap64(value);
}

static inline void weir_store_u16be(uint8_t *at, uint16_t value)
{
    value = __builtin_bswap16(value);
    memcpy(at, &value, sizeof value);
}

static inline void weir_store_u32be(uint8_t *at, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(at, &value, sizeof value);
}

static inline void weir_store_u64be(uint8_t *at, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(at, &value, sizeof value);
}

/** Little-endian loads and stores, for our own formats. */
static inline uint16_t weir_load_u16le(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint32_t weir_load_u32le(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint64_t weir_load_u64le(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline void weir_store_u16le(uint8_t *at, uint16_t value)
{
    memcpy(at, &value, sizeof value);
}

static inline void weir_store_u32le(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

static inline void weir_store_u64le(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof value);
}

/** An unsigned big-endian number of 1 to 8 bytes (RFC 7011 6.2, reduced-size encoding). */
static inline uint64_t weir_load_ube(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value = value << 8 | at[i];
    return value;
}

static inline uint8_t weir_cursor_u8(struct weir_cursor *c)
{
    const uint8_t *at = weir_cursor_take(c, 1);
    return at == NULL ? 0 : *at;
}

static inline uint16_t weir_cursor_u16(struct weir_cursor *c)
{
    const uint8_t *at = weir_cursor_take(c, 2);
    return at == NULL ? 0 : weir_load_u16be(at);
}

static inline uint32_t weir_cursor_u32(struct weir_cursor *c)
{
    const uint8_t *at = weir_cursor_take(c, 4);
    return at == NULL ? 0 : weir_load_u32be(at);
}

static inline uint64_t weir_cursor_u64(struct weir_cursor *c)
{
    const uint8_t *at = weir_cursor_take(c, 8);
    return at == NULL ? 0 : weir_load_u64be(at);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the loads above assume a little-endian host");

#endif
