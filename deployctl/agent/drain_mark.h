/* drain_mark.h - .deploy/drained: says that this host is, or is to be, out of the traffic.
 *
 * {"since","release","rollout","stays": bool,"how": {...}}.  It counts while the agent that wrote
 * it lives, which a lock on the file tells and no crash can fake, or when it "stays": then its
 * services did not become ready, or the load balancer could not be told, and `how` says what brings
 * it back.  Whoever may read the folder may read it: `deployctl agent-check`, and a service that
 * wants to fail its readiness.
 */
#ifndef DEPLOYCTL_AGENT_DRAIN_MARK_H
#define DEPLOYCTL_AGENT_DRAIN_MARK_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

#define DRAIN_MARK_NAME "drained"
enum { DRAIN_MARK_MAX = 64 * 1024 };

/* Writes it durably; *ret_fd, when not NULL, holds its lock until it is closed. */
int drain_mark_write(int meta, const json_t *mark, int *ret_fd, struct err *err);
int drain_mark_remove(int meta, struct err *err);
/* A new reference, NULL when there is none or it cannot be read.  *ret_held: its agent lives. */
json_t *drain_mark_read(int meta, bool *ret_held);
/* Does it count? */
bool drain_mark_counts(int meta);

#endif
