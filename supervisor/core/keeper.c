/* keeper.c - facts in, lifecycle, acts out.  The contract is in keeper.h. */
#include "supervisor/core/keeper.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/unit.h"
#include "io/jsonx.h"
#include "supervisor/health/checks.h"
#include "supervisor/core/events.h"
#include "supervisor/core/jobs.h"
#include "supervisor/core/keeper_notify.h"
#include "supervisor/core/kept.h"
#include "supervisor/core/outputs.h"
#include "supervisor/release/releases.h"
#include "supervisor/core/remark.h"
#include "supervisor/core/sockets.h"
#include "supervisor/core/spawn.h"
#include "supervisor/core/spawn_box.h"
#include "supervisor/core/unit_group.h"
#include "supervisor/core/unit_oom.h"
#include "supervisor/plan/options.h"

/* A turn that keeps producing facts is cut here; the rest is done in the next turn. */
enum { TURN_FACTS_MAX = 100000, FACTS_FIRST = 64 };

struct keeper *keeper_new(struct core *core, const struct keeper_hands *hands, struct err *err)
{
    struct keeper *keeper = calloc(1, sizeof *keeper);

    if (keeper)
        keeper->by_record = calloc(LEDGER_RECORDS, sizeof(struct unit *));
    if (!keeper || !keeper->by_record) {
        free(keeper);
        err_set(err, ERR_MEMORY, "no memory for the keeper");
        return NULL;
    }
    keeper->core = core;
    keeper->hands = *hands;
    keeper->spared = -1;
    arena_init(&keeper->users_arena);
    arena_init(&keeper->fallback_arena);
    if (opt_defaults(&options_service, &keeper->fallback_arena, &keeper->fallback, err) != 0) {
        keeper_free(keeper);
        return NULL;
    }
    keeper->fallback.service.set = &keeper->fallback.set;
    if (getrandom(&keeper->random, sizeof keeper->random, GRND_NONBLOCK) < 0)
        keeper->random = (uint64_t)clock_wall_us();
    keeper->random |= 1;
    keeper->breaker_timer = loop_timer_new(core->loop, keeper_next_turns, keeper);
    keeper->checks_timer = loop_timer_new(core->loop, keeper_check_again, keeper);
    keeper->late_timer = loop_timer_new(core->loop, keeper_late_look, keeper);
    keeper->kept = kept_new(core, err);
    bool timed = keeper->breaker_timer && keeper->checks_timer && keeper->late_timer;
    if (!timed)
        err_set(err, ERR_MEMORY, "no memory for the keeper");
    if (!keeper->kept || !timed) {
        keeper_free(keeper);
        return NULL;
    }
    return keeper;
}

static void free_retired(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->nretired; i++) {
        plan_free(keeper->retired[i].plan);
        arena_done(&keeper->retired[i].users);
    }
    keeper->nretired = 0;
}

void keeper_free(struct keeper *keeper)
{
    if (!keeper)
        return;
    keeper_hooks_free(keeper);
    for (size_t i = 0; i < keeper->nslots; i++) {
        keeper_unit_free(keeper->slots[i]->twin);
        keeper_unit_free(keeper->slots[i]->main);
        free(keeper->slots[i]);
    }
    free_retired(keeper);
    loop_timer_free(keeper->breaker_timer);
    loop_timer_free(keeper->checks_timer);
    loop_timer_free(keeper->late_timer);
    kept_free(keeper->kept);
    free(keeper->retired);
    free(keeper->slots);
    free(keeper->first_slot);
    free(keeper->emptying);
    free(keeper->by_record);
    free(keeper->facts);
    arena_done(&keeper->users_arena);
    arena_done(&keeper->fallback_arena);
    free(keeper);
}

/* xorshift64*: spreads retries, decides nothing that needs to be secret. */
static uint32_t next_random(struct keeper *keeper)
{
    keeper->random ^= keeper->random >> 12;
    keeper->random ^= keeper->random << 25;
    keeper->random ^= keeper->random >> 27;
    return (uint32_t)((keeper->random * 2685821657736338717ULL) >> 32);
}

