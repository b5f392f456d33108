/* rollout.h - what a fleet should do next on its way to a release, decided without the network.
 *
 * The caller feeds in facts (a host answered, a gate fired, a connection is gone, time, an order
 * of the operator) and carries out the acts that come back, each for one host.  Nothing here
 * reads a clock or allocates after rollout_init, so a test can tell thousands of stories of
 * simulated hosts to the same machine that runs production.
 *
 *   looking -> deciding -> locking -> fencing -> staging -> recording
 *           -> canary -> baking -> promoting -> batches -> closing -> over
 *   and from any of them: cleaning (nothing was switched), unwinding, pausing.
 *
 * Hosts may be in groups that follow one another: the canary is of the first one, and no host of a
 * group is asked to switch while one of a group before it still is to, or waits to be confirmed.
 * On the way back, in a rollback and in every unwinding, groups go in the reverse order.
 *
 * The promises: nothing is switched before every host holds the bytes and the record; at most
 * limits.unavailable healthy hosts are out at the same time; a canary that a gate or the verdict
 * judged bad ends in unwinding everything that was switched; when the machine is over, every host
 * it reached runs wholly one release, and the outcome names which.
 */
#ifndef DEPLOYCTL_PLAN_ROLLOUT_H
#define DEPLOYCTL_PLAN_ROLLOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/plan/verdict.h"

enum {
    ROLLOUT_NOBODY = SIZE_MAX >> 1,
    ROLLOUT_HELD_RETRY_MS = 250,
    ROLLOUT_HELD_MAX_MS = 25000,
    ROLLOUT_GROUPS_MAX = 32
};

enum rollout_kind {
    ROLLOUT_RELEASE,  /* new bytes, canary, batches */
    ROLLOUT_ROLLBACK, /* no bytes, no canary, no lease; a host that fails stays and is named */
    ROLLOUT_CATCH_UP, /* hosts that are behind: bytes, batches, no canary */
    ROLLOUT_RESUME,   /* an open rollout goes on where it stopped */
    ROLLOUT_PROMOTE,  /* an open rollout goes on; its canary counts as baked */
    ROLLOUT_ABORT,    /* an open rollout is unwound */
    ROLLOUT_PARK,     /* an open rollout is paused: leases become hold_for */
};
enum rollout_stage {
    ROLLOUT_LOOKING,
    ROLLOUT_DECIDING,
    ROLLOUT_LOCKING,
    ROLLOUT_FENCING,
    ROLLOUT_STAGING,
    ROLLOUT_RECORDING,
    ROLLOUT_CANARY,
    ROLLOUT_BAKING,
    ROLLOUT_PROMOTING,
    ROLLOUT_BATCHES,
    ROLLOUT_CLOSING,
    ROLLOUT_CLEANING,  /* nothing was switched: remove what was staged, let go */
    ROLLOUT_UNWINDING, /* bring everything that was switched back */
    ROLLOUT_PAUSING,   /* leave it open: give leases time, or bring unconfirmed hosts back */
    ROLLOUT_OVER,
    ROLLOUT_NSTAGES
};
enum rollout_act {
    ROLLOUT_ACT_NONE,
    ROLLOUT_ACT_LOOK,
    ROLLOUT_ACT_DECIDE, /* for nobody: the caller looks at all it knows and answers */
    ROLLOUT_ACT_LOCK,
    ROLLOUT_ACT_UNLOCK, /* no answer is waited for */
    ROLLOUT_ACT_FENCE,
    ROLLOUT_ACT_STAGE,
    ROLLOUT_ACT_RECORD,
    ROLLOUT_ACT_SWITCH, /* answered OK also means: its health is watched from now on */
    ROLLOUT_ACT_EXTEND, /* the lease, by confirm_within */
    ROLLOUT_ACT_HOLD,   /* the lease, by hold_for */
    ROLLOUT_ACT_CONFIRM,
    ROLLOUT_ACT_UNDO,  /* back to what the host came from, whether confirmed or not */
    ROLLOUT_ACT_CLEAN, /* unstage, close the record if there is one */
    ROLLOUT_ACT_CLOSE, /* mark good or bad, close the record with the outcome, prune */
    ROLLOUT_NACTS
};
enum rollout_answer {
    ROLLOUT_OK,
    ROLLOUT_REFUSED,   /* the host could not; what it runs is as before */
    ROLLOUT_GONE_BACK, /* SWITCH: it was not ready in time and went back by itself */
    ROLLOUT_BROKEN,    /* SWITCH: it could not go back either, or was told to stay */
    ROLLOUT_HELD,      /* LOCK: somebody else has it */
    ROLLOUT_UNSURE,    /* SWITCH, EXTEND, HOLD, CONFIRM: the host answers, what decides there does
                        * not; it may have been done, or may be done yet */
    ROLLOUT_STALE,     /* a newer rollout fenced us off */
    ROLLOUT_STOP,      /* DECIDE: do not begin; event.outcome says how it ends */
};
enum rollout_host_state {
    ROLLOUT_HOST_OLD,       /* runs what it came from */
    ROLLOUT_HOST_SWITCHING, /* asked, not answered */
    ROLLOUT_HOST_NEW,       /* runs the release, its lease is running */
    ROLLOUT_HOST_CONFIRMED, /* runs the release for good */
    ROLLOUT_HOST_UNDOING,
    ROLLOUT_HOST_UNDONE,  /* was new, runs what it came from again */
    ROLLOUT_HOST_REFUSED, /* could not take part; runs what it came from */
    ROLLOUT_HOST_LOST,    /* unreachable; runs what it came from, now or when its lease ends */
    ROLLOUT_HOST_STRAY,   /* unreachable, broken or stuck; not on the side the others end on */
    ROLLOUT_NHOSTSTATES
};
enum rollout_outcome {
    ROLLOUT_RUNNING,
    ROLLOUT_DONE,
    ROLLOUT_NOTHING,     /* nothing to do */
    ROLLOUT_BAD,         /* judged bad by a gate, everything is back */
    ROLLOUT_FAILED,      /* failed for another reason, everything is back */
    ROLLOUT_UNREACHABLE, /* too many hosts away; nothing changed or everything is back */
    ROLLOUT_LOCKED,
    ROLLOUT_PAUSED,    /* open */
    ROLLOUT_HELD_OPEN, /* open: the canary waits for promote */
    ROLLOUT_ABORTED,
    ROLLOUT_INTERRUPTED, /* before any switch */
    ROLLOUT_INCOMPLETE,  /* hosts are strays: they are named */
    ROLLOUT_CONFIG,      /* DECIDE found the order impossible */
    ROLLOUT_NOUTCOMES
};
enum rollout_event_kind {
    ROLLOUT_EV_START,
    ROLLOUT_EV_ANSWER,  /* host, act, answer */
    ROLLOUT_EV_HEALTH,  /* host, ready */
    ROLLOUT_EV_GATE,    /* host: a hard gate fired */
    ROLLOUT_EV_BACK,    /* host: its lease ran out or it went back by itself */
    ROLLOUT_EV_VERDICT, /* verdict: what the counts say of the canary by now */
    ROLLOUT_EV_LOST,    /* host: the connection is gone for good; its act is not answered */
    ROLLOUT_EV_STALE,   /* host: a newer rollout has fenced us off there; all is theirs now */
    ROLLOUT_EV_TIME,
    ROLLOUT_EV_INTERRUPT, /* orders of the operator */
    ROLLOUT_EV_PAUSE,
    ROLLOUT_EV_ABORT,
};
struct rollout_event {
    enum rollout_event_kind kind;
    size_t host;
    enum rollout_act act;
    enum rollout_answer answer;
    enum rollout_outcome outcome; /* with ROLLOUT_STOP */
    enum verdict_kind verdict;
    bool ready;
};

