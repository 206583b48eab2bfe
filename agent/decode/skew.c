/**
 * The clocks of exporters against ours. The median of half a minute: datagrams that waited somewhere do not move it. The
 * headers of NetFlow v9 and IPFIX have whole seconds, so it is half a second too low for them on average; sFlow has no
 * wall clock.
 */
#include "agent/decode/decoder.h"

static int64_t median(const int64_t *values, uint32_t count)
{
    int64_t sorted[AGENT_SKEWS];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;
        for (; at > 0 && sorted[at - 1] > values[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = values[i];
    }
    return sorted[count / 2];
}

void agent_skew_take(struct agent_exporter *exporter)
{
    const struct agent_domain *domain = exporter->domains; /* the last heard */
    struct agent_skew *skew = &exporter->skew;
    if (domain == NULL || domain->export_ms == 0 || domain->heard_ms == skew->heard_ms) return;
    skew->heard_ms = domain->heard_ms;
    skew->ms[skew->taken++ % AGENT_SKEWS] = domain->export_ms - domain->heard_ms;
    skew->median_ms = median(skew->ms, skew->taken < AGENT_SKEWS ? skew->taken : AGENT_SKEWS);
}
