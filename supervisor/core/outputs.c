/* outputs.c - the contract is in outputs.h. */
#include "supervisor/core/outputs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/auto.h"
#include "base/log.h"

enum { PIPE_BYTES = 64 * 1024 };

static void settings_of(const struct instance *instance, bool is_err, struct streams_settings *ret)
{
    const struct spec_service *spec = instance->service;
    const struct spec_rotation *rotation =
        is_err ? &spec->set->err_rotation : &spec->set->out_rotation;

    memset(ret, 0, sizeof *ret);
    snprintf(ret->instance, sizeof ret->instance, "%s", instance->name);
    snprintf(ret->output, sizeof ret->output, "%s", is_err ? "stderr" : "stdout");
    snprintf(ret->path, sizeof ret->path, "%s",
             is_err ? instance->stderr_log : instance->stdout_log);
    ret->maxbytes = rotation->maxbytes;
    ret->maxage_s = (rotation->maxage_ms + 999) / 1000;
    ret->backups = (int32_t)rotation->backups;
    ret->format = spec->set->log_format;
    ret->overflow = spec->set->log_overflow;
    ret->compress = spec->set->logfile_compress;
    ret->uid = ret->gid = (uint32_t)-1;
}

static void pipe_name(char *name, size_t size, size_t index, char end)
{
    snprintf(name, size, "log.%zu.%c", index, end);
}

/* Both ends go to the store; the logger gets its end from there.  The read end is non-blocking (an
 * open file of its own), the write end blocks as programs expect. */
static int make_pipe(struct core *core, size_t index, struct err *err)
{
    char name[STORE_NAME_MAX];
    AUTO_CLOSE int reader = -1;
    AUTO_CLOSE int writer = -1;
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_sys(err, errno, "making an output pipe");
    reader = ends[0];
    writer = ends[1];
    (void)fcntl(reader, F_SETPIPE_SZ, PIPE_BYTES);
    if (fcntl(reader, F_SETFL, O_NONBLOCK) != 0)
        return err_sys(err, errno, "making an output pipe non-blocking");
    pipe_name(name, sizeof name, index, 'w');
    if (core_keep(core, name, take_fd(&writer), err) != 0)
        return err_wrap(err, "keeping an output pipe");
    pipe_name(name, sizeof name, index, 'r');
    if (core_keep(core, name, take_fd(&reader), err) != 0)
        return err_wrap(err, "keeping an output pipe");
    return 0;
}

/* Borrowed, or -1. */
static int end_of_pipe(const struct core *core, size_t slot, char end)
{
    char name[STORE_NAME_MAX];

    pipe_name(name, sizeof name, slot, end);
    return store_get(&core->store, name);
}

/* 1: both ends of one pipe are there, what is written will be read.  0: a core that was killed
 * between the two leaves one, or one of another pipe.  In doubt an error, and no other pipe: there
 * may be somebody who writes to this one. */
static int has_pipe(const struct core *core, size_t slot, struct err *err)
{
    int reader = end_of_pipe(core, slot, 'r'), writer = end_of_pipe(core, slot, 'w');
    struct stat read_end, write_end;

    if (reader < 0 || writer < 0)
        return 0;
    if (fstat(reader, &read_end) != 0 || fstat(writer, &write_end) != 0)
        return err_sys(err, errno, "looking at an output pipe");
    return read_end.st_ino == write_end.st_ino;
}

/* The logger may have freed the slot a moment ago, and have let go of the pipe that is still here.
 */
static ssize_t claim(struct core *core, const struct streams_settings *settings)
{
    ssize_t slot = streams_vacant(core->streams);
    char name[STORE_NAME_MAX];

    if (slot < 0)
        return slot;
    for (const char *end = "wr"; *end; end++) {
        pipe_name(name, sizeof name, (size_t)slot, *end);
        core_drop(core, name);
    }
    streams_claim(core->streams, (size_t)slot, settings);
    return slot;
}

/* Pushes settings that differ from what the logger has. */
static void refresh(struct core *core, size_t slot, const struct streams_settings *settings)
{
    streams_set(core->streams, slot, settings);
    core_wake_logger(core);
}

static size_t bytes_in(int pipe)
{
    int n = 0;
    return pipe >= 0 && ioctl(pipe, FIONREAD, &n) == 0 && n > 0 ? (size_t)n : 0;
}

