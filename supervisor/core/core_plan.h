/* core_plan.h - the plan in force: loaded, kept in the store, replaced by reload and scale. */
#ifndef SUPERVISOR_CORE_CORE_PLAN_H
#define SUPERVISOR_CORE_CORE_PLAN_H

#include "base/err.h"
#include "io/listen.h"
#include "io/rpc.h"
#include "supervisor/core/core.h"
#include "supervisor/release/releases.h"

/* Sets core->source and core->plan: from the store if it has a plan (never the disk: half-edited
 * files are not applied by a crash), else from the disk with the scales of state_dir, and keeps it.
 * Errors are in `errors`. */
int core_plan_load(struct core *core, struct err_list *errors);
/* Applies state_dir, log_dir, log settings of the plan.  What does not work is logged, and of the
 * logs in `problems`, unless that is NULL. */
void core_plan_settings(struct core *core, struct err_list *problems);
/* The rights that the plan wants for the control socket. */
int core_plan_control(const struct core *core, struct listen_options *ret, struct err *err);
/* Tells the releases which services and instances there are; the keeper must be configured. */
int core_plan_releases(struct core *core, enum releases_start start, struct err_list *problems,
                       struct err *err);
/* A plan; its warnings are logged, too. */
struct plan *core_plan_make(const struct plan_source *source, struct err_list *errors,
                            struct err_list *warnings);
/* From the disk; or, to undo, the texts of before the last reload.  Scales stay what they are.
 * malloc'ed, or NULL with errors. */
struct plan_source *core_plan_read(const struct core *core, bool undo, struct err_list *errors);
/* malloc'ed, or NULL with err. */
struct plan_source *core_plan_copy_source(const struct plan_source *from, struct err *err);
bool core_plan_can_undo(const struct core *core);
int core_plan_keep_for_undo(struct core *core, struct err *err);

/* Who runs with settings that the new plan does not have any more. */
enum core_plan_restarts {
    CORE_PLAN_RESTART,   /* is restarted, also where that has failed before */
    CORE_PLAN_LEAVE,     /* goes on, until it is restarted for another reason */
    CORE_PLAN_AS_BEFORE, /* is restarted, unless it was left or has failed */
};
/* Takes over source and plan.  The new texts are in the store before anything is done, so a crash
 * in the middle carries on towards the new plan; from there on nothing is refused, and what could
 * not be done is in `problems`.  On failure nothing was changed, and they stay the caller's. */
int core_plan_apply(struct core *core, struct plan_source *source, struct plan *plan,
                    enum core_plan_restarts restarts, struct err_list *problems, struct err *err);
/* Answers the call "scale" {"counts": {NAME: N...}}, or {"name", "count"} for one: all of them
 * together, or nothing was changed. */
void core_plan_scale(struct core *core, struct rpc_call *call, json_t *params);

#endif
