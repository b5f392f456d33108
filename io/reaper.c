/* reaper.c - the contract is in reaper.h. */
#include "io/reaper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"
#include "io/child.h"

enum { HOW = WEXITED | WNOHANG | __WALL };

/* libc's waitid() has no room for the resource usage that the system call gives. */
static pid_t wait_raw(idtype_t type, pid_t pid, int how, siginfo_t *info, struct rusage *usage)
{
    long rc;

    memset(info, 0, sizeof(*info)); /* the kernel leaves it alone when nobody waits */
    do
        rc = syscall(SYS_waitid, type, pid, info, how, usage);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? 0 : info->si_pid;
}

static uint64_t microseconds(const struct timeval *time)
{
    return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

static struct reaper_exit exit_of(pid_t pid, const siginfo_t *info, const struct rusage *usage)
{
    return (struct reaper_exit){
        .pid = pid,
        .code = info->si_code,
        .status = info->si_status,
        .user_us = microseconds(&usage->ru_utime),
        .system_us = microseconds(&usage->ru_stime),
        .max_rss_kb = (uint64_t)usage->ru_maxrss,
    };
}

typedef void exit_fn(void *context, const struct reaper_exit *exit);

static bool take_one(idtype_t type, pid_t pid, int whose, exit_fn *fn, void *context)
{
    struct rusage usage = { 0 };
    siginfo_t info;

    pid = wait_raw(type, pid, HOW | WNOWAIT | whose, &info, &usage);
    if (pid <= 0)
        return false;
    struct reaper_exit exit = exit_of(pid, &info, &usage);
    fn(context, &exit);
    wait_raw(P_PID, pid, HOW, &info, NULL);
    return true;
}

bool reaper_one(pid_t pid, void (*fn)(void *context, const struct reaper_exit *exit), void *context)
{
    return take_one(pid > 0 ? P_PID : P_ALL, pid, 0, fn, context);
}

static size_t sweep(int whose, exit_fn *fn, void *context, size_t max)
{
    size_t count = 0;

    while (count < max && take_one(P_ALL, 0, whose, fn, context))
        count++;
    return count;
}

size_t reaper_sweep(void (*fn)(void *context, const struct reaper_exit *exit), void *context,
                    size_t max)
{
    return sweep(0, fn, context, max);
}

size_t reaper_sweep_own(void (*fn)(void *context, const struct reaper_exit *exit), void *context,
                        size_t max)
{
    return sweep(__WNOTHREAD, fn, context, max);
}

size_t reaper_drain(void (*fn)(void *context, const struct reaper_exit *exit), void *context,
                    size_t max)
{
    static const struct rusage untold;
    size_t count;

    for (count = 0; count < max; count++) {
        siginfo_t info;
        pid_t pid = wait_raw(P_ALL, 0, HOW, &info, NULL);
        if (pid <= 0)
            break;
        struct reaper_exit exit = exit_of(pid, &info, &untold);
        fn(context, &exit);
    }
    return count;
}

bool reaper_wait(pid_t pid, struct reaper_exit *ret)
{
    struct rusage usage = { 0 };
    siginfo_t info;

    if (wait_raw(P_PID, pid, HOW & ~WNOHANG, &info, &usage) <= 0)
        return false;
    *ret = exit_of(pid, &info, &usage);
    return true;
}

/* --- children of others --- */

/* From the kernel's interface, which is newer than the headers we build with. */
struct pidfd_info {
    uint64_t mask, cgroup_id;
    uint32_t pid, tgid, parent_pid;
    uint32_t ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
    int32_t exit_code; /* as wait(2) gives it */
};
_Static_assert(sizeof(struct pidfd_info) == 64, "the first published size");
#define PIDFD_GET_INFO_ _IOWR(0xFF, 11, struct pidfd_info)
enum { INFO_EXIT = 1 << 3, STAT_BYTES = 2048 };

/* When it was reaped. */
static bool exit_told(int pidfd, int *ret_status)
{
    struct pidfd_info info = { .mask = INFO_EXIT };

    if (ioctl(pidfd, PIDFD_GET_INFO_, &info) != 0 || !(info.mask & INFO_EXIT))
        return false;
    *ret_status = info.exit_code;
    return true;
}

/* Whether the protected fields of that process are told to us; they read 0 otherwise. */
static bool may_trace(pid_t pid)
{
    char path[64], byte;
    snprintf(path, sizeof(path), "/proc/%d/io", (int)pid);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, &byte, 1) == 1;
}

/* A zombie's status stands in the last field of /proc/PID/stat, for who may trace it.  It is that
 * process's if the zombie is still there after the reading. */
static bool zombie_told(pid_t pid, int pidfd, int *ret_status)
{
    char path[64], text[STAT_BYTES];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0 || child_pidfd_signal(pidfd, 0) < 0)
        return false;
    text[n] = '\0';
    const char *name_end = strrchr(text, ')'), *last = strrchr(text, ' ');
    if (!name_end || !last || strncmp(name_end, ") Z ", 4) != 0)
        return false;
    *ret_status = (int)strtol(last + 1, NULL, 10);
    return *ret_status != 0 || may_trace(pid);
}

bool reaper_told(pid_t pid, int pidfd, struct reaper_exit *ret)
{
    int status;

    if (!exit_told(pidfd, &status) && !zombie_told(pid, pidfd, &status))
        return false;
    bool exited = WIFEXITED(status);
    *ret = (struct reaper_exit){
        .pid = pid,
        .code = exited              ? CLD_EXITED
                : WCOREDUMP(status) ? CLD_DUMPED
                                    : CLD_KILLED,
        .status = exited ? WEXITSTATUS(status) : WTERMSIG(status),
    };
    return true;
}
