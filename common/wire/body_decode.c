#include "common/base/err.h"
#include "common/base/mem.h"
#include "common/wire/bits.h"
#include "common/wire/body.h"

#include <assert.h>

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/** One field of a protobuf message: a number, or bytes. */
struct field {
    uint32_t number;
    uint64_t value; /* of a varint; of other numbers 0, which we never need */
    struct weir_view bytes;
};

static uint64_t take_varint(struct weir_cursor *c)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        uint8_t byte = weir_cursor_u8(c);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return value;
    }
    c->ran_out = true; /* no number is that long */
    c->at = c->end;
    return 0;
}

/** The next field; 1, 0 at the end, WEIR_EFORMAT. */
static int next_field(struct weir_cursor *c, struct field *field)
{
    if (weir_cursor_left(c) == 0) return 0;

    uint64_t tag = take_varint(c);
    *field = (struct field){.number = (uint32_t)(tag >> 3)};
    if (tag >> 3 == 0 || tag >> 3 > UINT32_MAX >> 3) return WEIR_EFORMAT;
    switch (tag & 7) {
    case WIRE_VARINT: field->value = take_varint(c); break;
    case WIRE_64: weir_cursor_skip(c, 8); break;
    case WIRE_32: weir_cursor_skip(c, 4); break;
    case WIRE_BYTES: {
        uint64_t size = take_varint(c);
        if (size > weir_cursor_left(c)) return WEIR_EFORMAT;
        field->bytes = weir_view_of(weir_cursor_take(c, size), size);
        break;
    }
    default: return WEIR_EFORMAT;
    }
    return c->ran_out ? WEIR_EFORMAT : 1;
}

struct column {
    uint64_t ie;
    uint64_t pen;
    uint64_t encoding;
    uint64_t width;
    uint64_t offset;
    uint64_t entry_width;
    struct weir_view data;
    struct weir_view dictionary;
    struct weir_view exceptions;
};

static int read_column(struct weir_view bytes, struct column *column)
{
    struct weir_cursor c = weir_cursor_of(bytes);
    struct field field;
    int rc;
    *column = (struct column){0};
    while ((rc = next_field(&c, &field)) > 0) {
        switch (field.number) {
        case COLUMN_IE: column->ie = field.value; break;
        case COLUMN_PEN: column->pen = field.value; break;
        case COLUMN_ENCODING: column->encoding = field.value; break;
        case COLUMN_WIDTH: column->width = field.value; break;
        case COLUMN_OFFSET: column->offset = field.value; break;
        case COLUMN_DATA: column->data = field.bytes; break;
        case COLUMN_DICTIONARY: column->dictionary = field.bytes; break;
        case COLUMN_ENTRY_WIDTH: column->entry_width = field.value; break;
        case COLUMN_EXCEPTIONS: column->exceptions = field.bytes; break;
        default: break;
        }
    }
    return rc;
}

/** A little-endian number of 0 to 8 bytes. */
static uint64_t load_narrow(const uint8_t *at, uint32_t width)
{
    uint64_t value = 0;
    memcpy(&value, at, width);
    return value;
}

/* Widening into a column of each width that fields.def has. An odd width is loaded as 8 bytes while 8 are left. */
#define FOR_EACH_WIDTH(X) X(8, uint8_t) X(16, uint16_t) X(32, uint32_t) X(64, uint64_t)

