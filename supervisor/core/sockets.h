/* sockets.h - the listening sockets of [socket:NAME], owned by us so that connections queue while a
 * service restarts.  They live in the store and outlive the core.
 *
 * One whose address stays is never closed, whatever else a reload changes around it; what is new is
 * opened before anything is closed.  With reuse_port each instance has its own, opened when it is
 * first started and let go when it is stopped for good: the kernel would go on dealing connections
 * to it.
 */
#ifndef SUPERVISOR_CORE_SOCKETS_H
#define SUPERVISOR_CORE_SOCKETS_H

#include <jansson.h>

#include "base/err.h"
#include "supervisor/core/core.h"

enum { SOCKETS_PER_SERVICE_MAX = 64 };

/* Opens what the plan wants and the store does not have, closes what no [socket:] names any more,
 * gives the others their backlog, mode and owner.  Each failure is logged and added to `errors`;
 * the others are opened all the same. */
void sockets_configure(struct core *core, const struct plan *plan, struct err_list *errors);

/* Descriptors (borrowed) of an instance ("web:0") in the order of its service's `sockets` key, and
 * the colon-separated names for LISTEN_FDNAMES (NULL = not wanted).  One that could not be opened
 * before is tried again: who held the address may have let go of it. */
int sockets_of(struct core *core, const struct spec_service *service, const char *instance,
               int fds[static SOCKETS_PER_SERVICE_MAX], size_t *ret_count, struct buf *names,
               struct err *err);
/* Closes the sockets that are this instance's alone (reuse_port); or those of all instances that
 * are not kept. */
void sockets_let_go(struct core *core, const char *instance);
void sockets_let_go_unless(struct core *core, bool (*kept)(void *context, const char *instance),
                           void *context);

/* A connection or a datagram waits on one of them.  False also when they cannot be opened. */
bool sockets_called(struct core *core, const struct spec_service *service, const char *instance);
/* Waits for that; `called` is told once for each sockets_watch_new(), and may free the watch. */
struct sockets_watch;
struct sockets_watch *sockets_watch_new(struct core *core, const struct spec_service *service,
                                        const char *instance, void (*called)(void *context),
                                        void *context, struct err *err);
void sockets_watch_free(struct sockets_watch *watch);

/* For status: [{"name", "listen": [...], "type", "open", "services": [...]}]. */
json_t *sockets_view(const struct core *core);

#endif
