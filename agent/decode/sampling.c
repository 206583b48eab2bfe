/** Where a flow's sampling rate comes from, best first: the operator, the record, its sampler, its exporter. */
#include "agent/decode/decoder.h"

#include "common/base/mem.h"

#include <math.h>

/** Samplers are a matter of (exporter, domain): whichever session told of them. */
static bool is_of(const struct agent_sampler *sampler, const struct agent_domain *domain)
{
    return sampler->domain == domain->id && sampler->protocol == domain->protocol;
}

/** The rate of the one sampler that the domain has; 0 when it has none or several. */
static uint32_t lone_sampler(const struct agent_exporter *exporter, const struct agent_domain *domain)
{
    uint32_t one_in = 0;
    for (uint32_t i = 0; i < exporter->sampler_count; i++) {
        if (!is_of(&exporter->samplers[i], domain)) continue;
        if (one_in != 0 && exporter->samplers[i].one_in != one_in) return 0;
        one_in = exporter->samplers[i].one_in;
    }
    return one_in;
}

static struct agent_rate resolve(const struct agent_exporter *exporter, const struct agent_domain *domain)
{
    uint32_t lone = lone_sampler(exporter, domain);
    if (domain->override_one_in != 0) return (struct agent_rate){domain->override_one_in, WEIR_SAMPLING_OPERATOR};
    if (domain->wide_one_in != 0) return (struct agent_rate){domain->wide_one_in, WEIR_SAMPLING_EXPORTER};
    if (lone != 0) return (struct agent_rate){lone, WEIR_SAMPLING_SAMPLER};
    if (exporter->wide_one_in != 0) return (struct agent_rate){exporter->wide_one_in, WEIR_SAMPLING_EXPORTER};
    if (domain->default_one_in != 0) return (struct agent_rate){domain->default_one_in, WEIR_SAMPLING_DEFAULT};
    return (struct agent_rate){0, WEIR_SAMPLING_UNKNOWN};
}

void agent_sampling_resolve(struct agent_exporter *exporter)
{
    for (struct agent_domain *domain = exporter->domains; domain != NULL; domain = domain->next)
        domain->rate = resolve(exporter, domain);
}

static struct agent_sampler *find_sampler(const struct agent_domain *domain, uint64_t id)
{
    const struct agent_exporter *exporter = domain->exporter;
    for (uint32_t i = 0; i < exporter->sampler_count; i++) {
        if (is_of(&exporter->samplers[i], domain) && exporter->samplers[i].id == id) return &exporter->samplers[i];
    }
    return NULL;
}

static struct agent_sampler *add_sampler(struct agent_decoder *decoder, struct agent_domain *domain, uint64_t id)
{
    struct agent_exporter *exporter = domain->exporter;
    if (exporter->sampler_count >= decoder->conf.most_samplers) return NULL;
    if (exporter->sampler_count == exporter->sampler_capacity) {
        uint32_t capacity = exporter->sampler_capacity == 0 ? 4 : exporter->sampler_capacity * 2;
        struct agent_sampler *more = weir_realloc(exporter->samplers, capacity * sizeof *more);
        if (more == NULL) return NULL;
        exporter->samplers = more;
        exporter->sampler_capacity = capacity;
    }
    struct agent_sampler *sampler = &exporter->samplers[exporter->sampler_count++];
    *sampler = (struct agent_sampler){.protocol = domain->protocol, .domain = domain->id, .id = id};
    return sampler;
}

void agent_sampling_learn(struct agent_decoder *decoder, struct agent_domain *domain, const uint64_t *id,
                          uint32_t one_in)
{
    struct agent_exporter *exporter = domain->exporter;
    if (id == NULL) {
        if (domain->wide_one_in == one_in && exporter->wide_one_in == one_in) return;
        for (struct agent_domain *each = exporter->domains; each != NULL; each = each->next) {
            if (agent_domain_same(each, domain)) each->wide_one_in = one_in;
        }
        exporter->wide_one_in = one_in;
    } else {
        struct agent_sampler *sampler = find_sampler(domain, *id);
        if (sampler == NULL) sampler = add_sampler(decoder, domain, *id);
        if (sampler == NULL) {
            agent_count(decoder, AGENT_INPUT_samplers_evicted, 1);
            return;
        }
        if (sampler->one_in == one_in) return;
        sampler->one_in = one_in;
    }
    decoder->learned_version++;
    agent_sampling_resolve(exporter);
}

