#include "agent/refusals.h"

#include "common/base/hash.h"

enum { WAYS = 4 }; /* places that an address may have */

_Static_assert((int)AGENT_REFUSAL_COUNT <= WEIR_DROPS_MOST, "a report holds all of them");
_Static_assert((int)AGENT_REFUSED_BYTES == WEIR_DROP_HEAD, "an example is one in a report, too");

static int64_t last_ms(const struct agent_refused_of *of)
{
    const struct agent_refused *newest = agent_refused_example(of, 0);
    return newest == NULL ? INT64_MIN : newest->at_ms;
}

/** The place of an address, made when new. */
static struct agent_refused_of *place_of(struct agent_refusals *refusals, const struct weir_ip *ip)
{
    size_t sets = AGENT_REFUSALS_PLACES / WAYS;
    struct agent_refused_of *set = &refusals->places[weir_hash64(ip, sizeof *ip, 0) % sets * WAYS];
    struct agent_refused_of *oldest = &set[0];
    for (int i = 0; i < WAYS; i++) {
        if (set[i].total > 0 && weir_ip_equal(&set[i].ip, ip)) return &set[i];
        if (last_ms(&set[i]) < last_ms(oldest)) oldest = &set[i];
    }
    if (oldest->total > 0) refusals->forgotten++;
    for (int i = 0; i < AGENT_REFUSAL_COUNT; i++)
        refusals->untold += oldest->untold[i].count;
    *oldest = (struct agent_refused_of){.ip = *ip};
    return oldest;
}

const struct agent_refused_of *agent_refusals_note(struct agent_refusals *refusals, const struct weir_ip *ip,
                                                   struct agent_refused *refused, struct weir_view datagram, bool told)
{
    struct agent_refused_of *of = place_of(refusals, ip);
    refused->size = (uint32_t)datagram.size;
    refused->excerpt = (uint8_t)(datagram.size < AGENT_REFUSED_BYTES ? datagram.size : AGENT_REFUSED_BYTES);
    if (refused->excerpt > 0) memcpy(refused->head, datagram.data, refused->excerpt);
    of->last[of->total++ % AGENT_REFUSED_EXAMPLES] = *refused;
    of->by[refused->refusal]++;
    if (told) return of;
    struct agent_untold *untold = &of->untold[refused->refusal];
    if (untold->count++ == 0) untold->first_ms = refused->at_ms;
    untold->last_ms = refused->at_ms;
    if (of->untold_since_ms == 0) of->untold_since_ms = refused->at_ms;
    of->untold_last_ms = refused->at_ms;
    of->untold_protocol = refused->protocol;
    return of;
}

struct agent_refused_of *agent_refusals_due(struct agent_refusals *refusals, int64_t before_ms, int64_t now_ms)
{
    struct agent_refused_of *due = NULL;
    for (size_t i = 0; i < AGENT_REFUSALS_PLACES; i++) {
        struct agent_refused_of *of = &refusals->places[i];
        int64_t since_ms = of->untold_since_ms;
        if (since_ms == 0 || (since_ms > before_ms && since_ms <= now_ms)) continue;
        if (due == NULL || since_ms < due->untold_since_ms) due = of;
    }
    return due;
}

void agent_refused_untold(const struct agent_refused_of *of, struct weir_drops *drops)
{
    drops->count = 0;
    for (int i = 0; i < AGENT_REFUSAL_COUNT; i++) {
        const struct agent_untold *untold = &of->untold[i];
        if (untold->count == 0) continue;
        struct weir_drop drop = {.reason = agent_refused_reason((enum agent_refusal)i),
                                 .count = untold->count,
                                 .first_ms = untold->first_ms,
                                 .last_ms = untold->last_ms};
        const struct agent_refused *newest = agent_refused_example(of, 0);
        for (uint32_t back = 0; newest != NULL && (int)newest->refusal != i; back++)
            newest = agent_refused_example(of, back);
        if (newest != NULL) {
            drop.example_ms = newest->at_ms;
            drop.bytes = newest->size;
            drop.head_size = newest->excerpt;
            memcpy(drop.head, newest->head, newest->excerpt);
        }
        (void)weir_drops_add(drops, &drop); /* fewer reasons than places */
    }
}

void agent_refused_tell(struct agent_refused_of *of)
{
    memset(of->untold, 0, sizeof of->untold);
    of->untold_since_ms = 0;
}

const struct agent_refused *agent_refused_example(const struct agent_refused_of *of, uint32_t back)
{
    if (back >= of->total || back >= AGENT_REFUSED_EXAMPLES) return NULL;
    return &of->last[(of->total - 1 - back) % AGENT_REFUSED_EXAMPLES];
}