bool keeper_room_for_facts(struct keeper *keeper, size_t room)
{
    size_t cap = keeper->facts_cap ? keeper->facts_cap : FACTS_FIRST;

    while (cap < room)
        cap *= 2;
    if (cap == keeper->facts_cap)
        return true;
    struct keeper_fact *grown = realloc(keeper->facts, cap * sizeof *grown);
    if (!grown)
        return false;
    keeper->facts = grown;
    keeper->facts_cap = cap;
    return true;
}

void keeper_fact(struct keeper *keeper, struct unit *unit, enum lifecycle_event event)
{
    if (!keeper_room_for_facts(keeper, keeper->nfacts + 1)) {
        log_error("no memory for a fact", "instance", unit->slot->name, NULL);
        loop_timer_arm(unit->timer, 1000); /* the deadline asks again */
        return;
    }
    keeper->facts[keeper->nfacts++] = (struct keeper_fact){ unit, event };
}

pid_t keeper_pid(const struct keeper *keeper, const struct unit *unit)
{
    if (!lifecycle_has_process((enum lifecycle_state)unit->body.lc.state))
        return 0;
    return keeper->core->ledger.pids[unit->record];
}

enum lifecycle_state keeper_state(const struct slot *slot)
{
    return (enum lifecycle_state)slot->main->body.lc.state;
}

/* One that has to wait for nobody passes through "waiting" unseen: its next state follows at once,
 * and is told as coming from the one before. */
static bool passes(struct unit *unit, enum lifecycle_state *before)
{
    enum lifecycle_state after = (enum lifecycle_state)unit->body.lc.state;

    if (unit->passes) {
        *before = (enum lifecycle_state)unit->passed_from;
        unit->passes = false;
        return *before == after;
    }
    if (after != LIFECYCLE_WAITING || *before == after || !unit->may_go)
        return false;
    unit->passed_from = (uint8_t)*before;
    return unit->passes = true;
}

static void publish_state(struct keeper *keeper, struct unit *unit, enum lifecycle_state before)
{
    enum lifecycle_state after = (enum lifecycle_state)unit->body.lc.state;

    if (passes(unit, &before))
        return;
    struct buf *details = events_begin(keeper->core->events, "state");
    pid_t pid = keeper_pid(keeper, unit);

    jsonx_add_text(details, "instance", unit->slot->name);
    jsonx_add_text(details, "from", lifecycle_detail_name(before));
    jsonx_add_text(details, "to", lifecycle_detail_name(after));
    jsonx_add_bool(details, "ready", unit->body.lc.ready);
    if (pid > 0)
        jsonx_add_int(details, "pid", pid);
    if (unit->body.release[0])
        jsonx_add_text(details, "release", unit->body.release);
    if (unit->slot->twin == unit)
        jsonx_add_bool(details, "twin", true);
    if (unit->reason[0])
        jsonx_add_text(details, "why", unit->reason);
    events_end(keeper->core->events, "state", unit->slot->name);
    log_info("state", "instance", unit->slot->name, "from", lifecycle_detail_name(before), "to",
             lifecycle_detail_name(after), unit->reason[0] ? "why" : NULL, unit->reason, NULL);
}

void keeper_tell_release(struct keeper *keeper, struct unit *unit)
{
    struct slot *slot = unit->slot;
    const struct lifecycle *lc = &unit->body.lc;
    char reason[UNIT_REASON_MAX]; /* a copy: what is told may give the unit another one */

    if (slot->removed || !slot->spec->release || slot->twin == unit || !unit->body.release[0])
        return;
    if (jobs_is(slot)) /* its next run takes what is pinned then, and proves nothing */
        return;
    if (keeper->stopping_all) /* whatever ends now says nothing about its release */
        return;
    size_t instance = (size_t)(slot->number - slot->spec->set->numprocs_start);
    if (lc->ready && unit->body.unproven)
        return;
    bool serves = lc->state == LIFECYCLE_RUNNING || lc->state == LIFECYCLE_EXITED;
    if (keeper_listening(slot) || (lc->ready && serves))
        releases_ready(keeper->core->releases, slot->service, instance, unit->body.release);
    else if (lc->state == LIFECYCLE_BACKOFF || lc->state == LIFECYCLE_FAILED ||
             lc->state == LIFECYCLE_EXITED || lc->state == LIFECYCLE_RUNNING) {
        snprintf(reason, sizeof reason, "%s", unit->reason);
        releases_down(keeper->core->releases, slot->service, instance, unit->body.release, reason);
    }
}

