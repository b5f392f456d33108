/* watch.h - what the guardian's loop listens to.
 *
 * The kernel may refuse a change (no memory, too many watches).  A guardian that is deaf to SIGCHLD
 * or to its core would be as good as dead, so the wish stays and is made again until it is granted.
 */
#ifndef SUPERVISOR_GUARDIAN_WATCH_H
#define SUPERVISOR_GUARDIAN_WATCH_H

#include <stdbool.h>
#include <stdint.h>

enum { WATCH_SOURCES = 3, WATCH_RETRY_MS = 50 };

struct watch_wish {
    int fd; /* borrowed; -1 = nothing to listen to */
    uint32_t events;
    bool open; /* not granted yet */
};
struct watch {
    int epoll; /* borrowed */
    struct watch_wish wishes[WATCH_SOURCES];
    int64_t due_ms; /* -1 = every wish is granted */
};

void watch_init(struct watch *watch, int epoll);
/* Events of `source` (below WATCH_SOURCES) arrive with data.u64 = source.  0: none for now. */
void watch_set(struct watch *watch, unsigned source, int fd, uint32_t events);
/* For a descriptor that is readable and cannot be read just now: silent for WATCH_RETRY_MS. */
void watch_rest(struct watch *watch, unsigned source);
/* The descriptor is about to be closed, or has nothing to say any more. */
void watch_end(struct watch *watch, unsigned source);
void watch_tick(struct watch *watch, int64_t now_ms);

#endif
