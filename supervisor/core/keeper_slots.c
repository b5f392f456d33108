/* keeper_slots.c - which instances there are: from the plan, by name, and going down in order. */
#include "supervisor/core/keeper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "supervisor/core/outputs.h"
#include "supervisor/core/releases.h"
#include "supervisor/core/sockets.h"
#include "supervisor/core/spawn.h"
#include "supervisor/core/unit_group.h"
#include "supervisor/core/unit_oom.h"

size_t keeper_slots_of(const struct keeper *keeper, size_t service, struct slot *const **ret)
{
    size_t first = keeper->first_slot[service];

    *ret = keeper->slots + first;
    return keeper->first_slot[service + 1] - first;
}

struct slot *keeper_find(const struct keeper *keeper, const char *name)
{
    for (size_t i = 0; i < keeper->nslots; i++)
        if (strcmp(keeper->slots[i]->name, name) == 0)
            return keeper->slots[i];
    return NULL;
}

/* --- users --- */

static int find_users(struct keeper *keeper, const struct plan *plan, struct err *err)
{
    keeper->users = arena_array(&keeper->users_arena, plan->nservices + 1, sizeof *keeper->users);
    keeper->user_problems = arena_array(&keeper->users_arena, plan->nservices + 1, sizeof(char *));
    keeper->digests = arena_array(&keeper->users_arena, plan->nservices + 1, sizeof(uint64_t));
    if (!keeper->users || !keeper->user_problems || !keeper->digests)
        return err_set(err, ERR_MEMORY, "no memory for users");
    for (size_t i = 0; i < plan->nservices; i++) {
        const struct spec_service *spec = &plan->services[i];
        struct err why = { 0 };

        keeper->digests[i] = plan_digest(plan, spec);
        if (users_find(spec->user, spec->user_group, &keeper->users_arena, &keeper->users[i],
                       &why) == 0)
            continue;
        keeper->user_problems[i] = arena_strdup(&keeper->users_arena, why.text);
        log_error("cannot run as that user", "service", spec->name, "error", why.text, NULL);
    }
    return 0;
}

/* --- who needs whom --- */

static size_t count_needs(const struct plan *plan, size_t *first)
{
    size_t total = 0;

    for (size_t i = 0; i < plan->nservices; i++)
        for (size_t k = 0; k < plan->services[i].nneeds; k++)
            first[plan->services[i].needs[k] + 1]++;
    for (size_t i = 0; i < plan->nservices; i++) {
        total += first[i + 1];
        first[i + 1] = total;
    }
    return total;
}

/* Turns "i needs k" round, so that a change of k finds its needers without a search. */
static int index_needers(struct keeper *keeper, const struct plan *plan, struct err *err)
{
    size_t *first = arena_array(&keeper->users_arena, plan->nservices + 2, sizeof *first);
    size_t *next = arena_array(&keeper->users_arena, plan->nservices + 2, sizeof *next);

    if (!first || !next)
        return err_set(err, ERR_MEMORY, "no memory for the dependencies");
    size_t total = count_needs(plan, first);
    size_t *list = arena_array(&keeper->users_arena, total + 1, sizeof *list);
    if (!list)
        return err_set(err, ERR_MEMORY, "no memory for the dependencies");
    memcpy(next, first, (plan->nservices + 1) * sizeof *next);
    for (size_t i = 0; i < plan->nservices; i++)
        for (size_t k = 0; k < plan->services[i].nneeds; k++)
            list[next[plan->services[i].needs[k]]++] = i;
    keeper->first_needer = first;
    keeper->needers = list;
    return 0;
}

/* --- slots --- */

static void slot_name(char *name, size_t size, const struct spec_service *spec, int64_t number)
{
    snprintf(name, size, "%s:%lld", spec->name, (long long)number);
}

static void point(struct keeper *keeper, struct slot *slot, size_t service)
{
    slot->service = service;
    slot->spec = &keeper->core->plan->services[service];
    slot->user = &keeper->users[service];
}

