/* test_leftovers.c - real processes, this one being their guardian. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "supervisor/host/leftovers.h"
#include "supervisor/host/procfs.h"

enum { MOST = 64, PATIENCE_S = 20 };

/* Nobody else's on this machine: the pid of this test is in it. */
static char name[64], other[64];

struct rig {
    pid_t pids[MOST]; /* to be killed at the end */
    size_t count;
    pid_t known[MOST];
    size_t nknown;
    bool ended; /* they are known to have ended: the list is read until it stays the same */
};

/* --- processes --- */

enum how {
    PLAIN = 0,
    SESSION = 1,
    BLANK = 2,
    RENAMED = 4,
    REAPER = 8,
    OURS = 16, /* carries our SUPERVISOR_RUN, or that of another supervisor */
    THEIRS = 32,
};
enum { RUN = 0x5eed };

struct told {
    pid_t pid;
};

static void *outlive(void *context)
{
    const pthread_t *first = context;
    struct told told = { getpid() };

    pthread_join(*first, NULL);
    if (write(STDOUT_FILENO, &told, sizeof told) < 0)
        _exit(1);
    close(STDOUT_FILENO);
    for (;;)
        pause();
    return NULL;
}

/* The first thread ends, the other goes on. */
static void play_headless(void)
{
    static pthread_t first;
    pthread_t thread;

    first = pthread_self();
    if (pthread_create(&thread, NULL, outlive, &first) != 0)
        _exit(1);
    pthread_exit(NULL);
}

/* A parent: tells itself, then what it is asked to spawn tells itself. */
static void play_idle(void)
{
    struct told told = { getpid() };

    alarm(PATIENCE_S);
    if (write(STDOUT_FILENO, &told, sizeof told) < 0)
        _exit(1);
    close(STDOUT_FILENO);
    for (;;)
        pause();
}

static void become(const char *role, const char *instance, enum how how)
{
    char variable[128], run[64];
    char *argv[] = { (char *)"a ) R (b", (char *)role, NULL };
    char *envp[] = { variable, how & (OURS | THEIRS) ? run : NULL, NULL };

    snprintf(variable, sizeof variable, "SUPERVISOR_INSTANCE=%s", instance);
    snprintf(run, sizeof run, "SUPERVISOR_RUN=%016x", how & OURS ? RUN : RUN + 1);
    if (how & SESSION)
        setsid();
    if (how & BLANK)
        envp[0] = NULL;
    execve("/proc/self/exe", argv, envp);
    _exit(127);
}

static pid_t hear(int fd)
{
    struct told told = { 0 };
    ssize_t n = read(fd, &told, sizeof told);

    close(fd);
    assert_int_equal(n, sizeof told);
    return told.pid;
}

static pid_t start_role(struct rig *rig, const char *role, const char *instance, enum how how)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        become(role, instance, how);
    }
    close(ends[1]);
    assert_int_equal(hear(ends[0]), pid);
    rig->pids[rig->count++] = pid;
    return pid;
}

static pid_t start(struct rig *rig, const char *instance, enum how how)
{
    return start_role(rig, "idle", instance, how);
}

/* Its parent is gone: a child of the nearest reaper, in a session of its own. */
static pid_t daemonise(struct rig *rig, const char *instance, enum how how)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t middle = fork();
    if (middle == 0) {
        dup2(ends[1], STDOUT_FILENO);
        if (fork() == 0)
            become("idle", instance, how);
        _exit(0);
    }
    close(ends[1]);
    pid_t pid = hear(ends[0]);
    rig->pids[rig->count++] = pid;
    assert_int_equal(waitpid(middle, NULL, 0), middle);
    return pid;
}

/* A process of another kind (RENAMED), or as ours, with one child; both tell themselves. */
static pid_t start_parent(struct rig *rig, const char *childs, enum how how, pid_t *ret_child)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        if (how & RENAMED)
            prctl(PR_SET_NAME, "somebody");
        if (how & REAPER)
            prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        if (fork() == 0)
            become("idle", childs, SESSION | (how & (OURS | THEIRS)));
        close(STDOUT_FILENO);
        close(ends[1]);
        alarm(PATIENCE_S);
        for (;;)
            pause();
    }
    close(ends[1]);
    *ret_child = hear(ends[0]);
    rig->pids[rig->count++] = *ret_child;
    rig->pids[rig->count++] = pid;
    return pid;
}

