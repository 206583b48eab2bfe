/** NetFlow version 9 (RFC 3954). */
#include "agent/decode/decoder.h"

enum { SET_HEADER_BYTES = 4, SET_TEMPLATES = 0, SET_OPTIONS = 1, SET_LEAST_DATA = 256 };

enum agent_refusal agent_netflow9_decode(struct agent_decoder *decoder, const struct weir_ip *exporter,
                                         struct weir_view datagram, int64_t received_ms)
{
    struct weir_cursor c = weir_cursor_of(datagram);
    weir_cursor_skip(&c, 4); /* version, and a count of records that exporters do not agree on */
    struct agent_clock clock = {.uptime_ms = weir_cursor_u32(&c), .has_uptime = true};
    clock.export_ms = (int64_t)weir_cursor_u32(&c) * 1000;
    uint32_t sequence = weir_cursor_u32(&c);
    uint32_t source_id = weir_cursor_u32(&c);
    if (c.ran_out) return AGENT_REFUSAL_short;

    enum agent_refusal first = AGENT_REFUSAL_NONE;
    struct agent_domain *domain =
        agent_domain_enter(decoder, exporter, AGENT_PROTOCOL_netflow9, source_id, received_ms, &first);
    if (domain == NULL) return first;
    if (agent_repeats_take(&domain->repeats, sequence, datagram)) return agent_domain_repeat(decoder, domain, datagram);
    domain->export_ms = clock.export_ms;

    struct agent_gather_note note = {WEIR_PROTOCOL_NETFLOW9, received_ms, clock.export_ms};
    while (weir_cursor_left(&c) >= SET_HEADER_BYTES) {
        uint16_t id = weir_cursor_u16(&c);
        uint16_t bytes = weir_cursor_u16(&c);
        if (id == 0 && bytes == 0) break; /* zeros behind the last set */
        if (bytes < SET_HEADER_BYTES || bytes - SET_HEADER_BYTES > (int)weir_cursor_left(&c)) {
            if (first == AGENT_REFUSAL_NONE) first = AGENT_REFUSAL_set_length;
            break;
        }
        struct weir_view body = {.data = c.at, .size = (size_t)bytes - SET_HEADER_BYTES};
        weir_cursor_skip(&c, body.size);
        enum agent_refusal refusal = AGENT_REFUSAL_NONE;
        if (id >= SET_LEAST_DATA) {
            uint64_t records = 0;
            bool uncertain = false; /* v9 counts datagrams: what is in them does not matter */
            refusal = agent_set_decode(decoder, domain, id, body, &note, &clock, &records, &uncertain);
        } else if (id == SET_TEMPLATES || id == SET_OPTIONS) {
            refusal = agent_specs_netflow9(decoder, domain, body, id == SET_OPTIONS);
        } else {
            agent_count(decoder, AGENT_INPUT_sets_unknown, 1);
        }
        if (first == AGENT_REFUSAL_NONE) first = refusal;
    }
    struct agent_order order = {.first = sequence, .units = 1, .clock = clock.export_ms, .now_ms = received_ms};
    agent_domain_order(decoder, domain, &order, &clock);
    if (first != AGENT_REFUSAL_NONE) agent_domain_refuse(decoder, domain, first, datagram);
    return first;
}
