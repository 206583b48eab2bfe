#include "console/cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct cli_verb cli_verbs[] = {
    {.name = "top",
     .bit = CLI_TOP,
     .words = "[FILTER]",
     .summary = "who is biggest",
     .run = cli_top,
     .examples = "  weir top                                      # addresses by bytes, last hour\n"
                 "  weir top -s server_ip,server_port/flows -t 24h\n"
                 "  weir top -s src_ip/bytes -n 20 'dst net 10.0.0.0/8 and port 445'\n"},
    {.name = "flows",
     .bit = CLI_FLOWS,
     .words = "[FILTER]",
     .summary = "show the records",
     .run = cli_flows,
     .examples = "  weir flows 'host 10.1.2.3'\n"
                 "  weir flows -t 09:00..09:05 -n 100 -o ndjson 'proto udp and port 53'\n"
                 "  weir flows -O time:asc -F t_first,src_ip,dst_ip,bytes 'bytes > 1G'\n"},
    {.name = "series",
     .bit = CLI_SERIES,
     .words = "[FILTER]",
     .summary = "how it moved over time",
     .run = cli_series,
     .examples = "  weir series -g proto -t 24h\n"
                 "  weir series -i 5m -o csv 'host 10.1.2.3'\n"
                 "  weir series --sum -t yesterday                # one row of totals\n"},
    {.name = "exporters",
     .bit = CLI_EXPORTERS,
     .words = "[why ADDRESS] [FILTER]",
     .summary = "who sends, what was lost of it, and why",
     .run = cli_exporters,
     .examples = "  weir exporters\n"
                 "  weir exporters why 192.0.2.1 -t 24h           # what is missing of it, and what to do\n"
                 "  weir exporters -o json | jq '.rows[] | select(.lost_sequence > 0)'\n"},
    {.name = "status",
     .bit = CLI_STATUS,
     .words = "",
     .summary = "is everything up, and how far behind",
     .run = cli_status,
     .examples = "  weir status\n"
                 "  weir status -o json\n"
                 "  weir status --partial fail || echo 'an aggregator is missing'\n"},
    {.name = "cluster",
     .bit = CLI_CLUSTER,
     .words = "status | rebalance",
     .summary = "who owns the shards, and who should",
     .run = cli_cluster,
     .examples = "  weir cluster status\n"
                 "  weir cluster status -o json | jq '.shards[] | select(.joining != [])'\n"
                 "  weir cluster rebalance --dry-run              # what would move\n"},
    {.name = "replay",
     .bit = CLI_REPLAY,
     .words = "FILE.pcap --to HOST:PORT",
     .summary = "send the export datagrams of a capture again",
     .run = cli_replay,
     .examples = "  weir replay exports.pcap --to 127.0.0.1:2055\n"
                 "  weir replay exports.pcapng --to 127.0.0.1:2055 --rate 50000 --loop 10\n"
                 "  tcpdump -w - udp port 2055 | weir replay - --to 127.0.0.1:2055\n"},
    {.name = "keys",
     .bit = CLI_KEYS,
     .words = "make NAME | show FILE | allow NAME... | token NAME",
     .summary = "make keys and tokens",
     .run = cli_keys,
     .examples = "  weir keys make agent-fra --dir /etc/weir/keys\n"
                 "  weir keys allow agent-fra --role agent --site fra   # entries of allow.conf\n"
                 "  weir keys token grafana --role viewer --file /etc/weir/tokens\n"},
    {.name = "config",
     .bit = CLI_CONFIG,
     .words = "check FILE",
     .summary = "is a daemon's configuration sound",
     .run = cli_config,
     .examples = "  weir config check /etc/weir/agent.conf\n"
                 "  weir config check ./aggregator.conf && systemctl reload weir-aggregator\n"
                 "  weir-agent --print-config                     # all options and what they mean\n"},
    {.name = "completion",
     .bit = CLI_COMPLETION,
     .words = "bash | zsh | fish",
     .summary = "words for the shell to complete",
     .run = cli_completion,
     .examples = "  source <(weir completion bash)                # or in ~/.bashrc\n"
                 "  weir completion zsh > ~/.zfunc/_weir\n"
                 "  weir completion fish > ~/.config/fish/completions/weir.fish\n"},
    {.name = NULL},
};

enum cli_exit cli_fail(enum cli_exit status, const char *format, ...)
{
    fflush(stdout);
    fputs("weir: ", stderr);
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return status;
}

static void print_overview(FILE *out)
{
    fputs("weir: ask what a network does\n\nusage: weir VERB [OPTION...] [WORDS]\n\n", out);
    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++) {
        fprintf(out, "  %-10s %s\n", verb->name, verb->summary);
    }
    fputs("  help VERB  what a verb can do\n\n"
          "examples:\n"
          "  weir top -t 15m\n"
          "  weir flows 'host 10.1.2.3 and not port 443'\n"
          "  weir series -g proto -t 24h\n\n"
          "See weir(1) and weir-filter(7).\n",
          out);
}

static const struct cli_verb *find_verb(const char *name)
{
    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++) {
        if (strcmp(verb->name, name) == 0) return verb;
    }
    return NULL;
}

/** Stdout may be a pipe whose reader has seen enough: that is no error. */
static enum cli_exit finish(enum cli_exit status)
{
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    if (errno == EPIPE) return status;
    return cli_fail(CLI_INTERNAL, "cannot write to stdout: %s", strerror(errno));
}

int cli_main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    const char *word = argc < 2 ? "" : argv[1];
    if (strcmp(word, "--version") == 0 || strcmp(word, "version") == 0) {
        printf("weir %s\n", WEIR_VERSION);
        return finish(CLI_OK);
    }
    if (strcmp(word, "help") == 0 && argc > 2) {
        const struct cli_verb *verb = find_verb(argv[2]);
        if (verb == NULL) return cli_fail(CLI_USAGE, "no verb \"%s\"; see weir help", argv[2]);
        cli_args_help(verb);
        return finish(CLI_OK);
    }
    if (strcmp(word, "help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        print_overview(stdout);
        return finish(CLI_OK);
    }
    if (strcmp(word, "__complete") == 0) {
        cli_complete(argc - 2, argv + 2);
        return finish(CLI_OK);
    }
    if (word[0] == '\0') {
        print_overview(stderr);
        return CLI_USAGE;
    }
    const struct cli_verb *verb = find_verb(word);
    if (verb == NULL) return cli_fail(CLI_USAGE, "no verb \"%s\"; see weir help", word);

    struct cli_args args;
    struct weir_why why = {""};
    if (cli_args_parse(verb, argc - 1, argv + 1, &args, &why) < 0) return cli_fail(CLI_USAGE, "%s", why.text);
    if (args.values[CLI_OPTION_help] != NULL) {
        cli_args_help(verb);
        return finish(CLI_OK);
    }
    return finish(verb->run(&args));
}
