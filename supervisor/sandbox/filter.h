/* filter.h - filters of system calls by name, made by libseccomp before anything is started.
 *
 *     default  allows everything but CALLS_HOST, CALLS_KEYS and new namespaces
 *     service  allows what services need: everything in calls.h but these and CALLS_LOOKING
 *     strict   and neither CALLS_IDS nor CALLS_SHARE
 *
 * A denied call fails with EPERM.  What service and strict know nothing of, because it is newer
 * than their lists, fails with ENOSYS, and so does clone3 everywhere, whose flags no filter can
 * see: libraries then take the older way.  Programs for 32 bits of the same machine are filtered
 * alike.
 */
#ifndef SUPERVISOR_SANDBOX_FILTER_H
#define SUPERVISOR_SANDBOX_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>

#include "base/err.h"
#include "supervisor/plan/spec.h"

/* Whether this program was built with libseccomp; without it nothing below succeeds. */
bool filter_is_built(void);

/* Made when they are first asked for, then kept. */
struct filters {
    struct sock_fprog made[SPEC_NSECCOMP][SPEC_NDENIED]; /* owned; len 0 = not made yet */
};
void filter_init(struct filters *filters);
void filter_done(struct filters *filters);
/* Stays until filter_done(). */
int filter_get(struct filters *filters, const struct spec_seccomp *wanted,
               const struct sock_fprog **ret, struct err *err);

#endif
