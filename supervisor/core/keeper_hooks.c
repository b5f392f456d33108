/* keeper_hooks.c - hooks beside the lifecycle: post_start, pre_stop, on_failed.
 *
 * The lifecycle knows nothing of them.  Each has a record of its own that says from before it
 * exists what it is and how long it may take; so a new core waits for those that the one before
 * started. pre_stop holds back the stop signal, and the deadline of the stop begins anew when it
 * has ended: the body says so before the signal is sent, so a core that is killed in between sends
 * it, and does not run the hook again.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/signals.h"
#include "io/jsonx.h"
#include "supervisor/core/events.h"
#include "supervisor/core/keeper.h"
#include "supervisor/core/spawn.h"
#include "supervisor/sandbox/sandbox.h"

enum { KILL_AGAIN_MS = 1000, SIDE_HOOKS_MAX = 4096 };

struct side_hook {
    size_t record;
    struct unit *unit; /* NULL = gone */
    enum spawn_hook hook;
    int64_t deadline_ms;
    bool killed;
};

static void arm(struct keeper *keeper)
{
    int64_t first = INT64_MAX, now = loop_now_ms(keeper->core->loop);

    for (size_t i = 0; i < keeper->nside_hooks; i++)
        if (keeper->side_hooks[i].deadline_ms < first)
            first = keeper->side_hooks[i].deadline_ms;
    if (first == INT64_MAX)
        loop_timer_disarm(keeper->hooks_timer);
    else
        loop_timer_arm(keeper->hooks_timer, first > now ? first - now : 0);
}

static void kill_hook(struct keeper *keeper, const struct side_hook *hook)
{
    const struct ledger *ledger = &keeper->core->ledger;
    pid_t pid = ledger->pids[hook->record];

    if (pid > 1 && ledger->records[hook->record].exited == LEDGER_LIVING)
        kill(-pid, SIGKILL);
}

static void on_deadline(void *context)
{
    struct keeper *keeper = context;
    int64_t now = loop_now_ms(keeper->core->loop);

    for (size_t i = 0; i < keeper->nside_hooks; i++) {
        struct side_hook *hook = &keeper->side_hooks[i];
        if (hook->deadline_ms > now)
            continue;
        kill_hook(keeper, hook);
        hook->killed = true;
        hook->deadline_ms = now + KILL_AGAIN_MS;
    }
    arm(keeper);
}

static bool add(struct keeper *keeper, struct unit *unit, enum spawn_hook hook, size_t record,
                int64_t deadline_ms)
{
    struct side_hook *all = reallocarray(keeper->side_hooks, keeper->nside_hooks + 1, sizeof *all);

    if (all)
        keeper->side_hooks = all;
    if (!keeper->hooks_timer)
        keeper->hooks_timer = loop_timer_new(keeper->core->loop, on_deadline, keeper);
    if (!all || !keeper->hooks_timer)
        return false;
    all[keeper->nside_hooks++] = (struct side_hook){
        .record = record, .unit = unit, .hook = hook, .deadline_ms = deadline_ms
    };
    arm(keeper);
    return true;
}

static struct side_hook *find(const struct keeper *keeper, const struct unit *unit,
                              enum spawn_hook hook)
{
    for (size_t i = 0; i < keeper->nside_hooks; i++)
        if (keeper->side_hooks[i].unit == unit && keeper->side_hooks[i].hook == hook)
            return &keeper->side_hooks[i];
    return NULL;
}

static char *const *words_of(const struct instance *made, enum spawn_hook hook)
{
    switch (hook) {
    case SPAWN_POST_START:
        return made->post_start;
    case SPAWN_PRE_STOP:
        return made->pre_stop;
    case SPAWN_ON_FAILED:
        return made->on_failed;
    case SPAWN_NO_HOOK:
    case SPAWN_PRE_START:
    case SPAWN_POST_STOP:
        break;
    }
    return NULL;
}

/* False: it does not run (and that is told, unless there is none). */
static bool start(struct keeper *keeper, struct unit *unit, enum spawn_hook hook)
{
    struct err err = { 0 };
    size_t record;
    int rc = 0;

    if (keeper->nside_hooks >= SIDE_HOOKS_MAX)
        rc = err_set(&err, ERR_LIMIT, "too many hooks run already");
    if (rc == 0 && !unit->made)
        rc = spawn_prepare(keeper->core, unit, unit->slot->user, &err);
    char *const *argv = rc == 0 ? words_of(unit->made, hook) : NULL;
    if (argv)
        rc = spawn_helper(keeper->core, unit, unit->slot->user, hook, argv, &record, &err);
    if (!unit->checks)
        keeper_drop_made(unit);
    if (rc == 0 && argv) {
        int64_t limit = unit_spec(unit)->set->hook_timeout_ms;
        keeper->by_record[record] = NULL;
        return add(keeper, unit, hook, record, loop_now_ms(keeper->core->loop) + limit);
    }
    if (rc != 0) {
        json_t *details = json_object();
        jsonx_set_text(details, "instance", unit->slot->name);
        jsonx_set_text(details, "hook", spawn_hook_name(hook));
        jsonx_set_text(details, "error", err.text);
        events_publish(keeper->core->events, "hook", details);
        log_warn("cannot run a hook", "instance", unit->slot->name, "hook", spawn_hook_name(hook),
                 "error", err.text, NULL);
    }
    return false;
}

