/* swap.h - a switch without a supervisor: static files, where `current` itself is the pin.
 *
 * .deploy/switched remembers {"id","from","token","confirmed"}, so that it can be undone by
 * another agent later.
 */
#ifndef DEPLOYCTL_AGENT_SWAP_H
#define DEPLOYCTL_AGENT_SWAP_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "deployctl/agent/host.h"

struct swap_state {
    char id[MANIFEST_ID_MAX], from[MANIFEST_ID_MAX]; /* "" = none */
    char token[160];
    bool confirmed;
};
/* Without a record: id is where `current` leads, confirmed is true. */
int swap_read(const struct host *host, struct swap_state *ret, struct err *err);
/* The same id and token again changes nothing.  *ret is the state after it. */
int swap_switch(const struct host *host, const char *id, const char *token, struct swap_state *ret,
                struct err *err);
int swap_confirm(const struct host *host, const char *id, const char *token, struct err *err);
/* Back to `from`; removes `current` when there was none. */
int swap_revert(const struct host *host, const char *id, struct swap_state *ret, struct err *err);

#endif
