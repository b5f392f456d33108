/* drain.c - the contract is in drain.h. */
#include "deployctl/agent/drain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/unit.h"
#include "deployctl/agent/drain_mark.h"
#include "deployctl/agent/gate.h"
#include "deployctl/agent/haproxy.h"
#include "deployctl/agent/hook.h"
#include "deployctl/agent/sock_diag.h"
#include "io/jsonx.h"

enum {
    STATUS_MS = 5000,
    POLL_FIRST_MS = 50, /* then twice as long each time: there is no event for "no connection" */
    POLL_LAST_MS = 400,
    TIMEOUT_MAX_S = 3600,
    RESTORE_MAX_S = 40, /* `fence` is waited for a minute */
    OUTPUT_TOLD = 200,
};
enum step { COMMAND_OUT, HAPROXY_OUT, DELAY, WAIT, OUT, HAPROXY_BACK, COMMAND_BACK, BACK };

struct drain {
    struct talk *talk;
    struct act *act;
    json_t *how;
    void (*then)(struct act *act);
    enum step step;
    bool soft, broken;
    bool commanded; /* `command` was run, well or not */
    size_t told;    /* sockets of HAProxy that may have been told to drain */
    bool stays;     /* something could not be brought back */
    size_t at;      /* of the sockets of HAProxy */
    int64_t sum;    /* sessions of those that were asked in this look */
    int mark;       /* holds the lock; -1 = none */
    int64_t out_ms, poll_ms, waited_ms, left; /* out_ms: since when it is out */
    struct sock_diag_ports ports;
    struct haproxy *haproxy;
    struct loop_timer *timer;
    json_t *warnings;
    json_t *answer; /* how the act ends */
    bool failed;
    struct err err;
};

static void advance(struct drain *drain);
static void ask_haproxy(struct drain *drain);

static const json_t *haproxy_of(const struct drain *drain)
{
    return json_object_get(drain->how, "haproxy");
}

static const char *socket_of(const struct drain *drain)
{
    return json_string_value(
        json_array_get(json_object_get(haproxy_of(drain), "sockets"), drain->at));
}

static size_t sockets(const struct drain *drain)
{
    size_t count = json_array_size(json_object_get(haproxy_of(drain), "sockets"));
    return count < DRAIN_SOCKETS_MAX ? count : DRAIN_SOCKETS_MAX;
}

static void warn(struct drain *drain, const char *what, const char *why)
{
    char text[ERR_TEXT_MAX];
    json_t *wrap = json_object();
    snprintf(text, sizeof text, "%s: %s", what, why);
    jsonx_set_text(wrap, "t", text); /* makes it valid UTF-8 */
    json_array_append(drain->warnings, json_object_get(wrap, "t"));
    json_decref(wrap);
}

static void note(struct drain *drain, const char *name, const char *result, const char *reason)
{
    struct err err;
    json_t *line = json_object();
    jsonx_set_text(line, "result", result);
    if (reason != NULL)
        jsonx_set_text(line, "reason", reason);
    if (strcmp(result, "out") == 0) {
        jsonx_set_int(line, "waited_ms", drain->waited_ms);
        jsonx_set_int(line, "left", drain->left);
    }
    talk_note(drain->talk, name, line, false, &err);
}

static int write_mark(struct drain *drain, bool stays, struct err *err)
{
    char at[CLOCK_TEXT_MAX];
    json_t *mark = json_object();
    jsonx_set_text(mark, "since", clock_text(clock_wall_us(), at));
    jsonx_set_text(mark, "release", jsonx_text(drain->act->request, "id", NULL));
    jsonx_set_text(mark, "rollout", drain->talk->fence.rollout);
    jsonx_set_bool(mark, "stays", stays);
    json_object_set(mark, "how", drain->how);
    int rc = drain_mark_write(drain->talk->host.meta, mark, stays ? NULL : &drain->mark, err);
    json_decref(mark);
    return rc;
}

