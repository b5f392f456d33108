/* child.c - the contract is in child.h.
 *
 * Everything named in_child_... runs in the child, perhaps in the memory of its parent: raw system
 * calls only, no allocation, no lock, nothing written but *report, *listen_pid and the scratch
 * space of this call.  libc's wrappers for ids are out of the question: they signal all threads.
 */
#include "io/child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

enum {
    STACK_BYTES = 32 * 1024, /* ten times what in_child() takes */
    KERNEL_SIGNALS = 64,
    KERNEL_SIGACTION_BYTES = 64, /* more than any architecture needs */
    EXIT_FAILED_STEP = 127,
    NICE_ZERO = 20,             /* getpriority(2), the raw call, answers 20 - nice */
    JOIN_LOOKS = 5000,          /* at a process that is to be joined, ... */
    JOIN_LOOK_NS = 1000 * 1000, /* ... this long apart */
};

/* On 32-bit machines the plain numbers take 16-bit ids. */
#ifdef SYS_setresuid32
#define NR_SETGROUPS SYS_setgroups32
#define NR_SETRESGID SYS_setresgid32
#define NR_SETRESUID SYS_setresuid32
#else
#define NR_SETGROUPS SYS_setgroups
#define NR_SETRESGID SYS_setresgid
#define NR_SETRESUID SYS_setresuid
#endif

/* What parent and child share about one start; it lies on the parent's stack. */
struct launch {
    const struct child_spec *spec;
    int *sources;   /* where each descriptor is to be taken from; one more than nfds */
    int first_free; /* above all targets */
    /* These may have been moved out of the way. */
    int directory_fd, root_fd, join_fd;
    pid_t parent;
    bool in_cgroup;  /* born there */
    int64_t born_ms; /* since boot; told where memory is shared, else 0 */
};

const char *child_step_name(int32_t step)
{
    static const char *const names[CHILD_NSTEPS] = {
        /* clang-format off */
        [CHILD_STEP_NONE]      = "creating the process",
        [CHILD_STEP_CGROUP]    = "joining its control group",
        [CHILD_STEP_SESSION]   = "making a session or process group",
        [CHILD_STEP_FDS]       = "arranging the descriptors",
        [CHILD_STEP_LIMITS]    = "setting the resource limits",
        [CHILD_STEP_PRIORITY]  = "setting the priority",
        [CHILD_STEP_GROUPS]    = "setting the supplementary groups",
        [CHILD_STEP_GID]       = "setting the group id",
        [CHILD_STEP_UID]       = "setting the user id",
        [CHILD_STEP_DIRECTORY] = "entering the working directory",
        [CHILD_STEP_EXEC]      = "executing the program",
        [CHILD_STEP_JOIN]      = "joining the sandbox of its service",
        [CHILD_STEP_FIRST]     = "making its sandbox",
        [CHILD_STEP_LAST]      = "closing its sandbox",
        /* clang-format on */
    };
    /* The number may come from a damaged ledger. */
    unsigned index = (unsigned)step & ((1u << CHILD_WHAT_SHIFT) - 1);
    return step >= 0 && index < CHILD_NSTEPS ? names[index] : "an unknown step";
}

/* The masks of the kernel itself: libc keeps two signals back from its own calls. */
static void set_mask(uint64_t mask, uint64_t *ret_before)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, ret_before, sizeof(mask));
}

/* Ignored signals too: nothing of how the supervisor treats signals may reach a service. */
static void in_child_reset_signals(void)
{
    unsigned long initial[KERNEL_SIGACTION_BYTES / sizeof(unsigned long)] = { 0 };

    for (int signum = 1; signum <= KERNEL_SIGNALS; signum++)
        syscall(SYS_rt_sigaction, signum, initial, NULL, sizeof(uint64_t));
}

