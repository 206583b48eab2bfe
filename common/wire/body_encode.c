/*
 * How a column is encoded is decided by two passes that the compiler vectorises (the OR of all values, and the OR of
 * their differences from the first): they give the width, and the high bits that all values share. Time columns use the
 * true minimum, because their values cross powers of two. A sample of the values then says how many bits most of them
 * need, and whether a dictionary would need fewer. What it says is tried on all rows, and checked: a sample that
 * misleads costs bytes, never flows.
 */
#include "common/wire/bits.h"
#include "common/wire/body.h"

#include <assert.h>

enum {
    COLUMN_OVERHEAD = 64, /* tags, lengths and numbers of a column, and what stores of 8 bytes reach past its end */
    DROP_OVERHEAD = 96,   /* likewise of a drop beside its example */
    BITS_ROWS = 64,       /* fewer flows are narrowed to whole bytes, and that is all */
    SAMPLE = 128,         /* values that decide how a column is encoded */
    SAMPLE_MARKS = 1024,
    DICTIONARY_MOST = 256,  /* entries of a dictionary that is made by hashing */
    DICTIONARY_SLOTS = 512, /* of the hash table; a power of two */
    CODE_BITS = 16,         /* numbers of so many bits are given codes by a plain table */
    CODES_MOST = 1024,      /* entries of a dictionary that is made so */
    EXCEPTIONS_SHARE = 8    /* of the rows, at most one in this many */
};

_Static_assert(WEIR_BODY_CODES == 1 << CODE_BITS, "a code for each number");

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

/** Bits that hold @value, 1..64. */
static uint32_t bits_of(uint64_t value)
{
    return 64 - (uint32_t)__builtin_clzll(value | 1);
}

/** Bytes that hold @value, 1..8. */
static uint32_t width_of(uint64_t value)
{
    return (bits_of(value) + 7) / 8;
}

/** Bits that an index into @entries takes. */
static uint32_t index_bits(uint32_t entries)
{
    return entries < 2 ? 0 : bits_of(entries - 1);
}

/* ---- finding the values of a dictionary ---- */

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

static void dictionary_clear(struct dictionary *dict)
{
    memset(dict->slot, 0, sizeof dict->slot);
    dict->entries = 0;
}

