/* screen.h - the live table: what is known of a release and the size of a terminal, made lines.
 *
 * One row for each host (state, for how long, bytes, health, what happened), and a bar below.
 * Where the hosts are more than the rows, only those that matter are shown: the ones in trouble,
 * then the ones at work, then the ones that are watched, each in the order of deploy.ini; a line
 * counts the rest by state.  What does not fit in the width goes in this order: notes are cut, the
 * columns BYTES, HEALTH and TIME left out, names shortened in the middle.
 *
 * Nothing here knows a terminal: the same news and size always give the same picture.
 */
#ifndef DEPLOYCTL_CLI_SCREEN_H
#define DEPLOYCTL_CLI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "deployctl/fleet/driver.h"

enum {
    SCREEN_COLUMNS_MAX = 300, /* wider ones are not used wholly */
    SCREEN_BYTES_MAX = 4 * 1024 * 1024,
    SCREEN_WORD_MAX = 24,
    SCREEN_NOTE_MAX = 320,
    SCREEN_HEALTH_MAX = 56,
};
/* How much a host matters just now. */
enum screen_rank { SCREEN_QUIET, SCREEN_WATCHED, SCREEN_AT_WORK, SCREEN_TROUBLE, SCREEN_NRANKS };

struct screen_host {
    const char *name;           /* borrowed */
    char word[SCREEN_WORD_MAX]; /* its state; "" = nothing was heard of it yet */
    char note[SCREEN_NOTE_MAX];
    char hurt[SCREEN_NOTE_MAX]; /* the trouble it had last; "" = none */
    char health[SCREEN_HEALTH_MAX];
    uint64_t done, total;      /* bytes; total 0 = none travelled */
    int64_t since_ms, took_ms; /* its state; its work until it came to rest, -1 = none */
    int64_t began_ms;          /* of the work; -1 = at rest */
};
struct screen {
    struct screen_host *hosts; /* owned */
    size_t count, hint;
    char stage[24], what[120];
    char counts[VERDICT_LINE_MAX]; /* of the verdict, while it bakes */
    uint64_t bake_done, bake_total;
    int64_t at_ms;
};

/* The names must outlive the screen. */
int screen_init(struct screen *screen, const struct recipe *recipe, struct err *err);
void screen_done(struct screen *screen);
void screen_take(struct screen *screen, const struct driver_news *news);
/* Appends lines that each end with a newline, fewer than `rows` and each with fewer characters than
 * `columns`, so that nothing scrolls or wraps; colours only if wanted. */
void screen_draw(const struct screen *screen, size_t columns, size_t rows, bool colour,
                 struct buf *out);
/* How many rows a terminal of so many columns needs for such lines, once it was made narrower. */
size_t screen_rows(const char *lines, size_t columns);
enum screen_rank screen_rank(const struct screen_host *host);

#endif
