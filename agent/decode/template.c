/** The templates of v9 and IPFIX: learned, changed, withdrawn, expired, evicted. */
#include "agent/decode/decoder.h"

#include "common/base/err.h"
#include "common/base/mem.h"

#include <stdio.h>

static struct agent_template **bucket_of(struct agent_domain *domain, uint16_t id)
{
    return &domain->templates[id % AGENT_TEMPLATE_BUCKETS];
}

struct agent_template *agent_template_find(struct agent_domain *domain, uint16_t id)
{
    struct agent_template *template = *bucket_of(domain, id);
    while (template != NULL && template->id != id)
        template = template->next;
    return template;
}

static void destroy(struct agent_template *template)
{
    if (template == NULL) return;
    agent_plan_fini(&template->plan);
    weir_free(template->specs);
    weir_free(template);
}

void agent_template_forget(struct agent_decoder *decoder, struct agent_template *template)
{
    struct agent_domain *domain = template->domain;
    struct agent_template **at = bucket_of(domain, template->id);
    while (*at != template)
        at = &(*at)->next;
    *at = template->next;
    agent_link_remove(&template->by_age);
    agent_link_remove(&template->by_age_exporter);
    domain->template_count--;
    domain->exporter->template_count--;
    decoder->template_count--;
    decoder->template_bytes -= template->bytes;
    decoder->learned_version++;
    destroy(template);
}

/** The oldest template that was not used since it was last asked; of those that were, the first asked. */
static struct agent_template *pick_victim(struct agent_decoder *decoder, struct agent_exporter *exporter)
{
    enum { TRIES = 64 };
    for (int i = 0;; i++) {
        struct agent_template *template =
            exporter == NULL ? AGENT_LINKED(decoder->templates.next, struct agent_template, by_age)
                             : AGENT_LINKED(exporter->templates.next, struct agent_template, by_age_exporter);
        if (!template->used || i == TRIES) return template;
        template->used = false;
        agent_link_to_end(&decoder->templates, &template->by_age);
        agent_link_to_end(&template->domain->exporter->templates, &template->by_age_exporter);
    }
}

/** Room for one more template of @bytes, of all and of the exporter. */
static void make_room(struct agent_decoder *decoder, struct agent_exporter *exporter, size_t bytes)
{
    const struct agent_decoder_conf *conf = &decoder->conf;
    while (decoder->template_count > 0) {
        if (exporter->template_count >= conf->most_templates) {
            agent_template_forget(decoder, pick_victim(decoder, exporter));
        } else if (decoder->template_count >= conf->most_templates_all ||
                   decoder->template_bytes + bytes > conf->most_template_bytes) {
            agent_template_forget(decoder, pick_victim(decoder, NULL));
        } else {
            return;
        }
        agent_count(decoder, AGENT_INPUT_templates_evicted, 1);
    }
}

static int make(const struct agent_decoder *decoder, const struct agent_template_head *head, size_t spec_count,
                struct agent_template **ret)
{
    int rc = WEIR_ENOMEM;
    struct agent_template *template = weir_calloc(1, sizeof *template);
    if (template == NULL) goto fail;
    template->specs = weir_malloc(spec_count * sizeof *template->specs);
    if (template->specs == NULL) goto fail;
    memcpy(template->specs, decoder->specs, spec_count * sizeof *template->specs);
    template->spec_count = (uint16_t)spec_count;
    template->id = head->id;
    template->scope_count = head->scope_count;
    template->is_options = head->is_options;

    rc = agent_plan_compile(template->specs, spec_count, &decoder->conf.extras, &template->plan);
    if (rc < 0) goto fail;
    template->bytes = sizeof *template + spec_count * sizeof *template->specs +
                      template->plan.op_count * sizeof *template->plan.ops +
                      template->plan.segments * sizeof *template->plan.segment_bytes;
    *ret = template;
    return 0;

fail:
    destroy(template);
    return rc;
}

static bool is_same(const struct agent_template *known, const struct agent_template_head *head,
                    const struct agent_spec *specs, size_t spec_count)
{
    return known->is_options == head->is_options && known->scope_count == head->scope_count &&
           known->spec_count == spec_count && memcmp(known->specs, specs, spec_count * sizeof *specs) == 0;
}

static void change(struct agent_decoder *decoder, struct agent_template *known, struct agent_template *template)
{
    const struct agent_watch *watch = &decoder->conf.watch;
    const struct agent_domain *domain = known->domain;
    agent_count(decoder, AGENT_INPUT_templates_changed, 1);
    template->change_told = true;
    if (!known->change_told && watch->template_changed != NULL) {
        const struct agent_template_change event = {.source = domain->stream->source,
                                                    .session = domain->session,
                                                    .id = template->id,
                                                    .before = known->specs,
                                                    .before_count = known->spec_count,
                                                    .after = template->specs,
                                                    .after_count = template->spec_count};
        watch->template_changed(watch->ctx, &event);
    }
    agent_template_forget(decoder, known);
}

