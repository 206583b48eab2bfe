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

enum { AGENT_SEQUENCE_GAPS = 32, AGENT_SEQUENCE_WINDOW = 64, AGENT_SEQUENCE_SETTLE_MS = 5000 };

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

/**
 * Which records the sequence numbers of an IPFIX source count. RFC 7011 3.1: those of the messages before. There are
 * exporters (softflowd 1.1.0) that count those of the message itself, too. Two messages of different size tell: the
 * step between their numbers is the size of the first, or of the second; while all have one size it makes no difference.
 * While messages contradict what is thought, losses are withheld.
 * Zero it to begin.
 */
struct agent_numbering {
    bool own;         /* a message's own records are counted */
    bool known;       /* a message has said so */
    bool after_first; /* these are of the message before: */
    bool uncertain;
    uint8_t contrary; /* messages that said the opposite, one after the other */
    uint32_t number;
    uint32_t units;
    uint64_t withheld; /* units */
};

/**
 * Take note of a message. Rewrites @order, so that its first number is that of its first record; false: it cannot be
 * placed. On true *switched says that what was thought before was wrong: @sequence begins anew with @order.
 */
bool agent_numbering_step(struct agent_numbering *numbering, struct agent_sequence *sequence, struct agent_order *order,
                          bool *switched);

/** What may be said of @lost units: all that are known by now, or none yet. */
uint64_t agent_numbering_release(struct agent_numbering *numbering, uint64_t lost);

#endif
