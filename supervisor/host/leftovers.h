/* leftovers.h - which processes belong to an instance, when there is no cgroup to ask.
 *
 * By process group, session, parent tree and the SUPERVISOR_INSTANCE=NAME.GENERATION that each
 * child carries in its environment, together.  What daemonises becomes a child of the guardian (it
 * is the subreaper), so when the main process is gone the guardian's unknown children are the only
 * places to look: the sweep is cheap when there are none.
 *
 * The environment alone is weak: another supervisor on this host may have a web:0.1 too, and one
 * that runs inside a service of ours surely has names of its own.  So below the guardian the
 * uppermost process that carries a name decides for all that descend from it; elsewhere
 * SUPERVISOR_RUN, the number of the supervisor that started it, must be ours (of one that carries
 * none, the name counts only when the parent is not another supervisor); and a name that we carry
 * ourselves (we are a service of an outer supervisor) proves nothing.
 *
 * What changed its session, its parent and its environment escapes, unless it was seen before the
 * last of them (struct leftovers_members); so does one that did the first two and whose environment
 * we may not read (another uid, without CAP_SYS_PTRACE).
 */
#ifndef SUPERVISOR_HOST_LEFTOVERS_H
#define SUPERVISOR_HOST_LEFTOVERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct leftovers; /* one look at /proc */

enum leftovers_scope {
    LEFTOVERS_TREE,       /* all that descends from the guardian */
    LEFTOVERS_CHILDREN,   /* children of the guardian without a record, and their descendants */
    LEFTOVERS_QUICK,      /* the same of its first thread, which gets every orphan and, where it has
                           * another one for services (guardian/nursery.h), nothing else.  What a main
                           * process has made with CLONE_PARENT is not seen. */
    LEFTOVERS_EVERYWHERE, /* all of /proc: after a guardian's death its services have another
                           * parent.  Only then: it may meet processes of other supervisors. */
};
/* Whether a pid has a record of its own in the ledger, and whether its end is recorded there, which
 * comes before it is reaped. */
enum leftovers_known { LEFTOVERS_UNKNOWN, LEFTOVERS_LIVES, LEFTOVERS_ENDED };
/* Reads /proc once; `run` is ledger_header.run; those that `known` (NULL: nobody is) knows are
 * never leftovers, nor are the guardian and the caller.  It is asked after the pid was read.
 * Zombies are none either, but a process whose first thread alone has ended is one. */
struct leftovers *leftovers_look(pid_t guardian, uint64_t run, enum leftovers_scope scope,
                                 enum leftovers_known (*known)(void *context, pid_t pid),
                                 void *context, struct err *err);
void leftovers_free(struct leftovers *look);
/* Those of an instance that one look has found, for the next one: what tied them to it (their
 * parent, mostly) may be gone by then, while they are not. */
struct leftovers_members {
    size_t count;
    struct leftovers_member {
        pid_t pid;
        uint64_t start; /* clock ticks since boot */
    } all[];            /* by pid */
};
/* Processes of instance `name` ("web:0") with generation, whose main process is or was `main_pid`
 * (0 = unknown; itself never counted).  Fills at most max pids, returns how many there are.
 * *members (malloc'ed, NULL = nobody) belong as well; afterwards they are those that were filled
 * in, and without memory for that the same as before.  `members` may be NULL itself. */
size_t leftovers_of(const struct leftovers *look, const char *name, unsigned generation,
                    pid_t main_pid, struct leftovers_members **members, pid_t *ret, size_t max);
/* Sends a signal through a pidfd that is checked to be the same process that was seen.  0 or
 * -errno; -ESRCH also when the pid is somebody else by now. */
int leftovers_signal(const struct leftovers *look, pid_t pid, int signum);
/* Those of earlier processes of ours, of all instances: that carry the number of this supervisor,
 * and a name and generation that are `over`.  Fills at most max pids, returns how many there are.
 */
size_t leftovers_stale(const struct leftovers *look,
                       bool (*over)(void *context, const char *name, unsigned generation),
                       void *context, pid_t *ret, size_t max);
/* After a lost ledger: calls fn for each process that is not known and carries SUPERVISOR_INSTANCE
 * or descends from one that does, with its value; parents before their children. */
void leftovers_each(const struct leftovers *look,
                    void (*fn)(void *context, pid_t pid, const char *name, unsigned generation),
                    void *context);

#endif
