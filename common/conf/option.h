/**
 * Options by table: a program lists its options in `<program>/options.def`, and the struct, the parser, the defaults,
 * --print-config and docs/CONFIG.md come from that table. This room is the only reader of libconfig.h.
 *
 * A row is one of
 *
 *     STRING(name, "default", reload, "help")                    char *name           REQUIRED as default: must be set
 *     INT(threads, 1, 1, 64, reload, "help")                     int64_t threads      default, least, most
 *     BOOL(strict, true, reload, "help")                         bool strict
 *     SIZE(spool, "1GiB", "1MiB", "1TiB", reload, "help")        uint64_t spool_bytes  B KiB MiB GiB TiB kB MB GB TB
 *     DURATION(linger, "200ms", "1ms", "1m", reload, "help")     int64_t linger_ms     ms s m h d w
 *     CHOICE(codec, "lz4", "none|lz4|zstd", reload, "help")      int codec             index of the word
 *     STRINGS(exporters, 64, reload, "help")                     char **exporters; size_t exporters_count
 *     GROUPS(listen, agent_listener, 16, reload, "help")         struct agent_listener *listen; size_t listen_count
 *
 * where @reload is RELOAD (a SIGHUP may change it) or FIXED (needs a restart). Sizes and durations are text because
 * libconfig 1.5 cuts large integers silently. The struct and its schema are made so:
 *
 *     struct agent_conf {
 *     #define WEIR_OPTIONS "agent/options.def"
 *     #include "common/conf/option_fields.h"
 *     };
 *     extern const struct weir_schema agent_conf_schema;
 *
 *     // in agent/conf.c
 *     #define WEIR_OPTIONS "agent/options.def"
 *     #define WEIR_OPTIONS_STRUCT agent_conf
 *     #include "common/conf/option_rows.h"       // defines agent_conf_schema
 *
 * The group of a GROUPS row is made the same way from a .def of its own (say agent/options_listen.def, struct
 * agent_listener, schema agent_listener_schema), declared before the table that uses it.
 */
#ifndef WEIR_COMMON_CONF_OPTION_H
#define WEIR_COMMON_CONF_OPTION_H

#include "common/base/buf.h"
#include "common/base/err.h"

enum weir_option_type {
    WEIR_OPTION_STRING,
    WEIR_OPTION_INT,
    WEIR_OPTION_BOOL,
    WEIR_OPTION_SIZE,
    WEIR_OPTION_DURATION,
    WEIR_OPTION_CHOICE,
    WEIR_OPTION_STRINGS,
    WEIR_OPTION_GROUPS
};

struct weir_schema;

struct weir_option {
    const char *name;
    enum weir_option_type type;
    bool reloadable;
    const char *preset;              /* the default as text; NULL: must be set */
    const char *least;               /* as text: INT, SIZE, DURATION */
    const char *most;                /* likewise; STRINGS and GROUPS: the longest list */
    const char *words;               /* CHOICE: "a|b|c" */
    const struct weir_schema *group; /* GROUPS */
    const char *help;
    size_t at;       /* offset of the field */
    size_t count_at; /* offset of its count: STRINGS and GROUPS */
};

struct weir_schema {
    const struct weir_option *options;
    size_t count;
    size_t size; /* of the struct */
};

/**
 * Read @file into @conf (a zeroed struct of the schema's size), with defaults for what it does not set. On failure
 * @conf is zeroed and @why names file, line, option, value and what is allowed.
 * WEIR_EIO unreadable, WEIR_EFORMAT not libconfig's syntax, WEIR_EPARAM an option or value, WEIR_ENOMEM.
 */
int weir_conf_load(const char *file, const struct weir_schema *schema, void *conf, struct weir_why *why);

/** The same from text in memory; @name stands for the file in errors. */
int weir_conf_load_text(const char *text, const char *name, const struct weir_schema *schema, void *conf,
                        struct weir_why *why);

/** Fill @conf (zeroed) with the defaults; what must be set stays zero. WEIR_ENOMEM. */
int weir_conf_defaults(const struct weir_schema *schema, void *conf, struct weir_why *why);

/** Free what loading allocated, and zero the struct. Takes a zeroed struct. */
void weir_conf_free(const struct weir_schema *schema, void *conf);

/** Append the options as a file that loads to the same struct, each below its help as a comment when @with_help. */
void weir_conf_print(const struct weir_schema *schema, const void *conf, bool with_help, struct weir_buf *out);

/** The first option that differs between @a and @b and needs a restart, or NULL. */
const struct weir_option *weir_conf_fixed_change(const struct weir_schema *schema, const void *a, const void *b);

/** "64MiB" -> bytes. A unit is needed except for 0. WEIR_EFORMAT, WEIR_ELIMIT above 2^63-1. */
int weir_conf_size_parse(const char *text, uint64_t *ret);

/** "200ms", "1h30m" -> milliseconds. A unit is needed except for 0. WEIR_EFORMAT, WEIR_ELIMIT above 2^63-1. */
int weir_conf_duration_parse(const char *text, int64_t *ret_ms);

/** The shortest exact text of a size or a duration, appended. */
void weir_conf_size_print(uint64_t bytes, struct weir_buf *out);
void weir_conf_duration_print(int64_t ms, struct weir_buf *out);

/** Index of @word in "a|b|c", or WEIR_ENOTFOUND. */
int weir_choice_index(const char *words, const char *word);

#endif
