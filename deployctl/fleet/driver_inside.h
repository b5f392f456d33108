/* driver_inside.h - what the parts of the driver share; nobody else includes this. */
#ifndef DEPLOYCTL_FLEET_DRIVER_INSIDE_H
#define DEPLOYCTL_FLEET_DRIVER_INSIDE_H

#include "deployctl/fleet/driver.h"
#include "deployctl/fleet/session.h"
#include "deployctl/fleet/source.h"
#include "deployctl/fleet/upload.h"
#include "deployctl/plan/rounds.h"
#include "deployctl/plan/verdict.h"
#include "deployctl/plan/window.h"
#include "deployctl/wire/children.h"
#include "deployctl/wire/sign.h"

enum {
    DRIVER_TOKEN_MAX = OPENED_NAME_MAX + 24,
    DRIVER_SAY_MAX = 640,
    DRIVER_SAMPLE_ERROR_MAX = 240,
    DRIVER_UNCOUNTED_MAX = 5, /* hosts that are warned of one by one */
    DRIVER_QUICK_MS = 60000,  /* for acts that only touch small files */
    DRIVER_SLACK_MS = 120000,
    DRIVER_PRUNE_MS = 600000,
    DRIVER_VERIFY_MS = 3600000, /* every content is read, by a disk that is busy */
    DRIVER_REJOIN_MS = 20000,   /* how long a lost connection is tried again */
    DRIVER_REJOIN_EVERY_MS = 1000,
    DRIVER_POLL_MS = 500,
    DRIVER_PROGRESS_MS = 200, /* between two reports of bytes, or of the bake */
    DRIVER_FRAME_MS = 100,    /* news are followed by a tick so soon */
    DRIVER_CLOCK_MS = 1000,   /* with nothing new: only the clock goes on */
    DRIVER_UNLOCK_MS = 2000,
    DRIVER_ROUND_MS = 3000, /* how long counts of a round are waited for */
    DRIVER_SERVER_MAX = 600,
    DRIVER_WATCH_MS = 250, /* how often an agent looks at the health of its host */
};

enum driver_link {
    DRIVER_LINK_NONE,    /* not tried yet */
    DRIVER_LINK_OPENING, /* ssh is being spoken to */
    DRIVER_LINK_JOINING, /* connected again: look, lock and fence before anything else */
    DRIVER_LINK_OPEN,
    DRIVER_LINK_BROKEN, /* will be tried again */
    DRIVER_LINK_GONE,
};
/* A request that was sent before its turn. */
enum driver_early { DRIVER_EARLY_NONE, DRIVER_EARLY_ASKED, DRIVER_EARLY_ANSWERED };
struct driver_host {
    struct driver *driver;
    const struct recipe_host *spec;
    size_t index;
    char port[8];
    enum driver_link link;
    struct session *session; /* NULL unless OPENING, JOINING or OPEN */
    struct loop_timer *retry;
    bool knocking; /* it counts in the window */
    struct window_guest guest;
    int64_t rejoin_end_ms;                    /* when a broken connection is given up */
    bool once;                                /* it answered LOOK */
    bool lock_wanted, fence_wanted, watching; /* to be had again when joining */
    bool record_asked;                        /* the record may be on the host, answered or not */
    struct err lock_err;                      /* why the lock was not had again */
    struct glance glance;
    enum driver_early early; /* the lock; with its answer */
    json_t *early_answer;    /* owned */
    struct err early_err;
    enum driver_early ahead; /* the record */
    json_t *ahead_record;    /* owned; what was sent */
    bool looked_early;       /* asked before the host has said hello */
    bool unlocked;           /* asked to let go, on this connection */
    struct upload *upload;
    bool uploaded; /* it has ended before its turn, so */
    struct upload_result upload_result;
    struct err upload_err;
    enum rollout_act act; /* under way */
    int step;             /* of the act */
    int64_t act_ms;       /* when it began */
    bool request_told;
    bool parked;         /* its connection was closed because it is not needed now */
    bool refused;        /* a step of the act failed, it goes on to clean up */
    bool reserved;       /* STAGE: it has taken the room for what it lacks */
    const char *from;    /* in the arena; NULL = first release */
    const char *metrics; /* where its counts are; NULL = nowhere */
    const char *zone;    /* in the arena; NULL = it is in none, or there are none */
    bool counted;        /* it is on one side of the verdict */
    bool sampling;       /* its counts were asked for and are not there yet */
    bool sampled;        /* `sample` is of this round */
    int64_t act_round;   /* the round it was asked in */
    struct rounds_sample sample;
    struct rounds_host rounds;
    char sample_error[DRIVER_SAMPLE_ERROR_MAX]; /* why there are no counts; "" = none */
    char error[DRIVER_SAY_MAX];
    json_t *history; /* owned */
    int64_t damaged;
    size_t ready_told, instances_told; /* of its health */
    bool lacks_agent;                  /* the login worked, and there is no deployctl */
    int64_t skew_ms;                   /* its clock less ours, when it was looked at */
    size_t manifest_at;                /* DIFF: how much of SOURCE's manifest was sent */
    bool manifest_wanted;
    json_t *found; /* owned; the answer to an order that only looks */
    uint64_t probes, bytes_sent;
};

