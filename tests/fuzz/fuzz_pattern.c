/* fuzz_pattern.c - any pattern is refused or runs on any text, whole or byte by byte alike. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[PATTERN_TEXT_MAX + 8] = "";
    struct pattern_seen whole = { 0 }, pieces = { 0 };
    struct pattern pattern;
    struct err err = { 0 };
    bool found = false;

    size_t len = size > 0 ? data[0] : 0;
    if (size < 1 + len)
        return 0;
    memcpy(text, data + 1, len);
    const char *line = (const char *)data + 1 + len;
    size -= 1 + len;
    if (pattern_compile(text, &pattern, &err) != 0)
        return 0;
    if (pattern.count > PATTERN_STATES_MAX)
        abort();
    bool at_once = pattern_feed(&pattern, &whole, line, size);
    for (size_t i = 0; i < size && !found; i++)
        found = pattern_feed(&pattern, &pieces, line + i, 1);
    if (found != at_once || (!found && memcmp(&whole, &pieces, sizeof whole) != 0))
        abort();
    return 0;
}
