/* control.c - the contract is in control.h. */
#include "supervisor/core/control.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "io/jsonx.h"
#include "supervisor/core/audit.h"
#include "supervisor/core/control_access.h"
#include "supervisor/core/control_release.h"
#include "supervisor/core/events.h"
#include "supervisor/core/keeper.h"
#include "supervisor/core/view.h"

/* What a request is about, for which the right is needed. */
enum about {
    ABOUT_NAMES, /* each service of "names" */
    ABOUT_SHOWN, /* likewise, but no names, or "all", are those that may be seen */
    ABOUT_NAME,  /* the service "name", or each of "counts" */
    ABOUT_SET,   /* all services of a release set */
    ABOUT_HOST,
    ABOUT_ANY, /* some service */
    ABOUT_OWN, /* the service "name", as which the caller runs */
};

struct control {
    struct core *core;
    struct rpc_server *server;
    struct orders *orders;
    struct control_hands hands;
    int64_t second_ms; /* in which so many requests were refused, */
    unsigned refused;
    uint64_t untold; /* and these, since then and before, were not told of */
};
/* Anybody who may connect can be refused as often as they like: our logs do not grow by that. */
enum { REFUSALS_TOLD = 50, SECOND_MS = 1000 };

struct route {
    const char *method;
    enum access_verb right;
    enum about about;
    bool order; /* goes into the audit; what is refused does so in any case */
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

/* As orders_select; of "all" those that the caller may see. */
static int select_shown(struct control *control, struct rpc_call *call, json_t *names,
                        enum access_verb verb, struct slot ***ret, size_t *ret_count,
                        struct err *err)
{
    const struct access_peer peer = control_access_peer(rpc_call_conn(call));
    int rc = orders_select(control->orders, names, ret, ret_count, err);

