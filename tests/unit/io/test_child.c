/* test_child.c - what a started program sees, and what its starter sees of a failure. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/child.h"

enum { OUTPUT_MAX = 4096, DEADLINE_MS = 10 * 1000, STARTS = 200 };

static char *const plain_env[] = { "PATH=/usr/bin:/bin", "LC_ALL=C", NULL };
static struct child_report *report; /* shared with children that do not share memory */

static int set_up(void **unused)
{
    (void)unused;
    report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return report == MAP_FAILED ? -1 : 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    return munmap(report, sizeof(*report));
}

static struct child_spec spec_of(const char *path, char *const *argv)
{
    return (struct child_spec){ .path = path,
                                .argv = argv,
                                .envp = plain_env,
                                .directory_fd = -1,
                                .umask = -1,
                                .report = report };
}

/* Reads until end of file, never longer than the deadline. */
static void read_all(int fd, char *text)
{
    size_t len = 0;
    struct pollfd at = { .fd = fd, .events = POLLIN };

    for (;;) {
        assert_int_equal(poll(&at, 1, DEADLINE_MS), 1);
        ssize_t got = read(fd, text + len, OUTPUT_MAX - 1 - len);
        assert_true(got >= 0);
        if (got == 0)
            break;
        len += (size_t)got;
    }
    text[len] = '\0';
    close(fd);
}