/* Where the kernel, or a filter in front of it, does not know how to be born into a group. */
static bool in_child_cgroup(const struct launch *launch)
{
    if (launch->spec->cgroup_fd <= 0 || launch->in_cgroup)
        return true;
    int fd =
        (int)syscall(SYS_openat, launch->spec->cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = syscall(SYS_write, fd, "0", 1) == 1;
    int error = errno;
    syscall(SYS_close, fd);
    errno = error;
    return ok;
}

static bool in_child_session(const struct child_spec *spec)
{
    if (spec->new_session)
        return syscall(SYS_setsid) >= 0;
    return !spec->new_group || syscall(SYS_setpgid, 0, 0) == 0;
}

/* SIGTTOU is blocked, so the kernel lets a background group do this. */
static bool in_child_foreground(const struct child_spec *spec)
{
    if (!spec->new_group || spec->new_session || !spec->foreground)
        return true;
    pid_t group = (pid_t)syscall(SYS_getpid);
    return syscall(SYS_ioctl, 0, TIOCSPGRP, &group) == 0;
}

static int in_child_move_up(const struct launch *launch, int fd)
{
    return (int)syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, launch->first_free);
}

/* A descriptor of /dev/null above all targets. */
static int in_child_null(const struct launch *launch)
{
    int low = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);

    if (low < 0 || low >= launch->first_free)
        return low;
    int null = in_child_move_up(launch, low), error = errno;
    syscall(SYS_close, low);
    errno = error;
    return null;
}

/* False when one that is there could not be moved. */
static bool in_child_save(const struct launch *launch, int *fd)
{
    if (*fd >= 0 && *fd < launch->first_free)
        return (*fd = in_child_move_up(launch, *fd)) >= 0;
    return true;
}

/* First everything that a target could overwrite goes above all targets. */
static bool in_child_clear_targets(struct launch *launch)
{
    const struct child_spec *spec = launch->spec;
    int null = -1;

    for (size_t i = 0; i < spec->nfds; i++) {
        int from = spec->fds[i].from;
        if (from < 0)
            from = null = null < 0 ? in_child_null(launch) : null;
        else if (from < launch->first_free && from != spec->fds[i].to)
            from = in_child_move_up(launch, from);
        if (from < 0)
            return false;
        launch->sources[i] = from;
    }
    return in_child_save(launch, &launch->directory_fd) &&
           in_child_save(launch, &launch->root_fd) && in_child_save(launch, &launch->join_fd);
}

static bool in_child_fds(struct launch *launch)
{
    const struct child_spec *spec = launch->spec;

    if (!in_child_clear_targets(launch))
        return false;
    for (size_t i = 0; i < spec->nfds; i++) {
        int from = launch->sources[i], to = spec->fds[i].to;
        long rc =
            from == to ? syscall(SYS_fcntl, from, F_SETFD, 0) : syscall(SYS_dup3, from, to, 0);
        if (rc < 0)
            return false;
    }
    return true;
}

static bool in_child_limits(const struct child_spec *spec)
{
    if (spec->umask >= 0)
        syscall(SYS_umask, spec->umask);
    for (size_t i = 0; i < spec->nlimits; i++) {
        const struct rlimit *value = &spec->limits[i].value;
        struct rlimit64 wide = {
            .rlim_cur = value->rlim_cur == RLIM_INFINITY ? RLIM64_INFINITY : value->rlim_cur,
            .rlim_max = value->rlim_max == RLIM_INFINITY ? RLIM64_INFINITY : value->rlim_max,
        };
        if (syscall(SYS_prlimit64, 0, spec->limits[i].resource, &wide, NULL) != 0)
            return false;
    }
    return true;
}

/* Writes a decimal number and a NUL; returns its length. */
static size_t in_child_digits(long value, char *text)
{
    char reversed[24];
    size_t count = 0, len = 0;
    unsigned long rest = value < 0 ? 0ul - (unsigned long)value : (unsigned long)value;

    do
        reversed[count++] = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (value < 0)
        text[len++] = '-';
    while (count > 0)
        text[len++] = reversed[--count];
    text[len] = '\0';
    return len;
}

static bool in_child_oom_score(int score)
{
    char text[24];
    size_t len = in_child_digits(score, text);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    bool ok = syscall(SYS_write, fd, text, len) == (long)len;
    int error = errno;
    syscall(SYS_close, fd);
    errno = error;
    return ok;
}

static bool in_child_priority(const struct child_spec *spec)
{
    if (spec->nice != 0) {
        long raw = syscall(SYS_getpriority, PRIO_PROCESS, 0);
        if (raw < 0 ||
            syscall(SYS_setpriority, PRIO_PROCESS, 0, NICE_ZERO - (int)raw + spec->nice) != 0)
            return false;
    }
    return !spec->set_oom_score || in_child_oom_score(spec->oom_score_adj);
}

