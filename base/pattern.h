/* pattern.h - regular expressions for lines, whose cost is known: each byte costs at most one step
 * per state, and a pattern has at most PATTERN_STATES_MAX of them.  No backtracking, no memory.
 *
 * Extended syntax: . [a-z] [^x] [[:digit:]] \d \w \s \D \W \S \t ^ $ * + ? {n,m} | ( ).  A match
 * may begin anywhere in the line unless ^ says otherwise.  What has been seen of a line is a small
 * plain value, so lines may come in pieces, and be kept in shared memory between them.
 */
#ifndef BASE_PATTERN_H
#define BASE_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { PATTERN_TEXT_MAX = 256, PATTERN_STATES_MAX = 256, PATTERN_SETS_MAX = 64 };

struct pattern {
    size_t count, nsets;
    struct {
        uint8_t op, x, y; /* pattern.c; x, y: a set, or where to go on */
    } states[PATTERN_STATES_MAX];
    uint32_t sets[PATTERN_SETS_MAX][8]; /* of bytes */
};

/* All zeros: at the beginning of a line. */
struct pattern_seen {
    uint64_t states[PATTERN_STATES_MAX / 64];
    uint8_t inside; /* of a line */
    uint8_t unused[7];
};

/* ERR_INVALID with what is wrong and where; ERR_LIMIT: too many states. */
int pattern_compile(const char *text, struct pattern *ret, struct err *err);
/* Reads on; true when a line matches ($ needs its newline). */
bool pattern_feed(const struct pattern *pattern, struct pattern_seen *seen, const char *data,
                  size_t len);

#endif
