/* test_loop.c - turns, timers, descriptors, signals and work, each dropped at awkward moments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/child.h"
#include "base/clock.h"
#include "io/loop.h"

enum { DEADLINE_MS = 10 * 1000, MANY = 5 };

struct fixture {
    struct loop *loop;
    struct loop_timer *guard, *timer, *other;
    struct loop_watch *watch;
    struct loop_signal *signal;
    struct loop_work *work;
    int turns, calls, others, done, released, last_signal;
    unsigned events;
    int fd;
    bool late, work_may_go_on;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static void on_guard(void *context)
{
    struct fixture *f = context;
    f->late = true;
    loop_stop(f->loop);
}

static int set_up(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof(f));
    f.loop = loop_new(NULL);
    f.guard = loop_timer_new(f.loop, on_guard, &f);
    loop_timer_arm(f.guard, DEADLINE_MS);
    pthread_mutex_init(&f.lock, NULL);
    pthread_cond_init(&f.changed, NULL);
    f.fd = -1;
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    loop_timer_free(f->guard);
    loop_timer_free(f->timer);
    loop_timer_free(f->other);
    loop_watch_free(f->watch);
    loop_signal_free(f->signal);
    loop_free(f->loop);
    if (f->fd >= 0)
        close(f->fd);
    return f->late ? -1 : 0;
}

static void stop_at_turn_three(void *context)
{
    struct fixture *f = context;
    if (++f->turns == 3)
        loop_stop(f->loop);
}

static void count(void *context)
{
    struct fixture *f = context;
    f->calls++;
}

static void turn_runs_before_the_first_sleep_and_after_each(void **state)
{
    struct fixture *f = *state;
    f->timer = loop_timer_new(f->loop, count, f);
    f->other = loop_timer_new(f->loop, count, f);
    loop_timer_arm(f->timer, 0);
    loop_timer_arm(f->other, 2);
    loop_run(f->loop, stop_at_turn_three, f);
    assert_int_equal(f->turns, 3);
    assert_int_equal(f->calls, 2);
    assert_false(f->late);
}

static void stop_before_the_run_is_kept(void **state)
{
    struct fixture *f = *state;
    loop_stop(f->loop);
    loop_run(f->loop, stop_at_turn_three, f);
    assert_int_equal(f->turns, 0);
    f->turns = 2; /* and it is used up */
    loop_run(f->loop, stop_at_turn_three, f);
    assert_int_equal(f->turns, 3);
}

static void rearm(void *context)
{
    struct fixture *f = context;
    assert_false(loop_timer_armed(f->timer));
    if (++f->calls == MANY)
        loop_stop(f->loop);
    else
        loop_timer_arm(f->timer, 0);
}

static void count_turn(void *context)
{
    struct fixture *f = context;
    f->turns++;
}

static void timer_that_arms_itself_waits_for_the_next_turn(void **state)
{
    struct fixture *f = *state;
    f->timer = loop_timer_new(f->loop, rearm, f);
    loop_timer_arm(f->timer, 0);
    assert_true(loop_timer_armed(f->timer));
    loop_run(f->loop, count_turn, f);
    assert_int_equal(f->calls, MANY);
    assert_int_equal(f->turns, MANY + 1);
}

static void free_both(void *context)
{
    struct fixture *f = context;
    f->calls++;
    loop_timer_free(f->timer);
    loop_timer_free(f->other);
    f->timer = f->other = NULL;
    loop_stop(f->loop);
}

static void set_called(void *context) { ((struct fixture *)context)->calls++; }

/* The timer becomes due while the turn is busy. */
static void turn_that_takes_long(void *context)
{
    struct fixture *f = context;

    if (f->calls > 0)
        loop_stop(f->loop);
    if (f->turns++ > 0)
        return;
    loop_timer_arm(f->timer, 1);
    usleep(5000);
}

static void turn_comes_after_a_timer_that_was_due_before_the_sleep(void **state)
{
    struct fixture *f = *state;

    f->timer = loop_timer_new(f->loop, set_called, f);
    loop_run(f->loop, turn_that_takes_long, f);
    assert_int_equal(f->calls, 1);
    assert_false(f->late);
}

