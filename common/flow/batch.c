#include "common/flow/batch.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <assert.h>

enum { COLUMN_ALIGN = 64, LEAST_ROWS = 64 };

static size_t column_bytes(enum weir_field field, uint32_t rows)
{
    size_t bytes = (size_t)weir_fields[field].width * rows;
    return (bytes + COLUMN_ALIGN - 1) & ~(size_t)(COLUMN_ALIGN - 1);
}

size_t weir_batch_block_bytes(uint32_t rows)
{
    size_t bytes = 0;
    for (int f = 0; f < WEIR_FIELD_COUNT; f++)
        bytes += column_bytes(f, rows);
    return bytes;
}

/** Point @column into a block for @rows rows. */
static void lay_out(uint8_t *block, uint32_t rows, void *column[WEIR_FIELD_COUNT])
{
    size_t at = 0;
    for (int f = 0; f < WEIR_FIELD_COUNT; f++) {
        column[f] = block + at;
        at += column_bytes(f, rows);
    }
}

static uint8_t *make_block(uint32_t rows, void *column[WEIR_FIELD_COUNT])
{
    uint8_t *block = weir_aligned_alloc(COLUMN_ALIGN, weir_batch_block_bytes(rows));
    if (block != NULL) lay_out(block, rows, column);
    return block;
}

static void *cell(const struct weir_batch *batch, enum weir_field field, uint32_t row)
{
    return (uint8_t *)batch->column[field] + (size_t)row * weir_fields[field].width;
}

int weir_batch_create(uint32_t rows, struct weir_batch **ret)
{
    assert(rows >= 1 && rows <= WEIR_BATCH_MOST);
    struct weir_batch *batch = weir_calloc(1, sizeof *batch);
    if (batch == NULL) return WEIR_ENOMEM;

    batch->block = make_block(rows, batch->column);
    if (batch->block == NULL) {
        weir_free(batch);
        return WEIR_ENOMEM;
    }
    batch->capacity = rows;
    *ret = batch;
    return 0;
}

static void forget_extras(struct weir_batch *batch)
{
    if (batch->extras == NULL) return;
    for (int i = 0; i < WEIR_EXTRAS_MOST; i++) {
        weir_buf_fini(&batch->extras[i].values);
        weir_free(batch->extras[i].starts);
    }
    weir_free(batch->extras);
    batch->extras = NULL;
}

void weir_batch_destroy(struct weir_batch *batch)
{
    if (batch == NULL) return;
    assert(!batch->lent);
    forget_extras(batch);
    weir_free(batch->block);
    weir_free(batch);
}

void weir_batch_clear(struct weir_batch *batch)
{
    batch->source = (struct weir_source){0};
    batch->protocol = WEIR_PROTOCOL_UNKNOWN;
    batch->count = 0;
    batch->present = 0;
    batch->first_received_ms = 0;
    batch->last_received_ms = 0;
    batch->last_export_ms = 0;
    batch->loss = (struct weir_loss){0};
    batch->health = (struct weir_health){0};
    batch->drops.count = 0;
    forget_extras(batch);
}

static void copy_columns(const struct weir_batch *batch, void *column[WEIR_FIELD_COUNT])
{
    for (int f = 0; f < WEIR_FIELD_COUNT; f++) {
        if (weir_batch_has(batch, f)) memcpy(column[f], batch->column[f], (size_t)weir_fields[f].width * batch->count);
    }
}

void weir_batch_lend(struct weir_batch *batch, uint8_t *block, uint32_t rows)
{
    lay_out(block, rows, batch->column);
    batch->block = block;
    batch->capacity = rows;
    batch->lent = true;
}

void weir_batch_take_over(struct weir_batch *to, struct weir_batch *from)
{
    assert(to->count == 0 && to->extras == NULL && from->count <= to->capacity);
    struct weir_batch all = *from;
    copy_columns(from, to->column);
    memcpy(all.column, to->column, sizeof all.column);
    all.block = to->block;
    all.capacity = to->capacity;
    all.lent = to->lent;
    *to = all;
    from->extras = NULL;
    weir_batch_clear(from);
}

