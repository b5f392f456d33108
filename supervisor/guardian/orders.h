/* orders.h - what a signal to the guardian means (CONTRACT: "Signals"). */
#ifndef SUPERVISOR_GUARDIAN_ORDERS_H
#define SUPERVISOR_GUARDIAN_ORDERS_H

#include <signal.h>
#include <stdbool.h>

#include "supervisor/ledger/ledger.h"

enum orders_kind { ORDERS_NONE, ORDERS_CHILD, ORDERS_RELOAD, ORDERS_SHUTDOWN };

enum orders_kind orders_of(int signum);
/* Notes the order where the core looks. */
void orders_record(struct ledger_header *header, enum orders_kind kind, int signum);
/* What was ordered from a supervisor before this one is done, or nobody wants it any more. */
void orders_forget(struct ledger_header *header);
/* Ordered, and not done yet. */
bool orders_shutting_down(const struct ledger_header *header);
/* Blocks every signal but those that the kernel raises for faults, and returns a descriptor
 * (close-on-exec, non-blocking) to read them from, or -errno.  *ret_before: the mask before. */
int orders_listen(sigset_t *ret_before);

#endif
