/* switch.c - the contract is in switch.h. */
#include "deployctl/agent/switch.h"

#include <string.h>

#include "deployctl/agent/drain.h"
#include "deployctl/agent/freeze.h"
#include "deployctl/agent/gate.h"
#include "deployctl/agent/swap.h"
#include "deployctl/agent/verify.h"
#include "deployctl/agent/watch.h"
#include "io/jsonx.h"

enum {
    CALL_MS = 15000,
    SWITCH_MS = 3600 * 1000, /* the supervisor has its own deadlines; deployctl too */
    PATIENCE_MS = 30000,
    STATUS_MS = 5000,
};

/* Parameters that all release.* calls have. */
static json_t *params_of(const struct act *act, const char *id)
{
    char token[TALK_TOKEN_MAX];
    talk_token(act->talk, token);
    json_t *params = json_object();
    jsonx_set_text(params, "path", act->talk->host.path);
    jsonx_set_text(params, "id", id);
    jsonx_set_text(params, "token", token);
    return params;
}

static void copy_member(json_t *params, const char *to, const json_t *request, const char *from)
{
    json_t *value = json_object_get(request, from);
    if (json_is_number(value) || json_is_string(value))
        json_object_set(params, to, value);
}

static void call(struct act *act, const char *method, json_t *params, int64_t timeout_ms,
                 rpc_link_fn *fn)
{
    super_call(act->talk->super, method, params, timeout_ms, PATIENCE_MS, fn, act);
}

static const char *id_of(const struct act *act) { return jsonx_text(act->request, "id", ""); }

/* The request's id, checked; false = the act has ended. */
static bool need_id(struct act *act, bool complete)
{
    struct err err;
    const char *id;
    int rc = jsonx_need_text(act->request, "id", &id, &err);
    if (rc == 0 && !manifest_id_parse(id, NULL))
        rc = err_set(&err, ERR_INVALID, "\"%s\" is not the id of a release", id);
    if (rc == 0 && complete)
        rc = talk_check_release(act->talk, id, &err);
    if (rc < 0)
        act_fail(act, &err, NULL);
    return rc == 0;
}

static void note(struct act *act, const char *name, const char *result, const char *reason)
{
    struct err err;
    json_t *line = json_object();
    jsonx_set_text(line, "id", id_of(act));
    if (result != NULL)
        jsonx_set_text(line, "result", result);
    if (reason != NULL)
        jsonx_set_text(line, "reason", reason);
    talk_note(act->talk, name, line, false, &err);
}

static void fail(struct act *act, const char *name, const struct err *err, json_t *data)
{
    note(act, name, "error", err->text);
    drain_fail(act, err, data != NULL ? json_deep_copy(data) : NULL);
}

/* --- switch --------------------------------------------------------------------------------- */

/* The counters just after the switch, from which the gates count. */
static void on_base(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct act *act = context;
    struct talk *talk = act->talk;
    json_t *answer = act->data;
    (void)err, (void)data; /* without an answer the first look of `watch` is the base */
    act->data = NULL;
    if (result != NULL)
        talk->base = gate_instances(result, talk->services);
    drain_ok(act, answer, false);
}

static void on_switched(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct act *act = context;
    if (result == NULL) {
        fail(act, "switch", err, data);
        return;
    }
    const char *what = jsonx_text(result, "result", "failed");
    note(act, "switch", what, jsonx_text(result, "reason", NULL));
    json_t *answer = json_copy(result);
    if (strcmp(what, "switched") != 0) {
        drain_ok(act, answer, strcmp(what, "reverted") != 0);
        return;
    }
    act->data = answer;
    super_call(act->talk->super, "status", NULL, STATUS_MS, 0, on_base, act);
}

static bool is_moving(const json_t *state)
{
    const char *phase = jsonx_text(state, "phase", "");
    return strcmp(phase, "switching") == 0 || strcmp(phase, "reverting") == 0;
}

static bool is_pinned(const struct act *act, const json_t *state)
{
    return strcmp(jsonx_text(state, "pinned", ""), id_of(act)) == 0;
}

static void ask_switch(struct act *act)
{
    json_t *params = params_of(act, id_of(act));
    copy_member(params, "confirm_within", act->request, "confirm_within_s");
    copy_member(params, "ready_timeout", act->request, "ready_timeout_s");
    copy_member(params, "on_fail", act->request, "on_fail");
    call(act, "release.switch", params, SWITCH_MS, on_switched);
}

