/* reaper.c - the contract is in reaper.h. */
#include "io/reaper.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

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

size_t reaper_sweep(void (*fn)(void *context, const struct reaper_exit *exit), void *context,
                    size_t max)
{
    size_t count;

    for (count = 0; count < max; count++) {
        struct rusage usage = { 0 };
        siginfo_t info;
        pid_t pid = wait_raw(P_ALL, 0, HOW | WNOWAIT, &info, &usage);
        if (pid <= 0)
            break;
        struct reaper_exit exit = exit_of(pid, &info, &usage);
        fn(context, &exit);
        wait_raw(P_PID, pid, HOW, &info, NULL);
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
