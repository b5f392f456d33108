/* core_leave.h - the end of a supervisor: services are stopped in order, then the core leaves.
 *
 * The order is in the ledger before anything is stopped: a core that is killed in the middle leaves
 * the rest to the next one.  When shutdown_timeout is over, or at a second order, what is left is
 * killed.  What cannot be killed, because it waits in the kernel for a disk that hangs, is left
 * behind ten seconds later: the rest of the host must not wait for it.
 */
#ifndef SUPERVISOR_CORE_CORE_LEAVE_H
#define SUPERVISOR_CORE_CORE_LEAVE_H

#include <stdbool.h>

#include "base/err.h"
#include "supervisor/core/announce.h"
#include "supervisor/core/core.h"

struct core_leave;

/* `finished` is called once, when everything is down and said.  `announce` is borrowed.  NULL
 * without memory. */
struct core_leave *core_leave_new(struct core *core, struct announce *announce,
                                  void (*finished)(void *context), void *context);
void core_leave_free(struct core_leave *leave);

/* "exit", or for the init of a host "poweroff", "reboot" or "halt", which is then noted where the
 * guardian looks at the end.  0, or an error that says what may be asked of this supervisor. */
int core_leave_accept(struct core *core, const char *action, struct err *err);
/* Begins; a second time: hurries.  `code` is the exit code of the supervisor. */
void core_leave_begin(struct core_leave *leave, int code, const char *why);
bool core_leave_begun(const struct core_leave *leave);
/* Goes on with what the core before this one had begun. */
void core_leave_go_on(struct core_leave *leave);
/* At the end of each turn of the loop: is everything down? */
void core_leave_turn(struct core_leave *leave);

#endif
