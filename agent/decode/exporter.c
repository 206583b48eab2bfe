#include "agent/decode/decoder.h"

#include "common/base/err.h"
#include "common/base/hash.h"
#include "common/base/mem.h"

static struct agent_exporter **bucket_of(struct agent_decoder *decoder, const struct weir_ip *ip)
{
    return &decoder->buckets[weir_hash64(ip, sizeof *ip, 0) & decoder->bucket_mask];
}

static struct agent_exporter *oldest(struct agent_decoder *decoder)
{
    return AGENT_LINKED(decoder->exporters.next, struct agent_exporter, by_age);
}

/** What the operator's rules say of the exporter of a domain. */
static void apply_rules(const struct agent_decoder_conf *conf, struct agent_domain *domain)
{
    for (size_t i = conf->sampling_count; i-- > 0;) {
        const struct agent_sampling_rule *rule = &conf->sampling[i];
        if (!weir_prefix_contains(&rule->exporters, &domain->ip)) continue;
        *(rule->overrides ? &domain->override_one_in : &domain->default_one_in) = rule->one_in;
    }
}

static struct agent_exporter *exporter_find(struct agent_decoder *decoder, const struct weir_ip *ip)
{
    struct agent_exporter *exporter = *bucket_of(decoder, ip);
    while (exporter != NULL && !weir_ip_equal(&exporter->ip, ip))
        exporter = exporter->next;
    return exporter;
}

static struct agent_exporter *exporter_of(struct agent_decoder *decoder, const struct weir_ip *ip)
{
    if (!agent_link_empty(&decoder->exporters)) {
        struct agent_exporter *last = AGENT_LINKED(decoder->exporters.prev, struct agent_exporter, by_age);
        if (weir_ip_equal(&last->ip, ip)) return last;
    }
    struct agent_exporter *exporter = exporter_find(decoder, ip);
    if (exporter != NULL) {
        agent_link_to_end(&decoder->exporters, &exporter->by_age);
        return exporter;
    }

    if (decoder->exporter_count >= decoder->conf.most_exporters) {
        agent_count(decoder, AGENT_INPUT_exporters_evicted, 1);
        agent_exporter_forget(decoder, oldest(decoder));
    }
    exporter = weir_calloc(1, sizeof *exporter);
    if (exporter == NULL) return NULL;
    struct agent_exporter **bucket = bucket_of(decoder, ip);
    exporter->ip = *ip;
    exporter->next = *bucket;
    *bucket = exporter;
    agent_link_init(&exporter->templates);
    agent_link_init(&exporter->parked);
    agent_link_append(&decoder->exporters, &exporter->by_age);
    decoder->exporter_count++;
    agent_learned_recall(decoder, exporter);
    return exporter;
}

struct agent_domain *agent_domain_make(struct agent_decoder *decoder, struct agent_exporter *exporter,
                                       const struct weir_ip *named, enum agent_protocol protocol, uint32_t id)
{
    struct agent_domain *domain = weir_calloc(1, sizeof *domain);
    if (domain == NULL) return NULL;
    struct weir_source source = {.exporter = *named, .domain = id};
    int rc = agent_gather_attach(decoder->gather, &source, &domain->stream);
    if (rc == WEIR_ELIMIT && oldest(decoder) != exporter) {
        agent_count(decoder, AGENT_INPUT_exporters_evicted, 1);
        agent_exporter_forget(decoder, oldest(decoder));
        rc = agent_gather_attach(decoder->gather, &source, &domain->stream);
    }
    if (rc < 0) {
        weir_free(domain);
        return NULL;
    }
    domain->exporter = exporter;
    domain->ip = *named;
    domain->protocol = protocol;
    domain->id = id;
    domain->session = decoder->session;
    domain->next = exporter->domains;
    exporter->domains = domain;
    exporter->domain_count++;
    apply_rules(&decoder->conf, domain);
    const struct agent_domain *other = agent_session_other(domain);
    if (other != NULL) domain->wide_one_in = other->wide_one_in;
    agent_sampling_resolve(exporter);
    return domain;
}

