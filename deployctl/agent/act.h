/* act.h - one request and its turn.
 *
 * The verbs live in *_verbs.c, switch.c, watch.c, hook.c, look.c; agent.c has their table.  A
 * verb's function gets an act and ends it, now or later, with act_ok or act_fail, exactly one of
 * them, after which the act is gone.
 */
#ifndef DEPLOYCTL_AGENT_ACT_H
#define DEPLOYCTL_AGENT_ACT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct talk;
struct act;
struct verb {
    const char *name;
    void (*run)(struct act *act);
    bool at_once; /* answered while another act is under way */
    bool fenced;  /* needs lock, fence and the right token */
};

struct act {
    struct act *next;
    struct talk *talk;
    const struct verb *verb;
    json_t *request;
    int64_t number;
    bool waits; /* for its manifest (stage) */
    void *data; /* the verb's own */
    /* A piece of work on a thread of the pool. */
    int (*work)(struct act *act, struct err *err);
    void (*after)(struct act *act, int rc, const struct err *err);
    int rc;
    struct err err;
};

/* Ends the act.  Steals answer / extra (NULL = {}). */
void act_ok(struct act *act, json_t *answer);
void act_fail(struct act *act, const struct err *err, json_t *extra);
/* Runs `work` on a thread, then `after` on the loop. */
void act_work(struct act *act, int (*work)(struct act *act, struct err *err),
              void (*after)(struct act *act, int rc, const struct err *err));

/* Takes its turn, at once or behind the others; ERR_LIMIT when too many wait. */
int act_queue(struct act *act, struct err *err);
/* Begins the next one when none is under way. */
void act_begin_next(struct talk *talk);
/* The stage whose manifest is still arriving, or NULL. */
struct act *act_waiting_stage(const struct talk *talk);
/* None that waits is begun any more. */
void act_drop_queue(struct talk *talk);

#endif
