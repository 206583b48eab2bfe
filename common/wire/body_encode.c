/*
 * How a column is encoded is decided by two passes that the compiler vectorises (the OR of all values, and the OR of
 * their differences from the first): they give the width, and the high bits that all values share. Time columns use the
 * true minimum, because their values cross powers of two. A dictionary is tried where it would win clearly, and but
 * only if a sample, counted without branches, does not say that there are too many values.
 */
#include "common/wire/body.h"

#include <assert.h>

enum {
    COLUMN_OVERHEAD = 64,   /* tags, lengths and numbers of a column, and what stores of 8 bytes reach past its end */
    DICTIONARY_MOST = 256,  /* entries: an index is one byte */
    DICTIONARY_SLOTS = 512, /* of the hash table; a power of two */
    DICTIONARY_ROWS = 64,   /* batches with fewer flows are not worth it */
    SAMPLE_ROWS = 512,      /* looked at before one is tried */
    SAMPLE_MARKS = 1024
};

enum wire_type { WIRE_VARINT = 0, WIRE_BYTES = 2 };

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

static uint8_t *put_number(uint8_t *at, uint32_t field, uint64_t value)
{
    if (value == 0) return at; /* the default of proto3 */
    return put_varint(put_varint(at, field << 3 | WIRE_VARINT), value);
}

static size_t varint_size(uint64_t value)
{
    size_t bits = 64 - (size_t)__builtin_clzll(value | 1);
    return (bits + 6) / 7;
}

/** Bytes that hold @value, 1..8. */
static uint32_t width_of(uint64_t value)
{
    return (71 - (uint32_t)__builtin_clzll(value | 1)) / 8;
}

/** What a column will look like. */
struct plan {
    enum column_encoding encoding;
    uint32_t width;
    uint64_t offset;
    uint32_t entries;
    uint32_t entry_width;
};

struct dictionary {
    uint32_t entries;
    uint64_t low[DICTIONARY_MOST]; /* the entry; of 16-byte ones the second half */
    uint64_t high[DICTIONARY_MOST];
    uint16_t slot[DICTIONARY_SLOTS]; /* entry + 1, 0 free */
};

static inline uint64_t hash_of(uint64_t high, uint64_t low)
{
    return (low ^ high * 0xc2b2ae3d27d4eb4full) * 0x9e3779b97f4a7c15ull;
}

static inline uint32_t slot_of(uint64_t high, uint64_t low)
{
    return (uint32_t)(hash_of(high, low) >> (64 - 9));
}

_Static_assert(DICTIONARY_SLOTS == 1 << 9, "nine bits of the hash choose a slot");

/** The index of a value, added if it is new; -1 when it would be one entry too many. */
static inline int dictionary_index(struct dictionary *dict, uint32_t most, uint64_t high, uint64_t low)
{
    for (uint32_t slot = slot_of(high, low);; slot = (slot + 1) & (DICTIONARY_SLOTS - 1)) {
        uint32_t entry = dict->slot[slot];
        if (entry == 0) {
            if (dict->entries == most) return -1;
            dict->slot[slot] = (uint16_t)(dict->entries + 1);
            dict->high[dict->entries] = high;
            dict->low[dict->entries] = low;
            return (int)dict->entries++;
        }
        if (dict->low[entry - 1] == low && dict->high[entry - 1] == high) return (int)entry - 1;
    }
}

/** Entries with which a dictionary still saves a quarter of @width bytes a flow; 0: do not try. */
static uint32_t dictionary_most(uint32_t count, uint32_t width)
{
    if (count < DICTIONARY_ROWS || width < 2) return 0;
    uint32_t plain = count * width;
    uint32_t most = (plain - plain / 4 - count) / width;
    return most > DICTIONARY_MOST ? DICTIONARY_MOST : most;
}

/** Where the hashes of a sample of values were: at least so many different values there are. */
struct marks {
    uint8_t seen[SAMPLE_MARKS];
};

static inline void mark(struct marks *marks, uint64_t high, uint64_t low)
{
    marks->seen[hash_of(high, low) >> (64 - 10)] = 1;
}

_Static_assert(SAMPLE_MARKS == 1 << 10, "ten bits of the hash choose a mark");

static uint32_t marks_count(const struct marks *marks)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < SAMPLE_MARKS; i++)
        count += marks->seen[i];
    return count;
}

static uint32_t sample_rows(uint32_t count)
{
    return count < SAMPLE_ROWS ? count : SAMPLE_ROWS;
}

/* The values of a column as numbers, for each width that fields.def has. */
#define FOR_EACH_WIDTH(X) X(8, uint8_t) X(16, uint16_t) X(32, uint32_t) X(64, uint64_t)

