/* cgroup_tree.h - walking down groups that may have groups below them, to a bounded depth. */
#ifndef SUPERVISOR_HOST_CGROUP_TREE_H
#define SUPERVISOR_HOST_CGROUP_TREE_H

#include <stddef.h>
#include <sys/types.h>

/* Pids in the group and below; how many there are, at most `max` filled in.  fd stays open. */
size_t cgroup_tree_pids(int fd, pid_t *ret, size_t max);
/* How many processes are in the group itself. */
size_t cgroup_tree_alone(int fd);
/* Removes every group below this one that is empty. */
void cgroup_tree_prune(int fd);
/* Removes a group and all below it, as far as they are empty. */
void cgroup_tree_remove(int parent, const char *name);

#endif
