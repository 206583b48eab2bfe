/** weir config check: let the daemon whose file it is say whether it is sound. */
#include "console/cli/cli.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/** The daemon of "agent.conf", "/x/broker-fra.conf"; NULL when the name says nothing. */
static const char *daemon_of(const char *file)
{
    static const char *const daemons[] = {"agent", "broker", "aggregator", "console"};
    const char *name = strrchr(file, '/') == NULL ? file : strrchr(file, '/') + 1;
    for (size_t i = 0; i < sizeof daemons / sizeof daemons[0]; i++) {
        if (strncmp(name, daemons[i], strlen(daemons[i])) == 0) return daemons[i];
    }
    return NULL;
}

/** Run the daemon: from beside this program when it is there, else from the path. */
static void run_daemon(const char *daemon, const char *file)
{
    char self[4096];
    char beside[4200];
    char name[64];
    snprintf(name, sizeof name, "weir-%s", daemon);
    ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    self[size < 0 ? 0 : size] = '\0';
    char *const words[] = {name, strdup("--check-config"), strdup("--config"), strdup(file), NULL};
    const char *folder = dirname(self);
    snprintf(beside, sizeof beside, "%s/weir-%s", folder, daemon);
    execv(beside, words);
    snprintf(beside, sizeof beside, "%s/../sbin/weir-%s", folder, daemon);
    execv(beside, words);
    execvp(name, words);
    fprintf(stderr, "weir: %s: %s\n", name, strerror(errno));
    _exit(CLI_INTERNAL);
}

enum cli_exit cli_config(const struct cli_args *args)
{
    if (args->word_count != 2 || strcmp(args->words[0], "check") != 0) {
        return cli_fail(CLI_USAGE, "usage: weir config check FILE");
    }
    const char *daemon = daemon_of(args->words[1]);
    if (daemon == NULL) {
        return cli_fail(CLI_USAGE,
                        "%s: whose file is this? Its name must begin with agent, broker, aggregator or console",
                        args->words[1]);
    }
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) return cli_fail(CLI_INTERNAL, "fork: %s", strerror(errno));
    if (child == 0) run_daemon(daemon, args->words[1]);
    int status;
    if (waitpid(child, &status, 0) < 0) return cli_fail(CLI_INTERNAL, "wait: %s", strerror(errno));
    if (!WIFEXITED(status)) return CLI_INTERNAL;
    return WEXITSTATUS(status) == 0   ? CLI_OK
           : WEXITSTATUS(status) == 1 ? CLI_FOUND
                                      : (enum cli_exit)WEXITSTATUS(status);
}
