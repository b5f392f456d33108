/* unit.c - the contract is in unit.h. */
#include "base/unit.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DIGITS_MAX = 18, FRACTION_MAX = 9, BILLION = 1000000000 };

struct suffix {
    const char *name;
    int64_t factor;
};
/* Longest first: the parts of a duration must follow in this order. */
static const struct suffix durations[] = {
    { "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 },
};
static const struct suffix sizes[] = {
    /* clang-format off */
    { "", 1 },           { "B", 1 },
    { "K", 1LL << 10 },  { "KB", 1LL << 10 },  { "KiB", 1LL << 10 },
    { "M", 1LL << 20 },  { "MB", 1LL << 20 },  { "MiB", 1LL << 20 },
    { "G", 1LL << 30 },  { "GB", 1LL << 30 },  { "GiB", 1LL << 30 },
    { "T", 1LL << 40 },  { "TB", 1LL << 40 },  { "TiB", 1LL << 40 },
    /* clang-format on */
};
enum {
    NDURATIONS = sizeof(durations) / sizeof(durations[0]),
    NSIZES = sizeof(sizes) / sizeof(sizes[0]),
};

/* A decimal number: whole + billionths / 1e9. */
struct decimal {
    int64_t whole, billionths;
};

static const char *skip_blanks(const char *text) { return text + strspn(text, " \t\r\n"); }
static bool at_end(const char *text) { return *skip_blanks(text) == '\0'; }

/* Reads "12" or "1.5"; NULL if there is no number or it is too long. */
static const char *read_decimal(const char *text, struct decimal *ret)
{
    int digits = 0;

    *ret = (struct decimal){ 0 };
    for (; isdigit((unsigned char)*text); text++, digits++)
        ret->whole = digits < DIGITS_MAX ? ret->whole * 10 + (*text - '0') : 0;
    if (digits == 0 || digits > DIGITS_MAX)
        return NULL;
    if (*text != '.')
        return text;
    text++;
    if (!isdigit((unsigned char)*text))
        return NULL;
    int64_t weight = BILLION / 10;
    for (digits = 0; isdigit((unsigned char)*text); text++, digits++, weight /= 10)
        ret->billionths += weight * (*text - '0');
    return digits <= FRACTION_MAX ? text : NULL;
}

/* Adds number * factor to *total, cut to a whole one; false on overflow. */
static bool add_scaled(int64_t *total, struct decimal number, int64_t factor)
{
    int64_t whole, fraction = (int64_t)((__int128)number.billionths * factor / BILLION);

    return !__builtin_mul_overflow(number.whole, factor, &whole) &&
           !__builtin_add_overflow(*total, whole, total) &&
           !__builtin_add_overflow(*total, fraction, total);
}

/* The row of durations[] at or after `from` whose name stands at *text, which is moved on. */
static int read_unit(const char **text, int from)
{
    size_t len = strspn(*text, "abcdefghijklmnopqrstuvwxyz");

    for (int i = from; i < NDURATIONS; i++) {
        if (strlen(durations[i].name) == len && strncmp(*text, durations[i].name, len) == 0) {
            *text += len;
            return i;
        }
    }
    return -1;
}

static bool parse_duration(const char *text, int64_t *ret_ms)
{
    struct decimal number;
    int64_t total = 0;
    int next = 0;

    text = skip_blanks(text);
    do {
        const char *end = read_decimal(text, &number);
        if (!end)
            return false;
        if (next == 0 && at_end(end)) { /* a bare number */
            end = skip_blanks(end);
            next = NDURATIONS;
            if (!add_scaled(&total, number, 1000))
                return false;
        } else {
            end = skip_blanks(end);
            int unit = read_unit(&end, next);
            if (unit < 0 || !add_scaled(&total, number, durations[unit].factor))
                return false;
            next = unit + 1;
        }
        text = skip_blanks(end);
    } while (*text);
    *ret_ms = total;
    return true;
}

int unit_duration(const char *text, int64_t *ret_ms, struct err *err)
{
    if (parse_duration(text, ret_ms))
        return 0;
    return err_set(err, ERR_INVALID, "\"%.64s\" is not a duration (try 500ms, 10s, 5m)", text);
}

static bool parse_size(const char *text, int64_t *ret_bytes)
{
    struct decimal number;
    const char *at = read_decimal(skip_blanks(text), &number);

    if (!at)
        return false;
    at = skip_blanks(at);
    size_t len = strcspn(at, " \t\r\n");
    if (!at_end(at + len))
        return false;
    for (int i = 0; i < NSIZES; i++) {
        int64_t total = 0;
        if (strlen(sizes[i].name) != len || strncasecmp(at, sizes[i].name, len) != 0)
            continue;
        if (!add_scaled(&total, number, sizes[i].factor))
            return false;
        *ret_bytes = total;
        return true;
    }
    return false;
}

int unit_size(const char *text, int64_t *ret_bytes, struct err *err)
{
    if (parse_size(text, ret_bytes))
        return 0;
    return err_set(err, ERR_INVALID, "\"%.64s\" is not a size (try 4096, 64KB, 50MB, 2GB)", text);
}

int unit_integer(const char *text, int base, int64_t *ret, struct err *err)
{
    const char *at = skip_blanks(text);
    char *end;

    errno = 0;
    long long number = strtoll(at, &end, base);
    if (errno == ERANGE)
        return err_set(err, ERR_INVALID, "\"%.64s\" is too large a number", text);
    /* strtoll takes prefixes and signs of its own; only digits and one '-' are right here. */
    if (end == at || !at_end(end) || !isdigit((unsigned char)at[*at == '-']))
        return err_set(err, ERR_INVALID,
                       base == 8 ? "\"%.64s\" is not an octal number (try 022)"
                                 : "\"%.64s\" is not a whole number (try 10)",
                       text);
    *ret = number;
    return 0;
}

int unit_boolean(const char *text, bool *ret, struct err *err)
{
    static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };
    const char *at = skip_blanks(text);
    size_t len = strcspn(at, " \t\r\n");

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]) && at_end(at + len); i++) {
        if (strlen(words[i]) == len && strncasecmp(at, words[i], len) == 0) {
            *ret = i % 2;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "\"%.64s\" is not a boolean (try true or false)", text);
}

