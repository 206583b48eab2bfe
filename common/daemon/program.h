/**
 * What every daemon of ours does alike: command line, configuration, log level, signals, readiness, watchdog, status
 * listener, reload, drain. A program is a table of functions; its main() is one call.
 *
 *     int main(int argc, char **argv) { return weir_program_main(argc, argv, &agent_program); }
 *
 * SIGTERM and SIGINT drain and leave, a second one leaves at once, SIGHUP reloads the configuration. Under systemd
 * (Type=notify) READY, RELOADING, STOPPING, STATUS and WATCHDOG are told.
 */
#ifndef WEIR_COMMON_DAEMON_PROGRAM_H
#define WEIR_COMMON_DAEMON_PROGRAM_H

#include "common/base/metric.h"
#include "common/conf/option.h"
#include "common/daemon/loop.h"

/** Where a program's functions find what the daemon made for them. Valid from create to destroy. */
struct weir_daemon {
    struct weir_loop *loop;
    struct weir_metrics *metrics; /* values of the program's rows */
    struct weir_metrics *common;  /* values of weir_daemon_counter_rows */
};

/** An option of the command line that does one thing and leaves: --<name> VALUE. */
struct weir_program_word {
    const char *name;
    const char *value; /* what VALUE is, in the help: "NAME" */
    const char *help;
    int (*run)(const void *conf, const char *value, struct weir_why *why);
};

struct weir_program {
    const char *name;                 /* "weir-agent" */
    const char *summary;              /* one line for --help */
    const struct weir_schema *schema; /* ends with the rows of common/daemon/options.def */
    const struct weir_metric_row *metric_rows;
    size_t metric_count;
    const struct weir_program_word *word; /* NULL: none */

    /** What the option table cannot check by itself: files that must exist, options that exclude each other. May be NULL. */
    int (*check)(const void *conf, struct weir_why *why);

    /** Start. @conf stays valid until destroy or until reload replaced it. On the main thread. */
    int (*create)(const struct weir_daemon *daemon, const void *conf, void **ret, struct weir_why *why);

    /** Take over what a reload may change; on failure everything stays as it was. May be NULL: nothing can. */
    int (*reload)(void *self, const void *conf, struct weir_why *why);

    /** Begin to leave: take nothing new, finish what has begun. May be NULL: there is nothing to finish. */
    void (*drain)(void *self);

    /** Has everything been finished? Asked every 20 ms after drain, until the deadline. May be NULL. */
    bool (*drained)(void *self);

    /** May clients be sent here? Writes the reason when not. May be NULL: yes, once created. Status thread. */
    bool (*ready)(void *self, struct weir_buf *reason);

    /** Samples of `each` rows; see weir_metrics_print. May be NULL. Status thread. */
    weir_metric_each_fn *each;

    /** Set the gauges that are computed when asked for. May be NULL. Status thread. */
    void (*refresh)(void *self);

    /** A page of its own on the status listener: append the JSON of @path; false: there is none. May be NULL. Status thread. */
    bool (*page)(void *self, const char *path, struct weir_buf *out);

    /** One line for `systemctl status`. May be NULL. Main thread. */
    void (*line)(void *self, struct weir_buf *out);

    void (*destroy)(void *self);
};

enum weir_daemon_counter {
#define METRIC(id, kind, name, labels, help) WEIR_DAEMON_COUNT_##id,
#include "common/daemon/counters.def"
#undef METRIC
    WEIR_DAEMON_COUNTERS
};

/** What every daemon counts beside its own: WEIR_DAEMON_COUNTERS rows of common/daemon/counters.def. */
extern const struct weir_metric_row weir_daemon_counter_rows[WEIR_DAEMON_COUNTERS];

/** The whole of main(). Returns the exit status: 0, 1 the configuration or the start failed, 2 usage. */
int weir_program_main(int argc, char **argv, const struct weir_program *program);

#endif
