/* core_cgroup.h - the control groups of this supervisor: made, taken up again by a new core, left.
 */
#ifndef SUPERVISOR_CORE_CORE_CGROUP_H
#define SUPERVISOR_CORE_CORE_CGROUP_H

#include "supervisor/core/core.h"

/* Before the first start, and after each reload: takes the folder from the store, else from what
 * living instances are found in, else makes one; asks for the controllers that the plan needs.
 * Where that is refused core->cgroup says why, and everything goes on without. */
void core_cgroup_begin(struct core *core);
/* The orderly shutdown is done. */
void core_cgroup_end(struct core *core);

#endif
