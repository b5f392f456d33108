/* test_reaper.c - exits are told before pids are free, each once, with status and times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/reaper.h"

enum { SEEN_MAX = 8, BURN_US = 20 * 1000 };

struct seen {
    struct reaper_exit exits[SEEN_MAX];
    size_t count;
};

static void on_exit_seen(void *context, const struct reaper_exit *exit)
{
    struct seen *seen = context;
    assert_int_equal(kill(exit->pid, 0), 0); /* nobody else can have this pid yet */
    assert_true(seen->count < SEEN_MAX);
    seen->exits[seen->count++] = *exit;
}

static const struct reaper_exit *find(const struct seen *seen, pid_t pid)
{
    for (size_t i = 0; i < seen->count; i++)
        if (seen->exits[i].pid == pid)
            return &seen->exits[i];
    fail_msg("the exit of %d was not told", (int)pid);
    return NULL;
}

static pid_t ended(int code, int signum)
{
    siginfo_t info;
    pid_t pid = fork();
    if (pid == 0) {
        if (signum)
            kill(getpid(), signum);
        _exit(code);
    }
    /* Wait for its end without reaping it. */
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    return pid;
}

static void every_exit_is_told_once_and_reaped(void **unused)
{
    (void)unused;
    struct seen seen = { .count = 0 };
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    pid_t alive = fork();
    if (alive == 0) {
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 0 ? 5 : 6);
    }
    close(ends[0]);
    pid_t good = ended(0, 0), bad = ended(7, 0), killed = ended(0, SIGKILL);

    assert_int_equal(reaper_sweep(on_exit_seen, &seen, 2), 2);
    assert_int_equal(reaper_sweep(on_exit_seen, &seen, SEEN_MAX), 1);
    assert_int_equal(reaper_sweep(on_exit_seen, &seen, SEEN_MAX), 0); /* one is still alive */
    assert_int_equal(seen.count, 3);
    assert_int_equal(find(&seen, good)->code, CLD_EXITED);
    assert_int_equal(find(&seen, good)->status, 0);
    assert_int_equal(find(&seen, bad)->status, 7);
    assert_int_equal(find(&seen, killed)->code, CLD_KILLED);
    assert_int_equal(find(&seen, killed)->status, SIGKILL);
    assert_int_equal(kill(bad, 0), -1);
    assert_int_equal(errno, ESRCH);

    siginfo_t info;
    close(ends[1]);
    assert_int_equal(waitid(P_PID, (id_t)alive, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(reaper_sweep(on_exit_seen, &seen, SEEN_MAX), 1);
    assert_int_equal(find(&seen, alive)->status, 5);
    assert_int_equal(reaper_sweep(on_exit_seen, &seen, SEEN_MAX), 0); /* no child at all */
}

static void one_is_asked_for_by_its_pid(void **unused)
{
    (void)unused;
    struct seen seen = { .count = 0 };
    pid_t first = ended(1, 0), second = ended(2, 0), alive = fork();
    if (alive == 0) {
        pause();
        _exit(0);
    }
    assert_false(reaper_one(alive, on_exit_seen, &seen));
    assert_true(reaper_one(second, on_exit_seen, &seen));
    assert_int_equal(seen.count, 1);
    assert_int_equal(find(&seen, second)->status, 2);
    assert_false(reaper_one(second, on_exit_seen, &seen));
    assert_true(reaper_one(0, on_exit_seen, &seen));
    assert_int_equal(find(&seen, first)->status, 1);
    assert_false(reaper_one(0, on_exit_seen, &seen));
    kill(alive, SIGKILL);
    assert_int_equal(waitpid(alive, NULL, 0), alive);
}

/* Called when the pid is gone already. */
static void on_gone(void *context, const struct reaper_exit *exit)
{
    struct seen *seen = context;
    assert_true(seen->count < SEEN_MAX);
    assert_int_equal(kill(exit->pid, 0), -1);
    seen->exits[seen->count++] = *exit;
}

static void a_drain_takes_all_that_have_ended(void **unused)
{
    (void)unused;
    struct seen seen = { .count = 0 };
    pid_t pids[3];
    siginfo_t info;
    for (int i = 0; i < 3; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            _exit(i);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(waitid(P_PID, (id_t)pids[i], &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(reaper_drain(on_gone, &seen, 2), 2);
    assert_int_equal(reaper_drain(on_gone, &seen, SEEN_MAX), 1);
    assert_int_equal(reaper_drain(on_gone, &seen, SEEN_MAX), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(find(&seen, pids[i])->status, i);
    assert_int_equal(find(&seen, pids[0])->code, CLD_EXITED);
}

static void times_and_memory_are_told(void **unused)
{
    (void)unused;
    struct seen seen = { .count = 0 };
    pid_t pid = fork();
    if (pid == 0) {
        struct rusage now;
        do
            getrusage(RUSAGE_SELF, &now);
        while (now.ru_utime.tv_usec + now.ru_stime.tv_usec < BURN_US && now.ru_utime.tv_sec == 0);
        _exit(0);
    }
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(reaper_sweep(on_exit_seen, &seen, 1), 1);
    assert_true(seen.exits[0].user_us + seen.exits[0].system_us >= BURN_US);
    assert_true(seen.exits[0].max_rss_kb > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_exit_is_told_once_and_reaped),
        cmocka_unit_test(one_is_asked_for_by_its_pid),
        cmocka_unit_test(a_drain_takes_all_that_have_ended),
        cmocka_unit_test(times_and_memory_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
