/**
 * NetFlow versions 1, 5 and 7: fixed records. That of v7, from switches, ends with a router's address (ipv4RouterSc), for
 * which there is no column; an operator may name it. What its flags mean nobody published. v1 has no sequence numbers.
 */
#include "agent/decode/decoder.h"

enum { SAMPLING_BITS = 0x3fff /* the two bits above are the mode */ };

/* The record as a template; 0 is what we do not read. v7 has other flags in the last two bytes, and a router address. */
static const struct agent_spec record5[] = {{0, 8, 4},  {0, 12, 4}, {0, 15, 4}, {0, 10, 2}, {0, 14, 2},
                                            {0, 2, 4},  {0, 1, 4},  {0, 22, 4}, {0, 21, 4}, {0, 7, 2},
                                            {0, 11, 2}, {0, 0, 1},  {0, 6, 1},  {0, 4, 1},  {0, 5, 1},
                                            {0, 16, 2}, {0, 17, 2}, {0, 9, 1},  {0, 13, 1}, {0, 0, 2}};
static const struct agent_spec router7 = {0, 43, 4};
static const struct agent_spec record1[] = {{0, 8, 4}, {0, 12, 4}, {0, 15, 4}, {0, 10, 2}, {0, 14, 2}, {0, 2, 4},
                                            {0, 1, 4}, {0, 22, 4}, {0, 21, 4}, {0, 7, 2},  {0, 11, 2}, {0, 0, 2},
                                            {0, 4, 1}, {0, 5, 1},  {0, 6, 1},  {0, 0, 3},  {0, 0, 4}};

int agent_netflow5_plans(struct agent_decoder *decoder)
{
    enum { FIELDS = sizeof record5 / sizeof *record5, FIELDS1 = sizeof record1 / sizeof *record1 };
    const struct agent_extras *extras = &decoder->conf.extras;
    struct agent_spec record7[FIELDS + 1];
    memcpy(record7, record5, sizeof record5);
    record7[FIELDS] = router7;
    int rc = agent_plan_compile(record1, FIELDS1, extras, &decoder->netflow1);
    if (rc == 0) rc = agent_plan_compile(record5, FIELDS, extras, &decoder->netflow5);
    if (rc == 0) rc = agent_plan_compile(record7, FIELDS + 1, extras, &decoder->netflow7);
    decoder->netflow1.elements_unknown = decoder->netflow5.elements_unknown = decoder->netflow7.elements_unknown =
        0; /* padding is no element */
    return rc;
}

/** The 16 bytes that datagrams of all versions begin with; returns how many records are announced. */
static inline uint16_t read_head(struct weir_cursor *c, struct agent_clock *ret)
{
    weir_cursor_skip(c, 2);
    uint16_t count = weir_cursor_u16(c);
    *ret = (struct agent_clock){.uptime_ms = weir_cursor_u32(c), .has_uptime = true};
    ret->export_ms = (int64_t)weir_cursor_u32(c) * 1000;
    uint32_t nanoseconds = weir_cursor_u32(c);
    if (nanoseconds < 1000000000) ret->export_ms += nanoseconds / 1000000;
    return count;
}

/** The records that are whole, of @count. */
static inline struct agent_rows rows_at(const struct weir_cursor *c, const struct agent_plan *plan, uint16_t count)
{
    struct agent_rows rows = {.base = c->at, .count = count};
    size_t whole = weir_cursor_left(c) / plan->record_bytes;
    if (rows.count > whole) rows.count = (uint32_t)whole;
    return rows;
}

/** Decode the records; a datagram that has fewer than it announced is refused for the rest. */
static inline enum agent_refusal decode_rows(struct agent_decoder *decoder, struct agent_domain *domain,
                                             const struct agent_plan *plan, const struct agent_rows *rows,
                                             uint16_t count, const struct agent_gather_note *note,
                                             const struct agent_clock *clock, const struct agent_rate *rate,
                                             struct weir_view datagram)
{
    agent_rows_decode(decoder, domain, plan, rows, note, clock, rate);
    if (rows->count == count) return AGENT_REFUSAL_NONE;
    agent_domain_refuse(decoder, domain, AGENT_REFUSAL_count, datagram);
    return AGENT_REFUSAL_count;
}

enum agent_refusal agent_netflow5_decode(struct agent_decoder *decoder, const struct weir_ip *exporter,
                                         struct weir_view datagram, int64_t received_ms, bool v7)
{
    const struct agent_plan *plan = v7 ? &decoder->netflow7 : &decoder->netflow5;
    struct weir_cursor c = weir_cursor_of(datagram);
    struct agent_clock clock;
    uint16_t count = read_head(&c, &clock);
    uint32_t sequence = weir_cursor_u32(&c);
    uint16_t engine = weir_cursor_u16(&c);
    uint16_t sampling = weir_cursor_u16(&c);
    if (c.ran_out) return AGENT_REFUSAL_short;
    struct agent_rows rows = rows_at(&c, plan, count);
    if (rows.count == 0) return AGENT_REFUSAL_count;

    enum agent_refusal refusal = AGENT_REFUSAL_NONE;
    struct agent_domain *domain =
        agent_domain_enter(decoder, exporter, v7 ? AGENT_PROTOCOL_netflow7 : AGENT_PROTOCOL_netflow5, v7 ? 0 : engine,
                           received_ms, &refusal);
    if (domain == NULL) return refusal;
    if (agent_repeats_take(&domain->repeats, sequence, datagram)) return agent_domain_repeat(decoder, domain, datagram);
    domain->export_ms = clock.export_ms;
    struct agent_order order = {.first = sequence, .units = count, .clock = clock.export_ms, .now_ms = received_ms};
    agent_domain_order(decoder, domain, &order, &clock);

    struct agent_rate rate = {v7 ? 0 : sampling & SAMPLING_BITS, WEIR_SAMPLING_RECORD};
    if (rate.one_in == 0 || domain->rate.origin == WEIR_SAMPLING_OPERATOR) rate = domain->rate;
    struct agent_gather_note note = {v7 ? WEIR_PROTOCOL_NETFLOW7 : WEIR_PROTOCOL_NETFLOW5, received_ms,
                                     clock.export_ms};
    return decode_rows(decoder, domain, plan, &rows, count, &note, &clock, &rate, datagram);
}

enum agent_refusal agent_netflow1_decode(struct agent_decoder *decoder, const struct weir_ip *exporter,
                                         struct weir_view datagram, int64_t received_ms)
{
    const struct agent_plan *plan = &decoder->netflow1;
    struct weir_cursor c = weir_cursor_of(datagram);
    struct agent_clock clock;
    uint16_t count = read_head(&c, &clock);
    if (c.ran_out) return AGENT_REFUSAL_short;
    struct agent_rows rows = rows_at(&c, plan, count);
    if (rows.count == 0) return AGENT_REFUSAL_count;

    enum agent_refusal refusal = AGENT_REFUSAL_NONE;
    struct agent_domain *domain =
        agent_domain_enter(decoder, exporter, AGENT_PROTOCOL_netflow1, 0, received_ms, &refusal);
    if (domain == NULL) return refusal;
    domain->export_ms = clock.export_ms;
    struct agent_gather_note note = {WEIR_PROTOCOL_NETFLOW1, received_ms, clock.export_ms};
    return decode_rows(decoder, domain, plan, &rows, count, &note, &clock, &domain->rate, datagram);
}
