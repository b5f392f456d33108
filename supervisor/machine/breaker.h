/* breaker.h - the host-wide circuit breaker: how soon one more automatic restart may happen.
 *
 * A bucket of `burst` restarts that fills again within BREAKER_FILL_MS.  Single services have their
 * backoff; this is for the day on which many fall at once and would bring the host down together.
 */
#ifndef SUPERVISOR_MACHINE_BREAKER_H
#define SUPERVISOR_MACHINE_BREAKER_H

#include <stdint.h>

enum { BREAKER_FILL_MS = 10000 };

/* All zero = full. */
struct breaker {
    int64_t full_ms; /* when all that was taken will have been filled again */
};

/* 0: go on, it is counted; otherwise how many milliseconds from `now_ms` (monotonic) to ask again.
 * `burst` is at least 1 and may change from call to call. */
int64_t breaker_take(struct breaker *breaker, int64_t burst, int64_t now_ms);

#endif