#define WIDEN(bits, type)                                                                                      \
    static void fill_##bits(void *column, uint32_t count, uint64_t constant)                                   \
    {                                                                                                          \
        type *value = column;                                                                                  \
        for (uint32_t i = 0; i < count; i++)                                                                   \
            value[i] = (type)constant;                                                                         \
    }                                                                                                          \
    static void widen_##bits(void *column, uint32_t count, uint64_t offset, uint32_t width, const uint8_t *in) \
    {                                                                                                          \
        type *value = column;                                                                                  \
        type base = (type)offset;                                                                              \
        switch (width) {                                                                                       \
        case 1:                                                                                                \
            for (uint32_t i = 0; i < count; i++)                                                               \
                value[i] = (type)(in[i] + base);                                                               \
            break;                                                                                             \
        case 2:                                                                                                \
            for (uint32_t i = 0; i < count; i++) {                                                             \
                uint16_t two;                                                                                  \
                memcpy(&two, in + 2 * (size_t)i, sizeof two);                                                  \
                value[i] = (type)(two + base);                                                                 \
            }                                                                                                  \
            break;                                                                                             \
        case 4:                                                                                                \
            for (uint32_t i = 0; i < count; i++)                                                               \
                value[i] = (type)(weir_load_u32le(in + 4 * (size_t)i) + base);                                 \
            break;                                                                                             \
        default: {                                                                                             \
            uint64_t mask = width < 8 ? (1ull << 8 * width) - 1 : UINT64_MAX;                                  \
            size_t size = (size_t)count * width;                                                               \
            uint32_t i = 0;                                                                                    \
            for (; i * (size_t)width + 8 <= size; i++)                                                         \
                value[i] = (type)((weir_load_u64le(in + width * (size_t)i) & mask) + base);                    \
            for (; i < count; i++)                                                                             \
                value[i] = (type)(load_narrow(in + width * (size_t)i, width) + base);                          \
        }                                                                                                      \
        }                                                                                                      \
    }                                                                                                          \
    static void add_##bits(void *column, uint32_t count, uint64_t offset, const uint32_t *number)              \
    {                                                                                                          \
        type *value = column;                                                                                  \
        type base = (type)offset;                                                                              \
        for (uint32_t i = 0; i < count; i++)                                                                   \
            value[i] = (type)(number[i] + base);                                                               \
    }                                                                                                          \
    static void look_up_##bits(void *column, uint32_t count, const uint64_t *entry, const uint32_t *index)     \
    {                                                                                                          \
        type *value = column;                                                                                  \
        for (uint32_t i = 0; i < count; i++)                                                                   \
            value[i] = (type)entry[index[i]];                                                                  \
    }                                                                                                          \
    static void lift_##bits(void *column, uint32_t row, uint64_t by)                                           \
    {                                                                                                          \
        type *value = column;                                                                                  \
        value[row] = (type)(value[row] + by);                                                                  \
    }

FOR_EACH_WIDTH(WIDEN)

static void fill(uint32_t bytes, void *column, uint32_t count, uint64_t constant)
{
    switch (bytes) {
    case 1: fill_8(column, count, constant); break;
    case 2: fill_16(column, count, constant); break;
    case 4: fill_32(column, count, constant); break;
    default: fill_64(column, count, constant);
    }
}

static void widen(uint32_t bytes, void *column, uint32_t count, uint64_t offset, uint32_t width, const uint8_t *in)
{
    switch (bytes) {
    case 1: widen_8(column, count, offset, width, in); break;
    case 2: widen_16(column, count, offset, width, in); break;
    case 4: widen_32(column, count, offset, width, in); break;
    default: widen_64(column, count, offset, width, in);
    }
}

static void add(uint32_t bytes, void *column, uint32_t count, uint64_t offset, const uint32_t *number)
{
    switch (bytes) {
    case 1: add_8(column, count, offset, number); break;
    case 2: add_16(column, count, offset, number); break;
    case 4: add_32(column, count, offset, number); break;
    default: add_64(column, count, offset, number);
    }
}

static void look_up(uint32_t bytes, void *column, uint32_t count, const uint64_t *entry, const uint32_t *index)
{
    switch (bytes) {
    case 1: look_up_8(column, count, entry, index); break;
    case 2: look_up_16(column, count, entry, index); break;
    case 4: look_up_32(column, count, entry, index); break;
    default: look_up_64(column, count, entry, index);
    }
}