/** Room for one more domain: of those that were silent for long the last one goes. False: all are in use. */
static bool make_room(struct agent_decoder *decoder, struct agent_exporter *exporter, int64_t now_ms)
{
    enum { SILENT_MS = 600000 };
    if (exporter->domain_count < decoder->conf.most_domains) return true;
    struct agent_domain *last = exporter->domains;
    while (last->next != NULL)
        last = last->next;
    if (now_ms - last->heard_ms < SILENT_MS) return false;
    agent_count(decoder, AGENT_INPUT_domains_evicted, 1);
    agent_domain_forget(decoder, last);
    return true;
}

static struct agent_domain *domain_of(struct agent_decoder *decoder, struct agent_exporter *exporter,
                                      const struct weir_ip *named, enum agent_protocol protocol, uint32_t id,
                                      int64_t received_ms, enum agent_refusal *refusal)
{
    for (struct agent_domain **at = &exporter->domains; *at != NULL; at = &(*at)->next) {
        struct agent_domain *domain = *at;
        if (domain->id != id || domain->protocol != protocol || !weir_ip_equal(&domain->ip, named)) continue;
        if (!agent_session_is(domain, decoder->session)) continue;
        if (at == &exporter->domains) return domain;
        *at = domain->next;
        domain->next = exporter->domains;
        exporter->domains = domain;
        return domain;
    }
    struct agent_domain *domain = agent_session_succeed(decoder, exporter, protocol, id, received_ms);
    if (domain != NULL) return domain;
    if (!make_room(decoder, exporter, received_ms)) {
        *refusal = AGENT_REFUSAL_limit;
        return NULL;
    }
    domain = agent_domain_make(decoder, exporter, named, protocol, id);
    if (domain == NULL) *refusal = AGENT_REFUSAL_memory;
    if (domain != NULL) domain->first_heard_ms = received_ms;
    return domain;
}

struct agent_domain *agent_domain_enter(struct agent_decoder *decoder, const struct weir_ip *ip,
                                        enum agent_protocol protocol, uint32_t id, int64_t received_ms,
                                        enum agent_refusal *refusal)
{
    return agent_domain_enter_as(decoder, ip, ip, protocol, id, received_ms, refusal);
}

struct agent_domain *agent_domain_enter_as(struct agent_decoder *decoder, const struct weir_ip *ip,
                                           const struct weir_ip *named, enum agent_protocol protocol, uint32_t id,
                                           int64_t received_ms, enum agent_refusal *refusal)
{
    struct agent_exporter *exporter = exporter_of(decoder, ip);
    if (exporter == NULL) {
        *refusal = AGENT_REFUSAL_memory;
        return NULL;
    }
    struct agent_domain *domain = domain_of(decoder, exporter, named, protocol, id, received_ms, refusal);
    if (domain == NULL) return NULL;
    domain->datagrams++;
    domain->heard_ms = received_ms;
    return domain;
}

void agent_domain_lose(struct agent_decoder *decoder, struct agent_domain *domain, const struct weir_loss *loss)
{
    weir_loss_add(&domain->loss, loss);
    agent_count(decoder, AGENT_INPUT_sequence_lost, loss->sequence_lost);
    agent_count(decoder, AGENT_INPUT_sets_missing, loss->template_missing);
    agent_gather_lose(domain->stream, loss);
}

enum agent_refusal agent_domain_repeat(struct agent_decoder *decoder, struct agent_domain *domain,
                                       struct weir_view datagram)
{
    domain->datagrams--;
    agent_count(decoder, AGENT_INPUT_sequence_repeated, 1);
    struct weir_drop drop = weir_drop_of(WEIR_DROP_repeated, domain->heard_ms, datagram);
    agent_gather_drop(decoder->gather, domain->stream, &drop);
    return AGENT_REFUSAL_NONE;
}

