/* outbox.h - what the logger has still to be told, while its pair is full.
 *
 * Only names are queued; a descriptor is looked up in the store when its turn comes, so nothing
 * is kept open longer than the store wants it.
 */
#ifndef SUPERVISOR_GUARDIAN_OUTBOX_H
#define SUPERVISOR_GUARDIAN_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "supervisor/ledger/store.h"

enum { OUTBOX_MAX = 2 * STORE_ENTRIES_MAX };

struct outbox_item {
    struct outbox_item *next;
    enum store_op op;
    char name[];
};
struct outbox {
    struct outbox_item *first, **last;
    size_t count;
};
enum outbox_state { OUTBOX_EMPTY, OUTBOX_FULL_PAIR, OUTBOX_LATER, OUTBOX_BROKEN };

void outbox_init(struct outbox *outbox);
void outbox_clear(struct outbox *outbox);
/* False: no memory, or too many are waiting (the reader must be started anew). */
bool outbox_add(struct outbox *outbox, enum store_op op, const char *name);
/* Sends what the pair takes.  EMPTY: all sent; FULL_PAIR: poll it for writing; LATER: try again
 * after a moment; BROKEN: the reader is gone. */
enum outbox_state outbox_flush(struct outbox *outbox, int channel, const struct store *store);

#endif
