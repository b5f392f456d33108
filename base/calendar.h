/* calendar.h - "0 3 * * 1-5": when does that come next, in a zone where clocks are put forward and
 * back?
 *
 * The five fields of cron: minute, hour, day of the month, month, day of the week (0 and 7 are
 * Sunday; names of months and days in English, three letters).  Each is a list of numbers, ranges
 * and steps: "*", "5", "1-5", "mon-fri", "0,30", "10-50/20", "5/15" (from 5 on).  When both days
 * are restricted one of them has to fit; a field that begins with * does not restrict.  Also
 * @hourly @daily (@midnight) @weekly @monthly @yearly (@annually) and @reboot.
 *
 * Changes of the clock, as in vixie-cron: a line with hours and minutes of its own ("30 2 * * *")
 * means times of the day: what does not exist on a day comes at the moment when the clock has been
 * put forward, what there is twice comes the first time, and nothing comes twice.  A line whose
 * minute or hour begins with * means a distance: it goes by the clock as it runs, so "0 * * * *"
 * comes each hour, in the repeated one, too.
 */
#ifndef BASE_CALENDAR_H
#define BASE_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct calendar_line {
    uint64_t minutes; /* bit 0 to 59 */
    uint32_t hours;   /* bit 0 to 23 */
    uint32_t days;    /* of the month, bit 1 to 31 */
    uint16_t months;  /* bit 1 to 12 */
    uint8_t weekdays; /* bit 0 (Sunday) to 6 */
    bool any_day, any_weekday;
    bool wild;   /* goes by the clock as it runs */
    bool reboot; /* @reboot: no time of the calendar */
};

/* text[0..len) without newline.  ERR_INVALID says which field is wrong and what would be right,
 * also for a day that never comes ("0 0 30 2 *"). */
int calendar_parse(const char *text, size_t len, struct calendar_line *ret, struct err *err);

/* The zone: seconds east of Greenwich at a second since 1970, not more than 26 hours, and the first
 * second at which that may change (INT64_MAX = never). */
struct calendar_zone {
    int64_t (*offset)(const void *context, int64_t utc_s, int64_t *ret_until_s);
    const void *context;
};

/* The first time of any line after this second; CALENDAR_NEVER when there is none (no line, or only
 * @reboot). */
#define CALENDAR_NEVER INT64_MAX
int64_t calendar_next(const struct calendar_line *lines, size_t count,
                      const struct calendar_zone *zone, int64_t after_s);

/* Days since 1970-01-01 in the Gregorian calendar, months and days from 1, and back. */
int64_t calendar_day(int64_t year, int64_t month, int64_t day);
void calendar_date(int64_t days, int64_t *ret_year, int64_t *ret_month, int64_t *ret_day);
int calendar_weekday(int64_t days); /* 0 = Sunday */
int calendar_days_in(int64_t year, int64_t month);

#endif