static int wait_for(pid_t pid)
{
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* Runs the program with its output taken; returns the exit status. */
static int run(const struct child_spec *spec, const struct child_fd *more, size_t count, char *text)
{
    struct child_fd fds[8];
    struct err err;
    int ends[2];
    pid_t pid;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fds[0] = (struct child_fd){ ends[1], 1 };
    for (size_t i = 0; i < count; i++)
        fds[i + 1] = more[i];
    struct child_spec own = *spec;
    own.fds = fds;
    own.nfds = count + 1;
    assert_int_equal(child_start(&own, &pid, &err), 0);
    close(ends[1]);
    read_all(ends[0], text);
    return wait_for(pid);
}

static int run_shell(const struct child_spec *spec, const char *script, char *text)
{
    char *argv[] = { "sh", "-c", (char *)script, NULL };
    struct child_spec own = *spec;
    own.path = "/bin/sh";
    own.argv = argv;
    return run(&own, NULL, 0, text);
}

static void failure_is_reported_at_once_when_memory_is_shared(void **unused)
{
    (void)unused;
    char *argv[] = { "nothing", NULL };
    struct child_report own = { 0 };
    struct child_spec spec = spec_of("/nonexistent/nothing", argv);
    struct err err;
    pid_t pid;

    spec.report = &own;
    spec.share_memory = true;
    assert_int_equal(child_start(&spec, &pid, &err), 0);
    assert_int_equal(own.step, CHILD_STEP_EXEC);
    assert_int_equal(own.error, ENOENT);
    int status = wait_for(pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 127);
}

static void failure_is_in_the_report_after_a_fork(void **unused)
{
    (void)unused;
    char *argv[] = { "true", NULL };
    struct child_spec spec = spec_of("/bin/true", argv);
    struct err err;
    pid_t pid;

    spec.directory = "/nonexistent";
    assert_int_equal(child_start(&spec, &pid, &err), 0);
    assert_int_equal(WEXITSTATUS(wait_for(pid)), 127);
    assert_int_equal(report->step, CHILD_STEP_DIRECTORY);
    assert_int_equal(report->error, ENOENT);
    assert_string_equal(child_step_name(report->step), "entering the working directory");
    assert_string_equal(child_step_name(99), "an unknown step");
}

static void text_without_interpreter_is_not_given_to_a_shell(void **unused)
{
    (void)unused;
    char path[] = "/tmp/test_child_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "exit 0\n", 7), 7);
    assert_int_equal(fchmod(fd, 0700), 0);
    close(fd);

    char *argv[] = { path, NULL };
    struct child_spec spec = spec_of(path, argv);
    struct err err;
    pid_t pid;
    spec.share_memory = true;
    assert_int_equal(child_start(&spec, &pid, &err), 0);
    assert_int_equal(report->error, ENOEXEC);
    assert_int_equal(WEXITSTATUS(wait_for(pid)), 127);
    unlink(path);
}

static void pid_is_in_the_slot_and_in_the_environment(void **unused)
{
    (void)unused;
    for (int share = 0; share < 2; share++) {
        char listen[] = "LISTEN_PID=\0\0\0\0\0\0\0\0\0\0";
        char *env[] = { listen, NULL };
        int32_t slot = 0;
        struct child_spec spec = spec_of(NULL, NULL);
        char text[OUTPUT_MAX], expected[32];

        spec.envp = env;
        spec.pid_slot = &slot;
        spec.listen_pid = listen + strlen("LISTEN_PID=");
        spec.share_memory = share;
        assert_int_equal(run_shell(&spec, "echo $LISTEN_PID $$", text), 0);
        snprintf(expected, sizeof(expected), "%d %d\n", slot, slot);
        assert_string_equal(text, expected);
    }
}

static void sibling_belongs_to_the_grandparent(void **unused)
{
    (void)unused;
    int32_t *slot =
        mmap(NULL, sizeof(*slot), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    char *argv[] = { "sh", "-c", "exit 9", NULL };
    struct child_spec spec = spec_of("/bin/sh", argv);
    spec.sibling = true;
    spec.pid_slot = slot;
    for (int share = 0; share < 2; share++) {
        spec.share_memory = share;
        pid_t middle = fork();
        if (middle == 0) {
            pid_t pid;
            struct err err;
            _exit(child_start(&spec, &pid, &err) == 0 && pid == *slot ? 0 : 1);
        }
        assert_int_equal(wait_for(middle), 0);
        assert_int_equal(WEXITSTATUS(wait_for(*slot)), 9); /* ours, though we did not start it */
    }
    munmap(slot, sizeof(*slot));
}

static int file_with(const char *text, int at)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(dup3(fd, at, O_CLOEXEC), at);
    close(fd);
    return at;
}

static void descriptors_are_swapped_kept_and_closed(void **unused)
{
    (void)unused;
    const struct child_fd fds[] = { { 7, 8 }, { 8, 7 }, { 9, 9 }, { 9, 5 }, { -1, 0 }, { -1, 6 } };
    char *argv[] = { "sh", "-c",
                     "cat <&7; cat <&8; cat <&9; readlink /proc/self/fd/0 /proc/self/fd/6 "
                     "/proc/self/fd/4 /proc/self/fd/20; test /proc/self/fd/9 -ef /proc/self/fd/5",
                     NULL };
    for (int share = 0; share < 2; share++) {
        file_with("seven ", 7);
        file_with("eight ", 8);
        file_with("nine\n", 9);
        file_with("not passed on", 20);
        struct child_spec spec = spec_of("/bin/sh", argv);
        char text[OUTPUT_MAX];
        spec.share_memory = share;
        assert_int_equal(run(&spec, fds, 6, text), 0);
        assert_string_equal(text, "eight seven nine\n/dev/null\n/dev/null\n");
        assert_true(fcntl(9, F_GETFD) & FD_CLOEXEC); /* ours are as they were */
    }
    for (int fd = 7; fd <= 9; fd++)
        close(fd);
    close(20);
}

static void folder_survives_a_descriptor_of_its_number(void **unused)
{
    (void)unused;
    int dir = open("/usr", O_PATH | O_CLOEXEC);
    assert_int_equal(dup3(dir, 7, O_CLOEXEC), 7);
    close(dir);
    const struct child_fd fds[] = { { -1, 7 } };
    char *argv[] = { "pwd", "-P", NULL };
    struct child_spec spec = spec_of("/bin/pwd", argv);
    char text[OUTPUT_MAX];
    spec.directory_fd = 7;
    spec.directory = "lib";
    assert_int_equal(run(&spec, fds, 1, text), 0);
    assert_string_equal(text, "/usr/lib\n");
    close(7);
}

static void bad_descriptor_is_named_by_its_step(void **unused)
{
    (void)unused;
    const struct child_fd fds[] = { { 1000, 3 } };
    char *argv[] = { "true", NULL };
    struct child_spec spec = spec_of("/bin/true", argv);
    char text[OUTPUT_MAX];
    assert_int_equal(WEXITSTATUS(run(&spec, fds, 1, text)), 127);
    assert_int_equal(report->step, CHILD_STEP_FDS);
    assert_int_equal(report->error, EBADF);
}

static void ignore(int signum) { (void)signum; }

static void child_has_no_signal_settings_of_ours(void **unused)
{
    (void)unused;
    sigset_t set, now;
    signal(SIGUSR1, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, ignore);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int share = 0; share < 2; share++) {
        char *argv[] = { "grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status", NULL };
        struct child_spec spec = spec_of("/bin/grep", argv);
        char text[OUTPUT_MAX];
        spec.share_memory = share;
        assert_int_equal(run(&spec, NULL, 0, text), 0);
        assert_non_null(strstr(text, "SigBlk:\t0000000000000000\n"));
        assert_non_null(strstr(text, "SigIgn:\t0000000000000000\n"));
        assert_int_equal(sigprocmask(SIG_SETMASK, NULL, &now), 0);
        assert_true(sigismember(&now, SIGUSR2));
        assert_false(sigismember(&now, SIGTERM));
        assert_ptr_equal(signal(SIGTERM, ignore), ignore); /* ours are untouched */
        assert_ptr_equal(signal(SIGUSR1, SIG_IGN), SIG_IGN);
    }
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
}

