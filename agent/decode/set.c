/** Data sets of v9 and IPFIX, op-major: one element over all records, straight into the columns. */
#include "agent/decode/decoder.h"

/* One body for all callers: cloned for some of them, the loops of agent_plan_run are unrolled no more (15 % slower). */
#ifdef __clang__
#define ONE_BODY __attribute__((noinline))
#else
#define ONE_BODY __attribute__((noinline, noclone))
#endif

ONE_BODY void agent_rows_decode(struct agent_decoder *decoder, struct agent_domain *domain,
                                const struct agent_plan *plan, const struct agent_rows *rows,
                                const struct agent_gather_note *note, const struct agent_clock *clock,
                                const struct agent_rate *rate)
{
    bool has_tail = plan->tail_at < plan->op_count;
    struct weir_batch *batch =
        has_tail ? agent_gather_room_extra(decoder->gather, domain->stream, rows->count, agent_tail_bytes(plan, rows))
                 : agent_gather_room(decoder->gather, domain->stream, rows->count);
    domain->flows += rows->count;
    domain->records += rows->count;
    agent_count(decoder, AGENT_INPUT_flows_netflow5 + domain->protocol, rows->count);
    agent_count(decoder, AGENT_INPUT_elements_unknown, (uint64_t)rows->count * plan->elements_unknown);
    if (batch == NULL) return;

    uint64_t written = agent_plan_run(plan, rows, clock, batch);
    if (rate == NULL) {
        written |= agent_sampling_run(domain, plan, rows, batch);
    } else {
        written |= agent_sampling_fill(batch, rows->count, *rate);
        domain->last = *rate;
    }
    if (has_tail) written |= agent_tail_run(decoder, domain, plan, rows, clock, batch);
    agent_gather_commit(decoder->gather, domain->stream, rows->count, written, note);
}

static bool has_counts(const struct agent_plan *plan, const struct agent_rows *rows, uint32_t row)
{
    for (uint16_t i = 0; i < plan->sample_at; i++) {
        uint8_t field = plan->ops[i].field;
        if (field != WEIR_FIELD_bytes && field != WEIR_FIELD_packets) continue;
        if (agent_plan_value(plan, rows, i, row) != 0) return true;
    }
    return false;
}

/** The other direction of records that count both: a flow of its own wherever it has packets or bytes. */
static void decode_reverse(struct agent_decoder *decoder, struct agent_domain *domain, const struct agent_plan *plan,
                           const struct agent_rows *rows, const struct agent_gather_note *note,
                           const struct agent_clock *clock)
{
    for (uint32_t at = 0, to = 0; at < rows->count; at = to + 1) {
        for (to = at; to < rows->count && has_counts(plan, rows, to);)
            to++;
        if (to == at) continue;
        struct agent_rows part = {.base = rows->base, .count = to - at};
        if (rows->where == NULL) {
            part.base += (size_t)at * plan->record_bytes;
        } else {
            part.where = (const uint16_t(*)[AGENT_ROWS_VARIABLE])(decoder->where[0] + at);
        }
        agent_rows_decode(decoder, domain, plan, &part, note, clock, NULL);
        domain->records -= part.count; /* the same records again */
    }
}

static uint64_t decode_fixed(struct agent_decoder *decoder, struct agent_domain *domain, const struct agent_plan *plan,
                             struct weir_view body, const struct agent_gather_note *note,
                             const struct agent_clock *clock)
{
    uint64_t records = body.size / plan->record_bytes; /* what is left over is padding */
    for (uint64_t done = 0; done < records;) {
        uint64_t left = records - done;
        struct agent_rows rows = {.base = body.data + done * plan->record_bytes,
                                  .count = left < WEIR_BATCH_MOST ? (uint32_t)left : WEIR_BATCH_MOST};
        agent_rows_decode(decoder, domain, plan, &rows, note, clock, NULL);
        if (plan->reverse != NULL) decode_reverse(decoder, domain, plan->reverse, &rows, note, clock);
        done += rows.count;
    }
    return records;
}

