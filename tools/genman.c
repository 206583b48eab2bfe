/**
 * A page of the manual for scdoc(1): copies docs/man/<page>.scd from stdin to stdout and puts the tables that the
 * programs themselves read in place of the lines
 *
 *     @verbs@         the command's verbs with their own options and examples
 *     @shared@        the options of all verbs that ask
 *     @dimensions@    what flows can be grouped by and filtered on
 *     @config NAME@   the options of a daemon's configuration file, or of cluster, allow, cli
 *
 *     genman < docs/man/weir.1.scd | scdoc > weir.1
 */
#include "agent/agent.h"
#include "aggregator/aggregator.h"
#include "broker/broker.h"
#include "common/daemon/cluster_file.h"
#include "common/flow/dims.h"
#include "console/cli/cli.h"
#include "console/cli/conf.h"
#include "console/http/console.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/** Text with nothing in it that scdoc would take for its own. */
static void put(const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("\\*_#.~^", *text) != NULL) putchar('\\');
        putchar(*text);
    }
}

/** An argument: its words underlined, the signs between them not. */
static void put_argument(const char *text)
{
    bool inside = false;
    for (; *text != '\0'; text++) {
        bool word = isalnum((unsigned char)*text) != 0;
        if (word != inside) putchar('_');
        inside = word;
        char one[2] = {*text, '\0'};
        put(one);
    }
    if (inside) putchar('_');
}

static void put_option(const struct cli_option *option)
{
    if (option->letter != 0) printf("*-%c*, ", option->letter);
    printf("*--%s*", option->name);
    if (option->argument != NULL) {
        putchar(' ');
        put_argument(option->argument);
    }
    printf("\n\t");
    put(option->help);
    printf("\n\n");
}

/** Does every verb that asks the console take it? */
static bool is_shared(const struct cli_option *option)
{
    static const int asking = CLI_TOP | CLI_FLOWS | CLI_SERIES | CLI_EXPORTERS | CLI_STATUS;
    return (option->verbs & asking) == asking;
}

static void put_shared(void)
{
    for (size_t i = 0; i < CLI_OPTION_COUNT; i++)
        if (is_shared(&cli_options[i])) put_option(&cli_options[i]);
}

static void put_verbs(void)
{
    for (const struct cli_verb *verb = cli_verbs; verb->name != NULL; verb++) {
        printf("## weir %s ", verb->name);
        put(verb->words);
        printf("\n\n");
        put(verb->summary);
        printf(".\n\n");
        for (size_t i = 0; i < CLI_OPTION_COUNT; i++)
            if ((cli_options[i].verbs & verb->bit) != 0 && !is_shared(&cli_options[i])) put_option(&cli_options[i]);
        printf("```\n%s```\n\n", verb->examples);
    }
}

static void put_dimensions(void)
{
    for (int i = 0; i < WEIR_DIM_COUNT; i++) {
        putchar('*');
        put(weir_dims[i].name);
        printf("*\n\t");
        put(weir_dims[i].help);
        printf("\n\n");
    }
}

static void put_type(const struct weir_option *option)
{
    switch (option->type) {
    case WEIR_OPTION_STRING: printf("text"); return;
    case WEIR_OPTION_INT: printf("a number from %s to %s", option->least, option->most); return;
    case WEIR_OPTION_BOOL: printf("true or false"); return;
    case WEIR_OPTION_SIZE: printf("a size from %s to %s", option->least, option->most); return;
    case WEIR_OPTION_DURATION: printf("a duration from %s to %s", option->least, option->most); return;
    case WEIR_OPTION_CHOICE: put(option->words); return;
    case WEIR_OPTION_STRINGS: printf("a list of at most %s texts", option->most); return;
    case WEIR_OPTION_GROUPS: printf("a list of at most %s groups", option->most); return;
    }
}

static void put_config(const struct weir_schema *schema, const char *inside)
{
    for (size_t i = 0; i < schema->count; i++) {
        const struct weir_option *option = &schema->options[i];
        printf("*");
        put(inside);
        put(option->name);
        printf("*: ");
        put_type(option);
        if (option->preset == NULL) printf("; must be set");
        if (option->preset != NULL && option->preset[0] != '\0') {
            printf("; default ");
            put(option->preset);
        }
        printf("\n\t");
        put(option->help);
        printf("\n\n");
        if (option->type != WEIR_OPTION_GROUPS) continue;
        char deeper[128];
        snprintf(deeper, sizeof deeper, "%s%s[].", inside, option->name);
        put_config(option->group, deeper);
    }
}

/** @return false when no table has this name. */
static bool put_config_of(const char *name)
{
    static const struct {
        const char *name;
        const struct weir_schema *schema;
    } files[] = {{"allow", &weir_allow_file_schema}, {"cluster", &weir_cluster_conf_schema}, {"cli", &cli_conf_schema}};
    static const struct weir_program *const programs[] = {&agent_program, &broker_program, &aggregator_program,
                                                          &console_program};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (strcmp(files[i].name, name) != 0) continue;
        put_config(files[i].schema, "");
        return true;
    }
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        if (strcmp(programs[i]->name + strlen("weir-"), name) != 0) continue;
        put_config(programs[i]->schema, "");
        return true;
    }
    return false;
}

int main(void)
{
    char line[4096];
    char name[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strcmp(line, "@verbs@\n") == 0) {
            put_verbs();
        } else if (strcmp(line, "@shared@\n") == 0) {
            put_shared();
        } else if (strcmp(line, "@dimensions@\n") == 0) {
            put_dimensions();
        } else if (sscanf(line, "@config %63[a-z]@", name) == 1) {
            if (!put_config_of(name)) {
                fprintf(stderr, "genman: there is no configuration \"%s\"\n", name);
                return 1;
            }
        } else {
            fputs(line, stdout);
        }
    }
    return fflush(stdout) == 0 && !ferror(stdin) ? 0 : 1;
}
