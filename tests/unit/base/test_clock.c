/* test_clock.c - clocks run forward and times are printed as RFC 3339. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

static void clocks_run_forward(void **unused)
{
    (void)unused;
    int64_t mono = clock_mono_ms(), boot = clock_boot_ms(), wall = clock_wall_us();

    assert_true(mono > 0 && clock_mono_ms() >= mono);
    assert_true(boot >= mono && clock_boot_ms() >= boot);
    assert_true(wall / 1000000 >= time(NULL) - 10 && wall / 1000000 <= time(NULL) + 10);
}

static void the_boot_has_one_id(void **unused)
{
    char one[CLOCK_BOOT_ID_MAX], two[CLOCK_BOOT_ID_MAX];

    (void)unused;
    clock_boot_id(one);
    clock_boot_id(two);
    assert_string_equal(one, two);
    assert_true(strlen(one) == 36 || strlen(one) == 0);
}

static void print_in(const char *zone, int64_t us, const char *expected)
{
    char text[CLOCK_TEXT_MAX];

    setenv("TZ", zone, 1);
    tzset();
    assert_string_equal(clock_text(us, text), expected);
}

static void times_are_rfc_3339(void **unused)
{
    char text[CLOCK_TEXT_MAX];

    (void)unused;
    print_in("UTC0", 0, "1970-01-01T00:00:00.000000+00:00");
    print_in("UTC0", -1, "1969-12-31T23:59:59.999999+00:00");
    print_in("XXX-1", 1795481501123456, "2026-11-24T01:51:41.123456+01:00");
    print_in("XXX3:30", 1795481501123456, "2026-11-23T21:21:41.123456-03:30");
    /* No date that fits the text, but no overflow either. */
    assert_true(strlen(clock_text(INT64_MAX, text)) < CLOCK_TEXT_MAX);
    assert_true(strlen(clock_text(INT64_MIN, text)) < CLOCK_TEXT_MAX);
}

static void the_same_second_is_told_again(void **unused)
{
    (void)unused;
    char text[CLOCK_TEXT_MAX], again[CLOCK_TEXT_MAX];
    int64_t second = INT64_C(1795859471) * 1000000;

    clock_text(second + 17, again);
    for (int64_t us = 0; us < 1000000; us += 123457)
        assert_string_equal(clock_text_again(second + us, again), clock_text(second + us, text));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_second_is_told_again),
        cmocka_unit_test(clocks_run_forward),
        cmocka_unit_test(the_boot_has_one_id),
        cmocka_unit_test(times_are_rfc_3339),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
