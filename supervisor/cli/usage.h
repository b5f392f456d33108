/* usage.h - what the processes of instances use, as /proc tells it.
 *
 * A process belongs to an instance when it is in the session of its main process or descends from
 * it.  What has left both (forked twice and called setsid) is counted nowhere.
 */
#ifndef SUPERVISOR_CLI_USAGE_H
#define SUPERVISOR_CLI_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct usage_process {
    pid_t pid, parent, session;
    int64_t cpu_ticks; /* user and system, of sysconf(_SC_CLK_TCK) per second */
    int64_t rss_pages; /* resident, shared pages too */
};
/* Pure: the text of /proc/PID/stat, without pid; false when it is not one. */
bool usage_parse(const char *text, struct usage_process *ret);

struct usage {
    struct usage_process *all; /* malloc'ed, by pid */
    size_t count, room;
};
/* Every process that is there now; false: no memory, or no /proc. */
bool usage_take(struct usage *ret);
void usage_done(struct usage *usage);

struct usage_sum {
    pid_t main; /* set by the caller; 0 = none runs */
    size_t processes;
    int64_t cpu_ticks, rss_bytes;
};
/* Adds each process to the sum it belongs to.  `sums` must be sorted by main. */
void usage_attribute(const struct usage *usage, struct usage_sum *sums, size_t count);

#endif
