/* spawn_box.h - the sandbox of one start: what the plan says, made ready for the child.
 *
 * Main processes, and hooks that run before the start or after the end, get namespaces of their
 * own. Checks and hooks that run beside the main process join its namespaces.  All of them get the
 * same root, capabilities, no_new_privs and filter.
 */
#ifndef SUPERVISOR_CORE_SPAWN_BOX_H
#define SUPERVISOR_CORE_SPAWN_BOX_H

#include "base/arena.h"
#include "base/err.h"
#include "supervisor/core/core.h"
#include "supervisor/core/unit.h"
#include "supervisor/sandbox/sandbox.h"

struct spawn_box {
    bool used;  /* the service has a sandbox */
    bool moves; /* paths may lead elsewhere inside */
    bool deaf;  /* the notify socket cannot be reached from inside */
    int root_fd, beside_fd;
    struct arena arena;
    struct sandbox sandbox;
};
void spawn_box_init(struct spawn_box *box);
void spawn_box_done(struct spawn_box *box); /* twice is fine */
/* `release_fd` and `release_dir`: of the unit's release, else -1 and "".  `beside`: its main
 * process runs, and this is another. */
/* Needs unit->made. */
int spawn_box_make(struct core *core, const struct unit *unit, const struct users_identity *user,
                   int release_fd, const char *release_dir, bool beside, struct spawn_box *box,
                   struct err *err);

/* The unit keeps what tells its failed step, until it runs or has ended. */
void spawn_box_keep(struct unit *unit, struct spawn_box *box);
void spawn_box_forget(struct unit *unit);

/* What of a service's sandbox cannot be had here: "private_tmp: wants ...".  0 when all can. */
int spawn_box_check(struct core *core, const struct spec_service *service, struct err *err);

#endif
