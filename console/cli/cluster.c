/** weir cluster status | rebalance: who owns the shards, and who should. */
#include "console/cli/api.h"
#include "console/cli/output.h"

#include <stdio.h>
#include <string.h>

static json_int_t number_of(const json_t *meta, const char *key)
{
    return json_integer_value(json_object_get(meta, key));
}

/** What is not as it should be, and what to do about it, on stderr. Is anything wrong? */
static bool tell_trouble(const json_t *meta)
{
    json_int_t ownerless = number_of(meta, "shards_without_members"), few = number_of(meta, "shards_with_few_members");
    json_int_t refused = number_of(meta, "entries_refused");
    const char *trouble = cli_text_of(meta, "trouble");
    if (trouble[0] != '\0')
        fprintf(stderr, "weir: the map store does not answer; this is what the console goes by: %s\n", trouble);
    else if (json_is_true(json_object_get(meta, "stale")))
        fputs("weir: the map store has no quorum: this may be old, and nothing can be changed\n", stderr);
    if (refused > 0)
        fprintf(stderr, "weir: %lld entries of the map store are not to be used, the first: %s\n", (long long)refused,
                cli_text_of(meta, "refused"));
    if (ownerless > 0)
        fprintf(stderr, "weir: %lld shards have no members, so nothing is stored for them: weir cluster rebalance\n",
                (long long)ownerless);
    else if (few > 0)
        fprintf(stderr, "weir: %lld shards have fewer members than the replication %lld asks for\n", (long long)few,
                (long long)number_of(meta, "replication"));
    return json_is_true(json_object_get(meta, "stale")) || refused > 0 || few > 0;
}

static void tell_store(const json_t *meta)
{
    bool fixed = strcmp(cli_text_of(meta, "store"), "static") == 0;
    fprintf(stderr, "%lld shards, replication %lld, map store %s%s\n", (long long)number_of(meta, "shards"),
            (long long)number_of(meta, "replication"), cli_text_of(meta, "store"),
            fixed ? " (cluster.conf): no automatic failover" : "");
}

static void tell_rebalance(const json_t *meta)
{
    bool dry = json_is_true(json_object_get(meta, "dry_run"));
    if (number_of(meta, "made") > 0)
        fprintf(stderr, "%lld shards %s their first members\n", (long long)number_of(meta, "made"),
                dry ? "would get" : "got");
    fprintf(stderr, "%lld replicas %s\n", (long long)number_of(meta, "moves"), dry ? "would move" : "are to move");
}

static enum cli_exit print(const struct cli_args *args, const json_t *answer)
{
    struct cli_output output;
    struct weir_buf out = WEIR_BUF_INIT;
    struct weir_why why = {""};
    const json_t *meta = json_object_get(answer, "meta");
    enum cli_exit status = CLI_OK;
    if (cli_output_init(&output, args, &why) < 0) return cli_fail(CLI_USAGE, "%s", why.text);
    int rc = cli_output_rows(&output, answer, &out, &why);
    if (rc < 0) {
        status = cli_fail(rc == WEIR_EPARAM ? CLI_USAGE : CLI_INTERNAL, "%s", why.text);
    } else {
        fputs(weir_buf_cstr(&out), stdout);
        fflush(stdout);
        if (!output.quiet) tell_store(meta);
        if (!output.quiet && json_object_get(meta, "moves") != NULL) tell_rebalance(meta);
        if (tell_trouble(meta)) status = CLI_FOUND;
    }
    weir_buf_fini(&out);
    return status;
}

enum cli_exit cli_cluster(const struct cli_args *args)
{
    const char *word = args->word_count == 1 ? args->words[0] : "";
    bool dry = args->values[CLI_OPTION_dry_run] != NULL;
    json_t *answer = NULL;
    enum cli_exit status = CLI_USAGE;
    if (strcmp(word, "status") == 0 && !dry) {
        status = cli_api(args, "/api/v1/cluster", NULL, NULL, &answer);
    } else if (strcmp(word, "rebalance") == 0) {
        json_t *body = json_pack("{s:b}", "dry_run", dry);
        if (body == NULL) return cli_fail(CLI_INTERNAL, "out of memory");
        status = cli_api(args, "/api/v1/cluster/rebalance", body, NULL, &answer);
        json_decref(body);
    } else {
        return cli_fail(CLI_USAGE, "usage: weir cluster status | rebalance [--dry-run]");
    }
    if (status == CLI_OK) status = print(args, answer);
    json_decref(answer);
    return status;
}
