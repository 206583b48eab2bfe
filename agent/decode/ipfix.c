/** IPFIX (RFC 7011), one message in a datagram. */
#include "agent/decode/decoder.h"

enum { HEADER_BYTES = 16, SET_HEADER_BYTES = 4, SET_TEMPLATES = 2, SET_OPTIONS = 3, SET_LEAST_DATA = 256 };

/** The header has no uptime: options data, of this very message perhaps, may have said when the exporter started. */
static struct agent_clock clock_of(const struct agent_domain *domain)
{
    return (struct agent_clock){.export_ms = domain->export_ms,
                                .uptime_ms = (uint32_t)domain->export_ms - (uint32_t)domain->boot_ms, /* modular */
                                .has_uptime = domain->boot_ms != 0};
}

/**
 * Decode the sets that begin before @end; counts data records, options included. A last set that runs past the end of
 * its message but not past the datagram is taken as it is: there are exporters that do not count its padding.
 */
static enum agent_refusal decode_sets(struct agent_decoder *decoder, struct agent_domain *domain, struct weir_cursor c,
                                      const uint8_t *end, const struct agent_gather_note *note, uint64_t *records,
                                      bool *uncertain)
{
    enum agent_refusal first = AGENT_REFUSAL_NONE;
    while (end - c.at >= SET_HEADER_BYTES) {
        uint16_t id = weir_cursor_u16(&c);
        uint16_t bytes = weir_cursor_u16(&c);
        if (id == 0 && bytes == 0) break; /* zeros behind the last set */
        if (bytes < SET_HEADER_BYTES || bytes - SET_HEADER_BYTES > (int)weir_cursor_left(&c)) {
            *uncertain = true;
            return first == AGENT_REFUSAL_NONE ? AGENT_REFUSAL_set_length : first;
        }
        struct weir_view body = {.data = c.at, .size = (size_t)bytes - SET_HEADER_BYTES};
        weir_cursor_skip(&c, body.size);
        enum agent_refusal refusal = AGENT_REFUSAL_NONE;
        if (id >= SET_LEAST_DATA) {
            struct agent_clock clock = clock_of(domain);
            refusal = agent_set_decode(decoder, domain, id, body, note, &clock, records, uncertain);
            if (refusal != AGENT_REFUSAL_NONE) *uncertain = true;
        } else if (id == SET_TEMPLATES || id == SET_OPTIONS) {
            refusal = agent_specs_ipfix(decoder, domain, body, id == SET_OPTIONS);
        } else {
            agent_count(decoder, AGENT_INPUT_sets_unknown, 1);
        }
        if (first == AGENT_REFUSAL_NONE) first = refusal;
    }
    return first;
}

/**
 * Did the message come before as it is? TCP doubles nothing. Messages without data have the number of the next, so that
 * two of them may be the same: a template that is changed and changed back. To decode them twice does no harm.
 */
static bool is_repeat(struct agent_domain *domain, uint32_t sequence, struct weir_view datagram, struct weir_cursor c)
{
    if (domain->session >= AGENT_SESSION_CONNECTION) return false;
    if (!agent_repeats_take(&domain->repeats, sequence, datagram)) return false;
    while (weir_cursor_left(&c) >= SET_HEADER_BYTES) {
        uint16_t id = weir_cursor_u16(&c);
        uint16_t bytes = weir_cursor_u16(&c);
        if (id >= SET_LEAST_DATA) return true;
        if (bytes < SET_HEADER_BYTES) break;
        weir_cursor_skip(&c, (size_t)bytes - SET_HEADER_BYTES);
    }
    return false;
}

enum agent_refusal agent_ipfix_decode(struct agent_decoder *decoder, const struct weir_ip *exporter,
                                      struct weir_view datagram, int64_t received_ms)
{
    struct weir_cursor c = weir_cursor_of(datagram);
    weir_cursor_skip(&c, 2);
    uint16_t length = weir_cursor_u16(&c);
    int64_t export_ms = (int64_t)weir_cursor_u32(&c) * 1000;
    uint32_t sequence = weir_cursor_u32(&c);
    uint32_t domain_id = weir_cursor_u32(&c);
    if (c.ran_out || length < HEADER_BYTES) return AGENT_REFUSAL_short;
    if (length > datagram.size) return AGENT_REFUSAL_truncated;

    enum agent_refusal refusal = AGENT_REFUSAL_NONE;
    struct agent_domain *domain =
        agent_domain_enter(decoder, exporter, AGENT_PROTOCOL_ipfix, domain_id, received_ms, &refusal);
    if (domain == NULL) return refusal;
    if (is_repeat(domain, sequence, datagram, c)) return agent_domain_repeat(decoder, domain, datagram);
    domain->export_ms = export_ms;

    struct agent_gather_note note = {WEIR_PROTOCOL_IPFIX, received_ms, export_ms};
    uint64_t records = 0;
    bool uncertain = false;
    refusal = decode_sets(decoder, domain, c, datagram.data + length, &note, &records, &uncertain);

    struct agent_order order = {.first = sequence,
                                .units = (uint32_t)records,
                                .units_uncertain = uncertain,
                                .clock = export_ms,
                                .now_ms = received_ms};
    struct agent_clock clock = clock_of(domain);
    agent_domain_order(decoder, domain, &order, &clock);
    if (refusal != AGENT_REFUSAL_NONE) agent_domain_refuse(decoder, domain, refusal, datagram);
    return refusal;
}
