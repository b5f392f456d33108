/* compress.h - rotated files through `zstd`, one at a time, in a child that gives way to everybody.
 *
 * The child reads PATH.N and writes PATH.zst.tmp; a second one, `sync`, makes that durable: the
 * logger itself never waits for a disk.  Then the result gets the time of PATH.N (whoever reads one
 * after the other knows it again by that), is renamed to PATH.N.zst, and PATH.N is removed.  A
 * rotation meanwhile is told to compress_moved.  The children die with the logger; what is not
 * compressed then is found by the next look.
 */
#ifndef SUPERVISOR_LOGGER_COMPRESS_H
#define SUPERVISOR_LOGGER_COMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "io/child.h"
#include "supervisor/ledger/streams.h"

enum compress_phase { COMPRESS_PACKING, COMPRESS_SYNCING };
enum compress_outcome {
    COMPRESS_GOES_ON, /* another child is at work, with a pidfd of its own */
    COMPRESS_DONE,
    COMPRESS_FAILED
};

struct compress {
    char *program; /* owned; NULL = none found */
    bool looked;
    int pidfd; /* owned; of the child at work, else -1 */
    pid_t pid;
    enum compress_phase phase;
    size_t slot;
    uint32_t number; /* what the file is called now; 0 = it was dropped */
    char path[STREAMS_PATH_MAX];
    struct timespec written; /* when its last line was */
    struct child_report report;
};

void compress_init(struct compress *compress);
/* Kills the child. */
void compress_done(struct compress *compress);
bool compress_busy(const struct compress *compress);
/* Starts on the newest old file of `path` that is not compressed.  False: there is none, or it
 * cannot be (told once in the log). */
bool compress_start(struct compress *compress, size_t slot, const char *path, uint32_t backups);
/* Removes what a child that was killed left of `path`; only while none is at work on it. */
void compress_tidy(const char *path);
void compress_moved(struct compress *compress, size_t slot, uint32_t from, uint32_t to);
/* The child has left (pidfd is readable): starts the next one, or puts the result in its place. */
enum compress_outcome compress_next(struct compress *compress);

#endif
