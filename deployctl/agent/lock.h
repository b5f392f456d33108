/* lock.h - the lock of an app on this host: flock on .deploy/lock, which dies with its holder.
 *
 * The file is never unlinked (another process may wait on it); while it is held it says who does.
 */
#ifndef DEPLOYCTL_AGENT_LOCK_H
#define DEPLOYCTL_AGENT_LOCK_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

struct lock {
    int fd; /* -1 = not held */
};

/* One try.  ERR_EXISTS: somebody holds it, or looked at it just now. */
int lock_take(struct lock *lock, int meta, struct err *err);
void lock_release(struct lock *lock);
bool lock_held(const struct lock *lock);
/* What others see; a failure is harmless and not told. */
void lock_describe(struct lock *lock, const json_t *holder);
/* Who holds it: a new reference, or NULL when nobody does.  Takes nothing for longer than an
 * instant, so an owner-to-be tries more than once. */
json_t *lock_holder(int meta);

#endif
