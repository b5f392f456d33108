/* test_filter.c - the lists of calls, and what a filter does to a process that has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/sandbox/calls.h"
#include "supervisor/sandbox/filter.h"

enum { NAMES_MAX = 1024, DIED = 1000 };

static bool is_word(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; }

static size_t split(const char *text, const char **names, size_t count)
{
    for (size_t len; *text; text += len + (text[len] == ' ')) {
        len = strcspn(text, " ");
        assert_true(len > 1 && count < NAMES_MAX);
        for (size_t i = 0; i < len; i++)
            assert_true(is_word(text[i]));
        names[count++] = strndup(text, len);
    }
    return count;
}

static void each_call_is_in_one_list(void **unused)
{
    const char *names[NAMES_MAX];
    size_t count = 0;

    (void)unused;
    for (int group = 0; group < CALLS_NGROUPS; group++)
        count = split(calls_of((enum calls_group)group), names, count);
    for (size_t i = 0; i < count; i++)
        for (size_t k = i + 1; k < count; k++)
            if (strcmp(names[i], names[k]) == 0)
                fail_msg("%s is in two lists", names[i]);
    for (size_t i = 0; i < count; i++)
        free((char *)names[i]);
}

/* --- in a child --- */

static int try_nothing(void) { return syscall(SYS_getpid) > 0 ? 0 : -1; }
static int try_unshare(void) { return (int)syscall(SYS_unshare, CLONE_NEWUSER); }
static int try_mount(void) { return (int)syscall(SYS_mount, "x", "/nowhere", "x", 0, 0); }
static int try_keys(void) { return (int)syscall(SYS_keyctl, 0, -3, 0, 0, 0); }
static int try_trace(void) { return (int)syscall(SYS_ptrace, PTRACE_TRACEME, 0, 0, 0); }
static int try_ids(void) { return (int)syscall(SYS_setresuid, -1, -1, -1); }
static int try_priority(void) { return (int)syscall(SYS_setpriority, 0, 0, 0); }
static int try_clone3(void) { return (int)syscall(SYS_clone3, NULL, 0ul); }
static int try_ring(void) { return (int)syscall(SYS_io_uring_setup, 0, NULL); }
static int try_socket(void) { return socket(AF_UNIX, SOCK_STREAM, 0); }
static int try_number_of_later(void) { return (int)syscall(100000); }
static int try_fork(void)
{
    pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    return pid < 0 ? -1 : waitpid(pid, NULL, 0);
}
static int try_namespace_by_clone(void)
{
    return (int)syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, NULL, NULL, NULL, NULL);
}

static void install(const struct sock_fprog *program)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program) != 0)
        _exit(250);
}

/* 0, the errno of the call, or DIED plus the signal of its process. */
static int try(int profile, int denied, int (*call)(void))
{
    const struct spec_seccomp wanted = { profile, denied };
    const struct sock_fprog *program;
    struct filters filters;
    struct err err = { 0 };
    int status;

    filter_init(&filters);
    assert_int_equal(filter_get(&filters, &wanted, &program, &err), 0);
    pid_t pid = fork();
    if (pid == 0) {
        install(program);
        _exit(call() >= 0 ? 0 : errno);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    filter_done(&filters);
    return WIFSIGNALED(status) ? DIED + WTERMSIG(status) : WEXITSTATUS(status);
}

static void need_filters(void)
{
    uint32_t action = SECCOMP_RET_ERRNO;

    if (!filter_is_built() || syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0) {
        print_message("skipped: no filters of system calls here\n");
        skip();
    }
}

static void profiles_differ_in_what_they_deny(void **unused)
{
    static const struct {
        const char *name;
        int (*call)(void);
        int expected[SPEC_NSECCOMP]; /* by profile; -1 = not denied, whatever the kernel says */
    } rows[] = {
        { "getpid", try_nothing, { 0, 0, 0, 0 } },
        { "fork", try_fork, { 0, 0, 0, 0 } },
        { "socket", try_socket, { 0, 0, 0, 0 } },
        { "unshare", try_unshare, { -1, EPERM, EPERM, EPERM } },
        { "mount", try_mount, { -1, EPERM, EPERM, EPERM } },
        { "keyctl", try_keys, { -1, EPERM, EPERM, EPERM } },
        { "io_uring", try_ring, { -1, EPERM, EPERM, EPERM } },
        { "clone3", try_clone3, { -1, ENOSYS, ENOSYS, ENOSYS } },
        { "clone", try_namespace_by_clone, { -1, EPERM, EPERM, EPERM } },
        { "ptrace", try_trace, { -1, 0, EPERM, EPERM } },
        { "setresuid", try_ids, { 0, 0, 0, EPERM } },
        { "setpriority", try_priority, { 0, 0, 0, EPERM } },
        { "later", try_number_of_later, { ENOSYS, ENOSYS, ENOSYS, ENOSYS } },
    };

    (void)unused;
    need_filters();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (int profile = SPEC_SECCOMP_DEFAULT; profile < SPEC_NSECCOMP; profile++) {
            int was = try(profile, SPEC_DENIED_ERROR, rows[i].call);
            if (was != rows[i].expected[profile])
                fail_msg("%s with %s: %d", rows[i].name, spec_seccomp_name(profile), was);
        }
}

static void a_denied_call_may_kill_or_pass(void **unused)
{
    (void)unused;
    need_filters();
    for (int profile = SPEC_SECCOMP_DEFAULT; profile < SPEC_NSECCOMP; profile++) {
        assert_int_equal(try(profile, SPEC_DENIED_KILL, try_keys), DIED + SIGSYS);
        assert_int_equal(try(profile, SPEC_DENIED_KILL, try_fork), 0);
        /* The kernel's own answer: there is no /nowhere, or it is not for us. */
        int logged = try(profile, SPEC_DENIED_LOG, try_mount);
        assert_true(logged == ENOENT || logged == EPERM || logged == ENODEV);
        assert_int_equal(try(profile, SPEC_DENIED_LOG, try_ids), 0);
        assert_int_equal(try(profile, SPEC_DENIED_LOG, try_clone3), EINVAL);
    }
}

static void a_filter_is_made_once(void **unused)
{
    const struct spec_seccomp wanted = { SPEC_SECCOMP_SERVICE, SPEC_DENIED_ERROR };
    const struct sock_fprog *first, *second;
    struct filters filters;
    struct err err = { 0 };

    (void)unused;
    need_filters();
    filter_init(&filters);
    assert_int_equal(filter_get(&filters, &wanted, &first, &err), 0);
    assert_int_equal(filter_get(&filters, &wanted, &second, &err), 0);
    assert_ptr_equal(first, second);
    assert_in_range(first->len, 50, 4096);
    filter_done(&filters);
    filter_done(&filters);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_is_in_one_list),
        cmocka_unit_test(profiles_differ_in_what_they_deny),
        cmocka_unit_test(a_denied_call_may_kill_or_pass),
        cmocka_unit_test(a_filter_is_made_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
