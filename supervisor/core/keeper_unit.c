/* keeper_unit.c - units: made, remembered in the ledger, timed, checked. */
#include "supervisor/core/keeper.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/jsonx.h"
#include "supervisor/health/checks.h"
#include "supervisor/core/events.h"
#include "supervisor/core/jobs.h"
#include "supervisor/core/keeper_notify.h"
#include "supervisor/core/outputs.h"
#include "supervisor/core/remark.h"
#include "supervisor/core/sockets.h"
#include "supervisor/core/spawn.h"
#include "supervisor/core/spawn_box.h"
#include "supervisor/core/unit_group.h"
#include "supervisor/host/cgroup_path.h"
#include "supervisor/core/unit_oom.h"

_Static_assert(sizeof(struct unit_saved) == LEDGER_UNIT_BYTES,
               "what is kept of a unit has another shape: a new LEDGER_VERSION (ledger_old.c)");
_Static_assert(sizeof(struct unit_body) <= LEDGER_BODY_NEAR, "only words may be lost");

enum { CHECK_AGAIN_MS = 500 };

static void on_deadline(void *context)
{
    struct unit *unit = context;

    /* What happened before comes first: that there is no process, say, before the word that it has
     * been up for long enough. */
    if (unit->keeper->nfacts > 0)
        loop_timer_arm(unit->timer, 0);
    else
        keeper_apply(unit->keeper, unit, LIFECYCLE_EV_TIMEOUT);
}

struct unit *keeper_unit_new(struct keeper *keeper, struct slot *slot, enum ledger_kind kind,
                             ssize_t record, struct err *err)
{
    size_t room = (keeper->nslots + 1) * KEEPER_FACTS_PER_UNIT;
    struct unit *unit = keeper_room_for_facts(keeper, room) ? calloc(1, sizeof *unit) : NULL;

    if (!unit) {
        err_set(err, ERR_MEMORY, "no memory for %s", slot->name);
        return NULL;
    }
    unit->keeper = keeper;
    unit->slot = slot;
    unit->hook_record = -1;
    unit->ready_fd = unit->events_fd = unit->memory_fd = -1;
    unit->body.number = slot->number;
    arena_init(&unit->arena);
    remark_init(&unit->reason);
    remark_init(&unit->cause);
    remark_init(&unit->status);
    remark_init(&unit->error);
    remark_init(&unit->check);
    unit->timer = loop_timer_new(keeper->core->loop, on_deadline, unit);
    if (!unit->timer) {
        err_set(err, ERR_MEMORY, "no memory for %s", slot->name);
        free(unit);
        return NULL;
    }
    if (record < 0) {
        uint32_t generation =
            slot->main ? keeper->core->ledger.records[slot->main->record].generation : 0;
        record = ledger_claim(&keeper->core->ledger, kind, slot->name, generation, err);
    }
    if (record < 0) {
        loop_timer_free(unit->timer);
        free(unit);
        return NULL;
    }
    unit->record = (size_t)record;
    keeper->by_record[record] = unit;
    return unit;
}

void keeper_unit_free(struct unit *unit)
{
    struct keeper *keeper;
    char name[STORE_NAME_MAX];

    if (!unit)
        return;
    keeper = unit->keeper;
    for (size_t i = 0; i < keeper->nfacts; i++)
        if (keeper->facts[i].unit == unit)
            keeper->facts[i].unit = NULL;
    keeper_hooks_forget(keeper, unit);
    keeper_clean_no_more(keeper, unit);
    keeper_end_checks(unit);
    keeper_watchdog_free(unit);
    keeper_main_free(unit);
    unit_oom_forget(unit);
    free(unit->members);
    unit_group_free(keeper->core, unit);
    loop_timer_free(unit->timer);
    snprintf(name, sizeof name, "ready.%s.%u", unit->slot->name, unit->record);
    core_drop(keeper->core, name);
    keeper->by_record[unit->record] = NULL;
    ledger_release(&keeper->core->ledger, unit->record);
    spawn_forget(unit);
    spawn_box_forget(unit);
    remark_clear(&unit->reason);
    remark_clear(&unit->cause);
    remark_clear(&unit->status);
    remark_clear(&unit->error);
    remark_clear(&unit->check);
    free(unit);
}

/* What a longer text left behind the end of a shorter one would be kept in the ledger. */
static void wipe_rest(char *text, size_t size)
{
    size_t len = strnlen(text, size);

    memset(text + len, 0, size - len);
}

