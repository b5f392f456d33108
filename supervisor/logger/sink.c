/* sink.c - the contract is in sink.h. */
#include "supervisor/logger/sink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "supervisor/logger/rotate.h"

enum { NAME_MAX_BYTES = STREAMS_PATH_MAX + 32 };

void sink_init(struct sink *sink, struct sink_desk *desk, size_t slot, bool dirty)
{
    bool draining;

    *sink = (struct sink){ .desk = desk, .slot = slot };
    file_init(&sink->file);
    target_init(&sink->target);
    streams_mark(desk->table, slot, &sink->mark, &draining);
    sink->dirty = dirty || sink->mark.ending;
}

bool sink_is_remote(const struct sink *sink) { return sink->target.kind != STREAMS_FILE; }

void sink_done(struct sink *sink)
{
    file_close(&sink->file);
    target_close(&sink->target);
    free(sink->path);
    free(sink->instance);
    sink->path = sink->instance = NULL;
}

void sink_commit(struct sink *sink, const struct streams_mark *mark, bool draining)
{
    sink->mark = *mark;
    streams_commit(sink->desk->table, sink->slot, mark, draining);
}

static void stamp(struct sink *sink)
{
    char now[CLOCK_TEXT_MAX] = "";
    if (sink->kind != STREAMS_RAW || sink->mark.bytes_lost > sink->mark.lost_told)
        clock_text(clock_wall_us(), now);
    format_init(&sink->desk->format, sink->kind, sink->instance ? sink->instance : "", sink->output,
                now);
}

/* Leaves the file: the next one begins with nothing known of it. */
static void forget_file(struct sink *sink)
{
    sink_end_line(sink);
    struct streams_mark next = sink->mark;
    next.offset = next.dev = next.ino = 0;
    next.step = 0;
    next.line = (struct streams_line){ 0 };
    file_close(&sink->file);
    sink->dirty = false;
    sink_commit(sink, &next, false);
}

int sink_settings(struct sink *sink, const struct streams_settings *settings)
{
    char *path = strdup(settings->path), *instance = strdup(settings->instance);
    if (!path || !instance) {
        free(path);
        free(instance);
        return -ENOMEM;
    }
    bool moved = !sink->path || strcmp(sink->path, path) != 0;
    if (sink->path && moved)
        forget_file(sink);
    else if (sink->path && (int32_t)sink->kind != settings->format)
        sink_end_line(sink);
    free(sink->path);
    free(sink->instance);
    if (moved)
        target_close(&sink->target);
    sink->target.kind = streams_target(path, NULL);
    sink->path = path;
    sink->instance = instance;
    memcpy(sink->output, settings->output, sizeof sink->output);
    sink->kind = sink->target.format = (enum streams_format)settings->format;
    sink->maxbytes = settings->maxbytes;
    sink->maxage_s = settings->maxage_s;
    sink->age_due_s = 0;
    sink->backups = settings->backups < 0                    ? 0
                    : settings->backups > ROTATE_BACKUPS_MAX ? ROTATE_BACKUPS_MAX
                                                             : (uint32_t)settings->backups;
    sink->uid = settings->uid;
    sink->gid = settings->gid;
    return 0;
}

void sink_reopen(struct sink *sink)
{
    file_close(&sink->file);
    target_close(&sink->target);
}

/* Says in the mark that there may be bytes behind the offset although hold has none of this stream.
 */
static void announce(struct sink *sink, bool ending)
{
    struct streams_mark next = sink->mark;
    next.ending = ending;
    sink_commit(sink, &next, false);
}

/* Writes bytes that no batch stands behind: after a kill they are cut off and written again or not,
 * but never half there. */
static int put_ending(struct sink *sink, struct streams_mark *next, const char *data, size_t len)
{
    announce(sink, true);
    int rc = file_write(&sink->file, data, len, sink->mark.offset);
    if (rc == 0) {
        next->offset += len;
        return 0;
    }
    sink->dirty = file_truncate(&sink->file, sink->mark.offset) != 0;
    announce(sink, sink->dirty);
    return rc;
}

