/**
 * Structured data (RFC 6313): lists inside of records. Their first level is flattened: a column that the record has no
 * element for takes the first value that its lists have for it. All other values are counted as skipped, lists inside of
 * lists as one.
 */
#include "agent/decode/decoder.h"

#define COLUMN(field) (1ull << WEIR_FIELD_##field)

/** What the lists of a record say. */
struct lists {
    struct agent_decoder *decoder;
    struct agent_domain *domain;
    const struct agent_clock *clock;
    uint64_t open; /* columns that the record has nothing for */
    uint64_t columns;
    struct weir_flow flow; /* those columns */
    uint64_t skipped;      /* values */
};

static const uint64_t times = COLUMN(start_ms) | COLUMN(end_ms);

/** Take what is new of @columns in @flow, which had @values. */
static void take(struct lists *lists, struct weir_flow *flow, uint64_t columns, uint32_t values)
{
    uint64_t wanted = columns & lists->open & ~lists->columns;
    lists->skipped += values - (uint32_t)__builtin_popcountll(wanted);
    if ((wanted & times) == COLUMN(start_ms)) flow->end_ms = flow->start_ms;
    if ((wanted & times) == COLUMN(end_ms)) flow->start_ms = flow->end_ms;
    if ((wanted & times) != 0) {
        wanted |= times;
        lists->open &= ~times;
    }
    lists->columns |= wanted;
    for (uint64_t left = wanted; left != 0; left &= left - 1) {
        const struct weir_field_info *info = &weir_fields[__builtin_ctzll(left)];
        memcpy((uint8_t *)&lists->flow + info->at, (const uint8_t *)flow + info->at, info->width);
    }
}

/** basicList (4.5.1): values of one element. */
static bool read_basic(struct lists *lists, struct weir_cursor *c)
{
    struct agent_spec spec = {.element = weir_cursor_u16(c)};
    const uint16_t announced = spec.size = weir_cursor_u16(c);
    if ((spec.element & 0x8000) != 0) spec.enterprise = weir_cursor_u32(c);
    spec.element &= 0x7fff;
    if (c->ran_out || announced == 0) return false;
    for (bool first = true; weir_cursor_left(c) > 0; first = false) {
        if (announced == AGENT_VARIABLE) spec.size = agent_plan_length(c);
        const uint8_t *at = weir_cursor_take(c, spec.size);
        if (c->ran_out) return false;
        struct weir_flow flow = {0};
        uint64_t columns = first ? agent_plan_read_value(&spec, at, lists->clock, &flow) : 0;
        take(lists, &flow, columns, 1);
    }
    return true;
}

/** Records of one template, until the end. */
static bool read_records(struct lists *lists, uint16_t id, struct weir_cursor *c)
{
    struct agent_template *template = agent_template_find(lists->domain, id);
    if (template == NULL || template->is_options) return false;
    template->used = true;
    bool first = true;
    for (; weir_cursor_left(c) >= template->plan.record_bytes; first = false) {
        struct weir_flow flow = {0};
        uint64_t columns = agent_plan_read(&template->plan, c, lists->clock, first ? &flow : NULL);
        if (c->ran_out) return false;
        take(lists, &flow, columns, template->spec_count);
    }
    return true;
}

/** subTemplateMultiList (4.5.3): records of several templates, those of each behind a length. */
static bool read_multi(struct lists *lists, struct weir_cursor *c)
{
    enum { HEADER_BYTES = 4 };
    while (weir_cursor_left(c) >= HEADER_BYTES) {
        uint16_t id = weir_cursor_u16(c);
        uint16_t bytes = weir_cursor_u16(c);
        if (bytes < HEADER_BYTES) return false;
        struct weir_cursor records = weir_cursor_sub(c, (size_t)bytes - HEADER_BYTES);
        if (c->ran_out || !read_records(lists, id, &records)) return false;
    }
    return true;
}

static bool read(struct lists *lists, enum agent_op_kind kind, struct weir_view value)
{
    if (value.size == 0) return true;
    struct weir_cursor c = weir_cursor_of(value);
    weir_cursor_skip(&c, 1); /* what the values are to each other: all of, one of, ... (4.4) */
    if (kind == AGENT_OP_BASIC_LIST) return read_basic(lists, &c);
    if (kind == AGENT_OP_SUB_TEMPLATE_MULTI_LIST) return read_multi(lists, &c);
    uint16_t id = weir_cursor_u16(&c);
    return !c.ran_out && read_records(lists, id, &c);
}

/** Write into row @row what its lists say; columns that are new in these rows are 0 in the others. */
static uint64_t write_row(const struct lists *lists, struct weir_batch *batch, uint32_t row, uint32_t rows,
                          uint64_t written)
{
    for (uint64_t left = lists->columns; left != 0; left &= left - 1) {
        enum weir_field field = (enum weir_field)__builtin_ctzll(left);
        const struct weir_field_info *info = &weir_fields[field];
        uint8_t *column = (uint8_t *)weir_batch_touch(batch, field) + (size_t)batch->count * info->width;
        bool has_values = (written >> field & 1) != 0 || field == WEIR_FIELD_start_ms || field == WEIR_FIELD_end_ms;
        if (!has_values) memset(column, 0, (size_t)rows * info->width);
        memcpy(column + (size_t)row * info->width, (const uint8_t *)&lists->flow + info->at, info->width);
    }
    return written | lists->columns;
}

uint64_t agent_lists_run(struct agent_decoder *decoder, struct agent_domain *domain, const struct agent_plan *plan,
                         const struct agent_rows *rows, const struct agent_clock *clock, struct weir_batch *batch)
{
    uint64_t open = ~plan->by_ops;
    if ((plan->by_ops & times) != 0) open &= ~times;
    uint64_t written = 0;
    for (uint32_t row = 0; row < rows->count; row++) {
        struct lists lists = {.decoder = decoder, .domain = domain, .clock = clock, .open = open};
        for (uint16_t op = plan->tail_at; op < plan->op_count; op++) {
            enum agent_op_kind kind = (enum agent_op_kind)plan->ops[op].kind;
            if (kind < AGENT_OP_BASIC_LIST) continue;
            bool whole = read(&lists, kind, agent_plan_bytes(plan, rows, op, row));
            agent_count(decoder, AGENT_INPUT_lists_unread, !whole);
        }
        agent_count(decoder, AGENT_INPUT_elements_unknown, lists.skipped);
        written = write_row(&lists, batch, row, rows->count, written);
    }
    return written;
}
