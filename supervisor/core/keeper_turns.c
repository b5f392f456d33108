/* keeper_turns.c - who may restart now, and who waits for a turn (the host-wide breaker). */
#include <stdlib.h>

#include "supervisor/core/keeper.h"

enum { NO_MEMORY_MS = 1000 };

/* Only what comes back by itself is counted: not first starts, not orders. */
bool keeper_may_restart(struct keeper *keeper, struct unit *unit, int64_t waits_since)
{
    const struct lifecycle *lc = &unit->body.lc;
    int64_t now = loop_now_ms(keeper->core->loop);

    if (keeper_at_call(unit) && lc->expected)
        return true; /* it was called, it does not come back */
    if (lc->starts == 0 || lc->cause == LIFECYCLE_BY_RESTART || !keeper->breaker_timer)
        return true;
    /* While others wait nobody goes before them: one that falls all the time would take it all. */
    bool queued = loop_timer_armed(keeper->breaker_timer) && !keeper->giving_turns;
    int64_t wait =
        queued ? 0
               : breaker_take(&keeper->breaker, keeper->core->plan->supervisor.restart_burst, now);
    if (!queued && wait == 0)
        return true;
    unit->turn_ms = waits_since ? waits_since : now;
    keeper_reason(unit, "its turn, many services restart at once (restart_burst)");
    if (!queued)
        loop_timer_arm(keeper->breaker_timer, wait);
    return false;
}

/* All that wait, in the order in which they go; malloc'ed, NULL when nobody waits (*ret_count 0)
 * or without memory. */
static struct breaker_turn *line_up(const struct keeper *keeper, size_t *ret_count)
{
    size_t count = 0, n = 0;

    for (size_t i = 0; i < keeper->nslots; i++)
        count += keeper_waits_for_turn(keeper->slots[i]->main);
    struct breaker_turn *turns = count ? calloc(count, sizeof *turns) : NULL;
    *ret_count = count;
    if (!turns)
        return NULL;
    for (size_t i = 0; i < keeper->nslots && n < count; i++) {
        const struct slot *slot = keeper->slots[i];
        if (keeper_waits_for_turn(slot->main))
            turns[n++] = (struct breaker_turn){ slot->main->turn_ms, slot->spec->priority, i };
    }
    breaker_order(turns, count, loop_now_ms(keeper->core->loop));
    return turns;
}

bool keeper_waits_for_turn(const struct unit *unit)
{
    return unit->turn_ms > 0 && unit->body.lc.state == LIFECYCLE_WAITING;
}

void keeper_ask_waiting(struct keeper *keeper)
{
    for (size_t i = 0; i < keeper->nslots; i++)
        if (keeper_state(keeper->slots[i]) == LIFECYCLE_WAITING)
            keeper_perform(keeper, keeper->slots[i]->main, LIFECYCLE_ACT_ASK);
}

void keeper_next_turns(void *context)
{
    struct keeper *keeper = context;
    size_t count;
    struct breaker_turn *turns = line_up(keeper, &count);

    if (!turns && count > 0) {
        loop_timer_arm(keeper->breaker_timer, NO_MEMORY_MS);
        return;
    }
    keeper->giving_turns = true;
    for (size_t i = 0; i < count && !loop_timer_armed(keeper->breaker_timer); i++)
        keeper_perform(keeper, keeper->slots[turns[i].index]->main, LIFECYCLE_ACT_ASK);
    keeper->giving_turns = false;
    free(turns);
}

size_t keeper_number_turns(const struct keeper *keeper, int64_t *ret_open_ms)
{
    const struct core *core = keeper->core;
    int64_t burst = core->plan->supervisor.restart_burst, now = loop_now_ms(core->loop);
    size_t count = 0;

    *ret_open_ms = 0;
    if (!keeper->breaker_timer || !loop_timer_armed(keeper->breaker_timer))
        return 0;
    struct breaker_turn *turns = line_up(keeper, &count);
    for (size_t i = 0; turns && i < count; i++) {
        struct unit *unit = keeper->slots[turns[i].index]->main;
        unit->turn_place = (uint32_t)i + 1;
        unit->turn_wait_ms = breaker_wait(&keeper->breaker, burst, now, i);
        *ret_open_ms = unit->turn_wait_ms;
    }
    free(turns);
    return count;
}