static void limits_and_priority_are_set(void **unused)
{
    (void)unused;
    const struct child_limit limits[] = { { RLIMIT_NOFILE, { 60, 70 } },
                                          { RLIMIT_CORE, { 0, 0 } } };
    for (int share = 0; share < 2; share++) {
        struct child_spec spec = spec_of(NULL, NULL);
        char text[OUTPUT_MAX], expected[64];
        spec.share_memory = share;
        spec.umask = 0027;
        spec.nice = 3;
        spec.set_oom_score = true;
        spec.oom_score_adj = 321;
        spec.limits = limits;
        spec.nlimits = 2;
        assert_int_equal(run_shell(&spec,
                                   "umask; ulimit -Sn; ulimit -Hn; ulimit -c; nice;"
                                   "cat /proc/self/oom_score_adj",
                                   text),
                         0);
        snprintf(expected, sizeof(expected), "0027\n60\n70\n0\n%d\n321\n",
                 getpriority(PRIO_PROCESS, 0) + 3);
        assert_string_equal(text, expected);
    }
    const struct child_limit wrong = { RLIMIT_NOFILE, { 70, 60 } };
    struct child_spec spec = spec_of(NULL, NULL);
    char text[OUTPUT_MAX];
    spec.limits = &wrong;
    spec.nlimits = 1;
    assert_int_equal(WEXITSTATUS(run_shell(&spec, "true", text)), 127);
    assert_int_equal(report->step, CHILD_STEP_LIMITS);
    assert_int_equal(report->error, EINVAL);
}

static void ids_are_dropped_for_good(void **unused)
{
    (void)unused;
    if (geteuid() != 0)
        skip();
    const gid_t groups[] = { 4321, 65534 };
    struct child_spec spec = spec_of(NULL, NULL);
    char text[OUTPUT_MAX];
    struct err err;
    pid_t pid;
    spec.set_ids = true;
    spec.uid = spec.gid = 65534;
    spec.groups = groups;
    spec.ngroups = 2;
    assert_int_equal(run_shell(&spec, "grep -E '^(Uid|Gid|Groups|CapEff)' /proc/self/status", text),
                     0);
    assert_non_null(strstr(text, "Uid:\t65534\t65534\t65534\t65534\n"));
    assert_non_null(strstr(text, "Gid:\t65534\t65534\t65534\t65534\n"));
    assert_non_null(strstr(text, "Groups:\t4321 65534"));
    assert_non_null(strstr(text, "CapEff:\t0000000000000000\n"));
    spec.share_memory = true;
    spec.nfds = 0;
    assert_int_equal(child_start(&spec, &pid, &err), ERR_INVALID);
}

