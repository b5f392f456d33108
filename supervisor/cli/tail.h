/* tail.h - one log read line by line, from a place in its past on, across rotation and compression.
 *
 * No line is left out or given twice, also when several rotations happen between two looks; what
 * was removed before it could be read is told by `missed`.
 */
#ifndef SUPERVISOR_CLI_TAIL_H
#define SUPERVISOR_CLI_TAIL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "supervisor/cli/chain.h"

enum { TAIL_LINE_MAX = 64 * 1024 * 1024 }; /* a longer line comes in pieces */

struct tail {
    const char *path; /* borrowed */
    struct chain_file file;
    off_t at;       /* up to here a plain file was read */
    struct buf in;  /* read and not given yet, from `given` on */
    size_t given;   /* bytes at the front of `in` that were given */
    size_t scanned; /* bytes of `in` known to have no end of a line */
    uint64_t skip;  /* lines to leave out */
    bool missed;    /* files went before they could be read, or one was cut; the caller clears it */
};

void tail_init(struct tail *tail, const char *path);
void tail_done(struct tail *tail);
/* Where to begin; without one of these at the oldest line.  A log that is not there yet is fine. */
int tail_from_end(struct tail *tail, uint64_t lines, struct err *err);
/* At the first file that was written to at or after this time. */
int tail_from_time(struct tail *tail, int64_t wall_us, struct err *err);

/* 1: *ret is the next line without its newline, valid until the next call; 0: nothing more now. */
int tail_next(struct tail *tail, const char **ret, size_t *ret_len, struct err *err);
/* The beginning of a line that has no end yet; afterwards it counts as given.  False: none. */
bool tail_rest(struct tail *tail, const char **ret, size_t *ret_len);

#endif