static void lift(uint32_t bytes, void *column, uint32_t row, uint64_t by)
{
    switch (bytes) {
    case 1: lift_8(column, row, by); break;
    case 2: lift_16(column, row, by); break;
    case 4: lift_32(column, row, by); break;
    default: lift_64(column, row, by);
    }
}

/** The greatest @number >> @shift. Less than 2^31, and signed, because that is what SSE2 compares. */
static size_t most_of(const uint32_t *number, uint32_t count, uint32_t shift)
{
    int32_t most = 0;
    for (uint32_t i = 0; i < count; i++) {
        int32_t high = (int32_t)(number[i] >> shift);
        most = high > most ? high : most;
    }
    return (size_t)most;
}

/** Numbers of in->width bits into @number, which has room for a whole batch. */
static int unpack(const struct column *in, uint32_t count, uint32_t number[WEIR_BATCH_MOST])
{
    if (in->width > WEIR_BITS_MOST) return WEIR_EFORMAT;
    if (in->data.size != weir_bits_bytes(count, (uint32_t)in->width)) return WEIR_EFORMAT;
    weir_bits_unpack(in->data.data, count, (uint32_t)in->width, number);
    return 0;
}

/** The indices of a dictionary column, each checked. */
static int read_indices(const struct column *in, uint32_t count, size_t entries, uint32_t index[WEIR_BATCH_MOST])
{
    if (in->encoding == ENCODING_DICTIONARY_BITS) {
        if (in->width > 8 * sizeof(uint16_t)) return WEIR_EFORMAT;
        int rc = unpack(in, count, index);
        if (rc < 0) return rc;
    } else {
        if (in->width != 1 && in->width != 2) return WEIR_EFORMAT;
        if (in->data.size != count * in->width) return WEIR_EFORMAT;
        widen_32(index, count, 0, (uint32_t)in->width, in->data.data);
    }
    return most_of(index, count, 0) < entries ? 0 : WEIR_EFORMAT;
}

/** NARROW and BITS, and durations in them. */
static int decode_distances(const struct column *in, uint32_t bytes, uint32_t count, void *column)
{
    if (in->encoding == ENCODING_NARROW || in->encoding == ENCODING_DURATION) {
        if (in->width > bytes || in->data.size != count * in->width) return WEIR_EFORMAT;
        if (in->width == 0)
            fill(bytes, column, count, in->offset);
        else
            widen(bytes, column, count, in->offset, (uint32_t)in->width, in->data.data);
        return 0;
    }
    uint32_t number[WEIR_BATCH_MOST];
    int rc = unpack(in, count, number);
    if (rc < 0) return rc;
    if (in->width > 8 * bytes) return WEIR_EFORMAT;
    add(bytes, column, count, in->offset, number);

    size_t size = sizeof(uint16_t) + in->entry_width;
    if (in->exceptions.size == 0) return 0;
    if (in->entry_width == 0 || in->entry_width > bytes || in->exceptions.size % size != 0) return WEIR_EFORMAT;
    if (in->exceptions.size / size > count) return WEIR_EFORMAT;
    for (const uint8_t *at = in->exceptions.data; at < in->exceptions.data + in->exceptions.size; at += size) {
        uint16_t row = (uint16_t)load_narrow(at, sizeof row);
        if (row >= count) return WEIR_EFORMAT;
        lift(bytes, column, row, load_narrow(at + sizeof row, (uint32_t)in->entry_width) << in->width);
    }
    return 0;
}