static void session_and_group_are_made(void **unused)
{
    (void)unused;
    char *argv[] = { "cut", "-d ", "-f1,5,6", "/proc/self/stat", NULL };
    struct child_spec spec = spec_of("/usr/bin/cut", argv);
    char text[OUTPUT_MAX], expected[64];
    int32_t pid;
    spec.pid_slot = &pid;
    spec.new_session = true;
    assert_int_equal(run(&spec, NULL, 0, text), 0);
    snprintf(expected, sizeof(expected), "%d %d %d\n", pid, pid, pid);
    assert_string_equal(text, expected);
    spec.new_session = false;
    spec.new_group = true;
    assert_int_equal(run(&spec, NULL, 0, text), 0);
    snprintf(expected, sizeof(expected), "%d %d %d\n", pid, pid, getsid(0));
    assert_string_equal(text, expected);
}

/* In a process of its own, which takes a terminal as its controlling one. */
static int take_the_foreground(void)
{
    char *argv[] = { "true", NULL };
    struct child_spec spec = spec_of("/bin/true", argv);
    struct err err;
    pid_t pid;
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (setsid() < 0 || master < 0 || grantpt(master) != 0 || unlockpt(master) != 0)
        return 77;
    int slave = open(ptsname(master), O_RDWR);
    if (slave < 0 || dup2(slave, 0) != 0)
        return 77;
    spec.new_group = spec.foreground = spec.share_memory = true;
    if (child_start(&spec, &pid, &err) != 0 || report->error != 0)
        return 1;
    return tcgetpgrp(0) == pid && pid != getpgrp() ? 0 : 2;
}

static void group_gets_the_terminal(void **unused)
{
    (void)unused;
    pid_t middle = fork();
    if (middle == 0)
        _exit(take_the_foreground());
    int status = wait_for(middle);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(status, 0);
}

static void child_dies_with_its_parent(void **unused)
{
    (void)unused;
    char *argv[] = { "sleep", "1000", NULL };
    struct child_spec spec = spec_of("/bin/sleep", argv);
    char text[OUTPUT_MAX];
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const struct child_fd fds[] = { { ends[1], 1 } };
    spec.fds = fds;
    spec.nfds = 1;
    spec.death_signal = SIGKILL;
    spec.share_memory = true;
    pid_t middle = fork();
    if (middle == 0) {
        struct err err;
        pid_t pid;
        _exit(child_start(&spec, &pid, &err) == 0 && report->error == 0 ? 0 : 1);
    }
    close(ends[1]);
    assert_int_equal(wait_for(middle), 0);
    read_all(ends[0], text); /* ends only when the last writer is gone */
    assert_string_equal(text, "");
}

static size_t mapped_pages(void)
{
    char text[64] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    close(fd);
    return strtoul(text, NULL, 10);
}

static void many_starts_leave_nothing_behind(void **unused)
{
    (void)unused;
    char *argv[] = { "true", NULL };
    int before = dup(0);
    close(before);
    size_t pages = mapped_pages();
    for (int i = 0; i < STARTS; i++) {
        struct child_spec spec = spec_of(i % 4 == 3 ? "/nonexistent" : "/bin/true", argv);
        struct err err;
        pid_t pid;
        spec.share_memory = i % 2;
        assert_int_equal(child_start(&spec, &pid, &err), 0);
        assert_int_equal(WEXITSTATUS(wait_for(pid)), i % 4 == 3 ? 127 : 0);
    }
    int after = dup(0);
    close(after);
    assert_int_equal(after, before);
    assert_true(mapped_pages() < pages + STARTS); /* not a stack for each */
}

