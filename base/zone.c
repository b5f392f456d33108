/* zone.c - the contract is in zone.h. */
#include "base/zone.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/calendar.h"

enum {
    TIMES_MAX = 4096,
    TYPES_MAX = 256,
    HEADER_BYTES = 44,
    TYPE_BYTES = 6,
    HOUR_S = 3600,
    DAY_S = 24 * HOUR_S,
    RULE_HOURS_MAX = 167, /* RFC 8536: within a week of the day */
    RULE_TEXT_MAX = 128,
    OFFSET_MAX = 26 * HOUR_S,
};

/* "M3.5.0/2": when in a year summer time begins or ends, on the clock that is in force until then.
 */
struct moment {
    char kind; /* 'M', 'J' (1 to 365, no leap day) or 'N' (0 to 365) */
    int month, week, day;
    int64_t time_s;
};

struct rule {
    bool given, has_summer;
    int64_t standard_s, summer_s; /* east of Greenwich */
    struct moment begin, end;
};

struct zone {
    struct rule rule;      /* from the last change on */
    int64_t first_s;       /* before the first change */
    size_t count;          /* of changes, in order */
    int64_t *at, *offsets; /* when, and what holds from then on */
};

/* --- the rule --- */

static bool skip_name(const char **at)
{
    const char *text = *at;

    if (*text == '<') {
        size_t len = strcspn(text, ">");
        if (text[len] != '>')
            return false;
        *at = text + len + 1;
        return true;
    }
    while (isalpha((unsigned char)*text))
        text++;
    bool ok = text - *at >= 3;
    *at = text;
    return ok;
}

static bool take_number(const char **at, int64_t max, int64_t *ret)
{
    const char *text = *at;

    *ret = 0;
    while (isdigit((unsigned char)*text) && *ret <= max)
        *ret = *ret * 10 + (*text++ - '0');
    bool ok = text > *at && *ret <= max;
    *at = text;
    return ok;
}

/* "[+-]hh[:mm[:ss]]" */
static bool take_time(const char **at, int64_t hours_max, int64_t *ret_s)
{
    int64_t sign = **at == '-' ? -1 : 1, part, unit = HOUR_S;

    *at += **at == '-' || **at == '+';
    if (!take_number(at, hours_max, &part))
        return false;
    *ret_s = part * HOUR_S;
    while (**at == ':' && unit > 1) {
        (*at)++;
        unit /= 60;
        if (!take_number(at, 59, &part))
            return false;
        *ret_s += part * unit;
    }
    *ret_s *= sign;
    return true;
}

static bool take_part(const char **at, int64_t min, int64_t max, int *ret)
{
    int64_t number;

    if (!take_number(at, max, &number) || number < min)
        return false;
    *ret = (int)number;
    return true;
}

static bool take_moment(const char **at, struct moment *ret)
{
    bool ok;

    *ret = (struct moment){ .kind = 'N', .time_s = 2 * HOUR_S };
    if (**at == 'M') {
        ret->kind = *(*at)++;
        ok = take_part(at, 1, 12, &ret->month) && *(*at)++ == '.' &&
             take_part(at, 1, 5, &ret->week) && *(*at)++ == '.' && take_part(at, 0, 6, &ret->day);
    } else {
        bool no_leap_day = **at == 'J';
        if (no_leap_day)
            ret->kind = *(*at)++;
        ok = take_part(at, no_leap_day, 365, &ret->day);
    }
    if (!ok || **at != '/')
        return ok;
    (*at)++;
    return take_time(at, RULE_HOURS_MAX, &ret->time_s);
}

static bool take_rule(const char *at, struct rule *ret)
{
    int64_t west;

    *ret = (struct rule){ .given = true };
    if (!skip_name(&at) || !take_time(&at, 24, &west))
        return false;
    ret->standard_s = -west;
    if (*at == '\0')
        return true;
    ret->has_summer = true;
    ret->summer_s = ret->standard_s + HOUR_S;
    if (!skip_name(&at))
        return false;
    if (*at != ',' && *at != '\0') {
        if (!take_time(&at, 24, &west))
            return false;
        ret->summer_s = -west;
    }
    if (*at == '\0') /* POSIX leaves it open; libc takes the rule of the United States */
        at = ",M3.2.0,M11.1.0";
    return *at++ == ',' && take_moment(&at, &ret->begin) && *at++ == ',' &&
           take_moment(&at, &ret->end) && *at == '\0';
}

