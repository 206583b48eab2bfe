#include "common/daemon/loop.h"

#include "common/base/clock.h"
#include "common/base/mem.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { EVENTS_AT_ONCE = 64 };

enum watch_kind { WATCH_FD, WATCH_TIMER, WATCH_WAKE };

struct watch {
    enum watch_kind kind;
    int fd; /* -1: removed; freed after the round in which that happened */
    int64_t period_ms;
    int64_t due_mono_ms;
    weir_loop_fn *fn;
    void *ctx;
    struct watch *next;
};

struct weir_loop {
    int epoll;
    int wake;
    atomic_bool stopping;
    struct watch *watches;
};

int weir_loop_create(struct weir_loop **ret)
{
    struct weir_loop *loop = weir_calloc(1, sizeof *loop);
    if (loop == NULL) return WEIR_ENOMEM;
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (loop->epoll < 0 || loop->wake < 0 || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &event) < 0) {
        weir_loop_destroy(loop);
        return WEIR_EIO;
    }
    *ret = loop;
    return 0;
}

void weir_loop_destroy(struct weir_loop *loop)
{
    if (loop == NULL) return;
    while (loop->watches != NULL) {
        struct watch *watch = loop->watches;
        loop->watches = watch->next;
        weir_free(watch);
    }
    if (loop->epoll >= 0) close(loop->epoll);
    if (loop->wake >= 0) close(loop->wake);
    weir_free(loop);
}

/** A new watch at the end of the list, so that callbacks run in the order in which they were added. */
static struct watch *watch_add(struct weir_loop *loop, enum watch_kind kind, weir_loop_fn *fn, void *ctx)
{
    struct watch *watch = weir_calloc(1, sizeof *watch);
    if (watch == NULL) return NULL;
    *watch = (struct watch){.kind = kind, .fd = -1, .fn = fn, .ctx = ctx};
    struct watch **end = &loop->watches;
    while (*end != NULL)
        end = &(*end)->next;
    *end = watch;
    return watch;
}

int weir_loop_add_fd(struct weir_loop *loop, int fd, weir_loop_fn *fn, void *ctx)
{
    struct watch *watch = watch_add(loop, WATCH_FD, fn, ctx);
    if (watch == NULL) return WEIR_ENOMEM;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = watch};
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0) return WEIR_EIO;
    watch->fd = fd;
    return 0;
}

void weir_loop_remove_fd(struct weir_loop *loop, int fd)
{
    for (struct watch *watch = loop->watches; watch != NULL; watch = watch->next) {
        if (watch->kind != WATCH_FD || watch->fd != fd) continue;
        epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
        watch->fd = -1;
    }
}

int weir_loop_every(struct weir_loop *loop, int64_t period_ms, weir_loop_fn *fn, void *ctx)
{
    struct watch *watch = watch_add(loop, WATCH_TIMER, fn, ctx);
    if (watch == NULL) return WEIR_ENOMEM;
    watch->period_ms = period_ms;
    watch->due_mono_ms = weir_mono_ms() + period_ms;
    return 0;
}

int weir_loop_on_wake(struct weir_loop *loop, weir_loop_fn *fn, void *ctx)
{
    return watch_add(loop, WATCH_WAKE, fn, ctx) == NULL ? WEIR_ENOMEM : 0;
}

void weir_loop_wake(struct weir_loop *loop)
{
    int kept_errno = errno;
    uint64_t one = 1;
    ssize_t written = write(loop->wake, &one, sizeof one);
    (void)written;
    errno = kept_errno;
}

void weir_loop_stop(struct weir_loop *loop)
{
    atomic_store(&loop->stopping, true);
    weir_loop_wake(loop);
}

/** Milliseconds until the next timer is due, or -1 when there is none. */
static int until_next_timer(const struct weir_loop *loop)
{
    int64_t next = INT64_MAX;
    for (const struct watch *watch = loop->watches; watch != NULL; watch = watch->next) {
        if (watch->kind == WATCH_TIMER && watch->due_mono_ms < next) next = watch->due_mono_ms;
    }
    if (next == INT64_MAX) return -1;
    int64_t wait = next - weir_mono_ms();
    if (wait < 0) return 0;
    return wait > 60000 ? 60000 : (int)wait;
}

static void run_timers(struct weir_loop *loop)
{
    int64_t now = weir_mono_ms();
    for (struct watch *watch = loop->watches; watch != NULL && !atomic_load(&loop->stopping); watch = watch->next) {
        if (watch->kind != WATCH_TIMER || watch->due_mono_ms > now) continue;
        watch->due_mono_ms += watch->period_ms;
        if (watch->due_mono_ms <= now) watch->due_mono_ms = now + watch->period_ms;
        watch->fn(watch->ctx);
    }
}

static void run_wakes(struct weir_loop *loop)
{
    uint64_t count;
    if (read(loop->wake, &count, sizeof count) < 0) return;
    for (struct watch *watch = loop->watches; watch != NULL && !atomic_load(&loop->stopping); watch = watch->next) {
        if (watch->kind == WATCH_WAKE) watch->fn(watch->ctx);
    }
}

/** Free the watches of descriptors that callbacks of this round have removed. */
static void sweep(struct weir_loop *loop)
{
    for (struct watch **at = &loop->watches; *at != NULL;) {
        struct watch *watch = *at;
        if (watch->kind == WATCH_FD && watch->fd < 0) {
            *at = watch->next;
            weir_free(watch);
        } else {
            at = &watch->next;
        }
    }
}

int weir_loop_run(struct weir_loop *loop)
{
    while (!atomic_load(&loop->stopping)) {
        struct epoll_event events[EVENTS_AT_ONCE];
        int count = epoll_wait(loop->epoll, events, EVENTS_AT_ONCE, until_next_timer(loop));
        if (count < 0 && errno != EINTR) return WEIR_EIO;
        for (int i = 0; i < count && !atomic_load(&loop->stopping); i++) {
            struct watch *watch = events[i].data.ptr;
            if (watch == NULL) {
                run_wakes(loop);
            } else if (watch->fd >= 0) {
                watch->fn(watch->ctx);
            }
        }
        run_timers(loop);
        sweep(loop);
    }
    atomic_store(&loop->stopping, false);
    return 0;
}
