/* tree.h - everything that descends from this process. */
#ifndef SUPERVISOR_GUARDIAN_TREE_H
#define SUPERVISOR_GUARDIAN_TREE_H

#include <stdbool.h>
#include <sys/types.h>

/* Makes this process the parent of orphans below it (unless it is PID 1, which is that already). */
void tree_become_reaper(void);
/* Sends a signal to every descendant; as PID 1 to every process of the namespace. */
void tree_signal(int signum);
/* True when no child is left, neither living nor waiting to be reaped. */
bool tree_empty(void);
/* Whether that process is a child of this one (living, or not reaped yet). */
bool tree_owns(pid_t pid);

#endif
