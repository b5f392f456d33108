/* core_leave.h - what comes after a shutdown that was ordered over the control socket. */
#ifndef SUPERVISOR_CORE_CORE_LEAVE_H
#define SUPERVISOR_CORE_CORE_LEAVE_H

#include "base/err.h"
#include "supervisor/core/core.h"

/* "exit", or for the init of a host "poweroff", "reboot" or "halt", which is then noted where the
 * guardian looks at the end.  0, or an error that says what may be asked of this supervisor. */
int core_leave_accept(struct core *core, const char *action, struct err *err);

#endif
