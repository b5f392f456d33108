/* unit.h - one process slot of an instance, and the instance with its one or two units.
 *
 * An instance ("web:0") always has a main unit.  During an overlapped restart it also has a twin:
 * first the new process on trial, after the swap the old one on its way out.
 */
#ifndef SUPERVISOR_CORE_UNIT_H
#define SUPERVISOR_CORE_UNIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "io/loop.h"
#include "supervisor/health/notify.h"
#include "supervisor/host/leftovers.h"
#include "supervisor/host/pressure.h"
#include "supervisor/host/users.h"
#include "supervisor/machine/lifecycle.h"
#include "supervisor/machine/schedule.h"
#include "supervisor/plan/instance.h"
#include "supervisor/plan/plan_fate.h"

enum { SLOT_NAME_MAX = SPEC_NAME_MAX * 2 };
enum {
    UNIT_RELEASE_MAX = 32,
    UNIT_REASON_MAX = 160,
    UNIT_CAUSE_MAX = 80,
    UNIT_STATUS_MAX = 128,
    UNIT_ERROR_MAX = NOTIFY_ERROR_MAX + 16
};

/* What the present process says of itself by sd_notify. */
struct unit_said {
    int64_t watchdog_ms; /* WATCHDOG_USEC=; counts with has_watchdog, 0 = off */
    int64_t extended_ms; /* EXTEND_TIMEOUT_USEC=: no time-out before this, monotonic */
    int64_t reload_us;   /* MONOTONIC_USEC= of its latest RELOADING=1 */
    int32_t error;       /* ERRNO= */
    int32_t exit_status; /* EXIT_STATUS=; counts with has_exit_status */
    int32_t first_pid;   /* who was started, when MAINPID= has named another since */
    bool has_watchdog, has_exit_status;
    bool reloading;    /* RELOADING=1, and no READY=1 since */
    bool stopping;     /* STOPPING=1 */
    bool watchdog_bit; /* the watchdog has ended it */
    uint8_t access;    /* enum notify_access */
};

/* Whether the kernel killed for want of memory. */
enum unit_oom { UNIT_OOM_NO, UNIT_OOM_YES, UNIT_OOM_UNKNOWN };

/* How the last process ended. */
struct unit_exit {
    int64_t at_wall_us; /* 0 = none has ended yet */
    int64_t uptime_ms;
    int32_t code;   /* exit code, or -1 */
    int32_t error;  /* of a start that failed before exec, 0 = none; */
    int32_t step;   /* it failed at, as in the child's report */
    uint8_t signal; /* or 0 */
    uint8_t known;  /* 0: the kernel told nobody */
    uint8_t dumped;
    uint8_t oom; /* enum unit_oom */
};

/* Kept in the ledger as it is, so that a new core carries on from here. */
struct unit_body {
    struct lifecycle lc;
    struct unit_exit last;
    int64_t number;
    uint64_t settings;   /* plan_digest() of what its process was started with, or last tried; 0 =
                          * none yet */
    uint64_t left;       /* settings of a plan that it is not replaced for: that failed, or was not
                          * to be; likewise */
    uint32_t env_sum;    /* of the pairs of environment_file at its start, 0 = none */
    uint32_t files_sum;  /* of its reload_files when it read them last; likewise */
    uint64_t exit_event; /* number of the event about the end of this process; 0 = it lives */
    uint64_t oom_base;   /* OOM kills that were counted when it started */
    uint32_t restarts;   /* starts beyond the first, of this unit's instance */
    uint32_t probes, probe_failures;
    uint8_t retiring;               /* a twin that was replaced and is leaving */
    uint8_t health;                 /* enum unit_health */
    uint8_t gate_passed;            /* the startup check has passed */
    uint8_t pristine;               /* no order yet: autostart decides */
    uint8_t outdated;               /* runs with settings of before a reload; to be replaced */
    uint8_t pre_stopped;            /* pre_stop has ended: the stop signal may go out */
    uint8_t stop_ordered;           /* of an ordered stop that is not over (slot.in_stop) */
    uint8_t fresh;                  /* the next start takes the release that is pinned then */
    uint8_t told;                   /* UNIT_TOLD_...: ways in which this process said "ready" */
    uint8_t ended_all;              /* on_exit = shutdown: its end has to be answered */
    uint8_t unproven;               /* runs, but the other process of its instance may have
                                     * answered its checks: once that is gone they begin again */
    uint8_t group;                  /* number of its control group, 0 = in none */
    uint8_t oom_source;             /* what oom_base was read from, see unit_group.c */
    uint16_t tuned_bits;            /* keeper_tune.c: what was set, ... */
    uint32_t tuned;                 /* ... and to which values; 0 = not known */
    uint32_t oom_kills;             /* told of this process and those below it */
    int32_t main_pid;               /* of the present or last main process, 0 = none */
    char release[UNIT_RELEASE_MAX]; /* the id it runs or will run; "" = none */
    char next_release[UNIT_RELEASE_MAX]; /* what its next start will run, "" = as fresh says */
};
/* In the ledger.  Zeros at the end need no memory there, and what is at the end may be lost without
 * it. */
