/* audit.h - who ordered what, for people who must answer for it: [supervisor] audit_log.
 *
 * Every order that comes over the control socket, and every request that is refused, is a JSON line
 * {"at", "audit": "order", "id", uid, gid, pid, "command", "exe", "verb", what it names, "allowed",
 * "rule" or "why"}.  It is written before anything is done; how it ended follows as {"at", "audit":
 * "result", "id", "ok", ...} when the call is answered, so an order without a result was given
 * when the supervisor crashed or the asker left.  Orders by signal have no uid.
 *
 * Of more refusals in one second than control.c tells, only the number is here: {"audit":
 * "refused", "not_told"}.
 *
 * Promised: a line that was written survives any death of the supervisor (not a power failure,
 * which may take the last seconds: nothing is synced).  Names from outside are cut and escaped.  A
 * log that cannot be written refuses and delays no order: lines are counted, which is told in the
 * own log at once and in the audit as {"audit": "lost", "lines"} as soon as it can be written
 * again. A file that was moved away is opened anew, at the next line.
 */
#ifndef SUPERVISOR_CORE_AUDIT_H
#define SUPERVISOR_CORE_AUDIT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/rpc.h"

struct audit;

struct audit *audit_new(void); /* writes nowhere; NULL without memory */
void audit_free(struct audit *audit);
/* `where`: "none", a path, "syslog" or "syslog:/SOCKET".  Opens it (anew); what fails is
 * tried again with each line, but for want of memory. */
int audit_configure(struct audit *audit, const char *where, struct err *err);
bool audit_wanted(const struct audit *audit);

/* A request: `rule` gave the right (NULL: above the rules), or `refused` says why not.  Of one that
 * is allowed the end is told by itself when the call is answered. */
void audit_call(struct audit *audit, struct rpc_call *call, const char *verb, const json_t *params,
                const char *rule, const struct err *refused);
/* So many requests were refused that have no line of their own. */
void audit_untold(struct audit *audit, uint64_t count);
/* An order that has no call: "reload", by "a signal". */
void audit_note(struct audit *audit, const char *verb, const char *by);

#endif