/* Into zeros. */
static void copy_words(char *to, size_t size, const char *words)
{
    memcpy(to, words, strnlen(words, size - 1));
}

void keeper_save(struct unit *unit)
{
    struct unit_saved saved;

    wipe_rest(unit->body.release, sizeof unit->body.release);
    wipe_rest(unit->body.next_release, sizeof unit->body.next_release);
    memset(&saved, 0, sizeof saved);
    saved.body = unit->body;
    copy_words(saved.cause, sizeof saved.cause, unit->cause);
    copy_words(saved.reason, sizeof saved.reason, unit->reason);
    saved.said = unit->said;
    copy_words(saved.status, sizeof saved.status, unit->status);
    copy_words(saved.error, sizeof saved.error, unit->error);
    if (unit->slot->main == unit)
        saved.schedule = *jobs_schedule(unit->slot);
    ledger_body_put(&unit->keeper->core->ledger, unit->record, &saved, sizeof saved);
}

void keeper_arm(struct unit *unit)
{
    int64_t due = unit->body.lc.deadline_ms;

    if (due == 0) {
        loop_timer_disarm(unit->timer);
        return;
    }
    int64_t left = due - loop_now_ms(unit->keeper->core->loop);
    loop_timer_arm(unit->timer, left > 0 ? left : 0);
}

void keeper_reason(struct unit *unit, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    remark_vset(&unit->reason, UNIT_REASON_MAX, fmt, args);
    va_end(args);
}

static bool is_delay(const struct spec_service *spec)
{
    return !spec->set->ready.target || strcmp(spec->set->ready.target, "delay") == 0;
}

/* What restart_on says of the last end. */
static const struct spec_rule *rule_of(const struct unit *unit)
{
    const struct unit_exit *last = &unit->body.last;

    if (last->at_wall_us == 0 || !last->known || last->error != 0)
        return NULL;
    return spec_rule_for(&unit_spec(unit)->set->restart_on, last->signal != 0,
                         last->signal ? last->signal : last->code);
}

const char *keeper_rule_note(const struct unit *unit)
{
    static const char *const notes[] = {
        [SPEC_RULE_NEVER] = "; restart_on says never",
        [SPEC_RULE_ALWAYS] = "; restart_on says always",
        [SPEC_RULE_NOW] = "; restart_on says now",
        [SPEC_RULE_BACKOFF] = "; restart_on says backoff",
    };
    const struct spec_rule *rule = rule_of(unit);

    return rule ? notes[rule->action] : "";
}

struct lifecycle_policy keeper_policy(const struct unit *unit)
{
    static const enum lifecycle_autorestart again[] = {
        [SPEC_RESTART_FALSE] = LIFECYCLE_NEVER,
        [SPEC_RESTART_TRUE] = LIFECYCLE_ALWAYS,
        [SPEC_RESTART_UNEXPECTED] = LIFECYCLE_UNEXPECTED,
    };
    static const enum lifecycle_rule rules[] = {
        [SPEC_RULE_NEVER] = LIFECYCLE_RULE_NEVER,
        [SPEC_RULE_ALWAYS] = LIFECYCLE_RULE_ALWAYS,
        [SPEC_RULE_NOW] = LIFECYCLE_RULE_NOW,
        [SPEC_RULE_BACKOFF] = LIFECYCLE_RULE_AFTER,
    };
    const struct spec_service *spec = unit_spec(unit);
    const struct spec_rule *rule = rule_of(unit);
    bool trial = unit->slot->twin == unit && unit->slot->on_trial;
    bool at_call = keeper_at_call(unit);

