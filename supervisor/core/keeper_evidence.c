/* keeper_evidence.c - what a unit was doing is noted before it is made to end for it. */
#include "supervisor/core/keeper.h"

#include <stdlib.h>
#include <string.h>

#include "base/auto.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/jsonx.h"
#include "supervisor/host/cgroup_path.h"
#include "supervisor/core/events.h"
#include "supervisor/core/known.h"
#include "supervisor/host/evidence.h"
#include "supervisor/host/leftovers.h"
#include "supervisor/core/unit_group.h"

/* When a thousand are killed at once their evidence must neither take long nor push everything else
 * out of the recorder. */
enum { PIDS_MAX = 256, TAKE_MS = 50, WINDOW_MS = 10000, PER_WINDOW = 20 };

size_t keeper_pids(struct keeper *keeper, const struct unit *unit, pid_t *pids, size_t max)
{
    char group[CGROUP_NAME_MAX];
    pid_t main_pid = keeper_pid(keeper, unit);
    struct err err = { 0 };
    size_t count = 0, first = main_pid > 0;

    if (unit_group_name(keeper->core, unit, group, sizeof group)) {
        count = cgroup_group_pids(&keeper->core->cgroup, group, pids + first, max - first);
    } else {
        const struct ledger_header *header = keeper->core->ledger.header;
        struct known known;

        known_init(&known, &keeper->core->ledger);
        struct leftovers *look = leftovers_look((pid_t)header->guardian_pid, header->run,
                                                LEFTOVERS_TREE, known_ask, &known, &err);
        known_done(&known);
        if (look)
            count = leftovers_of(look, unit->slot->name,
                                 keeper->core->ledger.records[unit->record].generation,
                                 unit->body.main_pid, NULL, pids + first, max - first);
        leftovers_free(look);
    }
    if (count > max - first)
        count = max - first;
    size_t kept = first;
    for (size_t i = first; i < first + count; i++)
        if (pids[i] != main_pid)
            pids[kept++] = pids[i];
    if (first)
        pids[0] = main_pid;
    return kept;
}

static bool within_budget(struct keeper *keeper)
{
    int64_t now = loop_now_ms(keeper->core->loop);

    if (now - keeper->evidence_since_ms > WINDOW_MS) {
        keeper->evidence_since_ms = now;
        keeper->evidence_count = 0;
    }
    return keeper->evidence_count++ < PER_WINDOW;
}

void keeper_evidence(struct keeper *keeper, struct unit *unit, enum unit_evidence what)
{
    AUTO_FREE pid_t *pids = NULL;

    if (unit->evidence & what || !within_budget(keeper))
        return;
    unit->evidence |= (uint8_t)what;
    pids = calloc(PIDS_MAX, sizeof *pids);
    size_t count = pids ? keeper_pids(keeper, unit, pids, PIDS_MAX) : 0;
    if (count == 0)
        return;
    json_t *details = json_object();
    jsonx_set_text(details, "instance", unit->slot->name);
    jsonx_set_text(details, "before", what == UNIT_EVIDENCE_FAULT ? "stop" : "kill");
    jsonx_set_text(details, "why", unit->reason);
    json_object_set_new(
        details, "processes",
        evidence_of(pids, count, unit_spec(unit)->set->stopsignal, clock_mono_ms() + TAKE_MS));
    jsonx_set_int(details, "in_all", (int64_t)count);
    events_publish(keeper->core->events, "evidence", details);
}
