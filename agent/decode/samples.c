/**
 * The data sources of sFlow agents, mostly interfaces: each numbers its own samples, says how many packets it chose
 * among (sample_pool) and how many samples it had to drop, and counts its octets.
 *
 * So samples that are missing are counted one by one, whatever the datagrams held that were lost; the rate that a
 * source says can be checked against its pool; and the volumes scaled from samples against its counters.
 */
#include "agent/decode/decoder.h"

#include "common/base/mem.h"

enum {
    CAPACITY_LEAST = 4,
    AHEAD_MOST = 1 << 16, /* more at once is no loss, it is another count */
    LATE_MOST = 1024,     /* what is further behind began anew */
    DROPS_MOST = 1 << 24, /* the same, of drops */
    DELTA_MOST_BITS = 31, /* of a pool that only grows, modulo 2^32 */
};

/** Numbers of one kind of samples of a source. */
struct run {
    bool known;
    uint32_t next;
    uint32_t missing; /* since opened_ms; they may be late */
};

struct agent_data_source {
    uint32_t type; /* sFlowDataSource: 0 interface, 1 VLAN, 2 physical entity; plus 1, so that 0 is a free place */
    uint32_t index;
    struct run flows;
    struct run discards;
    int64_t opened_ms;
    uint32_t gaps;  /* of the domain's datagrams when its last sample came */
    uint32_t pool;  /* of its last flow sample */
    uint32_t drops; /* the same */
    uint32_t discard_drops;
    bool egress;  /* it samples what goes out, too */
    bool counted; /* a counter sample came */
    uint64_t in_octets;
    uint64_t out_octets;
    uint64_t sampled_in; /* octets since the last counter sample, scaled */
    uint64_t sampled_out;
};

struct agent_samples {
    struct agent_data_source *places; /* open addressing */
    uint32_t capacity;                /* a power of two */
    uint32_t count;
    uint32_t gaps;    /* in the numbers of datagrams, also those that were filled later */
    bool repeated;    /* the datagram that is being read came before: its samples fill no gap */
    uint64_t missing; /* by all sources' runs */
    struct agent_sample_sums sums;
};

static struct agent_data_source *place_of(struct agent_data_source *places, uint32_t capacity, uint32_t type,
                                          uint32_t index)
{
    uint32_t at = (index ^ type << 24) * 0x9e3779b1u;
    for (at ^= at >> 16;; at++) {
        struct agent_data_source *place = &places[at & (capacity - 1)];
        if (place->type == 0 || (place->type == type && place->index == index)) return place;
    }
}

static bool grow(struct agent_samples *samples)
{
    uint32_t capacity = samples->capacity == 0 ? CAPACITY_LEAST : samples->capacity * 2;
    struct agent_data_source *places = weir_calloc(capacity, sizeof *places);
    if (places == NULL) return false;
    for (uint32_t i = 0; i < samples->capacity; i++) {
        const struct agent_data_source *source = &samples->places[i];
        if (source->type != 0) *place_of(places, capacity, source->type, source->index) = *source;
    }
    weir_free(samples->places);
    samples->places = places;
    samples->capacity = capacity;
    return true;
}

/** The data source of a sample, made when new. NULL without room for it. */
static struct agent_data_source *source_of(struct agent_decoder *decoder, struct agent_domain *domain,
                                           const struct agent_sample_head *head)
{
    struct agent_samples *samples = domain->samples;
    if (samples == NULL) return NULL;
    uint32_t type = head->source_type < UINT32_MAX ? head->source_type + 1 : UINT32_MAX;
    struct agent_data_source *source = NULL;
    if (samples->capacity > 0) source = place_of(samples->places, samples->capacity, type, head->source_index);
    if (source != NULL && source->type != 0) return source;

    bool full = decoder->data_source_count >= decoder->conf.most_data_sources ||
                samples->count >= decoder->conf.most_data_sources_each;
    bool crowded = samples->count + 1 > samples->capacity / 4 * 3;
    if (full || (crowded && !grow(samples))) {
        agent_count(decoder, AGENT_INPUT_data_sources_ignored, 1);
        return NULL;
    }
    source = place_of(samples->places, samples->capacity, type, head->source_index);
    source->type = type;
    source->index = head->source_index;
    source->gaps = samples->gaps;
    samples->count++;
    decoder->data_source_count++;
    return source;
}

/* ---- numbers ---- */

static void drop(struct agent_decoder *decoder, struct agent_samples *samples, uint64_t count)
{
    samples->sums.dropped += count;
    agent_count(decoder, AGENT_INPUT_samples_dropped, count);
}

/** Take note of a sample's number. Returns how many the source has taken since its last one; 0: that cannot be said. */
static uint32_t step(struct agent_decoder *decoder, struct agent_samples *samples, struct agent_data_source *source,
                     struct run *run, uint32_t number, int64_t now_ms)
{
    int32_t ahead = (int32_t)(number - run->next);
    if (!run->known || ahead > AHEAD_MOST || ahead < -LATE_MOST) {
        run->known = true;
        run->next = number + 1;
        return 0;
    }
    if (ahead < 0) {
        if (run->missing == 0 || samples->repeated) return 0;
        run->missing--;
        samples->missing--;
        return 0;
    }
    run->next = number + 1;
    if (ahead > 0 && source->gaps == samples->gaps) {
        drop(decoder, samples, (uint32_t)ahead); /* no datagram is missing: they never left the exporter */
    } else if (ahead > 0) {
        if (source->flows.missing + source->discards.missing == 0) source->opened_ms = now_ms;
        run->missing += (uint32_t)ahead;
        samples->missing += (uint32_t)ahead;
    }
    return (uint32_t)ahead + 1;
}

