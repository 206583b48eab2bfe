#include "agent/conf.h"

#include "agent/feed/feed.h"
#include "agent/ring.h"
#include "common/cluster/allow.h"
#include "common/flow/extra.h"
#include "common/flow/ip.h"

#define WEIR_OPTIONS        "agent/options_sampling.def"
#define WEIR_OPTIONS_STRUCT agent_sampling_conf
#include "common/conf/option_rows.h"

#define WEIR_OPTIONS        "agent/options_feed.def"
#define WEIR_OPTIONS_STRUCT agent_feed_conf
#include "common/conf/option_rows.h"

#define WEIR_OPTIONS        "agent/options_extra.def"
#define WEIR_OPTIONS_STRUCT agent_extra_conf
#include "common/conf/option_rows.h"

#define WEIR_OPTIONS        "agent/options.def"
#define WEIR_OPTIONS_STRUCT agent_conf
#include "common/conf/option_rows.h"

static int check_prefix(const char *option, const char *text, struct weir_why *why)
{
    struct weir_prefix prefix;
    int rc = weir_prefix_parse(text, &prefix);
    if (rc == 0) return 0;
    return weir_why_set(why, WEIR_EPARAM, "%s: \"%s\" is not an address or prefix%s", option, text,
                        rc == WEIR_EPARAM ? ": bits are set behind its length" : "");
}

static int check_feed(const struct agent_conf *conf, size_t index, struct weir_why *why)
{
    const struct agent_feed_conf *feed = &conf->feeds[index];
    struct feed_parser *parser = NULL;
    struct weir_ip ip;
    if (!weir_name_is_valid(feed->name))
        return weir_why_set(why, WEIR_EPARAM, "feeds: name: \"%s\" is not a name", feed->name);
    for (size_t i = 0; i < index; i++) {
        if (strcmp(conf->feeds[i].name, feed->name) == 0)
            return weir_why_set(why, WEIR_EPARAM, "feeds: name: \"%s\" is there twice", feed->name);
    }
    if (feed->exporter[0] != '\0' && weir_ip_parse(feed->exporter, &ip) < 0)
        return weir_why_set(why, WEIR_EPARAM, "feeds: exporter: \"%s\" is not an address", feed->exporter);
    int rc = feed_parser_create((enum feed_format)feed->format, feed->fields, feed->keep, feed->name, &parser, why);
    feed_parser_destroy(parser);
    return rc < 0 ? weir_why_prefix(why, rc, "feeds") : 0;
}

static bool has_pushed_feed(const struct agent_conf *conf)
{
    size_t i = 0;
    while (i < conf->feeds_count && conf->feeds[i].path[0] != '\0')
        i++;
    return i < conf->feeds_count;
}

static int check_extra(const struct agent_conf *conf, size_t index, struct weir_why *why)
{
    const struct agent_extra_conf *extra = &conf->extra[index];
    if (!weir_extra_name_is_valid(weir_view_text(extra->name)))
        return weir_why_set(why, WEIR_EPARAM, "extra: name: \"%s\" is not 1 to %d lower-case letters, digits and '_'",
                            extra->name, WEIR_EXTRA_NAME_BYTES - 1);
    if (extra->id == 0) return weir_why_set(why, WEIR_EPARAM, "extra: id: \"%s\" has none, 1 to 65535", extra->name);
    for (size_t i = 0; i < index; i++) {
        if (strcmp(conf->extra[i].name, extra->name) == 0)
            return weir_why_set(why, WEIR_EPARAM, "extra: name: \"%s\" is there twice", extra->name);
        if (conf->extra[i].pen == extra->pen && conf->extra[i].id == extra->id)
            return weir_why_set(why, WEIR_EPARAM, "extra: id: \"%s\" and \"%s\" are the same element",
                                conf->extra[i].name, extra->name);
    }
    return 0;
}

int agent_conf_check(const void *conf_of_program, struct weir_why *why)
{
    const struct agent_conf *conf = conf_of_program;
    if (!weir_name_is_valid(conf->name))
        return weir_why_set(why, WEIR_EPARAM, "name: \"%s\" is not a name: 1 to 63 letters, digits, '.', '-', '_'",
                            conf->name);
    if (conf->tenant[0] != '\0' && !weir_name_is_valid(conf->tenant))
        return weir_why_set(why, WEIR_EPARAM, "tenant: \"%s\" is not a name: 1 to 63 letters, digits, '.', '-', '_'",
                            conf->tenant);
    if (conf->undecodable_bytes != 0 && conf->undecodable_bytes < AGENT_RING_LEAST_BYTES)
        return weir_why_set(why, WEIR_EPARAM, "undecodable: 0, or at least %dKiB", AGENT_RING_LEAST_BYTES >> 10);
    for (size_t i = 0; i < conf->feeds_count; i++) {
        int rc = check_feed(conf, i, why);
        if (rc < 0) return rc;
    }
    if (conf->push_listen[0] != '\0' && !has_pushed_feed(conf))
        return weir_why_set(why, WEIR_EPARAM, "push_listen: every feed has a path: nothing could be posted");
    for (size_t i = 0; i < conf->extra_count; i++) {
        int rc = check_extra(conf, i, why);
        if (rc < 0) return rc;
    }
    for (size_t i = 0; i < conf->exporters_count; i++) {
        int rc = check_prefix("exporters", conf->exporters[i], why);
        if (rc < 0) return rc;
    }
    for (size_t i = 0; i < conf->sampling_count; i++) {
        int rc = check_prefix("sampling: exporters", conf->sampling[i].exporters, why);
        if (rc < 0) return rc;
    }
    return 0;
}
