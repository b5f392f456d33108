/* look.c - the contract is in look.h. */
#include "deployctl/agent/look.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "deployctl/agent/about.h"
#include "deployctl/agent/drain.h"
#include "deployctl/agent/drain_mark.h"
#include "deployctl/agent/freeze.h"
#include "deployctl/agent/gate.h"
#include "deployctl/agent/look_order.h"
#include "deployctl/agent/swap.h"
#include "deployctl/wire/proto.h"
#include "io/jsonx.h"

enum { CALL_MS = 5000 };

struct look {
    struct act *act;
    json_t *answer, *problems, *warnings; /* the lists are borrowed from answer */
    json_t *status, *state;               /* NULL = no answer */
    char error[ERR_TEXT_MAX];
    unsigned open;
};

static void put_text(json_t *list, const char *text)
{
    json_t *wrap = json_object();
    jsonx_set_text(wrap, "t", text); /* makes it valid UTF-8 */
    json_array_append(list, json_object_get(wrap, "t"));
    json_decref(wrap);
}

/* What keeps this host from taking part in a rollout. */
static void problem(struct look *look, const char *text) { put_text(look->problems, text); }

/* What people should know, and a rollout can live with. */
static void warning(struct look *look, const char *text) { put_text(look->warnings, text); }

/* --- releases ------------------------------------------------------------------------------- */

static bool names(const json_t *array, const char *id)
{
    size_t i;
    json_t *one;
    json_array_foreach(array, i, one) if (json_is_string(one) &&
                                          strcmp(json_string_value(one), id) == 0) return true;
    return false;
}

json_t *look_good(struct talk *talk, const struct host_releases *list, const json_t *state)
{
    json_t *good = json_array(), *told = json_object_get(state, "good");
    for (size_t i = 0; i < list->count; i++) {
        const struct host_release *release = &list->at[i];
        const struct journal_mark *mark =
            release->complete ? journal_find(&talk->journal, release->digest) : NULL;
        if (release->complete && (mark != NULL ? !mark->bad : names(told, release->id)))
            json_array_append_new(good, json_string(release->id));
    }
    return good;
}

static void put_releases(struct look *look, const struct host_releases *list)
{
    struct talk *talk = look->act->talk;
    json_t *rows = json_array(), *bad = json_object();
    json_t *good = look_good(talk, list, look->state);
    uint64_t highest = list->count > 0 ? list->at[0].number : 0, number;
    for (size_t i = 0; i < list->count; i++) {
        const struct host_release *release = &list->at[i];
        const struct journal_mark *mark =
            release->complete ? journal_find(&talk->journal, release->digest) : NULL;
        json_t *row = json_object();
        jsonx_set_text(row, "id", release->id);
        jsonx_set_text(row, "digest", release->complete ? release->digest : NULL);
        jsonx_set_bool(row, "good", names(good, release->id));
        jsonx_set_bool(row, "bad", mark != NULL && mark->bad);
        jsonx_set_text(row, "bad_reason", mark != NULL && mark->bad ? mark->reason : NULL);
        jsonx_set_bool(row, "complete", release->complete);
        json_t *about = about_read(&talk->host, release->id);
        if (about != NULL)
            json_object_set_new(row, "about", about);
        json_array_append_new(rows, row);
        if (!release->complete) {
            char text[ERR_TEXT_MAX];
            snprintf(text, sizeof text,
                     "%s/releases/%s is incomplete or its manifest (.deploy/manifests/%s) is "
                     "damaged; it is not used, and may be removed",
                     talk->host.path, release->id, release->id);
            warning(look, text);
        }
    }
    for (size_t i = 0; i < talk->journal.nmarks; i++) { /* of releases that are gone, too */
        const struct journal_mark *mark = &talk->journal.marks[i];
        if (manifest_id_parse(mark->id, &number) && number > highest)
            highest = number;
        if (mark->bad)
            jsonx_set_text(bad, mark->digest, mark->reason);
    }
    json_object_set_new(look->answer, "bad", bad);
    json_object_set_new(look->answer, "irreversible", about_irreversible(&talk->host));
    json_object_set_new(look->answer, "releases", rows);
    json_object_set_new(look->answer, "good", good);
    jsonx_set_int(look->answer, "highest", (int64_t)highest);
}