struct driver {
    struct loop *loop;
    struct children *children;
    const struct recipe *recipe;
    struct driver_order order;
    driver_news_fn *news;
    void *context;
    struct arena arena;
    struct rollout rollout;
    struct driver_host *hosts;
    size_t count;
    struct window window; /* of logins */
    struct loop_timer *timer, *progress, *poll, *rounds;
    struct loop_signal *interrupt, *terminate, *resized;
    int64_t tick_ms;           /* when the next tick is due */
    struct loop_watch *input;  /* while a question is open */
    struct sign_key *sign_key; /* NULL = releases are not signed */
    struct source *source;
    bool all_reserved;   /* every host has been asked: bytes may travel */
    struct turns *turns; /* [rollout] rate_limit; NULL = none */
    bool source_done, source_failed;
    struct err source_err;
    bool deciding, decided, asked, question_open, left;
    bool requested;        /* pause or abort was left for a live holder */
    size_t polls;          /* hosts that are being looked at again */
    size_t unlocking;      /* hosts that have not said yet that they let go */
    int64_t unlock_end_ms; /* when that is not waited for any more; 0 = not begun */
    bool request_told;
    bool refused;                /* DECIDE said no */
    struct rollout_event *queue; /* owned; facts for the next turn */
    size_t nqueue, queue_cap;
    enum rollout_stage told_stage;
    const char *told_group; /* NULL = none */
    int64_t began_ms, stage_ms;
    int signals;
    json_t *record;       /* owned; what the record said last */
    struct opened opened; /* the open rollout that was found; json NULL = none */
    char id[MANIFEST_ID_MAX], digest[MANIFEST_HEX_MAX];
    char name[OPENED_NAME_MAX]; /* of the rollout */
    char token[DRIVER_TOKEN_MAX];
    char started[OPENED_TIME_MAX];
    const char *kind; /* for the record */
    int64_t epoch, hold_for_ms, ready_timeout_ms;
    char reason[DRIVER_SAY_MAX]; /* of the verdict */
    struct evidence evidence;    /* of the recipe, or of the record */
    struct verdict verdict;
    bool judging;      /* the bake is on, and counts are read */
    bool judged;       /* they were: `verdict` is what they said */
    bool checked;      /* whether the counts can be read was asked before the release */
    size_t uncounted;  /* warnings that were told of hosts without counts */
    size_t round_left; /* hosts that this round waits for; 0 = none is open */
    int64_t round_ms;  /* when it began */
};

