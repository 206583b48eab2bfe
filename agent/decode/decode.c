#include "agent/decode/decode.h"

#include "agent/decode/decoder.h"
#include "common/base/err.h"
#include "common/base/mem.h"

#include <assert.h>

enum { SFLOW_VERSION = 5, PLAN_FIELDS_MOST = 4096 };

/** Buckets for so many exporters: a power of two, at least as many. */
static uint32_t bucket_count(uint32_t exporters)
{
    uint32_t buckets = 16;
    while (buckets < exporters && buckets < 1u << 20)
        buckets *= 2;
    return buckets;
}

int agent_decoder_create(const struct agent_decoder_conf *conf, struct agent_gather *gather, struct agent_decoder **ret)
{
    assert(conf->most_exporters >= 1 && conf->most_domains >= 1 && conf->most_templates >= 1);
    assert(conf->most_templates_all >= 1 && conf->most_fields >= 1 && conf->most_fields <= PLAN_FIELDS_MOST);
    int rc = WEIR_ENOMEM;
    struct agent_decoder *decoder = weir_calloc(1, sizeof *decoder);
    if (decoder == NULL) return WEIR_ENOMEM;
    decoder->conf = *conf;
    decoder->gather = gather;
    agent_link_init(&decoder->exporters);
    agent_link_init(&decoder->templates);
    agent_link_init(&decoder->parked);

    uint32_t buckets = bucket_count(conf->most_exporters);
    decoder->bucket_mask = buckets - 1;
    decoder->buckets = weir_calloc(buckets, sizeof *decoder->buckets);
    if (decoder->buckets == NULL) goto fail;
    decoder->specs = weir_calloc(conf->most_fields, sizeof *decoder->specs);
    if (decoder->specs == NULL) goto fail;

    rc = agent_netflow5_plans(decoder);
    if (rc < 0) goto fail;
    *ret = decoder;
    return 0;

fail:
    agent_decoder_destroy(decoder);
    return rc;
}

void agent_decoder_forget(struct agent_decoder *decoder)
{
    while (!agent_link_empty(&decoder->exporters))
        agent_exporter_forget(decoder, AGENT_LINKED(decoder->exporters.next, struct agent_exporter, by_age));
}

void agent_decoder_destroy(struct agent_decoder *decoder)
{
    if (decoder == NULL) return;
    agent_decoder_forget(decoder);
    agent_plan_fini(&decoder->netflow1);
    agent_plan_fini(&decoder->netflow5);
    agent_plan_fini(&decoder->netflow7);
    weir_free(decoder->specs);
    weir_free(decoder->buckets);
    weir_free(decoder);
}

enum agent_protocol agent_protocol_of(struct weir_view datagram)
{
    struct weir_cursor c = weir_cursor_of(datagram);
    switch (weir_cursor_u16(&c)) {
    case 1: return AGENT_PROTOCOL_netflow1;
    case 5: return AGENT_PROTOCOL_netflow5;
    case 7: return AGENT_PROTOCOL_netflow7;
    case 9: return AGENT_PROTOCOL_netflow9;
    case 10: return AGENT_PROTOCOL_ipfix;
    case 0: return weir_cursor_u16(&c) == SFLOW_VERSION ? AGENT_PROTOCOL_sflow5 : AGENT_PROTOCOL_unknown;
    default: return AGENT_PROTOCOL_unknown;
    }
}

static enum agent_refusal decode_as(struct agent_decoder *decoder, enum agent_protocol protocol,
                                    const struct weir_ip *exporter, struct weir_view datagram, int64_t received_ms)
{
    switch (protocol) {
    case AGENT_PROTOCOL_netflow5: return agent_netflow5_decode(decoder, exporter, datagram, received_ms, false);
    case AGENT_PROTOCOL_netflow1: return agent_netflow1_decode(decoder, exporter, datagram, received_ms);
    case AGENT_PROTOCOL_netflow7: return agent_netflow5_decode(decoder, exporter, datagram, received_ms, true);
    case AGENT_PROTOCOL_netflow9: return agent_netflow9_decode(decoder, exporter, datagram, received_ms);
    case AGENT_PROTOCOL_ipfix: return agent_ipfix_decode(decoder, exporter, datagram, received_ms);
    case AGENT_PROTOCOL_sflow5: return agent_sflow5_decode(decoder, exporter, datagram, received_ms);
    default: return datagram.size < 4 ? AGENT_REFUSAL_short : AGENT_REFUSAL_version;
    }
}