/** Count what is missing from all sources as lost, where it is so since @before_ms. */
static void settle(struct agent_decoder *decoder, struct agent_domain *domain, int64_t before_ms)
{
    struct agent_samples *samples = domain->samples;
    uint64_t lost = 0;
    for (uint32_t i = 0; i < samples->capacity && samples->missing > 0; i++) {
        struct agent_data_source *source = &samples->places[i];
        uint32_t missing = source->flows.missing + source->discards.missing;
        if (missing == 0 || source->opened_ms > before_ms) continue;
        lost += missing;
        samples->missing -= missing;
        source->flows.missing = source->discards.missing = 0;
    }
    if (lost > 0) agent_domain_lose(decoder, domain, &(struct weir_loss){.sequence_lost = lost});
}

void agent_samples_settle(struct agent_decoder *decoder, struct agent_domain *domain, int64_t now_ms)
{
    if (domain->samples == NULL || domain->samples->missing == 0) return;
    settle(decoder, domain, now_ms - AGENT_SEQUENCE_SETTLE_MS);
}

void agent_samples_datagram(struct agent_decoder *decoder, struct agent_domain *domain, bool gap,
                            enum agent_arrival arrival)
{
    if (domain->samples == NULL) domain->samples = weir_calloc(1, sizeof *domain->samples);
    struct agent_samples *samples = domain->samples;
    if (samples == NULL) return;
    if (gap) samples->gaps++;
    samples->repeated = arrival == AGENT_ARRIVAL_DUPLICATE;
    if (arrival != AGENT_ARRIVAL_RESTART) return;
    settle(decoder, domain, INT64_MAX);
    for (uint32_t i = 0; i < samples->capacity; i++) {
        struct agent_data_source *source = &samples->places[i];
        source->flows.known = source->discards.known = source->counted = false;
    }
}

/* ---- samples ---- */

void agent_samples_flow(struct agent_decoder *decoder, struct agent_domain *domain,
                        const struct agent_sample_head *head, const struct weir_flow *flow, int64_t now_ms)
{
    struct agent_data_source *source = source_of(decoder, domain, head);
    if (source == NULL) return;
    struct agent_samples *samples = domain->samples;
    uint32_t taken = step(decoder, samples, source, &source->flows, head->sequence, now_ms);
    source->gaps = samples->gaps;
    uint32_t pool = head->pool - source->pool; /* both only grow, modulo 2^32 */
    uint32_t drops = head->drops - source->drops;
    if (taken > 0 && pool >> DELTA_MOST_BITS == 0) {
        samples->sums.pool += pool;
        samples->sums.taken += taken;
    }
    if (taken > 0 && drops < DROPS_MOST) drop(decoder, samples, drops);
    if (head->sequence + 1 == source->flows.next) { /* the newest */
        source->pool = head->pool;
        source->drops = head->drops;
    }

    uint64_t octets = flow->bytes * (flow->sampling_one_in == 0 ? 1 : flow->sampling_one_in);
    /* Without a branch: which way a packet goes is anybody's guess. */
    bool egress = (flow->if_out == head->source_index) & (flow->if_in != head->source_index);
    uint64_t out_octets = octets & (0 - (uint64_t)egress);
    source->egress |= egress;
    source->sampled_out += out_octets;
    source->sampled_in += octets - out_octets;
}

void agent_samples_discard(struct agent_decoder *decoder, struct agent_domain *domain,
                           const struct agent_sample_head *head, int64_t now_ms)
{
    struct agent_data_source *source = source_of(decoder, domain, head);
    if (source == NULL) return;
    uint32_t taken = step(decoder, domain->samples, source, &source->discards, head->sequence, now_ms);
    source->gaps = domain->samples->gaps;
    uint32_t drops = head->drops - source->discard_drops;
    if (taken > 0 && drops < DROPS_MOST) drop(decoder, domain->samples, drops);
    if (head->sequence + 1 == source->discards.next) source->discard_drops = head->drops;
}

void agent_samples_counters(struct agent_decoder *decoder, struct agent_domain *domain,
                            const struct agent_sample_head *head, uint64_t in_octets, uint64_t out_octets)
{
    struct agent_data_source *source = source_of(decoder, domain, head);
    if (source == NULL) return;
    struct agent_sample_sums *sums = &domain->samples->sums;
    bool grew = source->counted && in_octets >= source->in_octets && out_octets >= source->out_octets;
    if (grew && source->flows.known) { /* others are not sampled: nothing is to be expected of them */
        sums->counted_octets += in_octets - source->in_octets;
        sums->sampled_octets += source->sampled_in;
        if (source->egress) {
            sums->counted_octets += out_octets - source->out_octets;
            sums->sampled_octets += source->sampled_out;
        }
    }
    source->counted = true;
    source->in_octets = in_octets;
    source->out_octets = out_octets;
    source->sampled_in = source->sampled_out = 0;
}

void agent_samples_lose_datagrams(struct agent_decoder *decoder, struct agent_domain *domain, uint64_t units)
{
    domain->samples->sums.datagrams_lost += units;
    agent_count(decoder, AGENT_INPUT_sflow_datagrams_lost, units);
}

struct agent_sample_sums agent_samples_sums(const struct agent_domain *domain)
{
    return domain->samples == NULL ? (struct agent_sample_sums){0} : domain->samples->sums;
}

void agent_samples_destroy(struct agent_decoder *decoder, struct agent_domain *domain)
{
    if (domain->samples == NULL) return;
    settle(decoder, domain, INT64_MAX);
    decoder->data_source_count -= domain->samples->count;
    weir_free(domain->samples->places);
    weir_free(domain->samples);
    domain->samples = NULL;
}
