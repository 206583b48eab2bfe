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