void sink_end_line(struct sink *sink)
{
    struct streams_mark next = sink->mark;

    if (!next.line.midline || sink->kind == STREAMS_RAW || sink->file.fd < 0 || sink->dirty)
        return;
    stamp(sink);
    size_t len = format_end(&sink->desk->format, &next.line, sink->desk->out);
    next.ending = 0;
    if (len > 0 && put_ending(sink, &next, sink->desk->out, len) == 0)
        sink_commit(sink, &next, false);
}

static void say(const struct sink *sink, const char *message, int rc)
{
    log_warn(message, "instance", sink->instance ? sink->instance : "", "output", sink->output,
             "file", sink->path ? sink->path : "", rc ? "error" : NULL, rc ? strerror(-rc) : NULL,
             NULL);
}

/* Makes mark and file agree.  Bytes behind the offset are ours and uncommitted if we are dirty,
 * else somebody else's; a file that is too short was cut by somebody. */
static int adopt(struct sink *sink)
{
    struct file *file = &sink->file;
    struct streams_mark next = sink->mark;
    bool ours = next.dev == file->dev && next.ino == file->ino;

    if (ours && sink->dirty && file->size > next.offset) {
        int rc = file_truncate(file, next.offset);
        if (rc != 0)
            return rc;
        file->size = next.offset;
    }
    sink->dirty = false;
    if (ours && !next.ending && (file->size == next.offset || !file->regular))
        return 0;
    if (ours && file->regular && file->size < next.offset) {
        next.cuts++;
        say(sink, "the log file was cut by somebody else, going on at its end", 0);
    }
    bool fresh = next.dev == 0 && file->size == 0; /* as our rotation leaves it */
    if (!fresh && !(ours && file->size == next.offset))
        next.line = (struct streams_line){ .broken = !file_ends_in_line(file) };
    next.offset = file->size;
    next.dev = file->dev;
    next.ino = file->ino;
    next.ending = 0;
    sink_commit(sink, &next, false);
    return 0;
}

static int move_old(const struct sink *sink, uint32_t from, uint32_t to, const char *suffix)
{
    char old[NAME_MAX_BYTES], new[NAME_MAX_BYTES];

    if (!rotate_name(old, sizeof old, sink->path, from, suffix) ||
        !rotate_name(new, sizeof new, sink->path, to, suffix))
        return -ENAMETOOLONG;
    int rc = to > 0 ? rename(old, new) : unlink(old);
    return rc == 0 || errno == ENOENT ? 0 : -errno;
}

/* The file itself becomes PATH.1, unless it was that already when we were killed and another one
 * has its name now.  Which one it is must be known: the other would be moved over ours. */
static int move_file(struct sink *sink)
{
    struct file now;

    file_init(&now);
    int rc = file_open(&now, sink->path, false, 0, 0);
    if (rc != 0)
        return rc == -ENOENT ? 0 : rc;
    bool ours = now.dev == sink->mark.dev && now.ino == sink->mark.ino;
    file_close(&now);
    return ours ? move_old(sink, 0, 1, "") : 0;
}

static int take_step(struct sink *sink, struct rotate_step step)
{
    int rc = 0;

    switch (step.act) {
    case ROTATE_DROP:
    case ROTATE_MOVE:
        if (step.act == ROTATE_MOVE && step.from == 0)
            rc = move_file(sink);
        else if ((rc = move_old(sink, step.from, step.to, "")) == 0)
            rc = move_old(sink, step.from, step.to, ".zst");
        if (rc == 0 && sink->desk->moved)
            sink->desk->moved(sink->desk->context, sink->slot, step.from, step.to);
        return rc;
    case ROTATE_TRUNCATE:
        return sink->file.fd >= 0 ? file_truncate(&sink->file, 0) : 0;
    case ROTATE_OPEN:
        file_close(&sink->file);
        return 0;
    }
    return 0;
}