/* Whoever waits for this service looks again. */
static void wake_needers(struct keeper *keeper, const struct slot *slot)
{
    if (slot->removed)
        return;
    for (size_t i = keeper->first_needer[slot->service];
         i < keeper->first_needer[slot->service + 1]; i++) {
        struct slot *const *slots;
        size_t count = keeper_slots_of(keeper, keeper->needers[i], &slots);

        for (size_t k = 0; k < count; k++) {
            struct unit *units[] = { slots[k]->main, slots[k]->twin };

            for (size_t n = 0; n < 2; n++)
                if (units[n] && units[n]->body.lc.state == LIFECYCLE_WAITING)
                    keeper_perform(keeper, units[n], LIFECYCLE_ACT_ASK);
        }
    }
}

void keeper_tell_listening(struct keeper *keeper, struct slot *slot)
{
    wake_needers(keeper, slot);
    keeper_tell_release(keeper, slot->main);
    keeper_replace_changed(keeper, slot, slot->main);
    keeper->hands.changed(keeper->hands.context, slot);
}

/* The kernel deals connections out to every socket that is open, whoever serves it. */
static void let_go_sockets(struct keeper *keeper, const struct unit *unit)
{
    const struct slot *slot = unit->slot;
    const struct lifecycle *lc = &unit->body.lc;
    bool others_serve = lc->state == LIFECYCLE_BACKOFF && slot->spec->numprocs > 1;

    if (slot->main == unit && slot->spec->nsockets > 0 && (!lc->wanted || others_serve))
        sockets_let_go(keeper->core, slot->name);
}

static void after_change(struct keeper *keeper, struct unit *unit, enum lifecycle_state before,
                         bool was_ready)
{
    enum lifecycle_state after = (enum lifecycle_state)unit->body.lc.state;

    if (before == after && was_ready == unit->body.lc.ready)
        return;
    publish_state(keeper, unit, before);
    let_go_sockets(keeper, unit);
    /* A first release that is undone leaves its services waiting, not stopped. */
    bool emptied =
        after == LIFECYCLE_WAITING && !unit->slot->removed && keeper->emptying[unit->slot->service];
    if (lifecycle_settled(after) || emptied)
        keeper->stop_round_due = true;
    if (lifecycle_settled(after) && unit->slot->main == unit)
        kept_remove(keeper->kept, unit->slot->name, NULL);
    if (unit->slot->main == unit)
        wake_needers(keeper, unit->slot);
    keeper_hooks_changed(keeper, unit, before, was_ready);
    keeper_tell_release(keeper, unit);
    keeper_replace_changed(keeper, unit->slot, unit);
    keeper->hands.changed(keeper->hands.context, unit->slot);
}

static void not_ready_in_time(struct unit *unit)
{
    const struct spec_settings *set = unit_spec(unit)->set;
    char within[UNIT_TEXT_MAX];

    if (set->type != SPEC_TYPE_SERVICE) {
        keeper_reason(unit, "not done within %s (run_timeout)",
                      unit_duration_text(set->run_timeout_ms, within));
        return;
    }
    unit_duration_text(set->ready_timeout_ms, within);
    keeper_reason(unit, "not ready within %s%s%s", within, unit->check[0] ? "; " : "", unit->check);
}

/* Words for a state that explains itself; an older reason must not stay. */
static void clear_stale_reason(struct unit *unit, enum lifecycle_event event)
{
    if (event == LIFECYCLE_EV_READY || event == LIFECYCLE_EV_GO)
        remark_clear(&unit->reason);
    else if (event == LIFECYCLE_EV_TIMEOUT && unit->body.lc.state == LIFECYCLE_STOPPING &&
             unit->body.lc.cause == LIFECYCLE_BY_FAULT)
        not_ready_in_time(unit);
    else if (event == LIFECYCLE_EV_TIMEOUT && unit->body.lc.state == LIFECYCLE_KILLING)
        keeper_reason(unit, "did not stop within %lld ms of %s, killed",
                      (long long)unit_spec(unit)->set->stopwaitsecs_ms,
                      signals_name(keeper_stop_signal(unit)));
}

/* In the same stroke as the state itself: whoever sees the one sees the other. */
static void note_end(struct unit *unit, enum lifecycle_state before)
{
    enum lifecycle_state after = (enum lifecycle_state)unit->body.lc.state;
    bool ended = after == LIFECYCLE_EXITED || after == LIFECYCLE_FAILED;

    if (before != after)
        unit->body.ended_all = ended && unit_spec(unit)->set->on_exit == SPEC_EXIT_SHUTDOWN;
}

