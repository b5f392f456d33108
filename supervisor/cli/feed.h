/* feed.h - events for a program: which ones, and where it goes on after a crash.
 *
 * A program reads events as JSON lines from its standard input.  What it has taken from the pipe
 * (or, with --acks, what it has acknowledged by number) is remembered, in a file or by the core
 * under a name; after a crash of the program, of the feeder or of the core it goes on behind that.
 */
#ifndef SUPERVISOR_CLI_FEED_H
#define SUPERVISOR_CLI_FEED_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cli.h"

enum { FEED_RUN_MAX = 64, FEED_LINE_MAX = 32 };

struct feed {
    const char *kinds, *names; /* patterns, blank or comma between them; NULL = all */
    const char *file;          /* where it is remembered, */
    const char *name;          /* or as what, by the core; both NULL = not at all */
    int (*keep)(void *context, const char *name, int64_t number, struct err *err); /* there */
    void *context;
    bool told;              /* that it cannot be kept */
    bool acks;              /* by number, on standard input */
    char run[FEED_RUN_MAX]; /* the supervisor whose numbers these are */
    int64_t saved, written, seen;
    int64_t acked; /* with `acks` */
    char line[FEED_LINE_MAX];
    size_t len;
};

void feed_init(struct feed *feed, const struct cli *cli);
bool feed_wants(const struct feed *feed, const json_t *event);
/* The number to begin with, for the supervisor `run`, of what the file says. */
int64_t feed_since(struct feed *feed, const char *run);
/* All up to this number has been taken. */
void feed_begin(struct feed *feed, int64_t number);
/* After an event was looked at (and written, if it is wanted), and now and then while
 * feed_waits(). */
void feed_settle(struct feed *feed);
bool feed_waits(const struct feed *feed); /* something was written and is not taken yet */

/* Starts the feeder beside us and becomes the command, with events on its standard input.  Returns
 * the exit code of a failure. */
int feed_become(const struct cli *cli);

#endif
