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
 * Promised: a line that was written survives any death of the supervisor; and who has the answer
 * to an order has it on the disk (fdatasync), order and result, so that not even a power cut takes
 * it back.  Refusals are not synced by themselves: anybody can be refused as often as they like. In
 * a syslog durability is that of its daemon.  Names from outside are cut and escaped.  A log that
 * cannot be written or synced refuses no order, and delays its answer by AUDIT_SYNC_MS at most:
 * lines that could not be written are counted and told in the audit as {"audit": "lost", "lines"}
 * as soon as it can be written again; the own log, the events "audit-error" {"file", "error",
 * "written"} and "audit-ok", `status` and `doctor` tell at once.  Without audit_log nothing of this
 * costs anything.
 */
#ifndef SUPERVISOR_CORE_AUDIT_H
#define SUPERVISOR_CORE_AUDIT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "io/rpc.h"
#include "supervisor/core/audit_file.h"

struct audit;

/* An event; steals details.  False: nobody can be told yet. */
typedef bool audit_tell_fn(void *context, const char *kind, json_t *details);

/* Writes nowhere; NULL without memory. */
struct audit *audit_new(struct loop *loop, audit_tell_fn *tell, void *context);
void audit_free(struct audit *audit);
/* Opens it (anew). */
int audit_configure(struct audit *audit, const struct audit_settings *settings, struct err *err);
/* {"file", "error", "lost_lines"} while it is not well (new reference), else NULL. */
json_t *audit_problem(const struct audit *audit);
/* We leave: answers that wait for the disk are given. */
void audit_let_go(struct audit *audit);
bool audit_settled(const struct audit *audit); /* all is on the disk and answered */

/* A request: `rule` gave the right (NULL: above the rules), or `refused` says why not.  Of one that
 * is allowed the end is told by itself when the call is answered. */
void audit_call(struct audit *audit, struct rpc_call *call, const char *verb, const json_t *params,
                const char *rule, const struct err *refused);
/* So many requests were refused that have no line of their own. */
void audit_untold(struct audit *audit, uint64_t count);
/* An order that has no call: "reload", by "a signal". */
void audit_note(struct audit *audit, const char *verb, const char *by);

#endif
