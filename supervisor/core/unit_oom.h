/* unit_oom.h - told at once when the kernel kills one of an instance's processes for want of
 * memory, also when its main process goes on.
 *
 * Only instances with a memory limit that is enforced are watched.
 */
#ifndef SUPERVISOR_CORE_UNIT_OOM_H
#define SUPERVISOR_CORE_UNIT_OOM_H

#include "supervisor/core/core.h"
#include "supervisor/core/unit.h"

/* From now on (a process was started or adopted, limits have changed). */
void unit_oom_watch(struct core *core, struct unit *unit);
void unit_oom_forget(struct unit *unit);

#endif
