/* procfs.c - the contract is in procfs.h. */
#include "supervisor/host/procfs.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"

enum { STAT_BYTES = 1024, NAME_BYTES = 256, PATH_BYTES = 96 };

/* Up to `size` bytes of a file, or -errno. */
static ssize_t read_file(const char *path, char *space, size_t size)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;

    if (fd < 0)
        return -errno;
    while (len < size) {
        ssize_t n = read(fd, space + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

/* The name stands in parentheses and may hold anything, also ") R 1 ": the last ')' ends it.
 * A zombie with more than one thread has only lost its first. */
bool procfs_parse_stat(char *text, struct procfs_stat *ret)
{
    char *open = strchr(text, '('), *close = strrchr(text, ')'), state;
    int parent, group, session;
    long threads;

    if (!open || !close || close < open)
        return false;
    *close = '\0';
    snprintf(ret->comm, sizeof ret->comm, "%s", open + 1);
    if (sscanf(close + 1,
               " %c %d %d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %" SCNu64,
               &state, &parent, &group, &session, &threads, &ret->start) != 6)
        return false;
    ret->parent = parent;
    ret->group = group;
    ret->session = session;
    ret->threads_only = state == 'Z' && threads > 1;
    return state != 'X' && state != 'x' && (state != 'Z' || ret->threads_only);
}

bool procfs_stat(pid_t pid, struct procfs_stat *ret)
{
    char path[PATH_BYTES], text[STAT_BYTES];

    memset(ret, 0, sizeof *ret);
    ret->pid = pid;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    ssize_t n = read_file(path, text, sizeof text - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    return procfs_parse_stat(text, ret);
}

/* "web:0.7" */
static void parse_name(const char *value, size_t len, struct procfs_name *ret)
{
    char text[NAME_BYTES], *end;

    if (len >= sizeof text)
        return;
    memcpy(text, value, len);
    text[len] = '\0';
    char *dot = strrchr(text, '.');
    if (!dot || dot == text || !isdigit((unsigned char)dot[1]))
        return;
    *dot = '\0';
    errno = 0;
    unsigned long generation = strtoul(dot + 1, &end, 10);
    if (*end || errno != 0 || generation > UINT32_MAX)
        return;
    ret->generation = (unsigned)generation;
    ret->text = strdup(text);
}

/* The value of this variable ("KEY="), NUL-terminated; NULL = not there, or cut. */
static const char *find_variable(const char *environment, size_t len, const char *key,
                                 size_t *ret_size)
{
    const size_t key_len = strlen(key);

    for (size_t at = 0, size; at < len; at += size + 1) {
        size = strnlen(environment + at, len - at);
        if (size < key_len || memcmp(environment + at, key, key_len) != 0)
            continue;
        *ret_size = size - key_len;
        return at + size < len ? environment + at + key_len : NULL;
    }
    return NULL;
}

void procfs_find_name(const char *environment, size_t len, struct procfs_name *ret)
{
    size_t size = 0;
    const char *name = find_variable(environment, len, "SUPERVISOR_INSTANCE=", &size);

    if (!name)
        return;
    parse_name(name, size, ret);
    const char *run = find_variable(environment, len, "SUPERVISOR_RUN=", &size);
    ret->run = run ? strtoull(run, NULL, 16) : 0;
}

bool procfs_variable(pid_t pid, const char *key, char *space, char *ret, size_t size)
{
    char path[PATH_BYTES];
    size_t len = 0;

    snprintf(path, sizeof path, "/proc/%d/environ", (int)pid);
    ssize_t n = read_file(path, space, PROCFS_SPACE_BYTES);
    const char *value = n > 0 ? find_variable(space, (size_t)n, key, &len) : NULL;
    if (!value || len >= size)
        return false;
    memcpy(ret, value, len + 1);
    return true;
}

static void read_name(const char *path, char *space, struct procfs_name *ret)
{
    ssize_t n = read_file(path, space, PROCFS_SPACE_BYTES);

    if (n > 0)
        procfs_find_name(space, (size_t)n, ret);
}

/* The environment of a process is gone with its first thread; the other threads show it. */
void procfs_name(const struct procfs_stat *stat, char *space, struct procfs_name *ret)
{
    char path[PATH_BYTES];

    *ret = (struct procfs_name){ 0 };
    if (!stat->threads_only) {
        snprintf(path, sizeof path, "/proc/%d/environ", (int)stat->pid);
        read_name(path, space, ret);
        return;
    }
    snprintf(path, sizeof path, "/proc/%d/task", (int)stat->pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        return;
    for (const struct dirent *entry; !ret->text && (entry = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/environ", (int)stat->pid, entry->d_name);
        if (isdigit((unsigned char)entry->d_name[0]))
            read_name(path, space, ret);
    }
    closedir(tasks);
}

/* --- lists --- */

void procfs_pids_done(struct procfs_pids *pids)
{
    free(pids->all);
    *pids = (struct procfs_pids){ 0 };
}

static int add_pid(struct procfs_pids *pids, pid_t pid)
{
    if (pids->count == pids->room) {
        size_t room = pids->room ? pids->room * 2 : 64;
        pid_t *all = reallocarray(pids->all, room, sizeof *all);
        if (!all)
            return -ENOMEM;
        pids->all = all;
        pids->room = room;
    }
    pids->all[pids->count++] = pid;
    return 0;
}

/* Digits and blanks; a number may be cut by the end of one read. */
static int add_numbers(const char *text, size_t len, long *number, struct procfs_pids *ret)
{
    int rc = 0;

    for (size_t i = 0; i < len && rc == 0; i++) {
        if (isdigit((unsigned char)text[i])) {
            *number = *number * 10 + (text[i] - '0');
            continue;
        }
        if (*number > 0)
            rc = add_pid(ret, (pid_t)*number);
        *number = 0;
    }
    return rc;
}

static int read_children(const char *path, char *space, struct procfs_pids *ret)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    long number = 0;
    int rc = fd < 0 ? -errno : 0;

    while (rc == 0) {
        ssize_t n = read(fd, space, PROCFS_SPACE_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : add_numbers(" ", 1, &number, ret);
        rc = add_numbers(space, (size_t)n, &number, ret);
    }
    return rc;
}

int procfs_children_of_first(pid_t pid, char *space, struct procfs_pids *ret)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    return read_children(path, space, ret);
}

int procfs_children(pid_t pid, char *space, struct procfs_pids *ret)
{
    char path[PATH_BYTES];
    int rc = 0;

    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        return -errno;
    for (const struct dirent *entry; rc == 0 && (entry = readdir(tasks));) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", (int)pid, entry->d_name);
        if (isdigit((unsigned char)entry->d_name[0]))
            rc = read_children(path, space, ret);
    }
    closedir(tasks);
    return rc;
}

int procfs_all(struct procfs_pids *ret)
{
    DIR *proc = opendir("/proc");
    int rc = 0;

    if (!proc)
        return -errno;
    for (const struct dirent *entry; rc == 0 && (entry = readdir(proc));)
        if (isdigit((unsigned char)entry->d_name[0]))
            rc = add_pid(ret, (pid_t)strtol(entry->d_name, NULL, 10));
    closedir(proc);
    return rc;
}
