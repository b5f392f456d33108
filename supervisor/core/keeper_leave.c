/* keeper_leave.c - signals, and seeing to it that no process of an instance survives its stop. */
#include "supervisor/core/keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "io/child.h"
#include "supervisor/host/cgroup_path.h"
#include "supervisor/core/keeper_notify.h"
#include "supervisor/core/known.h"
#include "supervisor/host/leftovers.h"
#include "supervisor/core/unit_group.h"

enum { LEFTOVERS_MAX = 1024, QUIET_SCANS = 2 };

struct leftovers *keeper_look(struct keeper *keeper, enum leftovers_scope scope)
{
    pid_t guardian = (pid_t)keeper->core->ledger.header->guardian_pid;
    struct known known;
    struct err err = { 0 };
    /* Processes of before a guardian's death have another parent: look everywhere then. */
    bool stranger = keeper->core->ledger.header->guardian_restarts > 0;

    known_init(&known, &keeper->core->ledger);
    struct leftovers *seen =
        leftovers_look(guardian, keeper->core->ledger.header->run,
                       stranger ? LEFTOVERS_EVERYWHERE : scope, known_ask, &known, &err);
    known_done(&known);
    if (!seen)
        log_warn("cannot look for left-over processes", "error", err.text, NULL);
    return seen;
}

static uint32_t generation_of(const struct unit *unit)
{
    return unit->keeper->core->ledger.records[unit->record].generation;
}

/* To the main process, checked to be ours: the exit slot is filled before the pid is reaped, so an
 * empty slot after pidfd_open means that the descriptor is the right process. */
static void signal_main(struct keeper *keeper, struct unit *unit, int signum)
{
    struct ledger_record *record = &keeper->core->ledger.records[unit->record];
    pid_t pid = keeper->core->ledger.pids[unit->record];

    if (pid <= 0)
        return;
    if (keeper_main_pidfd(unit) >=
        0) { /* not the guardian's child, so what is below does not hold */
        child_pidfd_signal(keeper_main_pidfd(unit), signum);
        return;
    }
    int pidfd = child_pidfd(pid);
    if (pidfd < 0) {
        if (pidfd != -ESRCH && record->exited == LEDGER_LIVING)
            kill(pid, signum); /* no pidfd to be had (EMFILE): the parent has not reaped it yet */
        return;
    }
    if (record->exited == LEDGER_LIVING)
        child_pidfd_signal(pidfd, signum);
    close(pidfd);
}

static void signal_group(struct keeper *keeper, struct unit *unit, int signum)
{
    pid_t pid = keeper->core->ledger.pids[unit->record];

    /* While the leader's exit is not consumed its number cannot become another group. */
    if (unit->said.first_pid > 0 && pid > 1)
        pid = getpgid(pid);
    if (pid > 1 && pid != getpgrp())
        kill(-pid, signum);
}

/* All of a group are of the unit, whatever they did; KILL reaches them in one call. */
static void signal_members(struct keeper *keeper, struct unit *unit, int signum)
{
    if (signum == SIGKILL)
        unit_group_kill(keeper->core, unit);
    else
        unit_group_signal(keeper->core, unit, signum, keeper->core->ledger.pids[unit->record]);
}

static size_t signal_rest(struct keeper *keeper, struct unit *unit, int signum,
                          enum leftovers_scope scope)
{
    pid_t pids[LEFTOVERS_MAX];
    char group[CGROUP_NAME_MAX];

    if (unit_group_name(keeper->core, unit, group, sizeof group)) {
        signal_members(keeper, unit, signum);
        return 0;
    }
    struct leftovers *seen = keeper_look(keeper, scope);

    if (!seen)
        return 0;
    size_t count = leftovers_of(seen, unit->slot->name, generation_of(unit), unit->body.main_pid,
                                &unit->members, pids, LEFTOVERS_MAX);
    for (size_t i = 0; i < count && i < LEFTOVERS_MAX; i++)
        leftovers_signal(seen, pids[i], signum);
    leftovers_free(seen);
    return count;
}

void keeper_signal(struct keeper *keeper, struct unit *unit, int signum, bool all)
{
    const struct spec_service *spec = unit_spec(unit);

    if (all)
        signal_rest(keeper, unit, signum, LEFTOVERS_TREE);
    if (spec->set->stopasgroup)
        signal_group(keeper, unit, signum);
    else
        signal_main(keeper, unit, signum);
}

bool keeper_cleans_up(const struct spec_service *spec)
{
    return spec->set->kill_mode != SPEC_KILL_PROCESS;
}

void keeper_kill(struct keeper *keeper, struct unit *unit)
{
    const struct spec_service *spec = unit_spec(unit);

    signal_main(keeper, unit, SIGKILL);
    if (keeper_cleans_up(spec) || spec->set->killasgroup || spec->set->stopasgroup)
        signal_group(keeper, unit, SIGKILL);
    if (keeper_cleans_up(spec))
        signal_rest(keeper, unit, SIGKILL,
                    lifecycle_has_process(unit->body.lc.state) ? LEFTOVERS_TREE
                                                               : LEFTOVERS_CHILDREN);
    if (unit->cleaning)
        keeper->sweep_due = true;
}