static enum leftovers_known is_known(void *context, pid_t pid)
{
    const struct rig *rig = context;

    for (size_t i = 0; i < rig->nknown; i++)
        if (rig->known[i] == pid)
            return rig->ended ? LEFTOVERS_ENDED : LEFTOVERS_LIVES;
    return LEFTOVERS_UNKNOWN;
}

static void know(struct rig *rig, pid_t pid) { rig->known[rig->nknown++] = pid; }

static int setup(void **state)
{
    struct rig *rig = calloc(1, sizeof *rig);

    *state = rig;
    return rig ? 0 : -1;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    for (size_t i = 0; i < rig->count; i++)
        kill(rig->pids[i], SIGKILL);
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    free(rig);
    return 0;
}

/* --- asking --- */

static struct leftovers *look_at(struct rig *rig, pid_t guardian, enum leftovers_scope scope)
{
    struct err err = { 0 };
    struct leftovers *look = leftovers_look(guardian, RUN, scope, is_known, rig, &err);

    assert_non_null(look);
    return look;
}

static size_t count_at(struct rig *rig, pid_t guardian, enum leftovers_scope scope,
                       const char *instance, unsigned generation, pid_t main_pid, pid_t *first)
{
    struct leftovers *look = look_at(rig, guardian, scope);
    pid_t pids[MOST] = { 0 };
    size_t count = leftovers_of(look, instance, generation, main_pid, NULL, pids, MOST);

    if (first)
        *first = pids[0];
    leftovers_free(look);
    return count;
}

static size_t count(struct rig *rig, enum leftovers_scope scope, unsigned generation,
                    pid_t main_pid)
{
    return count_at(rig, getpid(), scope, name, generation, main_pid, NULL);
}

static const char *tag(const char *instance, unsigned generation)
{
    static char text[4][96];
    static unsigned turn;
    char *at = text[turn++ % 4];

    snprintf(at, sizeof text[0], "%s.%u", instance, generation);
    return at;
}

/* --- stories --- */

static void nobody_is_left(void **state)
{
    struct rig *rig = *state;
    pid_t pid = start(rig, tag(name, 1), SESSION);

    know(rig, pid);
    for (int ended = 0; ended < 2; ended++) {
        rig->ended = ended;
        assert_int_equal(count(rig, LEFTOVERS_QUICK, 1, pid), 0);
        assert_int_equal(count(rig, LEFTOVERS_TREE, 1, pid), 0);
    }
}

static void a_daemon_is_found_by_its_environment(void **state)
{
    struct rig *rig = *state;
    pid_t pid = daemonise(rig, tag(name, 3), SESSION), found;
    const enum leftovers_scope scopes[] = { LEFTOVERS_QUICK, LEFTOVERS_TREE };

    for (int i = 0; i < 2; i++) {
        assert_int_equal(count_at(rig, getpid(), scopes[i], name, 3, 0, &found), 1);
        assert_int_equal(found, pid);
        assert_int_equal(count(rig, scopes[i], 4, 0), 0);
        assert_int_equal(count_at(rig, getpid(), scopes[i], other, 3, 0, NULL), 0);
    }
    know(rig, pid);
    assert_int_equal(count(rig, LEFTOVERS_QUICK, 3, 0), 0);
    assert_int_equal(count(rig, LEFTOVERS_TREE, 3, 0), 0);
}

/* Its parent leads the session and is gone. */
static pid_t leave_in_session(struct rig *rig, const char *instance, enum how how,
                              pid_t *ret_leader)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t leader = fork();
    if (leader == 0) {
        dup2(ends[1], STDOUT_FILENO);
        setsid();
        if (fork() == 0) {
            setpgid(0, 0);
            become("idle", instance, how);
        }
        _exit(0);
    }
    close(ends[1]);
    pid_t pid = hear(ends[0]);
    rig->pids[rig->count++] = pid;
    assert_int_equal(waitpid(leader, NULL, 0), leader);
    *ret_leader = leader;
    return pid;
}