/* `current` may name a release that is not here (removed by hand): then digest is null. */
static void put_current(struct look *look, const struct host_releases *list)
{
    struct talk *talk = look->act->talk;
    struct err err;
    struct swap_state swap = { .confirmed = true };
    char previous[MANIFEST_ID_MAX] = "";
    const char *current = jsonx_text(look->state, "pinned", NULL);
    bool confirmed = jsonx_bool(look->state, "confirmed", true);
    if (talk->host_open && swap_read(&talk->host, &swap, &err) < 0)
        problem(look, err.text);
    if (look->state == NULL) {
        current = swap.id[0] != '\0' ? swap.id : NULL;
        confirmed = swap.confirmed;
    }
    if (talk->host_open && host_link(&talk->host, "previous", previous, &err) < 0)
        problem(look, err.text);
    const struct host_release *release = current == NULL ? NULL : host_list_find(list, current);
    jsonx_set_text(look->answer, "current", current);
    jsonx_set_text(look->answer, "digest",
                   release != NULL && release->complete ? release->digest : NULL);
    jsonx_set_text(look->answer, "previous", previous[0] != '\0' ? previous : NULL);
    jsonx_set_bool(look->answer, "confirmed", confirmed);
    jsonx_set_text(look->answer, "phase", jsonx_text(look->state, "phase", NULL));
    json_t *configs = json_object_get(look->state, "configs");
    if (json_array_size(configs) > 0)
        json_object_set(look->answer, "configs", configs);
    json_decref(talk->configs);
    talk->configs = json_incref(configs);
    json_object_set_new(look->answer, "deadline_s", gate_deadline(look->state));
}

/* --- services -----------------------------------------------------------------------------------
 */

/* Contents may be hard-linked into a new release when the service cannot write to them: all its
 * processes run as somebody else who is not root. */
static bool is_linkable(const json_t *instances)
{
    size_t i;
    json_t *instance;
    json_array_foreach(instances, i, instance)
    {
        char path[64];
        struct stat st;
        snprintf(path, sizeof path, "/proc/%lld", (long long)jsonx_int(instance, "pid", 0));
        if (stat(path, &st) < 0 || st.st_uid == 0 || st.st_uid == geteuid())
            return false;
    }
    return json_array_size(instances) > 0;
}

static void put_services(struct look *look)
{
    struct talk *talk = look->act->talk;
    bool has = talk_has_services(talk);
    json_t *instances = gate_instances(look->status, talk->services);
    size_t i;
    json_t *service;
    json_array_foreach(talk->services, i, service)
    {
        char text[ERR_TEXT_MAX];
        json_t *one = json_pack("[O]", service), *of_it = gate_instances(look->status, one);
        if (look->status != NULL && json_array_size(of_it) == 0) {
            snprintf(text, sizeof text,
                     "the supervisor on this host has no service \"%s\"; add it there with "
                     "release = %s and reload, or correct `service` in [deploy]",
                     json_is_string(service) ? json_string_value(service) : "?", talk->host.path);
            problem(look, text);
        }
        json_decref(of_it);
        json_decref(one);
    }
    char order[ERR_TEXT_MAX];
    if (*look_order_warning(look->state, talk->services, order, sizeof order))
        warning(look, order);
    /* From static files nothing runs; only root could write to them by mistake. */
    talk->host.linkable = has ? is_linkable(instances) : geteuid() != 0;
    jsonx_set_bool(look->answer, "healthy", !has || gate_healthy(instances));
    json_object_set_new(look->answer, "instances", instances);
    const char *fault = jsonx_text(look->state, "problem", NULL);
    if (fault != NULL && jsonx_bool(look->state, "damaged", false))
        warning(look, fault); /* a switch is what heals it */
    else if (fault != NULL)
        problem(look, fault);
    const char *version = jsonx_text(json_object_get(look->status, "supervisor"), "version", NULL);
    json_t *supervisor = look->status == NULL ? json_null() : json_object();
    if (look->status != NULL)
        jsonx_set_text(supervisor, "version", version);
    json_object_set_new(look->answer, "supervisor", supervisor);
    jsonx_set_text(look->answer, "supervisor_error", look->error[0] != '\0' ? look->error : NULL);
}

/* --- the rest -----------------------------------------------------------------------------------
 */

