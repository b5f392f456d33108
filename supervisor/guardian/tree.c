/* tree.c - the contract is in tree.h. */
#include "supervisor/guardian/tree.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/auto.h"

struct process {
    pid_t pid, parent;
    bool below_us;
};
struct table {
    struct process *rows;
    size_t count, cap;
};
enum { STAT_BYTES = 512 };

void tree_become_reaper(void)
{
    if (getpid() != 1)
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* Field 4 of /proc/PID/stat, behind the name, which may contain anything; 0 = gone or a zombie. */
static pid_t parent_of(int proc, const char *pid)
{
    char path[64], text[STAT_BYTES];
    snprintf(path, sizeof(path), "%.20s/stat", pid);
    AUTO_CLOSE int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    const char *after = strrchr(text, ')');
    char state = 'Z';
    int parent = 0;
    if (!after || sscanf(after + 1, " %c %d", &state, &parent) != 2 || state == 'Z')
        return 0;
    return parent;
}

static bool add(struct table *table, pid_t pid, pid_t parent)
{
    if (table->count == table->cap) {
        size_t cap = table->cap ? table->cap * 2 : 256;
        struct process *rows = reallocarray(table->rows, cap, sizeof(*rows));
        if (!rows)
            return false;
        table->rows = rows;
        table->cap = cap;
    }
    table->rows[table->count++] = (struct process){ pid, parent, parent == getpid() };
    return true;
}

static bool read_table(struct table *table)
{
    DIR *proc = opendir("/proc");
    if (!proc)
        return false;
    for (const struct dirent *entry; (entry = readdir(proc));) {
        pid_t parent =
            isdigit((unsigned char)*entry->d_name) ? parent_of(dirfd(proc), entry->d_name) : 0;
        if (parent > 0 && !add(table, (pid_t)strtol(entry->d_name, NULL, 10), parent))
            break;
    }
    closedir(proc);
    return true;
}

static int by_pid(const void *a, const void *b)
{
    pid_t left = ((const struct process *)a)->pid, right = ((const struct process *)b)->pid;
    return (left > right) - (left < right);
}

/* Marks who descends from us; a pass more for every generation whose pids are not in order. */
static void mark(struct table *table)
{
    qsort(table->rows, table->count, sizeof(*table->rows), by_pid);
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < table->count; i++) {
            struct process *row = &table->rows[i], key = { .pid = row->parent };
            const struct process *parent =
                row->below_us ? NULL
                              : bsearch(&key, table->rows, table->count, sizeof(key), by_pid);
            if (parent && parent->below_us)
                changed = row->below_us = true;
        }
    }
}

void tree_signal(int signum)
{
    struct table table = { 0 };
    if (getpid() == 1) {
        kill(-1, signum);
        return;
    }
    if (read_table(&table) && table.count > 0) {
        mark(&table);
        for (size_t i = 0; i < table.count; i++)
            if (table.rows[i].below_us && kill(table.rows[i].pid, signum) == 0 && signum != SIGKILL)
                kill(table.rows[i].pid, SIGCONT); /* a stopped one would not hear it */
    }
    free(table.rows);
}

static bool no_child(idtype_t type, pid_t pid)
{
    siginfo_t info;
    return waitid(type, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 &&
           errno == ECHILD;
}

bool tree_empty(void) { return no_child(P_ALL, 0); }
bool tree_owns(pid_t pid) { return !no_child(P_PID, pid); }
