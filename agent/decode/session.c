/**
 * Sessions of an exporter over UDP. Each source port is a session with templates and sequence numbers of its own
 * (RFC 7011 8: several processes of one host use the same ids). But ports change when an exporter restarts, and some
 * exporters send from many: docs/decisions/0013.
 */
#include "agent/decode/decoder.h"

enum { SESSIONS_MOST = 8, HOPPING_MS = 60000, SILENT_MS = 30000, PADDING_MOST = 7 };

static bool is_sibling(const struct agent_domain *domain, enum agent_protocol protocol, uint32_t id)
{
    return domain->protocol == protocol && domain->id == id && domain->session < AGENT_SESSION_CONNECTION;
}

struct agent_domain *agent_session_other(const struct agent_domain *domain)
{
    struct agent_domain *other = domain->exporter->domains;
    while (other != NULL && (other == domain || !agent_domain_same(other, domain)))
        other = other->next;
    return other;
}

/** Make one domain of all sessions of @kept's source. */
static void join(struct agent_decoder *decoder, struct agent_domain *kept)
{
    struct agent_domain *next = NULL;
    for (struct agent_domain *domain = kept->exporter->domains; domain != NULL; domain = next) {
        next = domain->next;
        if (domain == kept || !is_sibling(domain, kept->protocol, kept->id)) continue;
        agent_template_move(decoder, domain, kept);
        agent_park_move(domain, kept);
        agent_domain_forget(decoder, domain);
    }
    kept->any_session = true;
    for (int bucket = 0; bucket < AGENT_TEMPLATE_BUCKETS && kept->parked_count > 0; bucket++) {
        for (struct agent_template *template = kept->templates[bucket]; template != NULL; template = template->next)
            agent_park_replay(decoder, kept, template->id);
    }
    agent_count(decoder, AGENT_INPUT_sessions_joined, 1);
}

struct agent_domain *agent_session_succeed(struct agent_decoder *decoder, struct agent_exporter *exporter,
                                           enum agent_protocol protocol, uint32_t id, int64_t now_ms)
{
    if (protocol == AGENT_PROTOCOL_sflow5 || decoder->session >= AGENT_SESSION_CONNECTION) return NULL;
    struct agent_domain *newest = NULL;
    struct agent_domain *oldest = NULL;
    int count = 0;
    for (struct agent_domain *domain = exporter->domains; domain != NULL; domain = domain->next) {
        if (!is_sibling(domain, protocol, id)) continue;
        if (newest == NULL) newest = domain;
        oldest = domain;
        count++;
    }
    if (count < SESSIONS_MOST) return NULL;
    if (now_ms - oldest->heard_ms < HOPPING_MS) {
        join(decoder, newest);
        agent_domain_restart(decoder, newest);
        return newest;
    }
    agent_domain_restart(decoder, oldest);
    oldest->session = decoder->session;
    oldest->first_heard_ms = now_ms;
    return oldest;
}

struct agent_template *agent_session_inherit(struct agent_decoder *decoder, struct agent_domain *domain, uint16_t id,
                                             size_t bytes, int64_t now_ms)
{
    if (domain->session >= AGENT_SESSION_CONNECTION) return NULL;
    for (struct agent_domain *before = domain->exporter->domains; before != NULL; before = before->next) {
        if (before == domain || !is_sibling(before, domain->protocol, domain->id)) continue;
        const struct agent_template *template = agent_template_find(before, id);
        if (template == NULL) continue;
        /* A session that still speaks is another process, which may mean other things by its ids. */
        if (before->heard_ms > domain->first_heard_ms || now_ms - before->heard_ms < SILENT_MS) return NULL;
        if (template->plan.segments == 1 && bytes % template->plan.record_bytes > PADDING_MOST) return NULL;
        memcpy(decoder->specs, template->specs, template->spec_count * sizeof *template->specs);
        const struct agent_template_head head = {id, template->scope_count, template->is_options};
        if (agent_template_learn(decoder, domain, &head, template->spec_count, AGENT_INPUT_templates_inherited) < 0)
            return NULL;
        return agent_template_find(domain, id);
    }
    return NULL;
}
