/**
 * weir completion SHELL and weir __complete: the shells' scripts are shims, what they offer is worked out here, from the
 * tables of verbs, options and fields and from the grammar of filters. Nobody is asked over the network.
 */
#include "common/base/mem.h"
#include "common/flow/dims.h"
#include "common/flow/filter.h"
#include "console/cli/cli.h"

#include <stdio.h>
#include <string.h>

static const char bash_script[] =
    "# weir completion for bash\n"
    "_weir() {\n"
    "  local IFS=$'\\n' cur=${COMP_WORDS[COMP_CWORD]}\n"
    "  mapfile -t COMPREPLY < <(weir __complete \"${COMP_WORDS[@]:0:COMP_CWORD+1}\" 2>/dev/null | cut -f1)\n"
    "  [ ${#COMPREPLY[@]} -gt 0 ] || mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
    "}\n"
    "complete -o nosort -F _weir weir\n";

static const char zsh_script[] = "#compdef weir\n"
                                 "_weir() {\n"
                                 "  local -a found values\n"
                                 "  found=(\"${(@f)$(weir __complete \"${(@)words[1,CURRENT]}\" 2>/dev/null)}\")\n"
                                 "  values=(\"${(@)found%%$'\\t'*}\")\n"
                                 "  if [[ -n ${found[1]} ]]; then compadd -Q -- $values; else _files; fi\n"
                                 "}\n"
                                 "compdef _weir weir\n";

static const char fish_script[] = "# weir completion for fish\n"
                                  "complete -c weir -a '(weir __complete (commandline -opc) (commandline -ct))'\n";

enum cli_exit cli_completion(const struct cli_args *args)
{
    static const struct {
        const char *shell;
        const char *script;
    } shells[] = {{"bash", bash_script}, {"zsh", zsh_script}, {"fish", fish_script}};

    for (size_t i = 0; args->word_count == 1 && i < sizeof shells / sizeof shells[0]; i++) {
        if (strcmp(shells[i].shell, args->words[0]) != 0) continue;
        fputs(shells[i].script, stdout);
        return CLI_OK;
    }
    return cli_fail(CLI_USAGE, "usage: weir completion %s", args->verb->words);
}

/** Offer @value after @before when it begins with @typed. */
static void offer(const char *before, size_t before_size, const char *typed, const char *value, const char *about)
{
    if (strncmp(value, typed, strlen(typed)) != 0) return;
    printf("%.*s%s\t%s\n", (int)before_size, before, value, about);
}

/** Offer the words of "a|b|c". */
static void offer_words(const char *words, const char *typed)
{
    while (*words != '\0') {
        char word[64];
        size_t size = strcspn(words, "|");
        snprintf(word, sizeof word, "%.*s", (int)size, words);
        offer("", 0, typed, word, "");
        words += size + (words[size] == '|');
    }
}

static void offer_metrics(const char *before, size_t before_size, const char *typed)
{
    static const char *const metrics[] = {"bytes", "packets", "flows"};
    for (size_t i = 0; i < sizeof metrics / sizeof metrics[0]; i++)
        offer(before, before_size, typed, metrics[i], "order by it");
}

/** Dimensions between commas, and behind "/" (of --stat) a metric. */
static void offer_keys(const char *typed, bool with_metric)
{
    const char *slash = with_metric ? strchr(typed, '/') : NULL;
    if (slash != NULL) {
        offer_metrics(typed, (size_t)(slash + 1 - typed), slash + 1);
        return;
    }
    const char *comma = strrchr(typed, ',');
    const char *last = comma == NULL ? typed : comma + 1;
    for (int i = 0; i < WEIR_DIM_COUNT; i++)
        offer(typed, (size_t)(last - typed), last, weir_dims[i].name, weir_dims[i].help);
}

static void offer_value(enum cli_option_id option, const struct cli_verb *verb, const char *typed)
{
    const char *argument = cli_options[option].argument;
    switch (option) {
    case CLI_OPTION_time: offer_words("15m|1h|24h|7d|today|yesterday|this-week|last-week", typed); return;
    case CLI_OPTION_stat: offer_keys(typed, true); return;
    case CLI_OPTION_group:
    case CLI_OPTION_aggregate: offer_keys(typed, false); return;
    case CLI_OPTION_order: offer_metrics("", 0, typed); return;
    case CLI_OPTION_output: offer_words("table|wide|json|ndjson|csv|tsv", typed); return;
    case CLI_OPTION_role:
        offer_words(verb->bit == CLI_KEYS ? "agent|broker|aggregator|console|viewer|analyst|admin" : "", typed);
        return;
    default:
        if (strchr(argument, '|') != NULL) offer_words(argument, typed);
        return;
    }
}

