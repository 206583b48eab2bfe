/** ~/.config/weir/cli.conf, made from conf_options.def. */
#ifndef WEIR_CONSOLE_CLI_CONF_H
#define WEIR_CONSOLE_CLI_CONF_H

#include "common/conf/option.h"

struct cli_conf {
#define WEIR_OPTIONS "console/cli/conf_options.def"
#include "common/conf/option_fields.h"
};
extern const struct weir_schema cli_conf_schema;

#endif