/* Seconds since 1970 on the local clock. */
static int64_t moment_in(const struct moment *moment, int64_t year)
{
    int64_t day = calendar_day(year, 1, 1);

    if (moment->kind == 'M') {
        int64_t first = calendar_day(year, moment->month, 1);
        int64_t days = calendar_days_in(year, moment->month);
        int64_t ahead = (moment->day - calendar_weekday(first) + 7) % 7 + (moment->week - 1) * 7;
        day = first + (ahead < days ? ahead : ahead - 7);
    } else if (moment->kind == 'J') {
        bool after_leap_day = moment->day >= 60 && calendar_days_in(year, 2) == 29;
        day += moment->day - 1 + after_leap_day;
    } else {
        day += moment->day;
    }
    return day * DAY_S + moment->time_s;
}

/* The changes of three years in order; that of now and the next one are among them. */
static int64_t rule_offset(const struct rule *rule, int64_t utc_s, int64_t *ret_until_s)
{
    int64_t year, month, day, offset = rule->standard_s;
    int64_t begun = INT64_MIN, ended = INT64_MIN;

    *ret_until_s = INT64_MAX;
    if (!rule->has_summer)
        return offset;
    calendar_date((utc_s + offset) / DAY_S, &year, &month, &day);
    for (int64_t y = year - 1; y <= year + 1; y++) {
        int64_t begin = moment_in(&rule->begin, y) - rule->standard_s;
        int64_t end = moment_in(&rule->end, y) - rule->summer_s;
        int64_t both[] = { begin, end };

        for (int i = 0; i < 2; i++)
            if (both[i] > utc_s && both[i] < *ret_until_s)
                *ret_until_s = both[i];
        if (begin <= utc_s && begin > begun)
            begun = begin;
        if (end <= utc_s && end > ended)
            ended = end;
    }
    /* One that ends when the next begins is summer all the year. */
    return begun >= ended ? rule->summer_s : offset;
}

/* --- files --- */

static int64_t number_at(const unsigned char *at, size_t bytes)
{
    uint64_t value = at[0] & 0x80 ? ~0ULL : 0;

    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | at[i];
    return (int64_t)value;
}

struct counts {
    size_t isut, isstd, leap, time, type, chars;
};

/* The bytes of a block whose times have `width`; 0 when the header is none. */
static size_t block_bytes(const unsigned char *data, size_t len, size_t width, struct counts *ret)
{
    size_t counts[6];

    if (len < HEADER_BYTES || memcmp(data, "TZif", 4) != 0)
        return 0;
    for (size_t i = 0; i < 6; i++) {
        counts[i] = (size_t)number_at(data + 20 + 4 * i, 4);
        if (counts[i] > ZONE_BYTES_MAX)
            return 0;
    }
    *ret = (struct counts){ counts[0], counts[1], counts[2], counts[3], counts[4], counts[5] };
    size_t bytes = HEADER_BYTES + ret->time * (width + 1) + ret->type * TYPE_BYTES + ret->chars +
                   ret->leap * (width + 4) + ret->isstd + ret->isut;
    return ret->time <= TIMES_MAX && ret->type >= 1 && ret->type <= TYPES_MAX && bytes <= len
               ? bytes
               : 0;
}

static bool read_block(const unsigned char *data, size_t width, const struct counts *counts,
                       struct zone *zone)
{
    const unsigned char *times = data + HEADER_BYTES;
    const unsigned char *indices = times + counts->time * width;
    const unsigned char *types = indices + counts->time;

    zone->at = calloc(counts->time + 1, sizeof *zone->at);
    zone->offsets = calloc(counts->time + 1, sizeof *zone->offsets);
    if (!zone->at || !zone->offsets)
        return false;
    zone->first_s = number_at(types, 4);
    for (size_t i = 0; i < counts->time; i++) {
        if (indices[i] >= counts->type)
            return false;
        zone->at[i] = number_at(times + i * width, width);
        zone->offsets[i] = number_at(types + (size_t)indices[i] * TYPE_BYTES, 4);
        if (i > 0 && zone->at[i] <= zone->at[i - 1])
            return false;
    }
    zone->count = counts->time;
    return true;
}

static bool is_sane(const struct zone *zone)
{
    const struct rule *rule = &zone->rule;
    bool ok = llabs(zone->first_s) <= OFFSET_MAX && llabs(rule->standard_s) <= OFFSET_MAX &&
              llabs(rule->summer_s) <= OFFSET_MAX;

    for (size_t i = 0; i < zone->count; i++)
        ok &= llabs(zone->offsets[i]) <= OFFSET_MAX;
    return ok;
}

/* The rule stands between two newlines at the end. */
static bool read_footer(const unsigned char *data, size_t len, struct rule *ret)
{
    char text[RULE_TEXT_MAX];

    if (len < 2 || data[0] != '\n')
        return false;
    const unsigned char *end = memchr(data + 1, '\n', len - 1);
    size_t size = end ? (size_t)(end - data - 1) : sizeof text;
    if (size >= sizeof text)
        return false;
    memcpy(text, data + 1, size);
    text[size] = '\0';
    return size == 0 || take_rule(text, ret);
}

