/* stream.h - a byte stream in both directions over non-blocking descriptors, with stated limits.
 *
 * One object for sockets (rfd == wfd) and for a pair of pipes.  What was read is kept in `in`
 * until the owner consumes it; what could not be written at once is queued.
 */
#ifndef IO_STREAM_H
#define IO_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "io/loop.h"

struct stream;
struct stream_events {
    /* New bytes are at the end of *in; the owner buf_consume()s what it has used.  When `in`
     * is full (max_in) and nothing was consumed, the stream closes with reason "limit". */
    void (*on_data)(void *context, struct buf *in);
    /* The write queue has become empty after a write that had to wait.  May be NULL. */
    void (*on_drain)(void *context);
    /* End of file or an error; called once, not after stream_free().  `reason` is "end of file",
     * "limit" or the text of an errno. */
    void (*on_close)(void *context, const char *reason);
};
/* Takes over rfd and wfd (may be the same; -1 = that direction is not used) in every case,
 * also when it fails and returns NULL. */
struct stream *stream_new(struct loop *loop, int rfd, int wfd, size_t max_in, size_t max_out,
                          const struct stream_events *events, void *context, struct err *err);
/* Writes what the kernel takes and queues the rest (copied).  False: that would pass max_out;
 * nothing was written then. */
bool stream_write(struct stream *stream, const void *data, size_t len);
size_t stream_queued(const struct stream *stream);
void stream_pause(struct stream *stream, bool paused); /* stop or go on reading */
/* Closes the stream once everything queued is written, or after timeout_ms. on_close follows. */
void stream_finish(struct stream *stream, int64_t timeout_ms);
int stream_fd(const struct stream *stream); /* rfd; still the stream's */
void stream_free(struct stream *stream);    /* at once, no callback; NULL is fine */

#endif
