/* keeper_notify.h - what services say by sd_notify, and what follows: inside the keeper.
 *
 * What must not be lost is in unit->body.said; what hangs on it (timers, pidfds) is made when a
 * service needs it first.
 */
#ifndef SUPERVISOR_CORE_KEEPER_NOTIFY_H
#define SUPERVISOR_CORE_KEEPER_NOTIFY_H

#include "supervisor/core/keeper.h"

/* The unit that a process belongs to, NULL = none of ours: by its record or that of a process above
 * it, by its session, or by the SUPERVISOR_INSTANCE that the uppermost one below the guardian
 * carries.  *ret_main: it is the main process itself. */
struct unit *keeper_unit_of(struct keeper *keeper, pid_t pid, bool *ret_main);

/* keeper_watchdog.c.  The state has changed, or a new core has taken the unit up: it is watched
 * while it runs, and has its whole time from now on. */
void keeper_watchdog_follow(struct unit *unit);
void keeper_watchdog_fed(struct unit *unit);       /* WATCHDOG=1 */
void keeper_watchdog_triggered(struct unit *unit); /* WATCHDOG=trigger */
void keeper_watchdog_free(struct unit *unit);

/* keeper_main.c.  MAINPID=: takes that process for the main one from now on, if it lives and
 * belongs to the instance.  What was the main process is then one of the others. */
void keeper_main_take(struct keeper *keeper, struct unit *unit, pid_t pid);
/* MAINPIDFD=1: likewise, of the process behind a pidfd, which stays the caller's. */
void keeper_main_take_pidfd(struct keeper *keeper, struct unit *unit, int pidfd);
/* Takes the watch up again that a core before us had. */
void keeper_main_resume(struct keeper *keeper, struct unit *unit);
void keeper_main_free(struct unit *unit);
/* A descriptor of a main process that MAINPID= has named, -1 = there is none; borrowed. */
int keeper_main_pidfd(const struct unit *unit);

#endif
