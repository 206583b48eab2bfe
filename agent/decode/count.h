/**
 * What a listener and its decoder count: one row per counter in agent/counters_input.def, which is also a part of the
 * agent's table of metrics, so that folding them in is one addition per row.
 */
#ifndef WEIR_AGENT_DECODE_COUNT_H
#define WEIR_AGENT_DECODE_COUNT_H

#include "common/flow/drop.h"

/** Why a datagram, or the rest of it, was refused: the first reasons of common/flow/drop.def. */
#define AGENT_REFUSALS(X) \
    X(short) X(version) X(count) X(truncated) X(set_length) X(template) X(record) X(address) X(limit) X(memory)

enum agent_refusal {
    AGENT_REFUSAL_NONE = 0,
#define AGENT_REFUSAL_ENUM(name) AGENT_REFUSAL_##name = WEIR_DROP_##name,
    AGENT_REFUSALS(AGENT_REFUSAL_ENUM)
#undef AGENT_REFUSAL_ENUM
        AGENT_REFUSAL_COUNT
};

/** As a reason that batches carry. */
static inline enum weir_drop_reason agent_refusal_reason(enum agent_refusal refusal)
{
    return (enum weir_drop_reason)refusal;
}

/** The name of a refusal as in metrics ("set_length"), "none" for 0. Static memory. */
const char *agent_refusal_name(enum agent_refusal refusal);

/** Protocols in the order of the rows of counters_input.def. */
enum agent_protocol {
    AGENT_PROTOCOL_netflow5,
    AGENT_PROTOCOL_netflow7,
    AGENT_PROTOCOL_netflow9,
    AGENT_PROTOCOL_ipfix,
    AGENT_PROTOCOL_sflow5,
    AGENT_PROTOCOL_netflow1,
    AGENT_PROTOCOL_unknown,
    AGENT_PROTOCOL_COUNT
};

/** The name of a protocol as in metrics ("ipfix"). Static memory. */
const char *agent_protocol_name(enum agent_protocol protocol);

/** As batches say it. */
enum weir_protocol agent_protocol_wire(enum agent_protocol protocol);

enum agent_input_count {
#define METRIC(id, kind, name, labels, help)     AGENT_INPUT_##id,
#define METRIC_EACH(id, kind, name, label, help) AGENT_INPUT_##id,
#include "agent/counters_input.def"
#undef METRIC
#undef METRIC_EACH
    AGENT_INPUT_COUNT
};

struct agent_decode_counts {
    uint64_t n[AGENT_INPUT_COUNT];
};

/** The row of @refusal (not NONE) for @protocol. */
static inline enum agent_input_count agent_input_refused(enum agent_protocol protocol, enum agent_refusal refusal)
{
    return (enum agent_input_count)(AGENT_INPUT_refused_netflow5_short + (int)protocol * (AGENT_REFUSAL_COUNT - 1) +
                                    (int)refusal - 1);
}

#endif
