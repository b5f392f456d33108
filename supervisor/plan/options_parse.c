/* options_parse.c - the contract is in options_parse.h. */
#include "supervisor/plan/options_parse.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/signals.h"
#include "base/unit.h"
#include "base/zone.h"
#include "supervisor/plan/spec.h"

enum {
    MEMORY_MIN = 1024 * 1024,
    CPU_PERIOD_US = 100000,
    CPU_MIN_US = 1000, /* what the kernel takes */
    CPU_MAX = 10000,   /* processors */
};

int options_parse_autorestart(const char *text, struct arena *arena, void *field, struct err *err)
{
    bool always;
    int *ret = field;

    (void)arena;
    if (strcasecmp(text, "unexpected") == 0 || strcasecmp(text, "on-failure") == 0) {
        *ret = SPEC_RESTART_UNEXPECTED;
        return 0;
    }
    if (unit_boolean(text, &always, NULL) < 0)
        return err_set(err, ERR_INVALID, "\"%.64s\" is not known, try true, false or unexpected",
                       text);
    *ret = always ? SPEC_RESTART_TRUE : SPEC_RESTART_FALSE;
    return 0;
}

static int add_exit(struct spec_exits *exits, const char *word, struct err *err)
{
    int64_t code;
    int signal;

    if (isdigit((unsigned char)*word) || *word == '-') {
        if (unit_integer(word, 10, &code, NULL) < 0 || code < 0 || code > 255)
            return err_set(err, ERR_INVALID, "\"%.64s\" is not an exit code, try 0 to 255", word);
        exits->codes[code / 64] |= 1ULL << (code % 64);
        return 0;
    }
    if (signals_parse(word, &signal, NULL) < 0 || signal < 1 || signal > 63)
        return err_set(err, ERR_INVALID,
                       "\"%.64s\" is neither an exit code nor a signal, try 0 to 255 or TERM",
                       word);
    exits->signals |= 1ULL << signal;
    return 0;
}

int options_parse_exits(const char *text, struct arena *arena, void *field, struct err *err)
{
    static const char between[] = ", \t\r\n";
    struct spec_exits exits = { 0 };
    char word[64];

    (void)arena;
    for (text += strspn(text, between); *text; text += strspn(text, between)) {
        size_t len = strcspn(text, between);
        if (len >= sizeof(word))
            return err_set(err, ERR_INVALID, "\"%.20s...\" is not an exit code, try 0 to 255",
                           text);
        memcpy(word, text, len);
        word[len] = '\0';
        int rc = add_exit(&exits, word, err);
        if (rc < 0)
            return rc;
        text += len;
    }
    *(struct spec_exits *)field = exits;
    return 0;
}

/* The words of one rule, trimmed: "75-78", "backoff", "5m" (or ""). */
struct rule_words {
    char what[64], action[64], delay[64];
};

/* Copies text[0..len) without blanks at its ends; false when it does not fit. */
static bool take_word(const char *text, size_t len, char word[static 64])
{
    static const char blanks[] = " \t\r\n";

    for (; len && strchr(blanks, *text); len--)
        text++;
    while (len && strchr(blanks, text[len - 1]))
        len--;
    if (len >= 64)
        return false;
    memcpy(word, text, len);
    word[len] = '\0';
    return true;
}

static int split_rule(const char *text, size_t len, struct rule_words *ret, struct err *err)
{
    const char *colon = memchr(text, ':', len);
    const char *action = colon ? colon + 1 : text;
    size_t rest = len - (size_t)(action - text);

    for (; rest && isspace((unsigned char)*action); rest--)
        action++;
    size_t word = strcspn(action, " \t\r\n");
    if (word > rest)
        word = rest;
    if (!colon || !take_word(text, (size_t)(colon - text), ret->what) ||
        !take_word(action, word, ret->action) || !take_word(action + word, rest - word, ret->delay))
        return err_set(err, ERR_INVALID,
                       "\"%.*s\" is not EXIT: ACTION, try 78: never or 75: backoff 5m",
                       (int)(len < 40 ? len : 40), text);
    return 0;
}

/* "75", "64-78" or "SEGV". */
static int parse_rule_exit(const char *text, struct spec_rule *ret, struct err *err)
{
    char first[64];
    int64_t low, high;
    int signal;

    const char *dash = strchr(text, '-');
    size_t len = dash ? (size_t)(dash - text) : strlen(text);
    bool fits = take_word(text, len, first);
    if (fits && isdigit((unsigned char)*first)) {
        if (unit_integer(first, 10, &low, NULL) < 0 || low > 255 ||
            unit_integer(dash ? dash + 1 : first, 10, &high, NULL) < 0 || high < low || high > 255)
            return err_set(err, ERR_INVALID,
                           "\"%.64s\" is no exit code, try 0 to 255, as 75 or "
                           "64-78",
                           text);
        ret->first = (int32_t)low;
        ret->last = (int32_t)high;
        return 0;
    }
    if (signals_parse(text, &signal, NULL) < 0 || signal < 1 || signal > 64)
        return err_set(err, ERR_INVALID,
                       "\"%.64s\" is neither an exit code nor a signal, try 0 to 255 or SEGV",
                       text);
    ret->first = ret->last = signal;
    ret->signalled = 1;
    return 0;
}

