/* look_order.h - the services that deploy.ini names, beside those that run from the folder.
 *
 * The supervisor decides which services are switched together, and in which order (requires,
 * after): it has to undo that alone.  What is written in deploy.ini cannot change it, and must not
 * pretend.
 */
#ifndef DEPLOYCTL_AGENT_LOOK_ORDER_H
#define DEPLOYCTL_AGENT_LOOK_ORDER_H

#include <jansson.h>
#include <stddef.h>

/* state: the answer of release.state; services: names in the order of deploy.ini.  Says where the
 * order is another one, and else which service is not named; "" = all is as it is written. */
const char *look_order_warning(const json_t *state, const json_t *services, char *text,
                               size_t size);

#endif
