/* when.c - the contract is in when.h. */
#include "base/when.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/unit.h"

enum { SECOND_US = 1000 * 1000 };

/* "Z", "+01:00": seconds east of Greenwich. */
static bool parse_zone(const char *text, long *ret)
{
    unsigned hours, minutes;
    char sign, end;

    if (strcmp(text, "Z") == 0) {
        *ret = 0;
        return true;
    }
    if (sscanf(text, "%c%2u:%2u%c", &sign, &hours, &minutes, &end) != 3 ||
        (sign != '+' && sign != '-') || hours > 23 || minutes > 59)
        return false;
    *ret = (sign == '-' ? -1L : 1L) * (long)(hours * 3600 + minutes * 60);
    return true;
}

bool when_parse(const char *text, int64_t *ret_wall_us)
{
    struct tm tm = { .tm_isdst = 0 };
    int at = 0;
    long fraction = 0, zone;

    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &at) != 6)
        return false;
    text += at;
    if (*text == '.') {
        long scale = SECOND_US / 10;
        for (text++; *text >= '0' && *text <= '9'; text++, scale /= 10)
            fraction += (*text - '0') * scale;
    }
    if (!parse_zone(text, &zone))
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ret_wall_us = ((int64_t)timegm(&tm) - zone) * SECOND_US + fraction;
    return true;
}

/* Local date and time; what is not given is 0, a missing date makes it the last such moment, or
 * (with `ahead`) the next. */
static bool parse_local(const char *text, int64_t now_us, bool ahead, int64_t *ret_wall_us)
{
    static const char *const forms[] = { "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M",
                                         "%Y-%m-%dT%H:%M", "%Y-%m-%d" };
    static const char *const clocks[] = { "%H:%M:%S", "%H:%M" };
    time_t now = (time_t)(now_us / SECOND_US);
    struct tm today;

    localtime_r(&now, &today);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm tm = { .tm_isdst = -1 };
        const char *end = strptime(text, forms[i], &tm);
        if (end && *end == '\0') {
            *ret_wall_us = (int64_t)mktime(&tm) * SECOND_US;
            return true;
        }
    }
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        struct tm tm = { .tm_isdst = -1 };
        const char *end = strptime(text, clocks[i], &tm);
        if (!end || *end != '\0')
            continue;
        tm.tm_year = today.tm_year;
        tm.tm_mon = today.tm_mon;
        tm.tm_mday = today.tm_mday;
        struct tm other = tm;
        other.tm_mday += ahead ? 1 : -1;
        time_t at = mktime(&tm);
        *ret_wall_us = (int64_t)((at > now) == ahead ? at : mktime(&other)) * SECOND_US;
        return true;
    }
    return false;
}

bool when_since(const char *text, int64_t now_us, int64_t *ret_wall_us)
{
    struct err err = { 0 };
    int64_t ms;

    if (unit_duration(text, &ms, &err) == 0) {
        *ret_wall_us = ms > now_us / 1000 ? 0 : now_us - ms * 1000;
        return true;
    }
    return when_parse(text, ret_wall_us) || parse_local(text, now_us, false, ret_wall_us);
}

bool when_until(const char *text, int64_t now_us, int64_t *ret_wall_us)
{
    struct err err = { 0 };
    int64_t ms, at;

    if (unit_duration(text, &ms, &err) == 0)
        at = ms > (INT64_MAX - now_us) / 1000 ? INT64_MAX : now_us + ms * 1000;
    else if (!when_parse(text, &at) && !parse_local(text, now_us, true, &at))
        return false;
    if (at > now_us)
        *ret_wall_us = at;
    return at > now_us;
}

const char *when_clock(int64_t wall_us, int64_t now_us, char text[static WHEN_TEXT_MAX])
{
    time_t then = (time_t)(wall_us / SECOND_US), now = (time_t)(now_us / SECOND_US);
    struct tm a, b;

    localtime_r(&then, &a);
    localtime_r(&now, &b);
    bool today = a.tm_year == b.tm_year && a.tm_yday == b.tm_yday;
    strftime(text, WHEN_TEXT_MAX, today ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &a);
    return text;
}

const char *when_ago(int64_t wall_us, int64_t now_us, char text[static WHEN_TEXT_MAX])
{
    int64_t seconds = (now_us - wall_us) / SECOND_US;
    char words[UNIT_TEXT_MAX];

    if (seconds < 1)
        snprintf(text, WHEN_TEXT_MAX, "just now");
    else
        snprintf(text, WHEN_TEXT_MAX, "%s ago", unit_duration_text(seconds * 1000, words));
    return text;
}
