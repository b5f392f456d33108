/* test_pressure.c - by the average at first, then by what happened between two looks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "supervisor/host/pressure.h"

static char path[] = "/tmp/test_pressure.XXXXXX";

static enum pressure ask(struct pressure_seen *seen, double avg10, uint64_t total_ms, int64_t now)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fprintf(file,
            "some avg10=%.2f avg60=1.00 avg300=0.00 total=%llu\n"
            "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
            avg10, (unsigned long long)total_ms * 1000);
    fclose(file);
    return pressure_ask(seen, path, now);
}

static void what_lies_between_two_looks_counts(void **unused)
{
    struct pressure_seen seen = { 0 };

    (void)unused;
    assert_int_equal(ask(&seen, 90, 1000, 5000), PRESSURE_STARVED);
    assert_int_equal(ask(&seen, 90, 1100, 6000), PRESSURE_FINE);    /* 10 % since */
    assert_int_equal(ask(&seen, 10, 2000, 7000), PRESSURE_STARVED); /* 90 % since */
    assert_int_equal(ask(&seen, 10, 2001, 7100), PRESSURE_FINE);    /* too near: the average */
    assert_int_equal(ask(&seen, 10, 2800, 8000), PRESSURE_STARVED); /* 80 % since 7000 */
    assert_int_equal(ask(&seen, 10, 90000, 99000), PRESSURE_FINE);  /* too far: the average */
}

static void who_does_not_tell_is_unknown(void **unused)
{
    struct pressure_seen seen = { 0 };
    double percent;
    uint64_t total;

    (void)unused;
    assert_int_equal(pressure_ask(&seen, "/no/such/file", 1), PRESSURE_UNKNOWN);
    assert_false(pressure_parse("", &percent, &total));
    assert_false(
        pressure_parse("full avg10=0.00 avg60=0.00 avg300=0.00 total=0", &percent, &total));
    assert_true(
        pressure_parse("some avg10=1.50 avg60=0.00 avg300=0.00 total=7\n", &percent, &total));
    assert_int_equal(total, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_lies_between_two_looks_counts),
        cmocka_unit_test(who_does_not_tell_is_unknown),
    };
    int fd = mkstemp(path);

    close(fd);
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return rc;
}
