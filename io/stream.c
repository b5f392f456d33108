/* stream.c - the contract is in stream.h.
 *
 * The owner may free the stream from each of its callbacks, so the four functions that the loop
 * calls hold the memory with enter() and leave(), and whatever calls the owner looks at `freed`
 * afterwards.  What ends the stream outside of reading goes through the `kick` timer, so on_close
 * never comes out of a call of the owner.
 */
#include "io/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_CHUNK = 64 * 1024,
    READS_PER_EVENT = 4, /* then other descriptors have their turn */
    READS_AT_END = 64,   /* what a peer may still say after a write to it failed */
    KEPT_MEMORY = 64 * 1024,
    REASON_MAX = 128,
};

struct stream {
    struct loop *loop;
    struct loop_watch *watch, *write_watch; /* the second only when wfd is another one */
    struct loop_timer *kick, *deadline;
    int rfd, wfd;
    struct buf in, out;
    size_t sent; /* bytes at the beginning of `out` that are written */
    const struct stream_events *events;
    void *context;
    char reason[REASON_MAX]; /* why it is to be closed; "" = it is not */
    bool paused, finishing, waited, closed, freed, busy;
};

static void destroy(struct stream *stream)
{
    buf_done(&stream->in);
    buf_done(&stream->out);
    free(stream);
}

static bool is_open(const struct stream *stream) { return !stream->closed && !stream->freed; }
static void enter(struct stream *stream) { stream->busy = true; }

static void leave(struct stream *stream)
{
    stream->busy = false;
    if (stream->freed)
        destroy(stream);
}

static void close_all(struct stream *stream)
{
    loop_watch_free(stream->watch);
    loop_watch_free(stream->write_watch);
    loop_timer_free(stream->kick);
    loop_timer_free(stream->deadline);
    stream->watch = stream->write_watch = NULL;
    stream->kick = stream->deadline = NULL;
    if (stream->rfd >= 0)
        close(stream->rfd);
    if (stream->wfd >= 0 && stream->wfd != stream->rfd)
        close(stream->wfd);
    stream->rfd = stream->wfd = -1;
    stream->closed = true;
}