static bool in_child_groups(const struct child_spec *spec)
{
    return !spec->set_ids || syscall(NR_SETGROUPS, spec->ngroups, spec->groups) == 0;
}

static bool in_child_gid(const struct child_spec *spec)
{
    return !spec->set_ids || syscall(NR_SETRESGID, spec->gid, spec->gid, spec->gid) == 0;
}

/* The death signal comes after the ids, whose change takes it away. */
static bool in_child_uid(const struct launch *launch)
{
    const struct child_spec *spec = launch->spec;

    if (spec->set_ids && syscall(NR_SETRESUID, spec->uid, spec->uid, spec->uid) != 0)
        return false;
    if (spec->death_signal == 0 || spec->sibling)
        return true;
    if (syscall(SYS_prctl, PR_SET_PDEATHSIG, spec->death_signal, 0, 0, 0) != 0)
        return false;
    if (syscall(SYS_getppid) == launch->parent)
        return true;
    errno = ESRCH; /* it died before it could be watched */
    return false;
}

/* A descriptor leads to where mounts are as they were; the path leads there as they are now. */
static bool in_child_same_directory(const struct launch *launch, const char *path)
{
    struct statx was, is;

    if (syscall(SYS_chdir, path) != 0 ||
        syscall(SYS_statx, launch->directory_fd, "", AT_EMPTY_PATH, STATX_INO, &was) != 0 ||
        syscall(SYS_statx, AT_FDCWD, ".", 0, STATX_INO, &is) != 0)
        return false;
    if (was.stx_ino == is.stx_ino && was.stx_dev_major == is.stx_dev_major &&
        was.stx_dev_minor == is.stx_dev_minor)
        return true;
    errno = ESTALE; /* another folder has come there meanwhile */
    return false;
}

static bool in_child_directory(const struct launch *launch)
{
    const struct child_sandbox *sandbox = launch->spec->sandbox;

    if (launch->directory_fd >= 0 && sandbox && sandbox->directory_path) {
        if (!in_child_same_directory(launch, sandbox->directory_path))
            return false;
    } else if (launch->directory_fd >= 0 && syscall(SYS_fchdir, launch->directory_fd) != 0) {
        return false;
    }
    return !launch->spec->directory || syscall(SYS_chdir, launch->spec->directory) == 0;
}

/* What it joins is still being made when both were started together. */
static bool in_child_await(const struct child_report *report)
{
    const struct timespec pause = { .tv_nsec = JOIN_LOOK_NS };

    for (int looks = 0; report && looks < JOIN_LOOKS; looks++) {
        if (report->error != 0)
            break;
        if (report->step == CHILD_STEP_EXEC)
            return true;
        syscall(SYS_nanosleep, &pause, NULL);
    }
    errno = ESRCH;
    return !report;
}

static bool in_child_join(const struct launch *launch)
{
    const struct child_sandbox *sandbox = launch->spec->sandbox;

    if (!sandbox || sandbox->join == 0)
        return true;
    return in_child_await(sandbox->join_report) &&
           syscall(SYS_setns, launch->join_fd, sandbox->join) == 0;
}

static bool in_child_call(const struct child_call *call, long *kept)
{
    const unsigned long *a = call->arguments;
    unsigned long first = call->flags & CHILD_CALL_ON_KEPT ? (unsigned long)*kept : a[0];

    long rc = syscall(call->number, first, a[1], a[2], a[3], a[4], a[5]);
    if (call->flags & CHILD_CALL_KEEP)
        *kept = rc;
    return rc >= 0 || (call->flags & CHILD_CALL_MAY_LACK &&
                       (errno == ENOENT || errno == ENOTDIR || errno == EINVAL));
}

static bool in_child_calls(const struct launch *launch, const struct child_call *calls,
                           size_t count)
{
    struct child_report *report = launch->spec->report;
    long kept = -1;

    for (size_t i = 0; i < count; i++)
        if (!in_child_call(&calls[i], &kept)) {
            report->step |= (int32_t)(calls[i].what << CHILD_WHAT_SHIFT);
            return false;
        }
    return true;
}

static bool in_child_first(const struct launch *launch)
{
    const struct child_sandbox *sandbox = launch->spec->sandbox;

    if (!sandbox)
        return true;
    if (launch->root_fd >= 0 && syscall(SYS_fchdir, launch->root_fd) != 0)
        return false;
    return in_child_calls(launch, sandbox->first, sandbox->nfirst);
}