/* An address may be answered by either of two processes; what a process says itself may not. */
static bool goes_to_address(const struct instance_check *check)
{
    switch (check->kind) {
    case SPEC_CHECK_HTTP:
    case SPEC_CHECK_TCP:
    case SPEC_CHECK_UNIX:
    case SPEC_CHECK_EXEC:
    case SPEC_CHECK_GRPC:
        return true;
    case SPEC_CHECK_NONE:
    case SPEC_CHECK_DELAY:
    case SPEC_CHECK_NOTIFY:
    case SPEC_CHECK_FD:
    case SPEC_CHECK_LOG:
    case SPEC_NCHECKS:
        break;
    }
    return false;
}

static bool asked_by_address(const struct unit *unit)
{
    const struct instance *made = unit->made;
    bool delay =
        made && (made->ready.kind == SPEC_CHECK_NONE || made->ready.kind == SPEC_CHECK_DELAY);

    return made && (goes_to_address(&made->ready) || (delay && goes_to_address(&made->startup)));
}

static void judge_proof(struct unit *unit, enum lifecycle_state before)
{
    const struct slot *slot = unit->slot;
    const struct unit *other = slot->main == unit ? slot->twin : slot->main;
    enum lifecycle_state after = (enum lifecycle_state)unit->body.lc.state;

    if (after != LIFECYCLE_RUNNING)
        unit->body.unproven = false;
    else if (before != LIFECYCLE_RUNNING)
        unit->body.unproven = other && asked_by_address(unit) &&
                              !lifecycle_settled((enum lifecycle_state)other->body.lc.state);
}

void keeper_apply(struct keeper *keeper, struct unit *unit, enum lifecycle_event event)
{
    struct lifecycle *lc = &unit->body.lc;
    enum lifecycle_state before = (enum lifecycle_state)lc->state;
    bool was_ready = lc->ready;
    const struct lifecycle_policy policy = keeper_policy(unit);
    const struct lifecycle_now now = { loop_now_ms(keeper->core->loop), next_random(keeper) };

    if (event == LIFECYCLE_EV_START || event == LIFECYCLE_EV_RESTART)
        unit->body.fresh = true;
    if (event <= LIFECYCLE_EV_RESTART)
        unit->body.pristine = false;
    unsigned acts = lifecycle_step(lc, event, &policy, now);
    if (before != lc->state)
        clear_stale_reason(unit, event);
    if (lc->state != LIFECYCLE_WAITING)
        unit->turn_ms = 0;
    note_end(unit, before);
    judge_proof(unit, before);
    if (event == LIFECYCLE_EV_PROVE && acts != 0)
        unit->body.gate_passed = false; /* nor did it pass its startup check for certain */
    if (!lifecycle_has_process((enum lifecycle_state)lc->state)) {
        keeper_end_checks(unit);
        keeper_main_free(unit);
    }
    if (before != lc->state)
        keeper_watchdog_follow(unit);
    if (lc->state == LIFECYCLE_RUNNING)
        spawn_box_forget(unit); /* no step of its start fails any more */
    if (lc->state != LIFECYCLE_WAITING && unit->slot->main == unit) {
        sockets_watch_free(unit->slot->watch);
        unit->slot->watch = NULL;
    }
    /* In the ledger before anything is done: a crash from here on is resumed, not forgotten. */
    keeper_save(unit);
    keeper_arm(unit);
    unit->may_go = false;
    keeper_perform(keeper, unit, acts);
    after_change(keeper, unit, before, was_ready);
}

void keeper_order(struct keeper *keeper, struct unit *unit, enum lifecycle_event event,
                  const char *reason)
{
    if (reason)
        keeper_reason(unit, "%s", reason);
    keeper_apply(keeper, unit, event);
}

/* --- exits --- */

/* The command, for a message: at most `size` bytes of it. */
static const char *program_of(const struct unit *unit, char *text, size_t size)
{
    struct arena arena;

    arena_init(&arena);
    const struct instance *made = spawn_look(unit->keeper->core, unit, &arena);
    snprintf(text, size, "%s", made && made->argv ? made->argv[0] : unit->slot->name);
    arena_done(&arena);
    return text;
}

