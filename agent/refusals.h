/**
 * What was refused of whom, and the last examples of it: for people who ask why. A table of fixed size that a thread
 * owns; when it is full, the address that was refused least recently gives way. It also remembers what no batch tells of:
 * refusals before anything was known of their source.
 */
#ifndef WEIR_AGENT_REFUSALS_H
#define WEIR_AGENT_REFUSALS_H

#include "agent/decode/count.h"

enum {
    AGENT_REFUSALS_PLACES = 256, /* addresses */
    AGENT_REFUSED_EXAMPLES = 4,  /* of one address */
    AGENT_REFUSED_BYTES = 64,    /* of one example */
};

/** Who is not allowed is denied before a decoder looks: NONE here. */
static inline enum weir_drop_reason agent_refused_reason(enum agent_refusal refusal)
{
    return refusal == AGENT_REFUSAL_NONE ? WEIR_DROP_denied : agent_refusal_reason(refusal);
}

/** A datagram or message that was refused. */
struct agent_refused {
    int64_t at_ms;
    enum agent_refusal refusal; /* NONE: the allow-list does not name the sender */
    enum agent_protocol protocol;
    uint32_t size;
    uint16_t port;   /* of the sender */
    uint8_t excerpt; /* bytes of @head */
    uint8_t head[AGENT_REFUSED_BYTES];
};

/** Refusals for one reason that no batch told of yet. */
struct agent_untold {
    uint64_t count;
    int64_t first_ms;
    int64_t last_ms;
};

struct agent_refused_of {
    struct weir_ip ip;
    uint64_t total; /* 0: a free place */
    uint64_t by[AGENT_REFUSAL_COUNT];
    struct agent_refused last[AGENT_REFUSED_EXAMPLES]; /* example n of all stands at n % AGENT_REFUSED_EXAMPLES */
    int64_t untold_since_ms;                           /* 0: all was told */
    int64_t untold_last_ms;
    enum agent_protocol untold_protocol; /* of the last */
    struct agent_untold untold[AGENT_REFUSAL_COUNT];
};

/** Zero it to begin. */
struct agent_refusals {
    struct agent_refused_of places[AGENT_REFUSALS_PLACES];
    uint64_t forgotten; /* addresses that gave way */
    uint64_t untold;    /* refusals that were forgotten with them */
};

/**
 * Take note of a refusal; @refused->excerpt and head are filled in here, from @datagram. @told: its source was known, and
 * a batch tells of it. Returns all that is known of the address, valid until the next note.
 */
const struct agent_refused_of *agent_refusals_note(struct agent_refusals *refusals, const struct weir_ip *ip,
                                                   struct agent_refused *refused, struct weir_view datagram, bool told);

/** The address that waits longest to be told of, if that is since @before_ms or longer, or in the future; else NULL. */
struct agent_refused_of *agent_refusals_due(struct agent_refusals *refusals, int64_t before_ms, int64_t now_ms);

/** What was not told of an address, with the examples that are still there. */
void agent_refused_untold(const struct agent_refused_of *of, struct weir_drops *drops);

/** It was told. */
void agent_refused_tell(struct agent_refused_of *of);

/** The last examples of an address, newest first: the one @back (0 ..) before the newest, or NULL. */
const struct agent_refused *agent_refused_example(const struct agent_refused_of *of, uint32_t back);

#endif
