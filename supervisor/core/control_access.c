/* control_access.c - the contract is in control_access.h. */
#include "supervisor/core/control_access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/jsonx.h"
#include "supervisor/core/keeper.h"

enum { EXPLAIN_MAX = ERR_TEXT_MAX * 2 };

struct access_peer control_access_peer(const struct rpc_conn *conn)
{
    const struct rpc_peer *from = rpc_conn_peer(conn);
    struct access_peer ret = { .absolute = from->uid == 0 || from->uid == geteuid(),
                               .uid = from->uid,
                               .gid = from->gid };

    ret.groups = rpc_conn_groups(conn, &ret.ngroups);
    return ret;
}

static int deny(const struct core *core, const struct access_peer *peer, enum access_verb verb,
                size_t service, struct err *err)
{
    const char *name = service == ACCESS_HOST ? NULL : core->plan->services[service].name;
    struct buf text;

    buf_init(&text, EXPLAIN_MAX);
    access_explain(&core->rights->rules, peer, verb, service, name, &text);
    err_set(err, ERR_DENIED, "permission denied: %s", buf_text(&text));
    buf_done(&text);
    return ERR_DENIED;
}

int control_access_service(const struct core *core, const struct access_peer *peer,
                           enum access_verb verb, size_t service, const struct access_rule **ret_by,
                           struct err *err)
{
    return access_decide(&core->rights->rules, peer, verb, service, ret_by)
               ? 0
               : deny(core, peer, verb, service, err);
}

int control_access_any(const struct core *core, const struct access_peer *peer,
                       enum access_verb verb, struct err *err)
{
    return access_any(&core->rights->rules, peer, verb) ? 0
                                                        : deny(core, peer, verb, ACCESS_HOST, err);
}

int control_access_names(const struct core *core, struct orders *orders,
                         const struct access_peer *peer, enum access_verb verb, json_t *names,
                         const struct access_rule **ret_by, struct err *err)
{
    struct slot **slots;
    size_t count, last = ACCESS_HOST;
    int rc = orders_select(orders, names, &slots, &count, err);

    if (rc != 0) { /* who may nothing is not told what there is */
        struct err denied = { 0 };
        if (control_access_any(core, peer, verb, &denied) != 0)
            *err = denied;
        return (int)err->code;
    }
    if (count == 0) /* "all" of nothing */
        rc = control_access_any(core, peer, verb, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (slots[i]->service != last)
            rc = control_access_service(core, peer, verb, slots[i]->service, ret_by, err);
        last = slots[i]->service;
    }
    free(slots);
    return rc;
}

size_t control_access_keep(const struct core *core, const struct access_peer *peer,
                           enum access_verb verb, struct slot **slots, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++)
        if (access_decide(&core->rights->rules, peer, verb, slots[i]->service, NULL))
            slots[kept++] = slots[i];
    return kept;
}

/* --- events --- */

static bool may_know(const struct core *core, const struct access_peer *peer, size_t service)
{
    return access_decide(&core->rights->rules, peer, ACCESS_EVENTS, service, NULL);
}

/* A service or instance; one that is gone was anybody's. */
static bool may_know_name(const struct core *core, const struct access_peer *peer, const char *name)
{
    size_t len = strcspn(name, ":");
    char service[SPEC_NAME_MAX];

    if (!name[len] || strcmp(name + len, ":*") != 0) {
        snprintf(service, sizeof service, "%.*s", (int)len, name);
        ssize_t index = plan_find(core->plan, service);
        return may_know(core, peer, index >= 0 ? (size_t)index : ACCESS_HOST);
    }
    for (size_t i = 0; i < core->plan->nservices; i++) {
        const char *group = core->plan->services[i].group;
        if (strlen(group) == len && strncmp(group, name, len) == 0 && !may_know(core, peer, i))
            return false;
    }
    return true;
}

static bool may_know_path(const struct core *core, const struct access_peer *peer, const char *path)
{
    bool found = false;

    for (size_t i = 0; i < core->plan->nservices; i++) {
        const char *release = core->plan->services[i].release;
        if (!release || strcmp(release, path) != 0)
            continue;
        found = true;
        if (!may_know(core, peer, i))
            return false;
    }
    return found;
}

bool control_access_event(const struct core *core, const struct access_peer *peer,
                          const json_t *event)
{
    const char *name = jsonx_text(event, "instance", jsonx_text(event, "service", NULL));
    const char *path = jsonx_text(event, "path", NULL);
    json_t *names = json_object_get(event, "names"), *one;
    size_t i;

    if (may_know(core, peer, ACCESS_HOST))
        return true;
    if (name)
        return may_know_name(core, peer, name);
    if (path)
        return may_know_path(core, peer, path);
    json_array_foreach(names, i,
                       one) if (!json_is_string(one) ||
                                !may_know_name(core, peer, json_string_value(one))) return false;
    return json_array_size(names) > 0;
}
