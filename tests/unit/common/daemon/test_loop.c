#include "common/daemon/loop.h"

#include <pthread.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

struct seen {
    struct weir_loop *loop;
    int pipe[2];
    int reads;
    int ticks;
    int wakes;
};

static void on_readable(void *ctx)
{
    struct seen *seen = ctx;
    char byte;
    assert_int_equal(read(seen->pipe[0], &byte, 1), 1);
    if (++seen->reads == 2) weir_loop_remove_fd(seen->loop, seen->pipe[0]);
}

static void on_tick(void *ctx)
{
    struct seen *seen = ctx;
    if (++seen->ticks == 3) weir_loop_stop(seen->loop);
}

static void on_wake(void *ctx)
{
    struct seen *seen = ctx;
    seen->wakes++;
}

static void *wake_from_elsewhere(void *arg)
{
    weir_loop_wake(arg);
    return NULL;
}

static void readable_descriptors_timers_and_wakes_run_until_stopped(void **state)
{
    (void)state;
    struct seen seen = {0};
    assert_int_equal(weir_loop_create(&seen.loop), 0);
    assert_int_equal(pipe(seen.pipe), 0);
    assert_int_equal(weir_loop_add_fd(seen.loop, seen.pipe[0], on_readable, &seen), 0);
    assert_int_equal(weir_loop_every(seen.loop, 5, on_tick, &seen), 0);
    assert_int_equal(weir_loop_on_wake(seen.loop, on_wake, &seen), 0);
    assert_int_equal(write(seen.pipe[1], "abc", 3), 3);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, wake_from_elsewhere, seen.loop), 0);
    pthread_join(thread, NULL);

    assert_int_equal(weir_loop_run(seen.loop), 0);
    assert_int_equal(seen.reads, 2); /* removed with one byte left */
    assert_int_equal(seen.ticks, 3);
    assert_int_equal(seen.wakes, 1);
    close(seen.pipe[0]);
    close(seen.pipe[1]);
    weir_loop_destroy(seen.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(readable_descriptors_timers_and_wakes_run_until_stopped)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
