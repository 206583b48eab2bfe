/** The agent's options: the table is agent/options.def. */
#ifndef WEIR_AGENT_CONF_H
#define WEIR_AGENT_CONF_H

#include "common/conf/option.h"

struct agent_sampling_conf {
#define WEIR_OPTIONS "agent/options_sampling.def"
#include "common/conf/option_fields.h"
};

extern const struct weir_schema agent_sampling_conf_schema;

struct agent_feed_conf {
#define WEIR_OPTIONS "agent/options_feed.def"
#include "common/conf/option_fields.h"
};

extern const struct weir_schema agent_feed_conf_schema;

struct agent_extra_conf {
#define WEIR_OPTIONS "agent/options_extra.def"
#include "common/conf/option_fields.h"
};

extern const struct weir_schema agent_extra_conf_schema;

struct agent_conf {
#define WEIR_OPTIONS "agent/options.def"
#include "common/conf/option_fields.h"
};

extern const struct weir_schema agent_conf_schema;

/** What the table cannot check by itself. WEIR_EPARAM with the option and what is wrong. */
int agent_conf_check(const void *conf, struct weir_why *why);

#endif