static bool in_child_last(const struct launch *launch)
{
    const struct child_sandbox *sandbox = launch->spec->sandbox;

    return !sandbox || in_child_calls(launch, sandbox->last, sandbox->nlast);
}

static bool in_child_step(struct launch *launch, enum child_step step)
{
    const struct child_spec *spec = launch->spec;

    switch (step) {
    case CHILD_STEP_CGROUP:
        return in_child_cgroup(launch);
    case CHILD_STEP_SESSION:
        return in_child_session(spec);
    case CHILD_STEP_FDS:
        return in_child_fds(launch) && in_child_foreground(spec);
    case CHILD_STEP_LIMITS:
        return in_child_limits(spec);
    case CHILD_STEP_PRIORITY:
        return in_child_priority(spec);
    case CHILD_STEP_GROUPS:
        return in_child_groups(spec);
    case CHILD_STEP_GID:
        return in_child_gid(spec);
    case CHILD_STEP_UID:
        return in_child_uid(launch);
    case CHILD_STEP_DIRECTORY:
        return in_child_directory(launch);
    case CHILD_STEP_JOIN:
        return in_child_join(launch);
    case CHILD_STEP_FIRST:
        return in_child_first(launch);
    case CHILD_STEP_LAST:
        return in_child_last(launch);
    case CHILD_STEP_EXEC:
        set_mask(0, NULL);
        syscall(SYS_execve, spec->path, spec->argv, spec->envp);
        return false;
    case CHILD_STEP_NONE:
    case CHILD_NSTEPS:
        break;
    }
    return true;
}

/* Its return value becomes the exit status. */
static int in_child(void *argument)
{
    /* oom_score_adj wants the /proc of before, and mounts the rights of before. */
    static const uint8_t order[] = {
        CHILD_STEP_CGROUP,   CHILD_STEP_SESSION, CHILD_STEP_FDS,       CHILD_STEP_LIMITS,
        CHILD_STEP_PRIORITY, CHILD_STEP_JOIN,    CHILD_STEP_FIRST,     CHILD_STEP_GROUPS,
        CHILD_STEP_GID,      CHILD_STEP_UID,     CHILD_STEP_DIRECTORY, CHILD_STEP_LAST,
        CHILD_STEP_EXEC,
    };
    struct launch *launch = argument;
    struct child_report *report = launch->spec->report;

    launch->born_ms = clock_boot_ms();
    in_child_reset_signals();
    if (launch->spec->listen_pid)
        in_child_digits(syscall(SYS_getpid), launch->spec->listen_pid);
    if (launch->spec->watchdog_pid)
        in_child_digits(syscall(SYS_getpid), launch->spec->watchdog_pid);
    for (size_t i = 0; i < sizeof order; i++) {
        report->step = order[i];
        if (!in_child_step(launch, (enum child_step)order[i])) {
            report->error = errno;
            break;
        }
    }
    return EXIT_FAILED_STEP;
}

static int check(const struct child_spec *spec, struct err *err)
{
    if (!spec->path || !spec->argv || !spec->envp || !spec->report)
        return err_set(err, ERR_INVALID, "starting a program: path, words or report are missing");
    for (size_t i = 0; i < spec->nfds; i++)
        if (spec->fds[i].to < 0)
            return err_set(err, ERR_INVALID, "starting %s: %d is no descriptor", spec->path,
                           spec->fds[i].to);
    /* Another uid could stop the child before it executes, and with it us. */
    if (spec->share_memory && spec->set_ids && (spec->uid != getuid() || spec->uid != geteuid()))
        return err_set(err, ERR_INVALID, "starting %s: memory is not shared with another user",
                       spec->path);
    if (spec->share_memory && spec->sandbox)
        return err_set(err, ERR_INVALID, "starting %s: memory is not shared with a sandbox",
                       spec->path);
    return 0;
}

