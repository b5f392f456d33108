/* act.c - the contract is in act.h. */
#include "deployctl/agent/act.h"

#include <stdlib.h>
#include <string.h>

#include "deployctl/agent/inspect.h"
#include "deployctl/agent/release_verbs.h"
#include "deployctl/agent/talk.h"
#include "io/jsonx.h"

/* Does a manifest follow the request? */
static bool brings_manifest(const struct act *act)
{
    return act->verb != NULL &&
           (act->verb->run == release_verbs_stage ||
            (act->verb->run == inspect_diff_verb && json_object_get(act->request, "to") == NULL));
}

static void free_act(struct act *act)
{
    if (brings_manifest(act))
        release_verbs_forget(act);
    json_decref(act->request);
    free(act);
}

void act_drop_queue(struct talk *talk)
{
    while (talk->first != NULL) {
        struct act *act = talk->first;
        talk->first = act->next;
        free_act(act);
    }
    talk->last = NULL;
    talk->nqueued = 0;
}

static void end_act(struct act *act, json_t *answer)
{
    struct talk *talk = act->talk;
    jsonx_set_int(answer, "n", act->number);
    talk_send(talk, answer);
    if (talk->present == act)
        talk->present = NULL;
    else
        talk->nloose--;
    free_act(act);
    if (talk->leaving && talk->present == NULL && talk->stream == NULL)
        loop_stop(talk->loop);
}

void act_ok(struct act *act, json_t *answer)
{
    if (answer == NULL)
        answer = json_object();
    jsonx_set_bool(answer, "ok", true);
    end_act(act, answer);
}

void act_fail(struct act *act, const struct err *err, json_t *extra)
{
    json_t *answer = extra != NULL ? extra : json_object();
    jsonx_set_bool(answer, "ok", false);
    jsonx_set_text(answer, "kind", err_code_name(err->code));
    jsonx_set_text(answer, "message", err->text);
    end_act(act, answer);
}

static void work_on_thread(void *context)
{
    struct act *act = context;
    act->rc = act->work(act, &act->err);
}

static void work_done(void *context)
{
    struct act *act = context;
    act->after(act, act->rc, &act->err);
}

void act_work(struct act *act, int (*work)(struct act *act, struct err *err),
              void (*after)(struct act *act, int rc, const struct err *err))
{
    act->work = work;
    act->after = after;
    if (loop_work_start(act->talk->loop, work_on_thread, work_done, NULL, act) != NULL)
        return;
    act->rc = err_set(&act->err, ERR_MEMORY, "no memory for a thread");
    after(act, act->rc, &act->err);
}

/* May this act be begun?  The epoch is read anew each time: another one may have come. */
static int check_fence(const struct act *act, struct err *err)
{
    const struct talk *talk = act->talk;
    char token[TALK_TOKEN_MAX];
    struct record_epoch here;
    talk_token(talk, token);
    const char *said = jsonx_text(act->request, "token", "");
    if (!lock_held(&talk->lock) || talk->fence.epoch == 0)
        return err_set(err, ERR_STATE, "`%s` needs `lock` and `fence` first", act->verb->name);
    if (strcmp(said, token) != 0)
        return err_set(err, ERR_STALE, "the token is %s, not \"%.100s\"", token, said);
    int rc = record_epoch_read(talk->host.meta, &here, err);
    if (rc == 0 && here.epoch > talk->fence.epoch)
        rc = err_set(err, ERR_STALE, "epoch %lld is over: epoch %lld of rollout %s came since",
                     (long long)talk->fence.epoch, (long long)here.epoch, here.rollout);
    return rc;
}

static void run_act(struct act *act)
{
    struct err err;
    if (act->verb->fenced && check_fence(act, &err) < 0)
        act_fail(act, &err, NULL);
    else
        act->verb->run(act);
}

void act_begin_next(struct talk *talk)
{
    while (talk->present == NULL && talk->first != NULL && !talk->first->waits) {
        struct act *act = talk->first;
        talk->first = act->next;
        if (talk->first == NULL)
            talk->last = NULL;
        talk->nqueued--;
        talk->present = act;
        run_act(act);
    }
}

int act_queue(struct act *act, struct err *err)
{
    struct talk *talk = act->talk;
    if (talk->nqueued + talk->nloose >= TALK_QUEUE_MAX)
        return err_set(err, ERR_LIMIT, "more than %d requests at once", TALK_QUEUE_MAX);
    if (act->verb->at_once) {
        talk->nloose++;
        run_act(act);
        return 0;
    }
    if (brings_manifest(act))
        release_verbs_expect(act);
    if (talk->last != NULL)
        talk->last->next = act;
    else
        talk->first = act;
    talk->last = act;
    talk->nqueued++;
    return 0;
}

/* A second one cannot be: frames come in order. */
struct act *act_waiting_stage(const struct talk *talk)
{
    for (struct act *act = talk->first; act != NULL; act = act->next)
        if (act->waits)
            return act;
    return NULL;
}
