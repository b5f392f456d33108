/* rights.h - the rights that a plan gives, with users and groups as numbers.
 *
 * Names are looked up when a plan is loaded, so that no request ever waits for a directory
 * service.  A name that is not there grants nothing.
 */
#ifndef SUPERVISOR_HOST_RIGHTS_H
#define SUPERVISOR_HOST_RIGHTS_H

#include "base/arena.h"
#include "base/err.h"
#include "supervisor/plan/access.h"
#include "supervisor/plan/plan.h"

struct rights {
    struct arena arena; /* owns what the rules point to, but for what is the plan's */
    struct access_rules rules;
};

/* The rules of control_group, control_read and [access:NAME], in this order; valid as long as the
 * plan is.  Unknown users and groups of [access:NAME] go to `problems` as "FILE:LINE: ..." (of
 * control_group others tell).  NULL only without memory. */
struct rights *rights_make(const struct plan *plan, struct err_list *problems);
void rights_free(struct rights *rights);

/* What a user (name or number) may do, as lines "start, stop: web, worker": for
 * `supervisor check --access`.  ERR_NOT_FOUND: no such user. */
int rights_print(const struct rights *rights, const struct plan *plan, const char *user,
                 struct buf *out, struct err *err);

#endif