static void pause_rotation(struct sink *sink, int rc)
{
    sink->rotate_not_before_ms = clock_mono_ms() + SINK_ROTATE_PAUSE_MS;
    say(sink, "cannot rotate the log, going on with the old file for now", rc);
}

/* From the committed step to the end.  Afterwards the file is closed or empty. */
static int rotate_on(struct sink *sink)
{
    for (;;) {
        struct rotate_step step = rotate_plan(sink->mark.step, sink->mark.step_backups);
        int rc = take_step(sink, step);
        if (rc != 0) {
            pause_rotation(sink, rc);
            return rc;
        }
        struct streams_mark next = sink->mark;
        bool last = step.act == ROTATE_OPEN || step.act == ROTATE_TRUNCATE;
        next.step = last ? 0 : next.step + 1;
        if (last) {
            next.offset = 0;
            if (sink->file.fd < 0)
                next.dev = next.ino = 0;
        }
        sink_commit(sink, &next, false);
        if (last)
            return 0;
    }
}

/* 1, 0, or -errno: a file that cannot be looked at is not taken for none, or another one would be
 * moved over it. */
static int lies_there(const struct sink *sink, uint32_t number, const char *suffix)
{
    char name[NAME_MAX_BYTES];
    struct stat st;
    if (!rotate_name(name, sizeof name, sink->path, number, suffix) || lstat(name, &st) == 0)
        return 1;
    return errno == ENOENT ? 0 : -errno;
}

/* The lowest number under which nothing lies, or -errno. */
static int64_t lowest_gap(const struct sink *sink)
{
    uint32_t number = 1;
    for (; number <= sink->backups; number++) {
        int there = lies_there(sink, number, "");
        if (there == 0)
            there = lies_there(sink, number, ".zst");
        if (there < 0)
            return there;
        if (there == 0)
            break;
    }
    return number;
}

/* Commits the first step; none when the rotation has to wait. */
static int rotate_begin(struct sink *sink)
{
    struct streams_mark next = sink->mark;
    int64_t gap = lowest_gap(sink);

    if (gap < 0) {
        pause_rotation(sink, (int)gap);
        return 0;
    }
    if (next.line.midline && sink->kind == STREAMS_JSON) {
        stamp(sink);
        size_t len = format_cut(&sink->desk->format, &next.line, sink->desk->out);
        int rc = put_ending(sink, &next, sink->desk->out, len);
        if (rc != 0)
            return rc;
    }
    next.step = rotate_start(sink->backups, (uint32_t)gap);
    next.step_backups = sink->backups;
    sink_commit(sink, &next, false);
    return 0;
}

static bool rotation_paused(const struct sink *sink)
{
    return sink->rotate_not_before_ms > 0 && clock_mono_ms() < sink->rotate_not_before_ms;
}

static bool is_too_large(const struct sink *sink)
{
    uint64_t max = (uint64_t)sink->maxbytes, offset = sink->mark.offset;

    return sink->maxbytes > 0 && offset >= max &&
           (!sink->mark.line.midline || offset - max >= SINK_LINE_SLACK);
}

/* Whether its last line is of an earlier period than the next one.  The file knows when that was,
 * so nothing has to be remembered across loggers, supervisors and boots. */
static bool is_too_old(struct sink *sink)
{
    time_t now = (time_t)(clock_wall_us()), then = (time_t)sink->file.written_s;
    struct tm here, there;

    if (sink->maxage_s <= 0 || sink->mark.offset == 0 || sink->mark.line.midline ||
        now < sink->age_due_s)
        return false;
    localtime_r(&now, &here);
    localtime_r(&then, &there);
    int64_t period = rotate_period(now, here.tm_gmtoff, sink->maxage_s);
    if (rotate_period(then, there.tm_gmtoff, sink->maxage_s) < period)
        return true;
    int64_t look = now - now % SINK_AGE_LOOK_S + SINK_AGE_LOOK_S;
    int64_t end = rotate_period_end(period, here.tm_gmtoff, sink->maxage_s);
    sink->age_due_s = end < look ? end : look;
    return false;
}

