/* test_backoff.c - the table of DESIGN, the jitter's bounds, and no overflow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "supervisor/machine/backoff.h"

static const uint32_t MIDDLE = UINT32_MAX / 2 + 1;

static void grows_by_the_factor_up_to_the_ceiling(void **unused)
{
    (void)unused;
    const struct backoff_policy policy = { .min_ms = 100, .max_ms = 1000, .factor = 2 };
    const int64_t expected[] = { 100, 200, 400, 800, 1000, 1000 };

    for (uint32_t n = 1; n <= 6; n++)
        assert_int_equal(backoff_delay(&policy, n, 0), expected[n - 1]);
    assert_int_equal(backoff_delay(&policy, UINT32_MAX, 0), 1000);
    assert_int_equal(backoff_delay(&policy, 0, 0), 100);
}

static void linear_is_n_seconds(void **unused)
{
    (void)unused;
    const struct backoff_policy policy = { .min_ms = 1000, .max_ms = 1, .linear = true };

    for (uint32_t n = 1; n < 10; n++)
        assert_int_equal(backoff_delay(&policy, n, 7), 1000 * n);
}

static void jitter_stays_inside_its_bounds(void **unused)
{
    (void)unused;
    const struct backoff_policy policy = {
        .min_ms = 1000, .max_ms = 30000, .factor = 2, .jitter = 0.1
    };

    assert_int_equal(backoff_delay(&policy, 1, 0), 900);
    assert_in_range(backoff_delay(&policy, 1, MIDDLE), 999, 1001);
    assert_in_range(backoff_delay(&policy, 1, UINT32_MAX), 1099, 1101);
    for (uint32_t random = 0; random < UINT32_MAX - 9999991; random += 9999991)
        assert_in_range(backoff_delay(&policy, 3, random), 3600, 4400);
}

static void a_factor_of_one_never_loops(void **unused)
{
    (void)unused;
    const struct backoff_policy policy = { .min_ms = 5, .max_ms = 1000, .factor = 1 };

    assert_int_equal(backoff_delay(&policy, UINT32_MAX, 0), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_by_the_factor_up_to_the_ceiling),
        cmocka_unit_test(linear_is_n_seconds),
        cmocka_unit_test(jitter_stays_inside_its_bounds),
        cmocka_unit_test(a_factor_of_one_never_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
