/* drain.h - takes this host out of the traffic around a restart of its services, and back.
 *
 * Part of the act that restarts them, so that an agent whose deployctl has died brings the host
 * back all the same; .deploy/drained (drain_mark.h) tells it if the agent itself is killed.  How it
 * is done comes with the request, "drain" in wire/proto.h: the mark, a command, HAProxy's runtime
 * sockets, time for the load balancer to notice, then waiting until no connection is left.
 *
 * A way forward that cannot be drained is refused before anything is restarted; a way back goes on
 * without, with a warning.  A wait that is too long goes on, with a warning.
 */
#ifndef DEPLOYCTL_AGENT_DRAIN_H
#define DEPLOYCTL_AGENT_DRAIN_H

#include <stdbool.h>

#include "deployctl/agent/talk.h"

enum { DRAIN_SOCKETS_MAX = 8 };
struct drain;
/* Calls then(act) when the host is out, at once when the request asks for nothing; or ends the act
 * (`soft`: never).  From then on the act has to end with one of the two below. */
void drain_out(struct act *act, bool soft, void (*then)(struct act *act));
/* As act_ok and act_fail, after the host was put back; the answer gets "drain": {"waited_ms",
 * "left", "warnings"}.  `broken`: its services did not become ready, so it stays out. */
void drain_ok(struct act *act, json_t *answer, bool broken);
void drain_fail(struct act *act, const struct err *err, json_t *extra);
/* Puts a host back that was left out, when it is healthy again; ends the act well in any case. */
void drain_restore(struct act *act);
/* What people should know of a host that was left out, "" = nothing; for `look`. */
enum { DRAIN_TOLD_MAX = 300 };
void drain_told(const struct talk *talk, char text[static DRAIN_TOLD_MAX]);
void drain_free(struct drain *drain);

#endif
