/* keeper_perform.c - the acts of the lifecycle, carried out. */
#include "supervisor/core/keeper.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "supervisor/core/keeper_notify.h"
#include "supervisor/release/releases.h"
#include "supervisor/core/remark.h"
#include "supervisor/core/sockets.h"
#include "supervisor/core/spawn.h"
#include "supervisor/core/unit_group.h"
#include "supervisor/core/unit_oom.h"

/* --- ASK: is everything there that this unit waits for? --- */

static bool slot_going_up(const struct slot *slot)
{
    enum lifecycle_state state = keeper_state(slot);

    return slot->main->body.lc.wanted && state != LIFECYCLE_RUNNING;
}

/* One need of a service; false and a name when it is not met.
 *   requires: every instance ready.   wants: ready, or given up.   after: only not before it. */
static bool need_met(const struct keeper *keeper, size_t need, bool hard, bool wait_ready,
                     const struct slot **ret_missing)
{
    struct slot *const *slots;
    size_t count = keeper_slots_of(keeper, need, &slots);

    for (size_t i = 0; i < count; i++) {
        const struct slot *slot = slots[i];
        bool settled = lifecycle_settled(keeper_state(slot));
        bool met = slot->main->body.lc.ready || keeper_listening(slot) || (!hard && settled);

        if (!wait_ready)
            met = !slot_going_up(slot) || slot->main->body.lc.ready || keeper_listening(slot);
        if (!met) {
            *ret_missing = slot;
            return false;
        }
    }
    return true;
}

static bool needs_met(struct keeper *keeper, struct unit *unit)
{
    const struct spec_service *spec = unit_spec(unit);
    const struct slot *missing;

    for (size_t i = 0; i < spec->nneeds; i++) {
        if (need_met(keeper, spec->needs[i], spec->need_hard[i], spec->need_ready[i], &missing))
            continue;
        keeper_reason(unit, "%s (%s)", missing->name, lifecycle_state_name(keeper_state(missing)));
        return false;
    }
    return true;
}

/* What its release says of it (release_config): asked again as soon as that is known. */
static bool config_there(struct unit *unit)
{
    const struct spec_service *spec = unit_spec(unit);

    if (!spec_knows(unit->slot->spec, unit->body.release))
        keeper_reason(unit, "what release %s says of it", unit->body.release);
    else if (spec->release_config && spec->release_problem && spec->release_problem[0])
        keeper_reason(unit, "a remedy: %s", spec->release_problem);
    else
        return true;
    return false;
}

static bool release_there(struct keeper *keeper, struct unit *unit)
{
    struct releases *releases = keeper->core->releases;
    size_t service = unit->slot->service;
    char id[RELEASE_ID_MAX];

    if (!unit->slot->spec->release)
        return true;
    const char *problem = releases_problem(releases, service);
    if (problem) {
        keeper_reason(unit, "a remedy: %s", problem);
        return false;
    }
    if (unit->body.next_release[0]) {
        memcpy(unit->body.release, unit->body.next_release, sizeof unit->body.release);
        unit->body.next_release[0] = '\0';
        unit->body.fresh = false;
    }
    if (unit->body.release[0] && !unit->body.fresh)
        return config_there(unit);
    if (!releases_pinned(releases, service, id)) {
        unit->body.release[0] = '\0';
        keeper_reason(unit, "release");
        return false;
    }
    snprintf(unit->body.release, sizeof unit->body.release, "%s", id);
    return config_there(unit);
}

/* --- waiting for the first connection --- */

bool keeper_at_call(const struct unit *unit)
{
    return unit_spec(unit)->set->start_on == SPEC_START_SOCKET && !unit->slot->removed &&
           unit->slot->twin != unit;
}

bool keeper_listening(const struct slot *slot) { return slot->watch != NULL; }