struct rollout_group {
    const char *name; /* borrowed */
    size_t batch, unavailable, undo_unavailable;
};
struct rollout_limits {
    size_t canary; /* hosts; 0 = none */
    size_t batch;
    size_t unavailable;
    size_t undo_unavailable; /* of healthy hosts that stop before they start */
    size_t ngroups;          /* 0 = all hosts are one; else these three are of each group: */
    struct rollout_group groups[ROLLOUT_GROUPS_MAX]; /* in the order in which they switch */
    bool last_first;                                 /* a rollback: the last group goes first */
    size_t failed, unreachable;
    int64_t bake_ms, healthy_for_ms, progress_deadline_ms, confirm_within_ms;
    bool hold;             /* after the bake: leave, wait for promote */
    bool pause_on_failure; /* instead of unwinding */
    bool verdict;          /* the bake must end with VERDICT_GOOD, else it was inconclusive */
    bool promote_open;     /* an inconclusive canary goes on instead of pausing */
    bool stage_first;      /* ROLLBACK: some hosts have to be sent the release before */
    bool by_zone;          /* no batch has hosts of two zones, and zones follow one another */
};
/* So many hosts of each kind; kept up to date host by host, for a fleet is large and news are many.
 */
enum rollout_fact {
    ROLLOUT_FACT_PENDING,
    ROLLOUT_FACT_AWAY, /* or broken before */
    ROLLOUT_FACT_FAILED,
    ROLLOUT_FACT_BAD,
    ROLLOUT_FACT_BAD_CANARY,
    ROLLOUT_FACT_UNDOING,
    ROLLOUT_FACT_OUT,
    ROLLOUT_FACT_LEASED, /* NEW and reachable */
    ROLLOUT_NFACTS
};
struct rollout_host {
    const char *name; /* borrowed */
    enum rollout_host_state state;
    enum rollout_act pending; /* asked and not answered */
    bool away;                /* not reachable (any more) */
    bool broken;              /* could not take part when it was looked at: counts as unreachable */
    bool locked, fenced, staged, recorded;
    bool canary;
    bool named;       /* the operator named it as a canary */
    bool was_healthy; /* before: only then does it count as unavailable */
    bool overlap;     /* its service starts the new instance before it stops the old one */
    bool skip;        /* runs the right release already: never switched */
    bool ready;
    bool bad;             /* judged by a gate */
    bool failed;          /* counts against limits.failed */
    bool held;            /* LOCK was refused: try again */
    bool held_over;       /* its lease was set to hold_for */
    bool touched;         /* a switch was asked for, or it was found on the release */
    bool maybe_confirmed; /* a confirm was asked for */
    bool undo_tried, paced, cleaned;
    unsigned facts;         /* bits: what it is counted as */
    size_t group;           /* among limits.groups */
    size_t zone;            /* the first host of its zone; 0 = all are in one */
    size_t zone_canaries;   /* of the first host of a zone: so many were chosen there */
    size_t batch;           /* 1.. ; 0 = canary or not yet */
    int64_t ready_since_ms; /* -1 = not ready */
    int64_t extend_at_ms;
};
struct rollout_order {
    size_t host; /* ROLLOUT_NOBODY for DECIDE */
    enum rollout_act act;
};
struct rollout {
    enum rollout_kind kind;
    enum rollout_stage stage;
    enum rollout_outcome outcome; /* RUNNING until over; while closing: what it will be */
    struct rollout_limits limits;
    struct rollout_host *hosts; /* owned */
    size_t count;
    size_t culprit; /* the host that decided it, or ROLLOUT_NOBODY */
    size_t batch;   /* present batch, 1.. */
    size_t group;   /* whose turn it is, forward or back; ROLLOUT_NOBODY = nobody's yet */
    bool interrupted, pause_asked, abort_asked;
    bool stalled; /* the progress deadline decided it */
    enum verdict_kind verdict;
    bool inconclusive; /* the bake ended without a verdict */
    bool deciding;
    size_t facts[ROLLOUT_NFACTS];
    size_t canary_group; /* 0 = the first, or none was chosen */
    size_t first_leased; /* no host before it is */
    int64_t lease_ms;    /* no lease is to be extended before; -1 = there is none */
    size_t next_old;     /* of the present batch: no host before it waits for its switch */
    bool swept;          /* all of the batch that need not wait were switched */
    size_t absent;       /* hosts the last record was written without */
    int64_t now_ms, bake_end_ms, progress_ms, lock_retry_ms, lock_end_ms;
    struct rollout_order *orders; /* owned; what to do now, valid until the next step */
    size_t norders, cap;
};

