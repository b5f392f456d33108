/* view.c - the contract is in view.h. */
#include "supervisor/core/view.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/signals.h"
#include "io/jsonx.h"
#include "supervisor/core/kept.h"
#include "supervisor/core/outputs.h"
#include "supervisor/core/releases.h"
#include "supervisor/core/troubles.h"
#include "supervisor/core/spawn.h"

enum { WHY_EVENTS = 30, WHY_LINES = 20, WHY_BYTES = 8192 };

static const char *const health_names[] = {
    [UNIT_HEALTH_UNKNOWN] = "unknown", [UNIT_HEALTH_OK] = "ok", [UNIT_HEALTH_BAD] = "bad"
};

static json_t *exit_json(const struct unit *unit)
{
    const struct unit_exit *last = &unit->body.last;
    char at[CLOCK_TEXT_MAX];
    json_t *row;

    if (last->at_wall_us == 0)
        return json_null();
    row = json_object();
    json_object_set_new(row, "code",
                        last->known && !last->signal ? json_integer(last->code) : json_null());
    jsonx_set_text(row, "signal", last->signal ? signals_name(last->signal) : NULL);
    jsonx_set_text(row, "at", clock_text(last->at_wall_us, at));
    json_object_set_new(row, "oom",
                        last->oom == UNIT_OOM_UNKNOWN ? json_null()
                                                      : json_boolean(last->oom == UNIT_OOM_YES));
    jsonx_set_bool(row, "core", last->dumped);
    jsonx_set_bool(row, "known", last->known);
    jsonx_set_real(row, "uptime_s", (double)last->uptime_ms / 1000.0);
    jsonx_set_text(row, "cause", unit->cause[0] ? unit->cause : NULL);
    if (last->error) {
        jsonx_set_text(row, "step", child_step_name((enum child_step)last->step));
        jsonx_set_text(row, "error", strerror(last->error));
    }
    return row;
}

static void put_times(const struct keeper *keeper, const struct unit *unit, json_t *row)
{
    const struct lifecycle *lc = &unit->body.lc;
    int64_t now = loop_now_ms(keeper->core->loop);
    pid_t pid = keeper_pid(keeper, unit);

    json_object_set_new(row, "pid", pid > 0 ? json_integer(pid) : json_null());
    json_object_set_new(row, "uptime_s",
                        pid > 0 ? json_real((double)(now - lc->started_ms) / 1000.0) : json_null());
    jsonx_set_int(row, "restarts", unit->body.restarts);
    json_object_set_new(row, "next_retry_s",
                        lc->state == LIFECYCLE_BACKOFF
                            ? json_real((double)(lc->deadline_ms - now) / 1000.0)
                            : json_null());
}

/* By sd_notify. */
static void put_said(const struct keeper *keeper, const struct unit *unit, json_t *row)
{
    const struct unit_said *said = &unit->said;
    size_t kept = kept_count(keeper->core, unit->slot->name);
    int64_t watchdog = said->has_watchdog ? said->watchdog_ms : unit->slot->spec->set->watchdog_ms;

    if (unit->status[0])
        jsonx_set_text(row, "status", unit->status);
    if (said->reloading)
        jsonx_set_bool(row, "reloading", true);
    if (said->error)
        jsonx_set_text(row, "said_error", strerror(said->error));
    if (said->has_exit_status)
        jsonx_set_int(row, "said_exit_status", said->exit_status);
    if (watchdog > 0)
        jsonx_set_real(row, "watchdog_s", (double)watchdog / 1000.0);
    if (kept > 0)
        jsonx_set_int(row, "fd_store", (json_int_t)kept);
}

