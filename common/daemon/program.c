#include "common/daemon/program.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/http/server.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

enum { EXIT_USAGE = 2, DRAIN_CHECK_MS = 20, STATUS_LINE_MS = 5000, TEARDOWN_S = 5 };

const struct weir_metric_row weir_daemon_counter_rows[WEIR_DAEMON_COUNTERS] = {
#define METRIC(id, type, family, sample, text) \
    {.name = family, .labels = sample, .help = text, .kind = WEIR_METRIC_##type},
#include "common/daemon/counters.def"
#undef METRIC
};

/** A running daemon. */
struct running {
    const struct weir_program *program;
    const char *config;
    void *conf;
    void *self;
    struct weir_loop *loop;
    struct weir_metrics metrics; /* the program's */
    struct weir_metrics common;  /* of counters.def here */
    struct weir_daemon daemon;
    struct weir_http *status;
    int signals;
    atomic_bool created; /* @self may be asked by the status thread */
    bool leaving;
    int64_t leave_mono_ms;
};

/** The value of one of common/daemon/options.def; every program has them. */
static const void *common_option(const struct running *run, const void *conf, const char *name)
{
    const struct weir_schema *schema = run->program->schema;
    for (size_t i = 0; i < schema->count; i++) {
        if (strcmp(schema->options[i].name, name) == 0) return (const uint8_t *)conf + schema->options[i].at;
    }
    abort(); /* the program's options.def does not end with ours */
}

static const char *status_address(const struct running *run)
{
    const char *address;
    memcpy(&address, common_option(run, run->conf, "status"), sizeof address);
    return address;
}

static int64_t drain_ms(const struct running *run)
{
    int64_t ms;
    memcpy(&ms, common_option(run, run->conf, "drain"), sizeof ms);
    return ms;
}

static void apply_log_level(const struct running *run)
{
    int level;
    memcpy(&level, common_option(run, run->conf, "log_level"), sizeof level);
    weir_log_set_level((enum weir_log_level)level);
}

/** Load and check a configuration into fresh memory. */
static int load(const struct running *run, void **ret, struct weir_why *why)
{
    void *conf = weir_calloc(1, run->program->schema->size);
    if (conf == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    int rc = weir_conf_load(run->config, run->program->schema, conf, why);
    if (rc == 0 && run->program->check != NULL) {
        rc = run->program->check(conf, why);
        if (rc < 0) weir_why_prefix(why, rc, "%s", run->config);
    }
    if (rc < 0) {
        weir_conf_free(run->program->schema, conf);
        weir_free(conf);
        return rc;
    }
    *ret = conf;
    return 0;
}

/** The options as they are where no configuration says otherwise, unchecked. */
static int load_defaults(const struct running *run, void **ret, struct weir_why *why)
{
    void *conf = weir_calloc(1, run->program->schema->size);
    if (conf == NULL) return weir_why_set(why, WEIR_ENOMEM, "out of memory");
    int rc = weir_conf_defaults(run->program->schema, conf, why);
    if (rc < 0) {
        weir_free(conf);
        return rc;
    }
    *ret = conf;
    return 0;
}

static void unload(const struct running *run, void *conf)
{
    if (conf == NULL) return;
    weir_conf_free(run->program->schema, conf);
    weir_free(conf);
}

static void reload(struct running *run)
{
    struct weir_why why = {""};
    char quoted[600];
    void *fresh = NULL;
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRId64, weir_mono_us());

    int rc = load(run, &fresh, &why);
    if (rc == 0) {
        const struct weir_option *fixed = weir_conf_fixed_change(run->program->schema, run->conf, fresh);
        if (fixed != NULL) {
            rc = weir_why_set(&why, WEIR_EPARAM, "%s: %s cannot change while running: restart %s", run->config,
                              fixed->name, run->program->name);
        } else if (run->program->reload != NULL) {
            rc = run->program->reload(run->self, fresh, &why);
        }
    }
    if (rc < 0) {
        unload(run, fresh);
        weir_metrics_add(&run->common, WEIR_DAEMON_COUNT_reload_refused, 1);
        weir_log(WEIR_LOG_ERROR, "reload.refused", "reason=%s", weir_log_quote(why.text, quoted, sizeof quoted));
    } else {
        void *old = run->conf;
        run->conf = fresh;
        unload(run, old);
        apply_log_level(run);
        weir_metrics_add(&run->common, WEIR_DAEMON_COUNT_reload_done, 1);
        weir_log(WEIR_LOG_INFO, "reload.done", "config=%s", run->config);
    }
    sd_notify(0, "READY=1");
}

static void check_drained(void *ctx)
{
    struct running *run = ctx;
    bool done = run->program->drained == NULL || run->program->drained(run->self);
    if (!done && weir_mono_ms() < run->leave_mono_ms) return;
    weir_log(done ? WEIR_LOG_INFO : WEIR_LOG_WARN, done ? "drain.done" : "drain.late", "program=%s",
             run->program->name);
    weir_loop_stop(run->loop);
}

/** Begin to drain; when asked again, wait no longer. */
static void leave(struct running *run)
{
    if (run->leaving) {
        run->leave_mono_ms = 0;
        return;
    }
    run->leaving = true;
    run->leave_mono_ms = weir_mono_ms() + drain_ms(run);
    sd_notify(0, "STOPPING=1");
    weir_log(WEIR_LOG_INFO, "drain.begun", "deadline_ms=%" PRId64, drain_ms(run));
    if (run->program->drain != NULL) run->program->drain(run->self);
    if (weir_loop_every(run->loop, DRAIN_CHECK_MS, check_drained, run) < 0) weir_loop_stop(run->loop);
}

static void on_signal(void *ctx)
{
    struct running *run = ctx;
    struct signalfd_siginfo info;
    while (read(run->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            if (!run->leaving) reload(run);
        } else {
            leave(run);
        }
    }
}

static void tell_watchdog(void *ctx)
{
    (void)ctx;
    sd_notify(0, "WATCHDOG=1");
}

static void tell_line(void *ctx)
{
    struct running *run = ctx;
    struct weir_buf line = WEIR_BUF_INIT;
    run->program->line(run->self, &line);
    sd_notifyf(0, "STATUS=%s", weir_buf_cstr(&line));
    weir_buf_fini(&line);
}

/** /metrics, /livez, /readyz, and what the program has beside them. On the status thread. */
static void on_status(void *ctx, const struct weir_http_request *request, struct weir_http_reply *reply)
{
    struct running *run = ctx;
    const struct weir_program *program = run->program;
    bool created = atomic_load(&run->created);
    if (strcmp(request->method, "GET") != 0) {
        reply->status = 405;
    } else if (strcmp(request->path, "/livez") == 0) {
        weir_buf_text(&reply->body, "ok\n");
    } else if (strcmp(request->path, "/readyz") == 0) {
        struct weir_buf reason = WEIR_BUF_INIT;
        bool ready = created && (program->ready == NULL || program->ready(run->self, &reason));
        if (!ready) reply->status = 503;
        weir_buf_printf(&reply->body, "%s\n", ready ? "ok" : created ? weir_buf_cstr(&reason) : "starting");
        weir_buf_fini(&reason);
    } else if (strcmp(request->path, "/metrics") == 0) {
        reply->type = "text/plain; version=0.0.4; charset=utf-8";
        weir_buf_printf(&reply->body,
                        "# HELP weir_build_info The version that runs.\n# TYPE weir_build_info gauge\n"
                        "weir_build_info{program=\"%s\",version=\"" WEIR_VERSION "\"} 1\n",
                        program->name);
        weir_metrics_print(&run->common, NULL, NULL, &reply->body);
        if (created && program->refresh != NULL) program->refresh(run->self);
        weir_metrics_print(&run->metrics, created ? program->each : NULL, run->self, &reply->body);
    } else if (created && program->page != NULL && program->page(run->self, request->path, &reply->body)) {
        reply->type = "application/json";
    } else {
        reply->status = 404;
        weir_buf_text(&reply->body, "there are /metrics, /livez and /readyz\n");
    }
}

/** Signals are read from a descriptor; threads that are made later inherit the mask. */
static int block_signals(struct running *run, struct weir_why *why)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) return weir_why_set(why, WEIR_EIO, "signals: %s", strerror(errno));
    run->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return run->signals < 0 ? weir_why_set(why, WEIR_EIO, "signals: %s", strerror(errno)) : 0;
}

