/* chain.h - a log and its rotated files: PATH is number 0, PATH.1 (or PATH.1.zst) the one before.
 *
 * They may be rotated and compressed while they are looked at.  A rotation renames the oldest first
 * and a file's number only grows; what was compressed keeps the time of its last line.  On these
 * three facts rests that nobody who reads one after the other misses one.
 */
#ifndef SUPERVISOR_CLI_CHAIN_H
#define SUPERVISOR_CLI_CHAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/err.h"

enum { CHAIN_GONE = -1 };

/* One of the files, open. */
struct chain_file {
    int fd;         /* owned; the file, or the pipe from zstd; -1 = none */
    struct stat id; /* of the file as it was opened */
    bool packed;    /* comes through zstd */
    pid_t unpacker; /* owned, to be waited for; 0 = none */
};

void chain_init(struct chain_file *file);
void chain_close(struct chain_file *file);
/* Opens file number `number`.  0 with fd -1: there is none. */
int chain_open(const char *path, uint32_t number, struct chain_file *ret, struct err *err);
/* The number that an open file has now, 0 = it is still PATH itself; or CHAIN_GONE. */
int64_t chain_number(const char *path, const struct chain_file *file);
/* Opens the file that follows number chain_number(file), or the oldest one when `file` is not open
 * or gone (*ret_missed: others may have been between).  0 with fd -1: there is none yet. */
int chain_next(const char *path, const struct chain_file *file, struct chain_file *ret,
               bool *ret_missed, struct err *err);
/* Waits for zstd after its last byte; an error when it could not unpack. */
int chain_end(const char *path, struct chain_file *file, struct err *err);
/* Time of the last line of a file, 0 = there is no such file. */
int64_t chain_time_us(const char *path, uint32_t number);
/* The highest number that is there; 0 when only PATH is, or not even that. */
uint32_t chain_oldest(const char *path);

#endif
