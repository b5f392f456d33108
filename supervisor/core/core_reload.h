/* core_reload.h - reload: what the files say now, what is in force, and what really runs.
 *
 * The answer of the call "reload" {"plan", "undo", "no_restart": bool}:
 *   {"applied": bool, "interrupts": N,
 *    "services": [{"service", "change", "keys": [...], "of": N, "scaled": N,
 *                  "changes": [{"key", "takes", "old", "new"} or {..., "variables"}, and
 *                              "release" when the new value is what this release says],
 *                  "instances": [{"id", "fate", "state", "interrupts", "signal",
 *                                 "because": [...]}]}],
 *    "supervisor_keys", "supervisor_changes", "sockets", "access", "problems"}
 * `of`: how many it is to have; `scaled`: numprocs was changed in the files, but `supervisor scale`
 * counts; `interrupts`: its process ends before
 * there is another.  Instances that nothing happens to are left out.  Values of
 * variables are nowhere in it.
 */
#ifndef SUPERVISOR_CORE_CORE_RELOAD_H
#define SUPERVISOR_CORE_CORE_RELOAD_H

#include "io/rpc.h"
#include "supervisor/core/core.h"

void core_reload(struct core *core, struct rpc_call *call, json_t *params);
/* Ordered by a signal: nobody waits for an answer. */
void core_reload_signal(struct core *core);

#endif
