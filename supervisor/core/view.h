/* view.h - what is, as JSON: for status, why and the release calls. */
#ifndef SUPERVISOR_CORE_VIEW_H
#define SUPERVISOR_CORE_VIEW_H

#include <jansson.h>

#include "supervisor/core/keeper.h"

/* The object of `status --json` (CONTRACT.md §1) for these slots; new reference. */
json_t *view_status(const struct core *core, struct slot *const *slots, size_t count);
/* The same in words: {"text", "well"}; new reference, NULL when that is too long or without memory.
 */
json_t *view_status_text(const struct core *core, struct slot *const *slots, size_t count,
                         size_t width, bool colour);
/* One row of "instances". */
json_t *view_instance(const struct keeper *keeper, const struct slot *slot);
/* Everything `why` shows of one instance: state, reason, needs, last exit, the newest events about
 * it, who ordered what, the last lines of output. */
json_t *view_why(const struct core *core, const struct slot *slot);
/* Where its output goes: {"instance", "stdout", "stderr"}. */
/* {"instance", "text", "cursor", "missed", "path"}: its last lines, of standard error if it has a
 * file of its own; with the cursor of an earlier answer what came since ("missed": some of it is
 * lost). "path": where it goes, also when that is no file. */
json_t *view_tail(const struct core *core, const struct slot *slot, bool err, size_t lines,
                  const char *cursor, size_t max);
json_t *view_logs(const struct core *core, const struct slot *slot);
/* Which promises hold on this host, by name: text values for people. */
json_t *view_guarantees(const struct core *core);
/* {"running": true, "guarantees": rows of doctor_judge()}. */
json_t *view_doctor(const struct core *core);

#endif