enum agent_refusal agent_decode(struct agent_decoder *decoder, const struct agent_peer *peer, struct weir_view datagram,
                                int64_t received_ms)
{
    enum agent_protocol protocol = agent_protocol_of(datagram);
    __builtin_prefetch(datagram.data + datagram.size - (datagram.size > 0)); /* agent_repeats_take will want it */
    decoder->session =
        protocol == AGENT_PROTOCOL_sflow5 ? 0 : peer->session; /* a sub-agent is one, whatever its port */
    agent_count(decoder, AGENT_INPUT_datagrams_netflow5 + protocol, 1);
    agent_count(decoder, AGENT_INPUT_datagram_bytes_netflow5 + protocol, datagram.size);
    enum agent_refusal refusal = decode_as(decoder, protocol, &peer->ip, datagram, received_ms);
    if (refusal == AGENT_REFUSAL_NONE) return refusal;
    agent_count(decoder, agent_input_refused(protocol, refusal), 1);
    decoder->refused_known = decoder->blamed;
    decoder->blamed = false;
    return refusal;
}

void agent_decoder_tick(struct agent_decoder *decoder, int64_t now_ms)
{
    for (struct agent_link *at = decoder->exporters.next; at != &decoder->exporters; at = at->next) {
        struct agent_exporter *exporter = AGENT_LINKED(at, struct agent_exporter, by_age);
        for (struct agent_domain *domain = exporter->domains; domain != NULL; domain = domain->next)
            agent_domain_settle(decoder, domain, now_ms);
        agent_skew_take(exporter);
        for (struct agent_domain *domain = exporter->domains; domain != NULL; domain = domain->next) {
            agent_domain_describe(domain);
            agent_gather_report(decoder->gather, domain->stream);
        }
    }
    agent_park_expire(decoder, now_ms);
    if (now_ms < decoder->next_expiry_ms) return;
    decoder->next_expiry_ms = now_ms + AGENT_EXPIRY_MS;
    agent_template_expire(decoder, now_ms);
}

uint64_t agent_decoder_learned_version(const struct agent_decoder *decoder)
{
    return decoder->learned_version;
}

void agent_decoder_socket_drops(struct agent_decoder *decoder, uint64_t datagrams)
{
    agent_count(decoder, AGENT_INPUT_socket_drops, datagrams);
    enum { SHARED_AMONG = 64 };
    struct agent_domain *heard[SHARED_AMONG];
    uint64_t count = 0;
    for (struct agent_link *at = decoder->exporters.prev; at != &decoder->exporters && count < SHARED_AMONG;
         at = at->prev) {
        struct agent_exporter *exporter = AGENT_LINKED(at, struct agent_exporter, by_age);
        if (exporter->domains != NULL) heard[count++] = exporter->domains;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t share = datagrams / count + (i < datagrams % count);
        if (share > 0) agent_domain_lose(decoder, heard[i], &(struct weir_loss){.socket_drops = share});
    }
}

bool agent_decoder_refused_known(const struct agent_decoder *decoder)
{
    return decoder->refused_known;
}

const struct agent_decode_counts *agent_decoder_counts(const struct agent_decoder *decoder)
{
    return &decoder->counts;
}

/** Add what another session of the same source did; what the latest of them said counts. */
static void merge_stat(struct agent_exporter_stat *stat, const struct agent_domain *domain)
{
    stat->templates += domain->template_count;
    stat->datagrams += domain->datagrams;
    stat->flows += domain->flows;
    weir_loss_add(&stat->loss, &domain->loss);
}

/** The one of the first @count of @stats, all of one exporter, that is about the source and protocol of @domain. */
static struct agent_exporter_stat *stat_of(struct agent_exporter_stat *stats, size_t count,
                                           const struct agent_domain *domain)
{
    for (size_t i = 0; i < count; i++) {
        if (stats[i].source.domain == domain->id && stats[i].protocol == agent_protocol_wire(domain->protocol) &&
            weir_ip_equal(&stats[i].source.exporter, &domain->stream->source.exporter))
            return &stats[i];
    }
    return NULL;
}

size_t agent_decoder_exporters(const struct agent_decoder *decoder, struct agent_exporter_stat *out, size_t most)
{
    size_t count = 0;
    for (struct agent_link *at = decoder->exporters.next; at != &decoder->exporters; at = at->next) {
        const struct agent_exporter *exporter = AGENT_LINKED(at, struct agent_exporter, by_age);
        size_t first = count;
        for (const struct agent_domain *domain = exporter->domains; domain != NULL; domain = domain->next) {
            struct agent_exporter_stat *stat =
                first < most ? stat_of(out + first, (count < most ? count : most) - first, domain) : NULL;
            if (stat != NULL) {
                merge_stat(stat, domain);
                continue;
            }
            if (count++ >= most) continue;
            out[count - 1] = (struct agent_exporter_stat){
                .source = domain->stream->source,
                .sender = exporter->ip,
                .protocol = agent_protocol_wire(domain->protocol),
                .sampling_origin = domain->last.origin,
                .sampling_one_in = domain->last.one_in,
                .templates = domain->template_count,
                .datagrams = domain->datagrams,
                .flows = domain->flows,
                .loss = domain->loss,
                .samples = agent_samples_sums(domain),
                .last_heard_ms = domain->heard_ms,
                .last_export_ms = domain->export_ms,
                .has_skew = domain->export_ms != 0 && exporter->skew.taken > 0,
                .skew_ms = exporter->skew.median_ms,
            };
        }
    }
    return count;
}