#define SURVEY(bits, type)                                                                                             \
    static void survey_##bits(const void *column, uint32_t count, uint64_t *any, uint64_t *differ)                     \
    {                                                                                                                  \
        const type *value = column;                                                                                    \
        type first = value[0];                                                                                         \
        type all = 0;                                                                                                  \
        type other = 0;                                                                                                \
        for (uint32_t i = 0; i < count; i++) {                                                                         \
            all |= value[i];                                                                                           \
            other |= (type)(value[i] ^ first);                                                                         \
        }                                                                                                              \
        *any = all;                                                                                                    \
        *differ = other;                                                                                               \
    }                                                                                                                  \
    static bool index_##bits(const void *column, uint32_t count, uint32_t most, struct dictionary *dict, uint8_t *out) \
    {                                                                                                                  \
        const type *value = column;                                                                                    \
        struct marks marks = {{0}};                                                                                    \
        if (most == 0) return false;                                                                                   \
        for (uint32_t i = 0; i < sample_rows(count); i++)                                                              \
            mark(&marks, 0, value[i]);                                                                                 \
        if (marks_count(&marks) > most) return false;                                                                  \
        memset(dict->slot, 0, sizeof dict->slot);                                                                      \
        dict->entries = 0;                                                                                             \
        for (uint32_t i = 0; i < count; i++) {                                                                         \
            int entry = dictionary_index(dict, most, 0, value[i]);                                                     \
            if (entry < 0) return false;                                                                               \
            out[i] = (uint8_t)entry;                                                                                   \
        }                                                                                                              \
        return true;                                                                                                   \
    }                                                                                                                  \
    /* Stores of 8 bytes for the odd widths; the next one, or the slack of COLUMN_OVERHEAD, takes the excess. */       \
    static void narrow_##bits(const void *column, uint32_t count, uint64_t offset, uint32_t width, uint8_t *out)       \
    {                                                                                                                  \
        const type *value = column;                                                                                    \
        type base = (type)offset;                                                                                      \
        switch (width) {                                                                                               \
        case 0: break;                                                                                                 \
        case 1:                                                                                                        \
            for (uint32_t i = 0; i < count; i++)                                                                       \
                out[i] = (uint8_t)(value[i] - base);                                                                   \
            break;                                                                                                     \
        case 2:                                                                                                        \
            for (uint32_t i = 0; i < count; i++) {                                                                     \
                uint16_t two = (uint16_t)(value[i] - base);                                                            \
                memcpy(out + 2 * (size_t)i, &two, sizeof two);                                                         \
            }                                                                                                          \
            break;                                                                                                     \
        case 4:                                                                                                        \
            for (uint32_t i = 0; i < count; i++) {                                                                     \
                uint32_t four = (uint32_t)(value[i] - base);                                                           \
                memcpy(out + 4 * (size_t)i, &four, sizeof four);                                                       \
            }                                                                                                          \
            break;                                                                                                     \
        default:                                                                                                       \
            for (uint32_t i = 0; i < count; i++) {                                                                     \
                uint64_t eight = (type)(value[i] - base);                                                              \
                memcpy(out + width * (size_t)i, &eight, sizeof eight);                                                 \
            }                                                                                                          \
        }                                                                                                              \
    }

FOR_EACH_WIDTH(SURVEY)

static void survey(uint32_t bytes, const void *column, uint32_t count, uint64_t *any, uint64_t *differ)
{
    switch (bytes) {
    case 1: survey_8(column, count, any, differ); break;
    case 2: survey_16(column, count, any, differ); break;
    case 4: survey_32(column, count, any, differ); break;
    default: survey_64(column, count, any, differ);
    }
}

static bool index_values(uint32_t bytes, const void *column, uint32_t count, uint32_t most, struct dictionary *dict,
                         uint8_t *out)
{
    switch (bytes) {
    case 1: return index_8(column, count, most, dict, out);
    case 2: return index_16(column, count, most, dict, out);
    case 4: return index_32(column, count, most, dict, out);
    default: return index_64(column, count, most, dict, out);
    }
}

static void narrow(uint32_t bytes, const void *column, uint32_t count, uint64_t offset, uint32_t width, uint8_t *out)
{
    switch (bytes) {
    case 1: narrow_8(column, count, offset, width, out); break;
    case 2: narrow_16(column, count, offset, width, out); break;
    case 4: narrow_32(column, count, offset, width, out); break;
    default: narrow_64(column, count, offset, width, out);
    }
}