static void on_called(void *context)
{
    struct slot *slot = context;
    struct keeper *keeper = slot->main->keeper;

    sockets_watch_free(slot->watch);
    slot->watch = NULL;
    if (keeper_state(slot) == LIFECYCLE_WAITING)
        keeper_perform(keeper, slot->main, LIFECYCLE_ACT_ASK);
}

/* The socket is watched only from here until somebody calls: so one that does not accept is not
 * started in a circle, but through backoff like all that fail. */
static bool is_called(struct keeper *keeper, struct unit *unit)
{
    struct slot *slot = unit->slot;
    struct err err = { 0 };

    if (!keeper_at_call(unit) || sockets_called(keeper->core, slot->spec, slot->name))
        return true;
    if (!slot->watch)
        slot->watch =
            sockets_watch_new(keeper->core, slot->spec, slot->name, on_called, slot, &err);
    if (!slot->watch) { /* its start will fail by the same, say so, and be tried again */
        log_error("cannot wait for a connection", "instance", slot->name, "error", err.text, NULL);
        return true;
    }
    keeper_reason(unit, "a connection");
    slot->watch_news = keeper->stop_round_due = true;
    return false;
}

static void ask(struct keeper *keeper, struct unit *unit)
{
    const char *problem = unit->slot->removed ? NULL : keeper->user_problems[unit->slot->service];

    char limits[UNIT_GROUP_WHY_MAX];
    int64_t waits_since = unit->turn_ms;

    unit->turn_ms = 0; /* unless the breaker is still the reason */
    if (keeper->stopping_all || unit->slot->removed) {
        keeper_fact(keeper, unit, LIFECYCLE_EV_STOP);
        return;
    }
    if (keeper->core->plan->supervisor.cgroups == SPEC_CGROUPS_REQUIRED &&
        unit_group_problem(keeper->core, unit_spec(unit), limits, sizeof limits)) {
        keeper_reason(unit, "a remedy: %s", limits);
    } else if (problem) {
        keeper_reason(unit, "a remedy: %s", problem);
    } else if (needs_met(keeper, unit) && release_there(keeper, unit) && is_called(keeper, unit) &&
               keeper_may_restart(keeper, unit, waits_since)) {
        unit->body.fresh = false;
        remark_clear(&unit->reason);
        unit->may_go = true;
        keeper_fact(keeper, unit, LIFECYCLE_EV_GO);
    }
    keeper_save(unit);
}

/* --- hooks --- */

static void run_hook(struct keeper *keeper, struct unit *unit, bool post_stop)
{
    struct err err = { 0 };
    size_t record;
    int rc = 0;

    if (unit->hook_record >= 0)
        return; /* adopted: it runs already */
    if (!post_stop || !unit->made)
        rc = spawn_prepare(keeper->core, unit, unit->slot->user, &err);
    char **argv = rc == 0 ? (post_stop ? unit->made->post_stop : unit->made->pre_start) : NULL;
    if (rc == 0 && !argv) { /* taken out of the configuration meanwhile */
        keeper_fact(keeper, unit, LIFECYCLE_EV_HOOK_OK);
        return;
    }
    if (rc == 0)
        rc = spawn_helper(keeper->core, unit, unit->slot->user,
                          post_stop ? SPAWN_POST_STOP : SPAWN_PRE_START, argv, &record, &err);
    if (rc != 0) {
        keeper_reason(unit, "%s: %s", post_stop ? "post_stop" : "pre_start", err.text);
        keeper_fact(keeper, unit, LIFECYCLE_EV_NO_SPAWN);
        return;
    }
    spawn_forget(unit);
    unit->hook_record = (ssize_t)record;
    keeper->by_record[record] = unit;
}

static void kill_hook(struct keeper *keeper, struct unit *unit)
{
    if (unit->hook_record < 0) {
        keeper_fact(keeper, unit, LIFECYCLE_EV_HOOK_BAD);
        return;
    }
    size_t record = (size_t)unit->hook_record;
    pid_t pid = keeper->core->ledger.pids[record];
    if (pid > 1 && keeper->core->ledger.records[record].exited == LEDGER_LIVING)
        kill(-pid, SIGKILL);
}