static void describe_exit(struct unit *unit, const struct ledger_record *record)
{
    char program[UNIT_REASON_MAX], step[SANDBOX_TEXT_MAX];
    struct unit_exit *last = &unit->body.last;
    const struct lifecycle *lc = &unit->body.lc;

    if (!last->known)
        keeper_reason(unit, "ended while no guardian watched: exit status unknown");
    else if (last->error != 0)
        keeper_reason(unit, "cannot start %s: %s: %s", program_of(unit, program, sizeof program),
                      sandbox_step_text(last->step, unit->box ? &unit->box->sandbox : NULL, step),
                      strerror(last->error));
    else if (lc->cause != LIFECYCLE_BY_ITSELF && unit->reason[0])
        return; /* the reason for the stop says more than the signal it ended by */
    else if (last->signal)
        keeper_reason(unit, "killed by signal %s%s%s", signals_name(last->signal),
                      last->oom == UNIT_OOM_YES ? " (out of memory)"
                      : last->dumped            ? " (core dumped)"
                                                : "",
                      lc->cause == LIFECYCLE_BY_ITSELF ? keeper_rule_note(unit) : "");
    else
        keeper_reason(unit, "exited with code %d%s", last->code,
                      lc->cause == LIFECYCLE_BY_ITSELF ? keeper_rule_note(unit) : "");
    (void)record;
}

static void note_exit(struct unit *unit, const struct ledger_record *record)
{
    struct unit_exit *last = &unit->body.last;
    bool signalled = record->exit_code != CLD_EXITED;

    *last = (struct unit_exit){
        .code = signalled ? -1 : record->exit_status,
        .signal = signalled ? record->exit_status : 0,
        .step = record->report.error ? record->report.step : 0,
        .error = record->report.error,
        .at_wall_us = record->exit_wall_us,
        .uptime_ms = record->exit_mono_ms - unit->body.lc.started_ms,
        .known = record->exited == LEDGER_EXITED,
        .dumped = record->exit_code == CLD_DUMPED,
    };
    last->oom = (uint8_t)unit_group_oom(unit->keeper->core, unit, signalled, record->exit_status);
    bool by_itself = unit->body.lc.cause == LIFECYCLE_BY_ITSELF;
    remark_set(&unit->cause, UNIT_CAUSE_MAX, "%s", by_itself ? "" : unit->reason);
    describe_exit(unit, record);
}

static void add_oom(struct buf *details, enum unit_oom oom)
{
    if (oom == UNIT_OOM_YES)
        jsonx_add_bool(details, "oom", true);
    else
        jsonx_add_text(details, "oom", NULL);
}

static void publish_exit(struct keeper *keeper, const struct unit *unit,
                         const struct ledger_record *record)
{
    const struct unit_exit *last = &unit->body.last;
    struct buf *details = events_begin(keeper->core->events, "exit");

    jsonx_add_text(details, "instance", unit->slot->name);
    jsonx_add_int(details, "pid", keeper->core->ledger.pids[unit->record]);
    if (!last->known)
        jsonx_add_bool(details, "unknown", true);
    else if (last->signal)
        jsonx_add_text(details, "signal", signals_name(last->signal));
    else
        jsonx_add_int(details, "code", last->code);
    if (last->dumped)
        jsonx_add_bool(details, "core", true);
    if (last->oom != UNIT_OOM_NO)
        add_oom(details, (enum unit_oom)last->oom);
    if (last->error)
        jsonx_add_text(details, "error", unit->reason);
    if (unit->said.error)
        jsonx_add_text(details, "said_error", strerror(unit->said.error));
    if (unit->error[0])
        jsonx_add_text(details, "said_error_name", unit->error);
    if (unit->said.has_exit_status)
        jsonx_add_int(details, "said_exit_status", unit->said.exit_status);
    if (unit->cause[0])
        jsonx_add_text(details, "why", unit->cause);
    jsonx_add_real(details, "uptime_s", (double)last->uptime_ms / 1000.0);
    jsonx_add_real(details, "cpu_s", (double)(record->user_us + record->system_us) / 1e6);
    jsonx_add_int(details, "max_rss_kb", (json_int_t)record->max_rss_kb);
    if (unit->body.release[0])
        jsonx_add_text(details, "release", unit->body.release);
    if (unit->slot->twin == unit)
        jsonx_add_bool(details, "twin", true);
    events_end(keeper->core->events, "exit", unit->slot->name);
}

