/* tail.h - the end of a log file, and what is added to it, across rotation. */
#ifndef SUPERVISOR_CLI_TAIL_H
#define SUPERVISOR_CLI_TAIL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

/* Where the last `lines` lines of a file begin; a last line without newline counts.  -errno. */
off_t tail_start(int fd, uint64_t lines);

/* One file that is printed, with `prefix` before each line when it is not NULL. */
struct tail {
    const char *path, *prefix;
    int fd;             /* -1 = not there (yet) */
    off_t at;           /* up to here it was printed */
    struct buf partial; /* with a prefix: a line that has no end yet */
};
/* Opens the file at its last `lines` lines.  A missing one is fine, it may come. */
int tail_open(struct tail *tail, const char *path, const char *prefix, uint64_t lines,
              struct err *err);
void tail_done(struct tail *tail);
/* Prints what is there now.  When the path names another file by now (rotation) that one follows
 * from its beginning; a file that has become shorter goes on from its end. */
int tail_print(struct tail *tail, FILE *to, struct err *err);
/* A last line without an end. */
void tail_flush(struct tail *tail, FILE *to);

#endif
