/** Starting threads: the one way, so that each has a name and no signals. */
#ifndef WEIR_COMMON_BASE_THREAD_H
#define WEIR_COMMON_BASE_THREAD_H

#include <pthread.h>

/**
 * Start @run(@ctx) as a thread that the system shows as @name (15 characters of it), with all signals blocked: they are
 * the main thread's. Returns 0, or an errno value as pthread_create(3). Any thread.
 */
int weir_thread_start(pthread_t *thread, const char *name, void *(*run)(void *ctx), void *ctx);

#endif
