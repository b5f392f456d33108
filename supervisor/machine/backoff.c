/* backoff.c - the contract is in backoff.h. */
#include "supervisor/machine/backoff.h"

/* Multiplying step by step needs no libm and stops as soon as the ceiling is reached. */
static double grown(const struct backoff_policy *policy, uint32_t n)
{
    double delay = (double)policy->min_ms, ceiling = (double)policy->max_ms;

    if (policy->linear)
        return delay * (double)n;
    for (uint32_t i = 1; i < n && delay < ceiling && policy->factor > 1.0; i++)
        delay *= policy->factor;
    return delay < ceiling ? delay : ceiling;
}

int64_t backoff_delay(const struct backoff_policy *policy, uint32_t n, uint32_t random)
{
    double delay = grown(policy, n > 0 ? n : 1);
    double spread = 2.0 * ((double)random / (double)UINT32_MAX) - 1.0;

    delay *= 1.0 + policy->jitter * spread;
    return delay > 0 ? (int64_t)delay : 0;
}
