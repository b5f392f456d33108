/* inspect.c - the contract is in inspect.h, the meanings in deployctl/wire/proto.h. */
#include "deployctl/agent/inspect.h"

#include <stdlib.h>

#include "deployctl/agent/talk.h"
#include "deployctl/agent/verify.h"
#include "io/jsonx.h"

enum { LISTED_DEFAULT = 100 };

/* --- verify ----------------------------------------------------------------------------------- */

static int verify(struct act *act, struct err *err)
{
    return verify_compare(&act->talk->host, jsonx_text(act->request, "id", ""), act->data, err);
}

static json_t *differences_of(const struct verify_report *report)
{
    json_t *list = json_array();
    for (size_t i = 0; i < report->count; i++) {
        json_t *one = json_object();
        jsonx_set_text(one, "path", report->at[i].path);
        jsonx_set_text(one, "kind", verify_kind_name(report->at[i].kind));
        jsonx_set_text(one, "how", report->at[i].how);
        json_array_append_new(list, one);
    }
    return list;
}

static void verified(struct act *act, int rc, const struct err *err)
{
    struct verify_report *report = act->data;
    json_t *answer = json_object();
    act->data = NULL;
    jsonx_set_text(answer, "id", jsonx_text(act->request, "id", ""));
    jsonx_set_text(answer, "digest", report->digest);
    jsonx_set_int(answer, "entries", (int64_t)report->entries);
    for (int kind = 0; kind < VERIFY_NKINDS; kind++)
        jsonx_set_int(answer, verify_kind_name((enum verify_kind)kind),
                      (int64_t)report->counts[kind]);
    jsonx_set_text(answer, "signed_by", report->signer[0] != '\0' ? report->signer : NULL);
    jsonx_set_text(answer, "not_trusted",
                   report->trust.code != ERR_NONE ? report->trust.text : NULL);
    json_object_set_new(answer, "differences", differences_of(report));
    verify_report_done(report);
    free(report);
    if (rc == 0) {
        act_ok(act, answer);
        return;
    }
    json_decref(answer);
    act_fail(act, err, NULL);
}

void inspect_verify_verb(struct act *act)
{
    struct err err;
    const char *id;
    int64_t limit = jsonx_int(act->request, "limit", LISTED_DEFAULT);
    int rc = talk_host(act->talk, &err);
    if (rc == 0)
        rc = jsonx_need_text(act->request, "id", &id, &err);
    if (rc == 0 && !manifest_id_parse(id, NULL))
        rc = err_set(&err, ERR_INVALID, "\"%s\" is not the id of a release", id);
    struct verify_report *report = rc == 0 ? calloc(1, sizeof *report) : NULL;
    if (rc == 0 && report == NULL)
        rc = err_set(&err, ERR_MEMORY, "no memory to verify");
    if (rc < 0) {
        act_fail(act, &err, NULL);
        return;
    }
    report->most = limit < 0 || limit > VERIFY_LISTED_MAX ? VERIFY_LISTED_MAX : (size_t)limit;
    act->data = report;
    act_work(act, verify, verified);
}
