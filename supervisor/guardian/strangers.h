/* strangers.h - processes of the ledger that are not our children, watched through pidfds.
 *
 * There are some only after a guardian was killed: its children have another parent then.  While
 * that has not reaped one, its exit status is read from /proc, where we may; afterwards the
 * kernel tells it through the pidfd (Linux 6.15 and later); elsewhere the status is unknown.
 */
#ifndef SUPERVISOR_GUARDIAN_STRANGERS_H
#define SUPERVISOR_GUARDIAN_STRANGERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/reaper.h"
#include "supervisor/ledger/ledger.h"

struct stranger {
    size_t index;       /* of its record */
    int pidfd;          /* -1 = this slot is free */
    int64_t give_up_ms; /* it has ended, its parent does not reap it; 0 = it lives */
};
struct strangers {
    struct stranger *slots; /* owned */
    size_t count, living;
    int64_t again_ms; /* when those that could not be watched are looked at again; 0 = all are */
    int epoll;        /* borrowed */
    uint64_t tag;
};

/* Called with the exit of record `index`; `known` false = it has ended, nobody knows how. */
typedef void strangers_fn(void *context, size_t index, const struct reaper_exit *how, bool known);

/* Events of slot N arrive on `epoll` with data.u64 = tag | N << 8. */
void strangers_init(struct strangers *strangers, int epoll, uint64_t tag);
void strangers_done(struct strangers *strangers);
/* Watches every living record whose process is not our child; those that are gone, or whose pid
 * belongs to somebody else by now, are reported at once.  Those that cannot be watched for want of
 * descriptors or memory are looked at again by strangers_tick(). */
void strangers_adopt(struct strangers *strangers, const struct ledger *ledger, strangers_fn *fn,
                     void *context);
void strangers_event(struct strangers *strangers, const struct ledger *ledger, size_t slot,
                     uint32_t events, strangers_fn *fn, void *context);
/* When strangers_tick() wants to be called, or -1. */
int64_t strangers_due(const struct strangers *strangers);
void strangers_tick(struct strangers *strangers, const struct ledger *ledger, int64_t now_ms,
                    strangers_fn *fn, void *context);
void strangers_signal(const struct strangers *strangers, int signum); /* to all */
/* The pidfd of a record that is watched, or -1. */
int strangers_pidfd(const struct strangers *strangers, size_t index);

#endif
