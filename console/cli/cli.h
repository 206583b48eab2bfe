/**
 * The `weir` command: verbs, their options and what they share. It speaks the public HTTP API only, so that whatever it
 * can do, a script can do. Data goes to stdout, everything else to stderr.
 */
#ifndef WEIR_CONSOLE_CLI_CLI_H
#define WEIR_CONSOLE_CLI_CLI_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Exit statuses; weir(1) documents them. */
enum cli_exit {
    CLI_OK = 0,          /* also when there are no rows */
    CLI_FOUND = 1,       /* a check found something */
    CLI_USAGE = 2,       /* usage, a bad filter or a bad time range */
    CLI_DENIED = 3,      /* not authenticated or not allowed */
    CLI_UNREACHABLE = 4, /* the console does not answer */
    CLI_PARTIAL = 5,     /* a partial answer and --partial fail */
    CLI_LIMIT = 6,       /* a limit or the time is up */
    CLI_INTERNAL = 70,
};

/** Verbs as a set, for options.def. */
enum {
    CLI_TOP = 1 << 0,
    CLI_FLOWS = 1 << 1,
    CLI_SERIES = 1 << 2,
    CLI_EXPORTERS = 1 << 3,
    CLI_STATUS = 1 << 4,
    CLI_REPLAY = 1 << 5,
    CLI_KEYS = 1 << 6,
    CLI_CONFIG = 1 << 7,
    CLI_COMPLETION = 1 << 8,
    CLI_CLUSTER = 1 << 9,
    CLI_EVERY = -1,
};

enum cli_option_id {
#define CLI_OPTION(id, letter, name, argument, verbs, help) CLI_OPTION_##id,
#include "console/cli/options.def"
#undef CLI_OPTION
    CLI_OPTION_COUNT
};

enum { CLI_SITES_MOST = 64 };

struct cli_args;

struct cli_verb {
    const char *name;
    int bit;
    const char *words; /* "[FILTER]" */
    const char *summary;
    const char *examples; /* lines, each with its newline */
    enum cli_exit (*run)(const struct cli_args *args);
};

/** A command line, understood. Borrows argv. */
struct cli_args {
    const struct cli_verb *verb;
    const char *values[CLI_OPTION_COUNT]; /* NULL: not given; "" for one without an argument; the last, if repeated */
    const char *sites[CLI_SITES_MOST];    /* every --site */
    int site_count;
    char **words; /* what is no option */
    int word_count;
};

static inline const char *cli_value(const struct cli_args *args, enum cli_option_id id, const char *preset)
{
    return args->values[id] == NULL ? preset : args->values[id];
}

/** All verbs, ended by one without a name. */
extern const struct cli_verb cli_verbs[];

/**
 * Understand the words after the verb. WEIR_EPARAM with a reason for an unknown option, one that the verb does not take,
 * a missing argument. Changes the order of @argv as getopt_long(3) does.
 */
int cli_args_parse(const struct cli_verb *verb, int argc, char **argv, struct cli_args *ret, struct weir_why *why);

/** A row of options.def. */
struct cli_option {
    const char *name;
    const char *argument; /* NULL: takes none */
    const char *help;
    int verbs;   /* that take it, as a set */
    char letter; /* 0: none */
};
extern const struct cli_option cli_options[CLI_OPTION_COUNT];

/** Print the help of a verb, from the tables. */
void cli_args_help(const struct cli_verb *verb);

/** "weir: ..." on stderr; returns @status. */
enum cli_exit cli_fail(enum cli_exit status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** The whole of main(). */
int cli_main(int argc, char **argv);

/* The verbs, each in a file of its own. */
enum cli_exit cli_top(const struct cli_args *args);
enum cli_exit cli_flows(const struct cli_args *args);
enum cli_exit cli_series(const struct cli_args *args);
enum cli_exit cli_exporters(const struct cli_args *args);
enum cli_exit cli_status(const struct cli_args *args);
enum cli_exit cli_cluster(const struct cli_args *args);
enum cli_exit cli_replay(const struct cli_args *args);
enum cli_exit cli_keys(const struct cli_args *args);
enum cli_exit cli_config(const struct cli_args *args);
enum cli_exit cli_completion(const struct cli_args *args);

/** `weir __complete weir WORD...`: what the last word may become, as "value<TAB>description" lines. */
void cli_complete(int argc, char **argv);

#endif
