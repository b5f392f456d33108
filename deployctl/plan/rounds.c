/* rounds.c - the contract is in rounds.h. */
#include "deployctl/plan/rounds.h"

static bool was_reset(const struct rounds_sample *last, const struct rounds_sample *now)
{
    for (size_t i = 0; i < VERDICT_NSUBJECTS; i++)
        if (now->counters.requests[i] < last->counters.requests[i] ||
            now->counters.hits[i] < last->counters.hits[i])
            return true;
    /* The start time is a float of seconds: only another one is another process. */
    return last->started != now->started || last->bound != now->bound;
}

/* A page that was written while requests ended may have the hit and not the request yet: the next
 * round has both. */
static bool is_odd(const struct rounds_sample *last, const struct rounds_sample *now)
{
    for (size_t i = 0; i < VERDICT_NSUBJECTS; i++)
        if (now->counters.hits[i] - last->counters.hits[i] >
            now->counters.requests[i] - last->counters.requests[i])
            return true;
    return false;
}

static void add(struct verdict_counts *side, const struct rounds_sample *last,
                const struct rounds_sample *now, bool times)
{
    for (size_t i = 0; i < VERDICT_NSUBJECTS; i++) {
        if (i == VERDICT_SLOW && !times)
            continue;
        side->requests[i] += now->counters.requests[i] - last->counters.requests[i];
        side->hits[i] += now->counters.hits[i] - last->counters.hits[i];
    }
}

void rounds_add(struct rounds_host *host, bool canary, const struct rounds_sample *now,
                struct rounds_sums *sums)
{
    bool based = host->based;
    host->based = now != NULL;
    if (!now)
        return;
    if (based && was_reset(&host->last, now)) {
        host->resets++;
        based = false;
    }
    if (based && is_odd(&host->last, now)) {
        host->odd++;
        return; /* both rounds together with the next one */
    }
    if (canary && sums->bound == 0)
        sums->bound = now->bound;
    bool times = now->bound > 0 && now->bound == sums->bound;
    if (based)
        add(canary ? &sums->canary : &sums->rest, &host->last, now, times);
    host->last = *now;
}