/* --- the end of the act ----------------------------------------------------------------------- */

void drain_free(struct drain *drain)
{
    if (drain == NULL)
        return;
    if (drain->talk->drain == drain)
        drain->talk->drain = NULL;
    haproxy_free(drain->haproxy);
    loop_timer_free(drain->timer);
    auto_close_(&drain->mark);
    json_decref(drain->how);
    json_decref(drain->warnings);
    json_decref(drain->answer);
    free(drain);
}

static void end(struct drain *drain)
{
    struct act *act = drain->act;
    json_t *answer = drain->answer != NULL ? drain->answer : json_object(), *told = json_object();
    struct err err = drain->err;
    bool failed = drain->failed;
    drain->answer = NULL;
    jsonx_set_int(told, "waited_ms", drain->waited_ms);
    jsonx_set_int(told, "left", drain->left);
    json_object_set(told, "warnings", drain->warnings);
    json_object_set_new(answer, "drain", told);
    drain_free(drain);
    if (failed)
        act_fail(act, &err, answer);
    else
        act_ok(act, answer);
}

/* The mark is the last to go: what is still to be done is known from it. */
static void put_back(struct drain *drain)
{
    struct err err;
    const char *why =
        drain->broken ? "its services are not ready" : "the load balancer could not be told";
    if (drain->broken || drain->stays) {
        warn(drain, "it stays out of the traffic", why);
        note(drain, "undrain", "stays", why);
        if (write_mark(drain, true, &err) < 0)
            warn(drain, "keeping that in .deploy", err.text);
    } else {
        note(drain, "undrain", "back", NULL);
        if (drain_mark_remove(drain->talk->host.meta, &err) < 0)
            warn(drain, "putting it back into the traffic", err.text);
    }
    end(drain);
}

static void finish(struct act *act, json_t *answer, const struct err *err, bool broken)
{
    struct drain *drain = act->talk->drain;
    drain->act = act;
    drain->answer = answer;
    drain->broken = broken;
    drain->failed = err != NULL;
    if (err != NULL)
        drain->err = *err;
    drain->at = 0;
    drain->step = broken ? BACK : HAPROXY_BACK;
    advance(drain);
}

void drain_ok(struct act *act, json_t *answer, bool broken)
{
    if (act->talk->drain == NULL)
        act_ok(act, answer);
    else
        finish(act, answer, NULL, broken);
}

void drain_fail(struct act *act, const struct err *err, json_t *extra)
{
    if (act->talk->drain == NULL)
        act_fail(act, err, extra);
    else
        finish(act, extra, err, false);
}

/* --- step by step ----------------------------------------------------------------------------- */

static bool goes_out(const struct drain *drain) { return drain->step < OUT; }

/* A step did not work.  The way out ends here; the way back does what else it can. */
static void broke(struct drain *drain, const char *what, const struct err *err)
{
    struct err told = *err;
    if (!goes_out(drain)) {
        drain->stays = true;
        warn(drain, what, err->text);
        drain->step++;
        drain->at = 0;
        advance(drain);
        return;
    }
    err_wrap(&told, "%s", what);
    note(drain, "drain", "failed", told.text);
    if (drain->soft) {
        warn(drain, "going on without having drained", told.text);
        drain->step = OUT;
        drain->then(drain->act);
        return;
    }
    err_wrap(&told, "could not be drained, nothing was switched");
    finish(drain->act, NULL, &told, false);
}

static void on_command(void *context, const struct hook_end *end)
{
    struct drain *drain = context;
    bool out = goes_out(drain);
    struct err err;
    if (end->err == NULL && end->code == 0) {
        drain->step++;
        advance(drain);
        return;
    }
    if (end->err != NULL)
        err = *end->err;
    else
        err_set(&err, ERR_STATE, "it ended with code %d%s%.*s", end->code, *end->output ? ": " : "",
                OUTPUT_TOLD, end->output);
    broke(drain, out ? "[drain] command" : "[drain] undrain_command", &err);
}

