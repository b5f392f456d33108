/* watch.c - the contract is in watch.h.
 *
 * The supervisor is asked at each interval; nothing is lost in between, for gates are differences
 * of counters since the switch.  The first gate stays until the next switch.
 */
#include "deployctl/agent/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deployctl/agent/gate.h"
#include "deployctl/agent/swap.h"
#include "deployctl/wire/proto.h"
#include "io/jsonx.h"

enum { INTERVAL_MIN_MS = 100, INTERVAL_MAX_MS = 60000, CALL_MS = 5000 };

struct watch {
    struct talk *talk;
    struct loop_timer *timer;
    int64_t interval_ms, told_ms;
    unsigned open;          /* calls under way */
    bool stopped;           /* free when the last of them has ended */
    json_t *status, *state; /* of this round; NULL = no answer */
    char error[GATE_TEXT_MAX];
    struct gate gate;
    char *told; /* what the last event said, without what changes all the time */
};

static void free_watch(struct watch *watch)
{
    loop_timer_free(watch->timer);
    json_decref(watch->status);
    json_decref(watch->state);
    free(watch->told);
    free(watch);
}

/* Takes the members of an instance that count as a change. */
static json_t *lasting(const json_t *event)
{
    json_t *out = json_object(), *rows = json_array(), *instance;
    static const char *const members[] = { "ready", "healthy", "gate", "confirmed", "error" };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        json_object_set(out, members[i], json_object_get(event, members[i]));
    size_t k;
    json_array_foreach(json_object_get(event, "instances"), k, instance)
    {
        json_t *row = json_copy(instance);
        json_object_del(row, "probes");
        json_object_del(row, "probe_failures");
        json_array_append_new(rows, row);
    }
    json_object_set_new(out, "instances", rows);
    return out;
}

static void tell(struct watch *watch, json_t *event)
{
    int64_t now = loop_now_ms(watch->talk->loop);
    json_t *part = lasting(event);
    char *text = json_dumps(part, JSON_COMPACT);
    bool same = text != NULL && watch->told != NULL && strcmp(text, watch->told) == 0;
    json_decref(part);
    if (same && now - watch->told_ms < PROTO_WATCH_MS) {
        free(text);
        json_decref(event);
        return;
    }
    free(watch->told);
    watch->told = text;
    watch->told_ms = now;
    talk_send(watch->talk, event);
}

static json_t *gate_json(const struct gate *gate)
{
    if (gate->kind == NULL)
        return json_null();
    json_t *out = json_object();
    jsonx_set_text(out, "kind", gate->kind);
    jsonx_set_text(out, "text", gate->text);
    return out;
}

static void report(struct watch *watch)
{
    struct talk *talk = watch->talk;
    json_t *event = json_object(), *instances = json_array();
    bool ready = false, healthy = false;
    if (watch->status != NULL) {
        json_decref(instances);
        instances = gate_instances(watch->status, talk->services);
        ready = gate_ready(instances);
        healthy = gate_healthy(instances);
        if (talk->base == NULL)
            talk->base = json_deep_copy(instances);
        if (watch->gate.kind == NULL)
            gate_compare(talk->base, instances, &watch->gate);
    }
    jsonx_set_text(event, "event", "health");
    jsonx_set_bool(event, "ready", ready);
    jsonx_set_bool(event, "healthy", healthy && watch->gate.kind == NULL);
    json_object_set_new(event, "gate", gate_json(&watch->gate));
    jsonx_set_int(event, "probes", gate_probes(instances) - gate_probes(talk->base));
    jsonx_set_bool(event, "confirmed", jsonx_bool(watch->state, "confirmed", false));
    json_object_set_new(event, "deadline_s", gate_deadline(watch->state));
    json_object_set_new(event, "instances", instances);
    if (watch->error[0] != '\0')
        jsonx_set_text(event, "error", watch->error);
    tell(watch, event);
}

/* Static files: the link is all there is. */
static void report_static(struct watch *watch)
{
    struct swap_state state;
    struct err err;
    json_t *event = json_pack("{s:s,s:b,s:b,s:n,s:i,s:[],s:n}", "event", "health", "ready", 1,
                              "healthy", 1, "gate", "probes", 0, "instances", "deadline_s");
    bool ok = swap_read(&watch->talk->host, &state, &err) == 0;
    jsonx_set_bool(event, "confirmed", ok && state.confirmed);
    tell(watch, event);
}

static void end_call(struct watch *watch)
{
    if (--watch->open > 0)
        return;
    if (watch->stopped) {
        free_watch(watch);
        return;
    }
    report(watch);
    loop_timer_arm(watch->timer, watch->interval_ms);
}

static void keep(struct watch *watch, json_t **at, json_t *result, const struct err *err)
{
    json_decref(*at);
    *at = result != NULL ? json_incref(result) : NULL;
    if (result == NULL)
        snprintf(watch->error, sizeof watch->error, "%.250s", err->text);
    end_call(watch);
}

static void on_status(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct watch *watch = context;
    (void)data;
    keep(watch, &watch->status, result, err);
}

static void on_state(void *context, json_t *result, const struct err *err, json_t *data)
{
    struct watch *watch = context;
    (void)data;
    keep(watch, &watch->state, result, err);
}

static void poll_now(void *context)
{
    struct watch *watch = context;
    struct talk *talk = watch->talk;
    if (!talk_has_services(talk)) {
        report_static(watch);
        loop_timer_arm(watch->timer, watch->interval_ms);
        return;
    }
    watch->error[0] = '\0';
    watch->open = 2; /* an answer may come before the call returns */
    super_call(talk->super, "status", NULL, CALL_MS, 0, on_status, watch);
    super_call(talk->super, "release.state", json_pack("{s:s}", "path", talk->host.path), CALL_MS,
               0, on_state, watch);
}

void watch_stop(struct talk *talk)
{
    struct watch *watch = talk->watch;
    talk->watch = NULL;
    if (watch == NULL)
        return;
    watch->stopped = true;
    loop_timer_disarm(watch->timer);
    if (watch->open == 0)
        free_watch(watch);
}

void watch_rebase(struct talk *talk)
{
    json_decref(talk->base);
    talk->base = NULL;
    if (talk->watch != NULL)
        talk->watch->gate = (struct gate){ 0 };
}

void watch_verb(struct act *act)
{
    struct talk *talk = act->talk;
    int64_t interval_ms = jsonx_int(act->request, "interval_ms", 1000);
    struct err err;
    watch_stop(talk);
    if (interval_ms > 0) {
        struct watch *watch = calloc(1, sizeof *watch);
        if (watch != NULL)
            watch->timer = loop_timer_new(talk->loop, poll_now, watch);
        if (watch == NULL || watch->timer == NULL) {
            free(watch);
            err_set(&err, ERR_MEMORY, "no memory to watch");
            act_fail(act, &err, NULL);
            return;
        }
        watch->talk = talk;
        watch->interval_ms = interval_ms < INTERVAL_MIN_MS   ? INTERVAL_MIN_MS
                             : interval_ms > INTERVAL_MAX_MS ? INTERVAL_MAX_MS
                                                             : interval_ms;
        talk->watch = watch;
        loop_timer_arm(watch->timer, 0);
    }
    act_ok(act, NULL);
}
