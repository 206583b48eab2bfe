/** Data sets that came before their template wait for it, bounded in bytes and in time. */
#include "agent/decode/decoder.h"

#include "common/base/mem.h"

static struct agent_parked *oldest(struct agent_decoder *decoder)
{
    return AGENT_LINKED(decoder->parked.next, struct agent_parked, by_age);
}

static void drop(struct agent_decoder *decoder, struct agent_parked *parked)
{
    size_t bytes = sizeof *parked + parked->size;
    agent_link_remove(&parked->by_age);
    agent_link_remove(&parked->by_age_exporter);
    parked->domain->parked_count--;
    parked->domain->exporter->parked_bytes -= bytes;
    decoder->parked_bytes -= bytes;
    weir_free(parked);
}

static void give_up(struct agent_decoder *decoder, const struct agent_parked *parked)
{
    agent_domain_miss(decoder, parked->domain, WEIR_DROP_template_missing, parked->id,
                      weir_view_of(parked->bytes, parked->size), parked->note.received_ms);
}

/** The limits want it to give way. */
static void push_out(struct agent_decoder *decoder, struct agent_parked *parked)
{
    agent_count(decoder, AGENT_INPUT_sets_pushed_out, 1);
    give_up(decoder, parked);
    drop(decoder, parked);
}

/** Room for @bytes more of an exporter. False: there can be none. */
static bool make_room(struct agent_decoder *decoder, struct agent_exporter *exporter, size_t bytes)
{
    const struct agent_decoder_conf *conf = &decoder->conf;
    if (bytes > conf->most_parked_bytes || bytes > conf->most_parked_bytes_each) return false;
    while (exporter->parked_bytes + bytes > conf->most_parked_bytes_each)
        push_out(decoder, AGENT_LINKED(exporter->parked.next, struct agent_parked, by_age_exporter));
    while (decoder->parked_bytes + bytes > conf->most_parked_bytes)
        push_out(decoder, oldest(decoder));
    return true;
}

void agent_park(struct agent_decoder *decoder, struct agent_domain *domain, uint16_t id, struct weir_view body,
                const struct agent_gather_note *note, const struct agent_clock *clock)
{
    size_t bytes = sizeof(struct agent_parked) + body.size;
    if (!make_room(decoder, domain->exporter, bytes)) {
        agent_count(decoder, AGENT_INPUT_sets_pushed_out, 1);
        agent_domain_miss(decoder, domain, WEIR_DROP_template_missing, id, body, note->received_ms);
        return;
    }
    struct agent_parked *parked = weir_malloc(bytes);
    if (parked == NULL) {
        agent_domain_miss(decoder, domain, WEIR_DROP_template_missing, id, body, note->received_ms);
        return;
    }
    *parked =
        (struct agent_parked){.domain = domain, .note = *note, .clock = *clock, .id = id, .size = (uint32_t)body.size};
    memcpy(parked->bytes, body.data, body.size);
    agent_link_append(&decoder->parked, &parked->by_age);
    agent_link_append(&domain->exporter->parked, &parked->by_age_exporter);
    domain->exporter->parked_bytes += bytes;
    domain->parked_count++;
    decoder->parked_bytes += bytes;
    agent_count(decoder, AGENT_INPUT_sets_parked, 1);
}

void agent_park_replay(struct agent_decoder *decoder, struct agent_domain *domain, uint16_t id)
{
    struct agent_link *next = NULL;
    const struct agent_link *end = &domain->exporter->parked;
    for (struct agent_link *at = end->next; at != end; at = next) {
        next = at->next;
        struct agent_parked *parked = AGENT_LINKED(at, struct agent_parked, by_age_exporter);
        if (parked->domain != domain || parked->id != id) continue;
        uint64_t records = 0;
        bool uncertain = false;
        enum agent_refusal refusal = agent_set_decode(decoder, domain, id, weir_view_of(parked->bytes, parked->size),
                                                      &parked->note, &parked->clock, &records, &uncertain);
        if (refusal != AGENT_REFUSAL_NONE) {
            agent_count(decoder, agent_input_refused(domain->protocol, refusal), 1);
            agent_domain_refuse(decoder, domain, refusal, weir_view_of(parked->bytes, parked->size));
            decoder->blamed = false; /* not for the datagram that brought the template */
        }
        agent_count(decoder, AGENT_INPUT_sets_replayed, 1);
        drop(decoder, parked);
    }
}

void agent_park_move(struct agent_domain *from, struct agent_domain *to)
{
    const struct agent_link *end = &from->exporter->parked;
    for (struct agent_link *at = end->next; at != end; at = at->next) {
        struct agent_parked *parked = AGENT_LINKED(at, struct agent_parked, by_age_exporter);
        if (parked->domain == from) parked->domain = to;
    }
    to->parked_count += from->parked_count;
    from->parked_count = 0;
}

void agent_park_expire(struct agent_decoder *decoder, int64_t now_ms)
{
    while (!agent_link_empty(&decoder->parked)) {
        struct agent_parked *parked = oldest(decoder);
        if (now_ms - parked->note.received_ms <= (int64_t)decoder->conf.parked_ms) return;
        /* Learning its template decodes what waits for it. */
        if (agent_session_inherit(decoder, parked->domain, parked->id, parked->size, now_ms) != NULL) continue;
        give_up(decoder, parked);
        drop(decoder, parked);
    }
}

void agent_park_give_up(struct agent_decoder *decoder, const struct agent_domain *domain)
{
    struct agent_link *next = NULL;
    const struct agent_link *end = &domain->exporter->parked;
    for (struct agent_link *at = end->next; at != end; at = next) {
        next = at->next;
        struct agent_parked *parked = AGENT_LINKED(at, struct agent_parked, by_age_exporter);
        if (parked->domain != domain) continue;
        give_up(decoder, parked);
        drop(decoder, parked);
    }
}
