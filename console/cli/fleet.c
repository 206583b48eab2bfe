/** weir exporters, weir status. */
#include "console/cli/fleet.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum cli_exit cli_fleet_get(const struct cli_args *args, struct cli_ask *ask, const char *resource, json_t **ret)
{
    enum { LIMIT_MOST = 10000 };
    int64_t limit = 0;
    enum cli_exit status = cli_ask_limit(args, LIMIT_MOST, LIMIT_MOST, &limit);
    if (status != CLI_OK) return status;
    struct weir_buf path = WEIR_BUF_INIT;
    char from[WEIR_TIME_TEXT];
    char to[WEIR_TIME_TEXT];
    char number[32];
    snprintf(number, sizeof number, "%" PRId64, limit);
    weir_buf_printf(&path, "/api/v1/%s", resource);
    cli_api_parameter(&path, "from", weir_time_rfc3339(ask->range.from_ms, from));
    cli_api_parameter(&path, "to", weir_time_rfc3339(ask->range.to_ms, to));
    cli_api_parameter(&path, "limit", number);
    if (ask->filter.size > 0) cli_api_parameter(&path, "filter", weir_buf_cstr(&ask->filter));
    struct weir_buf sites = WEIR_BUF_INIT;
    for (int i = 0; i < args->site_count; i++)
        weir_buf_printf(&sites, "%s%s", i == 0 ? "" : ",", args->sites[i]);
    if (sites.size > 0) cli_api_parameter(&path, "sites", weir_buf_cstr(&sites));
    weir_buf_fini(&sites);
    status = cli_api(args, weir_buf_cstr(&path), NULL, weir_buf_cstr(&ask->filter), ret);
    weir_buf_fini(&path);
    return status;
}

enum cli_exit cli_exporters(const struct cli_args *args)
{
    if (args->word_count > 0 && strcmp(args->words[0], "why") == 0) return cli_exporters_why(args);
    struct cli_ask ask;
    json_t *answer = NULL;
    enum cli_exit status = cli_ask_begin(args, &ask);
    ask.output.narrow =
        "exporter,domain,site,agent,protocol,flows,bytes,sampling,sampling_origin,templates,clock_skew_ms,"
        "lost_sequence,lost_templates,lost_undecodable,lost_socket_drops,lost_spool,last_heard";
    if (status == CLI_OK) status = cli_fleet_get(args, &ask, "exporters", &answer);
    if (status == CLI_OK) status = cli_ask_print(args, &ask.output, answer);
    json_decref(answer);
    cli_ask_end(&ask);
    return status;
}

enum cli_exit cli_status(const struct cli_args *args)
{
    struct cli_output output;
    struct weir_why why = {""};
    if (args->word_count > 0) return cli_fail(CLI_USAGE, "weir status takes no words: \"%s\"", args->words[0]);
    if (cli_output_init(&output, args, &why) < 0) return cli_fail(CLI_USAGE, "%s", why.text);
    output.narrow =
        "name,role,site,up,state,version,last_heard,lag_ms,shards,flows,stored_bytes,disk_free_bytes,spool_bytes";
    json_t *answer = NULL;
    enum cli_exit status = cli_api(args, "/api/v1/nodes", NULL, NULL, &answer);
    if (status == CLI_OK) status = cli_ask_print(args, &output, answer);
    json_decref(answer);
    return status;
}
