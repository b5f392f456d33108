/* cgroup_path.h - where control groups are, from what /proc says.  Pure.
 *
 * Version 2 only, wherever it is mounted: unified, beside version 1 (hybrid), bind-mounted into a
 * container, or seen from inside a cgroup namespace.
 */
#ifndef SUPERVISOR_HOST_CGROUP_PATH_H
#define SUPERVISOR_HOST_CGROUP_PATH_H

#include <stdbool.h>
#include <stddef.h>

enum { CGROUP_PATH_MAX = 4096, CGROUP_NAME_MAX = 256 };

struct cgroup_mount {
    char root[CGROUP_PATH_MAX];  /* which part of the hierarchy is mounted ("/") */
    char point[CGROUP_PATH_MAX]; /* where */
};
/* The next mount of version 2 from *at on, in the text of /proc/PID/mountinfo; moves *at. */
bool cgroup_path_mount(const char **at, struct cgroup_mount *ret);
/* The group of a process within the hierarchy ("/a/b"), from the text of /proc/PID/cgroup.  False
 * when it is in none, or in one that was removed. */
bool cgroup_path_own(const char *text, char *ret, size_t size);
/* The folder of a group; false when it lies outside of what is mounted there. */
bool cgroup_path_join(const struct cgroup_mount *mount, const char *own, char *ret, size_t size);

/* The folder's name for an instance; `number` 2 and more: for a second process of it.  Bytes that a
 * folder should not have in its name become %XX.  False when it is too long. */
bool cgroup_path_name(const char *instance, unsigned number, char *ret, size_t size);
/* The instance's folder that a process is in, from its own path and the name of our folder; false
 * when it is elsewhere. */
bool cgroup_path_inside(const char *own, const char *ours, char *ret, size_t size);

#endif