static void one_without_environment_is_found_by_its_session(void **state)
{
    struct rig *rig = *state;
    pid_t leader, found, pid = leave_in_session(rig, "", BLANK, &leader);

    assert_int_equal(count_at(rig, getpid(), LEFTOVERS_QUICK, name, 1, leader, &found), 1);
    assert_int_equal(found, pid);
    assert_int_equal(count(rig, LEFTOVERS_TREE, 1, leader), 1);
    assert_int_equal(count(rig, LEFTOVERS_QUICK, 1, 0), 0);
    assert_int_equal(count(rig, LEFTOVERS_QUICK, 1, leader + 1), 0);
    /* The main process itself is never one of its leftovers. */
    assert_int_equal(count(rig, LEFTOVERS_QUICK, 1, pid), 0);
}

static void a_number_that_is_used_again_proves_nothing(void **state)
{
    struct rig *rig = *state;
    pid_t leader, found, pid = leave_in_session(rig, tag(other, 7), PLAIN, &leader);

    /* As if the main process of `name` had had the number of this session's leader before. */
    assert_int_equal(count(rig, LEFTOVERS_QUICK, 1, leader), 0);
    assert_int_equal(count(rig, LEFTOVERS_TREE, 1, leader), 0);
    assert_int_equal(count_at(rig, getpid(), LEFTOVERS_TREE, other, 7, leader, &found), 1);
    assert_int_equal(found, pid);
}

static void children_of_children_are_found(void **state)
{
    struct rig *rig = *state;
    pid_t child, found[2] = { 0 };
    pid_t parent = start_parent(rig, tag(name, 2), RENAMED, &child);
    struct leftovers *look = look_at(rig, getpid(), LEFTOVERS_QUICK);

    assert_int_equal(leftovers_of(look, name, 2, 0, NULL, found, 2), 1);
    assert_int_equal(found[0], child);
    assert_int_equal(leftovers_of(look, name, 9, parent, NULL, found, 2), 1);
    assert_int_equal(found[0], child); /* an ancestor belongs */
    /* More than fit are counted. */
    assert_int_equal(leftovers_of(look, name, 2, 0, NULL, NULL, 0), 1);
    leftovers_free(look);
}

/* A main process that carries no name, as one that wrote over its environment; returns its child,
 * in a session of its own. */
static pid_t begin_without_name(struct rig *rig, pid_t *ret_main)
{
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t main_pid = fork();
    if (main_pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        if (fork() == 0)
            become("idle", "", SESSION | BLANK);
        close(STDOUT_FILENO);
        close(ends[1]);
        alarm(PATIENCE_S);
        for (;;)
            pause();
    }
    close(ends[1]);
    pid_t child = hear(ends[0]);
    rig->pids[rig->count++] = child;
    rig->pids[rig->count++] = main_pid;
    *ret_main = main_pid;
    return child;
}

static void descendants_of_the_main_process(void **state)
{
    struct rig *rig = *state;
    pid_t main_pid, found, child = begin_without_name(rig, &main_pid);

    know(rig, main_pid);
    assert_int_equal(count_at(rig, getpid(), LEFTOVERS_TREE, name, 1, main_pid, &found), 1);
    assert_int_equal(found, child);
    /* A quick look leaves out what is below a record. */
    assert_int_equal(count(rig, LEFTOVERS_QUICK, 1, main_pid), 0);
}