void keeper_hooks_changed(struct keeper *keeper, struct unit *unit, enum lifecycle_state before,
                          bool was_ready)
{
    const struct spec_service *spec = unit_spec(unit);
    enum lifecycle_state after = (enum lifecycle_state)unit->body.lc.state;

    (void)was_ready;
    if (before == after)
        return;
    if (after == LIFECYCLE_RUNNING && spec->set->post_start)
        (void)start(keeper, unit, SPAWN_POST_START);
    else if (after == LIFECYCLE_FAILED && spec->set->on_failed)
        (void)start(keeper, unit, SPAWN_ON_FAILED);
}

static void set_deadline(struct unit *unit, int64_t from_now_ms)
{
    unit->body.lc.deadline_ms = loop_now_ms(unit->keeper->core->loop) + from_now_ms;
    keeper_save(unit);
    keeper_arm(unit);
}

bool keeper_hooks_before_stop(struct keeper *keeper, struct unit *unit)
{
    const struct spec_service *spec = unit_spec(unit);

    if (!spec->set->pre_stop || unit->body.pre_stopped || unit->body.lc.state != LIFECYCLE_STOPPING)
        return false;
    if (find(keeper, unit, SPAWN_PRE_STOP))
        return true;
    if (!start(keeper, unit, SPAWN_PRE_STOP)) {
        unit->body.pre_stopped = true;
        keeper_save(unit);
        return false;
    }
    set_deadline(unit, spec->set->hook_timeout_ms + KILL_AGAIN_MS + spec->set->stopwaitsecs_ms);
    return true;
}

static void stop_now(struct keeper *keeper, struct unit *unit)
{
    bool stopping = unit->body.lc.state == LIFECYCLE_STOPPING;

    unit->body.pre_stopped = true;
    if (stopping)
        set_deadline(unit, unit_spec(unit)->set->stopwaitsecs_ms);
    else
        keeper_save(unit);
    if (stopping)
        keeper_send_stop(keeper, unit);
}

void keeper_hooks_tell(struct keeper *keeper, const struct unit *unit, const char *hook,
                       size_t index)
{
    const struct ledger_record *record = &keeper->core->ledger.records[index];
    bool known = record->exited == LEDGER_EXITED, signalled = record->exit_code != CLD_EXITED;
    json_t *details = json_object();

    jsonx_set_text(details, "instance", unit->slot->name);
    jsonx_set_text(details, "hook", hook);
    if (known && record->report.error) {
        char step[SANDBOX_TEXT_MAX];
        jsonx_set_text(details, "step", sandbox_step_text(record->report.step, NULL, step));
        jsonx_set_text(details, "error", strerror(record->report.error));
    } else if (known && signalled)
        jsonx_set_text(details, "signal", signals_name(record->exit_status));
    else if (known)
        jsonx_set_int(details, "code", record->exit_status);
    if (!known || signalled || record->exit_status != 0)
        log_warn("a hook failed", "instance", unit->slot->name, "hook", hook, NULL);
    events_publish(keeper->core->events, "hook", details);
}

bool keeper_hooks_ended(struct keeper *keeper, size_t record)
{
    for (size_t i = 0; i < keeper->nside_hooks; i++) {
        struct side_hook ended = keeper->side_hooks[i];
        if (ended.record != record)
            continue;
        keeper->side_hooks[i] = keeper->side_hooks[--keeper->nside_hooks];
        arm(keeper);
        if (ended.unit) {
            keeper_hooks_tell(keeper, ended.unit, spawn_hook_name(ended.hook), record);
            if (ended.hook == SPAWN_PRE_STOP)
                stop_now(keeper, ended.unit);
        }
        ledger_release(&keeper->core->ledger, record);
        return true;
    }
    return false;
}

bool keeper_hooks_adopt(struct keeper *keeper, struct slot *slot, size_t record)
{
    struct unit *units[] = { slot->main, slot->twin };
    struct spawn_hook_body body;

    if (!ledger_body_get(&keeper->core->ledger, record, &body, sizeof body) ||
        body.hook < SPAWN_POST_START || body.hook > SPAWN_ON_FAILED)
        return false;
    for (size_t i = 0; i < 2; i++)
        if (units[i] && units[i]->record == body.unit)
            return add(keeper, units[i], (enum spawn_hook)body.hook, record, body.deadline_ms);
    return false;
}

void keeper_hooks_forget(struct keeper *keeper, struct unit *unit)
{
    for (size_t i = 0; i < keeper->nside_hooks; i++)
        if (keeper->side_hooks[i].unit == unit)
            keeper->side_hooks[i].unit = NULL;
}

void keeper_hooks_free(struct keeper *keeper)
{
    loop_timer_free(keeper->hooks_timer);
    free(keeper->side_hooks);
    keeper->side_hooks = NULL;
    keeper->nside_hooks = 0;
}
