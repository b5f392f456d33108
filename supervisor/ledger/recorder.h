/* recorder.h - the flight recorder: a bounded ring of numbered events that survives the core.
 *
 * One writer (the core).  Each record is one JSON object without newline.  `why` and `events` read
 * it.
 */
#ifndef SUPERVISOR_LEDGER_RECORDER_H
#define SUPERVISOR_LEDGER_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { RECORDER_BYTES = 1024 * 1024, RECORDER_TEXT_MAX = 16 * 1024 };

struct recorder {
    struct recorder_header *header;
    unsigned char *ring;
};

int recorder_create(int *ret_fd, struct err *err);               /* an empty one, in a memfd */
int recorder_map(int fd, struct recorder *ret, struct err *err); /* fd stays the caller's */
void recorder_unmap(struct recorder *recorder);
/* The number the next record will get; the first is 1. */
uint64_t recorder_next(const struct recorder *recorder);
/* Appends (a too long text is cut by the caller) and returns its number. */
uint64_t recorder_append(struct recorder *recorder, const char *text, size_t len);
/* Calls fn for each record with number >= since that is still there, oldest first, until fn returns
 * false. Returns the first number that is still there (a gap if it is > since). */
uint64_t recorder_read(const struct recorder *recorder, uint64_t since,
                       bool (*fn)(void *context, uint64_t number, const char *text, size_t len),
                       void *context);
/* The same for who reads on and on, without looking at old records again: from the place *at (0 =
 * the oldest) to the end or until fn returns false; *at is then where to go on, which is the record
 * that fn refused.  A place that was overwritten meanwhile counts as the oldest. */
void recorder_read_on(const struct recorder *recorder, uint64_t *at,
                      bool (*fn)(void *context, uint64_t number, const char *text, size_t len),
                      void *context);
/* As recorder_read, newest first. */
void recorder_read_back(const struct recorder *recorder,
                        bool (*fn)(void *context, uint64_t number, const char *text, size_t len),
                        void *context);

#endif