/* Whether what is in the pipe ends inside a line.  Nothing is taken out. */
static bool pipe_ends_inside(int pipe)
{
    AUTO_CLOSE int reader = -1;
    AUTO_CLOSE int writer = -1;
    char data[4096], last = '\n';
    int ends[2];

    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return false;
    reader = ends[0];
    writer = ends[1];
    (void)fcntl(writer, F_SETPIPE_SZ, fcntl(pipe, F_GETPIPE_SZ));
    size_t there = bytes_in(pipe);
    ssize_t seen = tee(pipe, writer, there, SPLICE_F_NONBLOCK), n;
    if (seen < 0 || (size_t)seen < there)
        return false;
    while ((n = read(reader, data, sizeof data)) > 0)
        last = data[n - 1];
    return last != '\n';
}

/* Whether all that was ever written to this stream ends inside a line.  In doubt (the logger cannot
 * write just now) no. */
static bool ends_inside_line(const struct core *core, size_t slot, bool remote)
{
    enum { TRIES = 100 };
    struct streams_mark mark;
    bool draining;

    int pipe = end_of_pipe(core, slot, 'r');
    if (pipe < 0)
        return false;
    for (int i = 0; i < TRIES; i++) {
        if (bytes_in(pipe) > 0)
            return pipe_ends_inside(pipe);
        if (remote)
            return false; /* the beginning of a line stays in the pipe */
        /* A batch is in the pipe, in hold, or in the mark: asked in this order it is not missed. */
        bool held = streams_hold_owner(core->streams) == (ssize_t)slot &&
                    bytes_in(store_get(&core->store, "hold.r")) > 0;
        streams_mark(core->streams, slot, &mark, &draining);
        if (!held)
            return mark.spill_len == 0 && mark.line.midline;
        sched_yield();
    }
    return false;
}

/* A process that ended inside a line: the next one begins a new one.  Not in raw, where bytes are
 * kept as they came. */
static void end_line(struct core *core, const struct streams_settings *settings, size_t slot,
                     int write_end)
{
    bool remote = streams_target(settings->path, NULL) != STREAMS_FILE;
    struct pollfd room = { .fd = write_end, .events = POLLOUT };

    if ((settings->format == STREAMS_RAW && !remote) || !ends_inside_line(core, slot, remote))
        return;
    if (poll(&room, 1, 0) == 1 && (room.revents & POLLOUT) && write(write_end, "\n", 1) < 0)
        log_warn("ending a line", "instance", settings->instance, "error", strerror(errno), NULL);
}

static int open_captured(struct core *core, const struct instance *instance, bool is_err,
                         bool first, int *ret_fd, struct err *err)
{
    struct streams_settings settings;

    settings_of(instance, is_err, &settings);
    ssize_t slot = streams_find(core->streams, settings.instance, settings.output);
    if (slot < 0) {
        slot = claim(core, &settings);
        if (slot < 0)
            return err_set(err, ERR_LIMIT, "no room for another output stream");
        core_wake_logger(core);
    } else {
        refresh(core, (size_t)slot, &settings);
    }
    int rc = has_pipe(core, (size_t)slot, err);
    if (rc == 0) {
        rc = make_pipe(core, (size_t)slot, err);
        core_wake_logger(core);
    }
    if (rc < 0)
        return rc;
    *ret_fd = end_of_pipe(core, (size_t)slot, 'w');
    if (first)
        end_line(core, &settings, (size_t)slot, *ret_fd);
    return 0;
}

static int open_one(struct core *core, const struct instance *instance, bool is_err, bool first,
                    int *ret_fd, struct err *err)
{
    const char *path = is_err ? instance->stderr_log : instance->stdout_log;

    if (strcmp(path, "none") == 0) {
        *ret_fd = -1;
        return 0;
    }
    if (strcmp(path, "inherit") == 0) {
        *ret_fd = is_err ? STDERR_FILENO : STDOUT_FILENO;
        return 0;
    }
    return open_captured(core, instance, is_err, first, ret_fd, err);
}

int outputs_open(struct core *core, const struct instance *instance, bool first, int *ret_out,
                 int *ret_err, struct err *err)
{
    int rc = open_one(core, instance, false, first, ret_out, err);

    if (rc != 0)
        return err_wrap(err, "standard output");
    if (strcmp(instance->stderr_log, "stdout") == 0) {
        *ret_err = *ret_out;
        return 0;
    }
    rc = open_one(core, instance, true, first, ret_err, err);
    return rc != 0 ? err_wrap(err, "standard error") : 0;
}

