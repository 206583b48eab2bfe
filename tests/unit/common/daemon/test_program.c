#include "common/daemon/program.h"

#include "common/base/clock.h"
#include "tests/support/folder.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

enum { WAIT_MS = 10000 };

/* A program to be run: it is ready when its option `word` is "yes". */
struct sample_conf {
#define WEIR_OPTIONS "tests/unit/common/daemon/sample_options.def"
#include "common/conf/option_fields.h"
};
extern const struct weir_schema sample_conf_schema;
#define WEIR_OPTIONS        "tests/unit/common/daemon/sample_options.def"
#define WEIR_OPTIONS_STRUCT sample_conf
#include "common/conf/option_rows.h"

enum trouble { TROUBLE_NONE, TROUBLE_START, TROUBLE_DRAIN };

static const struct weir_metric_row rows[] = {
    {.name = "sample_starts_total", .labels = "", .help = "Starts.", .kind = WEIR_METRIC_COUNTER}};
static const struct sample_conf *sample;

static int sample_create(const struct weir_daemon *daemon, const void *conf, void **ret, struct weir_why *why)
{
    sample = conf;
    if (sample->trouble == TROUBLE_START) return weir_why_set(why, WEIR_EIO, "no \"water\"");
    weir_metrics_add(daemon->metrics, 0, 1);
    *ret = &sample;
    return 0;
}

static int sample_reload(void *self, const void *conf, struct weir_why *why)
{
    const struct sample_conf *fresh = conf;
    if (strcmp(fresh->word, "never") == 0) return weir_why_set(why, WEIR_EPARAM, "word: never say never");
    *(const struct sample_conf **)self = fresh;
    return 0;
}

static bool sample_drained(void *self)
{
    return (*(const struct sample_conf **)self)->trouble != TROUBLE_DRAIN;
}

static bool sample_ready(void *self, struct weir_buf *reason)
{
    (void)self;
    weir_buf_text(reason, "the word is not yes");
    return strcmp(sample->word, "yes") == 0;
}

static void sample_destroy(void *self)
{
    (void)self;
}

static const struct weir_program program = {
    .name = "weir-sample",
    .summary = "a program for tests",
    .schema = &sample_conf_schema,
    .metric_rows = rows,
    .metric_count = 1,
    .create = sample_create,
    .reload = sample_reload,
    .drained = sample_drained,
    .ready = sample_ready,
    .destroy = sample_destroy,
};

/** A run of the program in a process of its own, as its service manager sees it. */
struct run {
    char folder[FOLDER_BYTES];
    char conf[FOLDER_BYTES + 16];
    pid_t pid;
    int output; /* stdout and stderr */
    int notify; /* what it tells the service manager */
    char text[1 << 16];
    size_t size;
};

