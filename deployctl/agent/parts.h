/* parts.h - what a staging that was cut has left: taken up again by the next one.
 *
 * A connection that breaks, or an agent that is killed, leaves releases/.incoming/ID.  The next
 * staging makes it .incoming/.parts (and what that was before, .incoming/.older).  Contents that
 * are whole, which their digest tells, are moved into the new tree; large ones that are not are
 * bases for chunks (bases.h).  Nothing else knows these folders, so they never count as a release.
 * They go when a release has been sealed, by `unstage` and `prune`, when they are PARTS_AGE_S old,
 * and when their space is needed.
 */
#ifndef DEPLOYCTL_AGENT_PARTS_H
#define DEPLOYCTL_AGENT_PARTS_H

#include <stdint.h>

#include "base/err.h"
#include "deployctl/agent/stage.h"

enum {
    PARTS_FOLDERS = 2,
    PARTS_AGE_S = 7 * 24 * 3600,
    PARTS_WORTH_BYTES = 64 * 1024, /* fewer bytes received are not kept */
};
extern const char *const parts_folders[PARTS_FOLDERS]; /* below releases/ */

/* The lock is held: whatever lies in .incoming is nobody's.  Makes .incoming if it is not there. */
int parts_collect(const struct host *host, struct err *err);
/* All that lies in .incoming. */
int parts_remove(const struct host *host, struct err *err);
/* Bytes on the disk of the parts that have the size of a content which is missing. */
uint64_t parts_bytes(const struct stage *stage);
/* Moves those with the right digest into the tree. */
int parts_take(struct stage *stage, struct err *err);

#endif