/* A supervisor that hangs is noticed before the long wait for a switch begins, and before the host
 * is drained; asked again after it was done, nothing is restarted, so nothing is drained. */
static void on_awake_switch(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct act *act = context;
    char token[TALK_TOKEN_MAX];
    if (result == NULL) {
        fail(act, "switch", err, data);
        return;
    }
    talk_token(act->talk, token);
    bool back = jsonx_bool(act->request, "undo", false) ||
                strcmp(jsonx_text(act->request, "on_fail", ""), "stay") == 0;
    bool done = is_pinned(act, result) && !is_moving(result) &&
                strcmp(jsonx_text(result, "token", ""), token) == 0;
    if (done)
        ask_switch(act);
    else
        drain_out(act, back, ask_switch);
}

static void swap_now(struct act *act)
{
    struct talk *talk = act->talk;
    char token[TALK_TOKEN_MAX];
    struct swap_state state;
    struct err err;
    talk_token(talk, token);
    if (swap_switch(&talk->host, id_of(act), token, &state, &err) < 0) {
        fail(act, "switch", &err, NULL);
        return;
    }
    note(act, "switch", "switched", NULL);
    json_t *answer = json_object();
    jsonx_set_text(answer, "result", "switched");
    jsonx_set_text(answer, "id", state.id);
    jsonx_set_text(answer, "from", state.from[0] != '\0' ? state.from : NULL);
    jsonx_set_text(answer, "reason", NULL);
    json_object_set_new(answer, "instances", json_array());
    act_ok(act, answer);
}

static void go(struct act *act)
{
    note(act, "switch-asked", NULL, NULL);
    if (talk_has_services(act->talk))
        call(act, "release.state", params_of(act, id_of(act)), CALL_MS, on_awake_switch);
    else
        swap_now(act);
}

static int prove(struct act *act, struct err *err)
{
    return verify_release(&act->talk->host, id_of(act), err);
}

static void on_proved(struct act *act, int rc, const struct err *err)
{
    if (rc < 0)
        fail(act, "switch", err, NULL);
    else
        go(act);
}

static bool ran_before(const struct host *host, const char *id)
{
    char at[MANIFEST_ID_MAX];
    bool current = host_link(host, "current", at, NULL) > 0 && strcmp(at, id) == 0;
    return current || (host_link(host, "previous", at, NULL) > 0 && strcmp(at, id) == 0);
}

void switch_verb(struct act *act)
{
    struct talk *talk = act->talk;
    struct err err;
    char unused[MANIFEST_ID_MAX];
    if (!need_id(act, true))
        return;
    if (talk->services == NULL) {
        err_set(&err, ERR_PROTOCOL, "`look` has to come before `switch`");
        act_fail(act, &err, NULL);
        return;
    }
    if (host_link(&talk->host, "current", unused, &err) < 0) {
        act_fail(act, &err, NULL);
        return;
    }
    if (freeze_check(act, id_of(act), &err) < 0) {
        fail(act, "switch", &err, NULL);
        return;
    }
    if (jsonx_bool(act->request, "despite_freeze", false))
        note(act, "despite-freeze", NULL, NULL);
    watch_rebase(talk);
    /* What was not sealed just now may have been changed since; an undo takes what there is, if it
     * is what ran before. */
    bool undo = jsonx_bool(act->request, "undo", false) && ran_before(&talk->host, id_of(act));
    if (undo || strcmp(talk->sealed, id_of(act)) == 0)
        go(act);
    else
        act_work(act, prove, on_proved);
}

/* --- confirm, extend ----------------------------------------------------------------------------
 */

/* A confirmed release is a good one; that is remembered here too, for hosts without services and
 * for pruning. */
static void remember_good(struct act *act)
{
    struct talk *talk = act->talk;
    struct host_releases list;
    struct err err;
    if (host_list(&talk->host, &list, &err) < 0)
        return;
    const struct host_release *release = host_list_find(&list, id_of(act));
    const struct journal_mark *mark =
        release == NULL ? NULL : journal_find(&talk->journal, release->digest);
    if (release != NULL && release->complete && (mark == NULL || mark->bad)) {
        json_t *line = json_object();
        jsonx_set_text(line, "digest", release->digest);
        jsonx_set_text(line, "id", release->id);
        jsonx_set_text(line, "verdict", "good");
        jsonx_set_text(line, "reason", "confirmed");
        talk_note(talk, "mark", line, false, &err);
    }
    host_list_done(&list);
}

