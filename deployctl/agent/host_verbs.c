/* host_verbs.c - the contract is in host_verbs.h, the meanings in deployctl/wire/proto.h. */
#include "deployctl/agent/host_verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "deployctl/agent/drain.h"
#include "io/jsonx.h"

enum {
    LOCK_TRIES = 12, /* somebody may be looking at the lock just now */
    LOCK_AGAIN_MS = 25,
    HISTORY_DEFAULT = 50,
    HISTORY_MAX = 5000,
};

static void end(struct act *act, int rc, const struct err *err)
{
    if (rc < 0)
        act_fail(act, err, NULL);
    else
        act_ok(act, NULL);
}

void host_verbs_ping(struct act *act) { act_ok(act, NULL); }

/* --- lock ------------------------------------------------------------------------------------- */

struct try_lock {
    struct act *act;
    struct loop_timer *timer;
    int tries;
};

/* A request was left, changed or removed by another agent. */
static void on_request(void *context)
{
    struct talk *talk = context;
    json_t *request = record_request_read(talk->host.meta);
    if (request == NULL)
        return;
    json_t *event = json_object();
    jsonx_set_text(event, "event", "request");
    jsonx_set_text(event, "what", jsonx_text(request, "what", NULL));
    jsonx_set_text(event, "who", jsonx_text(request, "who", ""));
    talk_send(talk, event);
    json_decref(request);
}

static json_t *holder_of(const struct act *act)
{
    char since[CLOCK_TEXT_MAX];
    json_t *holder = json_object();
    jsonx_set_text(holder, "who", jsonx_text(act->request, "who", "?"));
    jsonx_set_text(holder, "rollout", jsonx_text(act->request, "rollout", NULL));
    jsonx_set_text(holder, "since", clock_text(clock_wall_us(), since));
    jsonx_set_text(holder, "step", NULL);
    jsonx_set_int(holder, "pid", getpid());
    return holder;
}

static int locked(struct act *act, json_t *answer, struct err *err)
{
    struct talk *talk = act->talk;
    struct record_epoch epoch;
    int rc = journal_open(&talk->journal, talk->host.meta, err);
    if (rc == 0)
        rc = record_epoch_read(talk->host.meta, &epoch, err);
    if (rc != 0)
        return rc;
    talk->requests = record_watch_new(talk->loop, talk->host.meta, on_request, talk, err);
    if (talk->requests == NULL)
        return err->code;
    talk->holder = holder_of(act);
    lock_describe(&talk->lock, talk->holder);
    jsonx_set_int(answer, "epoch", epoch.epoch);
    return 0;
}

static void give_up(struct act *act, const struct err *err)
{
    json_t *holder = lock_holder(act->talk->host.meta);
    struct err told = *err;
    struct record_epoch epoch;
    json_t *extra = json_object();
    if (record_epoch_read(act->talk->host.meta, &epoch, NULL) == 0)
        jsonx_set_int(extra, "epoch", epoch.epoch);
    if (holder != NULL)
        err_set(&told, ERR_EXISTS, "held by %s since %s (rollout %s)",
                jsonx_text(holder, "who", "?"), jsonx_text(holder, "since", "?"),
                jsonx_text(holder, "rollout", "?"));
    json_object_set_new(extra, "holder", holder != NULL ? holder : json_null());
    act_fail(act, &told, extra);
}

static void try_once(void *context)
{
    struct try_lock *try = context;
    struct act *act = try->act;
    struct talk *talk = act->talk;
    struct err err;
    int rc = lock_take(&talk->lock, talk->host.meta, &err);
    if (rc == ERR_EXISTS && ++try->tries < LOCK_TRIES) {
        loop_timer_arm(try->timer, LOCK_AGAIN_MS);
        return;
    }
    loop_timer_free(try->timer);
    free(try);
    if (rc != 0) {
        if (rc == ERR_EXISTS)
            give_up(act, &err);
        else
            act_fail(act, &err, NULL);
        return;
    }
    json_t *answer = json_object();
    if (locked(act, answer, &err) == 0) {
        act_ok(act, answer);
        return;
    }
    json_decref(answer);
    talk_unlock(talk);
    act_fail(act, &err, NULL);
}