/* names: `count` pointers that outlive the machine, in rollout order. */
int rollout_init(struct rollout *rollout, enum rollout_kind kind, size_t count,
                 const char *const *names, const struct rollout_limits *limits, struct err *err);
void rollout_done(struct rollout *rollout); /* twice is fine */

/* Applies one event at the time now_ms (monotonic, never backwards); afterwards orders[0..norders)
 * are to be carried out.  Each act is answered once with ROLLOUT_EV_ANSWER (or by
 * ROLLOUT_EV_LOST), except UNLOCK.  News that make no sense at the moment change nothing. */
void rollout_step(struct rollout *rollout, const struct rollout_event *event, int64_t now_ms);
/* More hosts are missing already than may: whatever the others answer, it is given up before
 * anything is switched. */
bool rollout_hopeless(const struct rollout *rollout);
/* When ROLLOUT_EV_TIME is due next; -1 = it waits for events only. */
int64_t rollout_next_ms(const struct rollout *rollout);
/* For RESUME, PROMOTE, ABORT and PARK, before DECIDE is answered: what a host was found to run.
 * `canary` as in the record; state OLD, NEW, CONFIRMED, LOST or STRAY (both: not reached, so it may
 * be on either side; LOST when it is to be left there if all goes well). */
void rollout_found(struct rollout *rollout, size_t host, bool canary,
                   enum rollout_host_state state);

/* Once, in the place of DECIDE or of a run: chooses the canary, and gives every host that would be
 * switched its batch, as if all went well.  Such a machine only shows what would be. */
void rollout_foresee(struct rollout *rollout);

/* The stage that follows when all hosts are fenced. */
enum rollout_stage rollout_behind_fence(const struct rollout *rollout);
size_t rollout_counts(const struct rollout *rollout, enum rollout_host_state state);
size_t rollout_out(const struct rollout *rollout); /* healthy hosts that are out right now */
/* CONTRACT.md: 0 to 7, 130.  A failure without a verdict is 4 when nothing was switched, else 1. */
int rollout_exit_code(const struct rollout *rollout);

#endif
