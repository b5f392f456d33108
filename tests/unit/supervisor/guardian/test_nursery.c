/* test_nursery.c - who is born there is not among our own children, orphans are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/reaper.h"
#include "supervisor/guardian/nursery.h"

struct birth {
    pid_t pid;
    bool leaves_one; /* a process that outlives it */
};

static void give_birth(void *context)
{
    struct birth *birth = context;

    birth->pid = fork();
    if (birth->pid > 0)
        return;
    if (birth->leaves_one && fork() == 0)
        _exit(7);
    _exit(0);
}

static void see(void *context, const struct reaper_exit *how)
{
    *(struct reaper_exit *)context = *how;
}

static void wait_for_its_end(pid_t pid)
{
    siginfo_t info;

    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

static void its_children_are_not_our_own(void **unused)
{
    (void)unused;
    static struct nursery nursery; /* its thread never ends */
    struct birth first = { 0 }, second = { 0 };
    struct reaper_exit how = { 0 };

    nursery_init(&nursery);
    nursery_do(&nursery, give_birth, &first);
    assert_true(nursery.open);
    nursery_do(&nursery, give_birth, &second);
    wait_for_its_end(first.pid);
    wait_for_its_end(second.pid);
    assert_int_equal(reaper_sweep_own(see, &how, 9), 0);
    assert_true(reaper_one(second.pid, see, &how));
    assert_int_equal(reaper_sweep(see, &how, 9), 1);
    assert_int_equal(how.pid, first.pid);
}

static void orphans_are_our_own(void **unused)
{
    (void)unused;
    static struct nursery nursery; /* its thread never ends */
    struct birth birth = { .leaves_one = true };
    struct reaper_exit how = { 0 };
    siginfo_t info;

    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    nursery_init(&nursery);
    nursery_do(&nursery, give_birth, &birth);
    wait_for_its_end(birth.pid); /* what it left has another parent now */
    assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | __WNOTHREAD), 0);
    assert_int_equal(reaper_sweep_own(see, &how, 9), 1);
    assert_int_equal(how.status, 7);
    assert_int_equal(reaper_sweep(see, &how, 9), 1);
    assert_int_equal(how.pid, birth.pid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_children_are_not_our_own),
        cmocka_unit_test(orphans_are_our_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
