/* ability.h - which parts of a sandbox this process can give, and why not the others.
 *
 * Looked at once, when a program begins: rights do not grow later.  A key that cannot be kept is
 * refused by name; a sandbox that is read and not made would be worse than none.
 */
#ifndef SUPERVISOR_SANDBOX_ABILITY_H
#define SUPERVISOR_SANDBOX_ABILITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "supervisor/plan/spec.h"

struct ability {
    uint64_t effective, bounding; /* our capabilities, bits by number */
    int last;                     /* the highest capability that the kernel knows */
    int mounts;                   /* errno of making mounts of our own, 0 = we can */
    const char *no_filters;       /* why there are no filters of system calls; NULL = there are */
};
/* Tries things out in a thread of its own, which leaves nothing behind. */
void ability_look(struct ability *ret);

/* Has the capability with this number (linux/capability.h). */
bool ability_has(const struct ability *ability, int number);
/* Whether `root` is entered by chroot alone: mounts of its own cannot be had and nothing else asks
 * for them. */
bool ability_only_chroot(const struct ability *ability, const struct spec_sandbox *sandbox);
/* What of a sandbox cannot be kept here: ERR_DENIED and *ret_key ("private_tmp"); the message says
 * why and what to do, without the key.  0 when all of it can. */
int ability_check(const struct ability *ability, const struct spec_sandbox *sandbox,
                  const char **ret_key, struct err *err);

#endif
