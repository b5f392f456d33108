/* near.c - edit distance where swapping two neighbours counts as one edit. */
#include "base/near.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_LEN = 80 };

static size_t least(size_t a, size_t b) { return a < b ? a : b; }
static int lower(char c) { return tolower((unsigned char)c); }

static size_t distance(const char *a, size_t na, const char *b, size_t nb)
{
    size_t rows[3][NAME_MAX_LEN + 1];
    size_t *two_up = rows[0], *up = rows[1], *row = rows[2];

    for (size_t j = 0; j <= nb; j++)
        up[j] = j;
    for (size_t i = 1; i <= na; i++) {
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t same = lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1;
            row[j] = least(least(up[j], row[j - 1]) + 1, up[j - 1] + same);
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]))
                row[j] = least(row[j], two_up[j - 2] + 1);
        }
        size_t *spare = two_up;
        two_up = up;
        up = row;
        row = spare;
    }
    return up[nb];
}

const char *near_name(const char *wrong, size_t count, const char *(*name_at)(size_t, const void *),
                      const void *context)
{
    size_t len = strlen(wrong), best = 2 * NAME_MAX_LEN;
    const char *nearest = NULL;

    if (len == 0 || len > NAME_MAX_LEN)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const char *name = name_at(i, context);
        size_t n = name ? strlen(name) : 0;
        if (n == 0 || n > NAME_MAX_LEN)
            continue;
        size_t edits = distance(wrong, len, name, n);
        /* Cut short rather than mistyped: "stat" is status, not start. */
        bool cut = n > len && strncasecmp(wrong, name, len) == 0;
        size_t weight = cut ? 1 : 2 * edits;
        if (weight < best && edits * 3 <= (len > n ? len : n)) {
            best = weight;
            nearest = name;
        }
    }
    return nearest;
}