/* The way back is a part of the lease that began with the switch. */
static int64_t patience_s(const struct drain *drain)
{
    int64_t most = jsonx_int(drain->how, "timeout_s", TIMEOUT_MAX_S);
    int64_t lease = jsonx_int(drain->act->request, "confirm_within_s", 0);
    if (most <= 0 || most > TIMEOUT_MAX_S)
        most = TIMEOUT_MAX_S;
    if (goes_out(drain))
        return most;
    if (lease > 0 && most > lease / 2)
        most = lease / 2 > 0 ? lease / 2 : 1;
    return drain->then == NULL && most > RESTORE_MAX_S ? RESTORE_MAX_S : most;
}

static void run_command(struct drain *drain)
{
    bool out = goes_out(drain);
    struct hook_order order = {
        .name = out ? "drain" : "undrain",
        .command = jsonx_text(drain->how, out ? "command" : "undrain_command", NULL),
        .timeout_ms = patience_s(drain) * 1000,
    };
    struct err err;
    if (order.command == NULL || (!out && !drain->commanded)) {
        drain->commanded = drain->commanded || out;
        drain->step++;
        advance(drain);
        return;
    }
    drain->commanded = true;
    json_t *env = json_copy(json_object_get(drain->how, "env"));
    env = env != NULL ? env : json_object();
    jsonx_set_text(env, "DEPLOY_STAGE", order.name);
    order.env = env;
    if (hook_start(drain->talk, &order, on_command, drain, &err) < 0)
        broke(drain, out ? "[drain] command" : "[drain] undrain_command", &err);
    json_decref(env);
}

static void start_wait(struct drain *drain)
{
    drain->step = WAIT;
    drain->out_ms = loop_now_ms(drain->talk->loop);
    drain->poll_ms = POLL_FIRST_MS;
    advance(drain);
}

static void is_out(struct drain *drain)
{
    drain->step = OUT;
    note(drain, "drain", "out", NULL);
    drain->then(drain->act);
}

/* So many are left: wait on, or be done. */
static void counted(struct drain *drain, int64_t left)
{
    int64_t most = jsonx_int(drain->how, "wait_ms", 0);
    drain->left = left;
    drain->waited_ms = loop_now_ms(drain->talk->loop) - drain->out_ms;
    if (left > 0 && drain->waited_ms < most) {
        loop_timer_arm(drain->timer, drain->poll_ms);
        drain->poll_ms = 2 * drain->poll_ms < POLL_LAST_MS ? 2 * drain->poll_ms : POLL_LAST_MS;
        return;
    }
    if (left > 0) {
        char time[UNIT_TEXT_MAX], text[120];
        unit_duration_text(most, time);
        snprintf(text, sizeof text, "%lld connection%s left after %s", (long long)left,
                 left == 1 ? " was" : "s were", time);
        warn(drain, "draining", text);
    }
    is_out(drain);
}

static void look_for_sockets(struct drain *drain)
{
    struct err err;
    int64_t left = sock_diag_established(&drain->ports, &err);
    if (left < 0)
        broke(drain, "counting connections", &err);
    else
        counted(drain, left);
}

static void on_time(void *context)
{
    struct drain *drain = context;
    if (drain->step == DELAY)
        start_wait(drain);
    else
        advance(drain);
}

static void advance(struct drain *drain)
{
    switch (drain->step) {
    case COMMAND_OUT:
    case COMMAND_BACK:
        run_command(drain);
        return;
    case HAPROXY_OUT:
    case HAPROXY_BACK:
        ask_haproxy(drain);
        return;
    case DELAY:
        loop_timer_arm(drain->timer, jsonx_int(drain->how, "delay_ms", 0));
        return;
    case WAIT:
        drain->at = 0;
        drain->sum = 0;
        if (jsonx_int(drain->how, "wait_ms", 0) <= 0)
            is_out(drain);
        else if (sockets(drain) > 0)
            ask_haproxy(drain);
        else
            look_for_sockets(drain);
        return;
    case BACK:
        put_back(drain);
        return;
    case OUT:
        return;
    }
}