/** What the grammar of filters expects after the words that are there. */
static void offer_filter(const char *before, const char *typed)
{
    struct weir_buf text = WEIR_BUF_INIT;
    struct weir_filter *filter = NULL;
    struct weir_filter_error error = {0};
    weir_buf_printf(&text, "%s =", before); /* a sign that can stand nowhere new words can */
    int rc = text.failed ? WEIR_ENOMEM : weir_filter_parse((const char *)text.data, text.size, &filter, &error);
    for (uint32_t i = 0; rc == WEIR_EFORMAT && i < error.expected_count; i++) {
        if (strchr(error.expected[i], ' ') == NULL) offer("", 0, typed, error.expected[i], "");
        if (strcmp(error.expected[i], "a field") != 0) continue;
        for (int d = 0; d < WEIR_DIM_COUNT; d++)
            offer("", 0, typed, weir_dims[d].name, weir_dims[d].help);
    }
    weir_filter_destroy(filter);
    weir_buf_fini(&text);
}

static void offer_options(const struct cli_verb *verb, const char *typed)
{
    char name[64];
    for (int i = 0; i < CLI_OPTION_COUNT; i++) {
        if ((cli_options[i].verbs & verb->bit) == 0) continue;
        snprintf(name, sizeof name, "--%s", cli_options[i].name);
        offer("", 0, typed, name, cli_options[i].help);
    }
}

static const struct cli_verb *offer_verbs(const char *typed, const char *name)
{
    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++) {
        if (name == NULL) offer("", 0, typed, verb->name, verb->summary);
        if (name != NULL && strcmp(verb->name, name) == 0) return verb;
    }
    return NULL;
}

/** The option that @word is whole, or -1. */
static int option_of(const char *word)
{
    for (int i = 0; i < CLI_OPTION_COUNT; i++) {
        if (word[0] == '-' && word[1] == '-' && strcmp(cli_options[i].name, word + 2) == 0) return i;
        if (word[0] == '-' && word[1] != '\0' && word[1] == cli_options[i].letter && word[2] == '\0') return i;
    }
    return -1;
}

void cli_complete(int argc, char **argv)
{
    if (argc < 2) return;
    const char *typed = argv[argc - 1];
    if (argc == 2) {
        offer_verbs(typed, NULL);
        offer("", 0, typed, "help", "what a verb can do");
        offer("", 0, typed, "version", "of this command");
        return;
    }
    if (argc == 3 && strcmp(argv[1], "help") == 0) {
        offer_verbs(typed, NULL);
        return;
    }
    const struct cli_verb *verb = offer_verbs("", argv[1]);
    if (verb == NULL) return;

    struct weir_buf words = WEIR_BUF_INIT;
    int pending = -1; /* the option whose argument comes next */
    for (int i = 2; i < argc - 1; i++) {
        int option = pending >= 0 ? -1 : option_of(argv[i]);
        if (pending < 0 && option < 0 && argv[i][0] != '-') weir_buf_printf(&words, "%s ", argv[i]);
        pending = option >= 0 && cli_options[option].argument != NULL ? option : -1;
    }
    if (pending >= 0) {
        offer_value((enum cli_option_id)pending, verb, typed);
    } else if (typed[0] == '-') {
        offer_options(verb, typed);
    } else if (strstr(verb->words, "FILTER") != NULL) {
        if (words.size == 0 && verb->bit == CLI_EXPORTERS) offer("", 0, typed, "why", "what is missing of an exporter");
        const char *filter = weir_buf_cstr(&words);
        if (strncmp(filter, "why ", 4) == 0) filter = strchr(filter + 4, ' '); /* behind its address */
        if (filter != NULL) offer_filter(filter, typed);
    } else if (words.size == 0) {
        static const char *const subjects[] = {"make", "show", "allow", "token", "check", "bash", "zsh", "fish"};
        for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++)
            if (strstr(verb->words, subjects[i]) != NULL) offer("", 0, typed, subjects[i], "");
    }
    weir_buf_fini(&words);
}
