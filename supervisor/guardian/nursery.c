/* nursery.c - the contract is in nursery.h. */
#include "supervisor/guardian/nursery.h"

#include <malloc.h>

enum { STACK_BYTES = 128 * 1024 };

void nursery_init(struct nursery *nursery)
{
    *nursery =
        (struct nursery){ .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
}

static void *live(void *context)
{
    struct nursery *nursery = context;

    pthread_mutex_lock(&nursery->lock);
    for (;;) {
        while (!nursery->work)
            pthread_cond_wait(&nursery->changed, &nursery->lock);
        nursery->work(nursery->context);
        nursery->work = NULL;
        pthread_cond_broadcast(&nursery->changed);
    }
    return NULL;
}

/* It never ends by itself: with it its children would go to the first thread. */
static bool open_nursery(struct nursery *nursery)
{
    pthread_attr_t attributes;

    mallopt(M_ARENA_MAX, 1); /* no heap of its own for a thread that runs when we do not */
    if (pthread_attr_init(&attributes) != 0)
        return false;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    nursery->open = pthread_create(&nursery->thread, &attributes, live, nursery) == 0;
    pthread_attr_destroy(&attributes);
    return nursery->open;
}

void nursery_do(struct nursery *nursery, void (*work)(void *context), void *context)
{
    if (!nursery->open && !open_nursery(nursery)) {
        work(context); /* as well as it can be */
        return;
    }
    pthread_mutex_lock(&nursery->lock);
    nursery->work = work;
    nursery->context = context;
    pthread_cond_broadcast(&nursery->changed);
    while (nursery->work)
        pthread_cond_wait(&nursery->changed, &nursery->lock);
    pthread_mutex_unlock(&nursery->lock);
}