struct slot *keeper_slot_alloc(const char *name)
{
    struct slot *slot = calloc(1, sizeof *slot + strlen(name) + 1);

    if (slot)
        memcpy(slot->name, name, strlen(name));
    return slot;
}

static struct slot *slot_new(struct keeper *keeper, size_t service, int64_t number, struct err *err)
{
    char name[SLOT_NAME_MAX];

    slot_name(name, sizeof name, &keeper->core->plan->services[service], number);
    struct slot *slot = keeper_slot_alloc(name);
    if (!slot) {
        err_set(err, ERR_MEMORY, "no memory for an instance");
        return NULL;
    }
    slot->number = number;
    point(keeper, slot, service);
    slot->main = keeper_unit_new(keeper, slot, LEDGER_SERVICE, -1, err);
    if (!slot->main) {
        free(slot);
        return NULL;
    }
    slot->main->body.pristine = true;
    keeper_save(slot->main);
    return slot;
}

/* Old slots by name while a new list is put together. */
struct merge {
    struct keeper *keeper;
    struct slot **old;
    size_t nold;
    struct slot **list;
    size_t count;
};

static int has_name(const void *name, const void *slot)
{
    return strcmp(name, (*(struct slot *const *)slot)->name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct slot *const *)a)->name, (*(struct slot *const *)b)->name);
}

static struct slot **find_old(struct merge *merge, const char *name)
{
    if (merge->nold == 0) /* the list itself may not be there yet */
        return NULL;
    return bsearch(name, merge->old, merge->nold, sizeof(struct slot *), has_name);
}

static void forget_old(struct merge *merge, struct slot **found)
{
    size_t rest = merge->nold - (size_t)(found - merge->old) - 1;

    memmove(found, found + 1, rest * sizeof *found);
    merge->nold--;
}

/* It was on its way out when another reload brought it back: like a new one, autostart decides. */
static void claim_again(struct slot *slot)
{
    if (slot->removed && slot->stop_told) {
        slot->in_stop = slot->stop_told = false;
        slot->main->body.pristine = true;
        keeper_save(slot->main);
    }
    slot->removed = false;
}

static void merge_one(struct merge *merge, size_t service, int64_t number)
{
    char name[SLOT_NAME_MAX];
    struct err err = { 0 };

    slot_name(name, sizeof name, &merge->keeper->core->plan->services[service], number);
    struct slot **found = find_old(merge, name);
    struct slot *slot = found ? *found : slot_new(merge->keeper, service, number, &err);
    if (!slot) { /* the ledger is full: the others go on */
        log_error("no room for instance", "instance", name, "error", err.text, NULL);
        return;
    }
    if (found) {
        forget_old(merge, found);
        point(merge->keeper, slot, service);
        claim_again(slot);
    }
    merge->list[merge->count++] = slot;
}

static size_t wanted_slots(const struct plan *plan)
{
    size_t count = 0;

    for (size_t i = 0; i < plan->nservices; i++)
        count += (size_t)plan->services[i].numprocs;
    return count;
}

/* Gone from the plan, or scaled down. */
static void retire(struct slot *slot)
{
    slot->removed = true;
    slot->replacing = slot->replace_queued = slot->replace_again = false;
}

static void merge_all(struct merge *merge, size_t *first)
{
    const struct plan *plan = merge->keeper->core->plan;

    for (size_t i = 0; i < plan->nservices; i++) {
        const struct spec_service *spec = &plan->services[i];

        first[i] = merge->count;
        for (int64_t n = 0; n < spec->numprocs; n++)
            merge_one(merge, i, spec->numprocs_start + n);
    }
    first[plan->nservices] = merge->count;
    for (size_t i = 0; i < merge->nold; i++) {
        retire(merge->old[i]);
        merge->list[merge->count++] = merge->old[i];
    }
}

