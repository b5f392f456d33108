/* doctor_look.c - looking, which changes nothing; the contract is in doctor.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/clock.h"
#include "io/child.h"
#include "supervisor/host/doctor.h"

enum {
    STATUS_BYTES = 8192,
    PATH_BYTES = 4096,
    CAP_SETUID_BIT = 7,
    CAP_PTRACE_BIT = 19,
    INFO_BYTES = 64,
};
static const int64_t built_us = 1767225600LL * 1000 * 1000; /* no clock is right before 2026 */

static bool readable(const char *path)
{
    char byte;
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    return fd >= 0 && read(fd, &byte, 1) >= 0;
}

/* An absent folder counts if its parent lets us make it. */
static bool writable_dir(const char *dir)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s", dir);
    for (;;) {
        if (access(path, W_OK | X_OK) == 0)
            return true;
        char *slash = errno == ENOENT ? strrchr(path, '/') : NULL;
        if (!slash || slash == path)
            return false;
        *slash = '\0';
    }
}

static uint64_t status_number(const char *text, const char *key, int base)
{
    const char *at = strstr(text, key);

    return at ? strtoull(at + strlen(key), NULL, base) : 0;
}

static void look_at_rights(struct doctor_facts *ret)
{
    AUTO_CLOSE int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    char text[STATUS_BYTES];

    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    uint64_t caps = status_number(text, "\nCapEff:", 16);
    ret->change_users = caps >> CAP_SETUID_BIT & 1;
    ret->environment = caps >> CAP_PTRACE_BIT & 1;
    ret->no_new_privs = status_number(text, "\nNoNewPrivs:", 10) != 0;
    ret->filtered = status_number(text, "\nSeccomp:", 10) != 0;
}

static bool kernel_at_least(int major, int minor)
{
    struct utsname name;
    int its_major, its_minor;

    return uname(&name) == 0 && sscanf(name.release, "%d.%d", &its_major, &its_minor) == 2 &&
           (its_major > major || (its_major == major && its_minor >= minor));
}

/* PIDFD_GET_INFO, asking for nothing in particular; only later kernels tell exits by it. */
static bool knows_pidfd_info(int pidfd)
{
    uint64_t info[INFO_BYTES / sizeof(uint64_t)] = { 0 };

    return ioctl(pidfd, _IOC(_IOC_READ | _IOC_WRITE, 0xFF, 11, INFO_BYTES), info) == 0;
}

static void look_at_kernel(struct doctor_facts *ret)
{
    AUTO_CLOSE int pidfd = child_pidfd(getpid());
    char path[64];
    int subreaper;

    ret->pidfds = pidfd >= 0;
    ret->pidfd_info = pidfd >= 0 && knows_pidfd_info(pidfd) && kernel_at_least(6, 15);
    ret->subreaper = prctl(PR_GET_CHILD_SUBREAPER, &subreaper, 0, 0, 0) == 0;
    /* Too small to be anything but refused; where it is not known the answer is another one. */
    ret->born_in_group = syscall(SYS_clone3, NULL, (size_t)0) < 0 && errno == EINVAL;
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    ret->children = readable(path);
    ret->pressure = readable("/proc/pressure/cpu");
    ret->host_oom = readable("/proc/vmstat");
    ret->stacks = readable("/proc/1/stack") || readable("/proc/self/stack");
    ret->clock_right = clock_wall_us() > built_us;
}

static void look_at_places(struct doctor_facts *ret, const struct doctor_needs *needs,
                           const char *socket, char *folder, size_t size)
{
    struct statfs fs;

    snprintf(folder, size, "%s", socket);
    char *slash = folder[0] == '/' ? strrchr(folder, '/') : NULL;
    if (slash) {
        slash[slash == folder] = '\0';
        ret->runtime_writable = writable_dir(folder);
        ret->runtime_memory =
            statfs(folder, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
    }
    ret->state_writable = !needs->state_dir || writable_dir(needs->state_dir);
    ret->logs_writable = !needs->log_dir || writable_dir(needs->log_dir);
}

void doctor_look(struct doctor_facts *ret, const struct cgroup *cgroup,
                 const struct doctor_needs *needs, const char *socket)
{
    char folder[PATH_BYTES];
    struct rlimit limit;

    *ret = (struct doctor_facts){ .runtime = socket };
    if (cgroup->why_not[0])
        ret->cgroups_why = cgroup->why_not;
    ret->controllers = cgroup->enabled;
    for (int i = 0; i < CGROUP_NCONTROLLERS; i++)
        ret->controllers_why[i] = cgroup->missing[i][0] ? cgroup->missing[i] : NULL;
    look_at_rights(ret);
    ability_look(&ret->ability);
    look_at_kernel(ret);
    look_at_places(ret, needs, socket, folder, sizeof folder);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        ret->descriptors = limit.rlim_max == RLIM_INFINITY ? UINT64_MAX : limit.rlim_max;
}