static bool rotation_due(struct sink *sink)
{
    return sink->file.regular && (is_too_large(sink) || is_too_old(sink)) && !rotation_paused(sink);
}

/* A rotation that a kill interrupted: what it left of the file is put right first. */
static void resume_rotation(struct sink *sink)
{
    if (file_open(&sink->file, sink->path, false, 0, 0) == 0) {
        bool ours = sink->file.dev == sink->mark.dev && sink->file.ino == sink->mark.ino;
        if (!ours || adopt(sink) != 0)
            file_close(&sink->file);
    }
    (void)rotate_on(sink);
}

static int open_file(struct sink *sink)
{
    if (sink->mark.step != 0)
        resume_rotation(sink);
    if (sink->file.fd >= 0)
        return 0;
    int rc = file_open(&sink->file, sink->path, true, sink->uid, sink->gid);
    sink->age_due_s = 0;
    if (rc == 0)
        rc = adopt(sink);
    if (rc != 0)
        file_close(&sink->file);
    return rc;
}

/* Sees to it that the open file is still the one that the mark means. */
static int check_file(struct sink *sink)
{
    int rc = file_look(&sink->file);
    if (rc != 0)
        return rc;
    if (sink->file.deleted) {
        struct streams_mark next = sink->mark;
        next.cuts++;
        next.offset = next.dev = next.ino = 0; /* the new file may get the same inode */
        next.line = (struct streams_line){ 0 };
        say(sink, "the log file was deleted by somebody else, making a new one", 0);
        sink_commit(sink, &next, false);
        file_close(&sink->file);
        return 0;
    }
    bool agrees = !sink->file.regular || sink->file.size == sink->mark.offset;
    return agrees && !sink->dirty ? 0 : adopt(sink);
}

int sink_ready(struct sink *sink)
{
    int rc = 0;

    if (!sink->path)
        return -ENOMEM;
    if (sink_is_remote(sink)) {
        const char *socket;
        (void)streams_target(sink->path, &socket);
        return target_open(&sink->target,
                           sink->target.kind == STREAMS_CONSOLE ? sink->output : socket);
    }
    if (sink->file.fd >= 0)
        rc = check_file(sink);
    if (rc == 0 && sink->file.fd < 0)
        rc = open_file(sink);
    if (rc != 0 || !rotation_due(sink))
        return rc;
    if (sink->mark.step == 0 && (rc = rotate_begin(sink)) != 0)
        return rc;
    if (sink->mark.step != 0)
        (void)rotate_on(sink);
    return sink->file.fd >= 0 ? check_file(sink) : open_file(sink);
}

static uint64_t room_left(const struct sink *sink)
{
    uint64_t max = (uint64_t)sink->maxbytes;
    if (sink->maxbytes <= 0 || !sink->file.regular || rotation_paused(sink))
        return UINT64_MAX;
    return sink->mark.offset < max ? max - sink->mark.offset : 0;
}

/* The `lead` bytes in desk->out and the piece behind them, in one write where they lie together. */
static int write_piece(struct sink *sink, const struct format_piece *piece, size_t lead)
{
    const char *out = sink->desk->out;
    uint64_t offset = sink->mark.offset;
    int rc = 0;

    if (piece->data == out + lead)
        rc = file_write(&sink->file, out, lead + piece->len, offset);
    else {
        if (lead > 0)
            rc = file_write(&sink->file, out, lead, offset);
        if (rc == 0)
            rc = file_write(&sink->file, piece->data, piece->len, offset + lead);
    }
    if (rc != 0) /* gives the space back as well */
        sink->dirty = file_truncate(&sink->file, offset) != 0;
    return rc;
}

