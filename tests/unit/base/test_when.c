/* Times for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/when.h"

static const int64_t second_us = 1000 * 1000;

static void reads_what_the_clock_writes(void **state)
{
    char text[CLOCK_TEXT_MAX];
    int64_t now = clock_wall_us(), at = 0;

    (void)state;
    assert_true(when_parse(clock_text(now, text), &at));
    assert_int_equal(at, now);
    assert_true(when_parse("1970-01-01T01:00:01.5+01:00", &at));
    assert_int_equal(at, second_us + second_us / 2);
    assert_true(when_parse("1970-01-01T00:00:00Z", &at));
    assert_int_equal(at, 0);
    assert_true(when_parse("1969-12-31T20:00:00-04:00", &at));
    assert_int_equal(at, 0);
}

static void refuses_the_rest(void **state)
{
    static const char *const wrong[] = { "",
                                         "yesterday",
                                         "1970-01-01",
                                         "1970-01-01T00:00:00",
                                         "1970-01-01T00:00:00+1",
                                         "1970-01-01T00:00:00Zx" };
    int64_t at = 42;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(when_parse(wrong[i], &at));
    assert_int_equal(at, 42);
}

static void reads_what_people_type(void **state)
{
    int64_t now = 0, at = 0, wanted = 0;
    static const struct {
        const char *typed, *means;
    } cases[] = {
        { "10m", "2026-11-24T11:50:00Z" },
        { "1h30m", "2026-11-24T10:30:00Z" },
        { "0", "2026-11-24T12:00:00Z" },
        { "11:59", "2026-11-24T11:59:00Z" },
        { "12:00:01", "2026-11-23T12:00:01Z" }, /* today's is still to come */
        { "2026-11-01", "2026-11-01T00:00:00Z" },
        { "2026-11-01 14:05", "2026-11-01T14:05:00Z" },
        { "2026-11-01T14:05:30", "2026-11-01T14:05:30Z" },
        { "2026-11-01T14:05:30+01:00", "2026-11-01T13:05:30Z" },
    };

    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    assert_true(when_parse("2026-11-24T12:00:00Z", &now));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(when_since(cases[i].typed, now, &at));
        assert_true(when_parse(cases[i].means, &wanted));
        assert_int_equal(at, wanted);
    }
    assert_false(when_since("yesterday", now, &at));
    assert_false(when_since("25:00", now, &at));
    assert_false(when_since("2026-11-01 14:05x", now, &at));
    assert_true(when_since("99999999d", now, &at) && at == 0);
}

static void reads_moments_to_come(void **state)
{
    int64_t now = 0, at = 0, wanted = 0;
    static const struct {
        const char *typed, *means;
    } cases[] = {
        { "10m", "2026-11-24T12:10:00Z" },
        { "11:59", "2026-11-25T11:59:00Z" },
        { "12:00", "2026-11-25T12:00:00Z" }, /* now is over */
        { "12:00:01", "2026-11-24T12:00:01Z" },
        { "2026-12-01", "2026-12-01T00:00:00Z" },
        { "2026-12-01 14:05", "2026-12-01T14:05:00Z" },
        { "2026-12-01T14:05:30+01:00", "2026-12-01T13:05:30Z" },
    };
    static const char *const wrong[] = { "0",        "2026-11-24", "2026-11-24 12:00",
                                         "tomorrow", "",           "25:00" };

    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    assert_true(when_parse("2026-11-24T12:00:00Z", &now));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(when_until(cases[i].typed, now, &at));
        assert_true(when_parse(cases[i].means, &wanted));
        assert_int_equal(at, wanted);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(when_until(wrong[i], now, &at));
}

static void says_it_for_people(void **state)
{
    char text[WHEN_TEXT_MAX];
    int64_t noon = 0;

    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    assert_true(when_parse("2026-11-24T12:00:00Z", &noon));
    assert_string_equal(when_clock(noon - second_us, noon, text), "11:59:59");
    assert_string_equal(when_clock(noon - 13 * 3600 * second_us, noon, text),
                        "2026-11-23 23:00:00");
    assert_string_equal(when_ago(noon - 12 * second_us, noon, text), "12s ago");
    assert_string_equal(when_ago(noon - 3700 * second_us, noon, text), "1h 1m ago");
    assert_string_equal(when_ago(noon, noon, text), "just now");
    assert_string_equal(when_ago(noon + second_us, noon, text), "just now");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_clock_writes), cmocka_unit_test(refuses_the_rest),
        cmocka_unit_test(reads_what_people_type),      cmocka_unit_test(reads_moments_to_come),
        cmocka_unit_test(says_it_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
