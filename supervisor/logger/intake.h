/* intake.h - one stream: its pipe, its batches through hold, what it does while its file cannot be
 * written, and the orders it has to answer.
 *
 * A stream whose file cannot be written must not keep hold, which all streams need.  So its batch
 * goes from hold into the stream's *spill area* in shared memory (STREAMS_BATCH_MAX bytes), by the
 * same protocol: written beside, committed, then hold is emptied.  With `block` its pipe is left
 * alone from then on, until a retry has written the spill; the service's pipe fills and the service
 * waits.  With `drop-old` its pipe is read on, and each batch takes the place of the one before,
 * which is counted as lost.  A disk that is slow (SLOW_MS for one batch) is treated like that for
 * as long as the batch took, so that a `drop-old` service does not wait for it more than half of
 * its time.
 */
#ifndef SUPERVISOR_LOGGER_INTAKE_H
#define SUPERVISOR_LOGGER_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervisor/logger/hold.h"
#include "supervisor/logger/sink.h"
#include "supervisor/logger/watchword.h"

enum {
    STREAM_RETRY_MIN_MS = 200,
    STREAM_RETRY_MAX_MS = 5000,
    STREAM_SLOW_MS = 200, /* drop-old: the service waits no longer than that */
    STREAM_PIPE_WAIT_MS =
        5000, /* an order for a stream whose pipe has not come yet waits so long */
};

struct intake {
    struct sink sink;
    struct watchword watchword;
    struct hold *hold;   /* borrowed */
    int poke;            /* borrowed; eventfd that wakes the core */
    int pipe, next_pipe; /* owned; -1 = none.  The next one follows when the first is empty */
    uint64_t settings;   /* sequence of the settings in force */
    bool started;        /* the slot is in use and its settings are known */
    bool drop_old;
    bool ended;   /* nobody can write to the pipe any more */
    bool polled;  /* kept by the loop: the pipe is in its epoll set */
    bool blocked; /* until retry_ms */
    bool resting; /* the pipe could not be read: until retry_ms */
    bool awaits;  /* a target has no room; kept by the loop: `awaited`, its socket is in epoll */
    bool awaited;
    bool patient;       /* it has not been waited for long: nothing is dropped yet */
    uint64_t told_lost; /* bytes lost when the core was last poked about it */
    bool stuck; /* even the spill failed: the batch is in hold still, nobody else may use it */
    bool compress, compress_due;
    bool other_kind;  /* a file before, a target now, or the other way round */
    int error;        /* errno told to the core */
    int64_t retry_ms; /* monotonic; INT64_MAX = none */
    int64_t retry_delay_ms;
    bool draining, closing, finishing;  /* orders to answer ... */
    uint64_t drain_order, drain_target; /* ... when bytes_in has come so far */
    int64_t order_deadline_ms;          /* for a pipe that never comes */
};

struct intake *intake_new(struct sink_desk *desk, struct hold *hold, int poke, size_t slot,
                          bool holds_batch);
void intake_free(struct intake *stream); /* NULL is fine; the slot stays as it is */

/* The read end of the stream's pipe; taken over. */
void intake_give_pipe(struct intake *stream, int fd);
/* Looks at the slot: new settings, orders to drain or to close.  `finish`: everything is to be
 * drained now.  Opens the file when the stream is new. */
void intake_look(struct intake *stream, bool finish);
/* Should the pipe be read? */
bool intake_listens(const struct intake *stream);
/* Takes one batch from the pipe and writes it.  Returns its size, 0: nothing was there (for a
 * target: no whole line, and no order asks for the rest). */
size_t intake_turn(struct intake *stream);
/* The pipe is empty (intake_turn found nothing) and not listened to: goes over to the next one, if
 * any.
 */
void intake_next_pipe(struct intake *stream);
/* After start: writes the batch that a logger before us left in hold. */
void intake_recover(struct intake *stream);
/* When retry_ms has come. */
void intake_retry(struct intake *stream);
/* Stores drain numbers that are reached.  True: nothing more is to be done for any order. */
bool intake_answer(struct intake *stream);
/* The target that is awaited may have room. */
void intake_room(struct intake *stream);
/* Ends the line under way (the stream is closed, or the logger leaves for good). */
void intake_end(struct intake *stream);
/* Wakes the core. */
void intake_poke(const struct intake *stream);

#endif
