/* kept.h - descriptors that services leave with us (FDSTORE=1 of sd_notify) and get back when they
 * start again.
 *
 * They lie in the store under the name of their instance, so they outlive the service and the core.
 * One whose other end is gone (a hang-up or an error, as poll(2) tells) is let go of, unless the
 * service has said FDPOLL=0.
 */
#ifndef SUPERVISOR_CORE_KEPT_H
#define SUPERVISOR_CORE_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "supervisor/core/core.h"

/* Bytes of all names of one instance: they travel in one variable of the environment. */
enum { KEPT_NAMES_MAX = 32 * 1024 };

struct kept;
/* Watches also what was left with a core before us. */
struct kept *kept_new(struct core *core, struct err *err);
void kept_free(struct kept *kept); /* the descriptors stay in the store; NULL is fine */

/* Takes the descriptors over (puts -1 in the place of each) while the instance has fewer than
 * `most`; one that it left already is not taken twice.  `name` "" = "stored".  Returns how many
 * were refused. */
size_t kept_put(struct kept *kept, const char *instance, const char *name, bool polled,
                int64_t most, int *fds, size_t nfds);
/* Lets go of those of that name; NULL = of all that the instance left. */
void kept_remove(struct kept *kept, const char *instance, const char *name);

size_t kept_count(const struct core *core, const char *instance);
/* In the order in which they came: at most `max` borrowed descriptors, and their names, each behind
 * a colon unless it is the first in `names`. */
size_t kept_of(const struct core *core, const char *instance, int *fds, size_t max,
               struct buf *names);

#endif
