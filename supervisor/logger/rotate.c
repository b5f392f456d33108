/* rotate.c - the contract is in rotate.h. */
#include "supervisor/logger/rotate.h"

#include <stdio.h>

uint32_t rotate_start(uint32_t backups, uint32_t gap)
{
    return gap == 0 || gap > backups ? ROTATE_FIRST : backups + 2 - gap;
}

struct rotate_step rotate_plan(uint32_t step, uint32_t backups)
{
    if (backups == 0)
        return (struct rotate_step){ .act = ROTATE_TRUNCATE };
    if (step <= ROTATE_FIRST)
        return (struct rotate_step){ .act = ROTATE_DROP, .from = backups };
    if (step <= backups + 1)
        return (struct rotate_step){ .act = ROTATE_MOVE,
                                     .from = backups + 1 - step,
                                     .to = backups + 2 - step };
    return (struct rotate_step){ .act = ROTATE_OPEN };
}

enum { MONDAY_S = 3 * 24 * 3600 }; /* 1970 began on a Thursday */

int64_t rotate_period(int64_t wall_s, int64_t east_s, int64_t age_s)
{
    int64_t local_s = wall_s + east_s + MONDAY_S;
    return local_s / age_s - (local_s % age_s < 0);
}

int64_t rotate_period_end(int64_t period, int64_t east_s, int64_t age_s)
{
    return (period + 1) * age_s - east_s - MONDAY_S;
}

bool rotate_name(char *name, size_t size, const char *path, uint32_t number, const char *suffix)
{
    int n = number > 0 ? snprintf(name, size, "%s.%u%s", path, number, suffix)
                       : snprintf(name, size, "%s%s", path, suffix);
    return n >= 0 && (size_t)n < size;
}