void agent_domain_refuse(struct agent_decoder *decoder, struct agent_domain *domain, enum agent_refusal refusal,
                         struct weir_view bytes)
{
    decoder->blamed = true;
    agent_domain_lose(decoder, domain, &(struct weir_loss){.undecodable = 1});
    struct weir_drop drop = weir_drop_of(agent_refusal_reason(refusal), domain->heard_ms, bytes);
    agent_gather_drop(decoder->gather, domain->stream, &drop);
}

void agent_domain_miss(struct agent_decoder *decoder, struct agent_domain *domain, enum weir_drop_reason reason,
                       uint16_t id, struct weir_view body, int64_t received_ms)
{
    enum { SET_HEADER_BYTES = 4 }; /* RFC 7011 3.3.2, RFC 3954 5.1: the example is to show it, too */
    uint8_t set[WEIR_DROP_HEAD];
    size_t size = SET_HEADER_BYTES + body.size;
    size_t rest = (size < sizeof set ? size : sizeof set) - SET_HEADER_BYTES;
    weir_store_u16be(set, id);
    weir_store_u16be(set + 2, (uint16_t)size);
    if (rest > 0) memcpy(set + SET_HEADER_BYTES, body.data, rest);
    agent_domain_lose(decoder, domain, &(struct weir_loss){.template_missing = 1});
    struct weir_drop drop = weir_drop_of(reason, received_ms, weir_view_of(set, SET_HEADER_BYTES + rest));
    drop.bytes = (uint32_t)size;
    agent_gather_drop(decoder->gather, domain->stream, &drop);
}

/** Records in @units: v9 numbers datagrams, each of which held so many records on average. */
static uint64_t records_of(const struct agent_domain *domain, uint64_t units)
{
    if (domain->protocol != AGENT_PROTOCOL_netflow9 || domain->datagrams == 0) return units;
    return (units * domain->records + domain->datagrams / 2) / domain->datagrams;
}

static void lose_units(struct agent_decoder *decoder, struct agent_domain *domain, uint64_t units)
{
    units = agent_numbering_release(&domain->numbering, units);
    if (units == 0) return;
    if (domain->samples != NULL) {
        agent_samples_lose_datagrams(decoder, domain, units);
        return;
    }
    struct weir_loss loss = {.sequence_lost = records_of(domain, units)};
    agent_domain_lose(decoder, domain, &loss);
}

/** What was counted stays counted, under another session. */
static void hand_totals(const struct agent_domain *from, struct agent_domain *to)
{
    to->datagrams += from->datagrams;
    to->records += from->records;
    to->flows += from->flows;
    weir_loss_add(&to->loss, &from->loss);
    if (from->heard_ms > to->heard_ms) to->heard_ms = from->heard_ms;
}

void agent_domain_forget(struct agent_decoder *decoder, struct agent_domain *domain)
{
    agent_domain_describe(domain);
    for (int bucket = 0; bucket < AGENT_TEMPLATE_BUCKETS; bucket++) {
        while (domain->templates[bucket] != NULL)
            agent_template_forget(decoder, domain->templates[bucket]);
    }
    if (domain->parked_count > 0) agent_park_give_up(decoder, domain);
    lose_units(decoder, domain, agent_sequence_restart(&domain->sequence));
    agent_samples_destroy(decoder, domain);
    agent_gather_detach(decoder->gather, &domain->stream);
    struct agent_domain *other = agent_session_other(domain);
    if (other == NULL) agent_sampling_forget(domain);
    if (other != NULL) hand_totals(domain, other);
    struct agent_domain **at = &domain->exporter->domains;
    while (*at != domain)
        at = &(*at)->next;
    *at = domain->next;
    domain->exporter->domain_count--;
    weir_free(domain);
}

void agent_exporter_forget(struct agent_decoder *decoder, struct agent_exporter *exporter)
{
    while (exporter->domains != NULL)
        agent_domain_forget(decoder, exporter->domains);
    struct agent_exporter **at = bucket_of(decoder, &exporter->ip);
    while (*at != exporter)
        at = &(*at)->next;
    *at = exporter->next;
    agent_link_remove(&exporter->by_age);
    decoder->exporter_count--;
    weir_free(exporter->samplers);
    weir_free(exporter);
}

