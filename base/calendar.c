/* calendar.c - the contract is in calendar.h. */
#include "base/calendar.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    MINUTE_S = 60,
    DAY_S = 24 * 60 * 60,
    OFFSET_MAX_S = 26 * 60 * 60,
    YEARS_MAX = 9, /* from one 29 February to the next: eight around 2100 */
    WORD_MAX = 256,
};

/* --- days --- */

/* Counted from 1 March of the year 0, so that the leap day is the last of its year. */
int64_t calendar_day(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void calendar_date(int64_t days, int64_t *ret_year, int64_t *ret_month, int64_t *ret_day)
{
    int64_t z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t of_era = z - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100), month = (5 * of_year + 2) / 153;

    *ret_day = of_year - (153 * month + 2) / 5 + 1;
    *ret_month = month < 10 ? month + 3 : month - 9;
    *ret_year = y + era * 400 + (*ret_month <= 2);
}

int calendar_weekday(int64_t days) { return (int)(((days + 4) % 7 + 7) % 7); }

int calendar_days_in(int64_t year, int64_t month)
{
    int64_t next = month == 12 ? calendar_day(year + 1, 1, 1) : calendar_day(year, month + 1, 1);

    return (int)(next - calendar_day(year, month, 1));
}

/* --- parsing --- */

static const char *const month_names[] = { "jan", "feb", "mar", "apr", "may", "jun", "jul",
                                           "aug", "sep", "oct", "nov", "dec", NULL };
static const char *const day_names[] = { "sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL };

struct field {
    const char *name;
    int min, max;
    const char *const *names; /* of min, min + 1, ...; NULL = none */
};
enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, NFIELDS };
static const struct field fields[NFIELDS] = {
    /* clang-format off */
    [MINUTE]  = { "minute",           0, 59, NULL },
    [HOUR]    = { "hour",             0, 23, NULL },
    [DAY]     = { "day of the month", 1, 31, NULL },
    [MONTH]   = { "month",            1, 12, month_names },
    [WEEKDAY] = { "day of the week",  0, 7,  day_names },
    /* clang-format on */
};

static int wrong(const struct field *field, const char *part, struct err *err)
{
    return err_set(err, ERR_INVALID, "\"%.40s\" is no %s, try %d to %d%s, *, 1-5 or */5", part,
                   field->name, field->min, field->max,
                   !field->names                 ? ""
                   : field->names == month_names ? ", jan to dec"
                                                 : ", sun to sat");
}

/* A number or a name; false when it is neither, or out of range. */
static bool take_value(const struct field *field, const char **at, int *ret)
{
    const char *text = *at;
    int value = 0;

    for (int i = 0; field->names && field->names[i]; i++) {
        if (strncasecmp(text, field->names[i], 3) != 0 || isalpha((unsigned char)text[3]))
            continue;
        *ret = field->min + i;
        *at = text + 3;
        return true;
    }
    for (; isdigit((unsigned char)*text) && value <= field->max; text++)
        value = value * 10 + (*text - '0');
    bool ok = text > *at && value >= field->min && value <= field->max;
    *ret = value;
    *at = text;
    return ok;
}

/* ? is what other schedulers write for a day that does not matter. */
static bool is_star(const char *word) { return *word == '*' || *word == '?'; }

/* "*", "5", "1-5", each with "/step". */
static int take_range(const struct field *field, const char *part, uint64_t *bits, struct err *err)
{
    const char *at = part;
    int first = field->min, last = field->max, step = 1;

    if (is_star(at)) {
        at++;
        last = field == &fields[WEEKDAY] ? 6 : last;
    } else {
        if (!take_value(field, &at, &first))
            return wrong(field, part, err);
        last = *at == '/' ? field->max : first;
        if (*at == '-') {
            at++;
            if (!take_value(field, &at, &last))
                return wrong(field, part, err);
        }
        if (last < first)
            return err_set(err, ERR_INVALID,
                           "\"%.40s\" runs backwards, try two ranges as 22-23,0-2", part);
    }
    if (*at == '/') {
        const struct field steps = { field->name, 1, field->max, NULL };
        at++;
        if (!take_value(&steps, &at, &step))
            return err_set(err, ERR_INVALID, "\"%.40s\" has a step that is no number of 1 to %d",
                           part, field->max);
    }
    if (*at != '\0')
        return wrong(field, part, err);
    for (int i = first; i <= last; i += step)
        *bits |= 1ULL << i;
    return 0;
}

