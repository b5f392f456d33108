/* orders.h - what clients asked the keeper to do, and telling them when it is done.
 *
 * start, stop, restart, scale: each client waits for a set of instances to come to rest in the
 * state it asked for (or to fail, with the reason and the last lines of output).
 */
#ifndef SUPERVISOR_CORE_ORDERS_H
#define SUPERVISOR_CORE_ORDERS_H

#include <jansson.h>

#include "io/rpc.h"
#include "supervisor/core/keeper.h"

struct orders;

struct orders *orders_new(struct core *core, struct err *err);
void orders_free(struct orders *orders); /* who still waits is told that the core is leaving */

/* Expands names ("web", "web:0", "GROUP:*", "all") to slots, each once, in start order.
 * ERR_NOT_FOUND names the unknown one and the nearest right name.  *ret is malloc'ed. */
int orders_select(struct orders *orders, json_t *names, struct slot ***ret, size_t *ret_count,
                  struct err *err);

enum orders_verb { ORDERS_START, ORDERS_STOP, ORDERS_RESTART, ORDERS_RELOAD };
/* Carries the verb out for params {"names": [...], "wait": bool} and answers the call, now or
 * later, with
 * {"results": [{"instance", "ok", "state", "reason", "output"}], "ok": bool}.
 * ORDERS_RELOAD sends reload_signal; with ready = notify it waits for RELOADING=1 and then READY=1,
 * of one that says neither it is only known that it was told. */
void orders_run(struct orders *orders, enum orders_verb verb, struct rpc_call *call,
                json_t *params);
/* Sends a signal to the main processes; answers the call. */
void orders_signal(struct orders *orders, struct rpc_call *call, json_t *params);

/* From the keeper. */
void orders_changed(struct orders *orders, struct slot *slot);
void orders_replaced(struct orders *orders, struct slot *slot, bool ok, const char *reason);
void orders_removed(struct orders *orders, struct slot *slot);
/* A connection has gone: nobody waits there any more (the order itself stands). */
void orders_gone(struct orders *orders, struct rpc_conn *conn);
void orders_turn(struct orders *orders); /* outputs may have been drained */

#endif
