/* session.h - one conversation: its state, and the acts (requests) in it.
 *
 * The verbs live in *_verbs.c, switch.c, watch.c, hook.c, look.c; agent.c has the table and the
 * loop.  A verb's function gets an act and ends it, now or later, with act_ok or act_fail, exactly
 * one of them, after which the act is gone.
 */
#ifndef DEPLOYCTL_AGENT_SESSION_H
#define DEPLOYCTL_AGENT_SESSION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/agent/host.h"
#include "deployctl/agent/journal.h"
#include "deployctl/agent/lock.h"
#include "deployctl/agent/record.h"
#include "deployctl/agent/stage.h"
#include "deployctl/agent/super.h"
#include "deployctl/wire/children.h"
#include "io/loop.h"
#include "io/stream.h"

enum { SESSION_TOKEN_MAX = 160, SESSION_QUEUE_MAX = 256 };

struct act;
struct verb {
    const char *name;
    void (*run)(struct act *act);
    bool at_once; /* answered while another act is under way */
    bool fenced;  /* needs lock, fence and the right token */
};

struct act {
    struct act *next;
    struct session *session;
    const struct verb *verb;
    json_t *request;
    int64_t id;
    bool waits; /* for its manifest (stage) */
    void *data; /* the verb's own */
    /* A piece of work on a thread of the pool. */
    int (*work)(struct act *act, struct err *err);
    void (*after)(struct act *act, int rc, const struct err *err);
    int rc;
    struct err err;
};

struct watch;
struct session {
    struct loop *loop;
    struct stream *stream; /* NULL once the connection is gone */
    struct children *children;
    struct super *super;
    const char *path; /* borrowed */
    struct host host;
    bool host_open;
    struct lock lock;
    struct journal journal;
    struct record_watch *requests;
    json_t *holder;            /* what .deploy/lock says while we hold it */
    json_t *services;          /* names, from `look`; NULL = not known yet */
    struct record_epoch fence; /* epoch 0 = not fenced */
    struct stage *stage;
    bool stage_busy; /* a thread works on it */
    json_t *base; /* instances just after the switch; NULL = none yet */
    struct watch *watch;

    struct act *present, *first, *last; /* under way; queued */
    size_t nqueued, nloose;             /* nloose: at-once acts that are not answered yet */
    struct loop_timer *silence;
    bool greeted, leaving;
    int exit_code;
};

/* Ends the act.  Steals answer / extra (NULL = {}). */
void act_ok(struct act *act, json_t *answer);
void act_fail(struct act *act, const struct err *err, json_t *extra);
/* Runs `work` on a thread, then `after` on the loop. */
void act_work(struct act *act, int (*work)(struct act *act, struct err *err),
              void (*after)(struct act *act, int rc, const struct err *err));

void session_event(struct session *session, json_t *event); /* steals */
/* Opens the folder if that has not worked yet. */
int session_host(struct session *session, struct err *err);
/* Journal line {"act": name, "token", members}; steals members (NULL = none).  `must`: a failure
 * is returned; otherwise it is only told on stderr, for undoing must work on a full disk too. */
int session_note(struct session *session, const char *name, json_t *members, bool must,
                 struct err *err);
bool session_has_services(const struct session *session);
/* "EPOCH:ROLLOUT" as fenced. */
void session_token(const struct session *session, char token[static SESSION_TOKEN_MAX]);
/* A release that is here, complete; ERR_NOT_FOUND names it. */
int session_check_release(struct session *session, const char *id, struct err *err);
/* Lets go of lock, fence, journal, staging, watch. */
void session_unlock(struct session *session);

#endif