/* --- spawn --- */

static void start_process(struct keeper *keeper, struct unit *unit)
{
    struct err err = { 0 };

    unit->body.gate_passed = unit->body.outdated = unit->body.pre_stopped = false;
    unit->evidence = 0;
    unit->body.oom_kills = 0;
    unit->body.settings = unit->slot->removed ? 0 : keeper_digest(keeper, unit);
    unit->body.left = 0;
    unit->body.env_sum = unit->body.files_sum = 0;
    keeper_tuned(unit);
    unit->body.told = 0;
    unit->body.exit_event = 0;
    unit->body.health = UNIT_HEALTH_UNKNOWN;
    remark_clear(&unit->check);
    unit->body.probes = unit->body.probe_failures = 0;
    unit->body.main_pid = 0;
    remark_clear(&unit->status);
    remark_clear(&unit->error);
    memset(&unit->said, 0, sizeof unit->said);
    keeper_main_free(unit);
    if (unit->body.lc.starts > 1)
        unit->body.restarts++;
    keeper_save(unit); /* a core killed after the clone leaves what the process was started with */
    if (spawn_unit(keeper->core, unit, unit->slot->user, &err) != 0) {
        keeper_reason(unit, "cannot start: %s", err.text);
        log_error("cannot start", "instance", unit->slot->name, "error", err.text, NULL);
        keeper_save(unit);
        keeper_drop_made(unit);
        keeper_fact(keeper, unit, LIFECYCLE_EV_NO_SPAWN);
        return;
    }
    unit->body.main_pid = keeper->core->ledger.pids[unit->record];
    keeper_save(unit);
    unit_oom_watch(keeper->core, unit);
    /* The kernel may have called it in before we came back. */
    if (keeper->core->ledger.records[unit->record].exited == LEDGER_LIVING)
        keeper_begin_checks(keeper, unit);
}

int keeper_stop_signal(const struct unit *unit)
{
    const struct spec_service *spec = unit_spec(unit);

    return unit->said.watchdog_bit && unit->body.lc.cause == LIFECYCLE_BY_FAULT
               ? spec->set->watchdog_signal
               : spec->set->stopsignal;
}

void keeper_send_stop(struct keeper *keeper, struct unit *unit)
{
    keeper_signal(keeper, unit, keeper_stop_signal(unit),
                  unit_spec(unit)->set->kill_mode == SPEC_KILL_GROUP);
}

void keeper_perform(struct keeper *keeper, struct unit *unit, unsigned acts)
{
    if (acts & LIFECYCLE_ACT_ASK)
        ask(keeper, unit);
    if (acts & LIFECYCLE_ACT_PRE_START)
        run_hook(keeper, unit, false);
    if (acts & LIFECYCLE_ACT_SPAWN)
        start_process(keeper, unit);
    else if (acts & LIFECYCLE_ACT_CHECKS)
        keeper_begin_checks(keeper, unit);
    if (acts & LIFECYCLE_ACT_SIGNAL) {
        if (unit->body.lc.cause == LIFECYCLE_BY_FAULT)
            keeper_evidence(keeper, unit, UNIT_EVIDENCE_FAULT);
        if (!keeper_hooks_before_stop(keeper, unit))
            keeper_send_stop(keeper, unit);
    }
    if (acts & LIFECYCLE_ACT_KILL) {
        keeper_evidence(keeper, unit, UNIT_EVIDENCE_KILL);
        keeper_kill(keeper, unit);
    }
    if (acts & LIFECYCLE_ACT_CLEAN)
        keeper_clean(keeper, unit);
    if (acts & LIFECYCLE_ACT_POST_STOP)
        run_hook(keeper, unit, true);
    if (acts & LIFECYCLE_ACT_KILL_HOOK)
        kill_hook(keeper, unit);
}
