/* known.c - the contract is in known.h. */
#include "supervisor/core/known.h"

#include <stdlib.h>

void known_init(struct known *known, struct ledger *ledger)
{
    *known = (struct known){ .ledger = ledger };
}

void known_done(struct known *known)
{
    free(known->table);
    known->table = NULL;
}

static size_t place_of(const struct known *known, pid_t pid)
{
    return (size_t)pid * 2 & (known->room - 1);
}

/* Without memory every pid is looked for in the ledger. */
static void make_table(struct known *known)
{
    size_t used = ledger_used(known->ledger);

    for (known->room = 64; known->room < used * 4;)
        known->room *= 2;
    known->table = calloc(known->room, sizeof *known->table);
    for (size_t i = 0; known->table && i < used; i++) {
        pid_t pid = known->ledger->pids[i];
        size_t at = place_of(known, pid);

        while (known->table[at])
            at = (at + 1) & (known->room - 1);
        if (pid > 0)
            known->table[at] = (uint32_t)i + 1;
    }
}

/* A pid may be in two records, one of which is living: as in ledger_find_pid(). */
static ssize_t find(const struct known *known, pid_t pid)
{
    ssize_t found = -1;

    for (size_t at = place_of(known, pid); known->table && known->table[at];
         at = (at + 1) & (known->room - 1)) {
        size_t index = known->table[at] - 1;

        if (known->ledger->pids[index] != pid || known->ledger->records[index].kind == LEDGER_FREE)
            continue;
        if (ledger_living(known->ledger, index))
            return (ssize_t)index;
        found = (ssize_t)index;
    }
    return found >= 0 ? found : ledger_find_pid(known->ledger, pid);
}

enum leftovers_known known_ask(void *context, pid_t pid)
{
    struct known *known = context;

    if (!known->table)
        make_table(known);
    ssize_t index = find(known, pid);
    if (index < 0)
        return LEFTOVERS_UNKNOWN;
    return ledger_living(known->ledger, (size_t)index) ? LEFTOVERS_LIVES : LEFTOVERS_ENDED;
}