static int take_field(const struct field *field, const char *text, uint64_t *ret, struct err *err)
{
    char part[WORD_MAX];
    int rc = 0;

    *ret = 0;
    for (const char *at = text; rc == 0; at++) {
        size_t len = strcspn(at, ",");
        snprintf(part, sizeof part, "%.*s", (int)len, at);
        rc = take_range(field, part, ret, err);
        at += len;
        if (*at == '\0')
            break;
    }
    return rc;
}

static int take_nickname(const char *text, struct calendar_line *ret, struct err *err)
{
    static const struct {
        const char *name, *line;
    } nicknames[] = {
        { "@hourly", "0 * * * *" },   { "@daily", "0 0 * * *" },   { "@midnight", "0 0 * * *" },
        { "@weekly", "0 0 * * 0" },   { "@monthly", "0 0 1 * *" }, { "@yearly", "0 0 1 1 *" },
        { "@annually", "0 0 1 1 *" },
    };

    if (strcasecmp(text, "@reboot") == 0) {
        *ret = (struct calendar_line){ .reboot = true };
        return 0;
    }
    for (size_t i = 0; i < sizeof nicknames / sizeof *nicknames; i++)
        if (strcasecmp(text, nicknames[i].name) == 0)
            return calendar_parse(nicknames[i].line, strlen(nicknames[i].line), ret, err);
    return err_set(err, ERR_INVALID,
                   "\"%.40s\" is not known, try @hourly, @daily, @weekly, @monthly, @yearly or "
                   "@reboot",
                   text);
}