int weir_batch_reserve(struct weir_batch *batch, uint32_t rows)
{
    if (rows <= batch->capacity) return 0;
    if (rows > WEIR_BATCH_MOST) return WEIR_ELIMIT;
    if (batch->lent) return WEIR_EFULL;

    uint32_t capacity = batch->capacity < LEAST_ROWS ? LEAST_ROWS : batch->capacity;
    while (capacity < rows)
        capacity *= 4;
    if (capacity > WEIR_BATCH_MOST) capacity = WEIR_BATCH_MOST;

    void *column[WEIR_FIELD_COUNT];
    uint8_t *block = make_block(capacity, column);
    if (block == NULL) return WEIR_ENOMEM;
    copy_columns(batch, column);
    weir_free(batch->block);
    memcpy(batch->column, column, sizeof column);
    batch->block = block;
    batch->capacity = capacity;
    return 0;
}

void *weir_batch_touch(struct weir_batch *batch, enum weir_field field)
{
    if (!weir_batch_has(batch, field)) {
        memset(batch->column[field], 0, (size_t)weir_fields[field].width * batch->count);
        batch->present |= 1ull << field;
    }
    return batch->column[field];
}

/** Rows up to @rows without a value of their own get an empty one. */
static void pad_extra(struct weir_extra_column *column, uint32_t rows)
{
    if (column->rows >= rows) return;
    uint32_t missing = rows - column->rows;
    uint8_t *at = weir_buf_reserve(&column->values, missing);
    if (at == NULL) return;
    memset(at, 0, missing);
    weir_buf_commit(&column->values, missing);
    column->rows = rows;
}

struct weir_extra_column *weir_batch_extra(struct weir_batch *batch, uint32_t at, const struct weir_extra *extra)
{
    assert(at < WEIR_EXTRAS_MOST);
    if (batch->extras == NULL) batch->extras = weir_calloc(WEIR_EXTRAS_MOST, sizeof *batch->extras);
    if (batch->extras == NULL) return NULL;
    struct weir_extra_column *column = &batch->extras[at];
    if (!column->present) {
        column->extra = *extra;
        column->present = true;
        pad_extra(column, batch->count);
    }
    return column;
}

void weir_extra_append(struct weir_extra_column *column, struct weir_view value)
{
    size_t size = value.size < WEIR_EXTRA_VALUE_MOST ? value.size : WEIR_EXTRA_VALUE_MOST;
    uint8_t *at = weir_buf_reserve(&column->values, 1 + size);
    if (at == NULL) return;
    at[0] = (uint8_t)size;
    if (size > 0) memcpy(at + 1, value.data, size);
    weir_buf_commit(&column->values, 1 + size);
    column->rows++;
}

void weir_batch_extra_row(const struct weir_batch *batch, uint32_t row, struct weir_buf *out)
{
    assert(row < batch->count);
    for (int i = 0; batch->extras != NULL && i < WEIR_EXTRAS_MOST; i++) {
        const struct weir_extra_column *column = &batch->extras[i];
        if (!column->present) continue;
        const uint8_t *value = column->values.data + column->starts[row];
        if (*value > 0) weir_extra_put(out, &column->extra, weir_view_of(value + 1, *value));
    }
}

void weir_batch_commit(struct weir_batch *batch, uint32_t rows, uint64_t written)
{
    assert(batch->count + rows <= batch->capacity);
    assert((written & ~batch->present) == 0);
    uint64_t unwritten = batch->present & ~written;
    while (unwritten != 0) {
        enum weir_field field = (enum weir_field)__builtin_ctzll(unwritten);
        unwritten &= unwritten - 1;
        memset(cell(batch, field, batch->count), 0, (size_t)weir_fields[field].width * rows);
    }
    batch->count += rows;
    if (batch->extras == NULL) return;
    for (int i = 0; i < WEIR_EXTRAS_MOST; i++) {
        if (batch->extras[i].present) pad_extra(&batch->extras[i], batch->count);
    }
}