static int decode_numbers(const struct column *in, uint32_t bytes, uint32_t count, void *column)
{
    switch (in->encoding) {
    case ENCODING_CONSTANT:
        if (in->width == 0 || in->width > bytes || in->data.size != in->width) return WEIR_EFORMAT;
        fill(bytes, column, count, load_narrow(in->data.data, (uint32_t)in->width));
        return 0;

    case ENCODING_NARROW:
    case ENCODING_BITS: return decode_distances(in, bytes, count, column);

    case ENCODING_DICTIONARY_BITS:
    case ENCODING_DICTIONARY: {
        uint64_t entry[WEIR_BATCH_MOST];
        uint32_t index[WEIR_BATCH_MOST];
        if (in->entry_width == 0 || in->entry_width > bytes) return WEIR_EFORMAT;
        size_t entries = in->dictionary.size / in->entry_width;
        if (entries > WEIR_BATCH_MOST || entries * in->entry_width != in->dictionary.size) return WEIR_EFORMAT;
        int rc = read_indices(in, count, entries, index);
        if (rc < 0) return rc;
        widen_64(entry, (uint32_t)entries, 0, (uint32_t)in->entry_width, in->dictionary.data);
        look_up(bytes, column, count, entry, index);
        return 0;
    }
    default: return WEIR_EUNSUPPORTED;
    }
}

/** The v4-mapped form of an address that is a number. */
static struct weir_ip ip_of(uint32_t number)
{
    uint8_t four[V4_BYTES];
    weir_store_u32be(four, number);
    return weir_ip_from_v4(four);
}

static struct weir_ip load_ip(const uint8_t *at, uint64_t width)
{
    return width == V4_BYTES ? weir_ip_from_v4(at) : weir_ip_from_v6(at);
}

/** Addresses in bits: distances from an offset, or the low halves behind prefixes that have a code. */
static int decode_v4(const struct column *in, uint32_t count, struct weir_ip *ip)
{
    uint32_t number[WEIR_BATCH_MOST];
    int rc = unpack(in, count, number);
    if (rc < 0) return rc;
    if (in->encoding == ENCODING_BITS) {
        for (uint32_t i = 0; i < count; i++)
            ip[i] = ip_of(number[i] + (uint32_t)in->offset);
        return 0;
    }
    const uint32_t low = (1u << PREFIX_LOW_BITS) - 1;
    uint32_t prefix[WEIR_BATCH_MOST];
    size_t entries = in->dictionary.size / sizeof(uint16_t);
    if (in->entry_width != sizeof(uint16_t) || in->dictionary.size % sizeof(uint16_t) != 0) return WEIR_EFORMAT;
    if (entries > WEIR_BATCH_MOST) return WEIR_EFORMAT;
    for (size_t i = 0; i < entries; i++)
        prefix[i] = (uint32_t)load_narrow(in->dictionary.data + sizeof(uint16_t) * i, sizeof(uint16_t))
                    << PREFIX_LOW_BITS;
    if (most_of(number, count, PREFIX_LOW_BITS) >= entries) return WEIR_EFORMAT;
    for (uint32_t i = 0; i < count; i++)
        ip[i] = ip_of(prefix[number[i] >> PREFIX_LOW_BITS] | (number[i] & low));
    return 0;
}

static int decode_ips(const struct column *in, uint32_t count, struct weir_ip *ip)
{
    if (in->encoding == ENCODING_BITS || in->encoding == ENCODING_PREFIX_BITS) return decode_v4(in, count, ip);
    bool has_entries = in->encoding == ENCODING_DICTIONARY || in->encoding == ENCODING_DICTIONARY_BITS;
    uint64_t width = has_entries ? in->entry_width : in->width;
    if (width != V4_BYTES && width != V6_BYTES) return WEIR_EFORMAT;

    switch (in->encoding) {
    case ENCODING_CONSTANT: {
        if (in->data.size != width) return WEIR_EFORMAT;
        struct weir_ip constant = load_ip(in->data.data, width);
        for (uint32_t i = 0; i < count; i++)
            ip[i] = constant;
        return 0;
    }
    case ENCODING_NARROW:
        if (in->data.size != count * width) return WEIR_EFORMAT;
        if (width == V6_BYTES) {
            memcpy(ip, in->data.data, in->data.size);
            return 0;
        }
        for (uint32_t i = 0; i < count; i++)
            ip[i] = weir_ip_from_v4(in->data.data + V4_BYTES * (size_t)i);
        return 0;

    case ENCODING_DICTIONARY:
    case ENCODING_DICTIONARY_BITS: {
        uint32_t index[WEIR_BATCH_MOST];
        size_t entries = in->dictionary.size / width;
        if (entries * width != in->dictionary.size) return WEIR_EFORMAT;
        int rc = read_indices(in, count, entries, index);
        if (rc < 0) return rc;
        for (uint32_t i = 0; i < count; i++)
            ip[i] = load_ip(in->dictionary.data + index[i] * width, width);
        return 0;
    }
    default: return WEIR_EUNSUPPORTED;
    }
}

