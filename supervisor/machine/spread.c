/* spread.c - the contract is in spread.h. */
#include "supervisor/machine/spread.h"

static const uint32_t golden = 2654435769u; /* 2^32 / phi */

int64_t spread_phase(uint32_t number, int64_t period_ms)
{
    uint32_t part = number * golden >> (32 - SPREAD_BITS);

    return period_ms > 0 ? (int64_t)((uint64_t)part * (uint64_t)period_ms >> SPREAD_BITS) : 0;
}

int64_t spread_next(uint32_t number, int64_t period_ms, int64_t after_ms)
{
    if (period_ms <= 0)
        return after_ms + 1;
    int64_t phase = spread_phase(number, period_ms);
    int64_t since = (after_ms - phase) % period_ms;

    return after_ms - since + (since >= 0 ? period_ms : 0);
}
