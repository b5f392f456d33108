/* breaker.h - the host-wide circuit breaker: how soon one more automatic restart may happen.
 *
 * A bucket of `burst` restarts that fills again within BREAKER_FILL_MS.  Single services have their
 * backoff; this is for the day on which many fall at once and would bring the host down together.
 */
#ifndef SUPERVISOR_MACHINE_BREAKER_H
#define SUPERVISOR_MACHINE_BREAKER_H

#include <stddef.h>
#include <stdint.h>

enum {
    BREAKER_FILL_MS = 10000,
    BREAKER_PATIENCE_MS = 30000, /* who has waited this long goes before everybody */
};

/* All zero = full. */
struct breaker {
    int64_t full_ms; /* when all that was taken will have been filled again */
};

/* 0: go on, it is counted; otherwise how many milliseconds from `now_ms` (monotonic) to ask again.
 * `burst` is at least 1 and may change from call to call. */
int64_t breaker_take(struct breaker *breaker, int64_t burst, int64_t now_ms);

/* One that waits. */
struct breaker_turn {
    int64_t since_ms;
    int64_t priority; /* the lower one goes first */
    size_t index;     /* the caller's */
};
/* Brings them into the order in which they go: who has lost patience, then by priority, then who
 * has waited longer.  So what matters comes back first, and nobody is held back for ever. */
void breaker_order(struct breaker_turn *turns, size_t count, int64_t now_ms);
/* How many milliseconds from now until the turn of number `place` (0 = the first) of that line. */
int64_t breaker_wait(const struct breaker *breaker, int64_t burst, int64_t now_ms, size_t place);

#endif