static int decode_duration(const struct column *in, uint32_t count, const int64_t *start, int64_t *end)
{
    int rc = decode_distances(in, sizeof *end, count, end);
    if (rc < 0) return rc;
    for (uint32_t i = 0; i < count; i++)
        end[i] = (int64_t)((uint64_t)end[i] + (uint64_t)start[i]);
    return 0;
}

/** Decode one column, if it is a known one of @wanted. */
static int decode_column(struct weir_view bytes, uint32_t count, uint64_t wanted, struct weir_batch *out)
{
    struct column in;
    int rc = read_column(bytes, &in);
    if (rc < 0) return rc;
    if (in.pen != 0 || in.ie > UINT16_MAX) return 0;
    int found = weir_field_of_ie((uint16_t)in.ie);
    if (found < 0 || (wanted >> found & 1) == 0) return 0;

    enum weir_field field = (enum weir_field)found;
    if (weir_batch_has(out, field)) return WEIR_EFORMAT; /* twice */
    void *column = weir_batch_touch(out, field);
    if (weir_fields[field].is_ip) return decode_ips(&in, count, column);
    if (in.encoding != ENCODING_DURATION && in.encoding != ENCODING_DURATION_BITS)
        return decode_numbers(&in, weir_fields[field].width, count, column);
    if (field != WEIR_FIELD_end_ms || !weir_batch_has(out, WEIR_FIELD_start_ms)) return WEIR_EFORMAT;
    return decode_duration(&in, count, out->column[WEIR_FIELD_start_ms], column);
}

static int64_t time_of(uint64_t zigzag)
{
    return (int64_t)(zigzag >> 1 ^ -(zigzag & 1));
}

static int decode_drop(struct weir_view bytes, struct weir_drops *drops)
{
    struct weir_cursor c = weir_cursor_of(bytes);
    struct weir_drop drop = {0};
    struct field field;
    uint64_t reason = 0;
    int rc;
    while ((rc = next_field(&c, &field)) > 0) {
        switch (field.number) {
        case DROP_REASON: reason = field.value; break;
        case DROP_COUNT: drop.count = field.value; break;
        case DROP_FIRST: drop.first_ms = time_of(field.value); break;
        case DROP_LAST: drop.last_ms = time_of(field.value); break;
        case DROP_EXAMPLE: drop.example_ms = time_of(field.value); break;
        case DROP_BYTES: drop.bytes = (uint32_t)field.value; break;
        case DROP_BEGIN:
            if (field.bytes.size > sizeof drop.head) return WEIR_EFORMAT;
            drop.head_size = (uint8_t)field.bytes.size;
            if (field.bytes.size > 0) memcpy(drop.head, field.bytes.data, field.bytes.size);
            break;
        default: break;
        }
    }
    if (rc < 0) return rc;
    if (reason == 0 || reason > WEIR_DROP_REASON_MOST || drop.count == 0) return WEIR_EFORMAT;
    if (drop.count > UINT64_MAX / 2) return WEIR_EFORMAT;
    if (drop.first_ms < 0 || drop.last_ms < drop.first_ms || drop.example_ms < 0) return WEIR_EFORMAT;
    drop.reason = (enum weir_drop_reason)reason;
    return weir_drops_add(drops, &drop) ? 0 : WEIR_EFORMAT;
}

