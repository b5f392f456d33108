/* watchword.h - looks for the line of a stream that means "ready" (ready = log:REGEX).
 *
 * Only while somebody waits for one: from the order on that the core leaves in the table, until it
 * is found.  A batch is looked at before it is written; how far that went is in the table, so a
 * batch that is written again after a kill is not looked at twice, and no half line is forgotten.
 */
#ifndef SUPERVISOR_LOGGER_WATCHWORD_H
#define SUPERVISOR_LOGGER_WATCHWORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supervisor/ledger/streams.h"

struct watchword {
    uint64_t sequence;       /* of the order in force */
    uint64_t from;           /* the first byte of the stream that counts */
    uint32_t id;             /* 0 = nothing is looked for */
    struct pattern *pattern; /* owned; with id */
};

void watchword_done(struct watchword *word); /* all zeros is a fresh one; twice is fine */
/* `data` begins at byte number `at` of the stream.  True: it was found just now, and the table says
 * so: wake the core. */
bool watchword_look(struct watchword *word, struct streams *table, size_t slot, uint64_t at,
                    const char *data, size_t len);

#endif
