/* squeeze.h - zstd in streams, one frame per content, with limits against bombs.
 *
 * The objects can be used for many contents, one after another; each content is one zstd frame.
 */
#ifndef DEPLOYCTL_WIRE_SQUEEZE_H
#define DEPLOYCTL_WIRE_SQUEEZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

enum { SQUEEZE_LEVEL = 3, SQUEEZE_WINDOW_LOG_MAX = 23 };

struct squeeze;
struct squeeze *squeeze_new(struct err *err);
void squeeze_free(struct squeeze *squeeze);
void squeeze_begin(struct squeeze *squeeze); /* forgets an unfinished frame */
/* Appends what comes out to *out; `last` ends the frame.  ERR_LIMIT when *out is full. */
int squeeze_add(struct squeeze *squeeze, const void *data, size_t len, bool last, struct buf *out,
                struct err *err);

struct unsqueeze;
typedef int unsqueeze_sink(void *context, const void *data, size_t len, struct err *err);
struct unsqueeze *unsqueeze_new(struct err *err);
void unsqueeze_free(struct unsqueeze *unsqueeze);
/* `max`: at most so many bytes may come out of the frame that begins now. */
void unsqueeze_begin(struct unsqueeze *unsqueeze, uint64_t max);
/* Feeds a piece; `sink` gets what comes out (its negative result is returned as it is).
 * *ret_ended: the frame is complete.  ERR_CORRUPT, also for bytes behind the end; ERR_LIMIT
 * beyond `max`. */
int unsqueeze_add(struct unsqueeze *unsqueeze, const void *data, size_t len, unsqueeze_sink *sink,
                  void *context, bool *ret_ended, struct err *err);

/* Whole texts; `out` limits by its own max. */
int squeeze_all(const void *data, size_t len, struct buf *out, struct err *err);
int unsqueeze_all(const void *data, size_t len, struct buf *out, struct err *err);

#endif
