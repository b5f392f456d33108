/* phase.h - what happens next: start, restart, upgrade, leave.
 *
 *     RUNNING --upgrade--> UPGRADING --exec (or back to RUNNING when that fails)
 *     RUNNING --hand over--> UPGRADING --the manager has the store--> DONE (or back to RUNNING)
 *     RUNNING --core has finished--> FLUSHING --logger has finished--> SWEEPING --> DONE
 *     RUNNING --shutdown ordered and no core will live--> SWEEPING
 */
#ifndef SUPERVISOR_GUARDIAN_PHASE_H
#define SUPERVISOR_GUARDIAN_PHASE_H

#include <stdint.h>

#include "supervisor/guardian/state.h"

/* Carries out whatever is due now. */
void phase_step(struct state *state, int64_t now_ms);
/* Monotonic time at which phase_step() must run again, or -1. */
int64_t phase_due(const struct state *state);
/* A role was reaped; its channel has been read to the end. */
void phase_core_ended(struct state *state, int64_t now_ms);
void phase_logger_ended(struct state *state, int64_t now_ms);
/* The core asks for the binary at `path`, and leaves. */
void phase_upgrade(struct state *state, const char *path, int64_t now_ms);
/* The core asks for a restart by the service manager that touches no service, and leaves. */
void phase_hand_over(struct state *state, int64_t now_ms);
/* A signal ordered a shutdown (noted in the ledger already). */
void phase_shutdown(struct state *state, int64_t now_ms);
/* Entries that are the logger's business. */
bool phase_is_log(const char *name);

#endif
