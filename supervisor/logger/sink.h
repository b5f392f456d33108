/* sink.h - where one stream's bytes go: its file, the committed mark, and the rotation.
 *
 * The order of things on which "nothing is lost, nothing is twice" rests:
 *   1. the mark names the file (dev, ino) and the offset before a byte is written to it;
 *   2. bytes are written behind the offset, where they do not count;
 *   3. one commit moves the offset and says how much of the batch that was.
 * After a kill between 2 and 3 the sink is `dirty`: the file is cut at the offset and the same part
 * of the batch is written again.  A rotation commits each of its steps before it takes it.
 */
#ifndef SUPERVISOR_LOGGER_SINK_H
#define SUPERVISOR_LOGGER_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervisor/ledger/streams.h"
#include "supervisor/logger/file.h"
#include "supervisor/logger/format.h"
#include "supervisor/logger/target.h"

/* What all sinks of the process use, one after another. */
struct sink_desk {
    struct streams *table;
    char *in;      /* STREAMS_BATCH_MAX */
    char *out;     /* SINK_OUT_MAX */
    char *message; /* TARGET_OUT_MAX; allocated when the first target needs it */
    struct format format;
    /* A rotation moved old file number `from` to `to` (0 = it is gone); from 0 to 1 comes last. */
    void (*moved)(void *context, size_t slot, uint32_t from, uint32_t to);
    void *context;
};
enum {
    SINK_OUT_MAX = FORMAT_HEAD_MAX + FORMAT_OUT_MAX,
    SINK_LINE_SLACK = 1024 * 1024, /* a line this far over maxbytes is cut by the rotation */
    SINK_ROTATE_PAUSE_MS = 10000,  /* after a rotation that failed */
    SINK_AGE_LOOK_S = 900,         /* clocks are put on and back at full quarters of an hour */
};

struct sink {
    struct sink_desk *desk; /* borrowed */
    size_t slot;
    struct streams_mark mark; /* as last committed */
    struct file file;
    struct target target;  /* instead of a file, when its kind says so */
    char *path, *instance; /* owned */
    char output[sizeof((struct streams_settings *)0)->output];
    int64_t maxbytes, maxage_s;
    int64_t age_due_s; /* wall clock: until then the file is not too old */
    uint32_t backups, uid, gid;
    enum streams_format kind;
    bool dirty; /* the file may have bytes behind the offset that are not committed */
    int64_t rotate_not_before_ms;
};

/* Reads the slot's mark.  `dirty`: hold has a batch of this stream that is not on file. */
void sink_init(struct sink *sink, struct sink_desk *desk, size_t slot, bool dirty);
void sink_done(struct sink *sink); /* twice is fine */
/* New settings: another path or format ends the line and the file under way.  0 or -ENOMEM (then
 * the old ones stay). */
int sink_settings(struct sink *sink, const struct streams_settings *settings);

/* Opens the file unless it is open and still ours; recovers; rotates if it is time.  Connects to a
 * target.  0 or -errno. */
int sink_ready(struct sink *sink);
/* For an order to reopen: the next use opens the file by its name. */
void sink_reopen(struct sink *sink);

enum sink_source { SINK_HOLD, SINK_SPILL };
/* Writes a batch that lies in hold (or in the spill area), from where its mark stands.  0: all is
 * on file and committed; for SINK_HOLD the mark is `draining` now and hold is to be emptied.
 * -errno: what is on file so far is committed; -EAGAIN: a target has no room now. */
int sink_put(struct sink *sink, enum sink_source source, const char *data, size_t len);

/* Sends lines somewhere instead of writing a file. */
bool sink_is_remote(const struct sink *sink);

/* Ends the line under way, so that the file can be left. */
void sink_end_line(struct sink *sink);
void sink_commit(struct sink *sink, const struct streams_mark *mark, bool draining);

#endif
