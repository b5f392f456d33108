/* control_release.h - the release.* calls: params to orders, answers to JSON (CONTRACT.md §3). */
#ifndef SUPERVISOR_CORE_CONTROL_RELEASE_H
#define SUPERVISOR_CORE_CONTROL_RELEASE_H

#include "io/rpc.h"
#include "supervisor/core/core.h"

enum control_release_verb {
    CONTROL_SWITCH,
    CONTROL_CONFIRM,
    CONTROL_EXTEND,
    CONTROL_REVERT,
    CONTROL_ROLLBACK,
    CONTROL_STATE,
    CONTROL_CHECK /* whether the release goes with the host's files: {"errors": [...], "total"} */
};

/* The folder of the set: "path" of the params, or that of the service "name"; NULL with err. */
const char *control_release_path(const struct core *core, const json_t *params, struct err *err);
/* Times are numbers of seconds.  Answers the call, now or when the instances are done. */
void control_release_run(struct core *core, enum control_release_verb verb, struct rpc_call *call,
                         json_t *params);

#endif