static int parse_rule_action(const struct rule_words *words, struct spec_rule *ret, struct err *err)
{
    static const char *const actions[] = { "never", "always", "now", "backoff" };
    enum { NACTIONS = sizeof(actions) / sizeof(actions[0]), DAY_MS = 24 * 60 * 60 * 1000 };

    for (ret->action = 0; ret->action < NACTIONS; ret->action++)
        if (strcasecmp(actions[ret->action], words->action) == 0)
            break;
    if (ret->action == NACTIONS)
        return err_set(err, ERR_INVALID,
                       "\"%.64s\" is not known, try never, always, now or backoff TIME",
                       words->action);
    if (ret->action != SPEC_RULE_BACKOFF && *words->delay)
        return err_set(err, ERR_INVALID,
                       "unexpected \"%.64s\" after %s (a comma between two rules)", words->delay,
                       words->action);
    if (ret->action == SPEC_RULE_BACKOFF &&
        (unit_duration(words->delay, &ret->delay_ms, NULL) < 0 || ret->delay_ms < 1 ||
         ret->delay_ms > DAY_MS))
        return err_set(err, ERR_INVALID, "\"%.64s\" is no delay, try backoff 5m (1ms to 1d)",
                       words->delay);
    return 0;
}

static int parse_rule(const char *text, size_t len, struct spec_rule *ret, struct err *err)
{
    struct rule_words words;

    memset(ret, 0, sizeof(*ret));
    int rc = split_rule(text, len, &words, err);
    if (rc == 0)
        rc = parse_rule_exit(words.what, ret, err);
    return rc < 0 ? rc : parse_rule_action(&words, ret, err);
}

int options_parse_rules(const char *text, struct arena *arena, void *field, struct err *err)
{
    enum { RULES_MAX = 32 };
    static const char between[] = ", \t\r\n";
    struct spec_rule rules[RULES_MAX];
    size_t count = 0;

    for (text += strspn(text, between); *text; text += strspn(text, between)) {
        size_t len = strcspn(text, ",\n");
        if (count == RULES_MAX)
            return err_set(err, ERR_INVALID, "more than %d rules", RULES_MAX);
        int rc = parse_rule(text, len, &rules[count], err);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < count; i++)
            if (rules[i].signalled == rules[count].signalled &&
                rules[i].first <= rules[count].last && rules[count].first <= rules[i].last)
                return err_set(err, ERR_INVALID, "\"%.*s\" is in a rule before, remove one of them",
                               (int)(len < 40 ? len : 40), text);
        count++;
        text += len;
    }
    const struct spec_rule *list = arena_share(arena, rules, count * sizeof(*rules));
    if (!list)
        return err_set(err, ERR_MEMORY, "out of memory");
    *(struct spec_rules *)field = (struct spec_rules){ list, count };
    return 0;
}

int options_parse_retries(const char *text, struct arena *arena, void *field, struct err *err)
{
    int64_t count;

    (void)arena;
    if (strcasecmp(text, "unlimited") == 0) {
        *(int64_t *)field = SPEC_UNLIMITED;
        return 0;
    }
    if (unit_integer(text, 10, &count, NULL) < 0 || count < 0)
        return err_set(err, ERR_INVALID, "\"%.64s\" is not a number of retries, try 3 or unlimited",
                       text);
    *(int64_t *)field = count;
    return 0;
}

/* strtod also reads "inf", "nan" and hexadecimal; only plain decimals are right. */
static bool plain_decimal(const char *text, double *ret)
{
    char *end;

    if (!*text || strspn(text, "0123456789.") != strlen(text))
        return false;
    *ret = strtod(text, &end);
    return *end == '\0' && isfinite(*ret);
}

int options_parse_factor(const char *text, struct arena *arena, void *field, struct err *err)
{
    double factor;

    (void)arena;
    if (!plain_decimal(text, &factor) || factor < 1 || factor > 100)
        return err_set(err, ERR_INVALID, "\"%.64s\" is not a factor, try 1 to 100, as 2 or 1.5",
                       text);
    *(double *)field = factor;
    return 0;
}

int options_parse_jitter(const char *text, struct arena *arena, void *field, struct err *err)
{
    struct unit_share share;

    (void)arena;
    if (unit_share(text, &share, NULL) == 0 && share.percent >= 0 && share.percent <= 100) {
        *(double *)field = share.percent / 100;
        return 0;
    }
    if (strcmp(text, "0") == 0) {
        *(double *)field = 0;
        return 0;
    }
    return err_set(err, ERR_INVALID, "\"%.64s\" is not a percentage, try 0%% to 100%%", text);
}

static void set_limit(void *field, rlim_t value)
{
    *(struct spec_limit *)field = (struct spec_limit){ .set = true, .value = value };
}

