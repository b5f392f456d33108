/* inspect.c - the contract is in inspect.h, the meanings in deployctl/wire/proto.h. */
#include "deployctl/agent/inspect.h"

#include <stdio.h>
#include <stdlib.h>

#include "deployctl/agent/release_verbs.h"
#include "deployctl/agent/settings.h"
#include "deployctl/agent/talk.h"
#include "deployctl/agent/verify.h"
#include "deployctl/plan/manifest_diff.h"
#include "io/jsonx.h"

enum { LISTED_DEFAULT = 100, ROWS_DEFAULT = 200, ROWS_MAX = 5000, MODE_TEXT_MAX = 16 };

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
    if (rc != 0) {
        act_fail(act, &err, NULL);
        return;
    }
    report->most = limit < 0 || limit > VERIFY_LISTED_MAX ? VERIFY_LISTED_MAX : (size_t)limit;
    act->data = report;
    act_work(act, verify, verified);
}

/* --- diff ------------------------------------------------------------------------------------- */

struct diff {
    const struct host *host;
    const char *from, *to; /* to NULL: `text` is its short form */
    struct buf text;
    const json_t *configs; /* a reference of ours */
    json_t *rows, *settings;
    int64_t limit, added, removed, changed;
};

static json_t *entry_json(const struct manifest_entry *entry)
{
    static const char *const kinds[] = {
        [MANIFEST_FILE] = "file", [MANIFEST_FOLDER] = "folder", [MANIFEST_LINK] = "link"
    };
    json_t *out = json_object();
    char mode[MODE_TEXT_MAX];
    snprintf(mode, sizeof mode, "%03o", (unsigned)entry->mode);
    jsonx_set_text(out, "kind", kinds[entry->kind]);
    if (entry->kind == MANIFEST_LINK)
        jsonx_set_text(out, "target", entry->target);
    else
        jsonx_set_text(out, "mode", mode);
    if (entry->kind == MANIFEST_FILE)
        jsonx_set_int(out, "size", (int64_t)entry->size);
    return out;
}

static void put_side(json_t *row, const char *side, const struct manifest_entry *entry)
{
    if (entry == NULL)
        return;
    jsonx_set_text(row, "path", entry->path);
    json_object_set_new(row, side, entry_json(entry));
}

static void on_change(void *context, const struct manifest_entry *from,
                      const struct manifest_entry *to)
{
    struct diff *diff = context;
    diff->added += from == NULL;
    diff->removed += to == NULL;
    diff->changed += from != NULL && to != NULL;
    if ((int64_t)json_array_size(diff->rows) >= diff->limit)
        return;
    json_t *row = json_object();
    put_side(row, "from", from);
    put_side(row, "to", to);
    json_array_append_new(diff->rows, row);
}

static int read_second(struct diff *diff, struct manifest *ret, struct err *err)
{
    struct buf text;
    if (diff->to != NULL)
        return host_manifest(diff->host, diff->to, ret, err);
    buf_init(&text, MANIFEST_TEXT_MAX);
    int rc = unsqueeze_all(buf_text(&diff->text), diff->text.len, &text, err);
    if (rc == 0)
        rc = manifest_parse(buf_text(&text), text.len, true, ret, err);
    buf_done(&text);
    return rc;
}

static int compare(struct act *act, struct err *err)
{
    struct diff *diff = act->data;
    struct manifest from, to;
    manifest_init(&from);
    manifest_init(&to);
    int rc = host_manifest(diff->host, diff->from, &from, err);
    if (rc == 0)
        rc = read_second(diff, &to, err);
    if (rc == 0)
        manifest_diff(&from, &to, on_change, diff);
    if (rc == 0 && diff->to != NULL)
        settings_diff(diff->host, diff->from, diff->to, diff->configs, diff->settings);
    manifest_done(&from);
    manifest_done(&to);
    return rc;
}

static void compared(struct act *act, int rc, const struct err *err)
{
    struct diff *diff = act->data;
    json_t *answer = json_object();
    act->data = NULL;
    jsonx_set_text(answer, "from", diff->from);
    jsonx_set_text(answer, "to", diff->to);
    jsonx_set_int(answer, "added", diff->added);
    jsonx_set_int(answer, "removed", diff->removed);
    jsonx_set_int(answer, "changed", diff->changed);
    json_object_set_new(answer, "rows", diff->rows);
    if (json_array_size(diff->settings) > 0)
        json_object_set(answer, "settings", diff->settings);
    json_decref(diff->settings);
    json_decref((json_t *)diff->configs);
    buf_done(&diff->text);
    free(diff);
    if (rc == 0) {
        act_ok(act, answer);
        return;
    }
    json_decref(answer);
    act_fail(act, err, NULL);
}

void inspect_diff_verb(struct act *act)
{
    struct buf *packed = act->data;
    struct err err;
    struct diff *diff = calloc(1, sizeof *diff);
    int64_t limit = jsonx_int(act->request, "limit", ROWS_DEFAULT);
    int rc = diff == NULL ? err_set(&err, ERR_MEMORY, "no memory to compare") : 0;
    if (rc == 0)
        rc = talk_host(act->talk, &err);
    if (rc == 0)
        rc = jsonx_need_text(act->request, "from", &diff->from, &err);
    if (rc == 0) {
        diff->to = jsonx_text(act->request, "to", NULL);
        if (!manifest_id_parse(diff->from, NULL) ||
            (diff->to != NULL && !manifest_id_parse(diff->to, NULL)))
            rc = err_set(&err, ERR_INVALID, "\"from\" and \"to\" are ids of releases");
    }
    if (rc == 0 && diff->to == NULL && (packed == NULL || packed->failed))
        rc = err_set(&err, ERR_LIMIT, "the manifest that came is too large, or none came");
    if (rc < 0) {
        free(diff);
        act_fail(act, &err, NULL);
        return;
    }
    if (diff->to == NULL) {
        diff->text = *packed;
        buf_init(packed, 0);
        release_verbs_forget(act);
    }
    diff->host = &act->talk->host;
    diff->limit = limit < 0 || limit > ROWS_MAX ? ROWS_MAX : limit;
    diff->rows = json_array();
    diff->settings = json_array();
    diff->configs = json_incref(act->talk->configs);
    act->data = diff;
    act_work(act, compare, compared);
}
