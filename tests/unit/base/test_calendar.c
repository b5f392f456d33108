/* What calendar_next() says is compared with somebody who goes through years minute by minute, with
 * libc's idea of the zone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/calendar.h"
#include "base/zone.h"

enum { MINUTE = 60, HOUR = 3600, DAY = 24 * HOUR };

static struct calendar_line parse(const char *text)
{
    struct calendar_line line;
    struct err err = { 0 };

    if (calendar_parse(text, strlen(text), &line, &err) != 0)
        fail_msg("%s: %s", text, err.text);
    return line;
}

static int64_t zone_hand(const void *context, int64_t utc_s, int64_t *ret_until_s)
{
    return zone_offset(context, utc_s, ret_until_s);
}

/* --- minute by minute --- */

/* A minute of the local clock, without any change of it. */
static bool clock_fits(const struct calendar_line *line, int64_t clock_s)
{
    time_t at = (time_t)clock_s;
    struct tm tm;

    if (!(line->minutes >> (clock_s / MINUTE % 60) & 1)) /* which needs no date */
        return false;
    gmtime_r(&at, &tm);
    bool day = line->days >> tm.tm_mday & 1, weekday = line->weekdays >> tm.tm_wday & 1;
    bool date = line->any_day || line->any_weekday ? day && weekday : day || weekday;
    return line->hours >> tm.tm_hour & 1 && line->months >> (tm.tm_mon + 1) & 1 && date;
}

struct walk {
    int64_t begin_s, minutes;
    int64_t *clock; /* what the local clock shows at each minute */
};

static void walk_init(struct walk *walk, const char *zone, int64_t begin_s, int64_t minutes)
{
    setenv("TZ", zone, 1);
    tzset();
    *walk = (struct walk){ begin_s, minutes, calloc((size_t)minutes, sizeof(int64_t)) };
    assert_non_null(walk->clock);
    for (int64_t i = 0; i < minutes; i++) {
        time_t at = (time_t)(begin_s + i * MINUTE);
        struct tm tm;
        localtime_r(&at, &tm);
        walk->clock[i] = at + tm.tm_gmtoff;
    }
}

/* Whether it is due at minute i, by what was shown until then (`shown`: the highest). */
static bool is_due(const struct walk *walk, const struct calendar_line *line, int64_t i,
                   int64_t shown)
{
    int64_t clock = walk->clock[i];

    if (line->wild)
        return clock_fits(line, clock);
    for (int64_t skipped = shown + MINUTE; skipped <= clock; skipped += MINUTE)
        if (clock_fits(line, skipped))
            return true;
    return false;
}

static size_t compare(const struct walk *walk, const char *text, const struct zone *zone)
{
    const struct calendar_zone hand = { zone_hand, zone };
    const struct calendar_line line = parse(text);
    int64_t next = calendar_next(&line, 1, &hand, walk->begin_s);
    int64_t shown = walk->clock[0];
    size_t count = 0;

    for (int64_t i = 1; i < walk->minutes; i++) {
        int64_t at = walk->begin_s + i * MINUTE;
        bool due = is_due(walk, &line, i, shown);
        if (due != (at == next))
            fail_msg("%s at %lld: %s", text, (long long)at, due ? "was left out" : "is too much");
        if (due) {
            next = calendar_next(&line, 1, &hand, at);
            count++;
        }
        shown = walk->clock[i] > shown ? walk->clock[i] : shown;
    }
    return count;
}

