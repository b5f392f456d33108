/* streams.h - the table of output streams that core and logger share.
 *
 * A slot belongs to one output (stdout, stderr, or both) of one instance for the life of the instance;
 * its pipe is "log.INDEX.r" / "log.INDEX.w" in the store and is used again across restarts.  The core
 * writes settings and orders, the logger its progress; each side looks when poked (eventfd).
 */
#ifndef SUPERVISOR_LEDGER_STREAMS_H
#define SUPERVISOR_LEDGER_STREAMS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum { STREAMS_SLOTS = 32768, STREAMS_PATH_MAX = 1024, STREAMS_NAME_MAX = 128 };

enum streams_format { STREAMS_RAW, STREAMS_PLAIN, STREAMS_JSON };
enum streams_overflow { STREAMS_BLOCK, STREAMS_DROP_OLD };
enum streams_compress { STREAMS_COMPRESS_NONE, STREAMS_COMPRESS_ZSTD };

struct streams_settings {
    char instance[STREAMS_NAME_MAX]; /* "web:0", for the json format */
    char output[8];                  /* "stdout", "stderr" */
    char path[STREAMS_PATH_MAX];     /* absolute */
    int64_t maxbytes;                /* 0 = no rotation */
    int32_t backups, format, overflow, compress;
    uint32_t uid, gid; /* owner of new files; (uint32_t)-1 = leave */
};

/* What the logger has done, for status and why. */
struct streams_progress {
    uint64_t bytes_in;    /* taken from the pipe */
    uint64_t bytes_lost;  /* dropped: overflow policy or a full disk given up on */
    int32_t error;        /* errno of the last failed write or open, 0 = fine */
    bool has_output;      /* anything was ever written */
};

struct streams; /* mapped table */

int streams_create(int *ret_fd, struct err *err); /* memfd */
struct streams *streams_map(int fd, struct err *err); /* fd stays the caller's */
void streams_unmap(struct streams *streams);

/* Core side. */
ssize_t streams_claim(struct streams *streams, const struct streams_settings *settings);
void streams_set(struct streams *streams, size_t slot, const struct streams_settings *settings);
/* Asks for everything written to the pipe so far to be on file; returns the number to wait for. */
uint64_t streams_order_drain(struct streams *streams, size_t slot);
bool streams_drained(const struct streams *streams, size_t slot, uint64_t order);
/* The instance is gone for good: drain, close, free the slot (the logger frees it). */
void streams_order_close(struct streams *streams, size_t slot);
void streams_order_reopen(struct streams *streams); /* all files, after an outside logrotate */
void streams_progress(const struct streams *streams, size_t slot, struct streams_progress *ret);
/* The slot of an instance's output that a core before us claimed, or -1. */
ssize_t streams_find(const struct streams *streams, const char *instance, const char *output);
/* For a core that has just started: calls fn for each slot in use. */
void streams_each(const struct streams *streams,
                  void (*fn)(void *context, size_t slot, const struct streams_settings *settings),
                  void *context);
/* Leave once everything is drained (orderly shutdown). */
void streams_order_finish(struct streams *streams);

#endif