/* --- HAProxy ---------------------------------------------------------------------------------- */

static void haproxy_broke(struct drain *drain, const struct err *err)
{
    char what[160];
    const char *socket = socket_of(drain);
    snprintf(what, sizeof what, "HAProxy on %.100s", socket != NULL ? socket : "?");
    broke(drain, what, err);
}

static void on_haproxy(void *context, const char *answer, const struct err *fault)
{
    struct drain *drain = context;
    const json_t *haproxy = haproxy_of(drain);
    struct err err;
    int64_t sessions = 0;
    int rc = 0;
    if (fault != NULL) {
        err = *fault;
        rc = err.code;
    } else if (drain->step == WAIT) {
        sessions = haproxy_sessions(answer, jsonx_text(haproxy, "backend", ""),
                                    jsonx_text(haproxy, "server", ""), &err);
        rc = sessions < 0 ? (int)sessions : 0;
    } else {
        rc = haproxy_check(answer, &err);
    }
    haproxy_free(drain->haproxy);
    drain->haproxy = NULL;
    drain->sum += sessions;
    if (rc < 0) {
        haproxy_broke(drain, &err);
        return;
    }
    drain->at++;
    ask_haproxy(drain);
}

/* The next of the sockets; behind the last one the step is done. */
static void ask_haproxy(struct drain *drain)
{
    const json_t *haproxy = haproxy_of(drain);
    const char *backend = jsonx_text(haproxy, "backend", "");
    char command[HAPROXY_COMMAND_MAX];
    struct err err;
    if (drain->at >= (drain->step == HAPROXY_BACK ? drain->told : sockets(drain))) {
        if (drain->step == WAIT) {
            counted(drain, drain->sum);
            return;
        }
        drain->step++;
        advance(drain);
        return;
    }
    if (drain->step == WAIT)
        haproxy_show(backend, command);
    else
        haproxy_set_state(backend, jsonx_text(haproxy, "server", ""),
                          drain->step == HAPROXY_OUT ? "drain" : "ready", command);
    const char *socket = socket_of(drain);
    drain->haproxy = haproxy_ask(drain->talk->loop, socket != NULL ? socket : "", command,
                                 on_haproxy, drain, &err);
    if (drain->haproxy == NULL)
        haproxy_broke(drain, &err);
    else if (drain->step == HAPROXY_OUT)
        drain->told = drain->at + 1;
}

/* --- the beginning ---------------------------------------------------------------------------- */

static struct drain *make(struct act *act, const json_t *how)
{
    struct drain *drain = calloc(1, sizeof *drain);
    if (drain == NULL)
        return NULL;
    *drain = (struct drain){ .talk = act->talk, .act = act, .mark = -1 };
    drain->how = json_deep_copy(how);
    drain->warnings = json_array();
    drain->timer = loop_timer_new(act->talk->loop, on_time, drain);
    act->talk->drain = drain;
    if (drain->timer != NULL && drain->how != NULL)
        return drain;
    drain_free(drain);
    return NULL;
}

static void begin(struct drain *drain)
{
    struct err err;
    note(drain, "drain-asked", "asked", NULL);
    if (write_mark(drain, false, &err) < 0)
        broke(drain, "writing .deploy/" DRAIN_MARK_NAME, &err);
    else
        advance(drain);
}

/* Not even begun: nothing to bring back. */
static void refuse(struct drain *drain, const struct err *err)
{
    if (drain->soft) {
        warn(drain, "not all connections can be waited for", err->text);
        begin(drain);
        return;
    }
    struct act *act = drain->act;
    struct err told = *err;
    note(drain, "drain", "failed", err->text);
    err_wrap(&told, "could not be drained, nothing was switched");
    drain_free(drain);
    act_fail(act, &told, NULL);
}

