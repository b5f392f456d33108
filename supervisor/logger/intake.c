/* intake.c - the contract is in intake.h. */
#include "supervisor/logger/intake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervisor/logger/compress.h"

struct intake *intake_new(struct sink_desk *desk, struct hold *hold, int poke, size_t slot,
                          bool holds_batch)
{
    struct intake *stream = calloc(1, sizeof *stream);
    if (!stream)
        return NULL;
    stream->hold = hold;
    stream->poke = poke;
    stream->pipe = stream->next_pipe = -1;
    stream->retry_ms = INT64_MAX;
    sink_init(&stream->sink, desk, slot, holds_batch);
    if (stream->sink.mark.spill_len > 0) {
        stream->blocked = true;
        stream->retry_ms = 0;
    }
    struct streams_progress progress;
    streams_progress(desk->table, slot, &progress);
    stream->error = progress.error;
    stream->told_lost = streams_told(desk->table, slot).bytes_lost;
    return stream;
}

void intake_free(struct intake *stream)
{
    if (!stream)
        return;
    sink_done(&stream->sink);
    watchword_done(&stream->watchword);
    if (stream->pipe >= 0)
        close(stream->pipe);
    if (stream->next_pipe >= 0)
        close(stream->next_pipe);
    free(stream);
}

static struct streams *table_of(const struct intake *stream) { return stream->sink.desk->table; }

void intake_poke(const struct intake *stream)
{
    uint64_t one = 1;
    ssize_t n = write(stream->poke, &one, sizeof one);
    (void)n; /* full: the core has been woken often enough */
}

static void set_error(struct intake *stream, int error)
{
    if (stream->error == error)
        return;
    if (error)
        log_error("cannot write the log", "instance", stream->sink.instance, "output",
                  stream->sink.output, "file", stream->sink.path, "error", strerror(error), NULL);
    else
        log_info("the log can be written again", "instance", stream->sink.instance, "output",
                 stream->sink.output, "file", stream->sink.path, NULL);
    stream->error = error;
    streams_error(table_of(stream), stream->sink.slot, error);
    intake_poke(stream);
}

