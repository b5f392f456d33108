/* test_summary.c - every state of an instance counts as one thing, and none is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "supervisor/machine/summary.h"

/* [wanted]: what a state counts as, `listening`, `ready` and `expected` being false. */
static const enum summary_kind plain[LIFECYCLE_NSTATES][2] = {
    [LIFECYCLE_STOPPED] = { SUMMARY_UNWANTED, SUMMARY_BAD },
    [LIFECYCLE_WAITING] = { SUMMARY_BAD, SUMMARY_BAD },
    [LIFECYCLE_PRE_START] = { SUMMARY_UNWANTED, SUMMARY_UNDERWAY },
    [LIFECYCLE_STARTING] = { SUMMARY_UNWANTED, SUMMARY_UNDERWAY },
    [LIFECYCLE_RUNNING] = { SUMMARY_BAD, SUMMARY_BAD },
    [LIFECYCLE_STOPPING] = { SUMMARY_UNWANTED, SUMMARY_UNDERWAY },
    [LIFECYCLE_KILLING] = { SUMMARY_UNWANTED, SUMMARY_UNDERWAY },
    [LIFECYCLE_CLEANING] = { SUMMARY_UNWANTED, SUMMARY_UNDERWAY },
    [LIFECYCLE_POST_STOP] = { SUMMARY_UNWANTED, SUMMARY_UNDERWAY },
    [LIFECYCLE_BACKOFF] = { SUMMARY_BAD, SUMMARY_BAD },
    [LIFECYCLE_EXITED] = { SUMMARY_BAD, SUMMARY_BAD },
    [LIFECYCLE_FAILED] = { SUMMARY_BAD, SUMMARY_BAD },
};

static enum summary_kind expected_of(const struct lifecycle *lc, bool listening)
{
    if (lc->state == LIFECYCLE_RUNNING && lc->ready)
        return SUMMARY_WELL;
    if (lc->state == LIFECYCLE_EXITED && lc->expected)
        return SUMMARY_WELL;
    if (lc->state == LIFECYCLE_WAITING && listening)
        return SUMMARY_WELL;
    return plain[lc->state][lc->wanted];
}

static void every_situation_counts_as_one_thing(void **unused)
{
    (void)unused;
    for (int state = 0; state < LIFECYCLE_NSTATES; state++) {
        for (int bits = 0; bits < 16; bits++) {
            struct lifecycle lc = {
                .state = (uint8_t)state, .wanted = bits & 1, .ready = bits & 2, .expected = bits & 4
            };
            assert_int_equal(summary_of(&lc, bits & 8), expected_of(&lc, bits & 8));
        }
    }
}

static void the_start_is_over_when_nothing_is_on_its_way(void **unused)
{
    (void)unused;
    struct summary summary = { 0 };

    assert_true(summary_started(&summary, 0));
    summary_add(&summary, SUMMARY_BAD, "a:0", "failed");
    summary_add(&summary, SUMMARY_WELL, "b:0", "running");
    assert_true(summary_started(&summary, 0));
    summary_add(&summary, SUMMARY_UNDERWAY, "c:0", "starting");
    assert_false(summary_started(&summary, SUMMARY_PATIENCE_MS - 1));
    assert_true(summary_started(&summary, SUMMARY_PATIENCE_MS));
}

static void the_worst_is_named(void **unused)
{
    (void)unused;
    struct summary summary = { 0 };
    char text[SUMMARY_TEXT_MAX];

    assert_string_equal(summary_text(&summary, text), "0 instances");
    summary_add(&summary, SUMMARY_WELL, "a:0", "running");
    assert_string_equal(summary_text(&summary, text), "1 instance");
    summary_add(&summary, SUMMARY_UNDERWAY, "b:0", "starting");
    assert_string_equal(summary_text(&summary, text),
                        "2 instances, 1 not as it should be: b:0 (starting)");
    summary_add(&summary, SUMMARY_BAD, "c:0", "backoff");
    summary_add(&summary, SUMMARY_BAD, "d:0", "failed");
    summary_add(&summary, SUMMARY_UNWANTED, "e:0", "stopped");
    assert_string_equal(summary_text(&summary, text),
                        "4 instances, 3 not as they should be: first c:0 (backoff)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_situation_counts_as_one_thing),
        cmocka_unit_test(the_start_is_over_when_nothing_is_on_its_way),
        cmocka_unit_test(the_worst_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
