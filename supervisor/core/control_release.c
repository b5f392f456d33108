/* control_release.c - the contract is in control_release.h. */
#include "supervisor/core/control_release.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/jsonx.h"
#include "supervisor/core/events.h"
#include "supervisor/core/keeper.h"
#include "supervisor/core/release_config.h"
#include "supervisor/release/releases.h"
#include "supervisor/core/view.h"

enum { ORDER_TIME_MAX_S = 30 * 24 * 3600 };

struct pending {
    struct core *core;
    struct rpc_call *call;
};

static json_t *instances_of(const struct core *core, const char *path)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < core->keeper->nslots; i++) {
        const struct slot *slot = core->keeper->slots[i];
        if (!slot->removed && slot->spec->release && strcmp(slot->spec->release, path) == 0)
            json_array_append_new(rows, view_instance(core->keeper, slot));
    }
    return rows;
}

static json_t *answer_json(const struct core *core, const struct releases_answer *answer)
{
    json_t *result = json_object();

    jsonx_set_text(result, "result", release_result_name(answer->result));
    jsonx_set_text(result, "id", answer->id);
    jsonx_set_text(result, "from", answer->from[0] ? answer->from : NULL);
    jsonx_set_text(result, "pinned", answer->pinned[0] ? answer->pinned : NULL);
    jsonx_set_text(result, "reason", answer->reason[0] ? answer->reason : NULL);
    if (answer->warning[0])
        jsonx_set_text(result, "warning", answer->warning);
    jsonx_set_bool(result, "confirmed", answer->confirmed);
    json_object_set_new(result, "deadline_s",
                        answer->deadline_ms >= 0 ? json_real((double)answer->deadline_ms / 1000.0)
                                                 : json_null());
    json_object_set_new(result, "instances", instances_of(core, answer->path));
    return result;
}

static void on_done(void *context, const struct releases_answer *answer, const struct err *err)
{
    struct pending *pending = context;

    if (answer)
        rpc_reply(pending->call, answer_json(pending->core, answer));
    else
        rpc_fail(pending->call, err, NULL);
    free(pending);
}

/* The folder of the service that has this path (a trailing slash does not matter), else as it is.
 */
static const char *known_path(const struct core *core, const char *path)
{
    size_t len = strlen(path);

    while (len > 1 && path[len - 1] == '/')
        len--;
    for (size_t i = 0; i < core->plan->nservices; i++) {
        const char *release = core->plan->services[i].release;
        if (release && strlen(release) == len && strncmp(release, path, len) == 0)
            return release;
    }
    return path;
}

/* "path", or the folder of the service called "name". */
const char *control_release_path(const struct core *core, const json_t *params, struct err *err)
{
    const char *path = jsonx_text(params, "path", NULL), *name = jsonx_text(params, "name", NULL);

    if (path)
        return known_path(core, path);
    if (!name) {
        err_set(err, ERR_INVALID, "which release set? Give a path or the name of a service");
        return NULL;
    }
    char service[SPEC_NAME_MAX];
    snprintf(service, sizeof service, "%.*s", (int)strcspn(name, ":"), name);
    ssize_t index = plan_find(core->plan, service);
    if (index < 0) {
        err_set(err, ERR_NOT_FOUND, "no service is called \"%s\"", service);
        return NULL;
    }
    if (!core->plan->services[index].release)
        err_set(err, ERR_STATE, "service %s has no release folder (key release)", service);
    return core->plan->services[index].release;
}

static int seconds(const json_t *params, const char *key, int64_t *ret_ms, struct err *err)
{
    double value = jsonx_real(params, key, 0);

    if (!(value >= 0 && value <= ORDER_TIME_MAX_S))
        return err_set(err, ERR_INVALID, "\"%s\" must be 0 to %d seconds", key, ORDER_TIME_MAX_S);
    *ret_ms = (int64_t)(value * 1000.0);
    return 0;
}

static int read_order(const struct core *core, const json_t *params, struct releases_order *order,
                      struct err *err)
{
    order->path = control_release_path(core, params, err);
    if (!order->path)
        return (int)err->code;
    order->id = jsonx_text(params, "id", NULL);
    order->token = jsonx_text(params, "token", NULL);
    order->stay = strcmp(jsonx_text(params, "on_fail", "revert"), "stay") == 0;
    int rc = seconds(params, "confirm_within", &order->confirm_within_ms, err);
    return rc != 0 ? rc : seconds(params, "ready_timeout", &order->ready_timeout_ms, err);
}

/* Instances mostly run the same. */
static void add_once(json_t *ids, const char *id)
{
    size_t i;
    json_t *other;
    json_array_foreach(ids, i, other)
    {
        if (strcmp(json_string_value(other), id) == 0)
            return;
    }
    json_array_append_new(ids, json_string(id));
}