/* The ports that the services listen on now. */
static void on_status(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct drain *drain = context;
    const json_t *instance;
    struct err told;
    size_t i;
    int rc = 0;
    (void)data;
    if (result == NULL) {
        refuse(drain, err);
        return;
    }
    json_t *instances = gate_instances(result, drain->talk->services);
    json_array_foreach(instances, i, instance)
    {
        int64_t pid = jsonx_int(instance, "pid", 0);
        if (pid > 0 && rc == 0)
            rc = sock_diag_listening((pid_t)pid, &drain->ports, &told);
    }
    json_decref(instances);
    if (rc == 0) {
        begin(drain);
        return;
    }
    if (rc == ERR_DENIED)
        err_set(&told, ERR_DENIED,
                "the agent may not see which ports the services listen on; name them: ports in "
                "[drain]");
    refuse(drain, &told);
}

static bool needs_ports(struct drain *drain)
{
    const json_t *ports = json_object_get(drain->how, "ports"), *port;
    size_t i;
    json_array_foreach((json_t *)ports, i, port)
        sock_diag_add(&drain->ports, (uint16_t)json_integer_value(port));
    return jsonx_int(drain->how, "wait_ms", 0) > 0 && sockets(drain) == 0 &&
           drain->ports.count == 0;
}

void drain_out(struct act *act, bool soft, void (*then)(struct act *act))
{
    const json_t *how = json_object_get(act->request, "drain");
    struct err err;
    if (!json_is_object(how)) {
        then(act);
        return;
    }
    struct drain *drain = make(act, how);
    if (drain == NULL) {
        err_set(&err, ERR_MEMORY, "no memory to drain");
        act_fail(act, &err, NULL);
        return;
    }
    drain->soft = soft;
    drain->then = then;
    if (needs_ports(drain))
        super_call(act->talk->super, "status", NULL, STATUS_MS, 0, on_status, drain);
    else
        begin(drain);
}

/* --- left over -------------------------------------------------------------------------------- */

static void on_health(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct act *act = context;
    json_t *instances = result != NULL ? gate_instances(result, act->talk->services) : NULL;
    bool held, healthy = instances != NULL && gate_healthy(instances);
    json_t *mark = healthy ? drain_mark_read(act->talk->host.meta, &held) : NULL;
    struct drain *drain = mark != NULL ? make(act, json_object_get(mark, "how")) : NULL;
    (void)err, (void)data;
    json_decref(instances);
    json_decref(mark);
    if (drain == NULL) {
        act_ok(act, NULL);
        return;
    }
    drain->commanded = true;
    drain->told = sockets(drain);
    finish(act, NULL, NULL, false);
}

void drain_restore(struct act *act)
{
    bool held;
    json_t *mark = drain_mark_read(act->talk->host.meta, &held);
    json_decref(mark);
    if (mark == NULL || held || !talk_has_services(act->talk))
        act_ok(act, NULL);
    else
        super_call(act->talk->super, "status", NULL, STATUS_MS, 0, on_health, act);
}

void drain_told(const struct talk *talk, char text[static DRAIN_TOLD_MAX])
{
    bool held;
    json_t *mark = drain_mark_read(talk->host.meta, &held);
    text[0] = '\0';
    if (mark != NULL && !held)
        snprintf(text, DRAIN_TOLD_MAX,
                 "it was left out of the traffic at %.40s (%s); `deployctl resume`, or the next "
                 "release, puts it back once its services are ready",
                 jsonx_text(mark, "since", "?"),
                 jsonx_bool(mark, "stays", false) ? "its services were not ready, or the load "
                                                    "balancer could not be told"
                                                  : "its agent was killed");
    json_decref(mark);
}
