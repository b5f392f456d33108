/* keeper_adopt.c - a new core carries on where the one before it was killed.
 *
 * Everything is in the ledger: each unit's body, its pid (stored by the kernel), its exit (stored
 * by the guardian).  What was under way is taken up again by lifecycle_resume().
 */
#include "supervisor/core/keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/log.h"
#include "supervisor/core/events.h"
#include "supervisor/core/jobs.h"
#include "supervisor/core/keeper_notify.h"
#include "supervisor/host/leftovers.h"
#include "supervisor/host/procfs.h"
#include "supervisor/machine/release.h"
#include "supervisor/core/remark.h"
#include "supervisor/core/sockets.h"
#include "supervisor/core/spawn.h"
#include "supervisor/core/unit_group.h"
#include "supervisor/core/unit_oom.h"

static uint32_t generation_of(const struct keeper *keeper, const struct unit *unit)
{
    return keeper->core->ledger.records[unit->record].generation;
}

static struct slot *adopt_slot(struct keeper *keeper, const char *name)
{
    struct slot *slot = keeper_find(keeper, name);

    if (slot)
        return slot;
    if (keeper->nslots == keeper->slots_cap) {
        size_t cap = keeper->slots_cap ? keeper->slots_cap * 2 : 64;
        struct slot **grown = realloc(keeper->slots, cap * sizeof *grown);
        if (!grown)
            return NULL;
        keeper->slots = grown;
        keeper->slots_cap = cap;
    }
    slot = keeper_slot_alloc(name);
    if (!slot)
        return NULL;
    slot->spec = &keeper->fallback.service;
    slot->user = &keeper->nobody_set;
    slot->removed = true; /* until a plan claims it */
    keeper->slots[keeper->nslots++] = slot;
    return slot;
}

/* Which of two records of one instance is its main one.  When the core before us died in the middle
 * of a promotion the old one is marked already, but the kinds need not be right yet. */
static bool leads(const struct keeper *keeper, const struct unit *unit, const struct unit *other)
{
    const struct ledger_record *records = keeper->core->ledger.records;

    if (unit->body.retiring != other->body.retiring)
        return other->body.retiring;
    if (records[unit->record].kind != records[other->record].kind)
        return records[unit->record].kind == LEDGER_SERVICE;
    return generation_of(keeper, unit) > generation_of(keeper, other);
}

static void place(struct keeper *keeper, struct slot *slot, struct unit *unit)
{
    struct unit *other = slot->main;

    if (!other) {
        slot->main = unit;
        return;
    }
    bool lead = leads(keeper, unit, other);
    slot->main = lead ? unit : other;
    slot->twin = lead ? other : unit;
}

/* Whoever is not taken up would be started beside itself. */
static int adopt_record(struct keeper *keeper, size_t index, struct err *err)
{
    struct ledger_record *record = &keeper->core->ledger.records[index];

    struct slot *slot = adopt_slot(keeper, record->instance);
    if (!slot)
        return err_set(err, ERR_MEMORY, "no memory for %s", record->instance);
    if (slot->main && slot->twin) {
        log_error("a third process of one instance in the ledger", "instance", slot->name, NULL);
        return 0;
    }
    struct unit *unit = keeper_unit_new(keeper, slot, LEDGER_SERVICE, (ssize_t)index, err);
    if (!unit)
        return (int)err->code;
    struct unit_saved saved;
    bool known = ledger_body_get(&keeper->core->ledger, index, &saved, sizeof saved);
    if (known) {
        unit->body = saved.body;
        remark_set(&unit->cause, UNIT_CAUSE_MAX, "%.*s", UNIT_CAUSE_MAX - 1, saved.cause);
        remark_set(&unit->reason, UNIT_REASON_MAX, "%.*s", UNIT_REASON_MAX - 1, saved.reason);
        unit->said = saved.said;
        remark_set(&unit->status, UNIT_STATUS_MAX, "%.*s", UNIT_STATUS_MAX - 1, saved.status);
        remark_set(&unit->error, UNIT_ERROR_MAX, "%.*s", UNIT_ERROR_MAX - 1, saved.error);
    } else {
        memset(&unit->body, 0, sizeof unit->body);
        unit->body.pristine = true; /* claimed, and the core died before the first word */
    }
    slot->number = unit->body.number;
    place(keeper, slot, unit);
    if (known && saved.schedule.until_ms != 0 && !jobs_adopt(slot, &saved.schedule))
        return err_set(err, ERR_MEMORY, "no memory for the schedule of %s", slot->name);
    return 0;
}

