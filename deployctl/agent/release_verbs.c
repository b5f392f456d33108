/* release_verbs.c - the contract is in release_verbs.h, the meanings in deployctl/wire/proto.h. */
#include "deployctl/agent/release_verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deployctl/agent/bases.h"
#include "deployctl/agent/config_check.h"
#include "deployctl/agent/freeze.h"
#include "deployctl/agent/look.h"
#include "deployctl/agent/parts.h"
#include "deployctl/agent/prune.h"
#include "io/jsonx.h"

enum { CALL_MS = 5000, PATIENCE_MS = 10000 };

/* --- stage ------------------------------------------------------------------------------------ */

/* The manifest follows the request at once, so it is collected before the act's turn has come. */
void release_verbs_expect(struct act *act)
{
    struct buf *packed = calloc(1, sizeof *packed);
    if (packed != NULL)
        buf_init(packed, STAGE_MANIFEST_MAX);
    act->data = packed;
    act->waits = true;
}

void release_verbs_manifest(struct act *act, const char *data, size_t len)
{
    struct buf *packed = act->data;
    if (len == 0)
        act->waits = false;
    else if (packed != NULL)
        buf_put(packed, data, len);
}

void release_verbs_forget(struct act *act)
{
    struct buf *packed = act->data;
    if (packed != NULL)
        buf_done(packed);
    free(packed);
    act->data = NULL;
}

static int begin(struct act *act, struct err *err)
{
    struct idle idle;
    idle_begin(&idle);
    int rc = stage_begin(act->talk->stage, err);
    idle_end(&idle);
    return rc;
}

static void begun(struct act *act, int rc, const struct err *err)
{
    struct talk *talk = act->talk;
    struct stage *stage = talk->stage;
    talk->stage_busy = false;
    json_t *answer = json_object(), *missing = json_array();
    char id[MANIFEST_ID_MAX];
    if (rc == 0 && stage->have) {
        jsonx_set_bool(answer, "have", true);
    } else if (rc == 0) {
        for (size_t i = 0; i < stage->nmissing; i++)
            json_array_append_new(missing, json_integer(stage->missing[i]));
        json_object_set(answer, "missing", missing);
        jsonx_set_bool(answer, "joined", true);
        jsonx_set_int(answer, "reserved", (int64_t)stage->missing_bytes);
        jsonx_set_int(answer, "reused", (int64_t)stage->reused);
        jsonx_set_int(answer, "damaged", (int64_t)stage->damaged);
        jsonx_set_int(answer, "resumed", (int64_t)stage->resumed);
        idle_begin_disk(&stage->idle);
        if (stage->want.chunks)
            json_object_set_new(answer, "bases", bases_answer(stage->bases));
    }
    json_decref(missing);
    bool have = rc == 0 && stage->have;
    snprintf(id, sizeof id, "%s", stage->want.id);
    if (rc < 0 || have) {
        stage_free(stage);
        talk->stage = NULL;
    }
    if (have) { /* the host's own files may be others than when it was staged */
        config_check(act, id, answer);
        return;
    }
    if (rc == 0) {
        act_ok(act, answer);
        return;
    }
    json_decref(answer);
    act_fail(act, err, NULL);
}

void release_verbs_stage(struct act *act)
{
    struct talk *talk = act->talk;
    struct buf *packed = act->data;
    struct err err;
    int rc = 0;
    stage_free(talk->stage); /* an unfinished one is given up */
    talk->stage = NULL;
    if (packed == NULL || packed->failed)
        rc = err_set(&err, ERR_LIMIT, "a manifest of more than %d bytes compressed",
                     STAGE_MANIFEST_MAX);
    if (rc == 0)
        rc = freeze_check(act, jsonx_text(act->request, "id", ""), &err);
    if (rc == 0 && (talk->stage = stage_new(&talk->host, act->request, &err)) == NULL)
        rc = err.code;
    if (rc == 0)
        rc = stage_manifest_piece(talk->stage, buf_text(packed), packed->len, &err);
    release_verbs_forget(act);
    if (rc < 0) {
        stage_free(talk->stage);
        talk->stage = NULL;
        act_fail(act, &err, NULL);
        return;
    }
    talk->stage_busy = true;
    act_work(act, begin, begun);
}

/* --- seal, unstage ------------------------------------------------------------------------------
 */

