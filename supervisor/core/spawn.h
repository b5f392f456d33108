/* spawn.h - from a unit to a running process: descriptors, environment, ids, limits, clone.
 *
 * Every process is a child of the guardian (CLONE_PARENT) and has a record in the ledger before it
 * exists.
 */
#ifndef SUPERVISOR_CORE_SPAWN_H
#define SUPERVISOR_CORE_SPAWN_H

#include "base/err.h"
#include "supervisor/core/core.h"
#include "supervisor/core/unit.h"

/* Makes unit->made anew (from the plan, the unit's release and the user) and starts its main
 * process in unit->record with a new generation.  On failure no process exists.  unit->made stays
 * until spawn_forget(). */
int spawn_unit(struct core *core, struct unit *unit, const struct users_identity *user,
               struct err *err);

/* Makes unit->made without starting anything: for checks and hooks.  On failure it is what it was.
 */
int spawn_prepare(struct core *core, struct unit *unit, const struct users_identity *user,
                  struct err *err);
void spawn_forget(struct unit *unit); /* frees unit->made; twice is fine */
/* unit->made, or one made in the arena without a look at environment_file; NULL when that is not
 * possible.  For paths of logs and the like. */
const struct instance *spawn_look(const struct core *core, const struct unit *unit,
                                  struct arena *arena);

/* What its environment_file and its reload_files say now, as unit->body.env_sum and files_sum.
 * *ret_cut: what of reload_files is beyond the limits of filesum.h, in words, or NULL. */
int spawn_files(const struct core *core, const struct unit *unit, uint32_t *ret_variables,
                uint32_t *ret_own, const char **ret_cut, struct err *err);

/* What a hook's record says from before it exists, so that a new core knows what it is. */
enum spawn_hook {
    SPAWN_NO_HOOK, /* an exec: check */
    SPAWN_PRE_START,
    SPAWN_POST_STOP,
    SPAWN_POST_START, /* these and the following run beside the lifecycle (keeper_hooks.c) */
    SPAWN_PRE_STOP,
    SPAWN_ON_FAILED,
};
struct spawn_hook_body {
    int32_t hook;        /* enum spawn_hook */
    uint32_t unit;       /* record of the unit it belongs to */
    int64_t deadline_ms; /* of those beside the lifecycle */
};
const char *spawn_hook_name(enum spawn_hook hook); /* "pre_start" */

/* Starts a hook or an exec: check (with unit->made) as the unit's user, in its directory and
 * environment; *ret_record is a new record (LEDGER_HOOK or LEDGER_PROBE), to be released when its
 * exit was seen. Hooks write to the instance's output, checks to /dev/null. */
int spawn_helper(struct core *core, struct unit *unit, const struct users_identity *user,
                 enum spawn_hook hook, char *const *argv, size_t *ret_record, struct err *err);

#endif