static int read_extra(struct weir_view bytes, struct weir_extra *extra, struct weir_view *values)
{
    struct weir_cursor c = weir_cursor_of(bytes);
    struct field field;
    int rc;
    struct weir_view name = {0};
    *extra = (struct weir_extra){0};
    *values = (struct weir_view){0};
    while ((rc = next_field(&c, &field)) > 0) {
        switch (field.number) {
        case EXTRA_NAME: name = field.bytes; break;
        case EXTRA_PEN: extra->enterprise = (uint32_t)field.value; break;
        case EXTRA_IE: extra->element = (uint16_t)field.value; break;
        case EXTRA_TYPE: extra->type = field.value > UINT8_MAX ? WEIR_EXTRA_OCTETS : (uint8_t)field.value; break;
        case EXTRA_VALUES: *values = field.bytes; break;
        default: break;
        }
    }
    if (rc < 0 || !weir_extra_name_is_valid(name)) return WEIR_EFORMAT;
    memcpy(extra->name, name.data, name.size);
    return 0;
}

/** Decode one extra column into the next free place of @out; those beyond the last are skipped. */
static int decode_extra(struct weir_view bytes, uint32_t count, uint32_t at, struct weir_batch *out)
{
    struct weir_extra extra;
    struct weir_view values;
    int rc = read_extra(bytes, &extra, &values);
    if (rc < 0 || at >= WEIR_EXTRAS_MOST) return rc;
    struct weir_extra_column *column = weir_batch_extra(out, at, &extra);
    if (column == NULL) return WEIR_ENOMEM;
    column->starts = weir_malloc((count == 0 ? 1 : count) * sizeof *column->starts);
    if (column->starts == NULL) return WEIR_ENOMEM;
    struct weir_cursor c = weir_cursor_of(values);
    for (uint32_t i = 0; i < count; i++) {
        column->starts[i] = (uint32_t)(c.at - values.data);
        weir_cursor_skip(&c, weir_cursor_u8(&c));
    }
    if (c.ran_out || weir_cursor_left(&c) > 0) return WEIR_EFORMAT;
    weir_buf_append(&column->values, values.data, values.size);
    column->rows = count;
    return column->values.failed ? WEIR_ENOMEM : 0;
}

int weir_body_decode(struct weir_view body, uint32_t count, uint64_t wanted, struct weir_batch *out)
{
    assert(out->count == 0 && out->present == 0);
    if (count > WEIR_BATCH_MOST) return WEIR_EFORMAT;
    int rc = weir_batch_reserve(out, count);
    if (rc < 0) return rc;

    /* The end of a flow may be told by its duration. */
    uint64_t needed = wanted;
    if (wanted >> WEIR_FIELD_end_ms & 1) needed |= 1ull << WEIR_FIELD_start_ms;

    uint64_t announced = 0;
    uint32_t extras = 0;
    struct weir_cursor c = weir_cursor_of(body);
    struct field field;
    while ((rc = next_field(&c, &field)) > 0) {
        if (field.number == BODY_COUNT) announced = field.value;
        bool is_extra = field.number == BODY_EXTRAS && (wanted & WEIR_COLUMNS_EXTRA) != 0;
        if (field.number != BODY_COLUMNS && field.number != BODY_DROPS && !is_extra) continue;
        if (field.bytes.data == NULL) return WEIR_EFORMAT; /* a number where a message should be */
        if (field.number != BODY_DROPS && count == 0) return WEIR_EFORMAT;
        if (field.number == BODY_DROPS) {
            rc = decode_drop(field.bytes, &out->drops);
        } else {
            rc = is_extra ? decode_extra(field.bytes, count, extras++, out)
                          : decode_column(field.bytes, count, needed, out);
        }
        if (rc < 0) return rc;
    }
    if (rc < 0) return rc;
    if (announced != count) return WEIR_EFORMAT;

    out->present &= wanted;
    weir_batch_commit(out, count, out->present);
    return 0;
}
