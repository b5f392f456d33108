/* announce.h - what the service manager above us (systemd, another supervisor) learns by sd_notify.
 *
 *     READY=1             nothing is on its way any more (machine/summary.h)
 *     STATUS=             how many instances there are, and which one is not as it should be
 *     RELOADING=1 ... READY=1   around a reload
 *     STOPPING=1, EXTEND_TIMEOUT_USEC=   a shutdown has begun, and how long it may take
 *
 * The guardian sends it (guardian/upward.h).  Where nobody listens (no NOTIFY_SOCKET) nothing here
 * costs anything.  A new core says READY=1 again, which means nothing new to who knows it.
 */
#ifndef SUPERVISOR_CORE_ANNOUNCE_H
#define SUPERVISOR_CORE_ANNOUNCE_H

#include <stdbool.h>
#include <stdint.h>

#include "supervisor/core/core.h"

struct announce;

/* NULL without memory. */
struct announce *announce_new(struct core *core);
void announce_free(struct announce *announce);
/* An instance has changed, or there is a first look to take: all are looked at in a moment. */
void announce_changed(struct announce *announce);
void announce_reloading(struct announce *announce);
void announce_reloaded(struct announce *announce);
/* Nothing but this is told from here on. */
void announce_stopping(struct announce *announce, int64_t timeout_ms);

#endif
