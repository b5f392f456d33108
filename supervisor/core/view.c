/* view.c - the contract is in view.h. */
#include "supervisor/core/view.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/signals.h"
#include "io/jsonx.h"
#include "supervisor/core/jobs.h"
#include "supervisor/core/kept.h"
#include "supervisor/host/doctor.h"
#include "supervisor/core/outputs.h"
#include "supervisor/release/releases.h"
#include "supervisor/core/sockets.h"
#include "supervisor/core/audit.h"
#include "supervisor/core/troubles.h"
#include "supervisor/core/spawn.h"
#include "supervisor/sandbox/sandbox.h"
#include "supervisor/core/status.h"

enum { TEXT_MAX = 3 * 1024 * 1024, SUMMARY_MAX = 4096 };

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
        char step[SANDBOX_TEXT_MAX];
        jsonx_set_text(row, "step", sandbox_step_text(last->step, NULL, step));
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
    int64_t watchdog = said->has_watchdog ? said->watchdog_ms : unit_spec(unit)->set->watchdog_ms;

    if (unit->status[0])
        jsonx_set_text(row, "status", unit->status);
    if (said->reloading)
        jsonx_set_bool(row, "reloading", true);
    if (said->error)
        jsonx_set_text(row, "said_error", strerror(said->error));
    if (unit->error[0])
        jsonx_set_text(row, "said_error_name", unit->error);
    if (said->has_exit_status)
        jsonx_set_int(row, "said_exit_status", said->exit_status);
    if (watchdog > 0)
        jsonx_set_real(row, "watchdog_s", (double)watchdog / 1000.0);
    if (kept > 0)
        jsonx_set_int(row, "fd_store", (json_int_t)kept);
}

static void put_sandbox(const struct slot *slot, json_t *row)
{
    struct buf text;

    if (!spec_sandbox_any(&slot->spec->set->sandbox))
        return;
    buf_init(&text, SUMMARY_MAX);
    sandbox_summary(&slot->spec->set->sandbox, &text);
    jsonx_set_text(row, "sandbox", buf_text(&text));
    buf_done(&text);
}

json_t *view_instance(const struct keeper *keeper, const struct slot *slot)
{
    const struct unit *unit = slot->main;
    const struct lifecycle *lc = &unit->body.lc;
    json_t *row = json_object();

    jsonx_set_text(row, "id", slot->name);
    bool is_job = jobs_is(slot);
    jsonx_set_text(row, "state",
                   is_job ? jobs_state_name(slot) : lifecycle_state_name(keeper_state(slot)));
    if (slot->spec->kind == SPEC_PROGRAM)
        jsonx_set_text(row, "supervisord_state", lifecycle_supervisord_name(keeper_state(slot)));
    jsonx_set_bool(row, "ready", is_job ? jobs_well(slot) : lc->ready);
    jsonx_set_text(row, "health", health_names[unit->body.health % 3]);
    put_times(keeper, unit, row);
    jsonx_set_text(row, "release", unit->body.release[0] ? unit->body.release : NULL);
    jsonx_set_text(row, "waiting_for",
                   lc->state == LIFECYCLE_WAITING && unit->reason[0] ? unit->reason : NULL);
    if (keeper_waits_for_turn(unit) && unit->turn_place > 0)
        json_object_set_new(row, "turn",
                            json_pack("{s:i, s:f}", "place", (int)unit->turn_place, "in_s",
                                      (double)unit->turn_wait_ms / 1000.0));
    json_object_set_new(row, "last_exit", exit_json(unit));
    jsonx_set_text(row, "reason", unit->reason[0] ? unit->reason : NULL);
    jsonx_set_text(row, "detail", lifecycle_detail_name(keeper_state(slot)));
    jsonx_set_bool(row, "wanted", lc->wanted || (is_job && jobs_schedule(slot)->active));
    jsonx_set_bool(row, "expected", lc->state == LIFECYCLE_EXITED && lc->expected);
    if (keeper_listening(slot))
        jsonx_set_bool(row, "listening", true);
    if (keeper_runs_outdated(keeper, unit))
        jsonx_set_bool(row, "outdated", true);
    jsonx_set_bool(row, "oneshot", slot->spec->set->type == SPEC_TYPE_ONESHOT);
    jsonx_set_int(row, "probes", unit->body.probes);
    jsonx_set_int(row, "probe_failures", unit->body.probe_failures);
    jsonx_set_text(row, "check_error",
                   unit->check[0] && keeper_pid(keeper, unit) > 0 ? unit->check : NULL);
    jsonx_set_text(row, "restart_mode",
                   slot->spec->set->restart_mode == SPEC_OVERLAP ? "overlap" : "stop-first");
    if (unit_spec(unit)->release_id)
        jsonx_set_text(row, "release_file", unit_spec(unit)->release_file);
    if (unit->body.oom_kills > 0)
        jsonx_set_int(row, "oom_kills", (json_int_t)unit->body.oom_kills);
    if (unit->limit_problem)
        jsonx_set_text(row, "limits_not_enforced", unit->limit_problem);
    if (slot->twin)
        json_object_set_new(row, "twin_pid", json_integer(keeper_pid(keeper, slot->twin)));
    json_t *troubles = troubles_json(keeper->core, slot->name);
    if (troubles)
        json_object_set_new(row, "log_troubles", troubles);
    put_sandbox(slot, row);
    put_said(keeper, unit, row);
    if (is_job)
        jobs_put_json(slot, row);
    return row;
}

