/* words.c - the contract is in words.h. */
#include "supervisor/core/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 1024 };

static const char none[] = "", lost[] = "(no memory for the words)";

void words_init(const char **words) { *words = none; }

void words_clear(const char **words)
{
    if (*words != none && *words != lost)
        free((char *)*words);
    *words = none;
}

void words_vset(const char **words, size_t max, const char *fmt, va_list args)
{
    char text[WORDS_MAX];

    vsnprintf(text, max < sizeof text ? max : sizeof text, fmt, args);
    words_clear(words);
    if (!text[0])
        return;
    const char *copy = strdup(text);
    *words = copy ? copy : lost;
}

void words_set(const char **words, size_t max, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    words_vset(words, max, fmt, args);
    va_end(args);
}
