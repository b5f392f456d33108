/* control_access.h - whether who asks may, put to the rules in force (plan/access.h).
 *
 * Each request is judged when it comes and each event when it is sent, by the rules of that moment:
 * a reload that takes rights away takes them from connections that are open, too.
 */
#ifndef SUPERVISOR_CORE_CONTROL_ACCESS_H
#define SUPERVISOR_CORE_CONTROL_ACCESS_H

#include <jansson.h>

#include "io/rpc.h"
#include "supervisor/core/core.h"
#include "supervisor/core/orders.h"
#include "supervisor/plan/access.h"

/* Borrows the groups of the connection. */
struct access_peer control_access_peer(const struct rpc_conn *conn);

/* 0, or ERR_DENIED with the rule that is nearest and the remedy.  `service` as in access.h; the
 * first rule that gives it goes to *ret_by. */
int control_access_service(const struct core *core, const struct access_peer *peer,
                           enum access_verb verb, size_t service, const struct access_rule **ret_by,
                           struct err *err);
/* For each of these names (as orders_select takes them): the first that is refused is named. */
int control_access_names(const struct core *core, struct orders *orders,
                         const struct access_peer *peer, enum access_verb verb, json_t *names,
                         const struct access_rule **ret_by, struct err *err);
/* To some service at least. */
int control_access_any(const struct core *core, const struct access_peer *peer,
                       enum access_verb verb, struct err *err);

/* Keeps of slots[0..count) those whose service the peer may do this to; how many. */
size_t control_access_keep(const struct core *core, const struct access_peer *peer,
                           enum access_verb verb, struct slot **slots, size_t count);
/* Whether the peer may know of an event: of all services that it is about; what is about none is
 * for those who may read the events of all. */
bool control_access_event(const struct core *core, const struct access_peer *peer,
                          const json_t *event);

#endif
