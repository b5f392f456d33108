/* streams.h - the table of output streams that core and logger share.
 *
 * A slot belongs to one output (stdout, stderr, or both) of one instance for the life of the
 * instance; its pipe is "log.INDEX.r" / "log.INDEX.w" in the store and is used again across
 * restarts.  The core writes settings and orders, the logger its progress; each side looks when
 * poked (eventfd).
 */
#ifndef SUPERVISOR_LEDGER_STREAMS_H
#define SUPERVISOR_LEDGER_STREAMS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum {
    STREAMS_SLOTS = 32768,
    STREAMS_PATH_MAX = 1024, /* each with its end */
    STREAMS_NAME_MAX = 128,
    STREAMS_OUTPUT_MAX = 8,
};

enum streams_format { STREAMS_RAW, STREAMS_PLAIN, STREAMS_JSON };
enum streams_overflow { STREAMS_BLOCK, STREAMS_DROP_OLD };
enum streams_compress { STREAMS_COMPRESS_NONE, STREAMS_COMPRESS_ZSTD };

struct streams_settings {
    char instance[STREAMS_NAME_MAX]; /* "web:0", for the json format */
    char output[STREAMS_OUTPUT_MAX]; /* "stdout", "stderr" */
    char path[STREAMS_PATH_MAX];     /* absolute, or a target (below) */
    int64_t maxbytes;                /* 0 = no rotation by size */
    int64_t maxage_s;                /* 0 = no rotation by age */
    int32_t backups, format, overflow, compress;
    uint32_t uid, gid; /* owner of new files; (uint32_t)-1 = leave */
};

/* What the logger has done, for status and why. */
struct streams_progress {
    uint64_t bytes_in;   /* taken from the pipe */
    uint64_t bytes_lost; /* dropped by the overflow policy */
    uint64_t cuts;       /* times the file was shorter than what we had written to it */
    int32_t error;       /* errno of the last failed write or open, 0 = fine */
    bool has_output;     /* anything was ever written */
};

/* A `path` that is no file: "syslog", "journald", or these with ":/SOCKET". */
enum streams_target { STREAMS_FILE, STREAMS_SYSLOG, STREAMS_JOURNALD, STREAMS_CONSOLE };
/* *ret_socket: where it is sent to; NULL is fine. */
enum streams_target streams_target(const char *path, const char **ret_socket);

struct streams; /* mapped table */

int streams_create(int *ret_fd, struct err *err); /* memfd */
/* fd stays the caller's; it must stay open only for streams_spill_... */
struct streams *streams_map(int fd, struct err *err);
void streams_unmap(struct streams *streams);

/* Core side. */

/* A free slot, or ERR_LIMIT when all are taken.  A pipe that is in the store under its number is of
 * the one before and nobody reads it: it leaves the store before the slot is claimed. */
ssize_t streams_vacant(const struct streams *streams);
void streams_claim(struct streams *streams, size_t slot, const struct streams_settings *settings);
void streams_set(struct streams *streams, size_t slot, const struct streams_settings *settings);
/* Asks for everything written to the pipe so far to be on file; returns the number to wait for. */
uint64_t streams_order_drain(struct streams *streams, size_t slot);
/* `order` 0: all that were given. */
bool streams_drained(const struct streams *streams, size_t slot, uint64_t order);
/* The instance is gone for good: drain, close, free the slot.  The logger frees it and pokes the
 * core; only when streams_state() is STREAMS_FREE may log.INDEX.r and .w leave the store. */
void streams_order_close(struct streams *streams, size_t slot);
void streams_order_reopen(struct streams *streams); /* all files, after an outside logrotate */
void streams_progress(const struct streams *streams, size_t slot, struct streams_progress *ret);
/* The slot of an instance's output that a core before us claimed, or -1. */
ssize_t streams_find(const struct streams *streams, const char *instance, const char *output);
/* Grows whenever an error or a number of lost bytes has changed, of any slot. */
uint32_t streams_troubles(const struct streams *streams);
/* What the core has told of a slot's troubles; kept for the core that follows. */
struct streams_told {
    int32_t error;
    uint64_t bytes_lost;
};
struct streams_told streams_told(const struct streams *streams, size_t slot);
void streams_tell(struct streams *streams, size_t slot, struct streams_told told);
/* For a core that has just started: calls fn for each slot in use (closing ones are not). */
void streams_each(const struct streams *streams,
                  void (*fn)(void *context, size_t slot, const struct streams_settings *settings),
                  void *context);
/* Leave once everything is drained (orderly shutdown). */
void streams_order_finish(struct streams *streams);

enum streams_state { STREAMS_FREE, STREAMS_USED, STREAMS_CLOSING };
enum streams_state streams_state(const struct streams *streams, size_t slot);