/** The index of a value, added if it is new; -1 when it would be one entry too many. */
static inline int dictionary_index(struct dictionary *dict, uint64_t high, uint64_t low)
{
    for (uint32_t slot = slot_of(high, low);; slot = (slot + 1) & (DICTIONARY_SLOTS - 1)) {
        uint32_t entry = dict->slot[slot];
        if (entry == 0) {
            if (dict->entries == DICTIONARY_MOST) return -1;
            dict->slot[slot] = (uint16_t)(dict->entries + 1);
            dict->high[dict->entries] = high;
            dict->low[dict->entries] = low;
            return (int)dict->entries++;
        }
        if (dict->low[entry - 1] == low && dict->high[entry - 1] == high) return (int)entry - 1;
    }
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

/* ---- writing columns ---- */

/** What a column will look like. */
struct plan {
    enum column_encoding encoding;
    uint32_t width;
    uint64_t offset;
    uint32_t entry_width;
    struct weir_view entries;
    struct weir_view exceptions;
};

static size_t bytes_size(struct weir_view view)
{
    return view.size == 0 ? 0 : 1 + varint_size(view.size) + view.size;
}

static uint8_t *put_bytes(uint8_t *at, uint32_t field, struct weir_view view)
{
    if (view.size == 0) return at;
    at = put_varint(at, field << 3 | WIRE_BYTES);
    at = put_varint(at, view.size);
    memcpy(at, view.data, view.size);
    return at + view.size;
}

/** Everything of a column but its data, whose bytes follow. */
static uint8_t *put_column(uint8_t *at, enum weir_field field, const struct plan *plan, size_t data_bytes,
                           uint8_t **data)
{
    uint8_t head[COLUMN_OVERHEAD];
    uint8_t *end = put_number(head, COLUMN_IE, weir_fields[field].ie);
    end = put_number(end, COLUMN_ENCODING, plan->encoding);
    end = put_number(end, COLUMN_WIDTH, plan->width);
    end = put_number(end, COLUMN_OFFSET, plan->offset);
    end = put_number(end, COLUMN_ENTRY_WIDTH, plan->entry_width);

    at = put_varint(at, BODY_COLUMNS << 3 | WIRE_BYTES);
    at = put_varint(at, (size_t)(end - head) + bytes_size(plan->entries) + bytes_size(plan->exceptions) + 1 +
                            varint_size(data_bytes) + data_bytes);
    memcpy(at, head, (size_t)(end - head));
    at += end - head;
    at = put_bytes(at, COLUMN_DICTIONARY, plan->entries);
    at = put_bytes(at, COLUMN_EXCEPTIONS, plan->exceptions);
    at = put_varint(at, COLUMN_DATA << 3 | WIRE_BYTES);
    at = put_varint(at, data_bytes);
    *data = at;
    return at + data_bytes;
}

static uint8_t *put_constant(uint8_t *at, enum weir_field field, const void *value, uint32_t width)
{
    struct plan plan = {.encoding = ENCODING_CONSTANT, .width = width};
    uint8_t *data;
    at = put_column(at, field, &plan, width, &data);
    memcpy(data, value, width);
    return at;
}

/** @number, which has weir_bits_room, in @plan->width bits. */
static uint8_t *put_packed(uint8_t *at, enum weir_field field, const struct plan *plan, uint32_t *number,
                           uint32_t count)
{
    uint8_t *data;
    at = put_column(at, field, plan, weir_bits_bytes(count, plan->width), &data);
    memset(number + count, 0, (weir_bits_room(count) - count) * sizeof *number);
    weir_bits_pack(number, count, plan->width, data);
    return at;
}

/* ---- the values of a column as numbers ---- */

/** A column whose values are in scratch->number and, where one has more than 32 bits, in scratch->wide. */
struct numbers {
    enum weir_field field;
    enum column_encoding narrow; /* the encoding in whole bytes: NARROW, DURATION */
    enum column_encoding bits;   /* and in bits */
    uint32_t entry_width;        /* of a dictionary; 0: none is wanted */
    uint32_t count;
    uint64_t offset; /* was subtracted from each */
    uint64_t any;    /* all of them, ORed */
};

static inline bool is_wide(const struct numbers *n)
{
    return n->any >> 32 != 0;
}

static inline uint64_t number_at(const struct weir_body_scratch *scratch, const struct numbers *n, uint32_t i)
{
    return is_wide(n) ? scratch->wide[i] : scratch->number[i];
}

/* For each width that fields.def has. */
#define FOR_EACH_WIDTH(X) X(8, uint8_t) X(16, uint16_t) X(32, uint32_t) X(64, uint64_t)

#define SURVEY(bits, type)                                                                         \
    static void survey_##bits(const void *column, uint32_t count, uint64_t *any, uint64_t *differ) \
    {                                                                                              \
        const type *value = column;                                                                \
        type first = value[0];                                                                     \
        type all = 0;                                                                              \
        type other = 0;                                                                            \
        for (uint32_t i = 0; i < count; i++) {                                                     \
            all |= value[i];                                                                       \
            other |= (type)(value[i] ^ first);                                                     \
        }                                                                                          \
        *any = all;                                                                                \
        *differ = other;                                                                           \
    }                                                                                              \
    static void lower_##bits(const void *column, uint32_t count, uint64_t offset, uint32_t *out)   \
    {                                                                                              \
        const type *value = column;                                                                \
        type base = (type)offset;                                                                  \
        for (uint32_t i = 0; i < count; i++)                                                       \
            out[i] = (uint32_t)(type)(value[i] - base);                                            \
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

/** The low 32 bits of each value's distance from @offset. */
static void lower(uint32_t bytes, const void *column, uint32_t count, uint64_t offset, uint32_t *out)
{
    switch (bytes) {
    case 1: lower_8(column, count, offset, out); break;
    case 2: lower_16(column, count, offset, out); break;
    case 4: lower_32(column, count, offset, out); break;
    default: lower_64(column, count, offset, out);
    }
}

/* ---- whole bytes ---- */

/* Stores of 8 bytes for the odd widths; the next one, or the slack of COLUMN_OVERHEAD, takes the excess. */
#define NARROW(bits, type)                                                                      \
    static void narrow_##bits(const type *number, uint32_t count, uint32_t width, uint8_t *out) \
    {                                                                                           \
        switch (width) {                                                                        \
        case 0: break;                                                                          \
        case 1:                                                                                 \
            for (uint32_t i = 0; i < count; i++)                                                \
                out[i] = (uint8_t)number[i];                                                    \
            break;                                                                              \
        case 2:                                                                                 \
            for (uint32_t i = 0; i < count; i++) {                                              \
                uint16_t two = (uint16_t)number[i];                                             \
                memcpy(out + 2 * (size_t)i, &two, sizeof two);                                  \
            }                                                                                   \
            break;                                                                              \
        default:                                                                                \
            for (uint32_t i = 0; i < count; i++) {                                              \
                uint64_t eight = number[i];                                                     \
                memcpy(out + width * (size_t)i, &eight, sizeof eight);                          \
            }                                                                                   \
        }                                                                                       \
    }

NARROW(32, uint32_t)
NARROW(64, uint64_t)

static uint8_t *put_narrow(uint8_t *at, const struct weir_body_scratch *scratch, const struct numbers *n)
{
    struct plan plan = {.encoding = n->narrow, .width = n->any == 0 ? 0 : width_of(n->any), .offset = n->offset};
    uint8_t *data;
    at = put_column(at, n->field, &plan, (size_t)n->count * plan.width, &data);
    if (is_wide(n))
        narrow_64(scratch->wide, n->count, plan.width, data);
    else
        narrow_32(scratch->number, n->count, plan.width, data);
    return at;
}

/* ---- bits ---- */

/** Numbers from all over a column. */
struct sample {
    uint32_t count;
    uint64_t number[SAMPLE];
};

static void take_sample(const struct weir_body_scratch *scratch, const struct numbers *n, struct sample *sample)
{
    uint32_t step = (n->count + SAMPLE - 1) / SAMPLE;
    sample->count = 0;
    for (uint32_t i = 0; i < n->count; i += step)
        sample->number[sample->count++] = number_at(scratch, n, i);
}

/** Bytes of an exception: its row, and what is above the bits that all have. */
static uint32_t exception_width(uint64_t any, uint32_t bits)
{
    return 2 + width_of(any >> bits);
}

/** The bits that take the least room, with exceptions for what needs more; *bytes: about how much that is. */
static uint32_t choose_bits(const struct sample *sample, const struct numbers *n, size_t *bytes)
{
    uint8_t of_width[65] = {0};
    for (uint32_t i = 0; i < sample->count; i++)
        of_width[sample->number[i] == 0 ? 0 : bits_of(sample->number[i])]++;

    uint32_t best = bits_of(n->any);
    uint32_t above = 0;
    *bytes = best > WEIR_BITS_MOST ? (size_t)n->count * width_of(n->any) : weir_bits_bytes(n->count, best);
    for (uint32_t bits = best; bits-- > 0;) {
        above += of_width[bits + 1];
        if (above > sample->count / EXCEPTIONS_SHARE / 2) break;
        if (bits > WEIR_BITS_MOST) continue;
        size_t exceptions = (size_t)above * n->count / sample->count;
        size_t size = weir_bits_bytes(n->count, bits) + exceptions * exception_width(n->any, bits);
        if (size >= *bytes) continue;
        *bytes = size;
        best = bits;
    }
    return best;
}

_Static_assert(SAMPLE <= UINT8_MAX, "a sample's numbers are counted in a byte");

/** Rows whose number needs more than @bits; at most @most of them are written, and one more may be counted. */
static uint32_t find_exceptions(const struct weir_body_scratch *scratch, const struct numbers *n, uint32_t bits,
                                uint32_t most, uint16_t *row)
{
    enum { TOGETHER = 8 };
    uint32_t found = 0;
    for (uint32_t i = 0; i < n->count && found <= most; i += TOGETHER) {
        uint32_t end = i + TOGETHER < n->count ? i + TOGETHER : n->count;
        uint64_t any = 0;
        for (uint32_t j = i; j < end; j++)
            any |= number_at(scratch, n, j);
        if (any >> bits == 0) continue;
        for (uint32_t j = i; j < end && found <= most; j++) {
            row[found] = (uint16_t)j;
            found += number_at(scratch, n, j) >> bits != 0;
        }
    }
    return found;
}

/** Numbers of @bits, and exceptions where that does not do; NULL: too many of them. */
static uint8_t *put_bits(uint8_t *at, struct weir_body_scratch *scratch, const struct numbers *n, uint32_t bits)
{
    enum { MOST = WEIR_BATCH_MOST / EXCEPTIONS_SHARE };
    uint8_t exceptions[MOST * (2 + sizeof(uint64_t)) + sizeof(uint64_t)];
    struct plan plan = {.encoding = n->bits, .width = bits, .offset = n->offset};
    if (bits < bits_of(n->any)) {
        uint16_t row[MOST + 1];
        uint32_t width = exception_width(n->any, bits);
        uint32_t found = find_exceptions(scratch, n, bits, MOST, row);
        size_t size = (size_t)found * width;
        if (found > MOST || weir_bits_bytes(n->count, bits) + size >= (size_t)n->count * width_of(n->any)) return NULL;
        for (uint32_t i = 0; i < found; i++) {
            uint8_t *to = exceptions + (size_t)i * width;
            uint64_t above = number_at(scratch, n, row[i]) >> bits;
            memcpy(to, &row[i], sizeof row[i]);
            memcpy(to + sizeof row[i], &above, sizeof above);
        }
        plan.entry_width = width - (uint32_t)sizeof *row;
        plan.exceptions = weir_view_of(exceptions, size);
    }
    return put_packed(at, n->field, &plan, scratch->number, n->count);
}

/* ---- dictionaries ---- */

/** What a dictionary takes, but for some bytes before it. */
static size_t dictionary_bytes(const struct numbers *n, uint32_t entries)
{
    return weir_bits_bytes(n->count, index_bits(entries)) + (size_t)entries * n->entry_width;
}

/** A number as what it stands for in a dictionary: IPv4 addresses are in network order there. */
static uint64_t entry_of(const struct numbers *n, uint64_t number)
{
    uint64_t value = number + n->offset;
    return weir_fields[n->field].is_ip ? __builtin_bswap32((uint32_t)value) : value;
}

/** About how many different numbers there are, by how many of a sample were seen once and twice (Chao 1984). */
static uint32_t guess_codes(struct weir_body_scratch *scratch, const struct sample *sample, uint32_t shift)
{
    uint32_t seen[3] = {0}; /* more often, once, twice */
    for (uint32_t i = 0; i < sample->count; i++)
        scratch->code[sample->number[i] >> shift]++;
    for (uint32_t i = 0; i < sample->count; i++) {
        uint16_t *times = &scratch->code[sample->number[i] >> shift];
        if (*times != 0) seen[*times < 3 ? *times : 0]++;
        *times = 0;
    }
    uint32_t different = seen[0] + seen[1] + seen[2] + seen[1] * seen[1] / (2 * (seen[2] + 1));
    return different + different / 4; /* a try that fails is dearer than one that is not made */
}

/**
 * Give each different number >> @shift a code, and write code << @shift with the low bits to scratch->index. How many
 * codes there are, and the value of each in scratch->coded; 0: more than CODES_MOST.
 */
static inline uint32_t give_codes(struct weir_body_scratch *scratch, uint32_t count, uint32_t shift)
{
    const uint32_t *number = scratch->number;
    uint32_t *restrict index = scratch->index;
    uint16_t *restrict code = scratch->code;
    uint32_t codes = 0;
    uint32_t i = 0;
    for (; i < count; i++) {
        uint32_t high = number[i] >> shift;
        uint32_t its = code[high];
        if (__builtin_expect(its == 0, 0)) {
            if (codes == CODES_MOST) break;
            scratch->coded[codes++] = (uint16_t)high;
            code[high] = (uint16_t)codes;
            its = codes;
        }
        index[i] = number[i] + ((its - 1 - high) << shift);
    }
    for (uint32_t c = 0; c < codes; c++)
        code[scratch->coded[c]] = 0;
    return i == count ? codes : 0;
}

/** A dictionary of numbers for which there is a table, when it takes less than @bytes. NULL: it does not. */
static uint8_t *put_codes(uint8_t *at, struct weir_body_scratch *scratch, const struct sample *sample,
                          const struct numbers *n, size_t bytes)
{
    uint8_t entries[CODES_MOST * sizeof(uint64_t) + sizeof(uint64_t)];
    if (dictionary_bytes(n, guess_codes(scratch, sample, 0)) >= bytes) return NULL;
    uint32_t codes = give_codes(scratch, n->count, 0);
    if (codes == 0 || dictionary_bytes(n, codes) >= bytes) return NULL;
    for (uint32_t c = 0; c < codes; c++) {
        uint64_t entry = entry_of(n, scratch->coded[c]);
        memcpy(entries + (size_t)c * n->entry_width, &entry, sizeof entry);
    }
    struct plan plan = {.encoding = ENCODING_DICTIONARY_BITS,
                        .width = index_bits(codes),
                        .entry_width = n->entry_width,
                        .entries = weir_view_of(entries, (size_t)codes * n->entry_width)};
    return put_packed(at, n->field, &plan, scratch->index, n->count);
}

/** The same for any numbers, by hashing: costs three times as much. */
static uint8_t *put_hashed(uint8_t *at, struct weir_body_scratch *scratch, const struct sample *sample,
                           const struct numbers *n, size_t bytes)
{
    struct dictionary dict;
    struct marks marks = {{0}};
    for (uint32_t i = 0; i < sample->count; i++)
        mark(&marks, 0, sample->number[i]);
    uint32_t guess = marks_count(&marks);
    if (guess > sample->count / 2 || dictionary_bytes(n, guess) >= bytes) return NULL;
    dictionary_clear(&dict);
    for (uint32_t i = 0; i < n->count; i++) {
        int entry = dictionary_index(&dict, 0, number_at(scratch, n, i));
        if (entry < 0) return NULL;
        scratch->index[i] = (uint32_t)entry;
    }
    if (dictionary_bytes(n, dict.entries) >= bytes) return NULL;

    uint8_t entries[DICTIONARY_MOST * sizeof(uint64_t) + sizeof(uint64_t)];
    for (uint32_t i = 0; i < dict.entries; i++) {
        uint64_t entry = entry_of(n, dict.low[i]);
        memcpy(entries + (size_t)i * n->entry_width, &entry, sizeof entry);
    }
    struct plan plan = {.encoding = ENCODING_DICTIONARY_BITS,
                        .width = index_bits(dict.entries),
                        .entry_width = n->entry_width,
                        .entries = weir_view_of(entries, (size_t)dict.entries * n->entry_width)};
    return put_packed(at, n->field, &plan, scratch->index, n->count);
}

/** IPv4 addresses whose first halves have codes, when that takes less than @bytes. NULL: it does not. */
static uint8_t *put_prefixed(uint8_t *at, struct weir_body_scratch *scratch, const struct sample *sample,
                             const struct numbers *n, size_t bytes)
{
    uint32_t codes = guess_codes(scratch, sample, PREFIX_LOW_BITS);
    if (weir_bits_bytes(n->count, PREFIX_LOW_BITS + index_bits(codes)) + codes * sizeof(uint16_t) >= bytes) return NULL;
    codes = give_codes(scratch, n->count, PREFIX_LOW_BITS);
    if (codes == 0) return NULL;
    for (uint32_t c = 0; c < codes; c++)
        scratch->coded[c] = (uint16_t)(scratch->coded[c] + (n->offset >> PREFIX_LOW_BITS));
    struct plan plan = {.encoding = ENCODING_PREFIX_BITS,
                        .width = PREFIX_LOW_BITS + index_bits(codes),
                        .entry_width = sizeof *scratch->coded,
                        .entries = weir_view_of((const uint8_t *)scratch->coded, codes * sizeof *scratch->coded)};
    if (weir_bits_bytes(n->count, plan.width) + plan.entries.size >= bytes) return NULL;
    return put_packed(at, n->field, &plan, scratch->index, n->count);
}

/* ---- choosing ---- */

static uint8_t *put_chosen(uint8_t *at, struct weir_body_scratch *scratch, const struct numbers *n)
{
    if (n->count < BITS_ROWS || n->any == 0) return put_narrow(at, scratch, n);

    struct sample sample;
    size_t bytes;
    uint8_t *end = NULL;
    take_sample(scratch, n, &sample);
    bool is_v4 = weir_fields[n->field].is_ip;
    uint32_t bits = choose_bits(&sample, n, &bytes);
    size_t clearly_less = bytes - bytes / 8;
    if (n->entry_width != 0) {
        if (bits_of(n->any) <= CODE_BITS)
            end = put_codes(at, scratch, &sample, n, clearly_less);
        else
            end = put_hashed(at, scratch, &sample, n, clearly_less);
    }
    if (end == NULL && is_v4) end = put_prefixed(at, scratch, &sample, n, clearly_less);
    if (end == NULL && !is_v4 && bits <= WEIR_BITS_MOST) end = put_bits(at, scratch, n, bits);
    if (end == NULL && !is_wide(n)) end = put_bits(at, scratch, n, bits_of(n->any));
    return end != NULL ? end : put_narrow(at, scratch, n);
}

static uint8_t *put_numbers(uint8_t *at, struct weir_body_scratch *scratch, enum weir_field field, const void *column,
                            uint32_t count)
{
    uint64_t any;
    uint64_t differ;
    uint32_t bytes = weir_fields[field].width;
    survey(bytes, column, count, &any, &differ);
    if (differ == 0) return put_constant(at, field, &any, width_of(any));

    uint64_t low = UINT64_MAX >> (64 - bits_of(differ)); /* the bits above are the same in all */
    struct numbers numbers = {.field = field,
                              .narrow = ENCODING_NARROW,
                              .bits = ENCODING_BITS,
                              .entry_width = width_of(any),
                              .count = count,
                              .offset = any & ~low,
                              .any = any & low};
    lower(bytes, column, count, numbers.offset, scratch->number);
    if (is_wide(&numbers)) {
        const uint64_t *value = column; /* no narrower ones are so far apart */
        for (uint32_t i = 0; i < count; i++)
            scratch->wide[i] = value[i] - numbers.offset;
    }
    return put_chosen(at, scratch, &numbers);
}

/** Signed times as distances from the earliest one. */
static uint8_t *put_times(uint8_t *at, struct weir_body_scratch *scratch, enum weir_field field, const int64_t *time,
                          uint32_t count)
{
    struct numbers numbers = {.field = field,
                              .narrow = ENCODING_NARROW,
                              .bits = ENCODING_BITS,
                              .count = count,
                              .offset = (uint64_t)weir_least(time, count)};
    for (uint32_t i = 0; i < count; i++) {
        uint64_t number = (uint64_t)time[i] - numbers.offset;
        scratch->number[i] = (uint32_t)number;
        numbers.any |= number;
    }
    if (is_wide(&numbers)) {
        for (uint32_t i = 0; i < count; i++)
            scratch->wide[i] = (uint64_t)time[i] - numbers.offset;
    }
    return put_chosen(at, scratch, &numbers);
}

/** Durations, from 0, or from the least one when it is negative. */
static uint8_t *put_end_ms(uint8_t *at, struct weir_body_scratch *scratch, const struct weir_batch *batch)
{
    const int64_t *end = batch->column[WEIR_FIELD_end_ms];
    const int64_t *start = batch->column[WEIR_FIELD_start_ms];
    if (!weir_batch_has(batch, WEIR_FIELD_start_ms))
        return put_times(at, scratch, WEIR_FIELD_end_ms, end, batch->count);

    struct numbers numbers = {
        .field = WEIR_FIELD_end_ms, .narrow = ENCODING_DURATION, .bits = ENCODING_DURATION_BITS, .count = batch->count};
    for (uint32_t i = 0; i < batch->count; i++) {
        uint64_t number = (uint64_t)end[i] - (uint64_t)start[i];
        scratch->number[i] = (uint32_t)number;
        numbers.any |= number;
    }
    if (is_wide(&numbers)) {
        int64_t least = INT64_MAX;
        for (uint32_t i = 0; i < batch->count; i++) {
            scratch->wide[i] = (uint64_t)end[i] - (uint64_t)start[i];
            if ((int64_t)scratch->wide[i] < least) least = (int64_t)scratch->wide[i];
        }
        numbers.offset = (uint64_t)least;
        numbers.any = 0;
        for (uint32_t i = 0; i < batch->count; i++) {
            scratch->wide[i] -= numbers.offset;
            scratch->number[i] = (uint32_t)scratch->wide[i];
            numbers.any |= scratch->wide[i];
        }
    }
    return put_chosen(at, scratch, &numbers);
}

/* ---- addresses ---- */

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

/** A dictionary of addresses, when it takes less than @bytes. NULL: it does not. */
static uint8_t *put_hashed_v6(uint8_t *at, struct weir_body_scratch *scratch, enum weir_field field,
                              const struct weir_ip *ip, uint32_t count, size_t bytes)
{
    struct dictionary dict;
    struct marks marks = {{0}};
    const struct numbers n = {.count = count, .entry_width = V6_BYTES};
    for (uint32_t i = 0; i < count; i += (count + SAMPLE - 1) / SAMPLE) {
        struct halves halves = halves_of(&ip[i]);
        mark(&marks, halves.high, halves.low);
    }
    if (dictionary_bytes(&n, marks_count(&marks)) >= bytes) return NULL;
    dictionary_clear(&dict);
    for (uint32_t i = 0; i < count; i++) {
        struct halves halves = halves_of(&ip[i]);
        int entry = dictionary_index(&dict, halves.high, halves.low);
        if (entry < 0) return NULL;
        scratch->index[i] = (uint32_t)entry;
    }
    if (dictionary_bytes(&n, dict.entries) >= bytes) return NULL;

    struct halves entries[DICTIONARY_MOST];
    for (uint32_t i = 0; i < dict.entries; i++)
        entries[i] = (struct halves){.high = dict.high[i], .low = dict.low[i]};
    struct plan plan = {.encoding = ENCODING_DICTIONARY_BITS,
                        .width = index_bits(dict.entries),
                        .entry_width = V6_BYTES,
                        .entries = weir_view_of((const uint8_t *)entries, dict.entries * sizeof *entries)};
    return put_packed(at, field, &plan, scratch->index, count);
}

/** All of them, whole. */
static uint8_t *put_whole(uint8_t *at, enum weir_field field, const struct weir_ip *ip, uint32_t count, uint32_t width)
{
    struct plan plan = {.encoding = ENCODING_NARROW, .width = width};
    uint8_t *data;
    at = put_column(at, field, &plan, (size_t)count * width, &data);
    if (width == sizeof *ip) {
        memcpy(data, ip, (size_t)count * sizeof *ip);
        return at;
    }
    for (uint32_t i = 0; i < count; i++)
        memcpy(data + V4_BYTES * (size_t)i, ip[i].bytes + sizeof ip[i] - V4_BYTES, V4_BYTES);
    return at;
}

static uint8_t *put_v4(uint8_t *at, struct weir_body_scratch *scratch, enum weir_field field, const struct weir_ip *ip,
                       uint32_t count, uint32_t differ)
{
    if (differ == 0) return put_constant(at, field, ip->bytes + sizeof *ip - V4_BYTES, V4_BYTES);
    if (count < BITS_ROWS) return put_whole(at, field, ip, count, V4_BYTES);

    uint32_t low = (uint32_t)(UINT64_MAX >> (64 - bits_of(differ))); /* the bits above are the same in all */
    struct numbers numbers = {.field = field,
                              .bits = ENCODING_BITS,
                              .entry_width = V4_BYTES,
                              .count = count,
                              .offset = scratch->number[0] & ~low,
                              .any = low};
    for (uint32_t i = 0; i < count; i++)
        scratch->number[i] &= low;
    return put_chosen(at, scratch, &numbers);
}

static uint8_t *put_v6(uint8_t *at, struct weir_body_scratch *scratch, enum weir_field field, const struct weir_ip *ip,
                       uint32_t count)
{
    struct halves first = halves_of(ip);
    uint64_t differ = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct halves halves = halves_of(&ip[i]);
        differ |= (halves.high ^ first.high) | (halves.low ^ first.low);
    }
    if (differ == 0) return put_constant(at, field, ip, V6_BYTES);
    size_t bytes = (size_t)count * V6_BYTES;
    uint8_t *end = count < BITS_ROWS ? NULL : put_hashed_v6(at, scratch, field, ip, count, bytes - bytes / 8);
    return end != NULL ? end : put_whole(at, field, ip, count, V6_BYTES);
}

static uint8_t *put_ips(uint8_t *at, struct weir_body_scratch *scratch, enum weir_field field, const struct weir_ip *ip,
                        uint32_t count)
{
    static const struct weir_ip mapped = {{[10] = 0xff, [11] = 0xff}};
    const struct halves any_v4 = halves_of(&mapped);
    uint32_t first = weir_load_u32be(ip->bytes + sizeof *ip - V4_BYTES);
    uint32_t differ = 0;
    uint64_t not_v4 = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct halves halves = halves_of(&ip[i]);
        not_v4 |= halves.high | (uint32_t)(halves.low ^ any_v4.low);
        scratch->number[i] = __builtin_bswap32((uint32_t)(halves.low >> 32));
        differ |= scratch->number[i] ^ first;
    }
    return not_v4 == 0 ? put_v4(at, scratch, field, ip, count, differ) : put_v6(at, scratch, field, ip, count);
}