/** Everything of a column but its data and dictionary, whose bytes follow. */
static uint8_t *put_column(uint8_t *at, enum weir_field field, const struct plan *plan, size_t data_bytes,
                           const uint8_t *dictionary, size_t dictionary_bytes, uint8_t **data)
{
    uint8_t head[COLUMN_OVERHEAD];
    uint8_t *end = put_number(head, COLUMN_IE, weir_fields[field].ie);
    end = put_number(end, COLUMN_ENCODING, plan->encoding);
    end = put_number(end, COLUMN_WIDTH, plan->width);
    end = put_number(end, COLUMN_OFFSET, plan->offset);
    if (dictionary_bytes != 0) end = put_number(end, COLUMN_ENTRY_WIDTH, plan->entry_width);

    size_t size = (size_t)(end - head) + 1 + varint_size(data_bytes) + data_bytes;
    if (dictionary_bytes != 0) size += 1 + varint_size(dictionary_bytes) + dictionary_bytes;
    at = put_varint(at, BODY_COLUMNS << 3 | WIRE_BYTES);
    at = put_varint(at, size);
    memcpy(at, head, (size_t)(end - head));
    at += end - head;
    if (dictionary_bytes != 0) {
        at = put_varint(at, COLUMN_DICTIONARY << 3 | WIRE_BYTES);
        at = put_varint(at, dictionary_bytes);
        memcpy(at, dictionary, dictionary_bytes);
        at += dictionary_bytes;
    }
    at = put_varint(at, COLUMN_DATA << 3 | WIRE_BYTES);
    at = put_varint(at, data_bytes);
    *data = at;
    return at + data_bytes;
}

static uint8_t *put_constant(uint8_t *at, enum weir_field field, const void *value, uint32_t width)
{
    struct plan plan = {.encoding = ENCODING_CONSTANT, .width = width};
    uint8_t *data;
    at = put_column(at, field, &plan, width, NULL, 0, &data);
    memcpy(data, value, width);
    return at;
}

static uint8_t *put_narrow(uint8_t *at, enum weir_field field, const struct plan *plan, const void *column,
                           uint32_t count)
{
    uint8_t *data;
    at = put_column(at, field, plan, (size_t)count * plan->width, NULL, 0, &data);
    narrow(weir_fields[field].width, column, count, plan->offset, plan->width, data);
    return at;
}

static uint8_t *put_dictionary(uint8_t *at, enum weir_field field, uint32_t entry_width, const struct dictionary *dict,
                               const uint8_t *index, uint32_t count)
{
    uint8_t entries[DICTIONARY_MOST * V6_BYTES + sizeof(uint64_t)];
    uint8_t *end = entries;
    for (uint32_t i = 0; i < dict->entries; i++, end += entry_width) {
        if (entry_width == V6_BYTES) {
            memcpy(end, &dict->high[i], sizeof dict->high[i]);
            memcpy(end + sizeof dict->high[i], &dict->low[i], sizeof dict->low[i]);
        } else {
            memcpy(end, &dict->low[i], sizeof dict->low[i]);
        }
    }
    struct plan plan = {.encoding = ENCODING_DICTIONARY, .width = 1, .entry_width = entry_width};
    uint8_t *data;
    at = put_column(at, field, &plan, count, entries, (size_t)(end - entries), &data);
    memcpy(data, index, count);
    return at;
}

static uint8_t *put_numbers(uint8_t *at, enum weir_field field, const void *column, uint32_t count)
{
    uint64_t any;
    uint64_t differ;
    uint32_t bytes = weir_fields[field].width;
    survey(bytes, column, count, &any, &differ);
    if (differ == 0) return put_constant(at, field, &any, width_of(any));

    uint32_t width = width_of(any);
    struct dictionary dict;
    uint8_t index[WEIR_BATCH_MOST];
    if (index_values(bytes, column, count, dictionary_most(count, width), &dict, index))
        return put_dictionary(at, field, width, &dict, index, count);

    struct plan plan = {.encoding = ENCODING_NARROW, .width = width};
    if (width_of(differ) < width) {
        plan.width = width_of(differ);
        plan.offset = any & ~((1ull << 8 * plan.width) - 1);
    }
    return put_narrow(at, field, &plan, column, count);
}

/** Signed times: from the earliest one. */
static uint8_t *put_times(uint8_t *at, enum weir_field field, enum column_encoding encoding, const int64_t *time,
                          uint32_t count)
{
    int64_t least = time[0];
    int64_t most = time[0];
    for (uint32_t i = 1; i < count; i++) {
        least = time[i] < least ? time[i] : least;
        most = time[i] > most ? time[i] : most;
    }
    uint64_t range = (uint64_t)most - (uint64_t)least;
    struct plan plan = {.encoding = encoding, .width = range == 0 ? 0 : width_of(range), .offset = (uint64_t)least};
    return put_narrow(at, field, &plan, time, count);
}

