/* cgroup_group.c - one group of ours; the contract is in cgroup.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/buf.h"
#include "io/child.h"
#include "supervisor/host/cgroup.h"
#include "supervisor/host/cgroup_path.h"
#include "supervisor/host/cgroup_tree.h"

enum {
    FILE_NAME_MAX = CGROUP_NAME_MAX + 64,
    EVENTS_BYTES = 512,
    COUNTS_BYTES = 4096,
    KILL_ROUNDS = 16, /* where the kernel has no cgroup.kill: against those that keep forking */
    KILL_AT_ONCE = 1024,
    NLINK_EMPTY = 2, /* of a folder without folders */
};

static int open_file(const struct cgroup *cgroup, const char *name, const char *file, int flags)
{
    char path[FILE_NAME_MAX];

    snprintf(path, sizeof path, "%s/%s", name, file);
    int fd = cgroup->fd < 0 ? -1 : openat(cgroup->fd, path, flags | O_CLOEXEC);
    return fd < 0 ? (cgroup->fd < 0 ? -ENOENT : -errno) : fd;
}

int cgroup_group_open(const struct cgroup *cgroup, const char *name, bool *ret_made)
{
    struct stat st;

    *ret_made = false;
    if (cgroup->fd < 0)
        return -ENOENT;
    int fd = openat(cgroup->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        /* A service that ran groups of its own may have left some, and controllers handed on to
         * them: no process could be born here. */
        if (fstat(fd, &st) == 0 && st.st_nlink > NLINK_EMPTY)
            cgroup_tree_prune(fd);
        return fd;
    }
    if (errno != ENOENT)
        return -errno;
    if (mkdirat(cgroup->fd, name, 0755) != 0 && errno != EEXIST)
        return -errno;
    *ret_made = true;
    fd = openat(cgroup->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int cgroup_group_file(const struct cgroup *cgroup, const char *name, const char *file)
{
    return open_file(cgroup, name, file, O_RDONLY);
}

int cgroup_group_populated(int events_fd)
{
    char text[EVENTS_BYTES];

    ssize_t n = pread(events_fd, text, sizeof text - 1, 0);
    if (n < 0)
        return errno == ENODEV ? 0 : -errno;
    text[n] = '\0';
    const char *at = strstr(text, "populated ");
    return at && at[strlen("populated ")] == '1';
}

size_t cgroup_group_pids(const struct cgroup *cgroup, const char *name, pid_t *ret, size_t max)
{
    if (cgroup->fd < 0)
        return 0;
    int fd = openat(cgroup->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    size_t count = cgroup_tree_pids(fd, ret, max);
    close(fd);
    return count;
}

int cgroup_group_signal(const struct cgroup *cgroup, const char *name, pid_t pid, int signum)
{
    char inside[CGROUP_NAME_MAX];
    AUTO_CLOSE int pidfd = child_pidfd(pid);

    if (pidfd == -ESRCH || pid <= 1)
        return -ESRCH;
    /* Asked after it was opened, so the answer is about the process behind it. */
    if (!cgroup_inside(cgroup, pid, inside, sizeof inside) || strcmp(inside, name) != 0)
        return -ESRCH;
    if (pidfd >= 0)
        return child_pidfd_signal(pidfd, signum);
    return kill(pid, signum) == 0 ? 0 : -errno; /* no pidfd to be had: EMFILE, ENOSYS */
}

static int kill_one_by_one(const struct cgroup *cgroup, const char *name)
{
    AUTO_FREE pid_t *pids = calloc(KILL_AT_ONCE, sizeof *pids);

    for (int round = 0; pids && round < KILL_ROUNDS; round++) {
        size_t count = cgroup_group_pids(cgroup, name, pids, KILL_AT_ONCE);
        for (size_t i = 0; i < count && i < KILL_AT_ONCE; i++)
            cgroup_group_signal(cgroup, name, pids[i], SIGKILL);
        if (count == 0)
            return 0;
    }
    return pids ? -EAGAIN : -ENOMEM;
}

int cgroup_group_kill(const struct cgroup *cgroup, const char *name)
{
    int rc = cgroup_group_set(cgroup, name, "cgroup.kill", "1");

    return rc == 0 ? 0 : kill_one_by_one(cgroup, name); /* before Linux 5.14 */
}

void cgroup_group_remove(const struct cgroup *cgroup, const char *name)
{
    if (cgroup->fd < 0 || unlinkat(cgroup->fd, name, AT_REMOVEDIR) == 0)
        return;
    cgroup_tree_remove(cgroup->fd, name);
}

/* O_NONBLOCK: a lower memory limit is not waited for where the kernel can do that by itself. */
int cgroup_group_setting(const struct cgroup *cgroup, const char *name, const char *file)
{
    return open_file(cgroup, name, file, O_WRONLY | O_NONBLOCK);
}

int cgroup_group_set(const struct cgroup *cgroup, const char *name, const char *file,
                     const char *text)
{
    AUTO_CLOSE int fd = cgroup_group_setting(cgroup, name, file);

    if (fd < 0)
        return fd;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

bool cgroup_group_count_in(int fd, const char *key, uint64_t *ret)
{
    char text[COUNTS_BYTES];
    size_t len = strlen(key);

    ssize_t n = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
    if (n <= 0)
        return false;
    text[n] = '\0';
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, key, len) != 0 || line[len] != ' ')
            continue;
        *ret = strtoull(line + len + 1, NULL, 10);
        return true;
    }
    return false;
}

bool cgroup_group_count(const struct cgroup *cgroup, const char *name, const char *file,
                        const char *key, uint64_t *ret)
{
    AUTO_CLOSE int fd = open_file(cgroup, name, file, O_RDONLY);

    return cgroup_group_count_in(fd, key, ret);
}