    return (struct lifecycle_policy){
        .oneshot = spec->set->type != SPEC_TYPE_SERVICE,
        .program = spec->kind == SPEC_PROGRAM,
        .once = trial,
        .at_call = at_call,
        .uncalled = at_call && !lifecycle_has_process((enum lifecycle_state)unit->body.lc.state) &&
                    !sockets_called(unit->keeper->core, spec, unit->slot->name),
        .delay_ready = is_delay(spec),
        .pre_start = spec->set->pre_start != NULL,
        .post_stop = spec->set->post_stop != NULL,
        .autorestart = again[spec->set->autorestart],
        .startretries = spec->set->startretries,
        .start_ms = is_delay(spec) ? spec->set->startsecs_ms : spec->set->ready_timeout_ms,
        .run_ms = spec->set->run_timeout_ms,
        .stop_ms = spec->set->stopwaitsecs_ms,
        .hook_ms = spec->set->hook_timeout_ms,
        .backoff_reset_ms = spec->set->backoff_reset_ms,
        .backoff = { .min_ms = spec->set->backoff_min_ms,
                     .max_ms = spec->set->backoff_max_ms,
                     .factor = spec->set->backoff_factor,
                     .jitter = spec->set->backoff_jitter,
                     .linear = spec->set->backoff_linear },
        .rule = rule ? rules[rule->action] : LIFECYCLE_RULE_NONE,
        .rule_ms = rule ? rule->delay_ms : 0,
    };
}

/* --- checks of a running unit --- */

static void on_verdict(void *context, enum checks_verdict verdict, const char *reason)
{
    struct unit *unit = context;
    struct keeper *keeper = unit->keeper;
    uint8_t health = unit->body.health;

    switch (verdict) {
    case CHECKS_STARTED:
        unit->body.gate_passed = true;
        break;
    case CHECKS_READY:
        keeper_fact(keeper, unit, LIFECYCLE_EV_READY);
        break;
    case CHECKS_UNREADY:
        keeper_reason(unit, "not ready: %s", reason);
        keeper_fact(keeper, unit, LIFECYCLE_EV_UNREADY);
        break;
    case CHECKS_ALIVE:
        health = UNIT_HEALTH_OK;
        break;
    case CHECKS_SICK:
        health = UNIT_HEALTH_BAD;
        keeper_reason(unit, "%s", reason);
        if (unit_spec(unit)->set->on_live_failure == SPEC_LIVE_RESTART || !unit->body.gate_passed)
            keeper_fact(keeper, unit, LIFECYCLE_EV_SICK);
        break;
    }
    if (health != unit->body.health) {
        unit->body.health = health;
        keeper->hands.changed(keeper->hands.context, unit->slot);
    }
    keeper_save(unit);
}

static void on_counted(void *context, bool ok, const char *reason)
{
    struct unit *unit = context;

    remark_set(&unit->check, UNIT_REASON_MAX, "%s", ok ? "" : reason);
    unit->body.probes++;
    if (!ok)
        unit->body.probe_failures++;
    keeper_save(unit);
}

/* Of its own control group, and that of those who ask; of the host only where there are none: a
 * host that is busy with others may leave enough to this one. */
static enum pressure on_pressure(void *context, const char **ret_where)
{
    struct unit *unit = context;
    struct keeper *keeper = unit->keeper;
    const struct cgroup *cgroup = &keeper->core->cgroup;
    int64_t now = loop_now_ms(keeper->core->loop);
    char name[CGROUP_NAME_MAX];

    *ret_where = "on this host";
    if (!unit_group_name(keeper->core, unit, name, sizeof name))
        return pressure_ask(&keeper->host_pressure, PRESSURE_PATH, now);
    enum pressure own =
        pressure_ask_fd(&unit->pressure, cgroup_group_file(cgroup, name, "cpu.pressure"), now);
    enum pressure ours = pressure_ask_fd(
        &keeper->pressure, cgroup_group_file(cgroup, CGROUP_LEAF, "cpu.pressure"), now);
    if (own == PRESSURE_UNKNOWN)
        return pressure_ask(&keeper->host_pressure, PRESSURE_PATH, now);
    bool we = own == PRESSURE_FINE && ours == PRESSURE_STARVED;
    *ret_where = we ? "for the supervisor itself" : "in its control group";
    return we ? ours : own;
}

static void on_excused(void *context, const char *reason)
{
    struct unit *unit = context;
    json_t *details = json_object();

    jsonx_set_text(details, "instance", unit->slot->name);
    jsonx_set_text(details, "why", reason);
    events_publish(unit->keeper->core->events, "probe-excused", details);
}

static int on_exec(void *context, char *const *argv, size_t *ret_token, struct err *err)
{
    struct unit *unit = context;

    int rc = spawn_helper(unit->keeper->core, unit, unit->slot->user, SPAWN_NO_HOOK, argv,
                          ret_token, err);
    if (rc == 0)
        unit->keeper->by_record[*ret_token] = unit;
    return rc;
}