void agent_sampling_forget(struct agent_domain *domain)
{
    struct agent_exporter *exporter = domain->exporter;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < exporter->sampler_count; i++) {
        if (!is_of(&exporter->samplers[i], domain)) exporter->samplers[kept++] = exporter->samplers[i];
    }
    exporter->sampler_count = kept;
}

double agent_sampling_of_interval(uint64_t interval, uint64_t space, bool has_space)
{
    return has_space ? ((double)interval + (double)space) / (double)interval : (double)interval;
}

uint64_t agent_sampling_fill(struct weir_batch *batch, uint32_t count, struct agent_rate rate)
{
    if (rate.one_in == 0) return 0;
    uint32_t *one_in = (uint32_t *)weir_batch_touch(batch, WEIR_FIELD_sampling_one_in) + batch->count;
    uint8_t *origin = (uint8_t *)weir_batch_touch(batch, WEIR_FIELD_sampling_origin) + batch->count;
    for (uint32_t i = 0; i < count; i++)
        one_in[i] = rate.one_in;
    memset(origin, rate.origin, count);
    return 1ull << WEIR_FIELD_sampling_one_in | 1ull << WEIR_FIELD_sampling_origin;
}

static uint32_t clamp_u32(uint64_t value)
{
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

/** What a record says itself, or its sampler; else what is known of the domain. */
static struct agent_rate rate_of_row(const struct agent_domain *domain, const struct agent_plan *plan,
                                     const struct agent_rows *rows, uint32_t row)
{
    uint64_t interval = 0;
    uint64_t space = 0;
    bool has_space = false;
    uint32_t of_sampler = 0;
    for (uint16_t op = plan->sample_at; op < plan->tail_at; op++) {
        uint64_t value = agent_plan_value(plan, rows, op, row);
        switch (plan->ops[op].kind) {
        case AGENT_OP_SAMPLE_ONE_IN:
            if (value != 0) return (struct agent_rate){clamp_u32(value), WEIR_SAMPLING_RECORD};
            break;
        case AGENT_OP_SAMPLE_INTERVAL: interval = value; break;
        case AGENT_OP_SAMPLE_SPACE:
            space = value;
            has_space = true;
            break;
        case AGENT_OP_SAMPLE_SELECTOR: {
            const struct agent_sampler *sampler = find_sampler(domain, value);
            if (sampler != NULL) of_sampler = sampler->one_in;
            break;
        }
        default: break;
        }
    }
    if (interval != 0) {
        double rate = round(agent_sampling_of_interval(interval, space, has_space));
        return (struct agent_rate){rate >= UINT32_MAX ? UINT32_MAX : (uint32_t)rate, WEIR_SAMPLING_RECORD};
    }
    if (of_sampler != 0) return (struct agent_rate){of_sampler, WEIR_SAMPLING_SAMPLER};
    return domain->rate;
}

uint64_t agent_sampling_run(struct agent_domain *domain, const struct agent_plan *plan, const struct agent_rows *rows,
                            struct weir_batch *batch)
{
    bool by_row = plan->sample_at < plan->tail_at && domain->rate.origin != WEIR_SAMPLING_OPERATOR;
    domain->last = domain->rate;
    if (!by_row) return agent_sampling_fill(batch, rows->count, domain->rate);

    uint32_t *one_in = (uint32_t *)weir_batch_touch(batch, WEIR_FIELD_sampling_one_in) + batch->count;
    uint8_t *origin = (uint8_t *)weir_batch_touch(batch, WEIR_FIELD_sampling_origin) + batch->count;
    for (uint32_t i = 0; i < rows->count; i++) {
        domain->last = rate_of_row(domain, plan, rows, i);
        one_in[i] = domain->last.one_in;
        origin[i] = (uint8_t)domain->last.origin;
    }
    return 1ull << WEIR_FIELD_sampling_one_in | 1ull << WEIR_FIELD_sampling_origin;
}
