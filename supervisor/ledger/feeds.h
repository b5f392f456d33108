/* feeds.h - how far each events helper has got, by its name.
 *
 * A helper that runs as another user can keep nothing in state_dir, so the core keeps the number of
 * the last event that it took.  Numbers mean something only as long as the recorder lives, so this
 * lives beside it: one memfd in the store, one writer (the core), whole at any kill.
 */
#ifndef SUPERVISOR_LEDGER_FEEDS_H
#define SUPERVISOR_LEDGER_FEEDS_H

#include <stdint.h>

#include "base/err.h"

enum { FEEDS_MAX = 256, FEEDS_NAME_MAX = 64 };

struct feeds;

int feeds_create(int *ret_fd, struct err *err);
/* fd stays the caller's. */
struct feeds *feeds_map(int fd, struct err *err);
void feeds_unmap(struct feeds *feeds);

uint64_t feeds_get(const struct feeds *feeds, const char *name); /* 0 = never heard of */
/* Numbers only grow.  When there are too many names, the one that is furthest behind is forgotten:
 * it gets everything again.  ERR_INVALID: the name is too long or empty. */
int feeds_set(struct feeds *feeds, const char *name, uint64_t number, struct err *err);

#endif
