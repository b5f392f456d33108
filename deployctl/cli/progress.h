/* progress.h - what happens, as people like to read it.
 *
 * On a terminal: the table of screen.h, redrawn in place.  It is drawn when the driver ticks, that
 * is at most ten times a second and once a second while nothing happens (the clock), and written
 * only if it looks otherwise than before: as one write, without clearing first, so nothing
 * flickers. There is no other screen and no mode to be left: whatever ends us, the terminal is as
 * it was. Elsewhere, with TERM=dumb, or where CI is set: plain lines.  With --json: one JSON object
 * per line.  NO_COLOR is honoured.
 */
#ifndef DEPLOYCTL_CLI_PROGRESS_H
#define DEPLOYCTL_CLI_PROGRESS_H

#include <stdbool.h>

#include "deployctl/fleet/driver.h"

enum progress_style {
    PROGRESS_LIVE,
    PROGRESS_PLAIN,
    PROGRESS_JSON,
    PROGRESS_QUIET,
    PROGRESS_QUIET_JSON,
};

struct progress;
/* QUIET tells only warnings, errors and questions (for views); with JSON errors are lines of it,
 * too. */
struct progress *progress_new(enum progress_style style, const struct recipe *recipe, bool verbose,
                              struct err *err);
void progress_free(struct progress *progress); /* leaves the last state on the screen */
void progress_news(void *progress, const struct driver_news *news);
/* For --json: LIVE on a terminal, else PLAIN. */
enum progress_style progress_choose(bool json);
bool progress_colour(void);

#endif
