#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/calendar.h"
#include "base/zone.h"

enum { HOUR = 3600, DAY = 24 * HOUR };

static const char *const names[] = { "Europe/Berlin",     "America/New_York", "Australia/Lord_Howe",
                                     "Asia/Kathmandu",    "Pacific/Apia",     "America/Sao_Paulo",
                                     "Africa/Casablanca", "Europe/Dublin",    "Antarctica/Troll",
                                     "Africa/Monrovia",   "Asia/Tehran",      "America/Nuuk" };

static int64_t offset_of_libc(int64_t utc_s)
{
    time_t at = (time_t)utc_s;
    struct tm tm;

    assert_non_null(localtime_r(&at, &tm));
    return tm.tm_gmtoff;
}

static void use_libc(const char *zone)
{
    setenv("TZ", zone, 1);
    tzset();
}

/* Every week or so from a year to 2200, and each change that zone_offset() tells of. */
static void compare(const struct zone *zone, const char *name, int64_t year)
{
    int64_t until = INT64_MIN, end = calendar_day(2200, 1, 1) * DAY;
    int64_t before = 0, step = 7 * DAY + 12345, offset = 0;

    for (int64_t at = calendar_day(year, 1, 1) * DAY; at < end; at += step) {
        while (until <= at) {
            int64_t edge = until;
            offset = zone_offset(zone, edge == INT64_MIN ? at : edge, &until);
            if (edge != INT64_MIN) {
                assert_int_equal(offset_of_libc(edge), offset);
                assert_int_equal(offset_of_libc(edge - 1), before);
            }
            assert_true(until > edge);
            before = offset;
        }
        if (offset != offset_of_libc(at))
            fail_msg("%s at %lld: %lld, libc says %lld", name, (long long)at, (long long)offset,
                     (long long)offset_of_libc(at));
    }
}

static void it_agrees_with_libc(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct err err = { 0 };
        struct zone *zone = zone_open(names[i], &err);
        if (!zone && err.code == ERR_NOT_FOUND) {
            print_message("no tzdata here: %s\n", err.text);
            skip();
        }
        assert_non_null(zone);
        use_libc(names[i]);
        compare(zone, names[i], 1900);
        zone_free(zone);
    }
}

static void rules_agree_with_libc(void **unused)
{
    static const char *const rules[] = {
        "UTC0",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "EST5EDT,M3.2.0,M11.1.0",
        "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
        "IST-1GMT0,M10.5.0,M3.5.0/1",
        "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
        "AAA3BBB,J60/0,J300/12:30:15",
        "AAA-3BBB,59,300",
    };

    (void)unused;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct err err = { 0 };
        struct zone *zone = zone_parse_rule(rules[i], &err);
        assert_non_null(zone);
        use_libc(rules[i]);
        compare(zone, rules[i], 1970); /* libc's rules begin there */
        zone_free(zone);
    }
}

static void what_is_wrong_is_said(void **unused)
{
    static const char *const rules[] = { "",
                                         "CET",
                                         "CET-1CEST,M3.5.0",
                                         "CE-1",
                                         "CET-1CEST,x",
                                         "CET-1CEST,M13.1.0,M1.1.0",
                                         "CET-99",
                                         "CET-1CEST,M3.5.0,M10.5.0/3x",
                                         "<CET-1",
                                         "CET-1CEST,M3.5.7,M10.5.0" };
    static const char *const bad_names[] = {
        "", "../etc/passwd", "/etc/localtime", "Europe/../Europe", "a b", "No/Such_Zone"
    };

    (void)unused;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct err err = { 0 };
        assert_null(zone_parse_rule(rules[i], &err));
        assert_int_equal(err.code, ERR_INVALID);
    }
    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++) {
        struct err err = { 0 };
        assert_null(zone_open(bad_names[i], &err));
        assert_true(err.text[0] != '\0');
    }
}

/* Any bytes are refused or read, never more than there are (the sanitizer looks). */
static void damaged_files_are_refused_or_read(void **unused)
{
    unsigned char data[4096];
    FILE *file = fopen("/usr/share/zoneinfo/Europe/Berlin", "rbe");

    (void)unused;
    if (!file)
        skip();
    size_t len = fread(data, 1, sizeof data, file);
    fclose(file);
    for (size_t i = 0; i < len; i++) {
        unsigned char *part = malloc(i + 1);
        struct err err = { 0 };
        int64_t until;
        memcpy(part, data, i);
        struct zone *zone = zone_parse(part, i, &err);
        assert_null(zone); /* the rule at the end is missing */
        free(part);
        unsigned char kept = data[i];
        data[i] ^= (unsigned char)(1u << i % 8);
        zone = zone_parse(data, len, &err);
        if (zone)
            zone_offset(zone, 1700000000, &until);
        zone_free(zone);
        data[i] = kept;
    }
}

static void local_follows_the_environment(void **unused)
{
    struct err err = { 0 };
    int64_t until;

    (void)unused;
    setenv("TZ", "XXX-3", 1);
    struct zone *zone = zone_open("local", &err);
    assert_non_null(zone);
    assert_int_equal(zone_offset(zone, 0, &until), 3 * HOUR);
    zone_free(zone);
    setenv("TZ", "", 1);
    zone = zone_open("local", &err);
    assert_non_null(zone);
    assert_int_equal(zone_offset(zone, 0, &until), 0);
    zone_free(zone);
    assert_int_equal(zone_offset(NULL, 12345, &until), 0);
    assert_true(until == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_agrees_with_libc),
        cmocka_unit_test(rules_agree_with_libc),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(damaged_files_are_refused_or_read),
        cmocka_unit_test(local_follows_the_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