/* In the end nothing but our memory ties it to the instance. */
static void who_was_found_once_is_followed(void **state)
{
    struct rig *rig = *state;
    pid_t main_pid, found[1], child = begin_without_name(rig, &main_pid);
    struct leftovers_members *members = NULL;

    know(rig, main_pid);
    struct leftovers *look = look_at(rig, getpid(), LEFTOVERS_TREE);
    assert_int_equal(leftovers_of(look, name, 1, main_pid, &members, found, 1), 1);
    leftovers_free(look);
    assert_int_equal(members->count, 1);
    assert_int_equal(members->all[0].pid, child);

    kill(main_pid, SIGKILL);
    assert_int_equal(waitpid(main_pid, NULL, 0), main_pid);
    look = look_at(rig, getpid(), LEFTOVERS_QUICK);
    assert_int_equal(leftovers_of(look, name, 1, main_pid, NULL, found, 1), 0);
    assert_int_equal(leftovers_of(look, name, 1, main_pid, &members, found, 1), 1);
    assert_int_equal(found[0], child);
    members->all[0].start++; /* as if its number were somebody else's by now */
    assert_int_equal(leftovers_of(look, name, 1, main_pid, &members, found, 1), 0);
    assert_null(members);
    leftovers_free(look);
}

static void *start_elsewhere(void *rig)
{
    know(rig, start(rig, tag(name, 1), OURS));
    for (;;)
        pause(); /* its children are another thread's when this one ends */
    return NULL;
}

static bool is_older(void *context, const char *instance, unsigned generation)
{
    return strcmp(instance, context) == 0 && generation < 2;
}

static size_t count_stale(struct rig *rig, pid_t *ret)
{
    struct leftovers *look = look_at(rig, getpid(), LEFTOVERS_CHILDREN);
    size_t count = leftovers_stale(look, is_older, (void *)name, ret, 1);

    leftovers_free(look);
    return count;
}

/* A child of another thread is none of the first one's, and no process of a service is in the way
 * of those that were left behind. */
static void a_quick_look_is_at_one_thread(void **state)
{
    struct rig *rig = *state;
    pthread_t thread;
    pid_t found;

    assert_int_equal(pthread_create(&thread, NULL, start_elsewhere, rig), 0);
    while (__atomic_load_n(&rig->nknown, __ATOMIC_SEQ_CST) == 0)
        sched_yield();
    rig->nknown = 0;
    assert_int_equal(count(rig, LEFTOVERS_QUICK, 1, 0), 0);
    assert_int_equal(count_at(rig, getpid(), LEFTOVERS_CHILDREN, name, 1, 0, &found), 1);
    assert_int_equal(found, rig->known[0]);
    start(rig, tag(name, 2), OURS); /* lives */
    start(rig, tag(name, 1), THEIRS);
    assert_int_equal(count_stale(rig, &found), 1);
    rig->nknown = 1;
    assert_int_equal(count_stale(rig, &found), 0);
}

static void a_supervisor_inside_a_service_keeps_its_own(void **state)
{
    struct rig *rig = *state;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t service = fork();
    if (service == 0) {
        dup2(ends[1], STDOUT_FILENO);
        become("parent", tag(other, 1), SESSION);
    }
    close(ends[1]);
    pid_t inner = hear(ends[0]), found;
    rig->pids[rig->count++] = inner;
    rig->pids[rig->count++] = service;
    /* The inner one says to be `inner:0.1`, as ours may be called too. */
    assert_int_equal(count_at(rig, getpid(), LEFTOVERS_TREE, "inner:0", 1, 0, NULL), 0);
    assert_int_equal(count_at(rig, getpid(), LEFTOVERS_QUICK, "inner:0", 1, 0, NULL), 0);
    know(rig, service);
    assert_int_equal(count_at(rig, getpid(), LEFTOVERS_TREE, "inner:0", 1, 0, NULL), 0);
    assert_int_equal(count_at(rig, getpid(), LEFTOVERS_TREE, other, 1, service, &found), 1);
    assert_int_equal(found, inner);
}

