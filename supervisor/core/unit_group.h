/* unit_group.h - the control group of a unit: entered at birth, held to its limits, emptied.
 *
 * A unit without one (there are no control groups here, or it was started before there were) has
 * group 0 and is looked after by leftovers.h.
 */
#ifndef SUPERVISOR_CORE_UNIT_GROUP_H
#define SUPERVISOR_CORE_UNIT_GROUP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "supervisor/core/core.h"
#include "supervisor/core/unit.h"

enum { UNIT_GROUP_WHY_MAX = 320 };

/* For a new process of the unit: its group, made and limited.  A descriptor for child_spec, 0 = it
 * has none, or a negative err_code (a limit that is required cannot be enforced).
 *
 * From Linux 6.14 on a process that is born into a group that cgroup.kill was once written to may
 * be killed at birth.  So such a group is made anew, and where that cannot be (somebody lives in
 * it) *ret_join says that the process has to move in by itself. */
int unit_group_enter(struct core *core, struct unit *unit, bool *ret_join, struct err *err);
/* KILL to every process of the unit. */
void unit_group_kill(struct core *core, struct unit *unit);
/* Whether it has one; its name. */
bool unit_group_name(const struct core *core, const struct unit *unit, char *ret, size_t size);
/* The unit whose group a process is in, NULL = in none of ours.  O(instances), one file is read. */
struct unit *unit_group_holder(struct keeper *keeper, pid_t pid);
/* After a lost ledger: takes the group that its main process is found in. */
void unit_group_adopt(struct core *core, struct unit *unit, pid_t pid);
/* The unit is gone for good: its group goes too, unless somebody lives in it. */
void unit_group_free(struct core *core, struct unit *unit);

/* Writes limits that changed; what is refused is said in unit->limit_problem. */
void unit_group_limit(struct core *core, struct unit *unit);
/* Why the limits of a service cannot be enforced here; false when they can, or it has none. */
bool unit_group_problem(const struct core *core, const struct spec_service *spec, char *ret,
                        size_t size);

/* Remembers how many OOM kills there were, and says later whether there was one. */
void unit_group_count_oom(struct core *core, struct unit *unit);
enum unit_oom unit_group_oom(struct core *core, const struct unit *unit, bool signalled,
                             int status);

/* Whether oom_base was read from its own group. */
bool unit_group_tells_oom(const struct unit *unit);

/* A signal to every process of the unit but `spared`; how many there are. */
size_t unit_group_signal(struct core *core, const struct unit *unit, int signum, pid_t spared);
/* Whether any process of it lives.  From then on until it says false, `changed` is called (with the
 * unit) when that changes. */
bool unit_group_populated(struct core *core, struct unit *unit,
                          void (*changed)(void *context, unsigned events));
void unit_group_forget(struct unit *unit); /* stops watching */

#endif
