/* breaker.c - the contract is in breaker.h.
 *
 * Each restart costs a share of the filling time.  What is kept is only the point in time at which
 * everything that was taken will have been filled again.
 */
#include "supervisor/machine/breaker.h"

#include <stdbool.h>
#include <stdlib.h>

static int64_t cost_of(int64_t burst) { return BREAKER_FILL_MS / (burst > 0 ? burst : 1); }

int64_t breaker_take(struct breaker *breaker, int64_t burst, int64_t now_ms)
{
    int64_t cost = cost_of(burst);
    int64_t full_ms = breaker->full_ms > now_ms ? breaker->full_ms : now_ms;
    int64_t wait = full_ms + cost - (now_ms + BREAKER_FILL_MS);

    if (wait > 0)
        return wait;
    breaker->full_ms = full_ms + cost;
    return 0;
}

static int compare(const void *a, const void *b, void *context)
{
    const struct breaker_turn *x = a, *y = b;
    const int64_t oldest_ms = *(const int64_t *)context - BREAKER_PATIENCE_MS;
    bool x_late = x->since_ms <= oldest_ms, y_late = y->since_ms <= oldest_ms;

    if (x_late != y_late)
        return x_late ? -1 : 1;
    if (!x_late && x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    if (x->since_ms != y->since_ms)
        return x->since_ms < y->since_ms ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

void breaker_order(struct breaker_turn *turns, size_t count, int64_t now_ms)
{
    if (count > 0)
        qsort_r(turns, count, sizeof(*turns), compare, &now_ms);
}

int64_t breaker_wait(const struct breaker *breaker, int64_t burst, int64_t now_ms, size_t place)
{
    int64_t full_ms = breaker->full_ms > now_ms ? breaker->full_ms : now_ms;
    int64_t wait = full_ms + cost_of(burst) * ((int64_t)place + 1) - (now_ms + BREAKER_FILL_MS);

    return wait > 0 ? wait : 0;
}
