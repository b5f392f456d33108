/* jobs.h - scheduled services: runs them when their time has come.
 *
 * What is due is decided by machine/schedule.h; a run is an ordinary start of the instance.  There
 * is one timer, for the first of all times; nothing wakes up while none is due.  It belongs to the
 * wall clock and says so when that is set.
 *
 * No run is lost and none comes twice when the core is killed: what was decided is kept in the body
 * of the unit, in the same stroke as its start.  When all of the supervisor goes down (a power cut)
 * a run comes at most once: that its time was used is in STATE_DIR/jobs.json, synced, before it
 * starts.  One that went down with the host is told as lost, not repeated.  A disk that hangs or is
 * full stops nobody else: the file is written on a thread, and if that fails the run begins anyway.
 */
#ifndef SUPERVISOR_CORE_JOBS_H
#define SUPERVISOR_CORE_JOBS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "supervisor/core/core.h"
#include "supervisor/core/unit.h"

struct jobs;

/* Reads what the supervisor before this one has left.  NULL with err: no memory, no timer. */
struct jobs *jobs_new(struct core *core, struct err *err);
void jobs_free(struct jobs *jobs);

bool jobs_is(const struct slot *slot); /* it is a scheduled one */
/* If it became a scheduled one now its times would count: no order holds it down. */
bool jobs_may_begin(const struct slot *slot);
/* How far it has come; all zeros of one that never was one. */
const struct schedule *jobs_schedule(const struct slot *slot);
/* From the ledger, before anything else; false without memory. */
bool jobs_adopt(struct slot *slot, const struct schedule *schedule);

/* The slots have new settings (keeper_configure): their schedules follow. */
void jobs_configure(struct jobs *jobs);
/* One without any order yet, and with autostart: its times count from now on, or it goes on from
 * what the file says. */
void jobs_activate(struct jobs *jobs, struct slot *slot);
/* All units have been taken up: nothing was due before. */
void jobs_begin(struct jobs *jobs);
/* A state has changed: a run may have ended. */
void jobs_changed(struct jobs *jobs, struct slot *slot);
void jobs_removed(struct jobs *jobs, struct slot *slot); /* about to be freed */
/* At the end of a turn of the loop, after the keeper's: starts what is due. */
void jobs_turn(struct jobs *jobs);

/* Orders.  start: its times count (again); with `run` it runs now, unless it does. */
void jobs_start(struct jobs *jobs, struct slot *slot, bool run, const char *who);
/* Its times count no more; a run under way is the caller's to stop. */
void jobs_suspend(struct jobs *jobs, struct slot *slot);

/* What is not in the file yet is written; true when nothing is being written any more. */
bool jobs_settle(struct jobs *jobs);

/* The state that people see: "scheduled" and "failed" (its last run) between two runs. */
const char *jobs_state_name(const struct slot *slot);
/* Its last run was good, or there was none. */
bool jobs_well(const struct slot *slot);
/* Members of status: schedule, next_run, last_run, runs. */
void jobs_put_json(const struct slot *slot, json_t *row);

#endif
