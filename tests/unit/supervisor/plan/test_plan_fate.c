/* Every combination of facts, and what must hold of each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "supervisor/plan/plan_fate.h"

/* What an order has stopped stays so; what was not gets, or loses, its times. */
static void check_clock(const struct plan_fate_facts *f, enum plan_fate fate)
{
    bool told = fate == PLAN_FATE_SCHEDULED || fate == PLAN_FATE_BEGINS || fate == PLAN_FATE_ENDS;

    if (!f->times)
        assert_false(told);
    if (fate == PLAN_FATE_SCHEDULED)
        assert_true(f->to_clock && !(f->process && f->no_restart));
    if (f->to_clock)
        assert_int_equal(f->times, fate == PLAN_FATE_SCHEDULED || fate == PLAN_FATE_LEFT);
    if (f->from_clock && f->times && !f->wanted)
        assert_int_equal(fate, f->autostart ? PLAN_FATE_BEGINS : PLAN_FATE_ENDS);
    if (fate == PLAN_FATE_BEGINS || fate == PLAN_FATE_ENDS)
        assert_true(f->from_clock && !f->wanted);
}

static void check(const struct plan_fate_facts *f)
{
    enum plan_fate fate = plan_fate(f);

    assert_non_null(plan_fate_name(fate));
    /* What is gone is never left running, and what is new has nothing to be restarted. */
    assert_int_equal(!f->after, fate == PLAN_FATE_STOPS || fate == PLAN_FATE_GOES);
    if (!f->after)
        assert_int_equal(f->process, fate == PLAN_FATE_STOPS);
    if (f->after && !f->before)
        assert_int_equal(fate, f->autostart ? PLAN_FATE_STARTS : PLAN_FATE_RESTS);
    if (!f->after || !f->before)
        return;
    check_clock(f, fate);
    /* What an operator has stopped is neither started nor signalled. */
    if (!f->wanted && !f->times)
        assert_true(fate == PLAN_FATE_SAME || fate == PLAN_FATE_LIVE || fate == PLAN_FATE_LATER);
    /* Nothing is interrupted that was not asked for, and nothing without a reason. */
    if (f->no_restart)
        assert_false(plan_fate_interrupts(fate) && f->process);
    if (!f->outdated && !f->files && !f->told && !f->to_clock)
        assert_false(plan_fate_interrupts(fate) || fate == PLAN_FATE_LEFT);
    /* What only a start can change is never said to be applied. */
    if (f->outdated && f->wanted && !f->scheduled && !f->to_clock)
        assert_int_equal(fate, f->no_restart ? PLAN_FATE_LEFT : PLAN_FATE_RESTARTS);
    /* A run under way is left alone, and nothing is told when nothing has changed. */
    if (f->scheduled) {
        assert_true(fate == PLAN_FATE_SAME || fate == PLAN_FATE_LIVE || fate == PLAN_FATE_LATER);
        assert_true(!f->outdated || fate != PLAN_FATE_LIVE);
        assert_int_equal(f->changed, fate != PLAN_FATE_SAME);
    }
    /* Without a process there is nothing to be signalled or changed. */
    if (!f->process)
        assert_true(fate != PLAN_FATE_SIGNALLED && fate != PLAN_FATE_LIVE);
    if (fate == PLAN_FATE_SIGNALLED)
        assert_true(f->signal && f->told && !f->outdated && !f->files);
    /* A change is always told. */
    if (f->changed)
        assert_int_not_equal(fate, PLAN_FATE_SAME);
}

static void every_situation(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 1u << 15; bits++) {
        const struct plan_fate_facts facts = { .before = bits & 1,
                                               .after = bits >> 1 & 1,
                                               .autostart = bits >> 2 & 1,
                                               .wanted = bits >> 3 & 1,
                                               .process = bits >> 4 & 1,
                                               .changed = bits >> 5 & 1,
                                               .outdated = bits >> 6 & 1,
                                               .files = bits >> 7 & 1,
                                               .told = bits >> 8 & 1,
                                               .signal = bits >> 9 & 1,
                                               .no_restart = bits >> 10 & 1,
                                               .scheduled = bits >> 11 & 1,
                                               .to_clock = bits >> 12 & 1,
                                               .from_clock = bits >> 13 & 1,
                                               .times = bits >> 14 & 1 };
        if (facts.scheduled + facts.to_clock + facts.from_clock < 2)
            check(&facts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_situation) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
