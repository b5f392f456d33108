/* jobs_inside.h - shared by the files of jobs.h. */
#ifndef SUPERVISOR_CORE_JOBS_INSIDE_H
#define SUPERVISOR_CORE_JOBS_INSIDE_H

#include <jansson.h>

#include "base/heap.h"
#include "base/zone.h"
#include "io/loop.h"
#include "supervisor/core/events.h"
#include "supervisor/core/jobs.h"

struct jobs_file;

/* Of one instance that is scheduled, or was until a reload: slot->job. */
struct job {
    struct heap_node node; /* first; key: when to look at it, wall clock */
    struct slot *slot;
    struct schedule s; /* kept in the ledger with its unit (keeper_save) */
    struct schedule_policy policy;
    bool kept;                     /* in the file */
    bool claimed;                  /* its start waits until the file says so: */
    uint64_t writing;              /* the writing that will have it */
    struct job *next_claimed;      /* of jobs->claims */
    struct schedule before, claim; /* what it was then, and what it will be */
    struct err problem;            /* why its times cannot be known; code 0 = none */
};

struct jobs_zone {
    const char *name; /* in the plan */
    struct zone *zone;
};

struct jobs {
    struct core *core;
    struct heap heap;
    struct jobs_zone *zones; /* of the plan in force */
    size_t nzones;
    int timer_fd; /* or -1: not needed yet */
    struct loop_watch *timer_watch;
    struct loop_timer *retry; /* the timer could not be had */
    int64_t armed_ms;         /* for this time; NEVER = not */
    int64_t ahead_ms;         /* the wall clock before that of the boot */
    struct job *claims;
    bool loading; /* until jobs_begin() */
    json_t *left; /* by the supervisor before us, until jobs_begin(); or NULL */
    struct jobs_file *file;
};

struct schedule_now jobs_now(void);

/* jobs_file.c: the file in state_dir. */
struct jobs_file *jobs_file_new(struct jobs *jobs);
void jobs_file_free(struct jobs_file *file);
json_t *jobs_file_read(const struct core *core); /* by instance; or NULL */
bool jobs_file_get(const json_t *left, const char *name, struct schedule *ret);
/* To be written at the end of the turn, or when the writing under way has ended; which writing that
 * will be, counted from 1. */
uint64_t jobs_file_changed(struct jobs_file *file);
void jobs_file_turn(struct jobs_file *file);
bool jobs_file_settled(const struct jobs_file *file);
/* jobs.c: this writing, and so all before it, has ended. */
void jobs_written(struct jobs *jobs, uint64_t writing);

/* jobs_tell.c: events. */
void jobs_tell_started(const struct jobs *jobs, const struct job *job, const char *who);
void jobs_tell_finished(const struct jobs *jobs, const struct slot *slot);
void jobs_tell_verdict(const struct jobs *jobs, const struct job *job,
                       const struct schedule_verdict *verdict);

#endif
