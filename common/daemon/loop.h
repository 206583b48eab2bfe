/**
 * The main loop of a daemon: file descriptors, timers and wake-ups from other threads, on one thread.
 *
 * Callbacks run on the loop's thread, one at a time. Only weir_loop_wake and weir_loop_stop may be called from others.
 */
#ifndef WEIR_COMMON_DAEMON_LOOP_H
#define WEIR_COMMON_DAEMON_LOOP_H

#include "common/base/err.h"

#include <stdint.h>

struct weir_loop;
typedef void weir_loop_fn(void *ctx);

/** An empty loop. WEIR_ENOMEM, WEIR_EIO. */
int weir_loop_create(struct weir_loop **ret);
void weir_loop_destroy(struct weir_loop *loop);

/** Call @fn whenever @fd can be read (level-triggered). The descriptor stays the caller's. WEIR_ENOMEM, WEIR_EIO. */
int weir_loop_add_fd(struct weir_loop *loop, int fd, weir_loop_fn *fn, void *ctx);
void weir_loop_remove_fd(struct weir_loop *loop, int fd);

/** Call @fn every @period_ms from now on. Missed ticks are not made up for. WEIR_ENOMEM. */
int weir_loop_every(struct weir_loop *loop, int64_t period_ms, weir_loop_fn *fn, void *ctx);

/** Call @fn on the loop's thread after each weir_loop_wake (several wake-ups may be one call). WEIR_ENOMEM. */
int weir_loop_on_wake(struct weir_loop *loop, weir_loop_fn *fn, void *ctx);

/** Any thread, and signal handlers. */
void weir_loop_wake(struct weir_loop *loop);

/** Run until weir_loop_stop. WEIR_EIO. */
int weir_loop_run(struct weir_loop *loop);

/** Let weir_loop_run return after the callback that runs now. Any thread. */
void weir_loop_stop(struct weir_loop *loop);

#endif
