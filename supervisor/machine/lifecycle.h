/* lifecycle.h - what one unit (a process slot of an instance) should do next, without the OS.
 *
 * The keeper feeds in facts and carries out the acts that come back.  Nothing here forks, waits,
 * allocates or reads a clock: time and randomness are arguments, so a test can enumerate every
 * situation a unit can ever be in.  The struct is plain data and is kept in the ledger as it is.
 *
 * From the first process to the last one gone:
 *
 *   stopped -> waiting -> pre-start -> starting -> running
 *                                         |           |
 *                     stopping -> killing |  (its own end)
 *                            \       \    v           v
 *                             `------> cleaning -> post-stop -> stopped | exited | backoff | failed
 *
 * "cleaning" means: the main process is gone, others of the instance may live.  Nothing starts
 * again before the instance is empty.
 */
#ifndef SUPERVISOR_MACHINE_LIFECYCLE_H
#define SUPERVISOR_MACHINE_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

#include "supervisor/machine/backoff.h"

enum lifecycle_state {
    LIFECYCLE_STOPPED,   /* no process, none wanted */
    LIFECYCLE_WAITING,   /* wanted, but a dependency or a release is missing */
    LIFECYCLE_PRE_START, /* the pre_start command runs */
    LIFECYCLE_STARTING,  /* spawned, not started according to its readiness rule yet */
    LIFECYCLE_RUNNING,
    LIFECYCLE_STOPPING,  /* stop signal sent, deadline armed */
    LIFECYCLE_KILLING,   /* deadline over, KILL sent to all */
    LIFECYCLE_CLEANING,  /* main process gone, the rest has TERM, then KILL */
    LIFECYCLE_POST_STOP, /* the post_stop command runs */
    LIFECYCLE_BACKOFF,   /* wanted, waiting for the next try */
    LIFECYCLE_EXITED,    /* ended and not to be restarted */
    LIFECYCLE_FAILED,    /* gave up; only an order leaves it */
    LIFECYCLE_NSTATES
};

enum lifecycle_event {
    LIFECYCLE_EV_START, /* orders */
    LIFECYCLE_EV_STOP,
    LIFECYCLE_EV_RESTART,
    LIFECYCLE_EV_GO,      /* everything it waits for is there */
    LIFECYCLE_EV_HOOK_OK, /* pre_start or post_stop ended well (post_stop: in any way) */
    LIFECYCLE_EV_HOOK_BAD,
    LIFECYCLE_EV_NO_SPAWN, /* there is no process: clone, lookup or preparation failed */
    LIFECYCLE_EV_READY,    /* the readiness check passed */
    LIFECYCLE_EV_UNREADY,  /* a readiness check fails again: only published */
    LIFECYCLE_EV_SICK,     /* the liveness check failed threshold times, or the watchdog */
    LIFECYCLE_EV_PROVE,    /* another process may have answered its checks: they begin again */
    LIFECYCLE_EV_LEAVING,  /* it said that it is on its way out, by itself */
    LIFECYCLE_EV_EXIT_OK,  /* the main process ended in an expected way */
    LIFECYCLE_EV_EXIT_BAD,
    LIFECYCLE_EV_EMPTY,   /* no process of the instance is left */
    LIFECYCLE_EV_TIMEOUT, /* deadline_ms has come */
    LIFECYCLE_NEVENTS
};

enum lifecycle_act {
    LIFECYCLE_ACT_PRE_START = 1 << 0, /* run the hook */
    LIFECYCLE_ACT_SPAWN = 1 << 1,
    LIFECYCLE_ACT_SIGNAL = 1 << 2,    /* the stop signal, as kill_mode says */
    LIFECYCLE_ACT_KILL = 1 << 3,      /* KILL to every process of the instance */
    LIFECYCLE_ACT_CLEAN = 1 << 4,     /* look for the rest: TERM to it, or EMPTY when none */
    LIFECYCLE_ACT_POST_STOP = 1 << 5, /* run the hook */
    LIFECYCLE_ACT_KILL_HOOK = 1 << 6,
    LIFECYCLE_ACT_ASK = 1 << 7,    /* check the dependencies: GO when they are there */
    LIFECYCLE_ACT_CHECKS = 1 << 8, /* begin readiness and health checks */
};

enum lifecycle_autorestart { LIFECYCLE_NEVER, LIFECYCLE_ALWAYS, LIFECYCLE_UNEXPECTED };

