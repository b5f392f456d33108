/* cgroup_tree.c - the contract is in cgroup_tree.h. */
#include "supervisor/host/cgroup_tree.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"

enum { DEPTH_MAX = 32, PIDS_BYTES = 4096 };

struct walk {
    pid_t *pids;
    size_t count, max;
};

static int open_below(int fd, const char *name)
{
    return openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Takes fd over in every case. */
static DIR *list(int fd)
{
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir && fd >= 0)
        close(fd);
    return dir;
}

static const char *next_group(DIR *dir)
{
    const struct dirent *entry;

    while ((entry = readdir(dir)) != NULL)
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            return entry->d_name;
    return NULL;
}

static void add_pid(struct walk *walk, long pid)
{
    if (walk->count < walk->max)
        walk->pids[walk->count] = (pid_t)pid;
    walk->count++;
}

static void read_pids(int group, struct walk *walk)
{
    AUTO_CLOSE int fd = openat(group, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    char text[PIDS_BYTES];
    long number = 0;
    ssize_t n;

    while (fd >= 0 && (n = read(fd, text, sizeof text)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return; /* a threaded group: its processes show above */
        for (ssize_t i = 0; i < n; i++) {
            if (isdigit((unsigned char)text[i])) {
                number = number * 10 + (text[i] - '0');
                continue;
            }
            if (number > 0) /* 0: of another pid namespace */
                add_pid(walk, number);
            number = 0;
        }
    }
}

/* Takes fd over. */
static void walk_pids(int fd, int depth, struct walk *walk)
{
    DIR *dir = list(fd);
    const char *name;

    if (!dir)
        return;
    read_pids(dirfd(dir), walk);
    while (depth < DEPTH_MAX && (name = next_group(dir)) != NULL)
        walk_pids(open_below(dirfd(dir), name), depth + 1, walk);
    closedir(dir);
}

size_t cgroup_tree_pids(int fd, pid_t *ret, size_t max)
{
    struct walk walk = { .pids = ret, .max = max };

    walk_pids(open_below(fd, "."), 0, &walk);
    return walk.count;
}

size_t cgroup_tree_alone(int fd)
{
    struct walk walk = { 0 };

    read_pids(fd, &walk);
    return walk.count;
}

static void remove_below(int fd, int depth)
{
    DIR *dir = list(fd);
    const char *name;

    if (!dir)
        return;
    while (depth < DEPTH_MAX && (name = next_group(dir)) != NULL) {
        if (unlinkat(dirfd(dir), name, AT_REMOVEDIR) == 0)
            continue;
        remove_below(open_below(dirfd(dir), name), depth + 1);
        (void)unlinkat(dirfd(dir), name, AT_REMOVEDIR); /* who lives there keeps it */
    }
    closedir(dir);
}

/* Controllers that were handed on to what is gone now keep processes out of the group itself. */
static void take_back(int fd)
{
    AUTO_CLOSE int control = openat(fd, "cgroup.subtree_control", O_RDWR | O_CLOEXEC);
    char text[PIDS_BYTES], order[64];
    size_t len;

    ssize_t n = control < 0 ? -1 : read(control, text, sizeof text - 1);
    if (n <= 0)
        return;
    text[n] = '\0';
    for (const char *at = text; *at; at += len + strspn(at + len, " \n")) {
        len = strcspn(at, " \n");
        if (len == 0 || len + 2 > sizeof order)
            return;
        order[0] = '-';
        memcpy(order + 1, at, len);
        if (pwrite(control, order, len + 1, 0) < 0)
            return;
    }
}

void cgroup_tree_prune(int fd)
{
    remove_below(open_below(fd, "."), 0);
    take_back(fd);
}

void cgroup_tree_remove(int parent, const char *name)
{
    remove_below(open_below(parent, name), 0);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}
