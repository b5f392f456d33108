/* keeper_replace.c - another release or a fresh process for an instance, overlapped where asked
 * for.
 *
 * Overlapped: a twin starts beside the main process; ready, the two change roles and the old one is
 * stopped; not ready, the twin goes and nothing has changed.  When the readiness check goes to an
 * address, the old one may have answered it (they share a socket, or a port).  Then the new one is
 * `unproven`: when the old one has left it is checked again, as after a start, and only that ends
 * the replacement.  Otherwise: stop, then start.  One instance of a service after another.
 */
#include "supervisor/core/keeper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "supervisor/core/jobs.h"
#include "supervisor/health/checks.h"

static bool may_overlap(const struct slot *slot)
{
    return slot->spec->set->restart_mode == SPEC_OVERLAP &&
           slot->spec->set->type == SPEC_TYPE_SERVICE && keeper_state(slot) == LIFECYCLE_RUNNING &&
           slot->main->body.lc.ready;
}

static void start_twin(struct keeper *keeper, struct slot *slot)
{
    struct err err = { 0 };
    struct unit *twin = keeper_unit_new(keeper, slot, LEDGER_TWIN, -1, &err);

    if (!twin) {
        log_error("cannot overlap, stopping first", "instance", slot->name, "error", err.text,
                  NULL);
        keeper_apply(keeper, slot->main, LIFECYCLE_EV_RESTART);
        return;
    }
    slot->twin = twin;
    slot->on_trial = true;
    snprintf(twin->body.release, sizeof twin->body.release, "%s",
             slot->replace_release[0] ? slot->replace_release : slot->main->body.release);
    keeper_apply(keeper, twin, LIFECYCLE_EV_START);
    twin->body.fresh = false; /* it has its release already */
    keeper_save(twin);
}

static void restart_main(struct keeper *keeper, struct slot *slot)
{
    struct unit *unit = slot->main;
    const char *release = slot->replace_release[0] ? slot->replace_release : unit->body.release;

    /* First what it will run: the order below may start it at once. */
    snprintf(unit->body.next_release, sizeof unit->body.next_release, "%s", release);
    keeper_order(keeper, unit, LIFECYCLE_EV_RESTART, NULL);
    if (unit->body.lc.state == LIFECYCLE_WAITING) /* it may have waited for just this */
        keeper_perform(keeper, unit, LIFECYCLE_ACT_ASK);
}

static void begin(struct keeper *keeper, struct slot *slot)
{
    slot->replacing = true;
    slot->replace_queued = false;
    /* The one before is still on its way out: there is room for two, and to stop first is what
     * nobody asked for. */
    slot->replace_again = slot->twin && may_overlap(slot);
    if (slot->replace_again)
        return;
    if (may_overlap(slot))
        start_twin(keeper, slot);
    else
        restart_main(keeper, slot);
}

static struct slot *sibling(struct keeper *keeper, const struct slot *slot, bool queued)
{
    struct slot *const *slots;
    size_t count = slot->removed ? 0 : keeper_slots_of(keeper, slot->service, &slots);

    for (size_t i = 0; i < count; i++)
        if (queued ? slots[i]->replace_queued : slots[i]->replacing)
            return slots[i];
    return NULL;
}

/* What the instance is on its way to run. */
static const char *target_of(const struct slot *slot)
{
    const struct unit *unit = slot->on_trial ? slot->twin : slot->main;

    return unit->body.next_release[0] ? unit->body.next_release : unit->body.release;
}

/* Another release while one is on its way: that one is called off first. */
static void change_course(struct keeper *keeper, struct slot *slot)
{
    if (!slot->on_trial && slot->twin && may_overlap(slot)) {
        slot->replace_again = true; /* when the one before has left */
        return;
    }
    if (!slot->on_trial) {
        restart_main(keeper, slot);
        return;
    }
    slot->replace_again = true;
    keeper_order(keeper, slot->twin, LIFECYCLE_EV_STOP, "another release was asked for");
}

/* The new one leads but has to show itself yet: what is asked for now comes after it. */
static bool is_leaving(const struct slot *slot)
{
    return !slot->on_trial && slot->twin && slot->main->body.unproven;
}

void keeper_replace(struct keeper *keeper, struct slot *slot, const char *release)
{
    bool other = release[0] && strcmp(release, target_of(slot)) != 0;
    bool under_way = slot->replacing || slot->on_trial || slot->replace_queued;

    /* A restart for other reasons does not take back which release it is to run. */
    if (release[0] || !under_way)
        snprintf(slot->replace_release, sizeof slot->replace_release, "%s", release);
    if (slot->replacing || slot->on_trial) {
        slot->replacing = true;
        if ((other || is_leaving(slot)) && !slot->replace_again)
            change_course(keeper, slot);
        return;
    }
    if (sibling(keeper, slot, false)) {
        slot->replace_queued = true;
        return;
    }
    begin(keeper, slot);
}

