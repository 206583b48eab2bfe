/** Configuration of weir-console, from options.def. */
#ifndef WEIR_CONSOLE_HTTP_CONF_H
#define WEIR_CONSOLE_HTTP_CONF_H

#include "common/conf/option.h"

struct console_conf {
#define WEIR_OPTIONS "console/http/options.def"
#include "common/conf/option_fields.h"
};

extern const struct weir_schema console_conf_schema;

/** What the table cannot check by itself. WEIR_EPARAM. */
int console_conf_check(const struct console_conf *conf, struct weir_why *why);

#endif
