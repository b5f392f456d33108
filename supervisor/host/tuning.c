/* tuning.c - the contract is in tuning.h. */
#include "supervisor/host/tuning.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/auto.h"

enum { NICE_MAX = 19, NICE_MIN = -20 };

/* In a user namespace of our own, rights do not reach to what was lowered once. */
static bool in_first_namespace(void)
{
    char text[64] = "";
    unsigned inside = 1, outside = 1, count = 0;
    AUTO_CLOSE int fd = open("/proc/self/uid_map", O_RDONLY | O_CLOEXEC);

    return fd >= 0 && read(fd, text, sizeof text - 1) > 0 &&
           sscanf(text, "%u %u %u", &inside, &outside, &count) == 3 && inside == 0 &&
           outside == 0 && count == UINT_MAX;
}

bool tuning_allowed(void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };
    const unsigned wanted = 1u << CAP_SYS_RESOURCE | 1u << CAP_SYS_NICE;

    return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & wanted) == wanted &&
           in_first_namespace();
}

int tuning_own_oom_score(void)
{
    char text[16] = "";
    AUTO_CLOSE int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);

    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
        return 0;
    return (int)strtol(text, NULL, 10);
}

static void failed(struct err *err, pid_t pid, const char *what)
{
    if (errno != ESRCH && errno != ENOENT && err->code == 0)
        err_sys(err, errno, "setting %s of process %d", what, (int)pid);
}

/* Each thread has its own. */
static void set_nice(pid_t pid, int nice, struct err *err)
{
    char path[64];
    const struct dirent *entry;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *folder = opendir(path);
    if (!folder) {
        failed(err, pid, "nice");
        return;
    }
    while ((entry = readdir(folder)) != NULL) {
        pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
        if (thread > 0 && setpriority(PRIO_PROCESS, (id_t)thread, nice) != 0)
            failed(err, pid, "nice");
    }
    closedir(folder);
}

static void set_oom_score(pid_t pid, int score, struct err *err)
{
    char path[64], text[16];
    int len = snprintf(text, sizeof text, "%d", score);

    snprintf(path, sizeof path, "/proc/%d/oom_score_adj", (int)pid);
    AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, (size_t)len) != len)
        failed(err, pid, "oom_score_adj");
}

int tuning_apply(pid_t pid, const struct tuning *tuning, struct err *err)
{
    int nice = getpriority(PRIO_PROCESS, 0) + tuning->nice;

    err->code = 0;
    for (size_t i = 0; i < tuning->nlimits; i++)
        if (prlimit(pid, (enum __rlimit_resource)tuning->limits[i].resource,
                    &tuning->limits[i].value, NULL) != 0)
            failed(err, pid, "limits");
    if (tuning->set_nice)
        set_nice(pid, nice > NICE_MAX ? NICE_MAX : nice < NICE_MIN ? NICE_MIN : nice, err);
    if (tuning->set_oom_score)
        set_oom_score(pid, tuning->oom_score_adj, err);
    return (int)err->code;
}
