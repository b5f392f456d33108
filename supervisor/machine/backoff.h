/* backoff.h - how long to wait before the next start, decided without a clock. */
#ifndef SUPERVISOR_MACHINE_BACKOFF_H
#define SUPERVISOR_MACHINE_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

struct backoff_policy {
    int64_t min_ms, max_ms;
    double factor; /* >= 1 */
    double jitter; /* 0.1 = up to 10 % more or less */
    bool linear;   /* supervisord: failure n waits n times min_ms; factor and max do not count */
};

/* Delay after failure number n (1, 2, ...): min(max, min * factor^(n-1)), spread by the jitter.
 * `random` is uniform over all 32-bit values.  Never negative; never above max_ms plus jitter. */
int64_t backoff_delay(const struct backoff_policy *policy, uint32_t n, uint32_t random);

#endif
