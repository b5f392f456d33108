/* release.h - what one release set should do next, decided without the OS.
 *
 * A set is some services with one folder of releases, hence a row of instances in the order in
 * which they are replaced.  The caller feeds in facts (orders, "instance 3 is ready", the time) and
 * then asks release_next() for one act after another until there is none.  The machine is level
 * triggered: facts only note what is so, release_next() looks at all of it; so a fact may also
 * arrive while an act is being carried out.  No clock, no heap, no I/O.
 *
 *   NONE ---switch---> SWITCHING --all ready--> STEADY                 (no lease: good at once)
 *                         |   |                   ^  |
 *                         |   +--with a lease--> UNCONFIRMED --confirm--> STEADY
 *                         |                         |
 *              not ready, failed             lease ran out, revert
 *                         |                         |
 *                         +------> REVERTING <------+        every instance goes back, then
 *                         |            +--> STEADY (what was before), or NONE (first release)
 *                         +-- on_fail=stay --> FAILED
 *
 * struct release_pin is all that must survive: it is written (RELEASE_ACT_COMMIT) before anything
 * that depends on it is done, and a machine that starts from it carries on or undoes.
 */
#ifndef SUPERVISOR_MACHINE_RELEASE_H
#define SUPERVISOR_MACHINE_RELEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    RELEASE_ID_MAX = 32, /* with the NUL; deployctl makes 15 characters */
    RELEASE_TOKEN_MAX = 128,
    RELEASE_REASON_MAX = 256,
    RELEASE_GOOD_MAX = 32,
};

/* True for [0-9]{6,}-[0-9a-f]{8,} of at most RELEASE_ID_MAX - 1 characters. */
bool release_id_valid(const char *id);
/* "EPOCH:ROLLOUT" -> EPOCH, or -1 when it is not of that form. */
int64_t release_token_epoch(const char *token);

enum release_phase {
    RELEASE_NONE,        /* nothing pinned: the services wait for a release */
    RELEASE_STEADY,      /* `id` is pinned and confirmed */
    RELEASE_SWITCHING,   /* instances are being replaced, `from` -> `id` */
    RELEASE_UNCONFIRMED, /* all are ready on `id`; undone at `deadline_ms` unless confirmed */
    RELEASE_REVERTING,   /* instances go back from `undone` to `id` ("" = all stop) */
    RELEASE_FAILED,      /* `id` is pinned, did not become ready, and was told to stay */
    RELEASE_NPHASES
};
const char *release_phase_name(enum release_phase phase);

enum release_result {
    RELEASE_RESULT_NONE,
    RELEASE_RESULT_SWITCHED,
    RELEASE_RESULT_REVERTED,
    RELEASE_RESULT_FAILED,
    RELEASE_NRESULTS
};
const char *release_result_name(enum release_result result); /* "switched", ... */

/* How the last switch ended; the answer for whoever asks again. */
struct release_last {
    enum release_result result;
    char id[RELEASE_ID_MAX], from[RELEASE_ID_MAX];
    char token[RELEASE_TOKEN_MAX];
    char reason[RELEASE_REASON_MAX]; /* "" for switched */
};

struct release_pin {
    enum release_phase phase;
    char id[RELEASE_ID_MAX];     /* what a fresh start runs; "" = none */
    char from[RELEASE_ID_MAX];   /* what an undo returns to; "" = none (first release) */
    char undone[RELEASE_ID_MAX]; /* REVERTING: the one being left */
    bool undoable;               /* `from` is meant: the present `id` came by a switch */
    bool stay;                   /* on_fail=stay */
    bool again; /* SWITCHING to what was STEADY already: ends there whatever comes */
    char token[RELEASE_TOKEN_MAX];   /* of the holder, "" = by hand */
    int64_t epoch;                   /* highest seen */
    int64_t lease_ms;                /* confirm_within as last given, 0 = none */
    int64_t ready_ms;                /* ready_timeout of the whole switch */
    int64_t deadline_ms;             /* SWITCHING, UNCONFIRMED: when it ends, else 0 */
    char reason[RELEASE_REASON_MAX]; /* why it failed, or goes back */
    struct release_last last;
    char good[RELEASE_GOOD_MAX][RELEASE_ID_MAX]; /* newest first */
    size_t ngood;
};

/* One instance, as told by facts.  Zeroed = nothing known. */
struct release_member {
    char id[RELEASE_ID_MAX]; /* what it was last ready on */
    bool ready;
    bool gave_up;  /* failed after being asked in this pass, where nothing is given up for it */
    bool righted;  /* was put right in this pass (once is enough) */
    unsigned pass; /* the pass in which it was last asked for */
};