static size_t pipe_bytes(int fd)
{
    int n = 0;
    return fd >= 0 && ioctl(fd, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

static bool same_pipe(int a, int b)
{
    struct stat x, y;
    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* An order stands for what is in the pipe now. */
static void set_target(struct intake *stream)
{
    stream->drain_target =
        stream->sink.mark.bytes_in + pipe_bytes(stream->pipe) + pipe_bytes(stream->next_pipe);
    stream->order_deadline_ms = clock_mono_ms() + STREAM_PIPE_WAIT_MS;
}

void intake_give_pipe(struct intake *stream, int fd)
{
    if (stream->pipe < 0)
        stream->pipe = fd;
    else if (same_pipe(stream->pipe, fd))
        close(fd);
    else {
        if (stream->next_pipe >= 0)
            close(stream->next_pipe);
        stream->next_pipe = fd;
    }
    stream->ended = false;
    if (stream->draining || stream->closing || stream->finishing)
        set_target(stream); /* an order that was faster than the pipe stands for what is in it */
}

static void load_settings(struct intake *stream)
{
    struct streams_settings settings;
    uint64_t sequence = stream->settings;

    if (!streams_settings(table_of(stream), stream->sink.slot, &sequence, &settings))
        return;
    bool remote = sink_is_remote(&stream->sink);
    if (sink_settings(&stream->sink, &settings) != 0)
        return; /* no memory: the next look tries again */
    stream->other_kind = remote != sink_is_remote(&stream->sink);
    stream->settings = sequence;
    stream->drop_old = settings.overflow == STREAMS_DROP_OLD;
    stream->compress = settings.compress == STREAMS_COMPRESS_ZSTD;
    if (stream->blocked)
        stream->retry_ms = 0;
    int rc = sink_ready(&stream->sink);
    if (rc != 0 || !stream->blocked)
        set_error(stream, -rc);
    if (!stream->started && !sink_is_remote(&stream->sink))
        compress_tidy(stream->sink.path);
    stream->compress_due |= stream->compress && !stream->started;
    stream->started = true;
}

void intake_look(struct intake *stream, bool finish)
{
    struct streams *table = table_of(stream);
    size_t slot = stream->sink.slot;
    enum streams_state state = streams_state(table, slot);

    if (state == STREAMS_FREE)
        return;
    load_settings(stream);
    uint64_t order = streams_drain_ordered(table, slot);
    bool drain = order > streams_drain_done(table, slot) && order > stream->drain_order;
    bool close_now = state == STREAMS_CLOSING && !stream->closing;
    if (!drain && !close_now && !(finish && !stream->finishing))
        return;
    if (drain) {
        stream->drain_order = order;
        stream->draining = true;
    }
    stream->closing |= close_now;
    stream->finishing |= finish;
    if (stream->blocked)
        stream->retry_ms = 0;
    set_target(stream);
}

bool intake_listens(const struct intake *stream)
{
    return stream->pipe >= 0 && stream->started && !stream->ended && !stream->stuck &&
           !stream->resting && (!stream->blocked || (stream->drop_old && !stream->patient));
}

static void block(struct intake *stream, int64_t delay_ms)
{
    stream->blocked = true;
    stream->retry_delay_ms = delay_ms;
    stream->retry_ms = clock_mono_ms() + delay_ms;
}

/* A target that has no room is no error at once: its socket tells when it has.  With drop-old the
 * service is kept waiting for a moment only. */
static void await_target(struct intake *stream)
{
    bool again = stream->blocked && stream->awaits;

    stream->patient = !again && stream->drop_old;
    stream->awaits = true;
    block(stream, stream->patient ? STREAM_SLOW_MS : STREAM_RETRY_MAX_MS);
    stream->retry_delay_ms = 0;
}

static void block_after_error(struct intake *stream, int rc)
{
    int64_t delay_ms = stream->retry_delay_ms * 2;

    if (rc == -EAGAIN) {
        await_target(stream);
        return;
    }
    stream->awaits = stream->patient = false;

    if (!stream->blocked || delay_ms < STREAM_RETRY_MIN_MS)
        delay_ms = STREAM_RETRY_MIN_MS;
    if (delay_ms > STREAM_RETRY_MAX_MS)
        delay_ms = STREAM_RETRY_MAX_MS;
    block(stream, delay_ms);
}

/* Moves what is left of the batch in hold into the spill area; what was there is lost (drop-old).
 */
static int spill(struct intake *stream, const char *data, size_t len)
{
    struct sink *sink = &stream->sink;
    struct streams_mark next = sink->mark;
    uint32_t left = (uint32_t)len - next.hold_done;

    if (next.spill_len > 0 && !stream->drop_old)
        return -ENOSPC;
    next.bytes_lost += next.spill_len - next.spill_done;
    next.spill_area = (uint8_t)((next.spill_area + 1u) % STREAMS_SPILL_AREAS);
    int rc = streams_spill_write(table_of(stream), sink->slot, next.spill_area,
                                 data + next.hold_done, left);
    if (rc != 0)
        return rc;
    next.bytes_in += left;
    next.spill_len = left;
    next.spill_done = next.hold_done = 0;
    next.ending = sink->dirty;
    sink_commit(sink, &next, true);
    return 0;
}

static void empty_hold(struct intake *stream)
{
    int rc = hold_empty(stream->hold);
    if (rc != 0) /* cannot be: both ends are ours; the next start would empty it again */
        log_error("cannot empty the hold pipe", "error", strerror(-rc), NULL);
    streams_commit_empty(table_of(stream), stream->sink.slot);
}

/* The batch that is in hold: on file, or spilt. */
static void put_held(struct intake *stream)
{
    char *in = stream->sink.desk->in;
    ssize_t len = hold_peek(stream->hold, in, STREAMS_BATCH_MAX);
    int64_t begin_ms = stream->drop_old ? clock_mono_ms() : 0;

    if (len == 0)
        return;
    int rc = len < 0 ? (int)len : 0;
    uint32_t done = stream->sink.mark.hold_done;
    if (len > (ssize_t)done &&
        watchword_look(&stream->watchword, table_of(stream), stream->sink.slot,
                       stream->sink.mark.bytes_in, in + done, (size_t)len - done))
        intake_poke(stream);
    if (rc == 0 && !stream->blocked)
        rc = sink_put(&stream->sink, SINK_HOLD, in, (size_t)len);
    if (rc != 0 && rc != -EAGAIN)
        set_error(stream, -rc);
    if (len > 0 && (rc != 0 || stream->blocked)) {
        int spilt = spill(stream, in, (size_t)len);
        stream->stuck = spilt != 0;
        if (rc != 0 || spilt != 0)
            block_after_error(stream, rc);
    }
    if (len < 0 || stream->stuck) {
        stream->stuck = true;
        block_after_error(stream, rc);
        return;
    }
    empty_hold(stream);
    if (rc != 0 || stream->blocked)
        return;
    set_error(stream, 0);
    if (stream->drop_old) {
        int64_t took_ms = clock_mono_ms() - begin_ms;
        if (took_ms >= STREAM_SLOW_MS)
            block(stream, took_ms < STREAM_RETRY_MAX_MS ? took_ms : STREAM_RETRY_MAX_MS);
    }
}

void intake_next_pipe(struct intake *stream)
{
    if (stream->next_pipe < 0)
        return;
    close(stream->pipe);
    stream->pipe = stream->next_pipe;
    stream->next_pipe = -1;
    stream->ended = false;
}

/* A message of a target is a line: what has no end yet stays in the pipe, unless it must go. */
static size_t batch_size(struct intake *stream)
{
    bool all = !sink_is_remote(&stream->sink) || stream->draining || stream->closing ||
               stream->finishing || stream->next_pipe >= 0;

    return all ? STREAMS_BATCH_MAX
               : hold_whole_lines(stream->hold, stream->pipe, stream->sink.desk->in,
                                  STREAMS_BATCH_MAX);
}

size_t intake_turn(struct intake *stream)
{
    size_t size = batch_size(stream);
    if (size == 0)
        return 0;
    streams_hold_own(table_of(stream), stream->sink.slot);
    ssize_t n = hold_take(stream->hold, stream->pipe, size);
    if (n > 0) {
        put_held(stream);
        return (size_t)n;
    }
    stream->ended = n == 0;
    if (n < 0 && n != -EAGAIN) { /* the pipe is as it was; it is read again after a while */
        log_error("cannot take output from its pipe", "instance", stream->sink.instance, "error",
                  strerror((int)-n), NULL);
        stream->resting = true;
        stream->retry_ms = clock_mono_ms() + STREAM_RETRY_MIN_MS;
    }
    return 0;
}

void intake_recover(struct intake *stream)
{
    bool blocked = stream->blocked;

    /* A stream that blocked with bytes in its spill did not take more; what is in hold is newer, so
     * the spill goes first. */
    if (blocked)
        intake_retry(stream);
    put_held(stream);
}

static int put_spilt(struct intake *stream)
{
    struct sink *sink = &stream->sink;
    size_t len = sink->mark.spill_len;
    int rc = streams_spill_read(table_of(stream), sink->slot, sink->mark.spill_area, sink->desk->in,
                                len);
    if (rc == 0)
        rc = sink_put(sink, SINK_SPILL, sink->desk->in, len);
    if (rc == 0)
        streams_spill_drop(table_of(stream), sink->slot);
    else if (rc != -EAGAIN)
        set_error(stream, -rc);
    return rc;
}

/* Bytes were dropped, and that is over now: the core tells how many. */
static void tell_lost(struct intake *stream)
{
    uint64_t lost = stream->sink.mark.bytes_lost;

    if (lost == stream->told_lost)
        return;
    stream->told_lost = lost;
    streams_trouble(table_of(stream));
    intake_poke(stream);
}

void intake_retry(struct intake *stream)
{
    bool waited_long = stream->awaits && !stream->patient && clock_mono_ms() >= stream->retry_ms;
    uint32_t before = stream->sink.mark.spill_done;

    stream->retry_ms = INT64_MAX;
    stream->resting = false;
    if (stream->stuck) {
        stream->stuck = false;
        put_held(stream);
        if (stream->stuck)
            return;
    }
    int rc = stream->sink.mark.spill_len > 0 ? put_spilt(stream) : 0;
    if (rc != 0) {
        if (rc == -EAGAIN && stream->sink.mark.spill_done != before)
            stream->awaits = false; /* it moves */
        else if (rc == -EAGAIN && waited_long)
            set_error(stream, ETIMEDOUT);
        block_after_error(stream, rc);
        return;
    }
    stream->blocked = stream->awaits = stream->patient = false;
    stream->retry_delay_ms = 0;
    set_error(stream, 0);
    tell_lost(stream);
}

void intake_room(struct intake *stream)
{
    stream->awaited = false;
    if (stream->awaits && stream->blocked)
        intake_retry(stream);
}

static bool reached(const struct intake *stream)
{
    const struct streams_mark *mark = &stream->sink.mark;

    if (stream->stuck || mark->spill_len > 0)
        return false;
    if (stream->pipe < 0)
        return clock_mono_ms() >= stream->order_deadline_ms;
    return stream->ended || mark->bytes_in >= stream->drain_target;
}

bool intake_answer(struct intake *stream)
{
    if (!stream->draining && !stream->closing && !stream->finishing)
        return true;
    if (!reached(stream))
        return false;
    if (stream->draining) {
        stream->draining = false;
        streams_drain_set(table_of(stream), stream->sink.slot, stream->drain_order);
        intake_poke(stream);
    }
    return true;
}

void intake_end(struct intake *stream) { sink_end_line(&stream->sink); }
