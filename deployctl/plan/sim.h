/* sim.h - hosts that are simulated, so that the machine of rollout.h can be tried without any.
 *
 * The hosts are as real ones promise to be: an unconfirmed release goes back when its lease runs
 * out, the same call again gives the same answer, and a lost answer may mean that the act happened
 * or that it did not.  Faults are scripted: so many of a kind, each at an act of a host.  Time is a
 * number; a rollout of a day takes as long as its decisions.
 *
 * What rollout.h promises is looked at from the hosts' side after every step; the first promise
 * that was broken is kept in `wrong`.  The tests and `deployctl simulate` both live on this.
 */
#ifndef DEPLOYCTL_PLAN_SIM_H
#define DEPLOYCTL_PLAN_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/plan/rollout.h"

enum {
    SIM_SWITCH_MS = 2000,
    SIM_SLOW_MS = 30000,
    SIM_HOLD_MS = 86400000,
    SIM_STEPS_PER_HOST = 2000, /* a story that is not over by then never will be */
    SIM_STEPS = 20000,
};

enum sim_fault_kind {
    SIM_FAULT_NONE,
    SIM_FAULT_REFUSE,
    SIM_FAULT_GONE_BACK,
    SIM_FAULT_BROKEN,      /* it switched, is broken and could not go back; an undo succeeds */
    SIM_FAULT_LOST_BEFORE, /* the connection goes, the act did not happen */
    SIM_FAULT_LOST_AFTER,  /* it happened, the answer is lost */
    SIM_FAULT_SLOW,        /* by delay_ms, or SIM_SLOW_MS */
    SIM_FAULT_HELD,
    SIM_FAULT_UNSURE,      /* nobody knows whether it happened: it did not */
    SIM_FAULT_UNSURE_DONE, /* it did */
    SIM_FAULT_GATE,        /* delay_ms after the act a gate fires */
    SIM_FAULT_DIES,        /* delay_ms after the act the connection goes */
    SIM_NFAULTS
};
struct sim_fault {
    enum sim_fault_kind kind;
    size_t host;
    enum rollout_act act;
    int64_t delay_ms;
    bool returns; /* a lost host is there again when it is asked to undo, or after a takeover */
    bool used;    /* each happens once */
};
struct sim_host {
    bool new, confirmed, lost;
    bool recorded;        /* the open record lies on it */
    bool named;           /* and any copy of the record names it */
    bool faulty;          /* a fault names it */
    int64_t lease_end_ms; /* while new and not confirmed */
    enum rollout_act act; /* under way */
    int64_t due_ms;
    enum rollout_answer answer;
    bool answer_lost;
    int64_t gate_ms, die_ms; /* -1 = never */
    int64_t next_ms;         /* the earliest of these; -1 = none */
    size_t place;            /* in the heap */
};

enum sim_news_kind {
    SIM_NEWS_STAGE,    /* or the group at it */
    SIM_NEWS_ASKED,    /* host, act */
    SIM_NEWS_ANSWERED, /* host, act, answer */
    SIM_NEWS_LOST,     /* host; act: what was under way */
    SIM_NEWS_GATE,
    SIM_NEWS_BACK, /* its lease ran out */
};
struct sim_news {
    enum sim_news_kind kind;
    size_t host;
    enum rollout_act act;
    enum rollout_answer answer;
};
struct sim;
typedef void sim_tell_fn(void *context, const struct sim *sim, const struct sim_news *news);

struct sim {
    struct rollout rollout;
    struct sim_host *hosts; /* owned */
    size_t *heap;           /* owned; hosts, the one whose turn is next first */
    size_t count;
    const char *const *names;
    int64_t now_ms, switch_ms;
    /* The story; set between sim_init and sim_run. */
    struct sim_fault *faults; /* borrowed */
    size_t nfaults;
    enum verdict_kind verdict;     /* what counts say while the canary bakes; OPEN: nothing */
    enum rollout_event_kind order; /* given at the order_at'th step; START = none */
    size_t order_at;
    size_t die_at; /* deployctl itself vanishes before this step; 0 = never */
    sim_tell_fn *tell;
    void *context;
    /* What came of it. */
    size_t steps, most_out, runs;
    size_t under_way;          /* healthy hosts that are switching */
    size_t switching, undoing; /* the group at it in this run; ROLLOUT_NOBODY = none yet */
    bool died;
    const char *wrong; /* the first promise that was broken; NULL = none */
    size_t wrong_host;
    bool decide, counted, taken_over;
    enum rollout_stage told;
    const char *told_group;
};

/* All hosts healthy, on the old release.  names outlive the simulation. */
int sim_init(struct sim *sim, enum rollout_kind kind, size_t count, const char *const *names,
             const struct rollout_limits *limits, struct err *err);
void sim_done(struct sim *sim);
/* To its end, or to the step at which deployctl dies.  Then the leases do the rest, unless the end
 * left the rollout open: sim_settle() is for that. */
void sim_run(struct sim *sim);
/* From elsewhere, gap_ms later: RESUME, PROMOTE, ABORT or PARK what was left open.  False when no
 * host has the record, so that there is nothing to go on with and nothing was changed. */
bool sim_takeover(struct sim *sim, enum rollout_kind kind, int64_t gap_ms);
/* Every lease that still runs ends. */
void sim_settle(struct sim *sim);
size_t sim_new(const struct sim *sim); /* hosts that run the release */
/* NULL when the fleet is where the outcome says it is and every budget was kept; else what is
 * wrong.  After sim_settle. */
const char *sim_wrong(const struct sim *sim);
/* As sim_wrong when nobody could take over: nothing was switched, or all was closed. */
const char *sim_abandoned(const struct sim *sim);

#endif