static uint8_t *put_time(uint8_t *at, uint32_t field, int64_t ms)
{
    return put_number(at, field, (uint64_t)ms << 1 ^ (uint64_t)(ms >> 63));
}

static uint8_t *put_drop(uint8_t *at, const struct weir_drop *drop)
{
    uint8_t message[DROP_OVERHEAD + WEIR_DROP_HEAD], *end = message;
    end = put_number(end, DROP_REASON, drop->reason);
    end = put_number(end, DROP_COUNT, drop->count);
    end = put_time(end, DROP_FIRST, drop->first_ms);
    end = put_time(end, DROP_LAST, drop->last_ms);
    end = put_time(end, DROP_EXAMPLE, drop->example_ms);
    end = put_number(end, DROP_BYTES, drop->bytes);
    if (drop->head_size > 0) {
        end = put_varint(put_varint(end, DROP_BEGIN << 3 | WIRE_BYTES), drop->head_size);
        memcpy(end, drop->head, drop->head_size);
        end += drop->head_size;
    }
    at = put_varint(put_varint(at, BODY_DROPS << 3 | WIRE_BYTES), (uint64_t)(end - message));
    memcpy(at, message, (size_t)(end - message));
    return at + (end - message);
}

/** Not short of memory. */
static bool is_sound(const struct weir_extra_column *column, uint32_t count)
{
    return column->present && !column->values.failed && column->rows == count;
}

