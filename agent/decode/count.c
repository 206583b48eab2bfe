#include "agent/decode/count.h"

const char *agent_refusal_name(enum agent_refusal refusal)
{
    return refusal == AGENT_REFUSAL_NONE ? "none" : weir_drop_info(agent_refusal_reason(refusal))->name;
}

const char *agent_protocol_name(enum agent_protocol protocol)
{
    static const char *const of[AGENT_PROTOCOL_COUNT] = {"netflow5", "netflow7", "netflow9", "ipfix",
                                                         "sflow5",   "netflow1", "unknown"};
    return of[protocol];
}

enum weir_protocol agent_protocol_wire(enum agent_protocol protocol)
{
    static const enum weir_protocol of[AGENT_PROTOCOL_COUNT] = {
        WEIR_PROTOCOL_NETFLOW5, WEIR_PROTOCOL_NETFLOW7, WEIR_PROTOCOL_NETFLOW9, WEIR_PROTOCOL_IPFIX,
        WEIR_PROTOCOL_SFLOW5,   WEIR_PROTOCOL_NETFLOW1, WEIR_PROTOCOL_UNKNOWN};
    return of[protocol];
}
