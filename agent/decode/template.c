/** The templates of v9 and IPFIX: learned, changed, withdrawn, evicted. */
#include "agent/decode/decoder.h"

#include "common/base/err.h"
#include "common/base/mem.h"

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

/** Room for one more template, of all and of the exporter. */
static void make_room(struct agent_decoder *decoder, struct agent_exporter *exporter)
{
    if (exporter->template_count >= decoder->conf.most_templates) {
        agent_template_forget(decoder, pick_victim(decoder, exporter));
    } else if (decoder->template_count >= decoder->conf.most_templates_all) {
        agent_template_forget(decoder, pick_victim(decoder, NULL));
    } else {
        return;
    }
    agent_count(decoder, AGENT_INPUT_templates_evicted, 1);
}

static int make(const struct agent_decoder *decoder, size_t spec_count, bool is_options, struct agent_template **ret)
{
    int rc = WEIR_ENOMEM;
    struct agent_template *template = weir_calloc(1, sizeof *template);
    if (template == NULL) goto fail;
    template->specs = weir_malloc(spec_count * sizeof *template->specs);
    if (template->specs == NULL) goto fail;
    memcpy(template->specs, decoder->specs, spec_count * sizeof *template->specs);
    template->spec_count = (uint16_t)spec_count;
    template->is_options = is_options;

    rc = agent_plan_compile(template->specs, spec_count, &template->plan);
    if (rc < 0) goto fail;
    *ret = template;
    return 0;

fail:
    destroy(template);
    return rc;
}

int agent_template_learn(struct agent_decoder *decoder, struct agent_domain *domain, uint16_t id, size_t spec_count,
                         bool is_options, size_t scope_count)
{
    struct agent_template *known = agent_template_find(domain, id);
    if (known != NULL && known->is_options == is_options && known->scope_count == scope_count &&
        known->spec_count == spec_count &&
        memcmp(known->specs, decoder->specs, spec_count * sizeof *known->specs) == 0) {
        agent_link_to_end(&decoder->templates, &known->by_age);
        agent_link_to_end(&domain->exporter->templates, &known->by_age_exporter);
        return 0;
    }

    struct agent_template *template = NULL;
    int rc = make(decoder, spec_count, is_options, &template);
    if (rc < 0) return rc;
    if (known != NULL) agent_template_forget(decoder, known);
    agent_count(decoder, known != NULL ? AGENT_INPUT_templates_changed : AGENT_INPUT_templates_learned, 1);
    make_room(decoder, domain->exporter);

    template->id = id;
    template->scope_count = (uint16_t)scope_count;
    template->domain = domain;
    template->next = *bucket_of(domain, id);
    *bucket_of(domain, id) = template;
    agent_link_append(&decoder->templates, &template->by_age);
    agent_link_append(&domain->exporter->templates, &template->by_age_exporter);
    domain->template_count++;
    domain->exporter->template_count++;
    decoder->template_count++;
    if (domain->parked_count > 0) agent_park_replay(decoder, domain, id);
    return 0;
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
            agent_template_forget(decoder, template);
            agent_count(decoder, AGENT_INPUT_templates_withdrawn, 1);
        }
    }
}