/* 30 February; a day of the week comes in every month. */
static bool never_comes(const struct calendar_line *line)
{
    static const int most[] = { 0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

    if (!line->any_weekday && !line->any_day)
        return false;
    for (int month = 1; month <= 12; month++)
        if (line->months >> month & 1 && line->days & ((2ULL << most[month]) - 2))
            return false;
    return true;
}

static int take_fields(char words[NFIELDS][WORD_MAX], struct calendar_line *ret, struct err *err)
{
    uint64_t bits[NFIELDS];

    for (int i = 0; i < NFIELDS; i++) {
        int rc = take_field(&fields[i], words[i], &bits[i], err);
        if (rc < 0)
            return rc;
    }
    *ret = (struct calendar_line){
        .minutes = bits[MINUTE],
        .hours = (uint32_t)bits[HOUR],
        .days = (uint32_t)bits[DAY],
        .months = (uint16_t)bits[MONTH],
        .weekdays = (uint8_t)((bits[WEEKDAY] | bits[WEEKDAY] >> 7) & 0x7f),
        .any_day = is_star(words[DAY]),
        .any_weekday = is_star(words[WEEKDAY]),
        .wild = is_star(words[MINUTE]) || is_star(words[HOUR]),
    };
    if (never_comes(ret))
        return err_set(err, ERR_INVALID, "never comes: day %.40s is in no month of %.40s",
                       words[DAY], words[MONTH]);
    return 0;
}

int calendar_parse(const char *text, size_t len, struct calendar_line *ret, struct err *err)
{
    static const char blanks[] = " \t\r";
    char words[NFIELDS][WORD_MAX];
    const char *end = text + len;
    int count = 0;

    for (const char *at = text; at < end;) {
        while (at < end && strchr(blanks, *at))
            at++;
        const char *word = at;
        while (at < end && !strchr(blanks, *at))
            at++;
        if (at == word)
            break;
        if (at - word >= WORD_MAX)
            return err_set(err, ERR_INVALID, "\"%.20s...\" is too long", word);
        if (count < NFIELDS)
            snprintf(words[count], WORD_MAX, "%.*s", (int)(at - word), word);
        count++;
    }
    if (count == 1 && words[0][0] == '@')
        return take_nickname(words[0], ret, err);
    if (count != NFIELDS)
        return err_set(err, ERR_INVALID,
                       "\"%.*s\" has %d field%s instead of five (minute, hour, day, month, day of "
                       "the week), try 0 3 * * 1-5 or @daily",
                       (int)(len < 60 ? len : 60), text, count, count == 1 ? "" : "s");
    return take_fields(words, ret, err);
}

/* --- what comes next --- */

static bool day_fits(const struct calendar_line *line, int64_t days)
{
    int64_t year, month, day;

    calendar_date(days, &year, &month, &day);
    bool by_day = line->days >> day & 1, by_week = line->weekdays >> calendar_weekday(days) & 1;
    if (!(line->months >> month & 1))
        return false;
    return line->any_day || line->any_weekday ? by_day && by_week : by_day || by_week;
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

/* On a clock that is never changed, in seconds since 1970 of that clock. */
static int64_t next_on_clock(const struct calendar_line *line, int64_t after_s)
{
    int64_t minute = floor_div(after_s, MINUTE_S) + 1, day = floor_div(minute, DAY_S / MINUTE_S);
    int first = (int)(minute - day * (DAY_S / MINUTE_S));

    for (int64_t last = day + YEARS_MAX * 366; day <= last; day++, first = 0) {
        if (!day_fits(line, day))
            continue;
        for (int hour = first / 60; hour < 24; hour++)
            for (int m = hour == first / 60 ? first % 60 : 0; line->hours >> hour & 1 && m < 60;
                 m++)
                if (line->minutes >> m & 1)
                    return day * DAY_S + (hour * 60 + m) * MINUTE_S;
    }
    return CALENDAR_NEVER;
}

static int64_t offset_at(const struct calendar_zone *zone, int64_t utc_s, int64_t *ret_until_s)
{
    return zone->offset(zone->context, utc_s, ret_until_s);
}

/* The first second at which a clock of the zone shows this, or has passed it. */
static int64_t first_shown(const struct calendar_zone *zone, int64_t clock_s)
{
    int64_t from = clock_s - OFFSET_MAX_S, until;

    for (;; from = until) {
        int64_t at = clock_s - offset_at(zone, from, &until);
        if (at < from) /* the clock was put forward over it */
            return from;
        if (at < until)
            return at;
    }
}

/* By the time of day. */
static int64_t next_fixed(const struct calendar_line *line, const struct calendar_zone *zone,
                          int64_t after_s)
{
    int64_t until, clock = after_s + offset_at(zone, after_s, &until);

    for (;;) {
        clock = next_on_clock(line, clock);
        if (clock == CALENDAR_NEVER)
            return CALENDAR_NEVER;
        int64_t at = first_shown(zone, clock);
        if (at > after_s) /* else the second time that the clock shows it */
            return at;
    }
}

/* By the clock as it runs, from one of its changes to the next. */
static int64_t next_wild(const struct calendar_line *line, const struct calendar_zone *zone,
                         int64_t after_s)
{
    int64_t last = after_s + YEARS_MAX * 366LL * DAY_S, until;

    for (int64_t from = after_s + 1; from < last; from = until) {
        int64_t offset = offset_at(zone, from, &until);
        int64_t clock = next_on_clock(line, from + offset - 1); /* `from` itself counts */
        if (clock != CALENDAR_NEVER && clock - offset < until)
            return clock - offset;
        if (until == INT64_MAX)
            break;
    }
    return CALENDAR_NEVER;
}

int64_t calendar_next(const struct calendar_line *lines, size_t count,
                      const struct calendar_zone *zone, int64_t after_s)
{
    int64_t first = CALENDAR_NEVER;

    for (size_t i = 0; i < count; i++) {
        if (lines[i].reboot)
            continue;
        int64_t at = lines[i].wild ? next_wild(&lines[i], zone, after_s)
                                   : next_fixed(&lines[i], zone, after_s);
        first = at < first ? at : first;
    }
    return first;
}
