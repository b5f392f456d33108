/* logger.c - the contract is in logger.h. */
#include "supervisor/logger/logger.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervisor/ledger/store.h"
#include "supervisor/ledger/streams.h"
#include "supervisor/logger/compress.h"
#include "supervisor/logger/hold.h"
#include "supervisor/logger/intake.h"

enum {
    EVENTS_PER_TURN = 64,
    NO_SLOT = -1,
    SMALL_TURN = 16 * 1024, /* bytes; a turn that took less was hardly worth its system calls */
    BREATH_US = 200,
};
/* What an epoll event is about: a stream's slot, one of these, or the target of a slot. */
enum { ABOUT_SIGNAL = STREAMS_SLOTS, ABOUT_CHANNEL, ABOUT_POKE, ABOUT_COMPRESS, ABOUT_TARGET };

struct logger {
    struct store store; /* what we inherited and do not use here stays open in it */
    struct streams *table;
    int table_fd, poke, poked, channel, signals, epoll; /* owned */
    struct hold hold;
    struct sink_desk desk;
    struct compress compress;
    struct intake **by_slot; /* [STREAMS_SLOTS] */
    size_t nslots;           /* by_slot is NULL from here on */
    struct intake *stuck;    /* its batch is in hold and can go nowhere: nobody else takes one */
    int64_t due_ms;          /* when the next stream wants to be looked at */
    uint32_t reopens;
    size_t taken;          /* bytes in this turn of the loop */
    int64_t small_turn_ms; /* when the last small turn was */
    bool compress_wanted;  /* a stream may have something to compress */
    bool finishing, leave;
};

static bool watch(struct logger *logger, int fd, uint64_t about)
{
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = about };
    return epoll_ctl(logger->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* The beginning of a line waits in the pipe for its end: only what is new wakes us. */
static bool watch_lines(struct logger *logger, const struct intake *stream, int op)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u64 = stream->sink.slot };
    return epoll_ctl(logger->epoll, op, stream->pipe, &event) == 0;
}

