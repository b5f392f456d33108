/* err.c - the contract is in err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    enum err_code code;
    const char *name;
} names[] = {
    /* clang-format off */
    { ERR_NONE,        "none" },
    { ERR_INVALID,     "invalid" },
    { ERR_NOT_FOUND,   "not-found" },
    { ERR_EXISTS,      "exists" },
    { ERR_DENIED,      "denied" },
    { ERR_SYSTEM,      "system" },
    { ERR_MEMORY,      "memory" },
    { ERR_LIMIT,       "limit" },
    { ERR_PROTOCOL,    "protocol" },
    { ERR_TIMEOUT,     "timeout" },
    { ERR_UNREACHABLE, "unreachable" },
    { ERR_STALE,       "stale" },
    { ERR_STATE,       "state" },
    { ERR_CORRUPT,     "corrupt" },
    /* clang-format on */
};

/* Formats beside err->text first, because the arguments may point into it. */
__attribute__((format(printf, 2, 0))) static void put_text(struct err *err, const char *fmt,
                                                           va_list args)
{
    char text[ERR_TEXT_MAX];

    if (vsnprintf(text, sizeof(text), fmt, args) < 0)
        text[0] = '\0';
    memcpy(err->text, text, sizeof(text));
}

/* Appends as much of `more` as fits. */
static void append(char text[static ERR_TEXT_MAX], const char *more)
{
    size_t len = strnlen(text, ERR_TEXT_MAX - 1), room = ERR_TEXT_MAX - 1 - len;
    size_t take = strnlen(more, room);

    memcpy(text + len, more, take);
    text[len + take] = '\0';
}

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    if (!err)
        return code;
    va_list args;
    va_start(args, fmt);
    put_text(err, fmt, args);
    va_end(args);
    err->code = code;
    err->sys = 0;
    return code;
}

int err_sys(struct err *err, int sys, const char *fmt, ...)
{
    enum err_code code = sys == ENOMEM ? ERR_MEMORY : ERR_SYSTEM;
    if (!err)
        return code;
    va_list args;
    va_start(args, fmt);
    put_text(err, fmt, args);
    va_end(args);

    char room[128];
    append(err->text, ": ");
    append(err->text, strerror_r(sys, room, sizeof(room)));
    err->code = code;
    err->sys = sys;
    return code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    if (!err)
        return ERR_INVALID;
    char before[ERR_TEXT_MAX];
    memcpy(before, err->text, sizeof(before));
    before[sizeof(before) - 1] = '\0';

    va_list args;
    va_start(args, fmt);
    put_text(err, fmt, args);
    va_end(args);
    append(err->text, ": ");
    append(err->text, before);
    return err->code;
}

const char *err_code_name(enum err_code code)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].code == code)
            return names[i].name;
    return "unknown";
}

void err_list_init(struct err_list *list) { memset(list, 0, sizeof(*list)); }

void err_list_done(struct err_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->lines[i]);
    memset(list, 0, sizeof(*list));
}

void err_list_add(struct err_list *list, const char *fmt, ...)
{
    list->total++;
    if (list->count == ERR_LIST_MAX)
        return;
    va_list args;
    va_start(args, fmt);
    char *line = NULL;
    if (vasprintf(&line, fmt, args) >= 0)
        list->lines[list->count++] = line;
    va_end(args);
}
