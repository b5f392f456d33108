/* evidence.h - what processes are doing right now, noted before they are killed for it.
 *
 * Reads only files of /proc that never wait for the process, whatever it hangs in: no command line,
 * no environment, no maps (they want its memory lock), and the kernel stack only from Linux 5.11 on
 * (before, an exec that hangs would hang the reader).  Bounded in size, processes and time.
 */
#ifndef SUPERVISOR_HOST_EVIDENCE_H
#define SUPERVISOR_HOST_EVIDENCE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { EVIDENCE_PROCESSES = 6 };

/* One row per process, at most EVIDENCE_PROCESSES, none after `until_ms` (monotonic): pid, parent,
 * comm, state, wchan, stack, threads, rss_kb, stop_signal (what it does with it: "default",
 * "caught", "ignored", "blocked"), fds, sockets, pipes, files. */
json_t *evidence_of(const pid_t *pids, size_t count, int stopsignal, int64_t until_ms);

/* Pure: the lines of /proc/PID/status that matter, into row. */
void evidence_status(json_t *row, const char *text, int stopsignal);
/* Pure: the text of /proc/PID/stack as an array of function names. */
json_t *evidence_stack(const char *text);

#endif