/* Once: a core before us may have been killed between telling it and what follows from it.  The
 * number is kept before it is used, and only an older core can have used it already. */
static void tell_exit(struct keeper *keeper, struct unit *unit, const struct ledger_record *record)
{
    struct core *core = keeper->core;

    if (unit->body.exit_event > 0 && unit->body.exit_event < core->first_event)
        return;
    unit->body.exit_event = recorder_next(&core->recorder);
    keeper_save(unit);
    publish_exit(keeper, unit, record);
}

void keeper_main_ended(struct keeper *keeper, struct unit *unit)
{
    struct ledger_record *record = &keeper->core->ledger.records[unit->record];
    const struct spec_service *spec = unit_spec(unit);

    unit_oom_forget(unit);
    note_exit(unit, record);
    tell_exit(keeper, unit, record);
    spawn_box_forget(unit);
    outputs_ended(keeper->core, unit->slot->name, spec);
    const struct unit_exit *last = &unit->body.last;
    bool expected = last->known && last->error == 0 &&
                    spec_exit_expected(&spec->set->exitcodes, last->signal != 0,
                                       last->signal ? last->signal : last->code);
    /* An orderly stop by its own stop signal is not a failure either. */
    keeper_apply(keeper, unit, expected ? LIFECYCLE_EV_EXIT_OK : LIFECYCLE_EV_EXIT_BAD);
    keeper_drop_made(unit);
}

/* The step that kept a hook or check from running, in words; NULL when it ran. */
static const char *why_unstarted(const struct ledger_record *record, const struct sandbox *sandbox,
                                 char text[static UNIT_REASON_MAX])
{
    char step[SANDBOX_TEXT_MAX];

    if (record->exited != LEDGER_EXITED || record->report.error == 0)
        return NULL;
    snprintf(text, UNIT_REASON_MAX, "%.110s: %s",
             sandbox_step_text(record->report.step, sandbox, step), strerror(record->report.error));
    return text;
}

static void hook_ended(struct keeper *keeper, struct unit *unit, size_t index)
{
    const struct ledger_record *record = &keeper->core->ledger.records[index];
    bool ok = record->exited == LEDGER_EXITED && record->exit_code == CLD_EXITED &&
              record->exit_status == 0;
    bool post_stop = unit->body.lc.state == LIFECYCLE_POST_STOP;
    char why[UNIT_REASON_MAX];
    const char *unstarted = why_unstarted(record, unit->box ? &unit->box->sandbox : NULL, why);

    unit->hook_record = -1;
    if (unstarted)
        keeper_reason(unit, "cannot start %s: %s", post_stop ? "post_stop" : "pre_start",
                      unstarted);
    else if (!ok && record->exit_code == CLD_EXITED)
        keeper_reason(unit, "%s exited with code %d", post_stop ? "post_stop" : "pre_start",
                      record->exit_status);
    else if (!ok)
        keeper_reason(unit, "%s was killed by signal %s", post_stop ? "post_stop" : "pre_start",
                      signals_name(record->exit_status));
    keeper_hooks_tell(keeper, unit, post_stop ? "post_stop" : "pre_start", index);
    keeper->by_record[index] = NULL;
    /* First what follows from it, then its record: else a core killed in between runs it again. */
    keeper_apply(keeper, unit, ok ? LIFECYCLE_EV_HOOK_OK : LIFECYCLE_EV_HOOK_BAD);
    ledger_release(&keeper->core->ledger, index);
}

static void probe_ended(struct keeper *keeper, struct unit *unit, size_t index)
{
    const struct ledger_record *record = &keeper->core->ledger.records[index];
    bool signalled = record->exit_code != CLD_EXITED;
    int status = record->exit_status;
    char why[UNIT_REASON_MAX];
    const char *unstarted = why_unstarted(record, NULL, why);

    keeper->by_record[index] = NULL;
    ledger_release(&keeper->core->ledger, index);
    if (unit && unit->checks)
        checks_exec_ended(unit->checks, index, unstarted, signalled, status);
}

/* The exit of a process that was the main one until MAINPID= named another.  That one's may be
 * written at this very moment: its pid comes first. */