static bool unlimited(const char *text, void *field)
{
    bool yes = strcasecmp(text, "unlimited") == 0 || strcasecmp(text, "infinity") == 0;

    if (yes)
        set_limit(field, RLIM_INFINITY);
    return yes;
}

int options_parse_limit_count(const char *text, struct arena *arena, void *field, struct err *err)
{
    int64_t count;

    (void)arena;
    if (unlimited(text, field))
        return 0;
    if (unit_integer(text, 10, &count, NULL) < 0 || count < 0)
        return err_set(err, ERR_INVALID, "\"%.64s\" is not a limit, try 65536 or unlimited", text);
    set_limit(field, (rlim_t)count);
    return 0;
}

int options_parse_limit_size(const char *text, struct arena *arena, void *field, struct err *err)
{
    int64_t bytes;

    (void)arena;
    if (unlimited(text, field))
        return 0;
    if (unit_size(text, &bytes, NULL) < 0)
        return err_set(err, ERR_INVALID, "\"%.64s\" is not a limit, try 512MB or unlimited", text);
    set_limit(field, (rlim_t)bytes);
    return 0;
}

int options_parse_limit_time(const char *text, struct arena *arena, void *field, struct err *err)
{
    int64_t ms;

    (void)arena;
    if (unlimited(text, field))
        return 0;
    if (unit_duration(text, &ms, NULL) < 0 || ms < 1000)
        return err_set(err, ERR_INVALID, "\"%.64s\" is not a limit, try 1s or more, or unlimited",
                       text);
    set_limit(field, (rlim_t)(ms / 1000));
    return 0;
}

int options_parse_limit_memory(const char *text, struct arena *arena, void *field, struct err *err)
{
    int64_t bytes;

    (void)arena;
    if (unlimited(text, field))
        return 0;
    if (unit_size(text, &bytes, NULL) < 0 || bytes < MEMORY_MIN)
        return err_set(err, ERR_INVALID,
                       "\"%.64s\" is not a limit, try 512MB (at least 1MB) or unlimited", text);
    set_limit(field, (rlim_t)bytes);
    return 0;
}

int options_parse_limit_pids(const char *text, struct arena *arena, void *field, struct err *err)
{
    int64_t count;

    (void)arena;
    if (unlimited(text, field))
        return 0;
    if (unit_integer(text, 10, &count, NULL) < 0 || count < 1)
        return err_set(err, ERR_INVALID,
                       "\"%.64s\" is not a limit, try 512 (at least 1) or unlimited", text);
    set_limit(field, (rlim_t)count);
    return 0;
}

int options_parse_limit_processors(const char *text, struct arena *arena, void *field,
                                   struct err *err)
{
    char number[32] = "";
    size_t len = strlen(text);
    double count = 0;

    (void)arena;
    if (unlimited(text, field))
        return 0;
    bool percent = len > 0 && text[len - 1] == '%';
    if (len < sizeof number)
        memcpy(number, text, percent ? len - 1 : len);
    if (!plain_decimal(number, &count))
        count = 0;
    if (percent)
        count /= 100;
    if (count * CPU_PERIOD_US < CPU_MIN_US || count > CPU_MAX)
        return err_set(err, ERR_INVALID,
                       "\"%.64s\" is not a share of processors, try 50%%, 1.5 or unlimited", text);
    set_limit(field, (rlim_t)(count * CPU_PERIOD_US + 0.5));
    return 0;
}

int options_parse_schedule(const char *text, struct arena *arena, void *field, struct err *err)
{
    static const char between[] = "|\r\n";
    struct calendar_line lines[SPEC_SCHEDULE_MAX];
    size_t count = 0;

    memset(lines, 0, sizeof(lines));
    for (; *text; text += strspn(text, between)) {
        size_t len = strcspn(text, between);
        if (len > 0 && strspn(text, " \t") < len) {
            if (count == SPEC_SCHEDULE_MAX)
                return err_set(err, ERR_INVALID, "more than %d lines", SPEC_SCHEDULE_MAX);
            int rc = calendar_parse(text, len, &lines[count], err);
            if (rc < 0)
                return rc;
            count++;
        }
        text += len;
    }
    if (count == 0)
        return err_set(err, ERR_INVALID, "is empty, try 0 3 * * 1-5 or @daily");
    const struct calendar_line *list = arena_share(arena, lines, count * sizeof(*lines));
    if (!list)
        return err_set(err, ERR_MEMORY, "out of memory");
    *(struct spec_schedule *)field = (struct spec_schedule){ list, count };
    return 0;
}

int options_parse_zone(const char *text, struct arena *arena, void *field, struct err *err)
{
    int rc = zone_check_name(text, err);
    const char *name = rc == 0 ? arena_share(arena, text, strlen(text) + 1) : NULL;

    if (rc == 0 && !name)
        return err_set(err, ERR_MEMORY, "out of memory");
    if (rc == 0)
        *(const char **)field = name;
    return rc;
}