/** A drop of more than the network could reorder by. The uptime wraps after 49.7 days: that is a step forward. */
static bool uptime_fell(uint32_t before_ms, uint32_t now_ms)
{
    enum { REORDERED_MS = 60000 };
    return now_ms < before_ms && (int32_t)(now_ms - before_ms) < -REORDERED_MS;
}

enum agent_arrival agent_domain_order(struct agent_decoder *decoder, struct agent_domain *domain,
                                      const struct agent_order *said, const struct agent_clock *clock)
{
    uint64_t lost = 0;
    bool rebooted = false;
    const struct agent_order *order = said;
    struct agent_order placed;
    if (clock->has_uptime) {
        rebooted = domain->sequence.known && uptime_fell(domain->uptime_ms, clock->uptime_ms);
        if (rebooted) {
            lost += agent_sequence_restart(&domain->sequence);
            domain->sequence.newest = 0;
            agent_count(decoder, AGENT_INPUT_sequence_restarts, 1);
        }
        domain->uptime_ms = clock->uptime_ms;
    }
    if (domain->protocol == AGENT_PROTOCOL_ipfix) {
        bool switched = false;
        placed = *said;
        order = &placed;
        bool has_place = agent_numbering_step(&domain->numbering, &domain->sequence, &placed, &switched);
        agent_count(decoder, AGENT_INPUT_sequence_conventions, switched);
        if (!has_place) return AGENT_ARRIVAL_LATE;
    }
    enum agent_arrival arrival = agent_sequence_step(&domain->sequence, order, &lost);
    switch (arrival) {
    case AGENT_ARRIVAL_IN_ORDER: break;
    case AGENT_ARRIVAL_LATE: agent_count(decoder, AGENT_INPUT_sequence_late, 1); break;
    case AGENT_ARRIVAL_DUPLICATE: agent_count(decoder, AGENT_INPUT_sequence_duplicate, 1); break;
    case AGENT_ARRIVAL_RESTART: agent_count(decoder, AGENT_INPUT_sequence_restarts, 1); break;
    }
    if (rebooted || arrival == AGENT_ARRIVAL_RESTART) domain->repeats.newest = said->first;
    if (lost > 0 || domain->numbering.withheld > 0) lose_units(decoder, domain, lost);
    return rebooted ? AGENT_ARRIVAL_RESTART : arrival;
}

void agent_domain_restart(struct agent_decoder *decoder, struct agent_domain *domain)
{
    lose_units(decoder, domain, agent_sequence_restart(&domain->sequence));
    domain->sequence.newest = 0;
    domain->repeats = (struct agent_repeats){0};
}

void agent_domain_describe(struct agent_domain *domain)
{
    const struct agent_skew *skew = &domain->exporter->skew;
    struct weir_health health = {0};
    if (domain->export_ms != 0 && skew->taken > 0) {
        health.has_skew = true;
        health.skew_ms = skew->median_ms;
    }
    for (const struct agent_domain *each = domain->exporter->domains; each != NULL; each = each->next) {
        if (!agent_domain_same(domain, each)) continue;
        health.templates += each->template_count;
        health.waiting += each->parked_count;
    }
    agent_gather_describe(
        domain->stream, &health,
        &(struct agent_gather_note){agent_protocol_wire(domain->protocol), domain->heard_ms, domain->export_ms});
}

void agent_domain_settle(struct agent_decoder *decoder, struct agent_domain *domain, int64_t now_ms)
{
    if (domain->sequence.gap_count > 0) lose_units(decoder, domain, agent_sequence_settle(&domain->sequence, now_ms));
    agent_samples_settle(decoder, domain, now_ms);
}

void agent_decoder_session_end(struct agent_decoder *decoder, const struct agent_peer *peer)
{
    struct agent_exporter *exporter = exporter_find(decoder, &peer->ip);
    if (exporter == NULL) return;
    struct agent_domain *next = NULL;
    for (struct agent_domain *domain = exporter->domains; domain != NULL; domain = next) {
        next = domain->next;
        if (domain->session == peer->session) agent_domain_forget(decoder, domain);
    }
}