static void tell_replaced(struct keeper *keeper, struct slot *slot, const char *release, bool ok,
                          const char *reason)
{
    struct unit *unit = slot->main;

    /* Tried is done: what failed is not tried for ever. */
    unit->body.outdated = false;
    if (!slot->removed && unit->body.settings != 0) {
        unit->body.left = keeper_digest(keeper, unit);
        if (keeper_pid(keeper, unit) <= 0)
            unit->body.settings = unit->body.left;
    }
    keeper_save(slot->main);
    keeper->hands.replaced(keeper->hands.context, slot, release, ok, reason);
}

static void finish(struct keeper *keeper, struct slot *slot, bool ok, const char *reason)
{
    char release[UNIT_RELEASE_MAX];
    struct slot *next;

    snprintf(release, sizeof release, "%s", slot->replace_release);
    slot->replacing = false;
    slot->replace_release[0] = '\0';
    tell_replaced(keeper, slot, release, ok, reason);
    while ((next = sibling(keeper, slot, true)) != NULL) {
        if (ok) {
            begin(keeper, next);
            return;
        }
        /* What failed once is not tried on the others. */
        next->replace_queued = false;
        tell_replaced(keeper, next, next->replace_release, false,
                      "not tried, because another instance did not become ready");
    }
}

void keeper_replace_called_off(struct keeper *keeper, struct slot *slot, const char *reason)
{
    char release[UNIT_RELEASE_MAX];

    snprintf(release, sizeof release, "%s", slot->replace_release);
    slot->replace_release[0] = '\0';
    tell_replaced(keeper, slot, release, false, reason);
}

static void set_kind(struct keeper *keeper, struct unit *unit, enum ledger_kind kind)
{
    keeper->core->ledger.records[unit->record].kind = kind;
}

static void promote(struct keeper *keeper, struct slot *slot)
{
    struct unit *old = slot->main, *fresh = slot->twin;

    slot->main = fresh;
    slot->twin = old;
    slot->on_trial = false;
    old->body.retiring = true;
    fresh->body.restarts = old->body.restarts;
    fresh->body.stop_ordered = old->body.stop_ordered;
    keeper_save(old);
    keeper_save(fresh);
    /* Should we die before both are set, keeper_adopt.c goes by `retiring`. */
    set_kind(keeper, fresh, LEDGER_SERVICE);
    set_kind(keeper, old, LEDGER_TWIN);
    keeper_fact(keeper, old, LIFECYCLE_EV_STOP);
}

static void trial_changed(struct keeper *keeper, struct slot *slot, const struct unit *twin)
{
    char reason[UNIT_REASON_MAX];

    if (twin->body.lc.state == LIFECYCLE_RUNNING && twin->body.lc.ready && !slot->replace_again) {
        promote(keeper, slot);
        if (!slot->main->body.unproven)
            finish(keeper, slot, true, "");
    } else if (lifecycle_settled((enum lifecycle_state)twin->body.lc.state)) {
        slot->on_trial = false;
        keeper->stop_round_due = true; /* the twin is freed there */
        if (slot->replace_again)
            return;
        snprintf(reason, sizeof reason, "%s",
                 twin->reason[0] ? twin->reason : "it did not become ready");
        finish(keeper, slot, false, reason);
    }
}

/* The trial that was called off, or the one before, is gone: now what was asked for meanwhile. */
static void replace_again(struct keeper *keeper, struct slot *slot)
{
    const struct unit *unit = slot->main;

    slot->replace_again = false;
    if (slot->replace_release[0] && !unit->body.outdated && !unit->body.unproven &&
        keeper_state(slot) == LIFECYCLE_RUNNING && unit->body.lc.ready &&
        strcmp(unit->body.release, slot->replace_release) == 0)
        finish(keeper, slot, true, "");
    else
        begin(keeper, slot);
}

void keeper_replace_alone(struct keeper *keeper, struct slot *slot)
{
    if (slot->replace_again)
        replace_again(keeper, slot);
    if (!slot->twin && slot->main->body.unproven)
        keeper_fact(keeper, slot->main, LIFECYCLE_EV_PROVE);
}

static void main_changed(struct keeper *keeper, struct slot *slot)
{
    const struct lifecycle *lc = &slot->main->body.lc;
    enum lifecycle_state state = (enum lifecycle_state)lc->state;
    bool up = !slot->main->body.next_release[0] &&
              (keeper_listening(slot) ||
               (lc->ready && (state == LIFECYCLE_RUNNING || state == LIFECYCLE_EXITED)));
    bool unproven = slot->main->body.unproven;
    char reason[UNIT_REASON_MAX];

    if (up && !unproven)
        finish(keeper, slot, true, "");
    else if (state == LIFECYCLE_BACKOFF || lifecycle_settled(state) || (!up && unproven)) {
        /* A copy: what is told may give the unit another reason. */
        snprintf(reason, sizeof reason, "%s", slot->main->reason);
        finish(keeper, slot, false, reason);
    }
}

