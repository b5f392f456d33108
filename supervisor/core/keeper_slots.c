/* keeper_slots.c - which instances there are: from the plan, by name, and going down in order. */
#include "supervisor/core/keeper.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "supervisor/core/outputs.h"
#include "supervisor/release/releases.h"
#include "supervisor/core/sockets.h"
#include "supervisor/core/spawn.h"
#include "supervisor/core/spawn_box.h"
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

/* All that a plan needs to come into force, made before anything of it does. */
struct keeper_next {
    struct keeper *keeper;
    const struct plan *plan;
    struct arena arena; /* of the next five */
    struct users_identity *users;
    char **user_problems;
    uint64_t *digests;
    size_t *first_needer, *needers;

    struct slot **old; /* those that there are, by name */
    bool *stays;       /* each of them */
    struct slot **list;
    bool *fresh; /* each of them: made here */
    size_t count, room;
    size_t *first;
    bool *emptying;
    struct keeper_retired *retired; /* room for one more than there are */
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_MEMORY, "no memory for the plan's instances");
}

/* --- users --- */

static int find_users(struct keeper_next *next, struct err *err)
{
    const struct plan *plan = next->plan;

    next->users = arena_array(&next->arena, plan->nservices + 1, sizeof *next->users);
    next->user_problems = arena_array(&next->arena, plan->nservices + 1, sizeof(char *));
    next->digests = arena_array(&next->arena, plan->nservices + 1, sizeof(uint64_t));
    if (!next->users || !next->user_problems || !next->digests)
        return no_memory(err);
    for (size_t i = 0; i < plan->nservices; i++) {
        const struct spec_service *spec = &plan->services[i];
        struct err why = { 0 };

        next->digests[i] = plan_digest(plan, spec, next->keeper->core->tunes);
        if (next->digests[i] == 0)
            return no_memory(err);
        const char *what = "cannot run as that user";
        int rc = users_find(spec->user, spec->user_group, &next->arena, &next->users[i], &why);
        if (rc == 0) {
            what = "cannot make its sandbox";
            rc = spawn_box_check(next->keeper->core, spec, &why);
        }
        if (rc == 0)
            continue;
        next->user_problems[i] = arena_strdup(&next->arena, why.text);
        if (rc == ERR_MEMORY || !next->user_problems[i]) /* without a problem it would run as us */
            return no_memory(err);
        log_error(what, "service", spec->name, "error", why.text, NULL);
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
static int index_needers(struct keeper_next *next, struct err *err)
{
    const struct plan *plan = next->plan;
    size_t *first = arena_array(&next->arena, plan->nservices + 2, sizeof *first);
    size_t *at = arena_array(&next->arena, plan->nservices + 2, sizeof *at);

    if (!first || !at)
        return no_memory(err);
    size_t total = count_needs(plan, first);
    size_t *list = arena_array(&next->arena, total + 1, sizeof *list);
    if (!list)
        return no_memory(err);
    memcpy(at, first, (plan->nservices + 1) * sizeof *at);
    for (size_t i = 0; i < plan->nservices; i++)
        for (size_t k = 0; k < plan->services[i].nneeds; k++)
            list[at[plan->services[i].needs[k]]++] = i;
    next->first_needer = first;
    next->needers = list;
    return 0;
}

/* --- slots --- */

static void slot_name(char *name, size_t size, const struct spec_service *spec, int64_t number)
{
    snprintf(name, size, "%s:%lld", spec->name, (long long)number);
}

static void point(struct slot *slot, const struct keeper_next *next, size_t service)
{
    slot->service = service;
    slot->spec = &next->plan->services[service];
    slot->user = &next->users[service];
}

struct slot *keeper_slot_alloc(const char *name)
{
    struct slot *slot = calloc(1, sizeof *slot + strlen(name) + 1);

    if (slot)
        memcpy(slot->name, name, strlen(name));
    return slot;
}

static struct slot *slot_new(const struct keeper_next *next, const char *name, size_t service,
                             int64_t number, struct err *err)
{
    struct slot *slot = keeper_slot_alloc(name);

    if (!slot) {
        no_memory(err);
        return NULL;
    }
    slot->number = number;
    point(slot, next, service);
    slot->main = keeper_unit_new(next->keeper, slot, LEDGER_SERVICE, -1, err);
    if (!slot->main) {
        free(slot);
        return NULL;
    }
    slot->main->body.pristine = true;
    keeper_save(slot->main);
    return slot;
}

static int has_name(const void *name, const void *slot)
{
    return strcmp(name, (*(struct slot *const *)slot)->name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct slot *const *)a)->name, (*(struct slot *const *)b)->name);
}

static struct slot *find_old(struct keeper_next *next, const char *name)
{
    size_t nold = next->keeper->nslots;
    struct slot **found =
        nold ? bsearch(name, next->old, nold, sizeof(struct slot *), has_name) : NULL;