static void retire_plan(struct keeper *keeper, struct plan *before, struct arena *users)
{
    if (!before) { /* the first plan: nobody points into what was before */
        arena_done(users);
        return;
    }
    struct keeper_retired *grown =
        realloc(keeper->retired, (keeper->nretired + 1) * sizeof *keeper->retired);
    if (!grown)
        return; /* leaked rather than used after free */
    keeper->retired = grown;
    grown[keeper->nretired++] = (struct keeper_retired){ before, *users };
    keeper->stop_round_due = true; /* freed there when nobody points into it */
}

/* What runs keeps running with its new settings: checks are made anew, log settings handed on. */
static void refresh_running(struct keeper *keeper, struct unit *unit)
{
    struct arena scratch;
    struct err err = { 0 };

    if (!unit || unit->body.lc.starts == 0 || unit->slot->removed)
        return;
    keeper_end_checks(unit);
    arena_init(&scratch);
    if (unit->made && spawn_prepare(keeper->core, unit, unit->slot->user, &err) != 0)
        log_warn("new settings cannot be applied to what runs", "instance", unit->slot->name,
                 "error", err.text, NULL); /* with what it had: better than unchecked */
    const struct instance *made = spawn_look(keeper->core, unit, &scratch);
    if (made && err.code == 0)
        outputs_update(keeper->core, made);
    arena_done(&scratch);
    unit_group_limit(keeper->core, unit);
    if (keeper_pid(keeper, unit) > 0)
        unit_oom_watch(keeper->core, unit);
    if (lifecycle_has_process((enum lifecycle_state)unit->body.lc.state))
        keeper_begin_checks(keeper, unit);
}

/* Its sockets may be others now. */
static void listen_again(struct keeper *keeper, struct slot *slot)
{
    if (!slot->watch)
        return;
    sockets_watch_free(slot->watch);
    slot->watch = NULL;
    if (!slot->removed)
        keeper_perform(keeper, slot->main, LIFECYCLE_ACT_ASK);
}

int keeper_configure(struct keeper *keeper, struct plan *before, struct err *err)
{
    const struct plan *plan = keeper->core->plan;
    size_t room = wanted_slots(plan) + keeper->nslots + 1;
    struct merge merge = { .keeper = keeper, .old = keeper->slots, .nold = keeper->nslots };
    struct arena users = keeper->users_arena; /* removed slots run as users in there */
    size_t *first = calloc(plan->nservices + 2, sizeof *first);
    bool *emptying = calloc(plan->nservices + 1, sizeof *emptying);

    arena_init(&keeper->users_arena);
    merge.list = calloc(room, sizeof *merge.list);
    if (!first || !emptying || !merge.list || find_users(keeper, plan, err) != 0 ||
        index_needers(keeper, plan, err) != 0) {
        free(first);
        free(emptying);
        free(merge.list);
        return err_set(err, ERR_MEMORY, "no memory for the plan's instances");
    }
    if (merge.nold > 0)
        qsort(merge.old, merge.nold, sizeof *merge.old, by_name);
    merge_all(&merge, first);
    free(keeper->slots);
    free(keeper->first_slot);
    free(keeper->emptying);
    keeper->slots = merge.list;
    keeper->nslots = merge.count;
    keeper->slots_cap = room;
    keeper->first_slot = first;
    keeper->emptying = emptying;
    retire_plan(keeper, before, &users);
    for (size_t i = 0; i < keeper->nslots && before; i++) {
        refresh_running(keeper, keeper->slots[i]->main);
        refresh_running(keeper, keeper->slots[i]->twin);
        listen_again(keeper, keeper->slots[i]);
    }
    return 0;
}

/* --- going down in order --- */

void keeper_stop_ordered(struct slot *slot, bool on)
{
    slot->in_stop = on;
    slot->stop_told = false;
    slot->main->body.stop_ordered = on;
    keeper_save(slot->main);
}

static bool slot_down(const struct slot *slot)
{
    return !slot->twin && lifecycle_settled(keeper_state(slot));
}