/* supervisord's process mode leaves the rest alone; everything else is looked for in the next
 * sweep, one sweep for all that are being cleaned. */
void keeper_clean(struct keeper *keeper, struct unit *unit)
{
    if (!keeper_cleans_up(unit_spec(unit))) {
        keeper_fact(keeper, unit, LIFECYCLE_EV_EMPTY);
        return;
    }
    unit->cleaning = true;
    unit->rest_told = false;
    unit->quiet_scans = QUIET_SCANS - 1; /* one look suffices when it finds nothing at all */
    keeper->sweep_due = true;
    if (unit->in_sweep)
        return;
    unit->in_sweep = true;
    unit->next_swept = keeper->swept;
    keeper->swept = unit;
}

static void empty(struct keeper *keeper, struct unit *unit)
{
    unit->cleaning = false;
    free(unit->members);
    unit->members = NULL;
    keeper_fact(keeper, unit, LIFECYCLE_EV_EMPTY);
}

static void on_group(void *context, unsigned events)
{
    struct unit *unit = context;

    (void)events;
    if (unit->cleaning)
        unit->keeper->sweep_due = true;
    else
        unit_group_forget(unit);
}

static void sweep_group(struct keeper *keeper, struct unit *unit)
{
    if (!unit_group_populated(keeper->core, unit, on_group)) {
        empty(keeper, unit);
        return;
    }
    size_t count =
        unit_group_signal(keeper->core, unit, unit->rest_told ? 0 : SIGTERM, unit->body.main_pid);
    unit->rest_told = true;
    if (count > 0) /* else the last one is on its way out */
        keeper_reason(unit, "%zu process%s left behind", count, count == 1 ? "" : "es");
}

static void sweep_unit(struct keeper *keeper, struct unit *unit, const struct leftovers *seen)
{
    pid_t pids[LEFTOVERS_MAX];
    size_t count = leftovers_of(seen, unit->slot->name, generation_of(unit), unit->body.main_pid,
                                &unit->members, pids, LEFTOVERS_MAX);

    if (count == 0) {
        if (++unit->quiet_scans >= QUIET_SCANS)
            empty(keeper, unit);
        else
            keeper->sweep_due = true;
        return;
    }
    unit->quiet_scans = 0;
    keeper_reason(unit, "%zu process%s left behind", count, count == 1 ? "" : "es");
    if (unit->rest_told)
        return;
    unit->rest_told = true;
    for (size_t i = 0; i < count && i < LEFTOVERS_MAX; i++)
        leftovers_signal(seen, pids[i], SIGTERM);
}

static bool has_group(const struct keeper *keeper, const struct unit *unit)
{
    return unit->body.group != 0 && keeper->core->cgroup.fd >= 0;
}

/* Those of whom nothing is left, or who are gone, are not swept again. */
static void forget_clean(struct keeper *keeper, const struct unit *gone)
{
    struct unit **at = &keeper->swept, *unit;

    while ((unit = *at) != NULL) {
        if (unit->cleaning && unit != gone) {
            at = &unit->next_swept;
            continue;
        }
        *at = unit->next_swept;
        unit->in_sweep = false;
    }
}

void keeper_clean_no_more(struct keeper *keeper, struct unit *unit)
{
    if (unit->in_sweep)
        forget_clean(keeper, unit);
}

/* Who is started again is not kept waiting for a look at all that runs: the first thread's children
 * tell of every orphan, and its group of a sibling that it has made.  The rest is seen later. */
static bool is_quick(const struct unit *unit)
{
    return unit->body.lc.wanted && unit->members == NULL && !unit->rest_told &&
           (unit->body.main_pid <= 1 || (kill(-unit->body.main_pid, 0) < 0 && errno == ESRCH));
}

void keeper_sweep(struct keeper *keeper)
{
    bool any = false, quick = true;

    keeper->sweep_due = false;
    forget_clean(keeper, NULL);
    for (struct unit *unit = keeper->swept; unit; unit = unit->next_swept) {
        if (has_group(keeper, unit)) {
            sweep_group(keeper, unit);
            continue;
        }
        any = true; /* it must be looked for in /proc */
        quick = quick && is_quick(unit);
    }
    struct leftovers *seen =
        any ? keeper_look(keeper, quick ? LEFTOVERS_QUICK : LEFTOVERS_CHILDREN) : NULL;
    if (!seen)
        return; /* the deadline of each unit comes round and asks again */
    for (struct unit *unit = keeper->swept; unit; unit = unit->next_swept)
        if (!has_group(keeper, unit))
            sweep_unit(keeper, unit, seen);
    leftovers_free(seen);
    if (quick)
        keeper_look_later(keeper);
}
