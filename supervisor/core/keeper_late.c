/* keeper_late.c - the look at all that runs, which nobody who is started again is kept waiting for.
 *
 * What a quick look does not see is a sibling that a main process has made and that has left its
 * process group: rare, and no reason for it to stay.
 */
#include "supervisor/core/keeper.h"

#include <signal.h>

#include "base/log.h"
#include "supervisor/host/leftovers.h"

enum { LATE_MS = 500, LATE_KILL_MS = 2000, LATE_MAX = 256 };

void keeper_look_later(struct keeper *keeper)
{
    if (!loop_timer_armed(keeper->late_timer))
        loop_timer_arm(keeper->late_timer, LATE_MS);
}

static bool is_of(const struct keeper *keeper, const struct unit *unit, unsigned generation)
{
    return unit && keeper->core->ledger.records[unit->record].generation == generation;
}

/* Of a process of its instance that has ended and is followed by another one. */
static bool is_over(void *context, const char *name, unsigned generation)
{
    const struct keeper *keeper = context;
    const struct slot *slot = keeper_find(keeper, name);

    return slot && keeper_cleans_up(unit_spec(slot->main)) &&
           !is_of(keeper, slot->main, generation) && !is_of(keeper, slot->twin, generation);
}

void keeper_late_look(void *context)
{
    struct keeper *keeper = context;
    pid_t pids[LATE_MAX];
    struct leftovers *seen = keeper_look(keeper, LEFTOVERS_CHILDREN);
    size_t count = seen ? leftovers_stale(seen, is_over, keeper, pids, LATE_MAX) : 0;

    for (size_t i = 0; i < count && i < LATE_MAX; i++)
        leftovers_signal(seen, pids[i], keeper->late_told ? SIGKILL : SIGTERM);
    if (count > 0 && !keeper->late_told)
        log_warn("processes were left behind by those that were followed by others", NULL);
    keeper->late_told = count > 0;
    if (count > 0 || !seen) /* without memory again, too */
        loop_timer_arm(keeper->late_timer, LATE_KILL_MS);
    leftovers_free(seen);
}