static bool is_of_former_main(const struct keeper *keeper, const struct unit *unit, size_t index)
{
    struct ledger_record *record = &keeper->core->ledger.records[index];
    pid_t pid = keeper->core->ledger.pids[index];

    if (unit->record != index || unit->said.first_pid == 0 || record->exit_pid == pid)
        return false;
    uint32_t how = atomic_exchange(&record->exited, LEDGER_LIVING);
    if (record->exit_pid != pid)
        return true;
    record->exited = how;
    return false;
}

static void take_exit(struct keeper *keeper, size_t index)
{
    struct ledger_record *record = &keeper->core->ledger.records[index];
    struct unit *unit = keeper->by_record[index];

    if (record->exited == LEDGER_LIVING || (ssize_t)index == keeper->spared)
        return; /* seen already, by a core before us or while resuming */
    if (unit && is_of_former_main(keeper, unit, index))
        return;
    switch ((enum ledger_kind)record->kind) {
    case LEDGER_SERVICE:
    case LEDGER_TWIN:
        if (unit)
            keeper_main_ended(keeper, unit);
        /* Consumed: the body now says "cleaning", so the slot may be used again. */
        keeper->core->ledger.pids[index] = 0;
        record->exited = LEDGER_LIVING;
        break;
    case LEDGER_HOOK:
        if (keeper_hooks_ended(keeper, index))
            break;
        if (unit)
            hook_ended(keeper, unit, index);
        else
            ledger_release(&keeper->core->ledger, index);
        break;
    case LEDGER_PROBE:
        probe_ended(keeper, unit, index);
        break;
    case LEDGER_FREE:
    case LEDGER_CORE:
    case LEDGER_LOGGER:
    case LEDGER_NKINDS:
        break;
    }
}

void keeper_exits(struct keeper *keeper)
{
    ssize_t index;

    while ((index = ledger_next_exit(&keeper->core->ledger)) >= 0)
        take_exit(keeper, (size_t)index);
    uint64_t orphans = keeper->core->ledger.header->orphans;
    if (orphans != keeper->orphans_seen)
        keeper->sweep_due = true; /* perhaps the last of the left-overs */
    keeper->orphans_seen = orphans;
}

/* --- the turn --- */

static void drain_facts(struct keeper *keeper)
{
    size_t done = 0;

    for (; done < keeper->nfacts && done < TURN_FACTS_MAX; done++) {
        struct keeper_fact fact = keeper->facts[done]; /* the array may move below */
        if (fact.unit)
            keeper_apply(keeper, fact.unit, fact.event);
    }
    keeper->nfacts -= done;
    if (keeper->nfacts > 0) /* cut short: the rest is for the next turn */
        memmove(keeper->facts, keeper->facts + done, keeper->nfacts * sizeof *keeper->facts);
}

/* What could not be made anew after a reload still has its settings in a retired plan. */
static bool needs_retired(const struct unit *unit)
{
    return unit && unit->made && unit->made->service != unit_spec(unit);
}

static void free_gone(struct keeper *keeper)
{
    size_t kept = 0;
    bool any_removed = false;

    for (size_t i = 0; i < keeper->nslots; i++) {
        struct slot *slot = keeper->slots[i];

        if (slot->removed && !slot->twin && lifecycle_settled(keeper_state(slot))) {
            keeper->hands.removed(keeper->hands.context, slot);
            outputs_close(keeper->core, slot->name);
            keeper->outputs_closing = true;
            keeper_unit_free(slot->main);
            free(slot);
            continue;
        }
        any_removed |= slot->removed || needs_retired(slot->main) || needs_retired(slot->twin);
        keeper->slots[kept++] = slot;
    }
    keeper->nslots = kept;
    if (!any_removed)
        free_retired(keeper);
}

void keeper_turn(struct keeper *keeper)
{
    for (int rounds = 0; rounds < 100; rounds++) {
        drain_facts(keeper);
        if (keeper->sweep_due) {
            keeper_sweep(keeper);
        } else if (keeper->stop_round_due) {
            keeper->stop_round_due = false;
            keeper_stop_round(keeper);
            free_gone(keeper);
        } else if (keeper->nfacts == 0) {
            break;
        }
    }
}

bool keeper_pending(const struct keeper *keeper)
{
    return keeper->nfacts > 0 || keeper->sweep_due || keeper->stop_round_due;
}
