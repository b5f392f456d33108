/* idle.c - the contract is in idle.h. */
#include "deployctl/agent/idle.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NICE_MORE = 10, NICE_LIMIT_ZERO = 20, THIS_THREAD = 0 };

static void set_disk(long priority)
{
    syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, THIS_THREAD, priority);
}

/* A thread of the pool may work on a switch next, which must not wait. */
static bool may_come_back(int nice)
{
    struct rlimit limit;
    return geteuid() == 0 || (getrlimit(RLIMIT_NICE, &limit) == 0 &&
                              (long long)limit.rlim_cur >= NICE_LIMIT_ZERO - nice);
}

void idle_begin_disk(struct idle *idle)
{
    *idle = (struct idle){ .on = true };
    idle->disk = syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, THIS_THREAD);
    if (idle->disk >= 0)
        set_disk(IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
}

void idle_begin(struct idle *idle)
{
    idle_begin_disk(idle);
    errno = 0;
    idle->nice = getpriority(PRIO_PROCESS, THIS_THREAD);
    idle->niced = errno == 0 && may_come_back(idle->nice) &&
                  setpriority(PRIO_PROCESS, THIS_THREAD, idle->nice + NICE_MORE) == 0;
}

void idle_end(struct idle *idle)
{
    if (!idle->on)
        return;
    if (idle->disk >= 0)
        set_disk(idle->disk);
    if (idle->niced)
        setpriority(PRIO_PROCESS, THIS_THREAD, idle->nice);
    *idle = (struct idle){ 0 };
}