/* Once; the next time wants another call. */
static void watch_target(struct logger *logger, struct intake *stream)
{
    struct epoll_event event = { .events = EPOLLOUT | EPOLLONESHOT,
                                 .data.u64 = ABOUT_TARGET + stream->sink.slot };
    int fd = stream->sink.target.fd;

    if (stream->awaited || fd < 0)
        return;
    stream->awaited = epoll_ctl(logger->epoll, EPOLL_CTL_MOD, fd, &event) == 0 ||
                      epoll_ctl(logger->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void stop_listening(struct logger *logger, struct intake *stream)
{
    /* The store has the same open pipe, so closing our descriptor would not end this. */
    if (stream->polled)
        (void)epoll_ctl(logger->epoll, EPOLL_CTL_DEL, stream->pipe, NULL);
    stream->polled = false;
}

/* Hold cannot be given free: until it can, nobody is listened to. */
static void become_stuck(struct logger *logger, struct intake *stream)
{
    logger->stuck = stream;
    for (size_t slot = 0; slot < logger->nslots; slot++)
        if (logger->by_slot[slot])
            stop_listening(logger, logger->by_slot[slot]);
}

/* Something was refused for want of memory: every stream is looked at again after a while. */
static void look_soon(struct logger *logger)
{
    int64_t at_ms = clock_mono_ms() + STREAM_RETRY_MIN_MS;
    if (at_ms < logger->due_ms)
        logger->due_ms = at_ms;
}

/* After anything that may have changed a stream: epoll set, timers, the one that is stuck. */
static void settle(struct logger *logger, struct intake *stream)
{
    if (stream->stuck && !logger->stuck)
        become_stuck(logger, stream);
    if (stream->other_kind)
        stop_listening(logger, stream);
    stream->other_kind = false;
    if (!intake_listens(stream) || logger->stuck)
        stop_listening(logger, stream);
    else if (!stream->polled)
        stream->polled = sink_is_remote(&stream->sink)
                             ? watch_lines(logger, stream, EPOLL_CTL_ADD)
                             : watch(logger, stream->pipe, stream->sink.slot);
    if (intake_listens(stream) && !logger->stuck && !stream->polled)
        look_soon(logger);
    if (stream->awaits)
        watch_target(logger, stream);
    bool may_retry = !logger->stuck || logger->stuck == stream;
    if (may_retry && stream->retry_ms < logger->due_ms)
        logger->due_ms = stream->retry_ms;
}

static void drop_stream(struct logger *logger, struct intake *stream)
{
    size_t slot = stream->sink.slot;

    stop_listening(logger, stream);
    if (logger->stuck == stream)
        logger->stuck = NULL;
    logger->by_slot[slot] = NULL;
    intake_free(stream);
}

/* The slot is drained for good: gives it back. */
static void close_stream(struct logger *logger, struct intake *stream)
{
    size_t slot = stream->sink.slot;

    intake_end(stream);
    drop_stream(logger, stream);
    streams_release(logger->table, slot);
    uint64_t one = 1;
    ssize_t n = write(logger->poke, &one, sizeof one);
    (void)n;
}

/* Stores what is reached, settles the stream, or closes it when that was asked for. */
static void answer(struct logger *logger, struct intake *stream)
{
    bool done = intake_answer(stream);

    if (done && stream->closing) {
        close_stream(logger, stream);
        return;
    }
    if (!done && stream->polled && sink_is_remote(&stream->sink))
        (void)watch_lines(logger, stream, EPOLL_CTL_MOD); /* the rest of it goes now */
    if (!done && stream->pipe < 0 && stream->order_deadline_ms < logger->due_ms)
        logger->due_ms = stream->order_deadline_ms;
    settle(logger, stream);
}

static struct intake *stream_at(struct logger *logger, size_t slot, bool holds_batch)
{
    if (slot >= STREAMS_SLOTS)
        return NULL;
    if (!logger->by_slot[slot]) {
        logger->by_slot[slot] =
            intake_new(&logger->desk, &logger->hold, logger->poke, slot, holds_batch);
        if (slot >= logger->nslots)
            logger->nslots = slot + 1;
    }
    return logger->by_slot[slot];
}

/* Looks at every slot: after a poke, and at the beginning. */
static void sweep(struct logger *logger)
{
    uint32_t reopens = streams_reopens(logger->table);
    bool reopen = reopens != logger->reopens;

    logger->reopens = reopens;
    logger->finishing = streams_finishing(logger->table);
    logger->compress_wanted = true;
    for (size_t slot = 0; slot < streams_used(logger->table); slot++) {
        if (streams_state(logger->table, slot) == STREAMS_FREE)
            continue;
        struct intake *stream = stream_at(logger, slot, false);
        if (!stream)
            continue; /* no memory; the next poke tries again */
        if (reopen)
            sink_reopen(&stream->sink);
        intake_look(stream, logger->finishing);
        if (reopen && stream->blocked)
            stream->retry_ms = 0;
        answer(logger, stream);
    }
}

/* Streams whose time has come; finds the next time. */
static void run_due(struct logger *logger)
{
    int64_t now_ms = clock_mono_ms();

    logger->due_ms = INT64_MAX;
    for (size_t slot = 0; slot < logger->nslots; slot++) {
        struct intake *stream = logger->by_slot[slot];
        if (!stream)
            continue;
        if (stream->retry_ms <= now_ms && (!logger->stuck || logger->stuck == stream))
            intake_retry(stream);
        answer(logger, stream);
    }
    if (logger->stuck && !logger->stuck->stuck) {
        logger->stuck = NULL;
        sweep(logger); /* the others listen again */
    }
}

static bool watch_compressing(struct logger *logger)
{
    if (watch(logger, logger->compress.pidfd, ABOUT_COMPRESS))
        return true;
    log_warn("cannot watch the compression of a log", "error", strerror(errno), NULL);
    compress_done(&logger->compress);
    return false;
}

static void start_compressing(struct logger *logger)
{
    for (size_t slot = 0; slot < logger->nslots; slot++) {
        struct intake *stream = logger->by_slot[slot];
        if (!stream || !stream->compress_due || !stream->started)
            continue;
        if (stream->compress &&
            compress_start(&logger->compress, slot, stream->sink.path, stream->sink.backups) &&
            watch_compressing(logger))
            return;
        stream->compress_due = false; /* until the next rotation */
    }
    logger->compress_wanted = false;
}

static void on_compressed(struct logger *logger)
{
    size_t slot = logger->compress.slot;

    enum compress_outcome outcome = compress_next(&logger->compress);
    if (outcome == COMPRESS_GOES_ON && watch_compressing(logger))
        return;
    if (outcome != COMPRESS_DONE && logger->by_slot[slot])
        logger->by_slot[slot]->compress_due = false; /* until the next rotation */
    logger->compress_wanted = true;
}

static void on_moved(void *context, size_t slot, uint32_t from, uint32_t to)
{
    struct logger *logger = context;

    compress_moved(&logger->compress, slot, from, to);
    if (from == 0 && logger->by_slot[slot] && logger->by_slot[slot]->compress)
        logger->by_slot[slot]->compress_due = logger->compress_wanted = true;
}

/* The slot of "log.SLOT.r", or -1. */
static ssize_t slot_of(const char *name)
{
    size_t slot = 0;
    int end = 0;

    if (sscanf(name, "log.%5zu.r%n", &slot, &end) != 1 || end == 0 || name[end] != '\0')
        return NO_SLOT;
    return slot < STREAMS_SLOTS ? (ssize_t)slot : NO_SLOT;
}

static void take_pipe(struct logger *logger, size_t slot, int fd)
{
    struct intake *stream = stream_at(logger, slot, false);
    if (!stream) {
        log_error("no memory for a stream, a new logger has to take it", NULL);
        close(fd);
        logger->leave = true; /* the guardian starts another one, which inherits the pipe */
        return;
    }
    intake_give_pipe(stream, fd);
    intake_look(stream, logger->finishing);
    answer(logger, stream);
}

/* The core let go of a pipe.  What is in it is read first; the end of the pipe is told by the pipe.
 */
static void lose_pipe(struct logger *logger, size_t slot)
{
    struct intake *stream = logger->by_slot[slot];
    if (stream && streams_state(logger->table, slot) == STREAMS_FREE)
        drop_stream(logger, stream);
}

static void on_channel(struct logger *logger)
{
    struct store_message message;
    struct err err = { 0 };
    int rc;

    while ((rc = store_receive(logger->channel, &message, &err)) == 1) {
        ssize_t slot = slot_of(message.name);
        if (message.op == STORE_PUT && slot >= 0)
            take_pipe(logger, (size_t)slot, message.fd);
        else if (message.fd >= 0)
            close(message.fd);
        if (message.op == STORE_DROP && slot >= 0)
            lose_pipe(logger, (size_t)slot);
    }
    if (rc < 0 && rc != ERR_UNREACHABLE) /* the next one inherits what the message was about */
        log_error("cannot read what the guardian says, leaving to another logger", "error",
                  err.text, NULL);
    logger->leave |= rc < 0;
}

static void on_poke(struct logger *logger)
{
    uint64_t count;
    ssize_t n = read(logger->poked, &count, sizeof count);
    (void)n; /* whoever poked, we look */
    sweep(logger);
}

static void on_signal(struct logger *logger)
{
    struct signalfd_siginfo info;
    if (read(logger->signals, &info, sizeof info) == (ssize_t)sizeof info)
        logger->leave = true;
}

static void on_stream(struct logger *logger, size_t slot)
{
    struct intake *stream = slot < STREAMS_SLOTS ? logger->by_slot[slot] : NULL;

    if (!stream || !stream->polled || !intake_listens(stream) || logger->stuck)
        return; /* changed by an event before this one */
    size_t taken = intake_turn(stream);
    logger->taken += taken;
    if (taken == 0 && stream->next_pipe >= 0) {
        stop_listening(logger, stream);
        intake_next_pipe(stream);
    }
    if (taken > 0 && stream->polled && sink_is_remote(&stream->sink))
        (void)watch_lines(logger, stream, EPOLL_CTL_MOD); /* there may be more */
    answer(logger, stream);
}

static void on_target(struct logger *logger, size_t slot)
{
    struct intake *stream = slot < STREAMS_SLOTS ? logger->by_slot[slot] : NULL;

    if (!stream || (logger->stuck && logger->stuck != stream))
        return;
    intake_room(stream);
    answer(logger, stream);
    if (logger->stuck && !logger->stuck->stuck)
        logger->due_ms = 0; /* the others listen again */
}

static void dispatch(struct logger *logger, uint64_t about)
{
    switch (about) {
    case ABOUT_SIGNAL:
        on_signal(logger);
        return;
    case ABOUT_CHANNEL:
        on_channel(logger);
        return;
    case ABOUT_POKE:
        on_poke(logger);
        return;
    case ABOUT_COMPRESS:
        on_compressed(logger);
        return;
    default:
        if (about >= ABOUT_TARGET)
            on_target(logger, (size_t)(about - ABOUT_TARGET));
        else
            on_stream(logger, (size_t)about);
    }
}

/* An order to finish: is everything on file? */
static bool finished(struct logger *logger)
{
    if (!logger->finishing)
        return false;
    for (size_t slot = 0; slot < logger->nslots; slot++)
        if (logger->by_slot[slot] && !intake_answer(logger->by_slot[slot]))
            return false;
    for (size_t slot = 0; slot < logger->nslots; slot++)
        if (logger->by_slot[slot])
            intake_end(logger->by_slot[slot]);
    return true;
}

static int wait_ms(const struct logger *logger)
{
    if (logger->due_ms == INT64_MAX)
        return -1;
    int64_t left_ms = logger->due_ms - clock_mono_ms();
    return left_ms < 0 ? 0 : left_ms > 60000 ? 60000 : (int)left_ms;
}

/* A service that writes line by line would have us run once per line.  When small turns come many
 * in a millisecond, the pipes get a moment to fill. */
static void breathe(struct logger *logger)
{
    const struct timespec breath = { .tv_nsec = BREATH_US * 1000 };
    bool small = logger->taken > 0 && logger->taken < SMALL_TURN;

    logger->taken = 0;
    if (!small)
        return;
    int64_t now_ms = clock_mono_ms();
    if (now_ms == logger->small_turn_ms)
        (void)nanosleep(&breath, NULL);
    logger->small_turn_ms = now_ms;
}

static void loop(struct logger *logger)
{
    struct epoll_event events[EVENTS_PER_TURN];

    while (!logger->leave && !finished(logger)) {
        int timeout_ms = wait_ms(logger);
        int n = epoll_wait(logger->epoll, events, EVENTS_PER_TURN, timeout_ms);
        for (int i = 0; i < n && !logger->leave; i++)
            dispatch(logger, events[i].data.u64);
        if (logger->due_ms != INT64_MAX && wait_ms(logger) == 0)
            run_due(logger);
        if (logger->compress_wanted && !compress_busy(&logger->compress))
            start_compressing(logger);
        breathe(logger);
    }
}

/* Finishes what a logger before us was doing when it died. */
static void recover(struct logger *logger)
{
    ssize_t owner = streams_hold_owner(logger->table);
    struct streams_mark mark;
    bool draining = false;

    if (owner < 0) {
        if (hold_bytes(&logger->hold) > 0) {
            log_error("output of nobody in the hold pipe, dropped", NULL);
            (void)hold_empty(&logger->hold);
        }
        return;
    }
    streams_mark(logger->table, (size_t)owner, &mark, &draining);
    if (draining) {
        (void)hold_empty(&logger->hold);
        streams_commit_empty(logger->table, (size_t)owner);
    }
    if (hold_bytes(&logger->hold) == 0)
        return;
    struct intake *stream = stream_at(logger, (size_t)owner, true);
    if (!stream) {
        logger->leave = true;
        return;
    }
    intake_look(stream, false);
    intake_recover(stream);
    settle(logger, stream);
}

static void take_pipes(struct logger *logger)
{
    for (size_t i = 0; i < logger->store.count;) {
        ssize_t slot = slot_of(logger->store.entries[i].name);
        if (slot < 0) {
            i++;
            continue;
        }
        int fd = store_take(&logger->store, logger->store.entries[i].name);
        take_pipe(logger, (size_t)slot, fd);
    }
}

static int open_signals(struct logger *logger, struct err *err)
{
    sigset_t set;

    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of the write */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* of a terminal; it is for the guardian */
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    if (sigprocmask(SIG_SETMASK, &set, NULL) != 0)
        return err_sys(err, errno, "signals");
    logger->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (logger->signals < 0)
        return err_sys(err, errno, "signals");
    return 0;
}

static int open_table(struct logger *logger, struct err *err)
{
    logger->table_fd = store_take(&logger->store, "streams");
    logger->poke = store_take(&logger->store, "poke");
    logger->poked = store_take(&logger->store, "poke.logger");
    logger->channel = store_take(&logger->store, "channel");
    if (logger->table_fd < 0 || logger->poke < 0 || logger->poked < 0 || logger->channel < 0)
        return err_set(err, ERR_NOT_FOUND,
                       "streams, poke, poke.logger or channel is missing in the store");
    logger->table = streams_map(logger->table_fd, err);
    return logger->table ? 0 : (int)err->code;
}

static int open_desk(struct logger *logger, struct err *err)
{
    logger->by_slot = calloc(STREAMS_SLOTS, sizeof(struct intake *));
    logger->desk = (struct sink_desk){
        .table = logger->table,
        .in = malloc(STREAMS_BATCH_MAX),
        .out = malloc(SINK_OUT_MAX),
        .moved = on_moved,
        .context = logger,
    };
    if (!logger->by_slot || !logger->desk.in || !logger->desk.out)
        return err_set(err, ERR_MEMORY, "no memory for the buffers");
    return 0;
}

static int open_loop(struct logger *logger, struct err *err)
{
    logger->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (logger->epoll < 0 || !watch(logger, logger->signals, ABOUT_SIGNAL) ||
        !watch(logger, logger->channel, ABOUT_CHANNEL) || !watch(logger, logger->poked, ABOUT_POKE))
        return err_sys(err, errno, "epoll");
    return 0;
}

static int start(struct logger *logger, int inventory_fd, struct err *err)
{
    int rc = store_inherit(inventory_fd, &logger->store, err);

    if (rc == 0)
        rc = open_signals(logger, err);
    if (rc == 0)
        rc = open_table(logger, err);
    if (rc == 0) {
        int r = store_take(&logger->store, "hold.r"), w = store_take(&logger->store, "hold.w");
        rc = hold_init(&logger->hold, r, w, err);
    }
    if (rc == 0)
        rc = open_desk(logger, err);
    if (rc == 0)
        rc = open_loop(logger, err);
    return rc;
}

static void close_all(struct logger *logger)
{
    int fds[] = { logger->table_fd, logger->poke,    logger->poked,
                  logger->channel,  logger->signals, logger->epoll };

    compress_done(&logger->compress);
    for (size_t slot = 0; slot < logger->nslots; slot++)
        intake_free(logger->by_slot[slot]);
    free(logger->by_slot);
    free(logger->desk.in);
    free(logger->desk.out);
    free(logger->desk.message);
    hold_done(&logger->hold);
    streams_unmap(logger->table);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    store_done(&logger->store);
}

int logger_run(int inventory_fd)
{
    struct err err = { 0 };
    struct logger logger = {
        .table_fd = -1,
        .poke = -1,
        .poked = -1,
        .channel = -1,
        .signals = -1,
        .epoll = -1,
        .hold = { .r = -1, .w = -1, .scratch_r = -1, .scratch_w = -1, .null = -1 },
        .due_ms = INT64_MAX,
    };

    log_open(STDERR_FILENO, LOG_LEVEL_INFO, "logger");
    store_init(&logger.store);
    compress_init(&logger.compress);
    int rc = start(&logger, inventory_fd, &err);
    if (rc == 0) {
        logger.reopens = streams_reopens(logger.table);
        recover(&logger);
        take_pipes(&logger);
        sweep(&logger);
        loop(&logger);
    } else
        log_error("cannot start", "error", err.text, NULL);
    close_all(&logger);
    return rc == 0 ? 0 : 1;
}
