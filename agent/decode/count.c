#include "agent/decode/count.h"

static const char *const names[] = {"none",
#define NAME(name, text) #name,
                                    AGENT_REFUSALS(NAME)
#undef NAME
};

static const char *const texts[] = {"nothing was refused",
#define TEXT(name, text) text,
                                    AGENT_REFUSALS(TEXT)
#undef TEXT
};

const char *agent_refusal_name(enum agent_refusal refusal)
{
    return names[refusal];
}

const char *agent_refusal_text(enum agent_refusal refusal)
{
    return texts[refusal];
}

const char *agent_protocol_name(enum agent_protocol protocol)
{
    static const char *const of[AGENT_PROTOCOL_COUNT] = {"netflow5", "netflow7", "netflow9",
                                                         "ipfix",    "sflow5",   "unknown"};
    return of[protocol];
}
