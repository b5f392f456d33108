/* children.h - the children of a loop: who wants to know when which one ends.
 *
 * One per loop, made by the loop's user: SIGCHLD is awaited and every child is reaped here, and
 * only here.  Children that nobody watches are reaped and forgotten.
 */
#ifndef DEPLOYCTL_WIRE_CHILDREN_H
#define DEPLOYCTL_WIRE_CHILDREN_H

#include <sys/types.h>

#include "base/err.h"
#include "io/child.h"
#include "io/loop.h"
#include "io/reaper.h"

struct children;

struct children *children_new(struct loop *loop, struct err *err);
void children_free(struct children *children);

/* Starts a child and calls fn once, from the loop, when it has ended. */
typedef void children_fn(void *context, const struct reaper_exit *exit);
int children_start(struct children *children, const struct child_spec *spec, children_fn *fn,
                   void *context, pid_t *ret_pid, struct err *err);
/* The child's end interests nobody any more; it is still reaped. */
void children_forget(struct children *children, pid_t pid);
/* As forget, and sees to it that the child, a session leader, goes: TERM to its process group after
 * CHILDREN_TERM_MS, KILL after CHILDREN_KILL_MS.  children_free sends TERM at once. */
enum { CHILDREN_TERM_MS = 2000, CHILDREN_KILL_MS = 5000 };
void children_end(struct children *children, pid_t pid);

#endif