    if (rc == 0)
        *ret_count = control_access_keep(control->core, &peer, verb, *ret, *ret_count);
    return rc;
}

/* Sockets belong to no service. */
static json_t *status_of(struct control *control, struct rpc_call *call, struct slot *const *slots,
                         size_t count)
{
    const struct access_peer peer = control_access_peer(rpc_call_conn(call));
    json_t *result = view_status(control->core, slots, count);
    struct err err;

    if (control_access_service(control->core, &peer, ACCESS_STATUS, ACCESS_HOST, NULL, &err) != 0)
        json_object_del(result, "sockets");
    return result;
}

static void do_status(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    struct err err = { 0 };
    struct slot **slots;
    size_t count;
    json_t *names = names_or_all(params);

    int rc = select_shown(control, call, names, (enum access_verb)verb, &slots, &count, &err);
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
    rpc_reply(call, result ? result : status_of(control, call, slots, count));
    free(slots);
}

/* Answers with one row per selected instance, under `key`. */
static void answer_rows(struct control *control, struct rpc_call *call, json_t *params,
                        enum access_verb verb, const char *key,
                        json_t *(*row_of)(const struct core *core, const struct slot *slot))
{
    struct err err = { 0 };
    struct slot **slots;
    size_t count;

    if (select_shown(control, call, json_object_get(params, "names"), verb, &slots, &count, &err) !=
        0) {
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

    if (select_shown(control, call, json_object_get(params, "names"), (enum access_verb)verb,
                     &slots, &count, &err) != 0) {
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
    answer_rows(control, call, params, (enum access_verb)verb, "instances", view_why);
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

/* An events helper asks how far it has got. */
static void do_resume(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    const struct core *core = control->core;
    uint64_t seq = core->feeds ? feeds_get(core->feeds, jsonx_text(params, "name", "")) : 0;

    (void)verb;
    if (seq >= recorder_next(&core->recorder)) /* of numbers that were lost */
        seq = 0;
    rpc_reply(call, json_pack("{s:I}", "seq", (json_int_t)seq));
}

static void do_ack(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    const struct core *core = control->core;
    struct err err = { 0 };
    int64_t seq = 0;

    (void)verb;
    int rc = jsonx_need_int(params, "seq", &seq, &err);
    if (rc == 0 && (seq < 1 || (uint64_t)seq >= recorder_next(&core->recorder)))
        rc = err_set(&err, ERR_INVALID, "there is no event of this number yet");
    if (rc == 0 && !core->feeds)
        rc = err_set(&err, ERR_MEMORY, "there is no memory for the numbers of helpers");
    if (rc == 0)
        rc = feeds_set(core->feeds, jsonx_text(params, "name", ""), (uint64_t)seq, &err);
    if (rc != 0)
        fail(call, &err);
    else
        rpc_reply(call, NULL);
}

/* Where the output of instances is; the files are read by the command itself. */
static void do_logs(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    answer_rows(control, call, params, (enum access_verb)verb, "logs", view_logs);
}

/* For who has the right and may not read the files: the core reads the end of them. */
static void do_tail(struct control *control, struct rpc_call *call, json_t *params, int verb)
{
    enum { TAIL_INSTANCES_MAX = 50, TAIL_LINES_MAX = 10000, TAIL_BYTES_MAX = 32 * 1024 };
    int64_t lines = jsonx_int(params, "lines", 10);
    bool on_err = jsonx_bool(params, "stderr", false);
    const json_t *cursors = json_object_get(params, "cursors");
    struct err err = { 0 };
    struct slot **slots;
    size_t count;

    if (select_shown(control, call, json_object_get(params, "names"), (enum access_verb)verb,
                     &slots, &count, &err) != 0) {
        fail(call, &err);
        return;
    }
    json_t *rows = json_array(), *result = json_object();
    lines = lines < 0 ? 0 : lines > TAIL_LINES_MAX ? TAIL_LINES_MAX : lines;
    for (size_t i = 0; i < count && i < TAIL_INSTANCES_MAX; i++)
        json_array_append_new(rows,
                              view_tail(control->core, slots[i], on_err, (size_t)lines,
                                        jsonx_text(cursors, slots[i]->name, NULL), TAIL_BYTES_MAX));
    free(slots);
    json_object_set_new(result, "logs", rows);
    jsonx_set_int(result, "left_out",
                  count > TAIL_INSTANCES_MAX ? (json_int_t)(count - TAIL_INSTANCES_MAX) : 0);
    rpc_reply(call, result);
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
    { "status",           ACCESS_STATUS,   ABOUT_SHOWN, false, do_status,   ACCESS_STATUS },
    { "why",              ACCESS_WHY,      ABOUT_SHOWN, false, do_why,      ACCESS_WHY },
    { "events",           ACCESS_EVENTS,   ABOUT_ANY,   false, do_events,   0 },
    { "events.resume",    ACCESS_EVENTS,   ABOUT_OWN,   false, do_resume,   0 },
    { "events.ack",       ACCESS_EVENTS,   ABOUT_OWN,   false, do_ack,      0 },
    { "version",          ACCESS_STATUS,   ABOUT_ANY,   false, do_version,  0 },
    { "doctor",           ACCESS_DOCTOR,   ABOUT_HOST,  false, do_doctor,   0 },
    { "release.state",    ACCESS_STATUS,   ABOUT_SET,   false, do_release,  CONTROL_STATE },
    { "logs",             ACCESS_LOGS,     ABOUT_SHOWN, false, do_logs,     ACCESS_LOGS },
    { "logs.tail",        ACCESS_LOGS,     ABOUT_SHOWN, false, do_tail,     ACCESS_LOGS },
    { "start",            ACCESS_START,    ABOUT_NAMES, true,  do_orders,   ORDERS_START },
    { "stop",             ACCESS_STOP,     ABOUT_NAMES, true,  do_orders,   ORDERS_STOP },
    { "restart",          ACCESS_RESTART,  ABOUT_NAMES, true,  do_orders,   ORDERS_RESTART },
    { "service.reload",   ACCESS_SIGNAL,   ABOUT_NAMES, true,  do_orders,   ORDERS_RELOAD },
    { "signal",           ACCESS_SIGNAL,   ABOUT_NAMES, true,  do_signal,   0 },
    { "scale",            ACCESS_SCALE,    ABOUT_NAME,  true,  do_scale,    0 },
    { "release.check",    ACCESS_SWITCH,   ABOUT_SET,   false, do_release,  CONTROL_CHECK },
    { "release.switch",   ACCESS_SWITCH,   ABOUT_SET,   true,  do_release,  CONTROL_SWITCH },
    { "release.confirm",  ACCESS_CONFIRM,  ABOUT_SET,   true,  do_release,  CONTROL_CONFIRM },
    { "release.extend",   ACCESS_CONFIRM,  ABOUT_SET,   true,  do_release,  CONTROL_EXTEND },
    { "release.revert",   ACCESS_ROLLBACK, ABOUT_SET,   true,  do_release,  CONTROL_REVERT },
    { "release.rollback", ACCESS_ROLLBACK, ABOUT_SET,   true,  do_release,  CONTROL_ROLLBACK },
    { "reload",           ACCESS_RELOAD,   ABOUT_HOST,  true,  do_reload,   0 },
    { "shutdown",         ACCESS_SHUTDOWN, ABOUT_HOST,  true,  do_shutdown, 0 },
    { "upgrade",          ACCESS_UPGRADE,  ABOUT_HOST,  true,  do_upgrade,  0 },
    /* clang-format on */
};

static const struct route *find_route(const char *method)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (strcmp(routes[i].method, method) == 0)
            return &routes[i];
    return NULL;
}

static bool means_all(const json_t *names)
{
    const char *only = json_string_value(json_array_get(names, 0));

    return json_array_size(names) == 0 ||
           (json_array_size(names) == 1 && only && strcmp(only, "all") == 0);
}

/* A set that no service has belongs to nobody yet. */
static int may_set(const struct core *core, const struct access_peer *peer, enum access_verb verb,
                   json_t *params, const struct access_rule **ret_by, struct err *err)
{
    const char *path = control_release_path(core, params, err);
    bool found = false;

    if (!path) { /* the call itself tells it, to those who may something */
        *err = (struct err){ 0 };
        return control_access_any(core, peer, verb, err);
    }
    for (size_t i = 0; i < core->plan->nservices; i++) {
        const char *release = core->plan->services[i].release;
        if (!release || strcmp(release, path) != 0)
            continue;
        found = true;
        if (control_access_service(core, peer, verb, i, ret_by, err) != 0)
            return ERR_DENIED;
    }
    return found ? 0 : control_access_service(core, peer, verb, ACCESS_HOST, ret_by, err);
}

static int may_name(const struct core *core, const struct access_peer *peer, enum access_verb verb,
                    const char *name, const struct access_rule **ret_by, struct err *err)
{
    ssize_t index = plan_find(core->plan, name);

    return index < 0 ? control_access_any(core, peer, verb, err)
                     : control_access_service(core, peer, verb, (size_t)index, ret_by, err);
}

static int may_count(const struct core *core, const struct access_peer *peer, enum access_verb verb,
                     json_t *params, const struct access_rule **ret_by, struct err *err)
{
    json_t *counts = json_object_get(params, "counts"), *count;
    const char *name;
    int rc = 0;

    if (json_object_size(counts) == 0)
        return may_name(core, peer, verb, jsonx_text(params, "name", ""), ret_by, err);
    json_object_foreach(counts, name, count)
    {
        rc = may_name(core, peer, verb, name, ret_by, err);
        if (rc != 0)
            break;
    }
    return rc;
}

static int may_own(const struct core *core, const struct access_peer *peer, json_t *params,
                   struct err *err)
{
    const char *name = jsonx_text(params, "name", "");
    ssize_t index = plan_find(core->plan, name);

    if (index >= 0 && core->keeper->users[index].uid == peer->uid)
        return 0;
    return err_set(
        err, ERR_DENIED,
        "permission denied: uid %u may not keep the number of the helper \"%.64s\", which "
        "runs as another user",
        (unsigned)peer->uid, name);
}

/* Whether the caller may do all of this: 0, or an error that names the first that he may not. */
static int may(struct control *control, struct rpc_call *call, const struct route *route,
               json_t *params, const struct access_rule **ret_by, struct err *err)
{
    const struct access_peer peer = control_access_peer(rpc_call_conn(call));
    const struct core *core = control->core;
    json_t *names = json_object_get(params, "names");

    *ret_by = NULL;
    if (peer.absolute)
        return 0;
    switch (route->about) {
    case ABOUT_SHOWN:
        if (means_all(names))
            return control_access_any(core, &peer, route->right, err);
        return control_access_names(core, control->orders, &peer, route->right, names, ret_by, err);
    case ABOUT_NAMES:
        return control_access_names(core, control->orders, &peer, route->right, names, ret_by, err);
    case ABOUT_NAME:
        return may_count(core, &peer, route->right, params, ret_by, err);
    case ABOUT_SET:
        return may_set(core, &peer, route->right, params, ret_by, err);
    case ABOUT_HOST:
        return control_access_service(core, &peer, route->right, ACCESS_HOST, ret_by, err);
    case ABOUT_ANY:
        return control_access_any(core, &peer, route->right, err);
    case ABOUT_OWN:
        return may_own(core, &peer, params, err);
    }
    return err_set(err, ERR_DENIED, "no rule for %s", route->method);
}

static bool tells_refusal(struct control *control)
{
    int64_t now = loop_now_ms(control->core->loop);

    if (now - control->second_ms >= SECOND_MS) {
        control->second_ms = now;
        control->refused = 0;
    }
    if (control->refused++ < REFUSALS_TOLD)
        return true;
    control->untold++;
    return false;
}

static void tell_refusal(struct control *control, struct rpc_call *call, const char *method,
                         json_t *params, const struct err *err)
{
    char untold[24];

    if (!tells_refusal(control))
        return;
    if (control->untold > 0) {
        snprintf(untold, sizeof untold, "%llu", (unsigned long long)control->untold);
        log_warn("more was refused in one second than is told", "not_told", untold, NULL);
        audit_untold(control->core->audit, control->untold);
        control->untold = 0;
    }
    log_warn("refused", "method", method, "command", rpc_call_peer(call)->command, "why", err->text,
             NULL);
    audit_call(control->core->audit, call, method, params, NULL, err);
}

static void on_call(void *context, struct rpc_call *call, const char *method, json_t *params)
{
    struct control *control = context;
    const struct route *route = find_route(method);
    const struct access_rule *by;
    struct err err = { 0 };

    if (!route) {
        err_set(&err, ERR_NOT_FOUND, "no method \"%s\" in version %s", method, VERSION);
        fail(call, &err);
        return;
    }
    int rc = may(control, call, route, params, &by, &err);
    if (rc != 0) {
        if (err.code == ERR_DENIED)
            tell_refusal(control, call, method, params, &err);
        fail(call, &err);
        return;
    }
    if (route->order)
        audit_call(control->core->audit, call, method, params, by ? by->title : NULL, NULL);
    route->run(control, call, params, route->verb);
}

/* Events are judged by the rules of the moment at which they are sent. */
static bool may_know(void *context, const struct rpc_conn *conn, const json_t *event)
{
    const struct control *control = context;
    const struct access_peer peer = control_access_peer(conn);

    return control_access_event(control->core, &peer, event);
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
    events_filter(core->events, may_know, control);
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
