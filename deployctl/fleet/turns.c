/* turns.c - the contract is in turns.h. */
#include "deployctl/fleet/turns.h"

#include <stdlib.h>

#include "deployctl/plan/pace.h"

struct waiter {
    struct waiter *next;
    void (*fn)(void *context);
    void *context;
};
struct turns {
    struct loop *loop;
    struct loop_timer *timer;
    struct pace pace;
    struct waiter *first, **last;
    void *turn; /* whose it is, while he is called */
};

static void arm(struct turns *turns)
{
    if (turns->first)
        loop_timer_arm(turns->timer, pace_wait(&turns->pace, loop_now_ms(turns->loop)));
}

/* One of them; if he has more to send, he asks and waits behind the others. */
static void on_timer(void *context)
{
    struct turns *turns = context;
    struct waiter *waiter = turns->first;
    if (waiter && pace_wait(&turns->pace, loop_now_ms(turns->loop)) == 0) {
        turns->first = waiter->next;
        if (!turns->first)
            turns->last = &turns->first;
        turns->turn = waiter->context;
        waiter->fn(waiter->context);
        turns->turn = NULL;
        free(waiter);
    }
    arm(turns);
}

struct turns *turns_new(struct loop *loop, int64_t rate, size_t piece_max, struct err *err)
{
    struct turns *turns = calloc(1, sizeof *turns);
    if (turns)
        turns->timer = loop_timer_new(loop, on_timer, turns);
    if (!turns || !turns->timer) {
        free(turns);
        err_set(err, ERR_MEMORY, "no memory for the rate limit");
        return NULL;
    }
    turns->loop = loop;
    turns->last = &turns->first;
    pace_init(&turns->pace, rate, (int64_t)piece_max, loop_now_ms(loop));
    return turns;
}

void turns_free(struct turns *turns)
{
    if (!turns)
        return;
    while (turns->first)
        turns_forget(turns, turns->first->context);
    loop_timer_free(turns->timer);
    free(turns);
}

void turns_forget(struct turns *turns, void *context)
{
    turns->last = &turns->first;
    while (*turns->last) {
        struct waiter *waiter = *turns->last;
        if (waiter->context != context) {
            turns->last = &waiter->next;
            continue;
        }
        *turns->last = waiter->next;
        free(waiter);
    }
    if (turns->turn == context)
        turns->turn = NULL;
}

size_t turns_ask(struct turns *turns, void (*fn)(void *context), void *context)
{
    bool may = turns->turn == context ||
               (!turns->first && pace_wait(&turns->pace, loop_now_ms(turns->loop)) == 0);
    if (turns->turn == context)
        turns->turn = NULL;
    if (may)
        return (size_t)turns->pace.piece;
    for (const struct waiter *w = turns->first; w; w = w->next)
        if (w->context == context)
            return 0;
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (!waiter) /* rather too fast than never */
        return (size_t)turns->pace.piece;
    *waiter = (struct waiter){ NULL, fn, context };
    *turns->last = waiter;
    turns->last = &waiter->next;
    arm(turns);
    return 0;
}

void turns_spend(struct turns *turns, size_t bytes) { pace_spend(&turns->pace, (int64_t)bytes); }