static bool read_all(const unsigned char *data, size_t len, struct zone *zone)
{
    struct counts counts;
    size_t width = 4, bytes = block_bytes(data, len, width, &counts);

    if (bytes > 0 && data[4] >= '2') {
        data += bytes;
        len -= bytes;
        width = 8;
        bytes = block_bytes(data, len, width, &counts);
    }
    return bytes > 0 && read_block(data, width, &counts, zone) &&
           (width == 4 || read_footer(data + bytes, len - bytes, &zone->rule)) && is_sane(zone);
}

struct zone *zone_parse(const void *data, size_t len, struct err *err)
{
    struct zone *zone = calloc(1, sizeof *zone);

    if (!zone) {
        err_set(err, ERR_MEMORY, "no memory for a time zone");
        return NULL;
    }
    if (read_all(data, len, zone))
        return zone;
    err_set(err, ERR_CORRUPT, "is not a file of the time zone database");
    zone_free(zone);
    return NULL;
}

struct zone *zone_parse_rule(const char *text, struct err *err)
{
    struct zone *zone = calloc(1, sizeof *zone);

    if (!zone) {
        err_set(err, ERR_MEMORY, "no memory for a time zone");
        return NULL;
    }
    if (take_rule(text, &zone->rule) && is_sane(zone))
        return zone;
    err_set(err, ERR_INVALID, "\"%.64s\" is no rule, try CET-1CEST,M3.5.0,M10.5.0/3", text);
    zone_free(zone);
    return NULL;
}

void zone_free(struct zone *zone)
{
    if (!zone)
        return;
    free(zone->at);
    free(zone->offsets);
    free(zone);
}

int64_t zone_offset(const struct zone *zone, int64_t utc_s, int64_t *ret_until_s)
{
    size_t low = 0, high = zone ? zone->count : 0;

    *ret_until_s = INT64_MAX;
    if (!zone)
        return 0;
    while (low < high) { /* how many changes were until now */
        size_t middle = low + (high - low) / 2;
        if (zone->at[middle] <= utc_s)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == zone->count && zone->rule.given)
        return rule_offset(&zone->rule, utc_s, ret_until_s);
    if (low < zone->count)
        *ret_until_s = zone->at[low];
    return low > 0 ? zone->offsets[low - 1] : zone->first_s;
}

/* --- names --- */

int zone_check_name(const char *name, struct err *err)
{
    size_t len = strlen(name);
    bool ok =
        len > 0 && len <= ZONE_NAME_MAX && isalpha((unsigned char)name[0]) &&
        strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-_/") == len;

    if (!ok)
        return err_set(err, ERR_INVALID,
                       "\"%.64s\" is not a time zone, try Europe/Berlin, UTC or local", name);
    return 0;
}

static struct zone *open_path(const char *path, const char *name, struct err *err)
{
    struct zone *zone = NULL;
    struct buf text;

    buf_init(&text, ZONE_BYTES_MAX);
    int rc = buf_read_file(&text, AT_FDCWD, path);
    if (rc == -ENOENT || rc == -ENOTDIR || rc == -EISDIR)
        err_set(err, ERR_NOT_FOUND,
                "there is no time zone \"%s\" (no %s; the package tzdata has them)", name, path);
    else if (rc != 0)
        err_sys(err, -rc, "reading %s", path);
    else
        zone = zone_parse(text.data ? text.data : "", text.len, err);
    if (rc == 0 && !zone)
        err_wrap(err, "%s", path);
    buf_done(&text);
    return zone;
}

static struct zone *open_name(const char *name, struct err *err)
{
    char path[ZONE_NAME_MAX + 32] = "/usr/share/zoneinfo/";

    if (zone_check_name(name, err) != 0)
        return NULL;
    if (strcmp(name, "UTC") == 0)
        return zone_parse_rule("UTC0", err);
    strncat(path, name, ZONE_NAME_MAX);
    return open_path(path, name, err);
}

static struct zone *open_local(struct err *err)
{
    const char *name = getenv("TZ");
    struct zone *zone;

    if (name && *name == ':')
        name++;
    if (name && *name == '/')
        return open_path(name, name, err);
    if (name && (strchr(name, ',') || strpbrk(name, "0123456789<"))) {
        zone = zone_parse_rule(name, err);
        return zone ? zone : open_name(name, err);
    }
    if (name)
        return open_name(*name ? name : "UTC", err);
    zone = open_path("/etc/localtime", "local", err);
    return zone || err->code != ERR_NOT_FOUND ? zone : open_name("UTC", err);
}

struct zone *zone_open(const char *name, struct err *err)
{
    struct err why = { 0 };
    struct zone *zone = strcmp(name, "local") == 0 ? open_local(&why) : open_name(name, &why);

    if (!zone && err)
        *err = why;
    return zone;
}
