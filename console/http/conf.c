#include "console/http/conf.h"

#include "common/cluster/allow.h"

#define WEIR_OPTIONS        "console/http/options.def"
#define WEIR_OPTIONS_STRUCT console_conf
#include "common/conf/option_rows.h"

int console_conf_check(const struct console_conf *conf, struct weir_why *why)
{
    if (!weir_name_is_valid(conf->name)) return weir_why_set(why, WEIR_EPARAM, "name: not a name of a node");
    if ((conf->tls_cert[0] == '\0') != (conf->tls_key[0] == '\0')) {
        return weir_why_set(why, WEIR_EPARAM, "tls_cert and tls_key go together");
    }
    if (conf->query_timeout_ms > conf->query_timeout_most_ms) {
        return weir_why_set(why, WEIR_EPARAM, "query_timeout is longer than query_timeout_most");
    }
    return 0;
}