static bool has_not_moved(const struct streams_mark *before, const struct streams_mark *after)
{
    return before->offset == after->offset && before->bytes_in == after->bytes_in &&
           before->bytes_lost == after->bytes_lost && before->hold_done == after->hold_done &&
           before->spill_len == after->spill_len && before->spill_done == after->spill_done;
}

/* How many bytes were ever written to this stream, while nobody writes: what the logger has taken,
 * what it holds just now, and what is in the pipe. */
static uint64_t stream_end(const struct core *core, size_t slot)
{
    enum { TRIES = 1000 };
    struct streams_mark before, after;
    uint64_t end = 0;
    bool draining;

    int pipe = end_of_pipe(core, slot, 'r');
    for (int i = 0; i < TRIES; i++) {
        streams_mark(core->streams, slot, &before, &draining);
        bool ours = streams_hold_owner(core->streams) == (ssize_t)slot;
        size_t held = ours && !draining ? bytes_in(store_get(&core->store, "hold.r")) : 0;
        end = before.bytes_in + bytes_in(pipe) +
              (held > before.hold_done ? held - before.hold_done : 0);
        /* Nothing has moved meanwhile, or it all would be counted twice, or not at all. */
        bool still = streams_hold_owner(core->streams) == (ssize_t)slot;
        streams_mark(core->streams, slot, &after, &draining);
        if (has_not_moved(&before, &after) && ours == still && held == 0)
            break;
        sched_yield();
    }
    return end;
}

static ssize_t captured_slot(const struct core *core, const struct instance *instance, bool is_err)
{
    const char *path = is_err ? instance->stderr_log : instance->stdout_log;

    if (strcmp(path, "none") == 0 || strcmp(path, "inherit") == 0 || strcmp(path, "stdout") == 0)
        return -1;
    return streams_find(core->streams, instance->name, is_err ? "stderr" : "stdout");
}

int outputs_watch(struct core *core, const struct instance *instance, uint32_t id, uint32_t owner,
                  struct err *err)
{
    bool any = false;

    for (int is_err = 0; is_err < 2; is_err++) {
        ssize_t slot = captured_slot(core, instance, is_err);
        if (slot < 0)
            continue;
        struct streams_watch watch = { .from = stream_end(core, (size_t)slot),
                                       .id = id,
                                       .owner = owner };
        snprintf(watch.pattern, sizeof watch.pattern, "%s", instance->ready.path);
        streams_watch(core->streams, (size_t)slot, &watch);
        any = true;
    }
    return any ? 0
               : err_set(err, ERR_STATE,
                         "ready = log: needs output that is captured, and the log folder cannot be "
                         "written");
}

bool outputs_found(const struct core *core, const struct instance *instance, uint32_t id)
{
    for (int is_err = 0; is_err < 2; is_err++) {
        ssize_t slot = captured_slot(core, instance, is_err);
        if (slot >= 0 && streams_found(core->streams, (size_t)slot, id))
            return true;
    }
    return false;
}

/* The logger drains the pipe before it frees the slot; the pipe must stay in the store until then,
 * so that a logger that is killed in between can go on. */
static void close_slot(struct core *core, size_t slot)
{
    streams_order_close(core->streams, slot);
    core_wake_logger(core);
}

static bool is_free_pipe(const struct core *core, const char *name)
{
    size_t slot;
    char end;

    return sscanf(name, "log.%zu.%c", &slot, &end) == 2 &&
           streams_state(core->streams, slot) == STREAMS_FREE;
}

void outputs_release(struct core *core)
{
    for (size_t i = core->store.count; i > 0; i--) {
        char name[STORE_NAME_MAX];

        snprintf(name, sizeof name, "%s", core->store.entries[i - 1].name);
        if (is_free_pipe(core, name))
            core_drop(core, name);
    }
}

static const char *const output_names[] = { "stdout", "stderr" };

void outputs_close(struct core *core, const char *instance)
{
    for (size_t i = 0; i < 2; i++) {
        ssize_t slot = streams_find(core->streams, instance, output_names[i]);
        if (slot >= 0)
            close_slot(core, (size_t)slot);
    }
}

void outputs_update(struct core *core, const struct instance *instance)
{
    struct streams_settings settings;

    for (size_t i = 0; i < 2; i++) {
        ssize_t slot = streams_find(core->streams, instance->name, output_names[i]);
        if (slot < 0)
            continue;
        settings_of(instance, i == 1, &settings);
        if (settings.path[0] == '/' || streams_target(settings.path, NULL) != STREAMS_FILE)
            refresh(core, (size_t)slot, &settings);
    }
}

