/* troubles.h - logs that cannot be written, and output that was dropped: told as events, and shown.
 *
 * Events: "log-error" {instance, output, file, error}, "log-ok" {instance, output, file}, and
 * "log-lost" {instance, output, file, bytes, total} when a loss is over or grows.  What was told is
 * kept beside the streams, so a new core tells what the one before did not.
 */
#ifndef SUPERVISOR_CORE_TROUBLES_H
#define SUPERVISOR_CORE_TROUBLES_H

#include <jansson.h>

#include "supervisor/core/core.h"

/* The logger poked: tells what is new.  Costs nothing when there is nothing. */
void troubles_look(struct core *core);
/* [{"output", "error", "lost_bytes"}] of an instance; NULL = none, the usual case, O(1) then. */
json_t *troubles_json(const struct core *core, const char *instance);

#endif