static void another_supervisor_beside_us_keeps_its_own(void **state)
{
    struct rig *rig = *state;
    pid_t theirs, ours;
    /* Both are called as this program is. */
    pid_t guardian = start_parent(rig, tag(other, 1), PLAIN, &ours);
    pid_t beside = start_parent(rig, tag(name, 1), PLAIN, &theirs);

    know(rig, guardian);
    assert_int_equal(count_at(rig, guardian, LEFTOVERS_TREE, name, 1, 0, NULL), 0);
    assert_int_equal(count_at(rig, guardian, LEFTOVERS_EVERYWHERE, name, 1, 0, NULL), 0);
    assert_int_equal(count_at(rig, guardian, LEFTOVERS_EVERYWHERE, name, 1, theirs, NULL), 0);
    assert_int_equal(count_at(rig, guardian, LEFTOVERS_EVERYWHERE, name, 1, beside, NULL), 0);
}

static int ask_elsewhere(struct rig *rig, pid_t guardian, pid_t orphan)
{
    pid_t found = 0;

    prctl(PR_SET_NAME, "core");
    if (count_at(rig, guardian, LEFTOVERS_EVERYWHERE, name, 5, 0, &found) != 1 || found != orphan)
        return 1;
    return count_at(rig, guardian, LEFTOVERS_TREE, name, 5, 0, NULL) == 0 ? 0 : 2;
}

/* The guardian died: who has its processes now is called otherwise, and ours is a new one. */
static int in_another_tree(void)
{
    struct rig rig = { 0 };
    pid_t orphan;
    int status = -1;

    prctl(PR_SET_NAME, "init");
    start_parent(&rig, tag(name, 5), RENAMED, &orphan);
    pid_t guardian = start(&rig, "", BLANK);
    pid_t asking = fork();
    if (asking == 0)
        _exit(ask_elsewhere(&rig, guardian, orphan));
    waitpid(asking, &status, 0);
    for (size_t i = 0; i < rig.count; i++)
        kill(rig.pids[i], SIGKILL);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}

