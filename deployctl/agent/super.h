/* super.h - calls to this host's supervisor over its control socket, again after a broken one.
 *
 * Every method used is safe to repeat (same id and token give the present state), so a call whose
 * answer was lost, because the core was restarted in between, is simply made again.
 */
#ifndef DEPLOYCTL_AGENT_SUPER_H
#define DEPLOYCTL_AGENT_SUPER_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"
#include "io/loop.h"
#include "io/rpc.h"

struct super;

/* `socket`: NULL or "" = $SUPERVISOR_SOCKET, else the first of the usual places that is there. */
struct super *super_new(struct loop *loop, const char *socket, struct err *err);
/* Open calls end with an error first. */
void super_free(struct super *super);
void super_use_socket(struct super *super, const char *socket);
const char *super_socket(const struct super *super);

/* Steals params.  fn is called exactly once, maybe before this returns.  A broken connection is
 * tried again for patience_ms (0 = not). */
void super_call(struct super *super, const char *method, json_t *params, int64_t timeout_ms,
                int64_t patience_ms, rpc_link_fn *fn, void *context);

#endif
