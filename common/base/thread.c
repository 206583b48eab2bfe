#include "common/base/thread.h"

#include <signal.h>
#include <stdio.h>

int weir_thread_start(pthread_t *thread, const char *name, void *(*run)(void *ctx), void *ctx)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(thread, NULL, run, ctx);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) return error;
    char shown[16];
    snprintf(shown, sizeof shown, "%s", name);
    pthread_setname_np(*thread, shown);
    return 0;
}
