/* cgroup.h - our part of the control groups (version 2): one folder of ours, in it a leaf for
 * guardian, core and logger, and a folder for each process slot of an instance.
 *
 *     GROUP WE WERE STARTED IN/supervisor.1f00ba12/supervisor     ourselves
 *                                                 /web:0          an instance, with all below it
 *                                                 /web:0~2        its second process
 *
 * Whoever is born in web:0 stays there, whatever it does to its session, parent or environment: so
 * "all of the instance" is exact.  Nothing here needs controllers; they are for limits.  We move to
 * a leaf because a group with processes in it cannot hand controllers on.
 *
 * A descriptor of the folder is in the store ("cgroup"), so a new core goes on with it.  Folders of
 * instances stay across restarts.  What supervisors that are gone left beside ours is removed when
 * a new folder is made.
 */
#ifndef SUPERVISOR_HOST_CGROUP_H
#define SUPERVISOR_HOST_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum cgroup_controller { CGROUP_MEMORY, CGROUP_PIDS, CGROUP_CPU, CGROUP_IO, CGROUP_NCONTROLLERS };
const char *cgroup_controller_name(enum cgroup_controller controller);

#define CGROUP_LEAF "supervisor" /* ours */
enum { CGROUP_WHY_MAX = 200, CGROUP_OURS_MAX = 64, CGROUP_KNOWN_PIDS = 4 };

struct cgroup {
    int fd;                                            /* our folder, borrowed; -1 = none */
    char name[CGROUP_OURS_MAX];                        /* its last part */
    char why_not[CGROUP_WHY_MAX];                      /* fd -1: why, and what to do */
    unsigned enabled;                                  /* bits of controllers that instances have */
    char missing[CGROUP_NCONTROLLERS][CGROUP_WHY_MAX]; /* why one that was wanted is not */
};

/* Makes a folder below the group that we are in and moves `ours` (core, guardian, logger; 0 =
 * none) into its leaf.  A descriptor, or a negative err_code with cause and remedy. */
int cgroup_create(const pid_t ours[CGROUP_KNOWN_PIDS], struct err *err);
/* The folder that a supervisor before us made for this process of an instance; ERR_NOT_FOUND. */
int cgroup_find(pid_t pid, struct err *err);
/* Takes a folder into use. */
void cgroup_use(struct cgroup *cgroup, int fd);
void cgroup_without(struct cgroup *cgroup, const char *why);
int cgroup_move_in(int fd, const pid_t ours[CGROUP_KNOWN_PIDS], struct err *err);
/* Asks for these controllers (bits) for the instances; what is refused is said in `missing`. */
void cgroup_enable(struct cgroup *cgroup, unsigned wanted);
/* Moves ourselves back and removes what is empty; at the end of an orderly shutdown.  What cannot
 * be removed is left to the next one. */
void cgroup_leave(struct cgroup *cgroup, const pid_t ours[CGROUP_KNOWN_PIDS]);
/* What cgroup_create() and cgroup_enable() would bring about here, without doing it: why_not, or
 * `enabled` and `missing`. */
void cgroup_look(struct cgroup *ret);
/* The same for controllers that nobody has asked for yet, on a copy of what is in use. */
void cgroup_foresee(struct cgroup *copy);
/* The folder of the group a process is in, for people; false when it is nowhere. */
bool cgroup_where(pid_t pid, char *ret, size_t size);
/* The instance's folder name that a process is in; false when it is in none of ours. */
bool cgroup_inside(const struct cgroup *cgroup, pid_t pid, char *ret, size_t size);

/* --- one group --- */

/* Opens (makes) the folder of a group, ready for a new process: what it had below, empty by now, is
 * removed.  A descriptor or -errno; *ret_made: it was not there. */
int cgroup_group_open(const struct cgroup *cgroup, const char *name, bool *ret_made);
/* Of its "cgroup.events", which can be watched with LOOP_URGENT.
 * 1: a process lives in it or below, 0: none, or the group is gone; -errno. */
int cgroup_group_populated(int events_fd);
/* Pids in it and below; how many there are, at most `max` of them filled in. */
size_t cgroup_group_pids(const struct cgroup *cgroup, const char *name, pid_t *ret, size_t max);
/* KILL to all of them, with no way out.  0 or -errno. */
int cgroup_group_kill(const struct cgroup *cgroup, const char *name);
/* Sends a signal to one that cgroup_group_pids() gave, checked to be in there still. */
int cgroup_group_signal(const struct cgroup *cgroup, const char *name, pid_t pid, int signum);
void cgroup_group_remove(const struct cgroup *cgroup, const char *name);
/* Writes a setting; 0 or -errno. */
int cgroup_group_set(const struct cgroup *cgroup, const char *name, const char *file,
                     const char *text);
/* The file of a setting, opened to be written as that does; or -errno. */
int cgroup_group_setting(const struct cgroup *cgroup, const char *name, const char *file);
/* One of its files, opened to be read; or -errno. */
int cgroup_group_file(const struct cgroup *cgroup, const char *name, const char *file);
/* A number behind a key in one of its files ("memory.events", "oom_kill"). */
bool cgroup_group_count(const struct cgroup *cgroup, const char *name, const char *file,
                        const char *key, uint64_t *ret);
bool cgroup_group_count_in(int fd, const char *key, uint64_t *ret); /* the same of an open one */

#endif