struct release {
    struct release_pin pin;
    struct release_member *members; /* the caller's, in the order of replacing */
    size_t nmembers;
    int64_t step_ms; /* how long one instance may take on the way back; set by the caller */

    /* Below: the machine's own.  All zero at first. */
    bool commit, links, arm, answer; /* acts that are due */
    bool baking;                     /* RELEASE_ACT_BAKE was given */
    bool rush;                       /* stay, out of time: replace the rest without waiting */
    bool stop_asked, stopped;
    bool ask_all;             /* what is known of members is not trusted: each is asked */
    int64_t step_deadline_ms; /* of the instance under way on the way back */
    unsigned pass;
};

enum release_act_kind {
    RELEASE_ACT_NONE,
    RELEASE_ACT_COMMIT,   /* write `pin` durably */
    RELEASE_ACT_LINKS,    /* derive `current` and `previous` from `pin` */
    RELEASE_ACT_ARM,      /* one timer: release_time() at `at_ms`; 0 = disarm */
    RELEASE_ACT_REPLACE,  /* make `member` run `id`; release_ready() or release_down() follows */
    RELEASE_ACT_STOP_ALL, /* first release undone; release_stopped() follows */
    RELEASE_ACT_BAKE,     /* probe faster from now on (`on`) or as usual */
    RELEASE_ACT_ANSWER,   /* all who wait for the end of the switch get pin.last */
    RELEASE_NACTS
};
struct release_act {
    enum release_act_kind kind;
    size_t member;
    const char *id; /* valid until the next call */
    int64_t at_ms;
    bool on;
};

/* The next act, or false when there is nothing to do until the next fact. */
bool release_next(struct release *release, int64_t now_ms, struct release_act *ret);

struct release_order {
    const char *id;
    const char *token; /* "" = by hand: never fenced, holds nothing */
    int64_t lease_ms;  /* 0 = none: good as soon as all are ready */
    int64_t ready_ms;
    bool stay;
};
/* Orders.  1 = accepted, an ANSWER will follow; 0 = it is so already, the answer is pin.last;
 * or a negative err_code and nothing has changed: ERR_STALE names the holder.
 * The caller has validated id and token.  When `commit` is set after an order, a caller that cannot
 * write the pin puts back the copy of *release it made before, and refuses. */
int release_switch(struct release *release, const struct release_order *order, int64_t now_ms,
                   struct err *err);
/* Ends the lease; 0 also when it was confirmed before. */
int release_confirm(struct release *release, const char *id, const char *token, struct err *err);
/* A new lease of lease_ms from now on. */
int release_extend(struct release *release, const char *id, const char *token, int64_t lease_ms,
                   int64_t now_ms, struct err *err);
/* Undoes `id`, under way, unconfirmed, failed or confirmed. */
int release_revert(struct release *release, const char *id, const char *token, const char *reason,
                   struct err *err);
/* The n-th newest good release other than the pinned one, or NULL. */
const char *release_rollback_target(const struct release *release, size_t n);

/* Facts.  An instance that becomes ready on another id than the pinned one when nothing is under
 * way (an overlapped replacement that was called off too late) is put right, once in each pass. */
void release_ready(struct release *release, size_t member, const char *id);
/* It ended, lost its readiness or cannot be started; `reason` names it. */
void release_down(struct release *release, size_t member, const char *id, const char *reason);
void release_stopped(struct release *release); /* answer to STOP_ALL: nothing runs any more */
/* The time is now_ms; `reason` is used if something has run out. */
void release_time(struct release *release, int64_t now_ms, const char *reason);
/* Which member is being waited for, or nmembers. */
size_t release_waiting_for(const struct release *release);

enum release_start {
    RELEASE_CORE_RESTARTED, /* the instances live on and have been or will be told */
    RELEASE_FRESH,          /* nothing runs yet; the same boot as in the pin */
    RELEASE_REBOOTED,       /* nothing runs yet; another boot: deadlines mean nothing */
    RELEASE_NSTARTS
};
/* Once, after `pin` was filled from what was stored.  What was not seen ready, or not confirmed, is
 * undone before the first start unless it was told to stay; a core that comes back goes on. */
void release_begin(struct release *release, enum release_start start, int64_t now_ms);

/* What the link `previous` should show, "" = no link. */
const char *release_previous(const struct release_pin *pin);

#endif
