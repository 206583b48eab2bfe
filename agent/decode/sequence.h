/**
 * Sequence numbers of one source: what is missing, and what only came late, twice or after a restart.
 *
 * A jump forward is a gap; what comes late fills it; a gap that stayed open for 64 datagrams or 5 seconds is lost.
 * The unit is the protocol's: flows in v5, datagrams in v9 and sFlow, data records in IPFIX.
 */
#ifndef WEIR_AGENT_DECODE_SEQUENCE_H
#define WEIR_AGENT_DECODE_SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

enum { AGENT_SEQUENCE_GAPS = 12, AGENT_SEQUENCE_WINDOW = 64, AGENT_SEQUENCE_SETTLE_MS = 5000 };

struct agent_gap {
    uint32_t from;
    uint32_t units;
    uint32_t seen; /* datagrams before it */
    int64_t opened_ms;
};

/** Zero it to begin. */
struct agent_sequence {
    bool known;     /* a datagram came before */
    bool uncertain; /* the last datagrams held records that could not be counted */
    uint32_t next;  /* expected */
    uint32_t seen;  /* datagrams */
    int64_t newest; /* greatest clock so far */
    uint32_t gap_count;
    struct agent_gap gaps[AGENT_SEQUENCE_GAPS]; /* oldest first */
};

/** What a datagram said about its order. */
struct agent_order {
    uint32_t first;       /* its sequence number */
    uint32_t units;       /* it advances by this much */
    bool units_uncertain; /* ... or by more: it holds records that cannot be counted without their template */
    int64_t clock; /* of the exporter, any unit that only grows while it runs: tells a restart from a repetition */
    int64_t now_ms;
};

enum agent_arrival { AGENT_ARRIVAL_IN_ORDER, AGENT_ARRIVAL_LATE, AGENT_ARRIVAL_DUPLICATE, AGENT_ARRIVAL_RESTART };

/** Take note of a datagram; adds the units that are now known to be lost to *lost. */
enum agent_arrival agent_sequence_step(struct agent_sequence *sequence, const struct agent_order *order,
                                       uint64_t *lost);

/** The exporter restarted, by another sign than its numbers: begin anew with the next datagram. Returns what was lost. */
uint64_t agent_sequence_restart(struct agent_sequence *sequence);

/** Settle gaps that are older than AGENT_SEQUENCE_SETTLE_MS; returns the units lost. */
uint64_t agent_sequence_settle(struct agent_sequence *sequence, int64_t now_ms);

#endif