static void confirmed(struct act *act)
{
    note(act, "confirm", "confirmed", NULL);
    remember_good(act);
    act_ok(act, NULL);
}

static void on_confirmed(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct act *act = context;
    if (result == NULL)
        fail(act, "confirm", err, data);
    else
        confirmed(act);
}

void switch_confirm_verb(struct act *act)
{
    struct talk *talk = act->talk;
    char token[TALK_TOKEN_MAX];
    struct err err;
    if (!need_id(act, false))
        return;
    if (talk_has_services(talk)) {
        call(act, "release.confirm", params_of(act, id_of(act)), CALL_MS, on_confirmed);
        return;
    }
    talk_token(talk, token);
    if (swap_confirm(&talk->host, id_of(act), token, &err) < 0)
        fail(act, "confirm", &err, NULL);
    else
        confirmed(act);
}

static void on_extended(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct act *act = context;
    if (result == NULL) {
        fail(act, "extend", err, data);
        return;
    }
    json_t *answer = json_object();
    json_object_set_new(answer, "deadline_s", gate_deadline(result));
    act_ok(act, answer);
}

void switch_extend_verb(struct act *act)
{
    if (!need_id(act, false))
        return;
    if (!talk_has_services(act->talk)) { /* no dead man without a supervisor */
        act_ok(act, json_pack("{s:n}", "deadline_s"));
        return;
    }
    json_t *params = params_of(act, id_of(act));
    copy_member(params, "confirm_within", act->request, "confirm_within_s");
    call(act, "release.extend", params, CALL_MS, on_extended);
}

/* --- revert
 * --------------------------------------------------------------------------------------- */

/* What runs now is asked afterwards, in words that do not depend on how the revert went. */
static void on_state(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct act *act = context;
    json_t *answer = act->data;
    (void)err, (void)data;
    act->data = NULL;
    json_t *pinned = json_object_get(result, "pinned");
    if (pinned != NULL)
        json_object_set(answer, "id", pinned);
    drain_ok(act, answer, strcmp(jsonx_text(answer, "result", ""), "failed") == 0);
}

static void on_reverted(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct act *act = context;
    struct talk *talk = act->talk;
    if (result == NULL) {
        fail(act, "revert", err, data);
        return;
    }
    json_t *answer = json_copy(result);
    const char *what = jsonx_text(result, "result", "reverted");
    jsonx_set_text(answer, "result", what);
    note(act, "revert", what, jsonx_text(act->request, "reason", NULL));
    act->data = answer;
    super_call(talk->super, "release.state", json_pack("{s:s}", "path", talk->host.path), CALL_MS,
               0, on_state, act);
}

static void ask_revert(struct act *act)
{
    json_t *params = params_of(act, id_of(act));
    copy_member(params, "reason", act->request, "reason");
    call(act, "release.revert", params, SWITCH_MS, on_reverted);
}

static void on_awake_revert(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct act *act = context;
    if (result == NULL) {
        fail(act, "revert", err, data);
        return;
    }
    if (!is_pinned(act, result) && !is_moving(result)) /* it went back already */
        ask_revert(act);
    else
        drain_out(act, true, ask_revert);
}

void switch_revert_verb(struct act *act)
{
    struct talk *talk = act->talk;
    struct swap_state state;
    struct err err;
    if (!need_id(act, false))
        return;
    watch_rebase(talk);
    if (talk_has_services(talk)) {
        call(act, "release.state", params_of(act, id_of(act)), CALL_MS, on_awake_revert);
        return;
    }
    if (swap_revert(&talk->host, id_of(act), &state, &err) < 0) {
        fail(act, "revert", &err, NULL);
        return;
    }
    note(act, "revert", "reverted", jsonx_text(act->request, "reason", NULL));
    json_t *answer = json_object();
    jsonx_set_text(answer, "result", "reverted");
    jsonx_set_text(answer, "id", state.id[0] != '\0' ? state.id : NULL);
    act_ok(act, answer);
}
