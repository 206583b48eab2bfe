/**
 * Datagrams that come twice, byte for byte: a network that doubles them, a mirrored port, a relay with two paths. The
 * prints of a source's last datagrams tell such a repetition from an exporter that restarted and uses a number again
 * (docs/decisions/0023).
 */
#ifndef WEIR_AGENT_DECODE_REPEAT_H
#define WEIR_AGENT_DECODE_REPEAT_H

#include "agent/decode/sequence.h"
#include "common/base/bytes.h"

/** Zero it to begin, and to begin anew. */
struct agent_repeats {
    uint32_t newest; /* greatest sequence number so far */
    uint32_t taken;  /* prints, ever */
    uint64_t prints[AGENT_SEQUENCE_WINDOW];
};

/**
 * Take note of a datagram that has @number in its header. True: it is one of the last AGENT_SEQUENCE_WINDOW again. They
 * are only asked when the number is not ahead of all before.
 */
bool agent_repeats_take(struct agent_repeats *repeats, uint32_t number, struct weir_view datagram);

#endif