static int check_staged(const struct act *act, struct err *err)
{
    const struct stage *stage = act->talk->stage;
    const char *id;
    int rc = jsonx_need_text(act->request, "id", &id, err);
    if (rc == 0 && (stage == NULL || strcmp(stage->want.id, id) != 0))
        rc = err_set(err, ERR_STATE, "%s is not being staged", id);
    return rc;
}

static int cut(struct act *act, struct err *err)
{
    json_t *bases = NULL;
    struct idle idle;
    idle_begin(&idle);
    int rc = bases_fine(act->talk->stage, act->request, &bases, err);
    idle_end(&idle);
    act->data = bases;
    return rc;
}

static void was_cut(struct act *act, int rc, const struct err *err)
{
    json_t *answer = json_object();
    json_object_set_new(answer, "bases", act->data);
    act->data = NULL;
    act->talk->stage->bases_busy = false;
    if (rc == 0) {
        act_ok(act, answer);
        return;
    }
    json_decref(answer);
    act_fail(act, err, NULL);
}

void release_verbs_chunks(struct act *act)
{
    struct err err;
    if (check_staged(act, &err) < 0) {
        act_fail(act, &err, NULL);
        return;
    }
    act->talk->stage->bases_busy = true;
    act_work(act, cut, was_cut);
}

/* True: programs did not make what they should; it goes on. */
static bool asked_again(struct act *act, struct stage *stage)
{
    if (stage->nagain == 0)
        return false;
    json_t *answer = json_object(), *again = json_array();
    for (size_t i = 0; i < stage->nagain; i++)
        json_array_append_new(again, json_integer(stage->again[i]));
    json_object_set_new(answer, "again", again);
    stage->nagain = 0;
    act_ok(act, answer);
    return true;
}

static int seal(struct act *act, struct err *err)
{
    struct idle idle;
    idle_begin(&idle);
    int rc = stage_seal(act->talk->stage, err);
    idle_end(&idle);
    return rc;
}

static void sealed(struct act *act, int rc, const struct err *err)
{
    struct talk *talk = act->talk;
    struct stage *stage = talk->stage;
    struct err told;
    char id[MANIFEST_ID_MAX];
    talk->stage_busy = false;
    if (rc == 0 && asked_again(act, stage))
        return;
    talk->stage = NULL;
    if (rc < 0) {
        told = *err;
    } else {
        snprintf(talk->sealed, sizeof talk->sealed, "%s", stage->want.id);
        json_t *line = json_object();
        jsonx_set_text(line, "id", stage->want.id);
        jsonx_set_text(line, "digest", stage->want.hex);
        jsonx_set_int(line, "bytes", (int64_t)stage->received_bytes);
        if (stage->signer[0] != '\0')
            jsonx_set_text(line, "signed_by", stage->signer);
        const char *irreversible = jsonx_text(stage->about, "irreversible", NULL);
        if (irreversible != NULL)
            jsonx_set_text(line, "irreversible", irreversible);
        talk_note(talk, "seal", line, false, &told);
    }
    json_t *answer = json_object();
    jsonx_set_int(answer, "bytes_received", (int64_t)stage->received_bytes);
    jsonx_set_real(answer, "seconds", stage->seconds);
    snprintf(id, sizeof id, "%s", stage->want.id);
    stage_free(stage);
    if (rc == 0) {
        config_check(act, id, answer);
        return;
    }
    json_decref(answer);
    act_fail(act, &told, NULL);
}

void release_verbs_seal(struct act *act)
{
    struct err err;
    if (check_staged(act, &err) < 0) {
        act_fail(act, &err, NULL);
        return;
    }
    act->talk->stage_busy = true;
    act_work(act, seal, sealed);
}

void release_verbs_unstage(struct act *act)
{
    struct talk *talk = act->talk;
    struct err err;
    if (talk->stage != NULL && check_staged(act, &err) < 0) {
        act_fail(act, &err, NULL);
        return;
    }
    if (talk->stage != NULL)
        stage_drop(talk->stage);
    stage_free(talk->stage);
    talk->stage = NULL;
    if (parts_remove(&talk->host, &err) < 0)
        act_fail(act, &err, NULL);
    else
        act_ok(act, NULL);
}

/* --- prune
 * ---------------------------------------------------------------------------------------- */

static bool array_has(const json_t *array, const char *id)
{
    size_t i;
    json_t *one;
    json_array_foreach(array, i, one) if (json_is_string(one) &&
                                          strcmp(json_string_value(one), id) == 0) return true;
    return false;
}

