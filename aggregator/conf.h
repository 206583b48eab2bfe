/** The aggregator's options: the table is aggregator/options.def. */
#ifndef WEIR_AGGREGATOR_CONF_H
#define WEIR_AGGREGATOR_CONF_H

#include "common/conf/option.h"

struct aggregator_conf {
#define WEIR_OPTIONS "aggregator/options.def"
#include "common/conf/option_fields.h"
};

extern const struct weir_schema aggregator_conf_schema;

#endif