/* How many of them are found by a supervisor that has nothing to do with their parent. */
static int found_elsewhere(enum how how)
{
    struct rig rig = { 0 };
    pid_t orphan;
    int status = -1;

    start_parent(&rig, tag(name, 5), how | RENAMED, &orphan);
    pid_t guardian = start(&rig, "", BLANK);
    pid_t asking = fork();
    if (asking == 0)
        _exit((int)count_at(&rig, guardian, LEFTOVERS_EVERYWHERE, name, 5, 0, NULL));
    waitpid(asking, &status, 0);
    for (size_t i = 0; i < rig.count; i++)
        kill(rig.pids[i], SIGKILL);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void another_supervisor_may_have_the_same_names(void **state)
{
    (void)state;
    assert_int_equal(found_elsewhere(OURS), 1);
    assert_int_equal(found_elsewhere(THEIRS), 0);
}

static void orphans_of_a_dead_guardian_are_found_everywhere(void **state)
{
    int status;

    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(in_another_tree());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void zombies_are_none_but_headless_ones_are(void **state)
{
    struct rig *rig = *state;
    siginfo_t info;
    pid_t dead = start(rig, tag(name, 1), SESSION), found;

    kill(dead, SIGKILL);
    assert_int_equal(waitid(P_PID, (id_t)dead, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(count(rig, LEFTOVERS_QUICK, 1, 0), 0);
    assert_int_equal(count(rig, LEFTOVERS_TREE, 1, 0), 0);

    pid_t headless = start_role(rig, "headless", tag(name, 2), SESSION);
    assert_int_equal(count_at(rig, getpid(), LEFTOVERS_QUICK, name, 2, 0, &found), 1);
    assert_int_equal(found, headless);
    struct leftovers *look = look_at(rig, getpid(), LEFTOVERS_QUICK);
    assert_int_equal(leftovers_signal(look, headless, SIGKILL), 0);
    leftovers_free(look);
    int status;
    assert_int_equal(waitpid(headless, &status, 0), headless);
    assert_true(WIFSIGNALED(status));
}

static void signals_reach_only_who_was_seen(void **state)
{
    struct rig *rig = *state;
    int status;
    pid_t pid = daemonise(rig, tag(name, 1), SESSION);
    struct leftovers *look = look_at(rig, getpid(), LEFTOVERS_QUICK);

    assert_int_equal(leftovers_signal(look, getpid(), SIGKILL), -ESRCH);
    assert_int_equal(leftovers_signal(look, pid, SIGTERM), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    assert_int_equal(leftovers_signal(look, pid, SIGTERM), -ESRCH);
    leftovers_free(look);
}

/* A child with the number we want; -1 where that is not allowed. */
static pid_t fork_as(pid_t pid)
{
    struct clone_args args = { .exit_signal = SIGCHLD,
                               .set_tid = (uint64_t)(uintptr_t)&pid,
                               .set_tid_size = 1 };
    long rc = syscall(SYS_clone3, &args, sizeof args);

    if (rc == 0)
        for (;;)
            pause();
    return (pid_t)rc;
}

static void who_has_the_number_now_is_spared(void **state)
{
    struct rig *rig = *state;
    pid_t pid = daemonise(rig, tag(name, 1), SESSION);
    struct leftovers *look = look_at(rig, getpid(), LEFTOVERS_QUICK);

    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    /* Start times are told in ticks of 10 ms. */
    for (int64_t until = clock_mono_ms() + 30; clock_mono_ms() < until;)
        continue;
    pid_t heir = fork_as(pid);
    if (heir > 0)
        assert_int_equal(leftovers_signal(look, heir, SIGKILL), -ESRCH);
    leftovers_free(look);
    if (heir < 0)
        skip();
    assert_int_equal(waitpid(heir, NULL, WNOHANG), 0);
}

struct found {
    pid_t pid;
    size_t count;
};

static void on_found(void *context, pid_t pid, const char *instance, unsigned generation)
{
    struct found *found = context;

    if (strcmp(instance, name) != 0)
        return;
    assert_int_equal(generation, 12);
    found->pid = pid;
    found->count++;
}

static void all_are_named_after_a_lost_ledger(void **state)
{
    struct rig *rig = *state;
    struct found found = { 0 };
    pid_t pid = start(rig, tag(name, 12), SESSION);
    struct leftovers *look = leftovers_look(getpid(), RUN, LEFTOVERS_TREE, NULL, NULL, NULL);

    leftovers_each(look, on_found, &found);
    leftovers_free(look);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.pid, pid);
}

static void a_guardian_that_is_gone_has_nobody(void **state)
{
    struct rig *rig = *state;

    start(rig, tag(name, 1), SESSION);
    assert_int_equal(count_at(rig, 0x7ffffff0, LEFTOVERS_QUICK, name, 1, 0, NULL), 0);
}

/* --- pure --- */

static void stat_lines(void **unused)
{
    struct procfs_stat stat;
    char plain[] = "12 (a ) R 1 (b) S 34 56 78 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 1 2 3";
    char zombie[] = "12 (x) Z 34 56 78 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 9876 1 2 3";
    char headless[] = "12 (x) Z 34 56 78 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 2 0 9876 1 2 3";
    char cut[] = "12 (x) S 34 56 78 0 -1", bare[] = "12 x", reversed[] = ")12(";

    (void)unused;
    memset(&stat, 0, sizeof stat);
    assert_true(procfs_parse_stat(plain, &stat));
    assert_string_equal(stat.comm, "a ) R 1 (b");
    assert_int_equal(stat.parent, 34);
    assert_int_equal(stat.group, 56);
    assert_int_equal(stat.session, 78);
    assert_int_equal(stat.start, 9876);
    assert_false(stat.threads_only);
    assert_false(procfs_parse_stat(zombie, &stat));
    assert_true(procfs_parse_stat(headless, &stat));
    assert_true(stat.threads_only);
    assert_false(procfs_parse_stat(cut, &stat));
    assert_false(procfs_parse_stat(bare, &stat));
    assert_false(procfs_parse_stat(reversed, &stat));
    assert_true(procfs_stat(getpid(), &stat));
    assert_int_equal(stat.parent, getppid());
    assert_int_equal(stat.session, getsid(0));
    assert_int_equal(stat.group, getpgrp());
}

static const char *find(const char *environment, size_t len)
{
    static char text[300];
    struct procfs_name found = { 0 };

    procfs_find_name(environment, len, &found);
    int used =
        snprintf(text, sizeof text, "%s/%u", found.text ? found.text : "-", found.generation);
    if (found.run)
        snprintf(text + used, sizeof text - (size_t)used, "/%llu", (unsigned long long)found.run);
    free(found.text);
    return text;
}
#define FIND(text) find(text, sizeof(text))

static void names_in_environments(void **unused)
{
    (void)unused;
    assert_string_equal(FIND("A=1\0SUPERVISOR_INSTANCE=web:0.7\0B=2"), "web:0/7");
    assert_string_equal(FIND("SUPERVISOR_INSTANCE=web:0.7\0SUPERVISOR_RUN=00ff"), "web:0/7/255");
    assert_string_equal(FIND("SUPERVISOR_RUN=ff\0SUPERVISOR_INSTANCE=web:0.7"), "web:0/7/255");
    assert_string_equal(FIND("SUPERVISOR_INSTANCE=a.b:0.4294967295"), "a.b:0/4294967295");
    assert_string_equal(FIND("XSUPERVISOR_INSTANCE=web:0.7"), "-/0");
    assert_string_equal(FIND("A=SUPERVISOR_INSTANCE=web:0.7"), "-/0");
    assert_string_equal(FIND("SUPERVISOR_INSTANCE=web:0"), "-/0");
    assert_string_equal(FIND("SUPERVISOR_INSTANCE=.7"), "-/0");
    assert_string_equal(FIND("SUPERVISOR_INSTANCE=web:0."), "-/0");
    assert_string_equal(FIND("SUPERVISOR_INSTANCE=web:0.-7"), "-/0");
    assert_string_equal(FIND("SUPERVISOR_INSTANCE=web:0.7x"), "-/0");
    assert_string_equal(FIND("SUPERVISOR_INSTANCE=web:0.4294967296"), "-/0");
    /* Cut by the limit: the number may be another one. */
    assert_string_equal(find("SUPERVISOR_INSTANCE=web:0.77", 27), "-/0");
    assert_string_equal(find("", 0), "-/0");
}

static void play_parent(void)
{
    pid_t child = fork();

    if (child == 0)
        become("idle", "inner:0.1", SESSION);
    close(STDOUT_FILENO);
    alarm(PATIENCE_S);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(another_supervisor_may_have_the_same_names, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_daemon_is_found_by_its_environment, setup, teardown),
        cmocka_unit_test_setup_teardown(one_without_environment_is_found_by_its_session, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_number_that_is_used_again_proves_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(children_of_children_are_found, setup, teardown),
        cmocka_unit_test_setup_teardown(descendants_of_the_main_process, setup, teardown),
        cmocka_unit_test_setup_teardown(who_was_found_once_is_followed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_quick_look_is_at_one_thread, setup, teardown),
        cmocka_unit_test_setup_teardown(a_supervisor_inside_a_service_keeps_its_own, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(another_supervisor_beside_us_keeps_its_own, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(orphans_of_a_dead_guardian_are_found_everywhere, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(zombies_are_none_but_headless_ones_are, setup, teardown),
        cmocka_unit_test_setup_teardown(signals_reach_only_who_was_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(who_has_the_number_now_is_spared, setup, teardown),
        cmocka_unit_test_setup_teardown(all_are_named_after_a_lost_ledger, setup, teardown),
        cmocka_unit_test_setup_teardown(a_guardian_that_is_gone_has_nobody, setup, teardown),
        cmocka_unit_test(stat_lines),
        cmocka_unit_test(names_in_environments),
    };

    if (argc == 2 && strcmp(argv[1], "idle") == 0)
        play_idle();
    if (argc == 2 && strcmp(argv[1], "headless") == 0)
        play_headless();
    if (argc == 2 && strcmp(argv[1], "parent") == 0)
        play_parent();
    snprintf(name, sizeof name, "t%d:0", (int)getpid());
    snprintf(other, sizeof other, "o%d:0", (int)getpid());
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
