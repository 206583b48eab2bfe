#include "broker/conf.h"

#define WEIR_OPTIONS        "broker/options.def"
#define WEIR_OPTIONS_STRUCT broker_conf
#include "common/conf/option_rows.h"
