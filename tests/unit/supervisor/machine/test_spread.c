/* test_spread.c - a thousand things with one period, whatever their numbers are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "supervisor/machine/spread.h"

enum { MANY = 1000, PERIOD_MS = 1000 };

static void a_few_together(uint32_t first, uint32_t step)
{
    unsigned in_ms[PERIOD_MS] = { 0 }, phases = 0;

    for (uint32_t i = 0; i < MANY; i++) {
        int64_t phase = spread_phase(first + i * step, PERIOD_MS);
        assert_in_range(phase, 0, PERIOD_MS - 1);
        in_ms[phase]++;
    }
    for (size_t i = 0; i < PERIOD_MS; i++) {
        if (in_ms[i] == 0)
            continue;
        assert_in_range(in_ms[i], 4, 14); /* of 8 */
        phases++;
        for (size_t k = 1; k < PERIOD_MS / SPREAD_PHASES && i + k < PERIOD_MS; k++)
            assert_int_equal(in_ms[i + k], 0);
    }
    assert_int_equal(phases, SPREAD_PHASES);
}

static void any_thousand_is_spread(void **unused)
{
    (void)unused;
    for (uint32_t step = 1; step <= 6; step++)
        for (uint32_t first = 0; first < 5000; first += 777)
            a_few_together(first, step);
}

static void the_phase_is_kept(void **unused)
{
    (void)unused;
    for (uint32_t number = 0; number < 50; number++) {
        for (int64_t after = -3; after < 2500; after += 7) {
            int64_t next = spread_next(number, PERIOD_MS, after);
            assert_true(next > after && next <= after + PERIOD_MS);
            assert_int_equal(next % PERIOD_MS, spread_phase(number, PERIOD_MS));
            assert_int_equal(spread_next(number, PERIOD_MS, next), next + PERIOD_MS);
        }
    }
    assert_int_equal(spread_next(3, 0, 5), 6);
    assert_int_equal(spread_phase(4000000000u, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_thousand_is_spread),
        cmocka_unit_test(the_phase_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