/* The record stays claimed until the exit was seen. */
static void on_exec_kill(void *context, size_t token, bool gone)
{
    struct unit *unit = context;
    struct keeper *keeper = unit->keeper;
    pid_t pid = keeper->core->ledger.pids[token];

    if (gone)
        keeper->by_record[token] = NULL;
    if (pid > 0 && keeper->core->ledger.records[token].exited == LEDGER_LIVING)
        kill(-pid, SIGKILL);
}

enum unit_told keeper_way_to_tell(const struct instance *made)
{
    switch (made->ready.kind) {
    case SPEC_CHECK_NOTIFY:
        return UNIT_TOLD_NOTIFY;
    case SPEC_CHECK_FD:
        return UNIT_TOLD_FD;
    case SPEC_CHECK_LOG:
        return UNIT_TOLD_LOG;
    case SPEC_CHECK_NONE:
    case SPEC_CHECK_DELAY:
    case SPEC_CHECK_HTTP:
    case SPEC_CHECK_TCP:
    case SPEC_CHECK_UNIX:
    case SPEC_CHECK_EXEC:
    case SPEC_CHECK_GRPC:
    case SPEC_NCHECKS:
        break;
    }
    return 0;
}

/* What it said counts when it is what its `ready` waits for. */
static void honour_told(struct unit *unit)
{
    if (unit->checks && (unit->body.told & keeper_way_to_tell(unit->made)) &&
        !unit->body.lc.ready && unit->body.lc.state == LIFECYCLE_STARTING)
        checks_told_ready(unit->checks);
}

void keeper_told_ready(struct unit *unit, enum unit_told how)
{
    unit->body.told |= (uint8_t)how;
    keeper_save(unit);
    honour_told(unit);
}

/* A newline in the pipe; what is in front of it means nothing.  The bytes are looked at through
 * tee() and stay where they are until the ledger knows: a core that is killed in between leaves
 * them to the next. */
static ssize_t look_for_newline(int fd, bool *ret_found)
{
    char text[4096];
    int copy[2];

    *ret_found = false;
    if (pipe2(copy, O_CLOEXEC | O_NONBLOCK) != 0)
        copy[0] = copy[1] = -1;
    ssize_t got = copy[0] >= 0 ? tee(fd, copy[1], sizeof text, SPLICE_F_NONBLOCK) : -1;
    if (got > 0)
        got = read(copy[0], text, (size_t)got);
    else if (copy[0] < 0) /* no descriptor left: the pipe itself */
        got = read(fd, text, sizeof text);
    *ret_found = got > 0 && memchr(text, '\n', (size_t)got);
    if (got > 0 && !*ret_found && copy[0] >= 0)
        got = read(fd, text, (size_t)got);
    if (copy[0] >= 0) {
        close(copy[0]);
        close(copy[1]);
    }
    return got;
}

static void on_ready_fd(void *context, unsigned events)
{
    struct unit *unit = context;
    bool found;
    ssize_t got = look_for_newline(unit->ready_fd, &found);

    (void)events;
    if (found) {
        loop_watch_set(unit->ready_watch, 0);
        keeper_told_ready(unit, UNIT_TOLD_FD);
    } else if (got == 0) { /* end of file without a newline: it will never say so */
        loop_watch_set(unit->ready_watch, 0);
    }
}

/* For want of memory or descriptors: neither readiness nor a failure would ever be seen. */
static void check_later(struct keeper *keeper, struct unit *unit, const struct err *err)
{
    if (!unit->unchecked) { /* said once */
        keeper_reason(unit, "cannot check it: %s; trying again", err->text);
        log_error("cannot check, trying again", "instance", unit->slot->name, "error", err->text,
                  NULL);
    }
    unit->unchecked = true;
    loop_timer_arm(keeper->checks_timer, CHECK_AGAIN_MS);
}

static void watch_ready_fd(struct keeper *keeper, struct unit *unit)
{
    char name[STORE_NAME_MAX];
    struct err err = { 0 };

    snprintf(name, sizeof name, "ready.%s.%u", unit->slot->name, unit->record);
    unit->ready_fd = store_get(&keeper->core->store, name);
    if (unit->ready_fd < 0 || unit->made->ready.kind != SPEC_CHECK_FD || unit->body.lc.ready ||
        (unit->body.told & UNIT_TOLD_FD))
        return;
    unit->ready_watch = loop_watch_new(keeper->core->loop, unit->ready_fd, on_ready_fd, unit, &err);
    if (unit->ready_watch)
        loop_watch_set(unit->ready_watch, LOOP_READ);
    else
        check_later(keeper, unit, &err);
}

