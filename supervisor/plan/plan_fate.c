/* plan_fate.c - the contract is in plan_fate.h. */
#include "supervisor/plan/plan_fate.h"

const char *plan_fate_name(enum plan_fate fate)
{
    static const char *const names[PLAN_NFATES] = {
        /* clang-format off */
        [PLAN_FATE_SAME]      = "same",
        [PLAN_FATE_STARTS]    = "starts",
        [PLAN_FATE_RESTS]     = "added",
        [PLAN_FATE_STOPS]     = "stops",
        [PLAN_FATE_GOES]      = "removed",
        [PLAN_FATE_RESTARTS]  = "restarts",
        [PLAN_FATE_LEFT]      = "left",
        [PLAN_FATE_SIGNALLED] = "signalled",
        [PLAN_FATE_LIVE]      = "live",
        [PLAN_FATE_LATER]     = "later",
        [PLAN_FATE_SCHEDULED] = "scheduled",
        [PLAN_FATE_BEGINS]    = "begins",
        [PLAN_FATE_ENDS]      = "ends",
        /* clang-format on */
    };
    return names[fate];
}

static enum plan_fate of_new_clock(const struct plan_fate_facts *facts)
{
    if (!facts->times)
        return PLAN_FATE_LATER;
    return facts->process && facts->no_restart ? PLAN_FATE_LEFT : PLAN_FATE_SCHEDULED;
}

static enum plan_fate of_what_stays(const struct plan_fate_facts *facts)
{
    bool restarts = facts->outdated || (facts->process && facts->files) ||
                    (facts->process && facts->told && !facts->signal);

    if (facts->to_clock)
        return of_new_clock(facts);
    if (facts->from_clock && facts->times && !facts->wanted)
        return facts->autostart ? PLAN_FATE_BEGINS : PLAN_FATE_ENDS;
    if (restarts && facts->wanted && !facts->scheduled)
        return facts->no_restart ? PLAN_FATE_LEFT : PLAN_FATE_RESTARTS;
    if (facts->process && facts->told && facts->wanted && !facts->scheduled)
        return PLAN_FATE_SIGNALLED;
    if (!facts->changed)
        return PLAN_FATE_SAME;
    return facts->process && !(facts->scheduled && restarts) ? PLAN_FATE_LIVE : PLAN_FATE_LATER;
}

enum plan_fate plan_fate(const struct plan_fate_facts *facts)
{
    if (!facts->after)
        return facts->process ? PLAN_FATE_STOPS : PLAN_FATE_GOES;
    if (!facts->before)
        return facts->autostart ? PLAN_FATE_STARTS : PLAN_FATE_RESTS;
    return of_what_stays(facts);
}

bool plan_fate_interrupts(enum plan_fate fate)
{
    return fate == PLAN_FATE_STOPS || fate == PLAN_FATE_RESTARTS || fate == PLAN_FATE_SCHEDULED;
}