    if (!found)
        return NULL;
    next->stays[found - next->old] = true;
    return *found;
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

static int merge_one(struct keeper_next *next, size_t service, int64_t number, struct err *err)
{
    char name[SLOT_NAME_MAX];
    struct err why = { 0 };

    slot_name(name, sizeof name, &next->plan->services[service], number);
    struct slot *slot = find_old(next, name);
    if (!slot) {
        slot = slot_new(next, name, service, number, &why);
        next->fresh[next->count] = slot != NULL;
    }
    if (slot)
        next->list[next->count++] = slot;
    else if (why.code == ERR_LIMIT) /* the ledger is full: the others go on */
        log_error("no room for instance", "instance", name, "error", why.text, NULL);
    else
        return err_set(err, why.code, "%s", why.text);
    return 0;
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

/* The new list: what the plan has, then what only the one before had. */
static int merge_all(struct keeper_next *next, struct err *err)
{
    const struct plan *plan = next->plan;

    for (size_t i = 0; i < plan->nservices; i++) {
        const struct spec_service *spec = &plan->services[i];

        next->first[i] = next->count;
        for (int64_t n = 0; n < spec->numprocs; n++)
            if (merge_one(next, i, spec->set->numprocs_start + n, err) != 0)
                return err->code;
    }
    next->first[plan->nservices] = next->count;
    for (size_t i = 0; i < next->keeper->nslots; i++)
        if (!next->stays[i])
            next->list[next->count++] = next->old[i];
    return 0;
}

static bool make_room(struct keeper_next *next)
{
    const struct keeper *keeper = next->keeper;
    size_t services = next->plan->nservices + 2;

    next->room = wanted_slots(next->plan) + keeper->nslots + 1;
    next->list = calloc(next->room, sizeof(struct slot *));
    next->fresh = calloc(next->room, sizeof *next->fresh);
    next->old = calloc(keeper->nslots + 1, sizeof(struct slot *));
    next->stays = calloc(keeper->nslots + 1, sizeof *next->stays);
    next->first = calloc(services, sizeof *next->first);
    next->emptying = calloc(services, sizeof *next->emptying);
    next->retired = calloc(keeper->nretired + 1, sizeof *next->retired);
    return next->list && next->fresh && next->old && next->stays && next->first && next->emptying &&
           next->retired;
}

static void next_free(struct keeper_next *next)
{
    free(next->list);
    free(next->fresh);
    free(next->old);
    free(next->stays);
    free(next->first);
    free(next->emptying);
    free(next->retired);
    arena_done(&next->arena);
    free(next);
}

void keeper_discard(struct keeper_next *next)
{
    if (!next)
        return;
    for (size_t i = 0; i < next->count; i++) {
        if (!next->fresh[i])
            continue;
        keeper_unit_free(next->list[i]->main);
        free(next->list[i]);
    }
    next_free(next);
}

struct keeper_next *keeper_prepare(struct keeper *keeper, const struct plan *plan, struct err *err)
{
    struct keeper_next *next = calloc(1, sizeof *next);

    if (!next) {
        no_memory(err);
        return NULL;
    }
    next->keeper = keeper;
    next->plan = plan;
    arena_init(&next->arena);
    if (!make_room(next)) {
        no_memory(err);
        keeper_discard(next);
        return NULL;
    }
    if (keeper->nslots > 0) {
        memcpy(next->old, keeper->slots, keeper->nslots * sizeof(struct slot *));
        qsort(next->old, keeper->nslots, sizeof(struct slot *), by_name);
    }
    if (find_users(next, err) != 0 || index_needers(next, err) != 0 || merge_all(next, err) != 0) {
        keeper_discard(next);
        return NULL;
    }
    return next;
}

/* Of a service as the unit's release has it; `pinned` is that of the release that is pinned. */
static uint64_t digest_of(const struct plan *plan, size_t service, uint64_t pinned,
                          const struct unit *unit)
{
    const struct spec_service *spec = &plan->services[service];
    const struct spec_service *own = spec_for(spec, unit->body.release);

    return own == spec ? pinned : plan_digest(plan, own, unit->keeper->core->tunes);
}

uint64_t keeper_digest(const struct keeper *keeper, const struct unit *unit)
{
    size_t service = unit->slot->service;

    return digest_of(keeper->core->plan, service, keeper->digests[service], unit);
}

void keeper_leave_outdated(struct keeper_next *next)
{
    for (size_t i = 0; i < next->plan->nservices; i++) {
        for (size_t k = next->first[i]; k < next->first[i + 1]; k++) {
            struct unit *unit = next->list[k]->main;
            uint64_t planned = digest_of(next->plan, i, next->digests[i], unit);

            if (!plan_digest_differs(unit->body.settings, planned))
                continue;
            unit->body.left = planned;
            keeper_save(unit);
        }
    }
}

/* --- taking it into force --- */

/* Of a slot that stays: what is under way goes by its new times. */
static void point_again(const struct keeper_next *next, struct slot *slot, size_t service)
{
    struct unit *const units[] = { slot->main, slot->twin };
    struct lifecycle_policy before[2];
    int64_t now = loop_now_ms(next->keeper->core->loop);

    for (size_t i = 0; i < 2; i++)
        if (units[i])
            before[i] = keeper_policy(units[i]);
    point(slot, next, service);
    for (size_t i = 0; i < 2; i++) {
        struct lifecycle_policy after;
        if (!units[i])
            continue;
        after = keeper_policy(units[i]);
        if (!lifecycle_retime(&units[i]->body.lc, &before[i], &after, now))
            continue;
        keeper_arm(units[i]);
        keeper_save(units[i]);
    }
}

/* `first`: what was adopted had no settings until now. */
static void point_slots(const struct keeper_next *next, bool first)
{
    size_t nservices = next->plan->nservices;

    for (size_t i = 0; i < nservices; i++) {
        for (size_t k = next->first[i]; k < next->first[i + 1]; k++) {
            if (first || next->fresh[k])
                point(next->list[k], next, i);
            else
                point_again(next, next->list[k], i);
            if (!next->fresh[k])
                claim_again(next->list[k]);
        }
    }
    for (size_t k = next->first[nservices]; k < next->count; k++)
        retire(next->list[k]);
}

/* The plan before, and who its users were: removed slots run with these. */
static void retire_plan(struct keeper *keeper, struct keeper_next *next, struct plan *before)
{
    if (!before) { /* the first plan: nobody points into what was before */
        arena_done(&keeper->users_arena);
        return;
    }
    for (size_t i = 0; i < keeper->nretired; i++)
        next->retired[i] = keeper->retired[i];
    free(keeper->retired);
    keeper->retired = next->retired;
    next->retired = NULL;
    keeper->retired[keeper->nretired++] = (struct keeper_retired){ before, keeper->users_arena };
    keeper->stop_round_due = true; /* freed there when nobody points into it */
}

/* The instance that something still needs, with its new settings. */
static bool make_again(struct keeper *keeper, struct unit *unit)
{
    struct err err = { 0 };

    if (!unit->made || spawn_prepare(keeper->core, unit, unit->slot->user, &err) == 0)
        return true;
    log_warn("new settings cannot be applied to what runs", "instance", unit->slot->name, "error",
             err.text, NULL); /* with what it had: better than unchecked */
    return false;
}

/* What runs keeps running with its new settings; checks that ask the same go on. */
static void refresh_running(struct keeper *keeper, struct unit *unit, struct err_list *problems)
{
    if (!unit || unit->body.lc.starts == 0 || unit->slot->removed)
        return;
    if (make_again(keeper, unit)) {
        keeper_refresh(keeper, unit, problems);
        keeper_follow_checks(keeper, unit);
    }
    if (keeper_pid(keeper, unit) > 0)
        unit_oom_watch(keeper->core, unit);
}

void keeper_refresh(struct keeper *keeper, struct unit *unit, struct err_list *problems)
{
    struct arena scratch;

    arena_init(&scratch);
    const struct instance *made = spawn_look(keeper->core, unit, &scratch);
    if (made)
        outputs_update(keeper->core, made);
    arena_done(&scratch);
    unit_group_limit(keeper->core, unit);
    keeper_tune(keeper, unit, problems);
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

void keeper_configure(struct keeper *keeper, struct keeper_next *next, struct plan *before,
                      struct err_list *problems)
{
    point_slots(next, before == NULL);
    free(keeper->slots);
    free(keeper->first_slot);
    free(keeper->emptying);
    keeper->slots = next->list;
    keeper->nslots = next->count;
    keeper->slots_cap = next->room;
    keeper->first_slot = next->first;
    keeper->emptying = next->emptying;
    retire_plan(keeper, next, before);
    keeper->users_arena = next->arena;
    keeper->users = next->users;
    keeper->user_problems = next->user_problems;
    keeper->digests = next->digests;
    keeper->first_needer = next->first_needer;
    keeper->needers = next->needers;
    next->list = NULL;
    next->first = NULL;
    next->emptying = NULL;
    arena_init(&next->arena);
    next_free(next);
    for (size_t i = 0; i < keeper->nslots && before; i++) {
        refresh_running(keeper, keeper->slots[i]->main, problems);
        refresh_running(keeper, keeper->slots[i]->twin, problems);
        listen_again(keeper, keeper->slots[i]);
    }
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

/* Somebody of the same ordered stop who needs this one is still up. */
static bool is_needed(const struct keeper *keeper, const struct slot *slot)
{
    if (slot->removed)
        return false;
    for (size_t i = keeper->first_needer[slot->service];
         i < keeper->first_needer[slot->service + 1]; i++) {
        struct slot *const *others;
        size_t count = keeper_slots_of(keeper, keeper->needers[i], &others);

        for (size_t k = 0; k < count && keeper->needers[i] != slot->service; k++)
            if (others[k]->in_stop && !slot_down(others[k]))
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
