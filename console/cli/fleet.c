/** weir exporters, weir status. */
#include "console/cli/ask.h"

#include <stdio.h>

enum cli_exit cli_exporters(const struct cli_args *args)
{
    struct cli_ask ask;
    enum cli_exit status = cli_ask_begin(args, &ask);
    if (status == CLI_OK) {
        char path[256];
        char from[WEIR_TIME_TEXT];
        char to[WEIR_TIME_TEXT];
        snprintf(path, sizeof path, "/api/v1/exporters?from=%s&to=%s", weir_time_rfc3339(ask.range.from_ms, from),
                 weir_time_rfc3339(ask.range.to_ms, to));
        ask.output.narrow = "exporter,domain,site,agent,protocol,flows,bytes,sampling,lost_sequence,lost_templates,"
                            "lost_undecodable,lost_socket_drops,lost_spool,last_heard";
        json_t *answer = NULL;
        status = cli_api(args, path, NULL, NULL, &answer);
        if (status == CLI_OK) status = cli_ask_print(args, &ask.output, answer);
        json_decref(answer);
    }
    cli_ask_end(&ask);
    return status;
}

enum cli_exit cli_status(const struct cli_args *args)
{
    struct cli_output output;
    struct weir_why why = {""};
    if (cli_output_init(&output, args, &why) < 0) return cli_fail(CLI_USAGE, "%s", why.text);
    output.narrow =
        "name,role,site,up,state,version,last_heard,lag_ms,shards,flows,stored_bytes,disk_free_bytes,spool_bytes";
    json_t *answer = NULL;
    enum cli_exit status = cli_api(args, "/api/v1/nodes", NULL, NULL, &answer);
    if (status == CLI_OK) status = cli_ask_print(args, &output, answer);
    json_decref(answer);
    return status;
}
