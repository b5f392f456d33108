/* test_rounds.c - counters that grow, go back, vanish and contradict themselves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "deployctl/plan/rounds.h"

static struct rounds_sample sample(int64_t requests, int64_t errors)
{
    return (struct rounds_sample){ .counters = { { requests, requests }, { errors, 0 } },
                                   .bound = 0.5,
                                   .started = 7 };
}

/* One round of a single host; what it counted. */
static struct rounds_sums one(struct rounds_host *host, bool canary,
                              const struct rounds_sample *now)
{
    struct rounds_sums sums = { 0 };
    rounds_add(host, canary, now, &sums);
    return sums;
}

static void what_grew_is_counted(void **unused)
{
    (void)unused;
    struct rounds_host host = { 0 };
    struct rounds_sample now = sample(100, 5);
    struct rounds_sums sums = one(&host, true, &now);
    assert_int_equal(sums.canary.requests[VERDICT_FAILED], 0); /* only the base */
    now = sample(130, 9);
    sums = one(&host, true, &now);
    assert_int_equal(sums.canary.requests[VERDICT_FAILED], 30);
    assert_int_equal(sums.canary.hits[VERDICT_FAILED], 4);
    assert_int_equal(sums.canary.requests[VERDICT_SLOW], 30);
    assert_int_equal(sums.rest.requests[VERDICT_FAILED], 0);
}

static void one_that_was_away_begins_anew(void **unused)
{
    (void)unused;
    struct rounds_host host = { 0 };
    struct rounds_sample now = sample(100, 5);
    one(&host, false, &now);
    one(&host, false, NULL);
    now = sample(500, 300); /* an outage that the canary was not asked about meanwhile */
    assert_int_equal(one(&host, false, &now).rest.requests[VERDICT_FAILED], 0);
    now = sample(510, 300);
    assert_int_equal(one(&host, false, &now).rest.requests[VERDICT_FAILED], 10);
}

static void a_restarted_process_begins_anew(void **unused)
{
    (void)unused;
    struct rounds_host host = { 0 };
    struct rounds_sample now = sample(100, 5);
    one(&host, true, &now);
    now = sample(20, 0); /* went back */
    assert_int_equal(one(&host, true, &now).canary.requests[VERDICT_FAILED], 0);
    now = sample(200, 1);
    now.started = 8; /* grew, but it is another one */
    assert_int_equal(one(&host, true, &now).canary.requests[VERDICT_FAILED], 0);
    assert_int_equal(host.resets, 2);
    now = sample(203, 1);
    now.started = 8;
    assert_int_equal(one(&host, true, &now).canary.requests[VERDICT_FAILED], 3);
}

static void an_error_whose_request_comes_later_waits_for_it(void **unused)
{
    (void)unused;
    struct rounds_host host = { 0 };
    struct rounds_sample now = sample(100, 5);
    one(&host, true, &now);
    now = sample(100, 6);
    assert_int_equal(one(&host, true, &now).canary.hits[VERDICT_FAILED], 0);
    assert_int_equal(host.odd, 1);
    now = sample(102, 6);
    struct rounds_sums sums = one(&host, true, &now);
    assert_int_equal(sums.canary.requests[VERDICT_FAILED], 2);
    assert_int_equal(sums.canary.hits[VERDICT_FAILED], 1);
}

static void times_with_other_bounds_are_not_compared(void **unused)
{
    (void)unused;
    struct rounds_host canary = { 0 }, rest = { 0 };
    struct rounds_sums sums = { 0 };
    for (int round = 0; round < 2; round++) {
        struct rounds_sample now = sample(100 + 10 * round, 0);
        sums = (struct rounds_sums){ 0 };
        rounds_add(&canary, true, &now, &sums);
        now.bound = 1;
        rounds_add(&rest, false, &now, &sums);
    }
    assert_int_equal(sums.canary.requests[VERDICT_SLOW], 10);
    assert_int_equal(sums.rest.requests[VERDICT_FAILED], 10);
    assert_int_equal(sums.rest.requests[VERDICT_SLOW], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_grew_is_counted),
        cmocka_unit_test(one_that_was_away_begins_anew),
        cmocka_unit_test(a_restarted_process_begins_anew),
        cmocka_unit_test(an_error_whose_request_comes_later_waits_for_it),
        cmocka_unit_test(times_with_other_bounds_are_not_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