static void it_agrees_with_somebody_patient(void **unused)
{
    static const struct {
        const char *zone;
        int64_t year;
    } walks[] = {
        { "UTC", 2024 },
        { "Europe/Berlin", 2025 },
        { "America/New_York", 2026 },
        { "Australia/Lord_Howe", 2026 },
        { "Pacific/Apia", 2011 },
        { "America/Sao_Paulo", 2018 },
        { "Africa/Casablanca", 2026 },

        { "Antarctica/Troll", 2050 },
    };
    static const char *const lines[] = {
        "* * * * *",
        "*/15 * * * *",
        "0 * * * *",
        "30 2 * * *",
        "0,30 2 * * *",
        "0-59/7 1-3 * * *",
        "*/30 2 * * *",
        "15 */2 * * *",
        "0 0 * * *",
        "59 23 * * *",
        "30 1 * * 0",
        "0 3 * * 1-5",
        "0 0 1,15 * 5",
        "10 4 31 * *",
        "5 0 29 2 *",
        "0 12 */10 * mon",
        "0 6 * jan,jul sat,sun",
        "0 0 30 12 *",
        "30 23 29-31 * *",
    };

    (void)unused;
    for (size_t i = 0; i < sizeof walks / sizeof *walks; i++) {
        struct err err = { 0 };
        struct zone *zone = zone_open(walks[i].zone, &err);
        struct walk walk;
        size_t total = 0;
        if (!zone && err.code == ERR_NOT_FOUND) {
            print_message("no tzdata here: %s\n", err.text);
            skip();
        }
        assert_non_null(zone);
        walk_init(&walk, walks[i].zone, calendar_day(walks[i].year, 1, 1) * DAY - 30 * HOUR,
                  366 * DAY / MINUTE);
        for (size_t k = 0; k < sizeof lines / sizeof *lines; k++)
            total += compare(&walk, lines[k], zone);
        assert_true(total > 500000); /* the first line alone has nearly that */
        free(walk.clock);
        zone_free(zone);
    }
}

/* --- stories --- */

static int64_t at(int64_t year, int64_t month, int64_t day, int64_t hour, int64_t minute)
{
    return calendar_day(year, month, day) * DAY + hour * HOUR + minute * MINUTE;
}

static int64_t next(const char *text, const struct zone *zone, int64_t after_s)
{
    const struct calendar_zone hand = { zone_hand, zone };
    const struct calendar_line line = parse(text);

    return calendar_next(&line, 1, &hand, after_s);
}

/* In Berlin 02:00 becomes 03:00 on 29 March 2026 at 01:00 UTC, and 03:00 becomes 02:00 on 25
 * October 2026 at 01:00 UTC. */
static void clocks_are_put_forward_and_back(void **unused)
{
    struct err err = { 0 };
    struct zone *zone = zone_parse_rule("CET-1CEST,M3.5.0,M10.5.0/3", &err);
    int64_t spring = at(2026, 3, 29, 1, 0), autumn = at(2026, 10, 25, 1, 0);

    (void)unused;
    assert_non_null(zone);
    /* 02:30 does not exist: once, when the clock shows 03:00, and the day after as always. */
    assert_int_equal(next("30 2 * * *", zone, spring - HOUR), spring);
    assert_int_equal(next("0,30 2 * * *", zone, spring - HOUR), spring);
    assert_int_equal(next("30 2 * * *", zone, spring), at(2026, 3, 30, 0, 30));
    /* 02:30 comes twice: the first time only. */
    assert_int_equal(next("30 2 * * *", zone, autumn - 2 * HOUR), autumn - 30 * MINUTE);
    assert_int_equal(next("30 2 * * *", zone, autumn - 30 * MINUTE), at(2026, 10, 26, 1, 30));
    /* Each hour of the clock as it runs. */
    for (int64_t i = -5; i < 5; i++) {
        assert_int_equal(next("0 * * * *", zone, spring + i * HOUR), spring + (i + 1) * HOUR);
        assert_int_equal(next("0 * * * *", zone, autumn + i * HOUR), autumn + (i + 1) * HOUR);
    }
    zone_free(zone);
}

