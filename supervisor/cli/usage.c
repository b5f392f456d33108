/* usage.c - the contract is in usage.h. */
#include "supervisor/cli/usage.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/unit.h"

/* A chain of parents longer than this is a loop of reused pids. */
enum { STAT_MAX = 1024, DEPTH_MAX = 64, FIRST_ROOM = 256 };

bool usage_parse(const char *text, struct usage_process *ret)
{
    const char *rest = strrchr(text, ')'); /* a name may contain anything else */
    long long user, system, rss;
    int parent, session;

    if (!rest || sscanf(rest,
                        ") %*c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %lld %lld %*d %*d %*d %*d "
                        "%*d %*d %*u %*u %lld",
                        &parent, &session, &user, &system, &rss) != 5)
        return false;
    ret->parent = parent;
    ret->session = session;
    ret->cpu_ticks = user + system;
    ret->rss_pages = rss;
    return true;
}

/* False for one that is gone meanwhile. */
static bool read_one(const char *name, struct usage_process *ret)
{
    char path[64], text[STAT_MAX];
    int64_t pid;
    struct err err;

    if (unit_integer(name, 10, &pid, &err) != 0)
        return false;
    snprintf(path, sizeof path, "/proc/%.20s/stat", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    if (len <= 0)
        return false;
    text[len] = '\0';
    ret->pid = (pid_t)pid;
    return usage_parse(text, ret);
}

static bool make_room(struct usage *usage)
{
    size_t room = usage->room ? usage->room * 2 : FIRST_ROOM;

    if (usage->count < usage->room)
        return true;
    struct usage_process *grown = realloc(usage->all, room * sizeof *grown);
    if (!grown)
        return false;
    usage->all = grown;
    usage->room = room;
    return true;
}

static int by_pid(const void *a, const void *b)
{
    const struct usage_process *x = a, *y = b;

    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

bool usage_take(struct usage *ret)
{
    DIR *proc = opendir("/proc");
    const struct dirent *entry;
    bool fine = proc != NULL;

    *ret = (struct usage){ .count = 0 };
    while (fine && (entry = readdir(proc)) != NULL) {
        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        fine = make_room(ret);
        if (fine)
            ret->count += read_one(entry->d_name, &ret->all[ret->count]);
    }
    if (proc)
        closedir(proc);
    if (!fine)
        usage_done(ret);
    else if (ret->count > 0)
        qsort(ret->all, ret->count, sizeof *ret->all, by_pid);
    return fine;
}

void usage_done(struct usage *usage)
{
    free(usage->all);
    *usage = (struct usage){ .count = 0 };
}

static struct usage_sum *sum_of(struct usage_sum *sums, size_t count, pid_t main)
{
    for (size_t low = 0, high = count; low < high;) {
        size_t middle = low + (high - low) / 2;

        if (sums[middle].main == main)
            return &sums[middle];
        if (sums[middle].main < main)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static const struct usage_process *find(const struct usage *usage, pid_t pid)
{
    const struct usage_process key = { .pid = pid };

    return bsearch(&key, usage->all, usage->count, sizeof key, by_pid);
}

static struct usage_sum *owner(const struct usage *usage, const struct usage_process *process,
                               struct usage_sum *sums, size_t count)
{
    struct usage_sum *sum = NULL;

    for (int depth = 0; process && process->pid > 1 && !sum && depth < DEPTH_MAX; depth++) {
        sum = sum_of(sums, count, process->pid);
        if (!sum && process->session > 0)
            sum = sum_of(sums, count, process->session);
        process = find(usage, process->parent);
    }
    return sum;
}

void usage_attribute(const struct usage *usage, struct usage_sum *sums, size_t count)
{
    int64_t page = sysconf(_SC_PAGESIZE);

    for (size_t i = 0; i < usage->count; i++) {
        const struct usage_process *process = &usage->all[i];
        struct usage_sum *sum = owner(usage, process, sums, count);

        if (!sum)
            continue;
        sum->processes++;
        sum->cpu_ticks += process->cpu_ticks;
        sum->rss_bytes += process->rss_pages * page;
    }
}
