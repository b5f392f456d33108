/* Limits and priorities of a process that runs: lowered, which needs no rights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/host/tuning.h"

static void *wait_for_ever(void *arg)
{
    (void)arg;
    for (;;)
        pause();
    return NULL;
}

/* A process with two threads; the second one's number. */
static pid_t two_threads(pid_t *ret_thread)
{
    int ready[2];
    pthread_t thread;

    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        pthread_create(&thread, NULL, wait_for_ever, NULL);
        (void)!write(ready[1], "x", 1);
        wait_for_ever(NULL);
    }
    char byte, path[64];
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    for (*ret_thread = pid + 1;; ++*ret_thread) {
        snprintf(path, sizeof path, "/proc/%d/task/%d", (int)pid, (int)*ret_thread);
        if (access(path, F_OK) == 0)
            return pid;
        assert_true(*ret_thread < pid + 100000);
    }
}

static void all_of_a_process_follows(void **state)
{
    const struct tuning tuning = { .limits = { { RLIMIT_NOFILE, { 55, 55 } },
                                               { RLIMIT_CORE, { 0, 0 } } },
                                   .nlimits = 2,
                                   .set_nice = true,
                                   .nice = 3,
                                   .set_oom_score = true,
                                   .oom_score_adj = 300 };
    struct rlimit seen;
    struct err err;
    pid_t thread, pid = two_threads(&thread);
    char path[64], text[16] = "";

    (void)state;
    assert_int_equal(tuning_apply(pid, &tuning, &err), 0);
    assert_int_equal(prlimit(pid, RLIMIT_NOFILE, NULL, &seen), 0);
    assert_int_equal(seen.rlim_cur, 55);
    assert_int_equal(seen.rlim_max, 55);
    assert_int_equal(prlimit(pid, RLIMIT_CORE, NULL, &seen), 0);
    assert_int_equal(seen.rlim_max, 0);
    int nice = getpriority(PRIO_PROCESS, 0);
    assert_int_equal(getpriority(PRIO_PROCESS, (id_t)pid), nice + 3);
    assert_int_equal(getpriority(PRIO_PROCESS, (id_t)thread), nice + 3);
    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(text, sizeof text, file));
    fclose(file);
    assert_string_equal(text, "300\n");
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    /* It has gone: that is no failure. */
    assert_int_equal(tuning_apply(pid, &tuning, &err), 0);
}

static void what_is_refused_is_told_and_the_rest_is_done(void **state)
{
    const struct tuning tuning = {
        .limits = { { RLIMIT_NOFILE, { 60, 50 } } }, .nlimits = 1, .set_nice = true, .nice = 2
    };
    struct err err;
    pid_t thread, pid = two_threads(&thread);

    (void)state;
    assert_int_not_equal(tuning_apply(pid, &tuning, &err), 0);
    assert_non_null(strstr(err.text, "limits"));
    assert_int_equal(getpriority(PRIO_PROCESS, (id_t)thread), getpriority(PRIO_PROCESS, 0) + 2);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_a_process_follows),
        cmocka_unit_test(what_is_refused_is_told_and_the_rest_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
