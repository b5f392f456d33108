/* breaker.c - the contract is in breaker.h.
 *
 * Each restart costs a share of the filling time.  What is kept is only the point in time at which
 * everything that was taken will have been filled again.
 */
#include "supervisor/machine/breaker.h"

int64_t breaker_take(struct breaker *breaker, int64_t burst, int64_t now_ms)
{
    int64_t cost = BREAKER_FILL_MS / (burst > 0 ? burst : 1);
    int64_t full_ms = breaker->full_ms > now_ms ? breaker->full_ms : now_ms;
    int64_t wait = full_ms + cost - (now_ms + BREAKER_FILL_MS);

    if (wait > 0)
        return wait;
    breaker->full_ms = full_ms + cost;
    return 0;
}
