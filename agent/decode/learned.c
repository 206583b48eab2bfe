/**
 * What exporters taught, as bytes that outlive a decoder: a row of entries, one per exporter, in network order.
 *
 *     entry     bytes of body (4), CRC32C of body (4), body
 *     body      sender (16), heard, ms (8), rate for all of it (4), domains (2) x domain, samplers (2) x sampler
 *     domain    exporter named (16), protocol (1), id (4), session (4), for any session (1), heard, ms (8),
 *               started, ms (8), rate for all of it (4), templates (2) x template
 *     template  id (2), is of options (1), scopes (2), elements (2) x (enterprise (4), element (2), size (2))
 *     sampler   protocol (1), domain (4), id (8), one in (4)
 *
 * Only this file reads and writes it, and its version stands in the file that holds it (agent/keep.c).
 */
#include "agent/decode/decoder.h"

#include "common/base/err.h"
#include "common/base/hash.h"

enum { HEAD_BYTES = 8, BODY_MOST = 16 << 20 };

/* ---- writing ---- */

static void write_template(const struct agent_template *template, struct weir_buf *out)
{
    weir_buf_u16be(out, template->id);
    weir_buf_u8(out, template->is_options);
    weir_buf_u16be(out, template->scope_count);
    weir_buf_u16be(out, template->spec_count);
    for (uint16_t i = 0; i < template->spec_count; i++) {
        weir_buf_u32be(out, template->specs[i].enterprise);
        weir_buf_u16be(out, template->specs[i].element);
        weir_buf_u16be(out, template->specs[i].size);
    }
}

static void write_domain(const struct agent_domain *domain, struct weir_buf *out)
{
    weir_buf_append(out, &domain->ip, sizeof domain->ip);
    weir_buf_u8(out, (uint8_t)domain->protocol);
    weir_buf_u32be(out, domain->id);
    weir_buf_u32be(out, domain->session);
    weir_buf_u8(out, domain->any_session);
    weir_buf_u64be(out, (uint64_t)domain->heard_ms);
    weir_buf_u64be(out, (uint64_t)domain->boot_ms);
    weir_buf_u32be(out, domain->wide_one_in);
    weir_buf_u16be(out, (uint16_t)domain->template_count);
    for (int bucket = 0; bucket < AGENT_TEMPLATE_BUCKETS; bucket++) {
        for (const struct agent_template *t = domain->templates[bucket]; t != NULL; t = t->next)
            write_template(t, out);
    }
}

static bool is_kept(const struct agent_domain *domain)
{
    return domain->session < AGENT_SESSION_CONNECTION &&
           (domain->template_count > 0 || domain->wide_one_in != 0 || domain->boot_ms != 0);
}

static void write_exporter(const struct agent_exporter *exporter, struct weir_buf *out)
{
    uint16_t kept = 0;
    int64_t heard_ms = 0;
    for (const struct agent_domain *domain = exporter->domains; domain != NULL; domain = domain->next) {
        kept = (uint16_t)(kept + is_kept(domain));
        if (domain->heard_ms > heard_ms) heard_ms = domain->heard_ms;
    }
    if (kept == 0) return;

    size_t at = out->size;
    weir_buf_u64be(out, 0); /* the head, when the body is known */
    weir_buf_append(out, &exporter->ip, sizeof exporter->ip);
    weir_buf_u64be(out, (uint64_t)heard_ms);
    weir_buf_u32be(out, exporter->wide_one_in);
    weir_buf_u16be(out, kept);
    for (const struct agent_domain *domain = exporter->domains; domain != NULL; domain = domain->next) {
        if (is_kept(domain)) write_domain(domain, out);
    }
    weir_buf_u16be(out, (uint16_t)exporter->sampler_count);
    for (uint32_t i = 0; i < exporter->sampler_count; i++) {
        const struct agent_sampler *sampler = &exporter->samplers[i];
        weir_buf_u8(out, (uint8_t)sampler->protocol);
        weir_buf_u32be(out, sampler->domain);
        weir_buf_u64be(out, sampler->id);
        weir_buf_u32be(out, sampler->one_in);
    }
    if (out->failed) return;
    uint32_t size = (uint32_t)(out->size - at - HEAD_BYTES);
    weir_store_u32be(out->data + at, size);
    weir_store_u32be(out->data + at + 4, weir_crc32c(0, out->data + at + HEAD_BYTES, size));
}

void agent_decoder_learned(const struct agent_decoder *decoder, struct weir_buf *out)
{
    for (struct agent_link *at = decoder->exporters.next; at != &decoder->exporters; at = at->next)
        write_exporter(AGENT_LINKED(at, struct agent_exporter, by_age), out);
}

/* ---- reading ---- */

int agent_learned_next(struct weir_cursor *bytes, struct weir_ip *sender, int64_t *heard_ms, struct weir_view *entry)
{
    struct weir_cursor c = *bytes;
    uint32_t size = weir_cursor_u32(&c);
    uint32_t crc = weir_cursor_u32(&c);
    const uint8_t *body = weir_cursor_take(&c, size);
    if (body == NULL || size > BODY_MOST || size < sizeof *sender + 8) return WEIR_ESHORT;
    *entry = weir_view_of(bytes->at, HEAD_BYTES + size);
    *bytes = c;
    if (weir_crc32c(0, body, size) != crc) return WEIR_EFORMAT;
    memcpy(sender, body, sizeof *sender);
    *heard_ms = (int64_t)weir_load_u64be(body + sizeof *sender);
    return *heard_ms < 0 ? WEIR_EFORMAT : 0;
}