/* The files of its releases that say something about its services; each name once. */
static json_t *configs_of(const struct core *core, const char *path)
{
    json_t *names = json_object(), *list = json_array();
    const char *name;
    json_t *unused;

    for (size_t i = 0; i < core->plan->nservices; i++) {
        const struct spec_service *spec = &core->plan->services[i];
        if (spec->release_config && spec->release && strcmp(spec->release, path) == 0)
            json_object_set_new(names, spec->release_config + (*spec->release_config == '-'),
                                json_true());
    }
    json_object_foreach(names, name, unused) json_array_append_new(list, json_string(name));
    json_decref(names);
    return list;
}

static void do_state(struct core *core, const char *path, struct rpc_call *call)
{
    struct err err = { 0 };
    json_t *state, *in_use;

    if (releases_state(core->releases, path, &state, &err) != 0) {
        rpc_fail(call, &err, NULL);
        return;
    }
    in_use = json_array();
    for (size_t i = 0; i < core->keeper->nslots; i++) {
        const struct slot *slot = core->keeper->slots[i];
        const struct unit *units[] = { slot->main, slot->twin };

        for (size_t k = 0; k < 2 && !slot->removed; k++)
            if (units[k] && units[k]->body.release[0] && slot->spec->release &&
                strcmp(slot->spec->release, path) == 0)
                add_once(in_use, units[k]->body.release);
    }
    json_object_set_new(state, "in_use", in_use);
    json_object_set_new(state, "instances", instances_of(core, path));
    json_object_set_new(state, "configs", configs_of(core, path));
    rpc_reply(call, state);
}

static void record_order(struct core *core, const char *who, enum control_release_verb verb,
                         const struct releases_order *order)
{
    static const char *const names[] = { "switch",   "confirm", "extend", "revert",
                                         "rollback", "state",   "check" };
    json_t *details = json_object();

    if (verb == CONTROL_EXTEND)
        return; /* every few seconds while somebody watches: not worth a record */
    jsonx_set_text(details, "order", names[verb]);
    jsonx_set_text(details, "path", order->path);
    jsonx_set_text(details, "release", order->id);
    jsonx_set_text(details, "token", order->token);
    jsonx_set_text(details, "who", who);
    events_publish(core->events, "order", details);
}

/* What the release says of its services is in force before it is switched to. */
static int admit(struct core *core, enum control_release_verb verb,
                 const struct releases_order *order, struct err *err)
{
    char id[RELEASE_ID_MAX];

    if (verb == CONTROL_SWITCH && order->id)
        return release_config_admit(core, order->path, order->id, err);
    if (verb == CONTROL_ROLLBACK && releases_rollback_id(core->releases, order, id))
        return release_config_admit(core, order->path, id, err);
    return 0;
}

/* Before anything is switched: would it go with this host's files? */
static void do_check(struct core *core, const struct releases_order *order, struct rpc_call *call)
{
    json_t *result = json_object(), *lines = json_array();
    struct err_list errors;
    struct err err = { 0 };

    err_list_init(&errors);
    int rc = release_config_check(core, order->path, order->id ? order->id : "", &errors, &err);
    for (size_t i = 0; i < errors.count; i++)
        json_array_append_new(lines, json_string(errors.lines[i]));
    json_object_set_new(result, "errors", lines);
    jsonx_set_int(result, "total", (json_int_t)errors.total);
    err_list_done(&errors);
    if (rc == 0) {
        rpc_reply(call, result);
        return;
    }
    json_decref(result);
    rpc_fail(call, &err, NULL);
}

void control_release_run(struct core *core, enum control_release_verb verb, struct rpc_call *call,
                         json_t *params)
{
    const struct rpc_peer *peer = rpc_call_peer(call);
    struct releases_order order = { 0 };
    struct err err = { 0 };
    char who[128];

    int rc = read_order(core, params, &order, &err);
    struct pending *pending = rc == 0 ? malloc(sizeof *pending) : NULL;
    if (rc != 0 || !pending) {
        if (rc == 0)
            err_set(&err, ERR_MEMORY, "no memory for the order");
        rpc_fail(call, &err, NULL);
        return;
    }
    if (verb == CONTROL_STATE) {
        free(pending);
        do_state(core, order.path, call);
        return;
    }
    if (verb == CONTROL_CHECK) {
        free(pending);
        do_check(core, &order, call);
        return;
    }
    snprintf(who, sizeof who, "uid %u (%s, pid %d)", (unsigned)peer->uid, peer->command,
             (int)peer->pid);
    order.who = who;
    rc = admit(core, verb, &order, &err);
    if (rc != 0) {
        free(pending);
        rpc_fail(call, &err, NULL);
        return;
    }
    *pending = (struct pending){ core, call };
    record_order(core, who, verb, &order);
    if (verb == CONTROL_SWITCH)
        releases_switch(core->releases, &order, on_done, pending);
    else if (verb == CONTROL_CONFIRM)
        releases_confirm(core->releases, &order, on_done, pending);
    else if (verb == CONTROL_EXTEND)
        releases_extend(core->releases, &order, on_done, pending);
    else if (verb == CONTROL_REVERT)
        releases_revert(core->releases, &order, on_done, pending);
    else
        releases_rollback(core->releases, &order, on_done, pending);
}
