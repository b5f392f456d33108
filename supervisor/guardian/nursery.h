/* nursery.h - a thread of the guardian, the parent of its core and logger, and so of all services.
 *
 * The kernel keeps a list of children for each thread, and gives orphans to the first thread of a
 * process.  With a second thread that only starts programs, the first one's list holds nothing but
 * orphans: whether somebody was left behind, and whether one of those has ended, is seen without
 * going past every service (core/keeper_leave.c, io/reaper.h).  The core makes services its
 * siblings, so they are children of this thread as well.
 *
 * What an upgrade finds running is in the list of the first thread, as everything is where there
 * can be no thread: slower, and otherwise the same.
 */
#ifndef SUPERVISOR_GUARDIAN_NURSERY_H
#define SUPERVISOR_GUARDIAN_NURSERY_H

#include <pthread.h>
#include <stdbool.h>

struct nursery {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void (*work)(void *context); /* NULL = nothing to do */
    void *context;
    bool open; /* there is a thread */
};

void nursery_init(struct nursery *nursery);
/* Calls `work` in that thread, which is made for it at the first time, and waits until it is done:
 * never do two threads of the guardian run at the same time. */
void nursery_do(struct nursery *nursery, void (*work)(void *context), void *context);

#endif