/** Read a template into decoder->specs and learn it. False when the bytes ran out. */
static bool recall_template(struct agent_decoder *decoder, struct agent_domain *domain, struct weir_cursor *c)
{
    struct agent_template_head head = {.id = weir_cursor_u16(c)};
    head.is_options = weir_cursor_u8(c) != 0;
    head.scope_count = weir_cursor_u16(c);
    uint16_t count = weir_cursor_u16(c);
    if (weir_cursor_left(c) < 8u * count) return false;
    if (domain == NULL || count == 0 || count > decoder->conf.most_fields || head.scope_count > count) {
        weir_cursor_skip(c, 8u * count); /* the limits were others then */
        return true;
    }
    for (uint16_t i = 0; i < count; i++) {
        struct agent_spec *spec = &decoder->specs[i];
        *spec = (struct agent_spec){.enterprise = weir_cursor_u32(c), .element = weir_cursor_u16(c)};
        spec->size = weir_cursor_u16(c);
    }
    agent_template_learn(decoder, domain, &head, count, AGENT_INPUT_templates_recalled);
    return true;
}

static bool recall_domain(struct agent_decoder *decoder, struct agent_exporter *exporter, struct weir_cursor *c)
{
    struct weir_ip named = {0};
    const uint8_t *ip = weir_cursor_take(c, sizeof named);
    uint8_t protocol = weir_cursor_u8(c);
    uint32_t id = weir_cursor_u32(c);
    uint32_t session = weir_cursor_u32(c);
    bool any_session = weir_cursor_u8(c) != 0;
    int64_t heard_ms = (int64_t)weir_cursor_u64(c);
    int64_t boot_ms = (int64_t)weir_cursor_u64(c);
    uint32_t wide_one_in = weir_cursor_u32(c);
    uint16_t templates = weir_cursor_u16(c);
    if (c->ran_out || protocol >= AGENT_PROTOCOL_unknown || session >= AGENT_SESSION_CONNECTION) return false;
    if (heard_ms < 0 || boot_ms < 0) return false; /* nobody wrote that */
    memcpy(&named, ip, sizeof named);

    struct agent_domain *domain = NULL;
    decoder->session = session;
    if (exporter->domain_count < decoder->conf.most_domains)
        domain = agent_domain_make(decoder, exporter, &named, (enum agent_protocol)protocol, id);
    if (domain != NULL) {
        domain->any_session = any_session;
        domain->heard_ms = domain->first_heard_ms = heard_ms;
        domain->boot_ms = boot_ms;
        domain->wide_one_in = wide_one_in;
    }
    for (uint16_t i = 0; i < templates; i++) {
        if (!recall_template(decoder, domain, c)) return false;
    }
    return true;
}

static void recall_sampler(struct agent_decoder *decoder, struct agent_exporter *exporter, struct weir_cursor *c)
{
    uint8_t protocol = weir_cursor_u8(c);
    uint32_t id = weir_cursor_u32(c);
    uint64_t sampler = weir_cursor_u64(c);
    uint32_t one_in = weir_cursor_u32(c);
    struct agent_domain *domain = exporter->domains;
    while (domain != NULL && (domain->id != id || domain->protocol != protocol))
        domain = domain->next;
    if (!c->ran_out && domain != NULL) agent_sampling_learn(decoder, domain, &sampler, one_in);
}

static void read_entry(struct agent_decoder *decoder, struct agent_exporter *exporter, struct weir_view body)
{
    struct weir_cursor c = weir_cursor_of(body);
    weir_cursor_skip(&c, sizeof exporter->ip + 8);
    exporter->wide_one_in = weir_cursor_u32(&c);
    uint16_t domains = weir_cursor_u16(&c);
    for (uint16_t i = 0; i < domains; i++) {
        if (!recall_domain(decoder, exporter, &c)) return;
    }
    uint16_t samplers = weir_cursor_u16(&c);
    for (uint16_t i = 0; i < samplers && !c.ran_out; i++)
        recall_sampler(decoder, exporter, &c);
}

void agent_learned_recall(struct agent_decoder *decoder, struct agent_exporter *exporter)
{
    const struct agent_recall *recall = &decoder->conf.recall;
    if (recall->recall == NULL) return;
    struct weir_buf bytes = WEIR_BUF_INIT;
    recall->recall(recall->ctx, &exporter->ip, &bytes);

    uint32_t session = decoder->session;
    struct weir_cursor c = weir_cursor_of(weir_buf_view(&bytes));
    struct weir_ip sender;
    int64_t heard_ms = 0;
    struct weir_view entry;
    if (weir_cursor_left(&c) > 0 && agent_learned_next(&c, &sender, &heard_ms, &entry) == 0 &&
        weir_ip_equal(&sender, &exporter->ip)) {
        read_entry(decoder, exporter, weir_view_of(entry.data + HEAD_BYTES, entry.size - HEAD_BYTES));
        agent_sampling_resolve(exporter);
    }
    decoder->session = session;
    weir_buf_fini(&bytes);
}
