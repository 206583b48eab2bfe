/** The broker's options: the table is broker/options.def. */
#ifndef WEIR_BROKER_CONF_H
#define WEIR_BROKER_CONF_H

#include "common/conf/option.h"

struct broker_conf {
#define WEIR_OPTIONS "broker/options.def"
#include "common/conf/option_fields.h"
};

extern const struct weir_schema broker_conf_schema;

#endif