void host_verbs_lock(struct act *act)
{
    struct talk *talk = act->talk;
    struct err err;
    int rc = talk_host(talk, &err);
    if (rc == 0 && lock_held(&talk->lock))
        rc = err_set(&err, ERR_STATE, "this connection holds the lock already");
    if (rc == 0)
        rc = host_prepare(&talk->host, &err);
    struct try_lock *try = rc != 0 ? NULL : calloc(1, sizeof *try);
    if (try != NULL) {
        try->act = act;
        try->timer = loop_timer_new(talk->loop, try_once, try);
    }
    if (rc == 0 && (try == NULL || try->timer == NULL)) {
        free(try);
        rc = err_set(&err, ERR_MEMORY, "no memory to lock");
    }
    if (rc != 0)
        act_fail(act, &err, NULL);
    else
        try_once(try);
}

void host_verbs_unlock(struct act *act)
{
    talk_unlock(act->talk);
    act_ok(act, NULL);
}

/* --- fence --------------------------------------------------------------------------------------
 */

static int check_epoch(const struct talk *talk, const struct record_epoch *wanted,
                       struct record_epoch *here, struct err *err)
{
    int rc = record_epoch_read(talk->host.meta, here, err);
    if (rc < 0)
        return rc;
    bool other = wanted->epoch == here->epoch && strcmp(wanted->rollout, here->rollout) != 0;
    if (wanted->epoch < here->epoch || other)
        return err_set(err, ERR_STALE, "epoch %lld is over: epoch %lld of rollout %s came since",
                       (long long)wanted->epoch, (long long)here->epoch, here->rollout);
    return 0;
}

/* A request that was meant for an earlier rollout must not stop this one. */
static void drop_old_request(struct talk *talk, const char *rollout)
{
    json_t *request = record_request_read(talk->host.meta);
    if (request != NULL && strcmp(jsonx_text(request, "rollout", ""), rollout) != 0)
        record_request_remove(talk->host.meta, NULL);
    json_decref(request);
}

void host_verbs_fence(struct act *act)
{
    struct talk *talk = act->talk;
    struct record_epoch wanted = { 0 }, here;
    struct err err;
    const char *rollout;
    int rc = 0;
    if (!lock_held(&talk->lock))
        rc = err_set(&err, ERR_STATE, "`lock` has to come before `fence`");
    if (rc == 0)
        rc = jsonx_need_int(act->request, "epoch", &wanted.epoch, &err);
    if (rc == 0)
        rc = jsonx_need_text(act->request, "rollout", &rollout, &err);
    if (rc == 0 && (wanted.epoch < 1 || strlen(rollout) >= sizeof wanted.rollout))
        rc = err_set(&err, ERR_INVALID, "a fence needs an epoch over 0 and a short rollout id");
    if (rc == 0) {
        snprintf(wanted.rollout, sizeof wanted.rollout, "%s", rollout);
        rc = check_epoch(talk, &wanted, &here, &err);
    }
    if (rc == 0 && wanted.epoch > here.epoch)
        rc = record_epoch_write(talk->host.meta, &wanted, &err);
    if (rc == 0) {
        talk->fence = wanted;
        drop_old_request(talk, wanted.rollout);
        rc = talk_note(talk, "fence", NULL, true, &err);
    }
    if (rc < 0)
        act_fail(act, &err, NULL);
    else
        drain_restore(act);
}

/* --- record, step, mark, close
 * -------------------------------------------------------------------- */

void host_verbs_record(struct act *act)
{
    struct talk *talk = act->talk;
    struct err err;
    int rc = 0;
    const json_t *record = json_object_get(act->request, "record");
    const char *sealed = jsonx_text(act->request, "sealed", NULL);
    if (!json_is_object(record))
        rc = err_set(&err, ERR_PROTOCOL, "\"record\" must be an object");
    else if (sealed != NULL && strcmp(sealed, talk->sealed) != 0)
        rc = err_set(&err, ERR_STATE, "%.40s was not sealed, so nothing is recorded", sealed);
    if (rc == 0)
        rc = record_write(talk->host.meta, record, &err);
    if (rc == 0) {
        json_t *line = json_object();
        jsonx_set_text(line, "release", jsonx_text(record, "id", NULL));
        rc = talk_note(talk, "record", line, false, &err);
    }
    end(act, rc, &err);
}

void host_verbs_step(struct act *act)
{
    struct talk *talk = act->talk;
    jsonx_set_text(talk->holder, "step", jsonx_text(act->request, "step", NULL));
    lock_describe(&talk->lock, talk->holder);
    act_ok(act, NULL);
}