/* On a copy of our own stack, so it needs no assembly. */
static pid_t clone_into_cgroup(struct launch *launch)
{
    const struct child_spec *spec = launch->spec;
    struct clone_args args = {
        .flags = CLONE_INTO_CGROUP | (spec->sibling ? CLONE_PARENT : 0) |
                 (spec->pid_slot ? CLONE_PARENT_SETTID : 0) |
                 (spec->sandbox && spec->sandbox->new_processes ? CLONE_NEWPID : 0),
        .parent_tid = (uintptr_t)spec->pid_slot,
        .exit_signal = spec->sibling ? 0 : SIGCHLD, /* anything else is refused for a sibling */
        .cgroup = (uint64_t)spec->cgroup_fd,
    };

    launch->in_cgroup = true;
    pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        for (int status = in_child(launch);;)
            syscall(SYS_exit_group, status);
    launch->in_cgroup = pid > 0;
    return pid;
}

static bool is_unknown_call(int error)
{
    return error == ENOSYS || error == EINVAL || error == E2BIG || error == EPERM;
}

static pid_t clone_plain(struct launch *launch, char *stack_top)
{
    const struct child_spec *spec = launch->spec;
    bool share = spec->share_memory && spec->cgroup_fd <= 0;
    int flags = share ? CLONE_VM | CLONE_VFORK : 0;

    /* A sibling reports to our parent with the signal that we would. */
    flags |= spec->sibling ? CLONE_PARENT : SIGCHLD;
    if (spec->pid_slot)
        flags |= CLONE_PARENT_SETTID;
    if (spec->sandbox && spec->sandbox->new_processes)
        flags |= CLONE_NEWPID;
    return clone(in_child, stack_top, flags, launch, spec->pid_slot, NULL, NULL);
}

static pid_t run_clone(struct launch *launch, char *stack_top)
{
    uint64_t before;
    pid_t pid = -1;

    set_mask(UINT64_MAX, &before);
    bool born = launch->spec->cgroup_fd > 0 && !launch->spec->cgroup_join;
    if (born)
        pid = clone_into_cgroup(launch);
    if (pid < 0 && (!born || is_unknown_call(errno)))
        pid = clone_plain(launch, stack_top);
    int error = errno;
    set_mask(before, NULL);
    errno = error;
    return pid;
}

/* It was born between these two times: mostly there is one tick for both. */
static uint64_t start_time(pid_t pid, int64_t before_ms, int64_t after_ms)
{
    int64_t tick_ms = 1000 / sysconf(_SC_CLK_TCK);

    return before_ms / tick_ms == after_ms / tick_ms ? (uint64_t)(before_ms / tick_ms)
                                                     : child_start_time(pid);
}

int child_start(const struct child_spec *spec, pid_t *ret_pid, struct err *err)
{
    int rc = check(spec, err);
    if (rc < 0)
        return rc;
    AUTO_FREE int *sources = calloc(spec->nfds + 1, sizeof(*sources));
    struct launch launch = {
        .spec = spec,
        .sources = sources,
        .first_free = STDERR_FILENO + 1,
        .directory_fd = spec->directory_fd,
        .root_fd = spec->sandbox ? spec->sandbox->root_fd : -1,
        .join_fd = spec->sandbox ? spec->sandbox->join_fd : -1,
        .parent = getpid(),
    };
    if (!sources)
        return err_set(err, ERR_MEMORY, "starting %s: no memory", spec->path);
    for (size_t i = 0; i < spec->nfds; i++)
        if (spec->fds[i].to >= launch.first_free)
            launch.first_free = spec->fds[i].to + 1;

    /* We sleep while the child uses it, or it has a copy.  One made for it costs three calls and
     * two fresh pages, the last of them when the new program wants the processor. */
    char stack[STACK_BYTES] __attribute__((aligned(16)));
    spec->report->step = CHILD_STEP_NONE;
    spec->report->error = 0;
    int64_t before_ms = clock_boot_ms();
    pid_t pid = run_clone(&launch, stack + sizeof stack);
    int error = errno;
    int64_t after_ms = launch.born_ms > 0 ? launch.born_ms : clock_boot_ms();
#ifdef __SANITIZE_ADDRESS__
    /* A child that executed a program never left its frames: their marks would stay here. */
    ASAN_UNPOISON_MEMORY_REGION(stack, sizeof stack);
#endif
    if (pid < 0)
        return err_sys(err, error, "starting %s: creating a process", spec->path);
    if (spec->start_time)
        *spec->start_time = start_time(pid, before_ms, after_ms);
    *ret_pid = pid;
    return 0;
}