/* Hooks go on and are waited for; checks are begun anew, so an old attempt is of no use. */
static void adopt_helper(struct keeper *keeper, size_t index)
{
    struct ledger_record *record = &keeper->core->ledger.records[index];
    struct slot *slot = keeper_find(keeper, record->instance);
    pid_t pid = keeper->core->ledger.pids[index];

    if (pid <= 0) {
        ledger_release(&keeper->core->ledger, index);
        return;
    }
    if (record->kind == LEDGER_HOOK && slot && keeper_hooks_adopt(keeper, slot, index))
        return;
    if (record->kind == LEDGER_HOOK && slot && slot->main) {
        enum lifecycle_state state = keeper_state(slot);
        bool expected = state == LIFECYCLE_PRE_START || state == LIFECYCLE_POST_STOP;
        if (expected) {
            slot->main->hook_record = (ssize_t)index;
            keeper->by_record[index] = slot->main;
            return;
        }
    }
    if (record->exited != LEDGER_LIVING)
        ledger_release(&keeper->core->ledger, index);
    else
        kill(-pid, SIGKILL);
}

/* A promotion that was cut short is completed, for the next core to see. */
static void settle_roles(struct keeper *keeper, struct slot *slot)
{
    struct ledger_record *records = keeper->core->ledger.records;

    records[slot->main->record].kind = LEDGER_SERVICE;
    slot->in_stop = slot->main->body.stop_ordered;
    if (!slot->twin)
        return;
    slot->in_stop |= slot->twin->body.stop_ordered;
    records[slot->twin->record].kind = LEDGER_TWIN;
    /* One that had its end already is only to be freed. */
    slot->on_trial = !slot->twin->body.retiring &&
                     !lifecycle_settled((enum lifecycle_state)slot->twin->body.lc.state);
}

int keeper_adopt(struct keeper *keeper, struct err *err)
{
    struct ledger *ledger = &keeper->core->ledger;
    int rc = 0;

    for (size_t i = 0; i < ledger->used && rc == 0; i++) {
        enum ledger_kind kind = (enum ledger_kind)ledger->records[i].kind;
        if (kind == LEDGER_SERVICE || kind == LEDGER_TWIN)
            rc = adopt_record(keeper, i, err);
    }
    if (rc != 0)
        return err_wrap(err, "taking up what runs");
    for (size_t i = 0; i < ledger->used; i++) {
        enum ledger_kind kind = (enum ledger_kind)ledger->records[i].kind;
        if (kind == LEDGER_HOOK || kind == LEDGER_PROBE)
            adopt_helper(keeper, i);
    }
    for (size_t i = 0; i < keeper->nslots; i++)
        settle_roles(keeper, keeper->slots[i]);
    return 0;
}

void keeper_tell_releases(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->nslots; i++)
        keeper_tell_release(keeper, keeper->slots[i]->main);
}

static void resume_unit(struct keeper *keeper, struct unit *unit)
{
    struct ledger_record *record = &keeper->core->ledger.records[unit->record];
    enum lifecycle_state state = (enum lifecycle_state)unit->body.lc.state;
    pid_t pid = keeper->core->ledger.pids[unit->record];
    bool expects = lifecycle_has_process(state);

    if (expects && pid > 0)
        unit->body.main_pid = pid;
    if (expects)
        keeper_main_resume(keeper, unit);
    if (!expects && record->exited != LEDGER_LIVING) {
        keeper->core->ledger.pids[unit->record] = 0; /* consumed, but not cleared any more */
        record->exited = LEDGER_LIVING;
    }
    bool gone =
        expects && (record->exited != LEDGER_LIVING || (pid <= 0 && state != LIFECYCLE_STARTING));
    if (gone) {
        if (pid <= 0)
            record->exited = LEDGER_EXIT_UNKNOWN;
        keeper_main_ended(keeper, unit);
        keeper->core->ledger.pids[unit->record] = 0;
        record->exited = LEDGER_LIVING;
        return;
    }
    if (expects && pid > 0)
        unit_oom_watch(keeper->core, unit);
    if (expects && pid > 0 && !unit->slot->removed && keeper->core->ledger.header->applying)
        keeper_refresh(keeper, unit, NULL); /* the core before us died before it came to that */
    keeper_arm(unit);
    keeper_watchdog_follow(unit);
    keeper_perform(keeper, unit, lifecycle_resume(&unit->body.lc, pid > 0));
    if (unit->hook_record >= 0 &&
        keeper->core->ledger.records[unit->hook_record].exited != LEDGER_LIVING)
        keeper->sweep_due = true;
    if (unit->body.retiring && unit->body.lc.wanted)
        keeper_fact(keeper, unit, LIFECYCLE_EV_STOP);
}

static bool keeps_sockets(void *context, const char *instance)
{
    const struct slot *slot = keeper_find(context, instance);

    return slot && slot->main->body.lc.wanted;
}

