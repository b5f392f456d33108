/* core_upgrade.h - a new binary takes over: first it proves that it can, then the guardian execs
 * it. */
#ifndef SUPERVISOR_CORE_CORE_UPGRADE_H
#define SUPERVISOR_CORE_CORE_UPGRADE_H

#include "io/rpc.h"
#include "supervisor/core/core.h"

struct upgrade;

struct upgrade *upgrade_new(struct core *core, void (*leave)(void *context), void *context);
void upgrade_free(struct upgrade *upgrade);
/* Answers the call "upgrade" {"binary": PATH or absent = this binary's path}: runs the new binary's
 * self-test as a child; passed: tells the guardian, answers {"binary"}, and calls `leave` a moment
 * later; failed: what it printed, and nothing has changed.  A right to upgrade is none to have any
 * file run as us: naming one is denied to all but root and our own user. */
void upgrade_run(struct upgrade *upgrade, struct rpc_call *call, json_t *params);
/* Tells the guardian to give its store to the service manager above, answers the call, and calls
 * `leave` a moment later: the manager starts the supervisor anew, services go on. */
void upgrade_hand_over(struct upgrade *upgrade, struct rpc_call *call);
/* Has the self-test ended?  Called when the guardian has poked, before the keeper looks. */
void upgrade_check(struct upgrade *upgrade);

#endif
