/* sockets.h - the listening sockets of [socket:NAME], owned by us so that connections queue while a
 * service restarts.  They live in the store and outlive the core. */
#ifndef SUPERVISOR_CORE_SOCKETS_H
#define SUPERVISOR_CORE_SOCKETS_H

#include "base/err.h"
#include "supervisor/core/core.h"

enum { SOCKETS_PER_SERVICE_MAX = 64 };

/* Opens what the plan wants and the store does not have, closes what no [socket:] names any more.
 * Each failure is logged and added to `errors`; the others are opened all the same. */
void sockets_configure(struct core *core, const struct plan *plan, struct err_list *errors);

/* Descriptors (borrowed) of a service in the order of its `sockets` key, and the colon-separated
 * names for LISTEN_FDNAMES.  One that could not be opened before is tried again: who held the
 * address may have let go of it. */
int sockets_of(struct core *core, const struct spec_service *service,
               int fds[static SOCKETS_PER_SERVICE_MAX], size_t *ret_count, struct buf *names,
               struct err *err);

#endif
