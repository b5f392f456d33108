/* gate.c - the contract is in gate.h. */
#include "deployctl/agent/gate.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "io/jsonx.h"

json_t *gate_deadline(const json_t *state)
{
    double seconds = jsonx_real(state, "deadline_s", -1);
    if (!(seconds >= 0 && seconds < INT32_MAX))
        return json_null();
    int64_t whole = (int64_t)seconds;
    return json_integer(whole + ((double)whole < seconds));
}

static bool is_wanted(const json_t *services, const char *name)
{
    size_t i;
    json_t *service;
    json_array_foreach(services, i,
                       service) if (json_is_string(service) &&
                                    strcmp(json_string_value(service), name) == 0) return true;
    return false;
}

static json_t *pick(const json_t *instance)
{
    static const char *const members[] = { "id",      "state",        "ready",          "health",
                                           "pid",     "probes",       "probe_failures", "restarts",
                                           "release", "restart_mode", "last_exit",      "reason" };
    json_t *out = json_object();
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        json_t *value = json_object_get(instance, members[i]);
        if (value != NULL)
            json_object_set(out, members[i], value);
    }
    return out;
}

json_t *gate_instances(const json_t *status, const json_t *services)
{
    json_t *out = json_array(), *service, *instance;
    size_t i, k;
    json_array_foreach(json_object_get(status, "services"), i, service)
    {
        if (!is_wanted(services, jsonx_text(service, "name", "")))
            continue;
        json_array_foreach(json_object_get(service, "instances"), k, instance)
            json_array_append_new(out, pick(instance));
    }
    return out;
}

static bool is_state(const json_t *instance, const char *state)
{
    return strcmp(jsonx_text(instance, "state", ""), state) == 0;
}

static bool ended_well(const json_t *instance)
{
    return is_state(instance, "exited") &&
           jsonx_int(json_object_get(instance, "last_exit"), "code", -1) == 0;
}

static bool is_ready(const json_t *instance)
{
    bool well = is_state(instance, "running") || is_state(instance, "scheduled");

    return ended_well(instance) || (well && jsonx_bool(instance, "ready", false));
}

bool gate_ready(const json_t *instances)
{
    size_t i;
    json_t *instance;
    json_array_foreach(instances, i, instance) if (!is_ready(instance)) return false;
    return json_array_size(instances) > 0;
}

bool gate_healthy(const json_t *instances)
{
    size_t i;
    json_t *instance;
    json_array_foreach(instances, i, instance) if (strcmp(jsonx_text(instance, "health", ""),
                                                          "bad") == 0) return false;
    return gate_ready(instances);
}

int64_t gate_probes(const json_t *instances)
{
    size_t i;
    json_t *instance;
    int64_t sum = 0;
    json_array_foreach(instances, i, instance) sum += jsonx_int(instance, "probes", 0);
    return sum;
}

static json_t *find(json_t *instances, const char *id)
{
    size_t i;
    json_t *instance;
    json_array_foreach(instances, i, instance) if (strcmp(jsonx_text(instance, "id", ""), id) ==
                                                   0) return instance;
    return NULL;
}

static void tell_exit(const json_t *instance, char text[static GATE_TEXT_MAX])
{
    const json_t *last = json_object_get(instance, "last_exit");
    const char *signal = jsonx_text(last, "signal", NULL), *cause = jsonx_text(last, "cause", NULL);
    if (!json_is_object(last))
        text[0] = '\0';
    else if (cause != NULL) /* the supervisor ended it: what its check said is what matters */
        snprintf(text, GATE_TEXT_MAX, " (%.90s)", cause);
    else if (jsonx_bool(last, "oom", false))
        snprintf(text, GATE_TEXT_MAX, " (killed for lack of memory)");
    else if (signal != NULL)
        snprintf(text, GATE_TEXT_MAX, " (signal %.20s)", signal);
    else
        snprintf(text, GATE_TEXT_MAX, " (exit code %lld)", (long long)jsonx_int(last, "code", -1));
}

static void fire(struct gate *gate, const char *kind, const json_t *instance, const char *what,
                 const char *more)
{
    gate->kind = kind;
    snprintf(gate->text, sizeof gate->text, "%.60s %s%.120s", jsonx_text(instance, "id", "?"), what,
             more);
}

/* Fills *gate when `now` is worse than `base` allows. */
static void compare_one(json_t *base, const json_t *now, struct gate *gate)
{
    char exit[GATE_TEXT_MAX], why[GATE_TEXT_MAX] = "";
    const char *reason = jsonx_text(now, "reason", NULL);
    int64_t before = jsonx_int(base, "restarts", 0), restarts = jsonx_int(now, "restarts", 0);
    tell_exit(now, exit);
    if (reason != NULL)
        snprintf(why, sizeof why, " (%.110s)", reason);
    if (restarts < before) /* counted anew by a supervisor that was started again */
        jsonx_set_int(base, "restarts", restarts);
    if (is_state(now, "failed") || is_state(now, "backoff") ||
        (is_state(now, "exited") && !ended_well(now)))
        fire(gate, "exit", now, "ended", exit);
    else if (restarts > before)
        fire(gate, "restart", now, "was restarted", exit);
    else if (strcmp(jsonx_text(now, "health", ""), "bad") == 0)
        fire(gate, "probe", now, "fails its live check", why);
    else if (is_ready(base) && !is_ready(now))
        fire(gate, "readiness", now, "is not ready any more", why);
    else if (!is_ready(base) && is_ready(now))
        json_object_update(base, (json_t *)now); /* from now on it can lose readiness */
}

void gate_compare(json_t *base, const json_t *now, struct gate *ret)
{
    size_t i;
    json_t *instance;
    *ret = (struct gate){ 0 };
    json_array_foreach(now, i, instance)
    {
        json_t *before = find(base, jsonx_text(instance, "id", ""));
        if (before == NULL)
            json_array_append_new(base, json_deep_copy(instance)); /* scaled up meanwhile */
        else
            compare_one(before, instance, ret);
        if (ret->kind != NULL)
            return;
    }
}