static void leap_days_come_when_they_do(void **unused)
{
    (void)unused;
    assert_int_equal(next("0 0 29 2 *", NULL, at(2026, 1, 1, 0, 0)), at(2028, 2, 29, 0, 0));
    assert_int_equal(next("0 0 29 2 *", NULL, at(2096, 2, 29, 0, 0)), at(2104, 2, 29, 0, 0));
    assert_int_equal(next("0 0 31 * *", NULL, at(2026, 4, 1, 0, 0)), at(2026, 5, 31, 0, 0));
    /* One of the two days is enough when both are restricted. */
    assert_int_equal(next("0 0 13 * fri", NULL, at(2026, 11, 1, 0, 0)), at(2026, 11, 6, 0, 0));
    assert_int_equal(next("0 0 30 2 mon", NULL, at(2026, 1, 31, 0, 0)), at(2026, 2, 2, 0, 0));
    assert_int_equal(next("@reboot", NULL, 0), CALENDAR_NEVER);
    assert_int_equal(next("@yearly", NULL, 0), at(1971, 1, 1, 0, 0));
    assert_int_equal(next("@weekly", NULL, at(2026, 11, 28, 8, 0)), at(2026, 11, 29, 0, 0));
}

static void lines_mean_what_they_say(void **unused)
{
    struct calendar_line a = parse("5/20 22-23 * * 7"), b = parse(" 5,25,45\t22,23 ? * sun ");

    (void)unused;
    assert_true(a.minutes == b.minutes && a.hours == b.hours && a.weekdays == b.weekdays);
    assert_true(parse("0 0 * jan-mar mon-fri").months == 0xe);
    assert_true(parse("0 0 * JAN Mon").weekdays == 2);
    assert_true(parse("@DAILY").hours == 1);
    assert_true(parse("@reboot").reboot);
    assert_true(parse("*/10 3 * * *").wild && parse("0 */2 * * *").wild);
    assert_false(parse("0-59 0-23 * * *").wild);
    assert_true(parse("0 0 * * 5-7").weekdays == 0x61);
}

static void what_is_wrong_is_said(void **unused)
{
    static const struct {
        const char *text, *says;
    } wrong[] = {
        { "", "0 fields instead of five" },
        { "0 3 * *", "4 fields instead of five" },
        { "0 0 3 * * *", "6 fields instead of five" },
        { "60 3 * * *", "\"60\" is no minute, try 0 to 59" },
        { "0 24 * * *", "\"24\" is no hour" },
        { "0 0 0 * *", "no day of the month" },
        { "0 0 * 13 *", "no month, try 1 to 12, jan to dec" },
        { "0 0 * * 8", "no day of the week, try 0 to 7, sun to sat" },
        { "0 0 * * monday", "no day of the week" },
        { "0 22-2 * * *", "runs backwards, try two ranges as 22-23,0-2" },
        { "*/0 * * * *", "has a step that is no number of 1 to 59" },
        { "0 0 30 2 *", "never comes: day 30 is in no month of 2" },
        { "0 0 31 feb,apr *", "never comes" },
        { "1,,2 * * * *", "no minute" },
        { "1x * * * *", "no minute" },
        { "0 0 L * *", "no day of the month" },
        { "@dayly", "try @hourly, @daily" },
        { "99999999999999999999 * * * *", "no minute" },
    };

    (void)unused;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct calendar_line line;
        struct err err = { 0 };
        assert_int_equal(calendar_parse(wrong[i].text, strlen(wrong[i].text), &line, &err),
                         ERR_INVALID);
        if (!strstr(err.text, wrong[i].says))
            fail_msg("%s: %s", wrong[i].text, err.text);
    }
}

static void dates_go_there_and_back(void **unused)
{
    (void)unused;
    for (int64_t day = -800000; day < 800000; day += 37) {
        int64_t y, m, d;
        calendar_date(day, &y, &m, &d);
        assert_int_equal(calendar_day(y, m, d), day);
        assert_in_range(d, 1, calendar_days_in(y, m));
    }
    assert_int_equal(calendar_weekday(0), 4);
    assert_int_equal(calendar_weekday(-5), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_agrees_with_somebody_patient),
        cmocka_unit_test(clocks_are_put_forward_and_back),
        cmocka_unit_test(leap_days_come_when_they_do),
        cmocka_unit_test(lines_mean_what_they_say),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(dates_go_there_and_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