static bool needs_service(const struct slot *slot, size_t service)
{
    for (size_t i = 0; i < slot->spec->nneeds; i++)
        if (slot->spec->needs[i] == service)
            return true;
    return false;
}

/* Somebody of the same ordered stop who needs this one is still up. */
static bool is_needed(const struct keeper *keeper, const struct slot *slot)
{
    for (size_t i = 0; i < keeper->nslots; i++) {
        const struct slot *other = keeper->slots[i];

        if (other->in_stop && !other->removed && !slot_down(other) && !slot->removed &&
            other->spec->nneeds > 0 && other->service != slot->service &&
            needs_service(other, slot->service))
            return true;
    }
    return false;
}

static void tell_stop(struct keeper *keeper, struct slot *slot)
{
    bool replacing = slot->replacing || slot->replace_queued;

    slot->stop_told = true;
    slot->replacing = slot->replace_queued = slot->replace_again = false;
    if (slot->twin)
        keeper_apply(keeper, slot->twin, LIFECYCLE_EV_STOP);
    keeper_apply(keeper, slot->main, LIFECYCLE_EV_STOP);
    if (replacing && !slot->on_trial) /* a twin on trial tells when it has gone */
        keeper_replace_called_off(keeper, slot, "was stopped");
}

static void free_gone_twins(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->nslots; i++) {
        struct slot *slot = keeper->slots[i];

        if (slot->twin && lifecycle_settled((enum lifecycle_state)slot->twin->body.lc.state)) {
            keeper_unit_free(slot->twin);
            slot->twin = NULL;
            slot->on_trial = false;
            keeper_replace_alone(keeper, slot);
            keeper->hands.changed(keeper->hands.context, slot);
        }
    }
}

static void tell_emptied(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->core->plan->nservices; i++) {
        struct slot *const *slots;
        size_t count = keeper_slots_of(keeper, i, &slots), down = 0;

        if (!keeper->emptying[i])
            continue;
        for (size_t k = 0; k < count; k++)
            down += slot_down(slots[k]) ||
                    (!slots[k]->twin && keeper_state(slots[k]) == LIFECYCLE_WAITING);
        if (down < count)
            continue;
        keeper->emptying[i] = false;
        releases_stopped(keeper->core->releases, i);
    }
}

static void tell_listening(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->nslots; i++) {
        struct slot *slot = keeper->slots[i];

        if (slot->watch_news && slot->watch && !slot->removed)
            keeper_tell_listening(keeper, slot);
        slot->watch_news = false;
    }
}

void keeper_stop_round(struct keeper *keeper)
{
    tell_listening(keeper);
    free_gone_twins(keeper);
    tell_emptied(keeper);
    for (size_t i = 0; i < keeper->nslots; i++) {
        struct slot *slot = keeper->slots[i];

        if (slot->removed && !slot->stop_told)
            tell_stop(keeper, slot);
        if (!slot->in_stop || slot->stop_told || is_needed(keeper, slot))
            continue;
        tell_stop(keeper, slot);
    }
    for (size_t i = 0; i < keeper->nslots && !keeper->stopping_all; i++)
        if (keeper->slots[i]->in_stop && slot_down(keeper->slots[i]))
            keeper_stop_ordered(keeper->slots[i], false);
}

void keeper_shutdown(struct keeper *keeper, bool hurry)
{
    for (size_t i = 0; i < keeper->nslots; i++) {
        struct slot *slot = keeper->slots[i];

        if (!keeper->stopping_all)
            slot->stop_told = false;
        slot->in_stop = true;
        if (!hurry)
            continue;
        if (!slot->stop_told)
            tell_stop(keeper, slot);
        keeper_kill(keeper, slot->main);
        if (slot->twin)
            keeper_kill(keeper, slot->twin);
    }
    keeper->stopping_all = true;
    keeper->stop_round_due = true;
}

bool keeper_all_down(const struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->nslots; i++)
        if (!slot_down(keeper->slots[i]))
            return false;
    return true;
}
