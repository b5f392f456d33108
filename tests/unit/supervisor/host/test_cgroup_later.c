/* test_cgroup_later.c - a write that takes its time (a full FIFO) holds up nobody but itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/host/cgroup_later.h"

struct told {
    struct loop *loop;
    int reader;
    unsigned turns, done;
    struct cgroup_later_write writes[CGROUP_LATER_MAX];
};

static void on_done(void *context, const struct cgroup_later_write *writes, size_t count)
{
    struct told *told = context;

    told->done++;
    memcpy(told->writes, writes, count * sizeof *writes);
    loop_stop(told->loop);
}

/* The loop goes on; in its tenth turn somebody reads. */
static void on_timer(void *context)
{
    struct told *told = context;
    char gulp[65536];

    assert_int_equal(told->done, 0);
    told->turns++;
    assert_true(read(told->reader, gulp, sizeof gulp) > 0);
}

static int full_pipe(int ends[2])
{
    static const char block[4096];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    while (write(ends[1], block, sizeof block) > 0)
        ;
    assert_int_equal(errno, EAGAIN);
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
    return ends[1];
}

static void a_slow_write_holds_nobody_up(void **state)
{
    struct told told = { .loop = loop_new(NULL) };
    struct loop_timer *timer = loop_timer_new(told.loop, on_timer, &told);
    struct cgroup_later *later = cgroup_later_new(on_done, &told);
    int ends[2];

    (void)state;
    assert_true(cgroup_later_add(later, full_pipe(ends), 0, "1048576"));
    assert_true(cgroup_later_add(later, open("/dev/full", O_WRONLY | O_CLOEXEC), 1, "max"));
    told.reader = ends[0];
    assert_int_equal(cgroup_later_count(later), 2);
    assert_true(cgroup_later_start(later, told.loop));
    loop_timer_arm(timer, 20);
    alarm(30); /* ends us */
    loop_run(told.loop, NULL, NULL);
    alarm(0);
    assert_int_equal(told.turns, 1);
    assert_int_equal(told.done, 1);
    assert_int_equal(told.writes[0].rc, 0);
    assert_int_equal(told.writes[1].rc, -ENOSPC);
    assert_int_equal(told.writes[1].limit, 1);
    loop_timer_free(timer);
    close(ends[0]);
    loop_free(told.loop);
}

static void drain(void *context)
{
    struct told *told = context;

    on_timer(told);
    loop_stop(told->loop);
}

static void what_is_forgotten_tells_nothing(void **state)
{
    struct told told = { .loop = loop_new(NULL) };
    struct loop_timer *timer = loop_timer_new(told.loop, drain, &told);
    struct cgroup_later *later = cgroup_later_new(on_done, &told);
    int ends[2];

    (void)state;
    assert_true(cgroup_later_add(later, full_pipe(ends), 0, "1"));
    told.reader = ends[0];
    assert_true(cgroup_later_start(later, told.loop));
    cgroup_later_forget(later);
    loop_timer_arm(timer, 20);
    loop_run(told.loop, NULL, NULL);
    loop_timer_free(timer);
    loop_free(told.loop); /* waits for the thread */
    assert_int_equal(told.done, 0);
    close(ends[0]);
}

static void there_is_a_limit(void **state)
{
    struct cgroup_later *later = cgroup_later_new(on_done, NULL);

    (void)state;
    for (int i = 0; i <= CGROUP_LATER_MAX; i++)
        assert_int_equal(cgroup_later_add(later, dup(1), 0, "x"), i < CGROUP_LATER_MAX);
    cgroup_later_free(later);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_slow_write_holds_nobody_up),
                                        cmocka_unit_test(what_is_forgotten_tells_nothing),
                                        cmocka_unit_test(there_is_a_limit) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
