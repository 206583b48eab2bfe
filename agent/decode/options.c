/** Options data: what exporters say about themselves. Here: sampling, and when they started. */
#include "agent/decode/decoder.h"

#include <math.h>

enum {
    IE_SAMPLING_INTERVAL = 34,
    IE_SAMPLER_ID = 48,
    IE_SAMPLER_RANDOM_INTERVAL = 50,
    IE_SYSTEM_INIT_MILLISECONDS = 160,
    IE_SELECTOR_ID = 302,
    IE_SELECTOR_ALGORITHM = 304,
    IE_SAMPLING_PACKET_INTERVAL = 305,
    IE_SAMPLING_PACKET_SPACE = 306,
    IE_SAMPLING_SIZE = 309,
    IE_SAMPLING_POPULATION = 310,
    IE_SAMPLING_PROBABILITY = 311,
};
enum { ALGORITHM_RANDOM_N_OF_N = 3 }; /* RFC 5477 8.2.1: size out of population, whatever else is in the record */

struct sampling {
    bool has_id;
    uint64_t id;
    uint64_t algorithm;
    uint64_t one_in;
    uint64_t interval;
    uint64_t space;
    bool has_space;
    uint64_t size;
    uint64_t population;
    double probability;
};

static double probability_of(struct weir_view value)
{
    double p = 0;
    if (value.size == 8) {
        uint64_t bits = weir_load_u64be(value.data);
        memcpy(&p, &bits, sizeof p);
    } else if (value.size == 4) {
        uint32_t bits = weir_load_u32be(value.data);
        float single;
        memcpy(&single, &bits, sizeof single);
        p = (double)single;
    }
    return p;
}

static void take(struct agent_domain *domain, struct sampling *sampling, uint16_t element, struct weir_view value)
{
    if (value.size < 1 || value.size > 8) return;
    uint64_t number = weir_load_ube(value.data, value.size);
    switch (element) {
    case IE_SAMPLER_ID:
    case IE_SELECTOR_ID:
        sampling->has_id = true;
        sampling->id = number;
        break;
    case IE_SAMPLING_INTERVAL:
    case IE_SAMPLER_RANDOM_INTERVAL:
        if (number != 0) sampling->one_in = number;
        break;
    case IE_SELECTOR_ALGORITHM: sampling->algorithm = number; break;
    case IE_SAMPLING_PACKET_INTERVAL: sampling->interval = number; break;
    case IE_SAMPLING_PACKET_SPACE:
        sampling->space = number;
        sampling->has_space = true;
        break;
    case IE_SAMPLING_SIZE: sampling->size = number; break;
    case IE_SAMPLING_POPULATION: sampling->population = number; break;
    case IE_SAMPLING_PROBABILITY: sampling->probability = probability_of(value); break;
    case IE_SYSTEM_INIT_MILLISECONDS: domain->boot_ms = (int64_t)(number & INT64_MAX); break;
    default: break;
    }
}

/** One packet in how many, by the most exact of what the record said; 0 when it said nothing. */
static uint32_t one_in(const struct sampling *s)
{
    double rate = 0;
    bool has_population = s->size != 0 && s->population >= s->size;
    if (s->interval != 0 && !(has_population && s->algorithm == ALGORITHM_RANDOM_N_OF_N)) {
        rate = agent_sampling_of_interval(s->interval, s->space, s->has_space);
    } else if (has_population) {
        rate = (double)s->population / (double)s->size;
    } else if (s->probability > 0 && s->probability <= 1) {
        rate = 1 / s->probability;
    } else {
        rate = (double)s->one_in;
    }
    rate = round(rate);
    return rate >= UINT32_MAX ? UINT32_MAX : (uint32_t)rate;
}

void agent_options_record(struct agent_decoder *decoder, struct agent_domain *domain,
                          const struct agent_template *template, struct weir_cursor *record)
{
    struct sampling sampling = {0};
    for (uint16_t i = 0; i < template->spec_count; i++) {
        const struct agent_spec *spec = &template->specs[i];
        size_t size = spec->size;
        if (size == AGENT_VARIABLE) {
            size = weir_cursor_u8(record);
            if (size == 255) size = weir_cursor_u16(record);
        }
        const uint8_t *value = weir_cursor_take(record, size);
        if (value == NULL) return;
        if (spec->enterprise == 0) take(domain, &sampling, spec->element, weir_view_of(value, size));
    }
    uint32_t rate = one_in(&sampling);
    if (rate != 0) agent_sampling_learn(decoder, domain, sampling.has_id ? &sampling.id : NULL, rate);
}