/* A line is waited for: `ready = log:REGEX`.  Bytes of the stream from number `from` on count. */
enum { STREAMS_PATTERN_MAX = 256 };
struct streams_watch {
    uint64_t from;
    uint32_t id;    /* of who waits, 0 = nobody does; never the same twice in a row */
    uint32_t owner; /* told back by streams_next_found() */
    char pattern[STREAMS_PATTERN_MAX];
};
void streams_watch(struct streams *streams, size_t slot, const struct streams_watch *watch);
/* The line that this one waited for has come. */
bool streams_found(const struct streams *streams, size_t slot, uint32_t id);
/* The next slot in which a line was found since this was last asked, with its watch, or -1. */
ssize_t streams_next_found(struct streams *streams, struct streams_watch *ret);

/* Logger side.
 *
 * What the logger must know after a SIGKILL is the slot's *mark*.  There are two, and one 64-bit
 * store (streams_commit) makes the new one count, so a mark is never half of one and half of
 * another.
 */
enum {
    STREAMS_BATCH_MAX = 64 * 1024, /* most bytes that are in hold, or spilt, at a time */
    STREAMS_SPILL_AREAS = 2,       /* a newer spill is written beside the one that counts */
};

/* Where the last line on file stands, for the next byte of the stream. */
struct streams_line {
    uint8_t midline;  /* the line is not ended yet */
    uint8_t broken;   /* the file ends in a line that is not ours and has no end */
    uint8_t nbytes;   /* json: bytes of a UTF-8 sequence that is not complete yet */
    uint8_t bytes[3]; /* json: these */
    uint16_t unused;
    uint32_t object; /* json: message bytes in the open object */
};

struct streams_mark {
    uint64_t offset;     /* in the file; what lies behind it is not ours or not committed */
    uint64_t dev, ino;   /* the file that `offset` belongs to, 0 = none yet */
    uint64_t bytes_in;   /* taken from the pipe and on file, spilt or dropped */
    uint64_t bytes_lost; /* dropped */
    uint64_t lost_told;  /* of these, told in the file */
    uint64_t cuts;
    uint32_t hold_done;             /* bytes at the front of hold that are on file */
    uint32_t spill_len, spill_done; /* bytes kept in the spill area, and of these on file */
    uint32_t step, step_backups;    /* rotation under way (rotate.h), step 0 = none */
    uint8_t spill_area;
    uint8_t ending; /* bytes may lie behind `offset` that are ours although hold is not */
    uint8_t has_output;
    uint8_t unused;
    struct streams_line line;
};

size_t streams_used(const struct streams *streams); /* no slot from here on was ever claimed */
/* Copies the settings unless *sequence is theirs already; then true, and *sequence is. */
bool streams_settings(const struct streams *streams, size_t slot, uint64_t *sequence,
                      struct streams_settings *ret);
/* The mark that counts.  *ret_draining: all that is in hold is on file (or spilt, or dropped). */
void streams_mark(const struct streams *streams, size_t slot, struct streams_mark *ret,
                  bool *ret_draining);
void streams_commit(struct streams *streams, size_t slot, const struct streams_mark *mark,
                    bool draining);
/* Hold is empty again: clears `draining`. */
void streams_commit_empty(struct streams *streams, size_t slot);

/* Copies the watch unless *sequence is its already; then true, and *sequence is. */
bool streams_watched(const struct streams *streams, size_t slot, uint64_t *sequence,
                     struct streams_watch *ret);
/* How far one watch has read: bytes of the stream, and what a line that is not over has shown
 * (base/pattern.h).  Kept apart from the mark, and as whole: a batch that is taken up again after a
 * kill is not read twice. */
struct streams_scan {
    uint64_t at;
    uint32_t id;
    uint32_t unused;
    uint64_t seen[5];
};
void streams_scan(const struct streams *streams, size_t slot, struct streams_scan *ret);
void streams_commit_scan(struct streams *streams, size_t slot, const struct streams_scan *scan);
void streams_set_found(struct streams *streams, size_t slot, uint32_t id);

/* Whose bytes are in hold, -1 = nobody's.  Set before the first byte gets there. */
ssize_t streams_hold_owner(const struct streams *streams);
void streams_hold_own(struct streams *streams, size_t slot);

uint64_t streams_drain_ordered(const struct streams *streams, size_t slot);
uint64_t streams_drain_done(const struct streams *streams, size_t slot);
void streams_drain_set(struct streams *streams, size_t slot, uint64_t order);
uint32_t streams_reopens(const struct streams *streams); /* grows with each order to reopen */
bool streams_finishing(const struct streams *streams);
void streams_error(struct streams *streams, size_t slot, int error);
void streams_trouble(struct streams *streams); /* more bytes were lost */
/* Forgets the mark and gives the slot back to the core. */
void streams_release(struct streams *streams, size_t slot);

/* Bytes that could not be written wait in the table's memory, with no address space of their own.
 * 0 or -errno; len is at most STREAMS_BATCH_MAX. */
int streams_spill_write(struct streams *streams, size_t slot, unsigned area, const void *data,
                        size_t len);
int streams_spill_read(const struct streams *streams, size_t slot, unsigned area, void *data,
                       size_t len);
void streams_spill_drop(struct streams *streams, size_t slot); /* gives the memory back */

#endif