void outputs_ask(struct core *core, const char *instance)
{
    for (size_t i = 0; i < 2; i++) {
        ssize_t slot = streams_find(core->streams, instance, output_names[i]);
        if (slot >= 0)
            streams_order_drain(core->streams, (size_t)slot);
    }
    core_wake_logger(core);
}

static bool is_target(const char *logfile)
{
    return logfile && streams_target(logfile, NULL) != STREAMS_FILE;
}

void outputs_ended(struct core *core, const char *instance, const struct spec_service *spec)
{
    struct streams_settings settings;

    if (!is_target(spec->out.logfile) && !is_target(spec->err.logfile))
        return;
    for (size_t i = 0; i < 2; i++) {
        ssize_t slot = streams_find(core->streams, instance, output_names[i]);
        uint64_t none = UINT64_MAX;
        if (slot < 0 || !streams_settings(core->streams, (size_t)slot, &none, &settings) ||
            streams_target(settings.path, NULL) == STREAMS_FILE)
            continue;
        streams_order_drain(core->streams, (size_t)slot);
        core_wake_logger(core);
    }
}

bool outputs_settled(struct core *core, const char *instance)
{
    for (size_t i = 0; i < 2; i++) {
        ssize_t slot = streams_find(core->streams, instance, output_names[i]);
        if (slot >= 0 && !streams_drained(core->streams, (size_t)slot, 0))
            return false;
    }
    return true;
}

/* Offset of the beginning of the last `lines` lines of text. */
static size_t tail_begin(const char *text, size_t len, size_t lines)
{
    size_t at = len > 0 && text[len - 1] == '\n' ? len - 1 : len;

    while (at > 0) {
        if (text[at - 1] == '\n' && --lines == 0)
            break;
        at--;
    }
    return at;
}

char *outputs_tail(const char *path, size_t lines, size_t max)
{
    AUTO_CLOSE int fd =
        path && path[0] == '/' ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || lines == 0)
        return strdup("");
    size_t want = (uint64_t)st.st_size < max ? (size_t)st.st_size : max;
    char *text = malloc(want + 1);
    if (!text)
        return NULL;
    ssize_t got = pread(fd, text, want, st.st_size - (off_t)want);
    size_t len = got > 0 ? (size_t)got : 0;
    size_t begin = tail_begin(text, len, lines);
    memmove(text, text + begin, len - begin);
    text[len - begin] = '\0';
    return text;
}

static int open_log(const char *path, struct stat *st)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    return fd < 0 || fstat(fd, st) != 0 || !S_ISREG(st->st_mode) ? -1 : take_fd(&fd);
}

void outputs_end(const char *path, struct outputs_cursor *ret)
{
    struct stat st;
    AUTO_CLOSE int fd = path && path[0] == '/' ? open_log(path, &st) : -1;

    *ret = (struct outputs_cursor){ 0 };
    if (fd >= 0)
        *ret = (struct outputs_cursor){ st.st_ino, (uint64_t)st.st_size };
}

/* From the cursor on, without a line that is not over yet; it moves behind what was read. */
static char *read_more(int fd, struct outputs_cursor *cursor, size_t max)
{
    char *text = malloc(max + 1), *end;

    if (!text)
        return NULL;
    ssize_t got = pread(fd, text, max, (off_t)cursor->at);
    size_t len = got > 0 ? (size_t)got : 0;
    end = memrchr(text, '\n', len);
    if (end || len < max)
        len = end ? (size_t)(end - text) + 1 : 0;
    text[len] = '\0';
    cursor->at += len;
    return text;
}

char *outputs_more(const char *path, struct outputs_cursor *cursor, size_t max, bool *missed)
{
    char before[STREAMS_PATH_MAX + 4];
    struct stat st = { 0 }, old;
    AUTO_CLOSE int fd = path && path[0] == '/' ? open_log(path, &st) : -1;

    *missed = false;
    if (fd < 0)
        return strdup("");
    if (st.st_ino == cursor->ino && (uint64_t)st.st_size >= cursor->at)
        return read_more(fd, cursor, max);
    snprintf(before, sizeof before, "%.*s.1", STREAMS_PATH_MAX, path);
    AUTO_CLOSE int rest = cursor->ino ? open_log(before, &old) : -1;
    bool found = rest >= 0 && old.st_ino == cursor->ino;
    char *text = found ? read_more(rest, cursor, max) : NULL;
    if (text && *text)
        return text;
    free(text);
    *missed = cursor->ino && !found;
    *cursor = (struct outputs_cursor){ .ino = st.st_ino };
    return read_more(fd, cursor, max);
}