static void put_disk(struct look *look)
{
    const struct host *host = &look->act->talk->host;
    const char *parts[] = { ".", "releases", HOST_META };
    struct statvfs fs = { 0 };
    bool writable = host->root >= 0;
    if (host->root >= 0 && fstatvfs(host->root, &fs) < 0)
        memset(&fs, 0, sizeof fs);
    for (size_t i = 0; i < 3 && writable; i++)
        if (faccessat(host->root, parts[i], F_OK, AT_EACCESS) == 0 &&
            faccessat(host->root, parts[i], W_OK | X_OK, AT_EACCESS) < 0) {
            char text[ERR_TEXT_MAX];
            char user[HOST_USER_MAX];
            if (errno == EROFS)
                snprintf(text, sizeof text,
                         "%s is on a file system that is mounted read-only; look for disk errors "
                         "(dmesg), then mount it for writing",
                         host->path);
            else
                snprintf(text, sizeof text,
                         "user %s may not write to %s%s%s; give it to that user: chown -R %s %s",
                         host_user(user), host->path, i == 0 ? "" : "/", i == 0 ? "" : parts[i],
                         user, host->path);
            problem(look, text);
            writable = false;
        }
    jsonx_set_bool(look->answer, "writable", writable);
    jsonx_set_text(look->answer, "folder",
                   writable         ? "ok"
                   : host->root < 0 ? "unusable"
                                    : "not writable");
    jsonx_set_int(look->answer, "free_bytes", (int64_t)(fs.f_bavail * fs.f_frsize));
    jsonx_set_int(look->answer, "free_inodes",
                  fs.f_files == 0 ? INT64_MAX : (int64_t)fs.f_favail); /* 0: no fixed number */
}

/* Who answers here, and what this host takes the time for. */
static void put_agent(struct look *look)
{
    char user[HOST_USER_MAX];
    json_t *agent = json_object();
    jsonx_set_text(agent, "version", VERSION);
    jsonx_set_int(agent, "protocol", PROTO_HIGHEST);
    jsonx_set_text(agent, "user", host_user(user));
    json_object_set_new(look->answer, "agent", agent);
    jsonx_set_int(look->answer, "now_ms", clock_wall_us() / 1000);
}

static void put_rollout(struct look *look)
{
    struct talk *talk = look->act->talk;
    struct record_epoch epoch = { 0 };
    struct err err;
    json_t *holder = lock_held(&talk->lock) ? NULL : lock_holder(talk->host.meta);
    json_t *record = record_read(talk->host.meta);
    json_t *request = record_request_read(talk->host.meta);
    json_t *frozen = freeze_read(talk->host.meta);
    if (record_epoch_read(talk->host.meta, &epoch, &err) < 0)
        problem(look, err.text);
    if (json_object_get(record, "damaged") != NULL) {
        char text[ERR_TEXT_MAX];
        snprintf(text, sizeof text, "%s/%.300s; the record of the other hosts counts", talk->path,
                 jsonx_text(record, "damaged", ""));
        warning(look, text);
    }
    jsonx_set_int(look->answer, "epoch", epoch.epoch);
    json_object_set_new(look->answer, "holder", holder != NULL ? holder : json_null());
    json_object_set_new(look->answer, "rollout", record != NULL ? record : json_null());
    jsonx_set_text(look->answer, "request", jsonx_text(request, "what", NULL));
    json_decref(request);
    json_object_set_new(look->answer, "freeze", frozen != NULL ? frozen : json_null());
}

/* Since when it runs what it runs; how the last rollout here ended, and why. */
static void put_past(struct look *look)
{
    const struct journal *journal = &look->act->talk->journal;
    json_t *last = json_null();
    const char *reason = NULL;
    if (journal->closed != NULL) {
        const char *id = jsonx_text(journal->closed, "release", "");
        last = json_object();
        jsonx_set_text(last, "at", jsonx_text(journal->closed, "at", NULL));
        jsonx_set_text(last, "who", jsonx_text(journal->closed, "who", NULL));
        jsonx_set_text(last, "outcome", jsonx_text(journal->closed, "outcome", NULL));
        jsonx_set_text(last, "release", id);
        for (size_t i = 0; i < journal->nmarks && reason == NULL; i++)
            if (journal->marks[i].bad && strcmp(journal->marks[i].id, id) == 0)
                reason = journal->marks[i].reason;
        if (reason != NULL)
            jsonx_set_text(last, "reason", reason);
    }
    jsonx_set_text(look->answer, "since", jsonx_text(journal->moved, "at", NULL));
    json_object_set_new(look->answer, "last", last);
}

