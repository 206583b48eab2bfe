#include "aggregator/conf.h"

#define WEIR_OPTIONS        "aggregator/options.def"
#define WEIR_OPTIONS_STRUCT aggregator_conf
#include "common/conf/option_rows.h"
