/* reaper.h - the only wait.  libc only. */
#ifndef IO_REAPER_H
#define IO_REAPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct reaper_exit {
    pid_t pid;
    int code;                                /* si_code: CLD_EXITED, CLD_KILLED, CLD_DUMPED */
    int status;                              /* exit code or signal */
    uint64_t user_us, system_us, max_rss_kb; /* of the process and its waited-for children */
};

/* One ended child: `pid`, or any when that is 0.  Seen with WNOWAIT; `fn` is called *before* its
 * pid is reaped.  Asking for any is O(children). */
bool reaper_one(pid_t pid, void (*fn)(void *context, const struct reaper_exit *exit),
                void *context);
/* Sees at most `max` ended children with WNOWAIT, calls `fn` for each *before* its pid is reaped
 * (so a pid is never reused before its exit is recorded), then reaps that pid.  Returns how
 * many; 0 = none is waiting.  The times come from the raw system call's fifth argument. */
size_t reaper_sweep(void (*fn)(void *context, const struct reaper_exit *exit), void *context,
                    size_t max);
/* The same for children of the calling thread only: those that it has started, and, in the first
 * thread, the orphans. */
size_t reaper_sweep_own(void (*fn)(void *context, const struct reaper_exit *exit), void *context,
                        size_t max);
/* The same with one system call for each, for whoever keeps no record of pids: `fn` is called after
 * the pid is gone, and no times are told. */
size_t reaper_drain(void (*fn)(void *context, const struct reaper_exit *exit), void *context,
                    size_t max);
/* Waits for one child that nobody else waits for, as long as it takes; false: no such child. */
bool reaper_wait(pid_t pid, struct reaper_exit *ret);

/* How a process that is somebody else's child has ended, where the kernel tells: a zombie's status
 * for who may trace it, and through the pidfd once it is reaped (Linux 6.15).  Times are not told.
 * False: it lives, or nobody says. */
bool reaper_told(pid_t pid, int pidfd, struct reaper_exit *ret);

#endif