static void put_journal(struct look *look)
{
    struct talk *talk = look->act->talk;
    struct err err;
    char text[ERR_TEXT_MAX];
    if (talk->journal.fd < 0 && journal_read(&talk->journal, talk->host.meta, &err) < 0)
        problem(look, err.text);
    if (talk->journal.damaged == 0)
        return;
    snprintf(text, sizeof text, "%s/.deploy/journal: %zu damaged line%s skipped (and kept)",
             talk->path, talk->journal.damaged, talk->journal.damaged == 1 ? " was" : "s were");
    warning(look, text);
}

/* The member is there in any case: it tells that this agent knows how to drain. */
static void put_drained(struct look *look)
{
    const struct talk *talk = look->act->talk;
    char text[DRAIN_TOLD_MAX];
    bool held;
    json_t *mark = drain_mark_read(talk->host.meta, &held), *out = json_null();
    if (mark != NULL) {
        out = json_object();
        jsonx_set_text(out, "since", jsonx_text(mark, "since", NULL));
        jsonx_set_bool(out, "left", !held);
    }
    json_object_set_new(look->answer, "drained", out);
    json_decref(mark);
    drain_told(talk, text);
    if (text[0] != '\0')
        warning(look, text);
}

static void finish(struct look *look)
{
    struct act *act = look->act;
    struct talk *talk = act->talk;
    struct host_releases list = { 0 };
    struct err err;
    put_journal(look);
    if (talk->host_open && host_list(&talk->host, &list, &err) < 0)
        problem(look, err.text);
    put_releases(look, &list);
    put_current(look, &list);
    put_services(look);
    put_rollout(look);
    put_past(look);
    put_disk(look);
    put_drained(look);
    put_agent(look);
    host_list_done(&list);
    json_t *answer = look->answer;
    json_decref(look->status);
    json_decref(look->state);
    free(look);
    act_ok(act, answer);
}

static void on_status(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct look *look = context;
    (void)data;
    look->status = json_incref(result);
    if (result == NULL)
        snprintf(look->error, sizeof look->error, "%s", err->text);
    if (result == NULL) {
        bool denied = err->sys == EACCES || err->sys == EPERM;
        jsonx_set_text(look->answer, "supervisor_kind",
                       err_code_name(denied ? ERR_DENIED : err->code));
    }
    if (--look->open == 0)
        finish(look);
}

static void on_state(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct look *look = context;
    (void)data;
    look->state = json_incref(result);
    /* Not found: no service has this folder as its release; told as what it is. */
    if (result == NULL && look->error[0] == '\0')
        snprintf(look->error, sizeof look->error, "%s", err->text);
    if (--look->open == 0)
        finish(look);
}

static void remember_services(struct talk *talk, const json_t *request)
{
    json_t *services = json_object_get(request, "services");
    if (json_is_array(services)) {
        json_decref(talk->services);
        talk->services = json_incref(services);
    } else if (talk->services == NULL) {
        talk->services = json_array();
    }
    const char *socket = jsonx_text(request, "socket", NULL);
    if (socket != NULL && socket[0] != '\0')
        super_use_socket(talk->super, socket);
}

void look_verb(struct act *act)
{
    struct talk *talk = act->talk;
    struct err err;
    struct look *look = calloc(1, sizeof *look);
    remember_services(talk, act->request);
    if (look == NULL) {
        err_set(&err, ERR_MEMORY, "no memory to look");
        act_fail(act, &err, NULL);
        return;
    }
    look->act = act;
    look->answer = json_object();
    look->problems = json_array();
    look->warnings = json_array();
    json_object_set_new(look->answer, "problems", look->problems);
    json_object_set_new(look->answer, "warnings", look->warnings);
    if (talk_host(talk, &err) < 0)
        problem(look, err.text);
    if (!talk_has_services(talk)) {
        finish(look);
        return;
    }
    look->open = 2;
    super_call(talk->super, "status", NULL, CALL_MS, 0, on_status, look);
    super_call(talk->super, "release.state", json_pack("{s:s}", "path", talk->path), CALL_MS, 0,
               on_state, look);
}