/* `used` bytes more of the batch are where they belong. */
static void commit_piece(struct sink *sink, struct streams_mark *next, enum sink_source source,
                         size_t used, bool last)
{
    next->has_output = 1;
    next->ending = 0;
    if (source == SINK_HOLD) {
        next->hold_done = last ? 0 : next->hold_done + (uint32_t)used;
        next->bytes_in += used;
    } else {
        next->spill_done = last ? 0 : next->spill_done + (uint32_t)used;
        next->spill_len = last ? 0 : next->spill_len;
    }
    sink_commit(sink, next, last && source == SINK_HOLD);
}

/* Writes and commits the next piece of a batch of which `done` bytes are on file.  Bytes or -errno.
 */
static ssize_t put_piece(struct sink *sink, enum sink_source source, const char *data, size_t len,
                         size_t done)
{
    struct streams_mark next = sink->mark;
    struct sink_desk *desk = sink->desk;
    size_t lead = 0;

    if (next.bytes_lost > next.lost_told) {
        lead =
            format_notice(&desk->format, &next.line, next.bytes_lost - next.lost_told, desk->out);
        next.lost_told = next.bytes_lost;
    }
    struct format_piece piece = format_run(&desk->format, &next.line, data + done, len - done,
                                           room_left(sink), desk->out + lead);
    if (source == SINK_SPILL)
        announce(sink, true);
    int rc = write_piece(sink, &piece, lead);
    if (rc != 0) {
        if (source == SINK_SPILL)
            announce(sink, sink->dirty);
        return rc;
    }
    next.offset += lead + piece.len;
    commit_piece(sink, &next, source, piece.used, done + piece.used == len);
    return (ssize_t)piece.used;
}

static int send_notice(struct sink *sink)
{
    struct streams_mark next = sink->mark;
    char line[FORMAT_NOTICE_MAX];
    size_t len = format_notice_words(next.bytes_lost - next.lost_told, line);

    next.lost_told = next.bytes_lost;
    line[len++] = '\n';
    len = target_message(&sink->target, sink->instance, sink->output, clock_wall_us(), line, len,
                         sink->desk->message);
    int rc = target_send(&sink->target, sink->desk->message, len);
    if (rc == 0)
        sink_commit(sink, &next, false);
    return rc;
}

/* As put_piece, for a target.  One try more when the receiver was started anew. */
static ssize_t send_piece(struct sink *sink, enum sink_source source, const char *data, size_t len,
                          size_t done)
{
    size_t used = target_piece(&sink->target, data + done, len - done);
    struct sink_desk *desk = sink->desk;

    if (!desk->message && !(desk->message = malloc(TARGET_OUT_MAX)))
        return -ENOMEM;
    int rc = sink->mark.bytes_lost > sink->mark.lost_told ? send_notice(sink) : 0;
    size_t size = target_message(&sink->target, sink->instance, sink->output, clock_wall_us(),
                                 data + done, used, desk->message);
    if (rc == 0)
        rc = target_send(&sink->target, desk->message, size);
    if (rc == -ECONNREFUSED || rc == -ENOTCONN || rc == -EPIPE) {
        rc = sink_ready(sink);
        if (rc == 0)
            rc = target_send(&sink->target, desk->message, size);
    }
    if (rc != 0)
        return rc;
    struct streams_mark next = sink->mark;
    commit_piece(sink, &next, source, used, done + used == len);
    return (ssize_t)used;
}

int sink_put(struct sink *sink, enum sink_source source, const char *data, size_t len)
{
    size_t done = source == SINK_HOLD ? sink->mark.hold_done : sink->mark.spill_done;

    if (!sink_is_remote(sink))
        stamp(sink);
    while (done < len) {
        int rc = sink_ready(sink);
        ssize_t n = rc != 0                ? rc
                    : sink_is_remote(sink) ? send_piece(sink, source, data, len, done)
                                           : put_piece(sink, source, data, len, done);
        if (n < 0)
            return (int)n;
        done += (size_t)n;
    }
    return 0;
}