/* Is `id` a text anywhere inside the rollout record?  It names releases in several places. */
static bool mentions(json_t *value, const char *id)
{
    size_t i;
    const char *key;
    json_t *one;
    if (json_is_string(value))
        return strcmp(json_string_value(value), id) == 0;
    if (json_is_array(value))
        json_array_foreach(value, i, one) if (mentions(one, id)) return true;
    if (json_is_object(value))
        json_object_foreach(value, key,
                            one) if (strcmp(key, id) == 0 || mentions(one, id)) return true;
    return false;
}

static int prune_work(struct act *act, struct err *err)
{
    struct idle idle;
    idle_begin(&idle);
    int rc = prune_run(act->data, err);
    idle_end(&idle);
    return rc;
}

static void pruned(struct act *act, int rc, const struct err *err)
{
    struct prune *prune = act->data;
    json_t *removed = json_array();
    struct err told;
    for (size_t i = 0; i < prune->count; i++)
        if (prune->at[i].removed)
            json_array_append_new(removed, json_string(prune->at[i].id));
    json_t *answer = json_object();
    json_object_set(answer, "removed", removed);
    jsonx_set_int(answer, "bytes", (int64_t)prune->bytes);
    if (!prune->dry && json_array_size(removed) > 0) {
        json_t *line = json_object();
        json_object_set(line, "removed", removed);
        talk_note(act->talk, "prune", line, false, &told);
    }
    json_decref(removed);
    prune_done(prune);
    free(prune);
    act->data = NULL;
    if (rc < 0)
        act_fail(act, err, answer);
    else
        act_ok(act, answer);
}

static bool link_is(const struct host *host, const char *link, const char *id)
{
    char at[MANIFEST_ID_MAX];
    return host_link(host, link, at, NULL) > 0 && strcmp(at, id) == 0;
}

static void choose(struct act *act, struct prune *prune, const struct host_releases *list,
                   const json_t *state)
{
    struct talk *talk = act->talk;
    json_t *record = record_read(talk->host.meta), *good = look_good(talk, list, state);
    for (size_t i = 0; i < list->count; i++) {
        struct prune_release *one = &prune->at[i];
        const char *id = list->at[i].id;
        snprintf(one->id, sizeof one->id, "%s", id);
        one->good = array_has(good, id);
        one->in_use = strcmp(jsonx_text(state, "pinned", ""), id) == 0 ||
                      strcmp(jsonx_text(state, "from", ""), id) == 0 ||
                      array_has(json_object_get(state, "in_use"), id) ||
                      link_is(&talk->host, "current", id) || link_is(&talk->host, "previous", id) ||
                      mentions(record, id) ||
                      (talk->stage != NULL && strcmp(talk->stage->want.id, id) == 0);
    }
    prune->count = list->count;
    prune_choose(prune->at, prune->count, (size_t)jsonx_int(act->request, "keep", 5));
    json_decref(record);
    json_decref(good);
}

/* Without the supervisor's word on what is in use nothing is removed. */
static void on_state(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct act *act = context;
    struct talk *talk = act->talk;
    struct host_releases list = { 0 };
    struct err own;
    struct prune *prune = NULL;
    (void)data;
    if (result == NULL && err != NULL) {
        act_fail(act, err, NULL);
        return;
    }
    int rc = host_list(&talk->host, &list, &own);
    if (rc == 0) {
        prune = calloc(1, sizeof *prune);
        if (prune != NULL)
            prune->at = calloc(list.count + 1, sizeof *prune->at);
        if (prune == NULL || prune->at == NULL)
            rc = err_set(&own, ERR_MEMORY, "no memory to prune");
    }
    if (rc != 0) {
        free(prune);
        host_list_done(&list);
        act_fail(act, &own, NULL);
        return;
    }
    prune->host = &talk->host;
    prune->dry = jsonx_bool(act->request, "dry", false);
    prune->parts = talk->stage == NULL;
    choose(act, prune, &list, result);
    host_list_done(&list);
    act->data = prune;
    act_work(act, prune_work, pruned);
}

void release_verbs_prune(struct act *act)
{
    struct talk *talk = act->talk;
    struct err err;
    if (jsonx_int(act->request, "keep", 5) < 1) {
        err_set(&err, ERR_INVALID, "at least one good release is kept");
        act_fail(act, &err, NULL);
    } else if (talk_has_services(talk)) {
        super_call(talk->super, "release.state", json_pack("{s:s}", "path", talk->host.path),
                   CALL_MS, PATIENCE_MS, on_state, act);
    } else {
        on_state(act, NULL, NULL, NULL);
    }
}
