/* procfs.h - one process as /proc tells it: for leftovers.c. */
#ifndef SUPERVISOR_HOST_PROCFS_H
#define SUPERVISOR_HOST_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PROCFS_COMM_MAX = 32, PROCFS_SPACE_BYTES = 64 * 1024 };

struct procfs_stat {
    pid_t pid, parent, group, session;
    uint64_t start; /* clock ticks since boot */
    char comm[PROCFS_COMM_MAX];
    bool threads_only; /* the first thread has ended, others run */
};
/* False for a process that is gone, or dead and not reaped yet. */
bool procfs_stat(pid_t pid, struct procfs_stat *ret);
/* Pure: the text of /proc/PID/stat, which is changed; fills everything but pid. */
bool procfs_parse_stat(char *text, struct procfs_stat *ret);

/* The SUPERVISOR_INSTANCE=NAME.GENERATION and SUPERVISOR_RUN=HEX a process carries. */
struct procfs_name {
    char *text; /* "web:0"; malloc'ed, NULL = carries none, or we may not read it */
    unsigned generation;
    uint64_t run; /* of the supervisor that started it (ledger_header.run); 0 = it does not say */
};
/* Only the first PROCFS_SPACE_BYTES of the environment are looked at; `space` is scratch of that
 * size. */
void procfs_name(const struct procfs_stat *stat, char *space, struct procfs_name *ret);
/* Pure: an environment as NUL-separated pairs. */
void procfs_find_name(const char *environment, size_t len, struct procfs_name *ret);
/* The variable `key` ("KEY=") in the environment with which a process began, copied to ret of
 * `size` bytes; false = it has none, it does not fit, or we may not read it. */
bool procfs_variable(pid_t pid, const char *key, char *space, char *ret, size_t size);

struct procfs_pids {
    pid_t *all; /* malloc'ed */
    size_t count, room;
};
void procfs_pids_done(struct procfs_pids *pids);
/* Appends the children of all threads of `pid`.  0 or -errno; -ENOENT also when this kernel does
 * not tell children (CONFIG_PROC_CHILDREN). */
int procfs_children(pid_t pid, char *space, struct procfs_pids *ret);
/* Those of its first thread alone, which is all of a process that has no other. */
int procfs_children_of_first(pid_t pid, char *space, struct procfs_pids *ret);
/* Appends every process. */
int procfs_all(struct procfs_pids *ret);

#endif
