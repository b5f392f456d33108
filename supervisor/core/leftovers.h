/* leftovers.h - which processes belong to an instance, when there is no cgroup to ask.
 *
 * By process group, session, parent tree and the SUPERVISOR_INSTANCE=NAME.GENERATION that each child
 * carries in its environment, together.  What daemonises becomes a child of the guardian (it is
 * the subreaper), so when the main process is gone the guardian's unknown children are the only
 * places to look: the sweep is cheap when there are none.
 */
#ifndef SUPERVISOR_CORE_LEFTOVERS_H
#define SUPERVISOR_CORE_LEFTOVERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct leftovers; /* one look at /proc */

/* Reads /proc once; `known` says whether a pid has a record of its own in the ledger (those are
 * never leftovers, nor are the guardian, the core and the logger).  With `quick`, only children of
 * the guardian without a record and their descendants are read. */
struct leftovers *leftovers_look(pid_t guardian, bool quick,
                                 bool (*known)(const void *context, pid_t pid), const void *context,
                                 struct err *err);
void leftovers_free(struct leftovers *look);
/* Processes of instance `name` ("web:0") with generation, whose main process is or was `main_pid`
 * (0 = unknown; itself never counted).  Fills at most max pids, returns how many there are. */
size_t leftovers_of(const struct leftovers *look, const char *name, unsigned generation,
                    pid_t main_pid, pid_t *ret, size_t max);
/* Sends a signal through a pidfd that is checked to be the same process that was seen. 0 or -errno. */
int leftovers_signal(const struct leftovers *look, pid_t pid, int signum);
/* After a lost ledger: calls fn for each process carrying SUPERVISOR_INSTANCE, with its value. */
void leftovers_each(const struct leftovers *look,
                    void (*fn)(void *context, pid_t pid, const char *name, unsigned generation),
                    void *context);

#endif
