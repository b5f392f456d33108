/* weave.h - lines of many hosts in the order of their times, while they come.
 *
 * A line waits until every host that may still have an earlier one has said something later, or for
 * WEAVE_WAIT_MS: nobody is held up longer by a slow host, whose late lines are then out of order.
 * What a host may keep waiting is limited; over that its oldest line goes at once.
 */
#ifndef DEPLOYCTL_PLAN_WEAVE_H
#define DEPLOYCTL_PLAN_WEAVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WEAVE_WAIT_MS = 700,          /* agents look each half second */
    WEAVE_BYTES_MAX = 256 * 1024, /* of one host */
    WEAVE_LINE_MAX = 8 * 1024,    /* of a longer line the rest is left out */
};

struct weave_line;
struct weave_host {
    struct weave_line *first, *last;
    size_t bytes;
    int64_t time_us; /* of its last line */
    bool quiet;      /* nothing more is expected of it now */
};
struct weave {
    struct weave_host *hosts; /* owned */
    size_t count;
};
/* One line that was taken; free() it. */
struct weave_line {
    struct weave_line *next;
    size_t host, len;
    int64_t time_us, came_ms;
    bool cut;
    char text[];
};

bool weave_init(struct weave *weave, size_t count); /* false: no memory */
void weave_done(struct weave *weave);
/* A line of a host, without its newline.  A line without a time (-1) has that of the one before.
 * False: no memory, the line is lost. */
bool weave_add(struct weave *weave, size_t host, int64_t time_us, const char *text, size_t len,
               int64_t now_ms);
/* Whether more is expected of the host: it is not while it is not connected. */
void weave_expect(struct weave *weave, size_t host, bool more);
/* The next line that may be shown; NULL = none now. */
struct weave_line *weave_take(struct weave *weave, int64_t now_ms);
/* In how many ms a line that waits now will be free; -1 = none waits. */
int64_t weave_due(const struct weave *weave, int64_t now_ms);

#endif
