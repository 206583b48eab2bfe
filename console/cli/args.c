/** The command line: from the table of options to values, and to the help text. */
#include "console/cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

const struct cli_option cli_options[CLI_OPTION_COUNT] = {
#define CLI_OPTION(id, short_name, long_name, arg, bits, text) \
    [CLI_OPTION_##id] = {.name = long_name, .argument = arg, .help = text, .verbs = bits, .letter = short_name},
#include "console/cli/options.def"
#undef CLI_OPTION
};

enum { FIRST_LONG = 256 }; /* what getopt_long returns for an option is FIRST_LONG + its row */

static int row_of_letter(int letter)
{
    for (int i = 0; i < CLI_OPTION_COUNT; i++) {
        if (cli_options[i].letter != 0 && cli_options[i].letter == letter) return i;
    }
    return -1;
}

/** What getopt_long(3) wants; ":" in front lets it tell a missing argument from an unknown option. */
static void make_getopt(char letters[2 * CLI_OPTION_COUNT + 2], struct option longs[CLI_OPTION_COUNT + 1])
{
    char *at = letters;
    *at++ = ':';
    for (int i = 0; i < CLI_OPTION_COUNT; i++) {
        int has = cli_options[i].argument == NULL ? no_argument : required_argument;
        longs[i] = (struct option){.name = cli_options[i].name, .has_arg = has, .val = FIRST_LONG + i};
        if (cli_options[i].letter == 0) continue;
        *at++ = cli_options[i].letter;
        if (has == required_argument) *at++ = ':';
    }
    *at = '\0';
    longs[CLI_OPTION_COUNT] = (struct option){0};
}

int cli_args_parse(const struct cli_verb *verb, int argc, char **argv, struct cli_args *ret, struct weir_why *why)
{
    char letters[2 * CLI_OPTION_COUNT + 2];
    struct option longs[CLI_OPTION_COUNT + 1];
    make_getopt(letters, longs);

    *ret = (struct cli_args){.verb = verb};
    optind = 0; /* glibc: begin anew */
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, letters, longs, NULL)) != -1;) {
        if (c == '?' || c == ':') {
            int row = optopt >= FIRST_LONG ? optopt - FIRST_LONG : row_of_letter(optopt);
            if (c == ':' && row >= 0) {
                return weir_why_set(why, WEIR_EPARAM, "--%s wants an argument: %s", cli_options[row].name,
                                    cli_options[row].argument);
            }
            return weir_why_set(why, WEIR_EPARAM, "unknown option \"%s\"; see weir %s -h", argv[optind - 1],
                                verb->name);
        }
        int row = c >= FIRST_LONG ? c - FIRST_LONG : row_of_letter(c);
        if ((cli_options[row].verbs & verb->bit) == 0) {
            return weir_why_set(why, WEIR_EPARAM, "weir %s does not take --%s", verb->name, cli_options[row].name);
        }
        if (row == CLI_OPTION_site) {
            if (ret->site_count == CLI_SITES_MOST) return weir_why_set(why, WEIR_EPARAM, "more than 64 sites");
            ret->sites[ret->site_count++] = optarg;
        }
        ret->values[row] = cli_options[row].argument == NULL ? "" : optarg;
    }
    ret->words = argv + optind;
    ret->word_count = argc - optind;
    return 0;
}

void cli_args_help(const struct cli_verb *verb)
{
    printf("weir %s: %s\n\nusage: weir %s [OPTION...] %s\n\n", verb->name, verb->summary, verb->name, verb->words);
    for (int i = 0; i < CLI_OPTION_COUNT; i++) {
        if ((cli_options[i].verbs & verb->bit) == 0) continue;
        char left[48];
        snprintf(left, sizeof left, "%c%c%s --%s%s%s", cli_options[i].letter == 0 ? ' ' : '-',
                 cli_options[i].letter == 0 ? ' ' : cli_options[i].letter, cli_options[i].letter == 0 ? " " : ",",
                 cli_options[i].name, cli_options[i].argument == NULL ? "" : " ",
                 cli_options[i].argument == NULL ? "" : cli_options[i].argument);
        printf("  %-30s %s\n", left, cli_options[i].help);
    }
    printf("\nexamples:\n%s", verb->examples);
}