void host_verbs_mark(struct act *act)
{
    struct talk *talk = act->talk;
    struct err err;
    unsigned char unused[MANIFEST_DIGEST_BYTES];
    struct host_releases list = { 0 };
    const char *digest, *verdict;
    int rc = jsonx_need_text(act->request, "digest", &digest, &err);
    if (rc == 0)
        rc = jsonx_need_text(act->request, "verdict", &verdict, &err);
    if (rc == 0 && (!manifest_unhex(digest, unused) ||
                    (strcmp(verdict, "good") != 0 && strcmp(verdict, "bad") != 0)))
        rc = err_set(&err, ERR_INVALID, "mark: a whole digest and good or bad are needed");
    if (rc == 0)
        rc = host_list(&talk->host, &list, &err);
    if (rc == 0) {
        const struct host_release *release = host_list_digest(&list, digest);
        json_t *line = json_object();
        jsonx_set_text(line, "digest", digest);
        jsonx_set_text(line, "id", release != NULL ? release->id : NULL);
        jsonx_set_text(line, "verdict", verdict);
        jsonx_set_text(line, "reason", jsonx_text(act->request, "reason", ""));
        rc = talk_note(talk, "mark", line, true, &err);
    }
    host_list_done(&list);
    end(act, rc, &err);
}

void host_verbs_verdict(struct act *act)
{
    struct err err;
    const json_t *numbers = json_object_get(act->request, "numbers");
    const char *kind, *text;
    int rc = jsonx_need_text(act->request, "kind", &kind, &err);
    if (rc == 0)
        rc = jsonx_need_text(act->request, "text", &text, &err);
    if (rc == 0 && !json_is_object(numbers))
        rc = err_set(&err, ERR_PROTOCOL, "\"numbers\" must be an object");
    if (rc == 0) {
        json_t *line = json_object();
        jsonx_set_text(line, "id", jsonx_text(act->request, "id", NULL));
        jsonx_set_text(line, "kind", kind);
        jsonx_set_text(line, "text", text);
        json_object_set(line, "numbers", (json_t *)numbers);
        rc = talk_note(act->talk, "verdict", line, true, &err);
    }
    end(act, rc, &err);
}

void host_verbs_close(struct act *act)
{
    struct talk *talk = act->talk;
    struct err err;
    json_t *line = json_object();
    jsonx_set_text(line, "outcome", jsonx_text(act->request, "outcome", ""));
    jsonx_set_text(line, "release", jsonx_text(act->request, "release", NULL));
    (void)talk_note(talk, "close", line, false, &err);
    int rc = record_request_remove(talk->host.meta, &err);
    if (rc == 0)
        rc = record_remove(talk->host.meta, &err);
    end(act, rc, &err);
}

/* --- request, history
 * ------------------------------------------------------------------------------ */

void host_verbs_request(struct act *act)
{
    struct talk *talk = act->talk;
    struct err err;
    const char *what = jsonx_text(act->request, "what", NULL);
    int rc = talk_host(talk, &err);
    if (rc == 0 && what != NULL && strcmp(what, "pause") != 0 && strcmp(what, "abort") != 0)
        rc = err_set(&err, ERR_INVALID, "a request is pause or abort, not \"%s\"", what);
    if (rc == 0)
        rc = host_prepare(&talk->host, &err);
    json_t *holder = rc < 0                   ? NULL
                     : lock_held(&talk->lock) ? json_incref(talk->holder)
                                              : lock_holder(talk->host.meta);
    if (rc == 0 && what == NULL) {
        rc = record_request_remove(talk->host.meta, &err);
    } else if (rc == 0) {
        json_t *request = json_object();
        jsonx_set_text(request, "what", what);
        jsonx_set_text(request, "who", jsonx_text(act->request, "who", "?"));
        jsonx_set_text(request, "rollout", jsonx_text(holder, "rollout", ""));
        rc = record_request_write(talk->host.meta, request, &err);
        json_decref(request);
    }
    if (rc < 0) {
        json_decref(holder);
        act_fail(act, &err, NULL);
        return;
    }
    json_t *answer = json_object();
    json_object_set_new(answer, "holder", holder != NULL ? holder : json_null());
    act_ok(act, answer);
}

void host_verbs_history(struct act *act)
{
    struct talk *talk = act->talk;
    struct err err;
    int64_t limit = jsonx_int(act->request, "limit", HISTORY_DEFAULT);
    if (limit < 1 || limit > HISTORY_MAX)
        limit = HISTORY_MAX;
    int rc = talk_host(talk, &err);
    if (rc == 0 && talk->journal.fd < 0)
        rc = journal_read(&talk->journal, talk->host.meta, &err);
    if (rc < 0) {
        act_fail(act, &err, NULL);
        return;
    }
    json_t *answer = json_object();
    json_object_set_new(answer, "lines",
                        journal_history(&talk->journal, talk->host.meta, (size_t)limit));
    jsonx_set_int(answer, "damaged", (int64_t)talk->journal.damaged);
    act_ok(act, answer);
}