static uint8_t *put_end_ms(uint8_t *at, const struct weir_batch *batch)
{
    const int64_t *end = batch->column[WEIR_FIELD_end_ms];
    if (!weir_batch_has(batch, WEIR_FIELD_start_ms))
        return put_times(at, WEIR_FIELD_end_ms, ENCODING_NARROW, end, batch->count);

    const int64_t *start = batch->column[WEIR_FIELD_start_ms];
    int64_t duration[WEIR_BATCH_MOST];
    for (uint32_t i = 0; i < batch->count; i++)
        duration[i] = (int64_t)((uint64_t)end[i] - (uint64_t)start[i]);
    return put_times(at, WEIR_FIELD_end_ms, ENCODING_DURATION, duration, batch->count);
}

/** Addresses as two halves in memory order. */
struct halves {
    uint64_t high;
    uint64_t low;
};

static struct halves halves_of(const struct weir_ip *ip)
{
    struct halves halves;
    memcpy(&halves, ip, sizeof halves);
    return halves;
}

_Static_assert(sizeof(struct halves) == sizeof(struct weir_ip), "an address is two halves");

static bool index_ips(const struct weir_ip *ip, uint32_t count, bool v4, struct dictionary *dict, uint8_t *out)
{
    uint32_t most = dictionary_most(count, v4 ? V4_BYTES : V6_BYTES);
    struct marks marks = {{0}};
    if (most == 0) return false;
    for (uint32_t i = 0; i < sample_rows(count); i++) {
        struct halves halves = halves_of(&ip[i]);
        mark(&marks, halves.high, halves.low);
    }
    if (marks_count(&marks) > most) return false;

    memset(dict->slot, 0, sizeof dict->slot);
    dict->entries = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct halves halves = halves_of(&ip[i]);
        int entry = v4 ? dictionary_index(dict, most, 0, halves.low >> 32)
                       : dictionary_index(dict, most, halves.high, halves.low);
        if (entry < 0) return false;
        out[i] = (uint8_t)entry;
    }
    return true;
}

static uint8_t *put_ips(uint8_t *at, enum weir_field field, const struct weir_ip *ip, uint32_t count)
{
    static const struct weir_ip mapped = {{[10] = 0xff, [11] = 0xff}};
    const struct halves any_v4 = halves_of(&mapped);
    struct halves first = halves_of(&ip[0]);
    uint64_t differ = 0;
    uint64_t not_v4 = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct halves halves = halves_of(&ip[i]);
        differ |= (halves.high ^ first.high) | (halves.low ^ first.low);
        not_v4 |= halves.high | (uint32_t)(halves.low ^ any_v4.low);
    }
    bool v4 = not_v4 == 0;
    uint32_t width = v4 ? V4_BYTES : V6_BYTES;
    if (differ == 0) return put_constant(at, field, ip[0].bytes + sizeof ip[0] - width, width);

    struct dictionary dict;
    uint8_t index[WEIR_BATCH_MOST];
    if (index_ips(ip, count, v4, &dict, index)) return put_dictionary(at, field, width, &dict, index, count);

    struct plan plan = {.encoding = ENCODING_NARROW, .width = width};
    uint8_t *data;
    at = put_column(at, field, &plan, (size_t)count * width, NULL, 0, &data);
    if (!v4) {
        memcpy(data, ip, (size_t)count * sizeof *ip);
        return at;
    }
    for (uint32_t i = 0; i < count; i++)
        memcpy(data + V4_BYTES * (size_t)i, ip[i].bytes + sizeof ip[i] - V4_BYTES, V4_BYTES);
    return at;
}

size_t weir_body_bound(const struct weir_batch *batch)
{
    size_t bound = COLUMN_OVERHEAD;
    for (int f = 0; f < WEIR_FIELD_COUNT; f++) {
        if (weir_batch_has(batch, f)) bound += (size_t)batch->count * weir_fields[f].width + COLUMN_OVERHEAD;
    }
    return bound;
}

size_t weir_body_encode(const struct weir_batch *batch, uint8_t *out)
{
    assert(batch->count > 0);
    uint8_t *at = put_number(out, BODY_COUNT, batch->count);
    for (int f = 0; f < WEIR_FIELD_COUNT; f++) {
        if (!weir_batch_has(batch, f)) continue;
        if (f == WEIR_FIELD_start_ms)
            at = put_times(at, f, ENCODING_NARROW, batch->column[f], batch->count);
        else if (f == WEIR_FIELD_end_ms)
            at = put_end_ms(at, batch);
        else if (weir_fields[f].is_ip)
            at = put_ips(at, f, batch->column[f], batch->count);
        else
            at = put_numbers(at, f, batch->column[f], batch->count);
    }
    return (size_t)(at - out);
}
