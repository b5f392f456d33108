/* progress.h - what happens, as people like to read it.
 *
 * On a terminal: one live line per host and a bar, redrawn in place; with many hosts only those
 * that are busy or in trouble.  Elsewhere: plain lines.  With --json: one JSON object per line.
 * NO_COLOR is honoured; lines are cut to the terminal's width.
 */
#ifndef DEPLOYCTL_CLI_PROGRESS_H
#define DEPLOYCTL_CLI_PROGRESS_H

#include <stdbool.h>

#include "deployctl/fleet/driver.h"

enum progress_style { PROGRESS_LIVE, PROGRESS_PLAIN, PROGRESS_JSON, PROGRESS_QUIET };

struct progress;
/* QUIET tells only warnings, errors and questions (for views). */
struct progress *progress_new(enum progress_style style, const struct recipe *recipe, bool verbose,
                              struct err *err);
void progress_free(struct progress *progress); /* leaves the last state on the screen */
void progress_news(void *progress, const struct driver_news *news);
/* For --json: LIVE on a terminal, else PLAIN. */
enum progress_style progress_choose(bool json);
bool progress_colour(void);

#endif
