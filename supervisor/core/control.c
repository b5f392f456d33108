/* control.c - the contract is in control.h. */
#include "supervisor/core/control.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "io/jsonx.h"
#include "supervisor/core/control_release.h"
#include "supervisor/core/events.h"
#include "supervisor/core/keeper.h"
#include "supervisor/host/users.h"
#include "supervisor/core/view.h"

/* Who may: everybody who may read, operators (control_group), or only root and our own uid. */
enum right { RIGHT_READ, RIGHT_OPERATE, RIGHT_OWNER };

struct control {
    struct core *core;
    struct rpc_server *server;
    struct orders *orders;
    struct control_hands hands;
};

struct route {
    const char *method;
    enum right right;
    void (*run)(struct control *control, struct rpc_call *call, json_t *params, int verb);
    int verb; /* for those that share a function */
};

static void fail(struct rpc_call *call, const struct err *err) { rpc_fail(call, err, NULL); }

/* --- reading --- */

static json_t *names_or_all(json_t *params)
{
    json_t *names = json_object_get(params, "names");

    return json_is_array(names) && json_array_size(names) > 0 ? json_incref(names)
                                                              : json_pack("[s]", "all");
}

static void do_status(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    (void)verb;
    struct err err = { 0 };
    struct slot **slots;
    size_t count;
    json_t *names = names_or_all(params);

    int rc = orders_select(control->orders, names, &slots, &count, &err);
    json_decref(names);
    if (rc != 0) {
        fail(call, &err);
        return;
    }
    json_t *text = json_object_get(params, "text"); /* how it is to be printed */
    json_t *result =
        text ? view_status_text(control->core, slots, count, (size_t)jsonx_int(text, "width", 0),
                                jsonx_bool(text, "colour", false))
             : NULL;
    rpc_reply(call, result ? result : view_status(control->core, slots, count));
    free(slots);
}

/* Answers with one row per selected instance, under `key`. */
static void answer_rows(struct control *control, struct rpc_call *call, json_t *params,
                        const char *key,
                        json_t *(*row_of)(const struct core *core, const struct slot *slot))
{
    struct err err = { 0 };
    struct slot **slots;
    size_t count;

    if (orders_select(control->orders, json_object_get(params, "names"), &slots, &count, &err)) {
        fail(call, &err);
        return;
    }
    json_t *rows = json_array(), *result = json_object();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(rows, row_of(control->core, slots[i]));
    free(slots);
    json_object_set_new(result, key, rows);
    rpc_reply(call, result);
}

/* Each costs a look at files and at the recorder, during which the core does nothing else. */
static void do_why(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    enum { WHY_INSTANCES_MAX = 50 };
    struct err err = { 0 };
    struct slot **slots;
    size_t count;

    (void)verb;
    if (orders_select(control->orders, json_object_get(params, "names"), &slots, &count, &err)) {
        fail(call, &err);
        return;
    }
    free(slots);
    if (count > WHY_INSTANCES_MAX) {
        err_set(&err, ERR_LIMIT,
                "why explains at most %d instances at a time, these are %zu: name "
                "some of them",
                (int)WHY_INSTANCES_MAX, count);
        fail(call, &err);
        return;
    }
    answer_rows(control, call, params, "instances", view_why);
}

static void do_events(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    (void)verb;
    struct rpc_conn *conn = rpc_call_conn(call);
    struct err err = { 0 };
    int64_t since = jsonx_int(params, "since", 0);
    uint64_t next = recorder_next(&control->core->recorder);

    /* Numbers begin at 1 with each supervisor; `run` tells one from another. */
    const struct ledger_header *header = control->core->ledger.header;
    char run[CLOCK_BOOT_ID_MAX + 24];
    snprintf(run, sizeof run, "%s-%lld", header->boot_id[0] ? header->boot_id : "boot",
             (long long)header->started_mono_ms);
    rpc_reply(call, json_pack("{s:I,s:s}", "next", (json_int_t)next, "run", run));
    if (conn &&
        events_subscribe(control->core->events, conn, since > 0 ? (uint64_t)since : 0, &err) != 0)
        log_warn("no subscription", "error", err.text, NULL);
}

/* Where the output of instances is; the files are read by the command itself. */
static void do_logs(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    (void)verb;
    answer_rows(control, call, params, "logs", view_logs);
}

static void do_doctor(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    (void)verb;
    (void)params;
    rpc_reply(call, view_doctor(control->core));
}

static void do_version(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    (void)verb;
    (void)control, (void)params;
    rpc_reply(call, json_pack("{s:s}", "version", VERSION));
}

/* --- operating --- */

static void do_orders(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    orders_run(control->orders, (enum orders_verb)verb, call, params);
}

static void do_signal(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    (void)verb;
    orders_signal(control->orders, call, params);
}

