/* probe_lookup.h - the addresses of a probe's host name, looked up on the thread pool.
 *
 * An answer is kept and goes on being used when a later look-up fails: a dead resolver must not
 * make a living service look dead.
 */
#ifndef SUPERVISOR_HEALTH_PROBE_LOOKUP_H
#define SUPERVISOR_HEALTH_PROBE_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "io/loop.h"

enum {
    PROBE_LOOKUP_ADDRS = 8,
    PROBE_LOOKUP_KEEP_MS = 60000, /* an answer is asked again after failures, this often */
    PROBE_LOOKUP_RETRY_MS = 5000, /* while there is none at all */
};

struct probe_lookup;
/* `host` and `port` must outlive it; `answered` is called after each look-up, good or not. */
struct probe_lookup *probe_lookup_new(struct loop *loop, const char *host, const char *port,
                                      void (*answered)(void *context), void *context);
void probe_lookup_free(struct probe_lookup *lookup);
/* Before each attempt: starts a look-up when one is due.  True while one is running. */
bool probe_lookup_refresh(struct probe_lookup *lookup, bool last_attempt_failed);
size_t probe_lookup_count(const struct probe_lookup *lookup);
const struct addr *probe_lookup_addrs(const struct probe_lookup *lookup);
/* Why there is no address. */
const char *probe_lookup_error(const struct probe_lookup *lookup);

#endif
