/* share.c - the contract is in share.h. */
#include "deployctl/plan/share.h"

#include <stdbool.h>

/* 10 % of 30 must be 3, also where the product in binary is 3.0000000000000004. */
static const double slack = 1e-9;

static size_t of(struct unit_share share, size_t total, bool up)
{
    if (share.percent < 0)
        return share.count < 0 ? 0 : (size_t)share.count;
    double exact = share.percent * (double)total / 100.0;
    size_t whole = (size_t)(exact + slack);
    return whole + (up && exact - slack > (double)whole);
}

static size_t clamp(size_t value, size_t least, size_t most)
{
    if (value < least)
        value = least;
    return value > most ? most : value;
}

size_t share_canary(struct unit_share share, size_t total)
{
    bool none = share.percent < 0 ? share.count <= 0 : share.percent <= 0;
    if (none || total == 0)
        return 0;
    bool all = share.percent < 0 ? (size_t)share.count >= total : share.percent >= 100;
    if (all || total == 1)
        return total;
    return clamp(of(share, total, true), 1, total - 1);
}

size_t share_batch(struct unit_share share, size_t total)
{
    return clamp(of(share, total, true), 1, total > 0 ? total : 1);
}

size_t share_unavailable(struct unit_share share, size_t total)
{
    return clamp(of(share, total, false), 1, total > 0 ? total : 1);
}

size_t share_budget(struct unit_share share, size_t total)
{
    return clamp(of(share, total, false), 0, total);
}