static void wrong_specs_are_refused(void **unused)
{
    (void)unused;
    const struct child_fd fd = { 0, -1 };
    char *argv[] = { "true", NULL };
    struct child_spec spec = spec_of(NULL, argv);
    struct err err;
    pid_t pid;
    assert_int_equal(child_start(&spec, &pid, &err), ERR_INVALID);
    spec.path = "/bin/true";
    spec.fds = &fd;
    spec.nfds = 1;
    assert_int_equal(child_start(&spec, &pid, &err), ERR_INVALID);
}

static void assert_found(const char *command, char *const *envp, const char *expected)
{
    struct err err;
    char *found = child_find(command, envp, &err);
    assert_string_equal(found ? found : err.text, expected);
    free(found);
}

static void commands_are_found_as_execvp_does(void **unused)
{
    (void)unused;
    char *odd[] = { "PATH=/nonexistent:/etc:/bin", NULL };
    char *none[] = { NULL };
    char *here[] = { "PATH=:/nonexistent", NULL };
    struct err err;
    assert_found("sh", odd, "/bin/sh");
    assert_found("./x/y", odd, "./x/y");
    assert_found("env", none, "/usr/bin/env");
    assert_null(child_find("no-such-command", odd, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_null(child_find("passwd", (char *[]){ "PATH=/etc", NULL }, &err)); /* a plain file */
    assert_int_equal(err.code, ERR_DENIED);
    assert_null(child_find("", odd, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    char before[4096];
    assert_non_null(getcwd(before, sizeof(before)));
    assert_int_equal(chdir("/bin"), 0);
    assert_found("sh", here, "./sh");
    assert_int_equal(chdir(before), 0);
}

/* So often that some are born at the very end of a tick. */
static void start_time_is_known_without_a_look(void **unused)
{
    (void)unused;
    char *argv[] = { "sleep", "1000", NULL };
    struct child_spec spec = spec_of("/bin/sleep", argv);
    struct err err;

    for (int i = 0; i < 100; i++) {
        uint64_t told = 0;
        pid_t pid;

        spec.share_memory = i % 2;
        spec.start_time = &told;
        assert_int_equal(child_start(&spec, &pid, &err), 0);
        uint64_t is = child_start_time(pid);
        kill(pid, SIGKILL);
        wait_for(pid);
        assert_true(is > 0);
        assert_int_equal(told, is);
    }
}

static void start_time_and_pidfd_name_one_process(void **unused)
{
    (void)unused;
    char name[16], *argv[] = { "sleep", "1000", NULL };
    uint64_t start = child_start_time(getpid());
    assert_true(start > 0);
    prctl(PR_GET_NAME, name);
    prctl(PR_SET_NAME, "a) R 1 (2 3");
    assert_int_equal(child_start_time(getpid()), start);
    prctl(PR_SET_NAME, name);

    struct child_spec spec = spec_of("/bin/sleep", argv);
    struct err err;
    pid_t pid;
    spec.share_memory = true;
    assert_int_equal(child_start(&spec, &pid, &err), 0);
    assert_true(child_start_time(pid) >= start);
    int pidfd = child_pidfd(pid);
    assert_true(pidfd >= 0);
    assert_true(fcntl(pidfd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(child_pidfd_pid(pidfd), pid);
    assert_int_equal(child_pidfd_pid(STDIN_FILENO), 0);
    assert_int_equal(child_pidfd_pid(-1), 0);
    assert_int_equal(child_pidfd_signal(pidfd, SIGKILL), 0);
    assert_int_equal(WTERMSIG(wait_for(pid)), SIGKILL);
    assert_int_equal(child_pidfd_signal(pidfd, SIGKILL), -ESRCH);
    assert_int_equal(child_pidfd_pid(pidfd), 0);
    assert_int_equal(child_pidfd(pid), -ESRCH);
    assert_int_equal(child_start_time(pid), 0);
    close(pidfd);
}

/* --- a sandbox --- */

static struct child_call call_of(uint32_t what, unsigned flags, long number, unsigned long a,
                                 unsigned long b)
{
    return (
        struct child_call){ .number = number, .arguments = { a, b }, .what = what, .flags = flags };
}

static int run_boxed(const struct child_sandbox *sandbox, char *const *argv, int *ret_status)
{
    struct child_spec spec = spec_of("/bin/sh", argv);
    struct err err = { 0 };
    pid_t pid;

    spec.sandbox = sandbox;
    int rc = child_start(&spec, &pid, &err);
    if (rc == 0)
        assert_int_equal(waitpid(pid, ret_status, 0), pid);
    return rc;
}

static void calls_are_made_in_their_order(void **unused)
{
    static char *const argv[] = { "sh", "-c", "grep -q '^NoNewPrivs:.1' /proc/self/status", NULL };
    const unsigned long path = (unsigned long)(uintptr_t) "/proc/self/no such thing";
    const struct child_call first[] = {
        call_of(1, CHILD_CALL_KEEP, SYS_socket, 1, 1),
        call_of(2, CHILD_CALL_MAY_LACK, SYS_chdir, path, 0),
        call_of(3, CHILD_CALL_ON_KEPT, SYS_getpeername, 99, 0),
        call_of(4, CHILD_CALL_ON_KEPT, SYS_close, 99, 0),
    };
    const struct child_call last[] = { call_of(5, 0, SYS_prctl, PR_SET_NO_NEW_PRIVS, 1) };
    struct child_sandbox sandbox = {
        .first = first, .nfirst = 2, .last = last, .nlast = 1, .root_fd = -1, .join_fd = -1
    };
    int status;

    (void)unused;
    assert_int_equal(run_boxed(&sandbox, argv, &status), 0);
    assert_int_equal(status, 0);
    assert_int_equal(report->error, 0);
    /* A socket without a peer cannot name it, but it is one. */
    sandbox.nfirst = 3;
    assert_int_equal(run_boxed(&sandbox, argv, &status), 0);
    assert_int_equal(report->step, CHILD_STEP_FIRST | 3 << CHILD_WHAT_SHIFT);
    assert_int_equal(report->error, ENOTCONN);
    assert_string_equal(child_step_name(report->step), "making its sandbox");
}

static void a_call_that_fails_says_which_it_was(void **unused)
{
    static char *const argv[] = { "sh", "-c", "exit 0", NULL };
    const struct child_call bad[] = { call_of(1, 0, SYS_getpid, 0, 0),
                                      call_of(CHILD_WHAT_MAX, 0, SYS_close, 1 << 30, 0) };
    const struct child_sandbox sandbox = { .last = bad, .nlast = 2, .root_fd = -1, .join_fd = -1 };
    int status;

    (void)unused;
    assert_int_equal(run_boxed(&sandbox, argv, &status), 0);
    assert_int_equal(WEXITSTATUS(status), 127);
    assert_int_equal(report->step, CHILD_STEP_LAST | CHILD_WHAT_MAX << CHILD_WHAT_SHIFT);
    assert_int_equal(report->error, EBADF);
    assert_string_equal(child_step_name(report->step), "closing its sandbox");
}

static void a_folder_that_was_exchanged_is_not_entered(void **unused)
{
    static char *const argv[] = { "sh", "-c", "test \"$(pwd)\" = /usr/bin", NULL };
    struct child_spec spec = spec_of("/bin/sh", argv);
    struct child_sandbox sandbox = { .root_fd = -1, .join_fd = -1, .directory_path = "/usr" };
    struct err err = { 0 };
    int status;
    pid_t pid;

    (void)unused;
    spec.sandbox = &sandbox;
    spec.directory = "bin";
    spec.directory_fd = open("/usr", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(child_start(&spec, &pid, &err), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    sandbox.directory_path = "/var";
    assert_int_equal(child_start(&spec, &pid, &err), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(report->step, CHILD_STEP_DIRECTORY);
    assert_int_equal(report->error, ESTALE);
    close(spec.directory_fd);
}

/* Who is to run beside a process that never came to run does not wait for ever. */
static void nobody_joins_what_has_failed(void **unused)
{
    static char *const argv[] = { "sh", "-c", "exit 0", NULL };
    const struct child_report other = { .step = CHILD_STEP_UID, .error = EPERM };
    const struct child_sandbox sandbox = {
        .root_fd = -1, .join_fd = 1, .join = 1, .join_report = &other
    };
    int status;

    (void)unused;
    assert_int_equal(run_boxed(&sandbox, argv, &status), 0);
    assert_int_equal(report->step, CHILD_STEP_JOIN);
    assert_int_equal(report->error, ESRCH);
}

static void memory_is_not_shared_with_a_sandbox(void **unused)
{
    static char *const argv[] = { "sh", NULL };
    const struct child_sandbox sandbox = { .root_fd = -1, .join_fd = -1 };
    struct child_spec spec = spec_of("/bin/sh", argv);
    struct err err = { 0 };
    pid_t pid;

    (void)unused;
    spec.sandbox = &sandbox;
    spec.share_memory = true;
    assert_int_equal(child_start(&spec, &pid, &err), ERR_INVALID);
}

static void a_command_inside_a_root(void **unused)
{
    char *const envp[] = { "PATH=/none:/bin:usr/bin", NULL };
    char folder[] = "/tmp/test_child.XXXXXX";
    struct err err = { 0 };

    (void)unused;
    assert_non_null(mkdtemp(folder));
    int root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(root, "usr", 0755) | mkdirat(root, "usr/bin", 0755), 0);
    /* A link that leads out for us leads into the root for it. */
    assert_int_equal(symlinkat("/usr/bin", root, "bin"), 0);
    close(openat(root, "usr/bin/tool", O_CREAT | O_WRONLY | O_CLOEXEC, 0755));
    close(openat(root, "usr/bin/text", O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
    char *found = child_find_inside(root, "tool", envp, &err);
    assert_string_equal(found, "/bin/tool");
    free(found);
    found = child_find_inside(root, "bin/any", envp, &err);
    assert_string_equal(found, "/bin/any");
    free(found);
    assert_null(child_find_inside(root, "text", envp, &err));
    assert_null(child_find_inside(root, "sh", envp, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "inside its root"));
    unlinkat(root, "usr/bin/tool", 0);
    unlinkat(root, "usr/bin/text", 0);
    unlinkat(root, "usr/bin", AT_REMOVEDIR);
    unlinkat(root, "usr", AT_REMOVEDIR);
    unlinkat(root, "bin", 0);
    close(root);
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failure_is_reported_at_once_when_memory_is_shared),
        cmocka_unit_test(failure_is_in_the_report_after_a_fork),
        cmocka_unit_test(text_without_interpreter_is_not_given_to_a_shell),
        cmocka_unit_test(pid_is_in_the_slot_and_in_the_environment),
        cmocka_unit_test(sibling_belongs_to_the_grandparent),
        cmocka_unit_test(descriptors_are_swapped_kept_and_closed),
        cmocka_unit_test(folder_survives_a_descriptor_of_its_number),
        cmocka_unit_test(bad_descriptor_is_named_by_its_step),
        cmocka_unit_test(child_has_no_signal_settings_of_ours),
        cmocka_unit_test(limits_and_priority_are_set),
        cmocka_unit_test(ids_are_dropped_for_good),
        cmocka_unit_test(session_and_group_are_made),
        cmocka_unit_test(group_gets_the_terminal),
        cmocka_unit_test(child_dies_with_its_parent),
        cmocka_unit_test(many_starts_leave_nothing_behind),
        cmocka_unit_test(wrong_specs_are_refused),
        cmocka_unit_test(commands_are_found_as_execvp_does),
        cmocka_unit_test(start_time_is_known_without_a_look),
        cmocka_unit_test(start_time_and_pidfd_name_one_process),
        cmocka_unit_test(calls_are_made_in_their_order),
        cmocka_unit_test(a_call_that_fails_says_which_it_was),
        cmocka_unit_test(a_folder_that_was_exchanged_is_not_entered),
        cmocka_unit_test(nobody_joins_what_has_failed),
        cmocka_unit_test(memory_is_not_shared_with_a_sandbox),
        cmocka_unit_test(a_command_inside_a_root),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