static bool has_checks(const struct spec_service *spec)
{
    return !is_delay(spec) || spec->set->startup.target || spec->set->live.target;
}

/* Readiness that it tells by itself, and may have told by now. */
static void listen_to_itself(struct keeper *keeper, struct unit *unit)
{
    watch_ready_fd(keeper, unit);
    if (unit->made->ready.kind == SPEC_CHECK_LOG &&
        outputs_found(keeper->core, unit->made,
                      keeper->core->ledger.records[unit->record].generation))
        unit->body.told |= UNIT_TOLD_LOG; /* while no core lived */
    honour_told(unit);
}

void keeper_begin_checks(struct keeper *keeper, struct unit *unit)
{
    const struct checks_hands hands = { .context = unit,
                                        .verdict = on_verdict,
                                        .counted = on_counted,
                                        .pressure = on_pressure,
                                        .excused = on_excused,
                                        .exec_start = on_exec,
                                        .exec_kill = on_exec_kill };
    struct err err = { 0 };
    int rc = 0;

    keeper_end_checks(unit);
    if (!unit->made && has_checks(unit_spec(unit)))
        rc = spawn_prepare(keeper->core, unit, unit->slot->user, &err);
    if (rc == 0 && (!unit->made || !has_checks(unit->made->service))) {
        unit->unchecked = false;
        unit->body.gate_passed = true;
        keeper_drop_made(unit);
        return;
    }
    if (rc == 0)
        unit->checks = checks_new(keeper->core->loop, unit->made, &hands, (uint32_t)unit->record,
                                  unit->body.gate_passed, unit->body.lc.ready, &err);
    if (!unit->checks) {
        check_later(keeper, unit, &err);
        return;
    }
    unit->unchecked = false;
    if (unit->slot->faster)
        checks_set_faster(unit->checks, true);
    if (unit->made->startup.kind == SPEC_CHECK_NONE)
        unit->body.gate_passed = true;
    listen_to_itself(keeper, unit);
}

static bool may_be_checked(const struct unit *unit)
{
    return unit->body.lc.state == LIFECYCLE_STARTING || unit->body.lc.state == LIFECYCLE_RUNNING;
}

/* The table keeps what was found, so nothing is lost with the core that was poked for it. */
void keeper_lines(struct keeper *keeper)
{
    struct streams_watch watch;

    while (streams_next_found(keeper->core->streams, &watch) >= 0) {
        struct unit *unit = watch.owner < LEDGER_RECORDS ? keeper->by_record[watch.owner] : NULL;

        if (unit && unit->record == watch.owner &&
            keeper->core->ledger.records[unit->record].generation == watch.id)
            keeper_told_ready(unit, UNIT_TOLD_LOG);
    }
}

void keeper_check_again(void *context)
{
    struct keeper *keeper = context;

    for (size_t i = 0; i < keeper->nslots; i++) {
        struct unit *units[] = { keeper->slots[i]->main, keeper->slots[i]->twin };

        for (size_t k = 0; k < 2; k++)
            if (units[k] && units[k]->unchecked && may_be_checked(units[k]))
                keeper_begin_checks(keeper, units[k]);
    }
}

void keeper_follow_checks(struct keeper *keeper, struct unit *unit)
{
    const struct instance *made = unit->made;
    struct err err = { 0 };

    if (!unit->checks || !made || !has_checks(made->service)) {
        keeper_end_checks(unit);
        if (may_be_checked(unit))
            keeper_begin_checks(keeper, unit);
        return;
    }
    if (checks_follow(unit->checks, made, &err) != 0) {
        keeper_end_checks(unit);
        check_later(keeper, unit, &err);
        return;
    }
    if (made->startup.kind == SPEC_CHECK_NONE)
        unit->body.gate_passed = true;
    loop_watch_free(unit->ready_watch);
    unit->ready_watch = NULL;
    listen_to_itself(keeper, unit);
}

void keeper_end_checks(struct unit *unit)
{
    loop_watch_free(unit->ready_watch);
    unit->ready_watch = NULL;
    checks_free(unit->checks);
    unit->checks = NULL;
}

void keeper_drop_made(struct unit *unit)
{
    if (!unit->checks && unit->made && !unit->made->post_stop)
        spawn_forget(unit);
}