void keeper_resume(struct keeper *keeper)
{
    sockets_let_go_unless(keeper->core, keeps_sockets, keeper);
    for (size_t i = 0; i < keeper->nslots; i++) {
        struct slot *slot = keeper->slots[i];

        if (slot->on_trial) /* nobody remembers who waited for it; its outcome still counts */
            slot->replacing = true;
        resume_unit(keeper, slot->main);
        if (slot->twin)
            resume_unit(keeper, slot->twin);
        if (slot->on_trial) /* it was ready, and nobody came to promote it */
            keeper_replace_changed(keeper, slot, slot->twin);
        else if (!slot->twin)
            keeper_replace_alone(keeper, slot);
    }
    keeper->core->ledger.header->applying = 0;
    ledger_recheck_exits(&keeper->core->ledger);
    keeper_exits(keeper);
    keeper_outdated(keeper); /* the core before us may have died in the middle of a reload */
    keeper->stop_round_due = true;
}

void keeper_autostart(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->nslots; i++) {
        struct slot *slot = keeper->slots[i];

        if (slot->removed || !slot->main->body.pristine)
            continue;
        if (slot->spec->autostart && jobs_is(slot)) {
            jobs_activate(keeper->core->jobs, slot);
        } else if (slot->spec->autostart && !keeper->stopping_all) {
            keeper_order(keeper, slot->main, LIFECYCLE_EV_START, NULL);
        } else {
            slot->main->body.pristine = false;
            keeper_save(slot->main);
        }
    }
}

/* --- a lost ledger --- */

struct rebuild {
    struct keeper *keeper;
    size_t found;
};

/* Whether it said that it is ready is lost, and it will not say it again: whoever waits for it
 * would wait for ever, so it is believed.  What can be asked is asked again. */
static enum unit_told told_before(const struct unit *unit)
{
    struct arena arena;

    arena_init(&arena);
    const struct instance *made = spawn_look(unit->keeper->core, unit, &arena);
    enum unit_told told = made ? keeper_way_to_tell(made) : 0;
    arena_done(&arena);
    return told;
}

/* Its links may say something else by now; what it was started with is in its environment. */
static void find_release(struct unit *unit, pid_t pid)
{
    char id[RELEASE_ID_MAX];
    AUTO_FREE char *space = malloc(PROCFS_SPACE_BYTES);

    if (unit->slot->spec->release && space &&
        procfs_variable(pid, "RELEASE_ID=", space, id, sizeof id) && release_id_valid(id))
        snprintf(unit->body.release, sizeof unit->body.release, "%s", id);
}

static void rebuild_one(void *context, pid_t pid, const char *name, unsigned generation)
{
    struct rebuild *rebuild = context;
    struct keeper *keeper = rebuild->keeper;
    struct slot *slot = keeper_find(keeper, name);

    if (!slot || getsid(pid) != pid || keeper->core->ledger.pids[slot->main->record] != 0)
        return; /* only main processes lead a session */
    struct unit *unit = slot->main;
    ledger_rearm(&keeper->core->ledger, unit->record, generation);
    keeper->core->ledger.records[unit->record].start_time = child_start_time(pid);
    keeper->core->ledger.pids[unit->record] = pid;
    unit->body.pristine = false;
    unit->body.main_pid = pid;
    unit_group_adopt(keeper->core, unit, pid);
    unit->body.lc.wanted = unit->body.lc.reached = true;
    unit->body.lc.state = LIFECYCLE_RUNNING;
    find_release(unit, pid);
    unit->body.told = (uint8_t)told_before(unit);
    unit->body.lc.ready = unit->body.told || keeper_policy(unit).delay_ready;
    unit->body.lc.started_ms = loop_now_ms(keeper->core->loop);
    keeper_reason(unit, "found again after the ledger was lost");
    keeper_save(unit);
    rebuild->found++;
}

static bool may_pass(const struct err *err)
{
    return err->code == ERR_MEMORY || err->sys == ENOMEM || err->sys == EMFILE ||
           err->sys == ENFILE;
}

int keeper_rebuild(struct keeper *keeper, size_t *ret_found, struct err *err)
{
    struct ledger_header *header = keeper->core->ledger.header;
    struct rebuild rebuild = { .keeper = keeper };
    struct leftovers *look = leftovers_look(
        (pid_t)header->guardian_pid, header->run,
        header->guardian_restarts > 0 ? LEFTOVERS_EVERYWHERE : LEFTOVERS_TREE, NULL, NULL, err);

    if (!look && may_pass(err))
        return err_wrap(err, "looking for processes after the ledger was lost");
    if (!look)
        log_error("cannot look for processes after the ledger was lost", "error", err->text, NULL);
    if (look)
        leftovers_each(look, rebuild_one, &rebuild);
    leftovers_free(look);
    header->rebuilt = 0;
    log_error("the ledger was lost; processes were found again by their environment", NULL);
    events_publish(keeper->core->events, "ledger-rebuilt",
                   json_pack("{s:I}", "found", (json_int_t)rebuild.found));
    *ret_found = rebuild.found;
    return 0;
}