static enum agent_refusal decode_variable(struct agent_decoder *decoder, struct agent_domain *domain,
                                          const struct agent_plan *plan, struct weir_view body,
                                          const struct agent_gather_note *note, const struct agent_clock *clock,
                                          uint64_t *records)
{
    const uint8_t *at = body.data;
    const uint8_t *end = body.data + body.size;
    for (;;) {
        const uint8_t *next = at;
        bool whole = true;
        struct agent_rows rows = {.base = at, .where = (const uint16_t(*)[AGENT_ROWS_VARIABLE])decoder->where};
        rows.count = agent_plan_walk(plan, at, end, decoder->where, &next, &whole);
        if (rows.count > 0) agent_rows_decode(decoder, domain, plan, &rows, note, clock, NULL);
        *records += rows.count;
        if (rows.count > 0 && plan->reverse != NULL) {
            const uint8_t *same = next;
            bool as_whole = whole;
            agent_plan_walk(plan->reverse, at, end, decoder->where, &same, &as_whole);
            decode_reverse(decoder, domain, plan->reverse, &rows, note, clock);
        }
        if (!whole) return AGENT_REFUSAL_record;
        if (rows.count == 0) return AGENT_REFUSAL_NONE;
        at = next;
    }
}

static enum agent_refusal decode_options(struct agent_decoder *decoder, struct agent_domain *domain,
                                         const struct agent_template *template, struct weir_view body,
                                         uint64_t *records)
{
    struct weir_cursor c = weir_cursor_of(body);
    while (weir_cursor_left(&c) >= template->plan.record_bytes) {
        agent_options_record(decoder, domain, template, &c);
        if (c.ran_out) return AGENT_REFUSAL_record;
        domain->records++;
        agent_count(decoder, AGENT_INPUT_options_records, 1);
        ++*records;
    }
    return AGENT_REFUSAL_NONE;
}

enum agent_refusal agent_set_decode(struct agent_decoder *decoder, struct agent_domain *domain, uint16_t id,
                                    struct weir_view body, const struct agent_gather_note *note,
                                    const struct agent_clock *clock, uint64_t *records, bool *uncertain)
{
    struct agent_template *template = agent_template_find(domain, id);
    if (template == NULL) template = agent_session_inherit(decoder, domain, id, body.size, domain->heard_ms);
    if (template == NULL && agent_template_is_withdrawn(domain, id)) {
        *uncertain = true;
        agent_count(decoder, AGENT_INPUT_sets_withdrawn, 1);
        agent_domain_miss(decoder, domain, WEIR_DROP_template_withdrawn, id, body, note->received_ms);
        return AGENT_REFUSAL_NONE;
    }
    if (template == NULL) {
        *uncertain = true;
        agent_park(decoder, domain, id, body, note, clock);
        return AGENT_REFUSAL_NONE;
    }
    template->used = true;
    if (template->is_options) return decode_options(decoder, domain, template, body, records);
    if (template->plan.segments > 1)
        return decode_variable(decoder, domain, &template->plan, body, note, clock, records);
    *records += decode_fixed(decoder, domain, &template->plan, body, note, clock);
    return AGENT_REFUSAL_NONE;
}

/** Copy one field of all flows into a column; @width is known where this is expanded, so that each copy is one move. */
static inline __attribute__((always_inline)) void copy_values(uint8_t *to, const uint8_t *from, size_t width,
                                                              uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        memcpy(to + i * width, from + i * sizeof(struct weir_flow), width);
}

static void copy_column(struct weir_batch *batch, enum weir_field field, const struct weir_flow *flows, uint32_t count)
{
    const struct weir_field_info *info = &weir_fields[field];
    uint8_t *to = (uint8_t *)weir_batch_touch(batch, field) + (size_t)batch->count * info->width;
    const uint8_t *from = (const uint8_t *)flows + info->at;
    switch (info->width) {
    case 1: copy_values(to, from, 1, count); break;
    case 2: copy_values(to, from, 2, count); break;
    case 4: copy_values(to, from, 4, count); break;
    case 8: copy_values(to, from, 8, count); break;
    default: copy_values(to, from, sizeof(struct weir_ip), count); break;
    }
}

void agent_flows_append(struct agent_decoder *decoder, struct agent_domain *domain, const struct weir_flow *flows,
                        uint32_t count, uint64_t columns, const struct agent_gather_note *note)
{
    struct weir_batch *batch = agent_gather_room(decoder->gather, domain->stream, count);
    domain->flows += count;
    domain->records += count;
    agent_count(decoder, AGENT_INPUT_flows_netflow5 + domain->protocol, count);
    if (batch == NULL) return;

    for (uint64_t left = columns; left != 0; left &= left - 1)
        copy_column(batch, (enum weir_field)__builtin_ctzll(left), flows, count);
    agent_gather_commit(decoder->gather, domain->stream, count, columns, note);
}