struct unit_saved {
    struct unit_body body;
    char cause[UNIT_CAUSE_MAX];
    char reason[UNIT_REASON_MAX];
    struct unit_said said;
    char status[UNIT_STATUS_MAX];
    char error[UNIT_ERROR_MAX];
    struct schedule schedule; /* of a scheduled one (jobs.h), else zeros */
};

/* Remembered as soon as it is heard, whether the startup check has passed or not. */
enum unit_told { UNIT_TOLD_NOTIFY = 1 << 0, UNIT_TOLD_FD = 1 << 1, UNIT_TOLD_LOG = 1 << 2 };
enum unit_health { UNIT_HEALTH_UNKNOWN, UNIT_HEALTH_OK, UNIT_HEALTH_BAD };

/* What was noted about the present process. */
enum unit_evidence { UNIT_EVIDENCE_FAULT = 1 << 0, UNIT_EVIDENCE_KILL = 1 << 1 };

struct cgroup_later;
struct job;
struct keeper;
struct slot;
struct spawn_box;
struct sockets_watch;

struct unit {
    struct keeper *keeper;
    struct slot *slot;
    struct unit_body body;
    uint32_t record;     /* index in the ledger */
    int32_t hook_record; /* of a running hook, or -1 */
    struct unit *next_swept;
    struct loop_timer *timer; /* for body.lc.deadline_ms */
    /* What it runs with, owned with its memory: only while something needs it (running checks, a
     * post_stop to come); else NULL, and made anew from the plan when it is asked for. */
    struct instance *made;
    struct arena arena;
    struct spawn_box *box; /* owned: to name a step of its last start that failed; may be NULL */
    struct checks *checks; /* running checks, or NULL */
    struct pressure_seen pressure; /* of its control group, when one of them last timed out */
    int64_t turn_ms;      /* it waits for its turn to restart since then, 0 = it does not */
    int64_t turn_wait_ms; /* how long that will take, and its place in the line: */
    uint32_t turn_place;  /* keeper_number_turns() */
    bool unchecked;       /* checks could not be begun; tried again */
    bool cleaning;        /* its leftovers are looked for */
    bool in_sweep;        /* is in keeper->swept, by next_swept */
    bool rest_told;       /* TERM was sent to them */
    uint8_t evidence;     /* enum unit_evidence, of this process */
    uint8_t quiet_scans;  /* scans in a row that found nothing */
    bool group_clean;     /* its control group was made by us and never killed */
    bool may_go;          /* it was asked and has to wait for nobody */
    bool passes;          /* so that it waits was not told; nor was ... */
    uint8_t passed_from;  /* ... that it is not in this state any more */
    uint32_t limits_sum;  /* of what was written to its group, 0 = unknown */
    int events_fd;        /* of its control group while it is emptied, else -1 */
    int memory_fd;        /* of its control group while that is watched for OOM kills, else -1 */
    int ready_fd;         /* read end of an fd:N pipe (in the store), -1 = none */
    struct loop_watch *events_watch, *memory_watch, *ready_watch; /* of these three, or NULL */
    struct leftovers_members *members; /* processes of it that were told to end, or NULL */
    struct cgroup_later *limits_later; /* being written, or NULL */
    bool limits_again;                 /* when that is done: they have changed since */
    char *limit_problem; /* malloc'ed: limits that are not enforced and why; NULL = none */
    /* Remarks (remark.h), "" = none. */
    const char *reason;             /* why it is in its state; kept in the ledger */
    const char *cause;              /* why we made the last process end; likewise */
    const char *status;             /* STATUS= of sd_notify */
    const char *error;              /* "D-Bus NAME" or "Varlink NAME": BUSERROR=, VARLINKERROR= */
    const char *check;              /* why the latest check failed */
    struct unit_said said;          /* by sd_notify; kept in the ledger */
    struct unit_watchdog *watchdog; /* or NULL */
    struct unit_main *main;         /* a main process that MAINPID= has named, or NULL */
};

/* One instance of a service. */
struct slot {
    size_t service; /* index into core->plan->services; meaningless when removed */
    int64_t number;
    const struct spec_service *spec; /* in the plan in force; of a removed one: in a retired plan */
    const struct users_identity *user;
    struct unit *main, *twin;    /* twin may be NULL */
    enum plan_fate fate;         /* of the reload under way; means nothing outside of it, ... */
    bool files_changed;          /* ... likewise */
    struct job *job;             /* of a scheduled one (jobs.h), or NULL */
    struct sockets_watch *watch; /* waits for a connection (start_on = socket), or NULL */
    bool watch_news;             /* which who waits for it was not told yet */
    bool removed;                /* not in the plan any more: goes when it has stopped */
    bool on_trial;               /* the twin is the new process */
    bool faster;                 /* a release is being watched: probe more often */
    bool in_stop, stop_told;     /* of an ordered stop */
    bool replacing, replace_queued;
    bool replace_again; /* another release was asked for: the trial is being called off */
    char replace_release[UNIT_RELEASE_MAX]; /* "" = the one it has */
    char name[];                            /* "web:0" */
};

/* The service as its release has it: how this one is started, checked and stopped. */
static inline const struct spec_service *unit_spec(const struct unit *unit)
{
    return spec_for(unit->slot->spec, unit->body.release);
}

#endif
