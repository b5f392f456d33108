/* talk.h - one conversation: its state, and what the verbs need of it. */
#ifndef DEPLOYCTL_AGENT_TALK_H
#define DEPLOYCTL_AGENT_TALK_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "deployctl/agent/act.h"
#include "deployctl/agent/host.h"
#include "deployctl/agent/journal.h"
#include "deployctl/agent/lock.h"
#include "deployctl/agent/record.h"
#include "deployctl/agent/stage.h"
#include "deployctl/agent/super.h"
#include "deployctl/wire/children.h"
#include "io/loop.h"
#include "io/stream.h"

enum { TALK_TOKEN_MAX = 160, TALK_QUEUE_MAX = 256 };

struct drain;
struct logs;
struct sample;
struct watch;
struct talk {
    struct loop *loop;
    struct stream *stream; /* NULL once the connection is gone */
    struct children *children;
    struct super *super;
    const char *path; /* borrowed; no '/' at its end, as the supervisor writes it */
    struct host host;
    bool host_open;
    struct lock lock;
    struct journal journal;
    struct record_watch *requests;
    json_t *holder;            /* what .deploy/lock says while we hold it */
    json_t *services;          /* names, from `look`; NULL = not known yet */
    json_t *configs;           /* service files of releases, by the supervisor; NULL likewise */
    struct record_epoch fence; /* epoch 0 = not fenced */
    struct stage *stage;
    bool stage_busy;              /* a thread works on it */
    char sealed[MANIFEST_ID_MAX]; /* proved by this conversation; "" = none */
    json_t *base;                 /* instances just after the switch; NULL = none yet */
    struct watch *watch;
    struct drain *drain;   /* the present act has taken the host out of the traffic; NULL = not */
    struct sample *sample; /* NULL until the first `sample` */
    struct logs *logs;     /* NULL: nobody follows them */

    struct act *present, *first, *last; /* under way; queued */
    size_t nqueued, nloose;             /* nloose: at-once acts that are not answered yet */
    struct loop_timer *silence;
    bool greeted, leaving;
    int exit_code;
};

/* Sends a control frame; steals message.  A peer that does not read is left. */
void talk_send(struct talk *talk, json_t *message);
/* The connection is gone: no other act is begun, the present one is finished. */
void talk_leave(struct talk *talk);
/* Opens the folder if that has not worked yet. */
int talk_host(struct talk *talk, struct err *err);
/* Journal line {"act": name, "token", members}; steals members (NULL = none).  `must`: a failure
 * is returned; otherwise it is only told on stderr, for undoing must work on a full disk too. */
int talk_note(struct talk *talk, const char *name, json_t *members, bool must, struct err *err);
bool talk_has_services(const struct talk *talk);
/* "EPOCH:ROLLOUT" as fenced. */
void talk_token(const struct talk *talk, char token[static TALK_TOKEN_MAX]);
/* A release that is here, complete; ERR_NOT_FOUND names it. */
int talk_check_release(struct talk *talk, const char *id, struct err *err);
/* Lets go of lock, fence, journal, staging, watch. */
void talk_unlock(struct talk *talk);

#endif