static void write_conf(const struct run *run, const char *text)
{
    FILE *file = fopen(run->conf, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void prepare(struct run *run, const char *conf)
{
    *run = (struct run){.pid = -1};
    make_folder(run->folder);
    snprintf(run->conf, sizeof run->conf, "%s/sample.conf", run->folder);
    write_conf(run, conf);

    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s/notify", run->folder);
    run->notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(run->notify >= 0);
    assert_int_equal(bind(run->notify, (struct sockaddr *)&at, sizeof at), 0);
}

/** Run the program with these words. */
static void start_words(struct run *run, char **words)
{
    int count = 0;
    while (words[count] != NULL)
        count++;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    run->pid = fork();
    assert_true(run->pid >= 0);
    if (run->pid == 0) {
        char notify[FOLDER_BYTES + 16];
        snprintf(notify, sizeof notify, "%s/notify", run->folder);
        setenv("NOTIFY_SOCKET", notify, 1);
        unsetenv("JOURNAL_STREAM");
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        int status = weir_program_main(count, words, &program);
        fflush(NULL);
        _exit(status);
    }
    close(ends[1]);
    run->output = ends[0];
}

/** Run the program with its configuration and, when not NULL, one more word. */
static void start(struct run *run, const char *verb)
{
    char *words[] = {(char *)(uintptr_t)program.name, (char *)(uintptr_t) "--config", run->conf,
                     (char *)(uintptr_t)verb, NULL};
    start_words(run, words);
}

/** Read until the output has @words, behind @from. */
static const char *await(struct run *run, size_t from, const char *words)
{
    int64_t deadline = weir_mono_ms() + WAIT_MS;
    for (;;) {
        const char *found = strstr(run->text + from, words);
        if (found != NULL) return found;
        struct pollfd fd = {.fd = run->output, .events = POLLIN};
        if (poll(&fd, 1, (int)(deadline - weir_mono_ms())) <= 0) fail_msg("no \"%s\" in: %s", words, run->text);
        ssize_t got = read(run->output, run->text + run->size, sizeof run->text - 1 - run->size);
        if (got <= 0) fail_msg("no \"%s\" in: %s", words, run->text);
        run->size += (size_t)got;
    }
}

static void await_notice(const struct run *run, const char *words)
{
    char text[512];
    struct pollfd fd = {.fd = run->notify, .events = POLLIN};
    if (poll(&fd, 1, WAIT_MS) <= 0) fail_msg("no notice \"%s\"", words);
    ssize_t got = recv(run->notify, text, sizeof text - 1, 0);
    assert_true(got > 0);
    text[got] = '\0';
    assert_int_equal(strncmp(text, words, strlen(words)), 0);
}

/** The exit status. Gives everything back. */
static int finish(struct run *run)
{
    int status = 0;
    for (ssize_t got = 1; got > 0 && run->size < sizeof run->text - 1; run->size += (size_t)got) {
        got = read(run->output, run->text + run->size, sizeof run->text - 1 - run->size);
        if (got < 0) break;
    }
    assert_int_equal(waitpid(run->pid, &status, 0), run->pid);
    close(run->output);
    close(run->notify);
    remove_folder(run->folder);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/** The whole reply of the status listener. */
static void ask_status(struct run *run, const char *method, const char *path, char reply[4096])
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    const char *address = await(run, 0, "status.listening address=127.0.0.1:");
    to.sin_port = htons((uint16_t)atoi(strrchr(strndupa(address, strcspn(address, "\n")), ':') + 1));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    dprintf(fd, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", method, path);
    size_t size = 0;
    for (ssize_t got; (got = read(fd, reply + size, 4095 - size)) > 0;)
        size += (size_t)got;
    reply[size] = '\0';
    close(fd);
}

static void a_program_gets_ready_answers_reloads_and_drains(void **state)
{
    (void)state;
    struct run run;
    char reply[4096];
    prepare(&run, "name = \"a\";");
    start(&run, NULL);
    await_notice(&run, "READY=1");

    ask_status(&run, "GET", "/livez", reply);
    assert_non_null(strstr(reply, "200 OK"));
    ask_status(&run, "GET", "/readyz", reply);
    assert_non_null(strstr(reply, "503 Service Unavailable"));
    assert_non_null(strstr(reply, "the word is not yes\n"));
    ask_status(&run, "GET", "/metrics", reply);
    assert_non_null(strstr(reply, "weir_build_info{program=\"weir-sample\",version=\"" WEIR_VERSION "\"} 1\n"));
    assert_non_null(strstr(reply, "# TYPE sample_starts_total counter\nsample_starts_total 1\n"));
    ask_status(&run, "GET", "/else", reply);
    assert_non_null(strstr(reply, "404 Not Found"));
    ask_status(&run, "POST", "/livez", reply);
    assert_non_null(strstr(reply, "405 Method Not Allowed"));

    write_conf(&run, "name = \"a\"; word = \"yes\";");
    kill(run.pid, SIGHUP);
    await_notice(&run, "RELOADING=1");
    await_notice(&run, "READY=1");
    ask_status(&run, "GET", "/readyz", reply);
    assert_non_null(strstr(reply, "200 OK"));

    kill(run.pid, SIGTERM);
    await_notice(&run, "STOPPING=1");
    assert_int_equal(finish(&run), 0);
    assert_non_null(strstr(run.text, "drain.done"));
}

static void a_reload_that_cannot_be_leaves_all_as_it_was(void **state)
{
    (void)state;
    static const struct {
        const char *conf;
        const char *reason;
    } cases[] = {
        {"name = \"b\"; word = \"no\";", "sample.conf: name cannot change while running: restart weir-sample\""},
        {"name = \"a\"; word = \"never\";", "word: never say never\""},
        {"name = \"a\"; wrd = \"no\";", "sample.conf:1: wrd: unknown option; did you mean \\\"word\\\"?\""},
        {"name =", "sample.conf:1: syntax error\""},
    };
    struct run run;
    char reply[4096];
    prepare(&run, "name = \"a\"; word = \"yes\";");
    start(&run, NULL);
    await_notice(&run, "READY=1");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t from = run.size;
        write_conf(&run, cases[i].conf);
        kill(run.pid, SIGHUP);
        await_notice(&run, "RELOADING=1");
        await_notice(&run, "READY=1");
        const char *line = await(&run, from, "reload.refused");
        await(&run, (size_t)(line - run.text), cases[i].reason);
        ask_status(&run, "GET", "/readyz", reply);
        assert_non_null(strstr(reply, "200 OK"));
    }
    kill(run.pid, SIGINT);
    assert_int_equal(finish(&run), 0);
}

static void what_does_not_drain_is_left_at_the_deadline(void **state)
{
    (void)state;
    struct run run;
    prepare(&run, "name = \"a\"; trouble = \"drain\"; drain = \"60ms\";");
    start(&run, NULL);
    await_notice(&run, "READY=1");
    kill(run.pid, SIGTERM);
    assert_int_equal(finish(&run), 0);
    assert_non_null(strstr(run.text, "drain.late"));
}

static void a_second_signal_ends_the_wait(void **state)
{
    (void)state;
    struct run run;
    prepare(&run, "name = \"a\"; trouble = \"drain\"; drain = \"1h\";");
    start(&run, NULL);
    await_notice(&run, "READY=1");
    kill(run.pid, SIGTERM);
    await_notice(&run, "STOPPING=1");
    kill(run.pid, SIGTERM);
    assert_int_equal(finish(&run), 0);
    assert_non_null(strstr(run.text, "drain.late"));
}

static void a_start_that_fails_says_why(void **state)
{
    (void)state;
    struct run run;
    prepare(&run, "name = \"a\"; trouble = \"start\";");
    start(&run, NULL);
    assert_int_equal(finish(&run), 1);
    assert_non_null(strstr(run.text, "start.failed reason=\"no \\\"water\\\"\""));

    prepare(&run, "name = \"a\"; status = \"192.0.2.1:0\";");
    start(&run, NULL);
    assert_int_equal(finish(&run), 1);
    assert_non_null(strstr(run.text, "start.failed reason=\"status: http: 192.0.2.1:0 is not a loopback address"));
}

static void a_configuration_is_checked_and_printed_without_starting(void **state)
{
    (void)state;
    static const struct {
        const char *verb;
        const char *conf;
        int status;
        const char *output;
    } cases[] = {
        {"--check-config", "name = \"a\";", 0, "/sample.conf is sound\n"},
        {"--check-config", "word = \"yes\";", 1, "/sample.conf: name: must be set: A name.\n"},
        {"--print-config", "name = \"a\"; word = \"yes\";", 0, "# A name.\nname = \"a\";\n\n# Ready when it is"},
        {"--version", "", 0, "weir-sample " WEIR_VERSION "\n"},
        {"--help", "", 0, "weir-sample: a program for tests\n\nusage: weir-sample [--config FILE]"},
        {"--nonsense", "", 2, "unrecognized option"},
        {"nonsense", "", 2, "weir-sample: unexpected word \"nonsense\"\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run run;
        prepare(&run, cases[i].conf);
        start(&run, cases[i].verb);
        assert_int_equal(finish(&run), cases[i].status);
        if (strstr(run.text, cases[i].output) == NULL) fail_msg("%s: %s", cases[i].verb, run.text);
    }
}

static void without_a_configuration_the_defaults_are_printed(void **state)
{
    (void)state;
    char *argv[] = {(char *)(uintptr_t)program.name, (char *)(uintptr_t) "--print-config", NULL};
    struct run run;
    prepare(&run, "");
    start_words(&run, argv);
    assert_int_equal(finish(&run), 0);
    assert_non_null(strstr(run.text, "name = \"\";\n"));
    assert_non_null(strstr(run.text, "drain = \"10s\";\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_gets_ready_answers_reloads_and_drains),
        cmocka_unit_test(a_reload_that_cannot_be_leaves_all_as_it_was),
        cmocka_unit_test(what_does_not_drain_is_left_at_the_deadline),
        cmocka_unit_test(a_second_signal_ends_the_wait),
        cmocka_unit_test(a_start_that_fails_says_why),
        cmocka_unit_test(a_configuration_is_checked_and_printed_without_starting),
        cmocka_unit_test(without_a_configuration_the_defaults_are_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