static int start_status(struct running *run, struct weir_why *why)
{
    struct weir_http_conf conf = {.address = status_address(run), .connections = 32};
    int rc = weir_http_create(&conf, on_status, run, &run->status, why);
    if (rc < 0) return weir_why_prefix(why, rc, "status");
    weir_log(WEIR_LOG_INFO, "status.listening", "address=%s", weir_http_address(run->status));
    return 0;
}

static int start(struct running *run, struct weir_why *why)
{
    const struct weir_program *program = run->program;
    int rc = block_signals(run, why);
    if (rc < 0) return rc;
    rc = weir_loop_create(&run->loop);
    if (rc < 0) return weir_why_set(why, rc, "main loop: %s", weir_err_text(rc));
    rc = weir_metrics_init(&run->metrics, program->metric_rows, program->metric_count);
    if (rc == 0) rc = weir_metrics_init(&run->common, weir_daemon_counter_rows, WEIR_DAEMON_COUNTERS);
    if (rc < 0) return weir_why_set(why, rc, "out of memory");
    run->daemon = (struct weir_daemon){.loop = run->loop, .metrics = &run->metrics, .common = &run->common};
    rc = start_status(run, why);
    if (rc < 0) return rc;

    rc = weir_loop_add_fd(run->loop, run->signals, on_signal, run);
    uint64_t watchdog_us = 0;
    if (rc == 0 && sd_watchdog_enabled(0, &watchdog_us) > 0) {
        rc = weir_loop_every(run->loop, (int64_t)(watchdog_us / 2000), tell_watchdog, run);
    }
    if (rc == 0 && program->line != NULL) rc = weir_loop_every(run->loop, STATUS_LINE_MS, tell_line, run);
    if (rc < 0) return weir_why_set(why, rc, "main loop: %s", weir_err_text(rc));

    rc = program->create(&run->daemon, run->conf, &run->self, why);
    if (rc < 0) return rc;
    atomic_store(&run->created, true);
    return 0;
}

