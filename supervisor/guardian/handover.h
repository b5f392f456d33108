/* handover.h - the store outlives its guardian: the service manager keeps it during a restart.
 *
 * A manager such as systemd keeps descriptors for a service (FDSTORE=1 of sd_notify(3)) and passes
 * them to its next main process as LISTEN_FDS.  A guardian that is to be started anew gives it the
 * whole store and leaves without touching a service; the next one takes the store and goes on as
 * if it had been killed and replaced (strangers.h).  What the manager has not kept is missing in
 * the store, as after the death of everything: such a service is started anew.
 *
 * A descriptor is kept under the name "sN", N being the number that it had; the inventory of
 * store.h, kept under the name "supervisor", says what these are.
 */
#ifndef SUPERVISOR_GUARDIAN_HANDOVER_H
#define SUPERVISOR_GUARDIAN_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "supervisor/guardian/guardian.h"
#include "supervisor/guardian/upward.h"
#include "supervisor/ledger/store.h"

enum { HANDOVER_WAIT_MS = 10000 };

struct handover {
    struct store store;                                        /* owned */
    char *names;                                               /* owned; LISTEN_FDNAMES */
    char config[GUARDIAN_PATH_MAX], socket[GUARDIAN_PATH_MAX]; /* of the guardian before */
};

/* Gives every entry of the store, and the paths of `options`, to the manager, and waits until it
 * has read them; HANDOVER_WAIT_MS for each of the two at most.  ERR_UNREACHABLE: there is no
 * manager.  Whether it has kept them only the next guardian knows. */
int handover_give(const struct upward *upward, struct store *store,
                  const struct guardian_options *options, struct err *err);

/* Takes what the environment says is for this process (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES;
 * they are removed from it).  False: nothing was kept; ours without an inventory is closed, and let
 * go of. */
bool handover_take(struct handover *ret);

/* Tells the manager to let go of what it has kept, so that what is closed here is closed; frees
 * ret->names. */
void handover_release(struct handover *handover);

#endif
