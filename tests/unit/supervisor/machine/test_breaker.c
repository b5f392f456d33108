/* test_breaker.c - so many at once, then spaced, and full again after the stated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "supervisor/machine/breaker.h"

static void a_burst_goes_at_once(void **unused)
{
    (void)unused;
    struct breaker breaker = { 0 };

    for (int i = 0; i < 50; i++)
        assert_int_equal(breaker_take(&breaker, 50, 1000), 0);
    assert_int_equal(breaker_take(&breaker, 50, 1000), BREAKER_FILL_MS / 50);
}

static void then_one_after_another(void **unused)
{
    (void)unused;
    struct breaker breaker = { 0 };
    int64_t now = 5;
    int taken = 0;

    while (now < 5 + 2 * BREAKER_FILL_MS) {
        int64_t wait = breaker_take(&breaker, 10, now);
        assert_in_range(wait, 0, BREAKER_FILL_MS / 10);
        taken += wait == 0;
        now += wait;
        if (wait == 0 && breaker_take(&breaker, 10, now) == 0)
            taken++;
    }
    assert_in_range(taken, 29, 31); /* the bucket, and two fillings */
}

static void rest_fills_it_and_no_more(void **unused)
{
    (void)unused;
    struct breaker breaker = { 0 };

    assert_int_equal(breaker_take(&breaker, 2, 0), 0);
    assert_int_equal(breaker_take(&breaker, 2, 0), 0);
    assert_true(breaker_take(&breaker, 2, 0) > 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(breaker_take(&breaker, 2, 100LL * BREAKER_FILL_MS), 0);
    assert_true(breaker_take(&breaker, 2, 100LL * BREAKER_FILL_MS) > 0);
}

static void odd_values_do_no_harm(void **unused)
{
    (void)unused;
    struct breaker breaker = { 0 };

    assert_int_equal(breaker_take(&breaker, 0, 7), 0);
    assert_int_equal(breaker_take(&breaker, 0, 7), BREAKER_FILL_MS);
    assert_int_equal(breaker_take(&breaker, 100000, 8 + BREAKER_FILL_MS), 0);
}

static void what_matters_goes_first(void **unused)
{
    (void)unused;
    struct breaker_turn turns[] = {
        { 70000, 999, 0 }, { 60000, 999, 1 }, { 70000, 1, 2 },
        { 60000, 5, 3 },   { 1000, 999, 4 }, /* has waited for a minute */
        { 500, 2000, 5 },                    /* and a bit longer */
    };
    static const size_t expected[] = { 5, 4, 2, 3, 1, 0 };

    breaker_order(turns, 6, 75000);
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(turns[i].index, expected[i]);
    breaker_order(NULL, 0, 0);
}

static void the_stated_wait_is_what_it_takes(void **unused)
{
    (void)unused;
    struct breaker breaker = { 0 };
    int64_t now = 1000;

    while (breaker_take(&breaker, 20, now) == 0)
        continue;
    int64_t third = now + breaker_wait(&breaker, 20, now, 2);
    for (int place = 0; place < 3; place++) {
        int64_t wait = breaker_wait(&breaker, 20, now, 0);
        assert_int_equal(wait, breaker_take(&breaker, 20, now));
        now += wait;
        assert_int_equal(breaker_take(&breaker, 20, now), 0);
    }
    assert_int_equal(now, third);
    assert_int_equal(breaker_wait(&breaker, 20, now + 100 * BREAKER_FILL_MS, 5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_goes_at_once),
        cmocka_unit_test(then_one_after_another),
        cmocka_unit_test(rest_fills_it_and_no_more),
        cmocka_unit_test(odd_values_do_no_harm),
        cmocka_unit_test(what_matters_goes_first),
        cmocka_unit_test(the_stated_wait_is_what_it_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