static json_t *controllers_json(const struct cgroup *cgroup)
{
    json_t *names = json_array();

    for (int i = 0; i < CGROUP_NCONTROLLERS; i++)
        if (cgroup->enabled & 1u << i)
            json_array_append_new(names,
                                  json_string(cgroup_controller_name((enum cgroup_controller)i)));
    return names;
}

json_t *view_guarantees(const struct core *core)
{
    json_t *row = json_object();

    jsonx_set_text(row, "crash_of_core", "services, exits and output survive it");
    jsonx_set_text(row, "containment",
                   core->cgroup.fd >= 0 ? "a control group for each instance"
                                        : "process group, session, parent tree and environment");
    json_object_set_new(row, "limits", controllers_json(&core->cgroup));
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

json_t *view_doctor(const struct core *core)
{
    struct doctor_facts facts;
    struct doctor_needs needs;

    struct cgroup cgroup = core->cgroup;

    cgroup_foresee(&cgroup);
    doctor_needs(core->plan, geteuid(), &needs);
    doctor_look(&facts, &cgroup, &needs, core->socket);
    facts.running = true;
    facts.guardian_pid = (pid_t)core->ledger.header->guardian_pid;
    facts.logs_writable = !core->logs_inherited;
    facts.state_writable = !core->state_in_memory;
    json_t *audit = audit_problem(core->audit);
    facts.audit_error = jsonx_text(audit, "error", NULL);
    facts.audit_lost = (uint64_t)jsonx_int(audit, "lost_lines", 0);
    json_t *guarantees = doctor_judge(&facts, &needs);
    json_decref(audit);
    return json_pack("{s:b,s:o}", "running", true, "guarantees", guarantees);
}

/* The breaker, while it holds restarts back. */
static void put_breaker(const struct core *core, json_t *row)
{
    int64_t open_ms;
    size_t count = keeper_number_turns(core->keeper, &open_ms);

    if (count > 0)
        json_object_set_new(row, "breaker",
                            json_pack("{s:I, s:I, s:f}", "waiting", (json_int_t)count, "burst",
                                      (json_int_t)core->plan->supervisor.restart_burst, "open_s",
                                      (double)open_ms / 1000.0));
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
    put_breaker(core, row);
    json_t *audit = audit_problem(core->audit);
    if (audit)
        json_object_set_new(row, "audit_log", audit);
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
    if (core->plan->nsockets > 0)
        json_object_set_new(root, "sockets", sockets_view(core));
    return root;
}

/* Runs as it should, and there is nothing to say about it: no need to go through JSON. */
static bool is_unremarkable(const struct core *core, const struct slot *slot)
{
    const struct unit *unit = slot->main;

    return keeper_state(slot) == LIFECYCLE_RUNNING && unit->body.lc.ready && !slot->twin &&
           !unit->status[0] && core->log_troubles == 0 && !keeper_runs_outdated(core->keeper, unit);
}

static void add_running(const struct core *core, const struct slot *slot, int64_t now,
                        struct table *table)
{
    const struct unit *unit = slot->main;
    const struct status_row row = { .id = slot->name,
                                    .state = lifecycle_state_name(LIFECYCLE_RUNNING),
                                    .health = health_names[unit->body.health % 3],
                                    .release = unit->body.release,
                                    .paint = TABLE_GOOD,
                                    .ready = true,
                                    .pid = keeper_pid(core->keeper, unit),
                                    .uptime_s = (now - unit->body.lc.started_ms) / 1000,
                                    .restarts = unit->body.restarts };
    status_add(table, &row);
}

json_t *view_status_text(const struct core *core, struct slot *const *slots, size_t count,
                         size_t width, bool colour)
{
    int64_t now = loop_now_ms(core->loop);
    bool well = true;
    struct table table;
    struct buf out;

    status_begin(&table);
    for (size_t i = 0; i < count; i++) {
        if (is_unremarkable(core, slots[i])) {
            add_running(core, slots[i], now, &table);
            continue;
        }
        json_t *row = view_instance(core->keeper, slots[i]);
        status_add_json(&table, row);
        well &= status_well(row);
        json_decref(row);
    }
    json_t *supervisor = supervisor_json(core);
    buf_init(&out, TEXT_MAX);
    status_end(&table, supervisor, width, colour, &out);
    json_decref(supervisor);
    json_t *result = out.failed || table.failed
                         ? NULL
                         : json_pack("{s:s%,s:b}", "text", buf_text(&out), out.len, "well", well);
    buf_done(&out);
    return result;
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

json_t *view_tail(const struct core *core, const struct slot *slot, bool err, size_t lines,
                  const char *cursor, size_t max)
{
    json_t *row = json_object();
    struct arena arena;
    struct outputs_cursor at = { 0 };
    bool missed = false;
    char next[64];

    arena_init(&arena);
    const struct instance *made = spawn_look(core, slot->main, &arena);
    const char *path = made ? made->stdout_log : NULL;
    if (made && err && made->stderr_log && strcmp(made->stderr_log, "stdout") != 0)
        path = made->stderr_log;
    bool more = cursor && sscanf(cursor, "%" SCNu64 ":%" SCNu64, &at.ino, &at.at) == 2;
    if (!more)
        outputs_end(path, &at);
    char *text = more ? outputs_more(path, &at, max, &missed) : outputs_tail(path, lines, max);
    snprintf(next, sizeof next, "%" PRIu64 ":%" PRIu64, at.ino, at.at);
    jsonx_set_text(row, "instance", slot->name);
    jsonx_set_text(row, "path", path);
    jsonx_set_text(row, "cursor", next);
    jsonx_set_bool(row, "missed", missed);
    jsonx_set_text(row, "text", text ? text : "");
    arena_done(&arena);
    free(text);
    return row;
}
