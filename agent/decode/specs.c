/** Templates as they stand in v9 (RFC 3954 5.2, 6.1) and IPFIX (RFC 7011 3.4), withdrawals included (8.1). */
#include "agent/decode/decoder.h"

#include "common/base/err.h"

enum { LEAST_TEMPLATE_ID = 256, ENTERPRISE_BIT = 0x8000, IPFIX_TEMPLATES = 2, IPFIX_OPTIONS = 3 };

/** Read @count specs into decoder->specs, from @at on. False when they run out, or are too many. */
static bool read_specs(struct agent_decoder *decoder, struct weir_cursor *c, size_t at, size_t count, bool is_ipfix,
                       uint32_t enterprise)
{
    if (at + count > decoder->conf.most_fields) return false;
    for (size_t i = at; i < at + count; i++) {
        struct agent_spec *spec = &decoder->specs[i];
        *spec = (struct agent_spec){.enterprise = enterprise, .element = weir_cursor_u16(c)};
        spec->size = weir_cursor_u16(c);
        if (is_ipfix && (spec->element & ENTERPRISE_BIT) != 0) {
            spec->element &= ENTERPRISE_BIT - 1;
            spec->enterprise = weir_cursor_u32(c);
        }
    }
    return !c->ran_out;
}

static enum agent_refusal learn(struct agent_decoder *decoder, struct agent_domain *domain, uint16_t id, size_t count,
                                bool options, size_t scopes)
{
    const struct agent_template_head head = {id, (uint16_t)scopes, options};
    int rc = agent_template_learn(decoder, domain, &head, count, AGENT_INPUT_templates_learned);
    if (rc == WEIR_ENOMEM) return AGENT_REFUSAL_memory;
    return rc < 0 ? AGENT_REFUSAL_template : AGENT_REFUSAL_NONE;
}

enum agent_refusal agent_specs_netflow9(struct agent_decoder *decoder, struct agent_domain *domain,
                                        struct weir_view body, bool options)
{
    struct weir_cursor c = weir_cursor_of(body);
    size_t header_bytes = options ? 6 : 4;
    while (weir_cursor_left(&c) >= header_bytes) {
        uint16_t id = weir_cursor_u16(&c);
        if (id == 0) return AGENT_REFUSAL_NONE;                 /* padding */
        size_t scopes = options ? weir_cursor_u16(&c) / 4u : 0; /* in bytes, of 4 each */
        size_t fields = options ? weir_cursor_u16(&c) / 4u : weir_cursor_u16(&c);
        if (id < LEAST_TEMPLATE_ID) return AGENT_REFUSAL_template;
        if (scopes + fields == 0) {
            agent_template_withdraw(decoder, domain, id, options);
            continue;
        }
        if (!read_specs(decoder, &c, 0, scopes, false, AGENT_ENTERPRISE_SCOPE) ||
            !read_specs(decoder, &c, scopes, fields, false, 0)) {
            return AGENT_REFUSAL_template;
        }
        enum agent_refusal refusal = learn(decoder, domain, id, scopes + fields, options, scopes);
        if (refusal != AGENT_REFUSAL_NONE) return refusal;
    }
    return AGENT_REFUSAL_NONE;
}

enum agent_refusal agent_specs_ipfix(struct agent_decoder *decoder, struct agent_domain *domain, struct weir_view body,
                                     bool options)
{
    struct weir_cursor c = weir_cursor_of(body);
    while (weir_cursor_left(&c) >= 4) {
        uint16_t id = weir_cursor_u16(&c);
        uint16_t fields = weir_cursor_u16(&c);
        if (id == 0) return AGENT_REFUSAL_NONE; /* padding */
        if (fields == 0) {
            bool all = id == (options ? IPFIX_OPTIONS : IPFIX_TEMPLATES);
            if (!all && id < LEAST_TEMPLATE_ID) return AGENT_REFUSAL_template;
            agent_template_withdraw(decoder, domain, all ? 0 : id, options);
            continue;
        }
        uint16_t scopes = options ? weir_cursor_u16(&c) : 0;
        if (id < LEAST_TEMPLATE_ID || scopes > fields) return AGENT_REFUSAL_template;
        if (!read_specs(decoder, &c, 0, fields, true, 0)) return AGENT_REFUSAL_template;
        enum agent_refusal refusal = learn(decoder, domain, id, fields, options, scopes);
        if (refusal != AGENT_REFUSAL_NONE) return refusal;
    }
    return AGENT_REFUSAL_NONE;
}
