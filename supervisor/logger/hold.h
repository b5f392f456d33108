/* hold.h - the pipe in the store through which every batch goes, so that a SIGKILL loses none of
 * it.
 *
 * Bytes move from a service's pipe into hold (splice: no instruction at which they are nowhere),
 * are looked at without being taken (tee into a scratch pipe of this process, which is read), and
 * are taken out only when they are on file.  Whose they are is the caller's to remember before
 * hold_take.
 */
#ifndef SUPERVISOR_LOGGER_HOLD_H
#define SUPERVISOR_LOGGER_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

struct hold {
    int r, w;                 /* owned; in the store too */
    int scratch_r, scratch_w; /* owned */
    int null;                 /* owned; /dev/null, -1 where there is none */
    bool bare; /* what is in hold cannot be peeked whole: it is read, this once, without the net */
};

/* Takes r and w over in every case. */
int hold_init(struct hold *hold, int r, int w, struct err *err);
void hold_done(struct hold *hold);

size_t hold_bytes(const struct hold *hold);
/* How many bytes of the pipe are whole lines, at most `size`; when it is (nearly) full without the
 * end of a line, all of them.  `data` has room for `size` bytes. */
size_t hold_whole_lines(struct hold *hold, int pipe, char *data, size_t size);
/* Moves up to `max` bytes from the pipe into hold (which is empty).  Bytes moved, 0 at the end of
 * the pipe, -EAGAIN when there is nothing now, or another -errno. */
ssize_t hold_take(struct hold *hold, int pipe, size_t max);
/* Copies all that is in hold, at most `size` bytes; it stays there.  Bytes or -errno. */
ssize_t hold_peek(struct hold *hold, char *data, size_t size);
/* Throws away all that is in hold; may be done again. */
int hold_empty(struct hold *hold);

#endif