static void timers_may_be_freed_by_one_another(void **state)
{
    struct fixture *f = *state;
    for (int delay = 0; delay < 2; delay++) {
        f->timer = loop_timer_new(f->loop, free_both, f);
        f->other = loop_timer_new(f->loop, free_both, f);
        loop_timer_arm(f->timer, delay);
        loop_timer_arm(f->other, delay);
        loop_run(f->loop, NULL, NULL);
        assert_int_equal(f->calls, delay + 1); /* the other one never ran */
    }
}

static void stop(void *context)
{
    struct fixture *f = context;
    f->others++;
    loop_stop(f->loop);
}

static void later_deadline_replaces_the_earlier(void **state)
{
    struct fixture *f = *state;
    int64_t begin = loop_now_ms(f->loop);
    f->timer = loop_timer_new(f->loop, count, f);
    f->other = loop_timer_new(f->loop, stop, f);
    loop_timer_arm(f->timer, 0);
    loop_timer_arm(f->timer, DEADLINE_MS);
    loop_timer_arm(f->other, 1);
    loop_timer_arm(f->other, 20);
    loop_run(f->loop, NULL, NULL);
    assert_int_equal(f->calls, 0);
    assert_true(loop_now_ms(f->loop) - begin >= 20);
    assert_true(loop_timer_armed(f->timer));
    loop_timer_disarm(f->timer);
    assert_false(loop_timer_armed(f->timer));
}

static void on_events(void *context, unsigned events)
{
    struct fixture *f = context;
    char bytes[16];
    f->calls++;
    f->events = events;
    if (events & LOOP_READ && f->calls == 2)
        f->turns = (int)read(f->fd, bytes, sizeof(bytes));
    if (f->calls == 2)
        loop_stop(f->loop);
}

static void readiness_is_told_until_it_is_used(void **state)
{
    struct fixture *f = *state;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    f->fd = pair[0];
    f->watch = loop_watch_new(f->loop, pair[0], on_events, f, NULL);
    assert_true(fcntl(pair[0], F_GETFL) & O_NONBLOCK);
    assert_int_equal(write(pair[1], "abc", 3), 3);
    loop_watch_set(f->watch, LOOP_READ);
    loop_run(f->loop, NULL, NULL);
    assert_int_equal(f->turns, 3);
    assert_int_equal(f->events, LOOP_READ);
    loop_watch_set(f->watch, LOOP_READ | LOOP_WRITE);
    f->calls = 1;
    loop_run(f->loop, NULL, NULL);
    assert_int_equal(f->events, LOOP_WRITE);
    loop_watch_set(f->watch, LOOP_HANGUP);
    close(pair[1]);
    f->calls = 1;
    loop_run(f->loop, NULL, NULL);
    assert_int_equal(f->events, LOOP_HANGUP);
}

static void broken_pipe_shows_as_hangup(void **state)
{
    struct fixture *f = *state;
    int pair[2];
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    f->fd = pair[1];
    f->watch = loop_watch_new(f->loop, pair[1], on_events, f, NULL);
    close(pair[0]);
    loop_watch_set(f->watch, LOOP_WRITE);
    loop_run(f->loop, NULL, NULL); /* twice, as long as it is watched */
    assert_int_equal(f->events, LOOP_WRITE | LOOP_HANGUP);
    assert_int_equal(f->calls, 2);
    assert_int_equal(write(pair[1], "x", 1), -1); /* no signal */
    assert_int_equal(errno, EPIPE);
}

static void free_watch(void *context, unsigned events)
{
    struct fixture *f = context;
    (void)events;
    f->calls++;
    loop_watch_free(f->watch);
    f->watch = NULL;
    close(f->fd);
    f->fd = -1;
    loop_timer_arm(f->timer, 1);
}

