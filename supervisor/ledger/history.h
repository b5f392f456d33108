/* history.h - what `why` still knows when the recorder has gone on: fair where the recorder is not.
 *
 * The recorder is one ring for all, so one loud service turns out what the others did.  Here every
 * instance that something happened to has one page of its own (a few thousand bytes, the newest
 * dozen events, and how many ends there were in each of the last minutes and hours), and what names
 * no instance (orders, reloads) has a share of its own.  An instance to which nothing happened
 * costs nothing.  When all pages are taken the one that was quiet longest goes.
 *
 * One memfd in the store, one writer (the core); a writer killed anywhere leaves whole records.
 */
#ifndef SUPERVISOR_LEDGER_HISTORY_H
#define SUPERVISOR_LEDGER_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    HISTORY_PAGES = 4096,
    HISTORY_TEXT_MAX = 1700,          /* bytes of one record; the caller cuts */
    HISTORY_ORDERS_BYTES = 64 * 1024, /* at least so much of the newest orders is there */
    HISTORY_NAME_MAX = 128,
    HISTORY_MINUTES = 60,
    HISTORY_HOURS = 24,
};

struct history;

int history_create(int *ret_fd, struct err *err);
/* fd stays the caller's. */
struct history *history_map(int fd, struct err *err);
void history_unmap(struct history *history);

/* A record about an instance, NULL = about none.  `end`: a process ended, which is counted. */
void history_add(struct history *history, const char *instance, bool end, int64_t wall_s,
                 uint64_t number, const char *text, size_t len);
/* Calls fn for each record of the instance (NULL = of none), oldest first. */
void history_read(const struct history *history, const char *instance,
                  void (*fn)(void *context, uint64_t number, const char *text, size_t len),
                  void *context);

/* Ends per minute and per hour, the present ones last. */
struct history_counts {
    uint16_t minutes[HISTORY_MINUTES], hours[HISTORY_HOURS];
};
void history_counts(const struct history *history, const char *instance, int64_t wall_s,
                    struct history_counts *ret);

#endif