int unit_share(const char *text, struct unit_share *ret, struct err *err)
{
    struct decimal number;
    const char *at = read_decimal(skip_blanks(text), &number);

    if (at && *skip_blanks(at) == '%' && at_end(skip_blanks(at) + 1)) {
        double percent = (double)number.whole + (double)number.billionths / BILLION;
        if (percent > 100)
            return err_set(err, ERR_INVALID, "\"%.64s\" is more than 100%%", text);
        *ret = (struct unit_share){ .percent = percent, .count = -1 };
        return 0;
    }
    if (at && at_end(at) && !strchr(text, '.')) {
        *ret = (struct unit_share){ .percent = -1, .count = number.whole };
        return 0;
    }
    return err_set(err, ERR_INVALID, "\"%.64s\" is not a share (try 25%% or 3)", text);
}

/* "5m 3s" of a large and the next smaller unit; the small part is left out when it is 0. */
static void two_parts(char *at, size_t room, uint64_t ms, int large)
{
    uint64_t first = (uint64_t)durations[large].factor,
             second = (uint64_t)durations[large + 1].factor;
    uint64_t rest = ms % first / second;
    int len = snprintf(at, room, "%llu%s", (unsigned long long)(ms / first), durations[large].name);

    if (rest)
        snprintf(at + len, room - (size_t)len, " %llu%s", (unsigned long long)rest,
                 durations[large + 1].name);
}

const char *unit_duration_text(int64_t ms, char text[static UNIT_TEXT_MAX])
{
    uint64_t size = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    char *at = text;

    if (ms < 0)
        *at++ = '-';
    size_t room = UNIT_TEXT_MAX - (size_t)(at - text);
    if (size == 0) {
        snprintf(at, room, "0s");
    } else if (size < 1000) {
        snprintf(at, room, "%dms", (int)size);
    } else if (size < 60000) {
        int tenths = (int)(size % 1000 / 100);
        snprintf(at, room, tenths ? "%d.%ds" : "%ds", (int)(size / 1000), tenths);
    } else {
        int large = 0;
        while (size < (uint64_t)durations[large].factor)
            large++;
        two_parts(at, room, size, large);
    }
    return text;
}

const char *unit_size_text(int64_t bytes, char text[static UNIT_TEXT_MAX])
{
    static const char *const names[] = { "B", "KB", "MB", "GB", "TB" };
    uint64_t size = bytes < 0 ? 0 - (uint64_t)bytes : (uint64_t)bytes, factor = 1;
    size_t name = 0;

    while (name + 1 < sizeof(names) / sizeof(names[0]) && size / factor >= 1024) {
        factor *= 1024;
        name++;
    }
    int tenths = (int)(size % factor * 10 / factor);
    const char *sign = bytes < 0 ? "-" : "";
    unsigned long long whole = size / factor;
    if (tenths)
        snprintf(text, UNIT_TEXT_MAX, "%s%llu.%d %s", sign, whole, tenths, names[name]);
    else
        snprintf(text, UNIT_TEXT_MAX, "%s%llu %s", sign, whole, names[name]);
    return text;
}