int weir_batch_append(struct weir_batch *batch, const struct weir_flow *flow)
{
    static const uint8_t zero[sizeof(struct weir_ip)];
    if (batch->count == WEIR_BATCH_MOST) return WEIR_EFULL;
    int rc = weir_batch_reserve(batch, batch->count + 1);
    if (rc < 0) return rc;

    for (int f = 0; f < WEIR_FIELD_COUNT; f++) {
        const uint8_t *value = (const uint8_t *)flow + weir_fields[f].at;
        if (!weir_batch_has(batch, f)) {
            if (memcmp(value, zero, weir_fields[f].width) == 0) continue;
            weir_batch_touch(batch, f);
        }
        memcpy(cell(batch, f, batch->count), value, weir_fields[f].width);
    }
    weir_batch_commit(batch, 1, batch->present);
    return 0;
}

void weir_batch_get(const struct weir_batch *batch, uint32_t row, struct weir_flow *out)
{
    assert(row < batch->count);
    memset(out, 0, sizeof *out);
    for (int f = 0; f < WEIR_FIELD_COUNT; f++) {
        if (weir_batch_has(batch, f))
            memcpy((uint8_t *)out + weir_fields[f].at, cell(batch, f, row), weir_fields[f].width);
    }
}

int weir_batch_append_rows(struct weir_batch *batch, const struct weir_batch *other, uint32_t from, uint32_t rows)
{
    assert(from + rows <= other->count);
    if (batch->count + rows > WEIR_BATCH_MOST) return WEIR_EFULL;
    int rc = weir_batch_reserve(batch, batch->count + rows);
    if (rc < 0) return rc;

    for (int f = 0; f < WEIR_FIELD_COUNT; f++) {
        if (!weir_batch_has(other, f)) continue;
        weir_batch_touch(batch, f);
        memcpy(cell(batch, f, batch->count), cell(other, f, from), (size_t)weir_fields[f].width * rows);
    }
    weir_batch_commit(batch, rows, other->present);
    return 0;
}

/** The least of @time ^ @flip, which is the greatest one with all bits flipped. Four at a time: they do not wait. */
static inline int64_t least_of(const int64_t *time, uint32_t count, int64_t flip)
{
    int64_t least[4] = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4) {
        for (uint32_t k = 0; k < 4; k++) {
            int64_t value = time[i + k] ^ flip;
            least[k] = value < least[k] ? value : least[k];
        }
    }
    for (; i < count; i++)
        least[0] = (time[i] ^ flip) < least[0] ? time[i] ^ flip : least[0];
    for (uint32_t k = 1; k < 4; k++)
        least[0] = least[k] < least[0] ? least[k] : least[0];
    return least[0] ^ flip;
}

int64_t weir_least(const int64_t *time, uint32_t count)
{
    return least_of(time, count, 0);
}

struct weir_batch_totals weir_batch_sum(const struct weir_batch *batch)
{
    struct weir_batch_totals totals = {.flows = batch->count};
    if (batch->count == 0) return totals;

    if (weir_batch_has(batch, WEIR_FIELD_packets)) {
        const uint64_t *packets = batch->column[WEIR_FIELD_packets];
        for (uint32_t i = 0; i < batch->count; i++)
            totals.packets += packets[i];
    }
    if (weir_batch_has(batch, WEIR_FIELD_bytes)) {
        const uint64_t *bytes = batch->column[WEIR_FIELD_bytes];
        for (uint32_t i = 0; i < batch->count; i++)
            totals.bytes += bytes[i];
    }
    if (weir_batch_has(batch, WEIR_FIELD_start_ms))
        totals.min_start_ms = least_of(batch->column[WEIR_FIELD_start_ms], batch->count, 0);
    if (weir_batch_has(batch, WEIR_FIELD_end_ms))
        totals.max_end_ms = least_of(batch->column[WEIR_FIELD_end_ms], batch->count, -1);
    return totals;
}

bool weir_batch_check(const struct weir_batch *batch)
{
    if (batch->count > batch->capacity || batch->capacity > WEIR_BATCH_MOST) return false;
    if (batch->present >> WEIR_FIELD_COUNT != 0) return false;
    return batch->block != NULL && batch->column[0] == batch->block;
}
