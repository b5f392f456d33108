/* release_config.h - service files that come with releases: read, checked, and followed.
 *
 * The texts that count are kept with the plan as loaded (plan_source.releases), those of every
 * release that runs, is pinned, or may be gone back to.  So a core that takes over needs no disk,
 * and what a process was started with cannot change below it.  A whole restart of the supervisor
 * reads them again from the releases that the pins name.
 *
 * The pin alone says which release counts: the texts are in force before it is written, and
 * what hangs on it (how many instances) follows behind it.  So whoever is killed in between leaves
 * code and settings of one release.
 */
#ifndef SUPERVISOR_CORE_RELEASE_CONFIG_H
#define SUPERVISOR_CORE_RELEASE_CONFIG_H

#include "base/err.h"
#include "supervisor/core/core.h"

/* Whether the services of the set with this folder could run release `id`: every error of its
 * service file goes to `errors`, "FILE:LINE: [section] key: what".  Changes nothing. */
int release_config_check(struct core *core, const char *path, const char *id,
                         struct err_list *errors, struct err *err);
/* The same, and then its settings are there for whoever starts it.  On failure nothing was
 * changed, and err has the first error. */
int release_config_admit(struct core *core, const char *path, const char *id, struct err *err);
/* Puts into a source that is to be loaded (a reload, an undo) what releases say to it. */
void release_config_fill(const struct core *core, struct plan_source *source,
                         struct err_list *errors);
/* Another release is pinned than the plan was made with: it is made anew.  Cheap when not. */
void release_config_follow(struct core *core);

#endif
