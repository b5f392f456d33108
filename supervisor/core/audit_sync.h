/* audit_sync.h - what was written to the audit is brought to the disk, by a thread, and answers
 * wait.
 *
 * One fdatasync at a time, for all lines that were written before it began; so a hundred orders at
 * once cost two of them.  A disk that hangs holds answers up for AUDIT_SYNC_MS at most, and no
 * service at all: then they are given without, which is told as a failure.
 */
#ifndef SUPERVISOR_CORE_AUDIT_SYNC_H
#define SUPERVISOR_CORE_AUDIT_SYNC_H

#include <stdbool.h>

#include "io/loop.h"
#include "io/rpc.h"

enum { AUDIT_SYNC_MS = 5000, AUDIT_SYNC_LEFT_MAX = 4 };

struct audit_sync;

/* `told` is called after each sync: 0 or -errno.  NULL without memory. */
struct audit_sync *audit_sync_new(struct loop *loop, void (*told)(void *context, int rc),
                                  void *context);
void audit_sync_free(struct audit_sync *sync); /* after the last answer */

/* Something was written to `fd` (borrowed), which is the file `path`; with `folder` its name is
 * new, too. */
void audit_sync_written(struct audit_sync *sync, int fd, const char *path, bool folder);
/* Takes over a descriptor that is not written any more; its lines are synced first. */
void audit_sync_leave(struct audit_sync *sync, int fd);
/* In the end function of a call: it is answered when all that was written by now is on the disk. */
void audit_sync_hold(struct audit_sync *sync, struct rpc_call *call);
/* All who wait are answered now. */
void audit_sync_let_go(struct audit_sync *sync);
bool audit_sync_settled(const struct audit_sync *sync); /* nothing is under way, nobody waits */

#endif