static void watch_may_be_freed_and_its_number_used_again(void **state)
{
    struct fixture *f = *state;
    int pair[2];
    f->timer = loop_timer_new(f->loop, stop, f);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        f->fd = pair[0];
        f->watch = loop_watch_new(f->loop, f->fd, free_watch, f, NULL);
        assert_non_null(f->watch);
        loop_watch_set(f->watch, LOOP_READ);
        close(pair[1]);
        loop_run(f->loop, NULL, NULL);
        assert_int_equal(f->calls, i + 1);
    }
}

static void what_cannot_be_watched_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct err err;
    f->fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_null(loop_watch_new(f->loop, f->fd, on_events, f, &err));
    assert_int_equal(err.code, ERR_SYSTEM);
    assert_int_equal(err.sys, EPERM);
    assert_null(loop_watch_new(f->loop, -1, on_events, f, &err));
    assert_null(loop_watch_new(f->loop, 1000, on_events, f, &err));
    assert_int_equal(err.sys, EBADF);
}

static void pidfd_can_be_watched(void **state)
{
    struct fixture *f = *state;
    f->fd = child_pidfd(getpid());
    assert_true(f->fd >= 0);
    f->watch = loop_watch_new(f->loop, f->fd, on_events, f, NULL);
    assert_non_null(f->watch);
    loop_watch_set(f->watch, LOOP_READ);
}

static void on_signal(void *context, int signum)
{
    struct fixture *f = context;
    f->last_signal = signum;
    loop_signal_free(f->signal);
    f->signal = NULL;
    loop_stop(f->loop);
}

static void signal_comes_as_a_callback(void **state)
{
    struct fixture *f = *state;
    f->signal = loop_signal_new(f->loop, SIGUSR1, on_signal, f);
    assert_non_null(f->signal);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(f->last_signal, 0);
    loop_run(f->loop, NULL, NULL);
    assert_int_equal(f->last_signal, SIGUSR1);
    assert_null(loop_signal_new(f->loop, SIGKILL, on_signal, f));
}