static uint8_t *put_extra(uint8_t *at, const struct weir_extra_column *column)
{
    const struct weir_extra *extra = &column->extra;
    uint8_t head[WEIR_EXTRA_NAME_BYTES + COLUMN_OVERHEAD];
    uint8_t *end = put_bytes(head, EXTRA_NAME, weir_view_text(extra->name));
    end = put_number(end, EXTRA_PEN, extra->enterprise);
    end = put_number(end, EXTRA_IE, extra->element);
    end = put_number(end, EXTRA_TYPE, extra->type);
    size_t head_bytes = (size_t)(end - head);
    at = put_varint(at, BODY_EXTRAS << 3 | WIRE_BYTES);
    at = put_varint(at, head_bytes + bytes_size(weir_buf_view(&column->values)));
    memcpy(at, head, head_bytes);
    return put_bytes(at + head_bytes, EXTRA_VALUES, weir_buf_view(&column->values));
}

size_t weir_body_bound(const struct weir_batch *batch)
{
    size_t bound = COLUMN_OVERHEAD + batch->drops.count * (size_t)(DROP_OVERHEAD + WEIR_DROP_HEAD);
    for (int i = 0; batch->extras != NULL && i < WEIR_EXTRAS_MOST; i++)
        bound += batch->extras[i].values.size + WEIR_EXTRA_NAME_BYTES + COLUMN_OVERHEAD;
    for (int f = 0; f < WEIR_FIELD_COUNT; f++) {
        if (weir_batch_has(batch, f)) bound += (size_t)batch->count * weir_fields[f].width + COLUMN_OVERHEAD;
    }
    return bound;
}

size_t weir_body_encode(struct weir_body_scratch *scratch, const struct weir_batch *batch, uint8_t *out)
{
    assert(batch->count > 0 || batch->drops.count > 0);
    uint8_t *at = put_number(out, BODY_COUNT, batch->count);
    for (int f = 0; f < WEIR_FIELD_COUNT; f++) {
        if (!weir_batch_has(batch, f) || batch->count == 0) continue;
        if (f == WEIR_FIELD_start_ms)
            at = put_times(at, scratch, f, batch->column[f], batch->count);
        else if (f == WEIR_FIELD_end_ms)
            at = put_end_ms(at, scratch, batch);
        else if (weir_fields[f].is_ip)
            at = put_ips(at, scratch, f, batch->column[f], batch->count);
        else
            at = put_numbers(at, scratch, f, batch->column[f], batch->count);
    }
    for (uint32_t i = 0; i < batch->drops.count; i++)
        at = put_drop(at, &batch->drops.at[i]);
    for (int i = 0; batch->extras != NULL && i < WEIR_EXTRAS_MOST; i++) {
        if (batch->count > 0 && is_sound(&batch->extras[i], batch->count)) at = put_extra(at, &batch->extras[i]);
    }
    return (size_t)(at - out);
}
