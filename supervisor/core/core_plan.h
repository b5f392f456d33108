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
/* Applies state_dir, log_dir, log settings of the plan. */
void core_plan_settings(struct core *core);
/* The rights that the plan wants for the control socket. */
int core_plan_control(const struct core *core, struct listen_options *ret, struct err *err);
/* Tells the releases which services and instances there are; the keeper must be configured. */
int core_plan_releases(struct core *core, enum releases_start start, struct err_list *problems,
                       struct err *err);
/* Answer the calls "reload" {"plan": bool} and "scale" {"name", "count"}. */
void core_plan_reload(struct core *core, struct rpc_call *call, json_t *params);
void core_plan_scale(struct core *core, struct rpc_call *call, json_t *params);
/* Reload ordered by a signal: nobody waits for an answer. */
void core_plan_reload_signal(struct core *core);

#endif