void keeper_replace_changed(struct keeper *keeper, struct slot *slot, struct unit *unit)
{
    if (slot->twin == unit && slot->on_trial)
        trial_changed(keeper, slot, unit);
    else if (slot->main == unit && slot->replacing && !slot->on_trial && !slot->replace_again)
        main_changed(keeper, slot);
    else if (slot->twin == unit && lifecycle_settled((enum lifecycle_state)unit->body.lc.state))
        keeper->stop_round_due = true;
}

/* What its release says may have to be read first (release_config.h); until then nobody knows. */
static bool is_known(const struct unit *unit)
{
    return spec_knows(unit->slot->spec, unit->body.release);
}

static bool is_outdated(const struct keeper *keeper, const struct unit *unit)
{
    uint64_t planned = keeper_digest(keeper, unit);

    return is_known(unit) && plan_digest_differs(unit->body.settings, planned) &&
           unit->body.left != planned;
}

bool keeper_runs_outdated(const struct keeper *keeper, const struct unit *unit)
{
    return !unit->slot->removed && keeper_pid(keeper, unit) > 0 && is_known(unit) &&
           plan_digest_differs(unit->body.settings, keeper_digest(keeper, unit));
}

void keeper_leave_nobody(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->nslots; i++) {
        struct unit *unit = keeper->slots[i]->main;

        if (unit->body.left == 0)
            continue;
        unit->body.left = 0;
        keeper_save(unit);
    }
}

static void replace_outdated(struct keeper *keeper, struct slot *slot)
{
    bool under_way = slot->replacing || slot->on_trial;

    keeper_replace(keeper, slot, "");
    if (under_way && !slot->replace_again &&
        is_outdated(keeper, slot->on_trial ? slot->twin : slot->main))
        change_course(keeper, slot);
}

void keeper_outdated(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->nslots; i++) {
        struct slot *slot = keeper->slots[i];

        if (slot->removed || !slot->main->body.lc.wanted || !is_outdated(keeper, slot->main) ||
            jobs_is(slot)) /* its next run has what is new */
            continue;
        slot->main->body.outdated = true;
        keeper_save(slot->main);
    }
    for (size_t i = 0; i < keeper->nslots; i++)
        if (keeper->slots[i]->main->body.outdated && keeper->slots[i]->main->body.lc.wanted &&
            !keeper->slots[i]->removed && !jobs_is(keeper->slots[i]))
            replace_outdated(keeper, keeper->slots[i]);
}

void keeper_empty(struct keeper *keeper, size_t service)
{
    struct slot *const *slots;
    size_t count = keeper_slots_of(keeper, service, &slots);

    keeper->emptying[service] = true;
    for (size_t i = 0; i < count; i++) {
        struct unit *unit = slots[i]->main;

        unit->body.release[0] = '\0';
        slots[i]->replacing = slots[i]->replace_queued = slots[i]->replace_again = false;
        unit->body.next_release[0] = '\0';
        if (slots[i]->twin)
            keeper_order(keeper, slots[i]->twin, LIFECYCLE_EV_STOP, "its release was undone");
        if (jobs_is(slots[i]))
            keeper_order(keeper, unit, LIFECYCLE_EV_STOP, "its release was undone");
        else if (!lifecycle_settled(keeper_state(slots[i])) ||
                 keeper_state(slots[i]) == LIFECYCLE_FAILED)
            keeper_order(keeper, unit, LIFECYCLE_EV_RESTART, "its release was undone");
        unit->body.release[0] = '\0';
        keeper_save(unit);
    }
    keeper->stop_round_due = true;
}

const char *keeper_check(const struct keeper *keeper, size_t service, size_t instance)
{
    struct slot *const *slots;

    if (instance >= keeper_slots_of(keeper, service, &slots))
        return "";
    const struct slot *slot = slots[instance];
    return (slot->on_trial && slot->twin ? slot->twin : slot->main)->check;
}

void keeper_probe_faster(struct keeper *keeper, size_t service, bool on)
{
    struct slot *const *slots;
    size_t count = keeper_slots_of(keeper, service, &slots);

    for (size_t i = 0; i < count; i++) {
        const struct unit *units[] = { slots[i]->main, slots[i]->twin };

        slots[i]->faster = on; /* of the instance: a twin that is promoted keeps it */
        for (size_t k = 0; k < 2; k++)
            if (units[k] && units[k]->checks)
                checks_set_faster(units[k]->checks, on);
    }
}