json_t *view_instance(const struct keeper *keeper, const struct slot *slot)
{
    const struct unit *unit = slot->main;
    const struct lifecycle *lc = &unit->body.lc;
    json_t *row = json_object();

    jsonx_set_text(row, "id", slot->name);
    jsonx_set_text(row, "state", lifecycle_state_name(keeper_state(slot)));
    if (slot->spec->kind == SPEC_PROGRAM)
        jsonx_set_text(row, "supervisord_state", lifecycle_supervisord_name(keeper_state(slot)));
    jsonx_set_bool(row, "ready", lc->ready);
    jsonx_set_text(row, "health", health_names[unit->body.health % 3]);
    put_times(keeper, unit, row);
    jsonx_set_text(row, "release", unit->body.release[0] ? unit->body.release : NULL);
    jsonx_set_text(row, "waiting_for",
                   lc->state == LIFECYCLE_WAITING && unit->reason[0] ? unit->reason : NULL);
    json_object_set_new(row, "last_exit", exit_json(unit));
    jsonx_set_text(row, "reason", unit->reason[0] ? unit->reason : NULL);
    jsonx_set_text(row, "detail", lifecycle_detail_name(keeper_state(slot)));
    jsonx_set_bool(row, "wanted", lc->wanted);
    jsonx_set_bool(row, "expected", lc->state == LIFECYCLE_EXITED && lc->expected);
    jsonx_set_bool(row, "oneshot", slot->spec->set->type == SPEC_TYPE_ONESHOT);
    jsonx_set_int(row, "probes", unit->body.probes);
    jsonx_set_int(row, "probe_failures", unit->body.probe_failures);
    jsonx_set_text(row, "check_error",
                   unit->check[0] && keeper_pid(keeper, unit) > 0 ? unit->check : NULL);
    jsonx_set_text(row, "restart_mode",
                   slot->spec->set->restart_mode == SPEC_OVERLAP ? "overlap" : "stop-first");
    if (unit->limit_problem)
        jsonx_set_text(row, "limits_not_enforced", unit->limit_problem);
    if (slot->twin)
        json_object_set_new(row, "twin_pid", json_integer(keeper_pid(keeper, slot->twin)));
    json_t *troubles = troubles_json(keeper->core, slot->name);
    if (troubles)
        json_object_set_new(row, "log_troubles", troubles);
    put_said(keeper, unit, row);
    return row;
}

json_t *view_guarantees(const struct core *core)
{
    json_t *row = json_object();

    jsonx_set_text(row, "crash_of_core", "services, exits and output survive it");
    jsonx_set_text(row, "containment",
                   core->cgroup.fd >= 0 ? "a control group for each instance"
                                        : "process group, session, parent tree and environment");
    if (core->cgroup.fd < 0)
        jsonx_set_text(row, "no_control_groups", core->cgroup.why_not);
    jsonx_set_text(row, "output",
                   core->logs_inherited ? "inherited: the log folder cannot be written"
                                        : "captured, nothing lost by a crash");
    jsonx_set_text(row, "pins",
                   core->state_in_memory
                       ? "in memory: the state folder cannot be written, a reboot "
                         "forgets them"
                       : "durable");
    jsonx_set_bool(row, "pid1", core->ledger.header->guardian_pid == 1);
    if (core->ledger.header->guardian_restarts > 0)
        jsonx_set_text(row, "exit_status",
                       "the guardian was replaced: exits of older processes may be unknown");
    return row;
}

static json_t *supervisor_json(const struct core *core)
{
    const struct ledger_header *header = core->ledger.header;
    json_t *row = json_object();

    jsonx_set_text(row, "version", VERSION);
    jsonx_set_int(row, "pid", header->guardian_pid);
    jsonx_set_int(row, "core_pid", getpid());
    jsonx_set_int(row, "core_restarts", header->core_restarts);
    jsonx_set_int(row, "logger_restarts", header->logger_restarts);
    jsonx_set_int(row, "orphans", (json_int_t)header->orphans);
    jsonx_set_text(row, "config", core->config);
    json_object_set_new(row, "guarantees", view_guarantees(core));
    jsonx_set_real(row, "uptime_s",
                   (double)(loop_now_ms(core->loop) - header->started_mono_ms) / 1000.0);
    if (core->keeper->stopping_all)
        jsonx_set_bool(row, "stopping", true);
    return row;
}

json_t *view_status(const struct core *core, struct slot *const *slots, size_t count)
{
    json_t *root = json_object(), *services = json_array(), *instances = NULL;
    const char *name = NULL;

    json_object_set_new(root, "supervisor", supervisor_json(core));
    for (size_t i = 0; i < count; i++) {
        if (!name || strcmp(name, slots[i]->spec->name) != 0) {
            json_t *service = json_object();
            name = slots[i]->spec->name;
            instances = json_array();
            jsonx_set_text(service, "name", name);
            json_object_set_new(service, "instances", instances);
            json_array_append_new(services, service);
        }
        json_array_append_new(instances, view_instance(core->keeper, slots[i]));
    }
    json_object_set_new(root, "services", services);
    return root;
}