/* What restart_on says of the last exit; counts only when the process ended by itself. */
enum lifecycle_rule {
    LIFECYCLE_RULE_NONE,
    LIFECYCLE_RULE_NEVER,  /* it is done, or has failed */
    LIFECYCLE_RULE_ALWAYS, /* whatever autorestart says */
    LIFECYCLE_RULE_NOW,    /* likewise, without delay or count when it had been running */
    LIFECYCLE_RULE_AFTER,  /* likewise, after rule_ms */
};

/* Why the process is being, or was, made to stop. */
enum lifecycle_cause {
    LIFECYCLE_BY_ITSELF,
    LIFECYCLE_BY_ORDER,   /* stop */
    LIFECYCLE_BY_RESTART, /* stop, then start at once without counting a failure */
    LIFECYCLE_BY_FAULT,   /* not ready in time, or liveness: counts as a failure */
};

struct lifecycle_policy {
    bool oneshot;     /* started means: exited in an expected way */
    bool program;     /* supervisord's rules, see lifecycle.c settle() */
    bool once;        /* a twin: any failure is final, nothing is retried */
    bool at_call;     /* starts when it is called, so every end but a failed one waits for that */
    bool uncalled;    /* nobody calls now: an expected end was right */
    bool delay_ready; /* readiness is being up for start_ms */
    bool pre_start, post_stop;
    enum lifecycle_autorestart autorestart;
    int64_t startretries; /* -1 = unlimited */
    int64_t start_ms;     /* startsecs, or how long readiness may take; 0 = no limit
                           * (with delay_ready: at once) */
    int64_t run_ms;       /* oneshot: how long it may take; 0 = no limit */
    int64_t stop_ms;      /* stop signal to KILL */
    int64_t hook_ms;      /* a hook may take this long */
    int64_t backoff_reset_ms;
    struct backoff_policy backoff;
    enum lifecycle_rule rule; /* for the way in which the last process ended */
    int64_t rule_ms;
};

struct lifecycle {
    uint8_t state; /* enum lifecycle_state */
    uint8_t cause; /* enum lifecycle_cause of the stop under way or the last one */
    bool wanted;
    bool ready;
    bool reached;           /* was running during this start */
    bool expected;          /* how the last process ended */
    bool free_used;         /* the one immediate restart since the last healthy time was used */
    uint32_t failures;      /* failed starts and early exits since then */
    uint32_t starts;        /* processes started since the last order to start */
    int64_t started_ms;     /* of the present or last process */
    int64_t ready_since_ms; /* 0 = not ready */
    int64_t deadline_ms;    /* when TIMEOUT is due, monotonic; 0 = none */
};

struct lifecycle_now {
    int64_t mono_ms;
    uint32_t random;
};

/* Applies one event to *lc and returns the acts to carry out, or'ed together; the caller also arms
 * its timer for lc->deadline_ms.  An event that makes no sense in the present state changes
 * nothing and returns 0. */
unsigned lifecycle_step(struct lifecycle *lc, enum lifecycle_event event,
                        const struct lifecycle_policy *policy, struct lifecycle_now now);

/* The acts that bring an adopted unit on its way again after a crash of the core, for the state
 * it was recorded in; `has_process`: its main process lives.  A stop signal may be repeated. */
unsigned lifecycle_resume(const struct lifecycle *lc, bool has_process);

/* It asks for more time (EXTEND_TIMEOUT_USEC): the end of a start that has to become ready, or of a
 * stop, is not before `until_ms`.  False when nothing changes; else the caller arms its timer. */
bool lifecycle_extend(struct lifecycle *lc, const struct lifecycle_policy *policy,
                      int64_t until_ms);
/* Another policy from `now_ms` on, while it is on its way: a start, a stop or a hook ends as much
 * sooner or later as its time has become shorter or longer, a wait for the next try is not longer
 * than the longest now.  False when nothing changes; else the caller arms its timer. */
bool lifecycle_retime(struct lifecycle *lc, const struct lifecycle_policy *before,
                      const struct lifecycle_policy *after, int64_t now_ms);
/* It says that it is well (RESTART_RESET=1): earlier failures are forgotten. */
void lifecycle_forgive(struct lifecycle *lc);

/* The state may have a main process. */
bool lifecycle_has_process(enum lifecycle_state state);
/* At rest: nothing will happen without an order. */
bool lifecycle_settled(enum lifecycle_state state);
/* The eight names people see: stopped waiting starting running stopping backoff exited failed. */
const char *lifecycle_state_name(enum lifecycle_state state);
/* supervisord's name of it: "FATAL" for failed. */
const char *lifecycle_supervisord_name(enum lifecycle_state state);
/* "pre-start", "cleaning", ...: the exact one, for why and the log. */
const char *lifecycle_detail_name(enum lifecycle_state state);
const char *lifecycle_event_name(enum lifecycle_event event);

#endif
