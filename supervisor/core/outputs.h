/* outputs.h - where the output of an instance goes: pipes to the logger, or the supervisor's own.
 */
#ifndef SUPERVISOR_CORE_OUTPUTS_H
#define SUPERVISOR_CORE_OUTPUTS_H

#include "base/err.h"
#include "supervisor/core/core.h"
#include "supervisor/plan/instance.h"

/* The descriptors for standard output and error of a process of this instance, borrowed; -1 =
 * /dev/null. A pipe is made at the first start, kept in the store for the life of the instance and
 * used again across restarts.  Settings that changed are handed to the logger.  `first`: no process
 * of the instance runs, so a line that the last one did not end is ended. */
int outputs_open(struct core *core, const struct instance *instance, bool first, int *ret_out,
                 int *ret_err, struct err *err);
/* A main process has ended: a target that waits for the end of its last line has it now. */
void outputs_ended(struct core *core, const char *instance, const struct spec_service *spec);
/* ready = log:REGEX.  The logger looks for a line that the process writes which is started next;
 * nobody else writes to the instance's output now.  `id` (not 0) is new with each start; `owner`
 * comes back with streams_next_found().  ERR_STATE: its output is not captured. */
int outputs_watch(struct core *core, const struct instance *instance, uint32_t id, uint32_t owner,
                  struct err *err);
bool outputs_found(const struct core *core, const struct instance *instance, uint32_t id);
/* The instance is gone for good: the logger is told to drain and let go. */
void outputs_close(struct core *core, const char *instance);
/* Drops the pipes of slots that the logger has freed.  O(descriptors): when there was a close. */
void outputs_release(struct core *core);
/* Hands changed settings (rotation, format) of a running instance to the logger. */
void outputs_update(struct core *core, const struct instance *instance);
/* Asks for all output so far to be on file; true when it is already, or goes elsewhere. */
bool outputs_settled(struct core *core, const char *instance);
void outputs_ask(struct core *core, const char *instance);
/* The last lines of an instance's output from its file: at most `lines` lines and `max` bytes.
 * malloc'ed, "" when there is none, NULL without memory. */
char *outputs_tail(const char *path, size_t lines, size_t max);
/* Where somebody has read to in a log: the file (of which the name changes when it is rotated) and
 * the bytes in it. */
struct outputs_cursor {
    uint64_t ino, at; /* ino 0: nothing was read yet */
};
/* The cursor behind what outputs_tail() would read now. */
void outputs_end(const char *path, struct outputs_cursor *ret);
/* What came since, at most `max` bytes of whole lines, also the rest of a file that was rotated
 * away once; *missed: it cannot be found any more.  malloc'ed, NULL without memory. */
char *outputs_more(const char *path, struct outputs_cursor *cursor, size_t max, bool *missed);

#endif
