/* ledger_old.h - ledgers of the version before this one: what they look like, and how each becomes
 * one of this version.
 *
 * The one place that knows.  An upgrade from the version before keeps everything; what is older is
 * refused before anything is touched.  A new version gets a row with what was true of the one
 * before, and the row before that goes.
 */
#ifndef SUPERVISOR_LEDGER_LEDGER_OLD_H
#define SUPERVISOR_LEDGER_LEDGER_OLD_H

#include <stdbool.h>
#include <stdint.h>

#include "supervisor/ledger/ledger.h"

/* Whether there is a reader for it; `bytes`: of the whole. */
bool ledger_old_reader(const struct ledger_header *header, uint64_t bytes);
/* In place; nothing to do for one of this version.  Whoever is killed in the middle leaves the old
 * version's number, and doing it again gives the same. */
void ledger_old_convert(struct ledger *ledger);

#endif