/** SIGALRM, on whatever thread. */
static void teardown_hangs(int signal_number)
{
    static const char line[] = "end.late reason=\"a thread does not end\"\n";
    (void)signal_number;
    ssize_t written = write(STDERR_FILENO, line, sizeof line - 1);
    (void)written;
    _exit(EXIT_FAILURE);
}

/**
 * Run to the end of the process. Leaves by _exit: what must be durable is durable by then, and tearing down the
 * libraries' own threads can hang or crash (libzmq 4.3.4); a teardown that takes longer than TEARDOWN_S is left alone.
 */
static int run_daemon(struct running *run)
{
    struct weir_why why = {""};
    char quoted[600];
    apply_log_level(run);
    int rc = start(run, &why);
    if (rc < 0) {
        weir_log(WEIR_LOG_ERROR, "start.failed", "reason=%s",
                 weir_log_quote(why.text[0] == '\0' ? weir_err_text(rc) : why.text, quoted, sizeof quoted));
        _exit(EXIT_FAILURE);
    }
    weir_log(WEIR_LOG_INFO, "started", "program=%s version=%s pid=%d", run->program->name, WEIR_VERSION, (int)getpid());
    sd_notify(0, "READY=1");
    rc = weir_loop_run(run->loop);
    if (rc < 0) weir_log(WEIR_LOG_ERROR, "loop.failed", "reason=%s", weir_err_text(rc));
    signal(SIGALRM, teardown_hangs);
    alarm(TEARDOWN_S);
    weir_http_destroy(run->status);
    run->program->destroy(run->self);
    weir_log(WEIR_LOG_INFO, "ended", "program=%s", run->program->name);
    _exit(rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

static void print_help(const struct weir_program *program, FILE *out)
{
    const struct weir_program_word *word = program->word;
    char own[160] = "";
    char usage[64] = "";
    if (word != NULL) {
        snprintf(own, sizeof own, "      --%s %s   %s\n", word->name, word->value, word->help);
        snprintf(usage, sizeof usage, "--%s %s | ", word->name, word->value);
    }
    fprintf(out,
            "%s: %s\n\n"
            "usage: %s [--config FILE] [%s--check-config | --print-config | --version | --help]\n\n"
            "  -c, --config FILE   configuration (default /etc/weir/%s.conf)\n"
            "      --check-config  say whether the configuration is sound, and leave\n"
            "      --print-config  print all options with their values (without a configuration: their defaults)\n"
            "                      and what they mean, and leave\n"
            "%s"
            "      --version       print the version, and leave\n"
            "  -h, --help          print this, and leave\n\n"
            "SIGTERM drains and ends it, SIGHUP reloads the configuration. See %s(8).\n",
            program->name, program->summary, program->name, usage, program->name + strlen("weir-"), own, program->name);
}

static int print_config(const struct running *run)
{
    struct weir_buf text = WEIR_BUF_INIT;
    weir_conf_print(run->program->schema, run->conf, true, &text);
    fputs(weir_buf_cstr(&text), stdout);
    weir_buf_fini(&text);
    return EXIT_SUCCESS;
}

int weir_program_main(int argc, char **argv, const struct weir_program *program)
{
    enum { CHECK = 256, PRINT, VERSION, WORD };
    const struct weir_program_word *word = program->word;
    const char *value = "";
    const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, CHECK},
        {"print-config", no_argument, NULL, PRINT},
        {"version", no_argument, NULL, VERSION},
        {"help", no_argument, NULL, 'h'},
        {word == NULL ? NULL : word->name, required_argument, NULL, WORD},
        {NULL, 0, NULL, 0},
    };
    char preset[128];
    snprintf(preset, sizeof preset, "/etc/weir/%s.conf", program->name + strlen("weir-"));
    struct running run = {.program = program, .config = preset};
    int verb = 0;
    for (int c; (c = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        switch (c) {
        case 'c': run.config = optarg; break;
        case CHECK:
        case PRINT: verb = c; break;
        case WORD:
            verb = c;
            value = optarg;
            break;
        case VERSION: printf("%s %s\n", program->name, WEIR_VERSION); return EXIT_SUCCESS;
        case 'h': print_help(program, stdout); return EXIT_SUCCESS;
        default: print_help(program, stderr); return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "%s: unexpected word \"%s\"\n", program->name, argv[optind]);
        print_help(program, stderr);
        return EXIT_USAGE;
    }

    struct weir_why why = {""};
    bool defaults = verb == PRINT && run.config == preset && access(preset, F_OK) < 0;
    if ((defaults ? load_defaults(&run, &run.conf, &why) : load(&run, &run.conf, &why)) < 0) {
        fprintf(stderr, "%s: %s\n", program->name, why.text);
        return EXIT_FAILURE;
    }
    int status = EXIT_SUCCESS;
    if (verb == CHECK) printf("%s: %s is sound\n", program->name, run.config);
    if (verb == PRINT) status = print_config(&run);
    if (verb == 0) return run_daemon(&run);
    if (verb == WORD && word->run(run.conf, value, &why) < 0) {
        fprintf(stderr, "%s: %s\n", program->name, why.text);
        status = EXIT_FAILURE;
    }
    unload(&run, run.conf);
    return status;
}
