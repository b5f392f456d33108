/* core_store.h - what the guardian could not keep is given to it again.
 *
 * core_keep() and core_drop() (core.h) wait for no answer.  When the guardian has no memory or
 * descriptor for something just then it says so in the ledger, and pokes.
 */
#ifndef SUPERVISOR_CORE_CORE_STORE_H
#define SUPERVISOR_CORE_CORE_STORE_H

#include "supervisor/core/core.h"

struct core_store;
struct core_store *core_store_new(struct core *core); /* NULL without memory */
void core_store_free(struct core_store *again);
/* The guardian has poked. */
void core_store_look(struct core_store *again);

/* Takes history and feeds out of the store, or makes them: the first core does, a guardian of an
 * older version needs to know nothing of them.  Without memory they stay NULL, which is said. */
void core_store_open(struct core *core);

#endif