static void do_scale(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    (void)verb;
    control->hands.scale(control->hands.context, call, params);
}

static void do_reload(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    (void)verb;
    control->hands.reload(control->hands.context, call, params);
}

static void do_shutdown(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    (void)verb;
    control->hands.shutdown(control->hands.context, call, params);
}

static void do_upgrade(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    (void)verb;
    control->hands.upgrade(control->hands.context, call, params);
}

static void do_release(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    control_release_run(control->core, (enum control_release_verb)verb, call, params);
}

static const struct route routes[] = {
    /* clang-format off */
    { "status",           RIGHT_READ,    do_status,   0 },
    { "why",              RIGHT_READ,    do_why,      0 },
    { "events",           RIGHT_READ,    do_events,   0 },
    { "version",          RIGHT_READ,    do_version,  0 },
    { "doctor",           RIGHT_READ,    do_doctor,   0 },
    { "release.state",    RIGHT_READ,    do_release,  CONTROL_STATE },
    { "logs",             RIGHT_OPERATE, do_logs,     0 },
    { "start",            RIGHT_OPERATE, do_orders,   ORDERS_START },
    { "stop",             RIGHT_OPERATE, do_orders,   ORDERS_STOP },
    { "restart",          RIGHT_OPERATE, do_orders,   ORDERS_RESTART },
    { "signal",           RIGHT_OPERATE, do_signal,   0 },
    { "scale",            RIGHT_OPERATE, do_scale,    0 },
    { "release.switch",   RIGHT_OPERATE, do_release,  CONTROL_SWITCH },
    { "release.confirm",  RIGHT_OPERATE, do_release,  CONTROL_CONFIRM },
    { "release.extend",   RIGHT_OPERATE, do_release,  CONTROL_EXTEND },
    { "release.revert",   RIGHT_OPERATE, do_release,  CONTROL_REVERT },
    { "release.rollback", RIGHT_OPERATE, do_release,  CONTROL_ROLLBACK },
    { "reload",           RIGHT_OWNER,   do_reload,   0 },
    { "shutdown",         RIGHT_OWNER,   do_shutdown, 0 },
    { "upgrade",          RIGHT_OWNER,   do_upgrade,  0 },
    /* clang-format on */
};

static enum right right_of(const struct control *control, const struct rpc_peer *peer,
                           bool *ret_any)
{
    const struct spec_supervisor *settings = &control->core->plan->supervisor;
    struct err err = { 0 };
    gid_t group;

    *ret_any = true;
    if (peer->uid == 0 || peer->uid == geteuid())
        return RIGHT_OWNER;
    if (settings->control_group && users_group(settings->control_group, &group, &err) == 0 &&
        (peer->gid == group || users_process_in_group(peer->pid, group)))
        return RIGHT_OPERATE;
    *ret_any = settings->control_read == SPEC_READ_ALL;
    return RIGHT_READ;
}

static const struct route *find_route(const char *method)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (strcmp(routes[i].method, method) == 0)
            return &routes[i];
    return NULL;
}

static void on_call(void *context, struct rpc_call *call, const char *method, json_t *params)
{
    struct control *control = context;
    const struct route *route = find_route(method);
    const struct rpc_peer *peer = rpc_call_peer(call);
    struct err err = { 0 };
    bool any;

    if (!route) {
        err_set(&err, ERR_NOT_FOUND, "no method \"%s\" in version %s", method, VERSION);
        fail(call, &err);
        return;
    }
    enum right right = right_of(control, peer, &any);
    if (!any || right < route->right) {
        err_set(&err, ERR_DENIED, "uid %u may not call %s (root, the supervisor's own user%s may)",
                (unsigned)peer->uid, method,
                route->right == RIGHT_OWNER ? "" : " and members of control_group");
        log_warn("refused", "method", method, "command", peer->command, NULL);
        fail(call, &err);
        return;
    }
    route->run(control, call, params, route->verb);
}

static void on_close(void *context, struct rpc_conn *conn)
{
    struct control *control = context;

    events_unsubscribe(control->core->events, conn);
    orders_gone(control->orders, conn);
}

struct control *control_new(struct core *core, int fd, struct orders *orders,
                            const struct control_hands *hands, struct err *err)
{
    static const struct rpc_server_events events = { on_call, on_close };
    struct control *control = calloc(1, sizeof *control);

    if (!control) {
        close(fd);
        err_set(err, ERR_MEMORY, "no memory for the control socket");
        return NULL;
    }
    *control = (struct control){ .core = core, .orders = orders, .hands = *hands };
    control->server = rpc_server_new(core->loop, fd, &events, control, err);
    if (!control->server) {
        free(control);
        return NULL;
    }
    return control;
}

void control_free(struct control *control)
{
    if (!control)
        return;
    rpc_server_free(control->server);
    free(control);
}