static void work(void *context)
{
    struct fixture *f = context;
    pthread_mutex_lock(&f->lock);
    f->calls++;
    pthread_cond_broadcast(&f->changed);
    while (!f->work_may_go_on)
        pthread_cond_wait(&f->changed, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

static void on_done(void *context)
{
    struct fixture *f = context;
    assert_int_equal(f->released, 0);
    f->done++;
    loop_work_cancel(f->work); /* too late, and harmless */
}

static void on_release(void *context)
{
    struct fixture *f = context;
    f->released++;
    loop_stop(f->loop);
}

static void let_work_go_on(struct fixture *f)
{
    pthread_mutex_lock(&f->lock);
    f->work_may_go_on = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void work_is_done_then_released(void **state)
{
    struct fixture *f = *state;
    f->work_may_go_on = true;
    f->work = loop_work_start(f->loop, work, on_done, on_release, f);
    assert_non_null(f->work);
    loop_run(f->loop, NULL, NULL);
    assert_int_equal(f->calls, 1);
    assert_int_equal(f->done, 1);
    assert_int_equal(f->released, 1);
}

static void cancelled_work_is_only_released(void **state)
{
    struct fixture *f = *state;
    f->work = loop_work_start(f->loop, work, on_done, on_release, f);
    pthread_mutex_lock(&f->lock);
    while (f->calls == 0)
        pthread_cond_wait(&f->changed, &f->lock); /* it runs: it cannot be taken back */
    pthread_mutex_unlock(&f->lock);
    loop_work_cancel(f->work);
    assert_int_equal(f->released, 0);
    let_work_go_on(f);
    loop_run(f->loop, NULL, NULL);
    assert_int_equal(f->done, 0);
    assert_int_equal(f->released, 1);
}

static void loop_that_is_freed_waits_for_work(void **state)
{
    struct fixture *f = *state;
    struct loop *loop = loop_new(NULL);
    f->work_may_go_on = true;
    f->work = loop_work_start(loop, work, on_done, on_release, f);
    assert_non_null(f->work);
    loop_free(loop);
    assert_int_equal(f->done, 0); /* nobody is there to be told */
    assert_int_equal(f->released, 1);
    loop_run(f->loop, NULL, NULL); /* uses up the stop of on_release */
}

struct overdue {
    struct loop *loop;
    bool fired, late;
};

static void on_overdue(void *context) { ((struct overdue *)context)->fired = true; }

static void on_late(void *context)
{
    struct overdue *overdue = context;

    overdue->late = true;
    loop_stop(overdue->loop);
}

static void stop_once_fired(void *context)
{
    struct overdue *overdue = context;
    int64_t until = clock_mono_ms() + 5;

    if (overdue->fired)
        loop_stop(overdue->loop);
    while (clock_mono_ms() < until) /* so that the timer is due when the turn is over */
        continue;
}

static void a_timer_that_is_overdue_is_followed_by_a_turn(void **state)
{
    struct overdue overdue = { .loop = loop_new(NULL) };
    struct loop_timer *timer = loop_timer_new(overdue.loop, on_overdue, &overdue);
    struct loop_timer *late = loop_timer_new(overdue.loop, on_late, &overdue);

    (void)state;
    loop_timer_arm(timer, 1);
    loop_timer_arm(late, 2000);
    loop_run(overdue.loop, stop_once_fired, &overdue);
    assert_true(overdue.fired);
    assert_false(overdue.late);
    loop_timer_free(timer);
    loop_timer_free(late);
    loop_free(overdue.loop);
}

struct swarm {
    struct loop *loop;
    struct loop_timer *timers[200];
    int64_t due[200], last;
    size_t rung, left;
};
struct bee {
    struct swarm *swarm;
    size_t number;
};

static void on_bee(void *context)
{
    struct bee *bee = context;
    struct swarm *swarm = bee->swarm;

    /* In the order of their time; the clock may have gone on while they were armed. */
    assert_true(swarm->due[bee->number] + 2 >= swarm->last);
    assert_true(swarm->due[bee->number] <= loop_now_ms(swarm->loop));
    swarm->last = swarm->due[bee->number];
    swarm->rung++;
    if (--swarm->left == 0)
        loop_stop(swarm->loop);
}

static void many_timers_ring_in_their_order(void **state)
{
    static struct bee bees[200];
    struct swarm swarm = { .loop = loop_new(NULL) };
    const int64_t began = loop_now_ms(swarm.loop);

    (void)state;
    for (size_t i = 0; i < 200; i++) {
        int64_t delay = 1 + (int64_t)(i * 7919 % 40);
        bees[i] = (struct bee){ &swarm, i };
        swarm.timers[i] = loop_timer_new(swarm.loop, on_bee, &bees[i]);
        loop_timer_arm(swarm.timers[i], i % 3 ? delay : 1000000);
        swarm.due[i] = began + delay;
        swarm.left += i % 3 != 0 && i % 7 != 0;
    }
    for (size_t i = 0; i < 200; i += 7)
        loop_timer_disarm(swarm.timers[i]);
    size_t expected = swarm.left;
    loop_run(swarm.loop, NULL, NULL);
    assert_int_equal(swarm.rung, expected);
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(loop_timer_armed(swarm.timers[i]), i % 3 == 0 && i % 7 != 0);
        loop_timer_free(swarm.timers[i]);
    }
    loop_free(swarm.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(turn_runs_before_the_first_sleep_and_after_each),
        TEST(stop_before_the_run_is_kept),
        TEST(timer_that_arms_itself_waits_for_the_next_turn),
        TEST(turn_comes_after_a_timer_that_was_due_before_the_sleep),
        TEST(timers_may_be_freed_by_one_another),
        TEST(many_timers_ring_in_their_order),
        TEST(later_deadline_replaces_the_earlier),
        TEST(readiness_is_told_until_it_is_used),
        TEST(broken_pipe_shows_as_hangup),
        TEST(watch_may_be_freed_and_its_number_used_again),
        TEST(what_cannot_be_watched_is_an_error),
        TEST(pidfd_can_be_watched),
        TEST(signal_comes_as_a_callback),
        TEST(work_is_done_then_released),
        TEST(cancelled_work_is_only_released),
        TEST(loop_that_is_freed_waits_for_work),
        TEST(a_timer_that_is_overdue_is_followed_by_a_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
