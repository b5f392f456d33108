/* schedule.h - whether a scheduled service (type = scheduled) is to run now, and when to look
 * again.
 *
 * All times that pass are accounted for, each once: it was run, or missed (nobody was there, or it
 * was too late), or skipped (the run before was still under way).  `until_ms` is how far that has
 * come; it only goes forward, so a clock that is put back brings no run twice.
 *
 * Nothing here reads a clock or starts anything; struct schedule is plain data, kept in the ledger
 * with the state of its unit (so that what was decided and what was started cannot differ) and in a
 * file for the next start of the supervisor.
 *
 * Times are milliseconds of the wall clock since 1970 unless said otherwise.
 */
#ifndef SUPERVISOR_MACHINE_SCHEDULE_H
#define SUPERVISOR_MACHINE_SCHEDULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/calendar.h"

#define SCHEDULE_NEVER INT64_MAX
enum {
    /* A clock that is set by more than this was wrong before: nothing is made up for, and what was
     * done in a future that never came does not count (vixie-cron has the same number). */
    SCHEDULE_CORRECTION_MS = 3 * 60 * 60 * 1000,
    SCHEDULE_BACKLOG_MAX = 100,      /* runs made up for at most, the latest */
    SCHEDULE_GAP_MS = 5 * 60 * 1000, /* no restart of a core takes so long */
};
/* Since schedule_look() was called last. */
enum schedule_fresh {
    SCHEDULE_FRESH_NOT,
    SCHEDULE_FRESH_START, /* the supervisor has started */
    SCHEDULE_FRESH_GAP,   /* nobody was there for long, though what it knew is still there */
};

/* What becomes of times that passed without a run because nobody was there. */
enum schedule_catch_up { SCHEDULE_CATCH_UP_NONE, SCHEDULE_CATCH_UP_ONCE, SCHEDULE_CATCH_UP_ALL };
/* What becomes of a time that comes while the run before is under way. */
enum schedule_overlap { SCHEDULE_FORBID, SCHEDULE_QUEUE, SCHEDULE_REPLACE };
enum schedule_result {
    SCHEDULE_NO_RESULT,
    SCHEDULE_SUCCESS,
    SCHEDULE_FAILURE,
    SCHEDULE_STOPPED, /* by order */
    SCHEDULE_LOST,    /* the host or the whole supervisor went down under it */
    SCHEDULE_NRESULTS
};

struct schedule_policy {
    const struct calendar_line *lines;
    size_t nlines;
    struct calendar_zone zone; /* of the lines */
    int64_t every_ms;          /* instead of lines; 0 = lines */
    int64_t shift_ms;          /* each time of the schedule comes so much later here */
    int64_t deadline_ms;       /* a run may begin this late; 0 = ever so late */
    enum schedule_catch_up catch_up;
    enum schedule_overlap overlap;
    uint32_t rules; /* a digest: another one is another schedule, which counts from then on */
};

struct schedule {
    int64_t until_ms;   /* all times up to this one are accounted for */
    int64_t ahead_ms;   /* the wall clock before that of the boot, when it was last looked at */
    int64_t backlog_ms; /* times up to this one are made up for, one after another; 0 = none */
    int64_t queued_ms;  /* a time whose run begins when the present one has ended; 0 = none */
    int64_t due_ms;     /* the time that the present or last run is of; 0 = it was ordered */
    int64_t started_ms, ended_ms; /* of that run; 0 = none yet */
    uint32_t rules;
    uint32_t runs, failures, missed, skipped; /* since it was first seen */
    uint8_t active;                           /* else no time of it counts */
    uint8_t running;                          /* a run is under way */
    uint8_t fresh;                            /* enum schedule_fresh */
    uint8_t result;                           /* enum schedule_result of the last run */
};

struct schedule_now {
    int64_t wall_ms, boot_ms; /* boot: a clock that is never set and runs while the host sleeps */
};

enum schedule_act {
    SCHEDULE_WAIT,
    SCHEDULE_START,       /* start a run: schedule_begin() with due_ms */
    SCHEDULE_REPLACE_RUN, /* stop the present one; looked at again after its end it says START */
};
/* Why times were missed. */
enum schedule_why {
    SCHEDULE_WHY_DOWN, /* the supervisor was not there */
    SCHEDULE_WHY_LATE, /* several at once: it slept, or its host did */
    SCHEDULE_WHY_DEADLINE,
    SCHEDULE_WHY_CLOCK, /* the clock was set over them */
};
struct schedule_verdict {
    enum schedule_act act;
    int64_t due_ms;            /* of START: the time of the schedule, without shift */
    int64_t next_ms;           /* look again then at the latest, or when a run ends; or NEVER */
    uint32_t missed, skipped;  /* accounted for just now; of thousands not all are counted */
    int64_t first_ms, last_ms; /* of the missed or else skipped ones */
    enum schedule_why why;     /* of the missed ones */
    bool clock_set;            /* by so much that it was wrong before */
};

/* From now on; what was before does not count. */
void schedule_activate(struct schedule *schedule, const struct schedule_policy *policy,
                       struct schedule_now now);
/* Its times count no more, nor does one that is queued; a run under way goes on. */
void schedule_suspend(struct schedule *schedule);
/* The supervisor has started and this is what the one before it has left: a run that was under way
 * is LOST now (true). */
bool schedule_restore(struct schedule *schedule, const struct schedule_policy *policy,
                      struct schedule_now now);
/* Another core goes on with it, usually at once. */
void schedule_take_over(struct schedule *schedule, const struct schedule_policy *policy,
                        struct schedule_now now);
/* Perhaps it follows other rules now: then their times count from now on. */
void schedule_follow(struct schedule *schedule, const struct schedule_policy *policy,
                     struct schedule_now now);

/* Accounts for all times that have come.  To be asked again after a run began or ended, and when
 * the clock was set. */
void schedule_look(struct schedule *schedule, const struct schedule_policy *policy,
                   struct schedule_now now, struct schedule_verdict *ret);

/* A run begins (due_ms 0: by order) or has ended. */
void schedule_begin(struct schedule *schedule, int64_t due_ms, struct schedule_now now);
void schedule_end(struct schedule *schedule, enum schedule_result result, struct schedule_now now);

/* When it will run next, with the shift, if nothing is in the way; NEVER when it is suspended. */
int64_t schedule_next(const struct schedule *schedule, const struct schedule_policy *policy);
const char *schedule_result_name(enum schedule_result result); /* "success" */
const char *schedule_why_text(enum schedule_why why);

#endif