static void end(struct stream *stream, const char *reason)
{
    if (stream->closed)
        return;
    /* A copy: the owner may free the stream and still look at the text. */
    char text[REASON_MAX];
    strncpy(text, reason, sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    close_all(stream);
    stream->events->on_close(stream->context, text);
}

static void end_soon(struct stream *stream, const char *reason)
{
    if (stream->closed || stream->reason[0] != '\0')
        return;
    strncpy(stream->reason, reason, sizeof(stream->reason) - 1);
    loop_timer_arm(stream->kick, 0);
}

static size_t queued(const struct stream *stream) { return stream->out.len - stream->sent; }

static void want(struct stream *stream)
{
    if (stream->closed)
        return;
    bool reads = stream->rfd >= 0 && !stream->paused && !stream->finishing;
    bool writes = queued(stream) > 0 && stream->reason[0] == '\0';
    unsigned read_bit = reads ? LOOP_READ : 0, write_bit = writes ? LOOP_WRITE : 0;

    if (stream->write_watch)
        loop_watch_set(stream->write_watch, write_bit);
    else
        read_bit |= write_bit;
    if (stream->watch)
        loop_watch_set(stream->watch, read_bit);
}

/* False when nothing more can be done now, or ever. */
static bool deliver(struct stream *stream)
{
    stream->events->on_data(stream->context, &stream->in);
    return is_open(stream) && !stream->paused && !stream->finishing;
}

/* One read and its delivery; false when there is no more now, or ever. */
static bool read_once(struct stream *stream)
{
    struct buf *in = &stream->in;
    size_t room = in->max - in->len;

    if (room == 0) { /* the owner had paused; here is its last chance */
        if (!deliver(stream))
            return false;
        room = in->max - in->len;
        if (room == 0)
            end(stream, "limit");
        return room > 0;
    }
    if (room > READ_CHUNK)
        room = READ_CHUNK;
    if (!buf_reserve(in, room)) {
        end(stream, strerror(ENOMEM));
        return false;
    }
    ssize_t got = read(stream->rfd, in->data + in->len, room);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return errno == EINTR;
    if (got <= 0) {
        end(stream, got == 0 ? "end of file" : strerror(errno));
        return false;
    }
    in->len += (size_t)got;
    in->data[in->len] = '\0';
    if (!deliver(stream))
        return false;
    if (in->len == in->max) {
        end(stream, "limit");
        return false;
    }
    return true;
}

static void read_some(struct stream *stream, int times)
{
    while (times-- > 0 && read_once(stream))
        continue;
}

/* Writes what the kernel takes; -errno, or how many. */
static ssize_t put(const struct stream *stream, const char *data, size_t len)
{
    ssize_t done;

    do
        done = write(stream->wfd, data, len);
    while (done < 0 && errno == EINTR);
    if (done < 0)
        return errno == EAGAIN ? 0 : -errno;
    return done;
}

static void drop_queue(struct stream *stream)
{
    stream->sent = 0;
    if (stream->out.cap > KEPT_MEMORY)
        buf_done(&stream->out);
    buf_clear(&stream->out);
}

static void queue_is_empty(struct stream *stream)
{
    bool waited = stream->waited;

    drop_queue(stream);
    stream->waited = false;
    want(stream);
    if (stream->finishing)
        end_soon(stream, "end of file");
    else if (waited && stream->events->on_drain)
        stream->events->on_drain(stream->context);
}

static void write_some(struct stream *stream)
{
    while (queued(stream) > 0) {
        ssize_t done = put(stream, stream->out.data + stream->sent, queued(stream));
        if (done < 0) {
            drop_queue(stream);
            end_soon(stream, strerror((int)-done));
            want(stream);
            return;
        }
        if (done == 0)
            return;
        stream->sent += (size_t)done;
    }
    queue_is_empty(stream);
}

static void on_ready(void *context, unsigned events)
{
    struct stream *stream = context;
    bool one = !stream->write_watch;

    enter(stream);
    if (one && (events & LOOP_WRITE) && queued(stream) > 0)
        write_some(stream);
    if (is_open(stream) && (events & (LOOP_READ | LOOP_HANGUP)) && stream->rfd >= 0 &&
        !stream->paused && !stream->finishing)
        read_some(stream, READS_PER_EVENT);
    leave(stream);
}

static void on_writable(void *context, unsigned events)
{
    struct stream *stream = context;

    (void)events;
    enter(stream);
    write_some(stream);
    leave(stream);
}

/* Either the stream is to end, or the owner goes on reading what it has left in `in`. */
static void on_kick(void *context)
{
    struct stream *stream = context;

    enter(stream);
    if (stream->reason[0] == '\0') {
        if (!stream->paused && stream->in.len > 0 && deliver(stream))
            want(stream);
    } else {
        if (stream->rfd >= 0 && !stream->paused && !stream->finishing)
            read_some(stream, READS_AT_END);
        if (is_open(stream))
            end(stream, stream->reason);
    }
    leave(stream);
}

static void on_deadline(void *context)
{
    enter(context);
    end(context, strerror(ETIMEDOUT));
    leave(context);
}

/* Watches that are needed for the descriptors there are. */
static bool add_watches(struct stream *stream, struct err *err)
{
    int first = stream->rfd >= 0 ? stream->rfd : stream->wfd;

    if (first >= 0)
        stream->watch = loop_watch_new(stream->loop, first, on_ready, stream, err);
    if (first >= 0 && !stream->watch)
        return false;
    if (stream->wfd < 0 || stream->wfd == first)
        return true;
    stream->write_watch = loop_watch_new(stream->loop, stream->wfd, on_writable, stream, err);
    return stream->write_watch != NULL;
}

struct stream *stream_new(struct loop *loop, int rfd, int wfd, size_t max_in, size_t max_out,
                          const struct stream_events *events, void *context, struct err *err)
{
    struct stream *stream = calloc(1, sizeof(*stream));

    if (!stream) {
        if (rfd >= 0)
            close(rfd);
        if (wfd >= 0 && wfd != rfd)
            close(wfd);
        err_set(err, ERR_MEMORY, "no memory for a stream");
        return NULL;
    }
    stream->loop = loop;
    stream->rfd = rfd;
    stream->wfd = wfd;
    stream->events = events;
    stream->context = context;
    buf_init(&stream->in, max_in);
    buf_init(&stream->out, max_out);
    stream->kick = loop_timer_new(loop, on_kick, stream);
    stream->deadline = loop_timer_new(loop, on_deadline, stream);
    if (!stream->kick || !stream->deadline)
        err_set(err, ERR_MEMORY, "no memory for a stream");
    if (!stream->kick || !stream->deadline || !add_watches(stream, err)) {
        stream_free(stream);
        return NULL;
    }
    want(stream);
    return stream;
}

/* False without memory; the limit has been looked at. */
static bool enqueue(struct stream *stream, const char *data, size_t len)
{
    struct buf *out = &stream->out;

    if (len > out->max - out->len) {
        buf_consume(out, stream->sent);
        stream->sent = 0;
    }
    buf_put(out, data, len);
    return !out->failed;
}

bool stream_write(struct stream *stream, const void *data, size_t len)
{
    const char *at = data;
    ssize_t done = 0;

    if (!is_open(stream) || stream->wfd < 0 || stream->finishing || stream->reason[0] != '\0' ||
        len > stream->out.max - queued(stream))
        return false;
    bool idle = queued(stream) == 0;
    if (idle)
        done = put(stream, at, len);
    if (done < 0) {
        end_soon(stream, strerror((int)-done));
        want(stream);
    } else if ((size_t)done < len) {
        stream->waited = true;
        if (!enqueue(stream, at + done, len - (size_t)done)) {
            drop_queue(stream);
            end_soon(stream, strerror(ENOMEM));
        }
        if (idle)
            want(stream);
    }
    return true;
}

size_t stream_queued(const struct stream *stream) { return queued(stream); }

void stream_pause(struct stream *stream, bool paused)
{
    bool resumed = stream->paused && !paused;

    stream->paused = paused;
    want(stream);
    if (resumed && !stream->closed && stream->in.len > 0)
        loop_timer_arm(stream->kick, 0);
}

void stream_finish(struct stream *stream, int64_t timeout_ms)
{
    if (!is_open(stream) || stream->finishing)
        return;
    stream->finishing = true;
    want(stream);
    if (queued(stream) == 0)
        end_soon(stream, "end of file");
    else
        loop_timer_arm(stream->deadline, timeout_ms);
}

int stream_fd(const struct stream *stream) { return stream->rfd; }

void stream_free(struct stream *stream)
{
    if (!stream)
        return;
    if (!stream->closed)
        close_all(stream);
    stream->freed = true;
    if (!stream->busy)
        destroy(stream);
}