/* driver.c */
void driver_fact(struct driver *driver, const struct rollout_event *event); /* for the next turn */
void driver_answered(struct driver_host *host, enum rollout_answer answer);
void driver_tell(struct driver *driver, enum driver_news_kind kind, const struct driver_host *host,
                 const char *word, const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* Keeps the text as the host's error and tells it. */
void driver_blame(struct driver_host *host, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Errors of a session begin with the host's name, which is shown anyway. */
const char *driver_without_name(const struct driver_host *host, const char *text);
/* Tells how many instances of the host are ready, if that has changed. */
void driver_health(struct driver_host *host, size_t ready, size_t instances);
void driver_bytes(struct driver_host *host, uint64_t done, uint64_t total);
void driver_stop(struct driver *driver, enum rollout_outcome outcome); /* DECIDE says no */
void driver_go(struct driver *driver);                                 /* DECIDE says yes */

/* driver_link.c */
void driver_connect(struct driver_host *host);
void driver_link_retry(void *context); /* a driver_host's timer */
/* CONTRACT.md: once all hosts hold bytes and record, no more than `parallel` connections stay open;
 * the record keeps other rollouts out.  A parked host is connected to again, locked and fenced,
 * when something is asked of it. */
void driver_link_park(struct driver *driver);

/* driver_acts.c: what a host is asked, step by step */
void driver_acts_begin(struct driver_host *host, enum rollout_act act);
void driver_acts_again(struct driver_host *host);      /* after a broken connection */
void driver_acts_look_again(struct driver_host *host); /* it was moving when it was looked at */
void driver_acts_event(struct driver_host *host, const char *name, const json_t *event);
json_t *driver_look_params(const struct driver_host *host); /* of the verb look; new reference */
void driver_acts_ask(struct driver_host *host, const char *verb, json_t *params,
                     int64_t deadline_ms, session_answer_fn *fn);

void driver_acts_early(struct driver_host *host); /* what needs no hello of the host */
/* How a refusal counts; its text becomes the host's error. */
enum rollout_answer driver_acts_refusal(struct driver_host *host, const struct err *err);

/* driver_lock.c */
void driver_lock_early(struct driver_host *host);      /* with the first look, if nobody is asked */
void driver_lock_act(struct driver_host *host);        /* its turn */
void driver_lock_forget(struct driver_host *host);     /* the connection is gone */
void driver_lock_release(struct driver_host *host);    /* is waited for at the end */
void driver_lock_release_early(struct driver *driver); /* those whose turn never came */

/* driver_record.c */
/* Behind a fence (sealed NULL), or behind the seal of this release. */
void driver_record_ahead(struct driver_host *host, const char *sealed);
void driver_record_act(struct driver_host *host); /* its turn */
void driver_record_forget(struct driver_host *host);

/* driver_drain.c: hosts leave the traffic while their services restart */
bool driver_drain_on(const struct driver *driver);
bool driver_drain_unknown(const struct driver_host *host); /* its agent is too old to drain */
int64_t driver_drain_most_ms(const struct driver *driver); /* on top of a restart */
/* "drain" of switch and revert, when there is anything to do.  Steals env, of the commands. */
void driver_drain_put(const struct driver_host *host, json_t *params, json_t *env);
void driver_drain_told(struct driver_host *host, const json_t *answer); /* their answers */

/* driver_reserve.c: room on all hosts first */
void driver_reserve_told(void *host);             /* it has room for what it lacks */
void driver_reserve_check(struct driver *driver); /* at the end of each turn */

/* driver_decide.c: what an order means for the fleet as it was found */
void driver_decide(struct driver *driver);
/* What it is made of, used by more than one order: */
void driver_decide_describe(struct driver *driver); /* what the machine must know of each host */
const char *driver_decide_fleets(const struct driver *driver); /* the release most hosts run */
bool driver_decide_reached(const struct driver *driver, size_t host);
bool driver_decide_idle(const struct driver *driver);  /* every reachable host runs it already */
bool driver_decide_unconfirmed(struct driver *driver); /* told, and the end of it */
void driver_decide_open(struct driver *driver);        /* says who has the open rollout; the end */
void driver_decide_fault(struct driver *driver, enum rollout_outcome outcome, const char *text);
void driver_decide_ask(struct driver *driver, const char *question);
bool driver_decide_asks(const struct driver *driver); /* is there somebody to answer it? */
void driver_decide_rollback(struct driver *driver);   /* driver_rollback.c */
/* Is `id` what people mean by `wanted`: an id, the beginning of one, a number, a digest? */
bool driver_named_so(const char *id, const char *wanted);

/* driver_about.c: what is known of a release besides its contents */
/* What goes along with it to the hosts: its signature, or the one it was given before. */
json_t *driver_about(const struct driver *driver); /* new reference */

/* Says what lies between the fleet as it is and driver->id and cannot be undone; true = it stands
 * in the way, for nobody has said --yes. */
bool driver_about_blocks(struct driver *driver);
/* The same of the open rollout, which goes back to before driver->opened.id. */
bool driver_about_blocks_undo(struct driver *driver);
/* What a rollback to driver->id brings back, and what it does not. */
void driver_about_rollback(struct driver *driver);

/* driver_inspect.c: the orders that look at releases on the hosts */
void driver_inspect_verify(struct driver *driver);
void driver_inspect_diff(struct driver *driver);
void driver_inspect_room(struct driver_host *host); /* its queue has drained */

/* driver_freeze.c: hosts on which nothing new is released */
void driver_freeze_order(struct driver *driver);
bool driver_freeze_stands(struct driver *driver); /* it was told, and is the end of the order */
/* Tells the agent what it needs to judge a `stage` or `switch`. */
void driver_freeze_put(const struct driver *driver, json_t *params);

/* driver_verdict.c: counts of canary and rest, while the canary bakes */
void driver_verdict_stage(struct driver *driver); /* the stage has changed */
void driver_verdict_round(void *context);         /* the driver's timer */
/* Asks every host that runs something once whether its counts can be read, warns of those that
 * cannot, then decides again.  False: there is nothing to ask, or it was asked. */
bool driver_verdict_check(struct driver *driver);

/* driver_resume.c: the orders that concern an open rollout */
void driver_resume_decide(struct driver *driver);
bool driver_resume_find(struct driver *driver, struct err *err); /* fills driver->opened */
void driver_resume_poll(struct driver *driver);
const struct driver_host *driver_resume_holder(const struct driver *driver); /* or NULL */

#endif
