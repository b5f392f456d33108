/* known.h - which processes have a record in the ledger, for one look at what is left over.
 *
 * A look asks about every child of the guardian, so the records are put into a table when the first
 * question comes: each answer is O(1) then.  What is not in there is looked for in the ledger.
 */
#ifndef SUPERVISOR_CORE_KNOWN_H
#define SUPERVISOR_CORE_KNOWN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "supervisor/host/leftovers.h"
#include "supervisor/ledger/ledger.h"

struct known {
    struct ledger *ledger;
    uint32_t *table; /* index of a record + 1, at the place that its pid has; NULL = not made */
    size_t room;     /* a power of 2 */
};

void known_init(struct known *known, struct ledger *ledger);
void known_done(struct known *known);
/* For leftovers_look(), with a struct known. */
enum leftovers_known known_ask(void *context, pid_t pid);

#endif
