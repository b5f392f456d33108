/* remark.c - the contract is in remark.h. */
#include "supervisor/core/remark.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REMARK_MAX = 1024 };

static const char none[] = "", lost[] = "(no memory for the words)";

void remark_init(const char **remark) { *remark = none; }

void remark_clear(const char **remark)
{
    if (*remark != none && *remark != lost)
        free((char *)*remark);
    *remark = none;
}

void remark_vset(const char **remark, size_t max, const char *fmt, va_list args)
{
    char text[REMARK_MAX];

    vsnprintf(text, max < sizeof text ? max : sizeof text, fmt, args);
    remark_clear(remark);
    if (!text[0])
        return;
    const char *copy = strdup(text);
    *remark = copy ? copy : lost;
}

void remark_set(const char **remark, size_t max, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    remark_vset(remark, max, fmt, args);
    va_end(args);
}