static void forget_withdrawal(struct agent_domain *domain, uint16_t id)
{
    for (int i = 0; i < AGENT_WITHDRAWN; i++) {
        if (domain->withdrawn[i] == id) domain->withdrawn[i] = 0;
    }
}

int agent_template_learn(struct agent_decoder *decoder, struct agent_domain *domain,
                         const struct agent_template_head *head, size_t spec_count, enum agent_input_count as)
{
    struct agent_template *known = agent_template_find(domain, head->id);
    if (known != NULL && is_same(known, head, decoder->specs, spec_count)) {
        known->unseen_ms = 0;
        agent_link_to_end(&decoder->templates, &known->by_age);
        agent_link_to_end(&domain->exporter->templates, &known->by_age_exporter);
        return 0;
    }

    struct agent_template *template = NULL;
    int rc = make(decoder, head, spec_count, &template);
    if (rc < 0) return rc;
    if (known != NULL) {
        change(decoder, known, template);
    } else {
        agent_count(decoder, as, 1);
    }
    make_room(decoder, domain->exporter, template->bytes);

    template->domain = domain;
    template->next = *bucket_of(domain, template->id);
    *bucket_of(domain, template->id) = template;
    agent_link_append(&decoder->templates, &template->by_age);
    agent_link_append(&domain->exporter->templates, &template->by_age_exporter);
    domain->template_count++;
    domain->exporter->template_count++;
    decoder->template_count++;
    decoder->template_bytes += template->bytes;
    decoder->learned_version++;
    forget_withdrawal(domain, template->id);
    agent_domain_describe(domain);
    if (domain->parked_count > 0) agent_park_replay(decoder, domain, template->id);
    return 0;
}

bool agent_template_is_withdrawn(const struct agent_domain *domain, uint16_t id)
{
    for (int i = 0; i < AGENT_WITHDRAWN; i++) {
        if (domain->withdrawn[i] == id) return true;
    }
    return false;
}

/** Time passes for the templates of exporters that were heard since the last call: silence is no reason to forget. */
void agent_template_expire(struct agent_decoder *decoder, int64_t now_ms)
{
    uint32_t most_ms = decoder->conf.template_expiry_ms;
    if (most_ms == 0) return;
    struct agent_link *next = NULL;
    for (struct agent_link *at = decoder->templates.next; at != &decoder->templates; at = next) {
        next = at->next;
        struct agent_template *template = AGENT_LINKED(at, struct agent_template, by_age);
        const struct agent_domain *speaks = template->domain->exporter->domains; /* the last that did */
        if (template->domain->session >= AGENT_SESSION_CONNECTION || now_ms - speaks->heard_ms > AGENT_EXPIRY_MS)
            continue;
        template->unseen_ms += AGENT_EXPIRY_MS;
        if (template->unseen_ms <= most_ms) continue;
        agent_count(decoder, AGENT_INPUT_templates_expired, 1);
        agent_template_forget(decoder, template);
    }
}

const char *agent_specs_format(const struct agent_spec *specs, size_t count, char *out, size_t size)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count && used + 1 < size; i++) {
        char vendor[16] = "";
        char bytes[8] = "var";
        if (specs[i].enterprise == AGENT_ENTERPRISE_SCOPE) {
            snprintf(vendor, sizeof vendor, "scope.");
        } else if (specs[i].enterprise != 0) {
            snprintf(vendor, sizeof vendor, "%u.", specs[i].enterprise);
        }
        if (specs[i].size != AGENT_VARIABLE) snprintf(bytes, sizeof bytes, "%u", specs[i].size);
        int length = snprintf(out + used, size - used, "%s%s%u:%s", i > 0 ? " " : "", vendor, specs[i].element, bytes);
        used += length > 0 ? (size_t)length : 0;
    }
    return out;
}

void agent_template_move(struct agent_decoder *decoder, struct agent_domain *from, struct agent_domain *to)
{
    for (int bucket = 0; bucket < AGENT_TEMPLATE_BUCKETS; bucket++) {
        while (from->templates[bucket] != NULL) {
            struct agent_template *template = from->templates[bucket];
            if (agent_template_find(to, template->id) != NULL) {
                agent_template_forget(decoder, template);
                continue;
            }
            from->templates[bucket] = template->next;
            from->template_count--;
            decoder->learned_version++;
            template->domain = to;
            template->next = to->templates[bucket];
            to->templates[bucket] = template;
            to->template_count++;
        }
    }
}

void agent_template_withdraw(struct agent_decoder *decoder, struct agent_domain *domain, uint16_t id, bool is_options)
{
    for (int bucket = 0; bucket < AGENT_TEMPLATE_BUCKETS; bucket++) {
        struct agent_template *next = NULL;
        for (struct agent_template *template = domain->templates[bucket]; template != NULL; template = next) {
            next = template->next;
            if (id != 0 ? template->id != id : template->is_options != is_options) continue;
            domain->withdrawn[domain->withdrawn_next++ % AGENT_WITHDRAWN] = template->id;
            agent_template_forget(decoder, template);
            agent_count(decoder, AGENT_INPUT_templates_withdrawn, 1);
        }
    }
}