/* --- why --- */

struct find_events {
    const struct slot *slot;
    json_t *found; /* newest first */
};

static bool names_it(json_t *names, const struct slot *slot)
{
    json_t *name;
    size_t i;

    json_array_foreach(names, i, name)
    {
        const char *text = json_string_value(name);
        if (text && (strcmp(text, slot->name) == 0 || strcmp(text, slot->spec->name) == 0 ||
                     strcmp(text, "all") == 0))
            return true;
    }
    return false;
}

static bool concerns(json_t *event, const struct slot *slot)
{
    const char *instance = jsonx_text(event, "instance", "");
    const char *path = jsonx_text(event, "path", "");
    const char *kind = jsonx_text(event, "event", "");

    return strcmp(instance, slot->name) == 0 ||
           (slot->spec->release && strcmp(path, slot->spec->release) == 0) ||
           names_it(json_object_get(event, "names"), slot) || strcmp(kind, "core-start") == 0 ||
           strcmp(kind, "reload") == 0;
}

static bool collect(void *context, uint64_t number, const char *text, size_t len)
{
    struct find_events *find = context;
    struct err err = { 0 };
    json_t *event = jsonx_parse(text, len, &err);

    (void)number;
    if (event && concerns(event, find->slot))
        json_array_append(find->found, event);
    json_decref(event);
    return json_array_size(find->found) < WHY_EVENTS;
}

static json_t *needs_json(const struct core *core, const struct slot *slot)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < slot->spec->nneeds; i++) {
        struct slot *const *others;
        size_t count = keeper_slots_of(core->keeper, slot->spec->needs[i], &others);

        for (size_t k = 0; k < count; k++) {
            json_t *row = json_object();
            jsonx_set_text(row, "instance", others[k]->name);
            jsonx_set_text(row, "state", lifecycle_state_name(keeper_state(others[k])));
            jsonx_set_bool(row, "ready", others[k]->main->body.lc.ready);
            json_array_append_new(rows, row);
        }
    }
    return rows;
}

static void put_output(const struct instance *made, json_t *row)
{
    const char *log = made ? made->stdout_log : NULL;

    if (!log || log[0] != '/')
        return;
    char *tail = outputs_tail(log, WHY_LINES, WHY_BYTES);
    jsonx_set_text(row, "log", log);
    jsonx_set_text(row, "output", tail ? tail : "");
    free(tail);
    if (made->stderr_log && made->stderr_log[0] == '/') {
        tail = outputs_tail(made->stderr_log, WHY_LINES, WHY_BYTES);
        jsonx_set_text(row, "stderr_log", made->stderr_log);
        jsonx_set_text(row, "stderr_output", tail ? tail : "");
        free(tail);
    }
}

json_t *view_why(const struct core *core, const struct slot *slot)
{
    struct find_events find = { slot, json_array() };
    json_t *row = view_instance(core->keeper, slot);
    struct arena arena;

    recorder_read_back(&core->recorder, collect, &find);
    json_object_set_new(row, "events", find.found);
    json_object_set_new(row, "needs", slot->removed ? json_array() : needs_json(core, slot));
    jsonx_set_text(row, "service", slot->spec->name);
    jsonx_set_text(row, "group", slot->spec->group);
    jsonx_set_text(row, "release_path", slot->spec->release);
    jsonx_set_text(row, "ready_check", slot->spec->set->ready.target);
    jsonx_set_text(row, "file", slot->spec->file);
    jsonx_set_int(row, "line", slot->spec->line);
    jsonx_set_text(row, "command", slot->spec->command);
    jsonx_set_int(row, "core_restarts", core->ledger.header->core_restarts);
    arena_init(&arena);
    put_output(spawn_look(core, slot->main, &arena), row);
    arena_done(&arena);
    return row;
}

json_t *view_logs(const struct core *core, const struct slot *slot)
{
    json_t *row = json_object();
    struct arena arena;

    arena_init(&arena);
    const struct instance *made = spawn_look(core, slot->main, &arena);
    jsonx_set_text(row, "instance", slot->name);
    jsonx_set_text(row, "stdout", made ? made->stdout_log : NULL);
    jsonx_set_text(row, "stderr", made ? made->stderr_log : NULL);
    arena_done(&arena);
    return row;
}
